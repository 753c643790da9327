"""Tests of the reference itself: python test_model.py (a minute; no data, no network).

Claims: gradients reach every parameter in every form; an exact forward is what numpy's
integers give; mix 1 in training computes what the exact forward does; the two orders of hash
attention agree; padding changes nothing; a model written and read again is the same to the
bit; sums in the engine's order are torch's but for rounding; injected codes are used; a teacher's weights arrive in their places.
"""
import itertools
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import export
import ordered
import quantize
from calibrate import calibrate
from hashing import Sign, from_words, to_words
from model import Attention, Config, Encoder, LayerConfig

VOCAB = ["[UNK]", "[CLS]", "[SEP]"] + [f"word{i}" for i in range(47)]
SIZES = dict(hidden_size=64, vocab_size=len(VOCAB), max_position_embeddings=32,
             num_attention_heads=4, intermediate_size=128)
ATTENTIONS = [Attention()] + [
    Attention("hash", shared, function, 9, 8, similarity, 4)
    for shared, function, similarity in itertools.product(
        (False, True), ("kernel", "linear"), ("positive", "general", "buckets", "table"))]


def make(attention=None, seed=0, calibrated=True, **other):
    torch.manual_seed(seed)
    model = Encoder(Config.uniform(2, attention=attention, **SIZES | other)).eval()
    for name, p in model.named_parameters():
        if "norm" in name or name.endswith("bias"):
            p.data += torch.randn_like(p) * 0.1
    if calibrated:
        calibrate(model, *batch(40, seed))
    return model


def batch(n, seed=0, longest=20):
    g = torch.Generator().manual_seed(seed)
    length = torch.randint(3, longest + 1, (n,), generator=g)
    mask = torch.arange(longest) < length[:, None]
    return torch.randint(3, len(VOCAB), (n, longest), generator=g) * mask, mask


def smooth():
    """One with factors before its inputs, as halftone convert makes them."""
    config = Config.uniform(2, form="int8", **SIZES)
    for layer in config.layers:
        layer.smooth = True
    torch.manual_seed(0)
    model = Encoder(config).eval()
    for layer in model.layers:
        for factors in layer.parameters(recurse=False):
            factors.data.uniform_(0.2, 3)
    return model


def variants():
    """Models that between them have every form of everything."""
    for attention in ATTENTIONS:
        yield make(attention)
    for form in quantize.FORMS[1:]:
        yield make(ATTENTIONS[4], form=form)
    yield make(gelu="table", token_embedding="int4")
    yield smooth()
    yield make(sub_norm=True, pooling="cls", token_embedding="float")


def close(a, b, limit, what):
    off = (a - b).abs().max().item()
    assert off < limit, f"{what}: off by {off}"


def named(model):
    one = model.config.layers[0]
    return f"{one.up} {one.gelu} {one.attention.to_json()}"


def test_gradients():
    ids, mask = batch(16)
    goal = F.normalize(torch.randn(16, 64), dim=1)
    for model in variants():
        for mix, frozen in ((0.5, False), (1.0, False), (1.0, True)):
            if frozen:
                model.freeze()
            model.train()
            model.set_mix(mix)
            model.set_power(2)
            model.zero_grad()
            (1 - (model(ids, mask) * goal).sum(1)).mean().backward()
            for name, p in model.named_parameters():
                assert p.grad is not None, f"{named(model)}: no gradient for {name}"
                assert p.grad.isfinite().all(), f"{named(model)}: gradient of {name}"
                # What is added to every key alike leaves softmax alone.
                free = name.endswith("key.bias") and model.layers[0].hash is None
                assert free or p.grad.abs().max() > 0, f"{named(model)}: {name} gets 0"
            torch.optim.SGD(model.parameters(), 0.1).step()
            model.project()


def test_training_meets_exact():
    """With mix 1 the soft forward is the exact one but for the order of rounding (a bit or a
    byte may fall on the other side, so not every text agrees to the last digit)."""
    ids, mask = batch(64, 5)
    for model in variants():
        with torch.no_grad():
            exact, soft = model(ids, mask), model.train()(ids, mask)
        cosine = (exact * soft).sum(1)
        assert cosine.median() > 0.9999, f"{named(model)}: {cosine.median()}"


