//! What a scan keeps of an instance: whose it is, what it shows, and where each of its frames lies.

use std::path::PathBuf;
use std::sync::Arc;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use tempfile::TempDir;

use super::attributes::{items, text};
use super::geometry::{Plane, add};
use super::lenient::{array, bytes, integer, number, numbers, seconds, texts};
use super::read::Header;

/// An instance as the tree knows it.
#[derive(Clone, Debug)]
pub struct Record {
    /// The file that holds the bytes (a temporary one for members of archives).
    pub path: PathBuf,
    /// The file as the user knows it: `path`, or archive and member.
    pub name: PathBuf,
    /// Keeps an unpacked archive alive.
    pub archive: Option<Arc<TempDir>>,
    /// Length of the file.
    pub bytes: u64,
    /// SOP Class UID.
    pub sop_class_uid: String,
    /// SOP Instance UID; may be empty in broken files.
    pub sop_instance_uid: String,
    /// Modality (0008,0060); empty when absent.
    pub modality: String,
    /// Who and which study and series.
    pub labels: Labels,
    /// Image Type (0008,0008).
    pub image_type: Vec<String>,
    /// Instance Number (0020,0013).
    pub instance_number: Option<i64>,
    /// Rows, columns, samples per pixel, bits allocated, pixel representation: what slices of one stack share.
    pub shape: Shape,
    /// Whether there are pixels.
    pub has_pixels: bool,
    /// One entry per frame.
    pub frames: Vec<Frame>,
    /// Slices in the first frame, when it is a Siemens mosaic.
    pub mosaic: Option<Mosaic>,
    /// Time between frames of a cine, seconds.
    pub frame_time_s: Option<f64>,
    /// Spacing `[columns, rows]` (mm) of frames without a plane, when known.
    pub flat_spacing: Option<[f64; 2]>,
    /// Where the pixel spacing came from.
    pub spacing_source: SpacingSource,
}

/// Patient, study and series.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "named as the attributes of PS3.3 C.7")]
pub struct Labels {
    pub patient_id: String,
    pub patient_name: String,
    pub study_uid: String,
    pub study_date: String,
    pub study_description: String,
    pub series_uid: String,
    pub series_number: Option<i64>,
    pub series_description: String,
    pub series_date: String,
    pub series_time: String,
    pub frame_of_reference_uid: String,
}

/// What slices of one stack share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "named as the attributes of PS3.3 C.7.6.3")]
pub struct Shape {
    pub columns: u32,
    pub rows: u32,
    pub samples: u32,
    pub bits_allocated: u32,
    pub is_signed: bool,
}

/// Which attribute the pixel spacing was taken from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpacingSource {
    /// Pixel Spacing (0028,0030).
    #[default]
    PixelSpacing,
    /// Imager Pixel Spacing (0018,1164): at the detector, not in the patient.
    Imager,
    /// Nominal Scanned Pixel Spacing (0018,2010): of a digitised film.
    NominalScanned,
    /// Sequence of Ultrasound Regions (0018,6011), one region in centimetres.
    Ultrasound,
    /// None of them: pixels of 1 mm were assumed.
    Assumed,
}

/// One frame: its plane, how its values are scaled, and what tells it from other frames at the same place.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// Its plane; `None` without position and orientation.
    pub plane: Option<Plane>,
    /// Slice Thickness (0018,0050), mm.
    pub thickness_mm: Option<f64>,
    /// Spacing Between Slices (0018,0088), mm.
    pub spacing_mm: Option<f64>,
    /// Rescale Slope and Intercept; `None` without.
    pub rescale: Option<[f64; 2]>,
    /// Stack ID (0020,9056).
    pub stack_id: String,
    /// Frame Type (0008,9007), otherwise Image Type.
    pub kind: String,
    /// What tells it apart.
    pub keys: Keys,
}

