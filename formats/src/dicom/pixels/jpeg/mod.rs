//! JPEG with Huffman coding: baseline, extended, progressive with 8 or 12 bits, and lossless up to 16 bits.
//!
//! Section numbers are those of ITU-T T.81. Arithmetic coding and hierarchical frames are refused; no writer of
//! DICOM files is known to use them.

mod bits;
mod dct;
mod lossless;

use super::{Photometric, PixelLayout, Sample};
use crate::dicom::pixels::codec::{Colour, Decoded, Fault};
use bits::Huffman;

/// Kind of a frame (table B.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Process {
    Sequential,
    Progressive,
    Lossless,
}

/// A component of the frame (B.2.2).
#[derive(Clone, Debug)]
struct Component {
    id: u8,
    h: usize,
    v: usize,
    quantiser: usize,
}

/// Start of frame (B.2.2).
#[derive(Clone, Debug)]
struct Frame {
    process: Process,
    precision: u32,
    rows: usize,
    columns: usize,
    components: Vec<Component>,
}

/// A component in a scan (B.2.3).
#[derive(Clone, Copy, Debug)]
struct Member {
    component: usize,
    dc: usize,
    ac: usize,
}

/// Start of scan (B.2.3).
#[derive(Clone, Debug)]
struct Scan {
    members: Vec<Member>,
    /// First coefficient, or the predictor of lossless frames.
    start: u8,
    end: u8,
    high: u32,
    /// Successive approximation, or the point transform.
    low: u32,
}

/// Tables in force.
#[derive(Default)]
struct Tables {
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    quantisers: [Option<[u16; 64]>; 4],
    /// MCUs between restart markers; 0 for none.
    restart: usize,
}

