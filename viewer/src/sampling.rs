//! Values between voxels: the definition that slices, probes and shaders share.
//!
//! A voxel owns the half-open box of half a voxel around its centre; outside the outer faces there is nothing.
//! *Nearest* takes the voxel that owns the point. *Linear* weighs the eight centres around it; in the outer half voxel
//! positions are clamped to the outermost centres. Voxels without a finite value take no part in the weighing, and
//! where they hold half the weight or more there is nothing. Colours are weighed premultiplied by their opacity.
//!
//! Which voxel owns a point on a face must not depend on the order of storage, nor on rounding: ownership is decided
//! at a point moved by 1/512 of the finest voxel edge towards R, A and S.

use std::ops::Range;

use formats::voxels::Scalar;
use formats::{Affine, Grid, Shared, Volume, Voxels, for_scalar};

/// How far points are moved before their owner is looked up, in edges of the finest voxel axis.
pub(crate) const NUDGE: f64 = 1.0 / 512.0;

/// What an image shows at a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sample {
    /// A scaled value, finite.
    Value(f64),
    /// Red, green, blue, premultiplied by the opacity behind them; 0..=255.
    Colour([f32; 4]),
}

/// Points of some space (world or picture) on a grid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placement {
    /// Voxel indices from the points' space.
    pub voxel_from_point: Affine,
    /// Added to voxel indices before the owner of a point is looked up.
    pub nudge: [f64; 3],
    /// Voxels along i, j, k.
    pub size: [usize; 3],
}

impl Placement {
    /// Points given in `point` space; `None` for a grid that cannot be inverted.
    pub fn of(grid: &Grid, world_from_point: &Affine) -> Option<Self> {
        let voxel_from_world = grid.voxel_from_world()?;
        let finest = grid.spacing_mm().into_iter().fold(f64::INFINITY, f64::min);
        let m = &voxel_from_world.0;
        let nudge = [0, 1, 2].map(|r| (m[r][0] + m[r][1] + m[r][2]) * finest * NUDGE);
        Some(Self { voxel_from_point: voxel_from_world.after(world_from_point), nudge, size: grid.size_ijk })
    }

    /// The voxel that owns voxel coordinates.
    pub fn owner(&self, voxel: [f64; 3]) -> Option<[usize; 3]> {
        let mut ijk = [0; 3];
        for a in 0..3 {
            let at = (voxel[a] + self.nudge[a] + 0.5).floor();
            // NaN fails, too.
            if !(at >= 0.0 && at < self.size[a] as f64) {
                return None;
            }
            ijk[a] = at as usize;
        }
        Some(ijk)
    }

    fn offset(&self, ijk: [usize; 3]) -> usize {
        (ijk[2] * self.size[1] + ijk[1]) * self.size[0] + ijk[0]
    }

    /// The eight centres around voxel coordinates: offsets and the fractions along i, j, k.
    fn corners(&self, voxel: [f64; 3]) -> ([usize; 8], [f64; 3]) {
        let (mut near, mut far, mut fraction) = ([0; 3], [0; 3], [0.0; 3]);
        for a in 0..3 {
            let last = self.size[a] - 1;
            let at = voxel[a].clamp(0.0, last as f64);
            near[a] = at as usize;
            far[a] = (near[a] + 1).min(last);
            fraction[a] = at - near[a] as f64;
        }
        let [ni, nj] = [self.size[0], self.size[1]];
        let offsets = std::array::from_fn(|c| {
            let pick = |a: usize| if c >> a & 1 == 0 { near[a] } else { far[a] };
            (pick(2) * nj + pick(1)) * ni + pick(0)
        });
        (offsets, fraction)
    }

    /// Scaled values at `out.len()` points `start + n · step` (voxel coordinates); NaN where there is none. Must not
    /// be called for colours (leaves `out` as it is).
    pub fn values(&self, volume: &Volume, line: Line, interpolate: bool, out: &mut [f64]) {
        let (slope, inter) = (volume.scaling.slope, volume.scaling.inter);
        let magnitude = |re: f64, im: f64| (re * slope + inter).hypot(im * slope);
        match &volume.voxels {
            Voxels::Complex32(a) => {
                self.line(a, line, interpolate, |c| magnitude(c[0].into(), c[1].into()), |v| v, out);
            }
            Voxels::Complex64(a) => {
                self.line(a, line, interpolate, |c| magnitude(c[0], c[1]), |v| v, out);
            }
            v => {
                for_scalar!(v, a => self.line(a, line, interpolate, Scalar::to_f64, |v| v * slope + inter, out),
                             _ => ());
            }
        }
    }

