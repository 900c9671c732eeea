//! JPEG: baseline and progressive, turned upright by EXIF.

use std::io::Cursor;

use ::image::ImageDecoder;
use ::image::codecs::jpeg::JpegDecoder;
use ::image::metadata::Orientation;

use super::{check_claim, complaint, decode, fenced, picture};
use crate::block;
use crate::error::{Error, Result};
use crate::notice::Notice;
use crate::registry::Format;
use crate::source::Source;
use crate::task::Task;
use crate::volume::Image;

/// The format; see the [module documentation](super).
pub struct Jpeg;

/// A block of 64 samples takes at least two bits in a baseline file; an empty photograph comes near 300:1.
const RATIO: u64 = 512;

impl Format for Jpeg {
    fn id(&self) -> &'static str {
        "jpeg"
    }

    fn name(&self) -> &'static str {
        "JPEG"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["jpg", "jpeg"]
    }

    fn sniff(&self, source: &Source) -> bool {
        source.raw_head.starts_with(&[0xff, 0xd8, 0xff])
    }

    fn read(&self, source: &Source, task: &Task) -> Result<Image> {
        let path = source.path.as_path();
        let bytes = block::read_from(path, 0, task)?;
        let mut notices = Vec::new();
        match frame(&bytes) {
            Frame::None => {
                return Err(Error::malformed(path, "no picture in the file", "a JPEG frame and scan"));
            }
            Frame::Cut { claim } => {
                check_claim(path, claim, bytes.len() as u64, RATIO)?;
                notices.push(Notice::warning(
                    "truncated-jpeg",
                    "the file ends before the picture does: the missing part is shown grey",
                ));
            }
            Frame::Whole { claim } => check_claim(path, claim, bytes.len() as u64, RATIO)?,
        }
        fenced(path, || {
            let mut decoder = JpegDecoder::new(Cursor::new(&bytes)).map_err(complaint(path, "JPEG"))?;
            check_claim(path, decoder.total_bytes(), bytes.len() as u64, RATIO)?;
            let mut encoding = "JPEG".to_owned();
            if let Ok(orientation) = decoder.orientation()
                && orientation != Orientation::NoTransforms
            {
                encoding.push_str(&format!(", EXIF orientation {}", orientation.to_exif()));
            }
            task.at("Decoding", 0.5)?;
            let voxels = decode(path, decoder, "JPEG")?;
            picture(path, "jpeg", encoding, vec![voxels], notices)
        })
    }
}

/// Bytes of all samples of a JPEG stream, `None` when it has no frame.
pub(super) fn claim(bytes: &[u8]) -> Option<u64> {
    match frame(bytes) {
        Frame::None => None,
        Frame::Cut { claim } | Frame::Whole { claim } => Some(claim),
    }
}

/// What the markers say before anything is decoded. `claim` is the bytes of all samples.
enum Frame {
    None,
    Cut { claim: u64 },
    Whole { claim: u64 },
}

/// Walks the markers (ITU-T T.81, annex B) to the end of the image.
fn frame(bytes: &[u8]) -> Frame {
    let byte = |at: usize| bytes.get(at).copied();
    let word = |at: usize| Some(u64::from(byte(at)?) << 8 | u64::from(byte(at + 1)?));
    let (mut at, mut claim, mut scans) = (2, None, 0);
    loop {
        // To the next marker; inside a scan 0xff00 and restart markers are data.
        while let Some(b) = byte(at) {
            let next = byte(at + 1);
            let is_data = matches!(next, Some(0 | 0xff) | Some(0xd0..=0xd7) | None);
            if b == 0xff && !is_data {
                break;
            }
            at += 1;
        }
        let (Some(marker), Some(claim_now)) = (byte(at + 1), Some(claim.unwrap_or(0))) else {
            return match claim {
                Some(claim) if scans > 0 => Frame::Cut { claim },
                _ => Frame::None,
            };
        };
        match marker {
            0xd9 if scans > 0 => return Frame::Whole { claim: claim_now },
            0xd8 | 0x01 => at += 2,
            _ => {
                // Start of frame, but not DHT, JPG and DAC, which share the range.
                if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
                    let samples = word(at + 5).zip(word(at + 7)).zip(byte(at + 9));
                    claim = samples.map(|((h, w), n)| h * w * u64::from(n));
                }
                scans += u32::from(marker == 0xda);
                at += 2 + word(at + 2).unwrap_or(2).max(2) as usize;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_tell_size_and_end() {
        let mut file = vec![0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0, 2, 0, 3, 1, 1, 0x11, 0];
        assert!(matches!(frame(&file), Frame::None));
        file.extend([0xff, 0xda, 0, 2, 1, 2, 0xff, 0, 0xff, 0xd1, 3]);
        assert!(matches!(frame(&file), Frame::Cut { claim: 6 }));
        file.extend([0xff, 0xd9]);
        assert!(matches!(frame(&file), Frame::Whole { claim: 6 }));
    }
}
