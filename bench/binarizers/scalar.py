"""One level a dimension: plain scalar codes, Lucene's intervals, TurboQuant's grids."""

import math

import numpy as np

from method import Method, Rotation, products

SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1)
OSQ_ROUNDS, OSQ_LAMBDA = 5, 0.1
OSQ_QUERY_BITS = 4


class Scalar(Method):
    """An even grid for each dimension, over the middle share of what training saw there
    that loses least; the query stays as floats."""

    def __init__(self, name, bits):
        super().__init__(name, bits)
        self.level_bits = bits

    def train(self, vectors, seed):
        lost = []
        for share in SHARES:
            self.set_range(vectors, share)
            levels, _ = self.code(vectors)
            lost.append(np.square(self.low + self.step * levels - vectors).mean())
        self.set_range(vectors, SHARES[np.argmin(lost)])

    def set_range(self, vectors, share):
        tails = [(1 - share) / 2, (1 + share) / 2]
        self.low, high = np.quantile(vectors, tails, axis=0).astype(np.float32)
        self.step = np.maximum(high - self.low, 1e-12) / (2**self.bits - 1)

    def code(self, x):
        levels = np.rint((x - self.low) / self.step)
        return levels.clip(0, 2**self.bits - 1).astype(np.uint8), {}

    def scores(self, queries):
        return products(queries * self.step, self.levels) + (queries @ self.low)[:, None]


class OSQ(Method):
    """Lucene's optimised scalar quantization: an interval for each vector.

    Trent, "Optimized Scalar Quantization" (Elasticsearch Labs, 2025).  The residual to
    the mean is cut into 2^bits levels of an interval [a, b] of its own, which starts
    where it is best for a Gaussian and is then fitted by coordinate descent on

        (1 - lambda) <x, e>^2 / |x|^2 + lambda |e|^2,   e the error, lambda = .1

    Queries are coded alike, with 4 bits.  Beside a document's code stand a, the step,
    <x, mean> and the sum of its levels, as in Lucene.
    """

    def __init__(self, name, bits, query_bits=OSQ_QUERY_BITS):
        super().__init__(name, bits)
        self.level_bits, self.query_bits = bits, query_bits

    def train(self, vectors, seed):
        self.mean = vectors.mean(0)
        self.grids = {bits: best_end(bits) for bits in (self.bits, self.query_bits)}

    def interval_code(self, x, bits):
        """levels (rows, dims); a, step, sum of the levels (rows)."""
        a, b = fitted_interval(x, bits, self.grids[bits])
        step = (b - a) / (2**bits - 1)
        levels = interval_levels(x, a, step, bits)
        return levels, a, step, levels.sum(1)

    def code(self, x):
        levels, a, step, total = self.interval_code(x - self.mean, self.bits)
        return levels.astype(np.uint8), {
            "a": a,
            "step": step,
            "along_mean": x @ self.mean,
            "sum": total.astype(np.uint16),
        }

    def scores(self, queries):
        levels, a, step, total = (
            part if part.ndim == 2 else part[:, None]
            for part in self.interval_code(queries - self.mean, self.query_bits)
        )
        d, dims = self.beside, self.levels.shape[1]
        inner = (
            dims * a * d["a"]
            + a * d["step"] * d["sum"]
            + step * total * d["a"]
            + step * d["step"] * products(levels, self.levels)
        )
        along_mean = (queries @ self.mean)[:, None] + d["along_mean"]
        return inner + along_mean - self.mean @ self.mean


def interval_levels(x, a, step, bits):
    width = np.maximum(step, np.float32(1e-30))[:, None]
    return np.rint((x - a[:, None]) / width).clip(0, 2**bits - 1)


def fitted_interval(x, bits, end):
    """a, b (rows), float32; `end` is where a unit Gaussian's outermost level is best."""
    mean, deviation = x.mean(1), x.std(1)
    a = np.maximum(mean - end * deviation, x.min(1)).astype(np.float32)
    b = np.minimum(mean + end * deviation, x.max(1)).astype(np.float32)
    norm2 = np.maximum(np.square(x).sum(1), np.float32(1e-30))
    scale = (1 - OSQ_LAMBDA) / norm2
    going = np.ones(len(x), bool)
    for _ in range(OSQ_ROUNDS):
        # the level's place between a and b, and the loss as a quadratic of both ends
        s = interval_levels(x, a, (b - a) / (2**bits - 1), bits) / (2**bits - 1)
        xb = (x * s).sum(1)
        xa = x.sum(1) - xb
        bb, s_sum = np.square(s).sum(1), s.sum(1)
        ab = s_sum - bb
        aa = x.shape[1] - 2 * s_sum + bb
        waa = scale * xa * xa + OSQ_LAMBDA * aa
        wab = scale * xa * xb + OSQ_LAMBDA * ab
        wbb = scale * xb * xb + OSQ_LAMBDA * bb
        det = waa * wbb - wab * wab
        going &= det > 1e-12
        det = np.where(going, det, 1)
        new_a = np.where(going, (wbb * xa - wab * xb) / det, a).astype(np.float32)
        new_b = np.where(going, (waa * xb - wab * xa) / det, b).astype(np.float32)
        going &= interval_loss(x, norm2, new_a, new_b, bits) <= interval_loss(
            x, norm2, a, b, bits
        )
        a, b = np.where(going, new_a, a), np.where(going, new_b, b)
    return a, b


