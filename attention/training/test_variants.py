"""Tests of the ablations: python test_variants.py (a minute; no data, no network).

Claims: every variant builds, and training changes its weights with a finite loss; salient
columns are int8 and the others ternary; per-tensor has one scale; the rank-1 residual begins as
the hash it was and is what its comment says; the greedy choice keeps to its budget; a halved
teacher gives every second output of the whole one; the closed form and learned planes are
begun with where they are asked for; a teacher measured against itself is 1; a
whole run leaves a line that the table shows.
"""
import contextlib
import io
import json
import tempfile
from pathlib import Path

import numpy as np
import torch

import ablate
import variants
from ablate import Variant
from blocks import train_blocks
from quantize import Linear, quantize_rows, quantize_ternary

VOCAB = ["[PAD]", "[UNK]"] + [f"word{i}" for i in range(2, 101)] + ["[CLS]", "[SEP]"] + [
    f"word{i}" for i in range(103, 200)]


def write_teacher(folder):
    from transformers import BertConfig, BertModel
    bert = BertModel(BertConfig(vocab_size=len(VOCAB), hidden_size=64, num_hidden_layers=6,
                                num_attention_heads=4, intermediate_size=128,
                                max_position_embeddings=256))
    for p in bert.parameters():
        p.data.add_(torch.randn_like(p) * 0.05)
    bert.save_pretrained(folder)
    Path(folder, "vocab.txt").write_text("".join(piece + "\n" for piece in VOCAB))


def write_texts(path, rng):
    """Of two sources, questions and titles with passages, 60 of each."""
    sizes = np.concatenate([rng.integers(4, 12, 120), rng.integers(70, 90, 60)])
    np.savez(path, ids=rng.integers(103, 200, sizes.sum()).astype(np.uint16),
             starts=np.concatenate([[0], np.cumsum(sizes)]),
             source=np.repeat(np.array([0, 1, 1], np.uint8), 60),
             passage=np.repeat([False, False, True], 60), names=np.array(["questions", "wiki"]),
             marks=[VOCAB.index("[CLS]"), VOCAB.index("[SEP]")])


def write_set(folder, rng):
    folder.mkdir(parents=True)
    text = lambda: " ".join(f"word{i}" for i in rng.integers(103, 200, 9))
    for name, n in (("queries", 5), ("corpus", 40)):
        (folder / f"{name}.jsonl").write_text("".join(
            json.dumps({"id": str(i), "text": text()}) + "\n" for i in range(n)))
    (folder / "qrels.tsv").write_text("".join(
        f"{i}\t{d}\t1\n" for i in range(5) for d in rng.choice(40, 12, replace=False)))


def make_world(folder):
    rng, teacher = np.random.default_rng(1), folder / "teacher"
    write_teacher(teacher)
    write_texts(folder / "texts.npz", rng)
    write_set(folder / "dev/some", rng)
    return ablate.World(teacher, folder, 1, 500)


def judge_of(world):
    """As if halftone had embedded the set: by the teacher in torch."""
    def embed(model, name, texts):
        return ablate.embedded(world.teacher, ablate.tokenize(VOCAB, texts, 512))
    return ablate.Judge(world.work / "dev", ["some"], VOCAB, 64, embed, None)


def padded_batch(world):
    ids, mask = world.batches[0]
    mask = mask.clone()
    mask[::2, 40:] = False
    return ids, mask


def named(name):
    return next(v for v in ablate.VARIANTS if v.name == name)


def test_training(world):
    names = [v.name for v in ablate.VARIANTS]
    assert len(set(names)) == len(names) and set(ablate.ABOVE) == {
        v.group for v in ablate.VARIANTS}
    for variant in ablate.VARIANTS:
        student, teacher = ablate.build(variant, world)
        assert len(student.layers) == len(teacher.layers) == (3 if variant.halved else 6)
        trainer = ablate.make_trainer(variant, student, teacher, world, 2000)
        before = {name: p.detach().clone() for name, p in student.named_parameters()}
        trainer.run_step()  # of rate 0
        _, said = trainer.run_step()
        assert all(np.isfinite(value) for value in said.values()), f"{variant.name}: {said}"
        assert set(said) >= {name for name, w in trainer.weights.items() if w}
        still = [name for name, p in student.named_parameters() if torch.equal(p, before[name])]
        # a softmax does not see what all keys share; a hash compares queries with thresholds
        still = [name for name in still if not name.endswith("key.bias")]
        assert not still, f"{variant.name}: {still} did not learn"


