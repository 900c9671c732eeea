"""MAXIM weights under the official names: the Flax .npz layout, safetensors, and our own training checkpoints.

Keys are paths such as "stage_0_encoder_block_0/Conv_0/kernel"; arrays keep the official layout (network.py)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from .network import Config, Maxim

PREFIX = "opt/target/"


def paths(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict's tensors under their checkpoint paths."""
    return {k.replace(".", "/"): v for k, v in state.items()}


def load_npz(path: Path | str) -> dict[str, Tensor]:
    """Parameters of an official checkpoint.npz by path, float32; what is not under opt/target is left alone.

    No pickled member is read."""
    with np.load(path, allow_pickle=False) as z:
        found = {k.removeprefix(PREFIX): torch.from_numpy(np.ascontiguousarray(z[k], np.float32))
                 for k in z.files if k.startswith(PREFIX)}
    if not found:
        raise ValueError(f"{path}: not a MAXIM checkpoint: no array under {PREFIX}")
    return found


def save_npz(state: dict[str, Tensor], path: Path | str) -> None:
    """Write paths as an official checkpoint.npz."""
    np.savez_compressed(path, **{PREFIX + k: v.detach().float().numpy() for k, v in state.items()})


def load(path: Path | str) -> tuple[dict[str, Tensor], int]:
    """Parameters by path, and `unshuffle`, from .npz, .safetensors, or a checkpoint of our training (its running
    average). An official .npz has no `unshuffle`: 1."""
    path = Path(path)
    if path.suffix == ".npz":
        return load_npz(path), 1
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as f:
            unshuffle = int((f.metadata() or {}).get("unshuffle", 1))
        return {k: v.float() for k, v in load_file(path).items()}, unshuffle
    c = torch.load(path, map_location="cpu", weights_only=True)
    return paths(c["ema"]), c["config"]["unshuffle"]


def save_safetensors(state: dict[str, Tensor], path: Path | str, unshuffle: int = 1) -> None:
    """Write paths as float16, `unshuffle` in the file's metadata. The file appears whole or not at all."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    save_file({k: v.detach().half().contiguous() for k, v in state.items()}, part, {"unshuffle": str(unshuffle)})
    part.chmod(0o644)
    part.replace(path)


def config_of(state: dict[str, Tensor], unshuffle: int = 1) -> Config:
    """The configuration that a checkpoint's names and shapes tell; `unshuffle` leaves no trace in them."""
    def count(pattern: str) -> int:
        found = [int(m[1]) for k in state if (m := re.match(pattern, k))]
        if not found:
            raise ValueError(f"no parameter named like {pattern}")
        return max(found) + 1

    first = state.get("stage_0_input_conv_0/kernel")
    if first is None or first.ndim != 4:
        raise ValueError("no 4-dimensional stage_0_input_conv_0/kernel")

    def side(path: str) -> int:
        area = state[path].shape[0]
        root = round(area**0.5)
        if root * root != area:
            raise ValueError(f"{path}: {area} rows are not the area of a square tile")
        return root

    depth = count(r"stage_0_encoder_block_(\d+)/")
    tiles = [side(f"stage_0_encoder_block_{i}/SplitHeadMultiAxisGmlpLayer_0/BlockGmlpLayer/BlockGatingUnit/Dense_0/kernel")
             for i in range(depth)]
    low = side("stage_0_global_block_0/SplitHeadMultiAxisGmlpLayer_0/BlockGmlpLayer/BlockGatingUnit/Dense_0/kernel")
    high_levels = sum(t == tiles[0] for t in tiles)
    channels, rest = divmod(first.shape[2], unshuffle**2)
    if rest:
        raise ValueError(f"{first.shape[2]} input channels are no multiple of {unshuffle}²")
    return Config(features=first.shape[3], depth=depth, stages=count(r"stage_(\d+)_"),
                  groups=count(r"stage_0_encoder_block_0/SplitHeadMultiAxisGmlpLayer_(\d+)/"),
                  bottleneck_blocks=count(r"stage_0_global_block_(\d+)/"), scales=count(r"stage_0_input_conv_(\d+)/"),
                  tile_high=tiles[0], tile_low=low, high_levels=high_levels, in_channels=channels,
                  out_channels=channels, unshuffle=unshuffle)


def fill(model: Maxim, state: dict[str, Tensor]) -> Maxim:
    """Put parameters by path into a model. Every name and shape must be there, and no other."""
    own = paths(model.state_dict())
    problems = [f"missing {k} {list(v.shape)}" for k, v in own.items() if k not in state]
    problems += [f"unknown {k} {list(v.shape)}" for k, v in state.items() if k not in own]
    problems += [f"{k}: found {list(state[k].shape)}, expected {list(v.shape)}" for k, v in own.items()
                 if k in state and state[k].shape != v.shape]
    if problems:
        raise ValueError(f"the checkpoint does not fit the configuration in {len(problems)} places: "
                         + "; ".join(problems[:3]))
    model.load_state_dict({k.replace("/", "."): v for k, v in state.items()})
    return model


def restore(path: Path | str) -> Maxim:
    """A checkpoint as a model, its configuration read off it."""
    state, unshuffle = load(path)
    return fill(Maxim(config_of(state, unshuffle)), state).eval()
