#!/bin/bash
# Claim: halftone convert makes a BERT-family folder into a model that embeds alike here
# and in a server, in floats and in bytes, and both search one collection; wrong options
# are exit 2, folders that are not converted exit 1, each with a message that says why.
. "$(dirname "$0")/common.sh"
HALFTONE=$BIN/halftone
golden=$ROOT/tests/golden
MODELS=$WORK/models
mkdir "$MODELS"

run() { # NAME STATUS WORD arguments of halftone convert...
	local name=$1 status=$2 word=$3 out rc
	shift 3
	checks=$((checks + 1))
	out=$(timeout 60 "$HALFTONE" convert "$@" 2>&1)
	rc=$?
	[ "$rc" = "$status" ] || fail "$name: expected exit $status, not $rc: $out"
	grep -qF -- "$word" <<<"$out" || fail "$name: expected '$word' in: $out"
}
run "help" 0 "bge-small-en-v1.5" --help
run "nothing" 2 "--from is missing"
run "no layers" 2 "--layers is missing" --from "$golden/bert_mean" --output "$WORK/x"
run "no output" 2 "--output is missing" --from "$golden/bert_mean" --layers int8
run "layers" 2 '"int4"' --from "$golden/bert_mean" --output "$WORK/x" --layers int4
run "pooling" 2 '"max"' --from "$golden/bert_mean" --output "$WORK/x" --layers int8 --pooling max
run "unknown" 2 "--help" --from "$golden/bert_mean" --sideways
run "a stray word" 2 "options only" --from "$golden/bert_mean" --output "$WORK/x" --layers int8 x
run "no such folder" 1 "/nowhere" --from /nowhere --output "$WORK/x" --layers int8 --pooling mean
run "not a BERT" 1 "halftone-static" --from "$ROOT/models/static" --output "$WORK/x" --layers int8 --pooling mean
cp -r "$golden/bert_mean" "$WORK/own"
run "into itself" 2 "another folder" --from "$WORK/own" --output "$WORK/own/." --layers int8
check "the model is as it was" cmp "$WORK/own/config.json" "$golden/bert_mean/config.json"
check "listed" grep -q '^  convert ' <("$HALFTONE" --help)

run "float" 0 "2 layers (float), 64 dimensions" --from "$golden/bert_bf16" --output "$MODELS/float" --layers float
run "no Normalize" 0 "length 1 all the same" --from "$golden/bert_bf16" --output "$MODELS/int8" --layers int8
run "prefixes" 0 'queries begin with "ask: "' --from "$golden/bert_mean" --output "$MODELS/asked" --layers int8 --query-prefix 'ask: '
check "nothing but the three files" test "$(ls "$MODELS/float" | tr '\n' ' ')" = "config.json model.safetensors vocab.txt "
cosine='($e | map(. * .) | add | sqrt) as $n | [.data[0].embedding, $e] | transpose | map(.[0] * .[1]) | add / $n'

start
n=0
while read -r row; do
	text=$(jq -c .text <<<"$row")
	for form in float:0.9999 int8:0.99; do
		ask POST /v1/embeddings "{\"model\":\"${form%:*}\",\"input\":$text}"
		check "${form%:*} $text" jq -e --argjson e "$(jq -c .vector <<<"$row")" \
			"$cosine >= ${form#*:}" <<<"$ANSWER" >/dev/null
		n=$((n + 1))
	done
done < <(jq -c 'select(.role == "plain")' "$golden/bert_bf16/expected.jsonl")
check "texts were embedded" test $n -ge 16

expect "create" 200 "" PUT /collections/c '{"vectors":{"distance":"Cosine"},"text_model":"float"}'
jq -c 'select(.role == "plain") | {text}' "$golden/bert_bf16/expected.jsonl" >"$WORK/t.jsonl"
check "import" "$HALFTONE" import --url "$URL" --collection c "$WORK/t.jsonl"
expect "the other form asks" 200 '"points"' POST /collections/c/points/query '{"query":{"text":"a cat","model":"int8"},"limit":1}'
stop
finish
