//! Phantoms, and the device that the tests draw on.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::sync::{Arc, OnceLock};

use formats::volume::Element;
use formats::{Affine, Grid, Image, LabelEntry, LabelTable, Volume};
use ndarray::Array3;
use viewer::gpu::Gpu;
use viewer::{ColourMap, Content, ImageId, ImageLayer, LabelLayer, Layer, LayerId, Picture, Window};

/// The device, or a line that says that the test is skipped.
pub fn gpu(test: &str) -> Option<&'static Gpu> {
    static GPU: OnceLock<Result<Gpu, String>> = OnceLock::new();
    match GPU.get_or_init(|| Gpu::headless().map_err(|e| e.to_string())) {
        Ok(gpu) => Some(gpu),
        Err(e) => {
            eprintln!("SKIPPED {test}: {e}");
            None
        }
    }
}

/// The device with only these of the features that keep values exact.
pub fn poor_gpu(test: &str, features: wgpu::Features) -> Option<Gpu> {
    let plain = |adapter: &wgpu::Adapter| wgpu::DeviceDescriptor {
        required_features: features & adapter.features(),
        required_limits: wgpu::Limits::downlevel_defaults().using_resolution(adapter.limits()),
        ..wgpu::DeviceDescriptor::default()
    };
    match Gpu::headless_with(plain) {
        Ok(gpu) => Some(gpu),
        Err(e) => {
            eprintln!("SKIPPED {test}: {e}");
            None
        }
    }
}

/// Turned and sheared, with uneven spacing, around the origin.
pub fn oblique(size_ijk: [usize; 3]) -> Grid {
    centred(size_ijk, [[0.9, 0.3, 0.0], [0.28, -0.85, 0.2], [0.1, 0.4, 1.3]])
}

/// A grid with these steps, its middle at the origin.
pub fn centred(size_ijk: [usize; 3], columns: [[f64; 3]; 3]) -> Grid {
    let middle = size_ijk.map(|n| -(n as f64 - 1.0) / 2.0);
    let origin = Affine::from_columns(columns, [0.0; 3]).apply(middle);
    Grid { size_ijk, world_from_voxel: Affine::from_columns(columns, origin) }
}

/// A pattern of waves with some grain, 0..=1.
pub fn waves(i: usize, j: usize, k: usize) -> f64 {
    let (x, y, z) = (i as f64, j as f64, k as f64);
    let grain = ((i * 7919 + j * 104_729 + k * 1_299_709) % 101) as f64 / 101.0;
    0.5 + 0.2 * (x * 0.31 + 0.4).sin() * (y * 0.23).cos()
        + 0.2 * (z * 0.27 + x * 0.11).sin()
        + 0.1 * (grain - 0.5)
}

/// A volume filled by `voxel(i, j, k)`.
pub fn volume<T: Element>(grid: Grid, voxel: impl Fn(usize, usize, usize) -> T) -> Volume {
    let array = Array3::from_shape_fn(grid.shape_kji(), |(k, j, i)| voxel(i, j, k));
    Volume::new(T::wrap(array.into_shared()), grid).unwrap()
}

/// A layer that shows frames between two values.
pub fn image_layer(frames: Vec<Volume>, low: f64, high: f64, map: &str) -> Layer {
    let image = Image {
        frames,
        frame_axes: Vec::new(),
        format: "nifti",
        encoding: String::new(),
        is_picture: false,
        notices: Vec::new(),
    };
    let range = image.statistics();
    let content = Content::Image(ImageLayer {
        id: ImageId::fresh(),
        image: Arc::new(image),
        frame: 0,
        window: Window { low, high },
        colour_map: ColourMap::by_name(map).unwrap(),
        value_range: (range.min, range.max),
    });
    Layer { id: LayerId::fresh(), name: "image".into(), visible: true, opacity: 1.0, content }
}

/// A layer of labels with a table that hides one and fades another.
pub fn label_layer(grid: Grid, label: impl Fn(usize, usize, usize) -> u16) -> Layer {
    let mut entries = vec![
        LabelEntry::new(1, "one", [250, 10, 20]),
        LabelEntry::new(2, "two", [30, 220, 40]),
        LabelEntry::new(3, "three", [0, 0, 250]),
    ];
    entries[1].opacity = 0.5;
    entries[2].visible = false;
    let labels = Array3::from_shape_fn(grid.shape_kji(), |(k, j, i)| label(i, j, k));
    let content = Content::Labels(LabelLayer {
        id: ImageId::fresh(),
        revision: 0,
        labels: labels.into_shared(),
        grid,
        table: Arc::new(LabelTable { entries }),
        outline: false,
    });
    Layer { id: LayerId::fresh(), name: "labels".into(), visible: true, opacity: 0.7, content }
}

/// The share of pixels in which no channel differs by more than `tolerance`.
pub fn agreement(a: &Picture, b: &Picture, tolerance: u8) -> f64 {
    assert_eq!(a.size, b.size);
    let same = a.rgba.iter().zip(&b.rgba).filter(|(a, b)| (0..4).all(|c| a[c].abs_diff(b[c]) <= tolerance));
    same.count() as f64 / a.rgba.len() as f64
}
