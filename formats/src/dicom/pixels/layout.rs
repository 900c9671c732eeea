//! The shape of the pixels, checked against the bytes present (PS3.3 C.7.6.3.1).

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::syntax::{self, Codec};
use crate::dicom::read::Header;
use crate::error::{Error, Result};
use crate::notice::Notice;

/// Type of the decoded samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say the types")]
pub enum SampleType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    F64,
}

impl SampleType {
    /// Bytes of one sample.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// Whether negative values occur.
    #[must_use]
    pub fn is_signed(self) -> bool {
        !matches!(self, Self::U8 | Self::U16 | Self::U32)
    }
}

/// Photometric Interpretation (0028,0004), PS3.3 C.7.6.3.1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Photometric {
    /// Grey, the smallest value white. Values are kept as stored; the display is to be inverted.
    Monochrome1,
    /// Grey, the smallest value black.
    Monochrome2,
    /// Indices into a colour table.
    Palette,
    /// Red, green, blue.
    Rgb,
    /// Luma and colour differences, full range.
    YbrFull,
    /// The same with colour differences at every second column.
    YbrFull422,
    /// Video range, colour differences at every second column.
    YbrPartial422,
    /// Video range, colour differences at every second column and row.
    YbrPartial420,
    /// Irreversible colour transform of JPEG 2000.
    YbrIct,
    /// Reversible colour transform of JPEG 2000.
    YbrRct,
    /// The opponent colours of JPEG XL.
    Xyb,
}

impl Photometric {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "MONOCHROME1" => Self::Monochrome1,
            "MONOCHROME2" => Self::Monochrome2,
            "PALETTE COLOR" => Self::Palette,
            "RGB" => Self::Rgb,
            "YBR_FULL" => Self::YbrFull,
            "YBR_FULL_422" => Self::YbrFull422,
            "YBR_PARTIAL_422" => Self::YbrPartial422,
            "YBR_PARTIAL_420" => Self::YbrPartial420,
            "YBR_ICT" => Self::YbrIct,
            "YBR_RCT" => Self::YbrRct,
            "XYB" => Self::Xyb,
            _ => return None,
        })
    }

    /// Three samples for each pixel.
    #[must_use]
    pub fn is_colour(self) -> bool {
        !matches!(self, Self::Monochrome1 | Self::Monochrome2 | Self::Palette)
    }

    /// Whether stored colours are luma and colour differences.
    #[must_use]
    pub fn is_ybr(self) -> bool {
        self.is_colour() && self != Self::Rgb
    }
}

/// Size, type and meaning of the pixels of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelLayout {
    /// Rows of a frame; at least 1.
    pub rows: usize,
    /// Columns of a frame; at least 1.
    pub columns: usize,
    /// Frames; at least 1.
    pub frames: usize,
    /// Samples of a pixel: 1 (grey or palette index) or 3 (red, green, blue after decoding).
    pub samples: usize,
    /// Bits Allocated (0028,0100): 1, 8, 16, 32 or 64.
    pub bits_allocated: u32,
    /// Bits Stored (0028,0101); at most `bits_allocated`.
    pub bits_stored: u32,
    /// High Bit (0028,0102); at least `bits_stored - 1`.
    pub high_bit: u32,
    /// Type of the decoded samples.
    pub sample_type: SampleType,
    /// Meaning of the stored samples.
    pub photometric: Photometric,
    /// Whether stored colours come plane by plane (0028,0006).
    pub is_planar: bool,
}

impl PixelLayout {
    /// Decoded samples of one frame: rows × columns × samples.
    #[must_use]
    pub fn frame_len(&self) -> usize {
        self.rows * self.columns * self.samples
    }

    /// Pixels of one frame.
    #[must_use]
    pub fn frame_pixels(&self) -> usize {
        self.rows * self.columns
    }

