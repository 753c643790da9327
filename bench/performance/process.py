"""Server processes, seen from outside: how they start and stop, what they take."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def stat(pid):
    """(parent, ticks of it and of its children that have ended); None where it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return int(fields[1]), sum(map(int, fields[11:15]))


def cpu_ticks(pid):
    """Of a process with all its threads, and of its children (the kernel's own list of
    them, /proc/PID/task/*/children, leaves some out while they come and go)."""
    all_of = [stat(int(path.name)) for path in Path("/proc").glob("[0-9]*")]
    children = sum(ticks for parent, ticks in filter(None, all_of) if parent == pid)
    return stat(pid)[1] + children


def status_bytes(pid, part):
    """RssAnon, RssFile or RssShmem."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith(part + ":"))
    return int(line.split()[1]) * 1024


class Process:
    """A program whose output goes to a file; it is stopped where a `with` ends, and when
    this process is."""

    def __init__(self, command, log, **options):
        self.log = log
        with open(log, "ab") as out:
            command = ["setpriv", "--pdeathsig", "TERM", *command]
            self.popen = subprocess.Popen(command, stdout=out, stderr=out, **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def wait_until(self, ready, seconds=900):
        """Poll; how many seconds it took."""
        start = time.monotonic()
        while not ready():
            if self.popen.poll() is not None or time.monotonic() - start > seconds:
                self.stop()
                raise SystemExit(f"the server did not start; {self.log} says why")
            time.sleep(0.01)
        return time.monotonic() - start

    def cpu_s(self):
        return cpu_ticks(self.popen.pid) / TICKS

    def memory(self, part):
        return status_bytes(self.popen.pid, part)

    def stop(self, how=signal.SIGTERM):
        if self.popen.poll() is None:
            self.popen.send_signal(how)
        self.popen.wait()


def measured(process, load):
    """What load() -> (requests, seconds, p50_ms, p99_ms, errors[, cpu_s]) took of a
    server; cpu_s where it knows better than by the clock before and after."""
    before = process.cpu_s()
    requests, seconds, p50_ms, p99_ms, errors, *cpu_s = load()
    cpu_s = cpu_s[0] if cpu_s else process.cpu_s() - before
    if requests == 0 or errors > 0:
        raise SystemExit(f"{requests:.0f} answers, {errors:.0f} errors; {process.log}")
    return {
        "queries/CPU s": requests / max(cpu_s, 1 / TICKS),
        "queries/s": requests / seconds,
        "p50 ms": p50_ms,
        "p99 ms": p99_ms,
    }
