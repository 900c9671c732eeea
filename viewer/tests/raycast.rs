//! The 3-D picture against closed forms and properties.

mod common;

use common::*;
use formats::{AxisOrder, Cancel, Grid};
use viewer::raycast::{Quality, RayCaster, pick, render};
use viewer::transfer::{ControlPoint, TransferFunction};
use viewer::volume_view::{ClipPlane, Mode};
use viewer::{
    Camera, Content, Convention, Picture, Plane, Projection, Scene, SliceView, StandardView, VolumeView,
    slice,
};

const EVEN: Quality = Quality { jitter: false, ..Quality::FULL };

/// A view from above (patient's right on the picture's right), parallel, 1 mm per pixel in a picture 120 pixels high,
/// unlit on black.
fn from_above() -> VolumeView {
    let mut camera = Camera { projection: Projection::Orthographic, ..Camera::default() };
    camera.look_from(StandardView::Superior);
    camera.distance_mm *= 1.0 / camera.mm_per_px(120.0);
    let mut view = VolumeView { camera, background: [[0; 3]; 2], ..VolumeView::default() };
    view.lighting.enabled = false;
    view
}

fn transfer(points: &[(f64, [u8; 3], f32)]) -> TransferFunction {
    let points = points.iter().map(|&(value, rgb, opacity)| ControlPoint { value, rgb, opacity }).collect();
    TransferFunction { name: "test".into(), unit_mm: 1.0, points }
}

fn scene(layers: Vec<viewer::Layer>) -> Scene {
    Scene { layers, interpolate: true, ..Scene::default() }
}

fn draw(scene: &Scene, view: &VolumeView, size: [usize; 2], quality: &Quality) -> Picture {
    render(scene, view, size, quality, &Cancel::default()).unwrap()
}

/// Signed distance (inside positive) to a sphere of `radius` around the origin.
fn sphere(grid: Grid, radius: f64) -> viewer::Layer {
    let at = |i: usize, j: usize, k: usize| {
        let p = grid.world_from_voxel.apply([i as f64, j as f64, k as f64]);
        (radius - formats::affine::norm(p)) as f32
    };
    image_layer(vec![volume(grid, at)], -10.0, 10.0, "grey")
}

fn cube(n: usize, mm: f64) -> Grid {
    centred([n; 3], [[mm, 0.0, 0.0], [0.0, mm, 0.0], [0.0, 0.0, mm]])
}

fn mean_difference(a: &Picture, b: &Picture) -> f64 {
    assert_eq!(a.size, b.size);
    let sum: u64 = a
        .rgba
        .iter()
        .zip(&b.rgba)
        .map(|(a, b)| (0..3).map(|c| u64::from(a[c].abs_diff(b[c]))).sum::<u64>())
        .sum();
    sum as f64 / (3 * a.rgba.len()) as f64
}

#[test]
fn the_silhouette_of_a_sphere_has_the_radius_of_the_projection() {
    let scene = scene(vec![sphere(cube(80, 1.0), 30.0)]);
    let size = [320usize, 240];
    for projection in [Projection::Orthographic, Projection::Perspective] {
        let camera = Camera { projection, distance_mm: 160.0, ..Camera::default() };
        let view = VolumeView {
            camera,
            mode: Mode::Isosurface { value: 0.0 },
            background: [[0; 3]; 2],
            ..VolumeView::default()
        };
        let picture = draw(&scene, &view, size, &Quality::FULL);
        let hit = picture.rgba.iter().filter(|p| p[0] > 0).count() as f64;
        let mm = match projection {
            Projection::Orthographic => 30.0,
            // The cone that touches the sphere, where it meets the plane of the focus.
            Projection::Perspective => 160.0 * (30.0f64 / 160.0).asin().tan(),
        };
        let radius_px = mm / camera.mm_per_px(size[1] as f64);
        let found = (hit / std::f64::consts::PI).sqrt();
        assert!((found - radius_px).abs() < 0.3, "{projection:?}: {found} {radius_px}");
    }
}

