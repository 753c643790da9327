"""Tests of the bench round the servers: python test_bench.py (a second; random data)."""

import subprocess
import tempfile
import unittest
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

import bars
import figures
import page
from picture import levels, picture
from process import Process, cpu_ticks, stat
from vectors import Signs, make, nearest, recall, signs, take


class TestVectors(unittest.TestCase):
    def test_nearest_is_what_sorting_gives(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make(folder, 25_000, 16, 7)  # several blocks, the last one not whole
            documents = np.load(folder / "documents.npy", mmap_mode="r")
            queries = np.load(folder / "queries.npy")
            np.testing.assert_allclose(np.linalg.norm(documents, axis=1), 1, rtol=1e-5)
            want = -np.sort(-(queries @ documents.T))[:, :10]
            np.testing.assert_allclose(nearest(documents, queries, 10), want, atol=1e-6)
            want = -np.sort(-(signs(queries) @ signs(documents).T))[:, :10]
            np.testing.assert_array_equal(
                nearest(Signs(documents), signs(queries), 10), want
            )
            whole = np.argsort(-(queries @ documents.T))[:, :10].tolist()
            best = nearest(documents, queries, 10)
            self.assertEqual(recall(whole, documents, queries, best), 1)
            half = [ids[:5] + [24_999, 24_998, 24_997, 24_996, 24_995] for ids in whole]
            self.assertEqual(recall(half, documents, queries, best), 0.5)
            self.assertEqual(recall([[]] * 7, documents, queries, best), 0)

    def test_files_are_taken_in_order(self):
        with tempfile.TemporaryDirectory() as name:
            folder, rows = Path(name), np.arange(1, 61, dtype=np.float64).reshape(30, 2)
            np.save(folder / "a.npy", rows[:10])
            np.save(folder / "b.npy", rows[10:])
            take(folder, [folder / "a.npy", folder / "b.npy"], 100, 4)
            self.assertEqual(np.load(folder / "documents.npy").shape, (26, 2))
            last = np.load(folder / "queries.npy")[-1]
            np.testing.assert_allclose(last, rows[-1] / np.linalg.norm(rows[-1]), rtol=1e-6)


class TestFigures(unittest.TestCase):
    def test_a_figure_stands_for_the_one_before(self):
        with tempfile.TemporaryDirectory() as name:
            figures.PATH = Path(name) / "figures.tsv"
            kept = figures.Figures("b")
            kept.add("s", 10, "c", 1, **{"p50 ms": 2.5})
            kept.add("s", 10, "c", 2, **{"p50 ms": 3})
            kept.add("s", 10, "c", 1, **{"p50 ms": 1.5})
            lines = figures.read()
            self.assertEqual([line["value"] for line in lines], ["1.5", "3"])
            seen = page.Seen(lines)
            self.assertEqual(seen.value("s", 10, "c", "p50 ms"), 2.25)
            self.assertIsNone(seen.value("s", 10, "c", "p99 ms"))

    def test_bars_say_reached_missed_and_not_measured(self):
        def line(system, case, figure, value):
            return {"system": system, "rows": "10", "case": case, "figure": figure,
                    "value": value, "bench": "headline"}  # fmt: skip

        seen = page.Seen([
            line("Halftone", "recall", "recall@10", "0.8"),
            line("Redis", "recall", "recall@10", "0.7"),
            line("Halftone, amx", "32 clients", "queries/CPU s", "140"),
            line("Redis", "32 clients", "queries/CPU s", "100"),
        ])  # fmt: skip
        rows = {
            what: (value, verdict)
            for what, _, value, verdict in bars.bars({"headline": seen})
        }
        recall_row = next(v for what, v in rows.items() if "2 bits: recall" in what)
        self.assertEqual(recall_row, ("+0.100", "missed"))
        amx = [v for what, v in rows.items() if what.startswith("Halftone, AMX")]
        self.assertEqual(amx, [("1.40", "reached"), ("not measured", "")])
        no = [v for what, v in rows.items() if "progressive, AVX-512" in what]
        self.assertEqual(no, [("not measured: no AVX-512 here", "")] * 4)


class TestPicture(unittest.TestCase):
    def test_marks_hold_the_values(self):
        for low, high in ((0.3, 700), (1, 1), (2, 9e6), (0.99, 1.01), (100, 3e7)):
            marks = levels(low, high)
            self.assertLessEqual(marks[0], low * 1.001)
            self.assertGreaterEqual(marks[-1], high)
            self.assertTrue(2 <= len(marks) <= 12, marks)

    def test_it_is_xml(self):
        lines = picture(
            "a < b", "x", {"ours": [(1, 2), (10, 30)], "b & c": [(1, 2)]}, {"ours"}
        )
        root = ElementTree.fromstring("\n".join(lines))
        self.assertEqual(len(root.findall(".//{*}circle")), 3)


class TestProcess(unittest.TestCase):
    def test_children_count_running_or_ended(self):
        busy = "i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done"
        script = f"sh -c '{busy}'; sh -c '{busy}; echo there; read x; :'; :"
        with tempfile.TemporaryDirectory() as name:
            with Process(
                ["sh", "-c", script], Path(name) / "log", stdin=subprocess.PIPE
            ) as p:
                p.wait_until(lambda: "there" in p.log.read_text(encoding="ascii"))
                _, ended = stat(p.popen.pid)
                self.assertGreater(ended, 0)
                self.assertGreater(cpu_ticks(p.popen.pid), ended)
                p.popen.stdin.close()


if __name__ == "__main__":
    unittest.main()
