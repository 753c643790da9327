"""The encoder in PyTorch: what attention/transformer.h runs, with gradients.

    config = Config.uniform(hidden_size=384, layers=6, form="ternary",
                            attention=Attention("hash", similarity="table"))
    model = Encoder(config)                 # or export.load_teacher, export.load
    vectors = model(ids, mask)              # (B, N) int64, (B, N) bool -> (B, D), unit

In eval mode the arithmetic is that of docs/formats.md in its order of rounding: the C engine
differs by the order of float sums alone, and with set_ordered() by nothing.  Names of
parameters are those of the file.
"""
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import ordered
from hashing import Hash, softmax
from quantize import GeluTable, Linear, TokenTable, linears

MATRICES = ("query", "key", "value", "output", "up", "down")


@dataclass
class Attention:
    form: str = "softmax"          # or hash, and then:
    shared: bool = False           # keys are the queries
    function: str = "kernel"       # or linear
    anchors: int = 25              # kernel
    bits: int = 16
    similarity: str = "positive"   # general, buckets, table
    bucket_bits: int = 4           # buckets

    def to_json(self):
        if self.form == "softmax":
            return {"form": "softmax"}
        keys = ["form", "shared", "function", "bits", "similarity"]
        keys += ["anchors"] * (self.function == "kernel")
        keys += ["bucket_bits"] * (self.similarity == "buckets")
        return {key: getattr(self, key) for key in keys}


@dataclass
class LayerConfig:
    query: str = "ternary"
    key: str = "ternary"           # not there where attention.shared
    value: str = "ternary"
    output: str = "ternary"
    up: str = "ternary"
    down: str = "ternary"
    gelu: str = "exact"            # or table
    attention: Attention = field(default_factory=Attention)
    smooth: bool = False           # factors before two of the inputs that become int8

    @property
    def shared(self):
        return self.attention.form == "hash" and self.attention.shared

    def to_json(self):
        out = {name: getattr(self, name) for name in MATRICES + ("gelu",)}
        if self.shared:
            del out["key"]
        if self.smooth:
            out["smooth"] = True
        return out | {"attention": self.attention.to_json()}

    @staticmethod
    def from_json(json_layer):
        known = {k: v for k, v in json_layer.items() if k in LayerConfig.__dataclass_fields__}
        if len(known) < len(json_layer):
            raise ValueError(f"expected a layer of {', '.join(known)}; not also "
                             f"{', '.join(json_layer.keys() - known)}")
        return LayerConfig(**known | {"attention": Attention(**json_layer["attention"])})


@dataclass
class Config:
    hidden_size: int = 384
    vocab_size: int = 30522
    max_position_embeddings: int = 512
    num_attention_heads: int = 12
    intermediate_size: int = 1536
    layer_norm_eps: float = 1e-12
    pooling: str = "mean"          # or cls
    token_embedding: str = "int8"  # float, int4
    sub_norm: bool = False
    layers: list = field(default_factory=list)
    more: dict = field(default_factory=dict)  # coordinates, query_prefix, teacher, ...

    @staticmethod
    def uniform(layers, form="ternary", gelu="exact", attention=None, **other):
        """All layers alike, all matrices of one form."""
        one = lambda: LayerConfig(*[form] * 6, gelu, Attention(**asdict(attention or Attention())))
        return Config(layers=[one() for _ in range(layers)], **other)

    def to_json(self):
        out = {key: value for key, value in asdict(self).items()
               if key not in ("layers", "more")}
        return {"model_type": "halftone-encoder", "format_version": 1, "do_lower_case": True,
                "normalize": True, "num_hidden_layers": len(self.layers)} | out | {
                "layers": [layer.to_json() for layer in self.layers]} | self.more

    def save(self, path):
        Path(path).write_text(json.dumps(self.to_json(), indent=1) + "\n")

    @staticmethod
    def load(path):
        said = json.loads(Path(path).read_text())
        if said.get("model_type") != "halftone-encoder" or said.get("format_version") != 1:
            raise ValueError(f"{path}: expected halftone-encoder, format_version 1, not "
                             f"{said.get('model_type')}, {said.get('format_version')}")
        for key in ("model_type", "format_version", "do_lower_case", "normalize"):
            said.pop(key)
        if said.pop("num_hidden_layers") != len(said["layers"]):
            raise ValueError(f"{path}: num_hidden_layers is not the length of layers")
        known = {k: said.pop(k) for k in list(said) if k in Config.__dataclass_fields__}
        known["layers"] = [LayerConfig.from_json(layer) for layer in known["layers"]]
        return Config(**known, more=said)