def test_salient(world):
    student, _ = ablate.build(named("salient"), world)
    energy = variants.input_energies(world.teacher, *world.batches[0])
    plain, _ = ablate.build(named("mini"), world)
    for name, linear in variants.matrices(student).items():
        w, (near, scale) = linear.weight.detach(), linear.quantised()
        cost = energy[name] * w.square().sum(0)
        kept = torch.zeros(linear.inputs, dtype=torch.bool).index_fill(0, cost.topk(16).indices,
                                                                     True)
        assert torch.equal(kept, linear.kept) and (scale == 1).all()
        codes, step = quantize_rows(w[:, kept], 127)
        assert torch.equal(near[:, kept], codes * step)
        assert len(near[0, kept].unique()) > 8
        assert all(len(row.unique()) <= 3 for row in near[:, ~kept])
        assert torch.equal(w, variants.matrices(plain)[name].weight)
        more = variants.size_bytes(linear) - variants.size_bytes(variants.matrices(plain)[name])
        assert more == linear.outputs * (16 * 6 / 8 + 4)
    # all inputs of a matrix are seen, those of padding are not
    ids, mask = padded_batch(world)
    energy = variants.input_energies(world.teacher, ids, mask)
    x = world.teacher.embed_pieces(ids)[mask]
    assert torch.allclose(energy["layers.0.query"], x.square().sum(0), rtol=1e-4)


def test_per_tensor(_):
    torch.manual_seed(0)
    one = variants.PerTensor(64, 32, "ternary")
    with torch.no_grad():
        one.weight[0] *= 10
    codes, scale = one.quantised()
    assert scale.shape == (32, 1) and len(scale.unique()) == 1
    assert set(codes.unique().tolist()) == {-1, 0, 1}
    # a row ten times as large is all ones beside the others
    assert (codes[0] == 0).float().mean() < .2 < (codes[1:] == 0).float().mean()
    whole, usual = quantize_ternary(one.weight.reshape(1, -1), "twn")
    assert torch.equal(codes.flatten(), whole[0]) and scale[0] == usual
    x, wide = torch.randn(7, 64), Linear(64, 32, "ternary")
    wide.freeze(codes, scale)
    assert torch.equal(one.eval()(x), wide.eval()(x))
    assert variants.size_bytes(wide) - variants.size_bytes(one) == 4 * 31


def test_residual(world):
    plain, _ = ablate.build(named("mini"), world)
    student, _ = ablate.build(named("residual"), world)
    ids, mask = world.batches[0]
    with torch.no_grad():
        for a, b in zip(plain.layers, student.layers):
            b.hash.load_state_dict(a.hash.state_dict(), strict=False)
        assert torch.equal(plain(ids, mask), student.eval()(ids, mask))
        layer, x = student.layers[0], torch.randn(2, 5, 64)
        layer.hash.maps.weight.normal_(std=.3)
        mask = torch.ones(2, 5, dtype=torch.bool)
        got = layer.attend(x, mask, None, "quadratic", None)
        q, k, v = layer.project_inputs(x)
        h = [layer.hash.signs(one, mask) for one in (q, k)]
        q_p, k_p, v_p, q_m, k_m = layer.hash.maps(x).unbind(-1)
        more = torch.einsum("bi,bj->bij", q_m, k_p) + torch.einsum("bi,bj->bij", q_p, k_m + k_p)
        # buckets: of 32 bits, 8 groups of 4, half of a group is equal by chance
        q, k = (one.unflatten(-1, (8, 4)) for one in h)
        equal = (q[:, :, None] == k[:, None]).all(-1).sum(-1).permute(0, 3, 1, 2)
        w = equal + layer.hash.floor[:, None, None] + .5 * more[:, None]
        w = w.clamp_min(.0005)
        v = v + v_p[..., None, None]
        want = torch.einsum("bhij,bjhd->bihd", w / w.sum(-1, keepdim=True), v).flatten(-2)
    assert (w == .0005).any() and torch.allclose(got, want, atol=1e-5)


