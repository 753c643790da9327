"""Models on the disk: docs/formats.md "Text models", and Hugging Face's BERT to begin with.

    export(model, "vocab.txt", folder)      # weights are frozen in the file, not in the model
    model, vocab = load(folder)             # frozen: codes, scales, tables as in the file
    model = load_teacher(folder, layers=..., token_embedding=...)
"""
import json
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

from model import MATRICES, Attention, Config, Encoder, LayerConfig
from quantize import Linear, quantize_rows, TABLE_MAX

DTYPES = {"float32": "F32", "int8": "I8", "uint8": "U8"}


# Packed matrices: attention/linear.h

def two_bit(form, levels):
    return levels + 1 if form == "ternary" else (levels + 3) // 2


def pack(levels, form):
    """levels (out, in), whole numbers, or weights of "float" -> the packed array."""
    rows, columns = levels.shape
    if form == "float":
        cut = levels.astype(np.float32).reshape(rows // 16, 16, columns)
        return np.ascontiguousarray(cut.transpose(0, 2, 1))
    if form == "int8":
        cut = levels.astype(np.int8).reshape(rows // 16, 16, columns // 4, 4)
        return np.ascontiguousarray(
            cut.transpose(0, 2, 1, 3).reshape(rows // 16, columns // 4, 64))
    codes = two_bit(form, levels.astype(np.int64)).astype(np.uint8)
    cut = codes.reshape(rows // 64, 4, 16, columns // 4, 4)  # n, f, c, g, b
    byte = cut[:, 0] | cut[:, 1] << 2 | cut[:, 2] << 4 | cut[:, 3] << 6
    return np.ascontiguousarray(
        byte.transpose(0, 2, 1, 3).reshape(rows // 64, columns // 4, 64))


def unpack(packed, form):
    """The inverse of pack."""
    n, steps, _ = packed.shape
    if form == "float":
        return np.ascontiguousarray(packed.transpose(0, 2, 1).reshape(n * 16, steps))
    cut = packed.reshape(n, steps, 16, 4).transpose(0, 2, 1, 3)  # n, c, g, b
    if form == "int8":
        return np.ascontiguousarray(cut.reshape(n * 16, steps * 4))
    codes = np.stack([cut >> 2 * f & 3 for f in range(4)], 1).reshape(n * 64, steps * 4)
    codes = codes.astype(np.int8)
    return codes - 1 if form == "ternary" else codes * 2 - 3


def pack_nibbles(levels):
    byte = (levels.astype(np.int16) + 8).astype(np.uint8)
    return byte[:, 0::2] | byte[:, 1::2] << 4


def unpack_nibbles(packed):
    both = np.stack([packed & 15, packed >> 4], -1).reshape(len(packed), -1)
    return both.astype(np.int8) - 8


# Writing

def save_tensors(path, tensors):
    """A safetensors file whose data begin at a multiple of 64 bytes: arrays of a multiple of
    64 bytes first, then the widest elements, so that matrices and tables are aligned to 64."""
    order = sorted(tensors, key=lambda name: (
        tensors[name].nbytes % 64 != 0, -tensors[name].itemsize, name))
    header, at = {"__metadata__": {"format": "halftone-encoder", "format_version": "1"}}, 0
    for name in order:
        array = tensors[name]
        header[name] = {"dtype": DTYPES[str(array.dtype)], "shape": list(array.shape),
                        "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            file.write(np.ascontiguousarray(tensors[name]).tobytes())


def numbers(tensor):
    return tensor.detach().cpu().float().numpy()


def matrix_tensors(linear, name):
    """What a file holds of one matrix."""
    out = {f"{name}.bias": numbers(linear.bias)}
    if linear.form == "float":
        return out | {f"{name}.weight": pack(numbers(linear.weight), "float")}
    codes, scale = linear.quantised()
    return out | {f"{name}.weight": pack(numbers(codes), linear.form),
                  f"{name}.scale": numbers(scale).reshape(-1)}


def table_tensors(table):
    if table.form == "float":
        return {"token.weight": numbers(table.weight)}
    if table.codes is not None:
        codes, scale = table.codes, table.scale
    else:
        codes, scale = quantize_rows(table.weight, TABLE_MAX[table.form])
    levels = numbers(codes).astype(np.int8)
    return {"token.weight": pack_nibbles(levels) if table.form == "int4" else levels,
            "token.scale": numbers(scale).reshape(-1)}


def layer_tensors(layer, name):
    out = {f"{name}.{key}": numbers(value)
           for key, value in layer.named_parameters(recurse=False)}
    for child, module in layer.named_children():
        if isinstance(module, Linear):
            out |= matrix_tensors(module, f"{name}.{child}")
        elif child == "gelu":
            out[f"{name}.gelu.table"] = numbers(module.values()).astype(np.int8)
            out[f"{name}.gelu.scale"] = numbers(module.scale)
        else:  # norms and hashes: their parameters as they are
            out |= {f"{name}.{child}.{key}": numbers(value)
                    for key, value in module.named_parameters()}
    return out


def model_tensors(model):
    out = table_tensors(model.token) | {
        "position.weight": numbers(model.position.weight),
        "embedding_norm.weight": numbers(model.embedding_norm.weight),
        "embedding_norm.bias": numbers(model.embedding_norm.bias)}
    for i, layer in enumerate(model.layers):
        out |= layer_tensors(layer, f"layers.{i}")
    for name, array in out.items():
        if array.dtype == np.float32 and not np.isfinite(array).all():
            raise ValueError(f"{name}: expected finite numbers only")
    return out


@torch.no_grad()
def export(model, tokenizer_vocab, folder):
    """Write the folder that encoder_open takes.  tokenizer_vocab: the path of a vocab.txt, or
    a list of pieces.  The model itself does not change."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(tokenizer_vocab, (str, Path)):
        vocab = Path(tokenizer_vocab).read_bytes()
    else:
        vocab = "".join(piece + "\n" for piece in tokenizer_vocab).encode()
    n = len(vocab.removesuffix(b"\n").split(b"\n"))
    if n != model.config.vocab_size:
        raise ValueError(f"expected a vocabulary of {model.config.vocab_size} pieces, not {n}")
    save_tensors(folder / "model.safetensors", model_tensors(model))
    model.config.save(folder / "config.json")
    (folder / "vocab.txt").write_bytes(vocab)


# Reading

def read_tensors(path):
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


@torch.no_grad()
def fill(parameter, tensor, name):
    if parameter.shape != tensor.shape:
        raise ValueError(f"{name}: expected shape {tuple(parameter.shape)}, "
                         f"not {tuple(tensor.shape)}")
    parameter.copy_(tensor)


def load_matrix(linear, tensors, name):
    fill(linear.bias, tensors[f"{name}.bias"], f"{name}.bias")
    levels = torch.from_numpy(unpack(tensors[f"{name}.weight"].numpy(), linear.form))
    if linear.form == "float":
        fill(linear.weight, levels, f"{name}.weight")
    else:
        linear.freeze(levels, tensors[f"{name}.scale"])


def load_layer(layer, tensors, name):
    for key, parameter in layer.named_parameters(recurse=False):
        fill(parameter, tensors[f"{name}.{key}"], f"{name}.{key}")
    for child, module in layer.named_children():
        if isinstance(module, Linear):
            load_matrix(module, tensors, f"{name}.{child}")
            continue
        for key, parameter in module.named_parameters():
            fill(parameter, tensors[f"{name}.{child}.{key}"], f"{name}.{child}.{key}")
        if child == "gelu":
            module.freeze(tensors[f"{name}.gelu.table"])


def load(folder):
    """The model of a folder, frozen, in eval mode; and its pieces."""
    folder = Path(folder)
    model = Encoder(Config.load(folder / "config.json"))
    tensors = read_tensors(folder / "model.safetensors")
    if model.token.form == "float":
        fill(model.token.weight, tensors["token.weight"], "token.weight")
    else:
        levels = tensors["token.weight"]
        if model.token.form == "int4":
            levels = torch.from_numpy(unpack_nibbles(levels.numpy()))
        model.token.freeze(levels, tensors["token.scale"])
    for name in ("position.weight", "embedding_norm.weight", "embedding_norm.bias"):
        fill(model.get_parameter(name), tensors[name], name)
    for i, layer in enumerate(model.layers):
        load_layer(layer, tensors, f"layers.{i}")
    vocab = (folder / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return model.eval(), vocab


# Hugging Face's BERT

TEACHER_NAMES = {"query": "attention.self.query", "key": "attention.self.key",
                 "value": "attention.self.value", "output": "attention.output.dense",
                 "up": "intermediate.dense", "down": "output.dense",
                 "attention_norm": "attention.output.LayerNorm",
                 "feed_forward_norm": "output.LayerNorm"}


def teacher_pooling(folder):
    """As sentence-transformers says it, or mean."""
    file = folder / "1_Pooling/config.json"
    said = json.loads(file.read_text()) if file.exists() else {"pooling_mode_mean_tokens": True}
    modes = [key for key, on in said.items() if key.startswith("pooling_mode_") and on is True]
    known = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    if len(modes) != 1 or modes[0] not in known:
        raise ValueError(f"{file}: expected one of {', '.join(known)}, not {', '.join(modes)}")
    return known[modes[0]]


def teacher_config(said, layer, token_embedding, sub_norm, pooling, positions):
    for key, want in (("model_type", "bert"), ("hidden_act", "gelu")):
        if said.get(key) != want:
            raise ValueError(f"expected a BERT with {key} {want}, not {said.get(key)}")
    n = said["num_hidden_layers"]
    layers = layer if isinstance(layer, list) else [layer] * n
    if len(layers) != n:
        raise ValueError(f"expected {n} layers, not {len(layers)}")
    layers = [LayerConfig.from_json(one.to_json()) for one in layers]
    same = {key: said[key] for key in ("hidden_size", "vocab_size", "num_attention_heads",
                                       "intermediate_size", "layer_norm_eps")}
    return Config(**same, max_position_embeddings=positions, pooling=pooling,
                  token_embedding=token_embedding, sub_norm=sub_norm, layers=layers)


@torch.no_grad()
def load_teacher(folder, layer=None, token_embedding="float", sub_norm=False,
                 positions=256, rule="twn"):
    """The weights of a BERT folder (all-MiniLM-L6-v2) in an Encoder.  layer: a LayerConfig for
    all layers, or a list of them; without one the teacher itself, in floats.  positions: how
    many pieces a text may have, at most the teacher's.  Where keys are
    shared the teacher's are dropped.  Norms of sub_norm, hashes and GELU tables are left as
    they begin: calibrate.calibrate sets them."""
    folder = Path(folder)
    layer = layer or LayerConfig(*["float"] * 6)
    said = json.loads((folder / "config.json").read_text())
    positions = min(positions, said["max_position_embeddings"])
    config = teacher_config(said, layer, token_embedding, sub_norm, teacher_pooling(folder),
                            positions)
    model = Encoder(config, rule)
    tensors = {name.removeprefix("bert."): tensor
               for name, tensor in read_tensors(folder / "model.safetensors").items()}
    fill(model.token.weight, tensors["embeddings.word_embeddings.weight"], "word_embeddings")
    position = tensors["embeddings.position_embeddings.weight"][:positions]
    fill(model.position.weight, position + tensors["embeddings.token_type_embeddings.weight"][0],
         "position_embeddings")
    pairs = [(model.embedding_norm, "embeddings.LayerNorm")]
    for i, one in enumerate(model.layers):
        pairs += [(getattr(one, ours), f"encoder.layer.{i}.{theirs}")
                  for ours, theirs in TEACHER_NAMES.items() if getattr(one, ours) is not None]
    for module, name in pairs:
        fill(module.weight, tensors[f"{name}.weight"], name)
        fill(module.bias, tensors[f"{name}.bias"], name)
    return model.eval()
