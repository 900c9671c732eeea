//! Volumes and pictures as image series derived from the series they came from (PS3.3 C.7.6.1.1.2): one instance per slice
//! and frame.

use std::path::{Path, PathBuf};

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;

use super::attributes::{Attributes, Put, decimal, integer, text};
use super::codes::Code;
use super::modules::{self, instances, new_uid, now, source_image};
use super::origin::Origin;
use super::place::{Planes, cross, dot, order_between};
use super::quantise::{Stored, store};
use super::timing;
use crate::error::{Error, Result};
use crate::notice::Notice;
use crate::task::Task;
use crate::volume::{AffineSource, FrameAxis, Volume};

/// Slices of a resampled volume name all source instances up to this many; beyond, none: the references would outgrow the
/// images.
pub(super) const MANY_SOURCES: usize = 512;

/// What a derived series says of itself.
#[derive(Clone, Debug)]
pub struct DerivedOptions {
    /// Derivation Description (0008,2111): what was done, in words.
    pub description: String,
    /// Derivation Code Sequence (PS3.16 CID 7203), e.g. 113040 "Lossy Compression", if one fits.
    pub code: Option<Code>,
    /// Series Description (0008,103E).
    pub series_description: String,
    /// Series Number (0020,0011).
    pub series_number: i32,
}

impl Default for DerivedOptions {
    fn default() -> Self {
        Self {
            description: "Derived by Insula".to_owned(),
            code: None,
            series_description: "Derived".to_owned(),
            series_number: 902,
        }
    }
}

/// [`write_frames`] of a volume.
///
/// # Errors
/// As there.
pub fn write_series(
    volume: &Volume,
    options: &DerivedOptions,
    folder: &Path,
    task: &Task,
) -> Result<(Vec<PathBuf>, Vec<Notice>)> {
    write_frames(std::slice::from_ref(volume), &[], options, folder, task)
}

