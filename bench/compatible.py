#!/usr/bin/env python3
"""What queries by a new encoder find in codes made from an old one's vectors.

usage: bench/compatible.py --data DIR --old MODEL --new MODEL --vectors DIR
                           [--bits B] [--binarizer OLD] [SET ...]

DIR/SET is a judged collection in BEIR's form (corpus.jsonl, queries.jsonl, qrels.tsv).
Texts are embedded once, into --vectors.  Of each set the documents' vectors by both
encoders are the pairs that `halftone train --compatible-with OLD` learns from; nothing
sees queries or judgements.  Prints nDCG@10 of old queries on old codes and of new
queries on old codes, and the difference with its 95 % interval by paired bootstrap over
queries; at the end the mean over sets, bootstrapped within each.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

PROGRAM = "build/halftone"
DEPTH = 10
ROUNDS = 2000


def read_lines(path):
    return [json.loads(line) for line in path.open()]


def text_of(item):
    title = item.get("title", "")
    return " ".join(f"{title} {item['text']}".split()) or "."


def embed(model, texts, path):
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as lines:
            lines.writelines(text + "\n" for text in texts)
            lines.flush()
            command = [PROGRAM, "embed", "--model", model, "--output", path, lines.name]
            subprocess.run(command, check=True)
    return path


def judgements(folder, documents, queries):
    """Per query a dict from document number to grade; None where there are none."""
    document_of = {d.get("_id", d.get("id")): i for i, d in enumerate(documents)}
    query_of = {q.get("_id", q.get("id")): i for i, q in enumerate(queries)}
    judged = [None] * len(queries)
    for line in (folder / "qrels.tsv").open():
        query, document, grade = line.rstrip("\n").split("\t")[:3]
        if query in query_of and document in document_of and int(float(grade)) > 0:
            grades = judged[query_of[query]] = judged[query_of[query]] or {}
            grades[document_of[document]] = float(grade)
    return judged


def ndcg(ranks, judged):
    discounts = 1 / np.log2(np.arange(2, DEPTH + 2))
    values = []
    for row, grades in zip(ranks, judged):
        if grades:
            gains = [grades.get(int(i), 0) for i in row[:DEPTH]]
            ideal = sorted(grades.values(), reverse=True)[:DEPTH]
            values.append(gains @ discounts / (ideal @ discounts[: len(ideal)]))
    return np.array(values)


def search(bits, binarizer, *arguments):
    with tempfile.TemporaryDirectory() as folder:
        ranks = Path(folder, "ranks.npy")
        command = [PROGRAM, "eval", "--bits", bits, "--binarizer", binarizer]
        command += ["--ranks", ranks, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return np.load(ranks)


def measure(name, options):
    folder = Path(options.data, name)
    documents, queries = (read_lines(folder / f"{k}.jsonl") for k in ("corpus", "queries"))
    files = {}
    for which, model in (("old", options.old), ("new", options.new)):
        for kind, items in (("documents", documents), ("queries", queries)):
            path = Path(options.vectors, f"{which}.{name}.{kind}.npy")
            files[which, kind] = embed(model, map(text_of, items), path)
    with tempfile.TemporaryDirectory() as work:
        new = Path(work, "new.safetensors")
        command = [PROGRAM, "train", "--bits", "1", "--output", new]
        command += ["--vectors", files["new", "documents"]]
        command += ["--old-vectors", files["old", "documents"]]
        command += ["--compatible-with", options.binarizer]
        command += ["--old-bits", options.bits] if options.binarizer == "untrained" else []
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        corpus = ["--corpus", files["old", "documents"]]
        old = search(options.bits, options.binarizer, *corpus, "--queries", files["old", "queries"])
        asked = ["--queries", files["new", "queries"], "--searched-by", new]
        asked += ["--corpus", files["new", "documents"], "--old-corpus", files["old", "documents"]]
        new = search(options.bits, options.binarizer, *asked)
    judged = judgements(folder, documents, queries)
    return ndcg(old, judged), ndcg(new, judged)


def report(name, old, new, differences):
    low, high = np.percentile(differences, [2.5, 97.5])
    print(f"{name:14s} {old:.3f} {new:.3f} {new - old:+.3f} [{low:+.3f}, {high:+.3f}]", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for option in ("data", "old", "new", "vectors"):
        parser.add_argument(f"--{option}", required=True)
    parser.add_argument("--bits", default="2")
    parser.add_argument("--binarizer", default="untrained")
    parser.add_argument("sets", nargs="*")
    options = parser.parse_args()
    found = sorted(p.parent.name for p in Path(options.data).glob("*/qrels.tsv"))
    rng = np.random.default_rng(1)
    means, differences = [], []
    print("set            old   new   difference")
    for name in options.sets or found:
        old, new = measure(name, options)
        picks = rng.integers(0, len(old), (ROUNDS, len(old)))
        differences.append((new - old)[picks].mean(axis=1))
        means.append((old.mean(), new.mean()))
        report(name, *means[-1], differences[-1])
    report("mean", *np.mean(means, axis=0), np.mean(differences, axis=0))


if __name__ == "__main__":
    main()