    /// Bits of one uncompressed frame as stored. Subsampled colours share their differences.
    pub(in crate::dicom) fn stored_frame_bits(&self) -> u64 {
        let pixels = self.frame_pixels() as u64;
        let samples = match self.photometric {
            Photometric::YbrFull422 | Photometric::YbrPartial422 => pixels * 2,
            Photometric::YbrPartial420 => pixels * 3 / 2,
            _ => pixels * self.samples as u64,
        };
        samples * u64::from(self.bits_allocated)
    }

    /// Reads and checks the pixel attributes. Odd ones are told in `notices`.
    pub(super) fn of(header: &Header, notices: &mut Vec<Notice>) -> Result<Self> {
        let path = header.path.as_path();
        let Some(pixels) = header.pixels else {
            let what = header.text(tags::MODALITY).unwrap_or_else(|| "DICOM object".to_owned());
            return Err(Error::unsupported(
                path,
                format!("a {what} object without pixel data"),
                "images",
                "Open the images it belongs to",
            ));
        };
        let rows = size(header, tags::ROWS, "Rows (0028,0010)")?;
        let columns = size(header, tags::COLUMNS, "Columns (0028,0011)")?;
        let stated_samples = number(header, tags::SAMPLES_PER_PIXEL).unwrap_or(1);
        let codec = syntax::codec(&header.transfer_syntax_uid);
        let name = header.text(tags::PHOTOMETRIC_INTERPRETATION);
        let photometric = match name.as_deref().map(|n| (n, Photometric::of(n))) {
            Some((_, Some(photometric))) => photometric,
            Some((name, None)) => {
                return Err(Error::unsupported(
                    path,
                    format!("Photometric Interpretation {name}"),
                    "MONOCHROME1/2, PALETTE COLOR, RGB and the YBR kinds of PS3.3 C.7.6.3.1.2",
                    "Export it again as RGB",
                ));
            }
            None => {
                let guess = if stated_samples == 3 { Photometric::Rgb } else { Photometric::Monochrome2 };
                notices.push(Notice::warning(
                    "dicom-no-photometric",
                    format!("no Photometric Interpretation; shown as {guess:?}"),
                ));
                guess
            }
        };
        let samples = if photometric.is_colour() { 3 } else { 1 };
        if stated_samples != samples {
            return Err(Error::malformed(
                path,
                format!("{stated_samples} samples per pixel (0028,0002) in {photometric:?}"),
                format!("{samples}"),
            ));
        }

        let is_float = pixels.tag == tags::FLOAT_PIXEL_DATA;
        let is_double = pixels.tag == tags::DOUBLE_FLOAT_PIXEL_DATA;
        let implied = if is_float { Some(32) } else { is_double.then_some(64) };
        let bits_allocated = number(header, tags::BITS_ALLOCATED).or(implied);
        let bits_allocated = bits_allocated
            .ok_or_else(|| Error::malformed(path, "no Bits Allocated (0028,0100)", "1, 8, 16 or 32"))?;
        let wanted = if is_float {
            bits_allocated == 32
        } else if is_double {
            bits_allocated == 64
        } else {
            matches!(bits_allocated, 1 | 8 | 16 | 32)
        };
        if !wanted {
            return Err(Error::unsupported(
                path,
                format!("{bits_allocated} bits allocated (0028,0100)"),
                "1, 8, 16 and 32 bits, 32-bit and 64-bit floating point",
                "Export it again with 16 bits",
            ));
        }
        let mut bits_stored = number(header, tags::BITS_STORED).unwrap_or(bits_allocated);
        let mut high_bit = number(header, tags::HIGH_BIT).unwrap_or(bits_stored.saturating_sub(1));
        if bits_stored == 0 || bits_stored > bits_allocated {
            notices.push(Notice::warning(
                "dicom-bits-stored",
                format!("{bits_stored} bits stored in {bits_allocated} allocated; all were taken"),
            ));
            bits_stored = bits_allocated;
            high_bit = bits_stored - 1;
        }
        if high_bit.saturating_add(1) < bits_stored || high_bit >= bits_allocated {
            notices.push(Notice::warning(
                "dicom-high-bit",
                format!(
                    "High Bit {high_bit} with {bits_stored} bits stored in {bits_allocated}; {} was taken",
                    bits_stored - 1
                ),
            ));
            high_bit = bits_stored - 1;
        }
        let (bits_stored, high_bit) = if is_float || is_double {
            (bits_allocated, bits_allocated - 1)
        } else {
            (bits_stored, high_bit)
        };
        let is_signed = number(header, tags::PIXEL_REPRESENTATION) == Some(1) && !photometric.is_colour();
        let sample_type = match (bits_allocated, is_signed) {
            _ if is_float => SampleType::F32,
            _ if is_double => SampleType::F64,
            (1, _) | (8, false) => SampleType::U8,
            (8, true) => SampleType::I8,
            (16, false) => SampleType::U16,
            (16, true) => SampleType::I16,
            (_, false) => SampleType::U32,
            (_, true) => SampleType::I32,
        };
        let mut layout = Self {
            rows,
            columns,
            frames: 1,
            samples: samples as usize,
            bits_allocated,
            bits_stored,
            high_bit,
            sample_type,
            photometric,
            is_planar: number(header, tags::PLANAR_CONFIGURATION) == Some(1) && samples > 1,
        };
        layout.frames = frames(header, &layout, notices)?;
        if layout.photometric == Photometric::YbrFull422 && codec == Codec::Native && layout.columns % 2 == 1
        {
            return Err(Error::malformed(
                path,
                "YBR_FULL_422 with an odd number of columns",
                "pairs of columns",
            ));
        }
        Ok(layout)
    }

