"""Many clients that make, fill, search, read and drop the same few collections.

usage: stress.py PORT SECONDS SEED
"""

import collections
import http.client
import json
import random
import sys
import threading
import time

port, seconds, seed = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
print("SEED=%d" % seed)
end = time.time() + seconds
seen, wrong, lock = collections.Counter(), [], threading.Lock()
NAMES, SIZE = ["a", "b", "c"], 16


def client(n):
    r = random.Random(seed * 1000 + n)
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def call(what, method, path, body, fine):
        c.request(method, path, None if body is None else json.dumps(body))
        answer = c.getresponse()
        got = json.loads(answer.read())
        with lock:
            seen[what, answer.status] += 1
            if answer.status not in fine:
                wrong.append((what, answer.status, got))
        return answer.status, got

    while time.time() < end and not wrong:
        name = r.choice(NAMES)
        path = "/collections/" + name
        kind = r.random()
        if kind < 0.04:
            call("drop", "DELETE", path, None, {200})
        elif kind < 0.12:
            call("create", "PUT", path, {"vectors": {"size": SIZE, "distance": "Cosine"},
                 "codes": {"bits": r.choice([1, 2, 4])}}, {200, 409})
        elif kind < 0.4:
            # A batch sets ids 0..9 to one stamp: a reader sees one stamp or none.
            stamp = r.getrandbits(30)
            call("upsert", "PUT", path + "/points", {"points": [
                {"id": i, "vector": [r.gauss(0, 1) for _ in range(SIZE)],
                 "payload": {"name": name, "stamp": stamp}} for i in range(10)]}, {200, 404})
        elif kind < 0.5:
            call("delete", "POST", path + "/points/delete",
                 {"points": [r.randrange(10, 1000) for _ in range(20)]}, {200, 404})
        elif kind < 0.6:
            call("more", "PUT", path + "/points", {"points": [
                {"id": r.randrange(10, 1000), "vector": [r.gauss(0, 1) for _ in range(SIZE)],
                 "payload": {"name": name}} for _ in range(30)]}, {200, 404})
        elif kind < 0.7:
            status, got = call("read", "POST", path + "/points", {"ids": list(range(10))}, {200, 404})
            if status == 200:
                stamps = {p["payload"]["stamp"] for p in got["result"]}
                if len(stamps) > 1 or len(got["result"]) not in (0, 10):
                    wrong.append(("half a batch", stamps, got))
        else:
            query = r.choice([[r.gauss(0, 1) for _ in range(SIZE)], r.randrange(10)])
            status, got = call("query", "POST", path + "/points/query",
                               {"query": query, "limit": 50, "with_payload": True,
                                "with_vector": r.random() < 0.2}, {200, 404})
            if status == 200:
                points = got["result"]["points"]
                scores = [p["score"] for p in points]
                if scores != sorted(scores, reverse=True):
                    wrong.append(("order", scores))
                if any(p["payload"]["name"] != name for p in points):
                    wrong.append(("another collection's point", got))
                if len({p["id"] for p in points}) != len(points):
                    wrong.append(("a point twice", got))


threads = [threading.Thread(target=client, args=(n,)) for n in range(12)]
for t in threads:
    t.start()
for t in threads:
    t.join()
for (what, status), n in sorted(seen.items()):
    print(f"{what} {status}: {n}")
for w in wrong[:5]:
    print("WRONG", str(w)[:500])
enough = seen["query", 200] > 20 and seen["upsert", 200] > 20 and seen["drop", 200] > 2
sys.exit(1 if wrong or not enough else 0)
