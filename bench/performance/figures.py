"""What benches measured: docs/performance.tsv, a figure a line.

A line is written as soon as it is known, and stands for the one of the same machine and
KEY that was there before; so benches may be run in parts, in any order, again. FIGURES
names another file.
"""

import os
import subprocess
import time
from pathlib import Path

KEY = ("machine", "bench", "system", "rows", "case", "figure", "turn")
COLUMNS = (*KEY, "value", "commit", "load", "date")
ROOT = Path(__file__).resolve().parent.parent.parent
PATH = Path(os.environ.get("FIGURES") or ROOT / "docs" / "performance.tsv")


def number(name, default):
    """Of the environment."""
    return int(os.environ.get(name) or default)


def machine():
    lines = Path("/proc/cpuinfo").read_text(encoding="ascii").splitlines()
    names = [
        line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
    ]
    return f"{names[0] if names else os.uname().machine}, {os.cpu_count()} processors"


def commit():
    git = ["git", "-C", ROOT]
    name = subprocess.run(
        [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    )
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", ":!docs"], check=False)
    return (name.stdout.strip() or "unknown") + "+" * (changed.returncode == 1)


def read():
    """Lines as dictionaries of strings; none where there is no file."""
    if not PATH.exists():
        return []
    head, *lines = PATH.read_text(encoding="utf-8").splitlines()
    if tuple(head.split("\t")) != COLUMNS:
        raise SystemExit(f"{PATH}: expected a first line with {COLUMNS}, tabs between")
    return [dict(zip(COLUMNS, line.split("\t"), strict=True)) for line in lines]


class Figures:
    def __init__(self, bench):
        self.same = {"machine": machine(), "bench": bench, "commit": commit()}

    def add(self, system, rows, case, turn, **values):
        """Keep and print figures that were measured at once; their names say the unit."""
        lines = {tuple(line[part] for part in KEY): line for line in read()}
        for name, value in values.items():
            line = {
                **self.same,
                "system": system,
                "rows": str(rows),
                "case": str(case),
                "figure": name,
                "turn": str(turn),
                "value": value if isinstance(value, str) else f"{value:.6g}",
                "load": f"{os.getloadavg()[0]:.1f}",
                "date": time.strftime("%Y-%m-%d", time.gmtime()),
            }
            lines[tuple(line[part] for part in KEY)] = line
            print(f"{system}, {rows} rows, {case}: {name} {line['value']}", flush=True)
        text = "".join(
            "\t".join(line[c] for c in COLUMNS) + "\n" for line in lines.values()
        )
        part = PATH.with_suffix(".part")
        part.write_text("\t".join(COLUMNS) + "\n" + text, encoding="utf-8")
        part.replace(PATH)
