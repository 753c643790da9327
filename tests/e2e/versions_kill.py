"""kill -9 while a collection's binarizer is followed by another, under writers and searches.

usage: versions_kill.py SERVER DATA ROUNDS SEED
Each round: two writers upsert, two clients search for documents that are acknowledged, the
binarizer is changed, in every third round after all documents have come again, so that the
older versions go with it, and the server is killed around that moment.  No search may miss its
document, before or after the kill; an acknowledged change is there, another there or not;
the documents of all versions together are those that were acknowledged.
"""

import http.client
import random
import sys
import threading
import time

from killed import call, start, work

server, data, rounds, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
print("SEED=%d" % seed)
SIZE, WRITERS, SEARCHERS, BATCH = 16, 2, 2, 10


def vector(i):
    r = random.Random(i)
    return [r.gauss(0, 1) for _ in range(SIZE)]


known = [[] for _ in range(WRITERS)]  # acknowledged ids of each writer
unknown = set()
missed, searched = [], 0
lock = threading.Lock()


def find(c, i, when):
    global searched
    status, answer = call(c, "POST", "/collections/c/points/query", {"query": vector(i), "limit": 3})
    with lock:
        searched += 1
        if status != 200 or i not in [p["id"] for p in answer["result"]["points"]]:
            missed.append((when, i, status, answer))


def writer(w, r):
    def work(c):
        mine = known[w]
        ids = [r.choice(mine) for _ in range(BATCH // 2)] if mine else []
        ids += [w + WRITERS * (len(mine) + k) for k in range(BATCH - len(ids))]
        fresh = [i for i in ids if i >= w + WRITERS * len(mine)]
        unknown.update(fresh)
        status, answer = call(c, "PUT", "/collections/c/points", {
            "points": [{"id": i, "vector": vector(i)} for i in ids]})
        if status != 200:
            missed.append(("upsert", ids, status, answer))
            return
        mine.extend(fresh)
        unknown.difference_update(fresh)
    return work


def searcher(r):
    def work(c):
        mine = known[r.randrange(WRITERS)]
        if mine:
            find(c, r.choice(mine), "meanwhile")
    return work


def info(c):
    status, answer = call(c, "GET", "/collections/c")
    assert status == 200, answer
    return answer["result"]["config"]["params"]["versions"]


def settle(c):
    """What nobody was told about is there or not: now it is certain."""
    for i in sorted(unknown):
        status, answer = call(c, "POST", "/collections/c/points", {"ids": [i]})
        assert status == 200, answer
        if answer["result"]:  # a batch is whole or not at all: nothing is skipped
            known[i % WRITERS].append(i)
    unknown.clear()


process, port = start(server, data)
c = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
status, answer = call(c, "PUT", "/collections/c", {
    "vectors": {"size": SIZE, "distance": "Cosine"}, "codes": {"dims": 512, "bits": 4}})
assert status == 200, answer
bad = 0
for n in range(rounds):
    r = random.Random(seed * 1000 + n)
    if n % 3 == 2:
        everything = sum(known, [])
        for at in range(0, len(everything), 1000):
            status, answer = call(c, "PUT", "/collections/c/points", {
                "points": [{"id": i, "vector": vector(i)} for i in everything[at:at + 1000]]})
            assert status == 200, answer
        bad += len([v for v in info(c) if v["documents"]]) > 1
    threads = [threading.Thread(target=work, args=(port, writer(w, random.Random(r.random()))))
               for w in range(WRITERS)]
    threads += [threading.Thread(target=work, args=(port, searcher(random.Random(r.random()))))
                for _ in range(SEARCHERS)]
    for t in threads:
        t.start()
    time.sleep(r.random() * 0.2)
    # The first rounds let the change be; from then on the kill comes closer.
    delay = 0.3 if n < 2 else r.random() * 0.05
    killer = threading.Timer(delay, process.kill)
    killer.start()
    done, shape = False, {"binarizer": "untrained", "dims": 512 + 64 * ((n + 1) % 9), "bits": 4}
    try:
        patch = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        status, answer = call(patch, "PATCH", "/collections/c", {"codes": shape})
        done = status == 200
        bad += not done
    except (OSError, http.client.HTTPException, ValueError):
        pass
    killer.join()
    process.wait()
    for t in threads:
        t.join()
    process, port = start(server, data)
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    settle(c)
    after = info(c)
    newest = after[-1]["dims"] == shape["dims"]
    documents, acked = sum(v["documents"] for v in after), sum(map(len, known))
    odd = (done and not newest) + (documents != acked)
    for i in random.Random(n).sample(sum(known, []), min(100, acked)):
        find(c, i, "after")
    print(f"round {n}: {acked} documents, change {'acknowledged' if done else 'open'}, "
          f"{'there' if newest else 'not there'}, versions {[v['documents'] for v in after]}, "
          f"searched {searched}, missed {len(missed)}, odd {odd}")
    bad += odd
process.terminate()
bad += process.wait() != 0
for m in missed[:5]:
    print("missed:", *m)
sys.exit(1 if bad or missed or not searched else 0)