/// Attributes that tell frames at one position apart.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Keys {
    /// Temporal Position Identifier (0020,0100) or Index (0020,9128).
    pub temporal: Option<f64>,
    /// Echo time, ms.
    pub echo_ms: Option<f64>,
    /// Inversion time, ms.
    pub inversion_ms: Option<f64>,
    /// Trigger time, ms.
    pub trigger_ms: Option<f64>,
    /// b-value, s/mm².
    pub b_value: Option<f64>,
    /// Diffusion gradient.
    pub direction: Option<[f64; 3]>,
    /// Acquisition Number (0020,0012).
    pub acquisition: Option<f64>,
    /// Acquisition time, seconds.
    pub acquisition_s: Option<f64>,
    /// Content time, seconds.
    pub content_s: Option<f64>,
    /// Temporal Resolution (0020,0110), otherwise Repetition Time, seconds: the step when only an order is known.
    pub step_s: Option<f64>,
}

/// A Siemens mosaic: slices side by side in one picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mosaic {
    /// Slices in it.
    pub count: u32,
    /// Tiles beside one another; as many rows of them.
    pub side: u32,
    /// Whether slices follow one another against the normal (row × column).
    pub is_reversed: bool,
    /// Whether that was told (slice normal of the CSA header) or assumed.
    pub is_normal_known: bool,
}

/// SOP classes with pixels that are no images to stack.
const NOT_IMAGES: &[&str] = &[
    "1.2.840.10008.5.1.4.1.1.66.4", // Segmentation
    "1.2.840.10008.5.1.4.1.1.66.7", // Label Map Segmentation
];

impl Record {
    /// Reads what matters from a header.
    #[must_use]
    pub fn new(header: &Header, name: PathBuf, archive: Option<Arc<TempDir>>, bytes: u64) -> Self {
        let o = &*header.object;
        let t = |tag| text(o, tag).unwrap_or_default();
        let image_type = texts(o, tags::IMAGE_TYPE);
        let size = |tag| integer(o, tag).and_then(|v| u32::try_from(v).ok()).unwrap_or(0);
        let shape = Shape {
            columns: size(tags::COLUMNS),
            rows: size(tags::ROWS),
            samples: size(tags::SAMPLES_PER_PIXEL).max(1),
            bits_allocated: size(tags::BITS_ALLOCATED),
            is_signed: size(tags::PIXEL_REPRESENTATION) == 1,
        };
        let (spacing, spacing_source) = spacing(o);
        let mut record = Self {
            path: header.path.clone(),
            name,
            archive,
            bytes,
            sop_class_uid: header.sop_class_uid.clone(),
            sop_instance_uid: header.sop_instance_uid.clone(),
            modality: t(tags::MODALITY),
            labels: Labels {
                patient_id: t(tags::PATIENT_ID),
                patient_name: t(tags::PATIENT_NAME),
                study_uid: t(tags::STUDY_INSTANCE_UID),
                study_date: t(tags::STUDY_DATE),
                study_description: t(tags::STUDY_DESCRIPTION),
                series_uid: t(tags::SERIES_INSTANCE_UID),
                series_number: integer(o, tags::SERIES_NUMBER),
                series_description: t(tags::SERIES_DESCRIPTION),
                series_date: t(tags::SERIES_DATE),
                series_time: t(tags::SERIES_TIME),
                frame_of_reference_uid: t(tags::FRAME_OF_REFERENCE_UID),
            },
            instance_number: integer(o, tags::INSTANCE_NUMBER),
            shape,
            has_pixels: header.pixels.is_some() && shape.columns > 0 && shape.rows > 0,
            frames: Vec::new(),
            mosaic: None,
            frame_time_s: frame_time(o),
            flat_spacing: spacing.map(|[rows, columns]| [columns, rows]),
            spacing_source,
            image_type,
        };
        if record.is_image() {
            record.frames = frames(o, &record);
            record.unfold_mosaic(o);
        }
        record
    }

    /// Whether it holds an image, to be shown by itself or stacked. Segmentations are none: they belong to images.
    #[must_use]
    pub fn is_image(&self) -> bool {
        self.has_pixels && !NOT_IMAGES.contains(&self.sop_class_uid.as_str())
    }

