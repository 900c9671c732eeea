//! Slices on the card against their definition on the CPU.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use std::sync::Arc;

use common::*;
use formats::{Grid, Scaling, Volume};
use viewer::gpu::{Gpu, Slices, Textures, read_picture};
use viewer::{Content, Convention, Picture, Plane, Scene, SliceView, Split, slice};

const SIZE: [u32; 2] = [150, 130];

/// All of a scene on the card, and one slice of it.
fn drawn(
    gpu: &Gpu,
    slices: &mut Slices,
    textures: &mut Textures,
    scene: &Scene,
    view: &SliceView,
) -> Picture {
    while !textures.update(gpu, scene, 1 << 16).unwrap().is_complete() {}
    let picture = slices.render(gpu, textures, scene, view, SIZE);
    read_picture(gpu, &picture.texture).unwrap()
}

/// Compares all planes, both conventions, nearest and linear.
fn compare(gpu: &Gpu, name: &str, mut scene: Scene) {
    let (mut slices, mut textures) = (Slices::with_shaders(gpu), Textures::new());
    scene.cursor_ras = [1.7, -2.3, 0.9];
    for plane in Plane::ALL {
        for (convention, interpolate) in [
            (Convention::Radiological, true),
            (Convention::Radiological, false),
            (Convention::Neurological, true),
        ] {
            (scene.convention, scene.interpolate) = (convention, interpolate);
            let view = SliceView { plane, centre_ras: [0.4, 1.2, -0.6], mm_per_px: 0.31 };
            let expected = slice::render(&scene, &view, SIZE.map(|n| n as usize));
            let found = drawn(gpu, &mut slices, &mut textures, &scene, &view);
            let share = agreement(&expected, &found, 2);
            assert!(share >= 0.995, "{name} {plane:?} {convention:?} {interpolate}: {share}");
            let lit = expected.rgba.iter().filter(|p| p[0].max(p[1]).max(p[2]) > 20).count();
            assert!(lit * 5 > expected.rgba.len(), "{name}: the phantom is in the picture");
        }
    }
}

fn scalar_volumes(grid: Grid) -> Vec<(&'static str, Volume, f64, f64)> {
    let scaled = |slope, inter, v: Volume| Volume { scaling: Scaling { slope, inter }, ..v };
    let hole = |i: usize, j: usize, k: usize| (i / 6 + j / 6 + k / 6).is_multiple_of(5);
    vec![
        ("u8", volume(grid, |i, j, k| (waves(i, j, k) * 250.0) as u8), 20.0, 200.0),
        (
            "i8",
            scaled(-2.0, 5.0, volume(grid, |i, j, k| (waves(i, j, k) * 200.0 - 100.0) as i8)),
            -150.0,
            150.0,
        ),
        ("i16", volume(grid, |i, j, k| (waves(i, j, k) * 4000.0 - 1000.0) as i16), -160.0, 240.0),
        ("u16", volume(grid, |i, j, k| (waves(i, j, k) * 65000.0) as u16), 20000.0, 40000.0),
        ("i16 of few values", volume(grid, |i, j, k| (waves(i, j, k) * 90.0) as i16 - 7), 0.0, 80.0),
        ("i32", volume(grid, |i, j, k| 100_000 + (waves(i, j, k) * 1000.0) as i32), 100_100.0, 100_900.0),
        (
            "u64",
            volume(grid, |i, j, k| (1 << 40) + (waves(i, j, k) * 1e6) as u64),
            (1_u64 << 40) as f64,
            (1_u64 << 40) as f64 + 1e6,
        ),
        ("f32", scaled(3.0, -1.0, volume(grid, |i, j, k| waves(i, j, k) as f32)), -0.5, 1.5),
        (
            "f32 with holes",
            volume(grid, |i, j, k| if hole(i, j, k) { f32::NAN } else { waves(i, j, k) as f32 }),
            0.1,
            0.9,
        ),
        (
            "f32 with infinities",
            volume(grid, |i, j, k| if hole(i, j, k) { f32::INFINITY } else { waves(i, j, k) as f32 }),
            0.1,
            0.9,
        ),
        ("f64", volume(grid, |i, j, k| 1e9 + waves(i, j, k)), 1e9, 1e9 + 1.0),
        ("complex", volume(grid, |i, j, k| [waves(i, j, k) as f32, 0.3]), 0.2, 1.0),
    ]
}

#[test]
fn values_of_every_type() {
    let Some(gpu) = gpu("values_of_every_type") else { return };
    for (name, volume, low, high) in scalar_volumes(oblique([40, 36, 32])) {
        let layers = vec![image_layer(vec![volume], low, high, "grey")];
        compare(gpu, name, Scene { layers, ..Scene::default() });
    }
}