    /// Refuses an uncompressed image whose bytes are not there.
    pub(super) fn check_native(&self, header: &Header, present: u64) -> Result<()> {
        let needed = self.stored_frame_bits().checked_mul(self.frames as u64).map(|bits| bits.div_ceil(8));
        if needed.is_none_or(|needed| needed > present) {
            let needed = needed.map_or_else(|| "more than 2^61".to_owned(), |n| n.to_string());
            return Err(Error::malformed(
                &header.path,
                format!("{present} bytes of pixel data"),
                format!(
                    "{needed} bytes for {} × {} pixels × {} frames × {} samples of {} bits",
                    self.columns, self.rows, self.frames, self.samples, self.bits_allocated
                ),
            ));
        }
        Ok(())
    }
}

fn number(header: &Header, tag: Tag) -> Option<u32> {
    header.object.get(tag)?.to_int::<u32>().ok()
}

fn size(header: &Header, tag: Tag, name: &str) -> Result<usize> {
    let found = number(header, tag);
    let what = || found.map_or_else(|| format!("no {name}"), |n| format!("{name} = {n}"));
    let value = found.filter(|n| (1..=u32::from(u16::MAX)).contains(n));
    value.map(|n| n as usize).ok_or_else(|| Error::malformed(&header.path, what(), "1 to 65535 pixels"))
}

/// Number of Frames (0028,0008); what cannot be read is counted from the bytes.
fn frames(header: &Header, layout: &PixelLayout, notices: &mut Vec<Notice>) -> Result<usize> {
    let Some(text) = header.text(tags::NUMBER_OF_FRAMES) else { return Ok(1) };
    if let Ok(n) = text.parse::<u32>() {
        return Ok((n as usize).max(1));
    }
    let len = header.pixels.and_then(|p| p.len).unwrap_or(0);
    let frame = layout.stored_frame_bits().div_ceil(8);
    let counted = usize::try_from(len.checked_div(frame).unwrap_or(0)).unwrap_or(0);
    if counted == 0 {
        return Err(Error::malformed(
            &header.path,
            format!("Number of Frames (0028,0008) “{text}”"),
            "a whole number",
        ));
    }
    notices.push(Notice::warning(
        "dicom-number-of-frames",
        format!("Number of Frames is “{text}”; the pixel data hold {counted}"),
    ));
    Ok(counted)
}
