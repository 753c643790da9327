"""Training a student of few bits from its teacher, phase by phase.

    python train.py PHASE --teacher DIR --work WORK --name NAME [--model FILE.json]
                    [--pieces N] [--rate R] [--seed S] [--share F] [--after PHASE]

PHASE is calibrate, hash, ternary, polish or freeze (README.md); each begins where the one
before it in WORK/NAME ended, writes PHASE.pt there and a line of PHASE.jsonl every few steps,
and goes on from its own checkpoint when it is started again (calibrate, once done, is done).  A
checkpoint keeps what it was made with, and is refused where that is not what is asked for.
--model says what the student is (students/*.json), --after another phase to begin from, --share
how much of the texts and of a phase's usual length is taken.
"""
import argparse
import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

import losses
from blocks import RATE as BLOCKS_RATE, train_blocks
from corpus import Texts
from export import load_teacher
from files import digest, digest_of_folder, whole
from hashes import HASH_RATE
from model import LayerConfig
from stream import Stream

# Weights of the losses; `ramp`: the share of the steps in which mix goes from 0 to 1.
PHASES = {
    "hash": dict(after="calibrate", pieces=1.0e6, rate=3e-4, ramp=None,
                 weights=dict(cosine=1, similarities=.2, hidden=1, contexts=.3)),
    "ternary": dict(after="calibrate", pieces=4.5e6, rate=3e-4, ramp=0,
                    weights=dict(cosine=1, similarities=.2, hidden=.5)),
    "polish": dict(after="ternary", pieces=0.2e6, rate=5e-5, ramp=0,
                   weights=dict(cosine=1, similarities=.5, bits=.2)),
    "freeze": dict(after="polish", pieces=0.1e6, rate=1e-4, ramp=0,
                   weights=dict(cosine=1, similarities=.2)),
}
QUEUE = 8192       # teacher embeddings
DIRECTIONS = 96    # of 384
WARM_UP = .05
BATCH = 2048       # pieces
CALIBRATION = 1.2e5  # pieces
SKIPPED_MAX = 20   # steps in a row without a finite gradient
OF_A_RUN = ("teacher", "student file", "texts", "seed", "share")  # all its phases have these


def groups(model, rate):
    """Latent matrices, the table, what belongs to hashes, and all else; matrices alone decay."""
    matrices = [m.weight for n, m in model.named_modules()
                if hasattr(m, "codes") and n != "token" and m.weight is not None]
    table = [] if model.token.weight is None else [model.token.weight]
    hashes = [p for n, p in model.named_parameters() if ".hash." in n]
    taken = {id(p) for p in matrices + table + hashes}
    rest = [p for p in model.parameters() if id(p) not in taken]
    return [dict(params=matrices, rate=rate, weight_decay=0.01),
            dict(params=table, rate=rate * .3, weight_decay=0.0),
            dict(params=rest, rate=rate, weight_decay=0.0),
            dict(params=hashes, rate=rate * HASH_RATE, weight_decay=0.0)]


def schedule(done):
    """Share of the rate when a share `done` of the phase is."""
    return min(1, done / WARM_UP) * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)


class Ahead:
    """Steps of a stream and what the teacher makes of them, the next one already in a thread: what
    the student leaves idle of the processors is used."""

    def __init__(self, stream, teacher, trace):
        self.stream, self.teacher, self.trace = stream, teacher, trace
        self.thread, self.coming = ThreadPoolExecutor(1), {}

    @torch.no_grad()
    def make(self, i):
        ids, mask, kind = self.stream.step(i)
        return ids, mask, kind, self.teacher(ids, mask, trace=self.trace)

    def step(self, i):
        asked = self.coming.get(i) or self.thread.submit(self.make, i)
        self.coming = {i + 1: self.thread.submit(self.make, i + 1)}
        return asked.result()


