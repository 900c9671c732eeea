"""The decoder as ONNX graphs: for classes, for phrases, and for captions word by word. graph.py lists inputs and outputs.

Rows are (rows, C). A mask's logit below 0 blocks a place from a row; a row blocked everywhere sees everything.
"""

from __future__ import annotations

import numpy as np
import onnx

from .graph import CANDIDATES, HEAD, Rows, port
from .graph_image import ports


class Decoder(Rows):
    def queries(self, count: int) -> tuple[str, str]:
        """The first `count` queries and their positions."""
        b, cut = self.b, (self.b.ints(0), self.b.ints(count), self.b.ints(0))
        return tuple(b.turned(f"{HEAD}.{name}.weight", "Slice", *cut) for name in ("query_feat", "query_embed"))

    def out(self, x: str, pooled: bool) -> str:
        """Rows as the heads see them; with `pooled` the last becomes the sum of the others, weighted by likeness to it."""
        b, q = self.b, self.config.queries
        d = self.norm(x, f"{HEAD}.decoder_norm")
        if not pooled:
            return d
        objects, token = b.node("Split", d, b.ints(q - 1, 1), outputs=2, axis=0)
        likeness = b.node("MatMul", self.unit(token), b.node("Transpose", self.unit(objects), perm=[1, 0]))
        return b.node("Concat", objects, b.node("MatMul", b.node("Softmax", likeness, axis=-1), objects), axis=0)

    def mask_embed(self, d: str) -> str:
        path = f"{HEAD}.mask_embed.layers"
        d = self.b.node("Relu", self.linear(d, f"{path}.0"))
        return self.linear(self.b.node("Relu", self.linear(d, f"{path}.1")), f"{path}.2")

    def masks(self, embedded: str) -> str:
        """(n, M) to (n, h4, w4)."""
        b = self.b
        flat = b.node("MatMul", embedded, b.node("Reshape", "mask_features", b.ints(self.config.mask_dim, -1)))
        size = b.node("Shape", "mask_features", start=1)
        return b.node("Reshape", flat, b.node("Concat", b.ints(-1), size, axis=0))

    def blocked(self, x: str, level: int, pooled: bool, open_first: bool) -> str:
        """bool (rows, h w)."""
        b = self.b
        logits = b.node("MatMul", self.mask_embed(self.out(x, pooled)), f"coarse_{level}")
        zero = b.real(0.0)
        some = b.node("GreaterOrEqual", b.node("ReduceMax", logits, b.ints(1), keepdims=1), zero)
        found = b.node("And", b.node("Less", logits, zero), some)
        if open_first:
            others = np.ones((self.config.queries - 1, 1), bool)
            others[0] = False
            found = b.node("And", found, b.constant("all but the first", others))
        return found

    def attended(self, x: str, where: str, i: int, blocked: str) -> str:
        """x after its look at the image; `where`: x with positions."""
        c, path = self.config.hidden_dim, f"{HEAD}.transformer_cross_attention_layers.{i}"
        y = self.looked(self.projected(where, f"{path}.multihead_attn", 0, c), f"keys_{i}", f"values_{i}",
                        f"{path}.multihead_attn", c, self.config.heads, blocked)
        return self.norm(self.b.node("Add", x, y), f"{path}.norm")

    def own(self, x: str, where: str, i: int) -> tuple[str, str, str]:
        """Queries, keys and values of layer i's self-attention."""
        c, heads, path = self.config.hidden_dim, self.config.heads, f"{HEAD}.transformer_self_attention_layers.{i}.self_attn"
        return (self.projected(where, path, 0, c), self.heads(self.projected(where, path, 1, c), c, heads, turned=True),
                self.heads(self.projected(x, path, 2, c), c, heads))

    def mixed(self, x: str, q: str, keys: str, values: str, i: int, hidden: str = "") -> str:
        """x after self-attention and the feed-forward layer."""
        b, path = self.b, f"{HEAD}.transformer_self_attention_layers.{i}"
        y = self.looked(q, keys, values, f"{path}.self_attn", self.config.hidden_dim, self.config.heads, hidden)
        x = self.norm(b.node("Add", x, y), f"{path}.norm")
        path = f"{HEAD}.transformer_ffn_layers.{i}"
        return self.norm(b.node("Add", x, self.ffn(x, path)), f"{path}.norm")

    def apart(self) -> str:
        """bool (Q, Q): objects do not see the class token, which sees only itself."""
        q = self.config.queries
        hidden = np.zeros((q, q), bool)
        hidden[:, q - 1] = hidden[q - 1] = True
        hidden[q - 1, q - 1] = False
        return self.b.constant("the class token apart", hidden)


class Segment(Decoder):
    def objects(self) -> str:
        """The rows after all layers."""
        b, (x, position) = self.b, self.queries(self.config.queries)
        for i in range(self.config.decoder_layers):
            b.scope = f"decoder.{i}"
            x = self.attended(x, b.node("Add", x, position), i, self.blocked(x, i % 3, True, False))
            q, k, v = self.own(x, b.node("Add", x, position), i)
            self.keep(k, v)
            x = self.mixed(x, q, k, v, i, self.apart())
        return x

    def keep(self, keys: str, values: str) -> None:
        pass

    def build(self) -> onnx.ModelProto:
        c, b = self.config, self.b
        x = self.objects()
        b.scope = "heads"
        d = self.out(x, True)
        b.named("vectors", "MatMul", d, b.parameter(f"{HEAD}.class_embed"))
        alike = b.node("MatMul", self.unit("vectors"), b.node("Transpose", "classes", perm=[1, 0]))
        b.named("logits", "Mul", alike, self.scale())
        b.named("masks", "Identity", self.masks(self.mask_embed(d)))
        return b.model("segment", [port("classes", "classes", c.proj_dim), *ports(c)],
                       [port("logits", c.queries, "classes"), port("masks", c.queries, "h4", "w4"),
                        port("vectors", c.queries, c.proj_dim)])


