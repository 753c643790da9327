#!/usr/bin/env python3
"""Make tests/golden/recurrent_*.safetensors: a small learned model, a rotation, and what
each makes of some vectors, computed here in float64 with numpy from the equations of
binarize/recurrent.h and the paper alone.  Sign decisions closer than 1e-4 to zero would
make the comparison depend on rounding: such vectors are drawn again.

usage: make_recurrent.py [FOLDER]      (needs numpy; run once, the output is committed)
"""
import json
import struct
import sys

import numpy as np

STEPS = [0, 0.797885, 0.995687, 1.172039, 1.340802]
MARGIN = 1e-4
MASK = (1 << 64) - 1


def save(path, tensors, metadata):
    """Safetensors by hand: widest elements first, data at a multiple of 64."""
    names = {"float32": "F32", "int8": "I8", "uint8": "U8"}
    header, data = {"__metadata__": metadata}, b""
    for name, x in sorted(tensors.items(), key=lambda item: -item[1].itemsize):
        header[name] = {"dtype": names[str(x.dtype)], "shape": list(x.shape),
                        "data_offsets": [len(data), len(data) + x.nbytes]}
        data += x.tobytes()
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


class Rng:
    """base/rng.h: xoshiro256** seeded by splitmix64."""

    def __init__(self, seed, stream):
        x, out = self.splitmix(stream)
        x = out ^ seed
        self.s = []
        for _ in range(4):
            x, out = self.splitmix(x)
            self.s.append(out)

    @staticmethod
    def splitmix(x):
        x = (x + 0x9E3779B97F4A7C15) & MASK
        z = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
        return x, z ^ z >> 31

    def u64(self):
        def rotl(x, k):
            return (x << k | x >> (64 - k)) & MASK
        s = self.s
        result = rotl(s[1] * 5 & MASK, 7) * 9 & MASK
        t = s[1] << 17 & MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotl(s[3], 45)
        return result


def hadamard(n):
    h = np.ones((1, 1))
    while len(h) < n:
        h = np.block([[h, h], [h, -h]])
    return h / np.sqrt(n)


