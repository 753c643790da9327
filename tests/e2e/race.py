"""Searches race changes of a collection's binarizer, documents that come again, and its end.

usage: race.py PORT OPENAPI.yaml SECONDS SEED LARGE
A collection of LARGE codes keeps the scan thread busy, so that searches of another wait
while that changes and is dropped.  Every answer has a status that the contract lists for the route.
"""

import base64
import collections
import http.client
import json
import random
import sys
import threading
import time

import yaml

port, spec_path = int(sys.argv[1]), sys.argv[2]
seconds, seed, large = float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
print("SEED=%d" % seed)
with open(spec_path) as f:
    paths = yaml.safe_load(f)["paths"]
SIZE, POINTS = 8, 40
seen, wrong, lock = collections.Counter(), [], threading.Lock()
end = 0.0


def call(c, method, path, body=None, name="c"):
    c.request(method, path.format(collection=name), None if body is None else json.dumps(body))
    r = c.getresponse()
    answer = r.read()
    with lock:
        seen[method, path, r.status] += 1
        if str(r.status) not in paths[path][method.lower()]["responses"]:
            wrong.append((method, path, r.status, answer[:200]))
    return r.status, answer


C = "/collections/{collection}"


def vector(r):
    return [r.gauss(0, 1) for _ in range(SIZE)]


def search(c, r):
    what = r.choice([vector(r), r.randrange(POINTS)])
    status, answer = call(c, "POST", C + "/points/query", {
        "query": what, "limit": 5, "with_payload": True, "with_vector": r.random() < 0.5})
    if status == 200:
        points = json.loads(answer)["result"]["points"]
        scores = [p["score"] for p in points]
        if scores != sorted(scores, reverse=True) or any(p["id"] != p["payload"]["i"] for p in points):
            wrong.append(("search", points))


def search_large(c, r):
    call(c, "POST", C + "/points/query", {"query": vector(r), "limit": 1}, "large")


def read(c, r):
    call(c, "POST", C + "/points", {"ids": list(range(POINTS)), "with_vector": True})
    call(c, "GET", C)
    call(c, "GET", C + "/binarizer")


def write(c, r):
    call(c, "PUT", C + "/points", {"points": [
        {"id": i, "vector": vector(r), "payload": {"i": i}} for i in range(POINTS)]})


def change(c, r):
    call(c, "PATCH", C, {"codes": {"binarizer": "untrained", "dims": 64 * r.randrange(1, 6)}})


def drop(c, r):
    time.sleep(r.random() * 0.05)
    change(c, r)  # both while searches wait
    call(c, "DELETE", C)
    create(c)


def create(c):
    call(c, "PUT", C, {"vectors": {"size": SIZE, "distance": "Cosine"}})


WANTED = [("POST", C + "/points/query"), ("PATCH", C), ("DELETE", C), ("PUT", C + "/points"),
          ("GET", C + "/binarizer")]


def over():
    """The time is up, and all has been tried, if that does not take for ever."""
    late = time.time() - end
    return late > 60 or late > 0 and all(seen[m, p, 200] > 0 for m, p in WANTED)


def client(n, work):
    r = random.Random(seed * 1000 + n)
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        while not over() and not wrong:
            work(c, r)
    except (OSError, http.client.HTTPException, ValueError) as e:
        wrong.append((work.__name__, repr(e)))


c = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
call(c, "PUT", C, {"vectors": {"size": SIZE, "distance": "Cosine"}, "codes": {"dims": 4096, "bits": 4}}, "large")
r = random.Random(seed)
for at in range(0, large, 300):
    call(c, "PUT", C + "/points", {"points": [
        {"id": at + i, "vector": {"model": "codes", "object": {
            "b64": base64.b64encode(r.randbytes(2048)).decode()}}} for i in range(300)]}, "large")
create(c)
end = time.time() + seconds
works = [search] * 6 + [search_large] * 8 + [read, write, write, change, drop]
threads = [threading.Thread(target=client, args=(n, work)) for n, work in enumerate(works)]
for t in threads:
    t.start()
for t in threads:
    t.join()
for what, n in sorted(seen.items()):
    print(n, *what)
for w in wrong[:5]:
    print("wrong:", *w)
sys.exit(1 if wrong or not all(seen[m, p, 200] > 0 for m, p in WANTED) else 0)
