"""Tests of fast_hash.py: python test_fast_hash.py (seconds; wants make training).

Claims: outputs, words and every gradient are those of class Hash in torch, in all forms that
it serves, with texts of different lengths and one of a single token; padding gives 0 and takes
no gradient; what it does not serve is left to torch.
"""
import itertools

import torch

import fast_hash
from hashing import Hash
from model import Attention

SIMILARITIES = [("positive", 16, 1), ("positive", 32, 1), ("buckets", 16, 4),
                ("buckets", 32, 4), ("buckets", 12, 3), ("table", 16, 1), ("table", 32, 1)]
LENGTHS = torch.tensor([21, 1, 2, 13, 8])
HEADS, DIMS = 3, 20
MASK = torch.arange(21) < LENGTHS[:, None]


def make(seed, similarity, bits, bucket_bits, function, shared, power):
    """A hash and its inputs: q, k (None where shared), v, and weights of the output's sum."""
    torch.manual_seed(seed)
    spec = Attention("hash", shared, function, 9, bits, similarity, bucket_bits)
    hash = Hash(spec, HEADS, DIMS).train()
    hash.power = power
    for p in hash.parameters():
        p.data += torch.rand_like(p) * 0.3
    hash.planes.data -= hash.planes.data.mean(-1, keepdim=True)
    q, k, v, weights = (torch.randn(*MASK.shape, HEADS, DIMS) for _ in range(4))
    return hash, (q, None if shared else k, v), weights * MASK[..., None, None]


def rounding_decides(hash, x):
    """Whether a bit, or where its slope jumps, is nearer than rounding."""
    with torch.no_grad():
        z = torch.einsum("...hm,hrm->...hr", hash.features(x), hash.planes) - hash.threshold
        size = (z / hash.deviation(z, MASK))[MASK].abs()
    return any((size - edge).abs().min() < 1e-5 for edge in (0, 0.1, 1.5))


def results(hash, inputs, weights):
    """Output, words, and gradients by name, of whatever Hash.forward runs."""
    hash.zero_grad()
    inputs = [None if x is None else x.clone().requires_grad_() for x in inputs]
    out, words = hash(*inputs, MASK)
    (out * weights).sum().backward()
    grads = {name: p.grad.clone() for name, p in hash.named_parameters()}
    return out.detach(), words, grads | {
        name: x.grad for name, x in zip("qkv", inputs) if x is not None}


def both(hash, inputs, weights):
    """(fast, torch's)"""
    fast, serves = results(hash, inputs, weights), fast_hash.serves
    fast_hash.serves = lambda *_: False
    try:
        return fast, results(hash, inputs, weights)
    finally:
        fast_hash.serves = serves


def compare(what, form):
    for seed in itertools.count():
        hash, inputs, weights = make(seed, *form)
        if not any(rounding_decides(hash, x) for x in inputs[:2] if x is not None):
            break
    assert fast_hash.serves(hash, inputs[0], inputs[2], "quadratic"), what
    (out, words, grads), (want, want_words, want_grads) = both(hash, inputs, weights)
    off = (out - want)[MASK].abs().max()
    assert off < 1e-5, f"{what}: outputs off by {off}"
    assert not out[~MASK].any(), f"{what}: padding is not 0"
    for a, b in zip(words, want_words):
        assert (a is None) == (b is None), what
        assert a is None or torch.equal(a[MASK], b[MASK]), f"{what}: words"
    assert grads.keys() == want_grads.keys(), what
    for name, b in want_grads.items():
        assert b.abs().max() > 0, f"{what}: nothing to compare for {name}"
        off = (grads[name] - b).abs().max() / b.abs().max()
        assert off < 1e-4, f"{what}: gradient of {name} off by {off}"
    for name in "qkv":
        assert name not in grads or not grads[name][~MASK].any(), f"{what}: padding of {name}"


def test_forms():
    for similarity, function, shared, power in itertools.product(
            SIMILARITIES, ("kernel", "linear"), (False, True), (1.0, 2.5)):
        form = (*similarity, function, shared, power)
        compare(str(form), form)


def test_short_vectors():
    """Lengths below the least that a vector is divided by."""
    hash, (q, k, v), weights = make(0, "table", 16, 1, "kernel", False, 1.0)
    q[0, :4] *= 1e-8
    (out, _, grads), (want, _, want_grads) = both(hash, (q, k, v), weights)
    assert (out - want)[MASK].abs().max() < 1e-5
    off = (grads["q"] - want_grads["q"])[0, :4].abs().max()
    assert off < 1e-4 * want_grads["q"][0, :4].abs().max(), off


def test_order_of_threads():
    """The same numbers, run by run, and but for rounding with any number of threads."""
    hash, inputs, weights = make(0, "table", 16, 1, "kernel", False, 2.5)
    threads, grads = torch.get_num_threads(), []
    for n in (1, 3, 3):
        torch.set_num_threads(n)
        grads.append(results(hash, inputs, weights)[2])
    torch.set_num_threads(threads)
    for name, b in grads[2].items():
        assert torch.equal(grads[1][name], b), name
        assert (grads[0][name] - b).abs().max() <= 1e-5 * b.abs().max(), name


def test_left_to_torch():
    hash, (q, _, v), _ = make(0, "positive", 16, 1, "kernel", False, 1.0)
    assert not fast_hash.serves(hash, q, v, "linear")
    assert not fast_hash.serves(hash, q.bfloat16(), v, "quadratic")
    assert not fast_hash.serves(hash.eval(), q, v, "quadratic")
    general, _, _ = make(0, "general", 16, 1, "kernel", False, 1.0)
    assert not fast_hash.serves(general, q, v, "quadratic")


def main():
    if fast_hash.library() is None:
        print("skipped: there is no build/training.so; run: make training")
        return
    torch.set_num_threads(2)
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            test()
            print(f"ok {name}", flush=True)


if __name__ == "__main__":
    main()