def rotation_matrix(d, m, seed):
    """P (m, d), written out."""
    n = max(-(-d // 64) * 64, m)
    power = 1 << (n.bit_length() - 1)
    rng = Rng(seed, 0x524F54)
    p = np.eye(n)
    for _ in range(4):
        bits = [rng.u64() for _ in range(n // 64)]
        signs = [1 - 2 * (bits[i // 64] >> i % 64 & 1) for i in range(n)]
        p = np.array(signs)[:, None] * p
        p[:power] = hadamard(power) @ p[:power]
        if power < n:
            p[n - power:] = hadamard(power) @ p[n - power:]
    return p[:m, :d] * (np.sqrt(n / m) if m < n else 1)


def sign(x, margins):
    margins.append(np.abs(x).min())
    return np.where(x >= 0, 1.0, -1.0)


def code_rotation(p, bits, u, margins):
    y = p @ u
    r = y * np.sqrt(len(y)) / np.linalg.norm(y)
    v = np.zeros(len(y))
    for plane in range(bits):
        v += 2.0 ** -plane * sign(r - STEPS[bits] * v, margins)
    return v


def block(tensors, stem, x, layers):
    for j in range(layers):
        x = tensors[f"{stem}.{j}.weight"] @ x + tensors[f"{stem}.{j}.bias"]
        if j + 1 < layers:
            x = np.maximum(x, 0)
    return x


def code_learned(tensors, bits, layers, u, margins):
    v = sign(block(tensors, "base", u, layers), margins)
    for p in range(1, bits):
        h = block(tensors, f"reconstruct.{p}", v, layers)
        d = sign(block(tensors, f"residual.{p}", u - h / np.linalg.norm(h), layers), margins)
        v = v + 2.0 ** -p * d
    return v


def wire(v, bits):
    levels = ((v * 2 ** (bits - 1) + 2 ** bits - 1) / 2).round().astype(np.uint8)
    return np.concatenate([np.packbits(levels >> (bits - 1 - p) & 1) for p in range(bits)])


def factor(c, y, v):
    """|c|^2 / <y, v>, or that of a code alone where y and v do not go together."""
    return c @ c / (y @ v) if y @ v > 0 else np.linalg.norm(c) / np.linalg.norm(v)


def results(rng, n, mean, q, bits, code):
    """Vectors (n, d) and, per vector, what recurrent_* has to give."""
    out = {k: [] for k in ("x", "wire", "factor", "int8", "int8_numbers",
                           "sdc", "sdc_numbers", "decoded")}
    while len(out["x"]) < n:
        x = (rng.normal(size=len(mean)) * 3 + mean).astype(np.float32)
        c, margins = x.astype(np.float64) - mean, []
        v = code(c / np.linalg.norm(c), margins)
        vq = code(x / np.linalg.norm(x.astype(np.float64)), margins)
        y = q @ x.astype(np.float64)
        scaled = y * 127 / np.abs(y).max()
        ties = np.abs(np.abs(scaled - np.rint(scaled)) - 0.5).min()
        if min(margins) < MARGIN or ties < MARGIN:
            continue
        f = factor(c, q @ c, v)
        out["x"].append(x)
        out["wire"].append(wire(v, bits))
        out["factor"].append(f)
        out["decoded"].append(mean + f * (q.T @ v))
        out["int8"].append(np.rint(scaled).astype(np.int8))
        out["int8_numbers"].append([np.abs(y).max() / 127, x @ mean])
        out["sdc"].append((vq * 2 ** (bits - 1)).astype(np.int8))
        out["sdc_numbers"].append(
            [factor(x.astype(np.float64), y, vq) / 2 ** (bits - 1), x @ mean])
    return {k: np.array(v, dtype=None if k in ("wire", "int8", "sdc") else np.float32)
            for k, v in out.items()}


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else sys.path[0]
    rng = np.random.default_rng(20231)
    common = {"format": "halftone-binarizer", "format_version": "1"}

    d, m, bits, hidden, layers = 24, 64, 3, 20, 2
    t = {"mean": rng.normal(size=d) * 0.1, "query.weight": rng.normal(size=(m, d)) / 5}
    for stem, a, b in [("base", d, m)] + [
            (f"{name}.{p}", a, b) for p in range(1, bits)
            for name, a, b in (("reconstruct", m, d), ("residual", d, m))]:
        for j, (i, o) in enumerate([(a, hidden), (hidden, b)]):
            t[f"{stem}.{j}.weight"] = rng.normal(size=(o, i)) / np.sqrt(i)
            t[f"{stem}.{j}.bias"] = rng.normal(size=o) * 0.1
    t = {k: v.astype(np.float32) for k, v in t.items()}
    save(f"{folder}/recurrent_learned.safetensors", t,
         common | {"kind": "recurrent", "dims": str(m), "bits": str(bits),
                   "layers": str(layers)})
    t64 = {k: v.astype(np.float64) for k, v in t.items()}
    save(f"{folder}/recurrent_learned_results.safetensors",
         results(rng, 8, t64["mean"], t64["query.weight"], bits,
                 lambda u, margins: code_learned(t64, bits, layers, u, margins)), {})

    for name, d, m, bits in (("padded", 50, 192, 4), ("projected", 200, 128, 2)):
        mean = (rng.normal(size=d) * 0.5).astype(np.float32)
        p = rotation_matrix(d, m, 42)
        save(f"{folder}/recurrent_{name}.safetensors", {"mean": mean},
             common | {"kind": "rotation", "seed": "42"})
        save(f"{folder}/recurrent_{name}_results.safetensors",
             results(rng, 8, mean.astype(np.float64), p, bits,
                     lambda u, margins: code_rotation(p, bits, u, margins)), {})


if __name__ == "__main__":
    main()
