//! Pictures without a window: the same as the window shows, drawn by the definitions on the processor, so that they
//! are the same on every machine.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use formats::{Notice, Task};
use serde::{Deserialize, Serialize};
use viewer::raycast::Quality;
use viewer::{ColourMap, Convention, Picture, Plane, Scene, SliceView, StandardView, VolumeView, Window};

use crate::document::Document;
use crate::failure::Usage;
use crate::open::{Opened, open};

/// The longest side of a picture in pixels.
pub const MAX_SIDE_PX: usize = 16_384;

/// What to draw, and where to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Render {
    /// Images and segmentations, the lowest layer first.
    pub files: Vec<PathBuf>,
    /// Segmentations, whatever they look like, above the rest.
    pub labels: Vec<PathBuf>,
    /// From where.
    pub view: View,
    /// The point the slice goes through, RAS+ mm; the middle of the first file when none.
    pub at_ras: Option<[f64; 3]>,
    /// Width and height in pixels.
    pub size_px: [usize; 2],
    /// The PNG to write.
    pub output: PathBuf,
    /// On which side the patient's right is.
    pub convention: Convention,
    /// Values shown at the low and the high end of the colours of the lowest image; chosen from the data when none.
    pub window: Option<(f64, f64)>,
    /// Colours of the lowest image; grey when none.
    pub colour_map: Option<String>,
    /// Opacity of segmentations in slices, 0..=1.
    pub label_opacity: f32,
    /// Draw borders of labels opaque.
    pub outline: bool,
    /// Show voxels as they are rather than linear between them.
    pub nearest: bool,
    /// Whether an existing output may be replaced.
    pub overwrite: bool,
}

/// What a picture shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum View {
    /// A slice.
    Slice(Plane),
    /// The volume, seen from a side.
    Volume(StandardView),
}

/// What was drawn.
#[derive(Clone, Debug, Serialize)]
pub struct Rendered {
    /// The file.
    pub output: PathBuf,
    /// Width and height in pixels.
    pub size_px: [usize; 2],
    /// The point the slice goes through, RAS+ mm.
    pub at_ras: [f64; 3],
    /// The window of the lowest image.
    pub window: Option<(f64, f64)>,
    /// Odd but survivable things about the files, with the file's name.
    pub notices: Vec<(String, Notice)>,
}

/// Reads, draws and writes. The picture appears whole by rename.
///
/// # Errors
/// [`Usage`] for requests that make no sense; otherwise those of reading and writing.
pub fn render(request: &Render, task: &Task) -> anyhow::Result<Rendered> {
    check(request)?;
    let (document, notices) = load(request, task)?;
    let mut scene = document.scene;
    if let Some(at) = request.at_ras {
        scene.cursor_ras = at;
    }
    scene.convention = request.convention;
    scene.interpolate = !request.nearest;
    let window = look(request, &mut scene)?;
    task.at("drawing", 0.0)?;
    let picture = draw(&scene, request.view, request.size_px, task)?;
    task.at("writing", 0.0)?;
    formats::atomic::write_bytes(&request.output, &png(&picture)?)?;
    Ok(Rendered {
        output: request.output.clone(),
        size_px: request.size_px,
        at_ras: scene.cursor_ras,
        window: window.map(|w| (w.low, w.high)),
        notices,
    })
}

/// What can be refused before anything is read.
fn check(request: &Render) -> Result<(), Usage> {
    let output = request.output.display();
    if request.output.extension().is_none_or(|e| !e.eq_ignore_ascii_case("png")) {
        return Err(Usage(format!("{output}: pictures are written as PNG; let the name end in .png")));
    }
    if request.output.exists() && !request.overwrite {
        return Err(Usage(format!(
            "{output}: exists already; give --overwrite to replace it, or another name"
        )));
    }
    if request.size_px.iter().any(|n| !(1..=MAX_SIDE_PX).contains(n)) {
        let [width, height] = request.size_px;
        return Err(Usage(format!("--size {width}x{height}: sides are 1 to {MAX_SIDE_PX} pixels long")));
    }
    if let Some((low, high)) = request.window.filter(|(l, h)| !(l.is_finite() && h.is_finite() && l < h)) {
        return Err(Usage(format!("--window {low},{high}: the first value must be below the second")));
    }
    if request.at_ras.is_some_and(|p| p.iter().any(|v| !v.is_finite())) {
        return Err(Usage("--at: three finite numbers of millimetres are needed".to_owned()));
    }
    if let Some(name) = request.colour_map.as_ref().filter(|n| ColourMap::by_name(n).is_none()) {
        let known: Vec<&str> = ColourMap::all().iter().map(|m| &*m.name).collect();
        return Err(Usage(format!("--colours {name}: there is no such map; there are {}", known.join(", "))));
    }
    Ok(())
}

