#!/bin/bash
# Claim: every bad input gets the status that fits and a message that says what was
# expected or which limit it is, and changes nothing.
. "$(dirname "$0")/common.sh"
start --max-points-per-request 100 --max-payload-bytes 1KiB --max-text-bytes 200 \
	--max-limit 50 --max-body-bytes 64KiB --max-inputs 4 --max-searches 20
P=/collections/c/points
Q=$P/query
expect "set up" 200 "" PUT /collections/c '{"vectors":{"size":4,"distance":"Cosine"},"codes":{"bits":2}}'
expect "set up" 200 "" PUT /collections/t '{"text_model":"static"}'
expect "set up" 200 "" PUT /collections/named '{"vectors":{"body":{"size":4,"distance":"Dot"}}}'
expect "set up" 200 "" PUT $P '{"points":[{"id":1,"vector":[1,0,0,0],"payload":{"a":1}},{"id":2,"vector":[0,1,0,0]}]}'
state() {
	for path in /collections /collections/c /collections/t; do
		ask GET $path
		# But for what the process takes at the moment.
		jq -c '.result | del(.config?.params?.bytes?["process_anonymous", "store_resident"])' <<<"$ANSWER"
	done
	ask POST $Q '{"query":[1,1,0,0],"limit":10,"with_payload":true,"with_vector":true}'
	jq -c .result <<<"$ANSWER"
}
before=$(state)
n=0
bad() { n=$((n + 1)); expect "$@"; }
point() { printf '{"points":[{"id":%s,"vector":%s,"payload":%s}]}' "$1" "$2" "${3:-null}"; }
b64() { head -c "$1" /dev/zero | base64 -w0; }
long=$(head -c 300 /dev/zero | tr '\0' a)

# ---- JSON ----
bad "no body" 400 "expected a JSON object" PUT $P
bad "not JSON" 400 "JSON" PUT $P 'hello'
bad "cut JSON" 400 "JSON" PUT $P '{"points":[{"id":1'
bad "trailing text" 400 "JSON" PUT $P "$(point 1 '[1,0,0,0]') x"
bad "an array" 400 "an array" PUT $P '[1]'
bad "bad UTF-8" 400 "UTF-8" PUT $P "$(point 1 '[1,0,0,0]' $'{"a":"\xff"}')"
bad "control character" 400 "JSON" PUT $P "$(point 1 '[1,0,0,0]' $'{"a":"\x01"}')"
bad "lone surrogate" 400 "JSON" PUT $P "$(point 1 '[1,0,0,0]' '{"a":"\ud800"}')"
bad "deep" 400 "JSON" PUT $P "$(point 1 "$(printf '[%.0s' {1..100})")"

# ---- vectors ----
bad "too few dims" 400 "expected 4 dimensions" PUT $P "$(point 3 '[1,0,0]')"
bad "too many dims" 400 "not 5" PUT $P "$(point 3 '[1,0,0,0,0]')"
bad "no dims" 400 "not 0" PUT $P "$(point 3 '[]')"
bad "which point" 400 "point 1" PUT $P '{"points":[{"id":3,"vector":[1,0,0,0]},{"id":4,"vector":[1]}]}'
bad "NaN" 400 "JSON" PUT $P "$(point 3 '[NaN,0,0,0]')"
bad "1e999" 400 "" PUT $P "$(point 3 '[1e999,0,0,0]')"
bad "beyond float" 400 "vector" PUT $P "$(point 3 '[1e300,0,0,0]')"
bad "a string in it" 400 "vector" PUT $P "$(point 3 '["1",0,0,0]')"
bad "null in it" 400 "vector" PUT $P "$(point 3 '[null,0,0,0]')"
bad "zero vector" 400 "zero" PUT $P "$(point 3 '[0,0,0,0]')"
bad "zero query" 400 "zero" POST $Q '{"query":[0,0,0,0]}'
bad "no vector" 400 "'vector'" PUT $P '{"points":[{"id":3}]}'
bad "null vector" 400 "'vector'" PUT $P "$(point 3 null)"
bad "vector a string" 400 "vector" PUT $P "$(point 3 '"abc"')"
bad "several vectors" 501 "several" PUT $P "$(point 3 '[[1,0,0,0],[0,1,0,0]]')"
bad "sparse" 501 "sparse" PUT $P "$(point 3 '{"indices":[1],"values":[1]}')"
bad "unknown name" 400 "named" PUT $P "$(point 3 '{"title":[1,0,0,0]}')"
bad "wrong name" 400 "'body'" PUT /collections/named/points "$(point 3 '{"title":[1,0,0,0]}')"
bad "wrong using" 400 "using" POST $Q '{"query":[1,0,0,0],"using":"body"}'