class Trainer:
    def __init__(self, student, teacher, stream, phase, rate, pieces, seed):
        self.student = student
        self.phase, self.total = phase, pieces
        self.weights = phase["weights"]
        self.step, self.pieces, self.skipped = 0, 0, 0
        self.queue = torch.zeros(0, teacher.config.hidden_size)
        self.optimizer = torch.optim.AdamW(groups(student, rate), lr=rate, betas=(0.9, 0.98),
                                           eps=1e-8, fused=True)
        torch.manual_seed(seed)
        dims = teacher.config.hidden_size
        self.rotation = torch.linalg.qr(torch.randn(dims, dims)).Q
        ids, mask, _ = Stream(stream.texts, 10 ** 6, 16384).step(3)
        self.ahead = Ahead(stream, teacher, self.traced)
        self.directions = None
        if self.weights.get("hidden"):
            with torch.no_grad():
                hidden = teacher(ids, mask, trace=True).hidden
            self.directions = losses.Directions(hidden, mask, DIRECTIONS)

    @property
    def traced(self):
        return any(self.weights.get(k) for k in ("hidden", "values", "contexts"))

    def parts(self, ids, mask, t):
        """Every loss with a weight, by name; t: what the teacher makes of the texts."""
        s = self.student(ids, mask, trace=self.traced)
        return self.compare(s, t, mask)

    def compare(self, s, t, mask):
        want, have = (t.vectors, s.vectors) if self.traced else (t, s)
        w, out = self.weights, {"cosine": losses.cosine(have, want)}
        if w.get("similarities") and len(self.queue):
            out["similarities"] = losses.similarities(have, want, self.queue)
        layers = range(len(self.student.layers)) if self.traced else []
        mean = lambda parts: sum(parts) / len(parts)
        if w.get("hidden"):
            out["hidden"] = mean([self.directions.loss(i, s.hidden[i + 1], t.hidden[i + 1], mask)
                                  for i in layers])
        if w.get("contexts"):
            out["contexts"] = mean([losses.contexts(s.context[i], t.context[i], mask)
                                    for i in layers])
        if w.get("values"):
            out["values"] = mean([losses.value_relations(s.values[i], t.values[i], mask)
                                  for i in layers[-2:]])
        if w.get("bits"):
            out["bits"] = losses.bits(have, want, self.rotation)
        self.queue = torch.cat([want, self.queue])[:QUEUE]
        return out

    def run_step(self):
        """One step of the optimizer, or none where the gradient is not finite: counted, and an
        error when they are too many in a row."""
        ids, mask, kind, t = self.ahead.step(self.step)
        done = self.pieces / self.total
        ramp = self.phase["ramp"]
        self.student.set_mix(0 if ramp is None else min(1, done / ramp) if ramp else 1)
        self.student.set_power(1 + (1 - math.cos(math.pi * done)))  # ReSTE: 1 to 3
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * schedule(done)
        parts = self.parts(ids, mask, t)
        loss = sum(self.weights[name] * part for name, part in parts.items())
        self.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        if torch.isfinite(norm):
            self.optimizer.step()
            self.student.project()
            self.skipped = 0
        else:
            self.skipped += 1
        self.step += 1
        self.pieces += int(mask.sum())
        if self.skipped >= SKIPPED_MAX:
            raise FloatingPointError(
                f"step {self.step}: the gradient was not finite in {self.skipped} steps in a row; "
                "begin again from an earlier checkpoint, with a lower --rate")
        return kind, {name: part.item() for name, part in
                      ({"loss": loss, "norm": norm} | parts).items()}

    def state(self):
        return {"student": self.student.state_dict(), "step": self.step, "pieces": self.pieces,
                "optimizer": self.optimizer.state_dict(), "queue": self.queue}

    def restore(self, state):
        self.student.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.pieces, self.queue = state["step"], state["pieces"], state["queue"]

    def run(self, path, log, settings, every=60):
        """Until the pieces of the phase are used; a checkpoint every so many seconds.  Lines have
        the means of steps that were taken, and the number of those skipped."""
        self.student.train()
        began, saved, mean, skipped = time.time(), time.time(), {}, 0
        while self.pieces < self.total:
            kind, said = self.run_step()
            said[kind] = said["cosine"]
            skipped += self.skipped > 0
            for name, value in said.items() if self.skipped == 0 else ():
                mean.setdefault(name, []).append(value)
            if self.step % 20 == 0 or self.pieces >= self.total:
                line = {"step": self.step, "pieces": self.pieces,
                        "seconds": round(time.time() - began, 1), "skipped": skipped} | {
                    name: round(sum(v) / len(v), 4) for name, v in mean.items()}
                print(json.dumps(line), file=log, flush=True)
                mean, skipped = {}, 0
            if time.time() - saved > every:
                save(self.state() | {"settings": settings}, path)
                saved = time.time()
        save(self.state() | {"settings": settings}, path)


def save(state, path):
    with whole(path) as made:
        torch.save(state, made)


