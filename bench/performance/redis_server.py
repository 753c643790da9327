"""Redis 8 with a vector set: signs of the vectors in a graph (BIN, M = 16)."""

import os
import socket
import subprocess
import time
from pathlib import Path

from process import Process, free_port

PEERS = Path("build/peers")
KEY = b"bench"
PIPELINE = 32
SAVE_EVERY = 50_000


class Redis:
    @staticmethod
    def available():
        return (PEERS / "redis-server").exists()

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.process = Process(
            [PEERS / "redis-server", "--port", str(self.port), "--bind", "127.0.0.1",
             "--dir", folder, "--save", "", "--daemonize", "no"],
            folder / "log",
        )  # fmt: skip
        self.socket = self.file = None
        self.process.wait_until(self.is_ready)
        self.version = self.info("redis_version")
        # That of the build, which decides how good the graph is; Redis's default.
        self.ef_build = os.environ.get("REDIS_EF_BUILD", "200")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stop()

    def is_ready(self):
        try:
            self.socket = socket.create_connection(("127.0.0.1", self.port))
        except OSError:
            return False
        self.file = self.socket.makefile("rb")
        self.send(b"PING")
        return self.reply(may_fail=True) == b"PONG"  # not while it reads its file

    def send(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        lines = [b"*%d" % len(words), *(b"$%d\r\n%b" % (len(w), w) for w in words), b""]
        self.socket.sendall(b"\r\n".join(lines))

    def reply(self, may_fail=False):
        line = self.file.readline()[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        if kind == b"$":
            return self.file.read(int(rest) + 2)[:-2] if rest != b"-1" else None
        if kind == b"-" and not may_fail:
            raise SystemExit(f"Redis: {rest.decode()}")
        return int(rest) if kind == b":" else rest

    def ask(self, *words):
        self.send(*words)
        return self.reply()

    def info(self, name):
        lines = self.ask(b"INFO").decode().splitlines()
        return next(line.split(":", 1)[1] for line in lines if line.startswith(name + ":"))

    def count(self):
        return self.ask(b"VCARD", KEY)

    def load(self, documents, until):
        """Add what is not there yet, until that time; whether all are."""
        first = self.count()
        while first < len(documents) and time.monotonic() < until:
            end = min(first + SAVE_EVERY, len(documents))
            for start in range(first, end, PIPELINE):
                self.add(documents, start, min(start + PIPELINE, end))
            first = end
            self.ask(b"SAVE")
        return first == len(documents)

    def add(self, documents, start, end):
        for row in range(start, end):
            self.send(b"VADD", KEY, b"FP32", documents[row].tobytes(), row,
                      b"BIN", b"EF", self.ef_build, b"M", 16)  # fmt: skip
        for _ in range(start, end):
            self.reply()

    def find(self, vector, ef):
        found = self.ask(b"VSIM", KEY, b"FP32", vector.tobytes(), b"COUNT", 10, b"EF", ef)
        return list(map(int, found))

    def run(self, queries, dims, ef, clients, seconds):
        out = subprocess.run(
            [PEERS / "redis_load", *map(str, (self.port, KEY.decode(), queries, dims,
                                              ef, clients, seconds))],
            stdout=subprocess.PIPE, text=True, check=True,
        ).stdout  # fmt: skip
        return list(map(float, out.split()))