def test_greedy(world):
    found = world.sensitivity()
    assert json.loads((world.work / "sensitivity.json").read_text()) == found
    rows = {row["name"]: row for row in found["matrices"]}
    assert len(rows) == 36 and all(row["lost"] > 0 for row in rows.values())
    assert all(linear.form == "float" for linear in variants.matrices(world.teacher).values())
    base, _ = ablate.build(named("mini"), world)
    student, _ = ablate.build(named("greedy"), world)
    size = lambda model: sum(map(variants.size_bytes, variants.matrices(model).values()))
    assert found["bytes"] == size(base) < size(student) <= 1.1 * size(base)
    assert {name for name, linear in variants.matrices(student).items()
            if linear.form == "int8"} == set(found["chosen"])
    rows = [{"name": "a", "lost": 9, "adds": 90}, {"name": "b", "lost": 2, "adds": 10},
            {"name": "c", "lost": 1, "adds": 50}, {"name": "d", "lost": -1, "adds": 1}]
    assert variants.choose(rows, 70) == ["b", "c"]
    assert variants.choose(rows, 100) == ["b", "a"]


def test_halved(world):
    ids, mask = padded_batch(world)
    with torch.no_grad():
        whole = world.teacher(ids, mask, trace=True)
        half = variants.halved(world.teacher)(ids, mask, trace=True)
    assert torch.equal(whole.vectors, half.vectors) and len(half.hidden) == 4
    for i in range(4):
        assert torch.equal(whole.hidden[2 * i], half.hidden[i])
    assert len(world.teacher.layers) == 6


def test_start(world):
    """With no rounds of training what is left is where matrices and planes begin."""
    few = Variant("", "", ablate.hashed("positive", bits=2))
    begun = {}
    for closed, learned in ((True, False), (False, False), (False, True)):
        student, teacher = ablate.build(few, world)
        train_blocks(student, teacher, world.batches[:1], rounds=0, closed=closed,
                     learned=learned)
        begun[closed, learned] = student.state_dict()
    matrix, planes = "layers.3.up.weight", "layers.0.hash.planes"
    teacher = world.teacher.state_dict()[matrix]
    assert torch.equal(begun[False, False][matrix], teacher)
    assert not torch.equal(begun[True, False][matrix], teacher)
    assert not torch.equal(begun[False, False][planes], begun[False, True][planes])


def test_measure(world):
    judge = judge_of(world)
    shares = judge(world.teacher)
    assert shares == {"some": 1.0}
    student, _ = ablate.build(named("mini"), world)
    found = ablate.measure(student, world, judge)
    assert set(found["cosines"]) == set(ablate.KINDS)
    assert 0 < found["cosine"] < 1 and found["share"] != 1
    assert found["bytes"] == 6 * (4 * 64 * (16 + 4) + 128 * (16 + 4) + 64 * (32 + 4))
    ids = [10, 101, 20]
    alone = ablate.embedded(world.teacher, [ids])
    assert np.allclose(ablate.embedded(world.teacher, [ids, [5] * 9])[0], alone, atol=1e-6)


def test_run(world):
    judge, found = judge_of(world), {}
    for name in ("salient", "residual", "sub-norm", "gelu-table", "3-layers-ternary"):
        found[name] = ablate.run_variant(named(name), world, judge, 300) | {"name": name}
        assert np.isfinite(found[name]["cosine"]), name
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        ablate.table(found)
    rows = [row.split(" | ")[1] for row in text.getvalue().splitlines()[2:]]
    assert rows == ["residual", "salient", "sub-norm", "gelu-table", "3-layers-ternary"]
    path = world.work / "ablations.jsonl"
    path.write_text("".join(json.dumps(line | {"seed": 1}) + "\n" for line in found.values()))
    assert set(ablate.kept(path, {"seed": 1})) == set(found) and not ablate.kept(path, {"seed": 2})


def main():
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        world = make_world(Path(folder))
        for name, test in list(globals().items()):
            if name.startswith("test_"):
                torch.manual_seed(0)
                test(world)
                print(f"ok {name}", flush=True)


if __name__ == "__main__":
    main()