# ---- base64 ----
bad "base64 too short" 400 "b64" PUT $P "$(point 3 "{\"object\":{\"b64\":\"$(b64 15)\"},\"model\":\"codes\"}")"
bad "base64 too long" 400 "b64" PUT $P "$(point 3 "{\"object\":{\"b64\":\"$(b64 17)\"},\"model\":\"codes\"}")"
bad "base64 of floats" 400 "b64" PUT $P "$(point 3 "{\"object\":{\"b64\":\"$(b64 12)\"},\"model\":\"float32\"}")"
bad "base64 of NaN" 400 "finite" PUT $P "$(point 3 "{\"object\":{\"b64\":\"$(head -c 16 /dev/zero | tr '\0' '\377' | base64 -w0)\"},\"model\":\"float32\"}")"
bad "base64 noise" 400 "at character 0" PUT $P "$(point 3 '{"object":{"b64":"!!!"},"model":"codes"}')"
bad "no b64" 400 "b64" PUT $P "$(point 3 '{"object":{},"model":"codes"}')"
bad "unknown model of an object" 400 "codes" PUT $P "$(point 3 '{"object":{"b64":""},"model":"int4"}')"
bad "another binarizer" 400 "binarizer" PUT $P "$(point 3 "{\"object\":{\"b64\":\"$(b64 16)\",\"binarizer_id\":\"0123456789abcdef\"},\"model\":\"codes\"}")"
bad "negative norm" 400 "norm" PUT $P "$(point 3 "{\"object\":{\"b64\":\"$(b64 16)\",\"norm\":-1},\"model\":\"codes\"}")"

# ---- text ----
T=/collections/t/points
bad "empty text" 400 "text" PUT $T "$(point 3 '{"text":""}')"
bad "blank text" 400 "text" PUT $T "$(point 3 '{"text":" \n "}')"
bad "long text" 413 "max_text_bytes" PUT $T "$(point 3 "{\"text\":\"$long\"}")"
bad "unknown model" 404 "nomodel" PUT $T "$(point 3 '{"text":"x","model":"nomodel"}')"
bad "text without a model" 400 "model" PUT $P "$(point 3 '{"text":"x"}')"
bad "model of another size" 400 "dimensions" PUT $P "$(point 3 '{"text":"x","model":"static"}')"
bad "empty query" 400 "text" POST $T/query '{"query":{"text":""}}'
bad "image" 501 "image" PUT $T "$(point 3 '{"image":"x","model":"static"}')"

# ---- ids ----
bad "no id" 400 "id" PUT $P '{"points":[{"vector":[1,0,0,0]}]}'
bad "id beyond u64" 400 "id" PUT $P "$(point 18446744073709551616 '[1,0,0,0]')"
bad "negative id" 400 "id" PUT $P "$(point -1 '[1,0,0,0]')"
bad "fraction as id" 400 "id" PUT $P "$(point 1.5 '[1,0,0,0]')"
bad "exponent as id" 400 "id" PUT $P "$(point 1e3 '[1,0,0,0]')"
bad "boolean as id" 400 "id" PUT $P "$(point true '[1,0,0,0]')"
bad "object as id" 400 "id" PUT $P "$(point '{}' '[1,0,0,0]')"
bad "empty id" 400 "id" PUT $P "$(point '""' '[1,0,0,0]')"
bad "long id" 400 "id" PUT $P "$(point "\"$long\"" '[1,0,0,0]')"
bad "delete bad id" 400 "points[1]" POST $P/delete '{"points":[1,-1]}'
bad "retrieve bad id" 400 "ids[0]" POST $P '{"ids":[1.5]}'
bad "query by unknown id" 404 "777" POST $Q '{"query":777}'

