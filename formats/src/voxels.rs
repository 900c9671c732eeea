//! Typed voxel arrays in standard layout, axes `[k, j, i]`.

use ndarray::{ArcArray, Array3, Ix3};
use rayon::prelude::*;

/// A shared 3-D array `[k, j, i]` in standard layout. Clones are cheap; writing copies only when shared.
pub type Shared<T> = ArcArray<T, Ix3>;

/// Voxels as stored in the file, before scaling.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say the element types")]
pub enum Voxels {
    U8(Shared<u8>),
    I8(Shared<i8>),
    U16(Shared<u16>),
    I16(Shared<i16>),
    U32(Shared<u32>),
    I32(Shared<i32>),
    U64(Shared<u64>),
    I64(Shared<i64>),
    F32(Shared<f32>),
    F64(Shared<f64>),
    /// Red, green, blue, 0..=255.
    Rgb8(Shared<[u8; 3]>),
    /// Red, green, blue, alpha, 0..=255, alpha not premultiplied.
    Rgba8(Shared<[u8; 4]>),
    /// Red, green, blue, 0..=65535.
    Rgb16(Shared<[u16; 3]>),
    /// Red, green, blue, alpha, 0..=65535, alpha not premultiplied.
    Rgba16(Shared<[u16; 4]>),
    /// Real and imaginary part.
    Complex32(Shared<[f32; 2]>),
    /// Real and imaginary part.
    Complex64(Shared<[f64; 2]>),
}

/// Linear value scaling: `value = slope · stored + inter`.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Scaling {
    /// Factor; finite and not 0.
    pub slope: f64,
    /// Offset; finite.
    pub inter: f64,
}

impl Scaling {
    /// Stored values are the values.
    pub const NONE: Self = Self { slope: 1.0, inter: 0.0 };

    /// Whether stored values are the values.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// Which scalar a complex voxel is shown and measured as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ComplexPart {
    /// Absolute value.
    #[default]
    Magnitude,
    /// Argument in radians, −π..=π.
    Phase,
}

/// Runs `$body` with `$a` bound to the array of a scalar variant; `$other` for colour and complex ones.
#[macro_export]
macro_rules! for_scalar {
    ($voxels:expr, $a:ident => $body:expr, $other:pat => $fallback:expr) => {
        match $voxels {
            $crate::Voxels::U8($a) => $body,
            $crate::Voxels::I8($a) => $body,
            $crate::Voxels::U16($a) => $body,
            $crate::Voxels::I16($a) => $body,
            $crate::Voxels::U32($a) => $body,
            $crate::Voxels::I32($a) => $body,
            $crate::Voxels::U64($a) => $body,
            $crate::Voxels::I64($a) => $body,
            $crate::Voxels::F32($a) => $body,
            $crate::Voxels::F64($a) => $body,
            $other => $fallback,
        }
    };
}

/// Runs `$body` with `$a` bound to the array of any variant.
#[macro_export]
macro_rules! for_any {
    ($voxels:expr, $a:ident => $body:expr) => {
        match $voxels {
            $crate::Voxels::U8($a) => $body,
            $crate::Voxels::I8($a) => $body,
            $crate::Voxels::U16($a) => $body,
            $crate::Voxels::I16($a) => $body,
            $crate::Voxels::U32($a) => $body,
            $crate::Voxels::I32($a) => $body,
            $crate::Voxels::U64($a) => $body,
            $crate::Voxels::I64($a) => $body,
            $crate::Voxels::F32($a) => $body,
            $crate::Voxels::F64($a) => $body,
            $crate::Voxels::Rgb8($a) => $body,
            $crate::Voxels::Rgba8($a) => $body,
            $crate::Voxels::Rgb16($a) => $body,
            $crate::Voxels::Rgba16($a) => $body,
            $crate::Voxels::Complex32($a) => $body,
            $crate::Voxels::Complex64($a) => $body,
        }
    };
}

/// A scalar that files store.
pub trait Scalar: Copy + Send + Sync + PartialOrd + 'static {
    /// The value in double precision (64-bit integers beyond 2^53 are rounded).
    fn to_f64(self) -> f64;
    /// The value in single precision.
    fn to_f32(self) -> f32;
}

macro_rules! scalar {
    ($($t:ty),*) => {$(
        impl Scalar for $t {
            fn to_f64(self) -> f64 { self as f64 }
            fn to_f32(self) -> f32 { self as f32 }
        }
    )*};
}
scalar!(u8, i8, u16, i16, u32, i32, u64, i64, f32, f64);

/// Elements per parallel piece: 1 MiB of f32, large enough to hide the scheduling.
const PIECE: usize = 1 << 18;

