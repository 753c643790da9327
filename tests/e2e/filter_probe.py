"""Filters of random points against a naive evaluator, and what else is asked of a collection.

usage: filter_probe.py PORT [TURNS]     ($SEED repeats a run)

TURNS is the server's max_batch: then it is seen that a batch of a thousand searches has no
more of them in the scan's queue at once, and that others are answered beside it.
"""

import http.client
import json
import os
import random
import socket
import sys
import threading
import time

port = int(sys.argv[1])
seed = int(os.environ.get("SEED", time.time_ns() % 2**32))
rng = random.Random(seed)
SIZE, N = 16, 300
local = threading.local()
checks = 0


def ask(method, path, body=None, status=200):
    if not hasattr(local, "c"):
        local.c = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    local.c.request(method, path, None if body is None else json.dumps(body))
    r = local.c.getresponse()
    answer = json.loads(r.read())
    assert r.status == status, (path, body, r.status, answer)
    return answer["result"] if status == 200 else answer


def same(got, want, *what):
    global checks
    checks += 1
    if got != want:
        raise SystemExit(f"SEED={seed}: {json.dumps(what)}\n  got  {got!r:.2000}\n  want {want!r:.2000}")


# ---- the naive evaluator ----
def values(payload, key):
    """What a key leads to."""
    found = [payload]
    for part in key.split("."):
        name, each = part.removesuffix("[]"), part.endswith("[]")
        found = [v[name] for v in found if isinstance(v, dict) and name in v]
        if each:
            found = [e for v in found if isinstance(v, list) for e in v]
    return found


def elements(payload, key):
    return [e for v in values(payload, key) for e in (v if isinstance(v, list) else [v])]


def kind(v):
    return "number" if isinstance(v, (int, float)) and not isinstance(v, bool) else type(v)


def equal(a, b):
    return type(a) is type(b) and a == b


def within(x, bounds):
    return all({"lt": x < b, "lte": x <= b, "gt": x > b, "gte": x >= b}[op] for op, b in bounds.items())


def holds(c, pid, payload):
    if "nested" in c:
        return any(matches(c["nested"]["filter"], pid, e) for e in values(payload, c["nested"]["key"] + "[]")
                   if isinstance(e, dict))
    if "has_id" in c:
        return pid in c["has_id"]
    if "is_empty" in c:
        found = values(payload, c["is_empty"]["key"])
        return all(v is None or v == [] for v in found)
    if "is_null" in c:
        return any(v is None for v in values(payload, c["is_null"]["key"]))
    if "key" not in c:
        return matches(c, pid, payload)
    if "values_count" in c:
        found = values(payload, c["key"]) or [None]
        return any(within(len(v) if isinstance(v, list) else int(v is not None), c["values_count"])
                   for v in found)
    found = elements(payload, c["key"])
    if "range" in c:
        return any(kind(e) == "number" and within(float(e), c["range"]) for e in found)
    match = c["match"]
    if "text" in match:
        return any(isinstance(e, str) and match["text"] in e for e in found)
    if "except" in match:
        return any(e is not None and not any(equal(e, v) for v in match["except"]) for e in found)
    return any(equal(e, v) for e in found for v in match.get("any", [match.get("value")]))


def matches(f, pid, payload):
    least = f.get("min_should")
    return (all(holds(c, pid, payload) for c in f.get("must", []))
            and (not f.get("should") or any(holds(c, pid, payload) for c in f["should"]))
            and not any(holds(c, pid, payload) for c in f.get("must_not", []))
            and (not least or sum(holds(c, pid, payload) for c in least["conditions"]) >= least["min_count"]))


# ---- random points and filters ----
WORDS = ["red", "green", "blue", "dark red", "Zürich", "", "a\"b"]
KEYS = ["n", "x", "tag", "flag", "o.n", "o.tag", "items[].n", "items[].tag", "nothing"]


def scalar():
    return rng.choice([rng.randrange(-3, 6), rng.randrange(8) / 4, rng.choice(WORDS), rng.random() < .5, None,
                       2**53 + rng.randrange(3)])


def some():
    return scalar() if rng.random() < .7 else [scalar() for _ in range(rng.randrange(4))]


def plain_object():
    return {k: some() for k in ("n", "x", "tag", "flag") if rng.random() < .7}


def random_payload():
    p = plain_object()
    if rng.random() < .5:
        p["o"] = plain_object()
    if rng.random() < .5:
        p["items"] = [plain_object() for _ in range(rng.randrange(4))]
    return p


def bounds(low, high):
    return {op: rng.choice([rng.randrange(low, high), rng.randrange(low * 4, high * 4) / 4])
            for op in rng.sample(["lt", "lte", "gt", "gte"], rng.randrange(3))}


