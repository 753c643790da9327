#!/bin/bash
# Claim: when the store is full a write answers 507 and changes nothing; reading goes
# on; started again with more room, all that was acknowledged is there and writing goes
# on.
. "$(dirname "$0")/common.sh"
start --map-bytes 2MiB
P=/collections/c/points
expect "create" 200 "" PUT /collections/c '{"vectors":{"size":8,"distance":"Dot"}}'
batch() { # FROM: 100 points with payloads of 400 bytes
	python3 - "$1" <<'PY'
import json, sys
a = int(sys.argv[1])
print(json.dumps({"points": [{"id": i, "vector": [i % 7 + 1, 2, 3, 4, 5, 6, 7, i % 5],
    "payload": {"p": "x" * 400}} for i in range(a, a + 100)]}))
PY
}
n=0
for _ in $(seq 200); do
	ask PUT $P "$(batch $n)"
	[ "$STATUS" = 200 ] || break
	n=$((n + 100))
done
check "full in the end" test "$STATUS" = 507
check "says so" grep -q 'limit of 2 MiB' <<<"$ANSWER"
check "some fitted" test "$n" -ge 500
expect "all acknowledged are there" 200 "\"count\":$n}" POST $P/count
expect "none of the refused is there" 200 '"result":[]' POST $P "{\"ids\":[$n,$((n + 99))]}"
expect "reading goes on" 200 "" POST $P/query '{"query":[1,2,3,4,5,6,7,8],"limit":3,"with_payload":true}'
equal "reading goes on" '.result.points|length' 3
expect "ready" 200 "" GET /readyz
kill_server
start --map-bytes 4MiB
expect "after a restart" 200 "\"count\":$n}" POST $P/count
expect "room again" 200 "" PUT $P "$(batch $n)"
expect "delete" 200 "" POST $P/delete "{\"points\":[$(seq -s, 0 299)]}"
expect "count" 200 "\"count\":$((n - 200))}" POST $P/count
stop
finish
