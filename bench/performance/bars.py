"""What was asked of the figures, beside what was seen."""

LEVELS = {"amx": "AMX", "avx512": "AVX-512", "avx2": "AVX2"}
CLIENTS = ("32 clients", "128 clients")
# (level, rival, clients, at least so many times its queries a second of processor time)
AHEAD = (
    ("amx", "Redis", "32 clients", 1.3),
    ("amx", "Redis", "128 clients", 1.8),
    *(("avx512", "Redis", clients, 1.2) for clients in CLIENTS),
    *(("avx512", "pgvector", clients, 1.5) for clients in CLIENTS),
    *(
        ("avx2", rival, clients, None)
        for rival in ("Redis", "pgvector")
        for clients in CLIENTS
    ),
)
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


def of_headline(seen):
    for rows in seen.rows():
        where = f"{rows:,} documents"
        ours = seen.value("Halftone", rows, "recall", "recall@10")
        theirs = seen.value("Redis", rows, "recall", "recall@10")
        ahead = ours - theirs if ours and theirs else None
        yield row(f"recall@10, 2 bits, above Redis BIN: at least {RECALL_AHEAD}", where, ahead,
                  ahead and ahead >= RECALL_AHEAD, "{:+.3f}")  # fmt: skip
        for level, rival, clients, least in AHEAD:
            name = f"Halftone, {level}"
            times = ratio(seen.value(name, rows, clients, "queries/CPU s"),
                          seen.value(rival, rows, clients, "queries/CPU s"))  # fmt: skip
            asked = f"at least {least}" if least else "reported"
            what = f"{LEVELS[level]}: queries/CPU s, of {rival}'s, {clients}: {asked}"
            if level in levels_of(seen):
                yield row(what, where, times, least and times and times >= least)
        for level in levels_of(seen):
            name = f"Halftone, {level}"
            times = ratio(seen.value(name, rows, "scan", "p50 ms"),
                          seen.value(name, rows, "scan", "scan p50 ms"))  # fmt: skip
            yield row(f"one client: p50 of its scan alone: at most {SCAN_MAX}",
                      f"{where}, {LEVELS[level]}", times,
                      times and times <= SCAN_MAX)  # fmt: skip


def levels_of(seen):
    """Those that were measured here."""
    systems = {system for system, *_ in seen.values}
    return [level for level in LEVELS if f"Halftone, {level}" in systems]


def of_open_loop(seen):
    for rows in seen.rows():
        for level in levels_of(seen):
            name = f"Halftone, {level}"
            times = ratio(seen.value(name, rows, "70 % of peak", "p99 ms"),
                          seen.value(name, rows, "idle", "p50 ms"))  # fmt: skip
            yield row(f"p99 at 70 % of peak, of the idle p50: at most {OPEN_MAX}",
                      f"{rows:,} documents, {LEVELS[level]}", times,
                      times and times <= OPEN_MAX)  # fmt: skip


def of_filters(seen):
    for rows in seen.rows():
        for level in levels_of(seen):
            name, where = f"Halftone, {level}", f"{rows:,} documents, {LEVELS[level]}"
            whole = seen.value(name, rows, "unfiltered, 1 clients", "p50 ms")
            for share, least in FASTER.items():
                some = seen.value(name, rows, f"{share}, 1 clients", "p50 ms")
                faster, slower = ratio(whole, some), ratio(some, whole)
                if least:
                    yield row(f"filter that leaves {share}: at least {least} times as fast",
                              where, faster, faster and faster >= least)  # fmt: skip
                else:
                    yield row(f"filter that leaves {share}: time of unfiltered, at most "
                              f"{FILTERED_MAX}", where, slower,
                              slower and slower <= FILTERED_MAX)  # fmt: skip


KINDS = (("headline", of_headline), ("open loop", of_open_loop), ("filters", of_filters))


def bars(benches):
    """Rows of a table, of what these benches were asked for."""
    measured = {level for seen in benches.values() for level in levels_of(seen)}
    for start, rows_of in KINDS:
        found = [seen for bench, seen in benches.items() if bench.startswith(start)]
        for seen in found:
            yield from rows_of(seen)
        if not found:
            yield f"{start}: all", "", "not measured", ""
    for level, name in LEVELS.items():
        if level not in measured:
            for _, rival, clients, least in (bar for bar in AHEAD if bar[0] == level):
                yield (f"{name}: queries/CPU s, of {rival}'s, {clients}: at least {least}", "",
                       f"not measured: no {name} on this machine", "")  # fmt: skip
