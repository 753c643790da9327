"""Train the table: pairs by InfoNCE, the teacher's similarities by KL.

Each step takes one batch of pairs from one training set (its other passages
are the negatives) and one batch of texts that the teacher has embedded (the
student's similarities within the batch follow the teacher's).  The table is
exp(gain) * rows, so that a piece's weight and its direction learn apart.

    table-NAME.npy    the best mean over the dev sets so far
    state-NAME.pt     where the run stands; run again to go on
"""
import time

import numpy as np
import scipy.sparse
import torch
import torch.nn.functional as F

import common
import evaluate
import start

# The share of the steps that each set of pairs gets, of those that --debian leaves.
PAIR_STEPS = {"wiki": 0.55, "arxiv": 0.25, "medquad": 0.12, "opentrivia": 0.08}
TAUGHT_PIECES = 64  # what the teacher saw of a text (teacher.py --pieces)


class BagProduct(torch.autograd.Function):
    """counts @ table for a scipy matrix; the gradient is counts.T @ grad."""

    @staticmethod
    def forward(ctx, table, counts):
        ctx.counts = counts
        return torch.from_numpy(counts @ table.detach().numpy())

    @staticmethod
    def backward(ctx, grad):
        return torch.from_numpy(ctx.counts.T.tocsr() @ grad.numpy()), None


def bags_of(parts):
    """A sparse matrix of counts from lists of piece ids, one list a row."""
    ends = np.cumsum([len(p) for p in parts])
    ids = np.concatenate(parts)
    return scipy.sparse.csr_matrix(
        (np.ones(len(ids), np.float32), ids, np.concatenate([[0], ends])),
        shape=(len(parts), 30522))


