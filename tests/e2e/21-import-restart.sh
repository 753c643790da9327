#!/bin/bash
# Claim: an import goes on when the server is killed and started again in the middle:
# every document is there once, with its own payload, and the importer says so.
. "$(dirname "$0")/common.sh"
HALFTONE=$BIN/halftone
N=20000
start

# Lines come in pieces with pauses, so that there is a middle on any machine.
pieces() {
	for first in $(seq 1 1000 $N); do
		seq "$first" $((first + 999)) | awk '{ printf "{\"id\": %d, \"text\": " \
			"\"document number %d about topic %d\", \"n\": %d}\n", $1, $1, $1 % 97, $1 * 7 }'
		sleep 0.1
	done
}
"$HALFTONE" import --url "$URL" --collection many --text-model static --bits 1 --batch 50 - \
	2>"$WORK/said" < <(pieces) &
importer=$!
for _ in 1 2; do
	before=0
	for _ in $(seq 200); do # until some of it is stored
		ask POST /collections/many/points/count '{"exact":true}'
		count=$(jq '.result.count // 0' <<<"$ANSWER")
		[ "$before" -eq 0 ] && before=$((count + 1))
		[ "$count" -gt $((before + 500)) ] && break
		sleep 0.02
	done
	check "killed in the middle ($count)" test "$count" -gt 0 -a "$count" -lt $N
	kill_server
	sleep 0.3
	start --listen "127.0.0.1:$PORT"
done
wait $importer
check "exit" test $? = 0
check "says all" grep -q "^$N documents stored in" <(tail -n 1 "$WORK/said")
check "had to repeat" grep -qv ' 0 requests repeated' <(tail -n 1 "$WORK/said")
cat "$WORK/said"
expect "count" 200 "" POST /collections/many/points/count '{"exact":true}'
equal "count" .result.count $N
for first in $(seq 1 1000 $N); do
	ids=$(seq -s, "$first" $((first + 999)))
	expect "points $first" 200 "" POST /collections/many/points "{\"ids\":[$ids],\"with_payload\":true}"
	equal "points $first" '[.result[]|select(.payload.n == .id * 7)]|length' 1000
done
stop
finish
