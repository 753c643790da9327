#!/bin/bash
# Claim: halftone search prints rank, score, id and what the payload tells most, by
# falling score, safe for a terminal; --json prints the result as the server gave it;
# what is not there is exit 1, wrong use exit 2.
. "$(dirname "$0")/common.sh"
HALFTONE=$BIN/halftone
start

cat >"$WORK/docs.jsonl" <<'END'
{"id": 1, "text": "cats and kittens", "title": "On cats", "summary": "Small \u001b[31mfurry\u009b31m\tanimals"}
{"id": "two", "text": "interest rates of banks", "first": "plain string", "other": "second string", "n": 3}
{"id": 3, "text": "rain, storm and snow", "title": "Wetter heute: Stürme über Zürich, und noch sehr viel mehr davon, weit über das Ende einer gewöhnlichen Zeile hinaus, ja bis hierher"}
{"id": 4, "text": "painting a wall"}
END
"$HALFTONE" import --url "$URL" --collection docs "$WORK/docs.jsonl" 2>/dev/null
check "import" test $? = 0

search() { # ARGUMENT...: sets $RC and $SAID (stdout)
	SAID=$("$HALFTONE" search --url "$URL" --collection docs "$@" 2>"$WORK/err")
	RC=$?
}

search "young cat"
check "exit" test $RC = 0
check "first line" grep -Eq '^  1 +0\.[0-9]{4}  1$' <(sed -n 1p <<<"$SAID")
check "title" test "$(sed -n 2p <<<"$SAID")" = "    On cats"
check "summary, no control characters" \
	test "$(sed -n 3p <<<"$SAID")" = "    Small  [31mfurry 31m animals"
check "four hits" test "$(grep -Ec '^  [1-4] ' <<<"$SAID")" = 4
check "falling" test "$(grep -E '^  [1-4] ' <<<"$SAID" | awk '{ print $2 }')" = \
	"$(grep -E '^  [1-4] ' <<<"$SAID" | awk '{ print $2 }' | sort -rn)"
check "time" grep -Eq '^4 hits in [0-9.]+ s$' "$WORK/err"
search --limit 1 "money in the bank"
check "one hit" grep -Eq '^1 hit in [0-9.]+ s$' "$WORK/err"
check "limit" test "$(grep -c . <<<"$SAID")" = 3
check "string id" grep -Eq '^  1 .*  two$' <<<"$SAID"
check "first strings" grep -qx '    plain string' <<<"$SAID"
check "second string" grep -qx '    second string' <<<"$SAID"
search --limit 1 "heavy weather"
check "cut" grep -q '^    Wetter heute: Stürme über .*\.\.\.$' <<<"$SAID"
check "cut at the width" test "$(sed -n 2p <<<"$SAID" | LC_ALL=C.UTF-8 wc -m)" = 101
search --json "young cat"
check "json" test "$(jq -r '.points[0].payload.title' <<<"$SAID")" = "On cats"
check "json on a line" test "$(wc -l <<<"$SAID")" = 1
search --json 'quotes " and \ and
a newline'
check "escapes" test $RC = 0

search --filter '{"must":{"key":"n","match":{"value":3}}}' "young cat"
check "filter" grep -Eq '^  1 .*  two$' <<<"$SAID"
check "filter: one hit" grep -q '^1 hit' "$WORK/err"
search --filter '{"must":{"key":"n","equals":3}}' x
check "filter that is none" test $RC = 1
check "filter that is none: text" grep -q '400.*filter' "$WORK/err"
search --filter '{"must":' x
check "filter that is no JSON" test $RC = 2
search --filter '[]' x
check "filter that is no object" grep -q 'expected an object' "$WORK/err"

SAID=$("$HALFTONE" search --url "$URL" --collection nowhere x 2>&1)
check "no collection: exit" test $? = 1
check "no collection: text" grep -q '404.*nowhere' <<<"$SAID"
search
check "no text" test $RC = 2
search one two
check "two texts" test $RC = 2
check "two texts: text" grep -q 'one query text, not 2; put it in quotes' "$WORK/err"
search ""
check "empty text" test $RC = 2
check "empty text: text" grep -q 'a query text that is not empty' "$WORK/err"
SAID=$("$HALFTONE" search --url https://a --collection docs x 2>&1)
check "wrong url: exit" test $? = 2
check "wrong url: text" grep -q 'expected a URL like http://HOST:PORT.*' <<<"$SAID"
search --limit 0 x
check "limit 0" test $RC = 2
search --index hnsw x
check "not served" test $RC = 2

# What README shows finds what it says, from curl and from the command line.
expect "README: collection" 200 "" PUT /collections/notes \
	"$(sed -n "s/^  -d '\({\"text_model\".*}\)'$/\1/p" "$ROOT/README.md")"
points=$(sed -n "/-d '{\"points\": \[\$/,/\]}'\$/p" "$ROOT/README.md" |
	sed "1s/.*-d '//; \$s/'\$//")
expect "README: points" 200 "" PUT /collections/notes/points "$points"
query=$(sed -n 's/.*halftone search --collection notes "\(.*\)"$/\1/p' "$ROOT/README.md")
check "README: has a search" test -n "$query"
SAID=$("$HALFTONE" search --url "$URL" --collection notes "$query" 2>/dev/null)
check "README: exit" test $? = 0
check "README: first hit" grep -Eq '^  1 +0\.[0-9]{4}  2$' <(sed -n 1p <<<"$SAID")
stop

echo "the key" | tr ' ' - >"$WORK/key"
start --api-key-file "$WORK/key"
search --limit 1 cat
check "no key: exit" test $RC = 1
check "no key: text" grep -q 'the server answered 40[13]' "$WORK/err"
search --api-key-file "$WORK/key" --limit 1 cat
check "key from a file" test $RC = 0
HALFTONE_API_KEY=the-key search --limit 1 cat
check "key from the environment" test $RC = 0
HALFTONE_API_KEY=another search --limit 1 cat
check "wrong key" test $RC = 1
search --api-key-file "$WORK/nothing" cat
check "no key file" test $RC = 1
stop
SAID=$("$HALFTONE" search --url "$URL" --collection docs x 2>&1)
check "no server: exit" test $? = 1
check "no server: text" grep -q 'cannot connect' <<<"$SAID"
finish
