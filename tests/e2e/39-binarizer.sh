#!/bin/bash
# Claim: GET /collections/{c}/binarizer gives the file of the binarizer that made a
# collection's codes, of whatever version, also one that stands in no models directory
# (fitted, untrained); halftone train --compatible-with takes it, and what it makes of it
# searches the codes that are there, beside new ones, over a restart.
. "$(dirname "$0")/common.sh"
HALFTONE=$(realpath "$BIN/halftone")
OURS=$WORK/models
mkdir -p "$OURS"
ln -s "$(realpath "$MODELS/static")" "$OURS/static"
MODELS=$OURS
C=/collections/c
versions='.result.config.params.versions'

# 2,000 items by two encoders.
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$(dirname "$0") python3 - "$WORK" <<'EOP'
import os, sys
from two_encoders import both, npy
os.chdir(sys.argv[1])
rows = [both(.1) for i in range(2000)]
old, new = ([r[k] for r in rows] for k in (0, 1))
npy("old.npy", old), npy("new.npy", new)
with open("new.lines", "w") as f:
    for row in new:
        print([round(x, 6) for x in row], file=f)
EOP
row() { sed -n "$(($1 + 1))p" "$WORK/new.lines"; }
fetch() { # PATH FILE: sets $STATUS, $WORK/head
	STATUS=$(curl -sS -m 60 -D "$WORK/head" -o "$2" -w '%{http_code}' "$URL$1")
}
train() {
	(cd "$WORK" && "$HALFTONE" train --bits 1 "$@" >out 2>err)
	RC=$?
}

start
"$HALFTONE" import --collection c --url "$URL" --bits 2 "$WORK/old.npy" 2>"$WORK/err"
expect "fitted" 200 "" GET $C
equal "fitted" '.result.config.params.codes.binarizer' '"fitted"'
id=$(jq -r '.result.config.params.codes.binarizer_id' <<<"$ANSWER")

# ---- the file ----
fetch $C/binarizer "$WORK/fitted.safetensors"
check "a file" test "$STATUS" = 200
check "its type" grep -qi '^Content-Type: application/octet-stream' "$WORK/head"
check "its name" grep -qi '^Content-Disposition: attachment; filename="binarizer.safetensors"' "$WORK/head"
n=$(stat -c %s "$WORK/fitted.safetensors")
check "HEAD" grep -qi "^Content-Length: $n" <(curl -sSI "$URL$C/binarizer" | tr -d '\r')
fetch "$C/binarizer?wait=true&version=1" "$WORK/first"
check "version 1" cmp "$WORK/first" "$WORK/fitted.safetensors"
expect "no such version" 404 "expected one of those" GET "$C/binarizer?version=2"
expect "no number" 404 "not x" GET "$C/binarizer?version=x"
expect "nothing" 404 "expected one of those" GET "$C/binarizer?version="
expect "no such collection" 404 "" GET /collections/none/binarizer
expect "another method" 405 "GET, HEAD" PUT $C/binarizer '{}'

# ---- a compatible one ----
mkdir -p "$OURS/new"
train --vectors new.npy --old-vectors old.npy --compatible-with fitted.safetensors --old-bits 2 \
	--output "$OURS/new/binarizer.safetensors"
if grep -q 'libopenblas0' "$WORK/err"; then
	echo "skipped: OpenBLAS is not installed"
	stop
	exit 77
fi
check "train: $(head -n 1 "$WORK/err")" test $RC = 0
check "whose codes" grep -q "codes of fitted.safetensors ($id)" "$WORK/out"
stop
start
expect "change" 200 '"result":true' PATCH $C '{"codes":{"binarizer":"new"}}'
for round in before after; do
	found=0
	for i in $(seq 0 50 1950); do
		expect "search $round" 200 "" POST $C/points/query "{\"query\":$(row "$i"),\"limit\":10}"
		found=$((found + $(jq "[.result.points[].id]|any(. == $i)" <<<"$ANSWER" | grep -c true)))
	done
	check "found $round: $found of 40" test $found -ge 36
	[ $round = before ] || break
	# Some come again, by the new encoder; and the server starts anew.
	for i in $(seq 0 100 1950); do
		expect "again" 200 "" PUT $C/points "{\"points\":[{\"id\":$i,\"vector\":$(row "$i")}]}"
	done
	kill_server
	start
	expect "two versions" 200 "" GET $C
	equal "two versions" "$versions|map(.documents)" '[1980,20]'
done
fetch $C/binarizer "$WORK/newest"
check "the newest" cmp "$WORK/newest" "$OURS/new/binarizer.safetensors"
fetch "$C/binarizer?version=1" "$WORK/first"
check "the older, after a restart" cmp "$WORK/first" "$WORK/fitted.safetensors"

# ---- untrained ----
expect "create" 200 "" PUT /collections/u '{"vectors":{"size":96,"distance":"Cosine"},"codes":{"bits":2}}'
expect "untrained" 200 "" GET /collections/u
id=$(jq -r '.result.config.params.codes.binarizer_id' <<<"$ANSWER")
fetch /collections/u/binarizer "$WORK/untrained.safetensors"
check "untrained: a file" test "$STATUS" = 200
train --vectors new.npy --old-vectors old.npy --compatible-with untrained.safetensors --old-bits 2 --output u.safetensors
check "untrained: train" test $RC = 0
check "untrained: whose codes" grep -q "codes of untrained.safetensors ($id)" "$WORK/out"
stop
finish