#[test]
fn values_on_devices_with_fewer_features() {
    for features in [wgpu::Features::empty(), wgpu::Features::TEXTURE_FORMAT_16BIT_NORM] {
        let Some(gpu) = poor_gpu("values_on_devices_with_fewer_features", features) else { return };
        assert!(!gpu.tier.has_filterable_f32);
        if gpu.tier.has_norm16 == features.is_empty() {
            eprintln!("SKIPPED part of values_on_devices_with_fewer_features: no {features:?} here");
            continue;
        }
        // Half floats have 11 bits over the range of the values, 16-bit codes have 16.
        for (name, volume, low, high) in scalar_volumes(oblique([40, 36, 32])) {
            let layers = vec![image_layer(vec![volume], low, high, "grey")];
            compare(&gpu, &format!("{name}, {features:?}"), Scene { layers, ..Scene::default() });
        }
    }
}

#[test]
fn colours() {
    let Some(gpu) = gpu("colours") else { return };
    let grid = oblique([40, 36, 32]);
    let byte = |v: f64| (v * 255.0) as u8;
    let wide = |v: f64| (v * 65535.0) as u16;
    let volumes = [
        ("rgb8", volume(grid, |i, j, k| [byte(waves(i, j, k)), byte(waves(k, i, j)), byte(waves(j, k, i))])),
        ("rgb16", volume(grid, |i, j, k| [wide(waves(i, j, k)), wide(waves(k, i, j)), 9000])),
        ("rgba8", volume(grid, |i, j, k| [byte(waves(i, j, k)), 200, 40, byte(waves(k, j, i))])),
        ("rgba16", volume(grid, |i, j, k| [wide(waves(i, j, k)), 50000, 4000, wide(waves(k, j, i))])),
    ];
    for (name, volume) in volumes {
        let mut below = image_layer(vec![common::volume(grid, |_, _, _| 90_u8)], 0.0, 255.0, "grey");
        below.opacity = 0.9;
        let mut layer = image_layer(vec![volume], 0.0, 1.0, "grey");
        layer.opacity = 0.8;
        compare(gpu, name, Scene { layers: vec![below, layer], ..Scene::default() });
    }
}

#[test]
fn an_overlay_on_another_grid_and_labels_above() {
    let Some(gpu) = gpu("an_overlay_on_another_grid_and_labels_above") else { return };
    let base = volume(oblique([40, 36, 32]), |i, j, k| (waves(i, j, k) * 250.0) as u8);
    let other = centred([17, 23, 12], [[0.0, 1.9, 0.2], [-1.4, 0.0, 0.0], [0.1, 0.0, 2.2]]);
    let overlay = volume(other, |i, j, k| waves(j, i, k) as f32);
    let blobs = |most: u16| {
        move |i: usize, j: usize, k: usize| {
            if waves(i, j, k) > 0.55 { ((i / 5 + j / 7 + k / 3) % 5) as u16 * (most / 4) } else { 0 }
        }
    };
    for (most, outline, map) in [(4, false, "viridis"), (4, true, "hot-metal"), (40_000, false, "red")] {
        let mut layers = vec![
            image_layer(vec![base.clone()], 0.0, 255.0, "grey"),
            image_layer(vec![overlay.clone()], 0.2, 0.8, map),
            label_layer(
                centred([30, 30, 30], [[1.0, 0.1, 0.0], [-0.1, 1.0, 0.0], [0.0, 0.0, -1.0]]),
                blobs(most),
            ),
        ];
        layers[1].opacity = 0.6;
        if let Content::Labels(labels) = &mut layers[2].content {
            labels.outline = outline;
        }
        let name = format!("labels up to {most}, {map}");
        compare(gpu, &name, Scene { layers, ..Scene::default() });
    }
}

#[test]
fn points_on_faces_have_the_same_owner() {
    let Some(gpu) = gpu("points_on_faces_have_the_same_owner") else { return };
    // Slice, rows and columns of the picture run exactly along the faces between voxels.
    for columns in [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]],
    ] {
        let layer = image_layer(
            vec![volume(centred([40; 3], columns), |i, j, k| (waves(i, j, k) * 255.0) as u8)],
            0.0,
            255.0,
            "grey",
        );
        let labels = label_layer(centred([40; 3], columns), |i, j, k| u16::from((i + j + k) % 2 == 0));
        let scene = Scene { layers: vec![layer, labels], interpolate: false, ..Scene::default() };
        let view = SliceView { plane: Plane::Coronal, centre_ras: [0.25; 3], mm_per_px: 0.5 };
        let expected = slice::render(&scene, &view, SIZE.map(|n| n as usize));
        let found = drawn(gpu, &mut Slices::with_shaders(gpu), &mut Textures::new(), &scene, &view);
        assert_eq!(agreement(&expected, &found, 1), 1.0);
    }
}

