"""Training texts to word pieces: WORK/texts.npz, once.

    python corpus.py --data DATA --work WORK --packages packages.jsonl [--debs DEBS]
                     [--vocab vocab.txt]

WORK/texts.npz that is there already is left as it is, and refused if its pieces are another
vocabulary's.

DATA holds train/ and vocab/ as attention/training/README.md lists them; packages.jsonl is what
`make demo` fetches; DEBS a folder of Debian packages, unpacked with dpkg-deb -x, of which
WordNet's glosses, FOLDOC and the Jargon File are read.  A text is kept as its first 510 pieces,
without [CLS] and [SEP]; a source is a list of short texts (queries, titles, questions,
glosses) or of passages.
"""
import argparse
import gzip
import json
import lzma
import re
from pathlib import Path

import numpy as np

from files import digest, whole
from text import tokenizer

PIECES_KEPT = 510
PIECES_MAX = 1 << 16  # of a vocabulary: ids are uint16
PAIRS = ("wiki", "arxiv", "medquad", "opentrivia")


def pairs(path):
    """[(query, passage)], without stubs."""
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        both = [json.loads(line) for line in lines]
    return [(p["query"].strip(), p["positive"]) for p in both
            if len(p["positive"]) >= 40 and p["query"].strip()]


def questions(path):
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        return [q.strip() for q in lines if q.strip()]


def descriptions(path):
    """[(summary, long description)] of packages; libraries and their -dev, -doc, -dbg share one."""
    seen, out = set(), []
    with open(path, encoding="utf-8") as lines:
        for package in map(json.loads, lines):
            body = package["text"].partition("\n")[2].strip()
            if len(body) >= 40 and body[:160] not in seen:
                seen.add(body[:160])
                out.append((package["summary"], body))
    return out


def glosses(folder):
    """WordNet: the words of a synset and what they mean."""
    out = []
    for path in sorted(folder.glob("data.*")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith(" "):
                continue
            fields, _, gloss = line.partition(" | ")
            fields = fields.split()
            words = fields[4:4 + 2 * int(fields[3], 16):2]
            words = ", ".join(re.sub(r"\(.*", "", w).replace("_", " ") for w in words)
            out.append(f"{words}: {gloss.strip()}")
    return out


def entries(path):
    """A dictionary of dictd's: headwords at the margin, their text indented."""
    out, lines = [], []
    for line in gzip.open(path, "rt", encoding="utf-8", errors="replace"):
        if line[:1].strip() and lines:
            out.append(" ".join(" ".join(lines).split()))
            lines = []
        lines.append(re.sub(r"[{}]", "", line))
    out.append(" ".join(" ".join(lines).split()))
    return [entry for entry in out if len(entry) >= 80]


def sources(data, packages, debs):
    """Yields (name, short texts or None, passages or None)."""
    for name in PAIRS:
        both = pairs(data / f"train/{name}-pairs.jsonl.xz")
        yield name, [q for q, _ in both], [p for _, p in both]
    yield "questions", questions(data / "train/questions.txt.xz"), None
    both = descriptions(packages)
    yield "debian", [s for s, _ in both], [d for _, d in both]
    if debs is None:
        print("no --debs: WordNet, FOLDOC and the Jargon File are left out")
        return
    for folder in sorted(debs.rglob("usr/share/wordnet")):
        yield "wordnet", glosses(folder), None
    for path in sorted(debs.rglob("*.dict.dz")):
        yield path.name.split(".")[0], None, entries(path)


class Texts:
    """Many texts' pieces: text i is ids[starts[i]:starts[i + 1]]."""

    def __init__(self, path):
        kept = np.load(path)
        self.ids, self.starts = kept["ids"], kept["starts"]
        self.source, self.passage = kept["source"], kept["passage"]  # of each text
        self.names = list(kept["names"])                             # of the sources
        self.cls, self.sep = map(int, kept["marks"])                 # pieces around a text

    def __len__(self):
        return len(self.starts) - 1

    def __getitem__(self, i):
        return self.ids[self.starts[i]:self.starts[i + 1]]

    def lengths(self):
        return np.diff(self.starts)

    def digest(self):
        """What these texts, so sorted, are known by."""
        return digest(*map(np.ascontiguousarray, (self.ids, self.starts, self.source,
                                                  self.passage)), " ".join(map(str, self.names)).encode())


def read_vocab(path):
    """Its pieces, and what it is known by; a vocabulary that cannot be used is refused."""
    known = digest(path)
    vocab = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    if len(vocab) > PIECES_MAX:
        raise SystemExit(f"{path} has {len(vocab)} pieces; texts.npz keeps ids in two bytes: "
                         f"choose a teacher with a vocabulary of at most {PIECES_MAX}")
    missing = [piece for piece in ("[CLS]", "[SEP]", "[UNK]") if piece not in vocab]
    if missing:
        raise SystemExit(f"{path} has no {', '.join(missing)}: expected the vocab.txt of a BERT")
    return vocab, known


def done_already(path, known):
    """Whether the texts are there, of this vocabulary."""
    if not path.exists():
        return False
    try:
        with np.load(path) as kept:
            of = str(kept["vocab"]) if "vocab" in kept else None
    except Exception:
        raise SystemExit(f"{path} cannot be read: delete it")
    if of is None:
        raise SystemExit(f"{path} does not say of which vocabulary it is: delete it")
    if of != known:
        raise SystemExit(f"{path} holds pieces of another vocabulary: "
                         "delete it or choose another WORK")
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of train/ and vocab/")
    parser.add_argument("--work", type=Path, required=True, help="where texts.npz goes")
    parser.add_argument("--packages", type=Path, default=Path("build/demo/packages.jsonl"))
    parser.add_argument("--debs", type=Path, help="folder of unpacked Debian packages")
    parser.add_argument("--vocab", type=Path, help="the teacher's (DATA/vocab/vocab.txt)")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    vocab, known = read_vocab(args.vocab or args.data / "vocab/vocab.txt")
    path = args.work / "texts.npz"
    if done_already(path, known):
        return print(f"{path} is there")
    pieces = tokenizer(vocab)
    names, ids, sizes, source, passage = [], [], [], [], []
    for name, short, long in sources(args.data, args.packages, args.debs):
        names.append(name)
        for is_passage, texts in ((False, short), (True, long)):
            if texts is None:
                continue
            before = sum(sizes)
            for at in range(0, len(texts), 20000):
                for found in pieces.encode_batch(texts[at:at + 20000], add_special_tokens=False):
                    kept = found.ids[:PIECES_KEPT]
                    if kept:
                        ids.append(np.asarray(kept, np.uint16))
                        sizes.append(len(kept))
                        source.append(len(names) - 1)
                        passage.append(is_passage)
            print(f"{name:10} {'passages' if is_passage else 'short':8} {len(texts):7} texts "
                  f"{sum(sizes) - before:9} pieces", flush=True)
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    with whole(path) as made:
        np.savez(made, ids=np.concatenate(ids), starts=starts,
                 source=np.asarray(source, np.uint8), passage=np.asarray(passage),
                 names=np.asarray(names), marks=[vocab.index("[CLS]"), vocab.index("[SEP]")],
                 vocab=known)
    print(f"{len(sizes)} texts, {starts[-1]} pieces")


if __name__ == "__main__":
    main()
