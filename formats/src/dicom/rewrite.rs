//! Writing a DICOM file that was read: another data set around the same pixels, or around new ones.
//!
//! The header is written anew; pixel data that stay are copied byte for byte, whatever their compression and size.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_object::meta::FileMetaTableBuilder;

use super::PixelElement;
use super::dataset::Encoding;
use super::modules::IMPLEMENTATION;
use super::read::Header;
use crate::error::{Error, Result};

/// Bytes copied at once.
const CHUNK: usize = 1 << 20;

/// The pixel data of a file that is written.
#[derive(Debug)]
pub(super) enum NewPixels {
    /// Those of the file that was read.
    Copied,
    /// Plain samples in the encoding of the file that was read.
    Plain(Vec<u8>),
    /// One compressed stream per frame, in the transfer syntax of the file that was read.
    Frames(Vec<Vec<u8>>),
    /// Plain samples, little endian, where they were compressed: the file becomes Explicit VR Little Endian.
    Unpacked {
        /// All frames.
        bytes: Vec<u8>,
        /// OB for samples of 8 bits, else OW.
        vr: VR,
    },
}

/// How the file is written.
struct Target<'a> {
    syntax: &'a str,
    encoding: Encoding,
}

/// Half-read files are not passed on as whole ones, and directories name every patient of a disk.
pub(super) fn refuse_doubtful(header: &Header) -> Result<()> {
    if header.sop_class_uid == uids::MEDIA_STORAGE_DIRECTORY_STORAGE {
        return Err(Error::unsupported(
            &header.path,
            "a directory of files (DICOMDIR)",
            "files with patients' data",
            "Take the files it lists, and make a new directory of them",
        ));
    }
    let broken = ["dicom-broken-data-set", "dicom-deflate-cut"];
    if let Some(notice) = header.notices.iter().find(|n| broken.contains(&n.code.as_str())) {
        return Err(Error::malformed(&header.path, notice.message.clone(), "a whole data set"));
    }
    Ok(())
}

