//! Opens an image and converts it to f32, as a program of its own: the subject of `tests/bench/open.py`.
//!
//! `open_f32 FILE` prints the number of values and their sum; `open_f32 --floor FILE` does the least anyone must
//! do: inflate the same gzip file in one call, then one pass from bytes to f32 (for uint8 voxels at byte 352).
#![expect(clippy::print_stdout, reason = "an example")]

use std::path::PathBuf;

use formats::Task;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let path = arguments.pop().ok_or("usage: open_f32 [--floor] FILE")?;
    if arguments.is_empty() {
        let image = formats::open(&path, &Task::silent())?;
        let values = image.first().to_f32();
        println!("{} {:?}", values.len(), values.last());
    } else {
        let compressed = std::fs::read(&path)?;
        let size = compressed.last_chunk().map(|b| u32::from_le_bytes(*b)).ok_or("too short")?;
        let mut bytes = vec![0; size as usize];
        libdeflater::Decompressor::new().gzip_decompress(&compressed, &mut bytes)?;
        drop(compressed);
        let voxels = bytes.get(352..).ok_or("too short")?;
        let values: Vec<f32> = voxels.iter().map(|&v| f32::from(v)).collect();
        println!("{} {:?}", values.len(), values.last());
    }
    Ok(())
}
