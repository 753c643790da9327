#!/bin/bash
# Claim: a collection's binarizer can be followed by another, of the same encoder or of a
# new one: documents that come from then on are coded by the newest, those there stay and
# are found with them in one ranking, come back as vectors, serve as queries and can be
# deleted; documents that come again move; a version without documents goes with the next
# change or start; the same change twice at once is one change; all of this over restarts;
# what cannot work is refused in words and changes nothing; params.bits reads fewer planes.
. "$(dirname "$0")/common.sh"
HALFTONE=$BIN/halftone
OURS=$WORK/models
make() { python3 "$(dirname "$0")/versions_models.py" "$@"; }
mkdir -p "$OURS"
for m in static halftone-mini; do ln -s "$(realpath "$MODELS/$m")" "$OURS/$m"; done
make old "$OURS/old"
MODELS=$OURS
C=/collections/c
versions='.result.config.params.versions'
start

# ---- the same encoder ----
expect "create" 200 "" PUT $C '{"vectors":{"size":8,"distance":"Cosine"},"codes":{"dims":256,"bits":4}}'
expect "points" 200 "completed" PUT $C/points "$(make points old 0 100)"
expect "one version" 200 "" GET $C
equal "one version" "$versions|map([.version,.documents,.bits])" '[[1,100,4]]'
for i in 17 41; do
	expect "before" 200 "" POST $C/points/query "{\"query\":$(make vector old $i),\"limit\":5}"
	jq -c '[.result.points[]|[.id,.score]]' <<<"$ANSWER" >"$WORK/before.$i"
done
expect "change" 200 '"result":true' PATCH $C '{"codes":{"binarizer":"untrained","dims":512,"bits":2}}'
expect "two versions" 200 "" GET $C
equal "two versions" "$versions|map([.version,.documents,.dims,.bits])" '[[1,100,256,4],[2,0,512,2]]'
equal "newest" '.result.config.params.codes|[.dims,.bits]' '[512,2]'
for i in 17 41; do
	expect "nothing has changed" 200 "" POST $C/points/query "{\"query\":$(make vector old $i),\"limit\":5}"
	equal "nothing has changed" '[.result.points[]|[.id,.score]]' "$(cat "$WORK/before.$i")"
done
expect "again is no change" 200 '"result":true' PATCH $C '{"codes":{"binarizer":"untrained","bits":2}}'
expect "by metadata" 200 '"result":true' PATCH $C '{"metadata":{"codes":{"binarizer":"untrained"}}}'
expect "still two" 200 "" GET $C
equal "still two" "$versions|length" 2
expect "come again" 200 "" PUT $C/points "$(make points old 0 40)"
expect "new ones" 200 "" PUT $C/points "$(make points old 100 20)"

look() { # documents of version 1 and of version 2
	expect "counts" 200 "" GET $C
	equal "counts" "$versions|map(.documents)" "[$1,$2]"
	equal "all" .result.points_count $(($1 + $2))
	for i in 17 90 119; do
		expect "found" 200 "" POST $C/points/query "{\"query\":$(make vector old $i),\"limit\":5,\"with_payload\":true,\"with_vector\":true}"
		equal "found $i" '.result.points[0]|[.id,.payload.i,(.vector|length)]' "[$i,$i,8]"
		equal "scores fall" '[.result.points[].score]|. == (sort|reverse)' true
		equal "near 1" '.result.points[0].score|.>0.9 and .<1.1' true
		expect "by id" 200 "" POST $C/points/query "{\"query\":$i,\"limit\":5}"
		equal "not itself" "[.result.points[].id]|index($i)" null
		expect "fetch" 200 "" POST $C/points "{\"ids\":[$i],\"with_vector\":true}"
		equal "fetch" ".result[0].vector as \$v|$(make vector old $i) as \$w|
			([range(8)|\$v[.]*\$w[.]]|add) / ([\$w[]|.*.]|add|sqrt)|.>0.95" true
	done
}
look 60 60
kill_server
start
look 60 60
expect "metrics" 200 'halftone_code_versions{collection="c"} 2' GET /metrics

