//! Slices against phantoms whose values are known at every world point.

use std::sync::Arc;

use formats::{AxisOrder, Grid, Image, LabelEntry, LabelTable, Volume, Voxels};
use ndarray::Array3;

use super::*;
use crate::{ColourMap, Convention, ImageId, LayerId, Plane, Split, Window};

fn image_layer(volume: Volume, window: Window) -> Layer {
    let range = volume.voxels.statistics(volume.scaling);
    let image = Image {
        frames: vec![volume],
        frame_axes: Vec::new(),
        format: "nifti",
        encoding: String::new(),
        is_picture: false,
        notices: Vec::new(),
    };
    let content = Content::Image(ImageLayer {
        id: ImageId::fresh(),
        image: Arc::new(image),
        frame: 0,
        window,
        colour_map: ColourMap::grey(),
        value_range: (range.min, range.max),
    });
    Layer { id: LayerId::fresh(), name: "image".into(), visible: true, opacity: 1.0, content }
}

fn label_layer(labels: Array3<u16>, grid: Grid, outline: bool) -> Layer {
    let table = LabelTable {
        entries: vec![LabelEntry::new(1, "one", [250, 0, 0]), LabelEntry::new(2, "two", [0, 250, 0])],
    };
    let content = Content::Labels(LabelLayer {
        id: ImageId::fresh(),
        revision: 0,
        labels: labels.into_shared(),
        grid,
        table: Arc::new(table),
        outline,
    });
    Layer { id: LayerId::fresh(), name: "labels".into(), visible: true, opacity: 1.0, content }
}

/// Oblique, sheared, flipped and plain grids around the origin.
fn grids() -> Vec<Grid> {
    let (s, c) = 0.35_f64.sin_cos();
    let columns = [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [[-1.5, 0.0, 0.0], [0.0, 0.0, -1.1], [0.0, 0.9, 0.0]],
        [[c, s, 0.0], [-s * c, c * c, s], [s * s * 1.4, -s * c * 1.4, c * 1.4]],
        [[1.0, 0.3, 0.0], [0.1, -0.8, 0.2], [0.0, 0.4, 1.2]],
    ];
    let size = [40, 44, 36];
    let grid = |columns: [[f64; 3]; 3]| {
        let turned = Affine::from_columns(columns, [0.0; 3]);
        let origin = turned.apply(size.map(|n| -(n as f64 - 1.0) / 2.0));
        Grid { size_ijk: size, world_from_voxel: Affine::from_columns(columns, origin) }
    };
    columns.map(grid).to_vec()
}

#[test]
fn a_ramp_of_the_world_is_shown_at_its_place_on_any_grid() {
    // Linear interpolation reproduces a linear function, whatever the grid.
    let ramp = |p: [f64; 3]| 100.0 + 3.0 * p[0] - 2.0 * p[1] + 1.5 * p[2];
    for grid in grids() {
        let array = Array3::from_shape_fn(grid.shape_kji(), |(k, j, i)| {
            ramp(grid.world_from_voxel.apply([i as f64, j as f64, k as f64]))
        });
        let volume = Volume::new(Voxels::F64(array.into_shared()), grid).unwrap();
        let mut scene = Scene {
            layers: vec![image_layer(volume, Window { low: 40.0, high: 160.0 })],
            cursor_ras: [1.3, -0.7, 2.2],
            interpolate: true,
            ..Scene::default()
        };
        for plane in Plane::ALL {
            for convention in [Convention::Radiological, Convention::Neurological] {
                scene.convention = convention;
                let view = SliceView { plane, centre_ras: [0.5, 0.25, -0.5], mm_per_px: 0.37 };
                let size = [41, 33];
                let picture = render(&scene, &view, size);
                let world = view.world_from_pixel(size.map(|n| n as f64), convention, scene.cursor_ras);
                for (x, y) in (0..size[0]).flat_map(|x| (0..size[1]).map(move |y| (x, y))) {
                    let value = ramp(world.apply([x as f64 + 0.5, y as f64 + 0.5, 0.0]));
                    let expected = ((value - 40.0) / 120.0 * 255.0).clamp(0.0, 255.0);
                    let found = f64::from(picture.at(x, y)[0]);
                    assert!((found - expected).abs() <= 1.01, "{plane:?} {x} {y}: {found} {expected}");
                }
            }
        }
    }
}

