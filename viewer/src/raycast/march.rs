//! The way of one ray through image and labels.

use super::blocks::Blocks;
use super::labels::LabelField;
use super::light::{Lamp, UNLIT, product};
use super::setup::{Placed, Setup, Span, inside, jitter};
use super::texel::{Field, Texel};
use super::tiles::Tiles;
use super::walk::{Gate, NEVER, Ticks, Walk};
use crate::camera::Ray;
use crate::colour_map::ColourMap;
use crate::transfer::{TABLE_LEN, TransferTable};
use crate::volume_view::Mode;

/// What remains of the light when a ray ends early.
pub(crate) const DARK: f32 = 0.008;
/// Contributions below this are not lit.
pub(crate) const FAINT: f32 = 0.01;
/// Part of the light from which a segment is lit in two halves.
pub(crate) const DENSE: f32 = 0.3;
/// Change per millimetre, as a part of the transfer function's range, at which a place counts as a full surface.
pub(crate) const EDGE: f32 = 0.035;
/// Halvings of a step when the place of a surface is refined.
pub(crate) const HALVINGS: usize = 6;

/// The image of one picture.
pub(crate) struct ImageCast<'a, T> {
    pub field: Field<'a, T>,
    pub placed: Placed,
    pub gradient: [[f32; 3]; 3],
    pub distances: Option<&'a Blocks<u8>>,
    /// Stored values of blocks, for projections.
    pub ranges: Option<&'a Blocks<[f32; 2]>>,
    /// Whether the image itself is seen (else only its slices).
    pub visible: bool,
    /// Table position from stored value.
    pub position: (f32, f32),
    pub table: &'a TransferTable,
    /// Window position (0..=1) from stored value.
    pub window: (f32, f32),
    pub colours: &'a ColourMap,
    pub interpolate: bool,
    /// Stored value of the isosurface, and whether greater stored values are inside.
    pub surface: (f32, bool),
    pub surface_rgb: [f32; 3],
}

/// The segmentation of one picture.
#[derive(Clone, Copy)]
pub(crate) struct LabelCast<'a> {
    pub field: LabelField<'a>,
    pub placed: Placed,
    pub gradient: [[f32; 3]; 3],
    pub distances: Option<&'a Blocks<u8>>,
    /// Over slices.
    pub slice_opacity: f32,
}

/// What one ray brought back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// Premultiplied colour.
    pub rgb: [f32; 3],
    /// Part of the background that shines through.
    pub left: f32,
    /// Millimetres to the first thing that counts as hit, and its label (0: the image).
    pub hit: Option<(f64, u16)>,
}

impl Seen {
    pub const NOTHING: Self = Self { rgb: [0.0; 3], left: 1.0, hit: None };

    /// Puts a layer behind what is there.
    #[inline(always)]
    fn add(&mut self, alpha: f32, rgb: [f32; 3], lit: f32, shine: f32) {
        let w = self.left * alpha;
        for a in 0..3 {
            self.rgb[a] += w * (rgb[a] * lit + shine).min(1.0);
        }
        self.left -= w;
    }
}

fn turned(m: &[[f32; 3]; 3], g: [f32; 3]) -> [f32; 3] {
    m.map(|row| product(row, g))
}

/// `2^-x` for `x >= 0`, to 4e-6 absolute: an exact power times a polynomial of the fraction.
#[inline(always)]
fn exp2_negative(x: f32) -> f32 {
    let x = x.min(100.0);
    let whole = (x as i32) as f32;
    // 2^-x = 2^-(whole + 1) · 2^(1 - fraction)
    let f = 1.0 - (x - whole);
    let p = 1.0
        + f * (std::f32::consts::LN_2
            + f * (0.240_226_5 + f * (0.055_504_1 + f * (0.009_618_1 + f * 0.001_504_1))));
    f32::from_bits((126 - whole as i32) as u32 * (1 << 23)) * p
}