def read(path, settings, of=None):
    """A checkpoint that was made with these settings (of: those that count), or a refusal."""
    if not path.exists():
        raise SystemExit(f"{path} is not there: run that phase first")
    state = torch.load(path)
    had = state.get("settings")
    advice = "delete it, or choose another NAME"
    if had is None:
        raise SystemExit(f"{path} does not say what it was made with: {advice}")
    for key in of or settings:
        have, want = had.get(key), settings[key]
        if have != want:
            words = f"{key} {have}, not {want}" if isinstance(want, (int, float)) else (
                f"another {key}")
            raise SystemExit(f"{path} was made with {words}: {advice}")
    return state


def make_student(teacher_folder, path, seed):
    """The student of a file in students/, with the teacher's weights."""
    said = json.loads(Path(path).read_text())
    torch.manual_seed(seed)
    layers = [LayerConfig.from_json(layer) for layer in said["layers"]]
    theirs = json.loads((Path(teacher_folder) / "config.json").read_text())["num_hidden_layers"]
    if len(layers) != theirs:
        raise SystemExit(
            f"{teacher_folder} has {theirs} layers, the student of {path} {len(layers)}: a student "
            f"has as many as its teacher. Write a student file with an entry for each of {theirs} "
            "layers (--model of train.py and finish.py, STUDENT of recipe.sh), or take a teacher "
            f"of {len(layers)}")
    return load_teacher(teacher_folder, layers, said["token_embedding"],
                        positions=said["positions"], rule=said["rule"])


def first_batches(texts, seed, pieces, share=1.0):
    """[(ids, mask)] for train_blocks."""
    of_64 = (batch for batch in map(Stream(texts, seed + 100, 6000).step, range(1000))
             if batch[0].shape[1] == 64)
    stream, batches = Stream(texts, seed + 200, 4096, share), [next(of_64)[:2]]
    while sum(int(mask.sum()) for _, mask in batches) < pieces:
        batches.append(stream.step(len(batches))[:2])
    return batches


def run_calibrate(student, teacher, texts, path, log, args):
    """Hashes from activations, then block by block (calibrate.py, blocks.py)."""
    rate, pieces = args.rate or BLOCKS_RATE, args.pieces or CALIBRATION * args.share
    settings = settings_of_run(args, texts) | {"rate": rate, "pieces": pieces}
    if path.exists():
        read(path, settings)
        return
    batches = first_batches(texts, args.seed, pieces, args.share)
    train_blocks(student, teacher, batches, args.seed, rate=rate,
                 say=lambda line: print(json.dumps(line), file=log, flush=True))
    save({"student": student.state_dict(), "step": 0, "pieces": 0, "settings": settings}, path)


def run_phase(student, teacher, texts, path, log, args):
    phase = PHASES[args.phase]
    rate, pieces = args.rate or phase["rate"], args.pieces or phase["pieces"] * args.share
    settings = settings_of_run(args, texts) | {"rate": rate, "pieces": pieces}
    begun = read(path.with_name(f"{args.after or phase['after']}.pt"), settings, OF_A_RUN)
    settings["beginning"] = digest(json.dumps(begun["settings"], sort_keys=True).encode())
    student.load_state_dict(begun["student"])
    if args.phase == "freeze":
        student.freeze()
    trainer = Trainer(student, teacher, Stream(texts, args.seed, BATCH, args.share), phase, rate,
                      pieces, args.seed)
    if path.exists():
        trainer.restore(read(path, settings))
    trainer.run(path, log, settings)


def settings_of_run(args, texts):
    """What checkpoints of one run have in common."""
    return {"teacher": digest_of_folder(args.teacher), "student file": digest(args.model),
            "texts": texts.digest(), "seed": args.seed, "share": args.share}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("phase", choices=["calibrate", *PHASES])
    parser.add_argument("--teacher", type=Path, required=True, help="a BERT folder")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--model", type=Path, default=Path(__file__).parent / "students/mini.json")
    parser.add_argument("--pieces", type=float, help="length of the phase in word pieces")
    parser.add_argument("--rate", type=float)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=1.0, help="of the texts and of the length")
    parser.add_argument("--after", help="the phase to begin from")
    args = parser.parse_args()
    folder = args.work / args.name
    folder.mkdir(parents=True, exist_ok=True)
    path, log = folder / f"{args.phase}.pt", open(folder / f"{args.phase}.jsonl", "a")
    texts = Texts(args.work / "texts.npz")
    teacher = load_teacher(args.teacher, positions=512)
    student = make_student(args.teacher, args.model, args.seed)
    run = run_calibrate if args.phase == "calibrate" else run_phase
    run(student, teacher, texts, path, log, args)


if __name__ == "__main__":
    main()
