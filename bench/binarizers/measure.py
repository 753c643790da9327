"""What is measured of the ids that a search gives, and how sure a difference is."""

import numpy as np

from method import Float

DEPTHS = (10, 100)
SAME = 1e-6  # inner products that rounding alone can tell apart
RESAMPLED = 10000


class Exact:
    """What exact search by floats finds for queries among documents."""

    def __init__(self, documents, queries):
        self.documents, self.queries = documents, queries
        exact = Float()
        exact.encode(documents)
        self.ids, _ = exact.search(queries, max(DEPTHS))
        self.scores = self.scores_of(self.ids)

    def scores_of(self, ids):
        return np.stack(
            [self.documents[row] @ query for row, query in zip(ids, self.queries)]
        )

    def overlap(self, ids, k):
        """Of each query's first k ids, how many are among its k nearest; what is as
        near as the k-th counts as one of them."""
        k = min(k, len(self.documents))
        ids = ids[:, :k]
        expected = (len(self.queries), k)
        if ids.shape != expected:
            raise ValueError(f"expected {expected} ids, not {ids.shape}")
        if ids.min() < 0 or ids.max() >= len(self.documents):
            raise ValueError(f"expected ids from 0 to {len(self.documents) - 1}")
        if (np.diff(np.sort(ids, 1), axis=1) == 0).any():
            raise ValueError("expected each document once for a query")
        least = self.scores[:, k - 1 : k] - SAME
        return (self.scores_of(ids) >= least).sum(1).astype(np.uint8)


def bootstrap(differences, seed=1):
    """The mean over corpora of the mean over queries, and its 95 % interval when the
    queries of every corpus are drawn again.  `differences`: one array a corpus."""
    rng = np.random.default_rng(seed)
    drawn = np.zeros(RESAMPLED)
    for one in differences:
        one = np.asarray(one, float)
        for i in range(0, RESAMPLED, 500):
            picks = rng.integers(0, len(one), (min(500, RESAMPLED - i), len(one)))
            drawn[i : i + 500] += one[picks].mean(1) / len(differences)
    mean = float(np.mean([np.mean(one) for one in differences]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return mean, float(low), float(high)
