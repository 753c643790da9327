"""Flat Hamming search, one query at a time on one core: ours against faiss.

usage: flat_faiss.py BENCH_FLAT CODES      (started pinned to one core, by bench/run.sh)

The same codes, queries and k for all; rounds take turns in a new order each time, so
that a busy neighbour, and the cache that the one before left, disturb all alike; medians
over the rounds. The distances found must be equal.
"""
import os
import random
import statistics
import subprocess
import sys
import time

import faiss
import numpy

ROWS, DIMS, QUERIES, K, ROUNDS = 1_000_000, 512, 32, 10, 25


class Ours:
    """bench_flat rounds: a line in, a round's seconds a query out."""

    def __init__(self, program, codes, simd):
        self.process = subprocess.Popen(
            [program, "rounds", codes], env={**os.environ, "SIMD": simd},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.name = "halftone " + self.process.stdout.readline().strip()

    def round(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return tuple(map(float, self.process.stdout.readline().split()))

    def distances(self):
        out, _ = self.process.communicate()
        return numpy.array(out.split(), dtype=int).reshape(QUERIES, K)


class Faiss:
    def __init__(self, codes, queries):
        faiss.omp_set_num_threads(1)
        self.name = f"faiss {faiss.__version__} IndexBinaryFlat"
        self.index = faiss.IndexBinaryFlat(DIMS)
        self.index.add(codes)
        self.queries = queries

    def round(self):
        wall, cpu = time.perf_counter(), time.process_time()
        self.found = [self.index.search(q[None], K)[0][0] for q in self.queries]
        return ((time.perf_counter() - wall) / QUERIES,
                (time.process_time() - cpu) / QUERIES)

    def distances(self):
        return numpy.array(self.found, dtype=int)


def levels():
    """The kernels to show: AVX-512 where the processor has it, AVX2."""
    flags = open("/proc/cpuinfo", encoding="ascii").read().split()
    wanted = [("avx512", "avx512_vpopcntdq"), ("avx2", "avx2")]
    return [name for name, flag in wanted if flag in flags]


def main():
    program, path = sys.argv[1:]
    data = numpy.fromfile(path, dtype=numpy.uint8).reshape(-1, DIMS // 8)
    peer = Faiss(data[:ROWS], data[ROWS:])
    engines = [peer] + [Ours(program, path, simd) for simd in levels()]
    times = {engine.name: [] for engine in engines}
    rng = random.Random(1)
    for number in range(ROUNDS + 1):
        for engine in rng.sample(engines, len(engines)):
            seconds = engine.round()
            if number > 0:  # the first warms up
                times[engine.name].append(seconds)

    print(f"hamming, {ROWS:,} x {DIMS} x 1 bit, k = {K}, one query at a time, 1 core, "
          f"median of {ROUNDS} rounds in turns")
    base = None
    for name, rounds in times.items():
        wall, cpu = (statistics.median(r[i] for r in rounds) for i in (0, 1))
        base = base or (wall, cpu)
        print(f"| {name:32} | {wall * 1e3:6.3f} ms wall | {cpu * 1e3:6.3f} ms CPU | "
              f"{base[0] / wall:5.2f} x faiss (wall) | {base[1] / cpu:5.2f} x (CPU) |")
    want = numpy.sort(peer.distances())
    for engine in engines[1:]:
        if not (numpy.sort(engine.distances()) == want).all():
            sys.exit(f"{engine.name} and faiss found different distances")
    print("all found the same distances\n")


main()
