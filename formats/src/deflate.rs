//! Gzip written by all processors at once, as a single member that every reader copes with.
//!
//! The data are cut into pieces, each compressed by itself and ended on a byte border by an empty stored block
//! (a "sync flush"), so that the pieces joined are one deflate stream: the layout that pigz made usual.
//! Readers that stop after the first gzip member, of which there are many, still read everything.

use std::io::Write;
use std::path::Path;

use flate2::{Compress, Compression, FlushCompress, Status};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::task::Task;

/// Bytes per piece: large enough that cutting costs no more than about 0.1 % in size.
const PIECE: usize = 1 << 20;

/// Pieces between two looks at the cancel flag.
const BATCH: usize = 16;

/// zlib level: over several processors 6 costs a few milliseconds more than 4 and makes label maps 9 % smaller.
const LEVEL: u32 = 6;

/// Writes `parts`, one after the other, as one gzip member.
///
/// # Errors
/// [`Error::Io`] (naming `path`), [`Error::Cancelled`].
pub fn gzip(path: &Path, out: &mut impl Write, parts: &[&[u8]], task: &Task) -> Result<()> {
    // No name, no time: the same data give the same file. 255: unknown operating system (RFC 1952 §2.3).
    put(path, out, &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255])?;
    let pieces: Vec<&[u8]> = parts.iter().flat_map(|p| p.chunks(PIECE)).collect();
    let mut crc = libdeflater::Crc::new();
    let mut size = 0_u32;
    for (n, batch) in pieces.chunks(BATCH).enumerate() {
        task.at("Compressing", (n * BATCH) as f32 / pieces.len() as f32)?;
        let compressed: Vec<Result<Vec<u8>>> = batch.par_iter().map(|piece| deflate(piece)).collect();
        for (piece, compressed) in batch.iter().zip(compressed) {
            crc.update(piece);
            size = size.wrapping_add(piece.len() as u32); // The trailer holds the size modulo 2^32.
            put(path, out, &compressed?)?;
        }
    }
    put(path, out, &[3, 0])?; // A last, empty block with fixed codes ends the stream.
    put(path, out, &crc.sum().to_le_bytes())?;
    put(path, out, &size.to_le_bytes())
}

/// `parts`, one after the other, as the pieces of one zlib stream (RFC 1950). In memory, because MetaImage states
/// the compressed size before the data.
///
/// # Errors
/// [`Error::Cancelled`].
pub fn zlib(parts: &[&[u8]], task: &Task) -> Result<Vec<Vec<u8>>> {
    let pieces: Vec<&[u8]> = parts.iter().flat_map(|p| p.chunks(PIECE)).collect();
    // Deflate with a 32 KiB window, default level.
    let mut out = vec![vec![0x78, 0x9c]];
    let mut adler = adler2::Adler32::new();
    for (n, batch) in pieces.chunks(BATCH).enumerate() {
        task.at("Compressing", (n * BATCH) as f32 / pieces.len() as f32)?;
        let compressed: Vec<Result<Vec<u8>>> = batch.par_iter().map(|piece| deflate(piece)).collect();
        for (piece, compressed) in batch.iter().zip(compressed) {
            adler.write_slice(piece);
            out.push(compressed?);
        }
    }
    out.push(vec![3, 0]);
    out.push(adler.checksum().to_be_bytes().to_vec());
    Ok(out)
}

fn put(path: &Path, out: &mut impl Write, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes).map_err(Error::io(path, "write"))
}

/// One piece as raw deflate blocks ending on a byte border, none of them marked last.
fn deflate(piece: &[u8]) -> Result<Vec<u8>> {
    let mut compress = Compress::new(Compression::new(LEVEL), false);
    let mut out = Vec::with_capacity(piece.len() / 2 + 64);
    loop {
        let rest = piece.get(compress.total_in() as usize..).unwrap_or_default();
        let status = compress.compress_vec(rest, &mut out, FlushCompress::Sync);
        if !matches!(status, Ok(Status::Ok | Status::BufError)) {
            return Err(Error::Argument("the compressor failed".to_owned()));
        }
        // The flush is complete when room is left over.
        if compress.total_in() as usize == piece.len() && out.len() < out.capacity() {
            return Ok(out);
        }
        out.reserve(piece.len() / 4 + 64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn any_parts_come_back_through_another_reader() {
        let noise = |n: usize| (0..n as u64).map(|v| (v.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8);
        let cases: [Vec<Vec<u8>>; 4] = [
            vec![],
            vec![vec![], vec![1, 2, 3]],
            vec![vec![0; 3 * PIECE + 17], noise(PIECE * 2).collect()],
            vec![noise(PIECE).collect(), vec![9; 1], noise(5).collect()],
        ];
        for parts in cases {
            let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let mut file = Vec::new();
            gzip(Path::new("x"), &mut file, &slices, &Task::silent()).unwrap();
            let mut back = Vec::new();
            flate2::read::GzDecoder::new(file.as_slice()).read_to_end(&mut back).unwrap();
            assert!(back == parts.concat());
            let mut out = vec![0; back.len()];
            assert_eq!(libdeflater::Decompressor::new().gzip_decompress(&file, &mut out), Ok(back.len()));
        }
    }
}
