"""The same float vectors in Halftone, Redis and pgvector: what a processor's second
answers over the network, how well, and what memory a document takes.

    headline.py vectors [FILE.npy ..] documents, queries and what exact search finds
    headline.py import               into each server; Redis in parts of MINUTES
    headline.py recall
    headline.py load                 1, 32, 128 clients, in turns of a new order

Each step keeps what it has done in FOLDER and goes on where it was stopped.
ROWS, DIMS (of made vectors), TURNS, SECONDS_EACH, MINUTES, FOLDER: see headline.sh.
"""

import itertools
import os
import random
import shutil
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np

from figures import Figures, number
from halftone import WAYS, Halftone, levels, place, query_body
from pgvector import Pgvector
from process import measured
from redis_server import Redis
from vectors import Signs, make, nearest, recall, signs, take

K, QUERIES, CLIENTS = 10, 1000, (1, 32, 128)
EFS = (32, 64, 96, 128, 192, 256, 384, 512, 1024)
ENOUGH = 0.99


class Data:
    def __init__(self, folder):
        self.documents = np.load(folder / "documents.npy", mmap_mode="r")
        self.queries = np.load(folder / "queries.npy")
        self.n, self.dims = self.documents.shape
        self.name = (folder / "name").read_text(encoding="utf-8")
        truth = np.load(folder / "truth.npz")
        self.products, self.sign_products = truth["floats"], truth["signs"]

    def recall(self, found):
        """Of the ten nearest by floats."""
        return recall(found, self.documents, self.queries, self.products)

    def recall_of_signs(self, found):
        """Of the ten nearest by signs, which graphs of signs look for."""
        return recall(found, Signs(self.documents), signs(self.queries), self.sign_products)


def make_vectors(folder, paths):
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "truth.npz").exists():
        return
    n = number("ROWS", 1_000_000)
    if paths:
        take(folder, paths, n, QUERIES)
    else:
        make(folder, n, number("DIMS", 512), QUERIES)
    documents = np.load(folder / "documents.npy", mmap_mode="r")
    source = os.environ.get("NAME") or ("vectors of a file" if paths else "made vectors")
    (folder / "name").write_text(f"{source} of {documents.shape[1]} dims", encoding="utf-8")
    queries = np.load(folder / "queries.npy")
    (folder / "bodies").write_text(
        "\n".join(map(query_body, queries)) + "\n", encoding="ascii"
    )
    floats = nearest(documents, queries, K)
    np.savez(folder / "truth.npz", floats=floats,
             signs=nearest(Signs(documents), signs(queries), K))  # fmt: skip


class Import:
    """What it takes to put rows into a server."""

    def __init__(self, server):
        self.process = server.process
        self.start, self.before = time.monotonic(), self.process.cpu_s()

    def figures(self):
        cpu_s = self.process.cpu_s() - self.before
        return {"s": time.monotonic() - self.start, "CPU s": cpu_s}


def import_ours(folder, figures, data):
    for way, options in WAYS.items():
        with Halftone(place(folder, way)) as ours:
            if ours.count() < data.n:
                clock = Import(ours)
                ours.load("--bits", 2, *options, folder / "documents.npy")
                figures.add(way, data.n, "import", 1, **clock.figures())


def import_redis(folder, figures, data):
    """Whether all is there."""
    with Redis(folder / "redis") as redis:
        first, clock = redis.count(), Import(redis)
        done = redis.load(data.documents, clock.start + 60 * number("MINUTES", 25))
        there = redis.count()
        if there > first:
            case = f"import of rows {first} to {there}"
            figures.add("Redis", data.n, case, 1, **clock.figures())
    if not done:
        print(f"Redis has {there} of {data.n} rows: run this again to go on")
    return done


def import_pgvector(folder, figures, data):
    with Pgvector(folder / "pgvector") as postgres:
        if not postgres.has("graph"):
            clock = Import(postgres)
            postgres.load(data.documents, data.queries)
            figures.add("pgvector", data.n, "import", 1, **clock.figures())


