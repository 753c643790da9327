"""What the bench is run on: vectors of a corpus, split; judged sets.

A corpus is a folder of chunks, NN.MODEL.npy: the vectors that MODEL gives the lines of
NN.txt.  Of its chunks the first are taken that hold as many rows as are asked for.  As a
program it writes one part of a corpus, for who trains or spoils texts:

    corpora.py FOLDER MODEL PART --sizes TRAIN,DOCUMENTS,QUERIES (--npy FILE | --text)

PART is train, documents or queries; --text prints the lines themselves.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SPLIT_SEED = 1
PARTS = ("train", "documents", "queries")


@dataclass
class Collection:
    """Documents to code, queries to ask, vectors to learn from; all of length 1."""

    name: str
    model: str
    train: np.ndarray
    documents: np.ndarray
    queries: np.ndarray
    judge: object = None  # ids (queries, k) -> nDCG@10 of each query


def unit(vectors):
    vectors = np.asarray(vectors, np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)


def chunks(folder, model, sizes):
    """Paths and vectors of the first chunks that hold parts of these sizes."""
    paths, parts = [], []
    for path in sorted(Path(folder).glob(f"[0-9]*.{model}.npy")):
        if sum(map(len, parts)) < sum(sizes):
            paths.append(path)
            parts.append(np.load(path))
    if not paths:
        sys.exit(f"{folder}: expected chunks NN.{model}.npy")
    return paths, np.concatenate(parts)


def split(vectors, sizes):
    """Rows of each part, shuffled.  Equal vectors go to one part, rows without a
    direction to none.  Where there are too few rows, training and documents shrink."""
    first = {}
    group = [first.setdefault(row.tobytes(), i) for i, row in enumerate(vectors)]
    rng = np.random.default_rng(SPLIT_SEED)
    place = rng.permutation(len(vectors))[group]
    order = rng.permutation(np.flatnonzero(vectors.any(1)))
    order = order[np.argsort(place[order], kind="stable")]
    train, documents, queries = sizes
    share = min(1, (len(order) - queries) / (train + documents))
    ends = np.cumsum([queries, int(share * documents), int(share * train)])
    starts = place[order[np.minimum([0, *ends], len(order) - 1)]]
    starts[-1] += ends[-1] >= len(order)  # the last row's group is inside
    rows = [
        rng.permutation(order[(place[order] >= start) & (place[order] < end)])
        for start, end in zip(starts, starts[1:])
    ]
    if min(map(len, rows)) == 0:
        raise ValueError(f"expected more than {len(order)} vectors for parts of {sizes}")
    return dict(zip(reversed(PARTS), rows))


def corpus(folder, model, sizes):
    _, vectors = chunks(folder, model, sizes)
    parts = {k: unit(vectors[rows]) for k, rows in split(vectors, sizes).items()}
    return Collection(Path(folder).name, model, **parts)


def judged(one, embed, encoder, model):
    """A set of attention/training/evaluate.py; the documents are what is learnt from."""
    documents, queries = (
        unit(embed(encoder, f"{one.name}-{kind}", one.texts[kind]))
        for kind in ("documents", "queries")
    )
    return Collection(one.name, model, documents, documents, queries, one.ndcg_of)


def sizes_of(text):
    sizes = tuple(map(int, text.split(",")))
    if len(sizes) != 3 or min(sizes) < 1:
        raise argparse.ArgumentTypeError("expected TRAIN,DOCUMENTS,QUERIES")
    return sizes


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("model")
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--sizes", type=sizes_of, required=True)
    out = parser.add_mutually_exclusive_group(required=True)
    out.add_argument("--npy", type=Path, help="write the vectors here")
    out.add_argument("--text", action="store_true", help="print the texts")
    args = parser.parse_args()
    paths, vectors = chunks(args.folder, args.model, args.sizes)
    rows = split(vectors, args.sizes)[args.part]
    if args.npy:
        np.save(args.npy, unit(vectors[rows]))
        return
    lines = []
    for path in paths:
        text = path.with_name(path.name.removesuffix(f".{args.model}.npy") + ".txt")
        lines += text.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    if len(lines) != len(vectors):
        sys.exit(f"{args.folder}: expected a line a vector, not {len(lines)} lines of "
                 f"{len(vectors)} vectors")
    print("\n".join(lines[row] for row in rows))


if __name__ == "__main__":
    main()
