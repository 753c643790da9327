#!/bin/bash
# Claim: a text that is longer than the model takes is found with "chunk": true by what
# stands in its middle, and the hit says which bytes those are; it counts and comes back
# as one point, whatever is asked; a restart and kill -9 keep it; replaced by a shorter
# text it leaves nothing behind; what cannot be chunked is refused.
. "$(dirname "$0")/common.sh"
start --max-passages 40

C=/collections/c
P=$C/points
Q=$P/query
expect "create" 200 "" PUT $C '{"vectors":{"distance":"Cosine"},"text_model":"static"}'

# Hundreds of sentences of pets, and a few of something else in the middle.
sentences() { # FIRST LAST
	local i
	for i in $(seq "$1" "$2"); do printf 'The cat number %d sleeps on the warm roof. ' "$i"; done
}
needle="The central bank raised its interest rates by half a percent. Loans and mortgages will
cost more, the bank said; inflation was higher than its target. Markets had expected the rates to rise,
and bonds fell. Economists see higher interest rates until the summer, and weaker growth of credit."
before=$(sentences 1 200)
text="$before Café: $needle $(sentences 201 400)"
start_byte=$(printf '%s Café: ' "$before" | wc -c)
end_byte=$((start_byte + $(printf '%s' "$needle" | wc -c)))
point() { # ID TEXT CHUNK
	jq -nc --argjson id "$1" --arg text "$2" --argjson chunk "$3" \
		'{id:$id,vector:{text:$text,chunk:$chunk},payload:{n:$id}}'
}
points() { printf '{"points":[%s]}' "$(IFS=,; echo "$*")"; }

expect "upsert" 200 "completed" PUT $P "$(points "$(point 1 "$text" true)" \
	"$(point 2 "$text" false)" "$(point 3 "Dogs bark at night." true)" "$(point 4 "Rain in the mountains." false)")"
equal "only the whole one is cut" .truncated 1
expect "count" 200 '"count":4' POST $P/count '{}'
expect "info" 200 "" GET $C
equal "points and passages" '[.result.points_count,(.result.passages > 12),.result.indexed_vectors_count == .result.passages]' '[4,true,true]'
rows=$(jq .result.passages <<<"$ANSWER")
expect "names" 200 '"points_count":4' GET $C

ask_bank='{"query":{"text":"interest rates of the central bank"},"limit":4,"with_payload":true}'
check_found() { # NAME
	expect "$1" 200 "" POST $Q "$ask_bank"
	equal "$1: the middle is found, once" '[.result.points[].id]|[.[0],length,(unique|length)]' '[1,4,4]'
	equal "$1: payload" '.result.points[0].payload' '{"n":1}'
	equal "$1: its passage" ".result.points[0].passage|[.start < $end_byte - 40,.end > $start_byte + 40,.index > 0]" '[true,true,true]'
	equal "$1: of chunked points alone" '[.result.points[]|select(.passage|not)|.id]|sort' '[2,4]'
}
check_found "query"
# The range is one of bytes, and is what was embedded: asked about, it is found with a score near 1.
range=$(jq -c '.result.points[0].passage|[.start,.end]' <<<"$ANSWER")
passage=$(printf '%s' "$text" | head -c "$(jq '.[1]' <<<"$range")" | tail -c +$(($(jq '.[0]' <<<"$range") + 1)))
check "the range is text" grep -qF "interest rates" <<<"$passage"
expect "its own words" 200 "" POST $Q "$(jq -nc --arg t "$passage" '{query:{text:$t},limit:1}')"
equal "its own words" '[.result.points[0].id,.result.points[0].score > 0.9]' '[1,true]'
equal "its own words" '.result.points[0].passage|[.start,.end]' "$range"
"$BIN/halftone" search --url "$URL" --collection "${C##*/}" --limit 1 "interest rates of the central bank" >"$WORK/said"
check "halftone search tells it" grep -q "passage [0-9]*: bytes $(jq '.[0]' <<<"$range") to $(jq '.[1]' <<<"$range") of the text" "$WORK/said"
# Every limit and offset gives the same order, each point once.
expect "all" 200 "" POST $Q '{"query":{"text":"cat on a roof"},"limit":9}'
all=$(jq -c '[.result.points[].id]' <<<"$ANSWER")
equal "all" '[.result.points[].id]|sort' '[1,2,3,4]'
for offset in 0 1 2 3; do
	expect "offset $offset" 200 "" POST $Q "{\"query\":{\"text\":\"cat on a roof\"},\"limit\":1,\"offset\":$offset}"
	equal "offset $offset" '[.result.points[].id]' "$(jq -c "[.[$offset]]" <<<"$all")"
done
equal "behind the last" '.result.points|length' 1
expect "behind the last" 200 '"points":[]' POST $Q '{"query":{"text":"cat"},"limit":5,"offset":4}'
expect "by id: without itself" 200 "" POST $Q '{"query":1,"limit":9}'
equal "by id" '[.result.points[].id]|sort' '[2,3,4]'
expect "with vectors" 200 "" POST $Q '{"query":{"text":"cat"},"limit":4,"with_vector":true}'
equal "with vectors" '[.result.points[].vector|length]' '[256,256,256,256]'
expect "by ids" 200 "" POST $P '{"ids":[1,3,9],"with_vector":true}'
equal "by ids" '[.result[]|[.id,.payload.n,(.vector|length)]]' '[[1,1,256],[3,3,256]]'

