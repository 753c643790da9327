"""A synthetic stand-in for embeddings of 1,024 dimensions: nothing was embedded.

    standin.py write FOLDER ROWS   chunks FOLDER/NN.synthetic.npy
    standin.py check ROWS          how signs find neighbours in it, beside a real model

Topics, topics within them, and what is a document's own, all of one power-law spectrum,
about a mean, in a random basis.  The constants were chosen so that with a million rows
signs and RaBitQ find as much as was published of a million vectors of Cohere's embed-v3
(REAL: https://nndb.fuxing.dev, notes on quantisation).
"""

import sys
from pathlib import Path

import numpy as np

from corpora import unit
from method import Rotation
from rabitq import RaBitQ
from texts import CHUNK

DIMS, SEED = 1024, 1
TOPICS, PARTS = 300, 100  # and each topic's parts
POWER = 0.5  # variance of the i-th direction: i^-POWER
SHARES = {"mean": 0.2, "topic": 0.25, "part": 0.25, "own": 0.3}  # of the square

# found: of the 10 nearest by floats, among the first so many by signs, or by RaBitQ
REAL = {"signs": {10: 0.463, 20: 0.630, 50: 0.798, 100: 0.887, 200: 0.942, 1000: 0.994},
        "RaBitQ": {10: 0.606, 100: 0.985}}  # fmt: skip
QUERIES, TRAINED = 50, 20000


class Source:
    """Chunk after chunk of rows of length 1."""

    def __init__(self):
        self.spectrum = np.arange(1, DIMS + 1, dtype=np.float32) ** (-POWER / 2)
        self.spectrum /= np.linalg.norm(self.spectrum)
        self.basis = Rotation(DIMS, SEED)
        self.mean = self.drawn(np.random.default_rng([SEED, 0]), 1, "mean")
        self.topics = self.drawn(np.random.default_rng([SEED, 1]), TOPICS, "topic")

    def drawn(self, rng, n, what):
        gauss = rng.standard_normal((n, DIMS), np.float32)
        return gauss * self.spectrum * np.float32(np.sqrt(SHARES[what]))

    def chunk(self, i, rows=CHUNK):
        rng = np.random.default_rng([SEED, 2, i])
        x = self.mean + self.drawn(rng, rows, "own")
        part = rng.integers(0, TOPICS * PARTS, rows)
        x += self.topics[part // PARTS] + self.parts()[part]
        return unit(self.basis(x))

    def parts(self):
        if not hasattr(self, "kept"):
            rng = np.random.default_rng([SEED, 3])
            self.kept = self.drawn(rng, TOPICS * PARTS, "part")
        return self.kept


def check(rows):
    source = Source()
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
        folder, source = Path(sys.argv[2]), Source()
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(-(-int(sys.argv[3]) // CHUNK)):
            np.save(folder / "part.npy", source.chunk(i))
            (folder / "part.npy").rename(folder / f"{i:02}.synthetic.npy")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
