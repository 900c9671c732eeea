//! The header, whatever its version and byte order, checked field by field.
//!
//! References: nifti1.h and nifti2.h of the NIfTI Data Format Working Group
//! (<https://nifti.nimh.nih.gov/nifti-1>, <https://nifti.nimh.nih.gov/nifti-2>); Analyze 7.5 `dbh.h`.

use std::path::Path;

use nifti::{NiftiHeader, NiftiType};

use crate::error::{Error, Result};

/// Bytes of a NIfTI-1 or Analyze header.
pub const LEN_1: usize = 348;
/// Bytes of a NIfTI-2 header.
pub const LEN_2: usize = 540;
/// The NIfTI-2 magic ends in what line-end conversion would break.
pub const MAGIC_2: [u8; 4] = *b"\r\n\x1a\n";

/// Which layout a header has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Analyze 7.5: no magic, no orientation.
    Analyze,
    /// 348 bytes, 16-bit sizes, single precision.
    Nifti1,
    /// 540 bytes, 64-bit sizes, double precision.
    Nifti2,
}

impl Version {
    /// Header length without the four extender bytes.
    pub fn header_len(self) -> usize {
        if self == Self::Nifti2 { LEN_2 } else { LEN_1 }
    }

    /// Name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Analyze => "Analyze 7.5",
            Self::Nifti1 => "NIfTI-1",
            Self::Nifti2 => "NIfTI-2",
        }
    }
}

/// Byte order of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

impl Order {
    /// This machine's.
    pub const NATIVE: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };
}

/// The header in one shape for all versions. Numbers are as in the file unless a method says otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    pub version: Version,
    pub order: Order,
    /// Header and voxels in one file (`n+1`, `n+2`) rather than in a pair.
    pub is_single: bool,
    /// Sizes of the used dimensions, 1 to 7 of them, each at least 1 (checked).
    pub dims: Vec<u64>,
    pub datatype: i16,
    pub bitpix: i16,
    pub pixdim: [f64; 8],
    pub vox_offset: f64,
    pub slope: f64,
    pub inter: f64,
    pub cal_min: f64,
    pub cal_max: f64,
    pub qform_code: i32,
    pub sform_code: i32,
    /// Quaternion b, c, d.
    pub quatern: [f64; 3],
    /// Position of voxel (0, 0, 0) by the qform.
    pub qoffset: [f64; 3],
    pub srow: [[f64; 4]; 3],
    pub xyzt_units: i32,
    pub intent_code: i32,
    pub intent_p: [f64; 3],
    pub intent_name: String,
    pub descrip: String,
    pub aux_file: String,
    pub dim_info: u8,
    pub slice_code: i32,
    pub slice_start: i64,
    pub slice_end: i64,
    pub slice_duration: f64,
    pub toffset: f64,
}

/// Whether the first bytes look like a header: the right size field, or the right magic.
pub fn looks_like_header(head: &[u8]) -> bool {
    let size = Fields { bytes: head, order: Order::Little }.i32(0);
    let magic_1 = head.get(344..348).is_some_and(|m| matches!(m, b"n+1\0" | b"ni1\0"));
    let magic_2 = head
        .get(4..12)
        .is_some_and(|m| (m.starts_with(b"n+2\0") || m.starts_with(b"ni2\0")) && m.ends_with(&MAGIC_2));
    let is_header_size = |n: i32| n == LEN_1 as i32 || n == LEN_2 as i32;
    magic_1 || magic_2 || size.is_some_and(|n| is_header_size(n) || is_header_size(n.swap_bytes()))
}

/// Whether the magic says that the voxels follow in the same file.
pub fn is_single(head: &[u8]) -> bool {
    head.get(344..348) == Some(b"n+1\0") || head.get(4..8) == Some(b"n+2\0")
}