def condition(depth, keys):
    key = rng.choice(keys)
    roll = rng.randrange(11 if depth > 0 else 9)
    if roll < 2:
        v = rng.choice([rng.randrange(-3, 6), rng.choice(WORDS), rng.random() < .5, 2**53 + 1])
        return {"key": key, "match": {"value": v}}
    if roll < 4:
        some_values = rng.choice([[rng.randrange(-3, 6) for _ in range(3)], rng.sample(WORDS, 2)])
        return {"key": key, "match": {rng.choice(["any", "except"]): some_values}}
    if roll == 4:
        return {"key": key, "match": {"text": rng.choice(["r", "red", "Z", "\"", "x"])}}
    if roll == 5:
        return {"key": key, "range": bounds(-4, 7)}
    if roll == 6:
        return {"key": key, "values_count": {op: int(b) for op, b in bounds(0, 4).items()}}
    if roll == 7:
        return {rng.choice(["is_empty", "is_null"]): {"key": key.replace("[]", "")}}
    if roll == 8:
        return {"has_id": rng.sample(range(N + 50), 60)} if keys is KEYS else {"key": key, "range": {}}
    if roll == 9 and keys is KEYS:
        return {"nested": {"key": rng.choice(["items", "o", "n"]), "filter": random_filter(depth - 1, ["n", "tag", "flag"])}}
    return random_filter(depth - 1, keys)


def random_filter(depth=2, keys=KEYS):
    f = {}
    for clause in ("must", "should", "must_not"):
        if rng.random() < .4:
            f[clause] = [condition(depth, keys) for _ in range(rng.randrange(1, 3))]
    if rng.random() < .2:
        f["min_should"] = {"conditions": [condition(depth, keys) for _ in range(3)], "min_count": rng.randrange(1, 4)}
    return f or {"must": [condition(depth, keys)]}


def vector():
    return [rng.gauss(0, 1) for _ in range(SIZE)]


def put(c, points, every=2000):
    for i in range(0, len(points), every):
        ask("PUT", f"/collections/{c}/points", {"points": points[i:i + every]})


def make(c, distance="Cosine"):
    ask("DELETE", f"/collections/{c}")
    ask("PUT", f"/collections/{c}", {"vectors": {"size": SIZE, "distance": distance}, "codes": {"bits": 2}})


def pages(c, limit, **more):
    ids, offset = [], None
    while True:
        page = ask("POST", f"/collections/{c}/points/scroll", {"limit": limit, "offset": offset, "with_payload": False, **more})
        ids += [p["id"] for p in page["points"]]
        offset = page["next_page_offset"]
        if offset is None:
            return ids
        assert len(page["points"]) == limit


def index(c, key, schema):
    ask("PUT", f"/collections/{c}/index?wait=true", {"field_name": key, "field_schema": schema})


def index_all(c):
    """An index for every key, of any type that answers as payloads do (text goes by words)."""
    for key in KEYS:
        index(c, key, rng.choice(["keyword", "integer", "float", "bool"]))


# ---- the checks ----
def check_filters(c, payloads):
    query = vector()
    path = f"/collections/{c}/points"
    everything = ask("POST", path + "/query", {"query": query, "limit": N})["points"]
    assert len(everything) == len(payloads)
    searches, results, n_some = [], [], 0
    for _ in range(150):
        f = random_filter()
        want = {i for i, p in payloads.items() if matches(f, i, p)}
        n_some += 0 < len(want) < len(payloads)
        ranked = [h for h in everything if h["id"] in want]
        limit, offset = rng.randrange(1, 40), rng.choice([0, 0, rng.randrange(30)])
        search = {"query": query, "filter": f, "limit": limit, "offset": offset}
        got = ask("POST", path + "/query", search)
        same(got["points"], ranked[offset:offset + limit], f)
        same(ask("POST", path + "/count", {"filter": f})["count"], len(want), f)
        same(pages(c, rng.randrange(1, 60), filter=f), sorted(want), f)
        searches.append(search)
        results.append(got)
        if ranked:
            bound = rng.choice(ranked)["score"]
            worse = (lambda s: s > bound) if c == "euclid" else (lambda s: s < bound)
            same(ask("POST", path + "/query", {**search, "limit": N, "offset": 0, "score_threshold": bound})["points"],
                 [h for h in ranked if not worse(h["score"])], f, bound)
    assert n_some > 40, n_some
    same(ask("POST", path + "/query/batch", {"searches": searches}), results)
    old = [{"vector" if k == "query" else k: v for k, v in s.items()} for s in searches]
    same(ask("POST", path + "/search/batch", {"searches": old}), [r["points"] for r in results])
    same(ask("POST", path + "/search", old[0]), results[0]["points"])
    return n_some


