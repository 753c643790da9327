"""kill -9 under 8 writers, then look for what was acknowledged.

usage: kill_rounds.py SERVER DATA ROUNDS SEED
"""

import http.client
import random
import sys
import threading
import time

from killed import call, start, work

server, data, rounds, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
print("SEED=%d" % seed)
WRITERS, BATCH, SIZE, WANTED = 8, 20, 32, 1000


def vector(i, version):
    r = random.Random(i * 1000003 + version)
    return [r.gauss(0, 1) for _ in range(SIZE)]


class Writer:
    """Owns the ids w, w + 8, w + 16, ...; knows what is certain of each."""

    def __init__(self, w):
        self.w, self.next, self.known, self.unknown, self.acked = w, 0, {}, {}, 0
        self.random = random.Random(seed * 100 + w)

    def change(self, c):
        if self.known and self.random.random() < 0.1:
            self.delete(c)
        else:
            self.upsert(c)

    def settle(self, change):
        self.known.update(change)
        for i in change:
            self.unknown.pop(i, None)
        self.acked += len(change)

    def upsert(self, c):
        change = {}
        for _ in range(BATCH):
            if self.known and self.random.random() < 0.3:
                i = self.random.choice(list(self.known))
            else:
                i, self.next = self.w + WRITERS * self.next, self.next + 1
            change[i] = (self.known.get(i) or 0) + 1
        self.unknown = dict(change)
        status, _ = call(c, "PUT", "/collections/c/points", {"points": [
            {"id": i, "vector": vector(i, v), "payload": {"v": v, "id": str(i)}}
            for i, v in change.items()]})
        if status == 200:
            self.settle(change)

    def delete(self, c):
        change = {i: None for i in self.random.sample(list(self.known), min(5, len(self.known)))}
        self.unknown = dict(change)
        status, _ = call(c, "POST", "/collections/c/points/delete", {"points": list(change)})
        if status == 200:
            self.settle(change)


def whole(point):
    """The payload belongs to the id, and the code to the payload's version."""
    want = vector(point["id"], point["payload"]["v"])
    got = point["vector"]
    dot = sum(a * b for a, b in zip(want, got))
    norms = (sum(a * a for a in want) * sum(b * b for b in got)) ** 0.5
    return point["payload"]["id"] == str(point["id"]) and dot / norms > 0.9


def verify(port, writers):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    lost = torn = open_ = checked = live = 0
    for w in writers:
        ids = sorted(set(w.known) | set(w.unknown))
        for at in range(0, len(ids), 1000):
            status, answer = call(c, "POST", "/collections/c/points",
                                  {"ids": ids[at:at + 1000], "with_vector": True})
            assert status == 200, answer
            found = {p["id"]: p for p in answer["result"]}
            for i in ids[at:at + 1000]:
                point, checked = found.get(i), checked + 1
                version = point["payload"]["v"] if point else None
                fine = version == w.known.get(i)
                if i in w.unknown:
                    open_ += 1
                    fine = fine or version == w.unknown[i]
                lost += not fine
                live += point is not None
                torn += point is not None and not whole(point)
                w.known[i] = version  # now it is certain
        w.unknown = {}
    status, answer = call(c, "POST", "/collections/c/points/count", {})
    count = answer["result"]["count"]
    return lost, torn, open_, checked, count - live


process, port = start(server, data)
status, answer = call(http.client.HTTPConnection("127.0.0.1", port), "PUT", "/collections/c",
                      {"vectors": {"size": SIZE, "distance": "Dot"}})
assert status == 200, answer
writers = [Writer(w) for w in range(WRITERS)]
bad = 0
for n in range(rounds):
    before = sum(w.acked for w in writers)
    threads = [threading.Thread(target=work, args=(port, w.change)) for w in writers]
    for t in threads:
        t.start()
    while sum(w.acked for w in writers) - before < WANTED and process.poll() is None:
        time.sleep(0.005)
    time.sleep(random.Random(seed + n).random() * 0.05)
    process.kill()
    process.wait()
    for t in threads:
        t.join()
    acked = sum(w.acked for w in writers) - before
    process, port = start(server, data)
    lost, torn, open_, checked, odd = verify(port, writers)
    print(f"round {n}: acknowledged {acked}, unknown {open_}, checked {checked}, "
          f"lost {lost}, torn {torn}, not accounted for {odd}")
    bad += lost + torn + (odd != 0) + (acked < WANTED)
process.terminate()
bad += process.wait() != 0
sys.exit(1 if bad else 0)