    fn line<T: Copy>(
        &self,
        array: &Shared<T>,
        line: Line,
        interpolate: bool,
        stored: impl Fn(T) -> f64,
        scaled: impl Fn(f64) -> f64,
        out: &mut [f64],
    ) {
        let Some(all) = array.as_slice() else { return };
        let inside = self.inside(line, out.len());
        out[..inside.start].fill(f64::NAN);
        out[inside.end..].fill(f64::NAN);
        if !interpolate {
            self.owners(line, inside, |n, offset| {
                let v = stored(all[offset]);
                out[n] = if v.is_finite() { scaled(v) } else { f64::NAN };
            });
            return;
        }
        let profile = self.profile(all, line, &inside, &stored);
        for n in inside {
            let voxel = line.at(n);
            let along = profile.as_ref().map_or(f64::NAN, |p| p.at(voxel));
            let value = if along.is_finite() {
                along
            } else {
                let (offsets, f) = self.corners(voxel);
                trilinear(offsets.map(|o| stored(all[o])), f)
            };
            out[n] = scaled(value);
        }
    }

    /// The points of a line that some voxel owns: those for which [`Placement::owner`] answers.
    fn inside(&self, line: Line, len: usize) -> Range<usize> {
        let mut inside = 0..len;
        for a in 0..3 {
            let last = self.size[a] as f64;
            // Rounding keeps order: along the line each comparison changes at most once.
            let at = |n: usize| line.start[a] + n as f64 * line.step[a] + self.nudge[a] + 0.5;
            let (start, end) = if line.step[a] >= 0.0 {
                (first(len, |n| at(n) >= 0.0), first(len, |n| at(n) >= last))
            } else {
                (first(len, |n| at(n) < last), first(len, |n| at(n) < 0.0))
            };
            inside = inside.start.max(start)..inside.end.min(end);
        }
        inside.start.min(inside.end)..inside.end
    }

    /// Calls `take(n, offset)` for the owners of points that all have one.
    fn owners(&self, line: Line, inside: Range<usize>, mut take: impl FnMut(usize, usize)) {
        let start = [0, 1, 2].map(|a| line.start[a] + self.nudge[a] + 0.5);
        for n in inside {
            // Not negative, so that the cast rounds down; the rounding of the sums may differ from that of `inside`.
            let ijk =
                [0, 1, 2].map(|a| ((start[a] + n as f64 * line.step[a]) as usize).min(self.size[a] - 1));
            take(n, self.offset(ijk));
        }
    }

    /// For a line along a voxel axis: what lies on it at each whole index, weighed across the other two axes once
    /// instead of at every point. `None` for other lines, and where points are farther apart than voxels.
    fn profile<T: Copy>(
        &self,
        all: &[T],
        line: Line,
        inside: &Range<usize>,
        stored: impl Fn(T) -> f64,
    ) -> Option<Profile> {
        let len = inside.len() as f64;
        let runs = |a: usize| line.step[a].abs() * len > 1e-6;
        let axis = (0..3).find(|&a| runs(a))?;
        if inside.is_empty() || (0..3).any(|a| a != axis && runs(a)) || line.step[axis].abs() > 1.0 {
            return None;
        }
        let last = (self.size[axis] - 1) as f64;
        let ends = [inside.start, inside.end - 1].map(|n| line.at(n)[axis].clamp(0.0, last));
        let first = ends[0].min(ends[1]) as usize;
        let end = (ends[0].max(ends[1]) as usize + 2).min(self.size[axis]);
        let mut voxel = line.at(inside.start);
        let values = (first..end).map(|m| {
            voxel[axis] = m as f64;
            let (offsets, mut f) = self.corners(voxel);
            f[axis] = 0.0;
            let t = offsets.map(|o| stored(all[o]));
            // The far corners along the axis carry no weight but may have no value. Where another has none, the
            // points around it are weighed one by one.
            weighed(std::array::from_fn(|c| t[c & !(1 << axis)]), f)
        });
        Some(Profile { axis, first, last, values: values.collect() })
    }

    /// Colours at points, as [`Placement::values`]: premultiplied, all 0 where there is none.
    pub fn colours(&self, volume: &Volume, line: Line, interpolate: bool, out: &mut [[f32; 4]]) {
        let premultiplied = |c: [f32; 4]| {
            let o = c[3] / 255.0;
            [c[0] * o, c[1] * o, c[2] * o, c[3]]
        };
        let byte = |v: u16| f32::from(v) / 257.0;
        match &volume.voxels {
            Voxels::Rgb8(a) => {
                self.colour_line(
                    a,
                    line,
                    interpolate,
                    |c| [c[0].into(), c[1].into(), c[2].into(), 255.0],
                    out,
                );
            }
            Voxels::Rgba8(a) => {
                self.colour_line(a, line, interpolate, |c| premultiplied(c.map(f32::from)), out);
            }
            Voxels::Rgb16(a) => {
                self.colour_line(a, line, interpolate, |c| [byte(c[0]), byte(c[1]), byte(c[2]), 255.0], out);
            }
            Voxels::Rgba16(a) => {
                self.colour_line(a, line, interpolate, |c| premultiplied(c.map(byte)), out);
            }
            _ => {}
        }
    }

