"""PostgreSQL with pgvector: signs of the vectors in a graph (bit_hamming_ops, m = 16)."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from process import Process, free_port

PEERS = Path("build/peers").resolve()
WARM_S = 3
SEARCH = (
    "SELECT id FROM documents "
    "ORDER BY code <~> (SELECT code FROM queries WHERE id = {}) LIMIT 10"
)
SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 200
shared_buffers = 2GB
maintenance_work_mem = 3GB
max_parallel_maintenance_workers = {workers}
jit = off
autovacuum = off
client_min_messages = warning
hnsw.ef_search = 64
dynamic_library_path = '$libdir:{peers}'
"""


def bin_folder():
    config = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_config"))
    return max(config, key=lambda p: int(p.parts[-3])).parent


class Pgvector:
    """The server does not run as root: then it is the user `postgres`, and its folder
    lies where that user may go."""

    EF_SEARCH, EF_BUILD = 64, 100

    @staticmethod
    def available():
        return (PEERS / "vector.sql").exists()

    def __init__(self, folder):
        self.bin, self.port = bin_folder(), free_port()
        self.user = {"user": "postgres", "group": "postgres", "extra_groups": []}
        if os.getuid() != 0:
            self.user = {}
        self.owner = self.user.get("user") or pwd.getpwuid(os.getuid()).pw_name
        self.data = folder / "data"
        if not self.data.exists():
            self.make(folder)
        workers = (os.cpu_count() or 2) - 1
        (self.data / "postgresql.auto.conf").write_text(
            SETTINGS.format(port=self.port, workers=workers, peers=PEERS), encoding="utf-8"
        )
        self.process = Process(
            [self.bin / "postgres", "-D", self.data], self.data / "log", **self.user
        )
        self.process.wait_until(self.is_ready)
        self.version = (PEERS / "vector.version").read_text(encoding="ascii").strip()

    def make(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        shutil.rmtree(folder / "new", ignore_errors=True)
        (folder / "new").mkdir()
        if self.user:
            shutil.chown(folder / "new", "postgres", "postgres")
        command = [self.bin / "initdb", "-D", folder / "new", "--auth=trust", "--no-locale"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd="/", **self.user
        )
        if done.returncode != 0:
            raise SystemExit(f"initdb: {done.stderr.strip()}")
        (folder / "new").rename(self.data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stop(signal.SIGINT)

    def is_ready(self):
        ready = [self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, check=False).returncode == 0

    def command(self, name, *arguments):
        place = ["-h", "127.0.0.1", "-p", self.port, "-U", self.owner]
        return [self.bin / name, *map(str, (*place, *arguments)), "postgres"]

    def psql(self, *arguments, **options):
        command = self.command("psql", "-qX", "-v", "ON_ERROR_STOP=1", *arguments)
        return subprocess.run(command, text=True, check=True, **options)

    def sql(self, text):
        """The rows of the last statement, as lists of strings."""
        out = self.psql("-At", "-F", "\t", input=text, stdout=subprocess.PIPE).stdout
        return [line.split("\t") for line in out.splitlines()]

    def has(self, name, kind="class"):
        return self.sql(f"SELECT to_reg{kind}('{name}') IS NOT NULL") == [["t"]]

    def load(self, documents, queries):
        """Whatever is not there yet."""
        if not self.has("halfvec", "type"):
            types = (PEERS / "vector.sql").read_text(encoding="utf-8")
            self.sql(f"BEGIN;\n{types};\nCOMMIT")
        for name, rows in (("queries", queries), ("documents", documents)):
            if not self.has(name):
                self.copy(name, rows)
        if not self.has("graph"):
            # CONCURRENTLY is for tables in use; a plain one is all or nothing.
            self.sql(
                "CREATE INDEX graph ON documents USING hnsw (code bit_hamming_ops) "
                f"WITH (m = 16, ef_construction = {self.EF_BUILD}); ANALYZE"
            )
        plan = self.sql("EXPLAIN " + SEARCH.format(0))
        if not any("graph" in line for row in plan for line in row):
            raise SystemExit(f"PostgreSQL does not use the graph: {plan}")

    def copy(self, name, rows):
        with tempfile.TemporaryFile("w+", encoding="ascii") as lines:
            columns = f"id int PRIMARY KEY, code bit({rows.shape[1]}) NOT NULL"
            lines.write(
                f"BEGIN; CREATE TABLE {name} ({columns});\nCOPY {name} FROM STDIN;\n"
            )
            for i, row in enumerate(rows):
                text = (ord("0") + (row > 0)).astype(np.uint8).tobytes().decode()
                lines.write(f"{i}\t{text}\n")
            lines.write("\\.\nCOMMIT;\n")
            lines.flush()
            lines.seek(0)
            self.psql(stdin=lines)

    def find(self, number):
        return [int(row[0]) for row in self.sql(SEARCH.format(number))]

    def bytes(self):
        """Of the documents' table with its key, and of the graph."""
        return int(self.sql("SELECT pg_total_relation_size('documents')")[0][0])

    def run(self, folder, n_queries, clients, seconds):
        """pgbench; processes and plans are made in seconds that do not count."""
        script = folder / "search.sql"
        script.write_text(
            f"\\set q random(0, {n_queries - 1})\n{SEARCH.format(':q')};\n",
            encoding="ascii",
        )
        for old in folder.glob("pgbench.*"):
            old.unlink()
        arguments = self.command(
            "pgbench", "-n", "-M", "prepared", "-c", clients, "-j", 1, "-f", script,
            "-T", seconds + WARM_S + 1, "-l", "--log-prefix", folder / "pgbench",
        )  # fmt: skip
        with Process(arguments, self.data / "log") as bench:
            time.sleep(WARM_S)
            start, before = time.time(), self.process.cpu_s()
            time.sleep(seconds)
            end, cpu_s = time.time(), self.process.cpu_s() - before
            if bench.popen.wait() != 0:
                raise SystemExit(f"pgbench failed; {bench.log} says why")
        (log,) = folder.glob("pgbench.*")
        lines = [list(map(int, line.split())) for line in log.read_text().splitlines()]
        log.unlink()
        # client, number, microseconds, script, and when: seconds and microseconds
        ms = sorted(
            us / 1e3 for _, _, us, _, s, part in lines if start <= s + part * 1e-6 < end
        )
        middle, last = (ms[int(len(ms) * q)] if ms else 0 for q in (0.5, 0.99))
        return len(ms), end - start, middle, last, 0, cpu_s
