"""The ONNX graphs against the golden vectors and against the PyTorch network."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from test_xdecoder import SMALL, Golden, near

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from insula_authoring.xdecoder import weights  # noqa: E402
from insula_authoring.xdecoder.config import Config, from_official  # noqa: E402
from insula_authoring.xdecoder.graph import write  # noqa: E402
from insula_authoring.xdecoder.network import XDecoder, caption  # noqa: E402


class Sessions:
    """All graphs of a model; values by name go from one to the next."""

    def __init__(self, model: XDecoder, folder, half: bool = False):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        write(model.config, model.state_dict(), folder, half)
        self.all = {p.stem: onnxruntime.InferenceSession(p, options, providers=["CPUExecutionProvider"])
                    for p in folder.glob("*.onnx")}

    def __call__(self, name: str, values: dict) -> dict:
        session = self.all[name]
        given = {i.name: np.ascontiguousarray(values[i.name]) for i in session.get_inputs()}
        return dict(zip((o.name for o in session.get_outputs()), session.run(None, given)))


def tensor(a) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(a))


@pytest.fixture(scope="module")
def golden(shared):
    return Golden(shared / "golden/xdecoder/tiny")


@pytest.fixture(scope="module")
def sessions(golden, tmp_path_factory):
    return Sessions(golden.model, tmp_path_factory.mktemp("golden"))


@pytest.fixture(scope="module")
def image(golden, sessions):
    return sessions("image", {"image": golden["image"]["input"].numpy()})


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


def test_text(golden, sessions):
    truth = golden["text"]
    for length in (77, 24):
        ids = truth["input_ids"][:5, :length]
        out = sessions("text", {"ids": ids.numpy()})
        near(tensor(out["tokens"]), truth["token_emb"][:5, :length])
        near(tensor(out["sentences"]), truth["class_emb"][:5])


def test_image(golden, image):
    near(tensor(image["mask_features"]), golden["pixel_decoder"]["mask_features"][0])
    near(tensor(image["pooled"]), golden["retrieval"]["image_embed_backbone"])
    for level, found in enumerate(golden.memory.coarse):
        near(tensor(image[f"coarse_{level}"]), found[0])


def test_segmentation(golden, sessions, image):
    truth = golden["seg"]
    out = sessions("segment", image | {"classes": truth["text_embeddings"].numpy()})
    for name, official in (("logits", "pred_logits"), ("masks", "pred_masks"), ("vectors", "pred_captions")):
        near(tensor(out[name]), truth[official][0])


@pytest.mark.parametrize("name", ["grounding_joint", "grounding_single"])
def test_grounding(golden, sessions, image, name):
    truth = golden[name]
    for i, sentence in enumerate(truth["class_emb"]):
        out = sessions("ground", image | {"words": truth["grounding_tokens"][:, 0].numpy(), "sentence": sentence[None].numpy()})
        near(tensor(out["similarity"]), truth["similarity"][:, i])
        assert out["best"][0] == truth["matched_query"][i]
        near(tensor(out["masks"][0]), truth["matched_mask_lowres"][i])
        assert (np.diff(out["similarity"][out["best"]]) <= 0).all()


def captioned(sessions, image, seen, context: int, steps: int, away: dict) -> tuple[list[int], list[np.ndarray]]:
    """Greedy, a word at a time."""
    ids, rows = [context], []
    shape = seen["seen_keys"].shape
    past = {"past_keys": np.zeros((*shape[:3], 0), np.float32), "past_values": np.zeros((*shape[:2], 0, shape[2]), np.float32)}
    for t in range(steps):
        word = sessions("text", {"ids": np.array([ids])})["tokens"][0, -1:]
        out = sessions("caption", image | seen | past | away | {"word": word, "place": np.array([t])})
        past = {f"past_{k}": np.concatenate([past[f"past_{k}"], out[f"now_{k}"]], 3 if k == "keys" else 2)
                for k in ("keys", "values")}
        rows.append(out["logits"][0])
        ids.append(int(rows[-1].argmax()))
    return ids, rows


@pytest.mark.parametrize("name", ["captioning", "captioning_masked"])
def test_captions(golden, sessions, image, name):
    truth, seen = golden[name], sessions("objects", image)
    grids = [(4, 5), (8, 10), (16, 20)]
    mask = truth["captioning_mask"][:, None].float() if name == "captioning_masked" else torch.zeros(1, 1, 128, 160)
    away = {f"away_{i}": torch.nn.functional.interpolate(mask, g, mode="nearest").flatten()[None].numpy() > 0
            for i, g in enumerate(grids)}
    ids, rows = captioned(sessions, image, seen, 49406, len(truth["top5_ids"]), away)
    assert ids == truth["tokens"][:len(ids)].tolist()
    for found, best, logits in zip(rows, truth["top5_ids"], truth["top5_logits"]):
        near(tensor(found)[best.long()], logits)


def random_model(config: Config, seed: int) -> XDecoder:
    """Every parameter random, also those that begin as 0 or 1."""
    torch.manual_seed(seed)
    model = XDecoder(config).eval()
    for p in model.parameters():
        p.data += 0.1 * torch.randn_like(p)
    return model


WIDE = Config(**SMALL.to_dict() | {"convs_dim": 256, "mask_dim": 64, "in_channels": 3})
LARGE_KIND = Config(**SMALL.to_dict() | {"backbone": "focal", "focal_levels": (4, 4, 4, 4), "depths": (2, 1, 2, 1),
                                         "decoder_layers": 4})


@pytest.mark.parametrize("config", [SMALL, WIDE, LARGE_KIND], ids=["small", "winograd", "focal"])
def test_other_configurations_and_sizes(tmp_path, config):
    """One set of graphs for every size; WIDE is wide enough for Winograd's convolutions."""
    model = random_model(config, 5)
    sessions = Sessions(model, tmp_path)
    words, sentence = torch.randn(6, config.hidden_dim), torch.randn(1, config.proj_dim)
    for size in ((64, 96), (160, 32)):
        x = torch.randn(1, config.in_channels, *size)
        memory, pooled = model.encode(x)
        image = sessions("image", {"image": x.numpy()})
        near(tensor(image["mask_features"]), memory.masks[0])
        near(tensor(image["pooled"]), pooled)
        out, _ = model.predictor.ground(memory, words[None])
        found = sessions("ground", image | {"words": words.numpy(), "sentence": sentence.numpy()})
        near(tensor(found["similarity"]), model.predictor.similarity(out["vectors"], sentence)[0, :, 0])
        near(tensor(found["masks"]), out["masks"][0, torch.from_numpy(found["best"])])
        out, _ = model.predictor.segment(memory, words)
        found = sessions("segment", image | {"classes": words.numpy()})
        near(tensor(found["logits"]), out["logits"][0])
        near(tensor(found["masks"]), out["masks"][0])


