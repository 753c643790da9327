"""docs/performance.md and its pictures, from docs/performance.tsv.

    page.py         writes what stands between the lines BEGIN and END, and performance-*.svg
    page.py bars    prints what was asked beside what was seen on this machine

Every figure is the median of its turns; what was measured several times at other sizes
stands at each of them.
"""

import sys
from collections import defaultdict
from statistics import median

import figures
from bars import bars
from picture import picture

BEGIN, END = "<!-- tables of bench/performance/page.py -->", "<!-- end of the tables -->"
DOCS = figures.ROOT / "docs"
CLIENTS = (1, 32, 128)


class Seen:
    """What was measured of one bench on one machine."""

    def __init__(self, lines):
        self.lines = lines
        self.values = defaultdict(list)
        for line in lines:
            key = (line["system"], int(line["rows"]), line["case"], line["figure"])
            self.values[key].append(line["value"])

    def value(self, system, rows, case, figure):
        """The median; None where there is none."""
        values = self.values.get((system, rows, case, figure))
        return median(map(float, values)) if values else None

    def text(self, system, rows, figure):
        """Of the case `recall`, whatever it is."""
        return self.values.get((system, rows, "recall", figure), [""])[-1]

    def rows(self):
        return sorted({rows for _, rows, _, _ in self.values})

    def systems(self, rows, case, figure):
        """Ours last."""
        names = [s for s, r, c, f in self.values if (r, c, f) == (rows, case, figure)]
        return sorted(names, key=lambda name: (name.startswith("Halftone"), name))

    def cases(self, figure):
        return list(dict.fromkeys(c for _, _, c, f in self.values if f == figure))

    def made_by(self):
        """When and how."""
        parts = {}
        for part in ("commit", "date"):
            parts[part] = ", ".join(dict.fromkeys(line[part] for line in self.lines))
        loads = [float(line["load"]) for line in self.lines]
        return (
            f"Commit {parts['commit']}, {parts['date']}; load of the machine "
            f"{min(loads):g} to {max(loads):g} (the bench's own included)."
        )


def shown(value):
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(head, rows):
    yield "| " + " | ".join(head) + " |"
    yield "|---|" + "---|" * (len(head) - 1)
    for row in rows:
        yield "| " + " | ".join(x if isinstance(x, str) else shown(x) for x in row) + " |"


def drawn(name, *what, **more):
    file = f"performance-{name}.svg"
    (DOCS / file).write_text("\n".join(picture(*what, **more)) + "\n", encoding="utf-8")
    yield f"\n![{what[0]}]({file})"


def headline(seen, slug):
    for rows in seen.rows():
        systems = seen.systems(rows, "32 clients", "queries/CPU s")
        if not systems:
            continue
        lines, waits, series = [], [], {}
        for name in systems:
            plain, line = name.split(",")[0], [name]
            for n in CLIENTS:
                for figure in ("queries/s", "p50 ms", "p99 ms"):
                    line.append(seen.value(name, rows, f"{n} clients", figure))
            waits.append(line)
            each = [
                seen.value(name, rows, f"{n} clients", "queries/CPU s") for n in CLIENTS
            ]
            recall = seen.value(plain, rows, "recall", "recall@10")
            taken = seen.value(name, rows, "memory", "bytes a row")
            lines.append([named(seen, plain, name, rows), recall, taken, *each])
            series[name] = [point for point in zip(CLIENTS, each, strict=True) if point[1]]
        head = [f"queries/CPU s, {n} client{'s' * (n > 1)}" for n in CLIENTS]
        yield f"\n{rows:,} documents. {imports(seen, rows)}\n"
        yield from table(["server", "recall@10", "bytes a document", *head], lines)
        yield ""
        head = [
            f"{figure}, {n}"
            for n in CLIENTS
            for figure in ("queries/s", "p50 ms", "p99 ms")
        ]
        yield from table(["on the wall", *head], waits)
        yield from drawn(
            f"{slug}-{rows}", f"Queries a second of processor time, {rows:,} documents",
            "clients", series, ours_of(series), x_marks=CLIENTS,
        )  # fmt: skip


def ours_of(series):
    return {name for name in series if name.startswith("Halftone")}


def named(seen, plain, name, rows):
    """With what its recall was reached by."""
    version, ef = seen.text(plain, rows, "version"), seen.text(plain, rows, "EF")
    own = seen.value(plain, rows, "recall", "recall@10 of its exact")
    text = f"{name} {version}".strip() + (f", EF {ef}" if ef else "")
    return text + (f" ({own:.3f} of its own exact)" if own else "")


def imports(seen, rows):
    """Redis's comes in parts."""
    taken = defaultdict(lambda: defaultdict(float))
    for (system, n, case, figure), values in seen.values.items():
        if n == rows and case.startswith("import"):
            taken[system][figure] += median(map(float, values))
    each = (
        f"{system} {shown(of['CPU s'])} ({shown(of['s'])})" for system, of in taken.items()
    )
    return f"Import, index included, CPU s (seconds on the wall): {', '.join(each)}."


def open_loop(seen, _):
    cases = ("idle", "70 % of peak")
    head = ["server", "documents", "peak queries/s"]
    for case in cases:
        head += [f"{case}: queries/s", "p50 ms", "p99 ms", "answered"]
    lines = []
    for rows in seen.rows():
        for name in seen.systems(rows, "peak", "queries/s"):
            line = [name, f"{rows:,}", seen.value(name, rows, "peak", "queries/s")]
            for case in cases:
                for figure in ("queries/s", "p50 ms", "p99 ms", "answered"):
                    line.append(seen.value(name, rows, case, figure))
            lines.append(line)
    yield from table(head, lines)


