//! The quick-look picture: a montage that lets a person judge a segmentation at a glance.
//!
//! Three rows (axial, coronal, sagittal), several slices each, evenly through the labelled region. Display is
//! radiological: the patient's right on the picture's left, anterior up (axial) or left (sagittal), superior up.
//! Slices follow the voxel axes closest to the world's, so an oblique scan is not resampled; pixels are square in
//! millimetres whatever the spacing. Letters say which side is which, numbers the world position of the slice centre
//! along its axis.

pub mod boxes;
mod font;

use std::path::Path;

use formats::{Affine, ComplexPart, Grid, LabelMap, Volume, for_scalar};
use image::{Rgb, RgbImage};
use rayon::prelude::*;

/// How a montage looks.
#[derive(Clone, Debug)]
pub struct Options {
    /// Slices per orientation.
    pub slices: usize,
    /// Pixels along the longest side of a slice.
    pub tile_px: u32,
    /// Opacity of the label colours inside outlines, 0..=1. Outlines are opaque.
    pub fill: f32,
    /// Rows of the legend show at most this many labels (the largest); 0 for none.
    pub legend: usize,
    /// A line of text at the top, e.g. the case name.
    pub title: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { slices: 6, tile_px: 208, fill: 0.3, legend: 48, title: String::new() }
    }
}

const GAP: u32 = 3;
const INK: Rgb<u8> = Rgb([235, 235, 235]);
const LETTER: Rgb<u8> = Rgb([255, 214, 92]);

/// World axis across the picture, down the picture and through it, and whether each runs against its positive end.
struct Orientation {
    across: usize,
    down: usize,
    through: usize,
    /// Across runs towards the axis' negative end (R at the left, A at the left).
    letters: [char; 4], // left, right, top, bottom
}

const ORIENTATIONS: [Orientation; 3] = [
    Orientation { across: 0, down: 1, through: 2, letters: ['R', 'L', 'A', 'P'] },
    Orientation { across: 0, down: 2, through: 1, letters: ['R', 'L', 'S', 'I'] },
    Orientation { across: 1, down: 2, through: 0, letters: ['A', 'P', 'S', 'I'] },
];
// All three run from the positive to the negative end in both directions: R→L, A→P, S→I.

/// A volume read as if stored in RAS order.
struct Ras<'a> {
    /// Value at a position of the array.
    value: Box<dyn Fn(usize) -> f32 + Sync + 'a>,
    /// Array position of RAS voxel (0, 0, 0), and the step along each RAS axis.
    base: i64,
    step: [i64; 3],
    grid: Grid,
}

impl<'a> Ras<'a> {
    fn new(volume: &'a Volume) -> Self {
        let value: Box<dyn Fn(usize) -> f32 + Sync + 'a> = for_scalar!(&volume.voxels, a => {
            let (a, s) = (a.as_slice().unwrap_or_default(), volume.scaling);
            Box::new(move |at| (formats::voxels::Scalar::to_f64(a[at]) * s.slope + s.inter) as f32)
        }, other => {
            let a = other.to_f32(volume.scaling, ComplexPart::Magnitude);
            Box::new(move |at| a.as_slice().map_or(0.0, |a| a[at]))
        });
        let order = volume.grid.order_to_ras();
        let size = volume.grid.size_ijk.map(|n| n as i64);
        let stride = [1, size[0], size[0] * size[1]];
        let mut base = 0;
        let mut step = [0; 3];
        for axis in 0..3 {
            let source = order.source[axis];
            step[axis] = stride[source];
            if order.reversed[axis] {
                base += stride[source] * (size[source] - 1);
                step[axis] = -stride[source];
            }
        }
        Self { value, base, step, grid: volume.grid.reordered(order) }
    }

    /// The finite value at a RAS voxel inside the grid; what is not finite counts as 0.
    fn at(&self, p: [usize; 3]) -> f32 {
        let at = self.base + (0..3).map(|a| self.step[a] * p[a] as i64).sum::<i64>();
        let v = (self.value)(at as usize);
        if v.is_finite() { v } else { 0.0 }
    }

    /// A value between voxels of one slice: linear along `across` and `down`.
    fn between(&self, p: [f64; 3], o: &Orientation) -> f32 {
        let low = p.map(f64::floor);
        let corner = |da: f64, dd: f64| {
            let mut q = low;
            q[o.across] += da;
            q[o.down] += dd;
            q[o.through] = p[o.through].round();
            self.at([0, 1, 2].map(|a| (q[a].max(0.0) as usize).min(self.grid.size_ijk[a] - 1)))
        };
        let (fa, fd) = ((p[o.across] - low[o.across]) as f32, (p[o.down] - low[o.down]) as f32);
        let top = corner(0.0, 0.0) * (1.0 - fa) + corner(1.0, 0.0) * fa;
        let bottom = corner(0.0, 1.0) * (1.0 - fa) + corner(1.0, 1.0) * fa;
        top * (1.0 - fd) + bottom * fd
    }
}