    /// Whether this is a localiser (scout, topogram).
    #[must_use]
    pub fn is_localiser(&self) -> bool {
        self.image_type.iter().any(|v| v.eq_ignore_ascii_case("LOCALIZER"))
    }

    fn unfold_mosaic(&mut self, o: &InMemDicomObject) {
        if self.frames.len() != 1 || !self.image_type.iter().any(|v| v == "MOSAIC") {
            return;
        }
        let csa = Csa::new(bytes(o, Tag(0x0029, 0x1010)).unwrap_or_default());
        let count =
            number(o, Tag(0x0019, 0x100a)).or_else(|| csa.numbers("NumberOfImagesInMosaic").first().copied());
        let Some(count) = count.filter(|c| (1.0..=4096.0).contains(c)).map(|c| c as u32) else { return };
        let side = f64::from(count).sqrt().ceil() as u32;
        let Some(frame) = self.frames.first_mut() else { return };
        let Some(plane) = frame.plane else { return };
        if !self.shape.columns.is_multiple_of(side) || !self.shape.rows.is_multiple_of(side) {
            return;
        }
        let told = csa.numbers("SliceNormalVector");
        let told = told.first_chunk::<3>().copied();
        let is_reversed = told.is_some_and(|n| super::geometry::dot(n, plane.normal()) < 0.0);
        self.mosaic = Some(Mosaic { count, side, is_reversed, is_normal_known: told.is_some() });
        // The position is that of a slice as large as the mosaic around the same centre.
        let half = |all: u32| (f64::from(all) - f64::from(all / side)) / 2.0;
        frame.plane =
            Some(Plane { position: plane.point(half(self.shape.columns), half(self.shape.rows)), ..plane });
        let b = csa.numbers("B_value");
        frame.keys.b_value = frame.keys.b_value.or(b.first().copied());
        let direction = csa.numbers("DiffusionGradientDirection");
        frame.keys.direction = frame.keys.direction.or(direction.first_chunk::<3>().copied());
    }

    /// Plane of slice `tile` of a mosaic.
    #[must_use]
    pub fn tile_plane(&self, tile: u32) -> Option<Plane> {
        let (mosaic, frame) = (self.mosaic?, self.frames.first()?);
        let plane = frame.plane?;
        let step = frame.spacing_mm.or(frame.thickness_mm)?;
        let step = if mosaic.is_reversed { -step } else { step };
        Some(Plane { position: add(plane.position, f64::from(tile) * step, plane.normal()), ..plane })
    }
}

/// Pixel spacing, rows first, with the attribute it came from.
fn spacing(o: &InMemDicomObject) -> (Option<[f64; 2]>, SpacingSource) {
    for (tag, source) in [
        (tags::PIXEL_SPACING, SpacingSource::PixelSpacing),
        (tags::IMAGER_PIXEL_SPACING, SpacingSource::Imager),
        (tags::NOMINAL_SCANNED_PIXEL_SPACING, SpacingSource::NominalScanned),
    ] {
        if let Some(s) = array::<2>(o, tag).filter(|s| s.iter().all(|v| *v > 0.0)) {
            return (Some(s), source);
        }
    }
    let regions = items(o, tags::SEQUENCE_OF_ULTRASOUND_REGIONS);
    // Several regions have several scales; units 3 are centimetres (PS3.3 C.8.5.5.1.15).
    if let [region] = regions {
        let centimetres = |tag| number(region, tag) == Some(3.0);
        let size = |tag| number(region, tag).map(|v| v.abs() * 10.0).filter(|v| *v > 0.0);
        if centimetres(tags::PHYSICAL_UNITS_X_DIRECTION)
            && centimetres(tags::PHYSICAL_UNITS_Y_DIRECTION)
            && let (Some(x), Some(y)) = (size(tags::PHYSICAL_DELTA_X), size(tags::PHYSICAL_DELTA_Y))
        {
            return (Some([y, x]), SpacingSource::Ultrasound);
        }
    }
    (None, SpacingSource::Assumed)
}

