"""Float sums in the engine's order: what is left between it and the reference is nothing.

Rounding to int8 makes a difference of one part in 10^7 into one of a hundredth wherever it
moves a number over a step, so two programs that differ in the order of a sum drift apart to
the size of int8's own noise (parity.py measures it).  With model.set_ordered() an exact forward
takes each sum as attention/rows.h, softmax.h and hash.h fix it: 16 partial sums a row, fused
multiply-adds over k, the engine's polynomials, and hash attention's two orders by length.
Several times slower; for golden data and parity.
"""
import torch

EXP = (0.008312502, 0.041890334, 0.16667116, 0.4999923, 1.0, 1.0)
GELU = (0.0057201148, -0.0055489140, -0.030426351, 0.044091564, 0.049259938, -0.13379332,
        0.034925322, 0.16334261, -0.21847323, 0.051329859, 0.17717811, -0.27188253,
        0.20680669, -0.094558202, 0.025008099, -0.0029797726)
GELU_A_MAX = 5.5
MAGIC = 12582912.0  # 1.5 * 2^23: adding it rounds to whole numbers


def number(x, like):
    return torch.tensor(x, dtype=torch.float32, device=like.device)


def fused():
    """Whether this torch's float32 addcmul rounds once."""
    a, b = torch.linspace(0.1, 1.7, 4099), torch.linspace(1.3, 0.3, 4099)
    return torch.equal(torch.addcmul(-(a * b), a, b),
                       (a.double() * b.double() - (a * b).double()).float())


FUSED = fused()


def fma(a, b, c):
    """a b + c, rounded once (by way of float64 but for one case in 2^29)."""
    if FUSED:
        return torch.addcmul(c, a, b)
    return torch.addcmul(c.double(), a.double(), b.double()).float()


def product(a, b, start=None):
    """start + a (..., n, K) b (..., K, m), sums over k in order."""
    if start is None:
        start = a.new_zeros(())
    shape = torch.broadcast_shapes(a.shape[:-1] + (1,), b.shape[:-2] + (1, b.shape[-1]))
    total = start.expand(shape)
    for k in range(a.shape[-1]):
        total = fma(a[..., k:k + 1], b[..., k:k + 1, :], total)
    return total


def lanes_sum(x):
    """(..., 16) -> (..., 1)."""
    for half in (8, 4, 2, 1):
        x = x[..., :half] + x[..., half:]
    return x


def row_sum(x, squared=False):
    """(..., dims) -> (..., 1): 16 partial sums."""
    x = x.unflatten(-1, (-1, 16))
    total = x[..., 0, :]
    if squared:
        total = fma(total, total, torch.zeros_like(total))
    for i in range(1, x.shape[-2]):
        part = x[..., i, :]
        total = fma(part, part, total) if squared else total + part
    return lanes_sum(total)


def root(x):
    """Rounded once, which float32's own need not be."""
    return torch.sqrt(x.double()).float()


def inverse_root(x):
    return torch.ones_like(x) / root(x)


def layer_norm(x, weight, bias, epsilon):
    dims = number(x.shape[-1], x)
    x = x - row_sum(x) / dims
    variance = row_sum(x, True) / dims
    return fma(x * inverse_root(variance + number(epsilon, x)), weight, bias)


def rms_norm(x, weight, epsilon):
    square = row_sum(x, True) / number(x.shape[-1], x)
    return x * inverse_root(square + number(epsilon, x)) * weight


def polynomial(x, coefficients):
    p = number(coefficients[0], x).expand(x.shape)
    for c in coefficients[1:]:
        p = fma(p, x, number(c, x))
    return p


def exp(x):
    x = x.clamp(-87, 88)
    k = fma(x, number(1.44269504, x), number(MAGIC, x)) - MAGIC
    r = fma(k, number(-0.693359375, x), x)
    r = fma(k, number(2.12194440e-4, x), r)
    return polynomial(r, EXP) * (k.int() + 127 << 23).view(torch.float32)


def gelu(x):
    out = torch.empty_like(x)
    for at, to in zip(x.flatten().split(1 << 16), out.view(-1).split(1 << 16)):
        a = at.abs().clamp_max(GELU_A_MAX)
        t = fma(a, number(2 / GELU_A_MAX, x), number(-1, x))
        to.copy_(fma(a, polynomial(t, GELU), at.clamp_min(0)))
    return out


def mean(x, mask):
    """x (B, N, D) -> (B, D)."""
    x = x * mask[..., None]
    total = x[:, 0]
    for i in range(1, x.shape[1]):
        total = total + x[:, i]
    return total / mask.sum(1, keepdim=True).float()


def unit(x):
    return x / root(row_sum(x, True))


def softmax(q, k, v, mask):
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    scale = inverse_root(number(q.shape[-1], q))
    real = mask[:, None, None]
    score = product(q, k.transpose(-1, -2)) * scale
    top = score.masked_fill(~real, float("-inf")).amax(-1, keepdim=True)
    w = exp(score - top) * real
    total = row_sum(torch.nn.functional.pad(w, (0, -w.shape[-1] % 16)))
    return (product(w, v) * (torch.ones_like(total) / total)).transpose(1, 2)


def inverse_length(x):
    length = root(row_sum(x, True)).clamp_min(number(1e-6, x))
    return torch.ones_like(length) / length


def signs(hash_layer, x):
    """x (B, N, H, d) -> +-1 (B, N, H, b)."""
    x = x.transpose(1, 2)
    scale = inverse_length(x)
    if hash_layer.spec.function == "kernel":
        near = product(x, hash_layer.anchors.transpose(-1, -2)) * scale
        x = exp((near - 1) * hash_layer.inverse_sigma[:, None, None])
        scale = 1.0
    z = product(x, hash_layer.planes.transpose(-1, -2)) * scale
    return torch.where(z >= hash_layer.threshold[:, None], 1.0, -1.0).transpose(1, 2)


