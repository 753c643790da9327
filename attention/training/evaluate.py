"""What a model finds, on the dev sets: nDCG@10 by exact float search, beside its teacher's.

    python evaluate.py --dev DATA/dev --work WORK --teacher DIR --model DIR[,DIR...]
                       [--program build/halftone] [--sets a,b] [--queries-only] [--bits 4,2]

Models are folders that halftone opens (the teacher: halftone convert --layers float).  Texts
are embedded by `halftone embed`, once: what it gave is kept in WORK/dev.  Of each set:

    both      the model embeds queries and documents
    queries   the model embeds queries, the teacher documents

and their share of the teacher's figure, for sets with fewer than 100 queries with the 95 %
interval of a paired bootstrap; then the mean over the sets whose teacher is under .75, and
Spearman's correlation on STS-b.  --bits: also what codes of so many bits find, of both sides by
the model and its binarizer (`halftone eval` of the embeddings), and the means over all sets.
"""
import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from files import digest, digest_of_folder, whole

TEACHER_UNDER = 0.75
RESAMPLED = 10000


def lines(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


class Set:
    """One judged collection."""

    def __init__(self, folder):
        self.name = folder.name
        queries, documents = lines(folder / "queries.jsonl"), lines(folder / "corpus.jsonl")
        place = {d["id"]: i for i, d in enumerate(documents)}
        self.grades = {}
        for line in open(folder / "qrels.tsv", encoding="utf-8"):
            query, document, grade = line.rstrip("\n").split("\t")
            if grade.isdigit() and document in place:
                self.grades.setdefault(query, {})[place[document]] = int(grade)
        queries = [q for q in queries if q["id"] in self.grades]
        self.asked = [q["id"] for q in queries]
        self.texts = {"queries": [q["text"] for q in queries],
                      "documents": [" ".join(filter(None, [d.get("title"), d["text"]]))
                                    for d in documents]}

    def ndcg(self, queries, documents):
        """nDCG@10 of each query by exact search."""
        top = np.zeros((len(self.asked), min(10, len(documents))), int)
        for i, query in enumerate(queries):
            score = documents @ query
            found = np.argpartition(-score, min(10, len(score) - 1))[:10]
            top[i] = found[np.argsort(-score[found], kind="stable")]
        return self.ndcg_of(top)

    def ndcg_of(self, ids):
        """nDCG@10 of each query, given documents found, best first; linear gain, as
        trec_eval's."""
        discount = 1 / np.log2(np.arange(2, 12))
        out = np.zeros(len(self.asked))
        for i, query in enumerate(self.asked):
            grades = self.grades[query]
            gain = np.array([grades.get(d, 0) for d in ids[i][:10]], float)
            ideal = np.sort(np.array(list(grades.values()), float))[::-1][:10]
            best = (ideal * discount[:len(ideal)]).sum()
            out[i] = (gain * discount[:len(gain)]).sum() / best if best else 0
        return out


class Embedder:
    """halftone embed, and what it said before."""

    def __init__(self, program, work):
        self.program, self.folder = program, work / "dev"
        self.folder.mkdir(parents=True, exist_ok=True)

    def file(self, model, name, texts):
        """Named by all that it is of: the model and its vocabulary, and the texts."""
        # white space is white space to a tokenizer; a line must not be empty
        said = "".join((" ".join(t.split()) or ".") + "\n" for t in texts).encode()
        path = self.folder / f"{name}-{digest_of_folder(model)}-{digest(said)}.npy"
        if not path.exists():
            with whole(path) as made:
                text = made.with_suffix(".txt")
                text.write_bytes(said)
                subprocess.run([self.program, "embed", "--model", model, "--output", made, text],
                               check=True, stderr=subprocess.DEVNULL)
        return path

    def __call__(self, model, name, texts):
        return np.load(self.file(model, name, texts))

    def coded(self, model, one, bits):
        """Documents that codes of a set find, best first."""
        corpus, queries = (self.file(model, f"{one.name}-{kind}", one.texts[kind])
                           for kind in ("documents", "queries"))
        beside = [model / name for name in (f"binarizer.{bits}.safetensors", "binarizer.safetensors")]
        with tempfile.TemporaryDirectory() as folder:
            ranks = Path(folder, "ranks.npy")
            subprocess.run([self.program, "eval", "--corpus", corpus, "--queries", queries,
                            "--bits", str(bits), "--ranks", ranks,
                            "--binarizer", next(filter(Path.exists, beside), "untrained")],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            return np.load(ranks).astype(int)


def share(ours, theirs):
    """Ours over theirs, and the 95 % interval of that over resampled queries."""
    rng = np.random.default_rng(1)
    pick = rng.integers(0, len(ours), (RESAMPLED, len(ours)))
    low, high = np.percentile(ours[pick].mean(1) / theirs[pick].mean(1).clip(1e-9), [2.5, 97.5])
    return ours.mean() / theirs.mean(), low, high


def spearman(a, b):
    """Of ranks, ties sharing their mean rank."""
    def ranks(x):
        _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
        last = np.cumsum(counts)
        return (last - (counts - 1) / 2)[inverse]
    return np.corrcoef(ranks(a), ranks(b))[0, 1]


def sts(embed, model, dev, part):
    """Spearman on STS-b: lines of a score and two sentences."""
    with open(dev / f"sts/stsb-{part}.tsv", encoding="utf-8") as rows:
        gold, first, second = zip(*(row.rstrip("\n").split("\t")[:3] for row in rows))
    a, b = (embed(model, f"stsb-{part}-{n}", t) for n, t in ((1, first), (2, second)))
    return spearman((a * b).sum(1), np.array(gold, float))


def report(embed, sets, teacher, model, queries_only, bits):
    cells, means = {}, {"both": [], "queries": []}
    for one in sets:
        t = {k: embed(teacher, f"{one.name}-{k}", one.texts[k]) for k in ("queries", "documents")}
        q = embed(model, f"{one.name}-queries", one.texts["queries"])
        theirs = one.ndcg(t["queries"], t["documents"])
        row = {"teacher": theirs.mean(), "cosine": float((q * t["queries"]).sum(1).mean())
               if q.shape == t["queries"].shape else None}
        kinds = {}
        if q.shape[1] == t["documents"].shape[1]:
            kinds["queries"] = one.ndcg(q, t["documents"])
        if not queries_only:
            kinds["both"] = one.ndcg(q, embed(model, f"{one.name}-documents",
                                              one.texts["documents"]))
        for kind, ours in kinds.items():
            part, low, high = share(ours, theirs)
            row[kind] = ours.mean()
            row[kind + " share"] = part
            if len(ours) < 100:
                row[kind + " interval"] = [low, high]
            if theirs.mean() < TEACHER_UNDER:
                means[kind].append(part)
        row |= {f"{b} bits": one.ndcg_of(embed.coded(model, one, b)).mean() for b in bits}
        cells[one.name] = row
    out = {"model": str(model), "sets": cells,
           "mean share": {k: float(np.mean(v)) for k, v in means.items() if v}}
    if bits:
        out["mean"] = {k: float(np.mean([row[k] for row in cells.values()]))
                       for k in ["both"] + [f"{b} bits" for b in bits]}
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--model", required=True, help="folders, separated by commas")
    parser.add_argument("--program", default="build/halftone")
    parser.add_argument("--sets", default="", help="names (default: all)")
    parser.add_argument("--queries-only", action="store_true", help="documents by the teacher")
    parser.add_argument("--bits", default="", help="of codes, separated by commas")
    args = parser.parse_args()
    bits = [int(b) for b in args.bits.split(",") if b]
    if bits and args.queries_only:
        parser.error("expected --bits without --queries-only: codes are of both sides")
    embed = Embedder(args.program, args.work)
    wanted = args.sets.split(",") if args.sets else sorted(
        p.parent.name for p in args.dev.glob("*/qrels.tsv"))
    sets = [Set(args.dev / name) for name in wanted]
    shown = lambda x: (round(float(x), 4) if isinstance(x, (float, np.floating)) else
                       [shown(y) for y in x] if isinstance(x, list) else
                       {k: shown(v) for k, v in x.items()} if isinstance(x, dict) else x)
    for model in map(Path, args.model.split(",")):
        out = report(embed, sets, args.teacher, model, args.queries_only, bits)
        if not args.sets and not args.queries_only:
            out["stsb"] = {part: sts(embed, model, args.dev, part) for part in ("dev", "test")}
        print(json.dumps(shown(out), indent=1))


if __name__ == "__main__":
    main()
