"""Tests of the training code: python test_train.py (a minute; no data, no network).

Claims: a step of a stream is the same whenever it is asked for, fits, and is well formed;
sources become the texts they should; losses are 0 where they should be and see no padding;
ternarize.py finds known maps and rounds better than rounding alone; hashes learn to attend as the
teacher does; layer by layer a student comes nearer to it; a phase interrupted is the phase
uninterrupted, to the bit; frozen codes stay; a checkpoint of other settings is refused, as is a
student that does not fit; steps without a finite gradient are counted; an exported checkpoint
gives the student's own embeddings, to the bit; lesions break hash attention as they say, and
only for a while.
"""
import copy
import functools
import gzip
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import blocks
import corpus
import export
import hashes
import lesion
import losses
import quantize
import ternarize
import train
from calibrate import calibrate
from stream import ASKED, Stream

VOCAB = [f"piece{i}" for i in range(300)]
CLS, SEP = 101, 102
HERE = tempfile.TemporaryDirectory()
WORK, TEACHER, MINI = (Path(HERE.name, name) for name in ("work", "teacher", "mini.json"))


def make_texts():
    """Titles, questions and passages of random pieces, in WORK/texts.npz."""
    random = np.random.default_rng(1)
    kinds = [(0, False, 400, 3, 20), (0, True, 400, 60, 400), (1, False, 300, 5, 30)]
    rows, source, passage = [], [], []
    for name, is_passage, count, low, high in kinds:
        for _ in range(count):
            common = random.integers(103, 300, 12)  # a text has words of its own
            rows.append(random.choice(common, random.integers(low, high)).astype(np.uint16))
            source.append(name)
            passage.append(is_passage)
    WORK.mkdir()
    np.savez(WORK / "texts.npz", ids=np.concatenate(rows),
             starts=np.cumsum([0] + [len(row) for row in rows]), source=np.array(source),
             passage=np.array(passage), names=np.array(["wiki", ASKED[0]]),
             marks=[CLS, SEP])


def make_teacher():
    """A small BERT of random weights in TEACHER, and in MINI a student with a layer of each of
    the kinds that students/mini.json has."""
    from transformers import BertConfig, BertModel
    torch.manual_seed(2)
    bert = BertModel(BertConfig(vocab_size=300, hidden_size=64, num_hidden_layers=3,
                                num_attention_heads=4, intermediate_size=128,
                                max_position_embeddings=256))
    for name, p in bert.named_parameters():
        if name.endswith("weight") and "LayerNorm" not in name:
            p.data.normal_(std=0.1)
    bert.save_pretrained(TEACHER)
    said = json.loads((Path(__file__).parent / "students/mini.json").read_text())
    kinds = {layer["attention"]["similarity"]: layer for layer in said["layers"]}
    assert list(kinds) == ["buckets", "table"]
    layers = [kinds["buckets"], kinds["table"], kinds["buckets"]]
    MINI.write_text(json.dumps(said | {"layers": layers, "positions": 256}))


@functools.cache
def texts():
    return corpus.Texts(WORK / "texts.npz")


@functools.cache
def teacher():
    return export.load_teacher(TEACHER)


def student(seed=1):
    """With hashes of its activations, in training."""
    model = train.make_student(TEACHER, MINI, seed)
    calibrate(model, *Stream(texts(), seed, 2048).step(0)[:2], seed)
    return model.train()


def trainer(model, phase, seed=1):
    """In small batches, of a phase longer than any test takes it."""
    return train.Trainer(model, teacher(), Stream(texts(), seed, 512), phase, 1e-3, 4000, seed)


def steps(one, count):
    return [one.run_step()[1]["loss"] for _ in range(count)]


