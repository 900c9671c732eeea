"""Hyper-parameters of an X-Decoder: the released variants, the official configuration files, own small networks."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass
class Config:
    """The defaults are the released Focal-T."""

    backbone: str = "focal_dw"  # "focal_dw" (Focal-T) or "focal" (Focal-L): the kind of block and of stem
    embed_dim: int = 96  # channels at stride 4; twice as many at each further stage
    depths: tuple[int, ...] = (2, 2, 6, 2)
    focal_levels: tuple[int, ...] = (3, 3, 3, 3)
    focal_windows: tuple[int, ...] = (3, 3, 3, 3)
    in_channels: int = 3
    convs_dim: int = 512  # of the pixel decoder, a multiple of 32 (groups of the norms)
    mask_dim: int = 512
    hidden_dim: int = 512  # of the decoder; equal to proj_dim, since tokens of text become its rows
    proj_dim: int = 512  # of text and image vectors that are compared
    encoder_layers: int = 6  # of the transformer over stride 32
    decoder_layers: int = 9  # the official DEC_LAYERS counts one more
    queries: int = 101  # the last one is the class token
    heads: int = 8
    ffn_dim: int = 2048
    text_width: int = 512
    text_layers: int = 12
    text_heads: int = 8
    context: int = 77  # most tokens of a prompt, start and end among them
    vocabulary: int = 49408

    def __post_init__(self):
        for name in ("depths", "focal_levels", "focal_windows"):
            setattr(self, name, tuple(getattr(self, name)))

    def to_dict(self) -> dict:
        return asdict(self)

    def channels(self, stage: int) -> int:
        return self.embed_dim << stage

    def kernel(self, stage: int, level: int) -> int:
        """Side of the depthwise convolution of a focal level."""
        return self.focal_windows[stage] + 2 * level


def variant(name: str) -> Config:
    """The released "focal-t" or "focal-l"."""
    if name == "focal-t":
        return Config()
    if name == "focal-l":
        return Config(backbone="focal", embed_dim=192, depths=(2, 2, 18, 2), focal_levels=(4, 4, 4, 4), queries=201)
    raise ValueError(f"variant {name}: expected focal-t or focal-l")


def backbone_fields(model: dict) -> dict:
    """Fields of the backbone from the section MODEL of an official configuration."""
    focal = model["BACKBONE"]["FOCAL"]
    return dict(backbone=model["BACKBONE"]["NAME"], embed_dim=focal["EMBED_DIM"], depths=focal["DEPTHS"],
                focal_levels=focal["FOCAL_LEVELS"], focal_windows=focal["FOCAL_WINDOWS"])


def from_official(model: dict) -> Config:
    """The section MODEL of an official configuration. The vocabulary is CLIP's."""
    encoder, decoder, text = model["ENCODER"], model["DECODER"], model["TEXT"]
    return Config(**backbone_fields(model), convs_dim=encoder["CONVS_DIM"], mask_dim=encoder["MASK_DIM"],
                  hidden_dim=decoder["HIDDEN_DIM"], proj_dim=model["DIM_PROJ"],
                  encoder_layers=encoder["TRANSFORMER_ENC_LAYERS"], decoder_layers=decoder["DEC_LAYERS"] - 1,
                  queries=decoder["NUM_OBJECT_QUERIES"], heads=decoder["NHEADS"], ffn_dim=decoder["DIM_FEEDFORWARD"],
                  text_width=text["WIDTH"], text_layers=text["LAYERS"], text_heads=text["HEADS"],
                  context=text["CONTEXT_LENGTH"])
