#!/bin/bash
# Claim: a collection of a text model takes each distance without being told the size,
# also from halftone import.
. "$(dirname "$0")/common.sh"
start
printf '%s\n' '{"text":"A cat sleeps on the roof"}' '{"text":"The bank raised its rates"}' >"$WORK/t.jsonl"
for distance in Cosine Dot Euclid; do
	expect "create $distance" 200 "" PUT /collections/$distance "{\"vectors\":{\"distance\":\"$distance\"},\"text_model\":\"static\"}"
	check "import $distance" "$BIN/halftone" import --url "$URL" --collection "i$distance" --distance $distance "$WORK/t.jsonl"
	expect "info" 200 "" GET /collections/i$distance
	equal "info $distance" .result.config.params.vectors "{\"size\":256,\"distance\":\"$distance\"}"
	expect "query" 200 "" POST /collections/i$distance/points/query '{"query":{"text":"interest rates of banks"},"limit":1}'
	equal "query $distance" '.result.points[0].id' 2
done
expect "without a model" 400 "'size' is missing" PUT /collections/x '{"vectors":{"distance":"Dot"}}'

stop
finish