/// Writes the frames of an image that was made from a DICOM series (`meta.dicom`) as a new series in its study:
/// single-frame instances `IM_0001.dcm` … in `folder`, slice by slice of frame after frame. The folder appears whole or not
/// at all and must not exist or be empty. `axes` are those of [`crate::Image`]; none for one frame.
///
/// CT, MR and PET with a place stay what they are, with the attributes of the source's first instance; enhanced CT and MR become classic
/// ones; all others, and colours, become secondary captures with positions. Numbers of up to 16 bits are stored as they
/// are, with their rescale slope and intercept; wider whole numbers too if they fit; others are spread over
/// 65536 steps, and a notice states the largest error. Private attributes, overlays and signatures are left out. The
/// attributes come from `Origin::header`: to write de-identified images, de-identify that. Several frames keep what their
/// sources say of time, echo and diffusion. Pictures without a place in the patient (radiographs, ultrasound, captures) get
/// none, and keep what their source says of spacing; grey ones stay as dark or bright as they were (MONOCHROME1).
///
/// # Errors
/// [`Error::Argument`] without a DICOM origin, when rows and columns are not at right angles, or when the folder has
/// content; [`Error::Unsupported`] for complex and 16-bit colour voxels; [`Error::Io`]; [`Error::Cancelled`].
pub fn write_frames(
    frames: &[Volume],
    axes: &[FrameAxis],
    options: &DerivedOptions,
    folder: &Path,
    task: &Task,
) -> Result<(Vec<PathBuf>, Vec<Notice>)> {
    let first = frames.first().ok_or_else(|| Error::Argument("an image without frames".to_owned()))?;
    let origin = first.meta.dicom.clone().ok_or_else(|| {
        Error::Argument(
            "this volume does not come from a DICOM series, so derived instances have no patient and no study; save \
             it as NIfTI, or start from the DICOM series itself"
                .to_owned(),
        )
    })?;
    let mut notices = Vec::new();
    let order = order_between(&first.grid, &origin.grid);
    let aligned = order.is_some();
    let in_order = |frame: &Volume| order.map_or_else(|| frame.clone(), |o| frame.reordered(o));
    let grid = if aligned { origin.grid } else { first.grid };
    let has_place = has_place(first, &origin);
    let planes = Planes::of(&grid)?;
    let parent = folder.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let has_content = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if has_content || folder.is_file() {
        return Err(Error::Argument(format!(
            "{} has content already; name a new or empty folder for the derived series",
            folder.display()
        )));
    }
    let temporary = tempfile::Builder::new().prefix(".insula-").suffix(".part").tempdir_in(parent);
    let temporary = temporary.map_err(Error::io(folder, "create"))?;
    let normal = cross(
        [planes.orientation[0], planes.orientation[1], planes.orientation[2]],
        [planes.orientation[3], planes.orientation[4], planes.orientation[5]],
    );
    let few = instances(&origin);
    let mut stored: Option<Stored> = None;
    let mut names = Vec::new();
    let mut common: Option<InMemDicomObject> = None;
    let slices = grid.size_ijk[2];
    let total = slices * frames.len();
    for n in 0..total {
        let (frame, k) = (n / slices, n % slices);
        task.at("Writing the derived series", n as f32 / total as f32)?;
        // One frame's samples at a time.
        if k == 0 {
            let mut told = Vec::new();
            stored = Some(store(&in_order(&frames[frame]), folder, &mut told)?);
            told.retain(|t| !notices.contains(t));
            notices.extend(told);
        }
        let Some(stored) = &stored else { continue };
        let common = common
            .get_or_insert_with(|| common_of(&origin, stored, aligned, has_place, options, &mut notices));
        let class = text(common, tags::SOP_CLASS_UID).unwrap_or_default();
        let mut d = common.clone();
        stored.describe(&mut d, class == uids::CT_IMAGE_STORAGE);
        if class == uids::SECONDARY_CAPTURE_IMAGE_STORAGE && aligned {
            as_its_source(&mut d, stored, &origin);
        }
        d.text(tags::SOP_INSTANCE_UID, &new_uid());
        d.text(tags::INSTANCE_NUMBER, &(n + 1).to_string());
        if has_place {
            let position = planes.position(k);
            d.decimals(tags::IMAGE_POSITION_PATIENT, &position);
            d.decimals(tags::IMAGE_ORIENTATION_PATIENT, &planes.orientation);
            d.decimals(tags::SLICE_LOCATION, &[dot(position, normal)]);
            d.decimals(tags::PIXEL_SPACING, &planes.pixel_spacing);
            if !aligned || d.get(tags::SLICE_THICKNESS).is_none() {
                d.decimals(tags::SLICE_THICKNESS, &[planes.spacing]);
            }
            if slices > 1 {
                d.decimals(tags::SPACING_BETWEEN_SLICES, &[planes.spacing]);
            }
        }
        let of_frame = frames[frame].meta.dicom.as_deref().unwrap_or(&origin);
        let own = of_frame.slices.get(k).filter(|_| aligned).and_then(Option::as_ref);
        if frames.len() > 1 {
            timing::put(&mut d, own, frame, frames.len(), axes.first());
        }
        let sources: Vec<_> = match own {
            Some(slice) => vec![source_image(slice)],
            None if few.len() <= MANY_SOURCES => few.iter().map(source_image).collect(),
            None => Vec::new(),
        };
        if !sources.is_empty() {
            d.sequence(tags::SOURCE_IMAGE_SEQUENCE, sources);
        }
        d.put(stored.slice(k));
        let name = format!("IM_{:04}.dcm", n + 1);
        modules::write(d, &temporary.path().join(&name))?;
        names.push(folder.join(name));
    }
    appear(temporary, folder)?;
    Ok((names, notices))
}

/// Whether an image has a place in the patient; pictures have none, and their grid is made up.
fn has_place(volume: &Volume, origin: &Origin) -> bool {
    volume.meta.affine_source != AffineSource::None
        || volume.grid.size_ijk[2] > 1
        || text(&origin.header, tags::IMAGE_POSITION_PATIENT).is_some()
}

