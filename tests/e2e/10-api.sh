#!/bin/bash
# Claim: every route answers in the shape its clients expect; ids of 64 bits, UUIDs and
# strings come back as they are; of equal ids in a batch the last wins; upsert replaces,
# delete deletes; payloads come back byte for byte.
. "$(dirname "$0")/common.sh"
start
C=/collections/c

# ---- who we are ----
expect "root" 200 '"version":"1.' GET /
equal "root" '.title | type' '"string"'
check "a browser is sent to the page" test "$(curl -s -o /dev/null \
	-w '%{http_code} %{redirect_url}' -H 'Accept: text/html,*/*' "$URL/")" = "302 $URL/ui"
check "page" grep -qi '<!doctype html' <(curl -s "$URL/ui")
expect "healthz" 200 "check passed" GET /healthz
expect "livez" 200 "" GET /livez
expect "readyz" 200 "" GET /readyz
expect "metrics" 200 "halftone_build_info" GET /metrics
check "head" test "$(curl -sI "$URL/healthz" | head -n 1 | tr -d '\r')" = "HTTP/1.1 200 OK"
check "options" grep -qi '^allow: .*PUT' <(curl -si -X OPTIONS "$URL$C")
check "request id" grep -q '^x-request-id: me-1' \
	<(curl -si -H 'x-request-id: me-1' "$URL/healthz")

# ---- collections ----
expect "none" 200 "" GET /collections
equal "none" .result.collections '[]'
expect "not there" 200 "" GET $C/exists
equal "not there" .result.exists false
expect "no info" 404 "c" GET $C
expect "create" 200 "" PUT $C '{"vectors":{"size":4,"distance":"Dot"}}'
equal "create" '[.result,.status]' '[true,"ok"]'
expect "there" 200 "" GET $C/exists
equal "there" .result.exists true
expect "list" 200 "" GET /collections
equal "list" '.result.collections' '[{"name":"c"}]'
expect "info" 200 "" GET $C
equal "vectors" '.result.config.params.vectors' '{"size":4,"distance":"Dot"}'
equal "defaults" '.result.config.params.codes|[.dims,.bits,.distance]' '[64,4,"int8"]'
equal "needed by clients" '.result|[.status,.optimizer_status,.segments_count,
	.payload_schema,(.config.hnsw_config|.m,.ef_construct,.full_scan_threshold),
	(.config.optimizer_config|.default_segment_number,.flush_interval_sec)]|map(type)' \
	'["string","string","number","object","number","number","number","number","number"]'
equal "bytes" '.result.config.params.bytes|to_entries|map(.value|type)|unique' '["number"]'
equal "resident" '.result.config.params.bytes|.process_anonymous > 1e6 and .store_resident > 4096' true

shape() { # NAME BODY JQ EXPECTED: create, look, drop
	expect "$1" 200 "" PUT /collections/shape "$2"
	expect "$1" 200 "" GET /collections/shape
	equal "$1" ".result.config.params|$3" "$4"
	expect "$1" 200 "" DELETE /collections/shape
}
shape "codes" '{"vectors":{"size":100,"distance":"Cosine"},"codes":{"dims":256,"bits":2,"distance":"sdc"}}' \
	'[.codes.dims,.codes.bits,.codes.distance]' '[256,2,"sdc"]'
shape "metadata" '{"vectors":{"size":100,"distance":"Euclid"},"metadata":{"codes":{"bits":3},"mine":1}}' \
	'[.codes.dims,.codes.bits,.vectors.distance]' '[128,3,"Euclid"]'
shape "one_bit" '{"vectors":{"size":64,"distance":"Cosine"},"quantization_config":{"binary":{"encoding":"one_bit","always_ram":true}}}' \
	'.codes.bits' 1
shape "two_bits" '{"vectors":{"size":64,"distance":"Cosine"},"quantization_config":{"binary":{"encoding":"two_bits"}}}' \
	'.codes.bits' 2
