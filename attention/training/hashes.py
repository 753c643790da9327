"""Hash attention first, by itself: each layer of the teacher learns to attend by hash codes.

A hash wants many more steps than a matrix does, and they are cheap here: a layer's feed-forward
part is left out, nothing is rounded, and all layers get the teacher's own inputs.  A twin of each
layer, its matrices float, its hash made from activations (calibrate.py), learns by gradient to
add to the text what the teacher's attention adds, in the size that is left of it behind the layer
norm.  Its matrices are then where the student's begin (blocks.py), its hash is the student's.
"""
import torch
import torch.nn.functional as F

from calibrate import calibrate_hash
from model import Layer, LayerConfig

RATE = 1e-3       # of matrices
HASH_RATE = 3     # what belongs to hashes learns so many times as fast


def make_twin(student, i, theirs):
    """Layer i of the student with matrices of the teacher's weights, in training."""
    config, layer = student.config, student.config.layers[i]
    twin = Layer(config, LayerConfig(*["float"] * 6, attention=layer.attention), "twn")
    own = twin.state_dict()
    twin.load_state_dict(own | {k: v for k, v in theirs.state_dict().items() if k in own})
    return twin.train()


def spread(x):
    """What a layer norm divides by; some pieces' sums are many times as large as others'."""
    return x.std(-1, keepdim=True)


def parameter_groups(module, rate):
    """All of a module's parameters, those of hashes with their own rate."""
    hashes = [p for n, p in module.named_parameters() if "hash." in n]
    taken = {id(p) for p in hashes}
    rest = [p for p in module.parameters() if id(p) not in taken]
    return [dict(params=rest, rate=rate), dict(params=hashes, rate=rate * HASH_RATE)]


def slope(step, steps):
    """Share of the rate at a step: up in a tenth of them, then down to nothing."""
    return min(1, 10 * (step + 1) / steps) * (1 - step / steps)


def learn(twin, texts, rate, rounds, say):
    """texts: [(x (B, N, D), mask (B, N), what attention adds (B, N, D))]"""
    groups = parameter_groups(twin, rate)
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
    steps, step = rounds * len(texts), 0
    sizes = [added.square().sum(-1)[mask].mean() / spread(x + added)[mask].square().mean()
             for x, mask, added in texts]
    for r in range(rounds):
        mean = 0.0
        for (x, mask, added), size in zip(texts, sizes):
            twin.hash.power = 1 + 2 * step / steps
            for group in optimizer.param_groups:
                group["lr"] = group["rate"] * slope(step, steps)
            ours = twin.output(twin.attend(x, mask, None, "quadratic", None))
            apart = ((ours - added) / spread(x + added)).square().sum(-1)[mask].mean() / size
            optimizer.zero_grad()
            apart.backward()
            torch.nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
            optimizer.step()
            twin.hash.project()
            mean += apart.item() / len(texts)
            step += 1
        say({"round": r, "attention": round(mean, 4)})


def learn_hashes(student, teacher, batches, generator, rounds, say, rate=RATE,
                 learned=False):
    """-> for each layer of the student its twin, or the teacher's layer where it has no hash.
    batches: [(ids, mask)]; learned: planes start from ksh.py."""
    twins = []
    with torch.no_grad():
        xs = [teacher.embed_pieces(ids) for ids, _ in batches]
    masks = [mask for _, mask in batches]
    for i, theirs in enumerate(teacher.layers):
        twins.append(theirs)
        if student.layers[i].hash is not None:
            twins[i] = make_twin(student, i, theirs)
            with torch.no_grad():
                q, k, _ = twins[i].project_inputs(xs[0])
                calibrate_hash(twins[i].hash, q, k, masks[0], generator, learned)
                added = [theirs.output(theirs.attend(x, mask, None, "quadratic", None))
                         for x, mask in zip(xs, masks)]
            learn(twins[i], list(zip(xs, masks, added)), rate, rounds,
                  lambda line: say({"layer": i} | line))
        with torch.no_grad():
            xs = [theirs(x, mask) for x, mask in zip(xs, masks)]
    return twins