#[test]
fn the_projections_of_a_ramp_are_the_ramp() {
    let grid = cube(64, 1.0);
    // Along R by position, along S by ± 10: the greatest, least and mean value differ by these.
    let at = |i: usize, _: usize, k: usize| i as f32 * 3.0 + (k as f32 - 31.5) * (10.0 / 31.5);
    let scene = scene(vec![image_layer(vec![volume(grid, at)], 0.0, 255.0, "grey")]);
    for (mode, offset) in [(Mode::Mip, 10.0), (Mode::MinIp, -10.0), (Mode::Average, 0.0)] {
        let view = VolumeView { mode, ..from_above() };
        let picture = draw(&scene, &view, [160, 120], &EVEN);
        for x in 30..130 {
            let r = x as f64 + 0.5 - 80.0;
            if r.abs() > 30.0 {
                continue;
            }
            let expected = ((r + 31.5) * 3.0 + offset).clamp(0.0, 255.0);
            let found = f64::from(picture.at(x, 60)[0]);
            assert!((found - expected).abs() <= 1.5, "{mode:?} {x}: {found} {expected}");
        }
    }
}

#[test]
fn a_slab_is_as_opaque_as_the_closed_form_at_any_step() {
    let grid = centred([40, 40, 12], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);
    let scene = scene(vec![image_layer(vec![volume(grid, |_, _, _| 50u8)], 0.0, 100.0, "grey")]);
    for opacity in [0.02f32, 0.1, 0.3] {
        for step_vox in [0.25, 0.5, 1.0, 2.0] {
            let mut view = from_above();
            view.transfer = transfer(&[(0.0, [255; 3], opacity), (100.0, [255; 3], opacity)]);
            let picture = draw(&scene, &view, [160, 120], &Quality { step_vox, ..EVEN });
            let expected = 255.0 * (1.0 - (1.0 - f64::from(opacity)).powi(12));
            let found = f64::from(picture.at(80, 60)[0]);
            assert!((found - expected).abs() <= 1.6, "{opacity} {step_vox}: {found} {expected}");
        }
    }
}

#[test]
fn a_thin_peak_between_two_samples_is_not_stepped_over() {
    // Values rise by 40 per sample; the only visible ones lie within 2 of 100.
    let grid = centred([30, 30, 12], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);
    let scene = scene(vec![image_layer(vec![volume(grid, |_, _, k| k as f32 * 40.0)], 0.0, 440.0, "grey")]);
    let mut view = from_above();
    let white = [255; 3];
    view.transfer = transfer(&[
        (0.0, white, 0.0),
        (98.0, white, 0.0),
        (100.0, white, 0.9),
        (102.0, white, 0.0),
        (440.0, white, 0.0),
    ]);
    let pictures: Vec<u8> = [0.125f32, 0.5, 1.0]
        .map(|step_vox| draw(&scene, &view, [160, 120], &Quality { step_vox, ..EVEN }).at(80, 60)[0])
        .to_vec();
    assert!(pictures[0] > 10, "{pictures:?}");
    assert!(pictures.iter().all(|p| p.abs_diff(pictures[0]) <= 4), "{pictures:?}");
}

#[test]
fn the_patients_right_is_on_the_left_seen_from_the_front_in_all_48_axis_orders() {
    let ras = centred([20, 24, 28], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);
    // A marker on the patient's right (+R), a bit to the front and high up.
    let marker = volume(ras, |i, j, k| if i >= 15 && (13..18).contains(&j) && k >= 20 { 200u8 } else { 0 });
    let mut view = VolumeView { background: [[0; 3]; 2], ..VolumeView::default() };
    view.camera.fit(([-12.0; 3], [12.0; 3]), 1.0);
    view.transfer = transfer(&[(0.0, [255; 3], 0.0), (100.0, [255; 3], 0.5), (200.0, [255; 3], 0.9)]);
    let mut first: Option<Picture> = None;
    for source in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for f in 0..8 {
            let order = AxisOrder { source, reversed: [f & 1 == 1, f & 2 == 2, f & 4 == 4] };
            let scene = scene(vec![image_layer(vec![marker.reordered(order)], 0.0, 200.0, "grey")]);
            let picture = draw(&scene, &view, [48, 48], &EVEN);
            let (mut x_sum, mut y_sum, mut sum) = (0.0, 0.0, 0.0);
            for y in 0..48 {
                for x in 0..48 {
                    let v = f64::from(picture.at(x, y)[0]);
                    (x_sum, y_sum, sum) = (x_sum + v * x as f64, y_sum + v * y as f64, sum + v);
                }
            }
            assert!(sum > 1000.0, "{order:?}: something is seen");
            assert!(x_sum / sum < 16.0, "{order:?}: the marker is on the left: {}", x_sum / sum);
            assert!(y_sum / sum < 16.0, "{order:?}: and at the top: {}", y_sum / sum);
            let first = first.get_or_insert_with(|| picture.clone());
            assert!(mean_difference(first, &picture) < 0.1, "{order:?}");
        }
    }
}