def test_stream():
    stream, again = Stream(texts(), 7, 1000), Stream(texts(), 7, 1000)
    seen = [stream.step(i) for i in range(400)]
    for i in (399, 3, 3, 250, 0):
        assert all(map(torch.equal, seen[i][:2], again.step(i)[:2])), i
    assert not all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(
        *([Stream(texts(), seed, 1000).step(i)[0] for i in range(5)] for seed in (7, 8))))
    for ids, mask, kind in seen:
        assert ids.shape == mask.shape and ids.numel() <= 1000, ids.shape
        n = mask.sum(1)
        assert n.max() == ids.shape[1] <= 256
        assert torch.equal(mask, torch.arange(ids.shape[1]) < n[:, None])
        assert (ids[:, 0] == CLS).all() and (ids.gather(1, n[:, None] - 1) == SEP).all()
        assert (ids[~mask] == 0).all()
        inside = mask.clone()
        inside[:, 0] = False
        inside[torch.arange(len(ids)), n - 1] = False
        assert (ids[inside] >= 103).all() and inside.any(1).all()
        if kind != "passages":
            assert ids.shape[1] <= 64
    kinds = [kind for _, _, kind in seen]
    asked, short = kinds.count("questions") / 400, 1 - kinds.count("passages") / 400
    assert 0.15 < asked < 0.25 and 0.40 <= short <= 0.50, (asked, short)
    padding = np.mean([1 - mask.float().mean().item() for _, mask, _ in seen])
    assert padding < 0.15, padding


def test_stream_kinds():
    """Each kind of step has the texts of its name."""
    whole = {tuple(texts()[i].tolist()): i for i in range(len(texts()))}
    seen = set()
    for ids, mask, kind in map(Stream(texts(), 3, 500).step, range(40)):
        for row, n in zip(ids.tolist(), mask.sum(1).tolist()):
            i = whole.get(tuple(row[1:n - 1]))
            if i is not None:
                seen.add((kind, int(texts().source[i]), bool(texts().passage[i])))
    assert {("questions", 1, False), ("titles", 0, False)} <= seen, seen
    assert all(kind == "questions" if source == 1 else kind == "titles"
               for kind, source, passage in seen if not passage), seen


def test_sources():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data.noun").write_text(
            "  1 This software is licensed to you\n"
            "00001740 03 n 01 entity 0 001 ~ 00001930 n 0000 | that which is perceived; \"all\"  \n"
            "00002098 05 n 02 abstract_entity 0 idea 1 001 @ 00001740 n 0000 | what is thought  \n")
        (folder / "data.adj").write_text(
            "00017352 00 a 02 galore(ip) 0 a_lot 0 000 | existing in abundance\n")
        (folder / "index.noun").write_text("entity n 1 1 ~ 1 0 00001740\n")
        assert corpus.glosses(folder) == [
            "galore, a lot: existing in abundance",
            "entity: that which is perceived; \"all\"",
            "abstract entity, idea: what is thought"]
        long = "A machine that counts, which people once did by hand and now no longer do at all."
        with gzip.open(folder / "d.dict.dz", "wt") as file:
            file.write(f"abacus\n   {long}\n\n   See {{also}} beads.\nshort\n   A stub.\n"
                       f"zebra\n   {long}\n")
        assert corpus.entries(folder / "d.dict.dz") == [
            f"abacus {long} See also beads.", f"zebra {long}"]
        body = "A library to read and write files of one kind, of which there are many." * 3
        lines = [("lib1", body), ("lib1-dev", body), ("lib2", "other " + body), ("stub", "tiny")]
        (folder / "packages.jsonl").write_text("".join(
            json.dumps({"summary": name, "text": f"{name}\n{text}"}) + "\n"
            for name, text in lines))
        assert corpus.descriptions(folder / "packages.jsonl") == [
            ("lib1", body), ("lib2", "other " + body)]


def test_losses_of_embeddings():
    a, b, queue = (F.normalize(torch.randn(n, 16), dim=1) for n in (8, 8, 40))
    assert abs(losses.cosine(a, a)) < 1e-6 and losses.cosine(a, b) > 0.5
    assert abs(losses.cosine(a, -a) - 2) < 1e-6
    assert abs(losses.similarities(a, a, queue)) < 1e-5
    assert losses.similarities(b, a, queue) > 0.1
    # along what only a text's own teacher vector has, the student may be anything
    axes = torch.eye(16)
    moved = axes[:4] + 0.3 * axes[10] + torch.randn(4, 1) * axes[:4]
    still = losses.similarities(axes[:4] + 0.3 * axes[10], axes[:4], axes[8:])
    assert still > 0.01
    assert abs(losses.similarities(moved, axes[:4], axes[8:]) - still) < 1e-6
    rotation = torch.linalg.qr(torch.randn(16, 16)).Q
    nearer = [losses.bits(w * a + (1 - w) * b, a, rotation) for w in (0, 0.5, 1)]
    assert nearer[0] > nearer[1] > nearer[2] > 0, nearer
    turned = (a @ rotation).clone()
    turned[:, 3] *= -1  # a sign that does not agree
    assert losses.bits(turned @ rotation.T, a, rotation) > nearer[2]