class LayerNorm(nn.LayerNorm):
    ordered = False

    def forward(self, x):
        if self.ordered and not self.training:
            return ordered.layer_norm(x, self.weight, self.bias, self.eps)
        return super().forward(x)


class RmsNorm(nn.Module):
    """x / sqrt(mean of squares + epsilon) * weight."""

    ordered = False

    def __init__(self, dims, epsilon):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dims))
        self.epsilon = epsilon

    def forward(self, x):
        x = x.float()
        if self.ordered and not self.training:
            return ordered.rms_norm(x, self.weight, self.epsilon)
        return x / (x.square().mean(-1, keepdim=True) + self.epsilon).sqrt() * self.weight


@dataclass
class Trace:
    """What a forward went through; lists have an entry a layer."""
    vectors: torch.Tensor = None                  # (B, D) embeddings
    hidden: list = field(default_factory=list)    # (B, N, D): the input, then each output
    context: list = field(default_factory=list)   # (B, N, D): attention, before `output`
    queries: list = field(default_factory=list)   # (B, N, H, d)
    keys: list = field(default_factory=list)      # the same; the queries where shared
    values: list = field(default_factory=list)    # the same
    codes: list = field(default_factory=list)     # hash: words (B, N, H) of queries and of
                                                  # keys (None where shared); softmax: None


