"""Before anything is trained end to end: layer by layer, each asked for its teacher's output.

AdaQuant's idea (Hubara et al., arXiv:2006.10518) with a whole layer as the block.  A layer
gets what the layers before it, quantised and done, really give.  Its hash is what its twin of
float matrices learned (hashes.py); its matrices are set in closed form to give what those of the
twin give (ternarize.py); then all of it learns by gradient to give what the teacher's layer
gives for the same text.  A layer is small and its target has 384 numbers a piece, so minutes do
what an end to end loss takes long for.
"""
import torch
import torch.nn.functional as F

import losses
from hashes import learn_hashes, parameter_groups, slope, spread
from quantize import drawn_tokens
from ternarize import Sums, fit, settle

RATE = 1e-3


class Text:
    """A batch on its way through both models: what goes into the layer at hand."""

    def __init__(self, student, teacher, ids, mask):
        self.mask = mask
        self.ours, self.theirs = student.embed_pieces(ids), teacher.embed_pieces(ids)


def attended(layer, x, mask):
    return layer.attend(x, mask, None, "quadratic", None)


def fit_matrices(texts, linears, inputs, wanted, norm=lambda t: 1):
    """linears share their inputs; inputs(text) and [wanted(text)] -> (B, N, in or out).  norm:
    what outputs are divided by before anyone sees them; pieces count by what is seen."""
    linears = [one for one in linears if one is not None]
    if any(one.form != "ternary" for one in linears):
        return
    sums = [Sums() for _ in linears]
    for text in texts:
        x = drawn_tokens(inputs(text), 1)[text.mask]
        weight = (torch.ones_like(text.mask[..., None]) / norm(text) ** 2)[text.mask]
        for total, y in zip(sums, wanted(text)):
            total.add(x, y[text.mask], weight)
    for linear, total in zip(linears, sums):
        fit(linear, total)


@torch.no_grad()
def take_over(ours, twin):
    """The twin's hash and matrices of attention."""
    pairs = [(getattr(ours, n), getattr(twin, n)) for n in ("query", "key", "value", "output")]
    for mine, its in pairs:
        if mine is not None:
            mine.weight.copy_(its.weight)
            mine.bias.copy_(its.bias)
    if ours.hash is not None:
        ours.hash.load_state_dict(twin.hash.state_dict(), strict=False)


@torch.no_grad()
def fit_layer(ours, twin, theirs, texts):
    """Each matrix in turn: with what the ones before it really give, so that sums are the
    teacher's."""
    both = [(getattr(ours, n), getattr(twin, n)) for n in ("query", "key", "value")
            if getattr(ours, n) is not None]
    fit_matrices(texts, [a for a, _ in both], lambda t: t.ours,
                 lambda t: [b(t.theirs) for _, b in both])
    for t in texts:
        t.context = ours.context_norm(attended(ours, t.ours, t.mask))
        t.sum = t.theirs + theirs.output(attended(theirs, t.theirs, t.mask))
    fit_matrices(texts, [ours.output], lambda t: t.context, lambda t: [t.sum - t.ours],
                 lambda t: spread(t.sum))
    for t in texts:
        t.middle = ours.attention_norm(t.ours + ours.output(t.context))
        t.wanted = theirs.attention_norm(t.sum)
        t.last = t.wanted + theirs.feed_forward(t.wanted)
    fit_matrices(texts, [ours.up], lambda t: t.middle, lambda t: [theirs.up(t.wanted)])
    fit_matrices(texts, [ours.down], lambda t: ours.inner_norm(F.gelu(ours.up(t.middle))),
                 lambda t: [t.last - t.middle], lambda t: spread(t.last))
    for t in texts:
        del t.context, t.sum, t.middle, t.wanted, t.last


def distance(theirs, texts):
    """Of a layer's outputs from the teacher's, 1 being the teacher's variance: a Directions of all
    dimensions.  What the teacher's layer and its attention leave is kept in the texts."""
    with torch.no_grad():
        for t in texts:
            t.wanted_middle = middle(theirs, t.theirs, t.mask)
            t.wanted = theirs.feed_forward_norm(
                t.wanted_middle + theirs.feed_forward(t.wanted_middle))
        states = torch.cat([t.wanted[t.mask] for t in texts])
    return losses.Directions([None, states[None]], torch.ones(1, len(states), dtype=torch.bool),
                             states.shape[1])


def middle(layer, x, mask):
    """What a layer's feed-forward part gets."""
    return layer.attention_norm(x + layer.output(layer.context_norm(attended(layer, x, mask))))


def train_layer(layer, texts, directions, rate, rounds, say):
    optimizer = torch.optim.AdamW(parameter_groups(layer, rate), lr=rate, betas=(0.9, 0.98),
                                  weight_decay=0.0)
    total, step = rounds * len(texts), 0
    for r in range(rounds):
        mean = [0.0, 0.0]
        for t in texts:
            for group in optimizer.param_groups:
                group["lr"] = group["rate"] * slope(step, total)
            y = middle(layer, t.ours, t.mask)
            half_apart = losses.contexts(y, t.wanted_middle, t.mask)
            y = layer.feed_forward_norm(y + layer.feed_forward(y))
            apart = directions.loss(0, y, t.wanted, t.mask)
            loss = apart + 0.3 * half_apart
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
            optimizer.step()
            for module in layer.modules():
                if hasattr(module, "project"):
                    module.project()
            mean = [mean[0] + apart.item() / len(texts), mean[1] + half_apart.item() / len(texts)]
            step += 1
        say({"round": r, "apart": round(mean[0], 4), "middle": round(mean[1], 4)})


def train_blocks(student, teacher, batches, seed=1, rounds=3, rate=RATE, say=print, closed=True,
                 learned=False):
    """All layers, the first one first.  batches: [(ids, mask)], looked at again and again; of
    the first one hashes are made.  closed: matrices start in closed form, else rounded; learned:
    planes of hashes start from ksh.py."""
    student.train()
    student.set_mix(1)
    twins = learn_hashes(student, teacher, batches, torch.Generator().manual_seed(seed),
                         rounds=2 * rounds, say=say, learned=learned)
    with torch.no_grad():
        texts = [Text(student, teacher, ids, mask) for ids, mask in batches]
    for i, (ours, twin, theirs) in enumerate(zip(student.layers, twins, teacher.layers)):
        take_over(ours, twin)
        if closed:
            fit_layer(ours, twin, theirs, texts)
        train_layer(ours, texts, distance(theirs, texts), rate, rounds,
                    lambda line: say({"layer": i} | line))
        for module in ours.modules() if closed else ():
            if getattr(module, "form", None) == "ternary":
                settle(module)
        with torch.no_grad():
            for t in texts:
                t.ours, t.theirs = ours(t.ours, t.mask), t.wanted
