"""Attention by hash codes (EcoFormer, arXiv:2209.09004), as attention/hash.h gives it.

Queries and keys become b bits a head, h = +1 or -1; what a token takes from another depends
on the bits alone.  Training passes the sign with ReSTE's gradient (Wu et al., ICCV 2023,
arXiv:2308.06689; power 1 is a clipped straight-through), over pre-activations brought to
unit deviation.  Padding enters no sum.
"""
import torch
import torch.nn.functional as F
from torch import nn

import fast_hash
import ordered

SIMILARITIES = ("positive", "general", "buckets", "table")


class Sign(torch.autograd.Function):
    """+1 where x >= 0, else -1; backward the slope of sign(x) |x|^(1 / power) for
    .1 < |x| <= 1.5, bounded below .1 and nothing beyond 1.5."""

    @staticmethod
    def forward(ctx, x, power):
        ctx.save_for_backward(x)
        ctx.power = power
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        size, power = x.abs(), ctx.power
        if power == 1:
            return grad * (size <= 1.5), None
        slope = size.clamp_min(0.1) ** ((1 - power) / power) / power
        slope = torch.where(size <= 0.1, 0.1 ** (1 / power - 1), slope)
        return grad * slope * (size <= 1.5), None


class OneHot(torch.autograd.Function):
    """Bits (..., r) of +-1 -> (..., 2^r): 1 for the bucket that they name.  With the gradient
    of prod (1 + h_i c_i) / 2, c the bits of a bucket's number: at +-1 it is h_i / 2 times what
    the own bucket has more than the one of which bit i alone differs."""

    @staticmethod
    def forward(ctx, h):
        word = to_words(h)
        ctx.save_for_backward(h, word)
        out = torch.zeros(h.shape[:-1] + (2 ** h.shape[-1],), device=h.device)
        return out.scatter_(-1, word[..., None], 1.0)

    @staticmethod
    def backward(ctx, grad):
        h, word = ctx.saved_tensors
        places = 1 << torch.arange(h.shape[-1], device=h.device)
        other = grad.gather(-1, word[..., None] ^ places)
        return h / 2 * (grad.gather(-1, word[..., None]) - other)


def to_words(h):
    """(..., b) of +-1 -> (...) words: bit r set where h_r is +1."""
    places = 1 << torch.arange(h.shape[-1], device=h.device)
    return ((h > 0) * places).sum(-1)


def from_words(words, bits):
    """(...) words -> (..., b) of +-1."""
    places = torch.arange(bits, device=words.device)
    return ((words[..., None] >> places & 1) * 2 - 1).float()