# ---- payloads and forms ----
bad "payload an array" 400 "payload" PUT $P "$(point 3 '[1,0,0,0]' '[1]')"
bad "payload too long" 413 "max_payload_bytes" PUT $P "$(point 3 '[1,0,0,0]' "{\"a\":\"$long$long$long$long\"}")"
bad "unknown field of a point" 400 "payload" PUT $P '{"points":[{"id":3,"vector":[1,0,0,0],"text":"x"}]}'
bad "no points" 400 "points" PUT $P '{}'
bad "empty points" 400 "at least one" PUT $P '{"points":[]}'
bad "points an object" 400 "array" PUT $P '{"points":{}}'
bad "a point is a number" 400 "object" PUT $P '{"points":[1]}'
bad "both forms" 400 "either" PUT $P '{"points":[{"id":3,"vector":[1,0,0,0]}],"batch":{"ids":[3],"vectors":[[1,0,0,0]]}}'
bad "batch of more payloads" 400 "payloads as ids (1), not 2" PUT $P '{"batch":{"ids":[3],"vectors":[[1,0,0,0]],"payloads":[{},{}]}}'
bad "batch of two lengths" 400 "vectors as ids (2), not 1" PUT $P '{"batch":{"ids":[3,4],"vectors":[[1,0,0,0]]}}'
bad "batch without vectors" 400 "vectors" PUT $P '{"batch":{"ids":[3]}}'
many=$(printf '{"id":%d,"vector":[1,0,0,0]},' {1..101})
bad "too many points" 413 "max_points_per_request" PUT $P "{\"points\":[${many%,}]}"
bad "body over the limit" 413 "max_body_bytes" PUT $P "$(point 3 '[1,0,0,0]' "{\"a\":\"$(head -c 70000 /dev/zero | tr '\0' a)\"}")"
bad "delete nothing" 400 "points" POST $P/delete '{}'
bad "delete by both" 400 "either" POST $P/delete '{"points":[1],"filter":{"must":[]}}'
bad "delete by a filter that is none" 400 "filter" POST $P/delete '{"filter":[]}'
bad "retrieve nothing" 400 "ids" POST $P '{}'
bad "ids a number" 400 "an array" POST $P '{"ids":1}'

