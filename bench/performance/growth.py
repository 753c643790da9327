"""How time and memory grow with a collection: .1, 1, 10 and 30 million documents.

growth.py       exit 3 where MINUTES were over: run it again to go on
"""

import os
import sys
import time
from pathlib import Path

from codes import grow, write_bodies
from figures import Figures, number
from halftone import Halftone
from process import measured

MILLION = 1_000_000
NAME = "Halftone"


def steps_to(rows):
    first = [rows_here for rows_here in (MILLION // 10,) if rows_here < rows]
    return [*first, *range(MILLION, rows, MILLION), rows]


def start_cold(folder):
    """Seconds to ready with nothing of the store in memory."""
    for file in (folder / "data").glob("*.mdb"):
        with open(file, "rb") as f:
            os.fsync(f.fileno())
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with Halftone(folder) as server:
        return server.ready_s


def measure(folder, rows, figures):
    """On a store of so many rows."""
    seconds, bodies = number("SECONDS_EACH", 10), write_bodies(folder / "bodies")
    figures.add(NAME, rows, "restart", 1, **{"cold s": start_cold(folder)})
    with Halftone(folder) as server:
        disk = sum(f.stat().st_blocks * 512 for f in (folder / "data").glob("*.mdb"))
        figures.add(NAME, rows, "restart", 1, **{"s": server.ready_s})
        for turn in range(1, number("TURNS", 3) + 1):
            *_, p50_ms, p99_ms, _, scan_ms = server.run(bodies, 1, seconds, scan=True)
            figures.add(NAME, rows, "1 clients", turn, **{
                "p50 ms": p50_ms, "p99 ms": p99_ms, "scan p50 ms": scan_ms,
            })  # fmt: skip
            values = measured(server.process, lambda: server.run(bodies, 32, seconds))
            figures.add(NAME, rows, "32 clients", turn, **values)
        figures.add(NAME, rows, "memory", 1, **{
            "RssAnon MB": server.process.memory("RssAnon") / 1e6,
            "page cache of the map MB": server.process.memory("RssFile") / 1e6,
            "disk MB": disk / 1e6,
        })  # fmt: skip


def main():
    folder = Path(os.environ.get("FOLDER") or "build/growth").resolve()
    until = time.monotonic() + 60 * number("MINUTES", 25)
    figures = Figures("growth")
    for size in map(
        int, (os.environ.get("SIZES") or "100000 1000000 10000000 30000000").split()
    ):
        if (folder / f"{size}.done").exists():
            continue
        with Halftone(folder) as server:
            for rows, wall_s, cpu_s in grow(server, steps_to(size), until):
                figures.add(NAME, rows, "import", 1, **{"s": wall_s, "CPU s": cpu_s})
            there = server.count()
        if there < size or time.monotonic() > until:
            print(f"{there} of {size} rows so far: run this again to go on")
            return 3
        measure(folder, size, figures)
        (folder / f"{size}.done").touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
