"""Tests of the rivals: python test_methods.py (seconds; random data).

Claims: estimates come nearer to the inner product with every bit; RaBitQ's is right on
average over rotations, its codes are the best of all on the grid, their cosines are the
papers'; ITQ never loses by a round; Lucene's descent never loses by a step and its start
is the published one; the Gaussian's grids are the published ones; Hamming is counted;
every byte is.
"""

import itertools
import unittest
from unittest import mock

import faiss
import numpy as np

import rabitq
from method import Float, best
from product import PQ
from rabitq import RaBitQ, grid_levels, rounded
from scalar import (
    OSQ, Scalar, TurboQuant, best_end, fitted_interval, interval_loss, lloyd_max,
)  # fmt: skip
from signs import ITQ, Sign

DIMS = 64


def vectors(n, seed, dims=DIMS):
    """Of length 1, around a mean, in clusters, some directions longer than others."""
    shared = np.random.default_rng(99)
    mean = 0.4 * shared.standard_normal(dims)
    middles = shared.standard_normal((10, dims))
    rng = np.random.default_rng(seed)
    x = middles[rng.integers(0, 10, n)] + rng.standard_normal((n, dims))
    x = mean + x / np.sqrt(1 + np.arange(dims) / 8)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


TRAIN, DOCUMENTS, QUERIES = vectors(600, 1), vectors(400, 2), vectors(30, 3)
EXACT = QUERIES @ DOCUMENTS.T


def coded(method, seed=1):
    method.train(TRAIN, seed)
    method.encode(DOCUMENTS)
    return method


class TestEstimates(unittest.TestCase):
    def check(self, make, all_bits, most):
        """The root of the mean square error falls with bits, at last below `most`."""
        errors = []
        for bits in all_bits:
            scores = coded(make(bits)).scores(QUERIES)
            errors.append(float(np.sqrt(np.square(scores - EXACT).mean())))
        self.assertEqual(errors, sorted(errors, reverse=True))
        self.assertLess(errors[-1], most)

    def test_rabitq(self):
        for options in (
            {}, {"one_float": True}, {"query_bits": 8}, {"lists": 8},
            {"lists": 8, "query_bits": 8}, {"lists": 300},
        ):  # fmt: skip
            with self.subTest(options):
                self.check(lambda b: RaBitQ("", b, **options), (1, 2, 3, 4, 6), 0.005)

    def test_osq(self):
        self.check(lambda b: OSQ("", b, query_bits=8), (1, 2, 4, 7), 0.003)
        self.check(lambda b: OSQ("", b), (1, 2, 4), 0.02)

    def test_turboquant(self):
        for length, fitted in itertools.product((False, True), repeat=2):
            self.check(lambda b: TurboQuant("", b, length, fitted), (1, 2, 4), 0.02)

    def test_scalar(self):
        self.check(lambda b: Scalar("", b), (1, 2, 4, 8), 0.003)

    def test_product(self):
        self.check(lambda b: PQ("", b), (1, 2, 4), 0.02)

    def test_optimised(self):
        """Faiss's rotation, with which product quantisation is nearer, at the same
        bytes."""
        made = []
        keep = lambda *a, new=faiss.OPQMatrix: made.append(new(*a)) or made[-1]
        with mock.patch.object(faiss, "OPQMatrix", keep):
            optimised = coded(PQ("", 1, optimised=True))
        plain = coded(PQ("", 1))
        expected = made[0].apply(QUERIES)
        np.testing.assert_allclose(optimised.mapped(QUERIES), expected, atol=1e-6)
        nearer, near = (
            np.square(m.scores(QUERIES) - EXACT).mean() for m in (optimised, plain)
        )
        self.assertLess(nearer, 0.9 * near)
        self.assertEqual(optimised.bytes_per_document, plain.bytes_per_document)

    def test_float(self):
        method = coded(Float())
        np.testing.assert_allclose(method.scores(QUERIES), EXACT, atol=1e-6)


