"""What every step shares: texts, word pieces, bags of pieces, the model files.

A text is a bag of word pieces, so a set of texts is a sparse matrix of counts
(texts, pieces) and embedding all of them is one product with the table.
"""
import argparse
import json
import lzma
from pathlib import Path

import numpy as np
import scipy.sparse
from safetensors.numpy import load_file, save_file
from tokenizers import BertWordPieceTokenizer

DIM = 256
PIECES_MAX = 256  # leading word pieces of a text that are used
PIECES_KEPT = 512  # and how many the caches keep, to try other limits
SPECIAL = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}


def arguments(doc, **extra):
    """--data, --work and the step's own options (name = default)."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True,
                        help="folder with train/, dev/ and vocab/")
    parser.add_argument("--work", type=Path, required=True,
                        help="folder for caches: embeddings, checkpoints")
    for name, default in extra.items():
        parser.add_argument("--" + name.replace("_", "-"), default=default,
                            type=type(default))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    return args


def json_lines(path):
    opened = lzma.open if path.suffix == ".xz" else open
    with opened(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


class Tokens:
    """Word pieces of many texts: ids[ends[i - 1]:ends[i]] are text i's."""

    def __init__(self, ids, ends):
        self.ids, self.ends = ids, ends
        self.starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)

    def __len__(self):
        return len(self.ends)

    def __getitem__(self, i):
        return self.ids[self.starts[i]:self.ends[i]]

    def lengths(self):
        return self.ends - self.starts

    def bags(self, limit=PIECES_MAX, vocabulary=30522):
        """Counts of the leading `limit` pieces, a sparse (texts, pieces)."""
        place = np.arange(len(self.ids)) - np.repeat(self.starts, self.lengths())
        keep = place < limit
        row = np.repeat(np.arange(len(self)), self.lengths())[keep]
        return scipy.sparse.csr_matrix(
            (np.ones(len(row), np.float32), (row, self.ids[keep])),
            shape=(len(self), vocabulary))


def tokenizer(data):
    return BertWordPieceTokenizer(str(data / "vocab/vocab.txt"), lowercase=True)


def tokenize(pieces, texts, limit=PIECES_KEPT, step=20000):
    """Tokens of `texts`, without [CLS] and [SEP]."""
    ids, sizes = [], []
    for i in range(0, len(texts), step):
        for e in pieces.encode_batch(texts[i:i + step], add_special_tokens=False):
            ids.append(np.asarray(e.ids[:limit], np.int32))
            sizes.append(len(ids[-1]))
    return Tokens(np.concatenate(ids), np.cumsum(sizes).astype(np.int64))


def cached_tokens(path, make):
    """Tokens kept at `path`; make() gives (pieces, texts) the first time."""
    if not path.exists():
        tokens = tokenize(*make())
        np.savez(path, ids=tokens.ids, ends=tokens.ends)
    kept = np.load(path)
    return Tokens(kept["ids"], kept["ends"])


def document_text(document):
    title, text = document.get("title", ""), document["text"]
    return title + " " + text if title else text


PAIR_SETS = ("wiki", "arxiv", "medquad", "opentrivia", "debian")


def pairs(data, work, name):
    """(queries, passages) of one training set; useless stubs are dropped."""
    path = (work / "debian-pairs.jsonl" if name == "debian"
            else data / f"train/{name}-pairs.jsonl.xz")
    both = [(p["query"], p["positive"]) for p in json_lines(path)
            if len(p["positive"]) >= 40 and p["query"].strip()]
    return [q for q, _ in both], [p for _, p in both]


def questions(data):
    with lzma.open(data / "train/questions.txt.xz", "rt", encoding="utf-8") as lines:
        return [q.strip() for q in lines if q.strip()]


def train_tokens(data, work, name):
    """Tokens of one part of the training text: NAME-queries, NAME-passages
    or questions."""
    def make():
        if name == "questions":
            return tokenizer(data), questions(data)
        source, side = name.rsplit("-", 1)
        return tokenizer(data), pairs(data, work, source)[side == "passages"]
    return cached_tokens(work / f"tokens-{name}.npz", make)


def piece_counts(data, work, vocabulary=30522):
    """How often each piece occurs in all the training text, as float64."""
    total = np.zeros(vocabulary)
    for name in PAIR_SETS:
        for side in ("queries", "passages"):
            ids = train_tokens(data, work, f"{name}-{side}").ids
            total += np.bincount(ids, minlength=vocabulary)
    return total + np.bincount(train_tokens(data, work, "questions").ids,
                               minlength=vocabulary)


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def embed(bags, table):
    """L2(bags @ table): float32 (texts, DIM)."""
    return unit(np.asarray(bags @ table, np.float32))


def quantize(table):
    """float (pieces, DIM) -> int8 rows and their scales; zero rows stay zero."""
    peak = np.abs(table).max(axis=1)
    scale = (peak / 127).astype(np.float32)
    rows = np.rint(table / np.maximum(scale, 1e-30)[:, None])
    return np.clip(rows, -127, 127).astype(np.int8), scale


def save_model(folder, data, table, mean, seed, teacher, licence):
    """Write the model directory that the C loader reads."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, scale = quantize(table)
    save_file({"embedding.weight": rows, "embedding.scale": scale},
              folder / "model.safetensors", {"format": "pt"})
    save_file({"mean": mean.astype(np.float32)}, folder / "binarizer.safetensors",
              {"format": "halftone-binarizer", "format_version": "1",
               "kind": "rotation", "seed": str(seed)})
    (folder / "vocab.txt").write_bytes((data / "vocab/vocab.txt").read_bytes())
    config = {"format_version": 1, "model_type": "halftone-static",
              "hidden_size": DIM, "num_hidden_layers": 0,
              "vocab_size": len(rows), "max_position_embeddings": PIECES_MAX,
              "do_lower_case": True, "pooling": "mean", "normalize": True,
              "teacher": teacher, "license": licence}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for file in folder.iterdir():
        file.chmod(0o644)


def load_model(folder):
    """The float table (pieces, DIM) that the stored int8 rows stand for."""
    stored = load_file(folder / "model.safetensors")
    return (stored["embedding.weight"].astype(np.float32)
            * stored["embedding.scale"][:, None])
