#!/bin/bash
# Claim: a batch of changes does what its operations do one after the other, each seeing
# those before it; what is not known is refused before anything is begun, and what fails in
# the middle is named and leaves what came before; texts are embedded in it too.
. "$(dirname "$0")/common.sh"
start
C=/collections/c
B=$C/points/batch
expect "set up" 200 "" PUT $C '{"vectors":{"size":4,"distance":"Dot"}}'
expect "set up" 200 "" PUT $C/index?wait=true '{"field_name":"k","field_schema":"keyword"}'
RED='{"must":{"key":"k","match":{"value":"red"}}}'
payloads() { # NAME JSON: ids with their payloads
	expect "$1" 200 "" POST $C/points/scroll '{"limit":100}'
	equal "$1" '[.result.points[]|{(.id|tostring):.payload}]|add' "$2"
}
expect "each sees those before it" 200 "completed" POST $B "{\"operations\":[
	{\"upsert\":{\"points\":[{\"id\":1,\"vector\":[1,0,0,0],\"payload\":{\"k\":\"red\"}},{\"id\":2,\"vector\":[0,1,0,0]}]}},
	{\"set_payload\":{\"payload\":{\"k\":\"red\",\"n\":1},\"points\":[2]}},
	{\"set_payload\":{\"payload\":{\"m\":2},\"filter\":$RED}},
	{\"overwrite_payload\":{\"payload\":{\"k\":\"blue\"},\"points\":[1]}},
	{\"delete_payload\":{\"keys\":[\"n\"],\"filter\":$RED}},
	{\"upsert\":{\"batch\":{\"ids\":[3,4],\"vectors\":[[0,0,1,0],[0,0,0,1]],\"payloads\":[{\"k\":\"red\"},null]}}},
	{\"clear_payload\":{\"points\":[3]}},
	{\"delete\":{\"points\":[4]}}]}"
equal "an answer for each" '[.result|length,(map(.operation_id)|.==(sort|unique))]' '[8,true]'
payloads "all of it" '{"1":{"k":"blue"},"2":{"k":"red","m":2},"3":{}}'
expect "by its index" 200 '"count":1' POST $C/points/count "{\"filter\":$RED}"
expect "nothing to do" 200 '"result":[]' POST $B '{"operations":[]}'
expect "delete_points" 200 "completed" POST $B '{"operations":[{"delete_points":{"filter":{"must":{"has_id":[3]}}}}]}'
payloads "and deleted by filter" '{"1":{"k":"blue"},"2":{"k":"red","m":2}}'
expect "a key without an index is noted" 200 '"unindexed":["m"]' POST $B \
	'{"operations":[{"delete":{"filter":{"must":{"key":"m","match":{"value":7}}}}}]}'

# ---- refused before anything is begun ----
FIRST='{"set_payload":{"payload":{"k":"lost"},"points":[1,2]}}'
refuse() { # NAME STATUS WORD OPERATION
	expect "$1" "$2" "$3" POST $B "{\"operations\":[$FIRST,$4]}"
	payloads "$1: nothing is changed" '{"1":{"k":"blue"},"2":{"k":"red","m":2}}'
}
refuse "unknown operation" 400 "operations[1]" '{"explode":{}}'
refuse "two in one" 400 "operations[1]" '{"delete":{"points":[1]},"clear_payload":{"points":[1]}}'
refuse "no object" 400 "operations[1]" '7'
refuse "no object in it" 400 "operations[1]" '{"delete":[1]}'
refuse "vectors" 501 "update_vectors" '{"update_vectors":{"points":[]}}'
expect "no operations" 400 "operations" POST $B '{}'
expect "operations no list" 400 "operations" POST $B '{"operations":{}}'
expect "unknown collection" 404 "nope" POST /collections/nope/points/batch "{\"operations\":[$FIRST]}"

# ---- failing in the middle ----
expect "the second is wrong" 400 "operations[1], those before it are done" POST $B "{\"operations\":[$FIRST,
	{\"upsert\":{\"points\":[{\"id\":9,\"vector\":[1,0]}]}},{\"delete\":{\"points\":[1]}}]}"
payloads "the first is done, the third is not" '{"1":{"k":"lost"},"2":{"m":2,"k":"lost"}}'
expect "the first is wrong" 400 "operations[0]" POST $B '{"operations":[{"delete":{}}]}'
long=$(printf 'x%.0s' {1..65450})
expect "too large in the writer" 413 "operations[1], those" POST $B "{\"operations\":[
	{\"set_payload\":{\"payload\":{\"long\":\"$long\"},\"points\":[1]}},
	{\"set_payload\":{\"payload\":{\"more\":\"${long:0:100}\"},\"points\":[1,2]}}]}"
expect "it changed none" 200 '"payload":{"m":2,"k":"lost"}' POST $C/points '{"ids":[2]}'
many=$(printf '{"set_payload":{"payload":{"n":%d},"points":[1]}},' {1..1000})
expect "a thousand" 200 "" POST $B "{\"operations\":[${many%,}]}"
expect "the last one counts" 200 '"n":1000' POST $C/points '{"ids":[1]}'

# ---- texts ----
T=/collections/t
expect "texts" 200 "" PUT $T '{"vectors":{"distance":"Cosine"},"text_model":"static"}'
fits=$(printf 'cat %.0s' $(seq "$(jq .max_position_embeddings "$MODELS/static/config.json")"))
expect "texts" 200 "" POST $T/points/batch "{\"operations\":[
	{\"upsert\":{\"points\":[{\"id\":1,\"vector\":{\"text\":\"$fits dog\"}},{\"id\":2,\"vector\":{\"text\":\"rates of banks\"}}]}},
	{\"upsert\":{\"points\":[{\"id\":3,\"vector\":{\"text\":\"$fits dog\",\"chunk\":true}},{\"id\":4,\"vector\":{\"text\":\"$fits dog\"}}]}},
	{\"delete\":{\"points\":[4]}}]}"
equal "cut ones of all operations" '[(.result|length),.truncated]' '[3,2]'
expect "found" 200 "" POST $T/points/query '{"query":{"text":"interest rates"},"limit":1}'
equal "found" '.result.points[0].id' 2
expect "a model that is not there" 404 "operations[1], those" POST $T/points/batch '{"operations":[
	{"delete":{"points":[1]}},{"upsert":{"points":[{"id":1,"vector":{"text":"a","model":"none"}}]}}]}'
expect "count" 200 '"count":2' POST $T/points/count
stop
finish
