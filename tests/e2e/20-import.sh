#!/bin/bash
# Claim: halftone import stores text, vectors (JSON, .npy, .fvecs) and codes, each
# document once under its id; a bad line stops it with file and line and exit 1, wrong
# use is exit 2; a signal stops it in order; what embed writes, import reads.
. "$(dirname "$0")/common.sh"
HALFTONE=$BIN/halftone
MODEL=$MODELS/static
start

import() { # COLLECTION ARGUMENT...: sets $RC and $SAID (stderr)
	local collection=$1
	shift
	SAID=$("$HALFTONE" import --url "$URL" --collection "$collection" "$@" 2>&1 >/dev/null)
	RC=$?
}

counted() { # COLLECTION N
	expect "count $1" 200 "" POST "/collections/$1/points/count" '{"exact":true}'
	equal "count $1" .result.count "$2"
}

nearest() { # NAME COLLECTION QUERY ID: the best hit of a query has this id
	expect "$1" 200 "" POST "/collections/$2/points/query" "{\"query\":$3,\"limit\":1}"
	equal "$1" '.result.points[0].id' "$4"
}

# ---- text ----
cat >"$WORK/text.jsonl" <<'END'
{"id": 7, "text": "A cat sleeps on the warm roof", "kind": "animal", "n": 1.50}
{"id": "doc-é", "text": "The bank raised its interest rates", "kind": "money"}

{"text": "Rain and wind are expected tomorrow", "nested": {"a": [1, null]}}
END
import text --bits 2 "$WORK/text.jsonl"
check "text: exit" test $RC = 0
check "text: last line" grep -q '^3 documents stored in .* s, .*reading.*waiting' <(tail -n 1 <<<"$SAID")
counted text 3
expect "text: info" 200 "" GET /collections/text
equal "text: bits" '.result.config.params.codes.bits' 2
equal "text: model" '.result.config.params.text_model' '"halftone-mini"'
nearest "text: meaning" text '{"text":"weather forecast, storm"}' 4
expect "text: payload" 200 '"n":1.50' POST /collections/text/points '{"ids":[7],"with_payload":true}'
equal "text: text is not kept" '.result[0].payload|keys' '["kind","n"]'
import text --keep-text - <"$WORK/text.jsonl"
check "again: exit" test $RC = 0
counted text 3
expect "kept" 200 "" POST /collections/text/points '{"ids":[4],"with_payload":true}'
equal "kept" '.result[0].payload' '{"nested":{"a":[1,null]},"text":"Rain and wind are expected tomorrow"}'

for distance in Dot Euclid; do
	import text-$distance --distance $distance "$WORK/text.jsonl"
	check "text $distance: exit" test $RC = 0
	counted text-$distance 3
	expect "text $distance: info" 200 "" GET /collections/text-$distance
	equal "text $distance: made" '.result.config.params|[.vectors.size,.vectors.distance]' \
		"[384,\"$distance\"]"
	nearest "text $distance: meaning" text-$distance '{"text":"weather forecast, storm"}' 4
done

# ---- vectors ----
sed -n 's/.*"text": "\([^"]*\)".*/\1/p' "$WORK/text.jsonl" >"$WORK/lines"
"$HALFTONE" embed --model "$MODEL" --output "$WORK/v.npy" "$WORK/lines" 2>/dev/null
check "embed: exit" test $? = 0
"$HALFTONE" embed --model "$MODEL" "$WORK/lines" >"$WORK/v.jsonl" 2>/dev/null
check "embed: lines" test "$(jq -c '.vector|length' "$WORK/v.jsonl" | sort -u)" = 256
for i in 0 1 2; do # a row of .fvecs: its dimensions, then the row that .npy has
	printf '\0\1\0\0'
	tail -c +$((129 + i * 1024)) "$WORK/v.npy" | head -c 1024
done >"$WORK/v.fvecs"
for format in npy fvecs jsonl; do
	import v-$format --bits 4 --dims 512 --distance Dot "$WORK/v.$format"
	check "$format: exit" test $RC = 0
	counted v-$format 3
	expect "$format: info" 200 "" GET /collections/v-$format
	equal "$format: made" '.result.config.params|[.vectors.size,.vectors.distance,.codes.dims]' \
		'[256,"Dot",512]'
done
for i in 0 1 2; do
	vector=$(sed -n "$((i + 1))s/.*: \(\[.*\]\).*/\1/p" "$WORK/v.jsonl")
	nearest "npy row $i" v-npy "$vector" $i
	scores=$ANSWER
	nearest "fvecs row $i" v-fvecs "$vector" $i
	check "same score $i" test "$(jq .result.points[0].score <<<"$scores")" = \
		"$(jq .result.points[0].score <<<"$ANSWER")"
	nearest "jsonl row $i" v-jsonl "$vector" $((i + 1))
done

# A file of 100 rows or more: the collection that is made for it gets its mean.
expect "few rows: no mean" 200 "" GET /collections/v-npy
equal "few rows: no mean" '.result.config.params.codes.binarizer' '"untrained"'
for i in $(seq 150); do echo "report $i: rain and wind are expected in week $((i * 7))"; done >"$WORK/many"
"$HALFTONE" embed --model "$MODEL" --output "$WORK/m.npy" "$WORK/many" 2>/dev/null
"$HALFTONE" embed --model "$MODEL" "$WORK/many" 2>/dev/null >"$WORK/m.jsonl"
for distance in Cosine Euclid; do
	import m-$distance --bits 1 --distance $distance "$WORK/m.npy"
	check "mean $distance: exit" test $RC = 0
	counted m-$distance 150
	expect "mean $distance: info" 200 "" GET /collections/m-$distance
	equal "mean $distance: fitted" '.result.config.params.codes.binarizer' '"fitted"'
	for i in 0 77 149; do
		vector=$(sed -n "$((i + 1))s/.*: \(\[.*\]\).*/\1/p" "$WORK/m.jsonl")
		nearest "mean $distance: row $i" m-$distance "$vector" $i
	done