/// A box in RAS voxels, first and last inclusive.
#[derive(Clone, Copy, Debug)]
struct Region {
    first: [f64; 3],
    last: [f64; 3],
}

/// 2nd and 98th percentile of the non-zero values, from a regular sample of at most about 500 000 voxels.
fn auto_window(ras: &Ras<'_>) -> (f32, f32) {
    let size = ras.grid.size_ijk;
    let step = ((ras.grid.voxel_count() as f64 / 500_000.0).cbrt().ceil() as usize).max(1);
    let planes = (0..size[2]).into_par_iter().step_by(step).flat_map_iter(|z| {
        let rows = (0..size[1]).step_by(step);
        rows.flat_map(move |y| (0..size[0]).step_by(step).map(move |x| [x, y, z]))
    });
    let mut values: Vec<f32> = planes.map(|p| ras.at(p)).filter(|v| *v != 0.0).collect();
    if values.is_empty() {
        return (0.0, 1.0);
    }
    let mut at = |q: f64| {
        let n = (q * (values.len() - 1) as f64).round() as usize;
        *values.select_nth_unstable_by(n, f32::total_cmp).1
    };
    let (low, high) = (at(0.02), at(0.98));
    if high > low { (low, high) } else { (low, low + 1.0) }
}

/// The box of what is not background, by brightness: planes where at least 0.3 % of the voxels exceed a tenth of the
/// window. The whole volume when there is none.
fn bright_region(ras: &Ras<'_>, window: (f32, f32)) -> Region {
    let size = ras.grid.size_ijk;
    let limit = window.0 + 0.1 * (window.1 - window.0);
    let step = ((ras.grid.voxel_count() as f64 / 1_000_000.0).cbrt().ceil() as usize).max(1);
    let empty = || size.map(|n| vec![0u32; n]);
    let counts = (0..size[2])
        .into_par_iter()
        .step_by(step)
        .fold(empty, |mut c, z| {
            for y in (0..size[1]).step_by(step) {
                for x in (0..size[0]).step_by(step) {
                    if ras.at([x, y, z]) > limit {
                        c[0][x] += 1;
                        c[1][y] += 1;
                        c[2][z] += 1;
                    }
                }
            }
            c
        })
        .reduce(empty, |mut a, b| {
            for (a, b) in a.iter_mut().flatten().zip(b.iter().flatten()) {
                *a += b;
            }
            a
        });
    let mut region = Region { first: [0.0; 3], last: size.map(|n| n as f64 - 1.0) };
    for axis in 0..3 {
        let plane: f64 =
            (0..3).filter(|a| *a != axis).map(|a| (size[a] as f64 / step as f64).ceil()).product();
        let enough = |n: &u32| f64::from(*n) > (0.003 * plane).max(0.5);
        let first = counts[axis].iter().position(enough);
        let last = counts[axis].iter().rposition(enough);
        if let (Some(first), Some(last)) = (first, last) {
            region.first[axis] = (first as f64 - step as f64).max(0.0);
            region.last[axis] = (last as f64 + step as f64).min(size[axis] as f64 - 1.0);
        }
    }
    region
}

/// The box of labels above 0, in RAS voxels of the image, and the voxels of each label.
fn label_region(labels: &LabelMap, ras: &Grid) -> (Option<Region>, Vec<(u16, u64)>) {
    let rows = formats::measure::label_extents(&labels.labels);
    let sizes = rows.iter().map(|r| (r.label, r.voxels)).collect();
    let Some(ras_from_world) = ras.voxel_from_world() else { return (None, sizes) };
    let ras_from_label = ras_from_world.after(&labels.grid.world_from_voxel);
    let mut region: Option<Region> = None;
    for r in &rows {
        for corner in 0..8 {
            let ijk =
                [0, 1, 2].map(|a| (if corner >> a & 1 == 1 { r.last_ijk } else { r.first_ijk })[a] as f64);
            let p = ras_from_label.apply(ijk);
            let g = region.get_or_insert(Region { first: p, last: p });
            for a in 0..3 {
                g.first[a] = g.first[a].min(p[a]);
                g.last[a] = g.last[a].max(p[a]);
            }
        }
    }
    for a in 0..3 {
        if let Some(g) = region.as_mut() {
            let end = ras.size_ijk[a] as f64 - 1.0;
            (g.first[a], g.last[a]) = (g.first[a].clamp(0.0, end), g.last[a].clamp(0.0, end));
        }
    }
    (region, sizes)
}