fn frame_time(o: &InMemDicomObject) -> Option<f64> {
    let positive = |tag| number(o, tag).filter(|v| *v > 0.0);
    let rate = |tag| positive(tag).map(|fps| 1.0 / fps);
    let vector = numbers(o, tags::FRAME_TIME_VECTOR);
    positive(tags::FRAME_TIME)
        .map(|ms| ms / 1000.0)
        .or_else(|| vector.get(1).filter(|ms| **ms > 0.0).map(|ms| ms / 1000.0))
        .or_else(|| rate(tags::CINE_RATE))
        .or_else(|| rate(tags::RECOMMENDED_DISPLAY_FRAME_RATE))
}

/// The frames of an image: from functional groups, from offsets, or all alike.
fn frames(o: &InMemDicomObject, record: &Record) -> Vec<Frame> {
    let count = integer(o, tags::NUMBER_OF_FRAMES).unwrap_or(1).max(1);
    // What is kept of a frame may not outweigh the file: a compressed frame has hundreds of bytes.
    let possible = usize::try_from(record.bytes / 256).unwrap_or(1).max(1 << 16);
    let count = usize::try_from(count).unwrap_or(1).min(possible);
    let whole = Groups { own: None, shared: None, whole: o };
    let shared = items(o, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE).first();
    let own = items(o, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
    if !own.is_empty() || shared.is_some() {
        let groups = (0..count).map(|n| Groups { own: own.get(n), shared, whole: o });
        return groups.map(|g| g.frame(record)).collect();
    }
    let first = whole.frame(record);
    let mut frames = vec![first.clone(); count];
    let Some(plane) = first.plane else { return flat(frames) };
    if count == 1 {
        return frames;
    }
    let offsets = numbers(o, tags::GRID_FRAME_OFFSET_VECTOR);
    if offsets.len() >= count {
        // Relative offsets begin with 0; others are positions along z (PS3.3 C.8.8.3.2).
        let base = offsets.first().copied().unwrap_or(0.0);
        for (frame, offset) in frames.iter_mut().zip(&offsets) {
            frame.plane =
                Some(Plane { position: add(plane.position, offset - base, plane.normal()), ..plane });
        }
        return frames;
    }
    let is_tomographic = record.modality == "NM" && record.image_type.iter().any(|v| v == "RECON TOMO");
    if is_tomographic && let Some(step) = first.spacing_mm.or(first.thickness_mm) {
        let order = numbers(o, tags::SLICE_VECTOR);
        for (n, frame) in frames.iter_mut().enumerate() {
            let slice = order.get(n).map_or(n as f64, |s| s - 1.0);
            frame.plane =
                Some(Plane { position: add(plane.position, slice * step, plane.normal()), ..plane });
        }
        return frames;
    }
    flat(frames)
}

fn flat(mut frames: Vec<Frame>) -> Vec<Frame> {
    if frames.len() > 1 {
        frames.iter_mut().for_each(|f| f.plane = None);
    }
    frames
}

/// Where the attributes of a frame are: its own functional groups, the shared ones, the data set itself.
struct Groups<'a> {
    own: Option<&'a InMemDicomObject>,
    shared: Option<&'a InMemDicomObject>,
    whole: &'a InMemDicomObject,
}