# ---- queries ----
bad "no query" 501 "scroll" POST $Q '{"limit":3}'
bad "limit 0" 400 "from 1 to 50, not 0" POST $Q '{"query":[1,0,0,0],"limit":0}'
bad "limit -1" 400 "from 1 to 50, not -1" POST $Q '{"query":[1,0,0,0],"limit":-1}'
bad "limit a string" 400 "limit" POST $Q '{"query":[1,0,0,0],"limit":"3"}'
bad "limit over the limit" 400 "max_limit" POST $Q '{"query":[1,0,0,0],"limit":51}'
bad "offset over the limit" 400 "max_limit" POST $Q '{"query":[1,0,0,0],"limit":10,"offset":51}'
bad "limit that wraps" 400 "max_limit" POST $Q '{"query":[1,0,0,0],"limit":18446744073709551615,"offset":2}'
bad "filter an array" 400 "filter" POST $Q '{"query":[1,0,0,0],"filter":[]}'
bad "filter of no known form" 400 "filter" POST $Q '{"query":[1,0,0,0],"filter":{"must":[{"key":"a","equals":1}]}}'
bad "filter by place" 501 "geo" POST $Q '{"query":[1,0,0,0],"filter":{"must":[{"key":"a","geo_radius":{}}]}}'
bad "count with a filter that is none" 400 "filter" POST $P/count '{"filter":1}'
bad "exact a string" 400 "exact" POST $P/count '{"exact":"yes"}'
bad "prefetch" 501 "prefetch" POST $Q '{"query":[1,0,0,0],"prefetch":[{"query":[1,0,0,0]}]}'
bad "recommend by nothing" 400 "positive" POST $Q '{"query":{"recommend":{"negative":[1]}}}'
bad "recommend by an unknown id" 404 "positive[1]: no point with id 777" POST $Q '{"query":{"recommend":{"positive":[1,777]}}}'
bad "recommend by scores" 501 "average_vector" POST $Q '{"query":{"recommend":{"positive":[1],"strategy":"best_score"}}}'
bad "recommend by a text" 501 "texts" POST /collections/t/points/query '{"query":{"recommend":{"positive":[{"text":"a"}]}}}'
bad "recommend, the old way" 400 "positive" POST $P/recommend '{"limit":3}'
bad "recommend, a query" 400 "strategy, using" POST $P/recommend '{"positive":[1],"query":1}'
bad "recommend, elsewhere" 501 "lookup_from" POST $P/recommend '{"positive":[1],"lookup_from":{"collection":"c"}}'
bad "recommend in groups" 501 "group" POST $P/recommend/groups '{"positive":[1],"group_by":"a"}'
bad "recommend by an object" 400 "vector" POST $Q '{"query":{"recommend":{"positive":[{}]}}}'
bad "recommend by too many" 400 "1000 examples" POST $Q "{\"query\":{\"recommend\":{\"positive\":[$(printf '1,%.0s' {1..1000})1]}}}"
bad "search without a vector" 400 "vector" POST $P/search '{"limit":1}'
bad "search with a query" 400 "query" POST $P/search '{"vector":[1,0,0,0],"query":1}'
bad "search with another name" 400 "vector name" POST $P/search '{"vector":{"name":"x","vector":[1,0,0,0]}}'
bad "batch of nothing" 400 "searches" POST $Q/batch '{}'
bad "batch of numbers" 400 "searches[0]" POST $Q/batch '{"searches":[1]}'
bad "one of a batch wrong" 400 "searches[1]: limit" POST $Q/batch '{"searches":[{"query":[1,0,0,0]},{"query":[1,0,0,0],"limit":0}]}'
bad "one of a batch of another size" 400 "searches[1]: vector" POST $Q/batch '{"searches":[{"query":[1,0,0,0]},{"query":[1,0]}]}'
bad "one of a batch unknown" 404 "searches[1]: query: no point" POST $Q/batch '{"searches":[{"query":[1,0,0,0]},{"query":777}]}'
bad "too many searches" 413 "max_searches" POST $Q/batch "{\"searches\":[$(printf '{"query":1},%.0s' {1..20}){\"query\":1}]}"
bad "batch of an unknown collection" 404 "nope" POST /collections/nope/points/query/batch '{"searches":[]}'
bad "scroll with limit 0" 400 "from 1 to 50, not 0" POST $P/scroll '{"limit":0}'
bad "scroll from nowhere" 400 "offset" POST $P/scroll '{"offset":-1}'
bad "an order without an index" 400 "make one" POST $P/scroll '{"order_by":"a"}'
bad "an order of a number" 400 "order_by" POST $P/scroll '{"order_by":1}'
bad "an order of no key" 400 "'key'" POST $P/scroll '{"order_by":{"direction":"asc"}}'
bad "an order of a bad key" 400 "order_by" POST $P/scroll '{"order_by":"a["}'
bad "an order sideways" 400 "direction" POST $P/scroll '{"order_by":{"key":"a","direction":"up"}}'
bad "an order from a date" 501 "dates" POST $P/scroll '{"order_by":{"key":"a","start_from":"2024-01-01"}}'
bad "an order from nowhere" 400 "start_from" POST $P/scroll '{"order_by":{"key":"a","start_from":[]}}'
bad "an order from an id" 400 "offset" POST $P/scroll '{"order_by":"a","offset":1}'
bad "scroll with a filter that is none" 400 "filter" POST $P/scroll '{"filter":"a"}'
bad "scroll of an unknown collection" 404 "nope" POST /collections/nope/points/scroll '{}'
bad "fusion" 501 "fusion" POST $Q '{"query":{"fusion":"rrf"}}'
bad "unknown field of a query" 400 "top" POST $Q '{"query":[1,0,0,0],"top":3}'
bad "threshold a string" 400 "score_threshold" POST $Q '{"query":[1,0,0,0],"score_threshold":"x"}'
bad "with_payload a number" 400 "with_payload" POST $Q '{"query":[1,0,0,0],"with_payload":3}'
bad "with_vector of another name" 400 "vector name ''" POST $Q '{"query":[1,0,0,0],"with_vector":["x"]}'
bad "points with a vector of another name" 400 "vector name" POST $P '{"ids":[1],"with_vector":["x"]}'
bad "with_vector a number" 400 "with_vector" POST $Q '{"query":[1,0,0,0],"with_vector":3}'
bad "query a boolean" 400 "vector" POST $Q '{"query":true}'

