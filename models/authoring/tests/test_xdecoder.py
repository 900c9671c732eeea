"""X-Decoder against the golden vectors of the official program: every stage and every task."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from insula_authoring.xdecoder import postprocess, weights
from insula_authoring.xdecoder.backbone import Backbone
from insula_authoring.xdecoder.config import Config, backbone_fields, from_official, variant
from insula_authoring.xdecoder.layers import resize, resize_matrix, sine, unit
from insula_authoring.xdecoder.network import XDecoder, caption
from insula_authoring.xdecoder.picture import prepared, shorter_side

TOLERANCE = 1e-4  # of the largest value of a tensor, as the golden vectors recommend
SMALL = Config(embed_dim=8, depths=(1, 1, 1, 1), convs_dim=32, mask_dim=64, hidden_dim=32, proj_dim=32, encoder_layers=1,
               decoder_layers=2, queries=9, heads=4, ffn_dim=64, text_width=32, text_layers=1, text_heads=4, context=12,
               vocabulary=300, in_channels=1)


def near(found: torch.Tensor, truth: torch.Tensor, tolerance: float = TOLERANCE) -> None:
    assert found.shape == truth.shape
    assert (found - truth).abs().max().item() <= tolerance * truth.abs().max().item()


class Golden:
    def __init__(self, folder):
        self.folder = folder
        self.config = json.loads((folder / "config.json").read_text())
        state, _ = weights.load(folder / "weights.safetensors")
        self.model = weights.fill(XDecoder(from_official(self.config["MODEL"])), state).eval()
        self.run = self.config["RUN"]
        with torch.no_grad():
            self.memory, self.pooled = self.model.encode(self["image"]["input"])

    def __getitem__(self, name):
        return load_file(self.folder / f"{name}.safetensors")

    def facts(self, name):
        return json.loads((self.folder / f"{name}.json").read_text())

    def full_size(self, masks):
        return postprocess.full_size(masks, *(tuple(self.run[f"{n}_size_hw"]) for n in ("padded", "resized", "original")))


@pytest.fixture(scope="module")
def golden(shared):
    return Golden(shared / "golden/xdecoder/tiny")


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


@pytest.mark.parametrize("name", ["focal-t", "focal-l"])
def test_names_and_shapes_are_the_official_ones(shared, name):
    facts = json.loads((shared / f"golden/xdecoder/params_{name.replace('-', '')}.json").read_text())
    rows = {r["name"]: r["shape"] for r in facts["state_dict"] if r["kind"] == "parameter"}
    with torch.device("meta"):
        state = XDecoder(variant(name)).state_dict()
    assert {k: list(v.shape) for k, v in state.items()} == rows
    assert sum(v.numel() for v in state.values()) == facts["total_parameters"]
    assert weights.config_of(state).to_dict() == variant(name).to_dict()


def test_picture(golden):
    image = pytest.importorskip("PIL.Image")
    truth = golden["image"]
    small = shorter_side(image.fromarray(truth["orig_rgb_u8"].numpy()), golden.run["resize_shortest_side"])
    np.testing.assert_array_equal(np.asarray(small), truth["resized_rgb_u8"].numpy())
    near(prepared(np.asarray(small)), truth["input"], 1e-6)


def test_backbone(golden):
    truth, found = golden["backbone"], {}
    keep = lambda name: lambda _, given, out: found.update({name: out.permute(0, 3, 1, 2), f"{name}_in": given[0]})
    net = golden.model.backbone
    hooks = [net.patch_embed.register_forward_hook(keep("patch_embed")),
             net.layers[0].blocks[0].modulation.register_forward_hook(keep("stage0_block0_modulation_out"))]
    for i, stage in enumerate(net.layers):
        hooks += [stage.blocks[0].register_forward_hook(keep(f"stage{i}_block0")),
                  stage.register_forward_hook(keep(f"stage{i}_out_prenorm"))]
    found |= {f"res{i + 2}": m for i, m in enumerate(net(golden["image"]["input"]))}
    found["stage0_block0_modulation_in"] = found["stage0_block0_modulation_out_in"].permute(0, 3, 1, 2)
    for hook in hooks:
        hook.remove()
    for name, value in truth.items():
        near(found[name], value)


def test_backbone_of_focal_l(shared):
    folder = shared / "golden/xdecoder/focall_backbone"
    fields = backbone_fields(json.loads((folder / "config.json").read_text())["MODEL"])
    net = Backbone(Config(**fields)).eval()
    net.load_state_dict({k.removeprefix("backbone."): v for k, v in load_file(folder / "weights.safetensors").items()})
    truth, image = load_file(folder / "backbone.safetensors"), load_file(folder / "image.safetensors")["input"]
    x = net.patch_embed(image)
    near(x.permute(0, 3, 1, 2), truth["patch_embed"])
    near(net.layers[0].blocks[0](x).permute(0, 3, 1, 2), truth["stage0_block0"])
    for i, found in enumerate(net(image)):
        near(found, truth[f"res{i + 2}"])


def test_pixel_decoder(golden):
    truth, net = golden["pixel_decoder"], golden.model.sem_seg_head.pixel_decoder
    maps = golden.model.backbone(golden["image"]["input"])
    x = net.input_proj(maps[3])
    near(x, truth["input_proj"])
    position = sine(*x.shape[2:], x.shape[1])
    near(position.transpose(1, 2).reshape(x.shape), truth["pos_enc_res5"])
    z = x.flatten(2).transpose(1, 2)
    for k, layer in enumerate(net.transformer.encoder.layers):
        z = layer(z, position)
        near(z.transpose(1, 2).reshape(x.shape), truth[f"encoder_layer{k}"])
    near(net.transformer(x), truth["transformer_encoder_features"])
    mask_features, levels = net(maps)
    near(mask_features, truth["mask_features"])
    for k, level in enumerate(levels):
        near(level, truth[f"multi_scale_{k}"])


def test_text(golden):
    truth, net = golden["text"], golden.model.predictor.lang_encoder.lang_encoder
    ids = truth["input_ids"]
    x = net.token_embedding(ids[:2]) + net.positional_embedding
    near(x, truth["embed_plus_pos"])
    future = torch.ones(77, 77, dtype=torch.bool).triu(1)
    for i, block in enumerate(net.resblocks):
        x = block(x, future)
        near(x, truth[f"block{i}_out"])
    near(net(ids), truth["last_hidden_state"])
    tokens, sentences = golden.model.text(ids)
    near(tokens, truth["token_emb"])
    near(sentences, truth["class_emb"])
    near(unit(sentences), truth["class_emb_normalized"])
    shorter, same = golden.model.text(ids[:5, :20])
    near(shorter, truth["token_emb"][:5, :20])
    near(same, truth["class_emb"][:5])
    near(unit(golden.model.text(truth["ensemble_input_ids"])[1]), truth["ensemble_each_normalized"])
    near(postprocess.class_vectors(golden.model.text(truth["ensemble_input_ids"])[1][None])[0],
         truth["class_text_embeddings_eval"][golden.run["class_names"].index("sky-other-merged")])


def compare_steps(trace, truth, first: int) -> None:
    """Rows and masks of every step; golden rows from `first` on."""
    steps = [k for k in truth if k.endswith("_query") and k.startswith("step")]
    assert len(steps) == len(trace.rows) == 5
    for i, (rows, logits) in enumerate(zip(trace.rows, trace.logits)):
        near(rows[0], truth[f"step{i}_query"][first:])
        if i == len(trace.rows) - 1:
            break
        differs = trace.blocked[i][0] != truth[f"step{i}_attn_mask"][first:].bool()
        assert not (differs & (logits[0].abs() > 1e-4)).any()
        assert differs.sum() == 0


def test_segmentation(golden):
    truth = golden["seg"]
    out, trace = golden.model.predictor.segment(golden.memory, truth["text_embeddings"])
    compare_steps(trace, truth, 0)
    for i in range(4):
        q = golden.model.predictor.queries_out(trace.rows[i], True) @ golden.model.predictor.class_embed
        near(golden.model.predictor.class_logits(q, truth["text_embeddings"]), truth[f"step{i}_pred_logits"])
        near(trace.logits[i][0], truth[f"step{i}_attn_logit"].flatten(1))
    near(out["logits"], truth["pred_logits"])
    near(out["masks"], truth["pred_masks"])
    near(out["vectors"], truth["pred_captions"])
    assert torch.equal(golden.model.predictor.self_mask(0), truth["self_attn_mask"].bool())


def segments(found):
    return [{"id": s.id, "isthing": s.is_thing, "category_id": s.category} for s in found]


def compare_panoptic(facts, truth, logits, masks) -> None:
    for name, case in facts["panoptic"].items():
        found, described = postprocess.panoptic(logits, masks, set(facts["things"]), case["object_mask_threshold"],
                                                case["overlap_threshold"])
        assert segments(described) == case["segments_info"]
        assert torch.equal(found, truth[f"panoptic_{name}"])


def compare_instances(truth, found, name: str, size: int, tolerance: float) -> None:
    assert len(found.scores) == len(truth[f"{name}_scores"])
    near(found.scores, truth[f"{name}_scores"], tolerance)
    assert sorted(found.classes.tolist()) == sorted(truth[f"{name}_classes"].tolist())
    if f"{name}_mask_area" in truth:
        areas = truth[f"{name}_mask_area"].tolist()
        assert sorted(zip(found.classes.tolist(), found.masks.flatten(1).sum(1).tolist())) == sorted(
            zip(truth[f"{name}_classes"].tolist(), areas))
    else:
        bits = np.unpackbits(truth[f"{name}_masks_packed"].numpy(), axis=1)[:, :size]
        assert torch.equal(found.classes.int(), truth[f"{name}_classes"])
        assert (bits != found.masks.flatten(1).numpy()).sum() <= 12


def test_post_processing(golden):
    truth, facts, seg = golden["post"], golden.facts("post"), golden["seg"]
    out, _ = golden.model.predictor.segment(golden.memory, seg["text_embeddings"])
    logits, masks = out["logits"][0], golden.full_size(out["masks"][0])
    some = facts["mask_subset_queries"]
    near(resize(out["masks"][0, some], tuple(golden.run["padded_size_hw"])), truth["mask_subset_padded_res"])
    near(masks[some], truth["mask_subset_final"])
    found = postprocess.semantic(logits, masks)
    near(found, truth["sem_seg"])
    assert torch.equal(found.argmax(0), truth["sem_argmax"].long())
    compare_panoptic(facts, truth, logits, masks)
    size = masks[0].numel()
    compare_instances(truth, postprocess.instances(logits, masks), "instances_all", size, 2e-4)
    compare_instances(truth, postprocess.instances(logits, masks, set(facts["things"])), "instances_thing_only", size, 2e-4)


def test_post_processing_of_made_up_masks(golden):
    truth, facts = golden["post_synthetic"], golden.facts("post_synthetic")
    logits, masks = truth["mask_cls"], truth["mask_pred_i8"].float() / 16
    near(postprocess.semantic(logits, masks), truth["sem_seg"])
    near(postprocess.semantic(logits, masks, keep_background=True), truth["sem_seg_keep_bgd"])
    compare_panoptic(facts, truth, logits, masks)
    size = masks[0].numel()
    compare_instances(truth, postprocess.instances(logits, masks), "instances_all", size, TOLERANCE)
    compare_instances(truth, postprocess.instances(logits, masks, set(facts["things"])), "instances_thing_only", size,
                      TOLERANCE)


@pytest.mark.parametrize("name", ["grounding_joint", "grounding_single"])
def test_grounding(golden, name):
    truth, facts = golden[name], golden.facts(name)
    tokens, sentences = golden.model.text(truth["input_ids"])
    near(tokens, truth["token_emb"])
    near(sentences, truth["class_emb"])
    words = tokens[truth["attention_mask"].bool()][None]
    near(words.transpose(0, 1), truth["grounding_tokens"])
    out, trace = golden.model.predictor.ground(golden.memory, words)
    if name == "grounding_joint":
        compare_steps(trace, truth, golden.model.config.queries)
        near(out["masks"], truth["pred_masks_grounding"])
    near(out["vectors"], truth["pred_captions"][:, golden.model.config.queries:])
    similarity = golden.model.predictor.similarity(out["vectors"], sentences)[0]
    near(similarity, truth["similarity"])
    best = similarity.argmax(0)
    assert best.tolist() == facts["matched_query"]
    near(out["masks"][0, best], truth["matched_mask_lowres"])
    near(golden.full_size(out["masks"][0, best]), truth["grounding_mask"])


def test_padding_of_words_changes_nothing(golden):
    truth = golden["grounding_single"]
    words = golden.model.text(truth["input_ids"])[0][:, :6]
    alone, _ = golden.model.predictor.ground(golden.memory, words)
    padded, absent = torch.cat([words, torch.ones(1, 3, words.shape[2])], 1), torch.arange(9)[None] >= 6
    both = torch.cat([padded, padded]), torch.cat([absent, absent])
    beside, _ = golden.model.predictor.ground(golden.memory, *both)
    near(beside["masks"][1:], alone["masks"], 1e-5)
    near(beside["vectors"][1:], alone["vectors"], 1e-5)


@pytest.mark.parametrize("name", ["captioning", "captioning_masked"])
def test_captions(golden, name):
    truth, p, away = golden[name], golden.model.predictor, None
    if name == "captioning_masked":
        mask = truth["captioning_mask"][:, None].float()
        away = [torch.nn.functional.interpolate(mask, k, mode="nearest").flatten() > 0 for k in ((4, 5), (8, 10), (16, 20))]
    steps = len(truth["top5_ids"])
    ids = caption(golden.model, golden.memory, steps, 49406, away)
    assert ids == truth["tokens"][:steps + 1].tolist()
    table = p.lang_encoder.lang_encoder.token_embedding.weight
    for t in (0, 1, 11):
        given = truth["tokens"].clone()
        given[t + 1:] = 49406
        found, trace = p.caption_features(golden.memory, golden.model.text(given[None])[0], away)
        near(found[0], truth[f"step{t}_caption_features"])
        logits = found[0, t] @ table.t()
        near(logits[truth["top5_ids"][t].long()], truth["top5_logits"][t])
        if t == 1:
            near(trace.rows[-1][0], truth["step1_decoder_query_out"])
            assert torch.equal(trace.blocked[0][0, -77:], truth["step1_first_cross_mask_caption_rows"].bool())


def test_retrieval(golden):
    truth = golden["retrieval"]
    out, _ = golden.model.predictor.segment(golden.memory, golden["seg"]["text_embeddings"])
    token = out["vectors"][:, -1]
    near(token, truth["image_embed_decoder"])
    near(golden.pooled, truth["image_embed_backbone"])
    for name, found in (("decoder", postprocess.likeness(token, truth["text_embeds"])),
                        ("backbone", postprocess.likeness(golden.pooled, truth["text_embeds"])),
                        ("ensemble", postprocess.retrieval(token, golden.pooled, truth["text_embeds"]))):
        near(found, truth[f"scores_{name}"])


def test_resize_is_the_antialiased_bicubic():
    x = torch.rand(1, 3, 24, 40)
    for size in ((3, 5), (12, 20), (17, 33), (48, 80), (100, 31)):
        truth = torch.nn.functional.interpolate(x, size, mode="bicubic", antialias=True)
        assert (resize(x, size) - truth).abs().max() < 2e-6
    assert torch.allclose(resize_matrix(24, 7).sum(1), torch.ones(7, dtype=torch.float64))


def test_checkpoints_in_other_clothes(tmp_path):
    state = XDecoder(SMALL).state_dict()
    torch.save({"model": {f"module.{k}": v.half() for k, v in state.items()}, "epoch": 3}, tmp_path / "wrapped.pt")
    loaded, _ = weights.load(tmp_path / "wrapped.pt")
    assert loaded.keys() == state.keys() and all(v.dtype == torch.float32 for v in loaded.values())
    assert weights.config_of(loaded, 4, 4).to_dict() == SMALL.to_dict()
    weights.save(state, SMALL, tmp_path / "own.safetensors")
    again = weights.restore(tmp_path / "own.safetensors")
    assert again.config.to_dict() == SMALL.to_dict()
    near(again.backbone_proj, state["backbone_proj"], 1e-3)


def test_checkpoints_that_do_not_fit(tmp_path):
    state = XDecoder(SMALL).state_dict()
    del state["backbone_proj"]
    state["sem_seg_head.predictor.class_embed"] = torch.zeros(2, 2)
    with pytest.raises(ValueError, match=r"2 places: missing backbone_proj.*found \[2, 2\], expected \[32, 32\]"):
        weights.fill(XDecoder(SMALL), state)
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="not an X-Decoder checkpoint"):
        weights.load(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="multiples of 32"):
        XDecoder(SMALL).encode(torch.zeros(1, 1, 40, 64))
