//! Draws the 3-D picture of a file on the CPU and times it: the subject of `tests/bench/raycast.py`.
//!
//! `raycast_bench FILE [--labels FILE] [--preset NAME] [--mode NAME] [--iso VALUE] [--view NAME] [--size WxH]
//! [--step VOXELS] [--runs N] [--turn DEGREES] [--png OUT] [--slices] [--no-image] [--points V:R:G:B:A,…] [--gpu]`
//! prints one line of seconds per picture: the first (with what is computed once per volume), then the others, each
//! from another direction when `--turn` is given. `--moving` lets the adaptive quality choose.
#![expect(clippy::print_stdout, reason = "an example")]

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use formats::{Cancel, Task};
use viewer::raycast::{Pace, Quality, RayCaster};
use viewer::transfer::{ControlPoint, ct_presets};
use viewer::volume_view::{LabelStyle, Mode};
use viewer::{
    ColourMap, Content, ImageId, ImageLayer, LabelLayer, Layer, LayerId, Scene, StandardView, VolumeView,
    Window,
};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let (file, options) = arguments()?;
    let mut scene = Scene { interpolate: true, ..Scene::default() };
    scene.layers.push(image_layer(Path::new(&file))?);
    if let Some(path) = options.get("labels") {
        scene.layers.push(label_layer(Path::new(path))?);
    }
    if let Some((low, high)) = scene.bounds_ras() {
        scene.cursor_ras = [0, 1, 2].map(|a| f64::midpoint(low[a], high[a]));
    }
    let size = options.get("size").map_or("1024x768", String::as_str);
    let (width, height) = size.split_once('x').ok_or("--size WxH")?;
    let size: [usize; 2] = [width.parse()?, height.parse()?];
    let mut view = view(&scene, size, &options)?;
    let number = |name: &str, default: f64| options.get(name).map_or(Ok(default), |v| v.parse::<f64>());
    let turn = number("turn", 0.0)?;
    let mut quality = Quality { step_vox: number("step", 1.0)? as f32, ..Quality::FULL };
    let caster = RayCaster::default();
    let mut pace = Pace::default();
    let mut picture = None;
    for _ in 0..number("runs", 1.0)? as usize + 1 {
        if options.contains_key("moving") {
            quality = Quality::moving(&pace, size);
        }
        let start = Instant::now();
        picture = caster.render(&scene, &view, size, &quality, &Cancel::default());
        let secs = start.elapsed().as_secs_f64();
        pace.report(size, &quality, secs);
        print!("{secs:.4} ");
        view.camera.rotate_by(turn / 180.0 * size[1] as f64, 0.0, size[1] as f64);
    }
    println!();
    if let (Some(path), Some(picture)) = (options.get("png"), picture) {
        let [w, h] = picture.size.map(|n| n as u32);
        let bytes: Vec<u8> = picture.rgba.iter().flatten().copied().collect();
        image::RgbaImage::from_raw(w, h, bytes).ok_or("picture size")?.save(path)?;
    }
    Ok(())
}

/// The file and the options by name; flags have an empty value.
fn arguments() -> Result<(String, HashMap<String, String>), Failure> {
    let (mut file, mut options) = (None, HashMap::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.strip_prefix("--") {
            Some(name @ ("slices" | "no-image" | "moving" | "unlit" | "voxels" | "orthographic" | "cut")) => {
                options.insert(name.to_owned(), String::new());
            }
            Some(name) => {
                options.insert(name.to_owned(), words.next().ok_or("an option needs a value")?);
            }
            None => file = Some(word),
        }
    }
    Ok((file.ok_or("usage: raycast_bench FILE [options]")?, options))
}

