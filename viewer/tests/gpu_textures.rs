//! Uploads in parts, edits, reductions and what is forgotten, seen through pictures and the bytes sent.

mod common;

use common::*;
use viewer::gpu::{Gpu, Slices, Textures, read_picture};
use viewer::{Content, Layer, Picture, Plane, Scene, SliceView, slice};

const SIZE: [u32; 2] = [96, 96];

fn complete(gpu: &Gpu, textures: &mut Textures, scene: &Scene) {
    while !textures.update(gpu, scene, 1 << 14).unwrap().is_complete() {}
}

fn picture(gpu: &Gpu, textures: &Textures, scene: &Scene, view: &SliceView) -> Picture {
    read_picture(gpu, &Slices::with_shaders(gpu).render(gpu, textures, scene, view, SIZE).texture).unwrap()
}

fn expected(scene: &Scene, view: &SliceView) -> Picture {
    slice::render(scene, view, SIZE.map(|n| n as usize))
}

fn view(plane: Plane) -> SliceView {
    SliceView { plane, centre_ras: [0.0; 3], mm_per_px: 0.5 }
}

const STRAIGHT: [[f64; 3]; 3] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

#[test]
fn a_volume_appears_slab_by_slab() {
    let Some(gpu) = gpu("a_volume_appears_slab_by_slab") else { return };
    let grid = centred([40; 3], STRAIGHT);
    let layers = vec![image_layer(vec![volume(grid, |_, _, _| 200_u8)], 0.0, 255.0, "grey")];
    let scene = Scene { layers, ..Scene::default() };
    let mut textures = Textures::new();
    let mut lit = Vec::new();
    loop {
        // Ten slices of 40 × 40 bytes.
        let progress = textures.update(gpu, &scene, 16_000).unwrap();
        assert_eq!(progress.total_bytes, 64_000);
        lit.push(
            picture(gpu, &textures, &scene, &view(Plane::Coronal)).rgba.iter().filter(|p| p[0] > 0).count(),
        );
        if progress.is_complete() {
            break;
        }
    }
    // Two pixels per voxel: 80 × 20 more each time.
    assert_eq!(lit, [1600, 3200, 4800, 6400]);
    assert_eq!(textures.uploaded_bytes(), 64_000);
    assert!(
        picture(gpu, &textures, &scene, &view(Plane::Coronal)) == expected(&scene, &view(Plane::Coronal))
    );
    // Nothing more to send.
    assert!(textures.update(gpu, &scene, 16_000).unwrap().is_complete());
    assert_eq!(textures.uploaded_bytes(), 64_000);
}

/// Paints a box of labels and counts the revision.
fn edit(layer: &mut Layer, low: [usize; 3], high: [usize; 3], label: u16) -> (u64, u64) {
    let Content::Labels(labels) = &mut layer.content else { panic!("not labels") };
    for k in low[2]..high[2] {
        for j in low[1]..high[1] {
            for i in low[0]..high[0] {
                labels.labels[[k, j, i]] = label;
            }
        }
    }
    labels.revision += 1;
    (labels.revision - 1, labels.revision)
}

#[test]
fn an_edit_sends_only_its_box() {
    let Some(gpu) = gpu("an_edit_sends_only_its_box") else { return };
    let grid = centred([40; 3], STRAIGHT);
    let mut scene =
        Scene { layers: vec![label_layer(grid, |i, _, _| u16::from(i < 12))], ..Scene::default() };
    let id = scene.layers[0].labels().unwrap().id;
    let check = |textures: &Textures, scene: &Scene, what: &str| {
        for plane in Plane::ALL {
            let same = picture(gpu, textures, scene, &view(plane)) == expected(scene, &view(plane));
            assert!(same, "{what} {plane:?}");
        }
    };
    let mut textures = Textures::new();
    complete(gpu, &mut textures, &scene);
    assert_eq!(textures.uploaded_bytes(), 64_000);
    check(&textures, &scene, "first");

    // Two edits between two frames: the box around both.
    let steps = [([18, 18, 18], [22, 22, 22], 2), ([20, 19, 18], [24, 22, 22], 1)];
    for (low, high, label) in steps {
        let (from, to) = edit(&mut scene.layers[0], low, high, label);
        textures.labels_changed(id, from, to, low, high);
    }
    complete(gpu, &mut textures, &scene);
    assert_eq!(textures.uploaded_bytes(), 64_000 + 6 * 4 * 4);
    check(&textures, &scene, "two edits");

    // An edit that changed nothing, and one told of too late.
    let (from, to) = edit(&mut scene.layers[0], [0; 3], [0; 3], 2);
    textures.labels_changed(id, from, to, [5; 3], [5; 3]);
    complete(gpu, &mut textures, &scene);
    textures.labels_changed(id, from, to, [5; 3], [6; 3]);
    complete(gpu, &mut textures, &scene);
    assert_eq!(textures.uploaded_bytes(), 64_000 + 6 * 4 * 4);

    // A step that nobody told of: everything.
    edit(&mut scene.layers[0], [0, 0, 18], [40, 9, 22], 2);
    complete(gpu, &mut textures, &scene);
    assert_eq!(textures.uploaded_bytes(), 2 * 64_000 + 6 * 4 * 4);
    check(&textures, &scene, "untold");

    // A label that needs two bytes: everything, in two bytes.
    let (from, to) = edit(&mut scene.layers[0], [15, 15, 15], [25, 25, 25], 300);
    textures.labels_changed(id, from, to, [15, 15, 15], [25, 25, 25]);
    complete(gpu, &mut textures, &scene);
    assert_eq!(textures.bytes(), 128_000);
    check(&textures, &scene, "wide");

    // An edit that reaches beyond the volume is cut.
    let (from, to) = edit(&mut scene.layers[0], [30, 0, 20], [40, 40, 21], 0);
    textures.labels_changed(id, from, to, [30, 0, 20], [47, 43, 21]);
    complete(gpu, &mut textures, &scene);
    check(&textures, &scene, "cut");
}

