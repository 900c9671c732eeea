//! Voxels as the 8 or 16 bits that DICOM images have.

use std::path::Path;

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

use super::attributes::{Put, decimal};
use super::derived::rescale;
use crate::error::{Error, Result};
use crate::for_scalar;
use crate::notice::Notice;
use crate::volume::Volume;
use crate::voxels::{Scalar, Shared, Voxels};

/// Steps that 16 bits can tell apart.
const STEPS: f64 = 65535.0;

/// Voxels ready to be written, slice by slice.
pub(super) struct Stored {
    pixels: Pixels,
    slope: f64,
    inter: f64,
    columns: usize,
    rows: usize,
}

enum Pixels {
    /// Bit patterns of 16-bit numbers, and whether they are signed.
    Words(Vec<u16>, bool),
    /// Red, green, blue.
    Colours(Vec<[u8; 3]>),
}

/// Puts voxels into 16 bits: as they are if they fit, otherwise spread over the range of values with a notice that states
/// the largest error.
///
/// # Errors
/// [`Error::Unsupported`] for complex and 16-bit colour voxels; [`Error::Argument`] for slices beyond 65535 pixels a side.
pub(super) fn store(volume: &Volume, path: &Path, notices: &mut Vec<Notice>) -> Result<Stored> {
    let [columns, rows, _] = volume.grid.size_ijk;
    if columns.max(rows) > usize::from(u16::MAX) {
        return Err(Error::Argument(format!(
            "slices of {columns}×{rows}: DICOM has at most 65535 rows and columns"
        )));
    }
    let s = volume.scaling;
    let (pixels, slope, inter) = match &volume.voxels {
        Voxels::U8(a) => (Pixels::Words(words(a, u16::from), false), s.slope, s.inter),
        Voxels::I8(a) => (Pixels::Words(words(a, |v| i16::from(v) as u16), true), s.slope, s.inter),
        Voxels::U16(a) => (Pixels::Words(words(a, |v| v), false), s.slope, s.inter),
        Voxels::I16(a) => (Pixels::Words(words(a, |v| v as u16), true), s.slope, s.inter),
        Voxels::Rgb8(a) => (Pixels::Colours(a.iter().copied().collect()), 1.0, 0.0),
        Voxels::Rgba8(a) => {
            notices.push(Notice::info("opacity-dropped", "DICOM colours have no opacity; it was left out"));
            (Pixels::Colours(a.iter().map(|c| [c[0], c[1], c[2]]).collect()), 1.0, 0.0)
        }
        other => for_scalar!(other, a => spread(a, s.slope, s.inter, notices), _ => {
            return Err(Error::unsupported(
                path,
                format!("{} voxels in DICOM images", other.type_name()),
                "whole and floating-point numbers, 8-bit colours",
                "Convert the volume first",
            ));
        }),
    };
    Ok(Stored { pixels, slope, inter, columns, rows })
}

fn words<T: Copy>(a: &Shared<T>, f: impl Fn(T) -> u16) -> Vec<u16> {
    a.iter().map(|&v| f(v)).collect()
}

