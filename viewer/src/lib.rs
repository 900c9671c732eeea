//! How an image looks and is touched.
//!
//! [`Scene`] is plain data: layers, cursor, how they are looked at. [`mod@slice`] and [`raycast`] are the definitions of
//! the pictures, on the CPU; [`gpu`] draws the same pictures with wgpu and is tested against them. [`tools`] turn
//! gestures into reversible edits. World coordinates are RAS+ millimetres in f64; arrays are `[k, j, i]`. This crate
//! knows neither files' names nor networks nor the window's panels, and below [`gpu`] nothing knows the graphics card.
//!
//! Start reading at [`scene`], then [`view`] (where a pixel is in the world).

pub mod camera;
pub mod colour_map;
pub mod gpu;
pub mod measure;
pub mod palette;
pub mod panes;
pub mod picture;
pub mod probe;
pub mod raycast;
pub mod sampling;
pub mod scene;
pub mod slice;
pub mod tools;
pub mod transfer;
pub mod view;
pub mod volume_view;
pub mod window;

pub use camera::{Camera, Projection, StandardView};
pub use colour_map::ColourMap;
pub use picture::Picture;
pub use scene::{Content, ImageId, ImageLayer, LabelLayer, Layer, LayerId, Scene, Split};
pub use transfer::TransferFunction;
pub use view::{Convention, Plane, SliceView};
pub use volume_view::VolumeView;
pub use window::Window;
