#!/bin/bash
# Claim: a collection of a text model takes each distance without being told the size,
# also from halftone import; texts that are longer than the model takes are said to be
# cut, in the answers and in the metrics.
. "$(dirname "$0")/common.sh"
start
printf '%s\n' '{"text":"A cat sleeps on the roof"}' '{"text":"The bank raised its rates"}' >"$WORK/t.jsonl"
for distance in Cosine Dot Euclid; do
	expect "create $distance" 200 "" PUT /collections/$distance "{\"vectors\":{\"distance\":\"$distance\"},\"text_model\":\"static\"}"
	check "import $distance" "$BIN/halftone" import --url "$URL" --collection "i$distance" --text-model static --distance $distance "$WORK/t.jsonl"
	expect "info" 200 "" GET /collections/i$distance
	equal "info $distance" .result.config.params.vectors "{\"size\":256,\"distance\":\"$distance\"}"
	expect "query" 200 "" POST /collections/i$distance/points/query '{"query":{"text":"interest rates of banks"},"limit":1}'
	equal "query $distance" '.result.points[0].id' 2
done
expect "without a model" 400 "'size' is missing" PUT /collections/x '{"vectors":{"distance":"Dot"}}'

C=/collections/Cosine
max=$(jq .max_position_embeddings "$MODELS/static/config.json")
fits=$(printf 'cat %.0s' $(seq "$max"))
long="$fits dog"
expect "fits" 200 "" POST /v1/embeddings "{\"model\":\"static\",\"input\":\"$fits\"}"
equal "fits" '[.usage.prompt_tokens,.truncated]' "[$max,null]"
expect "long" 200 "" POST /v1/embeddings "{\"model\":\"static\",\"input\":[\"$long\",\"cat\",\"$long\"]}"
equal "long" '[.usage.prompt_tokens,.truncated]' "[$((2 * max + 1)),2]"
expect "upsert" 200 "" PUT $C/points "{\"points\":[{\"id\":8,\"vector\":{\"text\":\"$fits\"}}]}"
equal "upsert" '[.result.status,.truncated]' '["completed",null]'
expect "upsert" 200 "" PUT $C/points "{\"points\":[{\"id\":8,\"vector\":{\"text\":\"$long\"}},{\"id\":9,\"vector\":{\"text\":\"cat\"}}]}"
equal "upsert" '[.result.status,.truncated]' '["completed",1]'
expect "query" 200 "" POST $C/points/query "{\"query\":{\"text\":\"$fits\"}}"
equal "query" '[.timing.scan_s > 0,.truncated]' '[true,null]'
expect "query" 200 "" POST $C/points/query "{\"query\":{\"text\":\"$long\"}}"
equal "query" '[.timing.scan_s > 0,.truncated]' '[true,1]'
expect "metrics" 200 "halftone_texts_truncated_total 4" GET /metrics
stop
finish
