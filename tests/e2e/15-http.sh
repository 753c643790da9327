#!/bin/bash
# Claim: ambiguous requests are refused before any handler runs, with JSON and a closed
# connection, however the bytes are cut; slow clients are put out at the deadline; over
# the cap a client is told 503 and nobody else suffers; too much at once answers 429.
. "$(dirname "$0")/common.sh"
here=$(dirname "$0")
start --request-timeout-s 3 --idle-timeout-s 5
check "framing" python3 "$here/http_probes.py" framing "$PORT"
check "slow clients" python3 "$here/http_probes.py" slow "$PORT" 3
expect "still there" 200 "" GET /collections
expect "a raw byte in a name" 404 "" GET /collections/%FF
check "refusals are counted" grep -q 'halftone_http_refused_total{status="400"}' \
	<(curl -s "$URL/metrics")
for path in aliases shards shards/0 facet points/discover points/discover/batch; do
	expect "not served: $path" 501 "" PUT "/collections/c/$path" '{}'
done
check "no series twice" test -z "$(curl -s "$URL/metrics" | grep -v '^#' |
	sed 's/ [^ ]*$//' | sort | uniq -d)"
stop

# Nothing is put out here for being slow: only what the cap does makes room.
start --max-connections 50
check "cap" python3 "$here/http_probes.py" cap "$PORT" 50
expect "still there" 200 "" GET /collections
check "no descriptors" python3 "$here/http_probes.py" descriptors "$PORT" "$PID"
check "no accept storm" test "$(wc -l <"$LOG")" -lt 200
stop

# One request at a time, and eight that come together.
start --max-in-flight 1 --max-bodies-bytes 20KiB --max-answer-bytes 2KiB
expect "create" 200 "" PUT /collections/c '{"vectors":{"size":4,"distance":"Dot"}}'
check "shed with 429" python3 - "$PORT" <<'PY'
import collections, http.client, json, sys, threading
seen, lock = collections.Counter(), threading.Lock()
def run(w):
    c = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=20)
    for i in range(40):
        c.request("PUT", "/collections/c/points",
            json.dumps({"points": [{"id": w * 100 + i, "vector": [1, 2, 3, 4]}]}))
        r = c.getresponse()
        answer = json.loads(r.read())
        with lock:
            seen[r.status] += 1
            if r.status == 429:
                assert r.getheader("retry-after-ms") and r.getheader("Retry-After")
                assert "max_in_flight" in answer["status"]["error"], answer
threads = [threading.Thread(target=run, args=(w,)) for w in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
print(dict(seen))
sys.exit(0 if set(seen) == {200, 429} else 1)
PY
points=$(printf '{"id":%d,"vector":[1,2,3,4]},' {0..99})
expect "a hundred points" 200 "" PUT /collections/c/points "{\"points\":[${points%,}]}"
many=$(seq -s , 0 99)
expect "a small answer" 200 "" POST /collections/c/points/query '{"query":[1,2,3,4],"limit":5,"with_vector":true}'
expect "an answer over the limit" 400 "fewer points, or without vectors" POST /collections/c/points/query \
	'{"query":[1,2,3,4],"limit":500,"with_vector":true}'
expect "points over the limit" 400 "max_answer_bytes" POST /collections/c/points "{\"ids\":[$many],\"with_vector\":true}"
expect "embeddings over the limit" 400 "fewer texts" POST /v1/embeddings '{"model":"static","input":["a","b"]}'
check "bodies together" python3 - "$PORT" <<'PY'
import socket, sys
head = b"PUT /collections/c/points HTTP/1.1\r\nHost: localhost\r\nContent-Length: 15000\r\n\r\n"
a, b = (socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5) for _ in "ab")
a.sendall(head)
import time; time.sleep(0.2)
b.sendall(head)
got = b.recv(4096)
assert got.startswith(b"HTTP/1.1 429 ") and b"max_bodies_bytes" in got, got
a.close(); time.sleep(0.3)
c = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5)
c.sendall(head + b" " * 15000)
got = c.recv(4096)
assert got.startswith(b"HTTP/1.1 400 "), got
PY
stop
finish
