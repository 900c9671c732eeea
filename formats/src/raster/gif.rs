//! GIF; animations become frames over time.

use std::io::Cursor;

use ::image::codecs::gif::GifDecoder;
use ::image::{AnimationDecoder, ImageDecoder};

use super::{TRUSTED_BYTES, check_claim, complaint, fenced, limits, pack, picture, wrap};
use crate::block;
use crate::error::Result;
use crate::notice::Notice;
use crate::registry::Format;
use crate::source::Source;
use crate::task::Task;
use crate::volume::Image;
use crate::voxels::Voxels;

/// The format; see the [module documentation](super).
pub struct Gif;

/// Codes of 12 bits may stand for some thousand pixels of 4 bytes.
const RATIO: u64 = 4096;

impl Format for Gif {
    fn id(&self) -> &'static str {
        "gif"
    }

    fn name(&self) -> &'static str {
        "GIF"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["gif"]
    }

    fn sniff(&self, source: &Source) -> bool {
        source.raw_head.starts_with(b"GIF87a") || source.raw_head.starts_with(b"GIF89a")
    }

    fn read(&self, source: &Source, task: &Task) -> Result<Image> {
        let path = source.path.as_path();
        let bytes = block::read_from(path, 0, task)?;
        let present = bytes.len() as u64;
        fenced(path, || {
            let mut decoder = GifDecoder::new(Cursor::new(&bytes)).map_err(complaint(path, "GIF"))?;
            let (w, h) = decoder.dimensions();
            let each = u64::from(w) * u64::from(h) * 4;
            check_claim(path, each, present, RATIO)?;
            decoder.set_limits(limits(each)).map_err(complaint(path, "GIF"))?;
            let (mut frames, mut notices) = (Vec::new(), Vec::new());
            for frame in decoder.into_frames() {
                task.at("Decoding", 0.5)?;
                let pixels = match frame {
                    Ok(frame) => frame.into_buffer(),
                    Err(e) if frames.is_empty() => return Err(complaint(path, "GIF")(e)),
                    Err(e) => {
                        notices.push(Notice::warning(
                            "truncated-gif",
                            format!("after {} frames the file is damaged: {e}", frames.len()),
                        ));
                        break;
                    }
                };
                frames.push(wrap(pack::<u8, 4>(pixels.into_raw()), w as usize, h as usize)?);
                // A frame takes few bytes when nothing changes; their number is bounded by memory, not by the file.
                if each * (frames.len() as u64 + 1) > TRUSTED_BYTES + 64 * present {
                    notices.push(Notice::warning(
                        "frames-left-out",
                        format!("only the first {} frames were read, to spare memory", frames.len()),
                    ));
                    break;
                }
            }
            let frames = opaque(frames);
            picture(path, "gif", "GIF".to_owned(), frames, notices)
        })
    }
}

/// Drops an alpha channel that hides nothing in any frame.
fn opaque(frames: Vec<Voxels>) -> Vec<Voxels> {
    let is_opaque = |v: &Voxels| matches!(v, Voxels::Rgba8(a) if a.iter().all(|p| p[3] == 255));
    if !frames.iter().all(is_opaque) {
        return frames;
    }
    let drop = |v: Voxels| match v {
        Voxels::Rgba8(a) => Voxels::Rgb8(a.mapv(|[r, g, b, _]| [r, g, b]).into_shared()),
        other => other,
    };
    frames.into_iter().map(drop).collect()
}