/// Reads the header at the start of `bytes` (which may be longer, or too short).
///
/// Without a magic it is Analyze 7.5, accepted only when `may_be_analyze` (there is an `.img` beside it).
///
/// # Errors
/// [`Error::Malformed`] for a cut header, a wrong magic, and sizes out of range.
pub fn parse(path: &Path, bytes: &[u8], may_be_analyze: bool) -> Result<Header> {
    let little = Fields { bytes, order: Order::Little };
    let size = little.i32(0).ok_or_else(|| cut(path, bytes.len(), LEN_1))?;
    if size == LEN_2 as i32 || size.swap_bytes() == LEN_2 as i32 {
        let order = if size == LEN_2 as i32 { Order::Little } else { Order::Big };
        return parse_2(path, bytes, order);
    }
    let header: &[u8; LEN_1] = bytes.first_chunk().ok_or_else(|| cut(path, bytes.len(), LEN_1))?;
    let big = Fields { bytes, order: Order::Big };
    let order = if size == LEN_1 as i32 {
        Order::Little
    } else if size.swap_bytes() == LEN_1 as i32 {
        Order::Big
    } else if little.i16(40).is_some_and(|n| (1..=7).contains(&n)) {
        Order::Little // Some writers leave the size field wrong; the number of dimensions tells the order.
    } else {
        Order::Big
    };
    let fields = if order == Order::Little { &little } else { &big };
    let dims = dims(path, (0..8).map(|n| fields.i16(40 + 2 * n).map(i64::from)))?;
    let is_single = match header.last_chunk::<4>() {
        Some(b"n+1\0") => true,
        Some(b"ni1\0") => false,
        magic if may_be_analyze && magic.is_some_and(|m| m[..2] != *b"n+" && m[..2] != *b"ni") => {
            return parse_1(path, header, order, Version::Analyze, false, dims);
        }
        magic => {
            let found: String = magic.unwrap_or(&[0; 4]).escape_ascii().to_string();
            return Err(Error::malformed(
                path,
                format!("the magic “{found}” at byte 344 of the header"),
                "“n+1\\x00” (one file) or “ni1\\x00” (.hdr with .img); Analyze 7.5 needs an .img file beside it",
            ));
        }
    };
    parse_1(path, header, order, Version::Nifti1, is_single, dims)
}

/// The numbers of a 348-byte header. The crate `nifti` guesses the byte order from `dim[0]` alone, which by now is
/// known to be in 1..=7 in `order` (and so cannot be in the other), and panics only in its affine code, unused here.
fn parse_1(
    path: &Path,
    bytes: &[u8; LEN_1],
    order: Order,
    version: Version,
    is_single: bool,
    dims: Vec<u64>,
) -> Result<Header> {
    let mut bytes = *bytes;
    if version == Version::Analyze
        && let Some(magic) = bytes.last_chunk_mut::<4>()
    {
        *magic = *b"ni1\0"; // The crate insists on a magic; the fields shared with Analyze lie in the same places.
    }
    let h = NiftiHeader::from_reader(bytes.as_slice())
        .map_err(|e| Error::malformed(path, format!("a header that does not parse ({e})"), "NIfTI-1"))?;
    let wide = |v: &[f32; 4]| v.map(f64::from);
    let mut header = Header {
        version,
        order,
        is_single,
        dims,
        datatype: h.datatype,
        bitpix: h.bitpix,
        pixdim: h.pixdim.map(f64::from),
        vox_offset: h.vox_offset.into(),
        slope: h.scl_slope.into(),
        inter: h.scl_inter.into(),
        cal_min: h.cal_min.into(),
        cal_max: h.cal_max.into(),
        qform_code: h.qform_code.into(),
        sform_code: h.sform_code.into(),
        quatern: [h.quatern_b, h.quatern_c, h.quatern_d].map(f64::from),
        qoffset: [h.quatern_x, h.quatern_y, h.quatern_z].map(f64::from),
        srow: [wide(&h.srow_x), wide(&h.srow_y), wide(&h.srow_z)],
        xyzt_units: h.xyzt_units.into(),
        intent_code: h.intent_code.into(),
        intent_p: [h.intent_p1, h.intent_p2, h.intent_p3].map(f64::from),
        intent_name: text(&h.intent_name),
        descrip: text(&h.descrip),
        aux_file: text(&h.aux_file),
        dim_info: h.dim_info,
        slice_code: h.slice_code.into(),
        slice_start: h.slice_start.into(),
        slice_end: h.slice_end.into(),
        slice_duration: h.slice_duration.into(),
        toffset: h.toffset.into(),
    };
    if version == Version::Analyze {
        // Fields that Analyze uses otherwise. SPM's scale factor lies where NIfTI keeps the slope.
        header.inter = 0.0;
        (header.qform_code, header.sform_code, header.intent_code, header.xyzt_units) = (0, 0, 0, 0);
        header.intent_p = [0.0; 3];
        header.intent_name.clear();
        (header.dim_info, header.slice_code, header.slice_start, header.slice_end) = (0, 0, 0, 0);
        (header.slice_duration, header.toffset) = (0.0, 0.0);
    }
    Ok(header)
}

