"""Planes of a hash to begin with, learned bit by bit from a teacher's attention.

Kernel-based supervised hashing (Liu et al., CVPR 2012) as EcoFormer uses it
(arXiv:2209.09004): of a token's pairs the ones that the teacher's attention ranks highest
should agree in all bits, the lowest in none, the others do not count.  S holds what is still
to be explained; each bit's plane is moved by gradient steps on tanh-like bits and kept if
its hard bits explain more than the plane it began as.
"""
import torch


def wanted(score, mask, count):
    """Y (B, H, N, N): 1 for the `count` highest real keys of a token's score, -1 for the
    lowest, 0 elsewhere and for padding."""
    pair = mask[:, None, None, :] & mask[:, None, :, None]
    high = score.masked_fill(~pair, -torch.inf).topk(count, -1).indices
    low = score.masked_fill(~pair, torch.inf).topk(count, -1, largest=False).indices
    y = torch.zeros_like(score).scatter_(-1, low, -1.0).scatter_(-1, high, 1.0)
    return y * pair


def planes(fq, fk, score, mask, bits, generator, count=None, rate=0.1, steps=60):
    """fq, fk (B, N, H, m): features of queries and keys, centred, 0 where padded (fk is fq
    where shared); score (B, H, N, N) -> planes (H, bits, m)."""
    heads, m = fq.shape[2:]
    count = count or max(1, min(10, score.shape[-1] // 4))
    left = bits * wanted(score, mask, count)
    size = 1 / (mask.sum() * bits)
    soft = lambda z: 2 * torch.sigmoid(z) - 1
    real = mask[:, None, :].float()  # (B, 1, N)
    deviation = fq.std((0, 1)).clamp_min(1e-6)

    def explain(a, squash):
        z = lambda f: squash(torch.einsum("bnhm,hm->bhn", f, a)) * real
        q, k = z(fq), z(fk)
        return torch.einsum("bhn,bhnm,bhm->h", q, left, k) * size, q, k

    hard = lambda z: torch.where(z >= 0, 1.0, -1.0)
    found = []
    for _ in range(bits):
        first = torch.randn(heads, m, generator=generator) / deviation / m ** 0.5
        a = first.clone().requires_grad_()
        optimizer = torch.optim.Adam([a], lr=rate)
        for _ in range(steps):
            optimizer.zero_grad()
            (-explain(a, soft)[0].sum()).backward()
            optimizer.step()
        with torch.no_grad():
            after, before = explain(a, hard)[0], explain(first, hard)[0]
            a = torch.where((after > before)[:, None], a, first)
            _, q, k = explain(a, hard)
            left = left - q[..., None] * k[..., None, :]
            found.append(a.detach())
    return torch.stack(found, 1)
