"""Numbers of few bits: linear layers, the table of pieces, GELU by table.

Every module here has latent float weights and two ways forward:

  soft   what training runs: float weights and inputs, each drawn towards its quantised
         self by `mix` (0: a float network, 1: the quantised one), with the gradient of
         the float one (straight-through).
  exact  what the engine runs (eval mode with mix 1): integers times integers and the
         roundings of docs/formats.md in their order.

freeze() replaces latent weights by their codes and learnable row scales: what a model file
holds, and the last phase of training.
"""
import torch
import torch.nn.functional as F
from torch import nn

import fast_linear
import ordered

FORMS = ("ternary", "four-level", "int8", "float")
RULES = ("twn", "absmean", "absmedian", "tbt")
LEVEL_MAX = {"ternary": 1, "four-level": 3, "int8": 127}
TABLE_MAX = {"int8": 127, "int4": 7}


def over(number, tensor):
    """number / tensor, one float32 division each (1 / x * number is what `/` would do)."""
    return torch.full_like(tensor, number) / tensor


def divided(tensor, number):
    """tensor / number, one division each: on a GPU `/` multiplies by the inverse."""
    return tensor / torch.full_like(tensor, number)


class Straight(torch.autograd.Function):
    """x for backward, what it became for forward: drawn() with mix 1, in one pass."""

    @staticmethod
    def forward(ctx, x, became):
        return became

    @staticmethod
    def backward(ctx, grad):
        return grad, None


def drawn(x, quantised, mix):
    """x + mix (quantised - x), with the gradient of x."""
    if mix == 1:
        return Straight.apply(x, quantised.detach())
    return x + mix * (quantised.detach() - x).detach()


def quantize_tokens(x):
    """x (..., in) -> q (..., in) whole numbers in -127 .. 127, scale (..., 1)."""
    top = x.abs().amax(-1, keepdim=True).clamp_min(1e-5)
    return torch.round(x * over(127, top)).clamp(-127, 127), divided(top, 127)


def drawn_tokens(x, mix):
    """x drawn towards its int8 self."""
    with torch.no_grad():
        top = x.abs().amax(-1, keepdim=True).clamp_min(1e-5).float()
        near = (x * over(127, top)).round_().clamp_(-127, 127).mul_(divided(top, 127))
    return drawn(x, near, mix)


def quantize_rows(w, top):
    """Rows of w -> whole numbers in -top .. top, scale (rows, 1): absmax."""
    scale = divided(w.abs().amax(-1, keepdim=True).clamp_min(1e-12), top)
    return torch.round(w / scale).clamp(-top, top), scale


def quantize_ternary(w, rule):
    """Rows of w -> -1, 0, 1 and scale (rows, 1), by the statistic named.

    twn        zero below .7 mean |w|, scale the mean of the rest   arXiv:1605.04711
    absmean    round(w / mean |w|)                                  arXiv:2402.17764
    absmedian  round(w / median |w|)                                arXiv:2407.09527
    tbt        round(w / (4/3 mean |w|))                            arXiv:2306.01841
    """
    size = w.abs()
    mean = size.mean(-1, keepdim=True)
    if rule == "twn":
        kept = size > 0.7 * mean
        scale = (size * kept).sum(-1, keepdim=True) / kept.sum(-1, keepdim=True).clamp_min(1)
        return torch.sign(w) * kept, scale
    if rule == "absmean":
        scale = mean
    elif rule == "absmedian":
        scale = size.median(-1, keepdim=True).values
    elif rule == "tbt":
        scale = mean * (4 / 3)
    else:
        raise ValueError(f"expected a rule of {', '.join(RULES)}, not {rule!r}")
    return torch.round((w / scale.clamp_min(1e-12)).clamp(-1, 1)), scale


def quantize_four_level(w):
    """Rows of w -> -3, -1, 1, 3 and scale (rows, 1): .498 of the row's deviation is the
    step that loses least of a Gaussian."""
    scale = w.std(-1, keepdim=True, unbiased=False).clamp_min(1e-12) * 0.498
    return 2 * torch.floor(w / (2 * scale)).clamp(-2, 1) + 1, scale


