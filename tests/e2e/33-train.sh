#!/bin/bash
# Claim: halftone train makes a binarizer of vectors that finds more of their neighbours
# than the untrained one; a server serves it by the name of its folder, in every distance,
# also over a restart; codes come and go as with any other; bad vectors, and a place where
# the result cannot go, are refused in words and leave nothing behind.
. "$(dirname "$0")/common.sh"
HALFTONE=$BIN/halftone
OURS=$WORK/models
mkdir -p "$OURS/mine"
ln -s "$(realpath "$MODELS/static")" "$OURS/static"
MODELS=$OURS

# 4,000 texts of made-up topics.
awk 'BEGIN {
	n = split("river mountain violin engine cheese planet doctor garden window market " \
		"soldier poem bridge ocean spider lawyer candle tunnel carpet rocket salt " \
		"winter horse ladder mirror needle oven pencil queen rope", word, " ")
	srand(7)
	for (i = 0; i < 4000; i++) {
		line = ""
		for (j = 0; j < 6; j++)
			line = line word[1 + int(n * rand())] " "
		print line
	}
}' >"$WORK/texts.txt"
"$HALFTONE" embed --model "$OURS/static" --output "$WORK/v.npy" "$WORK/texts.txt" 2>"$WORK/err" ||
	cat "$WORK/err" >&2

train() { # ARGUMENT...: sets $RC, $ANSWER (stdout)
	ANSWER=$("$HALFTONE" train "$@" 2>"$WORK/err")
	RC=$?
}
refused() { # NAME EXIT WORDS ARGUMENT...
	local name=$1 rc=$2 words=$3
	shift 3
	train "$@"
	check "$name: exit $RC" test $RC = "$rc"
	check "$name: $(head -n 1 "$WORK/err")" grep -qF -- "$words" "$WORK/err"
	check "$name: nothing is written" test -z "$(ls "$OURS/mine")"
}

OUT=$OURS/mine/binarizer.safetensors
refused "no vectors" 2 "--vectors and --output" --output "$OUT"
refused "bits" 2 "1 to 4" --vectors "$WORK/v.npy" --output "$OUT" --bits 5
refused "centres" 2 "0 to 1024" --vectors "$WORK/v.npy" --output "$OUT" --centres 1025
refused "too many centres" 1 "at most 875 for 3500" --vectors "$WORK/v.npy" --output "$OUT" --centres 1000
refused "dims" 2 "multiple of 64" --vectors "$WORK/v.npy" --output "$OUT" --dims 100
refused "no such file" 1 "$WORK/none.npy" --vectors "$WORK/none.npy" --output "$OUT"
refused "no format" 2 ".npy" --vectors "$WORK/texts.txt" --output "$OUT"
head -c 100000 "$WORK/v.npy" >"$WORK/short.npy"
refused "truncated" 1 "$WORK/short.npy" --vectors "$WORK/short.npy" --output "$OUT"
python3 - "$WORK" <<'EOF'
import struct, sys
def fvecs(name, rows):
    with open(f"{sys.argv[1]}/{name}.fvecs", "wb") as f:
        for row in rows:
            f.write(struct.pack(f"<i{len(row)}f", len(row), *row))
fvecs("few", [[i, 1.0, 2.0] for i in range(999)])
fvecs("same", [[1.0, 2.0, 3.0]] * 2000)
fvecs("zero", [[i, 1.0] for i in range(1500)] + [[0.0, 0.0]])
fvecs("nan", [[float(i), 1.0] for i in range(1500)] + [[float("nan"), 0.0]])
EOF
refused "few" 1 "at least 1000 vectors to learn from, not 999" --vectors "$WORK/few.fvecs" --output "$OUT"
refused "all alike" 1 "vectors that differ" --vectors "$WORK/same.fvecs" --output "$OUT"
refused "a row of zeros" 1 "row 1500" --vectors "$WORK/zero.fvecs" --output "$OUT"
refused "not a number" 1 "row 1500" --vectors "$WORK/nan.fvecs" --output "$OUT"

train --vectors "$WORK/v.npy" --output "$OUT" --bits 1 --seed 3
if grep -q 'libopenblas0' "$WORK/err"; then
	echo "skipped: OpenBLAS is not installed"
	exit 77