class Ground(Decoder):
    def build(self) -> onnx.ModelProto:
        c, b, n = self.config, self.b, self.config.queries - 1
        x, position = self.queries(n)
        words, text = "words", "words"
        b.scope = "words"
        cut = b.node("Concat", b.ints(n), b.node("Shape", words, end=1), axis=0)
        for i in range(c.decoder_layers):
            b.scope = f"decoder.{i}"
            x = self.attended(x, b.node("Add", x, position), i, self.blocked(x, i % 3, False, True))
            both = b.node("Concat", x, text, axis=0)
            q, k, v = self.own(both, b.node("Add", both, b.node("Concat", position, words, axis=0)), i)
            x, text = b.node("Split", self.mixed(both, q, k, v, i), cut, outputs=2, axis=0)
        b.scope = "heads"
        d = self.out(x, False)
        vectors = self.matrix(d, f"{HEAD}.class_embed")
        alike = b.node("MatMul", self.unit(vectors), b.node("Transpose", self.unit("sentence"), perm=[1, 0]))
        b.named("similarity", "Reshape", b.node("Mul", alike, self.scale(100.0)), b.ints(-1))
        count = min(CANDIDATES, n)
        _, best = b.node("TopK", "similarity", b.ints(count), outputs=2, axis=0)
        b.named("best", "Identity", best)
        b.named("masks", "Identity", self.masks(b.node("Gather", self.mask_embed(d), best, axis=0)))
        return b.model("ground", [port("words", "n", c.hidden_dim), port("sentence", 1, c.proj_dim), *ports(c)],
                       [port("similarity", n), port("best", count, kind=onnx.TensorProto.INT64),
                        port("masks", count, "h4", "w4")])


class Objects(Segment):
    """What captions see of the object rows: the keys and values of every layer's self-attention."""

    def keep(self, keys: str, values: str) -> None:
        self.kept.append(tuple(self.b.node("Unsqueeze", x, self.b.ints(0)) for x in (keys, values)))

    def build(self) -> onnx.ModelProto:
        c, b = self.config, self.b
        self.kept: list[tuple[str, str]] = []
        self.objects()
        b.scope = "seen"
        for name, parts in zip(("seen_keys", "seen_values"), zip(*self.kept)):
            b.named(name, "Concat", *parts, axis=0)
        d = c.hidden_dim // c.heads
        return b.model("objects", ports(c, masks=False), [port("seen_keys", c.decoder_layers, c.heads, d, c.queries),
                                                          port("seen_values", c.decoder_layers, c.heads, c.queries, d)])


class Caption(Decoder):
    """One word. past_* start with length 0; now_* are appended to them by the caller (axis 3 of keys, 2 of values). A
    level's `away` that is true everywhere has no answer (NaN)."""

    def build(self) -> onnx.ModelProto:
        c, b = self.config, self.b
        layers, heads, d = c.decoder_layers, c.heads, c.hidden_dim // c.heads
        x = "word"
        b.scope = "place"
        position = b.node("Add", x, b.node("Gather", b.parameter(f"{HEAD}.pos_embed_caping.weight"), "place", axis=0))
        now = []
        for i in range(layers):
            b.scope = f"caption.{i}"
            x = self.attended(x, b.node("Add", x, position), i, f"away_{i % 3}")
            q, k, v = self.own(x, b.node("Add", x, position), i)
            now.append(tuple(b.node("Unsqueeze", y, b.ints(0)) for y in (k, v)))
            layer = lambda name: b.node("Gather", name, b.constant(f"layer[{i}]", np.array(i, np.int64)), axis=0)
            keys = b.node("Concat", layer("seen_keys"), layer("past_keys"), k, axis=2)
            values = b.node("Concat", layer("seen_values"), layer("past_values"), v, axis=1)
            x = self.mixed(x, q, keys, values, i)
        b.scope = "heads"
        for name, parts in zip(("now_keys", "now_values"), zip(*now)):
            b.named(name, "Concat", *parts, axis=0)
        feature = self.matrix(self.out(x, False), f"{HEAD}.caping_embed")
        table = b.parameter(f"{HEAD}.lang_encoder.lang_encoder.token_embedding.weight")
        b.named("logits", "Gemm", feature, table, transB=1)
        images = [p for p in ports(c, masks=False) if not p.name.startswith("coarse")]
        away = [port(f"away_{level}", 1, f"area_{level}", kind=onnx.TensorProto.BOOL) for level in range(min(3, layers))]
        return b.model("caption", [
            port("word", 1, c.hidden_dim), port("place", 1, kind=onnx.TensorProto.INT64), *away,
            port("past_keys", layers, heads, d, "past"), port("past_values", layers, heads, "past", d),
            port("seen_keys", layers, heads, d, c.queries), port("seen_values", layers, heads, c.queries, d), *images],
            [port("logits", 1, c.vocabulary), port("now_keys", layers, heads, d, 1), port("now_values", layers, heads, 1, d)])
