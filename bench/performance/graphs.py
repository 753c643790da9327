"""Graphs of libraries, in process, beside an exact search of ours over the network: the
same vectors, one thread, ten nearest.

    graphs.py [NAME]     one alone, on vectors that are there; settings: see graphs.sh

faiss and usearch over signs (Hamming), hnswlib over floats; M = 16, ef of the build 100,
ef of the search the least that finds .99 of what its own exact search does. Each is a
process of its own, and is asked all queries in one call, which is what costs it least.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from figures import Figures, number
from halftone import Halftone, levels
from headline import EFS, ENOUGH, K, Data, make_vectors
from process import measured, status_bytes

M, EF_BUILD = 16, 100


class Faiss:
    name, signs = "faiss BinaryHNSW", True

    def build(self, documents):
        import faiss

        faiss.omp_set_num_threads(1)
        self.index = faiss.IndexBinaryHNSW(documents.shape[1], M)
        self.index.hnsw.efConstruction = EF_BUILD
        self.index.add(np.packbits(documents > 0, axis=1))
        return faiss.__version__

    def find(self, queries, ef):
        self.index.hnsw.efSearch = ef
        return self.index.search(np.packbits(queries > 0, axis=1), K)[1]


class Usearch:
    name, signs = "usearch, bits", True

    def build(self, documents):
        import usearch.index

        self.index = usearch.index.Index(
            ndim=documents.shape[1], metric="hamming", dtype="b1", connectivity=M,
            expansion_add=EF_BUILD,
        )  # fmt: skip
        codes = np.packbits(documents > 0, axis=1)
        self.index.add(np.arange(len(codes)), codes, threads=1)
        return usearch.__version__

    def find(self, queries, ef):
        self.index.expansion_search = ef
        return self.index.search(np.packbits(queries > 0, axis=1), K, threads=1).keys


class Hnswlib:
    name, signs = "hnswlib, floats", False

    def build(self, documents):
        import importlib.metadata

        import hnswlib

        self.index = hnswlib.Index(space="ip", dim=documents.shape[1])
        self.index.init_index(len(documents), M=M, ef_construction=EF_BUILD)
        self.index.add_items(documents, num_threads=1)
        return importlib.metadata.version("hnswlib")

    def find(self, queries, ef):
        self.index.set_ef(ef)
        return self.index.knn_query(queries, K, num_threads=1)[0]


LIBRARIES = {"faiss": Faiss, "usearch": Usearch, "hnswlib": Hnswlib}


def measure(library, data, figures):
    own_recall = data.recall_of_signs if library.signs else data.recall
    before, start = status_bytes("self", "RssAnon"), time.process_time()
    version = library.build(data.documents)
    figures.add(library.name, data.n, "build", 1, **{
        "CPU s": time.process_time() - start,
        "bytes a row": (status_bytes("self", "RssAnon") - before) / data.n,
    })  # fmt: skip
    for ef in EFS:
        found = library.find(data.queries, ef).tolist()
        if own_recall(found) >= ENOUGH:
            break
    figures.add(library.name, data.n, "recall", 1, version=version, EF=ef, **{
        "recall@10": data.recall(found), "recall@10 of its exact": own_recall(found),
    })  # fmt: skip
    for turn in range(1, number("TURNS", 3) + 1):
        end, cpu, n = time.monotonic() + number("SECONDS_EACH", 10), time.process_time(), 0
        while time.monotonic() < end:
            library.find(data.queries, ef)
            n += len(data.queries)
        figures.add(library.name, data.n, "search", turn,
                    **{"queries/CPU s": n / (time.process_time() - cpu)})  # fmt: skip


def measure_ours(folder, data, figures):
    with Halftone(folder / "halftone") as server:
        if server.count() < data.n:
            _, cpu_s = server.load("--bits", 2, folder / "documents.npy")
            figures.add("Halftone", data.n, "build", 1, **{"CPU s": cpu_s})
        found = [server.find(query) for query in data.queries]
        figures.add("Halftone", data.n, "recall", 1, **{"recall@10": data.recall(found)})
    for simd in levels():
        with Halftone(folder / "halftone", simd) as server:
            for turn in range(1, number("TURNS", 3) + 1):
                values = measured(server.process, lambda server=server: server.run(
                    folder / "bodies", 32, number("SECONDS_EACH", 10)))  # fmt: skip
                figures.add(f"Halftone, {simd}", data.n, "search", turn,
                            **{"queries/CPU s": values["queries/CPU s"]})  # fmt: skip
            taken = server.process.memory("RssAnon") / data.n
            figures.add("Halftone", data.n, "build", 1, **{"bytes a row": taken})


def main():
    folder = Path(os.environ.get("FOLDER") or "build/graphs").resolve()
    if len(sys.argv) == 1:
        make_vectors(folder, (os.environ.get("VECTORS") or "").split())
        for name in ("halftone", *LIBRARIES):
            subprocess.run([sys.executable, __file__, name], check=True)
        return
    data = Data(folder)
    figures = Figures(f"graphs, {data.name}")
    if sys.argv[1] == "halftone":
        measure_ours(folder, data, figures)
    else:
        measure(LIBRARIES[sys.argv[1]](), data, figures)


if __name__ == "__main__":
    main()
