#!/bin/bash
# Claim: a model's folder may hold learned binarizers by bits; a collection of texts that
# says nothing of binarizers is coded by the one for its bits, and by the model's rotation
# where its dims or its distance want that; it stays with what it was made with, over
# restarts and when the files change; codes of before may be followed by a learned one's;
# halftone eval chooses alike; a broken file stops the start with its name.  Many vectors
# in a request get the codes that each gets alone, and of wrong ones the first is told.
. "$(dirname "$0")/common.sh"
HALFTONE=$BIN/halftone
SHIPPED=$MODELS OURS=$WORK/models
mkdir -p "$OURS/text"
cp "$MODELS"/static/{vocab.txt,model.safetensors,config.json,binarizer.safetensors} "$OURS/text"
LEARNED=$OURS/text/binarizer.1.safetensors
python3 "$(dirname "$0")/versions_models.py" learned "$OURS/text" 256 256 1 4
MODELS=$OURS
start

made() { # NAME CODES DIMS BITS CENTRES: what a collection of texts with these codes gets
	expect "$1" 200 "" PUT "/collections/$1" "{\"text_model\":\"text\",\"codes\":$2}"
	expect "$1" 200 "" GET "/collections/$1"
	equal "$1" '.result.config.params.codes|[.binarizer,.dims,.bits,.centres]' "[\"text\",$3,$4,$5]"
}
made silent '{"bits":1}' 256 1 4
made sdc '{"bits":1,"distance":"sdc"}' 256 1 4
made same-dims '{"bits":1,"dims":256}' 256 1 4
made other-dims '{"bits":1,"dims":512}' 512 1 0
made hamming '{"bits":1,"distance":"hamming"}' 256 1 0
made other-bits '{"bits":2}' 256 2 0
made all-defaults '{}' 256 4 0
made untold '{"binarizer":"text","bits":1}' 256 1 4
expect "vectors" 200 "" PUT /collections/vectors \
	'{"vectors":{"size":256,"distance":"Cosine"},"codes":{"binarizer":"text","bits":1}}'
expect "vectors" 200 '"centres":4' GET /collections/vectors
expect "its own words again" 200 "" GET /collections/silent
codes=$(jq -c .result.config.params.codes <<<"$ANSWER")
expect "its own words again" 200 "" PUT /collections/again "{\"text_model\":\"text\",\"codes\":$codes}"
expect "the same" 200 "$(jq -r .binarizer_id <<<"$codes")" GET /collections/again

# ---- many vectors in a request are coded as one by one ----
for name in one many columns; do
	expect "create $name" 200 "" PUT "/collections/$name" \
		'{"vectors":{"size":256,"distance":"Dot"},"text_model":"text","codes":{"binarizer":"text","bits":1}}'
done
python3 - "$WORK" <<'EOP'
import base64, json, random, sys
r = random.Random(3)
def vector(i):
    if i % 9 == 4:
        return {"text": f"report {i} of a cat and a bank"}
    if i % 13 == 5:
        return {"model": "codes", "object": {"b64": base64.b64encode(r.randbytes(32) + bytes(4)).decode()}}
    return [r.gauss(0, 1) for _ in range(256)]
points = [{"id": i, "vector": vector(i)} for i in range(80)]
def write(name, what):
    with open(f"{sys.argv[1]}/{name}", "w") as f:
        json.dump(what, f)
for p in points:
    write(f"one.{p['id']}", {"points": [p]})
write("many", {"points": points})
write("columns", {"batch": {"ids": [p["id"] for p in points], "vectors": [p["vector"] for p in points]}})
def wrong(name, long, nameless):
    bad = [dict(p) for p in points]
    bad[long]["vector"] = [2e18] * 256
    del bad[nameless]["id"]
    write(name, {"points": bad})
wrong("long-first", 30, 40), wrong("long-next", 30, 31), wrong("nameless-first", 30, 28)
EOP
for i in $(seq 0 79); do
	expect "one by one" 200 "" PUT /collections/one/points "$(cat "$WORK/one.$i")"
done
expect "together" 200 "" PUT /collections/many/points "$(cat "$WORK/many")"
expect "in columns" 200 "" PUT /collections/columns/points "$(cat "$WORK/columns")"
ids="{\"ids\":$(jq -nc '[range(80)]'),\"with_vector\":true}"
expect "one by one" 200 "" POST /collections/one/points "$ids"
equal "one by one" '.result|length' 80
jq -c .result <<<"$ANSWER" >"$WORK/one"
for name in many columns; do
	expect "$name" 200 "" POST "/collections/$name/points" "$ids"
	check "$name as one" cmp -s "$WORK/one" <(jq -c .result <<<"$ANSWER")
