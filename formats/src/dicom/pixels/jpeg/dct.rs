//! JPEG by cosine transform: sequential and progressive (ITU-T T.81 annexes F and G).

use super::bits::{Bits, Huffman};
use super::{Frame, Process, Scan, Tables};
use crate::dicom::pixels::Sample;
use crate::dicom::pixels::codec::Fault;

/// Position of each coefficient in the order of the stream (figure 5).
const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Coefficients of all components.
pub(super) struct Picture {
    planes: Vec<Plane>,
    mcu_columns: usize,
    mcu_rows: usize,
}

struct Plane {
    h: usize,
    v: usize,
    /// Samples that mean something.
    columns: usize,
    rows: usize,
    /// Blocks in a row, whole MCUs.
    block_columns: usize,
    /// Coefficients of each block in zigzag order, not yet multiplied.
    blocks: Vec<[i16; 64]>,
}

impl Picture {
    pub fn new(frame: &Frame) -> Result<Self, Fault> {
        let h_max = frame.components.iter().map(|c| c.h).max().unwrap_or(1);
        let v_max = frame.components.iter().map(|c| c.v).max().unwrap_or(1);
        let mcu_columns = frame.columns.div_ceil(8 * h_max);
        let mcu_rows = frame.rows.div_ceil(8 * v_max);
        let planes = frame.components.iter().map(|c| Plane {
            h: c.h,
            v: c.v,
            columns: (frame.columns * c.h).div_ceil(h_max),
            rows: (frame.rows * c.v).div_ceil(v_max),
            block_columns: mcu_columns * c.h,
            blocks: vec![[0; 64]; mcu_columns * c.h * mcu_rows * c.v],
        });
        Ok(Self { planes: planes.collect(), mcu_columns, mcu_rows })
    }

    /// Decodes a scan; returns the bytes used.
    pub fn scan(&mut self, frame: &Frame, scan: &Scan, tables: &Tables, data: &[u8]) -> Result<usize, Fault> {
        let progressive = frame.process == Process::Progressive;
        let (start, end) = (usize::from(scan.start), usize::from(scan.end));
        let range_is_good = if progressive {
            end < 64 && start <= end && (start > 0 || end == 0) && (start == 0 || scan.members.len() == 1)
        } else {
            true
        };
        if !range_is_good || scan.low > 13 {
            return Err(Fault::malformed(format!("a JPEG scan of coefficients {start} to {end}")));
        }
        let mut coder = Coder {
            bits: Bits::new(data),
            predictions: [0; 4],
            end_of_band: 0,
            progressive,
            start,
            end,
            refine: scan.high > 0,
            low: scan.low,
        };
        let needs_dc = !progressive || (start == 0 && scan.high == 0);
        let needs_ac = !progressive || start > 0;
        let missing = || Fault::malformed("a JPEG scan without its Huffman table");
        let mut codes = Vec::new();
        for member in &scan.members {
            let dc = tables.dc.get(member.dc).and_then(Option::as_ref);
            let ac = tables.ac.get(member.ac).and_then(Option::as_ref);
            if needs_dc && dc.is_none() || needs_ac && ac.is_none() {
                return Err(missing());
            }
            codes.push((dc, ac));
        }
        let mut until_restart = tables.restart;
        let mut restart = |coder: &mut Coder<'_>| {
            if tables.restart > 0 {
                if until_restart == 0 {
                    if !coder.bits.restart() {
                        return Err(Fault::malformed("JPEG without an announced restart marker"));
                    }
                    coder.predictions = [0; 4];
                    coder.end_of_band = 0;
                    until_restart = tables.restart;
                }
                until_restart -= 1;
            }
            Ok(())
        };

