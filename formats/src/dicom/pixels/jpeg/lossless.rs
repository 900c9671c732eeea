//! Predictive, lossless JPEG (ITU-T T.81 annex H).

use super::bits::{Bits, Huffman};
use super::{Frame, Scan, Tables};
use crate::dicom::pixels::Sample;
use crate::dicom::pixels::codec::Fault;

/// Decodes a scan into its places of `out`; returns the bytes used.
pub(super) fn scan<T: Sample>(
    frame: &Frame,
    scan: &Scan,
    tables: &Tables,
    data: &[u8],
    out: &mut [T],
) -> Result<usize, Fault> {
    if frame.components.iter().any(|c| (c.h, c.v) != (1, 1)) && scan.members.len() > 1 {
        return Err(Fault::Unsupported("lossless JPEG with subsampled components".to_owned()));
    }
    let predictor = scan.start;
    if !(1..=7).contains(&predictor) || scan.low >= frame.precision {
        return Err(Fault::malformed(format!("lossless JPEG with predictor {predictor}")));
    }
    let missing = || Fault::malformed("a lossless JPEG scan without its Huffman table");
    let huffman = scan.members.iter().map(|m| tables.dc.get(m.dc)?.as_ref());
    let huffman: Vec<&Huffman> = huffman.collect::<Option<_>>().ok_or_else(missing)?;

    let (columns, stride) = (frame.columns, frame.components.len());
    let count = scan.members.len();
    let initial = 1_i32 << (frame.precision - scan.low - 1);
    // Rows of all members, interleaved: the one above and the one under way.
    let mut above = vec![0_i32; columns * count];
    let mut row = above.clone();
    let mut bits = Bits::new(data);
    let mut until_restart = tables.restart;
    let mut is_first = true;
    for out in out.chunks_exact_mut(columns * stride) {
        let mut at_start = is_first;
        for x in 0..columns {
            if tables.restart > 0 {
                if until_restart == 0 {
                    if !bits.restart() {
                        return Err(Fault::malformed("lossless JPEG without an announced restart marker"));
                    }
                    until_restart = tables.restart;
                    // Prediction begins anew, as at the start of the scan (H.1.2.1).
                    (is_first, at_start) = (true, true);
                }
                until_restart -= 1;
            }
            for (i, table) in huffman.iter().enumerate() {
                let category = u32::from(bits.symbol(table).ok_or_else(bad_code)?);
                let difference = match category {
                    0..=15 => bits.extend(category),
                    16 => 32768,
                    _ => return Err(bad_code()),
                };
                let here = x * count + i;
                let prediction = if at_start {
                    initial
                } else if x == 0 {
                    above[here]
                } else if is_first {
                    row[here - count]
                } else {
                    let (a, b, c) = (row[here - count], above[here], above[here - count]);
                    match predictor {
                        1 => a,
                        2 => b,
                        3 => c,
                        4 => a + b - c,
                        5 => a + ((b - c) >> 1),
                        6 => b + ((a - c) >> 1),
                        _ => (a + b) >> 1,
                    }
                };
                row[here] = (prediction + difference) & 0xffff;
            }
            at_start = false;
        }
        for (pixel, values) in out.chunks_exact_mut(stride).zip(row.chunks_exact(count)) {
            for (member, &v) in scan.members.iter().zip(values) {
                pixel[member.component] = T::wrap(v << scan.low);
            }
        }
        if bits.is_past_end() {
            return Err(Fault::malformed("lossless JPEG data that end early"));
        }
        std::mem::swap(&mut above, &mut row);
        is_first = false;
    }
    Ok(bits.end())
}

fn bad_code() -> Fault {
    Fault::malformed("lossless JPEG data with a code that does not exist")
}
