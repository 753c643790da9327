"""Make encoder_NAME/ (small seeded models) and encoder.jsonl (what the reference in
attention/training makes of some texts).

    python3 tests/golden/make_encoder.py

Needs attention/training/requirements.txt.  Between them the models have every form of
matrix, attention, linear order and quadratic, GELU, norms, pooling and table.  A line of
encoder.jsonl: model, text, pieces, embedding, and for each layer its codes [queries,
keys], each n * heads words, keys null where shared, the whole null for softmax.
"""
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "attention/training"))

import export  # noqa: E402
import text  # noqa: E402
from calibrate import calibrate  # noqa: E402
from model import Attention, Config, Encoder, LayerConfig  # noqa: E402

VOCAB = """[PAD] [UNK] [CLS] [SEP] the a of and in to is how what who why do does was man
cat mat red green blue sun moon star water iron blood heart cell code book tree bird fish
##s ##ing ##ed ##er ##ly ##ness un ##able play sing run walk write read think mine . , ? ! - '
0 1 2 3 7 ##0 ##1 ##5""".split()

TEXTS = """the cat
What is a star?
how do birds sing
who reads the book of the sun and the moon, and why?
Playing, running; walking!
unreadable
iron is in blood
7015 - 310
the the the the the
xyz the qqq
a man was thinking of red fish, green fish and blue fish in the water
the tree is red. the tree is green. the tree is blue. the moon is a code. the sun is a star.
do cells think? do trees walk? do books write? do hearts run? do fishes read, sing and play in the mine of the moon?
""".splitlines() + [" \t"]


def hashed(similarity, function="kernel", shared=False, bits=16, anchors=25, bucket_bits=4):
    return Attention("hash", shared, function, anchors, bits, similarity, bucket_bits)


def layer(attention, form="ternary", gelu="exact"):
    forms = form.split(",")
    return LayerConfig(*(forms * 6)[:6], gelu, attention)


def smooth(one):
    one.smooth = True
    return one


def config(first, second, **other):
    sizes = dict(hidden_size=64, vocab_size=len(VOCAB), max_position_embeddings=48,
                 num_attention_heads=4, intermediate_size=128)
    return Config(layers=[first, second], **sizes | other)


MODELS = {
    "positive": config(layer(hashed("positive")), layer(Attention()), hidden_size=128,
                       intermediate_size=256),
    "shared": config(layer(hashed("positive", shared=True), "four-level"),
                     layer(hashed("positive", "linear", True, 7)), pooling="cls"),
    "general": config(layer(hashed("general", shared=True)),
                      layer(hashed("general", "linear", bits=32))),
    "buckets": config(layer(hashed("buckets", bits=8, bucket_bits=2)),
                      layer(hashed("buckets", "linear", True)), token_embedding="int4"),
    "table": config(layer(hashed("table"), gelu="table"),
                    layer(hashed("table", "linear", True, 12), gelu="table")),
    "norms": config(layer(hashed("table", anchors=5)),
                    layer(hashed("positive", "linear"), "int8"), sub_norm=True,
                    token_embedding="float"),
    "mixed": config(layer(Attention(), "float,int8,four-level,ternary,int8,float"),
                    layer(hashed("general"), "int8,ternary,float,four-level,ternary,int8",
                          "table"), token_embedding="int4"),
    "plain": config(layer(Attention(), "int8"), layer(Attention(), "four-level", "table"),
                    pooling="cls", token_embedding="float"),
    "smooth": config(smooth(layer(Attention(), "int8")),
                     smooth(layer(hashed("general"), "ternary,float,int8,int8,int8,int8"))),
}


def make(one, seed):
    torch.manual_seed(seed)
    model = Encoder(one).eval()
    for name, p in model.named_parameters():
        if name.endswith("bias") or "norm" in name:
            p.data += torch.randn_like(p) * 0.1
    ids = torch.randint(4, len(VOCAB), (64, 24))
    calibrate(model, ids, torch.ones_like(ids, dtype=torch.bool), seed)
    for one_layer in model.layers:  # no factor is 1
        for name in ("attention_smooth", "feed_forward_smooth"):
            p = getattr(one_layer, name)
            if p is not None:
                p.data *= torch.exp(torch.randn_like(p) * 0.5)
    for one_layer in model.layers:  # no parameter is as it began, or alike for all heads
        if one_layer.hash is not None:
            for name in ("gamma", "delta", "epsilon", "floor", "table"):
                if hasattr(one_layer.hash, name):
                    p = getattr(one_layer.hash, name)
                    p.data *= torch.exp(torch.randn_like(p) * 0.3)
    return model


def lines(name, model):
    for words, ids in zip(TEXTS, text.tokenize(VOCAB, TEXTS, 48)):
        with torch.no_grad():
            out = model(*text.padded([ids]), trace=True)
        codes = [c if c is None else [w if w is None else w.flatten().tolist() for w in c]
                 for c in out.codes]
        yield {"model": name, "text": words, "pieces": ids,
               "embedding": [float(str(x)) for x in out.vectors[0].numpy()], "codes": codes}


def main():
    torch.set_num_threads(1)
    with open(HERE / "encoder.jsonl", "w", encoding="utf-8") as file:
        for seed, (name, one) in enumerate(MODELS.items()):
            folder = HERE / f"encoder_{name}"
            shutil.rmtree(folder, ignore_errors=True)
            export.export(make(one, seed), VOCAB, folder)
            model, _ = export.load(folder)
            model.set_ordered()
            for line in lines(name, model):
                file.write(json.dumps(line, separators=(",", ":")) + "\n")
            size = sum(f.stat().st_size for f in folder.iterdir())
            print(f"{folder.name}: {size} bytes")


if __name__ == "__main__":
    main()