fn map_parallel<T: Copy + Sync, U: Copy + Send + Default>(
    a: &Shared<T>,
    f: impl Fn(T) -> U + Sync,
) -> Array3<U> {
    let source = a.as_slice().expect("voxels are in standard layout");
    let mut out = Vec::with_capacity(source.len());
    // Collecting through an indexed parallel iterator writes each element once, with no zeroing pass.
    source.par_iter().with_min_len(PIECE).map(|&v| f(v)).collect_into_vec(&mut out);
    Array3::from_shape_vec(a.raw_dim(), out).expect("same number of elements")
}

impl Voxels {
    /// Array shape `[k, j, i]`.
    #[must_use]
    pub fn shape_kji(&self) -> [usize; 3] {
        for_any!(self, a => { let (k, j, i) = a.dim(); [k, j, i] })
    }

    /// Name of the stored type, e.g. `"int16"`, `"rgb24"`.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::U8(_) => "uint8",
            Self::I8(_) => "int8",
            Self::U16(_) => "uint16",
            Self::I16(_) => "int16",
            Self::U32(_) => "uint32",
            Self::I32(_) => "int32",
            Self::U64(_) => "uint64",
            Self::I64(_) => "int64",
            Self::F32(_) => "float32",
            Self::F64(_) => "float64",
            Self::Rgb8(_) => "rgb24",
            Self::Rgba8(_) => "rgba32",
            Self::Rgb16(_) => "rgb48",
            Self::Rgba16(_) => "rgba64",
            Self::Complex32(_) => "complex64",
            Self::Complex64(_) => "complex128",
        }
    }

    /// Bytes held.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        for_any!(self, a => std::mem::size_of_val(a.as_slice().unwrap_or_default()))
    }

    /// Whether voxels are colours.
    #[must_use]
    pub fn is_colour(&self) -> bool {
        matches!(self, Self::Rgb8(_) | Self::Rgba8(_) | Self::Rgb16(_) | Self::Rgba16(_))
    }

    /// Whether voxels are complex numbers.
    #[must_use]
    pub fn is_complex(&self) -> bool {
        matches!(self, Self::Complex32(_) | Self::Complex64(_))
    }

    /// Whether voxels are integers of any width.
    #[must_use]
    pub fn is_integer(&self) -> bool {
        !matches!(self, Self::F32(_) | Self::F64(_)) && !self.is_colour() && !self.is_complex()
    }

    /// Scaled values as f32 `[k, j, i]`. Colours become luma (ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B,
    /// in stored units); complex voxels become `part`. Computed in f64 for 32-bit and wider types when a
    /// scaling applies, in f32 otherwise. An unscaled f32 array is shared, not copied.
    #[must_use]
    pub fn to_f32(&self, scaling: Scaling, part: ComplexPart) -> Shared<f32> {
        let luma = |r: f64, g: f64, b: f64| {
            ((0.299 * r + 0.587 * g + 0.114 * b) * scaling.slope + scaling.inter) as f32
        };
        let complex = |re: f64, im: f64| {
            let (re, im) = (re * scaling.slope + scaling.inter, im * scaling.slope);
            match part {
                ComplexPart::Magnitude => re.hypot(im) as f32,
                ComplexPart::Phase => im.atan2(re) as f32,
            }
        };
        match self {
            Self::F32(a) if scaling.is_none() => return a.clone(),
            Self::Rgb8(a) => map_parallel(a, |c| luma(c[0].into(), c[1].into(), c[2].into())),
            Self::Rgba8(a) => map_parallel(a, |c| luma(c[0].into(), c[1].into(), c[2].into())),
            Self::Rgb16(a) => map_parallel(a, |c| luma(c[0].into(), c[1].into(), c[2].into())),
            Self::Rgba16(a) => map_parallel(a, |c| luma(c[0].into(), c[1].into(), c[2].into())),
            Self::Complex32(a) => map_parallel(a, |c| complex(c[0].into(), c[1].into())),
            Self::Complex64(a) => map_parallel(a, |c| complex(c[0], c[1])),
            _ if scaling.is_none() => {
                for_scalar!(self, a => map_parallel(a, Scalar::to_f32), _ => unreachable!("matched above"))
            }
            _ => for_scalar!(self, a => map_parallel(a, |v| (v.to_f64() * scaling.slope + scaling.inter) as f32),
                             _ => unreachable!("matched above")),
        }
        .into_shared()
    }
}