GROWTH = (
    ("1 clients", "p50 ms", "a query, p50 ms"),
    ("1 clients", "scan p50 ms", "its scan, ms"),
    ("32 clients", "queries/CPU s", "queries/CPU s, 32 clients"),
    ("memory", "RssAnon MB", "RssAnon MB"),
    ("memory", "page cache of the map MB", "page cache MB"),
    ("memory", "disk MB", "disk MB"),
    ("restart", "s", "restart s"),
    ("restart", "cold s", "from a cold disk s"),
)


def growth(seen, slug):
    name = "Halftone"
    sizes = [rows for rows in seen.rows() if seen.value(name, rows, "restart", "s")]
    series = defaultdict(list)
    lines = []
    for rows in sizes:
        steps = [seen.value(name, n, "import", "s") for n in seen.rows() if n <= rows]
        import_s = sum(s for s in steps if s)
        series["import, s"].append((rows, import_s))
        line = [f"{rows:,}", import_s]
        for case, figure, title in GROWTH:
            value = seen.value(name, rows, case, figure)
            line.append(value)
            if value and figure != "queries/CPU s":
                series[title].append((rows, value))
        lines.append(line)
    yield from table(["documents", "import s", *(title for *_, title in GROWTH)], lines)
    for part, wanted in (("seconds", " s"), ("query", " ms"), ("megabytes", " MB")):
        some = {title: points for title, points in series.items() if title.endswith(wanted)}
        if some:
            yield from drawn(f"{slug}-{part}", f"Growth: {', '.join(some)}", "documents",
                             some, set(some), x_marks=sizes)  # fmt: skip


def filters(seen, slug):
    for rows in seen.rows():
        cases = seen.cases("scan p50 ms")
        for name in seen.systems(rows, cases[0], "scan p50 ms") if cases else []:
            yield f"\n{name}, {rows:,} documents:\n"
            lines, series = [], defaultdict(list)
            for case in (c.removesuffix(", scan") for c in cases):
                share = 100 if case == "unfiltered" else float(case.split()[0])
                p50 = seen.value(name, rows, f"{case}, 1 clients", "p50 ms")
                scan = seen.value(name, rows, f"{case}, scan", "scan p50 ms")
                lines.append([
                    case, p50, scan,
                    seen.value(name, rows, f"{case}, 32 clients", "queries/CPU s"),
                ])  # fmt: skip
                series["p50, over HTTP"] += [(share, p50)] if p50 else []
                series["the scan in it"] += [(share, scan)] if scan else []
            yield from table(["filter leaves", "p50 ms, 1 client", "scan ms, 1 client",
                              "queries/CPU s, 32 clients"], lines)  # fmt: skip
            yield from drawn(f"{slug}-{rows}-{name.split()[-1]}", "Milliseconds a query",
                             "% of the documents that a filter leaves", series,
                             set(series))  # fmt: skip


def graphs(seen, _):
    for rows in seen.rows():
        lines = []
        for name in seen.systems(rows, "search", "queries/CPU s"):
            plain = name.split(",")[0] if name.startswith("Halftone") else name
            lines.append([
                named(seen, plain, name, rows),
                seen.value(plain, rows, "recall", "recall@10"),
                seen.value(plain, rows, "build", "CPU s"),
                seen.value(plain, rows, "build", "bytes a row"),
                seen.value(name, rows, "search", "queries/CPU s"),
            ])  # fmt: skip
        yield f"\n{rows:,} documents:\n"
        yield from table(
            ["index", "recall@10", "build, CPU s", "bytes a document", "queries/CPU s"],
            lines,
        )


SECTIONS = (
    ("headline", "Beside Redis and pgvector", headline),
    ("graphs", "Beside graphs in process", graphs),
    ("open loop", "At a rate", open_loop),
    ("growth", "Growth", growth),
    ("filters", "Filters", filters),
)


def by_machine(lines):
    """{machine: {bench: Seen}}"""
    out = defaultdict(lambda: defaultdict(list))
    for line in lines:
        out[line["machine"]][line["bench"]].append(line)
    return {machine: {bench: Seen(some) for bench, some in benches.items()}
            for machine, benches in out.items()}  # fmt: skip


def asked_and_seen(benches):
    yield from table(("asked", "on", "seen", ""), bars(benches))


def page(lines):
    for old in DOCS.glob("performance-*.svg"):
        old.unlink()
    for number, (machine, benches) in enumerate(by_machine(lines).items()):
        yield f"\n## Measured on: {machine}\n"
        yield from asked_and_seen(benches)
        for start, title, section in SECTIONS:
            for bench, seen in benches.items():
                if not bench.startswith(start):
                    continue
                vectors = bench.removeprefix(start).lstrip(", ")
                yield f"\n### {title}{f': {vectors}' * bool(vectors)}\n"
                yield seen.made_by() + "\n"
                slug = "-".join([bench, *([str(number)] * bool(number))])
                yield from section(seen, slug.replace(",", "").replace(" ", "-"))


def kernels():
    """As `make bench` printed it."""
    path = DOCS / "performance-kernels.txt"
    if path.exists():
        yield "\n## Kernels, in process\n\n```"
        yield path.read_text(encoding="utf-8").rstrip()
        yield "```"


def main():
    if sys.argv[1:] == ["bars"]:
        here = by_machine(figures.read()).get(figures.machine(), {})
        print("\n".join(asked_and_seen(here)))
        return
    path = DOCS / "performance.md"
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN + "\n")
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"expected the lines {BEGIN} and {END} in {path}")
    tables = "\n".join([*page(figures.read()), *kernels()])
    path.write_text(f"{before}{begin}{tables}\n\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
