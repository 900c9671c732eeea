//! What stored values mean: modality and VOI transformations, padding, palettes (PS3.3 C.7.6.3, C.11.1, C.11.2).

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::{Instance, Photometric};
use crate::error::{Error, Result};
use crate::voxels::Scaling;

/// Stored values into values with a physical meaning (PS3.3 C.11.1).
#[derive(Clone, Debug, PartialEq)]
pub enum Modality {
    /// Rescale Slope and Intercept (or none: slope 1, intercept 0).
    Linear(Scaling),
    /// Modality LUT Sequence (0028,3000).
    Lut(Lut),
}

impl Modality {
    /// The value of a stored value.
    #[must_use]
    pub fn apply(&self, stored: f64) -> f64 {
        match self {
            Self::Linear(scaling) => stored * scaling.slope + scaling.inter,
            Self::Lut(lut) => f64::from(lut.at(stored as i64)),
        }
    }
}

/// A lookup table. Inputs below the first take the first entry, those above the last take the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lut {
    /// Input of the first entry.
    pub first: i64,
    /// Outputs; at least one.
    pub entries: Vec<u16>,
    /// Bits of an output, 8 to 16.
    pub bits: u32,
    /// LUT Explanation (0028,3003).
    pub explanation: String,
}

impl Lut {
    /// The output for an input.
    #[must_use]
    pub fn at(&self, input: i64) -> u16 {
        let index = usize::try_from(input.saturating_sub(self.first)).unwrap_or(0);
        self.entries.get(index).or(self.entries.last()).copied().unwrap_or(0)
    }
}

/// How a window maps values to brightness (PS3.3 C.11.2.1.2, C.11.2.1.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VoiFunction {
    /// With the half-pixel offsets of the standard.
    #[default]
    Linear,
    /// From centre - width/2 to centre + width/2.
    LinearExact,
    /// 1 / (1 + exp(-4 (x - centre) / width)).
    Sigmoid,
}

/// A window for the display, in values after the modality transformation.
#[derive(Clone, Debug, PartialEq)]
pub struct VoiWindow {
    /// Window Center (0028,1050).
    pub center: f64,
    /// Window Width (0028,1051); above 0 (at least 1 for [`VoiFunction::Linear`]).
    pub width: f64,
    /// VOI LUT Function (0028,1056).
    pub function: VoiFunction,
    /// Window Center & Width Explanation (0028,1055); may be empty.
    pub explanation: String,
}

impl VoiWindow {
    /// Brightness 0..=1 of a value.
    #[must_use]
    pub fn apply(&self, x: f64) -> f64 {
        let (c, w) = (self.center, self.width);
        match self.function {
            VoiFunction::Linear => {
                // Written so that a width of 1 is a threshold without a division by zero.
                if x <= c - 0.5 - (w - 1.0) / 2.0 {
                    0.0
                } else if x > c - 0.5 + (w - 1.0) / 2.0 {
                    1.0
                } else {
                    (x - (c - 0.5)) / (w - 1.0) + 0.5
                }
            }
            VoiFunction::LinearExact => ((x - c) / w + 0.5).clamp(0.0, 1.0),
            VoiFunction::Sigmoid => 1.0 / (1.0 + (-4.0 * (x - c) / w).exp()),
        }
    }
}

/// What the file recommends for the display.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Voi {
    /// Windows, the first being the default.
    pub windows: Vec<VoiWindow>,
    /// Tables of VOI LUT Sequence (0028,3010).
    pub luts: Vec<Lut>,
}

/// Stored values that are no measurement (PS3.3 C.7.5.1.1.2): `low..=high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Padding {
    pub low: i64,
    pub high: i64,
}

impl Padding {
    /// Whether a stored value is padding.
    #[must_use]
    pub fn contains(&self, stored: i64) -> bool {
        (self.low..=self.high).contains(&stored)
    }
}

/// The colours of a palette image (PS3.3 C.7.6.3.1.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Palette {
    /// Index of the first entry.
    pub first: i64,
    /// Red, green, blue with 16 bits (8-bit entries are spread over the range).
    pub entries: Vec<[u16; 3]>,
}