def import_all(folder, figures, data):
    import_ours(folder, figures, data)
    if Pgvector.available():
        import_pgvector(folder, figures, data)
    return import_redis(folder, figures, data) if Redis.available() else True


def recall_of_redis(redis, data):
    """(EF, found): the least EF that finds enough of what signs can tell apart."""
    for ef in EFS:
        found = [redis.find(query, ef) for query in data.queries]
        if data.recall_of_signs(found) >= ENOUGH:
            break
    return ef, found


def measure_recall(folder, figures, data):
    def add(system, found, **more):
        figures.add(
            system, data.n, "recall", 1, **{"recall@10": data.recall(found)}, **more
        )

    for way in WAYS:
        with Halftone(place(folder, way)) as ours:
            ours.learn(data.queries)
            add(way, [ours.find(query) for query in data.queries])
    if Pgvector.available():
        with Pgvector(folder / "pgvector") as postgres:
            found = [postgres.find(i) for i in range(len(data.queries))]
            add("pgvector", found, version=postgres.version,
                **{"recall@10 of its exact": data.recall_of_signs(found)})  # fmt: skip
    if Redis.available():
        with Redis(folder / "redis") as redis:
            ef, found = recall_of_redis(redis, data)
            add("Redis", found, version=redis.version, EF=ef,
                **{"recall@10 of its exact": data.recall_of_signs(found)})  # fmt: skip
            (folder / "ef").write_text(str(ef), encoding="ascii")


class Systems:
    """All servers, running; each with its way to be asked, and what it holds."""

    def __init__(self, folder, data, stack):
        self.processes, self.loads, self.ours, self.bytes = {}, {}, {}, {}
        for simd, way in itertools.product(levels(), WAYS):  # each on its own copy
            copy = folder / "copies" / f"{place(folder, way).name}-{simd}"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(place(folder, way) / "data", copy / "data")
            server = stack.enter_context(Halftone(copy, simd))
            server.learn(data.queries)
            self.ours[f"{way}, {simd}"] = server
            self.add(f"{way}, {simd}", server, partial(server.run, folder / "bodies"))
        if Redis.available():
            server = stack.enter_context(Redis(folder / "redis"))
            ef = (folder / "ef").read_text(encoding="ascii")
            load = partial(server.run, folder / "queries.npy", data.dims, ef)
            self.add("Redis", server, load)
        if Pgvector.available():
            server = stack.enter_context(Pgvector(folder / "pgvector"))
            self.add("pgvector", server, partial(server.run, folder, len(data.queries)))
            self.bytes["pgvector"] = server.bytes

    def add(self, name, server, load):
        self.processes[name], self.loads[name] = server.process, load
        self.bytes[name] = partial(server.process.memory, "RssAnon")


def load_all(folder, figures, data):
    seconds, rng = number("SECONDS_EACH", 10), random.Random(1)
    with ExitStack() as stack:
        systems = Systems(folder, data, stack)
        names = list(systems.loads)
        for turn in range(1, number("TURNS", 3) + 1):
            for clients in CLIENTS:
                for name in rng.sample(names, len(names)):
                    load = partial(systems.loads[name], clients, seconds)
                    values = measured(systems.processes[name], load)
                    figures.add(name, data.n, f"{clients} clients", turn, **values)
            for name, server in systems.ours.items():
                *_, p50_ms, _, _, scan_ms = server.run(
                    folder / "bodies", 1, seconds, scan=True
                )
                figures.add(name, data.n, "scan", turn,
                            **{"p50 ms": p50_ms, "scan p50 ms": scan_ms})  # fmt: skip
        for name, taken in systems.bytes.items():
            figures.add(name, data.n, "memory", 1, **{"bytes a row": taken() / data.n})


def main():
    step, *rest = sys.argv[1:]
    folder = Path(os.environ.get("FOLDER") or "build/headline").resolve()
    if step == "vectors":
        make_vectors(folder, rest)
        return 0
    data = Data(folder)
    figures = Figures(f"headline, {data.name}")
    if step == "import":
        return 0 if import_all(folder, figures, data) else 3
    {"recall": measure_recall, "load": load_all}[step](folder, figures, data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
