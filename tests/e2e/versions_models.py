"""Binarizers and vectors for tests of an index that outlives its encoder.

The old encoder gives OLD numbers, the new one NEW: the same, turned into more dimensions,
    x_new = A x_old,    A (NEW, OLD) of orthonormal columns,
so a binarizer that knows the old codes can be written down: where theirs decode to
mu + f Q' v, it has T = A Q'.

usage: versions_models.py old FOLDER              FOLDER/binarizer.safetensors: 1 bit, 256 dims
       versions_models.py new FOLDER OLD-ID       of the new vectors; knows the codes of OLD-ID
       versions_models.py text FOLDER DIMS OLD-ID OLD-DIMS OLD-BITS   knows them by a map of noise
       versions_models.py learned FOLDER SIZE DIMS BITS CENTRES   FOLDER/binarizer.BITS.safetensors:
                                                 refined, random
       versions_models.py points old|new FIRST N  {"points": [...]} with ids FIRST ...
       versions_models.py vector old|new ID       one vector
"""

import json
import os
import random
import struct
import sys

OLD, NEW, DIMS, SEED = 8, 12, 256, 7


def columns(rows, n, stream):
    """n orthonormal columns of `rows` numbers."""
    r, out = random.Random(SEED * 1000 + stream), []
    for _ in range(n):
        c = [r.gauss(0, 1) for _ in range(rows)]
        for other in out:
            dot = sum(a * b for a, b in zip(c, other))
            c = [a - dot * b for a, b in zip(c, other)]
        norm = sum(a * a for a in c) ** 0.5
        out.append([a / norm for a in c])
    return out


Q = columns(DIMS, OLD, 1)  # Q[j][i]: of dimension i and number j
A = columns(NEW, OLD, 2)


def vector(which, i):
    r = random.Random(SEED * 1000003 + i)
    x = [r.gauss(0, 1) for _ in range(OLD)]
    if which == "old":
        return x
    return [sum(A[j][k] * x[j] for j in range(OLD)) for k in range(NEW)]


def save(folder, metadata, tensors, file="binarizer.safetensors"):
    header, data = {"__metadata__": dict(metadata, format="halftone-binarizer", format_version="1")}, b""
    for name, shape, numbers in tensors:
        raw = struct.pack("<%df" % len(numbers), *numbers)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    os.makedirs(folder, exist_ok=True)
    with open(folder + "/" + file, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def save_knowing(folder, dims, old_id, bits, older_dims, older):
    save(folder, {"kind": "rotation", "seed": "5", "older": "1", "older.0.id": old_id, "older.0.bits": str(bits)},
         [("mean", [dims], [0.0] * dims), ("older.0.mean", [dims], [0.0] * dims),
          ("older.0.query.weight", [older_dims, dims], older)])


def main(what, *args):
    if what == "old":
        q = [Q[j][i] for i in range(DIMS) for j in range(OLD)]
        save(args[0], {"kind": "recurrent", "dims": str(DIMS), "bits": "1", "layers": "1"},
             [("mean", [OLD], [0.0] * OLD), ("query.weight", [DIMS, OLD], q),
              ("base.0.weight", [DIMS, OLD], q), ("base.0.bias", [DIMS], [0.0] * DIMS)])
    elif what == "new":
        older = [sum(Q[j][i] * A[j][k] for j in range(OLD)) for i in range(DIMS) for k in range(NEW)]
        save_knowing(args[0], NEW, args[1], 1, DIMS, older)
    elif what == "text":
        dims, older_dims = int(args[1]), int(args[3])
        r = random.Random(SEED)
        save_knowing(args[0], dims, args[2], int(args[4]), older_dims,
                     [r.gauss(0, 1e-4) for _ in range(dims * older_dims)])
    elif what == "learned":
        size, dims, bits, centres = map(int, args[1:])
        r = random.Random(SEED)
        matrix = [r.gauss(0, 1) for _ in range(dims * size)]
        save(args[0], {"kind": "refined", "dims": str(dims), "bits": str(bits), "centres": str(centres)},
             [("mean", [size], [0.0] * size), ("query.weight", [dims, size], matrix),
              ("base.weight", [dims, size], matrix),
              ("centres", [centres, size], [r.gauss(0, 0.02) for _ in range(centres * size)])],
             f"binarizer.{bits}.safetensors")
    elif what == "points":
        first, n = int(args[1]), int(args[2])
        print(json.dumps({"points": [{"id": i, "vector": vector(args[0], i), "payload": {"i": i}}
                                     for i in range(first, first + n)]}))
    elif what == "vector":
        print(json.dumps(vector(args[0], int(args[1]))))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
