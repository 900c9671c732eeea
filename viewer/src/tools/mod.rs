//! Gestures and commands as reversible edits of a segmentation.
//!
//! Every tool is a function from labels (and, where it looks at values, an image) to a [`LabelEdit`]: it changes
//! nothing itself. The caller applies the edit, gives it to the [`History`] for undo and to the journal for the case of
//! a crash, and tells the graphics card which box of voxels changed ([`LabelEdit::bounds`]).
//!
//! Lengths are millimetres on the true geometry, points are RAS+ millimetres, and grids may be oblique, anisotropic and
//! sheared. Start reading at [`edit`], then [`brush`].

pub mod brush;
pub mod edit;
mod encoding;
mod error;
mod fill;
mod flood;
mod geometry;
mod grow;
pub mod history;
mod interpolate;
mod islands;
mod mask;
mod smooth;
mod table;

pub use brush::{Brush, Tip, stroke};
pub use edit::{EditBuilder, LabelEdit, Run, TableChange, VoxelBox};
pub use error::{Error, Result};
pub use fill::{Extent, fill, region};
pub(crate) use geometry::Capsule;
pub use grow::{grow, shrink};
pub use history::{History, Step};
pub use interpolate::interpolate;
pub use islands::{keep_largest, remove_islands};
pub(crate) use mask::Sampler;
pub use mask::{Over, ValueRange};
pub use smooth::{smooth, smooth_all};
pub use table::{add_label, delete, free_id, merge, renumber, set_entry};

#[cfg(test)]
pub(crate) use geometry::tests::oblique as oblique_grid;