fi
check "trained" test $RC = 0
read -r _ trained _ untrained <<<"${ANSWER//,/ }"
check "better than untrained: $ANSWER" \
	awk "BEGIN { exit !($trained > $untrained + 0.02 && $untrained > 0) }"
check "time last" grep -Eq '^trained in [0-9.]+ s$' <(tail -n 1 "$WORK/err")
cp "$OUT" "$WORK/first"
train --vectors "$WORK/v.npy" --output "$OUT" --bits 1 --seed 3
check "the same again" cmp "$OUT" "$WORK/first"
check "no warning" sh -c '! grep -q "^warning: these codes" "$0"' "$WORK/err"
train --vectors "$WORK/v.npy" --output "$WORK/thousand" --bits 1 --rows 1000 --centres 0
check "as many as asked for: $(grep 'held out' "$WORK/err")" \
	grep -q '^1000 of 4000 vectors .* held out 400 and 100 queries' "$WORK/err"
train --vectors "$WORK/v.npy" --output "$OUT" --bits 2 --compatible-with "$OUT"
check "not over the older one: exit $RC" test $RC = 2
check "not over the older one: is there" cmp "$OUT" "$WORK/first"
(
	ulimit -f 20
	exec "$HALFTONE" train --vectors "$WORK/v.npy" --output "$OUT" --bits 1 2>"$WORK/err"
) >/dev/null
check "a file at its limit: exit" test $? = 1
check "a file at its limit: $(tail -n 2 "$WORK/err")" grep -q 'File too large' "$WORK/err"
check "a file at its limit: nothing is left" test "$(ls "$OURS/mine")" = binarizer.safetensors
check "a file at its limit: as it was" cmp "$OUT" "$WORK/first"
train --vectors "$WORK/v.npy" --output "$WORK/none/binarizer.safetensors" --bits 1
check "nowhere to go: exit" test $RC = 1
check "nowhere to go" grep -qF "$WORK/none" "$WORK/err"
check "nowhere to go: before anything is read" test "$(wc -l <"$WORK/err")" -le 2
train --vectors "$WORK/v.npy" --output "$WORK"
check "a folder: $(head -n 1 "$WORK/err")" grep -qF "'$WORK': expected the name of a file" "$WORK/err"
train --vectors "$WORK/v.npy" --output ""
check "an empty name: $(head -n 1 "$WORK/err")" grep -qF "'': expected the name of a file" "$WORK/err"

train --vectors "$WORK/v.npy" --output "$OUT" --bits 2

# What it is worth, by the command that measures.
measure() { # ARGUMENT...: sets $RC and $ANSWER (stdout)
	ANSWER=$("$HALFTONE" eval --corpus "$WORK/v.npy" --queries "$WORK/v.npy" --bits 2 "$@" 2>"$WORK/err")
	RC=$?
}
measure --json --binarizer untrained
untrained=$(jq '."overlap@10"' <<<"$ANSWER")
measure --json --binarizer "$OUT" --ranks "$WORK/ranks.npy"
check "vectors: exit" test $RC = 0
equal "vectors: sizes" '[.documents,.queries,.bits,.bytes_per_document]' '[4000,4000,2,72]'
equal "vectors: better than untrained" "[.\"overlap@10\" > $untrained + 0.02, .\"overlap@100\" < 1]" '[true,true]'
check "vectors: each row finds itself" python3 - "$WORK/ranks.npy" <<'EOF'
import struct, sys
data = open(sys.argv[1], "rb").read()
start = 10 + struct.unpack_from("<H", data, 8)[0]
ranks = struct.unpack_from(f"<{4000 * 100}f", data, start)
firsts = ranks[::100]
assert all(len(set(ranks[i:i + 100])) == 100 for i in range(0, len(ranks), 100))
sys.exit(sum(first == i for i, first in enumerate(firsts)) < 3900)
EOF
measure
check "vectors: for people" grep -Eq '^overlap@10 +0\.[0-9]{4}$' <<<"$ANSWER"
measure --bits 0
check "vectors: floats alone" test $RC = 2
measure --model "$OURS/static"
check "vectors: and a model" test $RC = 2
measure --queries "$WORK/texts.txt"
check "vectors: asked by texts" test $RC = 2
measure --queries "$WORK/few.fvecs"
check "vectors: other dims: $(head -n 1 "$WORK/err")" grep -q 'queries of 256 dimensions' "$WORK/err"
measure --corpus "$WORK/zero.fvecs" --queries "$WORK/zero.fvecs"
check "vectors: zeros: $(head -n 1 "$WORK/err")" grep -q 'zero.fvecs: row 1500' "$WORK/err"
mkdir "$OURS/plain"
train --vectors "$WORK/v.npy" --output "$OURS/plain/binarizer.safetensors" --centres 0
check "no centres: exit" test $RC = 0
measure --json --binarizer "$OURS/plain/binarizer.safetensors"
equal "no centres: four bytes less" .bytes_per_document 68
start
expect "signs beside centres" 400 "--centres 0" PUT /collections/signs '{"vectors":{"distance":"Cosine"},
	"text_model":"static","codes":{"bits":2,"binarizer":"mine","distance":"hamming"}}'