#[test]
fn one_object_on_different_grids_gives_one_picture() {
    let blob = |grid: Grid| {
        let at = |i: usize, j: usize, k: usize| {
            let p = grid.world_from_voxel.apply([i as f64, j as f64, k as f64]);
            let q = [p[0] / 14.0, p[1] / 20.0, (p[2] - 3.0) / 17.0];
            (200.0 * (-q.iter().map(|v| v * v).sum::<f64>()).exp()) as f32
        };
        scene(vec![image_layer(vec![volume(grid, at)], 0.0, 200.0, "grey")])
    };
    let plain = blob(cube(96, 1.0));
    let uneven = blob(centred([96, 96, 48], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 2.0]]));
    let oblique = blob(centred([130, 120, 90], [[0.9, 0.3, 0.0], [0.28, -0.85, 0.2], [0.1, 0.4, 1.3]]));
    let mut view = VolumeView { background: [[0; 3]; 2], ..VolumeView::default() };
    view.camera.fit(([-30.0; 3], [30.0; 3]), 1.0);
    view.camera.rotate_by(20.0, -13.0, 100.0);
    view.transfer =
        transfer(&[(40.0, [90, 30, 20], 0.0), (90.0, [220, 150, 110], 0.2), (180.0, [255, 250, 240], 0.6)]);
    for mode in [Mode::Composite, Mode::Mip, Mode::Isosurface { value: 90.0 }] {
        view.mode = mode;
        let expected = draw(&plain, &view, [120, 120], &EVEN);
        assert!(expected.rgba.iter().filter(|p| p[0] > 40).count() > 1500, "{mode:?}: the object is seen");
        for (name, other) in [("uneven", &uneven), ("oblique", &oblique)] {
            let found = draw(other, &view, [120, 120], &EVEN);
            let (mean, share) = (mean_difference(&expected, &found), agreement(&expected, &found, 8));
            assert!(mean < 1.0 && share > 0.97, "{mode:?} {name}: {mean} {share}");
        }
    }
}

/// An opaque block of image with a ball of label 1 in its middle.
fn hidden_label() -> Scene {
    let grid = cube(48, 1.0);
    let block = |i: usize, j: usize, k: usize| {
        if [i, j, k].iter().all(|&v| (6..42).contains(&v)) { 100u8 } else { 0 }
    };
    let ball = |i: usize, j: usize, k: usize| {
        let d: f64 = [i, j, k].iter().map(|&v| (v as f64 - 23.5).powi(2)).sum();
        u16::from(d < 100.0)
    };
    scene(vec![image_layer(vec![volume(grid, block)], 0.0, 100.0, "grey"), label_layer(grid, ball)])
}

#[test]
fn labels_and_image_are_composited_in_their_order_along_the_ray() {
    let scene = hidden_label();
    let mut view = from_above();
    let opaque = transfer(&[(0.0, [200; 3], 0.0), (50.0, [200; 3], 0.5), (100.0, [200; 3], 0.99)]);
    let clear = transfer(&[(0.0, [200; 3], 0.0), (100.0, [200; 3], 0.0)]);
    let is_red = |p: [u8; 4]| p[0] > 60 && u32::from(p[0]) > 3 * u32::from(p[1]);
    let is_grey = |p: [u8; 4]| p[..3].iter().all(|v| v.abs_diff(200) <= 2);
    let middle = |view: &VolumeView| draw(&scene, view, [160, 120], &Quality::FULL).at(80, 60);

    view.transfer = opaque.clone();
    assert!(is_grey(middle(&view)), "the image hides the label: {:?}", middle(&view));
    view.transfer = clear;
    assert!(is_red(middle(&view)), "nothing before it: {:?}", middle(&view));
    view.transfer = opaque.clone();
    view.clip_planes = vec![ClipPlane { point_ras: [0.0; 3], normal_ras: [0.0, 0.0, -2.0] }];
    assert!(is_red(middle(&view)), "a cut reveals it: {:?}", middle(&view));
    view.clip_planes.clear();
    view.crop_ras = Some(([-30.0; 3], [30.0, 30.0, 4.0]));
    assert!(is_red(middle(&view)), "so does the crop box: {:?}", middle(&view));
    view.labels.visible = false;
    assert!(is_grey(middle(&view)), "{:?}", middle(&view));
    view.labels.visible = true;
    view.labels.opacity = 0.25;
    let mixed = middle(&view);
    assert!(!is_red(mixed) && mixed[0] > mixed[1], "a faint label lets the image through: {mixed:?}");
    view.crop_ras = None;
    view.image_visible = false;
    view.labels.opacity = 1.0;
    assert!(is_red(middle(&view)), "without the image");
}