/// Shades of a capture as those of its source: dark or bright at 0, and no more bits than the samples need, since viewers
/// spread the full range over the screen where there is no window.
fn as_its_source(d: &mut InMemDicomObject, stored: &Stored, origin: &Origin) {
    if stored.is_colour() {
        return;
    }
    if text(&origin.header, tags::PHOTOMETRIC_INTERPRETATION).as_deref() == Some("MONOCHROME1") {
        d.text(tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME1");
    }
    let bits = integer(&origin.header, tags::BITS_STORED).and_then(|b| u16::try_from(b).ok());
    if let Some(bits) = bits.filter(|&b| (1..16).contains(&b) && stored.fits(b)) {
        d.shorts(tags::BITS_STORED, &[bits]);
        d.shorts(tags::HIGH_BIT, &[bits - 1]);
    }
}

/// Gives the finished folder its name.
fn appear(temporary: tempfile::TempDir, folder: &Path) -> Result<()> {
    if folder.is_dir() {
        std::fs::remove_dir(folder).map_err(Error::io(folder, "replace"))?;
    }
    let path = temporary.keep();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Temporary folders are private; results are for the group too. Not worth failing for.
        let _ = std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755));
    }
    std::fs::rename(&path, folder).map_err(|e| {
        let _ = std::fs::remove_dir_all(&path);
        Error::Io { path: folder.to_owned(), action: "create", source: e }
    })
}

/// The class that the derived images have: CT, MR and PET must have a place.
fn class(origin: &Origin, stored: &Stored, has_place: bool) -> &'static str {
    let source = text(&origin.header, tags::SOP_CLASS_UID).unwrap_or_default();
    match source.as_str() {
        _ if !has_place || stored.is_colour() || stored.bits() == 8 => uids::SECONDARY_CAPTURE_IMAGE_STORAGE,
        uids::CT_IMAGE_STORAGE | uids::ENHANCED_CT_IMAGE_STORAGE => uids::CT_IMAGE_STORAGE,
        uids::MR_IMAGE_STORAGE | uids::ENHANCED_MR_IMAGE_STORAGE => uids::MR_IMAGE_STORAGE,
        uids::POSITRON_EMISSION_TOMOGRAPHY_IMAGE_STORAGE => uids::POSITRON_EMISSION_TOMOGRAPHY_IMAGE_STORAGE,
        _ => uids::SECONDARY_CAPTURE_IMAGE_STORAGE,
    }
}

/// What all instances have in common.
fn common_of(
    origin: &Origin,
    stored: &Stored,
    aligned: bool,
    has_place: bool,
    options: &DerivedOptions,
    notices: &mut Vec<Notice>,
) -> InMemDicomObject {
    let source: Attributes<'_> = &origin.header;
    let class = class(origin, stored, has_place);
    let was = text(source, tags::SOP_CLASS_UID).unwrap_or_default();
    let mut d = modules::start(Some(source), class);
    if class == was {
        source.iter().filter(|e| is_kept(e.header().tag)).for_each(|e| {
            d.put(e.clone());
        });
        d.text(tags::SPECIFIC_CHARACTER_SET, "ISO_IR 192");
        d.text(tags::SOP_CLASS_UID, class);
    } else {
        notices.push(Notice::info(
            "class-changed",
            format!("the source is of class {was}; the derived images are of class {class}"),
        ));
        modules::copy(&mut d, source, FROM_OTHER_CLASSES);
        modules::equipment(&mut d);
    }
    let modality = text(source, tags::MODALITY).unwrap_or_else(|| "OT".to_owned());
    modules::series(&mut d, &modality, options.series_number, &options.series_description);
    if has_place {
        modules::frame_of_reference(&mut d, source);
    } else {
        modules::copy(&mut d, source, OF_PICTURES);
    }
    modules::require(&mut d, &[tags::MANUFACTURER, tags::PATIENT_POSITION]);
    modules::laterality(&mut d);
    let (date, time) = now();
    d.text(tags::CONTENT_DATE, &date);
    d.text(tags::CONTENT_TIME, &time);
    image_type(&mut d, source, class);
    d.text(tags::DERIVATION_DESCRIPTION, &options.description);
    if let Some(code) = &options.code {
        d.sequence(tags::DERIVATION_CODE_SEQUENCE, vec![code.to_item()]);
    }
    contribution(&mut d, options, &date, &time);
    match class {
        uids::CT_IMAGE_STORAGE => modules::require(&mut d, &[tags::KVP, tags::ACQUISITION_NUMBER]),
        uids::MR_IMAGE_STORAGE => {
            if text(&d, tags::SCANNING_SEQUENCE).is_none() {
                d.text(tags::SCANNING_SEQUENCE, "RM");
            }
            if text(&d, tags::SEQUENCE_VARIANT).is_none() {
                d.text(tags::SEQUENCE_VARIANT, "NONE");
            }
            let twos =
                [tags::SCAN_OPTIONS, tags::MR_ACQUISITION_TYPE, tags::REPETITION_TIME, tags::ECHO_TIME];
            modules::require(&mut d, &twos);
            modules::require(&mut d, &[tags::ECHO_TRAIN_LENGTH, tags::ACQUISITION_NUMBER]);
        }
        uids::SECONDARY_CAPTURE_IMAGE_STORAGE => {
            d.text(tags::CONVERSION_TYPE, "WSD");
            modules::require(&mut d, &[tags::PATIENT_ORIENTATION]);
        }
        _ => {}
    }
    if !aligned && instances(origin).len() <= MANY_SOURCES {
        modules::referenced_series(&mut d, origin);
    }
    d
}