def test_integers():
    """The exact forward of a matrix against numpy."""
    random = np.random.default_rng(3)
    f = np.float32
    for form, inputs in itertools.product(("ternary", "four-level", "int8"), (64, 1536)):
        torch.manual_seed(inputs)
        linear = quantize.Linear(inputs, 64, form).eval()
        linear.bias.data.normal_()
        x = (random.standard_normal((50, inputs)) * 10 ** random.uniform(-8, 4, (50, 1))).astype(f)
        x[0] = 0
        x[1, 3:] = 0
        x[2] = np.where(np.arange(inputs) % 2, f(127), f(0.5))  # halves: to even
        top = np.maximum(np.abs(x).max(1, keepdims=True), f(1e-5))
        q = np.clip(np.rint(x * (f(127) / top)), -127, 127).astype(np.int64)
        codes, row = (t.detach().numpy() for t in linear.quantised())
        acc = (q @ codes.astype(np.int64).T).astype(f)
        want = (acc * row.reshape(-1)) * (top / f(127)) + linear.bias.detach().numpy()
        got = linear(torch.from_numpy(x)).detach().numpy()
        assert want.dtype == f and np.array_equal(got, want), form
        linear.freeze()
        assert np.array_equal(linear(torch.from_numpy(x)).detach().numpy(), want), form


def test_gelu_table():
    model = make(gelu="table")
    layer, f = model.layers[0], np.float32
    x = torch.randn(40, 64)
    scale = layer.gelu.scale.detach().numpy()
    y = layer.up(x).detach().numpy()
    index = np.clip(np.rint(y * (f(1) / scale[0])), -128, 127).astype(int)
    q = layer.gelu.values().numpy().astype(np.int64)[index + 128]
    assert len(np.unique(q)) > 50
    codes, row = (t.detach().numpy() for t in layer.down.quantised())
    acc = (q @ codes.astype(np.int64).T).astype(f)
    want = (acc * row.reshape(-1)) * scale[1] + layer.down.bias.detach().numpy()
    assert np.array_equal(layer.feed_forward(x).detach().numpy(), want)


def test_weight_rules():
    """Each rule loses of a Gaussian what it is known to, per row."""
    torch.manual_seed(1)
    w = torch.randn(64, 4096) * torch.rand(64, 1).add(0.1)
    unit = w.square().mean(1, keepdim=True)
    lost = {rule: quantize.quantize_ternary(w, rule) for rule in quantize.RULES}
    lost["four-level"] = quantize.quantize_four_level(w)
    expected = dict(twn=0.192, tbt=0.199, absmean=0.263, absmedian=0.318)
    expected["four-level"] = 0.119
    for rule, (codes, scale) in lost.items():
        error = ((codes * scale - w).square() / unit).mean().item()
        assert abs(error - expected[rule]) < 0.004, f"{rule}: {error}"


def test_orders():
    ids, mask = batch(20, 7)
    for attention in ATTENTIONS[1:]:
        if attention.similarity == "table":
            continue
        model = make(attention)
        with torch.no_grad():
            seen = model(ids, mask, trace=True)
            for layer, v, codes in zip(model.layers, seen.values, seen.codes):
                q, k = seen.queries[0], None if codes[1] is None else seen.keys[0]
                one, _ = layer.hash(q, k, v, mask, "quadratic", codes)
                two, _ = layer.hash(q, k, v, mask, "linear", codes)
                off = (one - two)[mask].abs().max().item()
                assert off < 1e-5, f"{attention}: {off}"


def test_ordered():
    """ordered.py against torch, function by function, then whole."""
    x = torch.randn(30, 64) * 3
    w, b = torch.randn(64), torch.randn(64)
    near = lambda a, b, what: close(a, b, 2e-6, what)
    near(ordered.layer_norm(x, w, b, 1e-12), F.layer_norm(x, (64,), w, b, 1e-12), "layer_norm")
    near(ordered.rms_norm(x, w, 1e-6), F.rms_norm(x, (64,), w, 1e-6), "rms_norm")
    near(ordered.gelu(x), F.gelu(x), "gelu")
    near(ordered.exp(-x.abs()), torch.exp(-x.abs()), "exp")
    near(ordered.unit(x), F.normalize(x), "unit")
    near(ordered.product(x, torch.eye(64), b), x + b, "product")
    assert torch.equal(ordered.fma(x, x, -(x * x)),
                       (x.double() * x.double() - (x * x).double()).float())
    ids, mask = batch(20, 7, longest=32)
    mask[:10] = True
    for attention in ATTENTIONS[1:] + [Attention("hash", bits=32, similarity="general"),
                                       Attention("hash", bits=7), Attention()]:
        model = make(attention)
        with torch.no_grad():
            seen = model(ids, mask, trace=True)
            model.set_ordered()
            again = model(ids, mask, trace=True, inject=seen.codes)
            close(seen.context[0][mask], again.context[0][mask], 1e-5, attention)
            median = (model(ids, mask) * seen.vectors).sum(1).median()
        assert median > 0.999, f"{attention}: {median}"


