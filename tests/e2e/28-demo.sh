#!/bin/bash
# Claim: the demo, on another port than the usual one, imports what was fetched, prints
# searches that can be typed as they stand, serves until it is told to stop, and finds
# its documents again at the next start.
. "$(dirname "$0")/common.sh"
python3 -c '' 2>/dev/null || { echo "needs python3"; exit 77; }
tree=$WORK/tree
mkdir -p "$tree/build/demo"
cp -r "$ROOT/demo" "$tree"
ln -s "$MODELS" "$tree/models"
ln -s "$BIN/halftone" "$SERVER" "$tree/build"
for name in stellarium gdmap redshift; do
	echo "{\"id\": \"$name\", \"text\": \"$name: a program\", \"summary\": \"a program\"}"
done >"$tree/build/demo/packages.jsonl"
printf 'stellarium\ta program\n' >"$tree/build/demo/packages.tsv"
cd "$tree" || exit 1

demo() { # start it and wait until it serves
	PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	PORT=$PORT demo/demo.sh >"$WORK/said" 2>"$WORK/err" &
	PID=$!
	for _ in $(seq 600); do
		grep -q 'Ctrl-C stops it' "$WORK/said" && return 0
		kill -0 "$PID" 2>/dev/null || break
		sleep 0.05
	done
	cat "$WORK/said" "$WORK/err"
	exit 1
}

demo
check "imports" grep -q '^3 documents stored in' "$WORK/err"
sed -n 's/^\(\$\| \) *\(build\/halftone search .*\)/\2/p' "$WORK/said" >"$WORK/searches"
check "prints four searches" test "$(wc -l <"$WORK/searches")" = 4
while read -r line; do
	check "can be typed: $line" grep -q '^3 hits in' <(bash -c "$line" 2>&1)
done <"$WORK/searches"
stop
check "says goodbye" grep -q "^Stopped. 'make demo' serves the same again" "$WORK/said"
demo
check "finds them again" grep -q 'The 3 packages of the last run are still there' "$WORK/said"
stop
finish