for distance in int8 sdc hamming; do
	binarizer=mine
	[ $distance != hamming ] || binarizer=plain
	expect "$distance" 200 "" PUT /collections/$distance "{\"vectors\":{\"distance\":\"Cosine\"},
		\"text_model\":\"static\",\"codes\":{\"bits\":2,\"binarizer\":\"$binarizer\",\"distance\":\"$distance\"}}"
	"$HALFTONE" import --url "$URL" --collection $distance --format jsonl <(
		head -n 500 "$WORK/texts.txt" | jq -Rc '{id: input_line_number, text: .}') 2>"$WORK/err" ||
		cat "$WORK/err" >&2
	text=$(sed -n 200p "$WORK/texts.txt")
	expect "$distance: search" 200 "" POST /collections/$distance/points/query \
		"{\"query\":{\"text\":\"$text\"},\"limit\":3,\"with_payload\":true}"
	equal "$distance: itself first" '.result.points[0].id' 200
	expect "$distance: like a point" 200 "" POST /collections/$distance/points/query '{"query":17,"limit":2}'
	equal "$distance: its kin" '.result.points|length' 2
done
code() { # BYTES OF ITS PLACE: a code of ones with that behind it
	printf '{"points":[{"id":9000,"vector":{"model":"codes","object":{"b64":"%s"}}}]}' \
		"$({ head -c 64 /dev/zero | tr '\0' '\377' && printf "$1"; } | base64 -w 0)"
}
expect "a code at a centre" 200 "" PUT "/collections/int8/points?wait=true" "$(code '\3\0\0\74')"
expect "its vector" 200 "" POST /collections/int8/points '{"ids":[9000],"with_vector":true}'
equal "as long as any" '.result[0].vector|map(.*.)|add|(. > 0.99 and . < 1.01)' true
expect "no such centre" 400 "one of 32 centres, not at number 65535" \
	PUT "/collections/int8/points?wait=true" "$(code '\377\377\0\74')"
expect "no such share" 400 "share" PUT "/collections/int8/points?wait=true" "$(code '\0\0\0\174')"
expect "no place" 400 "68" PUT "/collections/int8/points?wait=true" "$(code '')"
expect "other bits" 400 "2 bits" PUT /collections/other \
	'{"vectors":{"distance":"Cosine"},"text_model":"static","codes":{"bits":3,"binarizer":"mine"}}'
check "other bits: by its name: $ANSWER" grep -q '"binarizer mine: expected' <<<"$ANSWER"
ask POST /collections/int8/points/query "{\"query\":{\"text\":\"$text\"},\"limit\":10}"
before=$(jq -c .result.points <<<"$ANSWER")
expect "vectors" 200 "" POST /collections/int8/points '{"ids":[200],"with_vector":true}'
equal "a vector of length 1" '.result[0].vector|map(.*.)|add|(. > 0.999 and . < 1.001)' true
rm "$OUT"
kill_server
start
ask POST /collections/int8/points/query "{\"query\":{\"text\":\"$text\"},\"limit\":10}"
check "the same after kill -9 and without the file" test "$(jq -c .result.points <<<"$ANSWER")" = "$before"
stop
finish
