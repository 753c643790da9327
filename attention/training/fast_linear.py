"""Ternary matrices in training on processors: the engine's kernels do two of the three
products, bytes times codes.

    y  = x W^T    x as bytes, which is what training computes anyway
    dx = dy W     dy, times the scales of rows, as bytes with a scale a token: within 1 %
    dW = dy^T x   in float32, torch's

`make training` builds the library (fast/linear.h).  Without it, and for all that
takes() refuses, quantize.py computes in floats.
"""
import ctypes
import functools

import torch
from torch.autograd.function import once_differentiable

import fast_library

STEP = 64  # LINEAR_DIMS_STEP


class Layer(ctypes.Structure):  # struct linear
    _fields_ = [("form", ctypes.c_int), ("inputs", ctypes.c_size_t),
                ("outputs", ctypes.c_size_t), ("weight", ctypes.c_void_p),
                ("scale", ctypes.c_void_p), ("bias", ctypes.c_void_p)]


class Input(ctypes.Structure):  # struct linear_input
    _fields_ = [("n", ctypes.c_size_t), ("x", ctypes.c_void_p), ("q", ctypes.c_void_p),
                ("scale", ctypes.c_void_p), ("sum", ctypes.c_void_p)]


class Output(ctypes.Structure):  # struct linear_output
    _fields_ = [("then", ctypes.c_int), ("y", ctypes.c_void_p), ("stride", ctypes.c_size_t),
                ("q", ctypes.c_void_p), ("table", ctypes.c_void_p), ("step", ctypes.c_float)]


class Bytes(ctypes.Structure):  # struct fast_linear_bytes
    _fields_ = [("q", ctypes.c_void_p), ("scale", ctypes.c_void_p), ("sum", ctypes.c_void_p)]


@functools.cache
def library():
    """The library; None if it is not there."""
    loaded, at, size = fast_library.library(), ctypes.c_void_p, ctypes.c_size_t
    if loaded is None:
        return None
    loaded.fast_linear_quantize.argtypes = [ctypes.POINTER(Bytes), at, at, size, size]
    loaded.fast_linear_ternarize.argtypes = [at, at, at, size, size]
    loaded.fast_linear_pack.argtypes = [at, at, at, size, size]
    loaded.fast_linear_forward.argtypes = [ctypes.POINTER(of) for of in (Layer, Input, Output)]
    for name in ("quantize", "ternarize", "pack", "forward"):
        loaded["fast_linear_" + name].restype = None
    return loaded


def quantize(x, factors=None):
    """Rows x (n, in), times factors (in) -> q (n, in) int8, scale (n), sum (n) int32."""
    q, n = torch.empty(x.shape, dtype=torch.int8), len(x)
    scale, total = torch.empty(n), torch.empty(n, dtype=torch.int32)
    library().fast_linear_quantize(
        Bytes(q.data_ptr(), scale.data_ptr(), total.data_ptr()), x.data_ptr(),
        None if factors is None else factors.data_ptr(), *x.shape)
    return q, scale, total


def ternarize(weight):
    """weight (out, in) -> levels (out, in) int8, scale (out), by the rule twn."""
    weight = weight.float().contiguous()
    levels, scale = torch.empty(weight.shape, dtype=torch.int8), torch.empty(len(weight))
    library().fast_linear_ternarize(levels.data_ptr(), scale.data_ptr(), weight.data_ptr(),
                                    weight.shape[1], weight.shape[0])
    return levels, scale


def pack(levels):
    """levels (out, in) -> their bytes, packed, and those of the transpose."""
    levels = levels.contiguous()
    packed, turned = torch.empty(2, levels.numel() // 4, dtype=torch.uint8)
    library().fast_linear_pack(packed.data_ptr(), turned.data_ptr(), levels.data_ptr(),
                               levels.shape[1], levels.shape[0])
    return packed, turned


def product(out, packed, scale, bias, rows, add=False):
    """out (n, out) := ((acc scale) scale of rows) + bias, or added; rows of quantize()."""
    q, of, total = rows
    library().fast_linear_forward(
        Layer(0, q.shape[1], out.shape[1], packed.data_ptr(), scale.data_ptr(), bias.data_ptr()),
        Input(len(q), None, q.data_ptr(), of.data_ptr(), total.data_ptr()),
        Output(int(add), out.data_ptr(), out.shape[1], None, None, 0))


class Products(torch.autograd.Function):
    """Of several modules with one input; `parameters`: weight (or, frozen, scale) and bias
    of each, which is where gradients go."""

    @staticmethod
    def forward(ctx, x, frozen, *parameters):
        rows = quantize(x)
        kept, out = [*rows[:2]], []
        for codes, weight, bias in zip(frozen, parameters[::2], parameters[1::2]):
            levels, scale = ternarize(weight) if codes is None else (codes, weight)
            packed, turned = pack(levels)
            out.append(torch.empty(len(x), len(levels)))
            product(out[-1], packed, scale, bias, rows)
            kept += [turned, scale]
        ctx.frozen = frozen
        ctx.save_for_backward(*kept)
        return tuple(out)

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads):
        q, scale, *kept = ctx.saved_tensors
        near = q.float().mul_(scale[:, None])
        one, zero = torch.ones(near.shape[1]), torch.zeros(near.shape[1])
        dx, out = torch.empty_like(near) if ctx.needs_input_grad[0] else None, []
        for i, (codes, dy) in enumerate(zip(ctx.frozen, grads)):
            dy = dy.contiguous()
            turned, row = kept[2 * i:2 * i + 2]
            if dx is not None:
                product(dx, turned, one, zero, quantize(dy, row), add=i > 0)
            dw = dy.T @ near
            out += [dw if codes is None else (dw * codes).sum(1), dy.sum(0)]
        return dx, None, *out


def takes(x, some):
    """Whether linears() can do it: modules of one input, learning, ternary by twn."""
    return x.dtype == torch.float32 and x.device.type == "cpu" and all(
        one.training and one.mix == 1 and one.form == "ternary"
        and (one.rule == "twn" or one.codes is not None)
        and one.inputs % STEP == one.outputs % STEP == 0 for one in some) \
        and library() is not None


def linears(x, some):
    """What each of some quantize.Linear makes of x (..., in)."""
    of = [p for one in some for p in (one.weight if one.codes is None else one.scale, one.bias)]
    out = Products.apply(x.reshape(-1, x.shape[-1]).contiguous(), [one.codes for one in some], *of)
    return [y.unflatten(0, x.shape[:-1]) for y in out]