/// Attributes of the source that stay true of an image derived from it.
fn is_kept(tag: Tag) -> bool {
    let Tag(group, element) = tag;
    if element == 0 || group % 2 == 1 {
        return false;
    }
    match group {
        0x0008 | 0x0018 | 0x0020 => !OF_ONE_INSTANCE.contains(&tag),
        0x0010 | 0x0012 | 0x0032 | 0x0038 | 0x0040 | 0x0054 => true,
        0x0028 => KEPT_OF_PIXELS.contains(&tag),
        // Where it came from and what was taken out stays on record; other signatures and ciphers no longer fit.
        0x0400 => tag == tags::ORIGINAL_ATTRIBUTES_SEQUENCE,
        _ => false,
    }
}

/// True of one instance, or of its pixels, only.
const OF_ONE_INSTANCE: &[Tag] = &[
    tags::SOP_INSTANCE_UID,
    tags::INSTANCE_CREATION_DATE,
    tags::INSTANCE_CREATION_TIME,
    tags::INSTANCE_CREATOR_UID,
    tags::REFERENCED_IMAGE_SEQUENCE,
    tags::REFERENCED_INSTANCE_SEQUENCE,
    tags::REFERENCED_SERIES_SEQUENCE,
    tags::SOURCE_IMAGE_SEQUENCE,
    tags::DERIVATION_CODE_SEQUENCE,
    tags::TRIGGER_TIME,
    tags::INSTANCE_NUMBER,
    tags::IMAGE_POSITION_PATIENT,
    tags::SLICE_LOCATION,
    tags::TEMPORAL_POSITION_INDEX,
    tags::STACK_ID,
    tags::IN_STACK_POSITION_NUMBER,
    tags::PATIENT_ORIENTATION,
    tags::IMAGE_COMMENTS,
    tags::ICON_IMAGE_SEQUENCE,
];

/// Of group 0028: what was burned in, how it was compressed before, and the windows, which are in units of values.
const KEPT_OF_PIXELS: &[Tag] = &[
    tags::BURNED_IN_ANNOTATION,
    tags::RECOGNIZABLE_VISUAL_FEATURES,
    tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED,
    tags::LOSSY_IMAGE_COMPRESSION,
    tags::LOSSY_IMAGE_COMPRESSION_RATIO,
    tags::LOSSY_IMAGE_COMPRESSION_METHOD,
    tags::WINDOW_CENTER,
    tags::WINDOW_WIDTH,
    tags::WINDOW_CENTER_WIDTH_EXPLANATION,
    tags::VOILUT_FUNCTION,
    tags::RESCALE_TYPE,
];

