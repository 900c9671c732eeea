"""Checkpoints of X-Decoder: the official .pt files, safetensors, our own. Names and layouts are the official ones."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from .config import Config
from .network import XDecoder

WRAPPERS = ("model", "state_dict", "module")
HEAD, LANG = "sem_seg_head.predictor.", "sem_seg_head.predictor.lang_encoder.lang_encoder."
# Heads leave no trace in shapes. The released models have 8 in both places.
HEADS = 8


def load(path: Path | str) -> tuple[dict[str, Tensor], dict]:
    """Tensors by official name, float32, and the configuration our own files carry (else empty).

    A .pt may wrap its tensors in one of WRAPPERS and prefix all names with "model." or "module."; nothing but tensors
    and plain values is unpickled."""
    path, config = Path(path), {}
    if path.suffix == ".safetensors":
        state = load_file(path)
        with safe_open(path, "pt") as f:
            config = json.loads((f.metadata() or {}).get("config", "{}"))
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(state.get("config"), dict) and "ema" in state:  # a checkpoint of our training
            state, config = state["ema"], state["config"]
        for key in WRAPPERS:
            if isinstance(state.get(key), dict):
                state = state[key]
    state = {re.sub(r"^(model\.|module\.)+", "", k): v for k, v in state.items() if isinstance(v, Tensor)}
    if f"{HEAD}query_feat.weight" not in state:
        raise ValueError(f"{path}: not an X-Decoder checkpoint: no {HEAD}query_feat.weight among {len(state)} tensors")
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}, config


def config_of(state: dict[str, Tensor], heads: int = HEADS, text_heads: int = HEADS) -> Config:
    """The configuration that names and shapes tell; the numbers of heads they do not."""
    def count(pattern: str) -> int:
        found = {int(m[1]) for k in state if (m := re.match(pattern, k))}
        if not found or found != set(range(len(found))):
            raise ValueError(f"parameters named like {pattern} count {sorted(found)}: expected 0, 1, 2, ...")
        return len(found)

    def shape(name: str) -> torch.Size:
        if name not in state:
            raise ValueError(f"missing {name}")
        return state[name].shape

    stages = range(4)
    block = "backbone.layers.{}.blocks.0.modulation.focal_layers.{}.0.weight"
    return Config(
        backbone="focal_dw" if "backbone.layers.0.blocks.0.dw1.weight" in state else "focal",
        embed_dim=shape("backbone.patch_embed.proj.weight")[0], in_channels=shape("backbone.patch_embed.proj.weight")[1],
        depths=[count(rf"backbone\.layers\.{i}\.blocks\.(\d+)\.") for i in stages],
        focal_levels=[count(rf"backbone\.layers\.{i}\.blocks\.0\.modulation\.focal_layers\.(\d+)\.") for i in stages],
        focal_windows=[shape(block.format(i, 0))[2] for i in stages],
        convs_dim=shape("sem_seg_head.pixel_decoder.input_proj.weight")[0],
        mask_dim=shape("sem_seg_head.pixel_decoder.mask_features.weight")[0],
        hidden_dim=shape(f"{HEAD}query_feat.weight")[1], queries=shape(f"{HEAD}query_feat.weight")[0],
        proj_dim=shape(f"{HEAD}class_embed")[1],
        encoder_layers=count(r"sem_seg_head\.pixel_decoder\.transformer\.encoder\.layers\.(\d+)\."),
        decoder_layers=count(rf"{re.escape(HEAD)}transformer_ffn_layers\.(\d+)\."), heads=heads,
        ffn_dim=shape(f"{HEAD}transformer_ffn_layers.0.linear1.weight")[0],
        text_width=shape(f"{LANG}positional_embedding")[1], context=shape(f"{LANG}positional_embedding")[0],
        text_layers=count(rf"{re.escape(LANG)}resblocks\.(\d+)\."), text_heads=text_heads,
        vocabulary=shape(f"{LANG}token_embedding.weight")[0])


def fill(model: XDecoder, state: dict[str, Tensor]) -> XDecoder:
    """Put parameters by name into a model: all must be there in their shapes. What else a checkpoint holds (the training
    loss, the rebuildable mask of self-attention) is left."""
    own = model.state_dict()
    problems = [f"missing {k} {list(v.shape)}" for k, v in own.items() if k not in state]
    problems += [f"{k}: found {list(state[k].shape)}, expected {list(v.shape)}" for k, v in own.items()
                 if k in state and state[k].shape != v.shape]
    if problems:
        raise ValueError(f"the checkpoint does not fit the configuration in {len(problems)} places: "
                         + "; ".join(problems[:3]))
    model.load_state_dict({k: state[k] for k in own})
    return model


def restore(path: Path | str, heads: int = HEADS, text_heads: int = HEADS) -> XDecoder:
    """A checkpoint as a model. Our own files carry their configuration; of others it is read off names and shapes."""
    state, config = load(path)
    return fill(XDecoder(Config(**config) if config else config_of(state, heads, text_heads)), state).eval()


def save(state: dict[str, Tensor], config: Config, path: Path | str, half: bool = True) -> None:
    """Write safetensors with the configuration in its metadata. The file appears whole or not at all."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    kind = torch.float16 if half else torch.float32
    save_file({k: v.detach().to(kind).contiguous() for k, v in state.items()}, part,
              {"config": json.dumps(config.to_dict())})
    part.chmod(0o644)
    part.replace(path)
