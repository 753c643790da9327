"""Our own codes, as the program makes and searches them."""

import hashlib
import json
import resource
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from method import Method

UNTRAINED = "untrained"


def children_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def planes(data, bits):
    """What a file's metadata says of its codes' bits, or else `bits`: B signs for each
    dimension are codes of B times the dimensions and one plane."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return int(header["__metadata__"].get("bits", bits))


class Halftone(Method):
    """halftone eval, with a binarizer's file or UNTRAINED.

    Training is `halftone train`'s, long before, and what it took stands in FILE.seconds;
    the program searches what it has coded, so both happen at search.  It prints one JSON
    object with at least bytes_per_document, encode_seconds and search_seconds.  What is
    measured is the program as much as the file: the digest is of both.
    """

    ours = True

    def __init__(self, name, bits, binarizer, program="build/halftone"):
        super().__init__(name, bits)
        self.binarizer, self.program = str(binarizer), str(program)
        data, taken, self.planes = b"", Path(self.binarizer + ".seconds"), bits
        if self.binarizer != UNTRAINED:
            data = Path(self.binarizer).read_bytes()
            self.planes = planes(data, bits)
        self.file_bytes = len(data)
        data += Path(self.program).read_bytes()
        self.digest = hashlib.sha256(data).hexdigest()[:12]
        self.seconds["train"] = float(taken.read_text()) if taken.exists() else None

    def encode(self, documents):
        self.documents = documents

    def search(self, queries, k):
        with tempfile.TemporaryDirectory() as folder:
            corpus, asked, ranks = (
                Path(folder, name) for name in ("corpus.npy", "queries.npy", "ranks.npy")
            )
            np.save(corpus, self.documents)
            np.save(asked, queries)
            command = [self.program, "eval", "--corpus", corpus, "--queries", asked]
            command += ["--binarizer", self.binarizer, "--bits", str(self.planes)]
            command += ["--ranks", ranks, "--json"]
            before, start = children_seconds(), time.perf_counter()
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
            share = (children_seconds() - before) / (time.perf_counter() - start)
            ids = np.load(ranks).astype(np.int64)[:, :k]
        self.said = json.loads(said)
        for what in ("encode", "search"):
            # a processor's: as much of its clock's as it had of the processor
            self.seconds[what] = self.said[what + "_seconds"] * share
        return ids, None

    @property
    def bytes_per_document(self):
        return self.said["bytes_per_document"]

    @property
    def shared_bytes(self):
        return self.file_bytes