        if let [member] = scan.members.as_slice() {
            // One component alone: its blocks in order, without those that only fill MCUs (A.2.2).
            let plane = self.planes.get_mut(member.component).ok_or_else(missing)?;
            let (columns, rows) = (plane.columns.div_ceil(8), plane.rows.div_ceil(8));
            for row in plane.blocks.chunks_exact_mut(plane.block_columns).take(rows) {
                for block in row.iter_mut().take(columns) {
                    restart(&mut coder)?;
                    coder.block(block, 0, codes[0])?;
                }
                coder.check()?;
            }
            return Ok(coder.bits.end());
        }
        for mcu_row in 0..self.mcu_rows {
            for mcu_column in 0..self.mcu_columns {
                restart(&mut coder)?;
                for (i, member) in scan.members.iter().enumerate() {
                    let plane = self.planes.get_mut(member.component).ok_or_else(missing)?;
                    for y in 0..plane.v {
                        for x in 0..plane.h {
                            let row = mcu_row * plane.v + y;
                            let at = row * plane.block_columns + mcu_column * plane.h + x;
                            coder.block(&mut plane.blocks[at], i, codes[i])?;
                        }
                    }
                }
            }
            coder.check()?;
        }
        Ok(coder.bits.end())
    }

    /// Transforms the blocks and writes the samples, components interleaved.
    pub fn finish<T: Sample>(self, frame: &Frame, tables: &Tables, out: &mut [T]) -> Result<(), Fault> {
        let h_max = self.planes.iter().map(|p| p.h).max().unwrap_or(1);
        let v_max = self.planes.iter().map(|p| p.v).max().unwrap_or(1);
        let stride = self.planes.len();
        for (i, (plane, component)) in self.planes.iter().zip(&frame.components).enumerate() {
            let quantiser = tables.quantisers.get(component.quantiser).and_then(Option::as_ref);
            let quantiser = quantiser
                .ok_or_else(|| Fault::malformed("a JPEG component without its quantisation table"))?;
            let samples = plane.samples(quantiser, frame.precision);
            let width = plane.block_columns * 8;
            let (across, down) = (h_max / plane.h, v_max / plane.v);
            for (y, row) in out.chunks_exact_mut(frame.columns * stride).enumerate() {
                let ((near, far), down_is_two) = neighbours(y, down, plane.rows);
                let line = |y: usize| samples.get(y * width..y * width + plane.columns).unwrap_or_default();
                let (near, far) = (line(near), line(far));
                let slots = row.iter_mut().skip(i).step_by(stride);
                // Three quarters of the nearer sample and one of the farther, in each direction: differences
                // are thought to lie in the middle of the pixels that share them.
                let at = |x: usize| {
                    let (n, f) = (i32::from(near[x]), i32::from(far[x]));
                    if down_is_two { 3 * n + f } else { 4 * n }
                };
                for (x, slot) in slots.enumerate() {
                    let ((a, b), across_is_two) = neighbours(x, across, plane.columns);
                    let v = if across_is_two { 3 * at(a) + at(b) } else { 4 * at(a) };
                    *slot = T::wrap((v + 8) >> 4);
                }
            }
        }
        Ok(())
    }
}

/// The samples that make the one at `at`, nearer first, where every `step` share one.
fn neighbours(at: usize, step: usize, len: usize) -> ((usize, usize), bool) {
    let last = len.saturating_sub(1);
    let near = (at / step.max(1)).min(last);
    if step != 2 {
        return ((near, near), false);
    }
    let far = if at.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(last) };
    ((near, far), true)
}

impl Plane {
    fn samples(&self, quantiser: &[u16; 64], precision: u32) -> Vec<u16> {
        let width = self.block_columns * 8;
        let mut out = vec![0_u16; self.blocks.len() * 64];
        let (level, max) = ((1_i32 << (precision - 1)) as f32, ((1_i32 << precision) - 1) as f32);
        let mut factors = [0.0; 64];
        for (&at, &q) in ZIGZAG.iter().zip(quantiser) {
            factors[at] = f32::from(q);
        }
        let rows = out.chunks_exact_mut(width.max(1) * 8);
        for (band, blocks) in rows.zip(self.blocks.chunks_exact(self.block_columns.max(1))) {
            for (x, block) in blocks.iter().enumerate() {
                let mut values = [[0.0_f32; 8]; 8];
                for (&at, &c) in ZIGZAG.iter().zip(block) {
                    values[at / 8][at % 8] = f32::from(c) * factors[at];
                }
                inverse(&mut values);
                for (line, row) in band.chunks_exact_mut(width).zip(&values) {
                    for (slot, v) in line[x * 8..x * 8 + 8].iter_mut().zip(row) {
                        *slot = (v + level + 0.5).clamp(0.0, max) as u16;
                    }
                }
            }
        }
        out
    }
}

/// cos(i π / 16) / 2.
const K: [f32; 8] =
    [0.5, 0.490_392_64, 0.461_939_77, 0.415_734_8, 0.353_553_4, 0.277_785_12, 0.191_341_72, 0.097_545_16];

/// The inverse transform (A.3.3), columns and then rows; each pass works on eight lanes at once.
fn inverse(block: &mut [[f32; 8]; 8]) {
    pass(block);
    transpose(block);
    pass(block);
    transpose(block);
}

fn transpose(block: &mut [[f32; 8]; 8]) {
    for y in 0..8 {
        for x in 0..y {
            let v = block[y][x];
            block[y][x] = block[x][y];
            block[x][y] = v;
        }
    }
}

fn pass(b: &mut [[f32; 8]; 8]) {
    for x in 0..8 {
        let v = [b[0][x], b[1][x], b[2][x], b[3][x], b[4][x], b[5][x], b[6][x], b[7][x]];
        let (t0, t1) = ((v[0] + v[4]) * K[4], (v[0] - v[4]) * K[4]);
        let (t2, t3) = (v[2] * K[2] + v[6] * K[6], v[2] * K[6] - v[6] * K[2]);
        let even = [t0 + t2, t1 + t3, t1 - t3, t0 - t2];
        let odd = [
            v[1] * K[1] + v[3] * K[3] + v[5] * K[5] + v[7] * K[7],
            v[1] * K[3] - v[3] * K[7] - v[5] * K[1] - v[7] * K[5],
            v[1] * K[5] - v[3] * K[1] + v[5] * K[7] + v[7] * K[3],
            v[1] * K[7] - v[3] * K[5] + v[5] * K[3] - v[7] * K[1],
        ];
        for i in 0..4 {
            b[i][x] = even[i] + odd[i];
            b[7 - i][x] = even[i] - odd[i];
        }
    }
}

