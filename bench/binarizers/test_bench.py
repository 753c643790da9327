"""Tests of the bench round the rivals: python test_bench.py (seconds; random data).

Claims: equal vectors never part, and parts share none; overlap is counted with ties as
they fall, and refuses what is no ranking; equal methods differ by 0 and different ones do
not; a cell is measured once, also after a torn line, and again for another file of ours;
our program's class speaks as the program expects; a whole run on two corpora and a judged
set makes tables and pictures that show it, and the page keeps its own words round them;
texts are shuffled lines, spoilt as said; the stand-in is the same again.
"""

import contextlib
import io
import json
import lzma
import random as lottery
import sys
import tempfile
import unittest
import xml.dom.minidom
from pathlib import Path
from unittest import mock

import numpy as np

import corpora
import page
import report
import run
import standin
import results
import texts
from cells import KEY, Cells
from corpora import split, unit
from halftone import Halftone
from measure import Exact, bootstrap
from signs import Sign

# What our program will say, from a script that searches by floats; `embed` gives a line
# of text a vector that is its own.
PROGRAM = """#!{python}
import json, sys
import numpy as np
command, rest = sys.argv[1], sys.argv[2:]
if command == "embed":
    model, path, text = rest[1], rest[3], rest[4]
    rng = lambda line: np.random.default_rng(list(line.encode()))
    lines = open(text, encoding="utf-8").read().splitlines()
    np.save(path, np.array([rng(l).standard_normal(16) for l in lines], np.float32))
    sys.exit()
assert command == "eval" and rest[-1] == "--json", sys.argv
o = dict(zip(rest[:-1:2], rest[1::2]))
assert set(o) == {{"--corpus", "--queries", "--binarizer", "--bits", "--ranks"}}, o
scores = np.load(o["--queries"]) @ np.load(o["--corpus"]).T
np.save(o["--ranks"], np.argsort(-scores, 1, kind="stable")[:, :100].astype(np.float32))
print(json.dumps({{"bytes_per_document": 2 * int(o["--bits"]) + 4,
                   "encode_seconds": 0.5, "search_seconds": 0.25}}))
"""


def random(n, seed, dims=16):
    return unit(np.random.default_rng(seed).standard_normal((n, dims)))


def write_binarizer(path, weights, **metadata):
    header = json.dumps({"__metadata__": metadata}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + weights)


def write_program(folder):
    path = Path(folder, "fake")
    path.write_text(PROGRAM.format(python=sys.executable))
    path.chmod(0o755)
    return path


def write_corpus(folder, seed):
    folder.mkdir()
    for i, n in enumerate((400, 300)):
        np.save(folder / f"{i:02}.tiny.npy", random(n, [seed, i]))
        lines = "".join(f"{folder.name} {i} {j}\n" for j in range(n))
        (folder / f"{i:02}.txt").write_text(lines)


