#!/usr/bin/env python3
"""Draw docs/eval.svg from docs/eval.tsv and print the README's table.

usage: bench/plot.py    (from anywhere; Python 3 without packages)

eval.tsv: a header line, then one test collection a line: its name and nDCG@10 with
float embeddings and with codes of 4, 2 and 1 bits, as `halftone eval` prints them.
"""

import pathlib
import sys

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
COLUMNS = ["set", "float", "4 bits", "2 bits", "1 bit"]
# A dot's size says how many bits are left of a dimension.
RADIUS = {"float": 8.5, "4 bits": 6.5, "2 bits": 4.6, "1 bit": 2.8}
ROW, LEFT, RIGHT, TOP, WIDTH = 34, 130, 30, 60, 760


def read(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines or lines[0].split("\t") != COLUMNS:
        sys.exit(f"{path}: expected a first line with {COLUMNS}, tabs between")
    rows = []
    for number, line in enumerate(lines[1:], 2):
        cells = line.split("\t")
        if len(cells) != len(COLUMNS):
            sys.exit(f"{path}:{number}: expected {len(COLUMNS)} cells, not {len(cells)}")
        rows.append((cells[0], dict(zip(COLUMNS[1:], map(float, cells[1:])))))
    if not rows:
        sys.exit(f"{path}: expected at least one test collection")
    return rows


def table(rows):
    yield "| set | " + " | ".join(COLUMNS[1:]) + " |"
    yield "|---|" + "---|" * (len(COLUMNS) - 1)
    for name, score in rows:
        yield f"| {name} | " + " | ".join(f"{score[c]:.3f}" for c in COLUMNS[1:]) + " |"
    mean = {c: sum(score[c] for _, score in rows) / len(rows) for c in COLUMNS[1:]}
    yield "| mean | " + " | ".join(f"{mean[c]:.3f}" for c in COLUMNS[1:]) + " |"


def picture(rows):
    height = TOP + ROW * len(rows) + 34

    def x(score):
        return LEFT + score * (WIDTH - LEFT - RIGHT)

    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="system-ui, sans-serif" font-size="14">'
    )
    yield (
        "<style>text{fill:#191814}.soft{fill:#625d52}.line{stroke:#d9d3c5}"
        ".ring{fill:none;stroke:#191814;stroke-width:1.5}.dot{fill:#b8321a}"
        "@media(prefers-color-scheme:dark){text{fill:#ebe7dd}.soft{fill:#a49e92}"
        ".line{stroke:#37363a}.ring{stroke:#ebe7dd}.dot{fill:#ff8a6b}}</style>"
    )
    yield "<title>nDCG@10 with float embeddings and with codes of 4, 2 and 1 bits</title>"
    at = LEFT
    for name in COLUMNS[1:]:
        yield dot(name, at + 9, 20)
        yield f'<text x="{at + 24}" y="25">{name}</text>'
        at += 110
    yield f'<text class="soft" x="{WIDTH - RIGHT}" y="25" text-anchor="end">nDCG@10</text>'
    bottom = TOP + ROW * len(rows) - 8
    for tenth in range(0, 11, 2):
        at = x(tenth / 10)
        yield f'<path class="line" d="M{at:.1f} {TOP - 14}V{bottom}"/>'
        yield (
            f'<text class="soft" x="{at:.1f}" y="{bottom + 20}" '
            f'text-anchor="middle">{tenth / 10:.1f}</text>'
        )
    for i, (name, score) in enumerate(rows):
        y = TOP + ROW * i + 4
        yield f'<text x="{LEFT - 14}" y="{y + 5}" text-anchor="end">{escape(name)}</text>'
        for column in COLUMNS[1:]:
            yield dot(column, x(score[column]), y)
    yield "</svg>"


def dot(column, x, y):
    kind = "ring" if column == "float" else "dot"
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y}" r="{RADIUS[column]}"/>'


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;")


def main():
    rows = read(DOCS / "eval.tsv")
    text = "\n".join(picture(rows)) + "\n"
    (DOCS / "eval.svg").write_text(text, encoding="utf-8")
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
