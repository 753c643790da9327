"""Text to embedding: our encoder, in every form, against onnxruntime.

usage: encoder_onnx.py BENCH_TRANSFORMER FOLDER    (started by bench/run.sh)

The shape is all-MiniLM-L6-v2's on both sides; onnxruntime has its weights, ours are
random, which costs the same.  Both sides tokenize the same words with the same
vocabulary.  Rounds take turns in a new order each time, pinned to as many cores as there
are threads; medians over the rounds, on the wall and of processor time.
"""
import os
import random
import shutil
import statistics
import subprocess
import sys
import time

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
import minilm_onnx  # noqa: E402

FORMS = ["ternary", "ternary-table", "ternary-general", "ternary-ecoformer",
         "four-level", "int8", "float"]
LEVELS = [("amx", "amx_int8"), ("avx512", "avx512_vnni"), ("avx2", "avx2")]

BARS = {"amx": "5, in bulk 7", "avx512": "2.5", "avx2": "none"}


class Ours:
    """bench_transformer rounds: "TEXTS PIECES THREADS" in, "WALL CPU" out."""

    def __init__(self, program, folder, form, simd):
        self.process = subprocess.Popen(
            [program, "rounds", f"{folder}/{form}", f"{folder}/words"],
            env={**os.environ, "SIMD": simd},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.kernel = self.process.stdout.readline().strip()
        self.form = form

    def round(self, load, repeats):
        self.process.stdin.write(" ".join(map(str, load)) + "\n")
        self.process.stdin.write((" ".join(map(str, load)) + "\n") * (repeats - 1))
        self.process.stdin.flush()
        lines = [self.process.stdout.readline().split() for _ in range(repeats)]
        return tuple(statistics.median(float(line[i]) for line in lines) for i in (0, 1))

    def close(self):
        self.process.communicate()


class Onnx:
    def __init__(self, folder, form, words):
        self.models = {n: minilm_onnx.Model(folder, form, n) for n in (1, 2)}
        self.words, self.form, self.kernel = words, form, ""

    def round(self, load, repeats):
        texts, pieces, threads = load
        batch = [" ".join(self.words[:pieces - 2])] * texts
        os.environ["TOKENIZERS_PARALLELISM"] = str(threads > 1).lower()
        times = []
        for _ in range(repeats):
            wall, cpu = time.perf_counter(), time.process_time()
            self.models[threads].embed(batch)
            times.append((time.perf_counter() - wall, time.process_time() - cpu))
        return tuple(statistics.median(t[i] for t in times) for i in (0, 1))


def pin(pid, cores):
    """All threads of a process: a session's pool was there before."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(thread), cores)


def compare(title, engines, load, repeats, rounds):
    cores = sorted(os.sched_getaffinity(0))
    chosen = set(cores[:load[2]])
    if len(chosen) < load[2]:
        print(f"{title}: needs {load[2]} cores\n")
        return
    pin(os.getpid(), chosen)
    for engine in engines:
        if isinstance(engine, Ours):
            pin(engine.process.pid, chosen)
    times = {engine: [] for engine in engines}
    rng = random.Random(1)
    for number in range(rounds + 1):
        for engine in rng.sample(engines, len(engines)):
            seconds = engine.round(load, repeats)
            if number > 0:  # the first warms up
                times[engine].append(seconds)
    pin(os.getpid(), set(cores))
    report(title, times, load)


def report(title, times, load):
    median = {e: [statistics.median(t[i] for t in rounds) for i in (0, 1)]
              for e, rounds in times.items()}
    peers = {e.form: median[e] for e in median if isinstance(e, Onnx)}
    int8 = min((m for form, m in peers.items() if form != "fp32"), key=lambda m: m[1])
    print(f"{title}, medians of {len(next(iter(times.values())))} rounds in turns; "
          "ratios of processor time (wall)")
    print("| engine           | kernel | ms wall | ms CPU  | k tokens/s/core "
          "| x onnxruntime int8 | x fp32        |")
    for e, (wall, cpu) in median.items():
        name = e.form if isinstance(e, Ours) else "ort " + e.form
        print(f"| {name:16} | {e.kernel or '-':6} | {wall * 1e3:7.3f} | {cpu * 1e3:7.3f} "
              f"| {load[0] * load[1] / cpu / 1e3:15.1f} "
              f"| {int8[1] / cpu:8.2f} ({int8[0] / wall:5.2f})   "
              f"| {peers['fp32'][1] / cpu:5.2f} ({peers['fp32'][0] / wall:5.2f}) |")
    own = {(e.form, e.kernel): m for e, m in median.items() if isinstance(e, Ours)}
    for (form, kernel), m in own.items():
        if form in ("ternary", "ternary-ecoformer"):
            print(f"{kernel}: {form} is {int8[1] / m[1]:.2f} times as fast as onnxruntime "
                  f"int8 (bar {BARS[kernel]}), {own['int8', kernel][1] / m[1]:.2f} times as "
                  "our int8")
    print(flush=True)


def main():
    program, folder = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    minilm_onnx.write(folder)
    subprocess.run([program, "write", folder], check=True)
    words = minilm_onnx.words()
    with open(f"{folder}/words", "w", encoding="utf-8") as f:
        f.write(" ".join(words))
    for form in FORMS:
        shutil.copy(minilm_onnx.VOCABULARY, f"{folder}/{form}/vocab.txt")
    flags = open("/proc/cpuinfo", encoding="ascii").read().split()
    levels = [name for name, flag in LEVELS if flag in flags]
    peers = [Onnx(folder, form, words) for form in ("fp32", "int8", "int8-channel")]
    ours = [Ours(program, folder, form, simd) for simd in levels for form in FORMS]
    print(f"encoder of all-MiniLM-L6-v2's shape against {minilm_onnx.version()}, "
          "tokenizer on both sides")
    if "amx" not in levels:
        print("no AMX here: its column is not measured")
    minilm_onnx.check(folder)
    compare("one text of 16 tokens, 1 core", peers + ours, (1, 16, 1), 16, 15)
    peers = peers[:2]  # the faster int8
    few = [e for e in ours if e.form in ("ternary", "ternary-ecoformer", "int8")]
    most = [e for e in ours if e in few or e.kernel != "avx2"]
    compare("64 texts of 128 tokens, 1 core", peers + most, (64, 128, 1), 1, 3)
    compare("64 texts of 128 tokens, 2 cores", peers + few, (64, 128, 2), 1, 3)
    for engine in ours:
        engine.close()


main()