/// Labels as the picture needs them.
struct Overlay<'a> {
    map: &'a LabelMap,
    label_from_ras: Affine,
    /// Colour and opacity 0..=1 by label number.
    look: Vec<([u8; 3], f32)>,
}

impl Overlay<'_> {
    fn at(&self, p: [f64; 3]) -> u16 {
        let q = self.label_from_ras.apply(p).map(f64::round);
        let n = self.map.grid.size_ijk;
        if (0..3).any(|a| q[a] < 0.0 || q[a] >= n[a] as f64) {
            return 0;
        }
        self.map.labels[[q[2] as usize, q[1] as usize, q[0] as usize]]
    }
}

/// Draws the montage; see the module. `labels` may lie on another grid than the image.
pub fn montage(volume: &Volume, labels: Option<&LabelMap>, options: &Options) -> RgbImage {
    let ras = Ras::new(volume);
    let window = auto_window(&ras);
    let content = bright_region(&ras, window);
    let (labelled, sizes) = labels.map_or((None, Vec::new()), |l| label_region(l, &ras.grid));
    // The view holds image and labels; the slices go through the labels.
    let view = labelled.map_or(content, |l| Region {
        first: [0, 1, 2].map(|a| content.first[a].min(l.first[a])),
        last: [0, 1, 2].map(|a| content.last[a].max(l.last[a])),
    });
    let through = labelled.unwrap_or(content);
    let overlay = labels.and_then(|map| {
        let look = (0..=u16::MAX)
            .map(|id| {
                let shown = map.table.get(id).map_or(1.0, |e| if e.visible { e.opacity } else { 0.0 });
                (map.table.rgb(id), if id == 0 { 0.0 } else { shown })
            })
            .collect();
        let label_from_ras = map.grid.voxel_from_world()?.after(&ras.grid.world_from_voxel);
        Some(Overlay { map, label_from_ras, look })
    });

    let spacing = ras.grid.spacing_mm();
    let extent_mm = [0, 1, 2].map(|a| (view.last[a] - view.first[a] + 1.0) * spacing[a]);
    let px_per_mm = f64::from(options.tile_px) / extent_mm.into_iter().fold(f64::MIN_POSITIVE, f64::max);
    let px = |a: usize| ((extent_mm[a] * px_per_mm).round() as u32).max(1);
    let cell_width = px(0).max(px(1));
    let width = options.slices as u32 * (cell_width + GAP) + GAP;

    let title = if options.title.is_empty() { 0 } else { font::HEIGHT + 8 };
    let tiles: u32 = ORIENTATIONS.iter().map(|o| px(o.down) + GAP).sum::<u32>() + GAP;
    let legend = Legend::new(labels, &sizes, options.legend, width);
    let mut picture = RgbImage::from_pixel(width, title + tiles + legend.height(), Rgb([0; 3]));
    font::draw(&mut picture, 4, 4, &options.title, 1, INK);

    let jobs: Vec<(usize, usize)> =
        (0..ORIENTATIONS.len()).flat_map(|o| (0..options.slices).map(move |n| (o, n))).collect();
    let draw = |&(o, n): &(usize, usize)| {
        let o = &ORIENTATIONS[o];
        let share = (n as f64 + 0.5) / options.slices as f64;
        let index = through.first[o.through] + share * (through.last[o.through] - through.first[o.through]);
        let size = (px(o.across), px(o.down));
        tile(&ras, overlay.as_ref(), o, index.round(), &view, size, window, options.fill)
    };
    let drawn: Vec<RgbImage> = jobs.par_iter().map(draw).collect();
    let mut top = title + GAP;
    for (row, o) in ORIENTATIONS.iter().enumerate() {
        for n in 0..options.slices {
            let t = &drawn[row * options.slices + n];
            let left = GAP + n as u32 * (cell_width + GAP) + (cell_width - t.width()) / 2;
            image::imageops::replace(&mut picture, t, left.into(), top.into());
        }
        top += px(o.down) + GAP;
    }
    legend.draw(&mut picture, top);
    picture
}