expect "two_bits" 200 "" PUT /collections/two '{"vectors":{"size":64,"distance":"Cosine"},"quantization_config":{"binary":{"encoding":"two_bits"}}}'
expect "two_bits" 200 "" GET /collections/two
equal "two_bits read back" '.result.config.quantization_config.binary.encoding' '"two_bits"'
expect "two_bits" 200 "" DELETE /collections/two
shape "binary" '{"vectors":{"size":64,"distance":"Cosine"},"quantization_config":{"binary":{}}}' \
	'.codes.bits' 1
shape "empty name" '{"vectors":{"":{"size":8,"distance":"Cosine"}}}' '.vectors.size' 8
shape "a name" '{"vectors":{"body":{"size":8,"distance":"Cosine"}}}' '.vectors.body.size' 8
shape "text" '{"text_model":"static","codes":{"bits":2}}' \
	'[.text_model,.vectors.distance,.vectors.size==.codes.dims]' '["static","Cosine",true]'
shape "ignored" '{"vectors":{"size":8,"distance":"Cosine","on_disk":true},"shard_number":1,"hnsw_config":{"m":16},"optimizers_config":null,"sparse_vectors":null}' \
	'.vectors.size' 8

# ---- points ----
expect "upsert" 200 "" PUT "$C/points?wait=true" '{"points":[
	{"id":1,"vector":[1,0,0,0],"payload":{"n":1,"big":12345678901234567890,"f":1.0,"s":"é\u00e9"}},
	{"id":18446744073709551615,"vector":[0,1,0,0],"payload":{"n":2}},
	{"id":18446744073709551614,"vector":[0,0,1,0]},
	{"id":"550E8400E29B41D4A716446655440000","vector":{"":[0,0,0,1]},"payload":null},
	{"id":"doc-\u00e9","vector":[-1,0,0,0],"payload":{}}]}'
equal "upsert" '.result.status' '"completed"'
operation=$(jq .result.operation_id <<<"$ANSWER")
expect "count" 200 "" POST $C/points/count '{"exact":true}'
equal "count" .result.count 5
expect "retrieve" 200 '"id":18446744073709551615,' POST $C/points \
	'{"ids":[18446744073709551615,1,99,18446744073709551614,"550e8400-e29b-41d4-a716-446655440000","doc-é"],"with_payload":true}'
check "64 bits are exact" grep -q '"id":18446744073709551614,' <<<"$ANSWER"
check "numbers of a payload are exact" grep -qF '{"n":1,"big":12345678901234567890,"f":1.0,"s":"é\u00e9"}' <<<"$ANSWER"
equal "order and what is missing" '[.result[].id|type]' '["number","number","number","string","string"]'
equal "uuid" '.result[3].id' '"550e8400-e29b-41d4-a716-446655440000"'
equal "string" '.result[4].id' '"doc-é"'
expect "7 and \"7\" are two" 200 "" PUT $C/points '{"points":[{"id":7,"vector":[1,1,0,0]},{"id":"7","vector":[1,1,1,0]}]}'
expect "7" 200 '"result":[{"id":7},{"id":"7"}]' POST $C/points '{"ids":[7,"7"],"with_payload":false}'
expect "drop both" 200 "" POST $C/points/delete '{"points":[7,"7"]}'

expect "some keys" 200 '"payload":{"n":1,"f":1.0}' POST $C/points '{"ids":[1],"with_payload":["f","n","x"]}'
expect "include" 200 '"payload":{"n":1}' POST $C/points '{"ids":[1],"with_payload":{"include":["n"]}}'
expect "exclude" 200 '"payload":{"n":1,"big":12345678901234567890,"f":1.0}' POST $C/points '{"ids":[1],"with_payload":{"exclude":["s"]}}'
expect "vector" 200 "" POST $C/points '{"ids":[1],"with_vector":true}'
equal "vector" '.result[0].vector|length==4 and (.[0]-1|fabs)<0.1 and (.[1]|fabs)<0.1' true