/// Writes preamble, meta group, data set and pixel data.
pub(super) fn write(
    header: &Header,
    object: InMemDicomObject,
    pixels: &NewPixels,
    path: &Path,
) -> Result<()> {
    let io = || Error::io(path, "write");
    let target = if let NewPixels::Unpacked { .. } = pixels {
        let encoding = Encoding { explicit_vr: true, big_endian: false };
        Target { syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN, encoding }
    } else {
        Target { syntax: &header.transfer_syntax_uid, encoding: header.encoding }
    };
    let file = File::create(path).map_err(io())?;
    let mut out = BufWriter::with_capacity(CHUNK, file);
    // 128 bytes in which programs and anything else can hide (ICS-ALERT-19-162-01) become zeros.
    out.write_all(&[0; 128]).map_err(io())?;
    out.write_all(b"DICM").map_err(io())?;
    let uid = |tag: Tag| {
        let text = object.get(tag).and_then(|e| e.to_str().ok().map(|s| s.into_owned()));
        text.map(|t| t.trim_end_matches(['\0', ' ']).to_owned()).unwrap_or_default()
    };
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(uid(tags::SOP_CLASS_UID))
        .media_storage_sop_instance_uid(uid(tags::SOP_INSTANCE_UID))
        .transfer_syntax(target.syntax)
        .implementation_class_uid(IMPLEMENTATION)
        .implementation_version_name(concat!("INSULA_", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|e| refused(path, &e))?;
    meta.write(&mut out).map_err(|e| refused(path, &e))?;
    let is_deflated =
        [uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, uids::JPIP_REFERENCED_DEFLATE].contains(&target.syntax);
    if is_deflated {
        let mut deflater = flate2::write::DeflateEncoder::new(&mut out, flate2::Compression::default());
        write_data_set(header, &target, object, pixels, &mut deflater)?;
        deflater.finish().map_err(io())?;
    } else {
        write_data_set(header, &target, object, pixels, &mut out)?;
    }
    out.flush().map_err(io())
}

fn refused(path: &Path, error: &dyn std::error::Error) -> Error {
    Error::unsupported(
        path,
        format!("a value that cannot be written ({error})"),
        "values of PS3.5",
        "Export the file again as Explicit VR Little Endian",
    )
}

fn write_data_set(
    header: &Header,
    target: &Target<'_>,
    object: InMemDicomObject,
    pixels: &NewPixels,
    out: &mut dyn Write,
) -> Result<()> {
    let path = &header.path;
    // Only how elements are written is taken from this: compression happens around it.
    let uid = match (target.encoding.explicit_vr, target.encoding.big_endian) {
        (true, true) => "1.2.840.10008.1.2.2",
        (false, false) => uids::IMPLICIT_VR_LITTLE_ENDIAN,
        _ => uids::EXPLICIT_VR_LITTLE_ENDIAN,
    };
    let meta = FileMetaTableBuilder::new().transfer_syntax(uid).build().map_err(|e| refused(path, &e))?;
    let mut bytes = Vec::new();
    object.with_exact_meta(meta).write_dataset(&mut bytes).map_err(|e| refused(path, &e))?;
    out.write_all(&bytes).map_err(Error::io(path, "write"))?;
    let Some(element) = &header.pixels else { return Ok(()) };
    let io = || Error::io(path, "write");
    match pixels {
        NewPixels::Copied => copy_pixels(header, element, out),
        NewPixels::Plain(bytes) => write_plain(target.encoding, element.tag, element.vr, bytes, path, out),
        NewPixels::Unpacked { bytes, vr } => {
            write_plain(target.encoding, tags::PIXEL_DATA, *vr, bytes, path, out)
        }
        NewPixels::Frames(frames) => {
            element_head(target.encoding, element.tag, element.vr, u32::MAX, out).map_err(io())?;
            // An empty offset table, then a fragment per frame (PS3.5 A.4).
            let empty: &[u8] = &[];
            for frame in std::iter::once(empty).chain(frames.iter().map(Vec::as_slice)) {
                let padded = frame.len().next_multiple_of(2);
                let len = u32::try_from(padded).map_err(|_| too_large(path, padded as u64))?;
                out.write_all(&[0xfe, 0xff, 0x00, 0xe0]).map_err(io())?;
                out.write_all(&len.to_le_bytes()).map_err(io())?;
                out.write_all(frame).map_err(io())?;
                if padded > frame.len() {
                    out.write_all(&[0]).map_err(io())?;
                }
            }
            out.write_all(&DELIMITER).map_err(io())
        }
    }
}

/// Sequence delimitation item: (FFFE,E0DD), of no length.
const DELIMITER: [u8; 8] = [0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0];

fn too_large(path: &Path, bytes: u64) -> Error {
    Error::malformed(path, format!("pixel data of {bytes} bytes"), "less than 4 GiB, not compressed")
}

fn element_head(encoding: Encoding, tag: Tag, vr: VR, len: u32, out: &mut dyn Write) -> std::io::Result<()> {
    let two = |n: u16| if encoding.big_endian { n.to_be_bytes() } else { n.to_le_bytes() };
    let four = |n: u32| if encoding.big_endian { n.to_be_bytes() } else { n.to_le_bytes() };
    let mut head = Vec::with_capacity(12);
    head.extend(two(tag.group()));
    head.extend(two(tag.element()));
    if encoding.explicit_vr {
        head.extend(vr.to_bytes());
        head.extend([0, 0]);
    }
    head.extend(four(len));
    out.write_all(&head)
}

/// The length of a plain value as declared; values have an even one (PS3.5 7.1.1).
fn declared(path: &Path, len: u64) -> Result<u32> {
    u32::try_from(len.next_multiple_of(2)).ok().filter(|&n| n < u32::MAX).ok_or_else(|| too_large(path, len))
}

fn write_plain(
    encoding: Encoding,
    tag: Tag,
    vr: VR,
    bytes: &[u8],
    path: &Path,
    out: &mut dyn Write,
) -> Result<()> {
    let io = || Error::io(path, "write");
    element_head(encoding, tag, vr, declared(path, bytes.len() as u64)?, out).map_err(io())?;
    out.write_all(bytes).map_err(io())?;
    if bytes.len() % 2 == 1 {
        out.write_all(&[0]).map_err(io())?;
    }
    Ok(())
}

fn copy_pixels(header: &Header, pixels: &PixelElement, out: &mut dyn Write) -> Result<()> {
    let path = &header.path;
    let value = pixel_value(header, pixels)?;
    let len = if pixels.len.is_none() { u32::MAX } else { declared(path, value.1)? };
    let io = || Error::io(path, "write");
    element_head(header.encoding, pixels.tag, pixels.vr, len, out).map_err(io())?;
    copy(header, value, &mut |piece| out.write_all(piece).map_err(io()))?;
    // Some writers forget that lengths are even.
    if pixels.len.is_some() && value.1 % 2 == 1 {
        out.write_all(&[0]).map_err(io())?;
    }
    if pixels.len.is_none() {
        out.write_all(&DELIMITER).map_err(io())?;
    }
    Ok(())
}

/// Start and length of the pixel data's value in the data set. Of encapsulated data: all items, without the
/// delimiter.
pub(super) fn pixel_value(header: &Header, pixels: &PixelElement) -> Result<(u64, u64)> {
    let total = header.data_len();
    let mut reader = header.reader()?;
    if let Some(len) = pixels.len {
        if pixels.start.checked_add(len).is_none_or(|end| end > total) {
            return Err(Error::malformed(
                &header.path,
                format!("{} bytes of pixel data", total.saturating_sub(pixels.start)),
                format!("{len}"),
            ));
        }
        return Ok((pixels.start, len));
    }
    // Items (FFFE,E000) with a length each; encapsulated data are little endian (PS3.5 A.4).
    let mut at = pixels.start;
    loop {
        let mut head = [0; 8];
        if total.saturating_sub(at) < 8 {
            // The delimiter is missing; every fragment is there.
            return Ok((pixels.start, at - pixels.start));
        }
        reader.read_at(at, &mut head)?;
        let [a, b, c, d, l0, l1, l2, l3] = head;
        let len = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
        match [a, b, c, d] {
            [0xfe, 0xff, 0xdd, 0xe0] => return Ok((pixels.start, at - pixels.start)),
            [0xfe, 0xff, 0x00, 0xe0] if at + 8 + len <= total => at += 8 + len,
            _ => {
                return Err(Error::malformed(
                    &header.path,
                    format!("compressed pixel data broken at byte {at} of the data set"),
                    "whole fragments (PS3.5 A.4)",
                ));
            }
        }
    }
}

/// Hands a piece of the data set over in chunks.
pub(super) fn copy(
    header: &Header,
    (start, len): (u64, u64),
    take: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; usize::try_from(len).unwrap_or(CHUNK).min(CHUNK)];
    let mut reader = header.reader()?;
    let mut done = 0;
    while done < len {
        let count = usize::try_from(len - done).unwrap_or(CHUNK).min(CHUNK);
        let Some(piece) = buffer.get_mut(..count) else { break };
        reader.read_at(start + done, piece)?;
        take(piece)?;
        done += count as u64;
    }
    Ok(())
}