/// What the parts of one ray share.
struct Shared {
    ticks: Ticks,
    /// First and last sample that can see anything, one to spare.
    part: (i32, i32),
    /// Between samples, in millimetres times log2 e: extinction to a power of two.
    step: f32,
    /// Between the lamp and the viewer.
    half_way: [f32; 3],
}

/// A whole ray.
pub(crate) const EVERYWHERE: [f64; 2] = [0.0, f64::INFINITY];

/// Everything that rays of one picture share.
pub(crate) struct Caster<'a, T> {
    pub setup: &'a Setup,
    pub mode: Mode,
    pub lit: bool,
    pub lamp: &'a Lamp,
    pub image: Option<ImageCast<'a, T>>,
    pub labels: Option<LabelCast<'a>>,
}

impl<T: Texel> Caster<'_, T> {
    /// Where the rays of each tile can see anything; `None` when that cannot be told before.
    pub fn tiles(&self) -> Option<Tiles> {
        let mut grids = Vec::new();
        if let Some(image) = self.image.as_ref().filter(|i| i.visible) {
            grids.push((image.placed, image.distances?));
        }
        if let Some(labels) = &self.labels {
            grids.push((labels.placed, labels.distances?));
        }
        Tiles::new(self.setup, &grids)
    }

    /// The way of the ray through a pixel of the picture drawn; nothing can be seen outside a part of it.
    pub fn pixel(&self, x: usize, y: usize, part: [f64; 2]) -> Seen {
        let offset = if self.setup.jitter { jitter(x, y) } else { 0.5 };
        self.ray(&self.setup.ray(x, y), offset, part)
    }

    /// The way of one ray, samples moved by `offset` steps; nothing can be seen outside a part of it.
    pub fn ray(&self, ray: &Ray, offset: f64, part: [f64; 2]) -> Seen {
        let setup = self.setup;
        let mut span = setup.open_span(ray);
        let slice = self.image.as_ref().and_then(|image| self.slice(ray, image));
        if let Some((t, _)) = slice {
            span.to = span.to.min(t);
        }
        let mut seen = Seen::NOTHING;
        let into_image = self.image.as_ref().filter(|i| i.visible).and_then(|image| {
            let d = image.placed.direction(ray.direction_ras);
            let o = image.placed.voxel_from_world.apply(ray.origin_ras);
            Some((image, d, inside(&image.placed, o, d, span)?))
        });
        let into_labels = self.labels.and_then(|labels| {
            let d = labels.placed.direction(ray.direction_ras);
            let o = labels.placed.voxel_from_world.apply(ray.origin_ras);
            Some((labels, d, inside(&labels.placed, o, d, span)?))
        });
        let from = [into_image.as_ref().map(|i| i.2.from), into_labels.as_ref().map(|l| l.2.from)]
            .into_iter()
            .flatten()
            .fold(f64::INFINITY, f64::min);
        if from.is_finite() {
            let ticks = Ticks::new(from, setup.step_mm, offset);
            let image = into_image.map(|(image, d, s)| {
                (image, Walk::new(&image.placed, ray, d, ticks, &s, image.distances), s)
            });
            let labels = into_labels.map(|(labels, d, s)| {
                (labels, Walk::new(&labels.placed, ray, d, ticks, &s, labels.distances), s)
            });
            let shared = Shared {
                ticks,
                part: ticks.around(part),
                step: (ticks.step * std::f64::consts::LOG2_E) as f32,
                half_way: self.lamp.half_way(ray.direction_ras.map(|v| v as f32)),
            };
            match self.mode {
                Mode::Composite | Mode::Isosurface { .. } => {
                    let is_surface = self.mode != Mode::Composite;
                    self.march(image.as_ref(), labels.as_ref(), &shared, is_surface, &mut seen);
                }
                mode => {
                    self.march(None, labels.as_ref(), &shared, false, &mut seen);
                    if let Some((image, walk, _)) = &image {
                        self.project(image, walk, ticks, mode, &mut seen);
                    }
                }
            }
        }
        if let Some((t, rgb)) = slice {
            if seen.hit.is_none() {
                seen.hit = Some((t, 0));
            }
            seen.add(1.0, rgb, 1.0, 0.0);
        }
        seen
    }

    /// The nearest slice on a ray: millimetres and colour.
    fn slice(&self, ray: &Ray, image: &ImageCast<'_, T>) -> Option<(f64, [f32; 3])> {
        let mut nearest: Option<(f64, [f32; 3])> = None;
        for &(axis, position) in &self.setup.slices {
            let slope = ray.direction_ras[axis];
            if slope.abs() < 1e-9 {
                continue;
            }
            let t = (position - ray.origin_ras[axis]) / slope;
            if t <= 0.0 || nearest.is_some_and(|(n, _)| n <= t) {
                continue;
            }
            let world = ray.at(t);
            let p = image.placed.voxel_from_world.apply(world);
            if (0..3).any(|a| p[a] < -0.5 || p[a] > image.placed.size[a] as f64 - 0.5) {
                continue;
            }
            let mut rgb = image.slice_rgb(p.map(|v| v as f32));
            if let Some(labels) = self.labels {
                let q = labels.placed.voxel_from_world.apply(world);
                if (0..3).all(|a| q[a] >= -0.5 && q[a] <= labels.placed.size[a] as f64 - 0.5) {
                    let id = labels.field.data[labels.field.layout.nearest(q.map(|v| v as f32))];
                    if let Some(look) = labels.field.looks.get(usize::from(id)) {
                        let alpha = look.opacity * labels.slice_opacity;
                        rgb = [0, 1, 2].map(|a| rgb[a] + (look.rgb[a] - rgb[a]) * alpha);
                    }
                }
            }
            nearest = Some((t, rgb));
        }
        nearest
    }

    /// Front to back through image and labels, or to the isosurface and labels.
    fn march(
        &self,
        image: Option<&(&ImageCast<'_, T>, Walk<'_>, Span)>,
        labels: Option<&(LabelCast<'_>, Walk<'_>, Span)>,
        shared: &Shared,
        is_surface: bool,
        seen: &mut Seen,
    ) {
        let image_walk = image.map_or(Walk::NOWHERE, |i| i.1);
        let label_walk = labels.map_or(Walk::NOWHERE, |l| l.1);
        let end = image_walk.last.max(label_walk.last).min(shared.part.1);
        let mut m = shared.part.0;
        // Value (composite: table position) at the sample before, and whether something could be seen there; the same for labels.
        let mut front: Option<f32> = None;
        let (mut image_tail, mut label_tail) = (false, false);
        let mut label_front: Option<u16> = None;
        let (mut image_gate, mut label_gate) = (Gate::default(), Gate::default());
        let mut light_front: Option<(f32, f32)> = None;
        while m <= end {
            let to_image = image_walk.next(m, &mut image_gate);
            let to_labels = label_walk.next(m, &mut label_gate);
            if to_image > m && to_labels > m && !image_tail && !label_tail {
                m = to_image.min(to_labels);
                if m == NEVER {
                    break;
                }
                (front, label_front, light_front) = (None, None, None);
                continue;
            }
            if let Some((labels, walk, span)) = labels {
                if to_labels == m || label_tail && m <= walk.last {
                    let before = label_front.unwrap_or_else(|| {
                        if m > walk.first { labels.field.at(walk.at((m - 1) as f32)) } else { 0 }
                    });
                    let here = labels.field.at(walk.at(m as f32));
                    if here != before && here != 0 {
                        let cap = (m == walk.first).then_some(span.entry);
                        self.label_surface(labels, walk, m, here, cap, shared, seen);
                        if seen.left < DARK {
                            return;
                        }
                    }
                    label_front = Some(here);
                    label_tail = to_labels == m;
                } else {
                    (label_front, label_tail) = (None, false);
                }
            }
            if let Some((image, walk, span)) = image {
                if to_image == m || image_tail && m <= walk.last {
                    let raw = |m: i32| image.field.value(walk.at(m as f32));
                    if is_surface {
                        let here = raw(m);
                        let before = front.or_else(|| (m > walk.first).then(|| raw(m - 1)));
                        if self.surface(image, walk, m, before, here, span, shared, seen) {
                            return;
                        }
                        front = Some(here);
                    } else {
                        let here = image.tabled(raw(m));
                        let before = front
                            .unwrap_or_else(|| if m > walk.first { image.tabled(raw(m - 1)) } else { here });
                        self.segment(image, walk, m, before, here, shared, &mut light_front, seen);
                        if seen.left < DARK {
                            return;
                        }
                        front = Some(here);
                    }
                    image_tail = to_image == m;
                } else {
                    (front, light_front, image_tail) = (None, None, false);
                }
            }
            m += 1;
        }
    }

    /// Emission and absorption of the image between samples `m - 1` and `m` with table positions `before` and `here`.
    #[inline(always)]
    fn segment(
        &self,
        image: &ImageCast<'_, T>,
        walk: &Walk<'_>,
        m: i32,
        before: f32,
        here: f32,
        shared: &Shared,
        light_front: &mut Option<(f32, f32)>,
        seen: &mut Seen,
    ) {
        if before.max(here) <= image.table.clear_until {
            *light_front = None;
            return;
        }
        let (rgb, extinction) = image.density(before, here);
        if extinction <= 0.0 {
            *light_front = None;
            return;
        }
        let alpha = 1.0 - exp2_negative(extinction * shared.step);
        let share = seen.left * alpha;
        if share <= FAINT {
            *light_front = None;
            let lit = if self.lit { self.lamp.ambient + self.lamp.diffuse * UNLIT } else { 1.0 };
            seen.add(alpha, rgb, lit, 0.0);
        } else if !self.lit {
            let rgb = if T::COLOUR { image.field.rgb(walk.at(m as f32)) } else { rgb };
            seen.add(alpha, rgb, 1.0, 0.0);
        } else {
            self.lit_segment(image, walk, m, before, here, share, shared, light_front, seen);
        }
        if seen.left < 0.5 && seen.hit.is_none() {
            seen.hit = Some((shared.ticks.at(m as f32), 0));
        }
    }

    /// A segment that shows: light changes quickly across a thin skin, so the more it hides the finer it is taken.
    fn lit_segment(
        &self,
        image: &ImageCast<'_, T>,
        walk: &Walk<'_>,
        m: i32,
        before: f32,
        here: f32,
        share: f32,
        shared: &Shared,
        light_front: &mut Option<(f32, f32)>,
        seen: &mut Seen,
    ) {
        let parts = if share > DENSE { 2 } else { 1 };
        let part = 1.0 / parts as f32;
        let start = m as f32 - 1.0;
        let mut near =
            light_front.unwrap_or_else(|| self.light(image, walk.at(start.max(walk.first as f32)), shared));
        let mut from = before;
        for n in 1..=parts {
            let p = walk.at(start + n as f32 * part);
            let to = if n == parts { here } else { image.tabled(image.field.value(p)) };
            let far = self.light(image, p, shared);
            let (rgb, extinction) = image.density(from, to);
            let alpha = 1.0 - exp2_negative(extinction * (shared.step * part));
            let rgb = if T::COLOUR { image.field.rgb(p) } else { rgb };
            seen.add(alpha, rgb, f32::midpoint(near.0, far.0), f32::midpoint(near.1, far.1));
            if seen.left < DARK {
                break;
            }
            (near, from) = (far, to);
        }
        *light_front = Some(near);
    }

    /// Light at a place of the image: the more its value changes there, the more of a surface it is.
    #[inline]
    fn light(&self, image: &ImageCast<'_, T>, p: [f32; 3], shared: &Shared) -> (f32, f32) {
        const FULL: f32 = (TABLE_LEN - 1) as f32 * EDGE;
        let g = turned(&image.gradient, image.field.gradient(p).map(|v| v * image.position.0));
        let steepness = product(g, g) * (1.0 / (FULL * FULL));
        // Not a number (voxels that hold none) is not a surface.
        let strength = if steepness > 0.0 { (steepness / (steepness + 0.25)).min(1.0) } else { 0.0 };
        self.lamp.on(g, shared.half_way, strength)
    }

    /// Draws the isosurface when it lies between two samples; true when it does.
    fn surface(
        &self,
        image: &ImageCast<'_, T>,
        walk: &Walk<'_>,
        m: i32,
        before: Option<f32>,
        here: f32,
        span: &Span,
        shared: &Shared,
        seen: &mut Seen,
    ) -> bool {
        let (level, greater) = image.surface;
        let is_inside = |v: f32| if greater { v >= level } else { v <= level };
        if !is_inside(here) {
            return false;
        }
        let (mut at, mut normal) = (m as f32, span.entry.map(|v| v as f32));
        if before.is_some_and(|v| !is_inside(v)) {
            let (mut low, mut high) = (0.0f32, 1.0f32);
            for _ in 0..HALVINGS {
                let middle = f32::midpoint(low, high);
                if is_inside(image.field.value(walk.at(m as f32 - 1.0 + middle))) {
                    high = middle;
                } else {
                    low = middle;
                }
            }
            at = m as f32 - 1.0 + high;
            normal = turned(&image.gradient, image.field.gradient(walk.at(at)).map(|v| v * image.position.0));
        }
        let (lit, shine) = self.lamp.on(normal, shared.half_way, 1.0);
        let rgb = if T::COLOUR { image.field.rgb(walk.at(at)) } else { image.surface_rgb };
        if seen.hit.is_none() {
            seen.hit = Some((shared.ticks.at(at), 0));
        }
        if self.lit {
            seen.add(1.0, rgb, lit, shine);
        } else {
            seen.add(1.0, rgb, 1.0, 0.0);
        }
        true
    }

    /// Draws the surface by which a ray entered label `id` between samples `m - 1` and `m`, or (`cap`) the cut face
    /// that it starts in.
    fn label_surface(
        &self,
        labels: &LabelCast<'_>,
        walk: &Walk<'_>,
        m: i32,
        id: u16,
        cap: Option<[f64; 3]>,
        shared: &Shared,
        seen: &mut Seen,
    ) {
        let Some(look) = labels.field.looks.get(usize::from(id)) else { return };
        let (mut low, mut high) = (0.0f32, 1.0f32);
        let normal = if let Some(normal) = cap {
            normal.map(|v| v as f32)
        } else {
            for _ in 0..HALVINGS {
                let middle = f32::midpoint(low, high);
                if labels.field.at(walk.at(m as f32 - 1.0 + middle)) == id {
                    high = middle;
                } else {
                    low = middle;
                }
            }
            let p = walk.at(m as f32 - 1.0 + high);
            let g = if labels.field.smooth {
                labels.field.gradient(p, id)
            } else {
                // The face between the voxels on either side of the crossing.
                let q = walk.at(m as f32 - 1.0 + low);
                [0, 1, 2].map(|a| (p[a] + 0.5).floor() - (q[a] + 0.5).floor())
            };
            turned(&labels.gradient, g)
        };
        let (lit, shine) = self.lamp.on(normal, shared.half_way, 1.0);
        if seen.left * look.opacity > 0.05 && seen.hit.is_none() {
            seen.hit = Some((shared.ticks.at(m as f32 - 1.0 + high), id));
        }
        seen.add(look.opacity, look.rgb, lit, shine);
    }

    /// Greatest, least or mean value, behind what was seen so far.
    fn project(&self, image: &ImageCast<'_, T>, walk: &Walk<'_>, ticks: Ticks, mode: Mode, seen: &mut Seen) {
        if walk.first > walk.last {
            return;
        }
        // In window positions, so that a negative slope needs no special case.
        let (factor, offset) = image.window;
        let is_min = mode == Mode::MinIp;
        let (mut best, mut best_at, mut sum, mut count) = (f32::NAN, walk.first, 0.0f32, 0u32);
        let mut m = walk.first;
        while m <= walk.last {
            if let Some(blocks) = image.ranges.filter(|_| mode != Mode::Average) {
                let next = walk.skip_range(m, blocks, |[low, high]| {
                    let (a, b) = (low * factor + offset, high * factor + offset);
                    let (low, high) = (a.min(b), a.max(b));
                    // Nothing here changes the picture: outside the window all is black, or white.
                    if is_min { low >= best.min(1.0) } else { high <= best.max(0.0) }
                });
                if next > m {
                    m = next;
                    continue;
                }
            }
            let v = image.field.value(walk.at(m as f32)) * factor + offset;
            if !v.is_nan() {
                sum += v;
                count += 1;
                let better = best.is_nan() || if is_min { v < best } else { v > best };
                if better {
                    (best, best_at) = (v, m);
                }
            }
            m += 1;
        }
        let position = match mode {
            Mode::Average if count > 0 => sum / count as f32,
            Mode::MinIp if best.is_nan() => 1.0,
            _ if best.is_nan() => 0.0,
            _ => best,
        }
        .clamp(0.0, 1.0);
        let rgb = image.mapped(position, walk.at(best_at as f32));
        if seen.hit.is_none() && mode != Mode::Average && !best.is_nan() {
            seen.hit = Some((ticks.at(best_at as f32), 0));
        }
        // Dark is clear in projections of bright things, so that they can stand on any background.
        let alpha = if is_min { 1.0 } else { position };
        for a in 0..3 {
            seen.rgb[a] += seen.left * rgb[a];
        }
        seen.left *= 1.0 - alpha;
    }
}