def test_losses_of_states():
    mask = torch.arange(9) < torch.tensor([9, 4, 7])[:, None]
    states, other = torch.randn(2, 3, 9, 16) + 2
    directions = losses.Directions([None, states], mask, 16)
    assert directions.loss(0, states, states, mask) == 0
    mean = states[mask].mean(0).expand_as(states)
    assert abs(directions.loss(0, mean, states, mask) - 1) < 1e-5
    few = losses.Directions([None, states], mask, 3)
    away = torch.linalg.svd(few.basis[0]).U[:, 3:] @ torch.randn(13)
    assert few.loss(0, states + away, states, mask) < 1e-9 < directions.loss(
        0, states + away, states, mask)
    v, w = states.unflatten(-1, (4, 4)), other.unflatten(-1, (4, 4))
    pairs = ((lambda s, t: losses.value_relations(s, t, mask), v, w),
             (lambda s, t: losses.contexts(s, t, mask), states, other),
             (lambda s, t: directions.loss(0, s, t, mask), other, states))
    for loss, one, two in pairs:
        assert abs(loss(one, one)) < 1e-6 and loss(one, two) > 0.01
        noise = torch.randn_like(one) * 9 * ~mask.view(mask.shape + (1,) * (one.dim() - 2))
        assert abs(loss(one + noise, two) - loss(one, two)) < 1e-6
        assert abs(loss(one, two + noise) - loss(one, two)) < 1e-6
        assert abs(loss(one.roll(1, 1), two) - loss(one, two)) > 1e-3


def correlated(n, dims):
    return torch.randn(n, dims) + torch.randn(n, 8) @ torch.randn(8, dims) + 1


def test_regress():
    x, w, b = correlated(2000, 48), torch.randn(20, 48), torch.randn(20)
    sums = ternarize.Sums()
    for part in x.split(300):
        sums.add(part, part @ w.T + b)
    mx, my, xx, yx = sums.centred()
    found = ternarize.regress(xx, yx, torch.zeros_like(w), 1e-6)
    assert (found - w).abs().max() < 0.01, (found - w).abs().max()
    assert ((my - found @ mx) - b).abs().max() < 0.01
    # drawn to another: where the gradient of both squares is 0
    other = torch.randn_like(w)
    found = ternarize.regress(xx, yx, other, 0.5)
    slope = found @ xx - yx + 0.5 * xx.diagonal().mean() * (found - other)
    assert slope.abs().max() < 1e-3 * yx.abs().max() and (found - w).abs().max() > 0.1


def test_weighted_sums():
    """A row that counts three times is three rows; a weight of 0 is none."""
    x, y, times = torch.randn(60, 12), torch.randn(60, 5), torch.randint(0, 4, (60,))
    weighted, repeated = ternarize.Sums(), ternarize.Sums()
    weighted.add(x, y, times[:, None].float())
    repeated.add(x.repeat_interleave(times, 0), y.repeat_interleave(times, 0))
    for a, b in zip(weighted.centred(), repeated.centred()):
        assert torch.allclose(a, b, atol=1e-4)


def one_by_one(w, xx, scale):
    """What round_columns does, by solving for the columns not yet rounded."""
    order = xx.diagonal().argsort(descending=True)
    w, xx = w[:, order].clone(), xx[order][:, order]
    xx = xx + 0.01 * xx.diagonal().mean() * torch.eye(len(xx))
    codes = torch.zeros_like(w)
    for i in range(len(xx)):
        codes[:, i] = (w[:, i] / scale[:, 0]).round().clamp(-1, 1)
        away = w[:, i] - codes[:, i] * scale[:, 0]
        w[:, i + 1:] += away[:, None] * torch.linalg.solve(xx[i + 1:, i + 1:], xx[i + 1:, i])
    return codes[:, order.argsort()]