class TestRaBitQ(unittest.TestCase):
    def test_unbiased(self):
        for options in ({"bits": 1}, {"bits": 2}, {"bits": 1, "one_float": True}):
            found = np.stack(
                [
                    coded(RaBitQ("", **options), seed).scores(QUERIES[:5])[:, :20]
                    for seed in range(300)
                ]
            )
            error = found.mean(0) - EXACT[:5, :20]
            deviation = found.std(0) / np.sqrt(len(found))
            self.assertLess(np.abs(error / deviation).max(), 4.5, options)
            self.assertLess(np.abs(error.mean()), 0.003, options)

    def test_cosines(self):
        x = np.random.default_rng(5).standard_normal((300, 384)).astype(np.float32)
        for bits, expected in ((1, 0.80), (2, 0.94), (3, 0.98), (4, 0.994)):
            y = grid_levels(x, bits) - (2**bits - 1) / 2
            cosine = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
            self.assertAlmostEqual(cosine.mean(), expected, delta=0.004)

    def test_codes_are_the_best(self):
        x = np.random.default_rng(6).standard_normal((50, 4)).astype(np.float32)
        x[0, 1] = 0
        for bits in (2, 3):
            values = np.arange(2**bits) - (2**bits - 1) / 2
            every = np.array(list(itertools.product(values, repeat=4)))
            reached = (x @ every.T / np.linalg.norm(every, axis=1)).max(1)
            y = grid_levels(x, bits) - (2**bits - 1) / 2
            ours = (x * y).sum(1) / np.linalg.norm(y, axis=1)
            np.testing.assert_allclose(ours, reached, rtol=1e-5)

    def test_sweep_in_pieces(self):
        x = vectors(50, 7)
        whole, kept = grid_levels(x, 4), rabitq.SWEEP_FLOATS
        rabitq.SWEEP_FLOATS = 3 * DIMS * 7
        try:
            np.testing.assert_array_equal(grid_levels(x, 4), whole)
        finally:
            rabitq.SWEEP_FLOATS = kept

    def test_a_vector_at_its_centre(self):
        method = RaBitQ("", 2)
        method.train(TRAIN, 1)
        method.encode(np.repeat(method.centres, 2, 0))
        expected = np.repeat(QUERIES @ method.centres.T, 2, 1)
        np.testing.assert_allclose(method.scores(QUERIES), expected, atol=1e-6)

    def test_lists(self):
        method = coded(RaBitQ("", 1, lists=8))
        apart = np.square(DOCUMENTS[:, None] - method.centres).sum(2)
        np.testing.assert_array_equal(method.beside["list"], apart.argmin(1))
        self.assertEqual(len(set(method.beside["list"])), 8)

    def test_rounded(self):
        q = vectors(20, 8)
        step = np.ptp(q, 1, keepdims=True) / 255
        self.assertTrue((np.abs(rounded(q, 8) - q) <= step * 0.501).all())
        self.assertTrue(all(len(np.unique(row)) <= 4 for row in rounded(q, 2)))


class TestSigns(unittest.TestCase):
    def test_itq_never_loses(self):
        losses = coded(ITQ("")).losses
        self.assertLess(losses[-1], 0.99 * losses[0])
        self.assertTrue((np.diff(losses) <= 1e-4).all(), losses)

    def test_hamming(self):
        scores = coded(Sign("", centred=True)).scores(QUERIES)
        mean = TRAIN.mean(0)
        for i, j in ((0, 0), (3, 70), (29, 399)):
            differ = ((QUERIES[i] >= mean) != (DOCUMENTS[j] >= mean)).sum()
            self.assertEqual(scores[i, j], DIMS - 2 * differ)

    def test_more_rotations_find_more(self):
        at = [
            np.corrcoef(coded(Sign("", b, rotated=True)).scores(QUERIES).ravel(),
                        EXACT.ravel())[0, 1]
            for b in (1, 2, 4)
        ]  # fmt: skip
        self.assertEqual(at, sorted(at))