impl<'a> Groups<'a> {
    /// The item of a functional group, or the data set when there are no groups.
    fn group(&self, sequence: Tag) -> Option<&'a InMemDicomObject> {
        let in_group = |g: Option<&'a InMemDicomObject>| g.and_then(|g| items(g, sequence).first());
        in_group(self.own).or_else(|| in_group(self.shared))
    }

    fn place(&self, sequence: Tag) -> &'a InMemDicomObject {
        self.group(sequence).unwrap_or(self.whole)
    }

    fn frame(&self, record: &Record) -> Frame {
        let o = self.whole;
        // The detector of nuclear medicine carries what other images have at the top.
        let detector = items(o, tags::DETECTOR_INFORMATION_SEQUENCE).first();
        let in_detector = |tag| detector.filter(|d| d.get(tag).is_some());
        let place = |sequence, tag| {
            let here = self.place(sequence);
            if here.get(tag).is_some() { here } else { in_detector(tag).unwrap_or(here) }
        };
        let position = array::<3>(
            place(tags::PLANE_POSITION_SEQUENCE, tags::IMAGE_POSITION_PATIENT),
            tags::IMAGE_POSITION_PATIENT,
        );
        let orientation = array::<6>(
            place(tags::PLANE_ORIENTATION_SEQUENCE, tags::IMAGE_ORIENTATION_PATIENT),
            tags::IMAGE_ORIENTATION_PATIENT,
        );
        let measures = self.place(tags::PIXEL_MEASURES_SEQUENCE);
        let grouped =
            self.group(tags::PIXEL_MEASURES_SEQUENCE).and_then(|g| array::<2>(g, tags::PIXEL_SPACING));
        let spacing = grouped.or(record.flat_spacing.map(|[c, r]| [r, c])).unwrap_or([1.0, 1.0]);
        let plane = position.zip(orientation).and_then(|(p, o)| Plane::new(p, o, spacing));
        let size = |o, tag| number(o, tag).map(f64::abs).filter(|v| *v > 0.0);
        let values = self.place(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE);
        let dose = number(o, tags::DOSE_GRID_SCALING).filter(|v| *v > 0.0).map(|v| [v, 0.0]);
        let (slope, inter) = (number(values, tags::RESCALE_SLOPE), number(values, tags::RESCALE_INTERCEPT));
        let rescale = slope.or(inter).map(|_| [slope.unwrap_or(1.0), inter.unwrap_or(0.0)]).or(dose);
        let content = self.place(tags::FRAME_CONTENT_SEQUENCE);
        let kind = [
            tags::MR_IMAGE_FRAME_TYPE_SEQUENCE,
            tags::CT_IMAGE_FRAME_TYPE_SEQUENCE,
            tags::PET_FRAME_TYPE_SEQUENCE,
        ]
        .iter()
        .find_map(|s| self.group(*s).map(|g| texts(g, tags::FRAME_TYPE)))
        .unwrap_or_else(|| record.image_type.clone());
        Frame {
            plane,
            thickness_mm: size(measures, tags::SLICE_THICKNESS),
            spacing_mm: size(measures, tags::SPACING_BETWEEN_SLICES)
                .or_else(|| size(o, tags::SPACING_BETWEEN_SLICES)),
            rescale,
            stack_id: text(content, tags::STACK_ID).unwrap_or_default(),
            kind: kind.join("\\"),
            keys: self.keys(content),
        }
    }

    fn keys(&self, content: &InMemDicomObject) -> Keys {
        let o = self.whole;
        let time = |o: &InMemDicomObject, tag| text(o, tag).and_then(|t| seconds(&t));
        let echo = self.group(tags::MR_ECHO_SEQUENCE).and_then(|g| number(g, tags::EFFECTIVE_ECHO_TIME));
        let cardiac = self
            .group(tags::CARDIAC_SYNCHRONIZATION_SEQUENCE)
            .and_then(|g| number(g, tags::NOMINAL_CARDIAC_TRIGGER_DELAY_TIME));
        let timing = self.place(tags::MR_TIMING_AND_RELATED_PARAMETERS_SEQUENCE);
        let (b_value, direction) = self.diffusion();
        let milliseconds =
            number(o, tags::TEMPORAL_RESOLUTION).or_else(|| number(timing, tags::REPETITION_TIME));
        Keys {
            temporal: number(content, tags::TEMPORAL_POSITION_INDEX)
                .or_else(|| number(o, tags::TEMPORAL_POSITION_IDENTIFIER)),
            echo_ms: echo.or_else(|| number(o, tags::ECHO_TIME)),
            inversion_ms: number(o, tags::INVERSION_TIME),
            trigger_ms: cardiac.or_else(|| number(o, tags::TRIGGER_TIME)),
            b_value,
            direction,
            acquisition: number(o, tags::ACQUISITION_NUMBER),
            acquisition_s: time(content, tags::FRAME_ACQUISITION_DATE_TIME)
                .or_else(|| time(content, tags::FRAME_REFERENCE_DATE_TIME))
                .or_else(|| time(o, tags::ACQUISITION_TIME))
                .or_else(|| time(o, tags::ACQUISITION_DATE_TIME)),
            content_s: time(o, tags::CONTENT_TIME),
            step_s: milliseconds.filter(|v| *v > 0.0).map(|v| v / 1000.0),
        }
    }

    /// b-value and gradient: PS3.3 C.8.13.5.9, and the private attributes of Siemens, GE and Philips.
    fn diffusion(&self) -> (Option<f64>, Option<[f64; 3]>) {
        let o = self.whole;
        let group = self.place(tags::MR_DIFFUSION_SEQUENCE);
        let gradient = items(group, tags::DIFFUSION_GRADIENT_DIRECTION_SEQUENCE).first().unwrap_or(group);
        let standard = number(group, tags::DIFFUSION_B_VALUE);
        let direction = array::<3>(gradient, tags::DIFFUSION_GRADIENT_ORIENTATION);
        if standard.is_some() {
            return (standard, direction);
        }
        let maker = text(o, tags::MANUFACTURER).unwrap_or_default().to_ascii_uppercase();
        let three = |a, b, c| Some([number(o, a)?, number(o, b)?, number(o, c)?]);
        if maker.contains("SIEMENS") {
            (number(o, Tag(0x0019, 0x100c)), array(o, Tag(0x0019, 0x100e)))
        } else if maker.contains("GE MEDICAL") {
            // GE adds 1e9 to b-values of some sequences.
            let b = number(o, Tag(0x0043, 0x1039)).map(|b| b % 100_000.0);
            (b, three(Tag(0x0019, 0x10bb), Tag(0x0019, 0x10bc), Tag(0x0019, 0x10bd)))
        } else if maker.contains("PHILIPS") {
            let b = number(o, Tag(0x2001, 0x1003));
            (b, three(Tag(0x2005, 0x10b0), Tag(0x2005, 0x10b1), Tag(0x2005, 0x10b2)))
        } else {
            (None, None)
        }
    }
}

