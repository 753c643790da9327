"""Flat search by one core: ours against faiss, Hamming and few-bit codes.

usage: flat_faiss.py BENCH_FLAT FOLDER     (started pinned to one core, by bench/run.sh)

The same codes or vectors, queries and k for all; rounds take turns in a new order each
time, so that a busy neighbour, and the cache that the one before left, disturb all alike;
medians over the rounds. Hamming distances found must be equal; of few-bit codes recall is
of the ten nearest by the floats' products. Theirs are RaBitQ's, ours an untrained
rotation's, searched by int8 queries: neither has learned anything from the vectors.
"""
import os
import pathlib
import random
import statistics
import subprocess
import sys
import time

import faiss
import numpy

DIMS, QUERIES, K = 512, 128, 10
CODES, VECTORS = 1_000_000, 100_000
BATCHES = (1, 32, 128)
ROUNDS = int(os.environ.get("ROUNDS") or 9)


class Ours:
    """bench_flat rounds: a line in, a round's seconds a query out."""

    def __init__(self, program, path, bits, batch, simd):
        self.process = subprocess.Popen(
            [program, "rounds", path, str(bits), str(batch)],
            env={**os.environ, "SIMD": simd},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.name = "halftone " + self.process.stdout.readline().strip()

    def round(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return tuple(map(float, self.process.stdout.readline().split()))

    def found(self):
        out, _ = self.process.communicate()
        return numpy.array(out.split(), dtype=int).reshape(QUERIES, K)


class Faiss:
    def __init__(self, name, index, queries, batch):
        self.name = f"faiss {faiss.__version__} {name}"
        self.index, self.queries, self.batch = index, queries, batch

    def round(self):
        wall, cpu = time.perf_counter(), time.process_time()
        self.ids = numpy.vstack([
            self.index.search(self.queries[i:i + self.batch], K)[1]
            for i in range(0, QUERIES, self.batch)])
        return ((time.perf_counter() - wall) / QUERIES,
                (time.process_time() - cpu) / QUERIES)

    def found(self):
        return self.ids


def levels():
    """The kernels to show, of those that the processor has."""
    flags = open("/proc/cpuinfo", encoding="ascii").read().split()
    wanted = [("amx", "amx_int8"), ("avx512", "avx512_vpopcntdq"), ("avx2", "avx2")]
    return [name for name, flag in wanted if flag in flags]


def race(title, engines, judge):
    """Rounds in turns; the first engine is what the others are compared with."""
    times = {engine.name: [] for engine in engines}
    rng = random.Random(1)
    for number in range(ROUNDS + 1):
        for engine in rng.sample(engines, len(engines)):
            seconds = engine.round()
            if number > 0:  # the first warms up
                times[engine.name].append(seconds)
    print(title)
    base = None
    for engine in engines:
        wall, cpu = (statistics.median(r[i] for r in times[engine.name]) for i in (0, 1))
        base = base or (wall, cpu)
        print(f"| {engine.name:36} | {wall * 1e3:7.3f} ms wall | {cpu * 1e3:7.3f} ms CPU "
              f"| {base[0] / wall:5.2f} x faiss (wall) | {base[1] / cpu:5.2f} x (CPU) | "
              f"{judge(engine.found())} |", flush=True)


def hamming(program, folder):
    data = numpy.random.default_rng(3).integers(
        0, 256, (CODES + QUERIES, DIMS // 8), dtype=numpy.uint8)
    path = folder / "codes.bin"
    data.tofile(path)
    index = faiss.IndexBinaryFlat(DIMS)
    index.add(data[:CODES])
    queries = data[CODES:]
    want = []

    def judge(ids):
        differ = numpy.unpackbits(data[ids] ^ queries[:, None], axis=2).sum(axis=2)
        want.append(numpy.sort(differ))
        if not (want[-1] == want[0]).all():
            sys.exit("expected the same distances of all")
        return "the same distances"

    for batch in BATCHES:
        race(f"hamming, {CODES:,} x {DIMS} x 1 bit, k = {K}, {batch} queries at a time, 1 "
             f"core, median of {ROUNDS} rounds in turns",
             [Faiss("IndexBinaryFlat", index, queries, batch)] +
             [Ours(program, path, 0, batch, simd) for simd in levels()], judge)
    path.unlink()


def vectors():
    """A centre for every 100, and a fifth to one time as much noise; unit length."""
    rng = numpy.random.default_rng(5)
    centres = rng.standard_normal((VECTORS // 100, DIMS), dtype=numpy.float32)
    noise = rng.uniform(.2, 1, (VECTORS, 1)).astype(numpy.float32)
    rows = noise * rng.standard_normal((VECTORS, DIMS), dtype=numpy.float32)
    rows += centres[numpy.arange(VECTORS) % len(centres)]
    near = .5 * rng.standard_normal((QUERIES, DIMS), dtype=numpy.float32)
    near += centres[7 * numpy.arange(QUERIES) % len(centres)]
    rows = numpy.vstack([rows, near])
    return rows / numpy.linalg.norm(rows, axis=1, keepdims=True)


def few_bits(program, folder):
    data = vectors()
    path = folder / "vectors.bin"
    data.tofile(path)
    documents, queries = data[:VECTORS], data[VECTORS:]
    products = queries @ documents.T
    nearest = numpy.argpartition(-products, K, axis=1)[:, :K]

    def judge(ids):
        hits = [len(set(a) & set(b)) for a, b in zip(ids.tolist(), nearest.tolist())]
        return f"recall@{K} {sum(hits) / K / QUERIES:.3f}"

    for bits in (2, 4):
        index = faiss.index_factory(
            DIMS, f"RaBitQfs{bits}", faiss.METRIC_INNER_PRODUCT)
        index.train(documents)
        index.add(documents)
        for batch in BATCHES:
            race(f"{bits} bits, {VECTORS:,} x {DIMS}, k = {K}, {batch} queries at a time, "
                 f"1 core, median of {ROUNDS} rounds in turns",
                 [Faiss(f"RaBitQFastScan {bits}", index, queries, batch)] +
                 [Ours(program, path, bits, batch, simd) for simd in levels()], judge)
    path.unlink()


def main():
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    faiss.omp_set_num_threads(1)
    hamming(program, folder)
    few_bits(program, folder)


main()
