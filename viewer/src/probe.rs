//! What lies under a point: the numbers behind the picture.

use formats::{Affine, Voxels};

use crate::sampling::{Line, Placement};
use crate::scene::{Content, ImageLayer, LayerId, Scene};

/// What one layer holds at a point.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The layer.
    pub layer: LayerId,
    /// The point in voxel indices of the layer's grid (centres at whole numbers).
    pub voxel: [f64; 3],
    /// The voxel that owns the point; `None` outside the volume.
    pub voxel_ijk: Option<[usize; 3]>,
    /// What that voxel holds; `None` outside the volume.
    pub found: Option<Found>,
}

/// What a voxel holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// A scaled value; may be NaN or infinite.
    Value(f64),
    /// A scaled complex number: real and imaginary part.
    Complex([f64; 2]),
    /// Red, green, blue and opacity in the units of the file (0..=255 or 0..=65535); opacity is `None` for images
    /// without any.
    Colour([u16; 3], Option<u16>),
    /// A label number and its name (empty for background).
    Label(u16, String),
}

/// What each layer, visible or not, holds at a world point (RAS+ mm), bottom layer first. Layers whose grid cannot be
/// inverted are left out.
#[must_use]
pub fn probe(scene: &Scene, point_ras: [f64; 3]) -> Vec<Reading> {
    let layers = scene.layers.iter().filter_map(|layer| {
        let placement = Placement::of(layer.grid(), &Affine::IDENTITY)?;
        let voxel = placement.voxel_from_point.apply(point_ras);
        let voxel_ijk = placement.owner(voxel);
        let found = voxel_ijk.and_then(|ijk| match &layer.content {
            Content::Image(image) => image_at(image, ijk),
            Content::Labels(labels) => {
                let label = *labels.labels.get([ijk[2], ijk[1], ijk[0]])?;
                let name = if label == 0 { String::new() } else { labels.table.name(label) };
                Some(Found::Label(label, name))
            }
        });
        Some(Reading { layer: layer.id, voxel, voxel_ijk, found })
    });
    layers.collect()
}

fn image_at(layer: &ImageLayer, ijk: [usize; 3]) -> Option<Found> {
    let volume = layer.volume();
    let at = [ijk[2], ijk[1], ijk[0]];
    let scaled = |re: f64, im: f64| {
        let s = volume.scaling;
        Found::Complex([re * s.slope + s.inter, im * s.slope])
    };
    match &volume.voxels {
        Voxels::Rgb8(a) => a.get(at).map(|c| Found::Colour(c.map(u16::from), None)),
        Voxels::Rgb16(a) => a.get(at).map(|c| Found::Colour(*c, None)),
        Voxels::Rgba8(a) => {
            a.get(at).map(|&[r, g, b, o]| Found::Colour([r, g, b].map(u16::from), Some(o.into())))
        }
        Voxels::Rgba16(a) => a.get(at).map(|&[r, g, b, o]| Found::Colour([r, g, b], Some(o))),
        Voxels::Complex32(a) => a.get(at).map(|c| scaled(c[0].into(), c[1].into())),
        Voxels::Complex64(a) => a.get(at).map(|c| scaled(c[0], c[1])),
        _ => volume.value(ijk).map(Found::Value),
    }
}

