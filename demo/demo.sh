#!/bin/bash
# The main job on real documents: start the server, import the description of every
# package that this Debian or Ubuntu knows, search them by meaning, keep serving.
# usage: demo/demo.sh [--once]    (make demo, make demo ONCE=1)
#   --once    afterwards run the searches of demo/queries.tsv, print how many have
#             an expected package among the first ten, stop; 0 if enough, else 1
# PORT=N serves on another port than 6333.
# Everything lies in build/demo; a second run finds it there and starts at once.
set -eu
cd "$(dirname "$0")/.."

folder=build/demo
port=${PORT:-6333}
url=http://127.0.0.1:$port
# What to type to search; the program's own default is port 6333.
search="build/halftone search$([ "$port" = 6333 ] || echo " --url $url") --collection packages"
needed=8 # of the twenty searches, with the text model without layers: it found 10 with its
# learned codes, 8 with a rotation's (as halftone-mini did, which takes minutes to import)
once=
case ${1:-} in
'') ;;
--once) once=1 ;;
*) echo "demo.sh: expected --once or nothing, not '$1'" >&2; exit 2 ;;
esac

say() { printf '%s\n' "$*"; }
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }
http() { curl -sS --max-time 60 -H 'Content-Type: application/json' "$@"; }
seconds_since() { echo $((SECONDS - $1)); }

server=
stop() {
	[ -n "$server" ] || return 0
	kill -TERM "$server" 2>/dev/null || true
	wait "$server" || true
	server=
}
leave() { # on Ctrl-C, or when make is told to stop
	trap '' INT TERM
	say ""
	stop
	say "Stopped. 'make demo' serves the same again."
	exit 0
}
trap stop EXIT

start_server() {
	if (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
		fail "port $port is taken (another demo?); stop what listens there, or: PORT=7000 make demo"
	fi
	mkdir -p "$folder/data"
	set -m # its own process group, so that Ctrl-C reaches this script alone
	build/halftone-server --data "$folder/data" --models models \
		--listen "127.0.0.1:$port" >"$folder/server.log" 2>&1 &
	server=$!
	set +m
	for ((tries = 0; tries < 300; tries++)); do
		curl -s -o /dev/null -f "$url/readyz" && return 0
		kill -0 "$server" 2>/dev/null || break
		sleep 0.1
	done
	tail -n 5 "$folder/server.log" >&2
	fail "the server did not start; all it said is in $folder/server.log"
}

# packages.jsonl, fetched anew when it is a day old; an old one is better than none.
fetch() {
	if [ -n "$(find "$folder/packages.jsonl" -mtime -1 2>/dev/null)" ] &&
		[ -s "$folder/packages.tsv" ]; then
		return 0
	fi
	local before=$SECONDS
	say "Fetching the package descriptions ..."
	demo/fetch.sh "$folder" || [ -s "$folder/packages.jsonl" ] ||
		fail "no package descriptions; what went wrong is said above"
	say "Fetched and joined in $(seconds_since "$before") s."
}

count() {
	http -X POST -d '{"exact": true}' "$url/collections/packages/points/count" |
		sed -n 's/.*"count": *\([0-9]*\).*/\1/p'
}

# What the codes were made from; other descriptions or another model: start anew.
fingerprint() {
	cat "$folder/packages.jsonl" models/static/* demo/demo.sh | cksum
}

import() {
	local lines before=$SECONDS
	lines=$(wc -l <"$folder/packages.jsonl")
	fingerprint >"$folder/fingerprint.now"
	if cmp -s "$folder/fingerprint" "$folder/fingerprint.now" &&
		[ "$(count)" = "$lines" ]; then
		say "The $lines packages of the last run are still there."
		return 0
	fi
	rm -f "$folder/fingerprint"
	http -o /dev/null -X DELETE "$url/collections/packages"
	say "Importing $lines packages as codes of 256 x 2 bits (68 bytes each)." \
		"They can be searched meanwhile: $url/ui"
	build/halftone import --url "$url" --collection packages --text-model static \
		--dims 256 --bits 2 "$folder/packages.jsonl" || fail "the import failed"
	mv "$folder/fingerprint.now" "$folder/fingerprint"
	say "Imported in $(seconds_since "$before") s."
}

show() {
	local query first=1
	for query in "which constellations can I see tonight" \
		"find out what is eating up my hard drive" \
		"make my monitor less blue in the evening"; do
		say ""
		say "\$ $search --limit 5 \"$query\""
		build/halftone search --url "$url" --collection packages --limit 5 "$query" ||
			fail "the search failed; see $folder/server.log"
		[ -z "$first" ] || say "This first answer came $SECONDS s after the start."
		first=
	done
}

# The names of the ten best packages for a search, one a line, best first.
ten_best() {
	http -f -X POST "$url/collections/packages/points/query" \
		-d "{\"query\": {\"text\": \"$1\"}, \"limit\": 10, \"with_payload\": false}" |
		grep -o '"id": *"[^"]*"' | sed 's/.*: *"\(.*\)"/\1/'
}

# Searches that share no content word with the package they look for.
twenty() {
	local query answers rank name found total=0 hits=0
	demo/check-queries demo/queries.tsv "$folder/packages.tsv" \
		>"$folder/queries.tsv" || true # it prints what it leaves out, and why
	say ""
	say "Searches that share no word with the name or summary of what they look for:"
	while IFS=$'\t' read -r query answers; do
		total=$((total + 1)) rank=0 found=
		while read -r name; do
			rank=$((rank + 1))
			case ",$answers," in
			*",$name,"*) found="$rank. $name"; break ;;
			esac
		done < <(ten_best "$query")
		[ -z "$found" ] || hits=$((hits + 1))
		printf '  %-3s  %-56s %s\n' "${found:+yes}" "$query" "${found:-(${answers%%,*} is not among the first ten)}"
	done <"$folder/queries.tsv"
	say "$hits of $total have it among the first ten (at least $needed are needed)."
	[ "$total" -gt 0 ] && [ "$hits" -ge "$needed" ]
}

trap leave INT TERM
start_server
fetch
import
show
say ""
if [ -n "$once" ]; then
	rc=0
	twenty || rc=1
	stop
	exit $rc
fi
say "Serving on $url: open $url/ui in a browser, or in another terminal:"
say "  $search \"play chess against the computer\""
say "  curl $url/collections/packages/points/query -H 'Content-Type: application/json' \\"
say "    -d '{\"query\": {\"text\": \"draw a floor plan\"}, \"limit\": 3, \"with_payload\": true}'"
say "Ctrl-C stops it."
wait "$server" || true
server=
tail -n 5 "$folder/server.log" >&2
fail "the server has ended; all it said is in $folder/server.log"