#[test]
fn volumes_beyond_the_limit_are_reduced_and_say_so() {
    let Some(gpu) = gpu("volumes_beyond_the_limit_are_reduced_and_say_so") else { return };
    // A ramp, whose block means lie on the same ramp; 50 voxels at most 20: three to a block.
    let grid = centred([50, 16, 40], [[0.8, 0.1, 0.0], [0.0, 0.0, 2.0], [-0.1, 0.9, 0.0]]);
    let ramp = volume(grid, |i, j, k| (2 * i + 3 * j + k) as i16);
    let layers = vec![
        image_layer(vec![ramp], 0.0, 190.0, "grey"),
        label_layer(grid, |i, _, k| u16::from(i >= 24 && k >= 20)),
    ];
    let scene = Scene { layers, interpolate: true, cursor_ras: [2.0, 1.0, 0.5], ..Scene::default() };
    let mut textures = Textures::with_size_limit(20);
    complete(gpu, &mut textures, &scene);
    let image = textures.image(scene.layers[0].image().unwrap()).unwrap();
    assert_eq!((image.volume.size, image.volume.factors), ([17, 16, 20], [3, 1, 2]));
    let notice = image.notice.as_ref().unwrap();
    assert_eq!(notice.code, "display-reduced");
    assert!(notice.message.contains("50×16×40") && notice.message.contains("17×16×20"), "{}", notice.message);
    assert!(textures.labels(scene.layers[1].labels().unwrap()).unwrap().notice.is_some());
    for plane in Plane::ALL {
        let found = picture(gpu, &textures, &scene, &view(plane));
        // Less is equal at the far faces, where blocks are cut short and positions clamped.
        let share = agreement(&expected(&scene, &view(plane)), &found, 2);
        assert!(share > 0.93, "{plane:?} {share}");
    }
}

#[test]
fn a_reduced_edit_reaches_the_picture() {
    let Some(gpu) = gpu("a_reduced_edit_reaches_the_picture") else { return };
    let mut scene =
        Scene { layers: vec![label_layer(centred([40; 3], STRAIGHT), |_, _, _| 0)], ..Scene::default() };
    let id = scene.layers[0].labels().unwrap().id;
    let mut textures = Textures::with_size_limit(20);
    complete(gpu, &mut textures, &scene);
    let before = textures.uploaded_bytes();
    let (low, high) = ([10, 12, 14], [30, 31, 28]);
    let (from, to) = edit(&mut scene.layers[0], low, high, 1);
    textures.labels_changed(id, from, to, low, high);
    complete(gpu, &mut textures, &scene);
    assert_eq!(textures.uploaded_bytes() - before, 10 * 10 * 7);
    let found = picture(gpu, &textures, &scene, &view(Plane::Axial));
    assert!(agreement(&expected(&scene, &view(Plane::Axial)), &found, 2) > 0.98);
}

#[test]
fn what_the_scene_no_longer_holds_is_forgotten() {
    let Some(gpu) = gpu("what_the_scene_no_longer_holds_is_forgotten") else { return };
    let grid = centred([16; 3], STRAIGHT);
    let frames = (0..3_u8).map(|t| volume(grid, move |_, _, _| 50 * t)).collect();
    let layers = vec![image_layer(frames, 0.0, 255.0, "grey"), label_layer(grid, |_, _, _| 1)];
    let mut scene = Scene { layers, ..Scene::default() };
    scene.layers[1].visible = false;
    let mut textures = Textures::new();
    complete(gpu, &mut textures, &scene);
    assert_eq!(textures.bytes(), 4096, "one frame, and no hidden layer");
    if let Content::Image(image) = &mut scene.layers[0].content {
        image.frame = 2;
    }
    complete(gpu, &mut textures, &scene);
    assert_eq!(textures.bytes(), 2 * 4096, "frames shown before stay for playing");
    assert_eq!(picture(gpu, &textures, &scene, &view(Plane::Axial)).at(48, 48)[0], 100);
    scene.layers.remove(0);
    scene.layers[0].visible = true;
    complete(gpu, &mut textures, &scene);
    assert_eq!(textures.bytes(), 4096);
}
