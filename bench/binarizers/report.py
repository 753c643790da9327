"""What the bench found: Markdown tables, intervals, pictures.

    report.py OUT        writes OUT/report.md and OUT/*.svg
"""

import argparse
import re
from pathlib import Path

import numpy as np

from cells import Cells
from measure import bootstrap
from picture import picture
from results import MEASURES, RIVAL, Results, groups, rival_of


def shown(value):
    return "-" if value is None else f"{value:.3f}"


def spread(values):
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g}-{high:g}"


def of_bits(bits):
    return f"{bits} bit{'s' * (bits > 1)}"


def table(results, measure, bits, columns):
    titles = [str(c) for c in columns]
    yield f"| {of_bits(bits)} | bytes | " + " | ".join(titles) + " | mean |"
    yield "|---|---|" + "---|" * (len(columns) + 1)
    for method in results.rows():
        values = [results.value(measure, bits, method, c) for c in columns]
        if not any(v is not None for v in values):
            continue
        cells = results.cells(bits, results.behind(method), columns)
        values.append(results.mean(measure, bits, method, columns))
        sizes = spread([c["bytes"] for c in cells])
        yield f"| {method} | {sizes} | " + " | ".join(map(shown, values)) + " |"


def against(results, measure, bits, method, columns, alike=False):
    """(column, each query's value, the best rival's name, its values) where both are."""
    columns = [
        c
        for c in columns
        if results.value(measure, bits, method, c) is not None
        and rival_of(results, measure, bits, [c], alike)[0]
    ]
    rival, places = rival_of(results, measure, bits, columns, alike)
    for column, place in zip(columns, places):
        mine = results.query_values(measure, bits, method, column)
        yield column, mine, rival, results.query_values(measure, bits, rival, place)


def claims(results, measure, columns, methods):
    yield f"| {measure} | ours | best {RIVAL} | ours minus it | 95 % interval |"
    yield "|---|---|---|---|---|"
    for method in methods:
        for bits in results.bits():
            differences = []
            for column, mine, rival, theirs in against(
                results, measure, bits, method, columns
            ):
                differences.append(mine - theirs)
                mean, low, high = bootstrap(differences[-1:])
                yield (
                    f"| {column}, {of_bits(bits)} | {method} {mine.mean():.3f} | "
                    f"{rival} {theirs.mean():.3f} | {mean:+.3f} | {low:+.3f} {high:+.3f} |"
                )
            if len(differences) > 1:
                mean, low, high = bootstrap(differences)
                yield (
                    f"| mean, {of_bits(bits)} | {method} | | {mean:+.3f} | "
                    f"{low:+.3f} {high:+.3f} |"
                )


def costs(results, columns):
    """`shared`: what training left, for all documents together, in bytes of each."""
    yield "| method | bits | bytes | shared | train s | code 1,000 s | query ms |"
    yield "|---|---|---|---|---|---|---|"
    for method in results.methods:
        for bits in results.bits():
            cells = results.cells(bits, [method], columns)
            if not cells:
                continue
            train = [c["seconds"]["train"] for c in cells]
            code = np.mean([c["seconds"]["encode"] / c["sizes"][1] for c in cells])
            query = np.mean([c["seconds"]["search"] / c["sizes"][2] for c in cells])
            shared = [round(c["shared_bytes"] / c["sizes"][1], 1) for c in cells]
            yield (
                f"| {method} | {bits} | {spread([c['bytes'] for c in cells])} | "
                f"{spread(shared)} | {'-' if None in train else f'{np.mean(train):.1f}'} | "
                f"{1000 * code:.3f} | {1000 * query:.2f} |"
            )


def drawn(results, measure, what, columns):
    means = {}
    for method in results.rows():
        of = {b: results.mean(measure, b, method, columns) for b in results.bits()}
        means[method] = {b: v for b, v in of.items() if v is not None}
    rows = [(method, of) for method, of in means.items() if of]
    return "\n".join(picture(what, rows, results.ours)) + "\n"


def picture_name(measure, heading):
    return re.sub(r"\W+", "-", f"{measure} {heading}") + ".svg"


def report(results, folder):
    for measure, what in MEASURES.items():
        for heading, columns in groups(results, measure).items():
            yield f"## {what}: {heading}\n"
            for bits in results.bits():
                yield from table(results, measure, bits, columns)
                yield ""
            if results.ours:
                yield from claims(results, measure, columns, results.ours)
                yield ""
            name = picture_name(measure, heading)
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