def test_padding():
    ids, mask = batch(10, 9)
    for model in variants():
        with torch.no_grad():
            for order in ("quadratic", "linear"):
                if order == "linear" and model.config.layers[0].attention.similarity == "table":
                    continue
                together = model(ids, mask, trace=True, order=order)
                for i, n in enumerate(mask.sum(1).tolist()):
                    inject = [None if c is None else tuple(
                        None if w is None else w[i:i + 1, :n] for w in c)
                        for c in together.codes]
                    alone = model(ids[i:i + 1, :n], mask[i:i + 1, :n], order=order, inject=inject)
                    off = (alone[0] - together.vectors[i]).abs().max().item()
                    assert off < 0.02, f"{named(model)}: {off}"
        # Padding of other pieces changes no bit.
        with torch.no_grad():
            other = torch.where(mask, ids, 11)
            assert torch.equal(model(ids, mask), model(other, mask)), named(model)


def test_round_trip():
    ids, mask = batch(10, 11)
    with tempfile.TemporaryDirectory() as folder:
        for model in variants():
            one, two = Path(folder, "one"), Path(folder, "two")
            export.export(model, VOCAB, one)
            again, vocab = export.load(one)
            export.export(again, vocab, two)
            for name in ("config.json", "model.safetensors", "vocab.txt"):
                assert Path(one, name).read_bytes() == Path(two, name).read_bytes(), name
            with torch.no_grad():
                assert torch.equal(model(ids, mask), again(ids, mask)), named(model)
            assert Config.load(one / "config.json").to_json() == model.config.to_json()
            data = Path(one, "model.safetensors").read_bytes()
            size = int.from_bytes(data[:8], "little")
            header = json.loads(data[8:8 + size])
            assert (8 + size) % 64 == 0
            for name, what in header.items():
                assert name == "__metadata__" or name.split(".")[-1] != "weight" or \
                    what["data_offsets"][0] % 64 == 0, f"{name} is not aligned"


def test_smooth():
    """Columns divided by the factors: what matrices make is the same but for rounding."""
    model, (ids, mask) = smooth(), batch(8)
    with torch.no_grad():
        ones = smooth()
        for plain, layer in zip(ones.layers, model.layers):
            for names, key in ((("query", "key", "value"), "attention_smooth"),
                               (("up",), "feed_forward_smooth")):
                getattr(plain, key).fill_(1)
                for name in names:
                    getattr(layer, name).weight /= getattr(layer, key)
        cosine = (model(ids, mask) * ones(ids, mask)).sum(-1)
        other = smooth()(ids, mask)
    assert cosine.min() > 0.998
    assert (other * ones(ids, mask)).sum(-1).min() < 0.99  # they do something


