"""Score a model on every dev set: nDCG@10, recall@100, STS-b Spearman.

Search is exact in float32; nDCG is trec_eval's (linear gain, log2 discount,
grade > 0 is relevant, every judged query counts).  A document's text is its
title, one space and its text.  A model is a directory with model.safetensors
or a .npy table; several may be named, separated by commas.
"""
from pathlib import Path

import numpy as np
import scipy.stats

import common

SETS = ("scifact", "cranfield", "cisi", "cacm", "med", "npl", "squad11-dev", "nq-qed")


class Collection:
    """One dev set: tokens of both sides and the judgements."""

    def __init__(self, data, work, name):
        folder = data / "dev" / name

        def texts(file, text):
            return lambda: (common.tokenizer(data),
                            [text(d) for d in common.json_lines(folder / file)])
        self.documents = common.cached_tokens(
            work / f"dev-{name}-documents.npz", texts("corpus.jsonl", common.document_text))
        self.queries = common.cached_tokens(
            work / f"dev-{name}-queries.npz", texts("queries.jsonl", lambda q: q["text"]))
        doc_row = {d["id"]: i for i, d in enumerate(common.json_lines(folder / "corpus.jsonl"))}
        query_row = {q["id"]: i for i, q in enumerate(common.json_lines(folder / "queries.jsonl"))}
        self.grades = {}
        for line in open(folder / "qrels.tsv", encoding="utf-8"):
            query, document, grade = line.rstrip("\n").split("\t")
            if float(grade) > 0 and document in doc_row and query in query_row:
                self.grades.setdefault(query_row[query], {})[doc_row[document]] = float(grade)
        self.document_bags = {}

    def bags(self, limit):
        if limit not in self.document_bags:
            self.document_bags[limit] = (self.queries.bags(limit), self.documents.bags(limit))
        return self.document_bags[limit]

    def score(self, queries, documents, depth=100):
        """(nDCG@10, recall@100) of two embedding matrices."""
        ndcg, recall = [], []
        rows = np.fromiter(self.grades, np.int64)
        discount = 1 / np.log2(np.arange(2, 12))
        for at in range(0, len(rows), 512):
            part = rows[at:at + 512]
            scores = queries[part] @ documents.T
            top = np.argpartition(-scores, depth, axis=1)[:, :depth]
            order = np.take_along_axis(scores, top, 1).argsort(axis=1, kind="stable")[:, ::-1]
            top = np.take_along_axis(top, order, 1)
            for row, found in zip(part, top):
                grades = self.grades[row]
                gain = np.array([grades.get(d, 0.0) for d in found])
                best = np.sort(list(grades.values()))[::-1][:10]
                ndcg.append(gain[:10] @ discount / (best @ discount[:len(best)]))
                recall.append((gain > 0).sum() / len(grades))
        return float(np.mean(ndcg)), float(np.mean(recall))


class Similarity:
    """One STS-b split: two bags a pair and the human score."""

    def __init__(self, data, work, split):
        rows = [line.rstrip("\n").split("\t")
                for line in open(data / f"dev/sts/stsb-{split}.tsv", encoding="utf-8")]
        self.human = np.array([float(r[0]) for r in rows])
        self.texts = [[r[side] for r in rows] for side in (1, 2)]
        self.tokens = [common.cached_tokens(work / f"dev-stsb-{split}-{side}.npz",
                                            lambda: (common.tokenizer(data), self.texts[side]))
                       for side in (0, 1)]

    def score(self, first, second):
        return float(scipy.stats.spearmanr((first * second).sum(1), self.human).statistic)


class Bench:
    """All dev sets, loaded once, so that a table is scored in seconds."""

    def __init__(self, data, work, sets=SETS):
        self.collections = {name: Collection(data, work, name) for name in sets}
        self.sts = Similarity(data, work, "dev")

    def run(self, table, limit=common.PIECES_MAX):
        """{set: (nDCG@10, recall@100)}, with "stsb" and "mean" as numbers."""
        result = {}
        for name, collection in self.collections.items():
            queries, documents = collection.bags(limit)
            result[name] = collection.score(common.embed(queries, table),
                                            common.embed(documents, table))
        result["mean"] = float(np.mean([r[0] for r in result.values()]))
        result["stsb"] = self.sts.score(*(common.embed(t.bags(limit), table)
                                          for t in self.sts.tokens))
        return result


def line(result, recall=False):
    """One line of a table: nDCG@10 a set, their mean, STS-b."""
    at = 1 if recall else 0
    sets = [f"{result[name][at]:.4f}" for name in SETS if name in result]
    return " | ".join(sets + [f"{result['mean']:.4f}", f"{result['stsb']:.4f}"])


def load(name):
    return np.load(name) if name.suffix == ".npy" else common.load_model(name)


def main():
    args = common.arguments(__doc__, model="models/static", pieces=common.PIECES_MAX)
    bench = Bench(args.data, args.work)
    print("| model | " + " | ".join(SETS) + " | mean | stsb dev |")
    for name in args.model.split(","):
        result = bench.run(load(Path(name)), args.pieces)
        print(f"| {name} | {line(result)} |")
        print(f"| recall@100 | {line(result, recall=True)} |", flush=True)


if __name__ == "__main__":
    main()
