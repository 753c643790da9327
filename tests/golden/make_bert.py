"""Make bert_*/: tiny BERTs with random weights as Hugging Face stores them, and what
sentence-transformers makes of texts with each (expected.jsonl).

    HF_HUB_OFFLINE=1 python3 tests/golden/make_bert.py

Needs torch, transformers and sentence-transformers.

    bert_mean   float32, names without "bert.", mean pooling, no prompts
    bert_cls    float16, "bert." before the names, pooling of [CLS], prompts
    bert_bf16   bfloat16, mean pooling, "passage" prompt, no Normalize step, more rows
                than vocab.txt has lines
"""
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from transformers import BertConfig, BertModel

HERE = Path(__file__).resolve().parent
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
WORDS = """the a of and to in is how what why cat dog bank river rate interest light
water code search binary vector paper gene cell protein drug trial effect heart
music paint colour red green blue fast slow king queen""".split()
TEXTS = [
    "a cat",
    "The CAT and the dog, in the river!",
    "what is the interest rate of a bank?",
    "Binary vectors search fast; slow code paints red.",
    "protein effects in heart cells (a trial of 3 drugs)",
    "unknownwordish 漢字 caf\u00e9 \u00fcber na\u00efve",
    "why",
    " ".join(WORDS),
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def vocabulary():
    pieces = SPECIAL + list(LETTERS) + ["##" + c for c in LETTERS]
    return list(dict.fromkeys(pieces + list(",.;?!()") + WORDS + ["##ish"]))


def make(name, seed, *, layers, heads, rows, dtype, prefix, pooling, prompts, normalize):
    torch.manual_seed(seed)
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    pieces = vocabulary()
    config = BertConfig(
        vocab_size=len(pieces) + rows, hidden_size=64, num_hidden_layers=layers,
        num_attention_heads=heads, intermediate_size=128, max_position_embeddings=24)
    model = BertModel(config, add_pooling_layer=False).eval()
    for key, p in model.named_parameters():
        # Far enough from the usual start that every number matters.
        if key.endswith("bias"):
            p.data.normal_(0, 0.1)
        elif "LayerNorm" in key:
            p.data.uniform_(0.5, 1.5)
        elif p.dim() == 2:
            p.data.normal_(0, 0.12)
        p.data = p.data.to(dtype)
    state = {prefix + k: v.contiguous() for k, v in model.state_dict().items()
             if "position_ids" not in k}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})

    def write(path, value):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(json.dumps(value, indent=1) + "\n")

    described = config.to_dict()
    keep = """hidden_act hidden_size intermediate_size layer_norm_eps is_decoder
        max_position_embeddings model_type num_attention_heads num_hidden_layers
        type_vocab_size vocab_size""".split()
    described = {k: described[k] for k in keep if k in described}
    described |= {"architectures": ["BertModel"], "position_embedding_type": "absolute",
                  "torch_dtype": str(dtype).split(".")[1]}
    write("config.json", described)
    (folder / "vocab.txt").write_text("".join(p + "\n" for p in pieces))
    write("tokenizer_config.json", {
        "do_lower_case": True, "unk_token": "[UNK]", "sep_token": "[SEP]",
        "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]",
        "tokenize_chinese_chars": True, "strip_accents": None,
        "model_max_length": 24, "tokenizer_class": "BertTokenizer"})
    steps = ["Transformer", "Pooling"] + ["Normalize"] * normalize
    write("modules.json", [
        {"idx": i, "name": str(i), "path": "" if i == 0 else f"{i}_{step}",
         "type": "sentence_transformers.models." + step} for i, step in enumerate(steps)])
    write("1_Pooling/config.json", {
        "word_embedding_dimension": 64, "pooling_mode_cls_token": pooling == "cls",
        "pooling_mode_mean_tokens": pooling == "mean", "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False})
    if pooling == "mean":
        write("sentence_bert_config.json", {"max_seq_length": 20, "do_lower_case": False})
    if prompts:
        write("config_sentence_transformers.json",
              {"prompts": prompts, "default_prompt_name": None})

    reference = SentenceTransformer(str(folder), device="cpu").float()
    (folder / "README.md").unlink(missing_ok=True)
    with open(folder / "expected.jsonl", "w") as out:
        for role in ["plain"] + ["query", "document"] * bool(prompts):
            key = "passage" if role == "document" and "passage" in prompts else role
            prompt = prompts.get(key) if prompts and role != "plain" else None
            vectors = reference.encode(TEXTS, prompt=prompt, normalize_embeddings=True,
                                       convert_to_numpy=True)
            for text, vector in zip(TEXTS, vectors):
                row = {"role": role, "text": text,
                       "vector": [round(float(x), 7) for x in vector]}
                out.write(json.dumps(row) + "\n")


make("bert_mean", 1, layers=1, heads=2, rows=0, dtype=torch.float32, prefix="",
     pooling="mean", prompts=None, normalize=True)
make("bert_cls", 2, layers=2, heads=4, rows=0, dtype=torch.float16, prefix="bert.",
     pooling="cls", prompts={"query": "what is the code of: "}, normalize=True)
make("bert_bf16", 3, layers=2, heads=2, rows=6, dtype=torch.bfloat16, prefix="",
     pooling="mean", prompts={"query": "query: ", "passage": "a paper: "},
     normalize=False)
for folder in sorted(HERE.glob("bert_*")):
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    print(f"{folder.name}: {size} bytes")
