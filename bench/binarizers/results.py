"""What was measured, put in order: by collection, method, bits and seed."""

import re
from collections import defaultdict
from typing import NamedTuple

import numpy as np

MEASURES = {
    "overlap@10": "overlap@10 with exact search by floats",
    "overlap@100": "overlap@100 with exact search by floats",
    "ndcg@10": "nDCG@10, of what floats reach",
}
RIVAL = "RaBitQ"
LISTS = re.compile(rf"{RIVAL}, \d+ lists")
LARGE = 100_000  # documents, from which a corpus is shown by itself
BEST_LISTS = f"{RIVAL}, best number of lists"


class Column(NamedTuple):
    """A collection, what was asked of it, and what was learnt from."""

    corpus: str
    model: str
    queries: str
    measured: tuple  # documents, queries
    train: str
    learnt: int  # vectors

    def __str__(self):
        learnt = "" if self.train == self.corpus else f"{self.train} to "
        spoilt = "" if self.queries == "own" else f", {self.queries}"
        large = f", {self.documents:,}" if self.documents >= LARGE else ""
        return f"{learnt}{self.corpus}{large}{spoilt} {self.model}"

    @property
    def documents(self):
        return self.measured[0]

    def same_test(self, other):
        return self[:4] == other[:4]


class Results:
    """Cells by column and method."""

    def __init__(self, cells):
        self.store = cells  # whose values are read where they are needed
        self.floats = {}
        # (bits, method, column) -> {seed: cell}; of ours the binarizer measured last
        self.found = defaultdict(dict)
        self.columns, self.methods, self.ours = [], [], []
        for cell in cells.list:
            column = column_of(cell)
            if cell["method"] == "float":
                self.floats[column] = cell
                self.columns.append(column)
                continue
            self.found[cell["bits"], cell["method"], column][cell["seed"]] = cell
            if cell["method"] not in self.methods:
                self.methods.append(cell["method"])
                if cell["ours"]:
                    self.ours.append(cell["method"])

    def bits(self):
        return sorted({bits for bits, _, _ in self.found})

    def cells(self, bits, methods, columns):
        """Of all seeds."""
        kept = (self.found.get((bits, m, c), {}) for m in methods for c in columns)
        return [cell for seeds in kept for cell in seeds.values()]

    def value(self, measure, bits, method, column):
        """The mean over seeds; None where nothing was measured."""
        if method == BEST_LISTS:
            each = [self.value(measure, bits, m, column) for m in self.behind(method)]
            return max((v for v in each if v is not None), default=None)
        cells = [c for c in self.cells(bits, [method], [column]) if measure in c]
        if not cells:
            return None
        whole = self.floats[column]["ndcg@10"] if measure == "ndcg@10" else 1
        return float(np.mean([c[measure] for c in cells])) / whole

    def rows(self):
        """Methods to show: of the numbers of lists the best one alone."""
        plain = [m for m in self.methods if not LISTS.fullmatch(m) and m not in self.ours]
        listed = [BEST_LISTS] if any(map(LISTS.fullmatch, self.methods)) else []
        return plain + listed + self.ours

    def behind(self, row):
        """The methods that a row stands for."""
        if row == BEST_LISTS:
            return [m for m in self.methods if LISTS.fullmatch(m)]
        return [row]

    def mean(self, measure, bits, method, columns):
        values = [self.value(measure, bits, method, column) for column in columns]
        return None if None in values or not values else float(np.mean(values))

    def query_values(self, measure, bits, method, column):
        """Each query's value, its mean over seeds, as a share of what value() is."""
        cells = self.cells(bits, [method], [column])
        each = np.mean([self.store.values(c)[measure] for c in cells], 0, dtype=float)
        return each * (self.value(measure, bits, method, column) / (each.mean() or 1))


def column_of(cell):
    learnt, *measured = cell["sizes"]
    named = (cell[part] for part in ("corpus", "model", "queries"))
    return Column(*named, tuple(measured), cell["train"], learnt)


def rival_of(results, measure, bits, columns, alike=False):
    """The form of RaBitQ that does best on the mean of these columns, and for each the
    column it is taken from: unless both are to be alike it may have learnt from what is
    searched where ours has not.  Nothing where no form was measured on all."""
    tried = []
    for method in results.methods:
        if not method.startswith(RIVAL):
            continue
        found = [best_test(results, measure, bits, method, c, alike) for c in columns]
        if columns and None not in found:
            mean = np.mean([value for value, _ in found])
            tried.append((mean, method, [where for _, where in found]))
    return max(tried)[1:] if tried else (None, [])


def best_test(results, measure, bits, method, column, alike):
    """(value, column): the best of what was measured on the same test."""
    same = [column] if alike else filter(column.same_test, results.columns)
    each = [(results.value(measure, bits, method, c), c) for c in same]
    return max((one for one in each if one[0] is not None), default=None)


def heading_of(results, column):
    """What a column is shown with: those of which a mean makes sense."""
    heading = "corpora"
    if "ndcg@10" in results.floats[column]:
        heading = f"dev sets, {column.model}"
    elif column.model == "synthetic":
        heading = "stand-in"
    elif column.documents >= LARGE:
        heading = "a large corpus"
    if column.corpus == f"{column.train}-half":
        heading += ", all texts cut"
    elif column.train != column.corpus:
        heading += f", learnt from {column.train}"
    if column.queries != "own":
        heading += f", queries: {column.queries}"
    return heading


def groups(results, measure):
    """{heading: columns}, of what was measured."""
    out = defaultdict(list)
    for column in results.columns:
        measured = any(
            measure in cell
            for bits in results.bits()
            for cell in results.cells(bits, results.methods, [column])
        )
        if measured:
            out[heading_of(results, column)].append(column)
    return out