expect "delete" 200 "" POST $C/points/delete '{"points":[1,2,60,61,62]}'
expect "deleted" 200 '"result":[]' POST $C/points '{"ids":[1,60]}'
expect "counts" 200 "" GET $C
equal "counts" "$versions|map(.documents)" '[57,58]'

# ---- codes on the wire ----
old_id=$(jq -r "$versions[0].binarizer_id" <<<"$ANSWER")
new_id=$(jq -r "$versions[1].binarizer_id" <<<"$ANSWER")
code() { # BYTES ID
	head -c "$1" /dev/zero | base64 -w0 | jq -Rc "{object:{b64:.,binarizer_id:\"$2\"},model:\"codes\"}"
}
expect "newest code" 200 "" PUT $C/points "{\"points\":[{\"id\":1000,\"vector\":$(code 128 "$new_id")}]}"
expect "older code" 400 "kept and not added to" PUT $C/points "{\"points\":[{\"id\":1001,\"vector\":$(code 128 "$old_id")}]}"
expect "whose code" 400 "codes of 2 binarizers" PUT $C/points \
	"{\"points\":[{\"id\":1001,\"vector\":$(code 128 x | jq -c 'del(.object.binarizer_id)')}]}"
expect "older code as query" 200 "" POST $C/points/query "{\"query\":$(code 128 "$old_id")}"
expect "newest code as query" 200 "" POST $C/points/query "{\"query\":$(code 128 "$new_id"),\"limit\":1}"

# ---- fewer planes ----
expect "bits" 200 "" POST $C/points/query "{\"query\":$(make vector old 70),\"limit\":3,\"params\":{\"bits\":1}}"
equal "bits" '.result.points[0]|[.id,(.score>0.8 and .score<1.2)]' '[70,true]'
expect "too many" 400 "from 1 to 2, not 3" POST $C/points/query '{"query":[1,0,0,0,0,0,0,0],"params":{"bits":3}}'
expect "none" 400 "from 1 to 2, not 0" POST $C/points/query '{"query":[1,0,0,0,0,0,0,0],"params":{"bits":0}}'

# ---- refused ----
expect "nothing of ours" 501 "update collection" PATCH $C '{"optimizers_config":{"indexing_threshold":0}}'
expect "empty" 501 "update collection" PATCH $C '{}'
expect "no body" 400 "" PATCH $C
expect "no binarizer" 400 "'binarizer'" PATCH $C '{"codes":{"bits":1}}'
expect "text_model alone" 400 "'binarizer'" PATCH $C '{"text_model":"static"}'
expect "no such" 404 "no model called" PATCH $C '{"codes":{"binarizer":"none"}}'
expect "a member of its own" 501 "text-modell" PATCH $C '{"codes":{"binarizer":"untrained"},"text-modell":"static"}'
expect "query model alone" 400 "text_model beside it" PATCH $C '{"codes":{"binarizer":"untrained"},"query_model":"static"}'
expect "distance" 400 "which stays" PATCH $C '{"codes":{"binarizer":"untrained","distance":"hamming"}}'
expect "mean" 400 "codes.mean" PATCH $C '{"codes":{"binarizer":"untrained","mean":{"b64":"AAAAAA=="}}}'
expect "another shape" 400 "" PATCH $C '{"codes":{"binarizer":"old","bits":3}}'
expect "no collection" 404 "" PATCH /collections/none '{"codes":{"binarizer":"untrained"}}'
expect "unchanged" 200 "" GET $C
equal "unchanged" "$versions|map(.documents)" '[57,59]'

# ---- all move on ----
expect "all again" 200 "" PUT $C/points "$(make points old 0 120)"
expect "older gone" 200 "" GET $C
equal "older gone" "$versions|map([.version,.documents])" '[[2,121]]'
stop
start
expect "older gone" 200 "" GET $C
equal "older gone" "$versions|map([.version,.documents])" '[[2,121]]'
expect "no id needed" 200 "" PUT $C/points "{\"points\":[{\"id\":1000,\"vector\":$(code 128 x | jq -c 'del(.object.binarizer_id)')}]}"

