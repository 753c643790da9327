"""The bench's results: a line a cell, and each query's values beside it.

FOLDER/cells.jsonl holds what was measured of each (corpus, model, method, bits, seed,
and what else is in KEY); FOLDER/cells/*.npz the values that its means are of.
"""

import hashlib
import json

import numpy as np

# train: what was learnt from; queries: "own", or what was done to them;
# sizes: training vectors, documents, queries; digest: of the binarizer's file
KEY = ("corpus", "model", "train", "queries", "sizes", "method", "bits", "seed", "digest")


def key_of(cell):
    return json.dumps([cell[part] for part in KEY])


class Cells:
    def __init__(self, folder):
        self.folder = folder
        (folder / "cells").mkdir(parents=True, exist_ok=True)
        self.path = folder / "cells.jsonl"
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:  # the last line was cut off
            self.path.write_text(whole, encoding="utf-8")
        # two runs at once may have measured the same
        cells = map(json.loads, whole.splitlines())
        self.list = list({key_of(cell): cell for cell in cells}.values())
        self.keys = set(map(key_of, self.list))

    def __contains__(self, cell):
        return key_of(cell) in self.keys

    def values_path(self, cell):
        name = hashlib.sha256(key_of(cell).encode()).hexdigest()[:16]
        return self.folder / "cells" / f"{name}.npz"

    def values(self, cell):
        with np.load(self.values_path(cell)) as kept:
            return dict(kept)

    def add(self, cell, values):
        np.savez_compressed(self.values_path(cell), **values)
        with open(self.path, "a", encoding="utf-8") as out:
            out.write(json.dumps(cell) + "\n")
        self.list.append(cell)
        self.keys.add(key_of(cell))
