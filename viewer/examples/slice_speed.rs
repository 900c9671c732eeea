//! How long slices take: `cargo run --release -p viewer --example slice_speed`. Three planes of 640 × 400 pixels of a
//! 256³ image with labels above, at a new position each time; and what a new image costs.
#![allow(clippy::print_stdout, reason = "it prints its figures")]

use std::sync::Arc;
use std::time::Instant;

use formats::{Affine, Grid, Image, LabelTable, Volume, Voxels};
use ndarray::Array3;
use viewer::gpu::{Gpu, Slices, Textures, read_picture};
use viewer::{
    ColourMap, Content, ImageId, ImageLayer, LabelLayer, Layer, LayerId, Plane, Scene, SliceView, Window,
    slice, window,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let grid = Grid::unit([256; 3]);
    let wave = |n: usize| (n as f32 * 0.05).sin();
    let array = Array3::from_shape_fn(grid.shape_kji(), |(k, j, i)| {
        (400.0 * (wave(i) + wave(j) * wave(k)) + 900.0) as i16
    });
    let labels = Array3::from_shape_fn(grid.shape_kji(), |(k, j, i)| {
        if (i / 32 + j / 32 + k / 32) % 3 == 0 { ((i / 32) % 8) as u16 } else { 0 }
    });
    let volume = Volume::new(Voxels::I16(array.into_shared()), grid)?;
    let time = |name: &str, f: &mut dyn FnMut()| {
        let mut times: Vec<f64> = (0..15)
            .map(|_| {
                let t = Instant::now();
                f();
                t.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("{name}: median {:.2} ms, worst {:.2} ms", times[7], times[14]);
    };
    time("automatic window", &mut || {
        std::hint::black_box(window::auto_window(&volume));
    });
    time("histogram", &mut || {
        std::hint::black_box(window::Histogram::of(&volume));
    });
    let range = volume.voxels.statistics(volume.scaling);
    let image = Image {
        frames: vec![volume],
        frame_axes: vec![],
        format: "nifti",
        encoding: String::new(),
        is_picture: false,
        notices: vec![],
    };
    let image = ImageLayer {
        id: ImageId::fresh(),
        image: Arc::new(image),
        frame: 0,
        window: Window { low: 0.0, high: 1800.0 },
        colour_map: ColourMap::grey(),
        value_range: (range.min, range.max),
    };
    let labels = LabelLayer {
        id: ImageId::fresh(),
        revision: 0,
        labels: labels.into_shared(),
        grid,
        table: Arc::new(LabelTable::default()),
        outline: true,
    };
    let layer =
        |content| Layer { id: LayerId::fresh(), name: String::new(), visible: true, opacity: 0.6, content };
    let mut scene = Scene {
        layers: vec![layer(Content::Image(image)), layer(Content::Labels(labels))],
        interpolate: true,
        ..Scene::default()
    };
    let size = [640, 400];
    let bounds = scene.bounds_ras().ok_or("no layers")?;
    let views = Plane::ALL.map(|p| SliceView::fit(p, bounds, size.map(|n| n as f64)));
    let mut at = 0.0;
    let (s, c) = 0.2_f64.sin_cos();
    let turned = Affine::from_columns([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.1, 1.0]], [0.0; 3]);
    for (name, placement) in [("oblique", turned), ("straight", Affine::IDENTITY)] {
        for layer in &mut scene.layers {
            match &mut layer.content {
                Content::Image(image) => {
                    Arc::make_mut(&mut image.image).frames[0].grid.world_from_voxel = placement;
                }
                Content::Labels(labels) => labels.grid.world_from_voxel = placement,
            }
        }
        time(&format!("three slices on the processor, {name}"), &mut || {
            at = (at + 3.0) % 200.0;
            scene.cursor_ras = [at; 3];
            for view in &views {
                std::hint::black_box(slice::render(&scene, view, size));
            }
        });
    }
    let gpu = Gpu::headless()?;
    println!("{}", gpu.tier.summary());
    let t = Instant::now();
    let (mut slices, mut textures) = (Slices::with_shaders(&gpu), Textures::new());
    println!("shaders: {:.1} ms", t.elapsed().as_secs_f64() * 1e3);
    let t = Instant::now();
    while !textures.update(&gpu, &scene, 64 << 20)?.is_complete() {}
    gpu.device.poll(wgpu::PollType::wait_indefinitely())?;
    println!("upload of {} MiB: {:.1} ms", textures.bytes() >> 20, t.elapsed().as_secs_f64() * 1e3);
    for interpolate in [true, false] {
        scene.interpolate = interpolate;
        time(&format!("three slices on the card, linear {interpolate}, waiting for them"), &mut || {
            at -= 1.7;
            scene.cursor_ras = [at; 3];
            for view in &views {
                slices.render(&gpu, &textures, &scene, view, size.map(|n| n as u32));
            }
            let _ = gpu.device.poll(wgpu::PollType::wait_indefinitely());
        });
        time("three slices on the card, the caller's time", &mut || {
            at += 1.3;
            scene.cursor_ras = [at; 3];
            for view in &views {
                slices.render(&gpu, &textures, &scene, view, size.map(|n| n as u32));
            }
        });
    }
    time("unchanged", &mut || {
        for view in &views {
            slices.render(&gpu, &textures, &scene, view, size.map(|n| n as u32));
        }
    });
    let picture = slices.render(&gpu, &textures, &scene, &views[0], size.map(|n| n as u32));
    time("read back", &mut || {
        std::hint::black_box(read_picture(&gpu, &picture.texture).is_ok());
    });
    Ok(())
}