def check_points(c, payloads):
    """Points as queries, alone and as examples, are not among the hits."""
    path = f"/collections/{c}/points/query"
    ids = list(payloads)
    for _ in range(20):
        one = rng.choice(ids)
        got = [h["id"] for h in ask("POST", path, {"query": one, "limit": N})["points"]]
        same(sorted(got), sorted(set(ids) - {one}))
        alone = ask("POST", path, {"query": {"recommend": {"positive": [one]}}, "limit": 5})["points"]
        same(alone[0]["id"] in got[:4], True, one)  # the same direction, rounded otherwise
        some_ids = rng.sample(ids, 7)
        rest = ask("POST", path, {"query": {"recommend": {"positive": some_ids[:4], "negative": some_ids[4:]}}, "limit": N})
        same(sorted(h["id"] for h in rest["points"]), sorted(set(ids) - set(some_ids)))
        old = {"positive": some_ids[:4], "negative": some_ids[4:], "limit": N}
        path_old = f"/collections/{c}/points/recommend"
        same(ask("POST", path_old, old), rest["points"])
        same(ask("POST", path_old + "/batch", {"searches": [{**old, "limit": 3}, old]}),
             [rest["points"][:3], rest["points"]])


def check_passages():
    """A point of several passages counts once, and is found by its payload."""
    c, path = "chunked", "/collections/chunked/points"
    ask("DELETE", "/collections/chunked")
    ask("PUT", "/collections/chunked", {"text_model": "static", "codes": {"bits": 1}})
    words = "cats rain music bread moon engine river paint winter bank".split()
    payloads = {i: {"n": i % 5, "tag": rng.choice(WORDS)} for i in range(60)}
    put(c, [{"id": i, "payload": p, "vector": {"chunk": True, "text": " ".join(rng.choices(words, k=rng.choice([5, 900, 2000])))}}
            for i, p in payloads.items()])
    for n in range(5):
        if n == 2:
            index(c, "n", "integer")
        if n == 3:
            index(c, "tag", "keyword")
        f = {"must": [{"key": "n", "match": {"value": n}}], "must_not": [{"key": "tag", "match": {"value": "red"}}]}
        want = {i for i, p in payloads.items() if matches(f, i, p)}
        same(ask("POST", path + "/count", {"filter": f})["count"], len(want), f)
        same(pages(c, 4, filter=f), sorted(want), f)
        hits = ask("POST", path + "/query", {"query": {"text": "a cat in the rain"}, "filter": f, "limit": 50})["points"]
        same(sorted(h["id"] for h in hits), sorted(want), f)
    ask("POST", path + "/delete", {"filter": {"must": [{"key": "n", "range": {"lt": 3}}]}})
    same(pages(c, 7), [i for i in payloads if i % 5 >= 3])


def check_scroll_while_writing():
    """Points that stay are on one page each, in order, whatever comes and goes."""
    make("busy")
    stay, come = list(range(0, 900, 3)), [i for i in range(900) if i % 3]
    put("busy", [{"id": i, "vector": vector(), "payload": {"n": i}} for i in stay])
    stop, wrote = threading.Event(), [0]
    body = [{"id": i, "vector": vector(), "payload": {"n": i}} for i in come]

    def write():
        while not stop.is_set():
            some_points = random.sample(body, 20)
            ask("PUT", "/collections/busy/points", {"points": some_points[:10] + [
                {"id": i, "vector": body[i % 7]["vector"], "payload": {"n": i}} for i in random.sample(stay, 10)]})
            ask("POST", "/collections/busy/points/delete", {"points": [p["id"] for p in some_points[5:15]]})
            wrote[0] += 1

    thread = threading.Thread(target=write)
    thread.start()
    end, turns = time.time() + 60, 0
    while turns < 10 or (wrote[0] < 5 and time.time() < end):
        turns += 1
        got = pages("busy", 40, filter={"must": [{"key": "n", "range": {"gte": 0}}]} if turns % 2 else None)
        same(got, sorted(set(got)))
        same([i for i in got if i % 3 == 0], stay)
    stop.set()
    thread.join()
    assert wrote[0] >= 5, wrote


def check_delete_while_writing(indexed):
    """What an acknowledged write has taken out of a filter's reach stays; all else goes."""
    make("gone")
    if indexed:
        index("gone", "state", "keyword")
    n = 5000
    put("gone", [{"id": i, "vector": vector(), "payload": {"state": "old"}} for i in range(n)])
    kept, stop = set(), threading.Event()
    order = random.Random(seed).sample(range(n), n)

    def write():
        for i in range(0, n, 20):
            if stop.is_set():
                break
            ask("PUT", "/collections/gone/points", {"points": [
                {"id": k, "vector": [1.0] * SIZE, "payload": {"state": "new"}} for k in order[i:i + 20]]})
            kept.update(order[i:i + 20])

    thread = threading.Thread(target=write)
    thread.start()
    ask("POST", "/collections/gone/points/delete", {"filter": {"must": [{"key": "state", "match": {"value": "old"}}]}})
    stop.set()
    thread.join()
    same(pages("gone", 1000), sorted(kept))
    return len(kept)