/// Siemens' CSA header, second edition (`SV10`): named lists of short texts.
struct Csa<'a>(&'a [u8]);

impl<'a> Csa<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self(if bytes.starts_with(b"SV10") { bytes } else { &[] })
    }

    fn u32(&self, at: usize) -> Option<usize> {
        let bytes = self.0.get(at..)?.first_chunk::<4>()?;
        usize::try_from(u32::from_le_bytes(*bytes)).ok()
    }

    /// The numbers of an entry; none when it is not there.
    fn numbers(&self, name: &str) -> Vec<f64> {
        self.find(name).unwrap_or_default()
    }

    fn find(&self, name: &str) -> Option<Vec<f64>> {
        // "SV10", 4 bytes, number of entries, 77; an entry: name 64, VM, VR 4, syngo type, items, 77 or 205.
        let entries = self.u32(8)?.min(1000);
        let mut at = 16;
        for _ in 0..entries {
            let label = self.0.get(at..at + 64)?;
            let label = label.split(|b| *b == 0).next().unwrap_or_default();
            let count = self.u32(at + 76)?.min(1 << 16);
            at += 84;
            let mut values = Vec::new();
            for _ in 0..count {
                // An item: length, three more numbers, content padded to four bytes.
                let len = self.u32(at)?;
                let content = self.0.get(at + 16..(at + 16).checked_add(len)?)?;
                let content = content.split(|b| *b == 0).next().unwrap_or_default();
                if let Some(v) = std::str::from_utf8(content).ok().and_then(|t| t.trim().parse::<f64>().ok())
                {
                    values.push(v);
                }
                at += 16 + len.next_multiple_of(4);
            }
            if label == name.as_bytes() {
                return Some(values);
            }
        }
        None
    }
}