type Codes<'a> = (Option<&'a Huffman>, Option<&'a Huffman>);

/// State of entropy decoding within a scan.
struct Coder<'a> {
    bits: Bits<'a>,
    predictions: [i32; 4],
    /// Blocks still covered by an end-of-band run (G.1.2.2).
    end_of_band: u32,
    progressive: bool,
    start: usize,
    end: usize,
    refine: bool,
    low: u32,
}

impl Coder<'_> {
    fn check(&self) -> Result<(), Fault> {
        if self.bits.is_past_end() { Err(Fault::malformed("JPEG data that end early")) } else { Ok(()) }
    }

    fn block(&mut self, block: &mut [i16; 64], member: usize, codes: Codes<'_>) -> Result<(), Fault> {
        let bad = || Fault::malformed("JPEG data with a code that does not exist");
        let done = match (self.progressive, self.start, self.refine) {
            (false, ..) => self.sequential(block, member, codes),
            (true, 0, false) => self.dc_first(block, member, codes.0),
            (true, 0, true) => {
                if self.bits.bit() {
                    block[0] |= 1 << self.low;
                }
                Some(())
            }
            (true, _, false) => self.ac_first(block, codes.1),
            (true, _, true) => self.ac_refine(block, codes.1),
        };
        done.ok_or_else(bad)
    }

    fn dc(&mut self, member: usize, table: Option<&Huffman>) -> Option<i32> {
        let category = u32::from(self.bits.symbol(table?)?);
        if category > 15 {
            return None;
        }
        let difference = self.bits.extend(category);
        let prediction = self.predictions.get_mut(member)?;
        *prediction = (*prediction + difference).clamp(-(1 << 20), 1 << 20);
        Some(*prediction)
    }

    fn sequential(&mut self, block: &mut [i16; 64], member: usize, (dc, ac): Codes<'_>) -> Option<()> {
        block[0] = self.dc(member, dc)? as i16;
        let ac = ac?;
        let mut k = 1;
        while k < 64 {
            let symbol = self.bits.symbol(ac)?;
            let (run, category) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            if category == 0 {
                if run < 15 {
                    break;
                }
                k += 16;
                continue;
            }
            k += run;
            *block.get_mut(k)? = self.bits.extend(category) as i16;
            k += 1;
        }
        Some(())
    }

    fn dc_first(&mut self, block: &mut [i16; 64], member: usize, dc: Option<&Huffman>) -> Option<()> {
        block[0] = (self.dc(member, dc)? << self.low) as i16;
        Some(())
    }

    fn ac_first(&mut self, block: &mut [i16; 64], ac: Option<&Huffman>) -> Option<()> {
        if self.end_of_band > 0 {
            self.end_of_band -= 1;
            return Some(());
        }
        let ac = ac?;
        let mut k = self.start;
        while k <= self.end {
            let symbol = self.bits.symbol(ac)?;
            let (run, category) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            if category == 0 {
                if run < 15 {
                    self.end_of_band = (1 << run) - 1 + self.bits.take(run as u32);
                    break;
                }
                k += 16;
                continue;
            }
            k += run;
            *block.get_mut(k)? = (self.bits.extend(category) << self.low) as i16;
            k += 1;
        }
        Some(())
    }

    /// One more bit for coefficients that are not zero, and new ones among the others (G.1.2.3).
    fn ac_refine(&mut self, block: &mut [i16; 64], ac: Option<&Huffman>) -> Option<()> {
        let bit = 1_i16 << self.low;
        let ac = ac?;
        let mut k = self.start;
        if self.end_of_band == 0 {
            while k <= self.end {
                let symbol = self.bits.symbol(ac)?;
                let (mut run, category) = (usize::from(symbol >> 4), symbol & 15);
                let value = match category {
                    0 if run < 15 => {
                        self.end_of_band = (1 << run) + self.bits.take(run as u32);
                        break;
                    }
                    0 => 0,
                    1 if self.bits.take(1) == 1 => bit,
                    1 => -bit,
                    _ => return None,
                };
                while k <= self.end {
                    let slot = block.get_mut(k)?;
                    k += 1;
                    if *slot != 0 {
                        refine(&mut self.bits, slot, bit);
                    } else if run == 0 {
                        *slot = value;
                        break;
                    } else {
                        run -= 1;
                    }
                }
            }
        }
        if self.end_of_band > 0 {
            for slot in block.get_mut(k..=self.end).unwrap_or_default() {
                if *slot != 0 {
                    refine(&mut self.bits, slot, bit);
                }
            }
            self.end_of_band -= 1;
        }
        Some(())
    }
}

fn refine(bits: &mut Bits<'_>, slot: &mut i16, bit: i16) {
    if bits.bit() && *slot & bit == 0 {
        *slot = if *slot > 0 { slot.saturating_add(bit) } else { slot.saturating_sub(bit) };
    }
}
