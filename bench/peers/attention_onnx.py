"""Attention alone: ours by softmax and by hash codes, against onnxruntime's.

usage: attention_onnx.py BENCH_HASH FOLDER    (started pinned to one core by bench/run.sh)

12 heads of 32 dimensions, one text, float32, queries, keys and values at hand. Onnxruntime's
is its MultiHeadAttention (its own flash attention), CHAIN of them in a graph, so that
what a call costs does not count. Hash attention includes the codes of queries and keys.
Rounds take turns; medians of processor time.
"""
import random
import statistics
import subprocess
import sys
import time

import numpy
import onnxruntime

HEADS, DIMS, CHAIN, ROUNDS = 12, 384, 16, 9
TOKENS = [8, 16, 32, 64, 128, 256, 512]
SECONDS = 2e-3  # of a round, about


class Onnx:
    def __init__(self, folder):
        from onnx import TensorProto, helper, save
        nodes = [helper.make_node(
            "MultiHeadAttention", [f"q{i}", "k", "v"], [f"q{i + 1}"],
            domain="com.microsoft", num_heads=HEADS) for i in range(CHAIN)]
        info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, "n", DIMS])
                for name in ("q0", "k", "v", f"q{CHAIN}")]
        save(helper.make_model(
            helper.make_graph(nodes, "attention", info[:3], info[3:]), ir_version=10,
            opset_imports=[helper.make_opsetid("", 17),
                           helper.make_opsetid("com.microsoft", 1)]), folder + "/a.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            folder + "/a.onnx", options, providers=["CPUExecutionProvider"])

    def round(self, _, tokens, calls):
        x = {n: numpy.random.rand(1, tokens, DIMS).astype("f4") for n in ("q0", "k", "v")}
        self.session.run(None, x)
        repeats = -(-calls // CHAIN)
        start = time.process_time()
        for _ in range(repeats):
            self.session.run(None, x)
        return (time.process_time() - start) / (repeats * CHAIN * HEADS) * 1e9


class Ours:
    def __init__(self, program):
        self.process = subprocess.Popen([program, "rounds"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.kernel, *self.rows = self.process.stdout.readline().strip().split(";")

    def round(self, row, tokens, calls):
        self.process.stdin.write(f"{row} {tokens} {calls}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def measure(peer, ours, tokens):
    """{row: ns a head and text}; "onnxruntime" for theirs."""
    sides = [("onnxruntime", peer, 0)] + [
        (name, ours, i) for i, name in enumerate(ours.rows)]
    calls = {name: max(1, int(SECONDS * 1e9 / HEADS / engine.round(row, tokens, 1)))
             for name, engine, row in sides}
    times = {name: [] for name in calls}
    rng = random.Random(tokens)
    for _ in range(ROUNDS):
        for name, engine, row in rng.sample(sides, len(sides)):
            times[name].append(engine.round(row, tokens, calls[name]))
    return {name: statistics.median(t) for name, t in times.items()}


def crossing(ours, theirs):
    """From where on ours is faster, to the end."""
    n = len(TOKENS)
    while n > 0 and ours[n - 1] < theirs[n - 1]:
        n -= 1
    return f"from {TOKENS[n]} tokens on" if n < len(TOKENS) else "at no length"


def main():
    program, folder = sys.argv[1:]
    peer, ours = Onnx(folder), Ours(program)
    ns = [measure(peer, ours, tokens) for tokens in TOKENS]
    forms = {"onnxruntime softmax": [t["onnxruntime"] for t in ns],
             "softmax": [t["softmax"] for t in ns]}
    for form in ("positive", "general", "buckets", "table"):
        for codes in ("kernel", "linear"):
            forms[f"{form}, {codes} codes"] = [
                min(t[f"{form}, {order}"] for order in ("linear", "quadratic")
                    if f"{form}, {order}" in t) + 2 * t[f"codes, {codes}"] for t in ns]
    print(f"attention alone, {ours.kernel}, ns a head and text; the faster order, codes of "
          "queries and keys included")
    print("tokens                  " + "".join(f"{n:9}" for n in TOKENS) +
          "  faster than softmax")
    for name, row in forms.items():
        print(f"{name:24}" + "".join(f"{t:9.0f}" for t in row) +
              ("" if "softmax" in name else "  " + crossing(row, forms["softmax"])))
    print("softmax / onnxruntime   " + "".join(
        f"{a / b:9.2f}" for a, b in zip(forms["softmax"], forms["onnxruntime softmax"])) +
        "  (bar 1.2)")
    for name in ("general, kernel codes", "general, linear codes"):
        print(f"at {TOKENS[-1]} tokens, {name}: {forms['softmax'][-1] / forms[name][-1]:.2f} "
              f"times as fast as our softmax, "
              f"{forms['onnxruntime softmax'][-1] / forms[name][-1]:.2f} as onnxruntime's "
              "(bar 3)")
    print()
    ours.process.communicate()


main()
