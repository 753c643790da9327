"""A synthetic stand-in for embeddings of 1,024 dimensions: nothing was embedded.

    standin.py write FOLDER ROWS   chunks FOLDER/NN.synthetic.npy
    standin.py check ROWS          how signs find neighbours in it, beside a real model

Topics, parts of them, and what is a document's own, all of one power-law spectrum, about
a mean, in a random basis.  The constants were chosen so that signs and RaBitQ find as
much as was published of a million vectors of Cohere's embed-v3 (REAL:
https://nndb.fuxing.dev, notes on quantisation).  Fewer rows are of fewer topics: round a
query lie as many documents as in a million.
"""

import sys
from pathlib import Path

import numpy as np

from corpora import unit
from method import Rotation
from rabitq import RaBitQ
from texts import CHUNK

DIMS, SEED = 1024, 1
ROWS_A_TOPIC, PARTS = 3333, 100  # and each topic's parts
POWER = 0.8  # variance of the i-th direction: i^-POWER
SHARES = {"mean": 0.2, "topic": 0.25, "part": 0.1, "own": 0.45}  # of the square

# found: of the 10 nearest by floats, among the first so many by signs, or by RaBitQ
REAL = {"signs": {10: 0.463, 20: 0.630, 50: 0.798, 100: 0.887, 200: 0.942, 1000: 0.994},
        "RaBitQ": {10: 0.606, 100: 0.985}}  # fmt: skip
QUERIES, TRAINED = 50, 20000


class Source:
    """Chunk after chunk of rows of length 1, `rows` in all."""

    def __init__(self, rows):
        self.spectrum = np.arange(1, DIMS + 1, dtype=np.float32) ** (-POWER / 2)
        self.spectrum /= np.linalg.norm(self.spectrum)
        self.basis = Rotation(DIMS, SEED)
        self.mean = self.drawn([0], 1, "mean")
        topics = max(1, rows // ROWS_A_TOPIC)
        self.parts = self.drawn([1], topics * PARTS, "part")
        self.parts += np.repeat(self.drawn([2], topics, "topic"), PARTS, 0)

    def drawn(self, seed, n, what):
        gauss = np.random.default_rng([SEED, *seed]).standard_normal((n, DIMS), np.float32)
        return gauss * self.spectrum * np.float32(np.sqrt(SHARES[what]))

    def chunk(self, i, rows=CHUNK):
        part = np.random.default_rng([SEED, 3, i]).integers(0, len(self.parts), rows)
        x = self.mean + self.parts[part] + self.drawn([4, i], rows, "own")
        return unit(self.basis(x))


def check(rows):
    source = Source(rows)
    learnt = source.chunk(0, TRAINED + QUERIES)
    queries, rabitq = learnt[TRAINED:], RaBitQ("", 1)
    rabitq.train(learnt[:TRAINED], SEED)
    found = {"floats": [], "signs": [], "RaBitQ": []}
    for i in range(1, 1 + -(-rows // CHUNK)):
        x = source.chunk(i)
        found["floats"].append(queries @ x.T)
        found["signs"].append(np.sign(queries) @ np.sign(x).T)
        rabitq.encode(x)
        found["RaBitQ"].append(rabitq.scores(queries))
    order = {k: np.argsort(-np.hstack(v), 1, "stable")[:, :1000] for k, v in found.items()}
    for kind, real in REAL.items():
        for depth, value in real.items():
            hits = [
                len(set(a[:10]) & set(b[:depth]))
                for a, b in zip(order["floats"], order[kind])
            ]
            print(f"{kind} {depth}: {np.mean(hits) / 10:.3f}, real {value:.3f}", flush=True)


def main():
    if sys.argv[1:2] == ["check"] and len(sys.argv) == 3:
        check(int(sys.argv[2]))
    elif sys.argv[1:2] == ["write"] and len(sys.argv) == 4:
        folder, rows = Path(sys.argv[2]), int(sys.argv[3])
        folder.mkdir(parents=True, exist_ok=True)
        source = Source(rows)
        for i in range(-(-rows // CHUNK)):
            np.save(folder / "part.npy", source.chunk(i))
            (folder / "part.npy").rename(folder / f"{i:02}.synthetic.npy")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