    fn colour_line<T: Copy>(
        &self,
        array: &Shared<T>,
        line: Line,
        interpolate: bool,
        rgba: impl Fn(T) -> [f32; 4],
        out: &mut [[f32; 4]],
    ) {
        let Some(all) = array.as_slice() else { return };
        let inside = self.inside(line, out.len());
        out[..inside.start].fill([0.0; 4]);
        out[inside.end..].fill([0.0; 4]);
        if !interpolate {
            self.owners(line, inside, |n, offset| out[n] = rgba(all[offset]));
            return;
        }
        for n in inside {
            let (offsets, f) = self.corners(line.at(n));
            let mut sum = [0.0; 4];
            for (c, &o) in offsets.iter().enumerate() {
                let (w, tap) = (weight(c, f) as f32, rgba(all[o]));
                (0..4).for_each(|a| sum[a] += w * tap[a]);
            }
            out[n] = sum;
        }
    }

    /// Label numbers at points, as [`Placement::values`]: 0 outside.
    pub fn labels(&self, labels: &Shared<u16>, line: Line, out: &mut [u16]) {
        let Some(all) = labels.as_slice() else { return };
        let inside = self.inside(line, out.len());
        out[..inside.start].fill(0);
        out[inside.end..].fill(0);
        self.owners(line, inside, |n, offset| out[n] = all[offset]);
    }
}

/// The values of a volume along one of its axes.
struct Profile {
    axis: usize,
    /// The index of the first value, and the last index of the volume.
    first: usize,
    last: f64,
    values: Vec<f64>,
}

impl Profile {
    /// Between the two values around a point; NaN where one of them is not finite.
    fn at(&self, voxel: [f64; 3]) -> f64 {
        let at = voxel[self.axis].clamp(0.0, self.last);
        let near = at as usize;
        let values = self.values.get(near.wrapping_sub(self.first)..).unwrap_or_default();
        match *values {
            [near_value, far_value, ..] => near_value + (far_value - near_value) * (at - near as f64),
            [value] => value,
            [] => f64::NAN,
        }
    }
}

/// The first of `0..len` for which a condition holds that, once true, stays true; `len` where it never is.
fn first(len: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = usize::midpoint(low, high);
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// Points on a straight line, in voxel coordinates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub start: [f64; 3],
    pub step: [f64; 3],
}

impl Line {
    /// One point.
    pub fn point(voxel: [f64; 3]) -> Self {
        Self { start: voxel, step: [0.0; 3] }
    }

    fn at(&self, n: usize) -> [f64; 3] {
        [0, 1, 2].map(|a| self.start[a] + n as f64 * self.step[a])
    }
}

/// The weight of corner `c` (bits 0, 1, 2: the far one along i, j, k).
fn weight(c: usize, f: [f64; 3]) -> f64 {
    (0..3).map(|a| if c >> a & 1 == 0 { 1.0 - f[a] } else { f[a] }).product()
}

/// The corners weighed; not finite where one of them is not.
fn weighed(t: [f64; 8], f: [f64; 3]) -> f64 {
    let mix = |a: f64, b: f64, f: f64| a + (b - a) * f;
    let front = mix(mix(t[0], t[1], f[0]), mix(t[2], t[3], f[0]), f[1]);
    let back = mix(mix(t[4], t[5], f[0]), mix(t[6], t[7], f[0]), f[1]);
    mix(front, back, f[2])
}

/// The corners that have a value, weighed; NaN where they hold no more than half the weight.
fn trilinear(t: [f64; 8], f: [f64; 3]) -> f64 {
    let value = weighed(t, f);
    if value.is_finite() {
        return value;
    }
    let (mut sum, mut total) = (0.0, 0.0);
    for (c, v) in t.into_iter().enumerate().filter(|(_, v)| v.is_finite()) {
        sum += weight(c, f) * v;
        total += weight(c, f);
    }
    if total > 0.5 { sum / total } else { f64::NAN }
}