/// Wide numbers: exact if they are whole and 16 bits hold them.
fn spread<T: Scalar>(a: &Shared<T>, slope: f64, inter: f64, notices: &mut Vec<Notice>) -> (Pixels, f64, f64) {
    let (mut low, mut high, mut whole, mut odd) = (f64::INFINITY, f64::NEG_INFINITY, true, 0_usize);
    for v in a.iter().map(|v| v.to_f64()) {
        if v.is_finite() {
            (low, high) = (low.min(v), high.max(v));
            whole &= v.fract() == 0.0;
        } else {
            odd += 1;
        }
    }
    if odd > 0 {
        notices.push(Notice::warning(
            "not-finite",
            format!("{odd} voxels are not a number or infinite; they are written as the smallest value"),
        ));
    }
    if low > high {
        (low, high) = (0.0, 0.0);
    }
    let or_low = move |v: f64| if v.is_finite() { v } else { low };
    if whole && low >= -32768.0 && high <= 32767.0 {
        return (Pixels::Words(words(a, |v| or_low(v.to_f64()) as i16 as u16), true), slope, inter);
    }
    if whole && low >= 0.0 && high <= STEPS {
        return (Pixels::Words(words(a, |v| or_low(v.to_f64()) as u16), false), slope, inter);
    }
    // The slope and intercept that readers will see are decimal strings; voxels are fitted to those.
    let seen = |v: f64| decimal(v).parse::<f64>().unwrap_or(v);
    let (a0, a1) = (low * slope + inter, high * slope + inter);
    let first = seen(a0.min(a1));
    let step = seen((a1 - a0).abs() / STEPS);
    let step = if step > 0.0 { step } else { 1.0 };
    let mut worst = 0.0_f64;
    let stored = words(a, |v| {
        let value = or_low(v.to_f64()) * slope + inter;
        ((value - first) / step).round().clamp(0.0, STEPS) as u16
    });
    for (v, &w) in a.iter().zip(&stored).filter(|(v, _)| v.to_f64().is_finite()) {
        worst = worst.max((v.to_f64() * slope + inter - (f64::from(w) * step + first)).abs());
    }
    notices.push(Notice::warning(
        "values-rounded",
        format!("values from {:.6} to {:.6} are stored in 65536 steps of {step:.3e}; the largest error is {worst:.3e}", a0.min(a1), a0.max(a1)),
    ));
    (Pixels::Words(stored, false), step, first)
}

impl Stored {
    /// Whether pixels are colours.
    pub fn is_colour(&self) -> bool {
        matches!(self.pixels, Pixels::Colours(_))
    }

    /// Whether so many bits (1..=15) hold all samples, with their sign where they have one.
    pub fn fits(&self, bits: u16) -> bool {
        match &self.pixels {
            Pixels::Words(words, false) => words.iter().all(|w| w >> bits == 0),
            Pixels::Words(words, true) => {
                let most = 1 << (bits - 1);
                words.iter().all(|&w| (-most..most).contains(&i32::from(w as i16)))
            }
            Pixels::Colours(_) => bits >= 8,
        }
    }

    /// Bits of a sample.
    pub fn bits(&self) -> u16 {
        if self.is_colour() { 8 } else { 16 }
    }

    /// Image Pixel (PS3.3 C.7.6.3) and the rescale.
    pub fn describe(&self, d: &mut InMemDicomObject, is_ct: bool) {
        let bits = self.bits();
        let signed = matches!(self.pixels, Pixels::Words(_, true));
        d.shorts(tags::SAMPLES_PER_PIXEL, &[if self.is_colour() { 3 } else { 1 }]);
        d.text(tags::PHOTOMETRIC_INTERPRETATION, if self.is_colour() { "RGB" } else { "MONOCHROME2" });
        if self.is_colour() {
            d.shorts(tags::PLANAR_CONFIGURATION, &[0]);
        } else {
            rescale(d, self.slope, self.inter, is_ct);
        }
        let side = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
        d.shorts(tags::ROWS, &[side(self.rows)]);
        d.shorts(tags::COLUMNS, &[side(self.columns)]);
        d.shorts(tags::BITS_ALLOCATED, &[bits]);
        d.shorts(tags::BITS_STORED, &[bits]);
        d.shorts(tags::HIGH_BIT, &[bits - 1]);
        d.shorts(tags::PIXEL_REPRESENTATION, &[u16::from(signed)]);
    }

    /// Pixel Data of slice `k`.
    pub fn slice(&self, k: usize) -> InMemElement {
        let n = self.rows * self.columns;
        match &self.pixels {
            Pixels::Words(words, _) => {
                let own = words.get(k * n..(k + 1) * n).unwrap_or_default();
                DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(own.iter().copied().collect()))
            }
            Pixels::Colours(colours) => {
                let own = colours.get(k * n..(k + 1) * n).unwrap_or_default();
                bytes(own.iter().flatten().copied().collect())
            }
        }
    }
}

/// 8-bit Pixel Data, padded to an even length.
pub(super) fn bytes(mut bytes: Vec<u8>) -> InMemElement {
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(bytes.into()))
}