# ---- collections ----
bad "unknown collection" 404 "nope" POST /collections/nope/points/query '{"query":[1]}'
bad "unknown collection" 404 "nope" PUT /collections/nope/points "$(point 1 '[1]')"
bad "exists already" 409 "exists" PUT /collections/c '{"vectors":{"size":4,"distance":"Cosine"}}'
bad "nothing said" 400 "vectors" PUT /collections/x '{}'
bad "no size" 400 "size" PUT /collections/x '{"vectors":{"distance":"Cosine"}}'
bad "no distance" 400 "distance" PUT /collections/x '{"vectors":{"size":4}}'
bad "size 0" 400 "size" PUT /collections/x '{"vectors":{"size":0,"distance":"Cosine"}}'
bad "size too large" 400 "from 1 to 16384" PUT /collections/x '{"vectors":{"size":100000,"distance":"Cosine"}}'
bad "size a string" 400 "size" PUT /collections/x '{"vectors":{"size":"4","distance":"Cosine"}}'
bad "Manhattan" 501 "Manhattan" PUT /collections/x '{"vectors":{"size":4,"distance":"Manhattan"}}'
bad "unknown distance" 400 "Cosine" PUT /collections/x '{"vectors":{"size":4,"distance":"cos"}}'
bad "5 bits" 400 "from 1 to 4, not 5" PUT /collections/x '{"vectors":{"size":4,"distance":"Cosine"},"codes":{"bits":5}}'
bad "100 dims" 400 "multiple of 64" PUT /collections/x '{"vectors":{"size":4,"distance":"Cosine"},"codes":{"dims":100}}'
bad "8192 dims" 400 "from 64 to 4096, not 8192" PUT /collections/x '{"vectors":{"size":4,"distance":"Cosine"},"codes":{"dims":8192}}'
bad "unknown code distance" 400 "int8" PUT /collections/x '{"vectors":{"size":4,"distance":"Cosine"},"codes":{"distance":"l2"}}'
bad "unknown binarizer" 404 "nobin" PUT /collections/x '{"vectors":{"size":4,"distance":"Cosine"},"codes":{"binarizer":"nobin"}}'
bad "unknown text model" 404 "nomodel" PUT /collections/x '{"text_model":"nomodel"}'
bad "unknown field" 400 "code" PUT /collections/x '{"vectors":{"size":4,"distance":"Cosine"},"code":{"bits":1}}'
bad "unknown field of vectors" 400 "sizes" PUT /collections/x '{"vectors":{"size":4,"distance":"Cosine","sizes":1}}'
bad "two named vectors" 501 "several" PUT /collections/x '{"vectors":{"a":{"size":4,"distance":"Cosine"},"b":{"size":4,"distance":"Cosine"}}}'
bad "sparse vectors" 501 "sparse" PUT /collections/x '{"vectors":{"size":4,"distance":"Cosine"},"sparse_vectors":{"s":{}}}'
bad "multivectors" 501 "multivector" PUT /collections/x '{"vectors":{"size":4,"distance":"Cosine","multivector_config":{"comparator":"max_sim"}}}'
bad "scalar quantization" 501 "binary" PUT /collections/x '{"vectors":{"size":4,"distance":"Cosine"},"quantization_config":{"scalar":{"type":"int8"}}}'
bad "slash in a name" 400 "name" PUT /collections/a%2Fb '{"vectors":{"size":4,"distance":"Cosine"}}'
bad "control in a name" 400 "name" PUT /collections/a%01b '{"vectors":{"size":4,"distance":"Cosine"}}'
bad "bad UTF-8 in a name" 400 "name" PUT /collections/%ff '{"vectors":{"size":4,"distance":"Cosine"}}'
bad "long name" 400 "name" PUT "/collections/$long" '{"vectors":{"size":4,"distance":"Cosine"}}'

# ---- routes ----
bad "unknown route" 404 "no such route" GET /nothing
bad "wrong method" 405 "GET" POST /collections '{}'
bad "wrong method" 405 "PUT" POST /collections/c '{}'
bad "groups" 501 "groups" POST $Q/groups '{}'
bad "update" 501 "update" PATCH /collections/c '{}'
bad "index of nothing" 400 "field_name" PUT /collections/c/index '{}'
bad "index of no type" 400 "field_schema" PUT /collections/c/index '{"field_name":"a"}'
bad "index of an unknown type" 400 "field_schema" PUT /collections/c/index \
	'{"field_name":"a","field_schema":"words"}'
