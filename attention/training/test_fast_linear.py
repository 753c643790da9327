"""Tests of the fast products: python test_fast_linear.py, behind `make training`; seconds.

Claims: bytes of tokens and levels of weights are quantize.py's to the bit; both packings are
linear_pack()'s; what linears() makes of an input is what quantize.py makes of it, and so are
gradients of weights, scales and biases; the input's gradient is within the error of its
bytes; what takes() refuses is left to quantize.py.
"""
import ctypes
import itertools

import torch

import fast_linear
import quantize

SHAPES = ((384, 384), (384, 1536), (1536, 384))
TOKENS = (1, 3, 17, 97, 2048)


def make(inputs, outputs, count=1):
    made = [quantize.Linear(inputs, outputs, "ternary") for _ in range(count)]
    for one in made:
        weight = one.weight.data.mul_(torch.rand(outputs, 1) * 0.4 + 0.8)
        # so that no float sum's order decides about a level
        share = weight.abs() / (0.7 * weight.abs().mean(1, keepdim=True))
        weight[(share - 1).abs() < 1e-5] *= 1.01
        one.bias.data.normal_()
    return made


def tokens(n, dims):
    """Of very unequal size, and among them zeros and halves between two whole numbers."""
    x = torch.randn(n, dims) * 10 ** (torch.rand(n, 1) * 6 - 3)
    x[n // 2] = 0
    x[n // 3] = torch.where(torch.arange(dims) % 2 == 0, 127.0, 0.5)
    return x


def apart(a, b):
    """|a - b| / |b|."""
    return ((a - b).norm() / b.norm()).item()


def both(some, x):
    """Outputs and gradients (x's, then those of parameters), the fast way and quantize.py's."""
    slow = lambda x: [one.soft(quantize.drawn_tokens(x, 1)) for one in some]
    goals = [torch.randn(*x.shape[:-1], one.outputs) for one in some]
    for way in (lambda x: fast_linear.linears(x, some), slow):
        x = x.detach().requires_grad_()
        for one in some:
            one.zero_grad()
        out = way(x)
        sum((y * goal).sum() for y, goal in zip(out, goals)).backward()
        yield out, x.grad, {f"{i} {name}": p.grad for i, one in enumerate(some)
                            for name, p in one.named_parameters()}


def compare(some, x, what):
    (out, dx, of), (want_out, want_dx, want_of) = both(some, x)
    for y, want in zip(out, want_out):
        assert y.shape == want.shape
        assert apart(y, want) < 1e-5, f"{what}: output is off by {apart(y, want)}"
    assert of.keys() == want_of.keys()
    for name, want in want_of.items():
        assert apart(of[name], want) < 1e-5, f"{what}: {name} is off by {apart(of[name], want)}"
    # one token's largest number, which makes its scale, may be unusually large
    limit = 0.01 if x[..., 0].numel() >= 17 else 0.014
    assert apart(dx, want_dx) < limit, f"{what}: dx is off by {apart(dx, want_dx)}"
    cosine = torch.cosine_similarity(dx.flatten(), want_dx.flatten(), 0)
    assert cosine > 0.9999, f"{what}: dx has cosine {cosine}"


def test_tokens():
    for dims, n in itertools.product((384, 1536), TOKENS):
        x, factors = tokens(n, dims), torch.rand(dims)
        for by, rows in ((None, x), (factors, x * factors)):
            q, scale, total = fast_linear.quantize(x, by)
            want, want_scale = quantize.quantize_tokens(rows)
            assert torch.equal(q.float(), want) and torch.equal(scale[:, None], want_scale)
            assert torch.equal(total, want.sum(1).int())


def test_levels():
    for inputs, outputs in SHAPES:
        weight = make(inputs, outputs)[0].weight.detach()
        weight[3] = 0
        levels, scale = fast_linear.ternarize(weight)
        want, want_scale = quantize.quantize_ternary(weight, "twn")
        assert torch.equal(levels.float(), want)
        assert 0.4 < levels.abs().float().mean() < 0.7
        assert torch.allclose(scale[:, None], want_scale, rtol=1e-6, atol=0)


def test_packing():
    """Against the engine's own."""
    for inputs, outputs in SHAPES:
        levels = torch.randint(-1, 2, (outputs, inputs), dtype=torch.int8)
        for got, of in zip(fast_linear.pack(levels), (levels, levels.T.contiguous())):
            want = torch.empty_like(got)
            fast_linear.library().linear_pack(
                ctypes.c_void_p(want.data_ptr()), ctypes.c_void_p(of.data_ptr()), 0,
                *map(ctypes.c_size_t, of.shape[::-1]))
            assert torch.equal(got, want)


def test_products():
    for (inputs, outputs), n in itertools.product(SHAPES, TOKENS):
        some = make(inputs, outputs)
        compare(some, tokens(n, inputs), f"{outputs} x {inputs}, {n} tokens")
        some[0].freeze()
        compare(some, tokens(n, inputs), f"{outputs} x {inputs}, frozen, {n} tokens")


def test_one_input():
    """Three matrices of one input, which is (B, N, dims) and not contiguous."""
    some = make(384, 384, 3)
    some[1].freeze()
    compare(some, torch.randn(17, 5, 384).transpose(0, 1), "three of one input")


def test_refused():
    x = torch.randn(3, 128)
    linear = quantize.Linear(128, 64, "ternary")
    assert fast_linear.takes(x, [linear])
    assert not fast_linear.takes(x.double(), [linear])
    for name, value in (("mix", 0.5), ("form", "int8"), ("rule", "tbt"), ("training", False),
                        ("inputs", 96)):
        other = quantize.Linear(128, 64, "ternary")
        setattr(other, name, value)
        assert not fast_linear.takes(x, [linear, other]), name


def test_used():
    """quantize.Linear takes this way."""
    linear, x = make(384, 384)[0], torch.randn(9, 384)
    assert torch.equal(linear(x), fast_linear.linears(x, [linear])[0])
    assert type(linear(x).grad_fn.next_functions[0][0]).__name__ == "ProductsBackward"


def main():
    if fast_linear.library() is None:
        print("skipped: there is no build/training.so (make training)")
        return
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            torch.manual_seed(0)
            test()
            print(f"ok {name}", flush=True)


if __name__ == "__main__":
    main()
