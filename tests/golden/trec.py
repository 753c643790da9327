#!/usr/bin/env python3
"""Make tests/golden/trec.txt: measures of random rankings as trec_eval computes them.

    pip install pytrec-eval-terrier
    tests/golden/trec.py > tests/golden/trec.txt

A line is judgements "doc:grade ...", the ranking, and nDCG@10, recall@10, recall@100.
"""
import random

import pytrec_eval

rng = random.Random(20261124)
MEASURES = ("ndcg_cut_10", "recall_10", "recall_100")

print("# judgements | ranking | ndcg@10 recall@10 recall@100   (by tests/golden/trec.py)")
for case in range(150):
    docs = list(range(rng.choice((5, 30, 150))))
    judged = rng.sample(docs + [1000, 1001, 1002], rng.randint(1, min(40, len(docs))))
    grades = {d: rng.choice((-1, 0, 0, 1, 1, 2, 3, 7)) for d in judged}
    if case % 10 == 0:
        grades = {d: min(g, 0) for d, g in grades.items()}
    ranking = rng.sample(docs, rng.randint(1, len(docs)))
    run = {str(d): float(len(docs) - i) for i, d in enumerate(ranking)}
    evaluator = pytrec_eval.RelevanceEvaluator(
        {"q": {str(d): g for d, g in grades.items()}}, {"ndcg_cut.10", "recall.10", "recall.100"})
    got = evaluator.evaluate({"q": run})["q"]
    print(" ".join(f"{d}:{g}" for d, g in grades.items()), "|",
          " ".join(map(str, ranking)), "|", " ".join(repr(got[m]) for m in MEASURES))
