//! Voxels as rays see them: typed arrays without a copy, linear interpolation, gradients.

use crate::scene::ImageLayer;
use formats::Voxels;

/// An element of a voxel array.
pub(crate) trait Texel: Copy + Send + Sync + 'static {
    /// Whether [`Texel::rgb`] has something to say.
    const COLOUR: bool = false;
    /// The stored value (luma of premultiplied colours, magnitude of complex numbers).
    fn value(self) -> f32;
    /// Own colour, 0..=1, premultiplied.
    fn rgb(self) -> [f32; 3] {
        [0.0; 3]
    }
}

macro_rules! scalar {
    ($($t:ty),*) => {$(impl Texel for $t {
        #[inline(always)]
        fn value(self) -> f32 { self as f32 }
    })*};
}
scalar!(u8, i8, u16, i16, u32, i32, u64, i64, f32, f64);

macro_rules! colour {
    ($($t:ty => $white:literal),*) => {$(impl Texel for $t {
        const COLOUR: bool = true;
        #[inline(always)]
        fn value(self) -> f32 {
            let [r, g, b] = self.rgb();
            $white * (0.299 * r + 0.587 * g + 0.114 * b)
        }
        #[inline(always)]
        fn rgb(self) -> [f32; 3] {
            // Premultiplied, as on the graphics card: what is transparent is dark, and dark is not dense.
            let opacity = self.get(3).map_or(1.0, |&a| f32::from(a) / $white);
            [self[0], self[1], self[2]].map(|c| f32::from(c) * opacity / $white)
        }
    })*};
}
colour!([u8; 3] => 255.0, [u8; 4] => 255.0, [u16; 3] => 65535.0, [u16; 4] => 65535.0);

impl Texel for [f32; 2] {
    fn value(self) -> f32 {
        self[0].hypot(self[1])
    }
}

impl Texel for [f64; 2] {
    fn value(self) -> f32 {
        self[0].hypot(self[1]) as f32
    }
}

/// Runs `$body` with `$data` bound to the elements of any kind of voxels.
macro_rules! with_texels {
    ($voxels:expr, $data:ident => $body:expr) => {
        formats::for_any!($voxels, array => { let $data = array.as_slice().unwrap_or_default(); $body })
    };
}
pub(crate) use with_texels;

/// Value from stored value: colours are taken as they are stored, of complex numbers the magnitude is scaled (an
/// offset, which would turn them, does not occur in practice and is left out).
pub(crate) fn scaling(image: &ImageLayer) -> (f64, f64) {
    let volume = image.volume();
    if volume.voxels.is_colour() {
        (1.0, 0.0)
    } else if volume.voxels.is_complex() {
        (volume.scaling.slope.abs(), 0.0)
    } else {
        (volume.scaling.slope, volume.scaling.inter)
    }
}

/// The greatest stored value of a channel of colour voxels; `None` for others.
pub(crate) fn white(voxels: &Voxels) -> Option<f64> {
    match voxels {
        Voxels::Rgb8(_) | Voxels::Rgba8(_) => Some(255.0),
        Voxels::Rgb16(_) | Voxels::Rgba16(_) => Some(65535.0),
        _ => None,
    }
}

/// How a lattice lies in memory; shared by images and labels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Voxels along i, j, k.
    pub size: [usize; 3],
    /// Elements from one voxel to the next along i, j, k.
    stride: [usize; 3],
    /// Index of the last voxel as a position.
    last: [f32; 3],
    /// The largest index with a neighbour after it (0 where there is none).
    cell: [usize; 3],
    /// Elements to the neighbour after: the stride, or 0 on axes of one voxel.
    next: [usize; 3],
}

/// 1.5 · 2²³: adding it rounds to an integer that stands in the low bits.
const ROUND: f32 = 12_582_912.0;

/// Nearest integer of a position between 0 and 2²² (ties either way).
#[inline(always)]
pub(crate) fn rounded(x: f32) -> usize {
    // `as` would saturate, and `floor` is a call on the baseline processor; this is one addition.
    ((x + ROUND).to_bits() & 0x003f_ffff) as usize
}

impl Layout {
    pub fn new(size: [usize; 3]) -> Self {
        let stride = [1, size[0], size[0] * size[1]];
        Self {
            size,
            stride,
            last: size.map(|n| (n - 1) as f32),
            cell: size.map(|n| n.saturating_sub(2)),
            next: [0, 1, 2].map(|a| if size[a] > 1 { stride[a] } else { 0 }),
        }
    }

    /// Index of the voxel before a position and the position's fraction towards the one after, per axis. Positions
    /// outside are moved to the nearest voxel centre; NaN counts as 0.
    #[inline(always)]
    fn locate(&self, p: [f32; 3]) -> ([usize; 3], [f32; 3]) {
        let one = |a: usize| {
            let x = p[a].max(0.0).min(self.last[a]);
            let i = rounded(x - 0.5).min(self.cell[a]);
            (i, x - i as f32)
        };
        let (x, y, z) = (one(0), one(1), one(2));
        ([x.0, y.0, z.0], [x.1, y.1, z.1])
    }