/// Decodes one frame; components interleaved, as stored.
pub(super) fn decode<T: Sample>(
    stream: &[u8],
    layout: &PixelLayout,
    out: &mut [T],
) -> Result<Decoded, Fault> {
    let mut tables = Tables::default();
    let mut frame: Option<Frame> = None;
    let mut picture: Option<dct::Picture> = None;
    let mut scanned = 0_u32;
    let mut adobe = None;
    let mut has_jfif = false;
    let mut at = 0;
    if !stream.starts_with(&[0xff, 0xd8]) {
        return Err(Fault::malformed("compressed data without the mark of JPEG"));
    }
    loop {
        // Markers may be preceded by fill bytes; anything else between segments is skipped (B.1.1.2).
        let found = stream.get(at..).unwrap_or_default().iter().position(|&b| b == 0xff);
        let Some(marker_at) = found.map(|p| at + p) else { break };
        let Some(&marker) = stream.get(marker_at + 1) else { break };
        at = marker_at + 2;
        match marker {
            0xff => at = marker_at + 1,
            0 | 1 | 0xd0..=0xd8 => {}
            0xd9 => break,
            _ => {
                let segment = segment(stream, at)?;
                at += segment.len() + 2;
                match marker {
                    0xc0..=0xc3 => {
                        if frame.is_some() {
                            return Err(Fault::malformed("two frames in one JPEG stream"));
                        }
                        let found = start_of_frame(marker, segment)?;
                        check(&found, layout)?;
                        if found.process != Process::Lossless {
                            picture = Some(dct::Picture::new(&found)?);
                        }
                        frame = Some(found);
                    }
                    0xc4 => huffman_tables(segment, &mut tables)?,
                    0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                        return Err(Fault::Unsupported(format!(
                            "JPEG with hierarchical or arithmetic coding (marker FF{marker:02X})"
                        )));
                    }
                    0xdb => quantisers(segment, &mut tables)?,
                    0xdd => {
                        let restart = segment.first_chunk::<2>().map(|b| u16::from_be_bytes(*b));
                        tables.restart = usize::from(restart.unwrap_or(0));
                    }
                    0xe0 if segment.starts_with(b"JFIF\0") => has_jfif = true,
                    0xee if segment.starts_with(b"Adobe") => adobe = segment.get(11).copied(),
                    0xda => {
                        let frame =
                            frame.as_ref().ok_or_else(|| Fault::malformed("a JPEG scan before its frame"))?;
                        let scan = start_of_scan(segment, frame)?;
                        let data = stream.get(at..).unwrap_or_default();
                        at += match &mut picture {
                            Some(picture) => picture.scan(frame, &scan, &tables, data)?,
                            None => lossless::scan(frame, &scan, &tables, data, out)?,
                        };
                        for member in &scan.members {
                            scanned |= 1 << member.component;
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    let frame = frame.ok_or_else(|| Fault::malformed("a JPEG stream without a frame"))?;
    if scanned != (1 << frame.components.len()) - 1 {
        return Err(Fault::malformed("a JPEG stream that ends before all components came"));
    }
    if let Some(picture) = picture {
        picture.finish(&frame, &tables, out)?;
    }
    let is_lossless = frame.process == Process::Lossless;
    let colour = if is_lossless { Colour::AsStored } else { colour(&frame, layout, adobe, has_jfif) };
    Ok(Decoded { colour, precision: frame.precision })
}

/// Whether lossy colours are luma and differences. The stream knows best; Photometric Interpretation is often
/// left at what it was before compression.
fn colour(frame: &Frame, layout: &PixelLayout, adobe: Option<u8>, has_jfif: bool) -> Colour {
    let ids: Vec<u8> = frame.components.iter().map(|c| c.id).collect();
    match adobe {
        _ if frame.components.len() != 3 => Colour::AsStored,
        Some(0) => Colour::Rgb,
        Some(_) => Colour::Ybr,
        None if has_jfif => Colour::Ybr,
        None if ids == *b"RGB" => Colour::Rgb,
        None if layout.photometric == Photometric::Rgb => Colour::Rgb,
        None => Colour::Ybr,
    }
}

fn segment(stream: &[u8], at: usize) -> Result<&[u8], Fault> {
    let len =
        stream.get(at..).and_then(|s| s.first_chunk::<2>()).map(|b| usize::from(u16::from_be_bytes(*b)));
    let body = len.filter(|&len| len >= 2).and_then(|len| stream.get(at + 2..at + len));
    body.ok_or_else(|| Fault::malformed("a JPEG segment cut short"))
}

fn start_of_frame(marker: u8, segment: &[u8]) -> Result<Frame, Fault> {
    let short = || Fault::malformed("a JPEG frame header cut short");
    let &[precision, r1, r0, c1, c0, count] = segment.first_chunk::<6>().ok_or_else(short)?;
    let rest = segment.get(6..).unwrap_or_default();
    let components: Vec<Component> = rest
        .as_chunks::<3>()
        .0
        .iter()
        .take(usize::from(count))
        .map(|&[id, hv, quantiser]| Component {
            id,
            h: usize::from(hv >> 4),
            v: usize::from(hv & 15),
            quantiser: usize::from(quantiser),
        })
        .collect();
    if components.len() != usize::from(count) || components.is_empty() || components.len() > 4 {
        return Err(short());
    }
    if components.iter().any(|c| !(1..=4).contains(&c.h) || !(1..=4).contains(&c.v)) {
        return Err(Fault::malformed("JPEG sampling factors outside 1 to 4"));
    }
    let process = match marker {
        0xc2 => Process::Progressive,
        0xc3 => Process::Lossless,
        _ => Process::Sequential,
    };
    Ok(Frame {
        process,
        precision: u32::from(precision),
        rows: usize::from(u16::from_be_bytes([r1, r0])),
        columns: usize::from(u16::from_be_bytes([c1, c0])),
        components,
    })
}

/// The stream must hold what the data set says, before memory is given for it.
fn check(frame: &Frame, layout: &PixelLayout) -> Result<(), Fault> {
    if (frame.rows, frame.columns) != (layout.rows, layout.columns) {
        return Err(Fault::malformed(format!(
            "a JPEG picture of {} × {} pixels in an image of {} × {}",
            frame.columns, frame.rows, layout.columns, layout.rows
        )));
    }
    if frame.components.len() != layout.samples {
        return Err(Fault::malformed(format!(
            "a JPEG picture of {} components in an image of {} samples per pixel",
            frame.components.len(),
            layout.samples
        )));
    }
    let allowed = match frame.process {
        Process::Lossless => 2..=16,
        _ if frame.precision == 8 => 8..=8,
        _ => 12..=12,
    };
    if !allowed.contains(&frame.precision) || frame.precision > layout.bits_allocated {
        return Err(Fault::malformed(format!(
            "JPEG samples of {} bits in {} allocated",
            frame.precision, layout.bits_allocated
        )));
    }
    Ok(())
}

fn start_of_scan(segment: &[u8], frame: &Frame) -> Result<Scan, Fault> {
    let bad = || Fault::malformed("a broken JPEG scan header");
    let count = usize::from(*segment.first().ok_or_else(bad)?);
    let members = segment.get(1..1 + 2 * count).ok_or_else(bad)?.as_chunks::<2>().0.iter();
    let members = members.map(|&[id, tables]| {
        let component = frame.components.iter().position(|c| c.id == id)?;
        Some(Member { component, dc: usize::from(tables >> 4), ac: usize::from(tables & 15) })
    });
    let members: Vec<Member> = members.collect::<Option<_>>().ok_or_else(bad)?;
    let &[start, end, approximation] =
        segment.get(1 + 2 * count..).and_then(|s| s.first_chunk::<3>()).ok_or_else(bad)?;
    let distinct = members.iter().enumerate().all(|(i, m)| {
        members.iter().take(i).all(|other| other.component != m.component) && m.dc < 4 && m.ac < 4
    });
    if members.is_empty() || !distinct {
        return Err(bad());
    }
    let (high, low) = (u32::from(approximation >> 4), u32::from(approximation & 15));
    Ok(Scan { members, start, end, high, low })
}

fn huffman_tables(mut segment: &[u8], tables: &mut Tables) -> Result<(), Fault> {
    let bad = || Fault::malformed("a broken JPEG Huffman table");
    while let Some((&class_id, rest)) = segment.split_first() {
        let counts = rest.first_chunk::<16>().ok_or_else(bad)?;
        let total: usize = counts.iter().map(|&n| usize::from(n)).sum();
        let symbols = rest.get(16..16 + total).ok_or_else(bad)?;
        segment = rest.get(16 + total..).unwrap_or_default();
        let set = if class_id >> 4 == 0 { &mut tables.dc } else { &mut tables.ac };
        let slot = set.get_mut(usize::from(class_id & 15)).ok_or_else(bad)?;
        *slot = Some(Huffman::new(counts, symbols).ok_or_else(bad)?);
    }
    Ok(())
}

fn quantisers(mut segment: &[u8], tables: &mut Tables) -> Result<(), Fault> {
    let bad = || Fault::malformed("a broken JPEG quantisation table");
    while let Some((&precision_id, rest)) = segment.split_first() {
        let is_wide = precision_id >> 4 != 0;
        let len = if is_wide { 128 } else { 64 };
        let values = rest.get(..len).ok_or_else(bad)?;
        segment = rest.get(len..).unwrap_or_default();
        let mut table = [0_u16; 64];
        for (i, slot) in table.iter_mut().enumerate() {
            *slot = if is_wide {
                u16::from_be_bytes([values[2 * i], values[2 * i + 1]])
            } else {
                u16::from(values[i])
            };
        }
        *tables.quantisers.get_mut(usize::from(precision_id & 15)).ok_or_else(bad)? = Some(table);
    }
    Ok(())
}