done
import v-npy "$WORK/m.npy"
check "a mean for what is there: exit" test $RC = 0
expect "a mean for what is there" 200 "" GET /collections/v-npy
equal "a mean for what is there" '.result.config.params.codes.binarizer' '"untrained"'

# ---- codes ----
for i in $(seq 50); do
	printf '{"id":%d,"code":"%s"}\n' "$i" "$(head -c 16 /dev/urandom | base64)"
done >"$WORK/codes.jsonl"
import codes --dims 64 --bits 2 "$WORK/codes.jsonl"
check "codes: exit" test $RC = 0
counted codes 50
for i in 1 25 50; do
	nearest "code $i" codes "$(sed -n "${i}s/.*\"code\":\(\".*\"\).*/{\"object\":{\"b64\":\1},\"model\":\"codes\"}/p" \
		"$WORK/codes.jsonl")" "$i"
done
# The same code with and without the length of its vector: scores in proportion.
code=$(sed -n '1s/.*"code":\("[^"]*"\).*/\1/p' "$WORK/codes.jsonl")
printf '{"id":1,"code":%s}\n{"id":2,"code":%s,"norm":4}\n' "$code" "$code" >"$WORK/norms.jsonl"
import norms --dims 64 --bits 2 --distance Dot "$WORK/norms.jsonl"
check "norms: exit" test $RC = 0
nearest "norms" norms "{\"object\":{\"b64\":$code},\"model\":\"codes\"}" 2
expect "norms: scores" 200 "" POST /collections/norms/points/query \
	"{\"query\":{\"object\":{\"b64\":$code},\"model\":\"codes\"}}"
equal "norms: scores" '[.result.points[].score]|(.[0]/.[1]*1000|round)' 4000
import codes2 "$WORK/codes.jsonl"
check "codes need a shape" test $RC = 1
check "codes need a shape: text" grep -q -- '--dims and --bits' <<<"$SAID"

# ---- what goes wrong ----
{ sed -n 1,2p "$WORK/text.jsonl"; echo '{"id": 9, "text": 5}'; } >"$WORK/bad.jsonl"
import bad "$WORK/bad.jsonl"
check "bad line: exit" test $RC = 1
check "bad line: where" grep -q "$WORK/bad.jsonl:3: " <<<"$SAID"
check "bad line: how many" grep -q '^2 documents stored (not all)' <<<"$SAID"
counted bad 2
import one - <<<'{"text": "alone"}'
check "one document" grep -q '^1 document stored in .*, 0 requests repeated$' <<<"$SAID"
head -c 1000 "$WORK/v.npy" >"$WORK/cut.npy"
import cut "$WORK/cut.npy"
check "cut file" test $RC = 1
check "cut file: what" grep -q 'needs 3200 bytes, but the file has 1000' <<<"$SAID"
import v-npy "$WORK/codes.jsonl"
check "codes of another shape" test $RC = 1
import text --bits 4 "$WORK/text.jsonl"
check "bits of another" test $RC = 1
import text "$WORK/nothing.jsonl"
check "no file" test $RC = 1
import text
check "no argument" test $RC = 2
import text --bits 9 "$WORK/text.jsonl"
check "wrong bits" test $RC = 2
"$HALFTONE" nonsense 2>/dev/null
check "wrong command" test $? = 2
for command in import search embed eval; do
	check "$command --help" grep -q "^usage: halftone $command" <("$HALFTONE" $command --help)
done
check "version" grep -q '^halftone [0-9]' <("$HALFTONE" --version)

# What only the server can tell: all before the bad document is stored, and it is named.
refused() { # NAME FILE PLACE PART N: stops after N documents at FILE PLACE
	import "refused-$1" "$2"
	check "refused $1: exit" test $RC = 1
	check "refused $1: where and why" grep -q "$2$3: the server answered 4.*: $4" <<<"$SAID"
	check "refused $1: how many" grep -q "^$5 documents stored (not all)" <<<"$SAID"
	counted "refused-$1" "$5"
}
long=$(printf '%0100000d' 0)
for i in $(seq 10); do
	[ "$i" -ne 3 ] || echo
	[ "$i" -ne 6 ] || echo "{\"id\":6,\"text\":\"$long\"}"
	[ "$i" -eq 6 ] || echo "{\"id\":$i,\"text\":\"rain $i\"}"
done >"$WORK/long.jsonl"
refused text "$WORK/long.jsonl" :7 'text: .*max_text_bytes' 5
for i in $(seq 10); do
	echo "{\"id\":$i,\"text\":\"rain\",\"p\":\"$([ "$i" -ne 10 ] || echo "$long")\"}"
done >"$WORK/payload.jsonl"
refused payload "$WORK/payload.jsonl" :10 'payload: .*max_payload_bytes' 9
{
	head -c $((128 + 2048)) "$WORK/v.npy"
	head -c 1024 /dev/zero
} >"$WORK/zero.npy"
refused zero "$WORK/zero.npy" ', row 2' 'vector: .*zero' 2

# ---- a signal ----
"$HALFTONE" import --url "$URL" --collection stopped - 2>"$WORK/said" < <(
	sed -n 1p "$WORK/text.jsonl"
	sleep 30
) &
importer=$!
sleep 0.5
kill -TERM $importer
wait $importer
check "stopped: exit" test $? = 1
check "stopped: says so" grep -q '^stopped; import the same again' "$WORK/said"
stop
finish
