#!/bin/bash
# Claim: after a stop and a start, and after kill -9, the server gives the same answers
# to the byte: collections, points, payloads, scores; deleted points stay deleted.
. "$(dirname "$0")/common.sh"
start
expect "create" 200 "" PUT /collections/c '{"vectors":{"size":48,"distance":"Cosine"},"codes":{"bits":2}}'
expect "create" 200 "" PUT /collections/e '{"vectors":{"x":{"size":48,"distance":"Euclid"}}}'
expect "create" 200 "" PUT /collections/t '{"text_model":"static","codes":{"bits":1}}'
expect "create" 200 "" PUT /collections/gone '{"vectors":{"size":4,"distance":"Dot"}}'
points=$(python3 - <<'PY'
import json, random
r = random.Random(5)
print(json.dumps({"points": [{"id": i if i % 3 else "s-%d" % i,
    "vector": [r.gauss(0, 1) for _ in range(48)],
    "payload": {"i": i, "big": 2**63 + i}} for i in range(1, 3001)]}))
PY
)
expect "upsert" 200 "" PUT /collections/c/points "$points"
expect "upsert" 200 "" PUT /collections/e/points "$points"
expect "upsert" 200 "" PUT /collections/t/points '{"points":[{"id":1,"vector":{"text":"a dog"}},{"id":2,"vector":{"text":"a ship"}}]}'
expect "upsert" 200 "" PUT /collections/gone/points '{"points":[{"id":1,"vector":[1,2,3,4]}]}'
expect "delete" 200 "" POST /collections/c/points/delete '{"points":[1,2,"s-3",4,5]}'
expect "replace" 200 "" PUT /collections/c/points "{\"points\":[{\"id\":7,\"vector\":[$(printf '1,%.0s' {1..47})1],\"payload\":{\"new\":true}}]}"
expect "drop" 200 "" DELETE /collections/gone

answers() {
	ask GET /collections
	jq -c .result <<<"$ANSWER"
	for c in c e t; do
		ask GET /collections/$c
		jq -c '.result|del(.config.params.bytes)' <<<"$ANSWER"
	done
	for id in 10 7 '"s-9"' 2999; do
		for c in c e; do
			ask POST /collections/$c/points/query "{\"query\":$id,\"limit\":50,\"with_payload\":true,\"with_vector\":true}"
			jq -c .result <<<"$ANSWER" | md5sum
			jq '.result.points|length' <<<"$ANSWER"
		done
	done
	ask POST /collections/c/points '{"ids":[1,2,4,5,6,7],"with_vector":true}'
	jq -c .result <<<"$ANSWER"
	ask POST /collections/t/points/query '{"query":{"text":"puppy"}}'
	jq -c .result <<<"$ANSWER"
}
before=$(answers)
check "hits are there" grep -q '^50$' <<<"$before"
check "stops" stop
start
check "the same after a stop" test "$before" = "$(answers)"
kill_server
start
check "the same after kill -9" test "$before" = "$(answers)"
kill_server
SIMD=scalar start --threads 1
check "the same without SIMD, on one thread" test "$before" = "$(answers)"
check "SIMD is named" grep -q 'simd=scalar' "$LOG"
expect "SIMD is named" 200 'halftone_simd_info{simd="scalar"} 1' GET /metrics
expect "a dropped name is free" 200 "" PUT /collections/gone '{"vectors":{"size":4,"distance":"Dot"}}'
expect "and empty" 200 '"count":0' POST /collections/gone/points/count
stop
finish