class Pairs:
    """Queries and passages of one training set."""

    def __init__(self, data, work, name):
        self.queries = common.train_tokens(data, work, name + "-queries")
        self.passages = common.train_tokens(data, work, name + "-passages")

    def batch(self, random, size):
        size = min(size, len(self.queries) // 2)
        rows = random.choice(len(self.queries), size, replace=False)
        return (bags_of([self.queries[r] for r in rows]),
                bags_of([self.passages[r][:common.PIECES_MAX] for r in rows]))


class Taught:
    """All the texts that the teacher has embedded, with its vectors."""

    def __init__(self, data, work, sets):
        parts, vectors = [], []
        for path in sorted((work / "teacher").glob("*.npz")):
            if path.stem.split("-")[0] not in (*sets, "questions"):
                continue
            tokens = common.train_tokens(data, work, path.stem.rsplit("-", 1)[0])
            shard = np.load(path)
            parts += [tokens[r][:TAUGHT_PIECES] for r in shard["rows"]]
            vectors.append(shard["vectors"])
        self.parts, self.vectors = parts, np.concatenate(vectors)

    def batch(self, random, size):
        rows = random.choice(len(self.parts), size, replace=False)
        return (bags_of([self.parts[r] for r in rows]),
                torch.from_numpy(self.vectors[rows].astype(np.float32)))


def pair_loss(queries, passages, temperature):
    """InfoNCE, both ways: row i of one side belongs to row i of the other."""
    scores = queries @ passages.T / temperature
    target = torch.arange(len(scores))
    return (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2


def similarity_loss(student, teacher, temperature=0.05):
    """KL from the teacher's softmax over the other texts to the student's."""
    same = torch.eye(len(student), dtype=torch.bool)
    want = (teacher @ teacher.T / temperature).masked_fill(same, -1e9).log_softmax(1)
    got = (student @ student.T / temperature).masked_fill(same, -1e9).log_softmax(1)
    return F.kl_div(got, want, log_target=True, reduction="batchmean")


class Table(torch.nn.Module):
    def __init__(self, first, counts):
        super().__init__()
        gain = np.log(start.frequency_weights(counts))
        rows = first / np.exp(gain)[:, None]
        self.gain = torch.nn.Parameter(torch.from_numpy(gain))
        self.rows = torch.nn.Parameter(torch.from_numpy(rows.astype(np.float32)))

    def whole(self):
        return self.gain.exp()[:, None] * self.rows

    def forward(self, *bags):
        table = self.whole()
        return [F.normalize(BagProduct.apply(table, b), dim=1) for b in bags]


class Run:
    """The model, its optimizer and its random numbers: all that a state holds.

    Adagrad takes a first step of the full rate for any piece, however rare, and
    would move it by half its length; `inertia` is the gradient below which a
    piece moves less (the root of Adagrad's first sum of squares).
    """

    def __init__(self, args, first, counts):
        self.share = {n: s * (1 - args.debian) for n, s in PAIR_STEPS.items()}
        if args.debian > 0:
            self.share["debian"] = args.debian
        self.random = np.random.default_rng(args.seed)
        self.model = Table(first, counts)
        self.rates = (args.lr, args.gain_lr)
        self.optimizer = torch.optim.Adagrad(
            [{"params": [self.model.rows]}, {"params": [self.model.gain]}],
            initial_accumulator_value=args.inertia ** 2)
        self.best, self.done = 0.0, 0

    def save(self, path):
        torch.save({"model": self.model.state_dict(), "best": self.best, "done": self.done,
                    "optimizer": self.optimizer.state_dict(),
                    "random": self.random.bit_generator.state}, path)

    def load(self, path):
        state = torch.load(path, weights_only=False)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.random.bit_generator.state = state["random"]
        self.best, self.done = state["best"], state["done"]

    def step(self, args, sets, taught):
        """One update; the pair loss and the teacher's KL before it."""
        self.done += 1
        fall = min(1.0, self.done / 50) * (1 - 0.95 * self.done / args.steps)
        for group, rate in zip(self.optimizer.param_groups, self.rates):
            group["lr"] = rate * fall
        name = self.random.choice(list(self.share), p=list(self.share.values()))
        queries, passages = sets[name].batch(self.random, args.batch)
        texts, teacher = taught.batch(self.random, args.batch)
        queries, passages, texts = self.model(queries, passages, texts)
        pair = pair_loss(queries, passages, args.temperature)
        kl = similarity_loss(texts, teacher)
        self.optimizer.zero_grad()
        (pair + args.teach_weight * kl).backward()
        self.optimizer.step()
        return np.array([pair.item(), kl.item()])


def main():
    args = common.arguments(
        __doc__, name="a", steps=900, batch=1024, lr=0.06, gain_lr=0.1, inertia=2e-3,
        temperature=0.05, teach_weight=1.0, debian=0.2, seed=42, check=150, threads=1)
    torch.set_num_threads(args.threads)
    bench = evaluate.Bench(args.data, args.work)
    run = Run(args, np.load(args.work / "table-start.npy"),
              common.piece_counts(args.data, args.work))
    sets = {n: Pairs(args.data, args.work, n) for n in run.share}
    taught = Taught(args.data, args.work, sets)
    state = args.work / f"state-{args.name}.pt"
    if state.exists():
        run.load(state)
    began, first, losses = time.monotonic(), run.done, np.zeros(2)
    while run.done < args.steps:
        losses += run.step(args, sets, taught)
        if run.done % args.check and run.done < args.steps:
            continue
        table = start.drop_special(run.model.whole().detach().numpy().copy())
        result = bench.run(table)
        pace = (time.monotonic() - began) / (run.done - first)
        pair, kl = losses / args.check
        print(f"{args.name} {run.done} {pace:.2f}s pair {pair:.3f} kl {kl:.3f} "
              f"{evaluate.line(result)}", flush=True)
        losses[:] = 0
        if result["mean"] > run.best:
            run.best = result["mean"]
            np.save(args.work / f"table-{args.name}.npy", table)
        run.save(state)


if __name__ == "__main__":
    main()