# ---- emptied versions make room, without a restart ----
R=/collections/r
expect "create" 200 "" PUT $R '{"vectors":{"size":8,"distance":"Cosine"}}'
for n in $(seq 12); do
	expect "points" 200 "" PUT $R/points "$(make points old 0 20)"
	expect "change $n" 200 '"result":true' PATCH $R "{\"codes\":{\"binarizer\":\"untrained\",\"dims\":$((64 + 64 * (n % 2)))}}"
done
expect "the newest and the one before" 200 "" GET $R
equal "the newest and the one before" "$versions|map([.version,.documents])" '[[12,20],[13,0]]'
for n in $(seq 6); do
	expect "a point" 200 "" PUT $R/points "$(make points old $((100 + n)) 1)"
	expect "change" 200 "" PATCH $R "{\"codes\":{\"binarizer\":\"untrained\",\"dims\":$((128 + 64 * n))}}"
done
expect "full" 400 "at most 8 versions" PATCH $R '{"codes":{"binarizer":"untrained","dims":64}}'
expect "one moves" 200 "" PUT $R/points "$(make points old 103 1)"
expect "room" 200 "" PATCH $R '{"codes":{"binarizer":"untrained","dims":64}}'
expect "found" 200 "" POST $R/points/query "{\"query\":$(make vector old 17),\"limit\":1}"
equal "found" '.result.points[0].id' 17

# ---- the same change at once ----
expect "all move" 200 "" PUT $R/points "$(make points old 0 20)"
expect "all move" 200 "" PUT $R/points "$(make points old 100 10)"
for round in $(seq 10); do
	for i in 1 2 3 4; do
		curl -sS -m 60 -o /dev/null -w '%{http_code}\n' -X PATCH -H 'Content-Type: application/json' \
			-d "{\"codes\":{\"binarizer\":\"untrained\",\"dims\":$((64 * (1 + round % 2) + 64))}}" "$URL$R" &
		changes[i]=$!
	done >"$WORK/changes"
	wait "${changes[@]}"
	expect "points" 200 "" PUT $R/points "$(make points old 0 20)"
	ANSWER=$(jq -sc . "$WORK/changes")
	equal "the same change at once" . '[200,200,200,200]'
done
expect "one change a round" 200 "" GET $R
equal "one change a round" "$versions[-1].version" 30
expect "drop" 200 "" DELETE $R

# ---- a new encoder ----
D=/collections/d
expect "create" 200 "" PUT $D '{"vectors":{"size":8,"distance":"Cosine"},"codes":{"binarizer":"old"}}'
expect "points" 200 "" PUT $D/points "$(make points old 0 100)"
expect "hamming" 200 "" PUT /collections/h '{"vectors":{"size":8,"distance":"Cosine"},"codes":{"binarizer":"old","distance":"hamming"}}'
expect "its id" 200 "" GET $D
id=$(jq -r .result.config.params.codes.binarizer_id <<<"$ANSWER")
make new "$OURS/new" "$id"
make new "$OURS/stranger" 0123456789abcdef
stop
start
expect "a stranger" 400 "--compatible-with" PATCH $D '{"codes":{"binarizer":"stranger"}}'
expect "hamming" 400 "hamming" PATCH /collections/h '{"codes":{"binarizer":"new"}}'
expect "change" 200 "" PATCH $D '{"codes":{"binarizer":"new","dims":192,"bits":4}}'
expect "old vectors" 400 "expected 12 dimensions" POST $D/points/query '{"query":[1,0,0,0,0,0,0,0]}'
expect "new documents" 200 "" PUT $D/points "$(make points new 80 40)"
for round in 1 2; do
	expect "info" 200 "" GET $D
	equal "info" "$versions|map([.documents,.size])" '[[80,8],[40,12]]'
	equal "size" .result.config.params.vectors.size 12
	for i in 33 79 80 119; do
		expect "found" 200 "" POST $D/points/query "{\"query\":$(make vector new $i),\"limit\":3,\"with_vector\":true}"
		equal "found $i" '.result.points[0]|[.id,(.score>0.85 and .score<1.15),(.vector|length)]' "[$i,true,12]"
		expect "by id" 200 "" POST $D/points/query "{\"query\":$i,\"limit\":3}"
		jq -c '[.result.points[].id]' <<<"$ANSWER" >"$WORK/by_id"
		expect "fetch" 200 "" POST $D/points "{\"ids\":[$i],\"with_vector\":true}"
		equal "fetch" ".result[0].vector as \$v|$(make vector new $i) as \$w|
			([range(12)|\$v[.]*\$w[.]]|add) / ([\$w[]|.*.]|add|sqrt)|.>0.95" true
		# What the code decodes to finds what the id finds.
		v=$(jq -c .result[0].vector <<<"$ANSWER")
		expect "decoded" 200 "" POST $D/points/query "{\"query\":$v,\"limit\":4}"
		equal "decoded" "[.result.points[]|select(.id!=$i).id][:1]" "$(jq -c '.[:1]' "$WORK/by_id")"
	done
	kill_server
	start