def test_round_columns():
    x, w = correlated(3000, 150), torch.randn(40, 150)  # more than two blocks of columns
    codes, scale = quantize.quantize_ternary(w, "twn")
    xx = (x - x.mean(0)).T @ (x - x.mean(0)) / len(x)
    ours = ternarize.round_columns(w, xx, scale, ternarize.ternary)
    assert set(ours.unique().tolist()) == {-1, 0, 1}
    lost = lambda t: (((w - scale * t) @ xx) * (w - scale * t)).sum().item()
    rounded = ternarize.ternary(w / scale)
    assert lost(ours) < 0.7 * min(lost(codes), lost(rounded)), (
        lost(ours), lost(codes), lost(rounded))
    apart = (ours != one_by_one(w, xx, scale)).float().mean()
    assert apart < 0.01, apart  # a half that float sums round the other way
    one = ternarize.round_columns(w, torch.eye(150), scale, ternarize.ternary)
    assert torch.equal(one, rounded)  # nothing to make up for


def test_fit():
    """Of rows as they are and of rows that few numbers make."""
    for power in (1, 3):
        x = correlated(4000, 64)
        w = torch.randn(128, 64)
        w = torch.sign(w) * w.abs() ** power / 8
        linear, sums, found = quantize.Linear(64, 128, "ternary"), ternarize.Sums(), []
        linear.weight.data.copy_(w)
        y = x @ w.T + torch.randn(128)
        sums.add(x, y)
        plain = quantize.Linear(64, 128, "ternary")
        plain.weight.data.copy_(w)
        plain.bias.data.copy_((y - plain.soft(x)).mean(0))
        own = ternarize.round_columns
        try:
            ternarize.round_columns = lambda *what: found.append(own(*what)) or found[0]
            ternarize.fit(linear, sums)
        finally:
            ternarize.round_columns = own
        codes, scale = linear.quantised()
        assert torch.equal(codes, found[0]), f"{(codes != found[0]).sum()} of {codes.numel()}"
        # the scale that fits these codes best, if there is one above 0
        mx, my, xx, yx = sums.centred()
        best = (yx * codes).sum(1) / ((codes @ xx) * codes).sum(1)
        assert torch.allclose(scale[:, 0], best.clamp_min(1e-6), rtol=1e-4)
        with torch.no_grad():
            lost = [(one.soft(x) - y).square().mean() for one in (linear, plain)]
        assert lost[0] < 0.8 * lost[1], lost


def test_blocks():
    batches = [Stream(texts(), 5, 1500).step(i)[:2] for i in range(4)]
    ids, mask, _ = Stream(texts(), 6, 1500).step(1)
    model, said = student(), []

    @torch.no_grad()
    def near():
        return (model.eval()(ids, mask) * teacher()(ids, mask)).sum(1).mean().item()

    before = near()
    blocks.train_blocks(model, teacher(), batches, rounds=2, rate=2e-3, say=said.append)
    after = near()
    assert 1 - after < 0.7 * (1 - before), (before, after)
    for i in range(3):
        apart = [line["apart"] for line in said if line["layer"] == i and "apart" in line]
        assert len(apart) == 2 and apart[1] < apart[0], apart


def test_settle():
    """Nothing that is computed changes; small steps turn few codes, which they did before."""
    torch.manual_seed(3)
    plain = quantize.Linear(64, 32, "ternary")
    settled = copy.deepcopy(plain)
    ternarize.settle(settled)
    (codes, scale), (again, scale_again) = plain.quantised(), settled.quantised()
    assert torch.equal(codes, again) and torch.allclose(scale, scale_again)
    away = 0.2 * scale * torch.randn(32, 64)
    with torch.no_grad():
        for one in (plain, settled):
            one.weight += away
    turned = [(one.quantised()[0] != codes).float().mean() for one in (settled, plain)]
    assert turned[0] < 0.2 * turned[1], turned


