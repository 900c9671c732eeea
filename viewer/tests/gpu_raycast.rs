//! The 3-D picture on the card against its definition on the CPU.

mod common;

use common::*;
use formats::{Cancel, Grid};
use viewer::gpu::{Gpu, RayCasts, Textures, read_picture};
use viewer::raycast::{Quality, RayCaster};
use viewer::transfer::{ControlPoint, TransferFunction};
use viewer::volume_view::{ClipPlane, Mode};
use viewer::{Picture, Projection, Scene, VolumeView};

const SIZE: [u32; 2] = [150, 120];

fn transfer(points: &[(f64, [u8; 3], f32)]) -> TransferFunction {
    let points = points.iter().map(|&(value, rgb, opacity)| ControlPoint { value, rgb, opacity }).collect();
    TransferFunction { name: "test".into(), unit_mm: 1.0, points }
}

/// A ball with waves in it: a surface and something inside.
fn ball(grid: Grid, high: f64) -> impl Fn(usize, usize, usize) -> f64 {
    move |i, j, k| {
        let p = grid.world_from_voxel.apply([i as f64, j as f64, k as f64]);
        let edge = ((20.0 - formats::affine::norm(p)) / 4.0).clamp(0.0, 1.0);
        edge * (0.45 + 0.55 * (p[0] * 0.22).sin() * (p[1] * 0.19).cos() * (p[2] * 0.17).sin()) * high
    }
}

fn labels(grid: Grid) -> viewer::Layer {
    label_layer(grid, |i, j, k| {
        let p = grid.world_from_voxel.apply([i as f64, j as f64, k as f64]);
        let near = |c: [f64; 3], r: f64| formats::affine::norm([0, 1, 2].map(|a| p[a] - c[a])) < r;
        if near([-9.0, 10.0, 4.0], 9.0) {
            1
        } else if near([8.0, 12.0, -3.0], 8.0) {
            2
        } else {
            u16::from(near([0.0, 0.0, 12.0], 5.0)) * 3
        }
    })
}

fn scene(layers: Vec<viewer::Layer>) -> Scene {
    Scene { layers, interpolate: true, cursor_ras: [2.0, -3.0, 1.0], ..Scene::default() }
}

fn view_of(scene: &Scene) -> VolumeView {
    let mut view = VolumeView::of_scene(scene, 1.25);
    view.camera.rotate_by(25.0, 14.0, 180.0);
    view.camera.zoom_by(1.6);
    view.transfer =
        transfer(&[(20.0, [120, 40, 30], 0.0), (60.0, [220, 140, 100], 0.15), (180.0, [255, 250, 240], 0.5)]);
    view
}

fn drawn(gpu: &Gpu, casts: &mut RayCasts, scene: &Scene, view: &VolumeView, quality: &Quality) -> Picture {
    let mut textures = Textures::new();
    while !textures.update(gpu, scene, 1 << 20).unwrap().is_complete() {}
    let picture = casts.render(gpu, &textures, &RayCaster::default(), scene, view, SIZE, quality);
    read_picture(gpu, &picture.texture).unwrap()
}

fn compare(gpu: &Gpu, casts: &mut RayCasts, name: &str, scene: &Scene, view: &VolumeView) {
    let quality = Quality::FULL;
    let size = SIZE.map(|n| n as usize);
    let expected = viewer::raycast::render(scene, view, size, &quality, &Cancel::default()).unwrap();
    let found = drawn(gpu, casts, scene, view, &quality);
    let sum: u64 = expected
        .rgba
        .iter()
        .zip(&found.rgba)
        .map(|(a, b)| (0..3).map(|c| u64::from(a[c].abs_diff(b[c]))).sum::<u64>())
        .sum();
    let (mean, share) = (sum as f64 / (3 * expected.rgba.len()) as f64, agreement(&expected, &found, 6));
    assert!(mean <= 2.0 && share >= 0.98, "{name}: mean difference {mean}, agreement {share}");
    let seen = expected.rgba.iter().filter(|p| p[0].max(p[1]).max(p[2]) > 60).count();
    assert!(seen * 8 > expected.rgba.len(), "{name}: the phantom is in the picture ({seen})");
}

#[test]
fn every_mode_looks_the_same_on_both() {
    let Some(gpu) = gpu("every_mode_looks_the_same_on_both") else { return };
    let mut casts = RayCasts::new(gpu);
    let grid = oblique([44, 50, 40]);
    let value = ball(grid, 250.0);
    let image = image_layer(vec![volume(grid, |i, j, k| value(i, j, k) as u8)], 10.0, 220.0, "grey");
    let with_labels = scene(vec![
        image.clone(),
        labels(centred([60; 3], [[0.8, 0.1, 0.0], [-0.1, 0.8, 0.0], [0.0, 0.0, 0.9]])),
    ]);
    let alone = scene(vec![image]);
    let modes = [Mode::Composite, Mode::Mip, Mode::MinIp, Mode::Average, Mode::Isosurface { value: 70.0 }];
    for mode in modes {
        for (what, scene) in [("image", &alone), ("image and labels", &with_labels)] {
            // The least value on a ray that leaves the ball is 0: for this mode, a volume without an outside.
            let mut scene = scene.clone();
            if mode == Mode::MinIp {
                let full = volume(grid, |i, j, k| (waves(i, j, k) * 400.0).min(255.0) as u8);
                scene.layers[0] = image_layer(vec![full], 10.0, 220.0, "grey");
            }
            let mut view = view_of(&scene);
            view.mode = mode;
            compare(gpu, &mut casts, &format!("{mode:?}, {what}"), &scene, &view);
        }
    }
}

