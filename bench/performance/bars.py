"""What was asked of the figures, beside what was seen."""

from halftone import WAYS

LEVELS = {"amx": "AMX", "avx512": "AVX-512", "avx2": "AVX2"}
CLIENTS = ("32 clients", "128 clients")
# (way, level, rival, clients, at least so many times its queries a second of processor time)
AHEAD = (
    ("Halftone", "amx", "Redis", "32 clients", 1.3),
    ("Halftone", "amx", "Redis", "128 clients", 1.8),
    *(("Halftone progressive", "avx512", rival, clients, least)
      for rival, least in (("Redis", 1.2), ("pgvector", 1.5)) for clients in CLIENTS),
    *((way, "avx2", rival, clients, None)
      for way in WAYS for rival in ("Redis", "pgvector") for clients in CLIENTS),
)  # fmt: skip
RECALL_AHEAD, SCAN_MAX, OPEN_MAX, FILTERED_MAX = 0.15, 1.3, 3, 1.2
FASTER = {"50 %": None, "10 %": None, "1 %": 5, "0.1 %": 10}


def verdict(good):
    return "" if good is None else "reached" if good else "missed"


def row(what, where, value, good, form="{:.2f}"):
    if value is None:
        return what, where, "not measured", ""
    return what, where, form.format(value), verdict(good)


def ratio(a, b):
    return a / b if a and b else None


def asked_ahead(way, level, rival, clients, least):
    asked = f"at least {least}" if least else "reported"
    return f"{way}, {LEVELS[level]}: queries/CPU s, of {rival}'s, {clients}: {asked}"


def of_headline(seen):
    measured = set(ours_of(seen))
    for rows in seen.rows():
        where = f"{rows:,} documents"
        for way in WAYS:
            ours = seen.value(way, rows, "recall", "recall@10")
            theirs = seen.value("Redis", rows, "recall", "recall@10")
            ahead = ours - theirs if ours and theirs else None
            yield row(f"{way}, 2 bits: recall@10 above Redis BIN: at least {RECALL_AHEAD}",
                      where, ahead, ahead and ahead >= RECALL_AHEAD, "{:+.3f}")  # fmt: skip
        for way, level, rival, clients, least in AHEAD:
            name = f"{way}, {level}"
            times = ratio(seen.value(name, rows, clients, "queries/CPU s"),
                          seen.value(rival, rows, clients, "queries/CPU s"))  # fmt: skip
            if name in measured:
                yield row(asked_ahead(way, level, rival, clients, least), where, times,
                          least and times and times >= least)  # fmt: skip
        for name in ours_of(seen):
            times = ratio(seen.value(name, rows, "scan", "p50 ms"),
                          seen.value(name, rows, "scan", "scan p50 ms"))  # fmt: skip
            yield row(f"{name}, one client: p50 of its scan alone: at most {SCAN_MAX}",
                      where, times, times and times <= SCAN_MAX)  # fmt: skip


def ours_of(seen):
    """Those that were measured here."""
    systems = {system for system, *_ in seen.values}
    names = (f"{way}, {level}" for level in LEVELS for way in WAYS)
    return [name for name in names if name in systems]


def of_open_loop(seen):
    for rows in seen.rows():
        for name in ours_of(seen):
            times = ratio(seen.value(name, rows, "70 % of peak", "p99 ms"),
                          seen.value(name, rows, "idle", "p50 ms"))  # fmt: skip
            yield row(f"{name}: p99 at 70 % of peak, of the idle p50: at most {OPEN_MAX}",
                      f"{rows:,} documents", times, times and times <= OPEN_MAX)  # fmt: skip


def of_filters(seen):
    for rows in seen.rows():
        for name in ours_of(seen):
            where = f"{rows:,} documents"
            whole = seen.value(name, rows, "unfiltered, 1 clients", "p50 ms")
            for share, least in FASTER.items():
                some = seen.value(name, rows, f"{share}, 1 clients", "p50 ms")
                faster, slower = ratio(whole, some), ratio(some, whole)
                if least:
                    yield row(f"{name}, filter that leaves {share}: at least {least} times "
                              "as fast", where, faster, faster and faster >= least)  # fmt: skip
                else:
                    yield row(f"{name}, filter that leaves {share}: time of unfiltered: at "
                              f"most {FILTERED_MAX}", where, slower,
                              slower and slower <= FILTERED_MAX)  # fmt: skip


KINDS = (("headline", of_headline), ("open loop", of_open_loop), ("filters", of_filters))


def bars(benches):
    """Rows of a table, of what these benches were asked for."""
    measured = {name for seen in benches.values() for name in ours_of(seen)}
    for start, rows_of in KINDS:
        found = {bench: seen for bench, seen in benches.items() if bench.startswith(start)}
        for bench, seen in found.items():
            of = bench.removeprefix(start)  # whose vectors, where it says so
            yield from ((what, where + of, *rest) for what, where, *rest in rows_of(seen))
        if not found:
            yield f"{start}: all", "", "not measured", ""
    for bar in AHEAD:
        way, level, *_ = bar
        if f"{way}, {level}" not in measured:
            why = f": no {LEVELS[level]} here" * bool(
                measured
            )  # benches take all there are
            yield asked_ahead(*bar), "", "not measured" + why, ""