#[test]
fn an_unchanged_request_is_not_drawn_again() {
    let Some(gpu) = gpu("an_unchanged_request_is_not_drawn_again") else { return };
    requests(gpu, Slices::with_shaders(gpu));
    requests(gpu, Slices::new(gpu));
}

fn requests(gpu: &Gpu, mut slices: Slices) {
    let grid = oblique([20, 20, 20]);
    let layers = vec![
        image_layer(vec![volume(grid, |i, j, k| waves(i, j, k) as f32)], 0.0, 1.0, "grey"),
        label_layer(grid, |i, _, _| u16::from(i > 9)),
    ];
    let mut scene = Scene { layers, ..Scene::default() };
    let view = SliceView { plane: Plane::Axial, centre_ras: [0.0; 3], mm_per_px: 0.2 };
    let mut textures = Textures::new();
    let mut times = |scene: &Scene, view: &SliceView, size| {
        while !textures.update(gpu, scene, 1 << 20).unwrap().is_complete() {}
        let picture = slices.render(gpu, &textures, scene, view, size);
        (picture.drawn, picture.generation)
    };
    assert_eq!(times(&scene, &view, SIZE), (1, 1));
    // Only the depth of the cursor matters to an axial slice.
    scene.cursor_ras = [3.0, 4.0, 0.0];
    assert_eq!(times(&scene, &view, SIZE), (1, 1));
    scene.cursor_ras[2] = 1.0;
    assert_eq!(times(&scene, &view, SIZE), (2, 1));
    scene.layers[0].opacity = 0.5;
    assert_eq!(times(&scene, &view, SIZE), (3, 1));
    if let Content::Labels(labels) = &mut scene.layers[1].content {
        Arc::make_mut(&mut labels.table).entries[0].visible = false;
    }
    assert_eq!(times(&scene, &view, SIZE), (4, 1));
    assert_eq!(times(&scene, &view, SIZE), (4, 1));
    assert_eq!(times(&scene, &view, [20, 20]), (1, 2));
    // Other planes have pictures of their own.
    assert_eq!(times(&scene, &SliceView { plane: Plane::Coronal, ..view }, SIZE), (1, 3));
    assert_eq!(times(&scene, &view, [20, 20]), (1, 2));
}

#[test]
fn two_layers_on_either_side_of_a_line() {
    let Some(gpu) = gpu("two_layers_on_either_side_of_a_line") else { return };
    let grid = oblique([40, 36, 32]);
    let layer = |offset: f64| {
        let values = volume(grid, |i, j, k| (waves(i, j, k) - offset).abs() as f32);
        image_layer(vec![values], 0.0, 1.0, "grey")
    };
    let layers = vec![layer(0.0), layer(1.0)];
    for at in [0.0, 0.37, 1.0] {
        let split = Some(Split { left: layers[0].id, right: layers[1].id, at });
        compare(gpu, &format!("split at {at}"), Scene { layers: layers.clone(), split, ..Scene::default() });
    }
    let mut scene = Scene { layers: layers.clone(), interpolate: true, ..Scene::default() };
    let view = SliceView { plane: Plane::Axial, centre_ras: [0.0; 3], mm_per_px: 0.3 };
    let (mut slices, mut textures) = (Slices::with_shaders(gpu), Textures::new());
    let mut pictures = Vec::new();
    for at in [0.2, 0.8] {
        scene.split = Some(Split { left: layers[0].id, right: layers[1].id, at });
        pictures.push(drawn(gpu, &mut slices, &mut textures, &scene, &view));
    }
    assert!(pictures[0] != pictures[1], "a moved line is drawn anew");
}

#[test]
fn on_a_software_adapter_the_definition_draws_without_textures() {
    let Some(gpu) = gpu("on_a_software_adapter_the_definition_draws_without_textures") else { return };
    let mut slices = Slices::new(gpu);
    assert_eq!(slices.needs_textures(), !gpu.tier.is_software);
    if slices.needs_textures() {
        eprintln!(
            "SKIPPED on_a_software_adapter_the_definition_draws_without_textures: {} is none",
            gpu.tier.adapter
        );
        return;
    }
    let grid = oblique([20, 20, 20]);
    let layers = vec![image_layer(vec![volume(grid, |i, j, k| waves(i, j, k) as f32)], 0.0, 1.0, "magma")];
    let scene = Scene { layers, interpolate: true, ..Scene::default() };
    let view = SliceView { plane: Plane::Sagittal, centre_ras: [0.0; 3], mm_per_px: 0.2 };
    let picture = slices.render(gpu, &Textures::new(), &scene, &view, SIZE);
    let found = read_picture(gpu, &picture.texture).unwrap();
    assert!(found == slice::render(&scene, &view, SIZE.map(|n| n as usize)));
}