expect "query" 200 "" POST $C/points/query '{"query":[1,0.1,0,0],"limit":2,"with_payload":true}'
equal "query" '[.result.points[].id|tostring]|.[0]' '"1"'
equal "query" '.result.points[0]|(.score-1|fabs)<0.1 and .payload.n==1 and (.version|type)=="number"' true
equal "times" '.timing|[.embed_s,.wait_s,.scan_s,.fetch_s]|map(type)|unique' '["number"]'
first=$(jq -c .result.points <<<"$ANSWER")
expect "nearest" 200 "" POST $C/points/query '{"query":{"nearest":[1,0.1,0,0]},"limit":2,"with_payload":true,"params":{"hnsw_ef":64,"exact":false,"quantization":{"rescore":true}},"using":"","filter":null,"prefetch":[]}'
equal "nearest is the same" .result.points "$(jq -c . <<<"$first")"
expect "base64" 200 "" POST $C/points/query "{\"query\":{\"object\":{\"b64\":\"$(printf '\0\0\200\77\315\314\314\75\0\0\0\0\0\0\0\0' | base64)\"},\"model\":\"float32\"},\"limit\":2,\"with_payload\":true}"
equal "base64 is the same" .result.points "$(jq -c . <<<"$first")"
expect "offset" 200 "" POST $C/points/query '{"query":[1,0.1,0,0],"limit":1,"offset":1,"with_payload":true}'
equal "offset" '.result.points[0]' "$(jq -c '.[1]' <<<"$first")"
expect "threshold" 200 "" POST $C/points/query '{"query":[1,0,0,0],"limit":10,"score_threshold":0.5}'
equal "threshold" '[.result.points[].id]' '[1]'
expect "default payload" 200 "" POST $C/points/query '{"query":[1,0,0,0],"limit":1}'
equal "default payload" '.result.points[0]|has("payload") or has("vector")' false
expect "by id" 200 "" POST $C/points/query '{"query":1,"limit":10}'
equal "by id: not itself" '[.result.points[].id|tostring]|[index("1"),length]' '[null,4]'
expect "by string id" 200 "" POST $C/points/query '{"query":"doc-é","limit":1,"offset":3}'
equal "by string id" '[.result.points[].id]' '[1]'

# ---- the last of equal ids wins; upsert replaces ----
expect "batch" 200 "" PUT $C/points '{"batch":{"ids":[5,6,5],"vectors":[[1,0,0,0],[0,1,0,0],[0,0,0,9]],"payloads":[{"v":1},null,{"v":3}]}}'
expect "last wins" 200 '"payload":{"v":3}' POST $C/points '{"ids":[5]}'
expect "count" 200 '"count":7' POST $C/points/count '{}'
expect "named batch" 200 "" PUT $C/points '{"batch":{"ids":[5],"vectors":{"":[[0,9,0,0]]}}}'
expect "replaced" 200 '"payload":{}' POST $C/points '{"ids":[5]}'
expect "replaced" 200 "" POST $C/points/query '{"query":[0,1,0,0],"limit":1}'
equal "replaced" '.result.points[0].id' 5
expect "delete" 200 "" POST "$C/points/delete?wait=true" '{"points":[5,6,1234]}'
check "operations rise" test "$(jq .result.operation_id <<<"$ANSWER")" -gt "$operation"
expect "deleted" 200 "" POST $C/points '{"ids":[5,6]}'
equal "deleted" .result '[]'
expect "count" 200 '"count":5' POST $C/points/count

