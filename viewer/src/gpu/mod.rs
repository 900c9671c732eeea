//! The pictures drawn with wgpu: twins of the definitions on the CPU, each tested against its own.
//!
//! [`Gpu`] is a device and what it can do; [`Textures`] keeps voxels on the card; each drawable is one `x.rs` beside
//! one `x.wgsl`, draws into a texture of its own ([`TARGET`]) and only when its request changed. Nothing here knows
//! egui: the application registers the textures with whatever shows them.

pub mod device;
mod encoding;
pub mod raycast;
pub mod read_back;
pub mod slice;
pub mod textures;
mod volume_texture;

pub use device::{Gpu, Tier};
pub use raycast::RayCasts;
pub use read_back::read_picture;
pub use slice::Slices;
pub use textures::Textures;

/// Format of the pictures: sRGB bytes as screens take them, stored as they are (no conversion while writing or
/// sampling), always opaque.
pub const TARGET: wgpu::TextureFormat = wgpu::TextureFormat::Rgba8Unorm;

/// What can go wrong on the graphics card.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No adapter at all, not even a software one.
    #[error(
        "no graphics adapter was found ({0}). Install a Vulkan driver; mesa-vulkan-drivers draws without a GPU"
    )]
    NoAdapter(String),
    /// The adapter gives no device.
    #[error(
        "the graphics adapter {adapter} gives no device: {reason}. Update its driver or choose another adapter"
    )]
    NoDevice {
        /// The adapter's name.
        adapter: String,
        /// What the driver said.
        reason: String,
    },
    /// The card's memory does not hold what is to be shown, even reduced.
    #[error("{what} does not fit in the memory of {adapter}. Close other layers")]
    OutOfMemory {
        /// What was to be stored, with its size.
        what: String,
        /// The adapter's name.
        adapter: String,
    },
    /// A picture could not be copied back.
    #[error("the picture could not be read from the graphics card: {0}")]
    ReadBack(String),
}

/// Result with [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
