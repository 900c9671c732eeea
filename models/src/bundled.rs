//! The packs inside the program. To add one: a folder under `packs/` and a row here.

/// The files of a bundled pack: names and contents.
pub type Files = &'static [(&'static str, &'static [u8])];

/// Every bundled pack.
pub static PACKS: &[Files] = &[];

/// Whether an id belongs to a bundled pack.
#[must_use]
pub fn has(id: &str) -> bool {
    PACKS.iter().any(|files| crate::pack::ModelPack::bundled(files).is_ok_and(|p| p.id() == id))
}
