"""kill -9 while indexes are filled and payloads change, then look for what was acknowledged.

An index must say what payloads say: the filters that are asked here use indexed keys, and
each is asked again of an equal key without one.

usage: payload_kill.py SERVER DATA ROUNDS SEED
"""

import http.client
import random
import sys
import threading
import time

from killed import call, start, work

server, data, rounds, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
print("SEED=%d" % seed)
POINTS, WRITERS, VALUES = 12000, 4, 7  # points: several slices of an index
C = "/collections/c"


def good(c, *request):
    status, answer = call(c, *request)
    assert status == 200, (request, answer)
    return answer["result"]


class Writer:
    """Owns the ids w, w + WRITERS, ...; payload {"k": V, "u": V, "n": N, "m": N}, "u" and "m"
    equal to "k" and "n" and never indexed; knows what may be there of each point."""

    def __init__(self, w):
        self.ids = list(range(w, POINTS, WRITERS))
        self.may = {i: [{"k": i % VALUES, "u": i % VALUES}] for i in self.ids}
        self.random = random.Random(seed * 100 + w)
        self.acked = 0

    def change(self, c):
        r = self.random
        ids, v = r.sample(self.ids, 20), r.randrange(VALUES)
        new = {"k": v, "u": v}
        kind = r.randrange(4)
        if kind == 0:
            request, become = ("POST", "", {"payload": new}), lambda p: {**p, **new}
        elif kind == 1:
            new = {"n": v, "m": v}
            request, become = ("POST", "", {"payload": new}), lambda p: {**p, **new}
        elif kind == 2:
            request, become = ("PUT", "", {"payload": new}), lambda p: new
        else:
            request = ("POST", "/delete", {"keys": ["n", "m"]})
            become = lambda p: {"k": p["k"], "u": p["u"]}
        after = {i: become(self.may[i][0]) for i in ids}
        for i in ids:
            self.may[i].append(after[i])
        status, answer = call(c, request[0], C + "/points/payload" + request[1],
                              {**request[2], "points": ids})
        assert status == 200, answer
        for i in ids:
            self.may[i] = [after[i]]
        self.acked += 1


def indexer(port, n, asked):
    """Makes an index and changes another's type, over and over, without waiting."""
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    types = ["integer", "float", "keyword"]
    try:
        for i in range(1000):
            key = "kn"[i % 2]
            good(c, "DELETE", C + "/index/" + key)
            good(c, "PUT", C + "/index?wait=false",
                 {"field_name": key, "field_schema": types[(n + i // 2) % 3]})
            asked[0] += 1
            time.sleep(0.02 if i < 4 else 0.2)
    except (OSError, http.client.HTTPException, ValueError):
        pass


def matching(c, key, value):
    ids, offset = set(), 0
    must = [{"key": key, "match": {"value": value}}]
    while offset is not None:
        page = good(c, "POST", C + "/points/scroll", {
            "filter": {"must": must}, "limit": 5000, "offset": offset, "with_payload": False})
        ids.update(p["id"] for p in page["points"])
        offset = page["next_page_offset"]
    return ids


def verify(port, writers):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    lost = unknown = 0
    there = {}
    for w in writers:
        for at in range(0, len(w.ids), 1000):
            for p in good(c, "POST", C + "/points", {"ids": w.ids[at:at + 1000]}):
                there[p["id"]] = p["payload"]
        for i in w.ids:
            unknown += len(w.may[i]) > 1
            lost += there.get(i) not in w.may[i]
            w.may[i] = [there[i]]
    # Both with indexes that may still be filled and with whole ones.
    wrong = 0
    for whole in (False, True):
        for key, twin in (("k", "u"), ("n", "m")):
            if whole:
                good(c, "DELETE", C + "/index/" + key)
                good(c, "PUT", C + "/index?wait=true", {"field_name": key, "field_schema": "integer"})
            for v in range(VALUES):
                want = {i for i, p in there.items() if p.get(key) == v}
                wrong += matching(c, key, v) != want or (whole and matching(c, twin, v) != want)
                # A page asks its points again; the count takes the index at its word.
                must = [{"key": key, "match": {"value": v}}]
                wrong += good(c, "POST", C + "/points/count", {"filter": {"must": must}})["count"] != len(want)
    info = good(c, "GET", C)["payload_schema"]
    for key in "kn":
        wrong += info[key]["points"] != sum(key in p for p in there.values())
    answer = call(c, "POST", C + "/points/count", {"filter": {"must": [{"key": "k", "match": {"value": 1}}]}})
    wrong += "filter" in answer[1]  # the index is asked, no payload is read
    return lost, unknown, wrong


process, port = start(server, data)
c = http.client.HTTPConnection("127.0.0.1", port)
good(c, "PUT", C, {"vectors": {"size": 4, "distance": "Dot"}})
for at in range(0, POINTS, 2000):
    good(c, "PUT", C + "/points", {"points": [
        {"id": i, "vector": [1, 0, 0, i], "payload": {"k": i % VALUES, "u": i % VALUES}}
        for i in range(at, at + 2000)]})
writers = [Writer(w) for w in range(WRITERS)]
bad = 0
for n in range(rounds):
    before, asked = sum(w.acked for w in writers), [0]
    threads = [threading.Thread(target=work, args=(port, w.change)) for w in writers]
    threads.append(threading.Thread(target=indexer, args=(port, n, asked)))
    for t in threads:
        t.start()
    end = time.time() + 60
    while (sum(w.acked for w in writers) - before < 20 or asked[0] < 4) and time.time() < end:
        time.sleep(0.005)
    time.sleep(random.Random(seed + n).random() * 0.1)
    process.kill()
    process.wait()
    for t in threads:
        t.join()
    acked = sum(w.acked for w in writers) - before
    process, port = start(server, data)
    lost, unknown, wrong = verify(port, writers)
    print(f"round {n}: {acked} changes acknowledged, {asked[0]} indexes asked for, "
          f"points unknown {unknown}, lost {lost}, wrong filters {wrong}")
    bad += lost + wrong + (acked < 20)
process.terminate()
bad += process.wait() != 0
sys.exit(1 if bad else 0)
