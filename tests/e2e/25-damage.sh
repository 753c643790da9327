#!/bin/bash
# Claim: a record that is damaged on the disk is told as an error (500), by id and as a
# hit; it is not left out of the answer.  What does not need it goes on.
. "$(dirname "$0")/common.sh"
C=/collections/c
start
expect "create" 200 "" PUT $C '{"vectors":{"size":4,"distance":"Dot"}}'
expect "upsert" 200 "" PUT $C/points '{"points":[{"id":1,"vector":[1,0,0,0],"payload":{"k":"the one that breaks"}},{"id":2,"vector":[0,1,0,0],"payload":{"k":"fine"}}]}'
stop
python3 - "$DATA/data.mdb" <<'PY'
import sys
data = open(sys.argv[1], "rb").read()
assert b"the one that breaks" in data
open(sys.argv[1], "wb").write(data.replace(b"the one that breaks", b"the one that broke!"))
PY
start
expect "both hits" 500 "checksum" POST $C/points/query '{"query":[1,1,0,0]}'
expect "by id" 500 "checksum" POST $C/points '{"ids":[1]}'
expect "the other hit" 200 "" POST $C/points/query '{"query":[0,1,0,0],"limit":1,"with_payload":["k"]}'
equal "the other hit" '[.result.points[]|[.id,.payload]]' '[[2,{"k":"fine"}]]'
stop
finish