done
expect "too long" 400 "point 30: vector" PUT /collections/many/points "$(cat "$WORK/long-first")"
expect "too long, then no id" 400 "point 30: vector" PUT /collections/many/points "$(cat "$WORK/long-next")"
expect "no id, then too long" 400 "point 28: expected an 'id'" PUT /collections/many/points "$(cat "$WORK/nameless-first")"
expect "nothing has changed" 200 "" POST /collections/many/points "$ids"
check "nothing has changed" cmp -s "$WORK/one" <(jq -c .result <<<"$ANSWER")
for name in one many columns; do
	expect "drop $name" 200 "" DELETE "/collections/$name"
done

points='{"points":[{"id":1,"vector":{"text":"a cat on a roof"}},{"id":2,"vector":{"text":"interest rates"}}]}'
fill() { expect "points" 200 "completed" PUT "/collections/$1/points" "$points"; }
find() { # NAME: the ids and scores of a search
	expect "search $1" 200 "" POST "/collections/$1/points/query" '{"query":{"text":"banks and interest"},"limit":4}'
	jq -c '[.result.points[]|[.id,.score]]' <<<"$ANSWER"
}
all="silent other-dims hamming"
for name in $all; do
	fill $name
	find $name >"$WORK/$name"
	expect "id" 200 "" GET /collections/$name
	jq -c .result.config.params.codes <<<"$ANSWER" >"$WORK/$name.codes"
done
unchanged() {
	for name in $all; do
		check "$1: $name" test "$(find $name)" = "$(cat "$WORK/$name")"
		expect "$1: id" 200 "" GET /collections/$name
		equal "$1: codes" .result.config.params.codes "$(cat "$WORK/$name.codes")"
	done
}
stop
start
unchanged "after a restart"

# Without the file: as before where codes are, a rotation where they begin.
stop
mv "$LEARNED" "$WORK/learned"
start
unchanged "without the file"
made before '{"bits":1}' 256 1 0
fill before
stop
mv "$WORK/learned" "$LEARNED"
start
unchanged "with the file again"
expect "still a rotation's" 200 '"centres":0' GET /collections/before
expect "followed" 200 '"result":true' PATCH /collections/before '{"codes":{"binarizer":"text"}}'
expect "followed" 200 "" GET /collections/before
equal "followed" '.result.config.params.versions|map([.documents,.bits,.centres])' '[[2,1,0],[0,1,4]]'
expect "both" 200 "completed" PUT /collections/before/points '{"points":[{"id":3,"vector":{"text":"a bank"}}]}'
check "both are found" test "$(find before | jq 'map(.[0])|sort' -c)" = "[1,2,3]"
expect "again is no change" 200 "" PATCH /collections/before '{"codes":{"binarizer":"text"}}'
expect "again is no change" 200 "" GET /collections/before
equal "again is no change" '.result.config.params.versions|length' 2

# halftone eval, in process and through the server.
for word in cat bank roof moon; do
	echo "{\"_id\":\"$word\",\"title\":\"$word\",\"text\":\"about a $word\"}" >>"$WORK/corpus.jsonl"
done
echo '{"_id":"q","text":"a bank"}' >"$WORK/queries.jsonl"
printf 'q\tbank\t1\n' >"$WORK/qrels.tsv"
for codes in "1 256 40" "1 512 68" "2 256 68"; do
	read -r bits dims bytes <<<"$codes"
	set -- --corpus "$WORK/corpus.jsonl" --queries "$WORK/queries.jsonl" --qrels "$WORK/qrels.tsv" \
		--model "$OURS/text" --bits "$bits" --dims "$dims" --json
	ANSWER=$("$HALFTONE" eval "$@" 2>"$WORK/err")
	equal "eval: bytes" .bytes_per_document "$bytes"
	here=$ANSWER
	ANSWER=$("$HALFTONE" eval "$@" --url "$URL" 2>"$WORK/err")
	check "eval: the same over HTTP" test "$ANSWER" = "$here"
done
stop

# What ships is used.
MODELS=$SHIPPED
start
for file in "$SHIPPED"/*/binarizer.[1-4].safetensors; do
	[ -e "$file" ] || continue
	model=$(basename "$(dirname "$file")") bits=${file%.safetensors}
	bits=${bits##*.}
	expect "$model" 200 "" PUT "/collections/$model.$bits" "{\"text_model\":\"$model\",\"codes\":{\"bits\":$bits}}"
	expect "$model" 200 "" GET "/collections/$model.$bits"
	equal "$model, $bits bits" '.result.config.params.codes|[.binarizer,.bits,.centres>0]' "[\"$model\",$bits,true]"
done
stop

head -c 1000 "$LEARNED" >"$WORK/cut"
mv "$WORK/cut" "$LEARNED"
"$SERVER" --data "$WORK/other" --listen 127.0.0.1:0 --models "$OURS" 2>"$WORK/err"
check "broken: exit" test $? != 0
check "broken: says which" grep -q 'model text: .*binarizer.1.safetensors' "$WORK/err"
finish