#[test]
fn the_patients_right_is_on_the_left_in_every_axis_order() {
    // 1.0 × 1.1 × 1.3 mm voxels; a marker at the right, anterior, superior end.
    let ras = Grid {
        size_ijk: [12, 14, 16],
        world_from_voxel: Affine::scale_shift([1.0, 1.1, 1.3], [-5.5, -7.15, -9.75]),
    };
    let array =
        Array3::from_shape_fn(
            ras.shape_kji(),
            |(k, j, i)| {
                if i >= 9 && j >= 10 && k >= 12 { 200_u8 } else { 50 }
            },
        );
    let volume = Volume::new(Voxels::U8(array.into_shared()), ras).unwrap();
    let labels = Array3::from_shape_fn(ras.shape_kji(), |(k, j, i)| u16::from(i >= 9 && j >= 10 && k >= 12));
    let labels = labels.into_shared();
    let cursor_ras = [4.5, 6.0, 8.0];
    for interpolate in [false, true] {
        let mut first: Vec<Picture> = Vec::new();
        for source in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            for f in 0..8 {
                let order = AxisOrder { source, reversed: [f & 1 == 1, f & 2 == 2, f & 4 == 4] };
                let image = image_layer(volume.reordered(order), Window { low: 0.0, high: 255.0 });
                let turned = formats::volume::reorder(&labels, order).into_owned();
                let mut map = label_layer(turned, ras.reordered(order), true);
                map.opacity = 0.5;
                let scene = Scene { layers: vec![image, map], cursor_ras, interpolate, ..Scene::default() };
                let size = [60, 64];
                let bounds = scene.bounds_ras().unwrap();
                let views = Plane::ALL.map(|plane| SliceView::fit(plane, bounds, size.map(|n| n as f64)));
                let pictures = views.map(|view| render(&scene, &view, size));
                let red = |p: &Picture, right: bool, bottom: bool| {
                    let (x, y) = (if right { 50 } else { 12 }, if bottom { 52 } else { 10 });
                    p.at(x, y)[0] > p.at(x, y)[1] + 50
                };
                for picture in &pictures {
                    let corners = [(false, false), (true, false), (false, true), (true, true)];
                    let found = corners.map(|(right, bottom)| red(picture, right, bottom));
                    assert_eq!(found, [true, false, false, false], "{order:?}");
                }
                if first.is_empty() {
                    first = pictures.to_vec();
                } else {
                    assert!(first == pictures, "the picture depends on the order of storage: {order:?}");
                }
            }
        }
    }
}

#[test]
fn layers_lie_over_one_another_and_holes_show_what_is_below() {
    let grid = Grid::unit([4, 4, 1]);
    let plain = |v: f32| Array3::from_elem((1, 4, 4), v);
    let mut upper = plain(1.0);
    upper[[0, 0, 0]] = f32::NAN;
    upper[[0, 0, 1]] = f32::INFINITY;
    let window = Window { low: 0.0, high: 1.0 };
    let volume = |a: Array3<f32>| Volume::new(Voxels::F32(a.into_shared()), grid).unwrap();
    let mut top = image_layer(volume(upper), window);
    top.opacity = 0.25;
    let scene = Scene {
        layers: vec![image_layer(volume(plain(0.4)), window), top],
        convention: Convention::Neurological,
        ..Scene::default()
    };
    let view = SliceView { plane: Plane::Axial, centre_ras: [1.5, 1.5, 0.0], mm_per_px: 1.0 };
    let picture = render(&scene, &view, [6, 6]);
    // Row 0 of the array is at the bottom; the picture has a margin of one pixel.
    assert_eq!(picture.at(0, 0), [0, 0, 0, 255]);
    assert_eq!((picture.at(1, 4)[0], picture.at(2, 4)[0]), (102, 102));
    assert_eq!(picture.at(3, 4)[0], 140); // 102 + (255 - 102) / 4 = 140.25
}