    #[inline(always)]
    fn offset(&self, ijk: [usize; 3]) -> usize {
        ijk[0] + ijk[1] * self.stride[1] + ijk[2] * self.stride[2]
    }

    /// Offset of the voxel nearest to a position.
    #[inline(always)]
    pub fn nearest(&self, p: [f32; 3]) -> usize {
        self.offset([0, 1, 2].map(|a| rounded(p[a].max(0.0).min(self.last[a])).min(self.size[a] - 1)))
    }

    /// Offsets of the eight voxels around a position, `i` fastest, and the fractions.
    #[inline(always)]
    pub fn corners(&self, p: [f32; 3]) -> ([usize; 8], [f32; 3]) {
        let (ijk, f) = self.locate(p);
        let o = self.offset(ijk);
        let [x, y, z] = self.next;
        ([o, o + x, o + y, o + y + x, o + z, o + z + x, o + z + y, o + z + y + x], f)
    }

    /// Offsets per axis of the four voxels around a position (edges repeated), and the fractions.
    #[inline(always)]
    pub fn four(&self, p: [f32; 3]) -> ([[usize; 4]; 3], [f32; 3]) {
        let (ijk, f) = self.locate(p);
        let axis = |a: usize| {
            let (i, last) = (ijk[a], self.size[a] - 1);
            [i.saturating_sub(1), i, (i + 1).min(last), (i + 2).min(last)].map(|n| n * self.stride[a])
        };
        ([axis(0), axis(1), axis(2)], f)
    }

    /// As [`Layout::four`], for six voxels.
    #[inline(always)]
    pub fn six(&self, p: [f32; 3]) -> ([[usize; 6]; 3], [f32; 3]) {
        let (ijk, f) = self.locate(p);
        let axis = |a: usize| {
            let (i, last) = (ijk[a], self.size[a] - 1);
            [
                i.saturating_sub(2),
                i.saturating_sub(1),
                i,
                (i + 1).min(last),
                (i + 2).min(last),
                (i + 3).min(last),
            ]
            .map(|n| n * self.stride[a])
        };
        ([axis(0), axis(1), axis(2)], f)
    }
}

/// The typed voxels of one volume.
#[derive(Clone, Copy)]
pub(crate) struct Field<'a, T> {
    pub data: &'a [T],
    pub layout: Layout,
}

#[inline(always)]
pub(crate) fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

impl<T: Texel> Field<'_, T> {
    /// The linearly interpolated stored value at a voxel position.
    #[inline(always)]
    pub fn value(&self, p: [f32; 3]) -> f32 {
        let (o, f) = self.layout.corners(p);
        let v = |n: usize| self.data[o[n]].value();
        let low = lerp(lerp(v(0), v(1), f[0]), lerp(v(2), v(3), f[0]), f[1]);
        let high = lerp(lerp(v(4), v(5), f[0]), lerp(v(6), v(7), f[0]), f[1]);
        lerp(low, high, f[2])
    }

    /// The stored value of the nearest voxel.
    pub fn nearest(&self, p: [f32; 3]) -> f32 {
        self.data[self.layout.nearest(p)].value()
    }

    /// The linearly interpolated own colour.
    pub fn rgb(&self, p: [f32; 3]) -> [f32; 3] {
        let (o, f) = self.layout.corners(p);
        let c = o.map(|n| self.data[n].rgb());
        [0, 1, 2].map(|a| {
            let low = lerp(lerp(c[0][a], c[1][a], f[0]), lerp(c[2][a], c[3][a], f[0]), f[1]);
            let high = lerp(lerp(c[4][a], c[5][a], f[0]), lerp(c[6][a], c[7][a], f[0]), f[1]);
            lerp(low, high, f[2])
        })
    }

    /// Central differences one voxel to either side of the interpolated values, in stored units per voxel along i, j,
    /// k. The 32 voxels that matter are read once.
    #[inline]
    pub fn gradient(&self, p: [f32; 3]) -> [f32; 3] {
        let (ijk, f) = self.layout.locate(p);
        let size = self.layout.size;
        if (0..3).all(|a| ijk[a] >= 1 && ijk[a] + 2 < size[a]) {
            let [_, y, z] = self.layout.stride;
            let o = self.layout.offset(ijk);
            // Four in a row and two in a row: few checks of bounds, and wide loads.
            let four = |o: usize| {
                let s = &self.data[o - 1..o + 3];
                [s[0].value(), s[1].value(), s[2].value(), s[3].value()]
            };
            let two = |o: usize| {
                let s = &self.data[o..o + 2];
                [s[0].value(), s[1].value()]
            };
            let rows = [four(o), four(o + y), four(o + z), four(o + y + z)];
            let j = [two(o - y), two(o + 2 * y), two(o + z - y), two(o + z + 2 * y)];
            let k = [two(o - z), two(o + y - z), two(o + 2 * z), two(o + y + 2 * z)];
            return differences(&rows, &j, &k, f);
        }
        let ([x, y, z], f) = self.layout.four(p);
        let v = |i: usize, j: usize, k: usize| self.data[x[i] + y[j] + z[k]].value();
        let four = |j: usize, k: usize| [v(0, j, k), v(1, j, k), v(2, j, k), v(3, j, k)];
        let two = |j: usize, k: usize| [v(1, j, k), v(2, j, k)];
        let rows = [four(1, 1), four(2, 1), four(1, 2), four(2, 2)];
        let j = [two(0, 1), two(3, 1), two(0, 2), two(3, 2)];
        let k = [two(1, 0), two(2, 0), two(1, 3), two(2, 3)];
        differences(&rows, &j, &k, f)
    }
}

