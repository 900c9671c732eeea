//! Pictures as secondary captures (PS3.3 A.8.1): what the screen showed, in the patient's study.

use std::path::Path;

use dicom_dictionary_std::{tags, uids};

use super::attributes::{Put, text};
use super::derived::MANY_SOURCES;
use super::modules::{self, instances, now, source_image};
use super::origin::Origin;
use super::quantise::bytes;
use crate::error::{Error, Result};

/// A picture to be stored: rows from the top, 8 bits a sample, no padding.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height` grey values, or three times as many red, green and blue.
    pub pixels: &'a [u8],
}

/// What a capture says of itself.
#[derive(Clone, Debug)]
pub struct CaptureOptions {
    /// Series Description (0008,103E).
    pub series_description: String,
    /// Series Number (0020,0011).
    pub series_number: i32,
    /// Instance Number (0020,0013).
    pub instance_number: i32,
    /// What was done (0008,2111), or empty.
    pub description: String,
    /// Burned In Annotation (0028,0301): whether the picture shows text that could identify the patient. Letters for
    /// directions and scale bars do not. Where not, the picture says what the source says of its own pixels, and
    /// nothing where that says nothing: nobody has looked.
    pub shows_identity: bool,
}

impl Default for CaptureOptions {
    fn default() -> Self {
        Self {
            series_description: "Picture".to_owned(),
            series_number: 903,
            instance_number: 1,
            description: String::new(),
            shows_identity: false,
        }
    }
}

/// Writes a picture as a secondary capture. With an origin it belongs to that patient and study and names the source;
/// without, the patient is empty and the study new. The file appears whole or not at all.
///
/// # Errors
/// [`Error::Argument`] when size and number of samples do not fit, or a side is 0 or beyond 65535; [`Error::Io`].
pub fn write(
    picture: &Picture<'_>,
    origin: Option<&Origin>,
    options: &CaptureOptions,
    path: &Path,
) -> Result<()> {
    let (width, height, found) = (picture.width, picture.height, picture.pixels.len());
    let sides = u16::try_from(width).ok().zip(u16::try_from(height).ok()).filter(|(w, h)| *w > 0 && *h > 0);
    let grey = width.checked_mul(height);
    let samples = match (sides, grey) {
        (Some(_), Some(n)) if n == found => 1,
        (Some(_), Some(n)) if n.checked_mul(3) == Some(found) => 3,
        _ => {
            return Err(Error::Argument(format!(
                "a picture of {width}×{height} with {found} samples; 1 or 3 for each pixel and sides up to 65535 are wanted"
            )));
        }
    };
    let (columns, rows) = sides.unwrap_or_default();
    let mut d = modules::start(origin.map(|o| &*o.header), uids::SECONDARY_CAPTURE_IMAGE_STORAGE);
    modules::series(&mut d, "OT", options.series_number, &options.series_description);
    modules::equipment(&mut d);
    modules::require(&mut d, &[tags::PATIENT_ORIENTATION]);
    modules::laterality(&mut d);
    let (date, time) = now();
    d.text(tags::CONVERSION_TYPE, "WSD");
    d.text(tags::SECONDARY_CAPTURE_DEVICE_MANUFACTURER, "Insula");
    d.text(tags::SECONDARY_CAPTURE_DEVICE_SOFTWARE_VERSIONS, env!("CARGO_PKG_VERSION"));
    d.text(tags::DATE_OF_SECONDARY_CAPTURE, &date);
    d.text(tags::TIME_OF_SECONDARY_CAPTURE, &time);
    d.text(tags::CONTENT_DATE, &date);
    d.text(tags::CONTENT_TIME, &time);
    d.texts(tags::IMAGE_TYPE, &["DERIVED", "SECONDARY"]);
    d.text(tags::INSTANCE_NUMBER, &options.instance_number.to_string());
    let of_source = origin.and_then(|o| text(&o.header, tags::BURNED_IN_ANNOTATION));
    if let Some(shows) = if options.shows_identity { Some("YES") } else { of_source.as_deref() } {
        d.text(tags::BURNED_IN_ANNOTATION, shows);
    }
    if !options.description.is_empty() {
        d.text(tags::DERIVATION_DESCRIPTION, &options.description);
    }
    if let Some(origin) = origin {
        modules::copy(
            &mut d,
            &origin.header,
            &[
                tags::LOSSY_IMAGE_COMPRESSION,
                tags::LOSSY_IMAGE_COMPRESSION_RATIO,
                tags::LOSSY_IMAGE_COMPRESSION_METHOD,
            ],
        );
        let sources = instances(origin);
        if (1..=MANY_SOURCES).contains(&sources.len()) {
            modules::referenced_series(&mut d, origin);
            d.sequence(tags::SOURCE_IMAGE_SEQUENCE, sources.iter().map(source_image).collect());
        }
    }
    d.shorts(tags::SAMPLES_PER_PIXEL, &[samples]);
    d.text(tags::PHOTOMETRIC_INTERPRETATION, if samples == 3 { "RGB" } else { "MONOCHROME2" });
    if samples == 3 {
        d.shorts(tags::PLANAR_CONFIGURATION, &[0]);
    }
    d.shorts(tags::ROWS, &[rows]);
    d.shorts(tags::COLUMNS, &[columns]);
    d.shorts(tags::BITS_ALLOCATED, &[8]);
    d.shorts(tags::BITS_STORED, &[8]);
    d.shorts(tags::HIGH_BIT, &[7]);
    d.shorts(tags::PIXEL_REPRESENTATION, &[0]);
    d.put(bytes(picture.pixels.to_vec()));
    modules::write(d, path)
}
