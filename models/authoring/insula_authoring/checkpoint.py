"""Reading and writing SegFormer3D weights in the layout of the official state dict."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

ROOTS = ("segformer_encoder.", "segformer_decoder.")


def load(path: Path | str) -> dict[str, Tensor]:
    """The state dict of a .safetensors file or of a PyTorch file: bare, inside {"state_dict": ...}, with or without
    the prefix `module.`; also a checkpoint of our own training (its running average).

    Pickles are read with weights_only: nothing in them runs."""
    path = Path(path)
    if path.suffix == ".safetensors":
        state = load_file(path)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
        for key in ("ema", "state_dict"):
            if key in state:
                state = state[key]
                break
    state = {k.removeprefix("module."): v for k, v in state.items()}
    foreign = [k for k in state if not k.startswith(ROOTS)]
    if foreign or not state:
        raise ValueError(f"{path}: not a SegFormer3D checkpoint; expected names under segformer_encoder. and "
                         f"segformer_decoder., found {foreign[:3] or 'nothing'}")
    return state


def save_safetensors(state: dict[str, Tensor], path: Path | str, half: bool = True) -> None:
    """Write the state dict under its official names; float16 unless `half` is off. num_batches_tracked, which
    inference ignores, is left out. The file appears whole or not at all."""
    path = Path(path)
    kind = torch.float16 if half else torch.float32
    out = {k: v.detach().to(kind).contiguous() for k, v in state.items() if v.dtype.is_floating_point}
    part = path.with_name(path.name + ".part")
    save_file(out, part, metadata={"format": "pt"})
    part.chmod(0o644)
    part.replace(path)
