"""A collection of random codes (512 x 2 bits), as large as asked for.

Random codes are enough where only time and memory are measured: a scan reads all of
them, whatever they say. They come as lines of JSON through `halftone import`, which is
how codes made elsewhere come.
"""

import base64
import itertools
import random
import time

import numpy as np

from halftone import query_body

DIMS, BITS, QUERIES = 512, 2, 100
SIZE, BLOCK = DIMS * BITS // 8, 1000


def lines(first, end, payload):
    for start in range(first, end, BLOCK):
        some = random.Random(start).randbytes(BLOCK * SIZE)
        yield "".join(
            f'{{"id":{start + i},"code":"'
            f'{base64.b64encode(some[i * SIZE : (i + 1) * SIZE]).decode()}"'
            f"{payload(start + i)}}}\n"
            for i in range(min(BLOCK, end - start))
        ).encode("ascii")


def grow(server, steps, until=float("inf"), payload=lambda row: ""):
    """Add rows from step to step, until that time; yields (rows, seconds on the wall,
    seconds of the server's processor) of each. What is there of a step that was broken
    off is written again. payload: members of a row's line, each behind a comma."""
    there = server.count()
    for first, end in itertools.pairwise([0, *steps]):
        if end > there and time.monotonic() < until:
            yield end, *server.load(
                "--dims", DIMS, "--bits", BITS, "--format", "jsonl", "-",
                lines=lines(first, end, payload),
            )  # fmt: skip


def write_bodies(path, **more):
    """Queries for wrk."""
    rows = np.random.default_rng(1).standard_normal((QUERIES, DIMS), dtype=np.float32)
    path.write_text(
        "".join(query_body(row, **more) + "\n" for row in rows), encoding="ascii"
    )
    return path