class Linear(nn.Module):
    """y = x W^T + b in one of FORMS; `rule` is the statistic of ternary weights."""
    ordered = False

    def __init__(self, inputs, outputs, form, rule="twn"):
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"expected a form of {', '.join(FORMS)}, not {form!r}")
        self.inputs, self.outputs, self.form, self.rule = inputs, outputs, form, rule
        self.mix = 1.0
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * inputs ** -0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_parameter("scale", None)  # (out), when frozen
        self.register_buffer("codes", None)     # (out, in) int8, when frozen

    @property
    def exact(self):
        return not self.training and self.mix == 1

    def quantised(self):
        """Codes (out, in) and scale (out, 1)."""
        if self.codes is not None:
            return self.codes, self.scale[:, None]
        w = self.weight.float()
        if self.form == "ternary":
            return quantize_ternary(w, self.rule)
        return quantize_four_level(w) if self.form == "four-level" else quantize_rows(w, 127)

    @torch.no_grad()
    def freeze(self, codes=None, scale=None):
        """Keep the codes (those given, or those of the latent weight); scales stay
        learnable.  A float layer is as it was."""
        if self.form == "float" or self.codes is not None:
            return
        if codes is None:
            codes, scale = self.quantised()
        self.codes = codes.to(torch.int8)
        self.scale = nn.Parameter(scale.detach().reshape(-1).clone())
        self.weight = None

    def soft(self, x):
        """From inputs that have been drawn already."""
        if self.form == "float":
            return F.linear(x, self.weight, self.bias)
        if self.codes is not None:
            return F.linear(x, self.codes * self.scale[:, None], self.bias)
        with torch.no_grad():
            codes, scale = self.quantised()
            near = codes * scale
        return F.linear(x, drawn(self.weight, near, self.mix), self.bias)

    def integer(self, q, scale):
        """((acc scale_row) scale_token) + bias with an exact acc; q (..., in), scale
        (..., 1) or one number."""
        codes, row = self.quantised()
        top = 127 * LEVEL_MAX[self.form] * self.inputs
        wide = torch.float32 if top < 2 ** 24 else torch.float64
        with torch.autocast(q.device.type, enabled=False):
            acc = (q.to(wide) @ codes.to(wide).T).float()
            return acc * row.reshape(-1) * scale + self.bias

    def forward(self, x):
        if self.form == "float":
            if self.ordered and not self.training:
                return ordered.product(x, self.weight.T, self.bias)
            return self.soft(x)
        if self.exact:
            return self.integer(*quantize_tokens(x.float()))
        return linears(x, [self])[0]


def linears(x, some):
    """What each of some Linears makes, softly, of x: bytes are made of it once."""
    if fast_linear.takes(x, some):
        return fast_linear.linears(x, some)
    near = drawn_tokens(x, some[0].mix)
    return [one.soft(near) for one in some]


class TokenTable(nn.Module):
    """A row a piece: float, or int8 or int4 with a scale a row."""

    def __init__(self, pieces, dims, form):
        super().__init__()
        if form not in ("float", "int8", "int4"):
            raise ValueError(f"expected a table of float, int8 or int4, not {form!r}")
        self.form = form
        self.mix = 1.0
        self.weight = nn.Parameter(torch.randn(pieces, dims) * 0.05)
        self.register_parameter("scale", None)
        self.register_buffer("codes", None)

    @torch.no_grad()
    def freeze(self, codes=None, scale=None):
        if self.form == "float" or self.codes is not None:
            return
        if codes is None:
            codes, scale = quantize_rows(self.weight, TABLE_MAX[self.form])
        self.codes = codes.to(torch.int8)
        self.scale = nn.Parameter(scale.detach().reshape(-1).clone())
        self.weight = None

    def forward(self, ids):
        if self.codes is not None:
            return self.codes[ids].float() * self.scale[ids][..., None]
        rows = F.embedding(ids, self.weight)
        if self.form == "float":
            return rows
        codes, scale = quantize_rows(rows, TABLE_MAX[self.form])
        if not self.training and self.mix == 1:
            return codes * scale
        return drawn(rows, codes * scale, self.mix)


def learned_step(x, scale, low, high):
    """scale * clamp(round(x / scale)): identity gradient inside the range, and that of
    Learned Step Size Quantization (Esser et al., arXiv:1902.08153) for the scale."""
    g = (x.numel() * high) ** -0.5
    scale = scale * g + (scale * (1 - g)).detach()
    x = (x / scale).clamp(low, high)
    return (x + (torch.round(x) - x).detach()) * scale


class GeluTable(nn.Module):
    """GELU from int8 to int8 with static scales, of the index and of the value."""

    def __init__(self):
        super().__init__()
        self.mix = 1.0
        self.scale = nn.Parameter(torch.tensor([4 / 127, 4 / 127]))
        self.register_buffer("table", None)  # (256) int8, when frozen

    def values(self):
        """(256) whole numbers, -127 .. 127: of the scales as they stand, or frozen."""
        if self.table is not None:
            return self.table
        scale = self.scale.detach().double()
        index = torch.arange(-128, 128, device=scale.device)
        return torch.round(F.gelu(index * scale[0]) / scale[1]).clamp(-127, 127)

    @torch.no_grad()
    def freeze(self, table=None):
        if self.table is None:
            self.table = (self.values() if table is None else table).to(torch.int8)

    def lookup(self, y):
        """y -> whole numbers, and their scale."""
        step = over(1, self.scale[0])
        index = torch.round(y * step).clamp(-128, 127).long()
        return self.values()[index + 128].float(), self.scale[1]

    def forward(self, y):
        y = y.float()
        soft = learned_step(F.gelu(learned_step(y, self.scale[0], -128, 127)),
                            self.scale[1], -127, 127)
        q, scale = self.lookup(y)
        soft = soft + (q * scale - soft).detach()
        return soft if self.mix == 1 else (1 - self.mix) * F.gelu(y) + self.mix * soft
