"""What ablate.py tries and the product does not have: put into a student that has been built,
or around its training.  None of it can be written to a file.
"""
import copy
from contextlib import contextmanager

import torch
from torch import nn

import losses
from hashing import Hash
from model import MATRICES, Layer
from quantize import Linear, quantize_rows, quantize_ternary
from train import Trainer

BITS = {"ternary": 2, "four-level": 2, "int8": 8}


def matrices(model):
    """{name: Linear} of the layers."""
    return {f"layers.{i}.{name}": getattr(layer, name) for i, layer in enumerate(model.layers)
            for name in MATRICES if getattr(layer, name) is not None}


def size_bytes(linear):
    """Codes and row scales of a matrix that is not float."""
    return (linear.outputs * (linear.inputs * BITS[linear.form] // 8 + 4)
            + getattr(linear, "more_bytes", 0))


def swap(model, kind, more=lambda name: ()):
    """Every matrix becomes one of `kind`, a subclass of Linear, with the same weights."""
    for name, old in matrices(model).items():
        new = kind(old.inputs, old.outputs, old.form, old.rule, *more(name))
        new.weight, new.bias = old.weight, old.bias
        layer, _, one = name.rpartition(".")
        setattr(model.get_submodule(layer), one, new)


class PerTensor(Linear):
    """One scale and one threshold for the whole matrix."""

    @property
    def more_bytes(self):
        return -4 * (self.outputs - 1)

    def quantised(self):
        codes, scale = quantize_ternary(self.weight.float().reshape(1, -1), self.rule)
        return codes.reshape(self.weight.shape), scale.expand(self.outputs, 1)


def per_tensor(student, world):
    swap(student, PerTensor)


class Salient(Linear):
    """PB-LLM's mixture (arXiv:2310.00034), by columns: the ones that matter are int8 with a
    scale a row, the others ternary.  `columns`: their numbers."""

    def __init__(self, inputs, outputs, form, rule, columns):
        super().__init__(inputs, outputs, form, rule)
        kept = torch.zeros(inputs, dtype=torch.bool)
        kept[columns] = True
        self.register_buffer("kept", kept)

    @property
    def more_bytes(self):
        return self.outputs * (int(self.kept.sum()) * 6 // 8 + 4)

    def quantised(self):
        """Two scales a row do not fit beside codes: the weights themselves, with scale 1."""
        w = self.weight.float()
        near = torch.empty_like(w)
        for columns, (codes, scale) in (
                (self.kept, quantize_rows(w[:, self.kept], 127)),
                (~self.kept, quantize_ternary(w[:, ~self.kept], self.rule))):
            near[:, columns] = codes * scale
        return near, torch.ones(self.outputs, 1)


@torch.no_grad()
def input_energies(model, ids, mask):
    """{name of a matrix: sums of squares of its inputs}: the diagonal of X^T X."""
    out, hooks = {}, []
    for name, linear in matrices(model).items():
        def keep(_, args, name=name):
            out[name] = args[0][mask].square().sum(0)
        hooks.append(linear.register_forward_pre_hook(keep))
    model(ids, mask)
    for hook in hooks:
        hook.remove()
    return out


def salient(student, world, count=16):
    """The columns whose loss would cost most: input energy times squared weights."""
    energy = input_energies(world.teacher, *world.batches[0])
    cost = {name: energy[name] * linear.weight.detach().square().sum(0)
            for name, linear in matrices(student).items()}
    swap(student, Salient, lambda name: (cost[name].topk(count).indices,))


def greedy(student, world):
    """The matrices that sensitivity() picked are int8."""
    every = matrices(student)
    for name in world.sensitivity()["chosen"]:
        every[name].form = "int8"


@torch.no_grad()
def sensitivity(teacher, batches, share=.1):
    """What it costs to round one matrix and leave all else in floats; then the matrices whose
    int8 form wins back most a byte, while they fit into `share` more bytes than all ternary."""
    def cosine():
        both = [(teacher(ids, mask) * want).sum(-1) for (ids, mask), want in zip(batches, wants)]
        return torch.cat(both).mean().item()

    wants = [teacher(ids, mask) for ids, mask in batches]
    rows, total = [], 0
    for name, linear in matrices(teacher).items():
        size = {}
        for form in ("int8", "ternary"):
            linear.form = form
            size[form] = size_bytes(linear)
        rows.append({"name": name, "lost": 1 - cosine(), "adds": size["int8"] - size["ternary"]})
        total += size["ternary"]
        linear.form = "float"
    return {"matrices": rows, "bytes": total, "chosen": choose(rows, share * total)}


def choose(rows, budget):
    chosen = []
    for row in sorted(rows, key=lambda row: -row["lost"] / row["adds"]):
        if row["lost"] > 0 and row["adds"] <= budget:
            chosen.append(row["name"])
            budget -= row["adds"]
    return chosen


class ResidualHash(Hash):
    """BiPFT's estimate of what quantising queries and keys lost (arXiv:2312.08937), of rank 1.
    Five numbers of a token, linear in the layer's input x and shared by the heads; with them
    pair (i, j), of weight w by its codes, gets

        max(w + u (q_m_i k_p_j + q_p_i k_m_j + q_p_i k_p_j), .001 u)

    and what comes out has the mean of v_p under these weights added to every coordinate.  u is
    what a pair of random codes weighs.  So it is a hash whose codes have three real features
    more.  q_p, k_p and v_p begin at 0: at first it is the hash that it was."""

    def __init__(self, spec, heads, head_dims):
        super().__init__(spec, heads, head_dims)
        self.maps = nn.Linear(heads * head_dims, 5)
        with torch.no_grad():
            self.maps.weight[:3] = 0
            self.maps.bias.zero_()
        self.usual = {"positive": spec.bits + 1, "table": 1,
                      "buckets": spec.bits / spec.bucket_bits / 2 ** spec.bucket_bits}

    def weights(self, q, k):
        q_p, k_p, _, q_m, k_m = self.numbers
        of_query = torch.stack([q_m + q_p, q_p], -1)
        of_key = torch.stack([k_p, k_m], -1)
        more = (of_query @ of_key.transpose(-1, -2))[:, None]  # of all heads
        u = self.usual[self.spec.similarity]
        return (super().weights(q, k) + u * more).clamp_min(.001 * u)

    def forward(self, q, k, v, *rest):
        return super().forward(q, k, v + self.numbers[2][..., None, None], *rest)


class ResidualLayer(Layer):
    """Its hash knows of the layer's input."""

    def __init__(self, config, layer, rule):
        super().__init__(config, layer, rule)
        self.hash = ResidualHash(layer.attention, self.heads, config.hidden_size // self.heads)

    def attend(self, x, *rest):
        self.hash.numbers = self.hash.maps(x).unbind(-1)
        return super().attend(x, *rest)


def residual(student, world):
    for i, (old, said) in enumerate(zip(student.layers, student.config.layers)):
        student.layers[i] = ResidualLayer(student.config, said, old.query.rule)
        student.layers[i].load_state_dict(old.state_dict(), strict=False)


def halved(teacher):
    """A teacher of half as many layers, each of which does what two did: the first one's
    matrices are seen, the second one's outputs."""
    teacher = copy.deepcopy(teacher)
    layers = list(teacher.layers)
    for first, second in zip(layers[::2], layers[1::2]):
        first.register_forward_hook(lambda _, args, out, then=second: then(out, args[1]))
    return keep_every_second(teacher)


def keep_every_second(model):
    model.layers = model.layers[::2]
    model.config.layers = model.config.layers[::2]
    return model


@contextmanager
def form_of(model, form):
    """All matrices in a form, for as long as it lasts, from the same latent weights."""
    before = {linear: linear.form for linear in matrices(model).values()}
    try:
        for linear in before:
            linear.form = form
        yield
    finally:
        for linear, one in before.items():
            linear.form = one


class WideBranch(Trainer):
    """EQ-Net's guidance (ICCV 2023): the int8 network on the same latent weights learns from the
    teacher, and the ternary one from both."""

    @property
    def traced(self):
        return True

    def parts(self, ids, mask, t):
        s = self.student(ids, mask, trace=True)
        with form_of(self.student, "int8"):
            wide = self.student(ids, mask)
        return self.compare(s, t, mask) | {
            "wide": losses.cosine(wide, t.vectors),
            "branch": losses.cosine(s.vectors, wide.detach())}
