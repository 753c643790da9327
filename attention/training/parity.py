"""The C engine against the reference, over many texts.

    make test-programs
    python parity.py --program ../../build/release/tests/parity/parity --vocab vocab.txt \
        --texts texts.txt --n 10000 --work /tmp/parity [--teacher FOLDER] [--forms a,b]
    python parity.py ... --model FOLDER

For each form of attention a model of 6 layers is made (ternary matrices, int8 table, seeded
hashes), exported, and run by both.  Printed are the mean cosine, the share of texts of .999
and more, hash bits that differ in 10,000, and, with the reference's bits given to the engine
(and bits that fall on the other side thus without consequence), the largest difference of a
number of an embedding.  Exits 1 where a bar is missed.

The weights: with --teacher, those of a BERT folder (all-MiniLM-L6-v2) made ternary; without,
random ones.  Hashes are calibrated on the first 256 texts that are not counted: anchors by
k-means, thresholds in the middle, so that bits are balanced.  With --model a folder is taken as
it is, instead of all forms.
"""
import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

import export
import text
from calibrate import calibrate
from model import Attention, Config, Encoder, LayerConfig


def hashed(similarity, function="kernel", shared=False):
    return Attention("hash", shared, function, similarity=similarity)


FORMS = {
    "softmax": Attention(),
    "positive": hashed("positive"),
    "positive-shared": hashed("positive", shared=True),
    "positive-linear": hashed("positive", "linear"),
    "general": hashed("general"),
    "general-shared-linear": hashed("general", "linear", True),
    "buckets": hashed("buckets"),
    "buckets-linear": hashed("buckets", "linear"),
    "table": hashed("table"),
    "table-shared-linear": hashed("table", "linear", True),
}


def make(form, args, vocab, lists):
    """The model, as the folder has it."""
    if args.model:
        model = export.load(args.model)[0]
        model.set_ordered(not args.unordered)
        return model
    torch.manual_seed(args.seed)
    layer = LayerConfig(*[args.layers] * 6, args.gelu, FORMS[form])
    if args.teacher:
        model = export.load_teacher(args.teacher, layer, "int8", args.sub_norm)
    else:
        model = Encoder(Config(vocab_size=len(vocab), max_position_embeddings=256,
                               sub_norm=args.sub_norm, layers=[layer] * 6))
    model.eval().freeze()
    calibrate(model, *text.padded([one[:48] for one in lists]), seed=args.seed)
    export.export(model, vocab, args.work / form)
    model = export.load(args.work / form)[0]
    model.set_ordered(not args.unordered)
    return model


@torch.no_grad()
def reference(model, lists):
    """Vectors (n, D), and a text's codes as one array, in the engine's order."""
    vectors, codes = np.empty((len(lists), model.config.hidden_size), np.float32), {}
    for batch in text.batches(lists, 1024):
        ids, mask = text.padded([lists[i] for i in batch])
        out = model(ids, mask, trace=True)
        kept = [w.to(torch.int32).numpy().view(np.uint32)
                for pair in out.codes if pair is not None for w in pair if w is not None]
        for row, i in enumerate(batch):
            n = len(lists[i])
            vectors[i] = out.vectors[row].numpy()
            parts = [w[row, :n].reshape(-1) for w in kept]
            codes[i] = np.concatenate(parts) if parts else np.empty(0, np.uint32)
    return vectors, [codes[i] for i in range(len(lists))]


def engine(args, form, inject=None):
    """The file that the program writes."""
    out = args.work / "engine.bin"
    command = [args.program, args.model or args.work / form, args.work / "texts.txt", out]
    if inject is not None:
        (args.work / "codes.bin").write_bytes(b"".join(c.tobytes() for c in inject))
        command += ["--inject", args.work / "codes.bin"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return np.fromfile(out, np.uint32)


def compare(words, lists, vectors, codes):
    """Cosines (n), the largest difference, bits that differ a layer's array, bits."""
    at, dims = 0, vectors.shape[1]
    cosine, largest, differ, bits = np.empty(len(lists)), 0, 0, 0
    for i, ids in enumerate(lists):
        n = int(words[at])
        if n != len(ids) or words[at + 1:at + 1 + n].tolist() != ids:
            sys.exit(f"text {i + 1}: the engine's pieces are not the reference's")
        at += 1 + n
        vector = words[at:at + dims].view(np.float32)
        at += dims
        cosine[i] = vector.astype(np.float64) @ vectors[i]
        largest = max(largest, float(np.abs(vector - vectors[i]).max()))
        got = words[at:at + len(codes[i])]
        at += len(got)
        differ += int(np.bitwise_count(got ^ codes[i]).sum())
        bits += len(got)
    assert at == len(words)
    return cosine, largest, differ, bits


def run(form, args, vocab, lists, first):
    start = time.process_time()
    model = make(form, args, vocab, first)
    vectors, codes = reference(model, lists)
    cosine, _, differ, words = compare(engine(args, form), lists, vectors, codes)
    good = cosine.mean() >= 0.9999 and (cosine >= 0.999).mean() >= 0.999
    line = (f"{form:22} {cosine.mean():.7f} {cosine.min():.5f} "
            f"{100 * (cosine >= 0.999).mean():8.3f}")
    if words:
        words *= np.mean([one.hash.spec.bits for one in model.layers if one.hash is not None])
        rate = 1e4 * differ / words
        again, largest, own, _ = compare(engine(args, form, codes), lists, vectors, codes)
        alone = 1e4 * own / words
        good &= rate < 1 and largest < 1e-3
        line += f" {rate:9.4f} {alone:9.4f} {largest:10.2e} {again.min():.7f}"
    print(f"{line}  {'ok' if good else 'MISSED'} ({time.process_time() - start:.0f} s)", flush=True)
    return good


def read_texts(args):
    lines = dict.fromkeys(Path(args.texts).read_text().split("\n"))
    return [line for line in lines if line.strip()]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--vocab", required=True)
    parser.add_argument("--texts", required=True, help="a text a line")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--teacher")
    parser.add_argument("--model", type=Path, help="a folder of halftone's")
    parser.add_argument("--forms", default=",".join(FORMS))
    parser.add_argument("--layers", default="ternary")
    parser.add_argument("--gelu", default="exact")
    parser.add_argument("--unordered", action="store_true", help="float sums as torch takes them")
    parser.add_argument("--sub-norm", action="store_true")
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    vocab = Path(args.vocab).read_text(encoding="utf-8").removesuffix("\n").split("\n")
    texts = read_texts(args)[:256 + args.n]
    lists = text.tokenize(vocab, texts, 256)
    (args.work / "texts.txt").write_text("".join(t + "\n" for t in texts[256:]))
    first, lists = lists[:256], lists[256:]
    length = sorted(map(len, lists))
    weights = "the teacher's" if args.teacher else "random"
    what = args.model or (f"weights: {weights}, {args.layers}, gelu {args.gelu}, "
                          f"sub_norm {args.sub_norm}")
    print(f"{len(lists)} texts of {length[0]} to {length[-1]} pieces, half up to "
          f"{length[len(length) // 2]}; {what}")
    print("form                   mean cos  min cos  % >=.999   bits/10k  injected   max diff  min cos")
    good = [run(form, args, vocab, lists, first) for form in (["as it is"] if args.model else args.forms.split(","))]
    sys.exit(not all(good))


if __name__ == "__main__":
    main()