class Hash(nn.Module):
    """One layer's hash attention.  spec: what config.json says of it."""
    ordered = False

    def __init__(self, spec, heads, head_dims):
        super().__init__()
        if spec.function not in ("kernel", "linear"):
            raise ValueError(f"expected kernel or linear, not {spec.function!r}")
        if spec.similarity not in SIMILARITIES:
            raise ValueError(f"expected one of {SIMILARITIES}, not {spec.similarity!r}")
        self.spec, self.heads, self.head_dims = spec, heads, head_dims
        self.power = 1.0  # of ReSTE
        width = head_dims
        if spec.function == "kernel":
            width = spec.anchors
            anchors = F.normalize(torch.randn(heads, spec.anchors, head_dims), dim=-1)
            self.anchors = nn.Parameter(anchors)
            self.inverse_sigma = nn.Parameter(torch.ones(heads))
        self.planes = nn.Parameter(torch.randn(heads, spec.bits, width))
        self.threshold = nn.Parameter(torch.zeros(heads, spec.bits))
        if spec.similarity == "general":
            self.gamma = nn.Parameter(torch.full((heads,), 0.5))
            self.delta = nn.Parameter(torch.ones(heads))
            self.epsilon = nn.Parameter(torch.full((heads,), 0.1))
        elif spec.similarity == "buckets":
            if spec.bits % spec.bucket_bits:
                raise ValueError(f"expected bucket_bits to divide {spec.bits}, "
                                 f"not {spec.bucket_bits}")
            self.floor = nn.Parameter(torch.full((heads,), 0.1))
        elif spec.similarity == "table":
            agree = 1 - 2 * torch.arange(spec.bits + 1) / spec.bits
            self.table = nn.Parameter(torch.exp(4 * agree).repeat(heads, 1))

    @torch.no_grad()
    def project(self):
        """Back to what a file may hold; after each step of an optimizer."""
        if self.spec.function == "kernel":
            self.anchors.copy_(F.normalize(self.anchors, dim=-1))
            self.inverse_sigma.clamp_(min=1e-3)
        for name in ("floor", "table"):
            if hasattr(self, name):
                getattr(self, name).clamp_(min=1e-6)

    def features(self, x):
        """x (B, N, H, d) -> what the planes meet (B, N, H, anchors or d)."""
        x = x / x.norm(dim=-1, keepdim=True).clamp_min(1e-6)
        if self.spec.function == "linear":
            return x
        near = torch.einsum("...hd,hmd->...hm", x, self.anchors)
        return torch.exp((near - 1) * self.inverse_sigma[:, None])

    def signs(self, x, mask):
        """x (B, N, H, d) -> (B, N, H, b) of +-1."""
        if self.ordered and not self.training:
            return ordered.signs(self, x)
        with torch.autocast(x.device.type, enabled=False):
            z = torch.einsum("...hm,hrm->...hr", self.features(x.float()), self.planes)
            if not self.training:
                return torch.where(z >= self.threshold, 1.0, -1.0)
            z = z - self.threshold
            return Sign.apply(z / self.deviation(z.detach(), mask), self.power)

    @staticmethod
    def deviation(z, mask):
        """Standard deviation over the real tokens: (H, b) of z (B, N, H, b)."""
        real = mask[..., None, None].to(z.dtype)
        n = real.sum()
        mean = (z * real).sum((0, 1)) / n
        return (((z - mean) * real).square().sum((0, 1)) / n).sqrt().clamp_min(1e-6)

    def one_hot(self, h):
        """(B, H, N, b) -> (B, H, N, groups * 2^bucket_bits): 1 for the bucket a group of
        bits names, 0 for the others."""
        return OneHot.apply(h.unflatten(-1, (-1, self.spec.bucket_bits))).flatten(-2)

    def weights(self, q, k):
        """w (B, H, N, N) of the signs (B, H, N, b); not for general."""
        spec = self.spec
        if spec.similarity == "buckets":
            match = self.one_hot(q) @ self.one_hot(k).transpose(-1, -2)
            return match + self.floor[:, None, None]
        agree = q @ k.transpose(-1, -2)
        if spec.similarity == "positive":
            return agree + (spec.bits + 1)
        differ = (spec.bits - agree) / 2
        at = differ.detach().round().long()
        head = torch.arange(self.heads, device=q.device)[:, None, None]
        slope = torch.gradient(self.table.detach(), dim=1)[0]
        return self.table[head, at] + slope[head, at] * (differ - differ.detach())

    def quadratic(self, q, k, v, mask):
        """Pair by pair."""
        if self.spec.similarity == "general":
            w = (q @ k.transpose(-1, -2)) * mask[:, None, None]
            return self.general(w @ v, v, mask)
        w = self.weights(q, k) * mask[:, None, None]
        return (w @ v) / w.sum(-1, keepdim=True)

    def linear(self, q, k, v, mask):
        """By sums over the text: the same numbers but for rounding; not for a table."""
        spec, real = self.spec, mask[:, None, :, None].float()
        if spec.similarity == "table":
            raise ValueError("a table has quadratic order only")
        if spec.similarity == "buckets":
            q, k = self.one_hot(q), self.one_hot(k)
            constant = self.floor[:, None, None]
        else:
            constant = spec.bits + 1
        k, v = k * real, v * real
        found = q @ (k.transpose(-1, -2) @ v)
        if spec.similarity == "general":
            return self.general(found, v, mask)
        total = q @ k.sum(2, keepdim=True).transpose(-1, -2)
        n = real.sum(2, keepdim=True)
        return (found + constant * v.sum(2, keepdim=True)) / (total + constant * n)

    def general(self, found, v, mask):
        real = mask[:, None, :, None].float()
        n = real.sum(2, keepdim=True)
        gamma, delta, epsilon = (p[:, None, None] for p in
                                 (self.gamma, self.delta, self.epsilon))
        mean = (v * real).sum(2, keepdim=True) / n
        return gamma / self.spec.bits * found / n + delta * mean + epsilon * v

    def forward(self, q, k, v, mask, order="quadratic", inject=None):
        """q, k, v (B, N, H, d), k None where shared; mask (B, N) bool.  inject: words
        (B, N, H) of queries and of keys (None where shared) to use instead.  Returns
        (B, N, H, d) and the pair of words that were used.  fast_hash.py does the same
        where it can."""
        if inject is None and fast_hash.serves(self, q, v, order):
            return fast_hash.attend(self, q, k, v, mask)
        if inject is not None:
            bits = self.spec.bits
            hq = from_words(inject[0], bits)
            hk = None if k is None else from_words(inject[1], bits)
        else:
            hq = self.signs(q, mask)
            hk = None if k is None else self.signs(k, mask)
        words = (to_words(hq), None if hk is None else to_words(hk))
        hq = hq.transpose(1, 2)
        hk = hq if hk is None else hk.transpose(1, 2)
        with torch.autocast(v.device.type, enabled=False):
            v = v.float().transpose(1, 2)
            if self.ordered and not self.training:
                out = ordered.hash_attention(self, hq, hk, v, mask)
            else:
                attend = self.quadratic if order == "quadratic" else self.linear
                out = attend(hq, hk, v, mask)
        return out.transpose(1, 2), words


def softmax(q, k, v, mask):
    """softmax(<q, k> / sqrt(d)) v; (B, N, H, d), mask (B, N)."""
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    score = (q @ k.transpose(-1, -2)) / q.shape[-1] ** 0.5
    score = score.masked_fill(~mask[:, None, None], float("-inf"))
    return (torch.softmax(score.float(), -1).to(v.dtype) @ v).transpose(1, 2)