def test_hashes():
    """Twins attend more like the teacher than hashes of activations do, on other texts too; the
    student takes over their attention, and a layer without a hash is the teacher's own."""
    batches = [Stream(texts(), 5, 1500).step(i)[:2] for i in range(4)]
    ids, mask, _ = Stream(texts(), 6, 1500).step(1)

    @torch.no_grad()
    def apart(layers):
        """Of what attention adds, layer by layer."""
        x, out = teacher().embed_pieces(ids), []
        for layer, theirs in zip(layers, teacher().layers):
            ours, added = (one.output(one.attend(x, mask, None, "quadratic", None))
                           for one in (layer, theirs))
            out.append(losses.contexts(ours, added, mask).item())
            x = theirs(x, mask)
        return out

    def twins(rounds):
        return hashes.learn_hashes(model, teacher(), batches, torch.Generator().manual_seed(1),
                                   rounds, lambda line: None)

    model = student()
    begun, learned = (apart(twins(rounds)) for rounds in (0, 4))
    assert all(b < 0.8 * a for a, b in zip(begun, learned)), (begun, learned)
    twin = twins(1)[1]
    blocks.take_over(model.layers[1], twin)
    x = torch.randn(2, 9, 64)
    mask = torch.ones(2, 9, dtype=torch.bool)
    model.set_mix(0)
    both = [one.output(one.attend(x, mask, None, "quadratic", None))
            for one in (model.layers[1], twin)]
    assert torch.allclose(*both, atol=1e-5)
    model.layers[1].hash = None
    assert twins(0)[1] is teacher().layers[1]


