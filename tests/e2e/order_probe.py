"""Scrolls with order_by against a naive sort of random payloads.

usage: order_probe.py PORT     ($SEED repeats a run)
"""

import http.client
import json
import os
import random
import sys
import time

port = int(sys.argv[1])
seed = int(os.environ.get("SEED", time.time_ns() % 2**32))
rng = random.Random(seed)
N = 1500  # more entries of each kind than are read at once
c = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
C = "/collections/o"
checks = 0


def ask(method, path, body, status=200):
    c.request(method, path, json.dumps(body))
    r = c.getresponse()
    answer = json.loads(r.read())
    assert r.status == status, (path, body, r.status, answer)
    return answer["result"] if status == 200 else answer


def number():
    return rng.choice([
        lambda: rng.randrange(-5, 6), lambda: rng.randrange(-5, 6) / 2, lambda: rng.gauss(0, 1e3),
        lambda: rng.choice([0, -0.0, 2**63 - 1, -2**63, 2**53, 1e300, -1e300, 5e-324, 1e19, -1e19])])()


def value():
    return rng.choice([number, number, number, lambda: [number() for _ in range(rng.randrange(4))],
                       lambda: [number(), "x", None], lambda: "7", lambda: True, lambda: None])()


payloads = {i: {"f": rng.randrange(3)} for i in rng.sample(range(10 * N), N)}
for p in payloads.values():
    if rng.random() < 0.9:
        p["n"] = value()


def put(ids):
    ids = list(ids)
    ask("PUT", C + "/points", {"points": [
        {"id": i, "vector": [1, 0, 0, i], "payload": payloads[i]} for i in ids]})


def entries(field):
    """(value, id), each once."""
    found = set()
    for i, p in payloads.items():
        values = p.get("n")
        for v in values if isinstance(values, list) else [values]:
            if isinstance(v, (int, float)) and not isinstance(v, bool) and (field is None or p["f"] == field):
                found.add((v, i))
    return found


def check(field, down, start, limit):
    """The answer has the values of a naive sort, and of equal values as many points as there
    are, each once; but for those of the last value, which the limit may cut."""
    global checks
    checks += 1
    order = {"key": "n", "direction": "desc" if down else "asc", "start_from": start}
    body = {"order_by": order, "limit": limit}
    if field is not None:
        body["filter"] = {"must": [{"key": "f", "match": {"value": field}}]}
    result = ask("POST", C + "/points/scroll", body)
    got = [(p["order_value"], p["id"]) for p in result["points"]]
    want = [e for e in entries(field) if start is None or (e[0] <= start if down else e[0] >= start)]
    want = sorted(want, key=lambda e: e[0], reverse=down)
    what = f"SEED={seed}: {body}\n got {got[:20]}\n want {want[:20]}"
    assert result["next_page_offset"] is None, what
    assert [v for v, _ in got] == [v for v, _ in want[:limit]], what
    assert len(set(got)) == len(got) and set(got) <= set(want), what
    assert all(p["payload"] == payloads[p["id"]] for p in result["points"]), what
    return got


ask("PUT", C, {"vectors": {"size": 4, "distance": "Dot"}})
put(payloads)
ask("PUT", C + "/index?wait=true", {"field_name": "n", "field_schema": rng.choice(["integer", "float"])})
ask("PUT", C + "/index?wait=true", {"field_name": "f", "field_schema": "integer"})
for turn in range(3):
    up, down = check(None, False, None, 10000), check(None, True, None, 10000)
    assert up == down[::-1] and len(up) > 600, f"SEED={seed}: desc is not asc backwards"
    for _ in range(60):
        start = rng.choice([None, number(), number(), rng.choice(up)[0]])
        check(rng.choice([None, 0, 2, 3]), rng.random() < 0.5, start, rng.choice([1, 7, 300, 10000]))
    # Page by page: start_from, and a filter for what was seen of that value.
    for d in (False, True):
        pages, start, seen = [], None, []
        while True:
            page = ask("POST", C + "/points/scroll", {
                "order_by": {"key": "n", "direction": "desc" if d else "asc", "start_from": start},
                "limit": 50, "filter": {"must_not": [{"has_id": seen}]}})["points"]
            if not page:
                break
            last = page[-1]["order_value"]
            seen = [p["id"] for p in page if p["order_value"] == last] + (seen if last == start else [])
            start = last
            pages += [p["order_value"] for p in page]
        # A point that was left out at one value is left out of the page altogether.
        assert set(pages) <= {v for v, _ in up} and pages == sorted(pages, reverse=d), f"SEED={seed}: pages"
        single = {v for v, i in up if not isinstance(payloads[i]["n"], list)}
        assert single <= set(pages), f"SEED={seed}: pages lack values"
    changed = rng.sample(list(payloads), 200)
    for i in changed:
        payloads[i] = {"f": rng.randrange(3), "n": value()}
    put(changed)
    gone = rng.sample(list(payloads), 20)
    ask("POST", C + "/points/delete", {"points": gone})
    for i in gone:
        del payloads[i]
# Parts of points, and vectors.
got = ask("POST", C + "/points/scroll", {"order_by": "n", "limit": 2, "with_payload": False, "with_vector": True})
assert all(set(p) == {"id", "vector", "order_value"} for p in got["points"]), got
ask("PUT", C + "/index?wait=true", {"field_name": "k", "field_schema": "keyword"})
for key in ("k", "none"):
    answer = ask("POST", C + "/points/scroll", {"order_by": key}, 400)
    assert "index of integers or floats" in answer["status"]["error"], answer
# A key that leads to a number in an object.
ask("PUT", C + "/index?wait=true", {"field_name": "a.b", "field_schema": "integer"})
ask("POST", C + "/points/payload", {"payload": {"a": {"b": 3}}, "points": [list(payloads)[0]]})
got = ask("POST", C + "/points/scroll", {"order_by": {"key": "a.b"}})["points"]
assert [(p["id"], p["order_value"]) for p in got] == [(list(payloads)[0], 3)], got
print(f"SEED={seed}: {checks} checks")
sys.exit(0 if checks == 186 else 1)
