"""What each choice of the recipe is worth: one thing changed at a time, equal training each.

    python ablate.py --teacher DIR --work WORK --dev DEV --teacher-vectors DIR [--program FILE]
                     [--pieces N] [--start N] [--only a,b] [--seed S]
    python ablate.py --teacher DIR --work WORK --sensitivity
    python ablate.py --work WORK --table [--pieces N] [--start N] [--seed S]

Each of VARIANTS begins as the teacher, is started layer by layer on --start word pieces and
trained end to end on --pieces more, all of them on the same batches.  Then, in eval mode: cosine
to the teacher on batches of another seed, and nDCG@10 of its queries against the teacher's
documents as a share of the teacher's own.  --teacher-vectors is the teacher as a folder of
halftone's, whose embeddings evaluate.py keeps in WORK/dev.  A line a variant goes to
WORK/ablations.jsonl; what has a line of the same pieces and seed is not trained again.
"""
import argparse
import json
import time
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path

import numpy as np
import torch

import variants
from blocks import train_blocks
from calibrate import calibrate
from corpus import Texts
from evaluate import Embedder, Set
from export import load_teacher
from model import MATRICES, LayerConfig
from stream import KINDS, Stream
from text import embedded, tokenize
from train import BATCH, PHASES, Trainer, first_batches

BASE = Path(__file__).parent / "students/mini.json"
SETS = ("scifact", "cranfield", "cisi", "cacm", "med", "npl")
HELD_OUT = 4  # batches of each kind
HELD_OUT_SEED, SENSITIVITY_SEED = 999, 998


@dataclass
class Variant:
    """What is unlike the base: students/mini.json by the ternary phase of train.py."""
    group: str
    name: str
    layer: dict = field(default_factory=dict)    # over every layer of the base
    rule: str = "twn"
    sub_norm: bool = False
    closed: bool = True                          # matrices start in closed form, not rounded
    learned: bool = False                        # planes start from ksh.py
    halved: bool = False                         # every second layer
    losses: dict = field(default_factory=dict)   # over the phase's weights
    change: object = None                        # of variants.py: (student, world) -> None
    trainer: type = Trainer


def hashed(similarity, **more):
    return {"attention": {"form": "hash", "similarity": similarity, "bits": 16} | more}


def form(name):
    return dict.fromkeys(MATRICES, name)


SOFTMAX = {"attention": {"form": "softmax"}}

# The closed form finds codes and scales of one rule, so among weights all begin rounded.
VARIANTS = [
    Variant("attention", "mini"),
    Variant("attention", "softmax", SOFTMAX),
    *(Variant("attention", name, hashed(name))
      for name in ("positive", "general", "buckets", "table")),
    Variant("attention", "positive-shared", hashed("positive", shared=True)),
    Variant("attention", "table-shared", hashed("table", shared=True)),
    Variant("attention", "table-linear", hashed("table", function="linear")),
    *(Variant("attention", f"{name}-32", hashed(name, bits=32))
      for name in ("positive", "buckets", "table")),
    Variant("attention", "learned-planes", learned=True),
    Variant("attention", "residual", change=variants.residual),
    Variant("weights", "rounded", closed=False),
    *(Variant("weights", rule, rule=rule, closed=False)
      for rule in ("absmean", "absmedian", "tbt")),
    Variant("weights", "four-level", form("four-level"), closed=False),
    Variant("weights", "int8", form("int8"), closed=False),
    Variant("weights", "per-tensor", change=variants.per_tensor, closed=False),
    Variant("weights", "salient", change=variants.salient, closed=False),
    Variant("weights", "greedy", change=variants.greedy, closed=False),
    Variant("training", "no-hidden", losses=dict(hidden=0)),
    Variant("training", "values", losses=dict(values=.1)),
    Variant("training", "int8-branch", losses=dict(wide=1, branch=.5),
            trainer=variants.WideBranch),
    Variant("training", "sub-norm", sub_norm=True),
    Variant("training", "gelu-table", {"gelu": "table"}),
    Variant("depth", "3-layers-int8", SOFTMAX | form("int8"), halved=True),
    Variant("depth", "3-layers-ternary", SOFTMAX, halved=True),
]
# Rows of other groups that stand above a group's own; its base is the first of all.
ABOVE = {"attention": [], "weights": [], "training": ["mini", "rounded"],
         "depth": ["mini", "softmax"]}


