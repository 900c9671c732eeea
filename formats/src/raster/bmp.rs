//! BMP, RLE included.

use std::io::Cursor;

use ::image::ImageDecoder;
use ::image::codecs::bmp::BmpDecoder;

use super::{check_claim, complaint, decode, fenced, picture};
use crate::block;
use crate::error::Result;
use crate::registry::Format;
use crate::source::Source;
use crate::task::Task;
use crate::volume::Image;

/// The format; see the [module documentation](super).
pub struct Bmp;

/// Two bytes of RLE make 255 pixels of 3 bytes; without it a bit makes one pixel.
const RATIO_RLE: u64 = 383;
const RATIO: u64 = 24;

impl Format for Bmp {
    fn id(&self) -> &'static str {
        "bmp"
    }

    fn name(&self) -> &'static str {
        "BMP"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["bmp"]
    }

    fn sniff(&self, source: &Source) -> bool {
        // "BM" alone also begins texts; the size of the second header tells.
        let header = source.raw_head.get(14..18).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        source.raw_head.starts_with(b"BM") && matches!(header, Some(12 | 16 | 40 | 52 | 56 | 64 | 108 | 124))
    }

    fn read(&self, source: &Source, task: &Task) -> Result<Image> {
        let path = source.path.as_path();
        let bytes = block::read_from(path, 0, task)?;
        fenced(path, || {
            let decoder = BmpDecoder::new(Cursor::new(&bytes)).map_err(complaint(path, "BMP"))?;
            let is_rle = matches!(bytes.get(30), Some(1 | 2)); // biCompression
            let ratio = if is_rle { RATIO_RLE } else { RATIO };
            check_claim(path, decoder.total_bytes(), bytes.len() as u64, ratio)?;
            task.at("Decoding", 0.5)?;
            let voxels = decode(path, decoder, "BMP")?;
            picture(path, "bmp", "BMP".to_owned(), vec![voxels], Vec::new())
        })
    }
}