def same(a, b):
    """Of nested dicts and lists, to the bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def test_resume():
    for phase in (train.PHASES["hash"], train.PHASES["ternary"] | {"ramp": .5},
                  train.PHASES["polish"]):
        whole = trainer(student(), phase)
        said = steps(whole, 6)
        first = trainer(student(), phase)
        assert steps(first, 3) == said[:3]
        train.save(first.state(), WORK / "half.pt")
        rest = trainer(student(9), phase)  # of another student: all is in the checkpoint
        assert not same(rest.student.state_dict(), first.student.state_dict())
        rest.restore(torch.load(WORK / "half.pt"))
        assert steps(rest, 3) == said[3:]
        assert same(rest.state(), whole.state())


def command(phase, pieces, *more, model=None):
    """train.py as it is called; what it leaves."""
    arguments = sys.argv
    sys.argv = ["train.py", phase, "--teacher", str(TEACHER), "--work", str(WORK), "--name",
                "small", "--model", str(model or MINI), "--pieces", str(pieces), *more]
    try:
        train.main()
    finally:
        sys.argv = arguments
    return torch.load(WORK / f"small/{phase}.pt")


def refusal(*what, **more):
    try:
        command(*what, **more)
    except SystemExit as error:
        return str(error)
    raise AssertionError(f"{what} was not refused")


def test_run():
    """The phases, as the command runs them: each begins where the one before ended.  A checkpoint
    of other settings is neither gone on from nor begun from."""
    calibrated = command("calibrate", 3000)
    trained = command("ternary", 8000)
    polished = command("polish", 3000)
    frozen = command("freeze", 6000)
    again = command("freeze", 6000)
    assert trained["pieces"] >= 8000 and polished["pieces"] >= 3000
    assert same(frozen, again)  # done is done
    assert not same(calibrated["student"], trained["student"])
    # the last phase kept every code of the one before it, and learned
    model = train.make_student(TEACHER, MINI, 1)
    model.load_state_dict(polished["student"])
    model.freeze()
    for name, was in model.state_dict().items():
        now = frozen["student"][name]
        if name.endswith("codes"):
            assert torch.equal(was, now), name
        elif name.endswith("scale"):
            assert not torch.equal(was, now), name
    lines = [json.loads(line) for line in open(WORK / "small/ternary.jsonl")]
    assert lines[-1]["pieces"] == trained["pieces"] and lines[-1]["skipped"] == 0
    when = (WORK / "small/calibrate.pt").stat().st_mtime_ns
    command("calibrate", 3000)
    assert (WORK / "small/calibrate.pt").stat().st_mtime_ns == when
    other = WORK / "other.json"
    other.write_text(MINI.read_text().replace('"positions": 256', '"positions": 200'))
    said = {"seed 1, not 2": refusal("calibrate", 3000, "--seed", "2"),
            "share 1.0, not 0.5": refusal("freeze", 6000, "--share", ".5"),
            "pieces 6000.0, not 7000.0": refusal("freeze", 7000),
            "another student file": refusal("ternary", 8000, model=other),
            "another beginning": refusal("freeze", 6000, "--after", "ternary")}
    for words, line in said.items():
        assert words in line and "delete it, or choose another NAME" in line, line


def test_layers():
    """A student of more or fewer layers than its teacher is refused in words."""
    few = WORK / "few.json"
    said = json.loads(MINI.read_text())
    few.write_text(json.dumps(said | {"layers": said["layers"][:2]}))
    line = refusal("calibrate", 3000, model=few)
    assert "has 3 layers" in line and "STUDENT" in line, line


def test_skipped():
    """A step whose gradient is not finite changes nothing; too many in a row end training."""
    one = trainer(student(), train.PHASES["polish"])
    compare, before = one.compare, copy.deepcopy(one.student.state_dict())
    one.compare = lambda *what: {"cosine": compare(*what)["cosine"] * float("nan")}
    steps(one, 3)
    assert one.skipped == 3 and same(one.student.state_dict(), before)
    one.compare = compare
    steps(one, 1)
    assert one.skipped == 0 and not same(one.student.state_dict(), before)
    one.compare = lambda *what: {"cosine": compare(*what)["cosine"] * float("nan")}
    try:
        steps(one, train.SKIPPED_MAX)
    except FloatingPointError as error:
        assert "not finite in 20 steps in a row" in str(error)
    else:
        raise AssertionError("training went on")


def test_export():
    """The student that was trained, from a file, to the bit; latent and frozen."""
    ids, mask, _ = Stream(texts(), 11, 2000).step(1)
    for freeze in (False, True):
        model = student()
        steps(trainer(model, train.PHASES["ternary"]), 3)
        if freeze:
            model.freeze()
            steps(trainer(model, train.PHASES["freeze"]), 3)
        model.eval()
        model.set_mix(1)
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            export.export(model, VOCAB, folder)
            again, vocab = export.load(folder)
            assert vocab == VOCAB
            assert torch.equal(model(ids, mask), again(ids, mask)), freeze
            assert not torch.equal(model(ids, mask), student().eval()(ids, mask))


def test_lesions():
    model = student().eval()
    hashes = {i: layer.hash for i, layer in enumerate(model.layers)}
    ids, mask, _ = Stream(texts(), 12, 2000).step(2)

    @torch.no_grad()
    def look():
        return model(ids, mask, trace=True)

    def by_text(words):
        """The words of each text's tokens, in order: (B, N, H) -> sorted rows."""
        return [sorted(map(tuple, one[real].tolist())) for one, real in zip(words, mask)]

    whole = look()
    with lesion.shuffled(hashes):
        mixed = look()
    for was, now in zip(whole.codes[0], mixed.codes[0]):
        assert by_text(was) == by_text(now) and not torch.equal(was[mask], now[mask])
    with lesion.shuffled({1: hashes[1]}):
        second = look()
    assert torch.equal(second.context[0], whole.context[0])
    assert not torch.equal(second.context[1], whole.context[1])
    with lesion.mean(hashes):
        flat = look()
    for value, context in zip(flat.values, flat.context):
        for v, c, real in zip(value, context, mask):
            assert (c[real] - v[real].mean(0).flatten()).abs().max() < 1e-5
    assert torch.equal(look().vectors, whole.vectors)


def main():
    torch.set_num_threads(1)
    make_texts()
    make_teacher()
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            torch.manual_seed(0)
            test()
            print(f"ok {name}", flush=True)


if __name__ == "__main__":
    main()