def from_length(spec):
    """How many pieces a text has for which the engine takes linear order."""
    if spec.similarity == "table":
        return 1 << 30
    width = spec.bucket_bits if spec.similarity == "buckets" else 4
    groups, rows, n = -(-spec.bits // width), 1 << width, 1
    share = 9 if spec.similarity == "buckets" else 18  # of a row of the tables
    while 2 * n * n < groups * (6 * n + share * rows):
        n += 1
    return n


def constants(hash_layer, n):
    """What the bits that agree, all values, and the token's own count for; (B, H, 1, 1)."""
    spec = hash_layer.spec
    if spec.similarity != "general":
        return n.new_ones(()), n.new_tensor(spec.bits + 1.0), None
    gamma, delta, epsilon = (p[:, None, None] for p in (
        hash_layer.gamma, hash_layer.delta, hash_layer.epsilon))
    return gamma / (spec.bits * n), delta / n, epsilon


def quadratic(hash_layer, q, k, v, mask, n):
    real = mask[:, None, None]
    if hash_layer.spec.similarity == "general":
        scale, uniform, own = constants(hash_layer, n)
        w = (scale * (q @ k.transpose(-1, -2)) + uniform) * real
        return fma(own, v, product(w, v))
    w = hash_layer.weights(q, k) * real
    total = product(w, torch.ones_like(v[..., :1]))
    return product(w, v) * (torch.ones_like(total) / total)


def scatter(k, v, width, mask):
    """Sums of the values whose keys have c in a group of bits: (B, H, groups, 2^width, d),
    and how many: (B, H, groups, 2^width)."""
    b, h, n, dims = v.shape
    places = (1 << torch.arange(k.shape[-1], device=k.device) % width).float()
    bits = (k > 0) * places
    bits = torch.nn.functional.pad(bits, (0, -bits.shape[-1] % width))
    cell = bits.unflatten(-1, (-1, width)).sum(-1).long()  # (B, H, N, groups)
    groups = cell.shape[-1]
    real = mask[:, None, :, None].float()
    rows = v.new_zeros(b, h, groups, 1 << width, dims)
    for j in range(n):
        at = cell[:, :, j, :, None, None].expand(b, h, groups, 1, dims)
        rows.scatter_add_(3, at, (v * real)[:, :, j, None, None].expand(at.shape))
    mass = torch.nn.functional.one_hot(cell, 1 << width) * real[..., None]
    return rows, mass.sum(2), cell


def fold(rows, bits, scale, uniform):
    """What a query takes from a nibble of bits, from what keys left there."""
    rows = [rows[..., c, :] for c in range(16)]
    bit = [None] * 4
    for r in (3, 2, 1, 0):
        half = 1 << r
        bit[r] = torch.zeros_like(rows[0])
        for c in range(half):
            bit[r] = bit[r] + (rows[c + half] - rows[c])
            rows[c] = rows[c] + rows[c + half]
        bit[r] = bit[r] * (scale if r < bits else 0.0)
    rows[0] = rows[0] * uniform
    for r in range(4):
        rows[0] = rows[0] - bit[r]
        bit[r] = bit[r] + bit[r]
    for c in range(1, 16):
        rows[c] = rows[c & c - 1] + bit[(c & -c).bit_length() - 1]
    return torch.stack(rows, -2)


def gather(rows, cell):
    """rows (B, H, groups, cells, d), cell (B, H, N, groups): a row of each group, added."""
    total = None
    for g in range(cell.shape[-1]):
        at = cell[..., g, None].expand(cell.shape[:-1] + rows.shape[-1:])
        row = rows[:, :, g].gather(2, at)
        total = row if total is None else total + row
    return total


def linear(hash_layer, q, k, v, mask, n):
    spec = hash_layer.spec
    buckets = spec.similarity == "buckets"
    width = spec.bucket_bits if buckets else 4
    rows, mass, _ = scatter(k, v, width, mask)
    cell = scatter(q, v[:, :, :, :0], width, mask)[2]
    scale, uniform, own = (None,) * 3 if buckets else (
        t if t is None else t.squeeze(-1) if t.dim() > 1 else t
        for t in constants(hash_layer, n))
    if buckets:
        every = rows[:, :, 0, 0]
        for c in range(1, rows.shape[3]):
            every = every + rows[:, :, 0, c]
        floor = hash_layer.floor[:, None]
        rows[:, :, 0] += (every * floor)[:, :, None]
        mass[:, :, 0] += (floor[:, None] * n)[..., 0]
        total = gather(mass[..., None], cell)
        return gather(rows, cell) * (torch.ones_like(total) / total)
    for g in range(rows.shape[2]):
        rows[:, :, g] = fold(rows[:, :, g], spec.bits - 4 * g, scale,
                             uniform if g == 0 else 0.0)
    if spec.similarity == "general":
        return fma(own[..., None], v, gather(rows, cell))
    total = (hash_layer.weights(q, k) * mask[:, None, None]).sum(-1, keepdim=True)
    return gather(rows, cell) * (torch.ones_like(total) / total)


def hash_attention(hash_layer, q, k, v, mask):
    """q, k +-1 (B, H, N, b), v (B, H, N, d) -> (B, H, N, d)."""
    n = mask.sum(1).float()[:, None, None, None]
    few = n < from_length(hash_layer.spec)
    if few.all():
        return quadratic(hash_layer, q, k, v, mask, n)
    many = linear(hash_layer, q, k, v, mask, n)
    if not few.any():
        return many
    return torch.where(few, quadratic(hash_layer, q, k, v, mask, n), many)