fn load(request: &Render, task: &Task) -> anyhow::Result<(Document, Vec<(String, Notice)>)> {
    let (mut document, mut notices) = (Document::default(), Vec::new());
    let files = request.files.iter().map(|f| (f, None));
    for (file, as_labels) in files.chain(request.labels.iter().map(|f| (f, Some(true)))) {
        let name = name_of(file);
        task.at("reading", 0.0)?;
        // Structure sets are outlines on the image before them.
        let source = document.active_image().and_then(|id| document.scene.layer(id));
        let source = source.and_then(|l| l.image()).map(|i| i.volume().clone());
        let told = match open(file, as_labels, source.as_ref(), task)? {
            Opened::Image(image) => {
                let told = image.notices.clone();
                let statistics = image.statistics();
                let window = viewer::window::suggested(&image);
                document.add_image(*image, name.clone(), window, (statistics.min, statistics.max));
                told
            }
            Opened::Labels(labels, told) => {
                document.add_labels(*labels, name.clone(), None, Vec::new());
                told
            }
        };
        notices.extend(told.into_iter().map(|n| (name.clone(), n)));
    }
    Ok((document, notices))
}

fn name_of(file: &Path) -> String {
    file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
}

/// Windows, colours and opacities as asked for; the window of the lowest image.
fn look(request: &Render, scene: &mut Scene) -> Result<Option<Window>, Usage> {
    let mut lowest = None;
    for layer in &mut scene.layers {
        match &mut layer.content {
            viewer::Content::Image(image) if lowest.is_none() => {
                if let Some((low, high)) = request.window {
                    image.window = Window { low, high };
                }
                if let Some(map) = request.colour_map.as_deref().and_then(ColourMap::by_name) {
                    image.colour_map = map;
                }
                lowest = Some(image.window);
            }
            viewer::Content::Image(_) => {}
            viewer::Content::Labels(labels) => {
                layer.opacity = request.label_opacity;
                labels.outline = request.outline;
            }
        }
    }
    if lowest.is_none() && request.window.is_some() {
        return Err(Usage("--window: none of the files is an image".to_owned()));
    }
    Ok(lowest)
}

fn draw(scene: &Scene, view: View, size_px: [usize; 2], task: &Task) -> anyhow::Result<Picture> {
    let [width, height] = size_px.map(|n| n as f64);
    match view {
        View::Slice(plane) => {
            let bounds = scene.bounds_ras().ok_or_else(|| anyhow!("there is nothing to draw"))?;
            let view = SliceView::fit(plane, bounds, [width, height]);
            Ok(viewer::slice::render(scene, &view, size_px))
        }
        View::Volume(side) => {
            let mut view = VolumeView::of_scene(scene, width / height);
            view.camera.look_from(side);
            let drawn = viewer::raycast::render(scene, &view, size_px, &Quality::FULL, task.cancel());
            Ok(drawn.ok_or(formats::Error::Cancelled)?)
        }
    }
}

fn png(picture: &Picture) -> anyhow::Result<Vec<u8>> {
    let [width, height] = picture.size.map(u32::try_from);
    let rgb: Vec<u8> = picture.rgba.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect();
    let image = image::RgbImage::from_raw(width?, height?, rgb).context("a picture of another size")?;
    let mut bytes = Vec::new();
    image.write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png)?;
    Ok(bytes)
}
