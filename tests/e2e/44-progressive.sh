#!/bin/bash
# Claim: a collection with codes.progressive keeps plane 0 by itself and says so, answers
# exactly until it has learned how far plane 0 is off, then finds nearly what
# "exact": true finds, with the same scores; filters go with it; after a restart it is so
# again. What makes no sense is refused. PATCH makes a collection progressive, also one that
# is searched and written meanwhile, and makes it an exact one again; kill -9 at any moment
# leaves it one or the other.
. "$(dirname "$0")/common.sh"
HALFTONE=$(realpath "$BIN/halftone")
C=/collections/c
params=.result.config.params

PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$(dirname "$0") python3 - "$WORK" <<'EOP'
import os, random, sys
from two_encoders import npy
os.chdir(sys.argv[1])
random.seed(1)
centres = [[random.gauss(0, 1) for _ in range(64)] for _ in range(60)]
npy("v.npy", [[x + random.gauss(0, .5) for x in random.choice(centres)] for _ in range(9000)])
EOP

start
expect "one bit" 400 "2 bits or more" PUT /collections/x \
	'{"vectors":{"size":64,"distance":"Cosine"},"codes":{"bits":1,"progressive":true}}'
expect "hamming" 400 "int8 or sdc" PUT /collections/x \
	'{"vectors":{"size":64,"distance":"Cosine"},"codes":{"bits":2,"distance":"hamming","progressive":true}}'
expect "no boolean" 400 "true or false" PUT /collections/x \
	'{"vectors":{"size":64,"distance":"Cosine"},"codes":{"bits":2,"progressive":1}}'
check "import makes it" "$HALFTONE" import --collection c --url "$URL" --bits 4 \
	--progressive "$WORK/v.npy" 2>"$WORK/err"
expect "made" 200 true PUT /collections/plain \
	'{"vectors":{"size":64,"distance":"Cosine"},"codes":{"bits":4}}'
rc=0
"$HALFTONE" import --collection plain --url "$URL" --progressive "$WORK/v.npy" \
	2>"$WORK/err" || rc=$?
check "import does not take another for one" [ $rc = 1 ]
check "it says why" grep -q "not progressive" "$WORK/err"

bytes() {
	expect "bytes" 200 "" GET $C
	equal "it is progressive" "$params.codes.progressive" true
	# Room for whole chunks of 1,024 rows, in both.
	equal "plane 0 is a quarter of the codes" \
		"$params.bytes | .memory_codes == 4 * .memory_plane0 and .memory_plane0 > 0" true
	equal "how much is known" "$params.versions[0].progressive.known" "$1"
}
query() { # N EXACT FILTER: the answer's ids and scores
	ask POST $C/points/query \
		"{\"query\":$1,\"limit\":10,\"params\":{\"exact\":$2},\"filter\":$3}"
	[ "$STATUS" = 200 ] || echo "query answered $STATUS: $ANSWER" >&2
	jq -c '.result.points[] | [.id, .score]' <<<"$ANSWER"
}
compare() { # FROM TO FILTER: sets $same, $all; scores are exact search's
	same=0 all=0
	for i in $(seq "$1" "$2"); do
		query "$i" true "$3" | sort >"$WORK/exact"
		query "$i" false "$3" | sort >"$WORK/found"
		all=$((all + $(wc -l <"$WORK/exact")))
		same=$((same + $(comm -12 "$WORK/exact" "$WORK/found" | wc -l)))
	done
}

bytes false
compare 1 30 null
check "while it learns it is exact" [ "$same" = 300 ]
for i in $(seq 31 80); do query "$i" false null >/dev/null; done
bytes true
compare 81 140 null
check "then it finds nearly all ($same of $all)" [ "$same" -ge $((all * 97 / 100)) ]
ids=$(seq -s, 1 3 9000)
compare 141 150 "{\"must\":[{\"has_id\":[$ids]}]}"
check "in a third of the points too ($same of $all)" \
	[ "$all" = 100 -a "$same" -ge 95 ]
expect "exact" 400 "true or false" POST $C/points/query \
	'{"query":1,"params":{"exact":"yes"}}'
kill_server

start
bytes false
compare 1 10 null
check "after a restart it learns again" [ "$same" = 100 ]

expect "off" 200 '"result":true' PATCH $C '{"codes":{"progressive":false}}'
expect "is off" 200 "" GET $C
equal "it says so" "[$params.codes.progressive, $params.bytes.memory_plane0, $params.versions[0].progressive]" \
	'[false,0,null]'
C=/collections/plain
check "points" "$HALFTONE" import --collection plain --url "$URL" "$WORK/v.npy" 2>"$WORK/err"
for body in '{"codes":{"progressive":1}}' '{"codes":{"progressive":true,"bits":2}}' \
	'{"codes":{"progressive":true,"binarizer":"untrained","bits":2}}' \
	'{"codes":{"progressive":true},"text_model":"static"}'; do
	expect "$body" 400 "" PATCH $C "$body"
done
expect "still off" 200 '"progressive":false' GET $C
expect "on" 200 '"result":true' PATCH $C '{"metadata":{"codes":{"progressive":true}}}'
expect "is so" 200 '"result":true' PATCH $C '{"codes":{"progressive":true}}'
bytes false
for i in $(seq 1 60); do query "$i" false null >/dev/null; done
bytes true
compare 61 120 null
check "it finds nearly all ($same of $all)" [ "$same" -ge $((all * 97 / 100)) ]
expect "recall" 200 "" POST $C/recall '{"sample":30,"limit":10}'
equal "recall" '.result["recall@10"] > 0.9' true
stop
start
bytes false
expect "bits" 200 true PUT /collections/one \
	'{"vectors":{"size":64,"distance":"Cosine"},"codes":{"bits":1}}'
expect "one bit" 400 "2 bits or more" PATCH /collections/one '{"codes":{"progressive":true}}'
expect "none" 404 "" PATCH /collections/none '{"codes":{"progressive":true}}'
stop
check "kills" python3 -B "$(dirname "$0")/progressive_kill.py" "$SERVER" "$DATA" \
	"$([ -n "${LONG:-}" ] && echo 30 || echo 5)" "${SEED:-$RANDOM}"
finish