done

# ---- a new text model ----
T=/collections/t
expect "create" 200 "" PUT $T '{"text_model":"static","codes":{"binarizer":"untrained","dims":256,"bits":2}}'
expect "points" 200 "" PUT $T/points '{"points":[
	{"id":1,"vector":{"text":"a cat on a roof"}},
	{"id":2,"vector":{"text":"interest rates. The bank. A loan. A house.","chunk":true}}]}'
expect "its id" 200 "" GET $T
make text "$OURS/bridge" 384 "$(jq -r .result.config.params.codes.binarizer_id <<<"$ANSWER")" 256 2
stop
start
expect "unknown" 400 "--compatible-with" PATCH $T '{"codes":{"binarizer":"untrained"},"text_model":"halftone-mini"}'
expect "size" 400 "384 dimensions, not 256" PATCH $T '{"codes":{"binarizer":"bridge"}}'
expect "change" 200 "" PATCH $T '{"codes":{"binarizer":"bridge","bits":4},"text_model":"halftone-mini"}'
expect "new text" 200 "" PUT $T/points '{"points":[{"id":3,"vector":{"text":"a dog in the garden"}}]}'
expect "info" 200 "" GET $T
equal "info" "$versions|map([.documents,.size,.text_model])" '[[2,256,"static"],[1,384,"halftone-mini"]]'
equal "model" '.result.config.params|[.text_model,.vectors.size]' '["halftone-mini",384]'
expect "search" 200 "" POST $T/points/query '{"query":{"text":"a dog in a garden"}}'
equal "search" '[.result.points[0].id,(.result.points|length)]' '[3,3]'
expect "a chunked text moves" 200 "" PUT $T/points \
	'{"points":[{"id":2,"vector":{"text":"interest rates. The bank. A loan. A house.","chunk":true}}]}'
expect "info" 200 "" GET $T
equal "info" "$versions|map(.documents)" '[1,2]'
check "halftone search --bits" grep -q '"id":3' \
	<("$HALFTONE" search --collection t --url "$URL" --bits 1 --limit 1 --json "a dog in a garden" 2>/dev/null)
check "--bits of too many" sh -c '! "$1" search --collection t --url "$2" --bits 5 x 2>/dev/null' sh "$HALFTONE" "$URL"
expect "drop" 200 "" DELETE $T
expect "drop" 200 "" DELETE $D
expect "gone" 404 "" GET $D
stop
start
expect "gone" 200 "" GET /collections
equal "gone" '[.result.collections[].name]' '["c","h"]'
stop

# ---- kill -9 ----
check "rounds" python3 -B "$(dirname "$0")/versions_kill.py" "$SERVER" "$WORK/killed" \
	"$([ -n "${LONG:-}" ] && echo 60 || echo 8)" "${SEED:-$RANDOM}"
finish
