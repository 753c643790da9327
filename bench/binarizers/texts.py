"""The texts that the bench embeds: chunks of lines, NN.txt, shuffled.

    texts.py packages FILE.jsonl OUT    titles and texts of lines {"title", "text"}
    texts.py pairs FILE.jsonl.xz OUT    the passages of lines {"query", "positive"}
    texts.py typos < LINES              one slip of a finger in a fifth of the words
    texts.py half < LINES               the first half of each line's words

White space is a blank each time, and an empty line a full stop, so that a line is a text.
"""

import json
import lzma
import random
import sys
from pathlib import Path

CHUNK, SEED = 10000, 1
TYPOS = 0.2


def line_of(text):
    return " ".join(text.split()) or "."


def chunked(texts, folder):
    random.Random(SEED).shuffle(texts)
    folder.mkdir(parents=True, exist_ok=True)
    for i in reversed(range(0, len(texts), CHUNK)):  # where the first is, all are
        lines = "".join(line_of(text) + "\n" for text in texts[i : i + CHUNK])
        (folder / f"{i // CHUNK:02}.txt").write_text(lines, encoding="utf-8")


def packages(path, folder):
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    chunked([f"{row.get('title', '')} {row.get('text', '')}" for row in rows], folder)


def pairs(path, folder):
    with lzma.open(path, "rt", encoding="utf-8") as file:
        chunked([json.loads(line)["positive"] for line in file], folder)


def slipped(word, rng):
    """The word with two letters turned, one left out, one twice, or its neighbour."""
    i = rng.randrange(len(word) - 1)
    return rng.choice(
        (
            word[:i] + word[i + 1] + word[i] + word[i + 2 :],
            word[:i] + word[i + 1 :],
            word[: i + 1] + word[i:],
            word[:i] + rng.choice("abcdefghijklmnopqrstuvwxyz") + word[i + 1 :],
        )
    )


def typos(line, rng):
    return " ".join(
        slipped(word, rng) if len(word) > 1 and rng.random() < TYPOS else word
        for word in line.split()
    )


def half(line, rng):
    words = line.split()
    return " ".join(words[: (len(words) + 1) // 2])


def main():
    kind, *rest = sys.argv[1:] or ["nothing"]
    if kind in ("packages", "pairs") and len(rest) == 2:
        {"packages": packages, "pairs": pairs}[kind](rest[0], Path(rest[1]))
    elif kind in ("typos", "half") and not rest:
        rng = random.Random(SEED)
        for line in sys.stdin:
            print(line_of({"typos": typos, "half": half}[kind](line, rng)))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
