"""Our server as benches drive it: import, search, and load by wrk."""

import base64
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from process import Process, free_port

PROGRAMS = Path(os.environ.get("HALFTONE_BUILD") or "build")
LUA = Path(__file__).with_name("post.lua")


# How a collection is searched: what `halftone import` is told when it makes it.
WAYS = {"Halftone": (), "Halftone progressive": ("--progressive",)}
LEARNING = 100  # searches after which a progressive collection knows its margins


def place(folder, way):
    """Of its store."""
    return folder / way.lower().replace(" ", "-")


def levels():
    """Instruction sets to compare: those of which this processor has all."""
    flags = Path("/proc/cpuinfo").read_text(encoding="ascii").split()
    wanted = [("amx", "amx_int8"), ("avx512", "avx512_vpopcntdq"), ("avx2", "avx2")]
    return [name for name, flag in wanted if flag in flags] or ["scalar"]


def query_body(vector, **more):
    blob = base64.b64encode(vector.astype("<f4").tobytes()).decode()
    vector = {"object": {"b64": blob}, "model": "float32"}
    return json.dumps({"query": vector, "limit": 10, **more})


class Halftone:
    COLLECTION = "bench"

    def __init__(self, folder, simd=None):
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.points = f"{self.url}/collections/{self.COLLECTION}/points"
        folder.mkdir(parents=True, exist_ok=True)
        command = [PROGRAMS / "halftone-server", "--data", folder / "data"]
        environment = {**os.environ, **({"SIMD": simd} if simd else {})}
        self.process = Process(
            [*command, "--listen", f"127.0.0.1:{self.port}"],
            folder / "log",
            env=environment,
        )
        self.ready_s = self.process.wait_until(self.is_ready)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stop()

    def is_ready(self):
        try:
            with urllib.request.urlopen(self.url + "/readyz") as answer:
                return answer.status == 200
        except OSError:
            return False

    def ask(self, method, path, body=None):
        """The result of a request to the collection."""
        request = urllib.request.Request(
            f"{self.url}/collections/{self.COLLECTION}{path}",
            data=None if body is None else body.encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as e:
            raise SystemExit(f"{method} {path}: {e.code} {e.read().decode()}") from None

    def count(self):
        exists = self.ask("GET", "/exists")["result"]["exists"]
        return self.ask("GET", "")["result"]["points_count"] if exists else 0

    def load(self, *arguments, lines=()):
        """halftone import, of lines as its input: (seconds on the wall, of the server's
        processor)."""
        command = [PROGRAMS / "halftone", "import", "--url", self.url]
        command += ["--collection", self.COLLECTION, *map(str, arguments)]
        before, start = self.process.cpu_s(), time.monotonic()
        with Process(command, self.folder / "log", stdin=subprocess.PIPE) as program:
            with program.popen.stdin as out:
                for some in lines:
                    out.write(some)
            if program.popen.wait() != 0:
                raise SystemExit(f"halftone import failed; {program.log} says why")
        return time.monotonic() - start, self.process.cpu_s() - before

    def find(self, vector):
        answer = self.ask("POST", "/points/query", query_body(vector))
        return [point["id"] for point in answer["result"]["points"]]

    def learn(self, queries):
        for query in queries[:LEARNING]:
            self.find(query)

    def run(self, bodies, clients, seconds, scan=False):
        """wrk's (requests, seconds, p50 ms, p99 ms, errors); the scan's p50 ms behind
        them where asked for, which costs wrk some time of its own."""
        environment = {
            **os.environ,
            "BODIES": str(bodies),
            **({"SCAN": "1"} if scan else {}),
        }
        command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "60s"]
        command += ["-s", LUA, self.points + "/query"]
        out = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        figures = list(map(float, out.splitlines()[-1].split()))
        return figures if scan else figures[:5]