fn view(scene: &Scene, size: [usize; 2], options: &HashMap<String, String>) -> Result<VolumeView, Failure> {
    let mut view = VolumeView::of_scene(scene, size[0] as f64 / size[1] as f64);
    if let Some(name) = options.get("preset") {
        let find = |p: &&viewer::TransferFunction| p.name.to_lowercase().contains(&name.to_lowercase());
        view.transfer = ct_presets().iter().find(find).ok_or("no such preset")?.clone();
    }
    if let Some(points) = options.get("points") {
        view.transfer.points = points.split(',').map(point).collect::<Result<_, _>>()?;
        view.transfer.unit_mm = 1.0;
    }
    view.mode = match options.get("mode").map(String::as_str) {
        None | Some("composite") => Mode::Composite,
        Some("mip") => Mode::Mip,
        Some("minip") => Mode::MinIp,
        Some("average") => Mode::Average,
        Some("iso") => Mode::Isosurface { value: options.get("iso").ok_or("--iso VALUE")?.parse()? },
        Some(_) => return Err("no such mode".into()),
    };
    if let Some(name) = options.get("view") {
        let find = |v: &&StandardView| v.name().eq_ignore_ascii_case(name);
        view.camera.look_from(*StandardView::ALL.iter().find(find).ok_or("no such view")?);
    }
    if let Some(angles) = options.get("rotate") {
        let (dx, dy) = angles.split_once(',').ok_or("--rotate DX,DY in degrees")?;
        view.camera.rotate_by(dx.parse::<f64>()?, dy.parse::<f64>()?, 180.0);
    }
    if let Some(factor) = options.get("zoom") {
        view.camera.zoom_by(factor.parse()?);
    }
    if options.contains_key("orthographic") {
        view.camera.projection = viewer::Projection::Orthographic;
    }
    if options.contains_key("cut") {
        let normal_ras = [-1.0, 0.0, 0.0];
        view.clip_planes.push(viewer::volume_view::ClipPlane { point_ras: scene.cursor_ras, normal_ras });
    }
    view.slices = [options.contains_key("slices"); 3];
    view.image_visible = !options.contains_key("no-image");
    view.lighting.enabled = !options.contains_key("unlit");
    view.labels = LabelStyle { smooth: !options.contains_key("voxels"), ..LabelStyle::default() };
    if let Some(opacity) = options.get("label-opacity") {
        view.labels.opacity = opacity.parse()?;
    }
    Ok(view)
}

fn point(text: &str) -> Result<ControlPoint, Failure> {
    let numbers: Vec<f64> = text.split(':').map(str::parse).collect::<Result<_, _>>()?;
    let [value, r, g, b, opacity] = numbers[..] else { return Err("a point is V:R:G:B:A".into()) };
    Ok(ControlPoint { value, rgb: [r, g, b].map(|c| c as u8), opacity: opacity as f32 })
}

fn image_layer(path: &Path) -> Result<Layer, Failure> {
    let image = formats::open(path, &Task::silent())?;
    let statistics = image.statistics();
    let values = image.first().to_f32();
    // The display window by percentiles of what is not background.
    let mut sorted: Vec<f32> =
        values.iter().copied().filter(|v| v.is_finite() && *v != 0.0).step_by(37).collect();
    sorted.sort_by(f32::total_cmp);
    let at = |q: f64| sorted.get((q * sorted.len() as f64) as usize).copied().map_or(0.0, f64::from);
    let window = Window { low: at(0.02), high: at(0.98).max(at(0.02) + 1e-6) };
    let content = Content::Image(ImageLayer {
        id: ImageId::fresh(),
        image: Arc::new(image),
        frame: 0,
        window,
        colour_map: ColourMap::grey(),
        value_range: (statistics.min, statistics.max),
    });
    Ok(Layer { id: LayerId::fresh(), name: "image".into(), visible: true, opacity: 1.0, content })
}

fn label_layer(path: &Path) -> Result<Layer, Failure> {
    let map = formats::open(path, &Task::silent())?.first().to_labels()?;
    let content = Content::Labels(LabelLayer {
        id: ImageId::fresh(),
        revision: 0,
        labels: map.labels,
        grid: map.grid,
        table: Arc::new(map.table),
        outline: false,
    });
    Ok(Layer { id: LayerId::fresh(), name: "labels".into(), visible: true, opacity: 0.5, content })
}