/// Summary of the finite scaled values of a volume.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Statistics {
    /// Smallest finite value; 0 when there is none.
    pub min: f64,
    /// Largest finite value; 0 when there is none.
    pub max: f64,
    /// Mean of the finite values; 0 when there is none.
    pub mean: f64,
    /// Values that are NaN or infinite.
    pub non_finite: usize,
    /// All values (colour channels counted apart).
    pub count: usize,
}

impl Statistics {
    /// Combines the summaries of two sets of values.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let (n, m) = ((self.count - self.non_finite) as f64, (other.count - other.non_finite) as f64);
        let pick = |f: fn(f64, f64) -> f64, a: f64, b: f64| match (n > 0.0, m > 0.0) {
            (true, true) => f(a, b),
            (true, false) => a,
            (false, _) => b,
        };
        Self {
            min: pick(f64::min, self.min, other.min),
            max: pick(f64::max, self.max, other.max),
            mean: if n + m > 0.0 { (self.mean * n + other.mean * m) / (n + m) } else { 0.0 },
            non_finite: self.non_finite + other.non_finite,
            count: self.count + other.count,
        }
    }

    const EMPTY: Self = Self { min: 0.0, max: 0.0, mean: 0.0, non_finite: 0, count: 0 };
}

impl Voxels {
    /// Summary over all voxels of the scaled values. Colours count every channel unscaled; complex voxels
    /// count magnitudes.
    #[must_use]
    pub fn statistics(&self, scaling: Scaling) -> Statistics {
        fn over<T: Sync>(slice: &[T], values: impl Fn(&T, &mut dyn FnMut(f64)) + Sync) -> Statistics {
            slice
                .par_chunks(PIECE)
                .map(|piece| {
                    let (mut s, mut sum) = (Statistics::EMPTY, 0.0);
                    (s.min, s.max) = (f64::INFINITY, f64::NEG_INFINITY);
                    for v in piece {
                        values(v, &mut |x| {
                            s.count += 1;
                            if x.is_finite() {
                                s.min = s.min.min(x);
                                s.max = s.max.max(x);
                                sum += x;
                            } else {
                                s.non_finite += 1;
                            }
                        });
                    }
                    let n = s.count - s.non_finite;
                    if n == 0 {
                        (s.min, s.max) = (0.0, 0.0);
                    } else {
                        s.mean = sum / n as f64;
                    }
                    s
                })
                .reduce(|| Statistics::EMPTY, Statistics::merge)
        }
        let scale = |v: f64| v * scaling.slope + scaling.inter;
        match self {
            Self::Rgb8(a) => {
                over(a.as_slice().unwrap_or_default(), |c, f| c.iter().for_each(|&v| f(v.into())))
            }
            Self::Rgba8(a) => {
                over(a.as_slice().unwrap_or_default(), |c, f| c.iter().for_each(|&v| f(v.into())))
            }
            Self::Rgb16(a) => {
                over(a.as_slice().unwrap_or_default(), |c, f| c.iter().for_each(|&v| f(v.into())))
            }
            Self::Rgba16(a) => {
                over(a.as_slice().unwrap_or_default(), |c, f| c.iter().for_each(|&v| f(v.into())))
            }
            Self::Complex32(a) => over(a.as_slice().unwrap_or_default(), |c, f| {
                f(scale(f64::from(c[0])).hypot(f64::from(c[1]) * scaling.slope));
            }),
            Self::Complex64(a) => {
                over(a.as_slice().unwrap_or_default(), |c, f| f(scale(c[0]).hypot(c[1] * scaling.slope)))
            }
            _ => for_scalar!(self, a => over(a.as_slice().unwrap_or_default(), |v, f| f(scale(v.to_f64()))),
                             _ => unreachable!("matched above")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr3;

    #[test]
    fn scaling_and_statistics_skip_what_is_not_finite() {
        let v = Voxels::F32(arr3(&[[[1.0, f32::NAN, 3.0]]]).into_shared());
        let s = v.statistics(Scaling { slope: -2.0, inter: 1.0 });
        assert_eq!((s.min, s.max, s.mean, s.non_finite, s.count), (-5.0, -1.0, -3.0, 1, 3));
    }

    #[test]
    fn complex_parts() {
        let v = Voxels::Complex32(arr3(&[[[[3.0, 4.0], [-1.0, 0.0]]]]).into_shared());
        let magnitude = v.to_f32(Scaling::NONE, ComplexPart::Magnitude);
        let phase = v.to_f32(Scaling::NONE, ComplexPart::Phase);
        assert_eq!(magnitude.as_slice().unwrap(), [5.0, 1.0]);
        assert!((phase[[0, 0, 1]] - std::f32::consts::PI).abs() < 1e-6);
    }
}