/// One slice with its overlay and letters.
fn tile(
    ras: &Ras<'_>,
    overlay: Option<&Overlay<'_>>,
    o: &Orientation,
    index: f64,
    view: &Region,
    (width, height): (u32, u32),
    (low, high): (f32, f32),
    fill: f32,
) -> RgbImage {
    // Pixel centres spread over the view, from its positive to its negative end.
    let place = |x: u32, y: u32| {
        let along = |axis: usize, at: u32, n: u32| {
            let share = (f64::from(at) + 0.5) / f64::from(n);
            view.last[axis] + 0.5 - share * (view.last[axis] - view.first[axis] + 1.0)
        };
        let mut p = [0.0; 3];
        p[o.across] = along(o.across, x, width);
        p[o.down] = along(o.down, y, height);
        p[o.through] = index;
        p
    };
    let labels: Vec<u16> = match overlay {
        Some(l) => (0..height)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .map(|(x, y)| l.at(place(x, y)))
            .collect(),
        None => Vec::new(),
    };
    let label = |x: u32, y: u32| labels[y as usize * width as usize + x as usize];
    let mut out = RgbImage::from_fn(width, height, |x, y| {
        let v = ((ras.between(place(x, y), o) - low) / (high - low)).clamp(0.0, 1.0) * 255.0;
        let Some(overlay) = overlay else { return Rgb([v as u8; 3]) };
        let own = label(x, y);
        let (rgb, opacity) = overlay.look[usize::from(own)];
        let edge = (x > 0 && label(x - 1, y) != own)
            || (y > 0 && label(x, y - 1) != own)
            || (x + 1 < width && label(x + 1, y) != own)
            || (y + 1 < height && label(x, y + 1) != own);
        let alpha = opacity * if edge { 1.0 } else { fill };
        Rgb(rgb.map(|c| (v * (1.0 - alpha) + f32::from(c) * alpha).round() as u8))
    });
    let (w, h) = (i64::from(width), i64::from(height));
    let [left, right, up, down] = o.letters.map(|c| c.to_string());
    font::draw_outlined(&mut out, 3, h / 2 - 7, &left, 2, LETTER);
    font::draw_outlined(&mut out, w - 13, h / 2 - 7, &right, 2, LETTER);
    font::draw_outlined(&mut out, w / 2 - 5, 3, &up, 1, LETTER);
    font::draw_outlined(&mut out, w / 2 - 5, h - 10, &down, 1, LETTER);
    let mut centre = [0, 1, 2].map(|a| (view.first[a] + view.last[a]) / 2.0);
    centre[o.through] = index;
    let at_mm = ras.grid.world_from_voxel.apply(centre)[o.through];
    let name = [["L", "R"], ["P", "A"], ["I", "S"]][o.through][usize::from(at_mm >= 0.0)];
    font::draw_outlined(&mut out, 3, h - 10, &format!("{name} {:.0}", at_mm.abs()), 1, INK);
    out
}

/// Colour swatches with names, in columns.
struct Legend {
    rows: Vec<([u8; 3], String)>,
    columns: u32,
    column_px: u32,
}

impl Legend {
    fn new(labels: Option<&LabelMap>, sizes: &[(u16, u64)], most: usize, width: u32) -> Self {
        let mut sizes = sizes.to_vec();
        sizes.sort_by_key(|&(_, n)| std::cmp::Reverse(n));
        sizes.truncate(most);
        sizes.sort_by_key(|&(id, _)| id);
        let row = |map: &LabelMap, id: u16| {
            let name: String = format!("{id} {}", map.table.name(id)).chars().take(34).collect();
            (map.table.rgb(id), name)
        };
        let rows: Vec<_> = labels.map_or(Vec::new(), |m| sizes.iter().map(|&(id, _)| row(m, id)).collect());
        let widest = rows.iter().map(|(_, name)| font::width(name, 1)).max().unwrap_or(0);
        let column_px = (widest + 24).min(width);
        Self { rows, columns: (width / column_px.max(1)).max(1), column_px }
    }

    fn lines(&self) -> u32 {
        (self.rows.len() as u32).div_ceil(self.columns)
    }

    fn height(&self) -> u32 {
        if self.rows.is_empty() { 0 } else { self.lines() * 11 + 6 }
    }

    fn draw(&self, picture: &mut RgbImage, top: u32) {
        for (n, (rgb, name)) in self.rows.iter().enumerate() {
            let (column, line) = (n as u32 / self.lines(), n as u32 % self.lines());
            let (x, y) = (4 + column * self.column_px, top + 3 + line * 11);
            for (dx, dy) in (0..8).flat_map(|dx| (0..8).map(move |dy| (dx, dy))) {
                if let Some(pixel) = picture.get_pixel_mut_checked(x + dx, y + dy) {
                    *pixel = Rgb(*rgb);
                }
            }
            font::draw(picture, i64::from(x) + 12, i64::from(y), name, 1, INK);
        }
    }
}

