#!/bin/bash
# Claim: a collection may embed its queries by another model of the same coordinates, and
# by no other; a text of which the model knows too little is embedded and warned about; an
# answer does not depend on what is embedded beside it; a request has texts of one model.
. "$(dirname "$0")/common.sh"
OURS=$WORK/models
mkdir "$OURS"
clone() { # NAME COORDINATES: of the static model
	mkdir "$OURS/$1"
	cp "$MODELS"/static/{vocab.txt,model.safetensors} "$OURS/$1"
	jq ".coordinates = \"$2\"" "$MODELS/static/config.json" >"$OURS/$1/config.json"
}
clone documents space
clone queries space
clone elsewhere other
clone silent ""
MODELS=$OURS
start

create() { # NAME QUERY-MODEL
	echo "{\"vectors\":{\"distance\":\"Cosine\"},\"text_model\":\"documents\",\"query_model\":\"$2\"}"
}
expect "same coordinates" 200 "" PUT /collections/a "$(create a queries)"
expect "not said" 200 "" PUT /collections/b "$(create b silent)"
expect "other coordinates" 400 'coordinates' PUT /collections/c "$(create c elsewhere)"
expect "no such model" 404 'no model called' PUT /collections/c "$(create c nothing)"
expect "no text_model" 400 'text_model beside' PUT /collections/c \
	'{"vectors":{"size":256,"distance":"Cosine"},"query_model":"queries"}'
expect "none was made" 200 '"exists":false' GET /collections/c/exists
expect "info" 200 "" GET /collections/a
equal "info" '[.result.config.params.query_model,.result.config.metadata.query_model]' '["queries","queries"]'

points='{"points":[{"id":1,"vector":{"text":"a cat on a roof"}},{"id":2,"vector":{"text":"interest rates"}}]}'
expect "upsert" 200 "completed" PUT /collections/a/points "$points"
expect "query" 200 "" POST /collections/a/points/query '{"query":{"text":"banks and money"},"limit":1}'
equal "query" '.result.points[0].id' 2
elsewhere='"text":"banks and money","model":"elsewhere"'
expect "a query of other coordinates" 400 'coordinates' POST /collections/a/points/query "{\"query\":{$elsewhere}}"
expect "a point of other coordinates" 400 'coordinates' PUT /collections/a/points "{\"points\":[{\"id\":3,\"vector\":{$elsewhere}}]}"
expect "two models" 400 "one model for all texts" PUT /collections/a/points \
	'{"points":[{"id":3,"vector":{"text":"x","model":"queries"}},{"id":4,"vector":{"text":"y"}}]}'
expect "and nothing came in" 200 '"count":2' POST /collections/a/points/count '{}'
expect "a bad one among many" 400 'point 1: text: expected some text' PUT /collections/a/points \
	'{"points":[{"id":3,"vector":{"text":"x"}},{"id":4,"vector":{"text":""}}]}'
stop
start
expect "kept over a restart" 200 '"query_model":"queries"' GET /collections/a
expect "query" 200 "" POST /collections/a/points/query '{"query":{"text":"banks and money"},"limit":1}'
equal "query" '.result.points[0].id' 2

# The vocabulary has no Cherokee.
foreign="ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ cat"
expect "foreign" 200 "" POST /v1/embeddings "{\"model\":\"documents\",\"input\":[\"$foreign\",\"cat\"]}"
equal "foreign" '[(.data|length),(.warnings|length),(.warnings[0]|startswith("1 of 2 texts"))]' '[2,1,true]'
expect "foreign" 200 "unknown to model 'queries'" POST /collections/a/points/query "{\"query\":{\"text\":\"$foreign\"}}"
expect "foreign" 200 "unknown to model 'documents'" PUT /collections/a/points \
	"{\"points\":[{\"id\":5,\"vector\":{\"text\":\"$foreign\"}}]}"
expect "familiar" 200 "" POST /v1/embeddings '{"model":"documents","input":"cat"}'
equal "familiar" .warnings null
expect "counted" 200 "halftone_texts_unknown_total 3" GET /metrics

expect "input_type" 200 "" POST /v1/embeddings '{"model":"documents","input":"cat","input_type":"query"}'
expect "input_type" 400 '"param":"input_type"' POST /v1/embeddings '{"model":"documents","input":"cat","input_type":"passage"}'
expect "models" 200 "" GET /v1/models
equal "models" '[.data[]|[.id,.coordinates,.max_tokens]]|sort|.[0]' '["documents","space",256]'

# Every answer is that of its own text, whatever is embedded beside it.
words=(cat dog bank rates roof moon river stone)
for w in "${words[@]}"; do
	ask POST /v1/embeddings "{\"model\":\"documents\",\"input\":\"$w\"}"
	jq -c .data[0].embedding <<<"$ANSWER" >"$WORK/$w.alone"
done
for round in 1 2 3 4 5; do
	pids=()
	for w in "${words[@]}"; do
		curl -sS "$URL/v1/embeddings" -H 'Content-Type: application/json' \
			-d "{\"model\":\"documents\",\"input\":[\"$w\",\"$w $w moon\"]}" >"$WORK/$w.$round" &
		pids+=($!)
	done
	wait "${pids[@]}"
	for w in "${words[@]}"; do
		jq -c .data[0].embedding "$WORK/$w.$round" >"$WORK/got"
		check "$w" cmp -s "$WORK/got" "$WORK/$w.alone"
	done
done

# What all texts hold is bounded, an upsert's points with them; it is given back.
stop
start --max-texts-bytes 6KiB
four='["cat","dog","bank","roof"]'
expect "too many" 413 '(max_texts_bytes)' POST /v1/embeddings "{\"model\":\"documents\",\"input\":$four}"
expect "too many" 413 '(max_texts_bytes)' PUT /collections/a/points \
	"$(jq -nc "$four"' | {points: [to_entries[] | {id: (10 + .key), vector: {text: .value}}]}')"
expect "nothing came of it" 200 '"count":3' POST /collections/a/points/count '{}'
for i in 1 2 3 4 5 6; do
	expect "one" 200 "" POST /v1/embeddings '{"model":"documents","input":"cat"}'
	expect "one" 200 "" PUT /collections/a/points "{\"points\":[{\"id\":$i,\"vector\":{\"text\":\"cat\"}}]}"
	expect "one" 200 "" POST /collections/a/points/query '{"query":{"text":"cat"}}'
done
stop
finish
