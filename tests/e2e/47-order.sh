#!/bin/bash
# Claim: scroll with order_by gives the points that a naive sort of random payloads gives:
# by integers and floats, up and down, from a number on, with filters and ties, once for each
# number of an array; a point with passages comes once; after a restart it is the same.
. "$(dirname "$0")/common.sh"
start
check "orders" python3 -B "$(dirname "$0")/order_probe.py" "$PORT"
C=/collections/t
expect "texts" 200 "" PUT $C '{"vectors":{"distance":"Cosine"},"text_model":"static"}'
expect "an index" 200 "" PUT "$C/index?wait=true" '{"field_name":"n","field_schema":"integer"}'
long=$(printf 'The cat sat on the mat and looked at the moon. %.0s' {1..400})
expect "passages" 200 "" PUT "$C/points" "{\"points\":[{\"id\":1,\"vector\":{\"text\":\"$long\",\"chunk\":true},
	\"payload\":{\"n\":[5,2]}},{\"id\":2,\"vector\":{\"text\":\"a dog\"},\"payload\":{\"n\":3}},
	{\"id\":3,\"vector\":{\"text\":\"no number\"}}]}"
expect "passages" 200 "" GET $C
equal "there are some" '.result.passages > 5' true
for _ in 1 2; do
	expect "up" 200 "" POST $C/points/scroll '{"order_by":"n"}'
	equal "up" '[.result.points[] | [.id, .order_value]]' '[[1,2],[2,3],[1,5]]'
	expect "down" 200 "" POST $C/points/scroll '{"order_by":{"key":"n","direction":"desc"},"limit":2}'
	equal "down" '[.result.points[] | [.id, .order_value]]' '[[1,5],[2,3]]'
	kill_server
	start
done
stop
finish