fn parse_2(path: &Path, bytes: &[u8], order: Order) -> Result<Header> {
    let bytes = bytes.get(..LEN_2).ok_or_else(|| cut(path, bytes.len(), LEN_2))?;
    let f = Fields { bytes, order };
    let is_single = match bytes.get(4..8) {
        Some(b"n+2\0") => true,
        Some(b"ni2\0") => false,
        magic => {
            let found = magic.unwrap_or_default().escape_ascii().to_string();
            return Err(Error::malformed(
                path,
                format!("the magic “{found}”"),
                "“n+2\\x00” or “ni2\\x00” in a header of 540 bytes",
            ));
        }
    };
    if bytes.get(8..12) != Some(MAGIC_2.as_slice()) {
        return Err(Error::malformed(
            path,
            "a NIfTI-2 header whose line-end bytes were changed",
            "0d 0a 1a 0a at byte 8 (a transfer in text mode damages files)",
        ));
    }
    let dims = dims(path, (0..8).map(|n| f.i64(16 + 8 * n)))?;
    // The length was checked, so that no field is missing.
    let real = |at| f.f64(at).unwrap_or_default();
    let int = |at| f.i32(at).unwrap_or_default();
    let long = |at| f.i64(at).unwrap_or_default();
    let row = |at: usize| [0, 8, 16, 24].map(|n| real(at + n));
    let string = |at: usize, n: usize| text(bytes.get(at..at + n).unwrap_or_default());
    Ok(Header {
        version: Version::Nifti2,
        order,
        is_single,
        dims,
        datatype: f.i16(12).unwrap_or_default(),
        bitpix: f.i16(14).unwrap_or_default(),
        pixdim: [0, 1, 2, 3, 4, 5, 6, 7].map(|n| real(104 + 8 * n)),
        vox_offset: long(168) as f64,
        slope: real(176),
        inter: real(184),
        cal_max: real(192),
        cal_min: real(200),
        slice_duration: real(208),
        toffset: real(216),
        slice_start: long(224),
        slice_end: long(232),
        descrip: string(240, 80),
        aux_file: string(320, 24),
        qform_code: int(344),
        sform_code: int(348),
        quatern: [352, 360, 368].map(real),
        qoffset: [376, 384, 392].map(real),
        srow: [400, 432, 464].map(row),
        slice_code: int(496),
        xyzt_units: int(500),
        intent_code: int(504),
        intent_p: [80, 88, 96].map(real),
        intent_name: string(508, 16),
        dim_info: bytes.get(524).copied().unwrap_or_default(),
    })
}

/// Sizes of the used dimensions out of `dim[0..8]`.
fn dims(path: &Path, dim: impl Iterator<Item = Option<i64>>) -> Result<Vec<u64>> {
    let dim: Vec<i64> = dim.flatten().collect();
    let [count, sizes @ ..] = dim.as_slice() else {
        return Err(cut(path, 0, LEN_1));
    };
    let used = usize::try_from(*count).ok().filter(|n| (1..=7).contains(n)).and_then(|n| sizes.get(..n));
    let used = used
        .ok_or_else(|| Error::malformed(path, format!("{count} dimensions (dim[0])"), "1 to 7 dimensions"))?;
    let positive = |v: &i64| u64::try_from(*v).ok().filter(|v| *v > 0);
    used.iter().map(positive).collect::<Option<Vec<u64>>>().ok_or_else(|| {
        let sizes: Vec<String> = used.iter().map(ToString::to_string).collect();
        Error::malformed(path, format!("dimensions {}", sizes.join(" × ")), "sizes of at least 1")
    })
}