#[test]
fn a_split_shows_one_layer_on_either_side_of_its_line() {
    // More pixels than voxels, and not in step with them.
    let grid = Grid::unit([40, 30, 1]);
    let ramp = |slope: f64| {
        let array = Array3::from_shape_fn((1, 30, 40), |(_, j, i)| slope * i as f64 + j as f64);
        image_layer(
            Volume::new(Voxels::F64(array.into_shared()), grid).unwrap(),
            Window { low: 0.0, high: 90.0 },
        )
    };
    let (below, above) = (ramp(1.0), ramp(-1.0));
    let labels = label_layer(Array3::from_shape_fn((1, 30, 40), |(_, j, _)| u16::from(j < 5)), grid, false);
    let view = SliceView { plane: Plane::Axial, centre_ras: [19.3, 14.6, 0.0], mm_per_px: 0.31 };
    let size = [97, 41];
    let whole = |layer: &Layer| {
        let layers = vec![layer.clone(), labels.clone()];
        render(&Scene { layers, interpolate: true, ..Scene::default() }, &view, size)
    };
    let (left, right) = (whole(&below), whole(&above));
    for (at, columns) in [(0.0, 0), (0.3, 29), (0.5, 49), (1.0, 97), (1.7, 97)] {
        let scene = Scene {
            layers: vec![below.clone(), above.clone(), labels.clone()],
            interpolate: true,
            split: Some(Split { left: below.id, right: above.id, at }),
            ..Scene::default()
        };
        let picture = render(&scene, &view, size);
        for (x, y) in (0..size[0]).flat_map(|x| (0..size[1]).map(move |y| (x, y))) {
            let expected = if x < columns { &left } else { &right };
            let (found, expected) = (picture.at(x, y), expected.at(x, y));
            // The positions along a row that begins elsewhere are rounded otherwise.
            let is_close = (0..3).all(|c| found[c].abs_diff(expected[c]) <= 1);
            assert!(is_close, "{at}: {x}, {y}: {found:?}, {expected:?}");
        }
    }
}

#[test]
fn outlines_are_opaque_and_picture_edges_are_none() {
    let grid = Grid::unit([9, 9, 1]);
    let labels = Array3::from_shape_fn((1, 9, 9), |(_, j, i)| match (i, j) {
        (0..=4, _) => 1,
        (5..=6, _) => 2,
        _ => 0,
    });
    let mut layer = label_layer(labels, grid, true);
    layer.opacity = 0.2;
    let mut scene = Scene { layers: vec![layer], convention: Convention::Neurological, ..Scene::default() };
    let view = SliceView { plane: Plane::Axial, centre_ras: [4.5, 4.0, 0.0], mm_per_px: 1.0 };
    let row = |scene: &Scene| {
        let picture = render(scene, &view, [8, 3]);
        (0..8).map(|x| picture.at(x, 1)).collect::<Vec<_>>()
    };
    let (faint, red) = ([50, 0, 0, 255], [250, 0, 0, 255]);
    let (green, black) = ([0, 250, 0, 255], [0, 0, 0, 255]);
    assert_eq!(row(&scene), [faint, faint, faint, red, green, green, black, black]);
    if let Content::Labels(l) = &mut scene.layers[0].content {
        l.outline = false;
        Arc::make_mut(&mut l.table).entries[1].visible = false;
    }
    assert_eq!(row(&scene), [faint, faint, faint, faint, black, black, black, black]);
}

#[test]
fn odd_scenes_give_black_pictures() {
    let view = SliceView { plane: Plane::Axial, centre_ras: [0.0; 3], mm_per_px: 1.0 };
    assert_eq!(render(&Scene::default(), &view, [0, 5]).rgba.len(), 0);
    let mut grid = Grid::unit([2; 3]);
    grid.world_from_voxel = Affine([[0.0; 4]; 3]);
    let volume = Volume::new(Voxels::U8(Array3::from_elem((2, 2, 2), 255).into_shared()), grid).unwrap();
    let layers = vec![image_layer(volume, Window { low: 0.0, high: 1.0 })];
    let picture = render(&Scene { layers, ..Scene::default() }, &view, [4, 4]);
    assert!(picture == Picture::black([4, 4]));
}
