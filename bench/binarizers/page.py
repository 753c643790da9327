"""What of the bench's results is kept in the repository.

    page.py OUT DOCS     DOCS/binarizer.tsv, the cells; DOCS/binarizer-*.svg; and in
                         DOCS/binarizer.md what stands between the lines BEGIN and END
"""

import argparse
from pathlib import Path

import numpy as np

from cells import KEY, Cells
from halftone import UNTRAINED
from measure import bootstrap
from report import (
    against, claims, costs, drawn, of_bits, picture_name, shown, spread, table,
)  # fmt: skip
from results import MEASURES, Results, groups

BEGIN, END = "<!-- tables of make bench-binarize -->", "<!-- end of the tables -->"
KEPT = (*KEY, "overlap@10", "overlap@100", "ndcg@10", "bytes", "shared_bytes", "seconds")


def tsv(results):
    yield "\t".join(KEPT)
    for cell in results.store.list:
        texts = []
        for part in KEPT:
            value = cell.get(part, "")
            if isinstance(value, float):
                value = f"{value:.6g}"
            elif isinstance(value, list):
                value = ",".join(map(str, value))
            elif isinstance(value, dict):
                value = ",".join("" if v is None else f"{v:.4g}" for v in value.values())
            texts.append(str(value))
        yield "\t".join(texts)


def means(results, measure, columns):
    """`beside`: the bytes that a document has beside its code."""
    rows = {m: results.behind(m) for m in results.rows()}
    found = {
        (method, bits): results.mean(measure, bits, method, columns)
        for method in rows
        for bits in results.bits()
    }
    measured = [b for b in results.bits() if any(found[m, b] is not None for m in rows)]
    titles = " | ".join(map(of_bits, measured))
    yield f"| method | beside | {titles} |"
    yield "|---|---|" + "---|" * len(measured)
    for method, names in rows.items():
        cells = [c for b in measured for c in results.cells(b, names, columns)]
        if any(found[method, bits] is not None for bits in measured):
            beside = spread([c["bytes"] - c["dims"] * c["bits"] // 8 for c in cells])
            values = " | ".join(shown(found[method, bits]) for bits in measured)
            yield f"| {method} | {beside} | {values} |"


def ahead(results, measure, bits, method, columns, alike=False):
    for _, mine, _, theirs in against(results, measure, bits, method, columns, alike):
        yield mine - theirs


def ahead_alike(*what):
    """Of a rival that has learnt from the same."""
    return ahead(*what, alike=True)


def of_floats(results, measure, bits, method, columns):
    """Of each query what floats reach is 1 on average, and taken from the same draw."""
    for column in columns:
        if results.value(measure, bits, method, column) is not None:
            floats = results.store.values(results.floats[column])[measure]
            mine = results.query_values(measure, bits, method, column)
            yield 1 + mine - floats / floats.mean()


# (what, measure, which headings, reached by, least for each number of bits)
TARGETS = (
    ("overlap@10 ahead of the best RaBitQ, learnt from the corpus itself", "overlap@10",
     lambda h: h == "corpora", ahead, {1: 0.08, 2: 0.05, 4: 0.02}),
    ("overlap@10 ahead of the best RaBitQ, both learnt from another corpus", "overlap@10",
     lambda h: h.startswith("corpora, learnt"), ahead_alike, {1: 0.05, 2: 0.03, 4: 0.01}),
    ("overlap@10 ahead of the best RaBitQ that knows the corpus, learnt from another one",
     "overlap@10", lambda h: h.startswith("corpora, learnt"), ahead, {1: 0.05, 2: 0.03, 4: 0.01}),
    ("nDCG@10, of what floats reach, 384 dims, mean over dev sets", "ndcg@10",
     lambda h: h.startswith("dev sets, minilm"), of_floats, {1: 0.96, 2: 0.99, 4: 0.998}),
)  # fmt: skip


def targets(results):
    yield "| target | method | bits | asked | reached | 95 % interval | worst column |"
    yield "|---|---|---|---|---|---|---|"
    for name, measure, wanted, reached, least in TARGETS:
        columns = [
            column
            for heading, of in groups(results, measure).items()
            if wanted(heading)
            for column in of
        ]
        for method in trained(results):
            for bits, asked in least.items():
                each = list(reached(results, measure, bits, method, columns))
                if not each:
                    continue
                mean, low, high = bootstrap(each)
                worst = min(float(np.mean(one)) for one in each)
                yield (
                    f"| {name} | {method} | {bits} | {asked:g} | {mean:.3f} | "
                    f"{low:.3f} {high:.3f} | {worst:.3f} |"
                )


def trained(results):
    return [method for method in results.ours if method != UNTRAINED]


def page(results, folder):
    yield from targets(results)
    for measure, what in MEASURES.items():
        for heading, columns in groups(results, measure).items():
            if measure == "overlap@100" and not heading.startswith(("corpora", "a large")):
                continue
            if measure == "overlap@10" and heading.startswith("dev sets"):
                continue
            yield f"\n### {what}: {heading}\n"
            if (measure, heading) == ("overlap@10", "corpora"):
                for bits in results.bits():
                    yield from table(results, measure, bits, columns)
                    yield ""
            else:
                yield f"Mean of: {'; '.join(map(str, columns))}.\n"
                yield from means(results, measure, columns)
            if measure == "overlap@100":
                continue
            yield ""
            yield from claims(results, measure, columns, trained(results))
            name = "binarizer-" + picture_name(measure, heading)
            svg = drawn(results, measure, f"{measure}: {heading}", columns)
            (folder / name).write_text(svg, encoding="utf-8")
            yield f"\n![{what}: {heading}]({name})"
    yield "\n### What it costs\n"
    columns = groups(results, "overlap@10").get("corpora", [])
    for dims in sorted({results.floats[c]["dims"] for c in columns}):
        yield f"{dims} dimensions:\n"
        yield from costs(results, [c for c in columns if results.floats[c]["dims"] == dims])
        yield ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("docs", type=Path)
    args = parser.parse_args()
    results, path = Results(Cells(args.out)), args.docs / "binarizer.md"
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN + "\n")
    _, end, after = rest.partition(END)
    if not begin or not end:
        parser.error(f"expected the lines {BEGIN} and {END} in {path}")
    for old in args.docs.glob("binarizer-*.svg"):
        old.unlink()
    tables = "\n".join(page(results, args.docs))
    path.write_text(f"{before}{begin}\n{tables}\n{end}{after}", encoding="utf-8")
    lines = "\n".join(tsv(results)) + "\n"
    (args.docs / "binarizer.tsv").write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    main()