# ---- euclid: less is better; hamming; codes ----
expect "euclid" 200 "" PUT /collections/e '{"vectors":{"size":3,"distance":"Euclid"},"codes":{"dims":256}}'
expect "euclid" 200 "" PUT /collections/e/points '{"points":[{"id":1,"vector":[1,2,3]},{"id":2,"vector":[4,6,3]},{"id":3,"vector":[1,2,103]}]}'
expect "euclid" 200 "" POST /collections/e/points/query '{"query":[1,2,3],"limit":3}'
equal "euclid order" '[.result.points[].id]' '[1,2,3]'
equal "euclid scores" '[.result.points[].score]|(.[1]-5|fabs)<0.5 and (.[2]-100|fabs)<5' true
expect "euclid threshold" 200 "" POST /collections/e/points/query '{"query":[1,2,3],"limit":3,"score_threshold":10}'
equal "euclid threshold" '[.result.points[].id]' '[1,2]'
expect "hamming" 200 "" PUT /collections/h '{"vectors":{"size":64,"distance":"Cosine"},"codes":{"bits":1,"distance":"hamming"}}'
zeros=$(head -c 8 /dev/zero | base64) ones=$(head -c 8 /dev/zero | tr '\0' '\377' | base64)
half=$(printf '\377\377\377\377\0\0\0\0' | base64)
expect "codes" 200 "" PUT /collections/h/points "{\"points\":[{\"id\":1,\"vector\":{\"object\":{\"b64\":\"$zeros\"},\"model\":\"codes\"}},{\"id\":2,\"vector\":{\"object\":{\"b64\":\"$ones\"},\"model\":\"codes\"}},{\"id\":3,\"vector\":{\"\":{\"object\":{\"b64\":\"$half\"},\"model\":\"codes\"}}}]}"
expect "hamming" 200 "" POST /collections/h/points/query "{\"query\":{\"object\":{\"b64\":\"$ones\"},\"model\":\"codes\"},\"limit\":3}"
equal "hamming" '[.result.points[]|[.id,.score]]' '[[2,1],[3,0],[1,-1]]'
expect "hamming by id" 200 "" POST /collections/h/points/query '{"query":1,"limit":3}'
equal "hamming by id" '[.result.points[]|[.id,.score]]' '[[3,0],[2,-1]]'

# ---- text ----
expect "text" 200 "" PUT /collections/t '{"text_model":"static"}'
expect "text" 200 "" PUT /collections/t/points '{"points":[
	{"id":1,"vector":{"text":"edit photos and paint pictures","model":"static"}},
	{"id":2,"vector":{"text":"play music and listen to songs"}},
	{"id":3,"vector":{"":{"text":"compile programs written in the C language"}}}]}'
expect "text" 200 "" POST /collections/t/points/query '{"query":{"text":"audio player"},"limit":1}'
equal "text" '.result.points[0].id' 2
expect "text by document" 200 "" POST /collections/t/points/query '{"query":{"nearest":{"text":"image editor","model":"static"}},"limit":1}'
equal "text by document" '.result.points[0].id' 1

# ---- embeddings ----
expect "models" 200 "" GET /v1/models
equal "models" '.data[]|select(.id=="static")|.object' '"model"'
expect "float" 200 "" POST /v1/embeddings '{"model":"static","input":"a text"}'
equal "float" '[.object,.data[0].object,.data[0].index,.model,(.usage.prompt_tokens>0)]' '["list","embedding",0,"static",true]'
equal "length 1" '.data[0].embedding|map(.*.)|add-1|fabs<0.00001' true
floats=$(jq -r '.data[0].embedding|@json' <<<"$ANSWER")
expect "base64" 200 "" POST /v1/embeddings '{"model":"static","input":["a text"],"encoding_format":"base64"}'
check "base64 holds the same floats" python3 -c '
import base64, json, struct, sys
raw = base64.b64decode(sys.argv[1])
assert list(struct.unpack("<%df" % (len(raw) // 4), raw)) == [
    struct.unpack("<f", struct.pack("<f", x))[0] for x in json.loads(sys.argv[2])]
' "$(jq -r '.data[0].embedding' <<<"$ANSWER")" "$floats"
expect "several" 200 "" POST /v1/embeddings '{"model":"static","input":["one","two","three"],"dimensions":null,"user":"me"}'
equal "several" '[.data[].index]' '[0,1,2]'

# ---- drop ----
expect "drop" 200 '"result":true' DELETE $C
expect "dropped" 200 '"exists":false' GET $C/exists
expect "drop again" 200 '"result":false' DELETE $C
expect "empty when made again" 200 "" PUT $C '{"vectors":{"size":4,"distance":"Dot"}}'
expect "empty when made again" 200 '"count":0' POST $C/points/count
expect "metrics count" 200 'halftone_points{collection="t"} 3' GET /metrics
check "simd" grep -q '^halftone_simd_info{simd="[a-z0-9]*"} 1' <<<"$ANSWER"
stop
finish
