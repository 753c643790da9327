#!/bin/bash
# Claim: filters select, in queries, batches, counts, pages and deletions alike, the points
# that a naive evaluator selects; what is found among them is what the ranking of all
# points has of them; bad filters are refused and unknown keys match nothing; a client
# that hangs up leaves nothing behind; a large batch leaves others their turns.
. "$(dirname "$0")/common.sh"
start
check "filters" python3 "$(dirname "$0")/filter_probe.py" "$PORT"
C=/collections/f
Q=$C/points/query
expect "set up" 200 "" PUT $C '{"vectors":{"size":4,"distance":"Cosine"}}'
expect "set up" 200 "" PUT $C/points '{"points":[{"id":1,"vector":[1,0,0,0],"payload":{"a":"x.*","n":1}},
	{"id":2,"vector":[0,1,0,0],"payload":{"a":["b","(x"],"n":2.5}},{"id":3,"vector":[0,0,1,0]}]}'
filter() { # NAME STATUS WORD FILTER: by query, count, scroll, deletion
	expect "$1" "$2" "$3" POST $Q "{\"query\":[1,0,0,0],\"filter\":$4}"
	expect "$1: count" "$2" "" POST $C/points/count "{\"filter\":$4}"
	expect "$1: scroll" "$2" "" POST $C/points/scroll "{\"filter\":$4}"
	[ "$2" = 200 ] || expect "$1: delete" "$2" "$3" POST $C/points/delete "{\"filter\":$4}"
}
found() { # NAME IDS FILTER
	filter "$1" 200 "" "$3"
	equal "$1" '[.result.points[].id]' "$2"
}
found "unknown key" '[]' '{"must":[{"key":"nothing","match":{"value":1}}]}'
found "unknown id" '[2]' '{"must":[{"has_id":[2,77,"x"]}]}'
found "wrong type" '[]' '{"must":[{"key":"a","range":{"gte":0}}]}'
found "an integer is no string" '[]' '{"must":[{"key":"n","match":{"value":"1"}}]}'
found "a pattern is a text" '[1]' '{"must":[{"key":"a","match":{"text":".*"}}]}'
found "half a pattern" '[2]' '{"must":[{"key":"a","match":{"text":"(x"}}]}'
found "an empty filter" '[1,2,3]' '{}'
found "null" '[1,2,3]' null
found "a range of doubles" '[2]' '{"must":{"key":"n","range":{"gt":1,"lt":1e308}}}'
filter "NaN" 400 "" '{"must":[{"key":"n","range":{"gt":NaN}}]}'
filter "a date" 501 "date" '{"must":[{"key":"n","range":{"gt":"2024-01-01T00:00:00Z"}}]}'
filter "a range of booleans" 400 "range" '{"must":[{"key":"n","range":{"gt":true}}]}'
filter "no condition" 400 "filter" '{"must":[1]}'
filter "unknown clause" 400 "filter" '{"may":[]}'
deep=$(printf '{"must":[%.0s' {1..10000})$(printf ']}%.0s' {1..10000})
filter "10,000 clauses in one another" 400 "nesting" "$deep"
wide=$(printf '{"key":"a","match":{"value":1}},%.0s' {1..10000})
filter "10,000 conditions" 413 "1024" "{\"must\":[${wide%,}]}"
expect "a filter that is misspelt" 400 "expected filter" POST $C/points/count '{"filtr":{}}'
for route in count scroll; do
	expect "shards" 501 'shard_key' POST $C/points/$route '{"shard_key":"a"}'
done
expect "a filter that is misspelt" 400 'filter, order_by' POST $C/points/scroll '{"filtr":{}}'
expect "nothing is gone" 200 '"count":3' POST $C/points/count
expect "past the end" 200 '"points":[]' POST $Q '{"query":[1,0,0,0],"offset":10000,"limit":10000}'
expect "past the end" 200 '"points":[],"next_page_offset":null' POST $C/points/scroll '{"offset":4}'
expect "said once" 400 '"filter: expected must' POST $C/points/count '{"filter":{"may":[]}}'
expect "vectors of a page" 200 '"vector":[' POST $C/points/scroll '{"with_vectors":true}'
expect "vectors of hits" 200 '"vector":[' POST $Q '{"query":[1,0,0,0],"with_vectors":true}'
expect "a matrix of distances" 501 "matrix" POST $C/points/search/matrix/pairs '{"sample":3}'
expect "what it cost" 200 '"filter":{"unindexed":["n"],"payloads_read":3}' POST $C/points/count \
	'{"filter":{"must":[{"key":"n","match":{"value":1}}]}}'
expect "an index" 200 "" PUT "$C/index?wait=true" '{"field_name":"n","field_schema":"float"}'
expect "it answers" 200 '"count":1' POST $C/points/count '{"filter":{"must":[{"key":"n","range":{"gt":1}}]}}'
equal "no payload was read" '.filter' null
expect "the other key has none" 200 '"filter":{"unindexed":["a"],"payloads_read":1}' POST $C/points/count \
	'{"filter":{"must":[{"key":"a","match":{"value":"b"}},{"key":"n","range":{"gt":1}}]}}'
expect "no index" 200 "" DELETE "$C/index/n?wait=true"
expect "what a deletion cost" 200 '"filter":{"unindexed":["n"],"payloads_read":3}' POST $C/points/delete \
	'{"filter":{"must":[{"key":"n","match":{"value":77}}]}}'
expect "delete all" 200 "completed" POST $C/points/delete '{"filter":{}}'
expect "all are gone" 200 '"count":0' POST $C/points/count
stop
start --max-batch 4
check "turns" python3 "$(dirname "$0")/filter_probe.py" "$PORT" 4
stop
finish
