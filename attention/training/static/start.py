"""The first table: pieces through the teacher, whitened to 256, frequency weights.

    table-start.npy    (30522, 256) float32, usable as it is

Each piece's teacher embedding is made a unit vector; mean and covariance are
taken with weight sqrt(min(count, 1000)), so that pieces nobody writes do not
choose the axes; the 256 leading axes are brought to equal variance.  A row is
then scaled by the SIF weight a / (a + share of the training text).
"""
import numpy as np

import common


def frequency_weights(counts, a=3e-4):
    """SIF; a piece that never occurs weighs what half an occurrence would."""
    share = np.maximum(counts, 0.5) / counts.sum()
    return (a / (a + share)).astype(np.float32)


def whitening(x, weights, dim):
    """The mean (columns) and the map (columns, dim) that make the `dim`
    leading directions of x's weighted rows uncorrelated, with variance 1."""
    weights = weights / weights.sum()
    mean = weights @ x
    centred = (x - mean).astype(np.float64)
    values, axes = np.linalg.eigh((centred * weights[:, None]).T @ centred)
    values, axes = values[::-1][:dim], axes[:, ::-1][:, :dim]
    return mean, axes / np.sqrt(values)


def drop_special(table):
    for piece in common.SPECIAL.values():
        table[piece] = 0
    return table


def first_table(work, counts):
    pieces = common.unit(np.load(work / "teacher-pieces.npy"))
    mean, axes = whitening(pieces, np.sqrt(np.minimum(counts, 1000)), common.DIM)
    table = ((pieces - mean) @ axes).astype(np.float32)
    table *= frequency_weights(counts)[:, None] / 16
    return drop_special(table)


def main():
    args = common.arguments(__doc__)
    counts = common.piece_counts(args.data, args.work)
    np.save(args.work / "table-start.npy", first_table(args.work, counts))


if __name__ == "__main__":
    main()
