"""Batches of training text: step i of a seed is the same whenever it is asked for.

A step has texts of one kind and of about one length, so that little is padding:

    questions  what people ask (a fifth of the steps)
    titles     pseudo-queries: titles, summaries, glosses
    spans      pseudo-queries: 3 to 16 pieces from inside a passage
    passages   their first 62, 126 or 254 pieces, or as many from inside

The first three are 45 % of the steps.  Texts of science and medicine count for more than their
number: people search there, and most of what there is is Wikipedia.
"""
import numpy as np
import torch

ASKED = ("medquad", "opentrivia", "questions")
KINDS = {"questions": .20, "titles": .15, "spans": .10, "passages": .55}
LIMITS = {62: .45, 126: .35, 254: .20}
WEIGHTS = {"arxiv": 3, "medquad": 2}  # a text of these is drawn so many times as often
POOL = 6  # batches' worth of texts are drawn, and neighbours in length taken


class Stream:
    """texts: corpus.Texts; pieces: of a batch, about; share: of the texts that are used."""

    def __init__(self, texts, seed, pieces, share=1.0):
        self.texts, self.seed, self.pieces = texts, seed, pieces
        asked = np.isin(texts.source, [texts.names.index(n) for n in ASKED if n in texts.names])
        used = np.random.default_rng(0).random(len(texts)) < share
        self.of = {"questions": np.flatnonzero(asked & ~texts.passage & used),
                   "titles": np.flatnonzero(~asked & ~texts.passage & used),
                   "passages": np.flatnonzero(texts.passage & used)}
        self.of["spans"] = self.of["passages"]
        weight = np.array([WEIGHTS.get(name, 1) for name in texts.names])[texts.source]
        self.chance = {kind: weight[of] / weight[of].sum() for kind, of in self.of.items()}

    def cut(self, rng, kind, limit, row):
        if kind == "spans":
            n = min(len(row), int(rng.integers(3, 17)))
        else:
            n = min(len(row), limit)
        inside = kind == "spans" or (kind == "passages" and rng.random() < .3)
        at = int(rng.integers(0, len(row) - n + 1)) if inside else 0
        return row[at:at + n]

    def step(self, i):
        """ids (B, N) int64 with [CLS], [SEP] and padding behind, mask (B, N), kind."""
        rng = np.random.default_rng([self.seed, i])
        kind = rng.choice(list(KINDS), p=list(KINDS.values()))
        limit = int(rng.choice(list(LIMITS), p=list(LIMITS.values())))
        if kind != "passages":
            limit = 62
        usual = {"spans": 12, "passages": limit}.get(kind, 20)
        count = max(POOL, POOL * self.pieces // (usual + 2))
        rows = [self.cut(rng, kind, limit, self.texts[t])
                for t in rng.choice(self.of[kind], min(count, len(self.of[kind])),
                                    p=self.chance[kind])]
        rows.sort(key=len)
        # a window of neighbours: from a random one on, until the batch is full
        first = int(rng.integers(0, max(1, len(rows) - len(rows) // POOL)))
        last = first
        while last < len(rows) and (len(rows[last]) + 2) * (last + 1 - first) <= self.pieces:
            last += 1
        return self.batch(rows[first:max(last, first + 1)]) + (kind,)

    def batch(self, rows):
        """Pieces of texts -> ids, mask."""
        n = max(map(len, rows)) + 2
        ids = np.zeros((len(rows), n), np.int64)
        mask = np.zeros((len(rows), n), bool)
        for i, row in enumerate(rows):
            ids[i, :len(row) + 2] = np.concatenate([[self.texts.cls], row, [self.texts.sep]])
            mask[i, :len(row) + 2] = True
        return torch.from_numpy(ids), torch.from_numpy(mask)
