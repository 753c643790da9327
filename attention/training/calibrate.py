"""Where training begins: what no teacher has is set from activations, layer by layer.

    calibrate(model, ids, mask, seed=1)     # some 5,000 pieces; the model in eval mode

Anchors are centres (spherical k-means) of a head's queries and keys; the bandwidth sigma is
their mean squared distance to the anchors (EcoFormer's, taken once); planes are normal;
thresholds lie between the two tokens in the middle, so that each bit is +1 for half of them.  A table of similarity
falls from e^4 to e^-4.  Norms of sub_norm begin at the size of what they normalise, and the
scales of a GELU table reach what all but one in 10,000 numbers do.
"""
import torch
import torch.nn.functional as F

import ksh


def centres(x, k, generator, rounds=8):
    """x (n, d) unit -> (k, d) unit."""
    pick = torch.randperm(len(x), generator=generator)[:k]
    centre = x[pick.repeat(-(-k // len(pick)))[:k]].clone()
    for _ in range(rounds):
        near = (x @ centre.T).argmax(1)
        total = torch.zeros_like(centre).index_add_(0, near, x)
        full = total.norm(dim=1) > 1e-6
        centre[full] = F.normalize(total[full], dim=1)
    return centre


def learn_planes(hash_layer, q, k, mask, generator, texts=24):
    """From the order in which the queries' and keys' own products put a text's tokens."""
    q, mask = q[:texts].detach(), mask[:texts]
    k = q if k is None else k[:texts].detach()
    score = torch.einsum("bnhd,bmhd->bhnm", q, k)
    both = [hash_layer.features(x).detach() for x in (q, k)]
    mean = torch.cat([f[mask] for f in both]).mean(0)
    fq, fk = ((f - mean) * mask[..., None, None] for f in both)
    with torch.enable_grad():
        return ksh.planes(fq, fk, score, mask, hash_layer.spec.bits, generator)


@torch.no_grad()
def calibrate_hash(hash_layer, q, k, mask, generator, learned=False):
    """q, k (B, N, H, d); k None where shared."""
    seen = q[mask] if k is None else torch.cat([q[mask], k[mask]])
    seen = F.normalize(seen.float(), dim=-1)  # (n, H, d)
    if hash_layer.spec.function == "kernel":
        for h in range(hash_layer.heads):
            anchor = centres(seen[:, h], hash_layer.spec.anchors, generator)
            hash_layer.anchors[h] = anchor
            # |x - a|^2 = 2 - 2 <x, a>
            sigma = (2 - 2 * seen[:, h] @ anchor.T).mean().clamp_min(1e-3)
            hash_layer.inverse_sigma[h] = 1 / sigma
    if learned:
        hash_layer.planes.copy_(learn_planes(hash_layer, q, k, mask, generator))
    else:
        hash_layer.planes.copy_(torch.randn(hash_layer.planes.shape, generator=generator))
    z = torch.einsum("...hm,hrm->...hr", hash_layer.features(seen), hash_layer.planes)
    z, half = z.sort(0).values, len(z) // 2
    hash_layer.threshold.copy_((z[half - 1] + z[half]) / 2)


def quantile(x, share):
    return x.flatten().kthvalue(max(1, int(share * x.numel()))).values


@torch.no_grad()
def calibrate_gelu(gelu, y):
    top = quantile(y.abs(), 0.9999)
    gelu.scale.copy_(torch.stack([top, F.gelu(top)]) / 127)


@torch.no_grad()
def calibrate(model, ids, mask, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = model.embed_pieces(ids)
    size = lambda t: t[mask].square().mean(-1).sqrt().mean()
    for layer in model.layers:
        q, k, v = layer.project_inputs(x)
        if layer.hash is not None:
            calibrate_hash(layer.hash, q, k, mask, generator)
        context = layer.attend(x, mask, None, "quadratic", None)
        if model.config.sub_norm:
            layer.context_norm.weight.fill_(size(context))
        middle = layer.attention_norm(x + layer.output(layer.context_norm(context)))
        inner = layer.up(middle)
        if model.config.sub_norm:
            layer.inner_norm.weight.fill_(size(F.gelu(inner)))
        if layer.gelu is not None:
            calibrate_gelu(layer.gelu, inner[mask])
        x = layer.feed_forward_norm(middle + layer.feed_forward(middle))
