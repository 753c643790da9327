"""kill -9 while a collection becomes progressive and ceases to be, over and over, and points
are written and searched meanwhile.

Afterwards the setting must be the last acknowledged or the one on its way, plane 0 be there
for all codes or for none, and every acknowledged point have its last vector and be found.

usage: progressive_kill.py SERVER DATA ROUNDS SEED
"""

import http.client
import random
import sys
import threading
import time

from killed import call, start, work

server, data, rounds, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
print("SEED=%d" % seed)
POINTS, WRITERS, DIMS = 12000, 3, 64
C = "/collections/k"


def good(c, *request):
    status, answer = call(c, *request)
    assert status == 200, (request[:2], answer)
    return answer["result"]


class Writer:
    """Owns the ids w, w + WRITERS, ...; a point's vector is +-1 by what its payload says."""

    def __init__(self, w):
        self.ids = list(range(w, POINTS, WRITERS))
        self.may = {i: [0] for i in self.ids}
        self.random = random.Random(seed * 100 + w)
        self.acked = 0

    def change(self, c):
        r = self.random
        ids, number = r.sample(self.ids, 20), r.randrange(1, 1 << 30)
        for i in ids:
            self.may[i].append(number)
        points = [{"id": i, "vector": vector(i, number), "payload": {"n": number}} for i in ids]
        good(c, "PUT", C + "/points", {"points": points})
        for i in ids:
            self.may[i] = [number]
        self.acked += 1
        # What was written is found, whatever the collection is just now.
        found = good(c, "POST", C + "/points/query", {"query": points[0]["vector"], "limit": 3})
        assert ids[0] in [p["id"] for p in found["points"]], (ids[0], found)


def vector(i, number):
    r = random.Random(i << 32 | number)
    return [r.choice((-1, 1)) + r.random() / 2 for _ in range(DIMS)]


class Turner:
    def __init__(self):
        self.may, self.acked = [False], 0

    def turn(self, c):
        want = not self.may[0]
        self.may.append(want)
        good(c, "PATCH", C, {"codes": {"progressive": want}})
        self.may, self.acked = [want], self.acked + 1
        said = good(c, "GET", C)["config"]["params"]
        assert said["codes"]["progressive"] == want and (said["bytes"]["memory_plane0"] > 0) == want


def verify(port, writers, turner):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    said = good(c, "GET", C)["config"]["params"]
    is_so = said["codes"]["progressive"]
    wrong = is_so not in turner.may
    turner.may = [is_so]
    # Chunks have room for 1,024 rows of 4 bits, and plane 0 for one bit of each.
    wrong += said["bytes"]["memory_plane0"] * 4 != said["bytes"]["memory_codes"] * is_so
    lost = unfound = 0
    for w in writers:
        there = {}
        for at in range(0, len(w.ids), 1000):
            for p in good(c, "POST", C + "/points", {"ids": w.ids[at:at + 1000]}):
                there[p["id"]] = p["payload"]["n"]
        for i in w.ids:
            lost += there.get(i) not in w.may[i]
            w.may[i] = [there[i]]
        for i in w.random.sample(w.ids, 20):
            hits = good(c, "POST", C + "/points/query", {"query": vector(i, there[i]), "limit": 3})
            unfound += i not in [p["id"] for p in hits["points"]]
    return wrong, lost, unfound


wrongs = []  # what threads found
threading.excepthook = lambda args: wrongs.append(args.exc_value)
process, port = start(server, data)
c = http.client.HTTPConnection("127.0.0.1", port)
good(c, "PUT", C, {"vectors": {"size": DIMS, "distance": "Dot"}, "codes": {"bits": 4}})
for at in range(0, POINTS, 2000):
    good(c, "PUT", C + "/points", {"points": [
        {"id": i, "vector": vector(i, 0), "payload": {"n": 0}} for i in range(at, at + 2000)]})
writers, turner = [Writer(w) for w in range(WRITERS)], Turner()
bad = 0
for n in range(rounds):
    before, turned = sum(w.acked for w in writers), turner.acked
    jobs = [w.change for w in writers] + [turner.turn]
    threads = [threading.Thread(target=work, args=(port, job)) for job in jobs]
    for t in threads:
        t.start()
    end = time.time() + 60
    while (sum(w.acked for w in writers) - before < 20 or turner.acked - turned < 3) and time.time() < end:
        time.sleep(0.005)
    time.sleep(random.Random(seed + n).random() * 0.1)
    process.kill()
    process.wait()
    for t in threads:
        t.join()
    acked, turned = sum(w.acked for w in writers) - before, turner.acked - turned
    process, port = start(server, data)
    wrong, lost, unfound = verify(port, writers, turner)
    print(f"round {n}: {acked} writes and {turned} changes acknowledged, now {turner.may[0]}, "
          f"wrong {wrong}, lost {lost}, not found {unfound}")
    bad += wrong + lost + unfound + (acked < 20) + (turned < 3)
process.terminate()
bad += process.wait() != 0 or len(wrongs) > 0
print(*wrongs[:3])
sys.exit(1 if bad else 0)