stop
start --max-passages 40
expect "after a restart" 200 "" GET $C
equal "after a restart" '[.result.points_count,.result.passages]' "[4,$rows]"
check_found "after a restart"

# Replaced by less, by more, by what is not cut; then nothing of it is left.
expect "shorter" 200 "completed" PUT $P "$(points "$(point 1 "$before" true)")"
expect "shorter" 200 "" GET $C
equal "shorter" "[.result.points_count,.result.passages < $rows]" '[4,true]'
expect "the old middle is gone" 200 "" POST $Q "$ask_bank"
equal "the old middle is gone" ".result.points|map(select(.id == 1))[0].passage.end <= $(printf '%s' "$before" | wc -c)" true
expect "whole" 200 "completed" PUT $P "$(points "$(point 1 "$before" false)" "$(point 3 "Dogs bark." false)")"
expect "whole" 200 "" GET $C
equal "no rows are left" '[.result.points_count,.result.passages]' '[4,4]'
expect "again" 200 "completed" PUT $P "$(points "$(point 1 "$text" true)")"
kill_server
start --max-passages 40
check_found_after_kill() {
	expect "after kill -9" 200 "" POST $Q "$ask_bank"
	equal "after kill -9" '.result.points[0].id' 1
}
check_found_after_kill
expect "delete" 200 "" POST $P/delete '{"points":[1]}'
expect "delete" 200 "" GET $C
equal "delete" '[.result.points_count,.result.passages]' '[3,3]'
expect "not found any more" 200 "" POST $Q "$ask_bank"
equal "not found any more" '[.result.points[].id]|sort' '[2,3,4]'

# A batch, beside vectors and whole texts; a passage without a meaning is left out.
batch=$(jq -nc --arg t "$text" '{batch:{ids:[5,6],vectors:[{text:$t,chunk:true},{text:"a fish"}],payloads:[null,{"a":1}]}}')
expect "batch" 200 "completed" PUT $P "$batch"
expect "count" 200 '"count":5' POST $P/count '{}'

# Passages of pieces that the model does not know are counted as what they are.
foxes=$(printf 'cat 🦊 %.0s' {1..600})
expect "foreign" 200 "completed" PUT $P "$(points "$(point 5 "$foxes" true)")"
check "foreign" jq -e '.warnings[0]|test("^([0-9]+) of [0-9]+ texts or passages: ") and (test("^1 of 1 ")|not)' <<<"$ANSWER" >/dev/null

# By the client: many long texts, and nothing but texts.
for i in $(seq 30); do jq -nc --arg t "$text" --argjson i "$i" '{id:$i,text:"\($i) \($t)",n:$i}'; done >"$WORK/long.jsonl"
check "import" "$BIN/halftone" import --url "$URL" --collection long --text-model static --chunk "$WORK/long.jsonl"
expect "import" 200 "" GET /collections/long
equal "import" '[.result.points_count,.result.passages > 300]' '[30,true]'
expect "30 of 30" 200 "" POST /collections/long/points/query '{"query":{"text":"interest rates"},"limit":30}'
equal "30 of 30" '[.result.points[].id]|unique|length' 30
equal "30 of 30: from the middle" '[.result.points[].passage.index]|min > 0' true
expect "half of them" 200 "" POST /collections/long/points/query '{"query":{"text":"interest rates"},"limit":10,"offset":15}'
equal "half of them" '[.result.points[].id]|unique|length' 10
echo '{"vector":[1,2]}' >"$WORK/v.jsonl"
"$BIN/halftone" import --url "$URL" --collection v --chunk "$WORK/v.jsonl" 2>"$WORK/err"
check "not of vectors" test $? -eq 1
check "not of vectors" grep -q 'v.jsonl:1: expected "text"' "$WORK/err"

expect "in a query" 400 "query's text is embedded whole" POST $Q '{"query":{"text":"cat","chunk":true}}'
expect "false in a query" 200 "" POST $Q '{"query":{"text":"cat","chunk":false}}'
expect "without text" 400 "chunk: expected a string 'text'" PUT $P '{"points":[{"id":7,"vector":{"chunk":true}}]}'
expect "with an object" 400 "chunk: expected a 'text'" PUT $P '{"points":[{"id":7,"vector":{"object":{"b64":"AAAA"},"model":"codes","chunk":true}}]}'
expect "no boolean" 400 "chunk: expected true or false" PUT $P '{"points":[{"id":7,"vector":{"text":"cat","chunk":1}}]}'
expect "empty" 400 "point 0: text: expected some text" PUT $P '{"points":[{"id":7,"vector":{"text":"","chunk":true}}]}'
expect "nothing in it" 400 "point 0: text" PUT $P '{"points":[{"id":7,"vector":{"text":" \n ","chunk":true}}]}'
expect "too long" 413 "max_passages" PUT $P "$(points "$(point 7 "$text $text $text $text $text" true)")"
long=$(jq -nc --arg t "$(printf "$text%.0s" {1..4})" '{t:$t}')
expect "a query too long" 413 'else cut it into passages' POST $Q "$(jq -c '{query:{text:.t}}' <<<"$long")"
expect "an embedding too long" 413 'else cut it into passages' POST /v1/embeddings "$(jq -c '{model:"static",input:.t}' <<<"$long")"
expect "nothing came in" 200 '"count":5' POST $P/count '{}'
expect "metrics count points" 200 'halftone_points{collection="c"} 5' GET /metrics
stop
finish
