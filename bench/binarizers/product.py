"""Product quantisation, and the rotation that suits it, by faiss.

Jegou, Douze & Schmid, "Product Quantization for Nearest Neighbor Search", TPAMI 2011;
Ge, He, Ke & Sun, "Optimized Product Quantization", CVPR 2013.
"""

import faiss
import numpy as np

from method import Method, products

# To find the rotation with, which takes minutes; the codebooks see all vectors.
OPQ_VECTORS, OPQ_ROUNDS = 5000, 25


class PQ(Method):
    """A byte for every 8 / bits dimensions; the query stays as floats."""

    level_bits = 8

    def __init__(self, name, bits, optimised=False):
        super().__init__(name, bits)
        self.optimised = optimised

    def quantizer(self, dims, seed):
        made = faiss.ProductQuantizer(dims, dims * self.bits // 8, 8)
        made.cp.seed, made.cp.min_points_per_centroid = seed, 1
        return made

    def train(self, vectors, seed):
        dims = vectors.shape[1]
        if dims * self.bits % 8 or 8 % self.bits:
            raise ValueError(f"no whole bytes in {dims} dimensions of {self.bits} bits")
        self.map = None
        if self.optimised:
            opq = faiss.OPQMatrix(dims, dims * self.bits // 8)
            opq.max_train_points, opq.niter = OPQ_VECTORS, OPQ_ROUNDS
            inner = self.quantizer(dims, seed)  # opq borrows it
            opq.pq = inner
            opq.train(vectors)
            self.map = faiss.vector_to_array(opq.A).reshape(dims, dims).T.copy()
        self.pq = self.quantizer(dims, seed)
        self.pq.train(self.mapped(vectors))
        self.codebooks = faiss.vector_to_array(self.pq.centroids)

    def mapped(self, x):
        return np.ascontiguousarray(x if self.map is None else x @ self.map)

    def code(self, x):
        return self.pq.compute_codes(self.mapped(x)), {}

    def scores(self, queries):
        return products(self.mapped(queries), Decoded(self.pq, self.levels))


class Decoded:
    """Codes as the vectors they stand for, a slice at a time."""

    def __init__(self, pq, levels):
        self.pq, self.levels = pq, levels

    def __len__(self):
        return len(self.levels)

    def __getitem__(self, rows):
        return self.pq.decode(np.ascontiguousarray(self.levels[rows]))
