//! How the 3-D picture looks: everything the ray-casters need besides the scene.

use serde::{Deserialize, Serialize};

use crate::camera::Camera;
use crate::scene::{ImageLayer, Scene};
use crate::transfer::{TransferFunction, ct_presets};
use crate::view::Plane;

/// What a ray makes of the values it meets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Emission and absorption by the transfer function.
    #[default]
    Composite,
    /// The greatest value, through the image's window and colour map.
    Mip,
    /// The least value, through the image's window and colour map.
    MinIp,
    /// The mean value, through the image's window and colour map.
    Average,
    /// The first place where values reach `value`, opaque and lit.
    Isosurface {
        /// Scaled value of the surface; greater values are inside.
        value: f64,
    },
}

/// A lamp at the viewer's shoulder; both sides of a surface are lit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lighting {
    /// Whether the image is lit. Label surfaces always are.
    pub enabled: bool,
    /// Light that comes from everywhere, 0..=1.
    pub ambient: f32,
    /// Light by the angle to the lamp, 0..=1.
    pub diffuse: f32,
    /// Strength of highlights, 0..=1.
    pub specular: f32,
    /// Sharpness of highlights, at least 1.
    pub shininess: f32,
}

impl Default for Lighting {
    fn default() -> Self {
        Self { enabled: true, ambient: 0.32, diffuse: 0.72, specular: 0.22, shininess: 24.0 }
    }
}

/// A cut: what lies on the side the normal points to is shown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClipPlane {
    /// A point of the plane, RAS+ millimetres.
    pub point_ras: [f64; 3],
    /// Towards the part that is kept; any length above 0.
    pub normal_ras: [f64; 3],
}

/// How segmentations look in 3-D.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelStyle {
    /// Whether labels are drawn.
    pub visible: bool,
    /// Surfaces through the half-way points of the linearly interpolated labels, with smooth normals; otherwise the
    /// voxels' faces.
    pub smooth: bool,
    /// Over each label's own opacity, 0..=1. The layer's opacity (meant for slices) is not used.
    pub opacity: f32,
}

impl Default for LabelStyle {
    fn default() -> Self {
        Self { visible: true, smooth: true, opacity: 1.0 }
    }
}

/// The state of a 3-D pane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VolumeView {
    /// From where.
    pub camera: Camera,
    /// What a ray makes of the values.
    pub mode: Mode,
    /// Colours and opacities of values ([`Mode::Composite`]).
    pub transfer: TransferFunction,
    /// Light.
    pub lighting: Lighting,
    /// Cuts through image and labels; all apply. At most [`MAX_CLIP_PLANES`] are used.
    pub clip_planes: Vec<ClipPlane>,
    /// Shows image and labels inside this box only: least and greatest corner, RAS+ millimetres.
    pub crop_ras: Option<([f64; 3], [f64; 3])>,
    /// Slices through the cursor, shown opaque with the image's window and the labels over it; axial, coronal,
    /// sagittal. Cuts and crop box do not apply to them.
    pub slices: [bool; 3],
    /// How segmentations look.
    pub labels: LabelStyle,
    /// Whether the image (not its slices) is cast.
    pub image_visible: bool,
    /// Colour of isosurfaces (sRGB bytes).
    pub surface_rgb: [u8; 3],
    /// Colours behind everything at the top and at the bottom edge (sRGB bytes).
    pub background: [[u8; 3]; 2],
}

/// The number of cuts the renderers take.
pub const MAX_CLIP_PLANES: usize = 6;

impl Default for VolumeView {
    fn default() -> Self {
        Self {
            camera: Camera::default(),
            mode: Mode::Composite,
            transfer: ct_presets()[0].clone(),
            lighting: Lighting::default(),
            clip_planes: Vec::new(),
            crop_ras: None,
            slices: [false; 3],
            labels: LabelStyle::default(),
            image_visible: true,
            surface_rgb: [226, 210, 188],
            background: [[26, 29, 36], [8, 9, 12]],
        }
    }
}

impl VolumeView {
    /// A good first view of a scene: from the front, everything in the picture (`aspect` is width / height), and a
    /// transfer function that suits the bottom-most visible image.
    #[must_use]
    pub fn of_scene(scene: &Scene, aspect: f64) -> Self {
        let mut view = Self::default();
        if let Some(bounds) = scene.bounds_ras() {
            view.camera.fit(bounds, aspect);
        }
        if let Some(image) = cast_layer(scene).and_then(|l| l.image()) {
            view.transfer = suggested_transfer(image);
        }
        view
    }

    /// Whether the slice of a plane through the cursor is shown.
    #[must_use]
    pub fn shows_slice(&self, plane: Plane) -> bool {
        Plane::ALL.iter().zip(self.slices).any(|(p, shown)| *p == plane && shown)
    }
}

/// The layer that is cast: the bottom-most visible image.
#[must_use]
pub fn cast_layer(scene: &Scene) -> Option<&crate::scene::Layer> {
    scene.layers.iter().find(|l| l.visible && l.image().is_some())
}

/// The layer whose labels are drawn in 3-D: the topmost visible segmentation.
#[must_use]
pub fn cast_label_layer(scene: &Scene) -> Option<&crate::scene::Layer> {
    scene.layers.iter().rev().find(|l| l.visible && l.labels().is_some())
}

/// A transfer function that suits an image: bone for what looks like CT, else
/// relative to its window. The unit of opacity follows the size of the object where it is not of human scale.
#[must_use]
pub fn suggested_transfer(image: &ImageLayer) -> TransferFunction {
    let volume = image.volume();
    let mut transfer = if crate::window::looks_like_hu(volume) {
        ct_presets()[0].clone()
    } else if volume.voxels.is_colour() {
        TransferFunction::relative_to(crate::window::Window {
            low: 0.0,
            high: crate::raycast::white_of(image),
        })
    } else {
        TransferFunction::relative_to(image.window)
    };
    let (a, b) = crate::scene::grid_bounds_ras(&volume.grid);
    let diagonal = formats::affine::norm([0, 1, 2].map(|i| b[i] - a[i]));
    if diagonal.is_finite() && diagonal > 0.0 && !(100.0..=2500.0).contains(&diagonal) {
        transfer.unit_mm = diagonal / 440.0;
    }
    transfer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_view_survives_a_session_file() {
        let view = VolumeView {
            mode: Mode::Isosurface { value: 300.0 },
            crop_ras: Some(([0.0; 3], [10.0; 3])),
            clip_planes: vec![ClipPlane { point_ras: [1.0, 2.0, 3.0], normal_ras: [0.0, 0.0, 1.0] }],
            ..VolumeView::default()
        };
        let text = serde_json::to_string(&view).unwrap();
        assert_eq!(serde_json::from_str::<VolumeView>(&text).unwrap(), view);
    }
}
