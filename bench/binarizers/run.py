"""The bench of binarizers: every method on every corpus, skipping what is there.

    run.py OUT --corpora FOLDER[,FOLDER] --model NAME
    run.py OUT --dev DATA/dev --model NAME --encoder DIR [--program build/halftone]

Corpora are folders of chunks (corpora.py), learnt from by their train part; judged sets
are folders of corpus.jsonl, queries.jsonl, qrels.tsv, embedded by DIR and learnt from by
their own documents.  --train FOLDER learns from another corpus (transfer).  --ours
NAME=FILE adds a trained binarizer of ours, where {corpus} (what is learnt from), {model},
{bits} and {seed} are filled in.  report.py OUT shows what was found.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from cells import Cells
from corpora import corpus, judged, sizes_of, unit
from halftone import UNTRAINED, Halftone
from measure import DEPTHS, Exact
from method import Float
from product import PQ
from rabitq import RaBitQ
from scalar import OSQ, Scalar, TurboQuant
from signs import ITQ, Sign

LISTS = (16, 64, 256, 1024)


def rivals(bits):
    if bits == 1:
        yield Sign("sign")
        yield Sign("sign, centred", centred=True)
        yield ITQ("ITQ")
        yield ITQ("ITQ, float query", float_query=True)
    yield Sign("rotated signs", bits, rotated=True)
    yield Sign("rotated signs, centred", bits, rotated=True, centred=True)
    yield Scalar("scalar", bits)
    yield TurboQuant("TurboQuant", bits)
    yield TurboQuant("TurboQuant, length", bits, length=True)
    yield TurboQuant("TurboQuant, length, fitted", bits, length=True, fitted=True)
    yield OSQ("OSQ, 4-bit query", bits)
    yield OSQ("OSQ, 8-bit query", bits, query_bits=8)
    if 8 % bits == 0:
        yield PQ("PQ", bits)
        yield PQ("OPQ", bits, optimised=True)
    yield RaBitQ("RaBitQ, one float", bits, one_float=True)
    yield RaBitQ("RaBitQ, 8-bit query", bits, query_bits=8)
    yield RaBitQ("RaBitQ", bits)
    for lists in LISTS:
        yield RaBitQ(f"RaBitQ, {lists} lists", bits, lists=lists)


def ours(args, bits, seed, corpus_name):
    for name, template in args.ours:
        path = template.format(
            corpus=corpus_name, model=args.model, bits=bits, seed=seed
        )
        if path != UNTRAINED and not Path(path).exists():
            print(f"{name}: {path} is not there; left out", file=sys.stderr)
            continue
        yield Halftone(name, bits, path, args.program)


def timed(method, what, *arguments):
    """Seconds of a processor: a busy machine takes longer."""
    start = time.process_time()
    result = getattr(method, what)(*arguments)
    method.seconds.setdefault(what, time.process_time() - start)
    return result


class Bench:
    def __init__(self, args):
        self.args, self.cells, self.exact = args, Cells(args.out), {}

    def key(self, method, seed, learnt, test):
        sizes = [len(learnt.train), len(test.documents), len(test.queries)]
        return {
            "corpus": test.name, "model": test.model, "train": learnt.name,
            "queries": self.args.queries_as, "sizes": sizes, "method": method.name,
            "bits": method.bits, "seed": seed, "digest": method.digest,
        }  # fmt: skip

    def run(self, method, seed, learnt, tests):
        """Train once, measure on every test collection that has no cell yet."""
        keys = [self.key(method, seed, learnt, test) for test in tests]
        todo = [(key, test) for key, test in zip(keys, tests) if key not in self.cells]
        if not todo:
            return
        timed(method, "train", learnt.train, seed)
        for key, test in todo:
            spent = dict(method.seconds)
            timed(method, "encode", test.documents)
            ids, _ = timed(method, "search", test.queries, max(DEPTHS))
            values = self.measure(ids, test)
            cell = key | {
                "ours": method.ours,
                "dims": test.documents.shape[1],
                "bytes": method.bytes_per_document,
                "shared_bytes": method.shared_bytes,
                "seconds": method.seconds,
            }
            for name, each in values.items():
                k = name.partition("@")[2] if name.startswith("overlap") else 1
                cell[name] = float(each.mean()) / min(int(k), len(test.documents))
            self.cells.add(cell, values)
            method.seconds = spent
            print(
                f"{test.name:12} {test.model:10} {method.bits} {method.name:28} "
                f"{cell['overlap@10']:.4f} {cell['overlap@100']:.4f}",
                flush=True,
            )

    def measure(self, ids, test):
        if test.name not in self.exact:
            self.exact[test.name] = Exact(test.documents, test.queries)
        exact = self.exact[test.name]
        values = {f"overlap@{k}": exact.overlap(ids, k) for k in DEPTHS}
        if test.judge:
            values["ndcg@10"] = test.judge(ids).astype(np.float32)
        return values


def dev_sets(args):
    sys.path.append(str(Path(__file__).resolve().parents[2] / "attention" / "training"))
    from evaluate import Embedder, Set

    embed = Embedder(args.program, args.out)
    for path in sorted(args.dev.glob("*/qrels.tsv")):
        yield judged(Set(path.parent), embed, args.encoder, args.model)


def read_tests(args):
    tests = [corpus(folder, args.model, args.sizes) for folder in args.corpora]
    if args.dev:
        tests += dev_sets(args)
    if args.queries:
        if len(tests) != 1:
            sys.exit("expected one corpus with --queries")
        tests[0].queries = unit(np.load(args.queries))
        if tests[0].judge and len(tests[0].queries) != len(tests[0].judge.__self__.asked):
            sys.exit("expected as many queries as the set has")
    return tests


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    listed = lambda kind: lambda text: [kind(part) for part in text.split(",")]
    parser.add_argument("--corpora", type=listed(Path), default=[])
    parser.add_argument("--dev", type=Path, help="folder of judged sets")
    parser.add_argument("--model", required=True, help="what made the vectors")
    parser.add_argument("--encoder", type=Path, help="its folder, to embed judged sets")
    parser.add_argument("--train", type=Path, help="corpus to learn from")
    parser.add_argument("--sizes", type=sizes_of, default=(100000, 100000, 1000),
                        help="at most TRAIN,DOCUMENTS,QUERIES of a corpus")
    parser.add_argument("--bits", type=listed(int), default=[1, 2, 4])
    parser.add_argument("--seeds", type=listed(int), default=[1])
    parser.add_argument("--methods", type=listed(str), default=[""],
                        help="only names that hold one of these")
    parser.add_argument("--skip", type=listed(str), default=[],
                        help="no names that hold one of these")
    parser.add_argument("--ours", action="append", default=[], metavar="NAME=FILE",
                        type=lambda text: tuple(text.split("=", 1)),
                        help=f"FILE may be '{UNTRAINED}'")
    parser.add_argument("--program", default="build/halftone")
    parser.add_argument("--queries", type=Path, help="ask these vectors (.npy) instead")
    parser.add_argument("--queries-as", default="own", help="what was done to them")
    args = parser.parse_args()
    if not args.corpora and not args.dev:
        parser.error("expected --corpora or --dev")
    if args.dev and not args.encoder:
        parser.error("expected --encoder with --dev")
    if bool(args.queries) != (args.queries_as != "own"):
        parser.error("expected --queries and --queries-as together")
    return args


def main():
    args = arguments()
    bench = Bench(args)
    tests = read_tests(args)
    if args.train:
        jobs = [(corpus(args.train, args.model, args.sizes), tests)]
    else:
        jobs = [(test, [test]) for test in tests]
    for learnt, measured in jobs:
        bench.run(Float(), 0, learnt, measured)
        for seed in args.seeds:
            for bits in args.bits:
                for method in [*rivals(bits), *ours(args, bits, seed, learnt.name)]:
                    holds = lambda parts: any(part in method.name for part in parts)
                    if holds(args.methods) and not holds(args.skip):
                        bench.run(method, seed, learnt, measured)


if __name__ == "__main__":
    main()