def write_set(folder):
    folder.mkdir(parents=True)
    for name, n in (("queries", 4), ("corpus", 30)):
        rows = [{"id": f"{name[0]}{i}", "text": f"{name} {i}"} for i in range(n)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    judged = [f"q{q}\tc{d}\t1\n" for q in range(4) for d in range(q, 30, 3)]
    (folder / "qrels.tsv").write_text("".join(judged))


def called(module, *arguments):
    """What the program printed."""
    out = io.StringIO()
    with mock.patch.object(sys, "argv", [module.__name__, *map(str, arguments)]):
        with contextlib.redirect_stdout(out):
            module.main()
    return out.getvalue()


class TestSplit(unittest.TestCase):
    def setUp(self):
        self.vectors = random(500, 1)[np.random.default_rng(2).integers(0, 300, 900)]
        self.vectors[::50] = 0

    def test_equal_vectors_stay_together(self):
        parts = split(self.vectors, (300, 200, 100))
        seen = [{self.vectors[row].tobytes() for row in parts[p]} for p in corpora.PARTS]
        for i, j in ((0, 1), (0, 2), (1, 2)):
            self.assertFalse(seen[i] & seen[j])
        for part, size in zip(corpora.PARTS, (300, 200, 100)):
            self.assertAlmostEqual(len(parts[part]), size, delta=12)
        every = np.concatenate(list(parts.values()))
        self.assertEqual(len(every), len(set(every)))
        self.assertTrue(self.vectors[every].any(1).all())

    def test_too_few_rows(self):
        parts = split(self.vectors, (6000, 2000, 100))
        used, there = sum(map(len, parts.values())), np.any(self.vectors, 1).sum()
        self.assertTrue(there - 8 <= used <= there, (used, there))
        self.assertAlmostEqual(len(parts["train"]) / len(parts["documents"]), 3, delta=0.5)
        with self.assertRaises(ValueError):
            split(self.vectors, (100, 100, 5000))

    def test_same_again(self):
        one, two = (split(self.vectors, (300, 200, 100)) for _ in range(2))
        for part in corpora.PARTS:
            np.testing.assert_array_equal(one[part], two[part])
            self.assertGreater((np.diff(one[part]) < 0).sum(), 10)  # shuffled


class TestMeasure(unittest.TestCase):
    def setUp(self):
        self.documents, self.queries = random(200, 3), random(20, 4)
        self.exact = Exact(self.documents, self.queries)

    def test_overlap(self):
        ids = np.argsort(-self.queries @ self.documents.T, 1)[:, :100]
        self.assertTrue((self.exact.overlap(ids, 10) == 10).all())
        self.assertTrue((self.exact.overlap(ids, 100) == 100).all())
        self.assertTrue((self.exact.overlap(ids[:, 3:], 10) == 7).all())
        self.assertTrue((self.exact.overlap(ids[:, ::-1], 10) == 0).all())

    def test_ties(self):
        """A copy of the tenth counts as the tenth."""
        exact = Exact(np.concatenate([self.documents] * 2), self.queries)
        ids = np.argsort(-self.queries @ self.documents.T, 1)
        for copies in ((0, 0), (0, 200), (200, 0)):
            top = np.stack([ids[:, :5] + copies[0], ids[:, :5] + 200 - copies[0]], 2)
            self.assertTrue((exact.overlap(top.reshape(20, 10), 10) == 10).all())

    def test_no_ranking(self):
        ids = np.tile(np.arange(100), (20, 1))
        for broken in (ids[:, :9], ids[:19], ids + 195, ids - 1, ids // 2):
            with self.assertRaises(ValueError):
                self.exact.overlap(broken, 10)

    def test_bootstrap(self):
        rng = np.random.default_rng(5)
        a, b = rng.normal(0.7, 0.2, (2, 400))
        mean, low, high = bootstrap([a - a, b - b])
        self.assertEqual((mean, low, high), (0, 0, 0))
        mean, low, high = bootstrap([a - b])
        self.assertLess(low, 0)
        self.assertGreater(high, 0)
        self.assertAlmostEqual(high - low, 2 * 1.96 * (a - b).std() / 20, delta=0.005)
        mean, low, high = bootstrap([a + 0.2 - b, a[:50] + 0.2 - b[:50]])
        self.assertGreater(low, 0)
        each = [(a + 0.2 - b).mean(), (a + 0.2 - b)[:50].mean()]
        self.assertAlmostEqual(mean, np.mean(each))


class TestTexts(unittest.TestCase):
    def test_chunks(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(texts, "CHUNK", 7):
            root = Path(folder)
            lines = [{"query": "q", "positive": f"passage\n {i}"} for i in range(10)]
            lines.append({"query": "q", "positive": " "})
            with lzma.open(root / "pairs.xz", "wt") as out:
                out.writelines(json.dumps(line) + "\n" for line in lines)
            texts.pairs(root / "pairs.xz", root / "out")
            chunks = [(root / "out" / f"{i:02}.txt").read_text() for i in range(2)]
            self.assertEqual([c.count("\n") for c in chunks], [7, 4])
            found = "".join(chunks).splitlines()
            self.assertEqual(set(found), {f"passage {i}" for i in range(10)} | {"."})
            self.assertNotEqual(found, sorted(found))

    def test_spoilt(self):
        line = " ".join(["words", "slip", "a"] * 500)
        slipped = texts.typos(line, lottery.Random(1)).split()
        changed = sum(a != b for a, b in zip(line.split(), slipped))
        self.assertEqual(len(slipped), 1500)
        self.assertTrue(140 < changed < 220, changed)
        self.assertEqual(texts.half("one two three", None), "one two")


class TestStandIn(unittest.TestCase):
    def test_same_again(self):
        with mock.patch.multiple(standin, DIMS=64, PARTS=4):
            one, two = (standin.Source(9999).chunk(5, 200) for _ in range(2))
            np.testing.assert_array_equal(one, two)
            np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, rtol=1e-5)
            self.assertLess(np.abs(one @ standin.Source(9999).chunk(6, 200).T).max(), 0.999)


class TestCells(unittest.TestCase):
    def test_resumes(self):
        cell = {part: 1 for part in KEY}
        with tempfile.TemporaryDirectory() as folder:
            cells = Cells(Path(folder))
            self.assertNotIn(cell, cells)
            cells.add(cell | {"overlap@10": 0.5}, {"overlap@10": np.arange(4)})
            path = Path(folder, "cells.jsonl")
            with open(path, "a", encoding="utf-8") as out:
                out.write('{"corpus": 1, "mod')
            cells = Cells(Path(folder))
            self.assertIn(cell, cells)
            self.assertNotIn(cell | {"seed": 2}, cells)
            cells.add(cell | {"seed": 2}, {"overlap@10": np.arange(3)})
            cells = Cells(Path(folder))
            self.assertIn(cell | {"seed": 2}, cells)
            np.testing.assert_array_equal(cells.values(cell)["overlap@10"], np.arange(4))


class TestHalftone(unittest.TestCase):
    def test_speaks_to_the_program(self):
        documents, queries = random(150, 6), random(10, 7)
        with tempfile.TemporaryDirectory() as folder:
            file, signs = Path(folder, "binarizer"), Path(folder, "signs")
            write_binarizer(file, b"weights", kind="refined", bits="2")
            write_binarizer(signs, b"weights", kind="recurrent", bits="1")
            Path(folder, "binarizer.seconds").write_text("3.5\n")
            program, digests = write_program(folder), []
            for binarizer, took, code_bytes in (
                ("untrained", None, 8),
                (file, 3.5, 8),
                (signs, None, 6),
            ):
                method = Halftone("ours", 2, binarizer, program)
                method.train(documents, 1)
                method.encode(documents)
                ids, _ = method.search(queries, 10)
                expected = np.argsort(-queries @ documents.T, 1)[:, :10]
                np.testing.assert_array_equal(ids, expected)
                self.assertEqual(method.bytes_per_document, code_bytes)
                shared = 0 if binarizer == "untrained" else binarizer.stat().st_size
                self.assertEqual(method.shared_bytes, shared)
                self.assertEqual(method.seconds["train"], took)
                self.assertEqual(method.seconds["encode"], 2 * method.seconds["search"])
                self.assertTrue(0 < method.seconds["encode"] < 5, method.seconds)
                digests.append(method.digest)
            with open(program, "a", encoding="utf-8") as out:
                out.write("# another program\n")
            digests.append(Halftone("ours", 2, file, program).digest)
            self.assertEqual(len(set(digests)), 4)


class TestRun(unittest.TestCase):
    """Few rivals, as the others have their own tests."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        for seed, name in enumerate(("first", "second")):
            write_corpus(self.root / name, seed)
        write_set(self.root / "dev" / "judged")
        encoder = self.root / "encoder"
        encoder.mkdir()
        for name in ("model.safetensors", "config.json"):
            (encoder / name).write_text(name)
        write_binarizer(self.root / "binarizer-2", b"weights")
        few = lambda bits: [Sign("signs", bits, rotated=True)] + [
            run.RaBitQ(f"RaBitQ, {n} lists", bits, lists=n) for n in (2, 4)
        ]
        patched = mock.patch.object(run, "rivals", few)
        patched.start()
        self.addCleanup(patched.stop)
        self.common = [
            self.root / "out", "--model", "tiny", "--sizes", "300,300,30",
            "--bits", "1,2", "--program", write_program(self.root),
        ]  # fmt: skip

    def run_bench(self, *more):
        return called(run, *self.common, *more).splitlines()

    def test_whole(self):
        both = f"{self.root}/first,{self.root}/second"
        ours = ["--ours", f"trained={self.root}/binarizer-{{bits}}"]
        with contextlib.redirect_stderr(io.StringIO()) as said:
            lines = self.run_bench("--corpora", both, *ours, "--seeds", "1,2")
            self.assertIn("binarizer-1 is not there", said.getvalue())
            self.assertEqual(len(lines), 2 * (1 + 2 * (2 * 3 + 1)))
            again = self.run_bench("--corpora", both, *ours, "--seeds", "1,2")
            self.assertEqual(again, [])
            write_binarizer(self.root / "binarizer-2", b"other weights")
            again = self.run_bench("--corpora", both, *ours)
            self.assertEqual(len(again), 2)
        moved = self.run_bench("--corpora", self.root / "second", "--train",
                               self.root / "first", "--ours", "untrained=untrained")
        self.assertEqual(len(moved), 1 + 2 * 4)
        judged = self.run_bench("--dev", self.root / "dev", "--encoder",
                                self.root / "encoder")
        self.assertEqual(len(judged), 1 + 2 * 3)
        self.check_report()
        self.check_page()

    def check_page(self):
        docs = self.root / "docs"
        docs.mkdir()
        (docs / "binarizer-old.svg").write_text("gone")
        path = docs / "binarizer.md"
        path.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
        for _ in range(2):
            called(page, self.root / "out", docs)
            text = path.read_text()
            self.assertTrue(text.startswith(f"before\n{page.BEGIN}\n\n| target |"))
            self.assertTrue(text.endswith(f"{page.END}\nafter\n"))
            self.assertNotIn("\nold\n", text)
        # our stand-in searches by floats
        self.assertIn("\n| trained | 4 | - | 1.000 |\n", text)
        self.assertNotIn("untrained 1.000", text)
        for path in docs.glob("*.svg"):
            self.assertIn(f"]({path.name})", text)
        self.assertNotIn("old.svg", " ".join(p.name for p in docs.iterdir()))
        header, *rows = (docs / "binarizer.tsv").read_text().splitlines()
        cells = Cells(self.root / "out").list
        self.assertEqual(len(rows), len(cells))
        for row, cell in zip(rows, cells):
            row = dict(zip(header.split("\t"), row.split("\t"), strict=True))
            self.assertEqual(row["method"], cell["method"])
            self.assertAlmostEqual(float(row["overlap@10"]), cell["overlap@10"], 5)

    def check_report(self):
        called(report, self.root / "out")
        text = (self.root / "out" / "report.md").read_text()
        for header in ("first tiny | second tiny", "first to second tiny", "judged tiny"):
            self.assertIn(f"\n| 2 bits | bytes | {header} | mean |\n", text)
        self.assertIn("| RaBitQ, best number of lists | 13 |", text)
        # the rival is one for all that a mean is of, and may know what is searched where
        # ours has learnt from another corpus
        lines = text.splitlines()
        own, other = (
            next(line for line in lines if line.startswith(f"| {column} tiny, 2"))
            for column in ("second", "first to second")
        )
        first, second = self.rivals_of("first", "first"), self.rivals_of("second", "second")
        for name, value in self.rivals_of("second", "first").items():
            second[name] = max(second[name], value)
        overall = max(first, key=lambda name: (first[name] + second[name], name))
        self.assertIn(f" {overall} {second[overall]:.3f} ", own)
        self.assertIn(f" {max(second.values()):.3f} ", other)
        # exact search stands for ours here, and wins surely
        rows = [line for line in text.splitlines() if "| mean, 2 bits | trained" in line]
        self.assertEqual(len(rows), 2, text)
        low, high = map(float, rows[0].split("|")[5].split())
        self.assertTrue(0 < low < high < 1, rows)
        drawn = sorted((self.root / "out").glob("*.svg"))
        self.assertEqual(len(drawn), 2 * 3 + 1)
        for path in drawn:
            self.assertIn(f"]({path.name})", text)
            circles = xml.dom.minidom.parse(str(path)).getElementsByTagName("circle")
            self.assertGreater(len(circles), 4)

    def rivals_of(self, corpus, train):
        """overlap@10 of each RaBitQ at 2 bits: means over seeds."""
        found = {}
        for c in Cells(self.root / "out").list:
            if (c["corpus"], c["train"], c["bits"]) == (corpus, train, 2):
                found.setdefault(c["method"], []).append(c["overlap@10"])
        return {k: np.mean(v) for k, v in found.items() if k.startswith("RaBitQ")}

    def test_large_corpora_stand_apart(self):
        for documents, title, heading in (
            (99_999, "wiki tiny", "corpora"),
            (200_000, "wiki, 200,000 tiny", "a large corpus"),
        ):
            column = results.Column("wiki", "tiny", "own", (documents, 500), "wiki", 1000)
            measured = mock.Mock(floats={column: {}})
            self.assertEqual(str(column), title)
            self.assertEqual(results.heading_of(measured, column), heading)

    def test_means_are_of_the_values(self):
        self.run_bench("--dev", self.root / "dev", "--encoder", self.root / "encoder")
        cells = Cells(self.root / "out")
        self.assertEqual(len(cells.list), 7)
        for cell in cells.list:
            values = cells.values(cell)
            self.assertAlmostEqual(cell["overlap@10"], values["overlap@10"].mean() / 10)
            self.assertAlmostEqual(cell["overlap@100"], values["overlap@100"].mean() / 30)
            self.assertAlmostEqual(cell["ndcg@10"], float(values["ndcg@10"].mean()))
        self.assertEqual(cells.list[0]["overlap@10"], 1)
        self.assertLess(cells.list[1]["overlap@10"], 1)

    def test_other_queries(self):
        arguments = [self.root / "first", "tiny", "queries", "--sizes", "300,300,30"]
        texts = called(corpora, *arguments, "--text").splitlines()
        vectors = self.root / "asked.npy"
        called(corpora, *arguments, "--npy", vectors)
        asked = np.load(vectors)
        self.assertEqual((len(texts), len(set(texts))), (30, 30))
        for text, vector in zip(texts, asked):
            name, chunk, line = text.split()
            chunk = np.load(self.root / name / f"{int(chunk):02}.tiny.npy")
            np.testing.assert_allclose(vector, chunk[int(line)], atol=1e-6)
        np.save(vectors, -asked)
        first = ["--corpora", self.root / "first", "--bits", "1"]
        self.run_bench(*first)
        lines = self.run_bench(*first, "--queries", vectors, "--queries-as", "turned")
        self.assertEqual(len(lines), 4)
        called(report, self.root / "out")
        text = (self.root / "out" / "report.md").read_text()
        self.assertIn("| bytes | first, turned tiny | mean |", text)


if __name__ == "__main__":
    unittest.main()