impl Palette {
    /// The colour of an index, 0..=255. Indices outside take the nearest entry.
    #[must_use]
    pub fn rgb8(&self, index: i64) -> [u8; 3] {
        let at = usize::try_from(index.saturating_sub(self.first)).unwrap_or(0);
        let entry = self.entries.get(at).or(self.entries.last()).copied().unwrap_or_default();
        entry.map(|v| (v >> 8) as u8)
    }
}

impl Instance {
    /// The modality transformation of frame `n` (counted from 0): per frame, else shared, else of the image.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a slope of 0 or not finite, and for tables that are not there.
    pub fn modality(&self, n: usize) -> Result<Modality> {
        let object = self.functional_group(n, tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE);
        let whole = &*self.header().object;
        if let Some(item) = items(whole, tags::MODALITY_LUT_SEQUENCE).first() {
            return Ok(Modality::Lut(self.lut(item, "Modality LUT")?));
        }
        let object = object.unwrap_or(whole);
        let slope = float(object, tags::RESCALE_SLOPE).unwrap_or(1.0);
        let inter = float(object, tags::RESCALE_INTERCEPT).unwrap_or(0.0);
        if slope == 0.0 || !slope.is_finite() || !inter.is_finite() {
            return Err(Error::malformed(
                &self.header().path,
                format!("Rescale Slope {slope} and Intercept {inter}"),
                "finite numbers, and a slope other than 0",
            ));
        }
        Ok(Modality::Linear(Scaling { slope, inter }))
    }

    /// Windows and tables for the display of frame `n` (counted from 0). Unusable ones are left out.
    #[must_use]
    pub fn voi(&self, n: usize) -> Voi {
        let object = self.functional_group(n, tags::FRAME_VOILUT_SEQUENCE);
        let object = object.unwrap_or(&self.header().object);
        let function = match text(object, tags::VOILUT_FUNCTION).as_str() {
            "LINEAR_EXACT" => VoiFunction::LinearExact,
            "SIGMOID" => VoiFunction::Sigmoid,
            _ => VoiFunction::Linear,
        };
        let smallest = if function == VoiFunction::Linear { 1.0 } else { f64::MIN_POSITIVE };
        let (centers, widths) = (floats(object, tags::WINDOW_CENTER), floats(object, tags::WINDOW_WIDTH));
        let explanations = object
            .get(tags::WINDOW_CENTER_WIDTH_EXPLANATION)
            .and_then(|e| e.to_multi_str().ok().map(std::borrow::Cow::into_owned))
            .unwrap_or_default();
        let windows = centers
            .iter()
            .zip(&widths)
            .enumerate()
            .filter(|(_, (c, w))| c.is_finite() && w.is_finite() && **w >= smallest);
        let windows = windows.map(|(i, (&center, &width))| VoiWindow {
            center,
            width,
            function,
            explanation: explanations.get(i).map(|e| e.trim().to_owned()).unwrap_or_default(),
        });
        let luts = items(object, tags::VOILUT_SEQUENCE).iter().filter_map(|i| self.lut(i, "VOI LUT").ok());
        Voi { windows: windows.collect(), luts: luts.collect() }
    }

    /// Stored values that mean "nothing was measured here": Pixel Padding Value (0028,0120), up to Pixel Padding
    /// Range Limit (0028,0121) where there is one.
    #[must_use]
    pub fn padding(&self) -> Option<Padding> {
        let value = self.stored_value(tags::PIXEL_PADDING_VALUE)?;
        let limit = self.stored_value(tags::PIXEL_PADDING_RANGE_LIMIT).unwrap_or(value);
        Some(Padding { low: value.min(limit), high: value.max(limit) })
    }

    /// The colour table of a palette image; `None` for others.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the tables are missing, unequal or cut.
    pub fn palette(&self) -> Result<Option<Palette>> {
        if self.layout().photometric != Photometric::Palette {
            return Ok(None);
        }
        let red = self.palette_channel(
            tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
            tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        )?;
        let green = self.palette_channel(
            tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
            tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            tags::SEGMENTED_GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        )?;
        let blue = self.palette_channel(
            tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
            tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            tags::SEGMENTED_BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        )?;
        let entries = red.entries.iter().zip(&green.entries).zip(&blue.entries);
        Ok(Some(Palette { first: red.first, entries: entries.map(|((&r, &g), &b)| [r, g, b]).collect() }))
    }

