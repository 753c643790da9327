"""Hash attention in training mode as one operation of build/training.so.

Class Hash calls attend() where serves() says so: there the two give the same numbers but for
rounding, tokens of padding apart, which get 0 here.
"""
import ctypes

import torch

from fast_library import library

BITS_MAX, WIDTH_MAX = 32, 64
SIZES = ("texts", "longest", "heads", "dims", "anchors", "bits", "bucket_bits", "threads")
INPUTS = ("q", "k", "v", "anchor", "inverse_sigma", "planes", "threshold", "table")
OUTPUTS = ("out", "words_q", "words_k", "deviation_q", "deviation_k")


class Arguments(ctypes.Structure):  # struct fast_hash
    _fields_ = ([(name, ctypes.c_size_t) for name in SIZES] + [("power", ctypes.c_float)] +
                [(name, ctypes.c_void_p) for name in ("length",) + INPUTS + OUTPUTS])


class Gradient(ctypes.Structure):   # struct fast_hash_gradient
    _fields_ = [(name, ctypes.c_void_p) for name in ("out",) + INPUTS]


def pointers(names, tensors):
    return {name: None if t is None else t.data_ptr() for name, t in zip(names, tensors)}


def call(name, *arguments):
    if getattr(library(), name)(*map(ctypes.byref, arguments)):
        raise MemoryError(name)


class Attend(torch.autograd.Function):
    """The tensors of INPUTS -> out and the words of queries and keys, one tensor each."""

    @staticmethod
    def forward(ctx, bucket_bits, power, length, *inputs):
        q, k, v, anchor, _, planes, _, _ = inputs = [
            None if t is None else t.detach().contiguous() for t in inputs]
        texts, longest, heads, dims = q.shape
        bits = planes.shape[1]
        words = [None if x is None else x.new_empty(x.shape[:3], dtype=torch.int64)
                 for x in (q, k)]
        deviations = [None if x is None else x.new_empty(heads, bits) for x in (q, k)]
        out = torch.empty_like(v)
        ctx.sizes = dict(zip(SIZES, (
            texts, longest, heads, dims, 0 if anchor is None else anchor.shape[1], bits,
            bucket_bits, torch.get_num_threads()))) | {"power": power}
        call("fast_hash_forward", Arguments(
            **ctx.sizes, length=length.data_ptr(), **pointers(INPUTS, inputs),
            **pointers(OUTPUTS, (out, *words, *deviations))))
        ctx.save_for_backward(length, *inputs, *deviations)
        ctx.mark_non_differentiable(*(w for w in words if w is not None))
        return out, *words

    @staticmethod
    def backward(ctx, grad, *_):
        length, *inputs, deviation_q, deviation_k = ctx.saved_tensors
        grad = grad.contiguous()
        out = [None if t is None else torch.empty_like(t) for t in inputs]
        for t in out[3:]:
            if t is not None:
                t.zero_()  # parameters': added to
        call("fast_hash_backward", Arguments(
            **ctx.sizes, length=length.data_ptr(), **pointers(INPUTS, inputs),
            **pointers(OUTPUTS[3:], (deviation_q, deviation_k))),
            Gradient(**pointers(("out",) + INPUTS, [grad] + out)))
        return None, None, None, *out


def serves(hash, q, v, order):
    """Whether attend() can stand for the layer's forward."""
    spec = hash.spec
    return (hash.training and library() is not None and order == "quadratic" and
            spec.similarity != "general" and spec.bits <= BITS_MAX and
            q.shape[-1] <= WIDTH_MAX and hash.planes.shape[-1] <= WIDTH_MAX and
            all(t.device.type == "cpu" and t.dtype == torch.float32 for t in (q, v)))


def table(hash):
    """(heads, groups + 1) w of pairs by how many of their groups differ; groups of one bit
    but for buckets."""
    spec = hash.spec
    if spec.similarity == "table":
        return hash.table
    if spec.similarity == "buckets":
        groups = spec.bits // spec.bucket_bits
        return groups - torch.arange(groups + 1) + hash.floor[:, None]
    return (2 * spec.bits + 1 - 2.0 * torch.arange(spec.bits + 1)).repeat(hash.heads, 1)


def attend(hash, q, k, v, mask):
    """Hash.forward without words to use instead; padding is behind."""
    kernel = hash.spec.function == "kernel"
    out, *words = Attend.apply(
        hash.spec.bucket_bits if hash.spec.similarity == "buckets" else 1, hash.power,
        mask.sum(1), q, k, v, hash.anchors if kernel else None,
        hash.inverse_sigma if kernel else None, hash.planes, hash.threshold, table(hash))
    return out, tuple(words)
