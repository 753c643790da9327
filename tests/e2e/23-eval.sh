#!/bin/bash
# Claim: halftone eval measures the same over HTTP as in process, bit for bit; floats
# are the reference of overlap; the temporary collection is gone afterwards, also after
# a failure and a signal; wrong use is exit 2.
. "$(dirname "$0")/common.sh"
HALFTONE=$BIN/halftone
MODEL=$MODELS/static
start

# 300 documents of made-up topics; a query shares a document's words.
words=(river mountain violin engine cheese planet doctor garden window market
	soldier poem bridge ocean spider lawyer candle tunnel carpet rocket)
for i in $(seq 0 299); do
	printf '{"_id": "d%d", "title": "%s and %s", "text": "about the %s of the %s"}\n' $i \
		"${words[i % 20]}" "${words[i / 20 % 20]}" "${words[(i * 7) % 20]}" "${words[(i / 3) % 20]}"
done >"$WORK/corpus.jsonl"
for i in $(seq 0 29); do
	printf '{"id": "q%d", "text": "%s with %s"}\n' $i "${words[i % 20]}" "${words[i / 20 % 20]}"
done >"$WORK/queries.jsonl"
{
	printf 'query-id\tcorpus-id\tscore\n'
	for i in $(seq 0 28); do
		printf 'q%d\td%d\t2\nq%d\td%d\t1\nq%d\tgone\t0\n' $i $i $i $((i + 20)) $i
	done
} >"$WORK/qrels.tsv"
FILES=(--corpus "$WORK/corpus.jsonl" --queries "$WORK/queries.jsonl" --qrels "$WORK/qrels.tsv")

evaluate() { # ARGUMENT...: sets $RC and $ANSWER (stdout)
	ANSWER=$("$HALFTONE" eval "${FILES[@]}" "$@" 2>"$WORK/err")
	RC=$?
}

evaluate --model "$MODEL" --bits 0 --json
check "float: exit" test $RC = 0
equal "float: overlap" '[."overlap@10",."overlap@100"]' '[1,1]'
equal "float: sizes" '[.documents,.queries,.bits,.bytes_per_document]' '[300,29,0,1024]'
equal "float: measures" '[."ndcg@10",."recall@10",."recall@100"]|map(. > 0.2 and . <= 1)' \
	'[true,true,true]'
check "unknown documents are told" grep -q '29 judgements .* lacks' "$WORK/err"
check "time last" grep -Eq '^evaluated in [0-9.]+ s$' <(tail -n 1 "$WORK/err")
for bits in 1 2 3 4; do
	evaluate --model "$MODEL" --bits $bits --json
	here=$ANSWER
	place=0
	[ ! -e "$MODEL/binarizer.$bits.safetensors" ] || place=4 # learned, with centres
	equal "$bits: bytes" .bytes_per_document $((32 * bits + 4 + place))
	equal "$bits: overlap" '."overlap@100" > 0.5 and ."overlap@100" <= 1' true
	evaluate --model "$MODEL" --url "$URL" --bits $bits --json
	check "$bits: exit" test $RC = 0
	check "$bits: the same over HTTP" test "$ANSWER" = "$here"
done
evaluate --model "$MODEL" --bits 2 --dims 512 --binarizer untrained --json
here=$ANSWER
equal "untrained: bytes" .bytes_per_document 132
evaluate --model "$MODEL" --url "$URL" --bits 2 --dims 512 --binarizer untrained --json
check "untrained: the same over HTTP" test "$ANSWER" = "$here"
evaluate --url "$URL" --json
equal "no model: overlap" '[."overlap@10",."overlap@100",.bits]' '[null,null,4]'
evaluate --url "$URL"
check "for people" grep -Eq '^ndcg@10 +0\.[0-9]{4}$' <<<"$ANSWER"

gone() { # NAME: no collection is left
	expect "$1" 200 "" GET /collections
	equal "$1" .result.collections '[]'
}
gone "all are dropped"
evaluate --url "$URL" --text-model nobody
check "no such model: exit" test $RC = 1
gone "no such model"
"$HALFTONE" eval "${FILES[@]}" --url "$URL" --bits 1 --dims 64 --binarizer nobody 2>/dev/null
check "no such binarizer" test $? = 1

# A signal in the middle of a larger import.
for i in $(seq 0 39999); do
	printf '{"id":"%d","text":"%s %s %d"}\n' $i "${words[i % 20]}" "${words[i / 20 % 20]}" $i
done >"$WORK/large.jsonl"
"$HALFTONE" eval --corpus "$WORK/large.jsonl" --queries "$WORK/queries.jsonl" \
	--qrels <(printf 'q1\t5\t1\n') --url "$URL" 2>"$WORK/err" &
evaluator=$!
for _ in $(seq 200); do
	ask GET /collections
	[ "$(jq '.result.collections|length' <<<"$ANSWER")" = 1 ] && break
	sleep 0.02
done
equal "one while it runs" '.result.collections|length' 1
kill -TERM $evaluator
wait $evaluator
check "stopped: exit" test $? = 1
gone "stopped"

evaluate
check "neither url nor model" test $RC = 2
evaluate --url https://a
check "wrong url" test $RC = 2
evaluate --url "$URL" --bits 0
check "floats of a server" test $RC = 2
evaluate --model "$MODEL" --binarizer untrained
check "a binarizer of floats" test $RC = 2
"$HALFTONE" eval --model "$MODEL" 2>/dev/null
check "no files" test $? = 2
ANSWER=$(SIMD=bogus "$HALFTONE" eval "${FILES[@]}" --model "$MODEL" 2>"$WORK/err")
check "unknown SIMD" test $? = 2
check "unknown SIMD: says so" grep -q '^halftone: SIMD=bogus: expected' "$WORK/err"
evaluate --model "$WORK/nowhere"
check "no model" test $RC = 1
stop
finish
