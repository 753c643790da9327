#!/usr/bin/env python3
"""Make tests/golden/refined_*.safetensors: small refined models of 1, 2 and 4 bits, with and
without centres, and what each makes of some vectors, computed here with numpy's integers and
doubles from docs/formats.md and binarize/recurrent.h alone.  Integers have no margin; where
a float is rounded to one of few numbers (bytes of queries, shares of centres) closer than
MARGIN to a tie, the vector is drawn again.

usage: make_refined.py [FOLDER]      (needs numpy; run once, the output is committed)
"""
import sys

import numpy as np

from make_recurrent import save, wire

ONE = 32767
MARGIN = 2e-3


def floats(x):
    return np.asarray(x, dtype=np.float32)


def integers(x):
    """Rounded to the nearest, halves to even."""
    return np.rint(x).astype(np.int64)


def divided(x):
    """x of float32 and its length, at length 1 in float32."""
    length = np.sqrt((x.astype(np.float64) ** 2).sum())
    return floats(x.astype(np.float64) / length if length > 0 else x), length


def shift(longest):
    """The largest s up to 30 for which 2^s longest is at most ONE."""
    s = min(30, int(np.floor(np.log2(ONE / longest))))
    assert s >= 1
    return s


class Refined:
    def __init__(self, q, w, bits):
        self.m, self.bits = len(q), bits
        self.h, self.top = 2.0 ** (1 - bits), 2 ** bits - 1
        self.q = q.astype(np.float64)
        w = w.astype(np.float64)
        lengths = np.sqrt((self.q ** 2).sum(1))
        most = min(32767, 2 ** 29 // (self.top * self.m))
        self.unit = self.h * lengths.max() ** 2 / most
        self.s = shift(lengths.max() / (ONE * self.unit))
        self.t = shift(np.sqrt((w ** 2).sum(1)).max() / (2 * self.h * ONE))
        self.map = integers(2.0 ** self.s * self.q / (ONE * self.unit))
        self.base = integers(2.0 ** self.t * w / (2 * self.h * ONE))
        gram = self.map @ self.map.T
        self.gram = integers(most / gram.diagonal().max() * gram)

    def project(self, u):
        """Q u in units, of u in float32."""
        x = integers(ONE * u.astype(np.float64))
        return (self.map @ x + 2 ** (self.s - 1)) >> self.s, x

    def gain(self, o, c, i):
        step = 2 if c[i] >= 0 else -2
        return abs(c[i]) - self.gram[i, i] if abs(o[i] + step) <= self.top else 0

    def code(self, u):
        """o, y and c, and how many turns it took."""
        y, x = self.project(u)
        o = np.clip(2 * ((self.base @ x) >> self.t) + 1, -self.top, self.top)
        c = y - self.gram @ o
        for turn in range(4 * self.m):
            chosen = []
            for quarter in np.arange(self.m).reshape(4, -1):
                gains = [self.gain(o, c, i) for i in quarter]
                if max(gains) > 0:
                    chosen.append(quarter[int(np.argmax(gains))])
            if not chosen:
                break
            for i in chosen:
                if self.gain(o, c, i) > 0:
                    step = 2 if c[i] >= 0 else -2
                    o[i] += step
                    c -= step * self.gram[i]
        return o, y, c, turn

    def length(self, o, y, c):
        """|Q^T v|"""
        return np.sqrt(max(self.h * self.unit * int(((y - c) * o).sum()), 0.0))


class Centres:
    def __init__(self, rows, refined):
        self.rows = rows
        c = rows.astype(np.float64)
        self.squares = (c ** 2).sum(1)
        e = min(ONE / np.abs(c).max(), 60000 / np.sqrt(self.squares.max()))
        self.unit = 1 / (ONE * e)
        self.map = integers(e * c)
        self.halves = integers(self.squares / 2 / self.unit)
        self.shadows = floats(c @ refined.q.T).astype(np.float64)

    def products(self, u):
        return self.map @ integers(ONE * u.astype(np.float64))


def tie(x):
    """How far x is from the middle between two integers."""
    return np.abs(np.abs(x - np.floor(x)) - 0.5).min()


def near_tie(value):
    """Is it near the middle between two half-precision numbers?"""
    half = np.float16(value)
    up = np.nextafter(half, np.float16(np.inf))
    down = np.nextafter(half, np.float16(-np.inf))
    middles = [(float(half) + float(k)) / 2 for k in (up, down)]
    return any(abs(value - k) < 1e-4 * abs(float(up) - float(half)) for k in middles)


def encode(model, centres, mean, x):
    """Wire form, factor, what it decodes to, the turns; None near a tie."""
    q, norm = model.q, np.sqrt((x.astype(np.float64) ** 2).sum())
    if centres is None:
        u, length = divided(x - mean)
        o, y, c, turns = model.code(u)
        f = length / model.length(o, y, c)
        return wire(o * model.h, model.bits), f, mean + f * (q.T @ (o * model.h)), turns
    u, _ = divided(x)
    products = centres.products(u)
    i = int(np.argmax(products - centres.halves))
    u, length = divided(u - centres.rows[i])
    o, y, c, turns = model.code(u)
    v = o * model.h
    f, a = length / model.length(o, y, c), 1.0
    if centres.squares[i] > 0:
        a = (products[i] * centres.unit - f * (centres.shadows[i] @ v)) / centres.squares[i]
    a = max(a, 0.0)
    f = max(f, a / 65504)
    share = float(np.float32(min(a / f, 65504.0)))
    if share < 65504 and near_tie(share):
        return None
    share = np.float16(share)
    place = np.frombuffer(np.array([i], "<u2").tobytes() + np.array([share], "<f2").tobytes(),
                          np.uint8)
    f *= norm
    decoded = f * (float(share) * centres.rows[i].astype(np.float64) + q.T @ v)
    return np.concatenate([wire(v, model.bits), place]), f, decoded, turns


def in_bytes(numbers):
    """k, the largest of them in 8 bits, and how far from a tie."""
    peak = np.abs(numbers).max()
    scaled = numbers * 127 / peak
    return np.rint(scaled).astype(np.int8), peak / 127, tie(scaled)


def query(model, centres, mean, x, about):
    """k, (scale, base), bases; about: whose base it is."""
    u, norm = divided(floats(x))
    y, _ = model.project(u)
    k, scale, margin = in_bytes(y * model.unit)
    bases = centres.products(u) * centres.unit * norm if centres else np.zeros(0)
    return k, (norm * scale, about.astype(np.float64) @ mean), bases, margin


def query_by_code(model, centres, mean, x):
    if centres is not None:
        _, _, decoded, _ = encode(model, centres, mean, x)
        return query(model, centres, mean, decoded, x)
    u, norm = divided(x)
    o, y, c, _ = model.code(u)
    k, scale, margin = in_bytes((y - c) * model.unit)
    f = norm / model.length(o, y, c)
    return k, (f * scale, x.astype(np.float64) @ mean), np.zeros(0), margin


def results(rng, n, model, centres, mean, first):
    out = {k: [] for k in ("x", "wire", "factor", "decoded", "int8", "int8_numbers",
                           "int8_bases", "sdc", "sdc_numbers", "sdc_bases")}
    turns = []
    draws = list(first)
    while len(out["x"]) < n:
        given = len(draws) > 0
        x = draws.pop() if given else floats(rng.normal(size=len(mean)) * 2 + 3 * mean)
        code = encode(model, centres, mean, x)
        if code is None:
            assert not given
            continue
        asked, coded = query(model, centres, mean, x, x), query_by_code(model, centres, mean, x)
        if min(asked[3], coded[3]) < (MARGIN / 20 if given else MARGIN):
            assert not given
            continue
        out["x"].append(x)
        for key, value in zip(("wire", "factor", "decoded"), code):
            out[key].append(value)
        for name, got in (("int8", asked), ("sdc", coded)):
            for key, value in zip(("", "_numbers", "_bases"), got):
                out[name + key].append(value)
        turns.append(code[3])
    print(f"{model.m} x {model.bits}{' at centres' if centres else ''}: "
          f"{np.mean(turns):.1f} turns, at most {max(turns)}")
    assert max(turns) > 2
    whole = ("wire", "int8", "sdc")
    return {k: np.array(v, dtype=None if k in whole else np.float32) for k, v in out.items()
            if np.size(v) > 0}


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else sys.path[0]
    rng = np.random.default_rng(20232)
    d = 21  # odd: rows of integers end in a zero
    for bits in (1, 2, 4):
        for k in (0, 5):
            m = 128 if bits == 2 and k > 0 else 64
            q = floats(rng.normal(size=(m, d)) * rng.uniform(0.5, 1.5, size=(m, 1)) / m)
            inverse = np.linalg.pinv(q.astype(np.float64).T)
            w = floats(2 * inverse + rng.normal(size=(m, d)) * 2 * inverse.std())
            q[5], w[5] = q[2], w[2]  # of equal gains the first
            mean = np.zeros(d, np.float32) if k else floats(rng.normal(size=d) * 0.3)
            tensors = {"mean": mean, "query.weight": q, "base.weight": w}
            said = {"format": "halftone-binarizer", "format_version": "1",
                    "kind": "refined", "dims": str(m), "bits": str(bits)}
            model, centres, first = Refined(q, w, bits), None, []
            if k:
                rows = floats(rng.normal(size=(k, d)) * 0.15)
                rows[1] = rows[0]             # of equal ones the first
                rows[2] = 0                   # no share says anything of it
                rows[3] = np.eye(d)[3]
                first = [floats(5 * np.eye(d)[3])]  # a centre itself
                centres = Centres(rows, model)
                tensors["centres"] = rows
                said["centres"] = str(k)
            stem = f"{folder}/refined_{bits}{'_centres' if k else ''}"
            save(f"{stem}.safetensors", tensors, said)
            save(f"{stem}_results.safetensors",
                 results(rng, 12, model, centres, mean, first), {})


if __name__ == "__main__":
    main()