    fn palette_channel(&self, descriptor: Tag, data: Tag, segmented: Tag) -> Result<Lut> {
        let object = &*self.header().object;
        let (count, first, bits) = self.descriptor(object, descriptor, "palette")?;
        let mut entries = match object.get(data) {
            Some(element) => words(element, bits, count, self.header().encoding.big_endian),
            None => {
                let element = object.get(segmented).ok_or_else(|| {
                    Error::malformed(
                        &self.header().path,
                        format!("no palette data {data}"),
                        "the colour table of a PALETTE COLOR image",
                    )
                })?;
                let raw = words(element, bits, usize::MAX, self.header().encoding.big_endian);
                unsegment(&raw, count).ok_or_else(|| {
                    Error::malformed(
                        &self.header().path,
                        format!("broken segments in the palette {segmented}"),
                        "discrete, linear and indirect segments (PS3.3 C.7.9.2)",
                    )
                })?
            }
        };
        if entries.len() < count {
            return Err(Error::malformed(
                &self.header().path,
                format!("{} entries in the palette {data}", entries.len()),
                format!("{count}"),
            ));
        }
        entries.truncate(count);
        // 8-bit entries go to the high byte. Some writers say 16 bits and store 8; their picture would be black.
        if bits == 8 || entries.iter().all(|&v| v < 256) {
            for v in &mut entries {
                *v |= *v << 8;
            }
        }
        Ok(Lut { first, entries, bits: 16, explanation: String::new() })
    }

    /// The item of a functional group of frame `n`: its own, otherwise the shared one (PS3.3 C.7.6.16).
    #[must_use]
    pub fn functional_group(&self, n: usize, tag: Tag) -> Option<&InMemDicomObject> {
        let object = &*self.header().object;
        let own = items(object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).get(n);
        let shared = items(object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE).first();
        own.and_then(|item| items(item, tag).first())
            .or_else(|| shared.and_then(|item| items(item, tag).first()))
    }

    /// A value in the representation of the pixels, which the file may store with the other signedness.
    fn stored_value(&self, tag: Tag) -> Option<i64> {
        let value = self.header().object.get(tag)?.to_int::<i64>().ok()?;
        let layout = self.layout();
        Some(match (layout.sample_type.is_signed(), layout.bits_allocated) {
            (true, 16) => i64::from(value as u16 as i16),
            (true, 8) => i64::from(value as u8 as i8),
            (false, 16) => i64::from(value as u16),
            (false, 8) => i64::from(value as u8),
            _ => value,
        })
    }

    /// Entries, first input and bits of a table (PS3.3 C.11.1.1.1).
    fn descriptor(&self, object: &InMemDicomObject, tag: Tag, what: &str) -> Result<(usize, i64, u32)> {
        let values = object.get(tag).and_then(|e| e.to_multi_int::<i64>().ok()).unwrap_or_default();
        let &[count, first, bits, ..] = values.as_slice() else {
            return Err(Error::malformed(
                &self.header().path,
                format!("no descriptor {tag} of the {what}"),
                "number of entries, first input, bits",
            ));
        };
        // 65536 entries are written as 0; signed descriptors make counts above 32767 negative.
        let count = usize::from(count as u16);
        let count = if count == 0 { 1 << 16 } else { count };
        let first = if self.layout().sample_type.is_signed() {
            i64::from(first as u16 as i16)
        } else {
            i64::from(first as u16)
        };
        let bits = u32::try_from(bits).ok().filter(|b| (8..=16).contains(b)).unwrap_or(16);
        Ok((count, first, bits))
    }

    fn lut(&self, item: &InMemDicomObject, what: &str) -> Result<Lut> {
        let (count, first, bits) = self.descriptor(item, tags::LUT_DESCRIPTOR, what)?;
        let element = item.get(tags::LUT_DATA);
        let entries =
            element.map(|e| words(e, bits, count, self.header().encoding.big_endian)).unwrap_or_default();
        if entries.len() < count {
            return Err(Error::malformed(
                &self.header().path,
                format!("{} entries in the {what}", entries.len()),
                format!("{count}"),
            ));
        }
        let explanation = text(item, tags::LUT_EXPLANATION);
        Ok(Lut { first, entries, bits, explanation })
    }
}