#[test]
fn a_hidden_label_is_not_drawn_and_a_faint_one_faintly() {
    let grid = cube(30, 1.0);
    let mut view = from_above();
    let centre = |id: u16, view: &VolumeView| {
        let labels =
            label_layer(grid, |i, j, k| if [i, j, k].iter().all(|&v| (8..22).contains(&v)) { id } else { 0 });
        draw(&scene(vec![labels]), view, [160, 120], &Quality::FULL).at(80, 60)
    };
    for smooth in [true, false] {
        view.labels.smooth = smooth;
        let (full, faint) = (centre(1, &view), centre(2, &view));
        assert!(full[0] > 150 && full[1] < 60, "{full:?}");
        assert!((60..160).contains(&faint[1]), "half of it: {faint:?}");
        assert_eq!(centre(3, &view), [0, 0, 0, 255], "hidden");
    }
}

#[test]
fn jumping_over_empty_blocks_changes_no_pixel() {
    let grid = oblique([70, 60, 50]);
    let waves = volume(grid, |i, j, k| (waves(i, j, k) * 250.0) as u8);
    let labels = label_layer(cube(56, 0.9), |i, j, k| {
        let d: f64 = [i, j, k].iter().map(|&v| (v as f64 - 27.0).powi(2)).sum();
        if d < 120.0 {
            1
        } else if d < 200.0 {
            3
        } else {
            0
        }
    });
    let scene = scene(vec![image_layer(vec![waves], 30.0, 220.0, "grey"), labels]);
    let mut view = VolumeView::of_scene(&scene, 1.0);
    view.camera.rotate_by(31.0, 17.0, 180.0);
    view.transfer = transfer(&[
        (0.0, [0; 3], 0.0),
        (150.0, [255, 0, 0], 0.0),
        (170.0, [255, 200, 90], 0.3),
        (190.0, [255; 3], 0.0),
    ]);
    let size = [90, 80];
    let modes = [Mode::Composite, Mode::Mip, Mode::MinIp, Mode::Average, Mode::Isosurface { value: 175.0 }];
    for mode in modes {
        for cut in [false, true] {
            for step_vox in [0.5, 1.0, 3.0] {
                view.mode = mode;
                view.clip_planes.clear();
                if cut {
                    view.clip_planes.push(ClipPlane { point_ras: [0.0; 3], normal_ras: [0.3, -0.4, 0.5] });
                }
                let on = Quality { step_vox, ..Quality::FULL };
                let a = draw(&scene, &view, size, &on);
                let b = draw(&scene, &view, size, &Quality { skip_empty: false, ..on });
                assert_eq!(a.rgba, b.rgba, "{mode:?} {cut} {step_vox}");
            }
        }
    }
}

#[test]
fn slices_in_3d_are_the_slices() {
    let grid = oblique([60, 50, 40]);
    let mut scene = scene(vec![image_layer(
        vec![volume(grid, |i, j, k| (waves(i, j, k) * 250.0) as u8)],
        30.0,
        220.0,
        "grey",
    )]);
    scene.convention = Convention::Neurological;
    scene.cursor_ras = [1.0, -2.0, 3.0];
    let mut view = VolumeView { slices: [true, false, false], image_visible: false, ..from_above() };
    view.camera.focus_ras = [0.0; 3];
    let size = [160, 120];
    let found = draw(&scene, &view, size, &Quality::FULL);
    let mm_per_px = view.camera.mm_per_px(120.0);
    let flat = SliceView { plane: Plane::Axial, centre_ras: [0.0; 3], mm_per_px };
    let expected = slice::render(&scene, &flat, size);
    assert!(agreement(&expected, &found, 2) > 0.995, "{}", agreement(&expected, &found, 2));
}

