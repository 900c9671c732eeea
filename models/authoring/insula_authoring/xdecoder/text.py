"""The text encoder: a causal transformer over byte-pair tokens, and the projection its vectors are compared in."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import Config
from .layers import Attention

EPS = 1e-12  # of this part's norms; all others have 1e-5


class TextMlp(nn.Module):
    def __init__(self, c: int):
        super().__init__()
        self.c_fc, self.c_proj = nn.Linear(c, 4 * c), nn.Linear(4 * c, c)

    def forward(self, x: Tensor) -> Tensor:
        x = self.c_fc(x)
        return self.c_proj(x * (1.702 * x).sigmoid())


class TextBlock(nn.Module):
    def __init__(self, c: int, heads: int):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(c, EPS), nn.LayerNorm(c, EPS)
        self.attn = Attention(c, heads)
        self.mlp = TextMlp(c)

    def forward(self, x: Tensor, future: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, future)
        return x + self.mlp(self.ln_2(x))


class TextTransformer(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        c = config.text_width
        self.token_embedding = nn.Embedding(config.vocabulary, c)
        self.positional_embedding = nn.Parameter(0.02 * torch.randn(config.context, c))
        self.resblocks = nn.ModuleList(TextBlock(c, config.text_heads) for _ in range(config.text_layers))
        self.ln_final = nn.LayerNorm(c, EPS)
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        n = ids.shape[1]
        x = self.token_embedding(ids) + self.positional_embedding[:n]
        future = torch.ones(n, n, dtype=torch.bool, device=ids.device).triu(1)
        for block in self.resblocks:
            x = block(x, future)
        return self.ln_final(x)


class LanguageEncoder(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.lang_encoder = TextTransformer(config)
        self.lang_proj = nn.Parameter(torch.randn(config.text_width, config.proj_dim) * config.text_width**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(2.6593))  # exp gives 1 / 0.07

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Token ids (n, length) to the vectors of the tokens (n, length, D) and of the sentences (n, D), which are those
        of the end token, the largest id. None has length 1. Fewer padding tokens change nothing."""
        tokens = self.lang_encoder(ids) @ self.lang_proj
        return tokens, tokens[torch.arange(len(ids), device=ids.device), ids.argmax(1)]