class Layer(nn.Module):
    ordered = False

    def __init__(self, config, layer, rule):
        super().__init__()
        dims, inner, eps = config.hidden_size, config.intermediate_size, config.layer_norm_eps
        self.heads = config.num_attention_heads
        self.query = Linear(dims, dims, layer.query, rule)
        self.key = None if layer.shared else Linear(dims, dims, layer.key, rule)
        self.value = Linear(dims, dims, layer.value, rule)
        self.output = Linear(dims, dims, layer.output, rule)
        self.up = Linear(dims, inner, layer.up, rule)
        self.down = Linear(inner, dims, layer.down, rule)
        self.attention_norm = LayerNorm(dims, eps)
        self.feed_forward_norm = LayerNorm(dims, eps)
        self.context_norm = RmsNorm(dims, eps) if config.sub_norm else nn.Identity()
        self.inner_norm = RmsNorm(inner, eps) if config.sub_norm else nn.Identity()
        if layer.gelu == "table" and (config.sub_norm or layer.down == "float"):
            raise ValueError("gelu by table needs down in a form with int8 activations "
                             "and no sub_norm")
        self.gelu = GeluTable() if layer.gelu == "table" else None
        for name in ("attention_smooth", "feed_forward_smooth"):
            self.register_parameter(name, nn.Parameter(torch.ones(dims)) if layer.smooth else None)
        self.hash = None
        if layer.attention.form == "hash":
            self.hash = Hash(layer.attention, self.heads, dims // self.heads)

    @staticmethod
    def take(linear, x, smooth):
        """What a matrix makes of x: its bytes are of x * smooth, floats are as they are."""
        return linear(x if smooth is None or linear.form == "float" else x * smooth)

    def project_inputs(self, x):
        """Queries, keys (None where shared), values: (B, N, H, d)."""
        some = [linear for linear in (self.query, self.key, self.value) if linear is not None]
        if self.attention_smooth is None and not any(
                linear.form == "float" or linear.exact for linear in some):
            out = linears(x, some)
        else:
            out = [self.take(linear, x, self.attention_smooth) for linear in some]
        out = [one.unflatten(-1, (self.heads, -1)) for one in out]
        return (out[0], None, out[1]) if self.key is None else tuple(out)

    def attend(self, x, mask, trace, order, inject):
        q, k, v = self.project_inputs(x)
        if self.hash is None:
            fixed = self.ordered and not self.training
            out, words = (ordered.softmax if fixed else softmax)(q, k, v, mask), None
        else:
            out, words = self.hash(q, k, v, mask, order, inject)
        context = out.flatten(-2)
        if trace is not None:
            trace.queries.append(q)
            trace.keys.append(q if k is None else k)
            trace.values.append(v)
            trace.context.append(context)
            trace.codes.append(words)
        return context

    def feed_forward(self, x):
        inner = self.take(self.up, x, self.feed_forward_smooth)
        if self.gelu is None:
            fixed = self.ordered and not self.training
            inner = (ordered.gelu if fixed else F.gelu)(inner)
            return self.down(self.inner_norm(inner))
        if self.down.exact:
            return self.down.integer(*self.gelu.lookup(inner))
        return self.down.soft(self.gelu(inner))

    def forward(self, x, mask, trace=None, order="quadratic", inject=None):
        context = self.attend(x, mask, trace, order, inject)
        x = self.attention_norm(x + self.output(self.context_norm(context)))
        return self.feed_forward_norm(x + self.feed_forward(x))


class Encoder(nn.Module):
    """rule: the statistic of ternary weights (quantize.RULES)."""
    ordered = False

    def __init__(self, config, rule="twn"):
        super().__init__()
        self.config = config
        dims = config.hidden_size
        if config.pooling not in ("mean", "cls"):
            raise ValueError(f"expected pooling mean or cls, not {config.pooling!r}")
        self.token = TokenTable(config.vocab_size, dims, config.token_embedding)
        self.position = nn.Embedding(config.max_position_embeddings, dims)
        nn.init.normal_(self.position.weight, std=0.05)
        self.embedding_norm = LayerNorm(dims, config.layer_norm_eps)
        self.layers = nn.ModuleList(Layer(config, layer, rule) for layer in config.layers)

    def set_mix(self, mix):
        """How far weights and activations are drawn to their quantised selves, 0 .. 1."""
        for module in self.modules():
            if hasattr(module, "mix"):
                module.mix = float(mix)

    def set_power(self, power):
        """ReSTE's power of every hash: 1 is straight-through; 3 at the end of training."""
        for layer in self.layers:
            if layer.hash is not None:
                layer.hash.power = float(power)

    def set_ordered(self, on=True):
        """Whether eval mode takes float sums in the engine's order (ordered.py)."""
        for module in self.modules():
            if hasattr(module, "ordered"):
                module.ordered = on

    def freeze(self):
        """Keep every code; what is left to learn are scales, biases, norms, hashes."""
        for module in self.modules():
            if isinstance(module, (Linear, TokenTable, GeluTable)):
                module.freeze()

    @torch.no_grad()
    def project(self):
        """Back to what a file may hold; after each step of an optimizer."""
        for module in self.modules():
            if isinstance(module, Hash):
                module.project()
            elif isinstance(module, GeluTable):
                module.scale.clamp_(min=1e-6)
            elif isinstance(module, Layer):
                for factors in module.parameters(recurse=False):
                    factors.clamp_(min=1e-6)
            elif getattr(module, "scale", None) is not None:
                module.scale.clamp_(min=0)

    def embed_pieces(self, ids):
        """x before the first layer."""
        return self.embedding_norm(self.token(ids) + self.position.weight[:ids.shape[1]])

    def pool(self, x, mask):
        fixed = self.ordered and not self.training
        if self.config.pooling == "cls":
            pooled = x[:, 0]
        elif fixed:
            pooled = ordered.mean(x, mask)
        else:
            real = mask[..., None].to(x.dtype)
            pooled = (x * real).sum(1) / real.sum(1)
        pooled = pooled.float()
        return ordered.unit(pooled) if fixed else pooled / pooled.norm(dim=-1, keepdim=True)

    def forward(self, ids, mask, trace=False, order="quadratic", inject=None):
        """ids (B, N), mask (B, N) bool, padding behind -> embeddings (B, D), or a Trace.
        inject: an entry a layer, as Trace.codes, to be used instead of the layer's own."""
        kept = Trace() if trace else None
        x = self.embed_pieces(ids)
        for i, layer in enumerate(self.layers):
            if kept is not None:
                kept.hidden.append(x)
            x = layer(x, mask, kept, order, None if inject is None else inject[i])
        vectors = self.pool(x, mask)
        if kept is None:
            return vectors
        kept.hidden.append(x)
        kept.vectors = vectors
        return kept
