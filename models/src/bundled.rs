//! The packs inside the program. To add one: a folder under `packs/` and a row here.

/// The files of a bundled pack: names and contents.
pub type Files = &'static [(&'static str, &'static [u8])];

/// Every bundled pack.
pub static PACKS: &[Files] = &[
    &[
        ("pack.toml", include_bytes!("../packs/segformer3d-brain/pack.toml")),
        ("model.onnx", include_bytes!("../packs/segformer3d-brain/model.onnx")),
        ("MODEL_CARD.md", include_bytes!("../packs/segformer3d-brain/MODEL_CARD.md")),
        ("LICENSE", include_bytes!("../packs/segformer3d-brain/LICENSE")),
    ],
    &[
        ("pack.toml", include_bytes!("../packs/maxim-denoise/pack.toml")),
        ("model.onnx", include_bytes!("../packs/maxim-denoise/model.onnx")),
        ("MODEL_CARD.md", include_bytes!("../packs/maxim-denoise/MODEL_CARD.md")),
        ("LICENSE", include_bytes!("../packs/maxim-denoise/LICENSE")),
    ],
    &[
        ("pack.toml", include_bytes!("../packs/xdecoder-medical/pack.toml")),
        ("text.onnx", include_bytes!("../packs/xdecoder-medical/text.onnx")),
        ("image.onnx", include_bytes!("../packs/xdecoder-medical/image.onnx")),
        ("ground.onnx", include_bytes!("../packs/xdecoder-medical/ground.onnx")),
        ("vocabulary.txt", include_bytes!("../packs/xdecoder-medical/vocabulary.txt")),
        ("MODEL_CARD.md", include_bytes!("../packs/xdecoder-medical/MODEL_CARD.md")),
        ("LICENSE", include_bytes!("../packs/xdecoder-medical/LICENSE")),
    ],
    &[
        ("pack.toml", include_bytes!("../packs/mayor-text/pack.toml")),
        ("backbone.onnx", include_bytes!("../packs/mayor-text/backbone.onnx")),
        ("boxes.onnx", include_bytes!("../packs/mayor-text/boxes.onnx")),
        ("masks.onnx", include_bytes!("../packs/mayor-text/masks.onnx")),
        ("MODEL_CARD.md", include_bytes!("../packs/mayor-text/MODEL_CARD.md")),
        ("LICENSE", include_bytes!("../packs/mayor-text/LICENSE")),
    ],
];

/// Whether an id belongs to a bundled pack.
#[must_use]
pub fn has(id: &str) -> bool {
    PACKS.iter().any(|files| crate::pack::ModelPack::bundled(files).is_ok_and(|p| p.id() == id))
}