impl Header {
    /// The voxel type.
    ///
    /// # Errors
    /// [`Error::Malformed`] for numbers that mean nothing, [`Error::Unsupported`] for types this program does
    /// not hold.
    pub fn voxel_type(&self, path: &Path) -> Result<NiftiType> {
        const SUPPORTED: &str =
            "integers of 8 to 64 bits, float32, float64, complex64, complex128, RGB24, RGBA32";
        let refuse = |what: &str| {
            Err(Error::unsupported(
                path,
                what,
                SUPPORTED,
                "Convert the file to one of these types, for example to float64",
            ))
        };
        if self.datatype == 1 {
            return refuse("voxels of one bit (datatype 1, binary)");
        }
        let by_code = NiftiHeader { datatype: self.datatype, ..NiftiHeader::default() };
        match by_code.data_type() {
            Ok(NiftiType::Float128) => refuse("128-bit floating point (datatype 1536)"),
            Ok(NiftiType::Complex256) => refuse("256-bit complex numbers (datatype 2048)"),
            Ok(t) => Ok(t),
            Err(_) => {
                Err(Error::malformed(path, format!("the voxel type {} (datatype)", self.datatype), SUPPORTED))
            }
        }
    }
}

fn cut(path: &Path, have: usize, need: usize) -> Error {
    Error::malformed(path, format!("a header cut short after {have} bytes"), format!("{need} bytes"))
}

/// Text up to the first NUL; bytes that are not UTF-8 are read as Latin-1.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    let bytes = bytes.get(..end).unwrap_or_default();
    let text = std::str::from_utf8(bytes)
        .map_or_else(|_| bytes.iter().map(|&b| char::from(b)).collect(), str::to_owned);
    text.trim_end().to_owned()
}

/// Numbers at byte positions, in the file's order; `None` past the end.
struct Fields<'a> {
    bytes: &'a [u8],
    order: Order,
}

impl Fields<'_> {
    fn at<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let mut b: [u8; N] = *self.bytes.get(at..)?.first_chunk()?;
        if self.order == Order::Big {
            b.reverse();
        }
        Some(b)
    }
    fn i16(&self, at: usize) -> Option<i16> {
        self.at(at).map(i16::from_le_bytes)
    }
    fn i32(&self, at: usize) -> Option<i32> {
        self.at(at).map(i32::from_le_bytes)
    }
    fn i64(&self, at: usize) -> Option<i64> {
        self.at(at).map(i64::from_le_bytes)
    }
    fn f64(&self, at: usize) -> Option<f64> {
        self.at(at).map(f64::from_le_bytes)
    }
}

/// Most header extensions kept: files have a few, and each takes more memory than the shortest one takes in the file.
const MAX_EXTENSIONS: usize = 1000;

/// Header extensions `(code, content)` in the bytes between the header and the voxels, which start with the four
/// extender bytes. Contents keep their padding. The second value tells what was wrong with the chain, if anything.
pub fn extensions(after_header: &[u8], order: Order) -> (Vec<(i32, Vec<u8>)>, Option<String>) {
    let mut found = Vec::new();
    let Some((extender, mut rest)) = after_header.split_first_chunk::<4>() else { return (found, None) };
    if extender[0] == 0 {
        return (found, None);
    }
    while rest.len() >= 8 {
        if found.len() == MAX_EXTENSIONS {
            let problem = format!("more than {MAX_EXTENSIONS} header extensions; the others were dropped");
            return (found, Some(problem));
        }
        let f = Fields { bytes: rest, order };
        let (Some(size), Some(code)) = (f.i32(0), f.i32(4)) else { break };
        if size == 0 && code == 0 {
            break; // Padding.
        }
        let content = usize::try_from(size).ok().and_then(|n| rest.get(8..n));
        let Some(content) = content else {
            let problem = format!(
                "header extension {} claims {size} bytes where {} are left; it and what follows were dropped",
                found.len() + 1,
                rest.len()
            );
            return (found, Some(problem));
        };
        found.push((code, content.to_vec()));
        rest = rest.get(8 + content.len()..).unwrap_or_default();
    }
    (found, None)
}
