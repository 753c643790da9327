"""Embeddings of the shipped halftone-mini, by the PyTorch reference of attention/training with
its sums in the engine's order: tests/golden/halftone-mini.{txt,npy}.

    python tests/golden/make_shipped.py
"""
import sys
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "attention/training"))
import export
import text
from parity import reference

TEXTS = [
    "a", "Where do penguins live?", "The quick brown fox jumps over the lazy dog.",
    "how to back up a folder to another machine every night",
    "Hamming distance counts the positions in which two strings of equal length differ.",
    "Zürich, São Paulo and Kraków are cities.", "1,024 dimensions x 4 bits = 512 bytes",
    "programme de calcul pour l'astronomie", "日本語の文", "!!! ??? ...",
    "A search server keeps documents as bits and finds what is near in meaning. " * 12,
    "mean pooling of token vectors, then a vector of length one",
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen.",
    "error: expected ';' before '}' token", "ssh -L 8080:localhost:80 user@example.org",
    "What is the boiling point of nitrogen?", "treatment of iron deficiency in children",
    "boundary layer of a flat plate at supersonic speed", "supercalifragilisticexpialidocious",
    "one two three four five six seven eight nine ten",
]


def main():
    torch.set_num_threads(1)
    folder = HERE.parents[1] / "models/halftone-mini"
    model = export.load(folder)[0]
    model.set_ordered(True)
    vocab = (folder / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    lists = text.tokenize(vocab, TEXTS, 256)
    vectors, _ = reference(model, lists)
    (HERE / "halftone-mini.txt").write_text("\n".join(TEXTS) + "\n")
    np.save(HERE / "halftone-mini.npy", vectors)


if __name__ == "__main__":
    main()