/// Draws the montage and writes it as PNG, atomically.
///
/// # Errors
/// [`formats::Error::Io`].
pub fn write_png(
    volume: &Volume,
    labels: Option<&LabelMap>,
    options: &Options,
    path: &Path,
) -> formats::Result<()> {
    formats::atomic::write_bytes(path, &encode(&montage(volume, labels, options))?)
}

/// A picture as PNG.
fn encode(picture: &RgbImage) -> formats::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    picture
        .write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png)
        .map_err(|e| formats::Error::Argument(format!("cannot encode the quick-look: {e}")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::{AxisOrder, LabelEntry, LabelTable, Meta, Voxels};

    /// 20×24×12 voxels of 1×1×2 mm: a bright box in the right, anterior, superior eighth, labelled.
    fn head() -> (Volume, LabelMap) {
        let grid = Grid {
            size_ijk: [20, 24, 12],
            world_from_voxel: Affine::scale_shift([1.0, 1.0, 2.0], [-9.5, -11.5, -11.0]),
        };
        let inside = |k: usize, j: usize, i: usize| k >= 7 && j >= 14 && i >= 12;
        let voxels = ndarray::Array3::from_shape_fn(grid.shape_kji(), |(k, j, i)| {
            if inside(k, j, i) { 200u8 } else { 50 + ((i * 7 + j * 3 + k) % 20) as u8 }
        });
        let labels = ndarray::Array3::from_shape_fn(grid.shape_kji(), |(k, j, i)| u16::from(inside(k, j, i)));
        let table = LabelTable { entries: vec![LabelEntry::new(1, "Right lesion", [255, 0, 0])] };
        let map = LabelMap { labels: labels.into_shared(), grid, table, meta: Meta::default() };
        (Volume::new(Voxels::U8(voxels.into_shared()), grid).unwrap(), map)
    }

    #[test]
    fn right_is_on_the_left_anterior_up_and_depth_has_its_true_aspect() {
        let (volume, labels) = head();
        let options = Options { slices: 1, tile_px: 96, fill: 1.0, legend: 0, title: String::new() };
        let picture = montage(&volume, Some(&labels), &options);
        // 20 × 24 × 24 mm at 4 px/mm: axial 80 × 96, coronal 80 × 96, sagittal 96 × 96.
        assert_eq!(picture.dimensions(), (96 + 2 * GAP, 3 * (96 + GAP) + GAP));
        let red = |x: u32, y: u32| picture.get_pixel(x, y).0 == [255, 0, 0];
        let axial = GAP + 8; // narrower than the column, so centred
        assert!(red(axial + 25, GAP + 25) && !red(axial + 60, GAP + 25) && !red(axial + 25, GAP + 70));
        let coronal = 2 * GAP + 96;
        assert!(
            red(axial + 25, coronal + 25) && !red(axial + 60, coronal + 25) && !red(axial + 25, coronal + 80)
        );
        let sagittal = 3 * GAP + 2 * 96;
        assert!(
            red(GAP + 25, sagittal + 25) && !red(GAP + 70, sagittal + 25) && !red(GAP + 25, sagittal + 80)
        );
    }

    #[test]
    fn the_picture_does_not_depend_on_the_storage_order() {
        let (volume, labels) = head();
        let options = Options { slices: 2, tile_px: 60, ..Options::default() };
        let expected = montage(&volume, Some(&labels), &options);
        for source in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            for f in 0..8 {
                let order = AxisOrder { source, reversed: [f & 1 == 1, f & 2 == 2, f & 4 == 4] };
                let map = LabelMap {
                    labels: formats::volume::reorder(&labels.labels, order),
                    grid: labels.grid.reordered(order),
                    ..labels.clone()
                };
                assert!(montage(&volume.reordered(order), Some(&map), &options) == expected, "{order:?}");
                assert!(montage(&volume.reordered(order), Some(&labels), &options) == expected);
            }
        }
    }

    #[test]
    fn odd_input_gives_a_picture() {
        let empty = ndarray::Array3::from_elem((1, 5, 1), f32::NAN).into_shared();
        let volume = Volume::new(Voxels::F32(empty), Grid::unit([1, 5, 1])).unwrap();
        montage(&volume, None, &Options::default());
        let (volume, mut labels) = head();
        labels.labels = ndarray::Array3::zeros(labels.grid.shape_kji()).into_shared();
        montage(&volume, Some(&labels), &Options { title: "Ä 3/4 (x)".into(), ..Options::default() });
        let rgb = ndarray::Array3::from_elem((4, 4, 4), [9u8, 8, 7]).into_shared();
        montage(&Volume::new(Voxels::Rgb8(rgb), Grid::unit([4; 3])).unwrap(), None, &Options::default());
    }
}