#[test]
fn colour_volumes_show_their_own_colours() {
    let grid = cube(30, 1.0);
    let scene = scene(vec![image_layer(vec![volume(grid, |_, _, _| [40u8, 200, 60])], 0.0, 255.0, "grey")]);
    let mut view = from_above();
    view.transfer = transfer(&[(0.0, [9; 3], 0.0), (100.0, [9; 3], 0.9)]);
    let found = draw(&scene, &view, [160, 120], &EVEN).at(80, 60);
    assert!(found.iter().zip([40, 200, 60, 255u8]).all(|(a, b)| a.abs_diff(b) <= 2), "{found:?}");
}

#[test]
fn a_click_finds_what_is_seen() {
    let size = [320, 240];
    let ball = scene(vec![sphere(cube(80, 1.0), 30.0)]);
    let mut view = VolumeView { mode: Mode::Isosurface { value: 0.0 }, ..VolumeView::default() };
    view.camera.distance_mm = 160.0;
    for (x, y) in [(160.0, 120.0), (190.0, 100.0), (130.0, 160.0)] {
        let found = pick(&ball, &view, size, x, y).unwrap();
        assert!((formats::affine::norm(found.ras) - 30.0).abs() < 0.1, "{found:?}");
        assert!(found.ras[1] > 0.0, "on the side that is seen: {found:?}");
        assert_eq!((found.label, found.layer), (None, ball.layers[0].id));
        let ([px, py], _) = view.camera.project(found.ras, size.map(|n| n as f64)).unwrap();
        assert!((px - x).abs() < 1e-3 && (py - y).abs() < 1e-3);
    }
    assert_eq!(pick(&ball, &view, size, 5.0, 5.0), None);
    view.mode = Mode::Composite;
    view.transfer = transfer(&[(-1.0, [255; 3], 0.0), (1.0, [255; 3], 0.95)]);
    let found = pick(&ball, &view, size, 160.0, 120.0).unwrap();
    assert!((formats::affine::norm(found.ras) - 30.0).abs() < 1.0, "{found:?}");
    view.mode = Mode::Mip;
    let found = pick(&ball, &view, size, 160.0, 120.0).unwrap();
    assert!(formats::affine::norm(found.ras) < 1.0, "the greatest value is in the middle: {found:?}");

    let hidden = hidden_label();
    let mut view = from_above();
    view.transfer = transfer(&[(0.0, [200; 3], 0.0), (100.0, [200; 3], 0.0)]);
    let found = pick(&hidden, &view, [160, 120], 80.0, 60.0).unwrap();
    assert_eq!((found.label, found.layer), (Some(1), hidden.layers[1].id));
    assert!((found.ras[2] - 10.0).abs() < 0.6, "{found:?}");
}

#[test]
fn scale_and_cancel() {
    let scene = hidden_label();
    let view = VolumeView::of_scene(&scene, 1.0);
    let caster = RayCaster::default();
    let half = Quality { scale: 0.5, ..Quality::FULL };
    let picture = caster.render(&scene, &view, [161, 121], &half, &Cancel::default()).unwrap();
    assert_eq!(picture.size, [81, 61]);
    assert_eq!(caster.render(&scene, &view, [0, 0], &half, &Cancel::default()).unwrap().size, [1, 1]);
    let cancel = Cancel::default();
    cancel.cancel();
    assert_eq!(caster.render(&scene, &view, [64, 64], &half, &cancel), None);
    // An empty scene is its background, from top to bottom.
    let empty = caster.render(&Scene::default(), &view, [8, 64], &EVEN, &Cancel::default()).unwrap();
    assert!(empty.at(3, 0)[2] > empty.at(3, 63)[2]);
    // A structure is remade when labels change.
    let mut edited = scene.clone();
    if let Content::Labels(labels) = &mut edited.layers[1].content {
        labels.labels.fill(0);
        labels.revision += 1;
    }
    let mut bare = view.clone();
    bare.image_visible = false;
    let before = caster.render(&scene, &bare, [64, 64], &EVEN, &Cancel::default()).unwrap();
    let after = caster.render(&edited, &bare, [64, 64], &EVEN, &Cancel::default()).unwrap();
    assert!(before.at(32, 32) != after.at(32, 32));
}
