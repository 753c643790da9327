"""What the bench found: Markdown tables, intervals, pictures.

    report.py OUT        writes OUT/report.md and OUT/*.svg
"""

import argparse
import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cells import Cells
from measure import bootstrap
from picture import picture

MEASURES = {
    "overlap@10": "overlap@10 with exact search by floats",
    "overlap@100": "overlap@100 with exact search by floats",
    "ndcg@10": "nDCG@10, of what floats reach",
}
RIVAL = "RaBitQ"
LISTS = re.compile(rf"{RIVAL}, \d+ lists")
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
        return f"{learnt}{self.corpus}{spoilt} {self.model}"

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
            many = [m for m in self.methods if LISTS.fullmatch(m)]
            each = [self.value(measure, bits, m, column) for m in many]
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


def shown(value):
    return "-" if value is None else f"{value:.3f}"


def spread(values):
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g}-{high:g}"


def table(results, measure, bits, columns):
    titles = [str(c) for c in columns]
    yield f"| {bits} bit{'s' * (bits > 1)} | bytes | " + " | ".join(titles) + " | mean |"
    yield "|---|---|" + "---|" * (len(columns) + 1)
    for method in results.rows():
        values = [results.value(measure, bits, method, c) for c in columns]
        if not any(v is not None for v in values):
            continue
        names = [method]
        if method == BEST_LISTS:
            names = [m for m in results.methods if LISTS.fullmatch(m)]
        cells = results.cells(bits, names, columns)
        values.append(results.mean(measure, bits, method, columns))
        sizes = spread([c["bytes"] for c in cells])
        yield f"| {method} | {sizes} | " + " | ".join(map(shown, values)) + " |"


def rival_of(results, measure, bits, column):
    """The RaBitQ, of all its forms, that did best here, and the column it is in: it may
    have learnt from what is searched where ours has not.  None where there is none."""
    tried = [
        (results.value(measure, bits, method, c), method, c)
        for c in results.columns
        if c.same_test(column)
        for method in results.methods
        if method.startswith(RIVAL)
    ]
    tried = [one for one in tried if one[0] is not None]
    return max(tried)[1:] if tried else None


def claims(results, measure, columns):
    yield f"| {measure} | ours | best {RIVAL} | ours minus it | 95 % interval |"
    yield "|---|---|---|---|---|"
    for method in results.ours:
        for bits in results.bits():
            measured = [
                c
                for c in columns
                if results.value(measure, bits, method, c) is not None
                and rival_of(results, measure, bits, c)
            ]
            differences = []
            for column in measured:
                rival, where = rival_of(results, measure, bits, column)
                mine = results.query_values(measure, bits, method, column)
                theirs = results.query_values(measure, bits, rival, where)
                differences.append(mine - theirs)
                mean, low, high = bootstrap(differences[-1:])
                yield (
                    f"| {column}, {bits} bits | {method} {mine.mean():.3f} | "
                    f"{rival} {theirs.mean():.3f} | {mean:+.3f} | {low:+.3f} {high:+.3f} |"
                )
            if len(differences) > 1:
                mean, low, high = bootstrap(differences)
                yield (
                    f"| mean, {bits} bits | {method} | | {mean:+.3f} | "
                    f"{low:+.3f} {high:+.3f} |"
                )


def costs(results, columns):
    yield "| method | bits | bytes | shared kB | train s | code 1,000 s | query ms |"
    yield "|---|---|---|---|---|---|---|"
    for method in results.methods:
        for bits in results.bits():
            cells = results.cells(bits, [method], columns)
            if not cells:
                continue
            train = [c["seconds"]["train"] for c in cells]
            code = np.mean([c["seconds"]["encode"] / c["sizes"][1] for c in cells])
            query = np.mean([c["seconds"]["search"] / c["sizes"][2] for c in cells])
            yield (
                f"| {method} | {bits} | {spread([c['bytes'] for c in cells])} | "
                f"{max(c['shared_bytes'] for c in cells) / 1000:.0f} | "
                f"{'-' if None in train else f'{np.mean(train):.1f}'} | "
                f"{1000 * code:.3f} | {1000 * query:.2f} |"
            )


def groups(results, measure):
    """{heading: columns}: of each a mean makes sense."""
    out = defaultdict(list)
    for column in results.columns:
        measured = any(
            measure in cell
            for bits in results.bits()
            for cell in results.cells(bits, results.methods, [column])
        )
        if measured:
            judged = "ndcg@10" in results.floats[column]
            heading = "judged sets" if judged else "corpora"
            if column.train != column.corpus:
                heading += ", learnt from another"
            if column.queries != "own":
                heading += f", queries: {column.queries}"
            out[heading].append(column)
    return out


def drawn(results, measure, what, columns):
    means = {}
    for method in results.rows():
        of = {b: results.mean(measure, b, method, columns) for b in results.bits()}
        means[method] = {b: v for b, v in of.items() if v is not None}
    rows = [(method, of) for method, of in means.items() if of]
    return "\n".join(picture(what, rows, results.ours)) + "\n"


def report(results, folder):
    for measure, what in MEASURES.items():
        for heading, columns in groups(results, measure).items():
            yield f"## {what}: {heading}\n"
            for bits in results.bits():
                yield from table(results, measure, bits, columns)
                yield ""
            if results.ours:
                yield from claims(results, measure, columns)
                yield ""
            name = re.sub(r"\W+", "-", f"{measure} {heading}") + ".svg"
            svg = drawn(results, measure, f"{what}: {heading}", columns)
            (folder / name).write_text(svg, encoding="utf-8")
            yield f"![{what}: {heading}]({name})\n"
    yield "## What it costs (search and coding of rivals by numpy: for orientation)\n"
    yield from costs(results, results.columns)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    folder = parser.parse_args().out
    lines = "\n".join(report(Results(Cells(folder)), folder)) + "\n"
    (folder / "report.md").write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    main()
