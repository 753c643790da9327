"""Hold `halftone convert` to sentence-transformers.

    python3 attention/training/check_convert.py --model DIR --texts DIR
        [--programs build] [--count N] [--random bge|e5|arctic] [--ndcg .645]

Needs sentence-transformers, openai, numpy.  --model is a BERT-family folder as Hugging
Face has it; --random makes one of that model's shape with random weights instead (the
vocabulary is --model's).  --texts is a folder of judged collections in BEIR's form
(NAME/corpus.jsonl, queries.jsonl, qrels.tsv).  Converts both ways, serves both with
halftone-server, embeds 2,000 texts of 1 to 256 pieces through the OpenAI client and
prints the smallest and the mean cosine to sentence-transformers; with --ndcg also
nDCG@10 on TEXTS/scifact.  Exit 1 if a bar is missed: .9999 (float), .99 (int8); nDCG@10
within .003 and .01 of what was given.
"""
import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import numpy as np
import torch
from openai import OpenAI
from sentence_transformers import SentenceTransformer
from transformers import BertConfig, BertModel

from serve import serving

BARS = {"float": (.9999, .003), "int8": (.99, .01)}
SHAPES = {"bge": (12, "cls", 512), "e5": (12, "mean", 512), "arctic": (6, "cls", 512)}


def collect(folder, tokenizer, n):
    """n texts, whose lengths are spread over 1 .. 256 pieces."""
    rng = random.Random(1)
    bodies = []
    for corpus in sorted(folder.glob("*/corpus.jsonl")):
        lines = corpus.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(x) for x in rng.sample(lines, min(len(lines), 400))]
        bodies += [(r.get("title", "") + " " + r["text"]).split() for r in rows]
    bodies = [b for b in bodies if b]
    rng.shuffle(bodies)
    texts = []
    while len(texts) < n:
        body = bodies[len(texts) % len(bodies)]
        wanted = rng.choice([rng.randint(1, 16), rng.randint(1, 64), rng.randint(1, 254)])
        words = body[:wanted]
        while len(words) > 1 and len(tokenizer.tokenize(" ".join(words))) > wanted:
            words = words[:-1]
        if 0 < len(tokenizer.tokenize(" ".join(words))) <= 254:
            texts.append(" ".join(words))
        else:
            bodies.pop(len(texts) % len(bodies))
    return texts


def make_random(name, source, folder):
    layers, pooling, length = SHAPES[name]
    torch.manual_seed(1)
    config = BertConfig(hidden_size=384, num_hidden_layers=layers, intermediate_size=1536,
                        num_attention_heads=12, max_position_embeddings=512)
    model = BertModel(config, add_pooling_layer=False)
    for key, p in model.named_parameters():
        if key.endswith("bias"):
            p.data.normal_(0, .05)
        elif "LayerNorm" in key:
            p.data.uniform_(.6, 1.2)
        else:
            p.data.normal_(0, .05)
    model.save_pretrained(folder)
    described = json.loads((folder / "config.json").read_text())
    described.setdefault("position_embedding_type", "absolute")
    (folder / "config.json").write_text(json.dumps(described))
    for file in ["vocab.txt", "tokenizer_config.json"]:
        shutil.copy(source / file, folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps({
        "word_embedding_dimension": 384, "pooling_mode_cls_token": pooling == "cls",
        "pooling_mode_mean_tokens": pooling == "mean"}))
    (folder / "sentence_bert_config.json").write_text(json.dumps(
        {"max_seq_length": length, "do_lower_case": False}))
    (folder / "modules.json").write_text(json.dumps([
        {"idx": i, "name": str(i), "path": p, "type": "sentence_transformers.models." + t}
        for i, (p, t) in enumerate([("", "Transformer"), ("1_Pooling", "Pooling"),
                                    ("2_Normalize", "Normalize")])]))


def embed(url, model, texts):
    client = OpenAI(base_url=f"{url}/v1", api_key="none", timeout=600)
    rows = []
    for i in range(0, len(texts), 100):
        answer = client.embeddings.create(model=model, input=texts[i:i + 100])
        rows += [x.embedding for x in answer.data]
    return np.array(rows, dtype=np.float64)


def ndcg(programs, model, scifact):
    out = subprocess.run(
        [programs / "halftone", "eval", "--model", model, "--bits", "0", "--json",
         "--corpus", scifact / "corpus.jsonl", "--queries", scifact / "queries.jsonl",
         "--qrels", scifact / "qrels.tsv"], check=True, capture_output=True, text=True)
    found = json.loads(out.stdout)
    return found["ndcg@10"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--programs", type=Path, default=Path("build"))
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--random", choices=sorted(SHAPES))
    parser.add_argument("--ndcg", type=float)
    args = parser.parse_args()
    torch.set_num_threads(1)
    missed = 0
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        source = args.model
        if args.random:
            source = work / args.random
            make_random(args.random, args.model, source)
        for form in BARS:
            subprocess.run([args.programs / "halftone", "convert", "--from", source,
                            "--layers", form, "--output", work / form], check=True)
        models = work / "models"
        models.mkdir()
        for form in BARS:
            (models / form).symlink_to(work / form)
        reference = SentenceTransformer(str(source), device="cpu")
        texts = collect(args.texts, reference.tokenizer, args.count)
        lengths = [len(reference.tokenizer.tokenize(t)) + 2 for t in texts]
        wanted = reference.encode(texts, normalize_embeddings=True, batch_size=16)
        print(f"{len(texts)} texts of {min(lengths)} .. {max(lengths)} pieces")
        with serving(args.programs / "halftone-server", models, work) as url:
            found = {form: embed(url, form, texts) for form in BARS}
        for form, (bar, slack) in BARS.items():
            got = found[form]
            cosines = (got * wanted).sum(1) / np.linalg.norm(got, axis=1)
            i = int(cosines.argmin())
            ok = cosines[i] >= bar
            print(f"{form}: cosine smallest {cosines[i]:.6f} mean {cosines.mean():.6f}",
                  "" if ok else "MISSED", f"(worst: {texts[i][:60]!r})", flush=True)
            missed += not ok
        for form, (bar, slack) in BARS.items() if args.ndcg is not None else ():
            value = ndcg(args.programs, work / form, args.texts / "scifact")
            ok = abs(value - args.ndcg) <= slack
            print(f"{form}: nDCG@10 on SciFact {value:.4f}", "" if ok else "MISSED",
                  flush=True)
            missed += not ok
    sys.exit(missed > 0)


main()