class World:
    """What all variants share."""

    def __init__(self, teacher, work, seed, start):
        self.folder, self.work, self.seed, self.start = teacher, work, seed, start
        self.texts = Texts(work / "texts.npz")
        self.teacher = load_teacher(teacher, positions=512)

    @cached_property
    def batches(self):
        return first_batches(self.texts, self.seed, self.start)

    @cached_property
    def held_out(self):
        """[(kind, ids, mask, the teacher's vectors)]"""
        of = {kind: [] for kind in KINDS}
        for ids, mask, kind in map(Stream(self.texts, HELD_OUT_SEED, BATCH).step, count()):
            if len(of[kind]) < HELD_OUT:
                with torch.no_grad():
                    of[kind].append((kind, ids, mask, self.teacher(ids, mask)))
            elif all(len(some) == HELD_OUT for some in of.values()):
                return sum(of.values(), [])

    def sensitivity(self):
        """variants.sensitivity() of some 4,000 pieces, kept in WORK/sensitivity.json."""
        path = self.work / "sensitivity.json"
        if not path.exists():
            stream = Stream(self.texts, SENSITIVITY_SEED, 1024)
            found = variants.sensitivity(self.teacher, [stream.step(i)[:2] for i in range(4)])
            path.write_text(json.dumps(found, indent=1) + "\n")
        return json.loads(path.read_text())


class Judge:
    """The dev sets, with the teacher's documents and its figures."""

    def __init__(self, dev, names, vocab, pieces_max, embed, teacher_vectors):
        self.sets = []
        for one in (Set(dev / name) for name in names):
            queries, documents = (embed(teacher_vectors, f"{one.name}-{kind}", one.texts[kind])
                                  for kind in ("queries", "documents"))
            lists = tokenize(vocab, one.texts["queries"], pieces_max)
            self.sets.append((one, lists, documents, one.ndcg(queries, documents).mean()))

    def __call__(self, model):
        """{set: nDCG@10 as a share of the teacher's}"""
        return {one.name: one.ndcg(embedded(model, lists), documents).mean() / theirs
                for one, lists, documents, theirs in self.sets}


def build(variant, world):
    """The student with the teacher's weights, and the teacher that it is held to."""
    said = json.loads(BASE.read_text())
    torch.manual_seed(world.seed)
    layers = [LayerConfig.from_json(layer | variant.layer) for layer in said["layers"]]
    student = load_teacher(world.folder, layers, said["token_embedding"], variant.sub_norm,
                           positions=said["positions"], rule=variant.rule)
    if variant.change:
        variant.change(student, world)
    if not variant.halved:
        return student, world.teacher
    return variants.keep_every_second(student), variants.halved(world.teacher)


def begin(variant, student, teacher, world):
    """Scales of norms and tables as the float network needs them, then layer by layer."""
    student.eval()
    student.set_mix(0)
    calibrate(student, *world.batches[0], world.seed)
    train_blocks(student, teacher, world.batches, world.seed, say=lambda line: None,
                 closed=variant.closed, learned=variant.learned)


def make_trainer(variant, student, teacher, world, pieces):
    phase = PHASES["ternary"]
    phase = phase | {"weights": phase["weights"] | variant.losses}
    student.train()
    return variant.trainer(student, teacher, Stream(world.texts, world.seed, BATCH), phase,
                           phase["rate"], pieces, world.seed)


