"""One BraTS case the way a Python user segments it: nibabel, PyTorch, MONAI. Run by `brats.py` as a process of its own.

    python tests/bench/brats_reference.py WEIGHTS OUT.nii.gz FLAIR T1 T1CE T2 [--threads N] [--batch N]
"""

import argparse
import pathlib
import sys

import nibabel
import numpy as np
import torch
from monai.inferers import sliding_window_inference
from safetensors.torch import load_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "models/authoring"))
from insula_authoring.segformer3d import Config, SegFormer3D  # noqa: E402


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weights")
    parser.add_argument("out")
    parser.add_argument("channels", nargs=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    channels = []
    for path in options.channels:
        image = nibabel.load(path)
        v = image.get_fdata(dtype=np.float32)
        # Every axial slice to 0..1 by its own range, as published.
        low, high = v.min((0, 1), keepdims=True), v.max((0, 1), keepdims=True)
        v = (v - low) / np.where(high > low, high - low, 1)
        ras = nibabel.as_closest_canonical(nibabel.Nifti1Image(v, image.affine))
        channels.append(np.asarray(ras.dataobj, dtype=np.float32).transpose(2, 1, 0))
    x = torch.from_numpy(np.stack(channels)[None])

    net = SegFormer3D(Config(attention_scale="num_heads")).eval()
    state = {k: v for k, v in load_file(options.weights).items() if not k.endswith("num_batches_tracked")}
    missing, unexpected = net.load_state_dict(state, strict=False)
    assert not unexpected and all(k.endswith("num_batches_tracked") for k in missing), (missing, unexpected)

    with torch.inference_mode():
        logits = sliding_window_inference(x, (128, 128, 128), options.batch, net, overlap=0.5)
        core, whole, enhancing = (logits[0] >= 0).numpy()
    labels = np.where(enhancing, 4, np.where(core, 1, np.where(whole, 2, 0))).astype(np.uint8).transpose(2, 1, 0)

    source = nibabel.load(options.channels[0])
    back = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(ras.affine), nibabel.io_orientation(source.affine)
    )
    labels = nibabel.orientations.apply_orientation(labels, back)
    nibabel.save(nibabel.Nifti1Image(labels, source.affine), options.out)


if __name__ == "__main__":
    main()