def test_captions_of_a_small_model(tmp_path):
    model = random_model(Config(**SMALL.to_dict() | {"queries": 20}), 6)
    sessions = Sessions(model, tmp_path)
    x = torch.randn(1, 1, 64, 64)
    image = sessions("image", {"image": x.numpy()})
    away = {f"away_{i}": np.zeros((1, (2 << i) ** 2), bool) for i in range(3)}
    ids, _ = captioned(sessions, image, sessions("objects", image), 298, 8, away)
    assert ids == caption(model, model.encode(x)[0], 8, 298)


def test_half_precision_matrices(tmp_path):
    model = random_model(SMALL, 7)
    sessions = Sessions(model, tmp_path, half=True)
    kinds = {i.name: i.data_type for i in onnx.load(tmp_path / "image.onnx").graph.initializer}
    assert kinds["sem_seg_head.pixel_decoder.mask_features.weight.f16"] == onnx.TensorProto.FLOAT16
    weights.fill(model, {k: v.half().float() if v.ndim > 1 else v for k, v in model.state_dict().items()})
    x = torch.randn(1, 1, 64, 64)
    near(tensor(sessions("image", {"image": x.numpy()})["mask_features"]), model.encode(x)[0].masks[0])


def test_golden_configuration_is_read_off_the_checkpoint(golden):
    assert weights.config_of(golden.model.state_dict(), text_heads=4).to_dict() == from_official(golden.config["MODEL"]).to_dict()


@pytest.mark.parametrize("kind", ["focal_dw", "focal"])
def test_stored_networks(tmp_path, kind):
    """The fixtures of the Rust graphs: what is stored, the graphs written here give."""
    path = Path(__file__).resolve().parents[2] / f"tests/fixtures/xdecoder/small_{kind}.safetensors"
    stored = load_file(path)
    with safe_open(path, "pt") as f:
        config = Config(**json.loads(f.metadata()["config"]))
    model = XDecoder(config).eval()
    weights.fill(model, {k: v.float() for k, v in stored.items() if not k.startswith(("in.", "out."))})
    given = {k.removeprefix("in."): v.numpy() for k, v in stored.items() if k.startswith("in.")}
    truth = {k.removeprefix("out."): v for k, v in stored.items() if k.startswith("out.")}
    sessions = Sessions(model, tmp_path)
    text, image = sessions("text", given), sessions("image", {"image": given["image"][None]})
    segment, ground = sessions("segment", image | given), sessions("ground", image | given)
    near(tensor(image.pop("pooled")[0]), truth["pooled"])
    for name in ("mask_features", "coarse_0", "coarse_1", "coarse_2"):
        near(tensor(image[name]), truth[name])
    near(tensor(text["tokens"]), truth["tokens"])
    near(tensor(text["sentences"]), truth["sentences"])
    for name in ("logits", "masks", "vectors"):
        near(tensor(segment[name]), truth[f"segment.{name}"])
    near(tensor(ground["similarity"]), truth["ground.similarity"])
    near(tensor(ground["masks"]), truth["ground.masks"][torch.from_numpy(ground["best"])])
    away = {f"away_{i}": np.zeros((1, (2 << i) * (3 << i)), bool) for i in range(3)}
    steps = len(truth["caption.logits"])
    ids, rows = captioned(sessions, image, sessions("objects", image), int(given["start"][0]), steps, away)
    assert ids == truth["caption.ids"].tolist()
    near(tensor(np.stack(rows)), truth["caption.logits"])
