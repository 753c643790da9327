#!/bin/bash
# Claim: POST /collections/{c}/recall says what a comparison of searches by point id from
# outside says, for fewer bits, progressive collections, several versions and passages; it
# is 1 where searches are exact, null where there is nothing to find; it refuses what it
# does not know; a client that leaves leaves nothing behind.
. "$(dirname "$0")/common.sh"
start --max-limit 50
R=/collections/c/recall
check "recall" python3 "$(dirname "$0")/recall_probe.py" "$PORT" "${SEED:-$RANDOM}" \
	"$([ -n "${SAN:-}" ] && echo 10000 || echo 20000)"

expect "create" 200 "" PUT /collections/c '{"vectors":{"size":4,"distance":"Cosine"}}'
expect "empty" 200 '"recall@10":null' POST $R '{}'
expect "with what is usual" 200 '"recall@10":null' POST $R
equal "empty" '.result|[.limit,.sample,.seconds.search,.speedup]' '[10,0,null,null]'
expect "one point" 200 "" PUT /collections/c/points '{"points":[{"id":1,"vector":[1,2,3,4]}]}'
expect "alone" 200 '"recall@10":null' POST $R '{"sample":5}'
expect "no such collection" 404 "none" POST /collections/none/recall '{}'
expect "sample 0" 400 "sample" POST $R '{"sample":0}'
expect "sample over the limit" 400 "1000" POST $R '{"sample":1001}'
expect "sample of another type" 400 "sample" POST $R '{"sample":"all"}'
expect "limit 0" 400 "limit" POST $R '{"limit":0}'
expect "limit over the limit" 400 "50" POST $R '{"limit":51}'
expect "filter" 501 "filter" POST $R '{"filter":{}}'
expect "unknown member" 400 "samples" POST $R '{"samples":5}'
expect "params" 400 "params" POST $R '{"params":5}'
expect "bits" 400 "params.bits" POST $R '{"params":{"bits":5}}'
expect "exact" 400 "params.exact" POST $R '{"params":{"exact":1}}'
expect "still there" 200 "" GET /readyz
check "no error" test -z "$(grep ' error ' "$LOG")"
stop
finish
