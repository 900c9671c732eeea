"""The transformer decoder: queries look at the image, at each other and, in its modes, at words.

`Predictor.segment` answers with classes and masks, `ground` with one mask per query for phrases, `caption_features` with
the vectors that name the next words. The three share `_run`; they differ in their rows and in who sees whom.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import Config
from .layers import Attention, resize, rows, sine, unit
from .text import LanguageEncoder


@dataclass
class Memory:
    """What the decoder reads of images. Lists go over the levels of stride 32, 16, 8."""

    keys: list[Tensor]  # (B, h w, C): values and positions
    values: list[Tensor]  # (B, h w, C)
    coarse: list[Tensor]  # (B, mask_dim, h w): mask features on the level's grid
    masks: Tensor  # (B, mask_dim, H/4, W/4): mask features


@dataclass
class Trace:
    """The state before each layer and after the last one; for tests and for the losses of training."""

    rows: list[Tensor] = field(default_factory=list)  # (B, rows, C), without the words of grounding
    logits: list[Tensor] = field(default_factory=list)  # (B, queries, h w): mask logits on the next layer's grid
    blocked: list[Tensor] = field(default_factory=list)  # (B, rows, h w), as given to the layer


class CrossLayer(nn.Module):
    def __init__(self, c: int, heads: int):
        super().__init__()
        self.multihead_attn = Attention(c, heads)
        self.norm = nn.LayerNorm(c)

    def forward(self, x: Tensor, position: Tensor, keys: Tensor, values: Tensor, blocked: Tensor) -> Tensor:
        return self.norm(x + self.multihead_attn(x + position, keys, values, blocked[:, None]))


class SelfLayer(nn.Module):
    def __init__(self, c: int, heads: int):
        super().__init__()
        self.self_attn = Attention(c, heads)
        self.norm = nn.LayerNorm(c)

    def forward(self, x: Tensor, position: Tensor, blocked: Tensor | None) -> Tensor:
        return self.norm(x + self.self_attn(x + position, x + position, x, blocked))


class FfnLayer(nn.Module):
    def __init__(self, c: int, ffn: int):
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(c, ffn), nn.Linear(ffn, c)
        self.norm = nn.LayerNorm(c)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.linear2(F.relu(self.linear1(x))))


class MaskEmbed(nn.Module):
    def __init__(self, c: int, out: int):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(c, c), nn.Linear(c, c), nn.Linear(c, out)])

    def forward(self, x: Tensor) -> Tensor:
        return self.layers[2](F.relu(self.layers[1](F.relu(self.layers[0](x)))))


class Predictor(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        c, n = config.hidden_dim, config.decoder_layers
        self.query_feat, self.query_embed = nn.Embedding(config.queries, c), nn.Embedding(config.queries, c)
        self.level_embed = nn.Embedding(3, c)
        self.pos_embed_caping = nn.Embedding(config.context, c)
        if config.convs_dim != c:
            self.input_proj = nn.ModuleList(nn.Conv2d(config.convs_dim, c, 1) for _ in range(3))
        self.transformer_cross_attention_layers = nn.ModuleList(CrossLayer(c, config.heads) for _ in range(n))
        self.transformer_self_attention_layers = nn.ModuleList(SelfLayer(c, config.heads) for _ in range(n))
        self.transformer_ffn_layers = nn.ModuleList(FfnLayer(c, config.ffn_dim) for _ in range(n))
        self.decoder_norm = nn.LayerNorm(c)
        self.class_embed = nn.Parameter(torch.randn(c, config.proj_dim) * c**-0.5)
        self.caping_embed = nn.Parameter(torch.randn(c, config.proj_dim) * c**-0.5)
        self.mask_embed = MaskEmbed(c, config.mask_dim)
        self.lang_encoder = LanguageEncoder(config)

    def memory(self, mask_features: Tensor, maps: list[Tensor]) -> Memory:
        """Keys and values of the maps [1/32, 1/16, 1/8]; the resize to their grids is linear, so it is the mask
        features that are resized, once, and not the masks of every query and layer."""
        found = Memory([], [], [], mask_features)
        for level, y in enumerate(maps):
            if hasattr(self, "input_proj"):
                y = self.input_proj[level](y)
            h, w = y.shape[2:]
            values = rows(y) + self.level_embed.weight[level]
            found.values.append(values)
            found.keys.append(values + sine(h, w, y.shape[1]).to(y))
            found.coarse.append(resize(mask_features, (h, w)).flatten(2))
        return found

    def queries_out(self, x: Tensor, pooled: bool) -> Tensor:
        """Rows as the heads see them. With `pooled` the last one is the class token: it becomes the sum of the others,
        weighted by likeness to it."""
        d = self.decoder_norm(x)
        if not pooled:
            return d
        token, objects = d[:, -1:], d[:, :-1]
        likeness = (unit(token) @ unit(objects).transpose(1, 2)).softmax(-1)
        return torch.cat([objects, likeness @ objects], 1)

    def _run(self, memory: Memory, x: Tensor, position: Tensor, masked: int, pooled: bool, seen: Tensor | None = None,
             words: Tensor | None = None, open_row: int | None = None, away: list[Tensor] | None = None) -> Trace:
        """The layers, for one or more sets of rows (B P, rows, C) for each image of the memory (B). The first `masked` rows
        look inside their own masks only, the others everywhere.

        seen: bool, True where a row (the last axis) is hidden from another in self-attention, words included; words: rows
        that join after the look at the image and leave after the layer, their position being their first content;
        open_row: the row whose mask never blocks; away: per level, bool (h w), True where the rows after `masked` do not
        look."""
        trace, text, images = Trace(), words, len(memory.masks)
        together = lambda y: y.reshape(images, -1, y.shape[-1])  # all rows that look at one image
        for i in range(self.config.decoder_layers + 1):
            level = i % 3
            embedded = self.mask_embed(self.queries_out(x[:, :masked], pooled))
            logits = (together(embedded) @ memory.coarse[level]).view(*embedded.shape[:2], -1)
            trace.rows.append(x)
            trace.logits.append(logits)
            if i == self.config.decoder_layers:
                return trace
            blocked = (logits < 0).detach()
            if open_row is not None:
                blocked[:, open_row] = False
            blocked = blocked & ~blocked.all(-1, keepdim=True)
            if x.shape[1] > masked:
                rest = torch.zeros_like(blocked[:, :1]) if away is None else away[level][None, None]
                blocked = torch.cat([blocked, rest.expand(len(x), x.shape[1] - masked, -1)], 1)
            trace.blocked.append(blocked)
            n = x.shape[1]
            x = self.transformer_cross_attention_layers[i](together(x), together(position), memory.keys[level],
                                                           memory.values[level], together(blocked)).view(x.shape)
            if words is not None:
                x = torch.cat([x, text], 1)
            where = position if words is None else torch.cat([position, words], 1)
            x = self.transformer_ffn_layers[i](self.transformer_self_attention_layers[i](x, where, seen))
            x, text = x[:, :n], x[:, n:]

    def _queries(self, batch: int, count: int) -> tuple[Tensor, Tensor]:
        return tuple(e.weight[:count].expand(batch, -1, -1) for e in (self.query_feat, self.query_embed))

    def self_mask(self, words: int) -> Tensor:
        """True where a row does not see another: objects see objects; the class token itself; words the objects, the
        class token, and words up to themselves. bool (queries + words) squared."""
        q = self.config.queries
        blocked = torch.ones(q + words, q + words, dtype=torch.bool)
        blocked[:q - 1, :q - 1] = False
        blocked[q - 1, q - 1] = False
        blocked[q:, :q] = False
        blocked[q:, q:] = torch.ones(words, words, dtype=torch.bool).triu(1)
        return blocked

    def segment(self, memory: Memory, classes: Tensor) -> tuple[dict[str, Tensor], Trace]:
        """classes: text vectors (K + 1, D), the last one of "background".

        logits (B, Q, K + 1), masks (B, Q, H/4, W/4) as logits, vectors (B, Q, D)."""
        q = self.config.queries
        trace = self._run(memory, *self._queries(len(memory.masks), q), masked=q, pooled=True,
                          seen=self.self_mask(0).to(memory.masks.device))
        d = self.queries_out(trace.rows[-1], True)
        vectors = d @ self.class_embed
        return {"logits": self.class_logits(vectors, classes), "vectors": vectors,
                "masks": torch.einsum("bqc,bchw->bqhw", self.mask_embed(d), memory.masks)}, trace

    def class_logits(self, vectors: Tensor, classes: Tensor) -> Tensor:
        return self.lang_encoder.logit_scale.exp() * unit(vectors) @ classes.t()

    def ground(self, memory: Memory, words: Tensor, absent: Tensor | None = None) -> tuple[dict[str, Tensor], Trace]:
        """words: token vectors (B P, N, D) of the phrases, not normalised, start and end tokens included, P sets of phrases
        for each image, which know nothing of each other; absent: bool (B P, N), True at padding.

        vectors (B P, Q - 1, D) and masks (B P, Q - 1, H/4, W/4) as logits. The official model runs its own queries beside
        these; neither sees the other, so they are left out."""
        n = self.config.queries - 1
        hidden = None
        if absent is not None:
            hidden = F.pad(absent, (n, 0))[:, None, None]
        trace = self._run(memory, *self._queries(len(words), n), masked=n, pooled=False, seen=hidden, words=words,
                          open_row=0)
        return {"vectors": self.decoder_norm(trace.rows[-1]) @ self.class_embed,
                "masks": self.ground_masks(memory, trace.rows[-1])}, trace

    def ground_masks(self, memory: Memory, x: Tensor) -> Tensor:
        """Mask logits (B P, R, H/4, W/4) of grounding queries (B P, R, C) as they are after a layer."""
        embedded = self.mask_embed(self.decoder_norm(x))
        found = embedded.reshape(len(memory.masks), -1, embedded.shape[-1]) @ memory.masks.flatten(2)
        return found.view(*x.shape[:2], *memory.masks.shape[2:])

    def caption_features(self, memory: Memory, words: Tensor, away: list[Tensor] | None = None) -> tuple[Tensor, Trace]:
        """words: vectors (B, N, D) of the tokens so far. Row t of the answer (B, N, D) names token t + 1 by its product
        with the table of tokens. away: per level, bool (h w), True where the words do not look."""
        q, n = self.config.queries, words.shape[1]
        x, position = self._queries(len(words), q)
        place = self.pos_embed_caping.weight[:n]
        trace = self._run(memory, torch.cat([x, words], 1), torch.cat([position, words + place], 1), masked=q, pooled=True,
                          seen=self.self_mask(n).to(words.device), away=away)
        return self.decoder_norm(trace.rows[-1][:, q:]) @ self.caping_embed, trace

    def similarity(self, vectors: Tensor, sentences: Tensor) -> Tensor:
        """Of vectors (..., R, D) and sentences (..., S, D): (..., R, S). The scale is at most 100."""
        return self.lang_encoder.logit_scale.exp().clamp(max=100) * unit(vectors) @ unit(sentences).transpose(-1, -2)