class TestScalar(unittest.TestCase):
    def test_published_grids(self):
        for bits, end in ((1, 0.798), (2, 1.493), (3, 2.051), (4, 2.514)):
            self.assertAlmostEqual(best_end(bits), end, delta=0.01)
        np.testing.assert_allclose(lloyd_max(1), [-0.7979, 0.7979], atol=1e-3)
        np.testing.assert_allclose(
            lloyd_max(2), [-1.510, -0.4528, 0.4528, 1.510], atol=1e-3
        )
        self.assertAlmostEqual(float(lloyd_max(4)[-1]), 2.733, delta=0.002)

    def test_osq_descends(self):
        x = DOCUMENTS - TRAIN.mean(0)
        norm2 = np.square(x).sum(1)
        for bits in (1, 2, 4):
            end = best_end(bits)
            a, b = x.mean(1) - end * x.std(1), x.mean(1) + end * x.std(1)
            a, b = np.maximum(a, x.min(1)), np.minimum(b, x.max(1))
            start = interval_loss(x, norm2, a, b, bits)
            now = interval_loss(x, norm2, *fitted_interval(x, bits, end), bits)
            self.assertTrue((now <= start * 1.0001).all())
            self.assertLess(now.mean(), 0.97 * start.mean())

    def test_length(self):
        method = coded(TurboQuant("", 2, length=True))
        decoded = method.grid[method.levels] * method.scale
        lengths = np.linalg.norm(decoded, axis=1) * method.beside["length"]
        np.testing.assert_allclose(lengths, 1, atol=1e-5)


class TestEveryMethod(unittest.TestCase):
    def test_bytes(self):
        for method, expected in (
            (Sign(""), 8),
            (Sign("", 4, rotated=True), 32),
            (ITQ(""), 8),
            (Scalar("", 4), 32),
            (TurboQuant("", 2), 16),
            (TurboQuant("", 2, length=True), 20),
            (OSQ("", 1), 8 + 14),
            (OSQ("", 4), 32 + 14),
            (PQ("", 2), 16),
            (RaBitQ("", 3, one_float=True), 24 + 4),
            (RaBitQ("", 3), 24 + 8),
            (RaBitQ("", 1, lists=16), 8 + 8 + 1),
            (RaBitQ("", 1, lists=300), 8 + 8 + 2),
        ):
            self.assertEqual(coded(method).bytes_per_document, expected, vars(method))
            self.assertLess(method.levels.max(), 2**method.level_bits)

    def test_shared_bytes(self):
        self.assertEqual(coded(RaBitQ("", 1, lists=16)).shared_bytes, 16 * DIMS * 4)
        self.assertEqual(coded(Sign("", rotated=True)).shared_bytes, 0)
        self.assertEqual(coded(PQ("", 1)).shared_bytes, 256 * DIMS * 4)

    def test_best(self):
        scores = np.array([[1, 3, 2, 3, 2, 2], [0, 0, 0, 0, 0, 1]], np.float32)
        ids, top = best(scores, 4)
        np.testing.assert_array_equal(ids, [[1, 3, 2, 4], [5, 0, 1, 2]])
        np.testing.assert_array_equal(top, [[3, 3, 2, 2], [1, 0, 0, 0]])
        self.assertEqual(best(scores, 9)[0].shape, (2, 6))

    def test_search_ranks_by_scores(self):
        method = coded(RaBitQ("", 2, lists=8))
        ids, scores = method.search(QUERIES, 7)
        every = method.scores(QUERIES)
        np.testing.assert_allclose(scores, -np.sort(-every, 1)[:, :7])
        np.testing.assert_allclose(np.take_along_axis(every, ids, 1), scores)


if __name__ == "__main__":
    unittest.main()