/// What a volume shows at a world point (RAS+ mm): linear between voxels, or that of the nearest one. `None` outside
/// the volume, and where there is no finite value.
#[must_use]
pub fn sample(volume: &Volume, point_ras: [f64; 3], interpolate: bool) -> Option<Sample> {
    let placement = Placement::of(&volume.grid, &Affine::IDENTITY)?;
    let voxel = placement.voxel_from_point.apply(point_ras);
    placement.owner(voxel)?;
    if volume.voxels.is_colour() {
        let mut colour = [[0.0; 4]];
        placement.colours(volume, Line::point(voxel), interpolate, &mut colour);
        return Some(Sample::Colour(colour[0]));
    }
    let mut value = [f64::NAN];
    placement.values(volume, Line::point(voxel), interpolate, &mut value);
    value[0].is_finite().then_some(Sample::Value(value[0]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array3;

    fn line_volume(values: &[f32]) -> Volume {
        let array = Array3::from_shape_vec((1, 1, values.len()), values.to_vec()).unwrap();
        Volume::new(Voxels::F32(array.into_shared()), Grid::unit([values.len(), 1, 1])).unwrap()
    }

    fn at(volume: &Volume, x: f64, interpolate: bool) -> Option<f64> {
        match sample(volume, [x, 0.0, 0.0], interpolate) {
            Some(Sample::Value(v)) => Some(v),
            _ => None,
        }
    }

    #[test]
    fn the_outer_half_voxel_is_clamped_and_beyond_it_is_nothing() {
        let v = line_volume(&[10.0, 20.0]);
        assert_eq!(at(&v, 0.25, true), Some(12.5));
        assert_eq!(at(&v, -0.4, true), Some(10.0));
        assert_eq!(at(&v, 1.4, true), Some(20.0));
        assert_eq!((at(&v, -0.6, true), at(&v, 1.6, true), at(&v, f64::NAN, true)), (None, None, None));
        assert_eq!((at(&v, 0.4, false), at(&v, 0.6, false)), (Some(10.0), Some(20.0)));
        // Half-open: the face belongs to the voxel on its R side.
        assert_eq!(
            (at(&v, 0.5, false), at(&v, -0.5, false), at(&v, 1.5, false)),
            (Some(20.0), Some(10.0), None)
        );
    }

    #[test]
    fn voxels_without_a_value_reach_half_way() {
        for hole in [f32::NAN, f32::INFINITY] {
            let v = line_volume(&[10.0, hole, 30.0]);
            assert_eq!(at(&v, 0.0, true), Some(10.0));
            assert_eq!(at(&v, 0.4, true), Some(10.0));
            assert_eq!((at(&v, 0.6, true), at(&v, 1.0, true), at(&v, 1.0, false)), (None, None, None));
            assert_eq!(at(&v, 1.75, true), Some(30.0));
        }
    }

    #[test]
    fn transparent_colours_do_not_bleed() {
        let array = Array3::from_shape_vec((1, 1, 2), vec![[200, 100, 0, 255], [0, 255, 255, 0]]).unwrap();
        let v = Volume::new(Voxels::Rgba8(array.into_shared()), Grid::unit([2, 1, 1])).unwrap();
        assert_eq!(sample(&v, [0.5, 0.0, 0.0], true), Some(Sample::Colour([100.0, 50.0, 0.0, 127.5])));
    }

    proptest::proptest! {
        /// Rows take short cuts; the points one by one do not.
        #[test]
        fn rows_are_their_points(
            start in proptest::array::uniform3(-3.0..9.0_f64),
            step in proptest::array::uniform3(-0.7..0.7_f64),
            straight in 0..4_usize,
            interpolate: bool,
        ) {
            let step = [0, 1, 2].map(|a| if straight < 3 && a != straight { 0.0 } else { step[a] });
            let array = Array3::from_shape_fn((7, 6, 5), |(k, j, i)| {
                let n = 31 * k + 7 * j + i * i;
                if n % 11 == 0 { f32::NAN } else { n as f32 }
            });
            let volume = Volume::new(Voxels::F32(array.into_shared()), Grid::unit([5, 6, 7])).unwrap();
            let placement = Placement::of(&volume.grid, &Affine::IDENTITY).unwrap();
            let mut row = [0.0; 24];
            let line = Line { start, step };
            placement.values(&volume, line, interpolate, &mut row);
            for (n, found) in row.into_iter().enumerate() {
                let mut one = [0.0];
                placement.values(&volume, Line::point(line.at(n)), interpolate, &mut one);
                let same = (found - one[0]).abs() < 1e-9 || found.is_nan() && one[0].is_nan();
                proptest::prop_assert!(same, "{} {:?}: {} {}", n, line.at(n), found, one[0]);
            }
        }
    }
}
