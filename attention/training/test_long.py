"""Tests of long.py: python test_long.py (seconds; needs build/, no network).

Claims: a text is cut behind a whole word, and what is left has the pieces it had; a set keeps its
long documents alone with the judgements that they had; a lengthened model embeds short texts as it
did, to the bit, and long ones by the positions that it was given; through a server, what stands at
a document's end is found in passages and not in its start.
"""
import json
import tempfile
from pathlib import Path

import numpy as np
import torch

import export
import long
from evaluate import Set
from model import Config, Encoder
from text import embedded, tokenize, tokenizer

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "##s", ".", ","] + [
    a + b for a in "bcdfghklmnprstvz" for b in ("a", "e", "i", "o", "u", "ai", "au", "oo")]
WORDS = VOCAB[7:]
BUILD = Path(__file__).resolve().parent.parent.parent / "build"
POSITIONS = torch.randn(long.LONG, 64, generator=torch.Generator().manual_seed(1)) * .05


def write(folder, rows, queries, grades):
    folder.mkdir()
    for name, lines in (("corpus", rows), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(
            json.dumps({"id": id, "text": text}) + "\n" for id, text in lines))
    (folder / "qrels.tsv").write_text("".join(f"{q}\t{d}\t{g}\n" for q, d, g in grades))
    return Set(folder)


def make_model(folder, positions):
    """A small encoder of random weights, the same for any number of positions."""
    torch.manual_seed(2)
    model = Encoder(Config.uniform(
        2, "int8", hidden_size=64, num_attention_heads=4, intermediate_size=128,
        vocab_size=len(VOCAB))).eval()
    model.config.max_position_embeddings = positions
    model.position = torch.nn.Embedding.from_pretrained(POSITIONS[:positions])
    export.export(model, VOCAB, folder)


def test_cut():
    pieces = tokenizer(VOCAB)
    ids = lambda text: pieces.encode(text, add_special_tokens=False).ids
    for text in ("ba bes, cis. do fus", "Ba  BES ,cis.\ndo fus", "bas bas bas bas bas"):
        whole = ids(text)
        for most in range(1, len(whole) + 3):
            part = long.cut(text, pieces, most)
            n = len(ids(part))
            assert text.startswith(part) and ids(part) == whole[:n] and n <= most, (text, most)
            # one more would have been too many, or half a word
            assert n == len(whole) or n == most or VOCAB[whole[n + 1]] == "##s", (text, most, part)


def test_keep_long(work):
    n = {"none": 5, "room": 254, "more": 255, "most": 510, "cut": 700}
    one = write(work / "few", [(name, "ba " * count) for name, count in n.items()],
                [("a", "be"), ("b", "bi"), ("c", "bo"), ("d", "bu")],
                [("a", "none", 1), ("a", "cut", 2), ("b", "none", 1), ("b", "more", 0),
                 ("c", "room", 1), ("d", "more", 1), ("d", "most", 0)])
    lengths = long.keep_long(one, tokenizer(VOCAB))
    assert lengths == [257, 512, 512], lengths
    assert one.asked == ["a", "d"] and one.texts["queries"] == ["be", "bu"]
    assert one.grades["a"] == {2: 2} and one.grades["d"] == {0: 1, 1: 0}, one.grades
    assert one.ndcg_of([[2], [0]]).tolist() == [1, 1]


def test_lengthen(work):
    make_model(work / "short", 256)
    others = POSITIONS.clone()
    others[:256] = 0
    long.lengthen(work / "short", others.numpy(), work / "long")
    make_model(work / "made", 512)
    texts = [" ".join(np.random.default_rng(n).choice(WORDS, n)) for n in (3, 100, 254, 255, 600)]
    vectors = {}
    for name, positions in (("short", 256), ("long", 512), ("made", 512)):
        model, _ = export.load(work / name)
        vectors[name] = [embedded(model, [ids]) for ids in tokenize(VOCAB, texts, positions)]
    assert all(map(np.array_equal, vectors["long"], vectors["made"]))
    same = list(map(np.array_equal, vectors["long"], vectors["short"]))
    assert same == [True, True, True, False, False], same
    try:
        long.lengthen(work / "made", POSITIONS.numpy(), work / "longer")
    except ValueError as error:
        assert "fewer than 512 positions, not 512" in str(error), error
    else:
        raise AssertionError("a model that is long enough was lengthened")


def test_search(work):
    """Each document has words of its own in its last quarter, which are asked for."""
    random = np.random.default_rng(4)
    common, own = WORDS[:40], np.reshape(WORDS[40:120], (20, 4))
    text = lambda words, n: " ".join(random.choice(words, n))
    rows = [(f"d{i}", f"{text(common, 380)} {text(own[i], 120)}") for i in range(20)]
    one = write(work / "ends", rows, [(f"q{i}", text(own[i], 12)) for i in reversed(range(20))],
                [(f"q{i}", f"d{i}", 1) for i in range(20)])
    lengths = long.keep_long(one, tokenizer(VOCAB))
    assert len(lengths) == 20 and set(lengths) == {502}
    models = work / "models"
    make_model(models / "m-256", 256)
    long.lengthen(models / "m-256", POSITIONS.numpy(), models / "m-512")
    found = {way: long.search(one, way, "m", 4, models, BUILD) for way in long.WAYS}
    ndcg = {way: np.mean(found[way]["ndcg"]) for way in long.WAYS}
    assert ndcg["start"] < .5 < .9 < ndcg["passages"], ndcg
    assert ndcg["whole"] > ndcg["start"] + .1, ndcg
    assert [found[way]["vectors"] for way in ("start", "whole")] == [20, 20]
    assert 40 <= found["passages"]["vectors"] <= 60, found["passages"]["vectors"]


def main():
    torch.set_num_threads(1)
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            with tempfile.TemporaryDirectory() as work:
                test(*[Path(work)][:test.__code__.co_argcount])
            print(f"ok {name}", flush=True)


if __name__ == "__main__":
    main()
