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
];

/// Whether an id belongs to a bundled pack.
#[must_use]
pub fn has(id: &str) -> bool {
    PACKS.iter().any(|files| crate::pack::ModelPack::bundled(files).is_ok_and(|p| p.id() == id))
}