/// What is taken over where the class changes.
const FROM_OTHER_CLASSES: &[Tag] = &[
    tags::BURNED_IN_ANNOTATION,
    tags::RECOGNIZABLE_VISUAL_FEATURES,
    tags::LOSSY_IMAGE_COMPRESSION,
    tags::LOSSY_IMAGE_COMPRESSION_RATIO,
    tags::LOSSY_IMAGE_COMPRESSION_METHOD,
    tags::BODY_PART_EXAMINED,
    tags::LATERALITY,
    tags::PATIENT_POSITION,
    tags::ACQUISITION_DATE,
    tags::ACQUISITION_TIME,
    tags::KVP,
    tags::PROTOCOL_NAME,
    tags::WINDOW_CENTER,
    tags::WINDOW_WIDTH,
    tags::VOILUT_FUNCTION,
];

/// What pictures without a place say of sizes, directions and projection: true of a picture of the same pixels.
const OF_PICTURES: &[Tag] = &[
    tags::PATIENT_ORIENTATION,
    tags::VIEW_POSITION,
    tags::PIXEL_SPACING,
    tags::PIXEL_SPACING_CALIBRATION_TYPE,
    tags::PIXEL_SPACING_CALIBRATION_DESCRIPTION,
    tags::IMAGER_PIXEL_SPACING,
    tags::NOMINAL_SCANNED_PIXEL_SPACING,
    tags::ESTIMATED_RADIOGRAPHIC_MAGNIFICATION_FACTOR,
    tags::PIXEL_ASPECT_RATIO,
    tags::SEQUENCE_OF_ULTRASOUND_REGIONS,
];

/// Image Type (PS3.3 C.7.6.1.1.2): derived, secondary, then what the source says of its kind.
fn image_type(d: &mut InMemDicomObject, source: Attributes<'_>, class: &str) {
    let of_source = text(source, tags::IMAGE_TYPE).unwrap_or_default();
    let mut values = vec!["DERIVED", "SECONDARY"];
    values.extend(of_source.split('\\').skip(2).map(str::trim));
    if values.len() < 3 {
        match class {
            uids::CT_IMAGE_STORAGE => values.push("AXIAL"),
            uids::MR_IMAGE_STORAGE => values.push("OTHER"),
            _ => {}
        }
    }
    d.texts(tags::IMAGE_TYPE, &values);
}

/// Contributing Equipment (PS3.3 C.12.1): this program beside the scanner.
fn contribution(d: &mut InMemDicomObject, options: &DerivedOptions, date: &str, time: &str) {
    let mut item = InMemDicomObject::new_empty();
    let purpose = Code::new("109102", "DCM", "Processing Equipment");
    item.sequence(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, vec![purpose.to_item()]);
    item.text(tags::MANUFACTURER, "Insula");
    item.text(tags::MANUFACTURER_MODEL_NAME, "Insula");
    item.text(tags::SOFTWARE_VERSIONS, env!("CARGO_PKG_VERSION"));
    item.text(tags::CONTRIBUTION_DATE_TIME, &format!("{date}{time}"));
    item.text(tags::CONTRIBUTION_DESCRIPTION, &options.description);
    let before = d.take(tags::CONTRIBUTING_EQUIPMENT_SEQUENCE).and_then(|e| e.into_value().into_items());
    let mut all: Vec<_> = before.into_iter().flatten().collect();
    all.push(item);
    d.sequence(tags::CONTRIBUTING_EQUIPMENT_SEQUENCE, all);
}

/// Rescale of stored values (PS3.3 C.11.1); CT must have it.
pub(super) fn rescale(d: &mut InMemDicomObject, slope: f64, inter: f64, is_ct: bool) {
    if !is_ct && slope == 1.0 && inter == 0.0 {
        return;
    }
    let put = |d: &mut InMemDicomObject, tag, v: f64| {
        d.put(DataElement::new(tag, VR::DS, PrimitiveValue::from(decimal(v))));
    };
    put(d, tags::RESCALE_INTERCEPT, inter);
    put(d, tags::RESCALE_SLOPE, slope);
    if d.get(tags::RESCALE_TYPE).is_none() {
        d.text(tags::RESCALE_TYPE, if is_ct { "HU" } else { "US" });
    }
}
