"""Whether the hash attention of a model does anything: what it costs to break it.

    python lesion.py --model DIR --dev DATA/dev [--sets a,b] [--layers 0,1] [--heads]
                     [--work WORK]

nDCG@10 where the model embeds queries and documents, as it is and with its hash attention

    shuffled  each text's hash words change places among its tokens, in each layer in another
              way, all heads' alike; queries' and keys' apart where keys are not shared
    mean      each head gives the mean of the values of a text's tokens

A model that has both cost it 2 points of the mean over the sets uses what its bits say.
--layers: also each of these layers alone; --heads: what the similarities have learned.  With
--work what was found is kept in WORK/lesion.  The arithmetic is training's, as it is the fast
one (`make training`).
"""
import argparse
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch

from evaluate import Set
from files import digest, digest_of_folder, whole
from export import load
from hashing import to_words
from text import embedded, tokenize

COST = 2  # points


@contextmanager
def replaced(hashes, name, make):
    """The method `name` of each hash is make(hash, its number) for a while."""
    for i, one in hashes.items():
        setattr(one, name, make(one, i))
    try:
        yield
    finally:
        for one in hashes.values():
            delattr(one, name)


def shuffled(hashes):
    def make(one, i):
        own, generator = one.forward, torch.Generator().manual_seed(i)

        def moved(x, mask):
            place = torch.rand(mask.shape, generator=generator).masked_fill(~mask, 2).argsort(1)
            return to_words(one.signs(x, mask)).take_along_dim(place[..., None], 1)

        def forward(q, k, v, mask, order, inject):
            words = moved(q, mask), None if k is None else moved(k, mask)
            return own(q, k, v, mask, order, words)
        return forward
    return replaced(hashes, "forward", make)


def mean(hashes):
    def forward(q, k, v, mask, order, inject):
        real = mask[..., None, None].float()
        return ((v * real).sum(1, keepdim=True) / real.sum(1, keepdim=True)).expand_as(v), None
    return replaced(hashes, "forward", lambda one, i: forward)


LESIONS = {"shuffled": shuffled, "mean": mean}


def kept(path, make):
    """What make() gives, or gave."""
    if path is None:
        return make()
    if not path.exists():
        with whole(path) as made:
            np.save(made, make())
    return np.load(path)


def report(model, vocab, sets, hashes, alone, path):
    """A line as it is and a line a lesion: nDCG@10 in points, each set and the mean."""
    def line(label, lesion=nullcontext, *what):
        def find():
            with lesion(*what):
                return one.ndcg(*(
                    embedded(model, tokenize(vocab, one.texts[kind],
                                             model.config.max_position_embeddings))
                    for kind in ("queries", "documents")))
        points = []
        for one in sets:
            points.append(100 * kept(path(one, label), find).mean())
        means.append(np.mean(points))
        print(f"{label:12}" + "".join(f"{p:11.2f}" for p in points + means[-1:])
              + f"{means[0] - means[-1]:8.2f}", flush=True)

    means = []
    print(" " * 12 + "".join(f"{one.name:>11}" for one in sets) + "       mean    cost")
    line("as it is")
    for name, lesion in LESIONS.items():
        line(name, lesion, hashes)
    enough = means[0] - max(means[1:]) >= COST
    for i in alone:
        for name, lesion in LESIONS.items():
            line(f"{name} {i}", lesion, {i: hashes[i]})
    print(f"both cost {COST} points or more: {'yes' if enough else 'no'}")


def describe(i, one):
    """Lines of what a layer's similarity has learned, head by head."""
    spec, number = one.spec, lambda values: " ".join(f"{v:8.4f}" for v in values)
    head = f"layer {i} {spec.similarity}"
    if spec.similarity == "positive":
        return [f"{head}: nothing to learn"]
    if spec.similarity == "table":
        apart = [0, spec.bits // 4, spec.bits // 2, spec.bits]
        rows = (one.table / one.table[:, :1])[:, apart]
        head += f": at {', '.join(map(str, apart))} bits apart, of what it is at 0"
    else:
        names = ["floor"] if spec.similarity == "buckets" else ["gamma", "delta", "epsilon"]
        rows = torch.stack([getattr(one, name) for name in names], 1)
        head += f": {', '.join(names)}"
    return [head] + [f"  head {h:2} {number(row)}" for h, row in enumerate(rows.tolist())]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--sets", default="cranfield,cisi,cacm,med,npl")
    parser.add_argument("--layers", help="also each of these alone", default="")
    parser.add_argument("--heads", action="store_true", help="what similarities have learned")
    parser.add_argument("--work", type=Path, help="where nDCG is kept")
    args = parser.parse_args()
    model, vocab = load(args.model)
    model.train()
    hashes = {i: layer.hash for i, layer in enumerate(model.layers) if layer.hash is not None}
    alone = [int(i) for i in args.layers.split(",") if i]
    if not hashes or not set(alone) <= hashes.keys():
        parser.error(f"hash attention is in layers {list(hashes)} alone")
    path = lambda one, label: None
    if args.work is not None:
        (args.work / "lesion").mkdir(parents=True, exist_ok=True)
        known = digest_of_folder(args.model)
        judged = lambda one: digest(repr((one.texts, one.grades)).encode())
        path = lambda one, label: args.work / (
            f"lesion/{one.name}-{label.replace(' ', '-')}-{known}-{judged(one)}.npy")
    sets = [Set(args.dev / name) for name in args.sets.split(",")]
    report(model, vocab, sets, hashes, alone, path)
    for i, one in hashes.items() if args.heads else ():
        print(*describe(i, one), sep="\n")


if __name__ == "__main__":
    main()