bad "geo index" 501 "geo" PUT /collections/c/index '{"field_name":"a","field_schema":"geo"}'
bad "index of no key" 400 "field_name" PUT /collections/c/index \
	'{"field_name":"a..b","field_schema":"bool"}'
bad "index of an unknown collection" 404 "nope" PUT /collections/nope/index \
	'{"field_name":"a","field_schema":"bool"}'
bad "payload of nobody" 400 "points" POST /collections/c/points/payload '{"payload":{}}'
bad "payload of nothing" 400 "payload" POST /collections/c/points/payload '{"points":[1]}'
bad "payload of no object" 400 "payload" PUT /collections/c/points/payload \
	'{"payload":[1],"points":[1]}'
bad "payload at no key" 400 "key" POST /collections/c/points/payload \
	'{"payload":{},"key":"","points":[1]}'
bad "payload too deep below its key" 400 "nesting" POST /collections/c/points/payload \
	"{\"payload\":$(printf '{"a":%.0s' {1..29})1$(printf '}%.0s' {1..29}),\"key\":\"k.k.k.k.k\",\"points\":[1]}"
bad "overwriting below a key" 501 "key" PUT /collections/c/points/payload \
	'{"payload":{},"key":"a","points":[1]}'
bad "65 keys to delete" 413 "64" POST /collections/c/points/payload/delete \
	"{\"keys\":[\"a\"$(printf ',"a"%.0s' {1..64})],\"points\":[1]}"
bad "words cut in another way" 501 "tokenizer" PUT /collections/c/index \
	'{"field_name":"a","field_schema":{"type":"text","tokenizer":"prefix"}}'
bad "no keys to delete" 400 "keys" POST /collections/c/points/payload/delete '{"points":[1]}'
bad "keys that are none" 400 "keys" POST /collections/c/points/payload/delete \
	'{"points":[1],"keys":[1]}'
bad "snapshots" 501 "snapshots" GET /collections/c/snapshots
bad "aliases" 501 "aliases" GET /aliases

# ---- embeddings: OpenAI's error object ----
E=/v1/embeddings
oai() { bad "$@"; equal "$1: the form" '.error|[(.message|type),(.type|type)]' '["string","string"]'; }
oai "no model" 400 "model" POST $E '{"input":"x"}'
oai "unknown embedding model" 404 "model_not_found" POST $E '{"input":"x","model":"gpt"}'
oai "no input" 400 "input" POST $E '{"model":"static"}'
oai "empty string" 400 "text" POST $E '{"model":"static","input":""}'
oai "empty string in a list" 400 "input[1]" POST $E '{"model":"static","input":["a",""]}'
oai "empty list" 400 "input" POST $E '{"model":"static","input":[]}'
oai "too many inputs" 400 "max_inputs" POST $E '{"model":"static","input":["a","b","c","d","e"]}'
oai "tokens" 400 "unsupported_input" POST $E '{"model":"static","input":[1,2,3]}'
oai "lists of tokens" 400 "token" POST $E '{"model":"static","input":[[1,2],[3]]}'
oai "input an object" 400 "an object" POST $E '{"model":"static","input":{}}'
oai "other dimensions" 400 "dimensions" POST $E '{"model":"static","input":"x","dimensions":7}'
oai "other format" 400 "encoding_format" POST $E '{"model":"static","input":"x","encoding_format":"ubinary"}'
oai "input too long" 413 "context_length_exceeded" POST $E "{\"model\":\"static\",\"input\":\"$long\"}"
oai "no such model" 404 '"code":"model_not_found"' GET /v1/models/gpt
oai "OpenAI route that is not" 404 "unknown_route" GET /v1/nothing
oai "chat" 501 "not_served" POST /v1/chat/completions '{}'

after=$(state)
check "nothing has changed" test "$before" = "$after"
check "at least 40 cases" test $n -ge 40
check "no HTML" test -z "$(curl -s "$URL/%3Chtml" | grep -i '<html')"
echo "$n bad inputs"
stop
finish
