"""The recipe from texts to embeddings, of a small teacher: python test_recipe.py PROGRAM
(PROGRAM is build/halftone; a minute or two; no data, no network).

Claims: recipe.sh makes of a tiny data folder and a teacher of random weights a model that halftone
opens and embeds with, near to its teacher and in its space; before anything is made it refuses,
in words, a teacher without a credit or of other layers than the student's; another vocabulary than
the teacher's or the texts', one too large, half a file of texts, and another seed are refused too.
"""
import json
import lzma
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
WORDS = [a + b + c for a in "bdfgklmnprst" for b in "aeiou" for c in "bdgklmnrst"]
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
VOCAB += [f"[unused{i}]" for i in range(640 - len(VOCAB))]
DIMS = 64


def make_data(folder):
    """train/, dev/med and packages.jsonl, each text of words of its own."""
    random = np.random.default_rng(1)

    def text(low, high):
        return " ".join(random.choice(random.choice(WORDS, 12), random.integers(low, high)))

    def write(path, rows, opened=open):
        path.parent.mkdir(parents=True, exist_ok=True)
        with opened(path, "wt") as file:
            file.writelines(row + "\n" for row in rows)

    for name in ("wiki", "arxiv", "medquad", "opentrivia"):
        write(folder / f"train/{name}-pairs.jsonl.xz", (
            json.dumps({"query": text(3, 15), "positive": text(70, 300)})
            for _ in range(600)), lzma.open)
    write(folder / "train/questions.txt.xz", (text(4, 15) for _ in range(600)), lzma.open)
    write(folder / "packages.jsonl", (
        json.dumps({"summary": text(3, 9), "text": f"name\n{text(70, 200)}"}) for _ in range(300)))
    write(folder / "dev/med/corpus.jsonl", (
        json.dumps({"id": str(i), "title": "", "text": text(20, 60)}) for i in range(40)))
    write(folder / "dev/med/queries.jsonl", (
        json.dumps({"id": str(i), "text": text(4, 9)}) for i in range(8)))
    write(folder / "dev/med/qrels.tsv", (f"{i}\t{i}\t1" for i in range(8)))


def make_teacher(folder):
    import torch
    from transformers import BertConfig, BertModel
    torch.manual_seed(2)
    bert = BertModel(BertConfig(vocab_size=len(VOCAB), hidden_size=DIMS, num_hidden_layers=2,
                                num_attention_heads=4, intermediate_size=128,
                                max_position_embeddings=512))
    for name, p in bert.named_parameters():
        if name.endswith("weight") and "LayerNorm" not in name:
            p.data.normal_(std=0.1)
    bert.save_pretrained(folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text('{"pooling_mode_mean_tokens": true}')
    (folder / "vocab.txt").write_text("".join(piece + "\n" for piece in VOCAB))


def refusal(function, *what):
    try:
        function(*what)
    except SystemExit as error:
        return str(error)
    raise AssertionError(f"{what} was not refused")


def check_vocabularies(vocab, texts):
    """What corpus.py and finish.py make of a vocabulary and of texts that are there."""
    import corpus
    import finish
    pieces, known = corpus.read_vocab(vocab)
    assert pieces == VOCAB and corpus.done_already(texts, known)
    assert "another vocabulary" in refusal(corpus.done_already, texts, "0" * 12)
    finish.check_vocab(vocab, len(VOCAB), vocab.parent)
    assert "640 pieces" in refusal(finish.check_vocab, vocab, 641, vocab.parent)
    half = texts.with_name("half.npz")
    half.write_bytes(texts.read_bytes()[:1000])
    assert "delete it" in refusal(corpus.done_already, half, known)
    vocab.write_text("\n".join(VOCAB + [f"piece{i}" for i in range(1 << 16)]))
    assert "at most 65536" in refusal(corpus.read_vocab, vocab)
    print("ok vocabularies", flush=True)


def main():
    program = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as name:
        data, work, teacher, two = (Path(name, one) for one in ("data", "work", "bert", "two.json"))
        make_data(data)
        make_teacher(teacher)
        mini = json.loads((HERE / "students/mini.json").read_text())
        two.write_text(json.dumps(mini | {"layers": mini["layers"][:2]}))
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        base = os.environ | {"PATH": path, "HALFTONE": str(program),
                             "PACKAGES": str(data / "packages.jsonl")}
        right = {"STUDENT": str(two), "CREDIT": "nobody's (CC0)"}

        def recipe(seed, **more):
            return subprocess.run(
                [HERE / "recipe.sh", data, work, teacher, "small", seed, ".02"],
                env=base | more, capture_output=True, text=True)

        def refused(words, seed="1", **more):
            done = recipe(seed, **more)
            assert done.returncode != 0 and words in done.stderr, done.stderr
            assert "Traceback" not in done.stderr, done.stderr
            print(f"ok refused: {words}", flush=True)

        refused("not all-MiniLM-L6-v2's", STUDENT=str(two))
        refused("has 2 layers", CREDIT=right["CREDIT"])
        assert not (work / "texts.npz").exists()

        done = recipe("1", **right)
        assert done.returncode == 0, done.stderr
        model = work / "small/model"
        config = json.loads((model / "config.json").read_text())
        assert config["teacher"] == right["CREDIT"]
        space = json.loads((work / "small/teacher/config.json").read_text())["coordinates"]
        assert config["coordinates"] == space
        cosine = json.loads(done.stdout[done.stdout.index("{\n"):])["sets"]["med"]["cosine"]
        assert cosine > 0.7, cosine
        print(f"ok recipe: cosine to the teacher {cosine:.3f}", flush=True)

        text, out = Path(name, "text"), Path(name, "out.npy")
        text.write_text(" ".join(WORDS[:9]) + "\n" + " ".join(WORDS[9:40]) + "\n")
        subprocess.run([program, "embed", "--model", model, "--output", out, text], check=True,
                       capture_output=True)
        vectors = np.load(out)
        assert vectors.shape == (2, DIMS)
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
        print("ok embed", flush=True)

        refused("made with seed 1, not 2", "2", **right)
        check_vocabularies(teacher / "vocab.txt", work / "texts.npz")


if __name__ == "__main__":
    main()
