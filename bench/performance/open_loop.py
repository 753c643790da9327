"""Latency at a rate that does not wait for answers: vegeta at 70 % of the peak.

    open_loop.py        on the store of headline.sh (FOLDER); TURNS, SECONDS_EACH

The peak is what 128 clients that wait for their answers get; "idle" is one request in
the time of twenty.
"""

import base64
import itertools
import json
import os
import subprocess
from pathlib import Path

import numpy as np

from figures import Figures, number
from halftone import WAYS, Halftone, levels, place

VEGETA = Path("build/peers/vegeta")
CLIENTS, SHARES = 128, {"idle": 0.05, "70 % of peak": 0.7}


def targets(bodies, url):
    for body in bodies.read_bytes().splitlines():
        yield json.dumps({
            "method": "POST", "url": url, "body": base64.b64encode(body).decode(),
            "header": {"Content-Type": ["application/json"]},
        })  # fmt: skip


def attack(file, rate, seconds, log):
    """The report of so many requests a second."""
    command = [VEGETA, "-cpus", "1", "attack", "-format", "json", "-targets", file,
               "-rate", f"{max(1, round(60 * rate))}/1m", "-duration", f"{seconds}s",
               "-timeout", "60s"]  # fmt: skip
    results = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, check=True).stdout
    command = [VEGETA, "report", "-type", "json"]
    return json.loads(subprocess.run(
        command, input=results, stdout=subprocess.PIPE, check=True).stdout)  # fmt: skip


def measure(server, name, folder, figures):
    seconds, file = number("SECONDS_EACH", 20), folder / "targets"
    rows = server.count()
    file.write_text("\n".join(targets(folder / "bodies", server.points + "/query")))
    for turn in range(1, number("TURNS", 3) + 1):
        requests, took_s, *_ = server.run(folder / "bodies", CLIENTS, seconds)
        peak = requests / took_s
        figures.add(name, rows, "peak", turn, **{"queries/s": peak})
        for case, share in SHARES.items():
            with open(folder / "vegeta.log", "wb") as log:
                report = attack(file, share * peak, seconds, log)
            ms = {part: report["latencies"][part] / 1e6 for part in ("50th", "99th")}
            figures.add(name, rows, case, turn, **{
                "queries/s": report["rate"], "p50 ms": ms["50th"], "p99 ms": ms["99th"],
                "answered": report["success"],
            })  # fmt: skip


def main():
    folder = Path(os.environ.get("FOLDER") or "build/headline").resolve()
    figures = Figures("open loop")
    queries = np.load(folder / "queries.npy")
    for simd, way in itertools.product(levels(), WAYS):
        with Halftone(place(folder, way), simd) as server:
            server.learn(queries)
            measure(server, f"{way}, {simd}", folder, figures)


if __name__ == "__main__":
    main()