impl<T: Texel> ImageCast<'_, T> {
    /// Table position of a stored value; NaN is the lowest.
    #[inline(always)]
    fn tabled(&self, stored: f32) -> f32 {
        (stored * self.position.0 + self.position.1).max(0.0).min((TABLE_LEN - 1) as f32)
    }

    /// Colour and extinction per millimetre between two table positions.
    #[inline(always)]
    fn density(&self, a: f32, b: f32) -> ([f32; 3], f32) {
        let between = |table: &[[f32; 4]], x: f32| {
            let i = (x as usize).min(TABLE_LEN - 2);
            let f = x - i as f32;
            let (p, q) = (&table[i], &table[i + 1]);
            [0, 1, 2, 3].map(|c| p[c] + (q[c] - p[c]) * f)
        };
        if (a - b).abs() < 1.0 {
            let [r, g, b, e] = between(&self.table.density, f32::midpoint(a, b));
            return ([r, g, b], e);
        }
        let (p, q) = (between(&self.table.integral, a), between(&self.table.integral, b));
        let extinction = q[3] - p[3];
        if extinction == 0.0 {
            return ([0.0; 3], 0.0);
        }
        ([0, 1, 2].map(|c| (q[c] - p[c]) / extinction), extinction / (b - a))
    }

    /// The colour of a window position (own colours where the voxels have them).
    fn mapped(&self, position: f32, p: [f32; 3]) -> [f32; 3] {
        if T::COLOUR {
            return self.field.rgb(p);
        }
        let [r, g, b, _] = self.colours.at(position);
        [r, g, b].map(|c| f32::from(c) / 255.0)
    }

    fn slice_rgb(&self, p: [f32; 3]) -> [f32; 3] {
        if T::COLOUR {
            return self.field.rgb(p);
        }
        let v = if self.interpolate { self.field.value(p) } else { self.field.nearest(p) };
        self.mapped(v * self.window.0 + self.window.1, p)
    }
}
