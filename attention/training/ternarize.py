"""Matrices of few bits in closed form, layer by layer, from what a student really sees.

For a matrix with inputs X (the student's, already quantised) and wanted outputs Y (such that
the layer's sum is the teacher's): ridge regression towards the teacher's weights gives the best
float matrix for these inputs; its columns are then rounded one after the other, each rounding's
error being made up for in the columns not yet rounded (GPTQ, Frantar et al., arXiv:2210.17323);
then scales and biases are fitted again.  Only sums over texts of X X^T and Y X^T are needed, so
minutes make a start for training that rounding alone is far from.
"""
import torch


class Sums:
    """Of x (n, in) and y (n, out), rows counting w (n, 1) or 1: what regression needs."""

    def __init__(self):
        self.n = self.x = self.y = self.xx = self.yx = 0

    def add(self, x, y, w=None):
        w = torch.ones(len(x), 1) if w is None else w
        wx, wy = w * x, w * y
        self.n += w.sum()
        self.x, self.y = self.x + wx.sum(0), self.y + wy.sum(0)
        self.xx, self.yx = self.xx + wx.T @ x, self.yx + wy.T @ x

    def centred(self):
        mx, my = self.x / self.n, self.y / self.n
        return mx, my, self.xx / self.n - mx[:, None] * mx, self.yx / self.n - my[:, None] * mx


def regress(xx, yx, weight, pull):
    """argmin |Y - W X|^2 + pull mean(X^2) |W - weight|^2."""
    damped = xx + pull * xx.diagonal().mean() * torch.eye(len(xx))
    away = yx - weight @ xx
    return weight + torch.linalg.solve(damped, away.T).T


def round_columns(w, xx, scale, levels, damp=0.01):
    """Whole numbers (out, in) with scale (out, 1), column by column; levels rounds w / scale."""
    order = xx.diagonal().argsort(descending=True)
    w, xx = w[:, order].clone(), xx[order][:, order]
    xx = xx + damp * xx.diagonal().mean() * torch.eye(len(xx))
    upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(xx)), upper=True)
    codes, n, block = torch.zeros_like(w), w.shape[1], 64
    for first in range(0, n, block):
        last = min(n, first + block)
        part, apart = w[:, first:last].clone(), torch.zeros(len(w), last - first)
        for i in range(last - first):
            at = first + i
            codes[:, at] = levels(part[:, i:i + 1] / scale)[:, 0]
            apart[:, i] = (part[:, i] - codes[:, at] * scale[:, 0]) / upper[at, at]
            part[:, i:] -= apart[:, i:i + 1] * upper[at, at:last]
        w[:, last:] -= apart @ upper[first:last, last:]
    back = torch.empty_like(codes)
    back[:, order] = codes
    return back


def ternary(z):
    return torch.round(z).clamp(-1, 1)


@torch.no_grad()
def fit(linear, sums, pull=1e-3):
    """Set a ternary Linear's latent weight and bias; its codes and scales are what was found."""
    mx, my, xx, yx = sums.centred()
    w = regress(xx, yx, linear.weight, pull)
    size = w.abs()
    kept = size > 0.7 * size.mean(1, keepdim=True)
    scale = (size * kept).sum(1, keepdim=True) / kept.sum(1, keepdim=True)
    codes = round_columns(w, xx, scale, ternary)
    against = ((codes @ xx) * codes).sum(1).clamp_min(1e-12)
    scale = ((yx * codes).sum(1) / against)[:, None]
    codes, scale = codes * scale.sign(), scale.abs().clamp_min(1e-6)
    # survivors at the scale, zeros inside twn's threshold: .7 of the mean, to which survivors
    # alone give their share of the scale
    inside = 0.5 * codes.abs().mean(1, keepdim=True) * scale
    linear.weight.copy_(torch.where(codes != 0, codes * scale, w.clamp(-inside, inside)))
    linear.bias.copy_(my - (codes * scale) @ mx)


@torch.no_grad()
def settle(linear):
    """Latent weights of a ternary Linear (twn) to where no small step turns a code: those that are
    kept at the scale, zeros deep inside the threshold.  Codes and scales are as they were."""
    codes, scale = linear.quantised()
    threshold = 0.7 * codes.abs().mean(1, keepdim=True) * scale  # at least
    inside = linear.weight.clamp(-0.6 * threshold, 0.6 * threshold) / 2
    linear.weight.copy_(torch.where(codes != 0, codes * scale, inside))