def test_packing():
    """Byte by byte as attention/linear.h says it."""
    random = np.random.default_rng(5)
    rows, columns = 128, 64
    for form, low, high, step in (("ternary", -1, 2, 1), ("four-level", 0, 4, 2), ("int8", -127, 128, 1)):
        levels = random.integers(low, high, (rows, columns)) * step
        if form == "four-level":
            levels = levels - 3
        packed = export.pack(levels, form)
        assert np.array_equal(export.unpack(packed, form), levels), form
        for row, column in ((0, 0), (127, 63), (17, 5), (70, 33)):
            g, b = divmod(column, 4)
            if form == "int8":
                assert packed[row // 16, g, 4 * (row % 16) + b] == levels[row, column]
                continue
            f, c = divmod(row % 64, 16)
            code = packed[row // 64, g, 4 * c + b] >> 2 * f & 3
            assert code == export.two_bit(form, levels[row, column])
    w = random.standard_normal((rows, columns)).astype(np.float32)
    packed = export.pack(w, "float")
    assert packed[3, 7, 5] == w[16 * 3 + 5, 7]
    assert np.array_equal(export.unpack(packed, "float"), w)
    nibbles = random.integers(-7, 8, (5, 64))
    assert export.pack_nibbles(nibbles)[2, 3] == (nibbles[2, 6] + 8) | (nibbles[2, 7] + 8) << 4
    assert np.array_equal(export.unpack_nibbles(export.pack_nibbles(nibbles)), nibbles)


def test_codes():
    h = torch.where(torch.randn(3, 7, 4, 32) > 0, 1.0, -1.0)
    assert torch.equal(from_words(to_words(h), 32), h)
    assert to_words(torch.tensor([1.0, -1.0, -1.0, 1.0])).item() == 9
    ids, mask = batch(6, 13)
    for attention in ATTENTIONS[1:]:
        model = make(attention)
        with torch.no_grad():
            own = model(ids, mask, trace=True)
            used = model(ids, mask, trace=True, inject=own.codes)
            other = [tuple(None if w is None else w.roll(1, 1) for w in c) for c in own.codes]
            changed = model(ids, mask, inject=other)
        assert torch.equal(own.vectors, used.vectors)
        assert not torch.allclose(own.vectors, changed), attention
        balance = from_words(own.codes[0][0], attention.bits)[mask].mean()
        assert abs(balance) < 0.25, f"{attention}: bits are {balance} on average"


def test_sign_gradient():
    x = torch.tensor([-2.0, -1.0, -0.05, 0.0, 0.05, 0.5, 1.5, 1.6], requires_grad=True)
    assert Sign.apply(x, 1.0).tolist() == [-1, -1, -1, 1, 1, 1, 1, 1]
    Sign.apply(x, 1.0).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 1, 1, 1, 0]
    x.grad = None
    Sign.apply(x, 2.0).sum().backward()
    small = 0.1 ** -0.5
    want = torch.tensor([0, 0.5, small, small, small, 0.5 * 0.5 ** -0.5, 0.5 * 1.5 ** -0.5, 0])
    assert torch.allclose(x.grad, want)


def test_teacher():
    """A small BERT of transformers' own, through load_teacher in floats."""
    from transformers import BertConfig, BertModel
    torch.manual_seed(2)
    bert = BertModel(BertConfig(vocab_size=50, hidden_size=64, num_hidden_layers=2,
                                num_attention_heads=4, intermediate_size=128,
                                max_position_embeddings=40)).eval()
    for p in bert.parameters():
        p.data.add_(torch.randn_like(p) * 0.05)
    ids, mask = batch(8, 15)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        bert.save_pretrained(folder)
        model = export.load_teacher(folder, positions=40)
        out = bert(ids, attention_mask=mask.long()).last_hidden_state
        real = mask[..., None]
        want = F.normalize((out * real).sum(1) / real.sum(1), dim=1)
        off = (model(ids, mask) - want).abs().max().item()
        assert off < 1e-6, off
        said = Path(folder, "1_Pooling/config.json")
        said.parent.mkdir()
        said.write_text(json.dumps({"pooling_mode_cls_token": True,
                                    "pooling_mode_mean_tokens": False}))
        off = (export.load_teacher(folder)(ids, mask) - F.normalize(out[:, 0], dim=1)).abs().max()
        assert off < 1e-6, off
        said.write_text(json.dumps({"pooling_mode_max_tokens": True}))
        try:
            export.load_teacher(folder)
        except ValueError as error:
            assert "not pooling_mode_max_tokens" in str(error), error
        else:
            raise AssertionError("a teacher of another pooling was taken")
        said.unlink()
        student = export.load_teacher(
            folder, LayerConfig(attention=Attention("hash", shared=True)), "int8", True)
        assert student.layers[0].key is None
        assert torch.equal(student.layers[1].query.weight, model.layers[1].query.weight)


def main():
    torch.set_num_threads(1)
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            torch.manual_seed(0)
            test()
            print(f"ok {name}", flush=True)


if __name__ == "__main__":
    main()
