"""Vectors for benches: of an encoder where a file has them, or made.

Made ones are clustered: a centre for every 100 documents, drawn from a normal
distribution; a document is its centre and .2 to 1 times as much noise, a query its
centre and half; all of length 1. Nearest neighbours are islands of about 100, easier
for a graph to find than those of an encoder, harder for one bit a dimension to order.
"""

import numpy as np

STEP = 10_000


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def normal(dims, n, *seed):
    return np.random.default_rng(seed).standard_normal((n, dims), dtype=np.float32)


def make(folder, n, dims, n_queries):
    centres = normal(dims, max(1, n // 100), 1)
    out = np.lib.format.open_memmap(
        folder / "documents.npy", mode="w+", dtype=np.float32, shape=(n, dims)
    )
    for first in range(0, n, STEP):
        rows = np.arange(first, min(n, first + STEP))
        noise = np.random.default_rng((2, first)).uniform(0.2, 1, (len(rows), 1))
        noise = noise.astype(np.float32) * normal(dims, len(rows), 3, first)
        out[rows] = unit(centres[rows % len(centres)] + noise)
    out.flush()
    near = centres[7 * np.arange(n_queries) % len(centres)]
    np.save(folder / "queries.npy", unit(near + 0.5 * normal(dims, n_queries, 4)))


def take(folder, paths, n, n_queries):
    """The first n rows of all files are documents, the last n_queries queries."""
    rows = np.concatenate([np.load(path, mmap_mode="r") for path in paths])
    n = min(n, len(rows) - n_queries)
    if rows.ndim != 2 or n < 1:
        raise SystemExit(f"expected matrices of over {n_queries} rows, not {rows.shape}")
    for name, part in (("documents", rows[:n]), ("queries", rows[-n_queries:])):
        np.save(folder / f"{name}.npy", unit(part.astype(np.float32)))


def nearest(documents, queries, k):
    """The k greatest products of each query with a document, best first."""
    best = np.zeros((len(queries), 0), np.float32)
    for first in range(0, len(documents), STEP):
        best = np.hstack([best, queries @ documents[first : first + STEP].T])
        best = -np.partition(-best, min(k, best.shape[1]) - 1, axis=1)[:, :k]
    return -np.sort(-best)


def signs(rows):
    return np.where(rows > 0, np.float32(1), np.float32(-1))


class Signs:
    """Documents as +1 and -1, a block at a time."""

    def __init__(self, documents):
        self.documents = documents

    def __len__(self):
        return len(self.documents)

    def __getitem__(self, rows):
        return signs(self.documents[rows])


def recall(found, documents, queries, products):
    """How many of the found are as near as the k-th of all: ties count as found."""
    good = 0
    for ids, query, best in zip(found, queries, products, strict=True):
        mine = documents[np.array(ids, dtype=np.int64)] @ query if ids else np.zeros(0)
        good += min(len(best), int((mine >= best[-1] - 1e-6).sum()))
    return good / products.size