def metric(name, label=""):
    """The sum of a series, of those that have the label."""
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    c.request("GET", "/metrics")
    lines = c.getresponse().read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name) and label in line)


def check_hang_up():
    """Clients that leave in the middle of what takes long: nothing of them is left."""
    make("long")
    put("long", [{"id": i, "vector": vector(), "payload": {"text": "x" * 400}} for i in range(5000)])
    slow = {"should": [{"key": "text", "match": {"text": f"y{i}"}} for i in range(300)]}
    bodies = [("count", {"filter": slow}), ("query", {"query": vector(), "filter": slow}),
              ("scroll", {"filter": slow}), ("delete", {"filter": slow}),
              ("query/batch", {"searches": [{"query": vector(), "filter": {**slow, "must": {"has_id": list(range(k, 5000))}}}
                                            for k in range(100)]})]
    for i in range(60):
        route, body = bodies[i % len(bodies)]
        data = json.dumps(body).encode()
        s = socket.create_connection(("127.0.0.1", port))
        s.sendall(b"POST /collections/long/points/%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
                  % (route.encode(), len(data)) + data)
        time.sleep(rng.random() * .01)
        s.close()
    end = time.time() + 120
    while (left := metric("halftone_requests_in_flight")) > 1 and time.time() < end:
        time.sleep(.05)
    same(left, 1.0)  # the one that asks
    local.c.close()  # perhaps idle for too long; it opens again
    given_up = metric("halftone_http_requests_total", 'status="503"')
    assert given_up > 20, given_up
    same(ask("POST", "/collections/long/points/count", {"filter": slow})["count"], 0)
    same(ask("POST", "/collections/long/points/count")["count"], 5000)


def check_timeout():
    """A filter that takes longer than asked for is ended, and the answer names its keys."""
    make("late")
    put("late", [{"id": i, "vector": vector(), "payload": {"text": "x" * 4000}} for i in range(4000)])
    slow = {"should": [{"key": "text", "match": {"text": f"y{i}"}} for i in range(1000)]}
    for route, body in (("count", {}), ("query", {"query": vector()}), ("scroll", {}), ("delete", {})):
        start = time.time()
        answer = ask("POST", f"/collections/late/points/{route}?timeout=1", {"filter": slow, **body}, 408)
        same("filter_timeout_s" in answer["status"]["error"] and "text" in answer["status"]["error"], True, answer)
        assert time.time() - start >= 1
    same(ask("POST", "/collections/late/points/count")["count"], 4000)
    ask("POST", "/collections/late/points/count?timeout=0", {"filter": slow}, 400)


def check_turns(most):
    make("turns")
    put("turns", [{"id": i, "vector": vector(), "payload": {"n": i}} for i in range(5000)])
    searches = [{"query": vector(), "limit": 50, "filter": {"must": {"has_id": list(range(i, 5000, 7))}}} for i in range(1000)]
    waiting, alone, results = [], 0, []
    thread = threading.Thread(target=lambda: results.extend(
        ask("POST", "/collections/turns/points/query/batch", {"searches": searches})))
    thread.start()
    while thread.is_alive():
        waiting.append(metric("halftone_queries_waiting"))
        alone += len(ask("POST", "/collections/turns/points/query", {"query": vector()})["points"]) == 10
    thread.join()
    same([[h["id"] % 7 for h in r["points"]] for r in results], [[i % 7] * 50 for i in range(1000)])
    assert max(waiting) <= most, (max(waiting), most)
    assert alone > 10, alone
    print(f"{len(waiting)} looks: at most {max(waiting)} searches waited; {alone} queries of others beside them")


if len(sys.argv) > 2:
    check_turns(int(sys.argv[2]))
    sys.exit(0)
payloads = {i: random_payload() for i in range(N)}
some_filters = 0
for name, distance in (("cosine", "Cosine"), ("euclid", "Euclid")):
    make(name, distance)
    put(name, [{"id": i, "vector": vector(), "payload": p} for i, p in payloads.items()])
    some_filters += check_filters(name, payloads)
    index_all(name)
    some_filters += check_filters(name, payloads)
    check_points(name, payloads)
check_passages()
check_scroll_while_writing()
kept_points = check_delete_while_writing(False) + check_delete_while_writing(True)
check_hang_up()
check_timeout()
print(f"SEED={seed}: {checks} checks; {some_filters} filters took some points and left some; {kept_points} points kept")
sys.exit(0 if checks > 1600 else 1)