def interval_loss(x, norm2, a, b, bits):
    step = (b - a) / (2**bits - 1)
    e = x - (a[:, None] + step[:, None] * interval_levels(x, a, step, bits))
    along = (x * e).sum(1)
    return (1 - OSQ_LAMBDA) * along * along / norm2 + OSQ_LAMBDA * np.square(e).sum(1)


def best_end(bits):
    """The outermost level of the even grid of 2^bits that fits a unit Gaussian best."""
    x = np.linspace(-6, 6, 2401)
    weight = np.exp(-x * x / 2)
    ends = np.arange(0.5, 4, 0.005)
    lost = []
    for end in ends:
        step = 2 * end / (2**bits - 1)
        level = np.rint((x + end) / step).clip(0, 2**bits - 1)
        lost.append((weight * np.square(x + end - step * level)).sum())
    return float(ends[np.argmin(lost)])


class TurboQuant(Method):
    """A random rotation and the Gaussian's Lloyd-Max grid.

    Zandieh, Daliri, Hadian & Mirrokni, "TurboQuant: Online Vector Quantization with
    Near-optimal Distortion Rate", arXiv:2504.19874, its variant for the least square
    error: plain.  Qdrant (articles/turboquant-quantization, 2026) keeps beside the code
    the true length over the decoded one (length), and moves and stretches each rotated
    coordinate so that its quantiles meet the grid's outermost levels (fitted).
    """

    def __init__(self, name, bits, length=False, fitted=False):
        super().__init__(name, bits)
        self.level_bits, self.length, self.fitted = bits, length, fitted

    def train(self, vectors, seed):
        dims = vectors.shape[1]
        self.rotation = Rotation(dims, seed)
        self.grid = lloyd_max(self.bits)
        self.shift = np.zeros(dims, np.float32)
        self.scale = np.full(dims, dims**-0.5, np.float32)
        if self.fitted:
            end = self.grid[-1]
            tail = gauss_below(-end)
            low, high = np.quantile(self.rotation(vectors), [tail, 1 - tail], axis=0)
            self.shift = ((low + high) / 2).astype(np.float32)
            self.scale = np.maximum((high - low) / 2 / end, 1e-12).astype(np.float32)

    def code(self, x):
        y = (self.rotation(x) - self.shift) / self.scale
        middles = (self.grid[1:] + self.grid[:-1]) / 2
        levels = np.searchsorted(middles, y).astype(np.uint8)
        if not self.length:
            return levels, {}
        decoded = self.shift + self.scale * self.grid[levels]
        ratio = np.linalg.norm(x, axis=1) / np.linalg.norm(decoded, axis=1)
        return levels, {"length": ratio.astype(np.float32)}

    def scores(self, queries):
        q = self.rotation(queries)
        scores = products(q * self.scale, Values(self.grid, self.levels))
        scores += (q @ self.shift)[:, None]
        return scores * self.beside["length"] if self.length else scores


class Values:
    """Levels read through a grid, a slice at a time."""

    def __init__(self, grid, levels):
        self.grid, self.levels = grid, levels

    def __len__(self):
        return len(self.levels)

    def __getitem__(self, rows):
        return self.grid[self.levels[rows]]


def gauss_below(x):
    return (1 + math.erf(x / math.sqrt(2))) / 2


def lloyd_max(bits):
    """(2^bits), float32, rising: the values that stand for a unit Gaussian best."""
    grid = np.linspace(-2, 2, 2**bits)
    for _ in range(2000):
        cuts = np.concatenate([[-40], (grid[1:] + grid[:-1]) / 2, [40]])
        density = np.exp(-cuts * cuts / 2) / math.sqrt(2 * math.pi)
        below = np.array([gauss_below(c) for c in cuts])
        grid = -np.diff(density) / np.diff(below)
    return grid.astype(np.float32)