/// Interpolated central differences: from rows of four along i at (j, k), (j + 1, k), (j, k + 1), (j + 1, k + 1), pairs
/// at j - 1 and j + 2 for k and k + 1, and pairs for j and j + 1 at k - 1 and k + 2.
#[inline(always)]
fn differences(rows: &[[f32; 4]; 4], j: &[[f32; 2]; 4], k: &[[f32; 2]; 4], f: [f32; 3]) -> [f32; 3] {
    let [x, y, z] = f;
    let along = |r: &[f32; 4]| lerp(r[2] - r[0], r[3] - r[1], x);
    let at = |p: &[f32; 2]| lerp(p[0], p[1], x);
    let middle = rows.map(|r| lerp(r[1], r[2], x));
    let g_i = lerp(lerp(along(&rows[0]), along(&rows[1]), y), lerp(along(&rows[2]), along(&rows[3]), y), z);
    let across = |before: f32, here: f32, next: f32, after: f32, t: f32| lerp(next - before, after - here, t);
    let g_j = lerp(
        across(at(&j[0]), middle[0], middle[1], at(&j[1]), y),
        across(at(&j[2]), middle[2], middle[3], at(&j[3]), y),
        z,
    );
    let g_k = lerp(
        across(at(&k[0]), middle[0], middle[2], at(&k[2]), z),
        across(at(&k[1]), middle[1], middle[3], at(&k[3]), z),
        y,
    );
    [0.5 * g_i, 0.5 * g_j, 0.5 * g_k]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(size: [usize; 3], f: impl Fn([f32; 3]) -> f32) -> Vec<f32> {
        let mut v = Vec::new();
        for k in 0..size[2] {
            for j in 0..size[1] {
                for i in 0..size[0] {
                    v.push(f([i as f32, j as f32, k as f32]));
                }
            }
        }
        v
    }

    #[test]
    fn linear_fields_are_met_exactly_and_edges_continued() {
        let size = [6, 5, 7];
        let data = field(size, |[x, y, z]| 2.0 * x - 3.0 * y + 0.5 * z + 1.0);
        let field = Field { data: &data, layout: Layout::new(size) };
        for p in [[0.0, 0.0, 0.0], [5.0, 4.0, 6.0], [2.5, 1.25, 3.75], [1.0, 2.0, 3.0], [4.999, 3.5, 0.001]] {
            let expected = 2.0 * p[0] - 3.0 * p[1] + 0.5 * p[2] + 1.0;
            assert!((field.value(p) - expected).abs() < 1e-4, "{p:?}");
        }
        assert_eq!(field.value([-3.0, 9.0, 2.0]), field.value([0.0, 4.0, 2.0]));
        let g = field.gradient([2.3, 2.1, 3.4]);
        assert!((g[0] - 2.0).abs() < 1e-4 && (g[1] + 3.0).abs() < 1e-4 && (g[2] - 0.5).abs() < 1e-4, "{g:?}");
    }

    #[test]
    fn the_gradient_is_the_difference_of_interpolated_values() {
        let size = [8, 8, 8];
        let data = field(size, |[x, y, z]| (x * 1.3).sin() * 10.0 + y * y * 0.7 + (z * 0.9 + x).cos() * 5.0);
        let field = Field { data: &data, layout: Layout::new(size) };
        for p in [[2.2, 3.7, 4.1], [5.5, 1.5, 2.25], [0.3, 6.6, 0.2], [6.9, 0.1, 6.5]] {
            let g = field.gradient(p);
            for a in 0..3 {
                let (mut low, mut high) = (p, p);
                low[a] -= 1.0;
                high[a] += 1.0;
                let expected = (field.value(high) - field.value(low)) / 2.0;
                // Beyond the edge the eight corners know one voxel less than the clamped position.
                if (1.0..=6.0).contains(&p[a]) {
                    assert!((g[a] - expected).abs() < 1e-3, "{p:?} {a} {} {expected}", g[a]);
                }
            }
        }
    }

    #[test]
    fn one_slice_is_a_volume_too() {
        let data = [1.0f32, 2.0, 3.0, 4.0];
        let field = Field { data: &data, layout: Layout::new([2, 2, 1]) };
        assert_eq!(field.value([0.5, 0.5, 0.3]), 2.5);
        assert_eq!(field.gradient([0.5, 0.5, 0.0])[2], 0.0);
        let one = Field { data: &data[..1], layout: Layout::new([1, 1, 1]) };
        assert_eq!(one.value([0.2, -0.4, 9.0]), 1.0);
    }
}