@torch.no_grad()
def measure(student, world, judge):
    student.eval()
    student.set_mix(1)
    cosines = {}
    for kind, ids, mask, want in world.held_out:
        cosines.setdefault(kind, []).append((student(ids, mask) * want).sum(-1).mean().item())
    cosines = {kind: float(np.mean(of)) for kind, of in cosines.items()}
    ndcg = judge(student)
    return {"cosine": float(np.mean(list(cosines.values()))), "cosines": cosines,
            "share": float(np.mean(list(ndcg.values()))), "shares": ndcg,
            "bytes": sum(map(variants.size_bytes, variants.matrices(student).values()))}


def run_variant(variant, world, judge, pieces):
    began = time.time()
    student, teacher = build(variant, world)
    begin(variant, student, teacher, world)
    training = make_trainer(variant, student, teacher, world, pieces)
    while training.pieces < pieces:
        training.run_step()
    seconds = time.time() - began
    return measure(student, world, judge) | {"seconds": round(seconds, 1)}


def kept(path, same):
    """{name: line} of the lines that have all of `same`."""
    if not path.exists():
        return {}
    lines = map(json.loads, path.read_text().splitlines())
    return {line["name"]: line for line in lines if same.items() <= line.items()}


def table(found):
    """Markdown, of {name: line}."""
    sets = list(next(iter(found.values()))["shares"])
    print("| | variant | cosine | nDCG@10 | " + " | ".join(sets) + " | matrices, MB | seconds |")
    print("|---|---" + "|---:" * (4 + len(sets)) + "|")
    for group, above in ABOVE.items():
        names = above + [v.name for v in VARIANTS if v.group == group]
        for i, line in enumerate(found[name] for name in names if name in found):
            cells = [group if i == 0 else "", line["name"], f"{line['cosine']:.4f}",
                     *(f"{100 * share:.1f}" for share in
                       (line["share"], *(line["shares"][one] for one in sets))),
                     f"{line['bytes'] / 1e6:.2f}", f"{line['seconds']:.0f}"]
            print("| " + " | ".join(cells) + " |")


def print_sensitivity(found):
    print("| matrix | cosine lost | bytes int8 adds | picked |\n|---|---:|---:|---|")
    for row in sorted(found["matrices"], key=lambda row: -row["lost"]):
        print(f"| {row['name']} | {row['lost']:.5f} | {row['adds']} | "
              f"{'yes' if row['name'] in found['chosen'] else ''} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, help="a BERT folder")
    parser.add_argument("--dev", type=Path)
    parser.add_argument("--teacher-vectors", type=Path, help="a folder that halftone opens")
    parser.add_argument("--program", default="build/halftone")
    parser.add_argument("--pieces", type=int, default=300000, help="trained end to end on")
    parser.add_argument("--start", type=int, default=40000, help="pieces of the start")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="names, separated by commas")
    parser.add_argument("--sensitivity", action="store_true", help="of each matrix")
    parser.add_argument("--table", action="store_true", help="of what has been measured")
    args = parser.parse_args()
    only = args.only.split(",") if args.only else [v.name for v in VARIANTS]
    if unknown := set(only) - {v.name for v in VARIANTS}:
        parser.error(f"expected names of variants, not {', '.join(sorted(unknown))}")
    path = args.work / "ablations.jsonl"
    same = {"pieces": args.pieces, "start": args.start, "seed": args.seed}
    if args.table:
        found = kept(path, same)
        return table(found) if found else parser.error(f"{path} has no line of {same}")
    for name in ["teacher"] + ["dev", "teacher_vectors"] * (not args.sensitivity):
        if getattr(args, name) is None:
            parser.error(f"expected --{name.replace('_', '-')}")
    world = World(args.teacher, args.work, args.seed, args.start)
    if args.sensitivity:
        return print_sensitivity(world.sensitivity())
    vocab = (args.teacher / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    judge = Judge(args.dev, SETS, vocab, json.loads(BASE.read_text())["positions"],
                  Embedder(args.program, args.work), args.teacher_vectors)
    for variant in VARIANTS:
        if variant.name not in only or variant.name in kept(path, same):
            continue
        line = {"group": variant.group, "name": variant.name} | same
        line |= run_variant(variant, world, judge, args.pieces)
        with open(path, "a") as file:
            print(json.dumps(line), file=file)
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
