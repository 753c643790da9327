"""POST /collections/{c}/recall against searches by point id, compared here.

usage: recall_probe.py PORT SEED POINTS
POINTS: of the progressive collection, enough that it keeps plane 0 by itself.
"""

import http.client
import json
import random
import socket
import sys
import time

port, seed, large = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
print("SEED=%d" % seed)
rng = random.Random(seed)
c = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
SIZE, FEW = 64, 300
failed = 0


def call(method, path, body=None):
    c.request(method, path, None if body is None else json.dumps(body))
    r = c.getresponse()
    answer = json.loads(r.read())
    if r.status != 200:
        sys.exit("%s %s: %d %s" % (method, path, r.status, answer))
    return answer["result"]


def check(what, holds, *seen):
    global failed
    failed += not holds
    print("ok   " if holds else "FAIL ", what, *seen)


def vectors(n):
    return [[round(rng.gauss(0, 1), 3) for _ in range(SIZE)] for _ in range(n)]


def fill(name, first, n):
    for at in range(first, first + n, 5000):
        call("PUT", "/collections/%s/points" % name, {"points": [
            {"id": at + i, "vector": v} for i, v in enumerate(vectors(min(5000, first + n - at)))]})


def others(name, limit, params):
    """Of each point, the nearest others."""
    return [{p["id"] for p in answer["points"]} for answer in call(
        "POST", "/collections/%s/points/query/batch" % name,
        {"searches": [{"query": i, "limit": limit, "params": params} for i in ids]})]


def shares(name, limit, params):
    pairs = list(zip(others(name, limit, params), others(name, limit, {"exact": True})))
    return sum(len(a & b) / len(b) for a, b in pairs) / len(pairs)


def same(what, name, limit, params, exact_is):
    got = call("POST", "/collections/%s/recall" % name, {"sample": 1000, "limit": limit, "params": params})
    want = shares(name, limit, params)
    seconds = got["seconds"]
    check(what, abs(got["recall@%d" % limit] - want) < 1e-5 and got["limit"] == limit
          and got["sample"] == len(ids) and got["exact_is"] == exact_is
          and 0 < seconds["search"] < 10 and 0 < seconds["exact"] < 10
          and abs(got["speedup"] * seconds["search"] / seconds["exact"] - 1) < 0.01, got, want)
    return want


def create(name, codes):
    call("PUT", "/collections/" + name, {"vectors": {"size": SIZE, "distance": "Cosine"}, "codes": codes})


ids = list(range(FEW))
create("four", {"bits": 4})
fill("four", 0, FEW)
check("exact", same("4 bits", "four", 10, {}, "full codes, int8") == 1)
lost = same("the first of 4 bits", "four", 10, {"bits": 1}, "full codes, int8")
check("it loses some", 0.2 < lost < 0.9, lost)
check("fewer bits lose more", lost < same("the first two", "four", 7, {"bits": 2}, "full codes, int8"))
gone = rng.sample(ids, 100)
call("POST", "/collections/four/points/delete", {"points": gone})
ids = sorted(set(ids) - set(gone))
same("with holes", "four", 10, {"bits": 1}, "full codes, int8")
call("PATCH", "/collections/four", {"codes": {"binarizer": "untrained", "bits": 2}})
fill("four", FEW, 50)
ids += range(FEW, FEW + 50)
same("two versions", "four", 10, {"bits": 1}, "full codes, int8")
got = [call("POST", "/collections/four/recall", {"sample": 20, "params": {"bits": 1}})["recall@10"] for _ in range(2)]
check("the same sample", got[0] == got[1], got)

ids = list(range(FEW))
create("hamming", {"bits": 2, "distance": "hamming"})
fill("hamming", 0, FEW)
same("hamming", "hamming", 10, {"bits": 1}, "plane 0, hamming")

create("progressive", {"bits": 4, "progressive": True})
fill("progressive", 0, large)
ids = list(range(0, large, large // 100))
path = "/collections/progressive"
got = call("POST", path + "/recall", {"params": {"exact": True}})
check("exact", got["recall@10"] == 1, got)
known = call("GET", path)["config"]["params"]["versions"][0]["progressive"]["known"]
check("exact searches that were asked for teach nothing", not known)
got = call("POST", path + "/recall", {})
known = call("GET", path)["config"]["params"]["versions"][0]["progressive"]["known"]
want = shares("progressive", 10, {})
check("progressive", known and 0.9 <= got["recall@10"] <= 1 and abs(got["recall@10"] - want) < 0.1, known, got, want)

call("PUT", "/collections/texts", {"text_model": "static"})
call("PUT", "/collections/texts/points", {"points": [
    {"id": i, "vector": {"text": " ".join("%s %d." % (w, j) for j in range(300)), "chunk": True}}
    for i, w in enumerate(["apples", "rivers", "engines"])]})
got = call("POST", "/collections/texts/recall", {"limit": 3})
rows = call("GET", "/collections/texts")["passages"]
check("passages", got["recall@3"] == 1 and got["sample"] == min(rows, 100) and rows > 3, got, rows)

# A client that leaves.
body = json.dumps({"sample": 1000, "limit": 50, "params": {"bits": 1}})
s = socket.create_connection(("127.0.0.1", port))
s.sendall(b"POST /collections/progressive/recall HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
          b"Content-Length: %d\r\n\r\n%s" % (port, len(body), body.encode()))
time.sleep(0.2)
s.close()


def in_flight():
    c.request("GET", "/metrics")
    text = c.getresponse().read().decode()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("halftone_requests_in_flight ")))


end = time.time() + 20
while in_flight() > 1 and time.time() < end:
    time.sleep(0.05)
check("nothing is left of it", in_flight() == 1)
sys.exit(failed > 0)
