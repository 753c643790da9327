"""What every binarizer of this bench is: a Method."""

import numpy as np

ROWS = 1024  # documents coded at a time
QUERIES = 128  # queries scored at a time
LEVEL_ROWS = 8192  # rows of levels that are floats at a time


class Method:
    """Vectors to codes, and queries to the documents whose codes promise most.

    train(vectors, seed)  learns what it needs from vectors (n, dims)
    encode(documents)     keeps their codes, and nothing else of them
    search(queries, k)    ids and scores (queries, k), the best first; of equal
                          scores the first document's (documents come shuffled)

    A kind of method gives code(), which makes of some documents their levels (rows,
    columns), integers of `level_bits` bits each, and a dict of what is kept beside
    them, an array of `rows` each; and scores(), which sees those two and the query.
    """

    ours = False
    digest = ""  # of the file it was read from
    level_bits = 1

    def __init__(self, name, bits):
        self.name, self.bits = name, bits
        self.seconds = {}  # that it measured itself: "train", "encode", "search"

    def train(self, vectors, seed):
        pass

    def encode(self, documents):
        parts = [
            self.code(documents[i : i + ROWS]) for i in range(0, len(documents), ROWS)
        ]
        self.levels = np.concatenate([levels for levels, _ in parts])
        self.beside = {
            key: np.concatenate([beside[key] for _, beside in parts])
            for key in parts[0][1]
        }

    def search(self, queries, k):
        found = [
            best(self.scores(queries[i : i + QUERIES]), k)
            for i in range(0, len(queries), QUERIES)
        ]
        return tuple(np.concatenate(part) for part in zip(*found))

    @property
    def bytes_per_document(self):
        code = -(-self.levels.shape[1] * self.level_bits // 8)
        return code + sum(kept.itemsize for kept in self.beside.values())

    @property
    def shared_bytes(self):
        """What training left, once for all documents.  A rotation is its seed."""
        return sum(
            kept.nbytes
            for name, kept in vars(self).items()
            if isinstance(kept, np.ndarray) and name != "levels"
        )


class Float(Method):
    """Exact search: no binarizer, but what they are measured by."""

    level_bits = 32

    def __init__(self):
        super().__init__("float", 32)

    def code(self, x):
        return x, {}

    def scores(self, queries):
        return products(queries, self.levels)


class Rotation:
    """A random orthogonal map that its seed is enough to make again."""

    def __init__(self, dims, seed):
        gauss = np.random.default_rng(seed).standard_normal((dims, dims))
        q, r = np.linalg.qr(gauss)
        self.matrix = (q * np.sign(np.diag(r))).astype(np.float32)

    def __call__(self, x):
        return x @ self.matrix


def products(queries, levels):
    """(queries, documents): the inner products of floats and levels."""
    out = np.empty((len(queries), len(levels)), np.float32)
    for i in range(0, len(levels), LEVEL_ROWS):
        part = levels[i : i + LEVEL_ROWS].astype(np.float32, copy=False)
        np.matmul(queries, part.T, out=out[:, i : i + LEVEL_ROWS])
    return out


def best(scores, k):
    """ids, scores (queries, k) of the highest, by score and then by id."""
    k = min(k, scores.shape[1])
    ids = np.empty((len(scores), k), np.int64)
    for row, out in zip(scores, ids):
        least = np.partition(row, -k)[-k]
        above, level = np.flatnonzero(row > least), np.flatnonzero(row == least)
        above = above[np.argsort(-row[above], kind="stable")]
        out[:] = np.concatenate([above, level[: k - len(above)]])
    return ids, np.take_along_axis(scores, ids, 1)