#[test]
fn every_setting_looks_the_same_on_both() {
    let Some(gpu) = gpu("every_setting_looks_the_same_on_both") else { return };
    let mut casts = RayCasts::new(gpu);
    let grid = oblique([44, 50, 40]);
    let value = ball(grid, 250.0);
    let image = image_layer(vec![volume(grid, |i, j, k| value(i, j, k) as u8)], 10.0, 220.0, "hot");
    let scene = scene(vec![image, labels(grid)]);
    let plain = view_of(&scene);
    let mut views = vec![("unlit", plain.clone()), ("parallel", plain.clone()), ("cut", plain.clone())];
    views[0].1.lighting.enabled = false;
    views[1].1.camera.projection = Projection::Orthographic;
    let clip = |n: [f64; 3]| ClipPlane { point_ras: [1.0, 2.0, 0.0], normal_ras: n };
    views[2].1.clip_planes = vec![clip([0.2, -1.0, 0.1]), clip([1.0, 0.0, 0.3])];
    let mut cropped = plain.clone();
    cropped.crop_ras = Some(([-15.0, -30.0, -12.0], [9.0, 11.0, 14.0]));
    views.push(("cropped", cropped.clone()));
    cropped.mode = Mode::Isosurface { value: 70.0 };
    views.push(("cropped surface", cropped));
    let mut slices = plain.clone();
    slices.slices = [true; 3];
    views.push(("slices", slices.clone()));
    slices.image_visible = false;
    slices.labels.visible = false;
    views.push(("slices alone", slices));
    let mut blocky = plain.clone();
    blocky.labels.smooth = false;
    blocky.image_visible = false;
    blocky.camera.zoom_by(1.3);
    views.push(("voxels of labels", blocky.clone()));
    blocky.labels.smooth = true;
    blocky.labels.opacity = 0.6;
    views.push(("faint labels alone", blocky));
    for (name, view) in views {
        compare(gpu, &mut casts, name, &scene, &view);
    }
}

#[test]
fn every_kind_of_voxel_looks_the_same_on_both() {
    let Some(gpu) = gpu("every_kind_of_voxel_looks_the_same_on_both") else { return };
    let mut casts = RayCasts::new(gpu);
    let grid = oblique([44, 50, 40]);
    let value = ball(grid, 250.0);
    let scaled = |slope, inter, v: formats::Volume| formats::Volume {
        scaling: formats::Scaling { slope, inter },
        ..v
    };
    let volumes = [
        ("i16", volume(grid, |i, j, k| value(i, j, k) as i16)),
        ("u16, scaled", scaled(0.004, 0.0, volume(grid, |i, j, k| (value(i, j, k) * 250.0) as u16))),
        ("i16, falling", scaled(-0.5, 250.0, volume(grid, |i, j, k| (500.0 - 2.0 * value(i, j, k)) as i16))),
        ("f32", scaled(250.0, 0.0, volume(grid, |i, j, k| (value(i, j, k) / 250.0) as f32))),
        ("rgb", volume(grid, |i, j, k| [value(i, j, k) as u8, (value(i, j, k) * 0.7) as u8, 30])),
    ];
    for (name, volume) in volumes {
        let scene = scene(vec![image_layer(vec![volume], 10.0, 220.0, "grey")]);
        for mode in [Mode::Composite, Mode::Mip, Mode::Isosurface { value: 70.0 }] {
            let mut view = view_of(&scene);
            view.mode = mode;
            compare(gpu, &mut casts, &format!("{name}, {mode:?}"), &scene, &view);
        }
    }
}

#[test]
fn an_equal_request_is_not_drawn_again() {
    let Some(gpu) = gpu("an_equal_request_is_not_drawn_again") else { return };
    let mut casts = RayCasts::new(gpu);
    let grid = oblique([20, 22, 24]);
    let scene =
        scene(vec![image_layer(vec![volume(grid, |i, j, k| waves(i, j, k) as f32)], 0.0, 1.0, "grey")]);
    let mut view = VolumeView::of_scene(&scene, 1.0);
    let mut textures = Textures::new();
    while !textures.update(gpu, &scene, 1 << 20).unwrap().is_complete() {}
    let caster = RayCaster::default();
    let mut draw = |view: &VolumeView, quality: &Quality| {
        let picture = casts.render(gpu, &textures, &caster, &scene, view, SIZE, quality);
        (picture.drawn, picture.generation, picture.texture.width())
    };
    assert_eq!(draw(&view, &Quality::FULL), (1, 1, 150));
    assert_eq!(draw(&view, &Quality::FULL), (1, 1, 150));
    view.transfer.points[0].value += 1.0;
    assert_eq!(draw(&view, &Quality::FULL), (2, 1, 150));
    view.camera.rotate_by(1.0, 0.0, 100.0);
    assert_eq!(draw(&view, &Quality::FULL), (3, 1, 150));
    assert_eq!(draw(&view, &Quality { scale: 0.5, ..Quality::FULL }), (1, 2, 75));
}