/// The values of all frames of an image in the voxel that owns a world point (RAS+ mm): luma for colours, magnitude
/// for complex numbers. `None` outside the volume.
#[must_use]
pub fn time_curve(image: &ImageLayer, point_ras: [f64; 3]) -> Option<Vec<f64>> {
    let placement = Placement::of(&image.volume().grid, &Affine::IDENTITY)?;
    let ijk = placement.owner(placement.voxel_from_point.apply(point_ras))?;
    image
        .image
        .frames
        .iter()
        .map(|frame| {
            if frame.voxels.is_colour() {
                return frame.value(ijk);
            }
            let mut value = [f64::NAN];
            let centre = Line::point(ijk.map(|n| n as f64));
            placement.values(frame, centre, false, &mut value);
            Some(value[0])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ColourMap, ImageId, LabelLayer, Layer, Window};
    use formats::{Grid, Image, LabelEntry, LabelTable, Scaling, Volume};
    use ndarray::Array3;
    use std::sync::Arc;

    fn layer(content: Content) -> Layer {
        Layer { id: LayerId::fresh(), name: String::new(), visible: true, opacity: 1.0, content }
    }

    fn image(frames: Vec<Volume>) -> ImageLayer {
        let (frame_axes, notices) = (Vec::new(), Vec::new());
        let image = Image {
            frames,
            frame_axes,
            format: "nifti",
            encoding: String::new(),
            is_picture: false,
            notices,
        };
        let window = Window { low: 0.0, high: 1.0 };
        let colour_map = ColourMap::grey();
        ImageLayer {
            id: ImageId::fresh(),
            image: Arc::new(image),
            frame: 0,
            window,
            colour_map,
            value_range: (0.0, 1.0),
        }
    }

    #[test]
    fn each_layer_says_what_it_holds() {
        // Flipped and shifted: voxel (i, j, k) lies at (10 - 2i, j, k).
        let grid = Grid {
            size_ijk: [4, 3, 2],
            world_from_voxel: Affine::scale_shift([-2.0, 1.0, 1.0], [10.0, 0.0, 0.0]),
        };
        let values =
            Array3::from_shape_fn((2, 3, 4), |(k, j, i)| (100 * k + 10 * j + i) as i16).into_shared();
        let scaling = Scaling { slope: 0.5, inter: 1.0 };
        let scalar = Volume { scaling, ..Volume::new(Voxels::I16(values), grid).unwrap() };
        let colours = Array3::from_elem((2, 3, 4), [1_u16, 2, 300, 9]).into_shared();
        let colour = Volume::new(Voxels::Rgba16(colours), grid).unwrap();
        let complex = Array3::from_elem((2, 3, 4), [3.0_f32, 4.0]).into_shared();
        let complex = Volume::new(Voxels::Complex32(complex), grid).unwrap();
        let table = LabelTable { entries: vec![LabelEntry::new(5, "Lesion", [255, 0, 0])] };
        let labels = LabelLayer {
            id: ImageId::fresh(),
            revision: 0,
            labels: Array3::from_elem((2, 3, 4), 5).into_shared(),
            grid,
            table: Arc::new(table),
            outline: false,
        };
        let images = [scalar, colour, complex].map(|v| layer(Content::Image(image(vec![v]))));
        let mut scene = Scene { layers: images.to_vec(), ..Scene::default() };
        scene.layers.push(layer(Content::Labels(labels)));
        let found = |p| probe(&scene, p).into_iter().map(|r| (r.voxel_ijk, r.found)).collect::<Vec<_>>();
        let at = Some([3, 2, 1]);
        assert_eq!(
            found([4.2, 2.1, 0.9]),
            [
                (at, Some(Found::Value(62.5))),
                (at, Some(Found::Colour([1, 2, 300], Some(9)))),
                (at, Some(Found::Complex([3.0, 4.0]))),
                (at, Some(Found::Label(5, "Lesion".into()))),
            ]
        );
        assert!(found([40.0, 0.0, 0.0]).iter().all(|f| *f == (None, None)));
        assert_eq!(probe(&scene, [4.0, 0.5, 0.25])[0].voxel, [3.0, 0.5, 0.25]);
    }

    #[test]
    fn a_time_curve_is_the_value_of_each_frame() {
        let frame = |t: usize| {
            let array = Array3::from_shape_fn((2, 2, 2), |(k, j, i)| (10 * t + 4 * k + 2 * j + i) as f32);
            Volume::new(Voxels::F32(array.into_shared()), Grid::unit([2; 3])).unwrap()
        };
        let series = image((0..5).map(frame).collect());
        assert_eq!(time_curve(&series, [1.2, 0.0, 0.9]), Some(vec![5.0, 15.0, 25.0, 35.0, 45.0]));
        assert_eq!(time_curve(&series, [3.0, 0.0, 0.0]), None);
    }
}
