#!/bin/bash
# Claim: 40 collections made by as many clients at once are all there; collections that are made, filled, searched, read and dropped by many clients
# at once give only expected answers; a query never sees another collection's points
# nor half a batch of equal points; the server survives and stops cleanly.
. "$(dirname "$0")/common.sh"
start --threads 4
makers=()
for i in $(seq 40); do
	curl -sS -o /dev/null -w '%{http_code}\n' -X PUT -d '{"vectors":{"size":8,"distance":"Cosine"}}' \
		"$URL/collections/made-$i" >>"$WORK/made" &
	makers+=($!)
done
wait "${makers[@]}"
check "every creation was answered 200" test "$(sort "$WORK/made" | uniq -c | tr -d ' ')" = 40200
ask GET /collections
equal "every collection is there" '[.result.collections[].name | select(startswith("made-"))] | length' 40
check "stress" python3 "$(dirname "$0")/stress.py" "$PORT" "${SECONDS_MAX:-8}" "${SEED:-$RANDOM}"
expect "still there" 200 "" GET /readyz
check "no server error" test -z "$(grep ' error ' "$LOG")"
stop
finish
