"""What filters make of a search: a number below a limit that leaves 50, 10, 1 and .1 % of
a million points, beside the same search unfiltered, over the network.

    filters.py       exit 3 where MINUTES were over: run it again to go on

`scan p50 ms` is the server's own time for the scan, so without the network and without
finding out which points are left; make bench (bench_filter) measures that alone.
"""

import json
import os
import random
import sys
import time
from functools import partial
from pathlib import Path

from codes import grow, write_bodies
from figures import Figures, number
from halftone import Halftone, levels
from process import measured

SHARES = {"50 %": 0.5, "10 %": 0.1, "1 %": 0.01, "0.1 %": 0.001}
CLIENTS = (1, 32)
STEP = 100_000
# A power of three has no factor with a power of ten: every number once, in no order.
FACTOR = 387_420_489


def cases(folder, rows):
    """{name: bodies}."""
    out = {"unfiltered": write_bodies(folder / "bodies")}
    for name, share in SHARES.items():
        must = {"must": [{"key": "n", "range": {"lt": round(share * rows)}}]}
        out[name] = write_bodies(folder / f"bodies {name}", filter=must)
    return out


def check(server, bodies, rows):
    """Whether the hits are what the filters leave."""
    for name, share in SHARES.items():
        body = json.loads(bodies[name].read_text(encoding="ascii").splitlines()[0])
        body["with_payload"] = True
        points = server.ask("POST", "/points/query", json.dumps(body))["result"]["points"]
        numbers = [point["payload"]["n"] for point in points]
        if len(numbers) < min(10, share * rows) or max(numbers) >= share * rows:
            raise SystemExit(
                f"{name}: expected numbers below {share * rows:.0f}, not {numbers}"
            )


def measure(server, system, bodies, rows, figures):
    seconds, rng = number("SECONDS_EACH", 10), random.Random(1)
    for turn in range(1, number("TURNS", 3) + 1):
        for clients in CLIENTS:
            for name in rng.sample(list(bodies), len(bodies)):
                load = partial(server.run, bodies[name], clients, seconds)
                values = measured(server.process, load)
                figures.add(system, rows, f"{name}, {clients} clients", turn, **values)
        for name, some in bodies.items():
            *_, scan_ms = server.run(some, 1, min(5, seconds), scan=True)
            figures.add(system, rows, f"{name}, scan", turn, **{"scan p50 ms": scan_ms})


def main():
    rows = number("ROWS", 1_000_000)
    folder = Path(os.environ.get("FOLDER") or "build/filters").resolve()
    until = time.monotonic() + 60 * number("MINUTES", 25)
    figures = Figures("filters")
    with Halftone(folder) as server:
        steps = [*range(STEP, rows, STEP), rows]
        for _ in grow(server, steps, until, lambda row: f',"n":{row * FACTOR % rows}'):
            pass
        if server.count() < rows:
            print(f"{server.count()} of {rows} rows so far: run this again to go on")
            return 3
        if not (folder / "indexed").exists():
            field = json.dumps({"field_name": "n", "field_schema": "integer"})
            server.ask("PUT", "/index?wait=true", field)
            (folder / "indexed").touch()
    bodies = cases(folder, rows)
    for simd in levels():
        with Halftone(folder, simd) as server:
            check(server, bodies, rows)
            measure(server, f"Halftone, {simd}", bodies, rows, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