/// Table entries: words, or bytes where 8-bit entries are packed two to a word.
fn words(element: &dicom_object::mem::InMemElement, bits: u32, count: usize, big_endian: bool) -> Vec<u16> {
    let Ok(values) = element.to_multi_int::<u32>() else { return Vec::new() };
    let is_bytes = matches!(element.vr(), VR::OB | VR::UN);
    if is_bytes && bits > 8 {
        let join = |&[a, b]: &[u32; 2]| (a & 0xff) as u16 | ((b & 0xff) as u16) << 8;
        return values.as_chunks::<2>().0.iter().map(join).collect();
    }
    if !is_bytes && bits == 8 && values.len() < count.min(1 << 16) {
        let split = |v: &u32| {
            let pair = [(v & 0xff) as u16, (v >> 8 & 0xff) as u16];
            if big_endian { [pair[1], pair[0]] } else { pair }
        };
        return values.iter().flat_map(split).collect();
    }
    values.iter().map(|&v| v as u16).collect()
}

/// A segmented palette in full (PS3.3 C.7.9.2). `None` when it is broken or grows beyond `count`.
fn unsegment(raw: &[u16], count: usize) -> Option<Vec<u16>> {
    let mut out = Vec::with_capacity(count.min(1 << 16));
    // Segments that refer to segments without entries would take time without end; a table has at most 65536 entries.
    let mut steps = 1 << 20;
    segments(raw, 0, raw.len(), count, true, &mut steps, &mut out)?;
    Some(out)
}

fn segments(
    raw: &[u16],
    mut at: usize,
    mut left: usize,
    count: usize,
    may_refer: bool,
    steps: &mut usize,
    out: &mut Vec<u16>,
) -> Option<()> {
    while left > 0 && at + 1 < raw.len() {
        *steps = steps.checked_sub(1)?;
        let (kind, len) = (*raw.get(at)?, usize::from(*raw.get(at + 1)?));
        at += 2;
        left -= 1;
        match kind {
            0 => {
                out.extend_from_slice(raw.get(at..at + len)?);
                at += len;
            }
            1 => {
                let (from, to) = (i64::from(*out.last()?), i64::from(*raw.get(at)?));
                at += 1;
                let n = len as i64;
                out.extend((1..=n).map(|i| (from + (2 * (to - from) * i + n).div_euclid(2 * n)) as u16));
            }
            2 if may_refer => {
                let (low, high) = (*raw.get(at)?, *raw.get(at + 1)?);
                at += 2;
                // Byte offset of the segments meant, counted in the 16-bit words of the table.
                let offset = (usize::from(low) | usize::from(high) << 16) / 2;
                segments(raw, offset, len, count, false, steps, out)?;
            }
            _ => return None,
        }
        if out.len() > count {
            return None;
        }
    }
    Some(())
}

fn items(object: &InMemDicomObject, tag: Tag) -> &[InMemDicomObject] {
    object.get(tag).and_then(|e| e.items()).unwrap_or_default()
}

fn text(object: &InMemDicomObject, tag: Tag) -> String {
    object.get(tag).and_then(|e| e.to_str().ok().map(|t| t.trim().to_owned())).unwrap_or_default()
}

fn float(object: &InMemDicomObject, tag: Tag) -> Option<f64> {
    object.get(tag)?.to_float64().ok()
}

/// All numbers of a decimal string; one that cannot be read becomes NaN, so that pairs stay pairs.
fn floats(object: &InMemDicomObject, tag: Tag) -> Vec<f64> {
    let Some(element) = object.get(tag) else { return Vec::new() };
    if let Ok(all) = element.to_multi_float64() {
        return all;
    }
    let texts = element.to_multi_str();
    texts.map(|t| t.iter().map(|t| t.trim().parse().unwrap_or(f64::NAN)).collect()).unwrap_or_default()
}
