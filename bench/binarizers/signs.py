"""One bit a projection: sign, rotated sign, ITQ."""

import numpy as np

from method import Method, Rotation, products

ITQ_ROUNDS = 50


class Sign(Method):
    """Signs, compared by how many agree, or with a query left as floats.

    With a rotation, B bits a dimension are the signs of B rotations.
    """

    def __init__(self, name, bits=1, rotated=False, centred=False, float_query=False):
        super().__init__(name, bits)
        assert rotated or bits == 1
        self.rotated, self.centred, self.float_query = rotated, centred, float_query

    def train(self, vectors, seed):
        self.rotations = [
            Rotation(vectors.shape[1], [seed, plane])
            for plane in range(self.bits if self.rotated else 0)
        ]
        if self.centred:
            self.mean = vectors.mean(0)

    def project(self, x):
        if self.centred:
            x = x - self.mean
        return np.hstack([turn(x) for turn in self.rotations]) if self.rotated else x

    def code(self, x):
        return (self.project(x) >= 0).astype(np.uint8), {}

    def scores(self, queries):
        q = self.project(queries)
        if not self.float_query:
            q = np.where(q >= 0, 1, -1).astype(np.float32)
        return 2 * products(q, self.levels) - q.sum(1, keepdims=True)


class ITQ(Sign):
    """Iterative quantisation: principal axes, then the rotation whose signs lose least.

    Gong & Lazebnik, "Iterative Quantization: A Procrustean Approach to Learning Binary
    Codes", CVPR 2011.  losses[i] is |B - V R|^2 a vector before round i's new R.
    """

    def __init__(self, name, float_query=False):
        super().__init__(name, centred=True, float_query=float_query)

    def train(self, vectors, seed):
        self.mean = vectors.mean(0)
        x = vectors - self.mean
        _, axes = np.linalg.eigh(x.T @ x)
        v = x @ axes
        rotation = Rotation(v.shape[1], seed).matrix
        self.losses = []
        for _ in range(ITQ_ROUNDS):
            z = v @ rotation
            b = np.where(z >= 0, 1, -1).astype(np.float32)
            self.losses.append(float(np.square(b - z).sum(1).mean()))
            left, _, right = np.linalg.svd(v.T @ b)
            rotation = left @ right
        self.map = (axes @ rotation).astype(np.float32)

    def project(self, x):
        return (x - self.mean) @ self.map
