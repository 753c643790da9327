"""RaBitQ: rotated, centred, the best of the codes on a grid, an unbiased estimate.

Gao & Long, "RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical Error Bound
for Approximate Nearest Neighbor Search", SIGMOD 2024 (one bit); Gao, Gou, Xu, Yang, Long
& Wong, "Practical and Asymptotically Optimal Quantization of High-Dimensional Vectors in
Euclidean Space for Approximate Nearest Neighbor Search", SIGMOD 2025 (more bits).
"""

import faiss
import numpy as np

from method import Method, Rotation, products

SWEEP_FLOATS = 1 << 18  # events sorted at a time


class RaBitQ(Method):
    """With P the rotation, c the centre next to x and y the code of P(x - c):

        <q, x> ~ <q, c> + <x - c, c> + f <P(q - c), y>,   f = |x - c|^2 / <P(x - c), y>

    f is |x - c| over the cosine <o, o'> of the papers, that is, over random P the
    estimate is right on average.  <x - c, c> and f are kept beside the code, and the
    list's number where there are several.  Every list is searched.

    query_bits=8 rounds P(q - c).  one_float keeps f alone:
        <q, x> ~ <q, c> + f <P q, y>
    """

    def __init__(self, name, bits, lists=1, query_bits=None, one_float=False):
        super().__init__(name, bits)
        assert not (one_float and query_bits)
        self.level_bits, self.lists = bits, lists
        self.query_bits, self.one_float = query_bits, one_float

    def train(self, vectors, seed):
        self.rotation = Rotation(vectors.shape[1], seed)
        self.centres = centres(vectors, self.lists, seed)

    def code(self, x):
        # of |x - c|^2 = |x|^2 - 2 (<x, c> - |c|^2 / 2) the least
        half = np.square(self.centres).sum(1) / 2
        near = np.argmax(x @ self.centres.T - half, 1)
        c = self.centres[near]
        r = self.rotation(x - c)
        levels = grid_levels(r, self.bits)
        y = levels - np.float32((2**self.bits - 1) / 2)
        along = (r * y).sum(1)
        factor = np.square(r).sum(1) / np.where(along > 0, along, 1)
        beside = {"factor": factor.astype(np.float32)}
        if not self.one_float:
            beside["add"] = ((x - c) * c).sum(1)
        if self.lists > 1:
            beside["list"] = near.astype(np.uint8 if self.lists <= 256 else np.uint16)
        return levels, beside

    def scores(self, queries):
        turned = self.rotation(queries), self.rotation(self.centres)
        along = queries @ self.centres.T
        if self.lists == 1:
            return self.list_scores(*turned, along[:, :1], slice(None))
        out = np.empty((len(queries), len(self.levels)), np.float32)
        order = np.argsort(self.beside["list"], kind="stable")
        ends = np.cumsum(np.bincount(self.beside["list"], minlength=self.lists))
        for i, members in enumerate(np.split(order, ends[:-1])):
            if len(members):
                out[:, members] = self.list_scores(
                    turned[0], turned[1][i], along[:, i : i + 1], members
                )
        return out

    def list_scores(self, q, c, along, members):
        """Of Pq, Pc and <q, c>."""
        if not self.one_float:
            q = q - c
        if self.query_bits:
            q = rounded(q, self.query_bits)
        middle = np.float32((2**self.bits - 1) / 2)
        inner = products(q, self.levels[members]) - middle * q.sum(1, keepdims=True)
        scores = inner * self.beside["factor"][members] + along
        return scores if self.one_float else scores + self.beside["add"][members]


def centres(vectors, lists, seed):
    """(lists, dims): the mean, or what k-means finds."""
    if lists == 1:
        return vectors.mean(0, keepdims=True)
    means = faiss.Kmeans(
        vectors.shape[1], lists, niter=25, seed=seed, min_points_per_centroid=1
    )
    means.train(vectors)
    return means.centroids


def rounded(q, bits):
    """q, each row on its own grid of 2^bits steps from its least to its greatest."""
    low, high = q.min(1, keepdims=True), q.max(1, keepdims=True)
    step = np.maximum(high - low, np.float32(1e-30)) / (2**bits - 1)
    return low + step * np.rint((q - low) / step)


def grid_levels(r, bits):
    """(rows, dims), 0 .. 2^bits - 1: the point of the grid +-1/2, +-3/2, ... whose
    cosine with r is greatest."""
    positive = r >= 0
    if bits == 1:
        return positive.astype(np.uint8)
    size = np.abs(r)
    steps = 2 ** (bits - 1)
    rows = max(1, SWEEP_FLOATS // (r.shape[1] * (steps - 1)))
    magnitude = np.concatenate(
        [sweep(size[i : i + rows], steps) for i in range(0, len(r), rows)]
    )
    return np.where(positive, steps + magnitude, steps - 1 - magnitude).astype(np.uint8)


def sweep(size, steps):
    """(rows, dims), 0 .. steps - 1: the best magnitudes for sizes, by trying all scales.

    Growing t from 0, floor(t * size) steps up at t = k / size_i, k = 1 .. steps - 1, and
    then <y, size> grows by size_i and |y|^2 by 2k; sorted by t, running sums give the
    cosine after each step, and what stepped up to the best one is the code.
    """
    rows, dims = size.shape
    k = np.arange(1, steps, dtype=np.float32)
    safe = np.maximum(size, np.float32(1e-20))
    t = k[None, :, None] / safe[:, None, :]
    order = np.argsort(t.reshape(rows, -1), 1)
    index = order % dims
    dot = np.take_along_axis(size, index, 1)
    dot[:, 0] += size.sum(1) / 2
    square = 2 * k[order // dims]
    square[:, 0] += dims / 4
    cosine = np.cumsum(dot, 1) / np.sqrt(np.cumsum(square, 1, dtype=np.float64))
    top = np.argmax(cosine, 1)
    last = np.take_along_axis(t.reshape(rows, -1), order[np.arange(rows), top][:, None], 1)
    grown = (t <= last[:, :, None]).sum(1)
    none = size.sum(1) / 2 / np.sqrt(dims / 4) >= cosine[np.arange(rows), top]
    return np.where(none[:, None], 0, grown)
