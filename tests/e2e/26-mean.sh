#!/bin/bash
# Claim: a collection that is created with the mean of its vectors finds more of the
# nearest among vectors that all point the same way; the mean survives a
# restart; a mean that does not fit is refused.
. "$(dirname "$0")/common.sh"
start

# cone.py URL NAME STEP: prints how many of the 10 nearest of 50 queries were found
cat >"$WORK/cone.py" <<'PY'
import base64, json, random, struct, sys, urllib.request
url, name, step = sys.argv[1:]
r = random.Random(3)
centre = [r.gauss(0, 1) for _ in range(64)]
def draw(): return [5 * c + r.gauss(0, 1) for c in centre]
rows, queries = [draw() for _ in range(300)], [draw() for _ in range(50)]

def call(method, path, body):
    request = urllib.request.Request(url + "/collections/" + name + path, json.dumps(body).encode(), method=method)
    return json.load(urllib.request.urlopen(request))["result"]

if step == "fill":
    codes = {"bits": 1}
    if name == "with":
        mean = [sum(column) / len(rows) for column in zip(*rows)]
        codes["mean"] = {"b64": base64.b64encode(struct.pack("<64f", *mean)).decode()}
    call("PUT", "", {"vectors": {"size": 64, "distance": "Dot"}, "codes": codes})
    call("PUT", "/points", {"points": [{"id": i, "vector": v} for i, v in enumerate(rows)]})
found = 0
for q in queries:
    near = sorted(range(len(rows)), key=lambda i: -sum(a * b for a, b in zip(q, rows[i])))[:10]
    hits = call("POST", "/points/query", {"query": q, "limit": 10})["points"]
    found += len({h["id"] for h in hits} & set(near))
print(found)
PY
without=$(python3 "$WORK/cone.py" "$URL" without fill)
with=$(python3 "$WORK/cone.py" "$URL" with fill)
echo "found of 500: $without without the mean, $with with it"
check "the mean helps" test "$with" -gt 290 -a "$without" -lt 250
expect "info" 200 '"binarizer":"fitted"' GET /collections/with
id=$(jq .result.config.params.codes.binarizer_id <<<"$ANSWER")
expect "info" 200 '"binarizer":"untrained"' GET /collections/without
stop
start
check "after a restart" test "$(python3 "$WORK/cone.py" "$URL" with again)" = "$with"
expect "info" 200 "$id" GET /collections/with

C=/collections/bad
expect "too short" 400 "mean of 2 numbers" PUT $C '{"vectors":{"size":2,"distance":"Dot"},"codes":{"mean":{"b64":"AAAAAA=="}}}'
expect "too long" 400 "not 2" PUT $C '{"vectors":{"size":1,"distance":"Dot"},"codes":{"mean":{"b64":"AACAPwAAAMA="}}}'
expect "not finite" 400 "position 1" PUT $C '{"vectors":{"size":2,"distance":"Dot"},"codes":{"mean":{"b64":"AACAPwAAwH8="}}}'
expect "no base64" 400 "codes.mean" PUT $C '{"vectors":{"size":1,"distance":"Dot"},"codes":{"mean":{"b64":"A*AAAA=="}}}'
expect "with a binarizer" 400 "not both" PUT $C '{"vectors":{"size":1,"distance":"Dot"},"codes":{"binarizer":"static","mean":{"b64":"AAAAAA=="}}}'
expect "fitted to nothing" 400 "expected a mean" PUT $C '{"vectors":{"size":1,"distance":"Dot"},"codes":{"binarizer":"fitted"}}'
expect "none of these is there" 404 "" GET $C
expect "for texts" 200 "" PUT /collections/t "{\"text_model\":\"static\",\"codes\":{\"mean\":{\"b64\":\"$(head -c 1024 /dev/zero | base64 -w 0)\"}}}"
expect "for texts" 200 '"binarizer":"fitted"' GET /collections/t
stop
finish
