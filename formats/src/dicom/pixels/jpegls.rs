//! JPEG-LS, lossless and near-lossless (ITU-T T.87). Section numbers are of that recommendation.

use super::{PixelLayout, Sample};
use crate::dicom::pixels::codec::{Colour, Decoded, Fault};

/// Order of run lengths (A.2.1).
const J: [u32; 32] =
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Contexts of the regular mode: 9³ / 2 rounded up.
const CONTEXTS: usize = 365;

/// How components are mixed in a scan (C.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interleave {
    None,
    Line,
    Sample,
}

/// Coding parameters, from an LSE segment (C.2.4.1.1); zeros mean the default.
#[derive(Clone, Copy, Debug, Default)]
struct Preset {
    max: i32,
    thresholds: [i32; 3],
    reset: i32,
}

/// Decodes one frame; components interleaved, as stored.
pub(super) fn decode<T: Sample>(
    stream: &[u8],
    layout: &PixelLayout,
    out: &mut [T],
) -> Result<Decoded, Fault> {
    let short = || Fault::malformed("a JPEG-LS stream cut short");
    if !stream.starts_with(&[0xff, 0xd8]) {
        return Err(Fault::malformed("compressed data without the mark of JPEG-LS"));
    }
    let mut preset = Preset::default();
    let mut precision = 0;
    let mut ids: Vec<u8> = Vec::new();
    let mut done = vec![false; layout.samples];
    let mut at = 2;
    while !done.iter().all(|&d| d) {
        let rest = stream.get(at..).unwrap_or_default();
        let marker_at = at + rest.iter().position(|&b| b == 0xff).ok_or_else(short)?;
        let marker = *stream.get(marker_at + 1).ok_or_else(short)?;
        at = marker_at + 2;
        match marker {
            0xff => {
                at = marker_at + 1;
                continue;
            }
            0xd9 => return Err(Fault::malformed("a JPEG-LS stream that ends before all components came")),
            0 | 1 | 0xd0..=0xd8 => continue,
            _ => {}
        }
        let len =
            stream.get(at..).and_then(|s| s.first_chunk::<2>()).map(|b| usize::from(u16::from_be_bytes(*b)));
        let len = len.filter(|&len| len >= 2).ok_or_else(short)?;
        let segment = stream.get(at + 2..at + len).ok_or_else(short)?;
        at += len;
        match marker {
            0xf7 => {
                let &[p, r1, r0, c1, c0, n] = segment.first_chunk::<6>().ok_or_else(short)?;
                let size = (u16::from_be_bytes([r1, r0]), u16::from_be_bytes([c1, c0]));
                if (usize::from(size.0), usize::from(size.1)) != (layout.rows, layout.columns)
                    || usize::from(n) != layout.samples
                    || !(2..=16).contains(&p)
                    || u32::from(p) > layout.bits_allocated
                {
                    return Err(Fault::malformed(format!(
                        "a JPEG-LS picture of {} × {} pixels, {n} components of {p} bits, in an image of {} × {}, \
                         {} samples of {} bits",
                        size.1, size.0, layout.columns, layout.rows, layout.samples, layout.bits_allocated
                    )));
                }
                precision = u32::from(p);
                ids = segment.get(6..).unwrap_or_default().as_chunks::<3>().0.iter().map(|c| c[0]).collect();
            }
            0xf8 => match segment.first() {
                Some(1) => {
                    let words = segment.get(1..).unwrap_or_default().as_chunks::<2>().0;
                    let word = |i: usize| words.get(i).map_or(0, |b| i32::from(u16::from_be_bytes(*b)));
                    preset = Preset { max: word(0), thresholds: [word(1), word(2), word(3)], reset: word(4) };
                }
                _ => return Err(Fault::Unsupported("JPEG-LS with mapping tables".to_owned())),
            },
            0xdd if segment.iter().any(|&b| b != 0) => {
                return Err(Fault::Unsupported("JPEG-LS with restart intervals".to_owned()));
            }
            0xc0..=0xcf if marker != 0xc4 => {
                return Err(Fault::malformed("another JPEG process where JPEG-LS is announced"));
            }
            0xda => {
                if precision == 0 {
                    return Err(Fault::malformed("a JPEG-LS scan before its frame"));
                }
                let count = usize::from(*segment.first().ok_or_else(short)?);
                let members = segment.get(1..1 + 2 * count).ok_or_else(short)?.as_chunks::<2>().0.iter();
                let members = members.map(|c| ids.iter().position(|&id| id == c[0]).filter(|_| c[1] == 0));
                let members: Option<Vec<usize>> = members.collect();
                let members = members.filter(|m| !m.is_empty() && m.iter().all(|&i| i < layout.samples));
                let bad = || Fault::malformed("a broken JPEG-LS scan header");
                let members = members.ok_or_else(bad)?;
                let &[near, interleave, shift] =
                    segment.get(1 + 2 * count..).and_then(|s| s.first_chunk::<3>()).ok_or_else(bad)?;
                let interleave = match interleave {
                    _ if count == 1 => Interleave::None,
                    1 => Interleave::Line,
                    2 => Interleave::Sample,
                    _ => return Err(bad()),
                };
                let coding = Coding::new(precision, i32::from(near), preset).ok_or_else(bad)?;
                let data = stream.get(at..).unwrap_or_default();
                let mut scan = Scan::new(coding, data);
                let shift = u32::from(shift & 15);
                scan.run(layout.columns, layout.samples, &members, interleave, shift, out)?;
                at += scan.bits.at;
                for &member in &members {
                    done[member] = true;
                }
            }
            _ => {}
        }
    }
    Ok(Decoded { colour: Colour::AsStored, precision })
}

/// Numbers that follow from precision, NEAR and the preset (A.2.1, C.2.4.1.1.1).
#[derive(Clone, Copy, Debug)]
struct Coding {
    max: i32,
    near: i32,
    /// 2 NEAR + 1.
    step: i32,
    range: i32,
    range_bits: u32,
    limit: u32,
    thresholds: [i32; 3],
    reset: i32,
}

impl Coding {
    fn new(precision: u32, near: i32, preset: Preset) -> Option<Self> {
        let full = (1 << precision) - 1;
        let max = if preset.max == 0 { full } else { preset.max };
        if max > full || max < 1 || near > 255.min(max / 2) {
            return None;
        }
        let step = 2 * near + 1;
        let range = (max + 2 * near) / step + 1;
        let bits = |n: i32| 32 - (n as u32).leading_zeros();
        let sample_bits = bits(max).max(2);
        let clamp = |i: i32, low: i32| if i > max || i < low { low } else { i };
        let defaults = if max >= 128 {
            let factor = (max.min(4095) + 128) / 256;
            [factor + 2 + 3 * near, 4 * factor + 3 + 5 * near, 17 * factor + 4 + 7 * near]
        } else {
            let factor = 256 / (max + 1);
            [(3 / factor + 3 * near).max(2), (7 / factor + 5 * near).max(3), (21 / factor + 7 * near).max(4)]
        };
        let mut thresholds = [0; 3];
        let mut low = near + 1;
        for ((t, default), given) in thresholds.iter_mut().zip(defaults).zip(preset.thresholds) {
            *t = if given == 0 { clamp(default, low) } else { given };
            if *t < low || *t > max.max(low) {
                return None;
            }
            low = *t;
        }
        Some(Self {
            max,
            near,
            step,
            range,
            range_bits: bits(range - 1),
            limit: 2 * (sample_bits + sample_bits.max(8)),
            thresholds,
            reset: if preset.reset == 0 { 64 } else { preset.reset.max(3) },
        })
    }

    /// The region of a gradient, -4..=4 (A.3.3).
    #[inline]
    fn quantise(&self, d: i32) -> i32 {
        let [t1, t2, t3] = self.thresholds;
        let m = d.abs();
        let q = i32::from(m > self.near) + i32::from(m >= t1) + i32::from(m >= t2) + i32::from(m >= t3);
        if d < 0 { -q } else { q }
    }

    /// Prediction and error into a sample (A.4.4, A.4.5).
    #[inline]
    fn reconstruct(&self, prediction: i32, error: i32) -> i32 {
        let mut v = prediction + error * self.step;
        if v < -self.near {
            v += self.range * self.step;
        } else if v > self.max + self.near {
            v -= self.range * self.step;
        }
        v.clamp(0, self.max)
    }
}

/// Statistics of a context (A.2.1).
#[derive(Clone, Copy, Debug)]
struct Context {
    a: i32,
    b: i32,
    c: i32,
    n: i32,
}

impl Context {
    /// The Golomb parameter (A.5.1).
    #[inline]
    fn k(n: i32, a: i32) -> u32 {
        let mut k = 0;
        while (n << k) < a && k < 16 {
            k += 1;
        }
        k
    }

    /// A.6.
    #[inline]
    fn update(&mut self, error: i32, coding: &Coding) {
        self.b += error * coding.step;
        self.a += error.abs();
        if self.n >= coding.reset {
            self.a >>= 1;
            self.b >>= 1;
            self.n >>= 1;
        }
        self.n += 1;
        if self.b <= -self.n {
            self.b = (self.b + self.n).max(1 - self.n);
            self.c = (self.c - 1).max(-128);
        } else if self.b > 0 {
            self.b = (self.b - self.n).min(0);
            self.c = (self.c + 1).min(127);
        }
    }
}

/// Statistics of run interruptions.
#[derive(Clone, Copy, Debug)]
struct RunContext {
    a: i32,
    n: i32,
    negative: i32,
}

struct Scan<'a> {
    coding: Coding,
    bits: Bits<'a>,
    contexts: Vec<Context>,
    runs: [RunContext; 2],
}

impl<'a> Scan<'a> {
    fn new(coding: Coding, data: &'a [u8]) -> Self {
        let a = ((coding.range + 32) / 64).max(2);
        Self {
            coding,
            bits: Bits { data, at: 0, window: 0, available: 0, after_ff: false, invented: 0 },
            contexts: vec![Context { a, b: 0, c: 0, n: 1 }; CONTEXTS],
            runs: [RunContext { a, n: 1, negative: 0 }; 2],
        }
    }

    fn run<T: Sample>(
        &mut self,
        columns: usize,
        stride: usize,
        members: &[usize],
        interleave: Interleave,
        shift: u32,
        out: &mut [T],
    ) -> Result<(), Fault> {
        // A sample beyond either end stands for the neighbours outside (A.2.1, figure A.1).
        let mut above = vec![vec![0_i32; columns + 2]; members.len()];
        let mut row = above.clone();
        let mut run_index = vec![0_usize; members.len()];
        for line in out.chunks_exact_mut(columns * stride) {
            for (above, row) in above.iter_mut().zip(&mut row) {
                above[columns + 1] = above[columns];
                row[0] = above[1];
            }
            if interleave == Interleave::Sample {
                self.line_of_samples(&above, &mut row, &mut run_index[0])?;
            } else {
                for ((above, row), index) in above.iter().zip(&mut row).zip(&mut run_index) {
                    self.line(above, row, index)?;
                }
            }
            for (&member, row) in members.iter().zip(&row) {
                let slots = line.iter_mut().skip(member).step_by(stride);
                for (slot, &v) in slots.zip(row.iter().skip(1)) {
                    *slot = T::wrap(v << shift);
                }
            }
            if self.bits.is_past_end() {
                return Err(Fault::malformed("JPEG-LS data that end early"));
            }
            std::mem::swap(&mut above, &mut row);
        }
        self.bits.finish();
        Ok(())
    }

    /// A line of one component; both slices hold a neighbour at either end.
    fn line(&mut self, above: &[i32], row: &mut [i32], run_index: &mut usize) -> Result<(), Fault> {
        let columns = row.len() - 2;
        let mut x = 1;
        while x <= columns {
            let (a, b, c, d) = (row[x - 1], above[x], above[x - 1], above[x + 1]);
            let q = self.context(a, b, c, d);
            if q != 0 {
                row[x] = self.regular(q, a, b, c)?;
                x += 1;
                continue;
            }
            let (len, is_interrupted) = self.run_length(columns + 1 - x, run_index)?;
            row[x..x + len].fill(a);
            x += len;
            if is_interrupted {
                let b = above[x];
                let is_flat = (a - b).abs() <= self.coding.near;
                row[x] = self.interruption(a, b, is_flat, *run_index)?;
                *run_index = run_index.saturating_sub(1);
                x += 1;
            }
        }
        Ok(())
    }

    /// A line of pixels whose components are coded together.
    fn line_of_samples(
        &mut self,
        above: &[Vec<i32>],
        row: &mut [Vec<i32>],
        run_index: &mut usize,
    ) -> Result<(), Fault> {
        let columns = above[0].len() - 2;
        let mut x = 1;
        while x <= columns {
            let mut q = [0; 4];
            for ((q, above), row) in q.iter_mut().zip(above).zip(row.iter()) {
                *q = self.context(row[x - 1], above[x], above[x - 1], above[x + 1]);
            }
            if q.iter().any(|&q| q != 0) {
                for ((&q, above), row) in q.iter().zip(above).zip(row.iter_mut()) {
                    row[x] = self.regular(q, row[x - 1], above[x], above[x - 1])?;
                }
                x += 1;
                continue;
            }
            let (len, is_interrupted) = self.run_length(columns + 1 - x, run_index)?;
            for row in row.iter_mut() {
                let a = row[x - 1];
                row[x..x + len].fill(a);
            }
            x += len;
            if is_interrupted {
                for (above, row) in above.iter().zip(row.iter_mut()) {
                    row[x] = self.interruption(row[x - 1], above[x], false, *run_index)?;
                }
                *run_index = run_index.saturating_sub(1);
                x += 1;
            }
        }
        Ok(())
    }

    /// The signed context of the regular mode; 0 for the run mode (A.3).
    #[inline]
    fn context(&self, a: i32, b: i32, c: i32, d: i32) -> i32 {
        let q = |d| self.coding.quantise(d);
        81 * q(d - b) + 9 * q(b - c) + q(c - a)
    }

    /// A sample in the regular mode (A.4 to A.6).
    #[inline]
    fn regular(&mut self, q: i32, a: i32, b: i32, c: i32) -> Result<i32, Fault> {
        let coding = self.coding;
        let sign = if q < 0 { -1 } else { 1 };
        let context = &mut self.contexts[q.unsigned_abs() as usize];
        let edge = if c >= a.max(b) {
            a.min(b)
        } else if c <= a.min(b) {
            a.max(b)
        } else {
            a + b - c
        };
        let prediction = (edge + sign * context.c).clamp(0, coding.max);
        let k = Context::k(context.n, context.a);
        let mapped = self.bits.golomb(k, coding.limit, coding.range_bits)?;
        let half = mapped >> 1;
        let error = if coding.near == 0 && k == 0 && 2 * context.b <= -context.n {
            if mapped & 1 == 1 { half } else { -half - 1 }
        } else if mapped & 1 == 1 {
            -half - 1
        } else {
            half
        };
        context.update(error, &coding);
        Ok(coding.reconstruct(prediction, sign * error))
    }

    /// Length of a run and whether a sample interrupts it before the end of the line (A.7.1).
    fn run_length(&mut self, left: usize, index: &mut usize) -> Result<(usize, bool), Fault> {
        let mut len = 0;
        while self.bits.take(1) == 1 {
            let whole = 1_usize << J[*index];
            if len + whole > left {
                return Ok((left, false));
            }
            len += whole;
            *index = (*index + 1).min(31);
            if len == left {
                return Ok((left, false));
            }
            if self.bits.is_past_end() {
                break;
            }
        }
        len += self.bits.take(J[*index]) as usize;
        if len >= left {
            return Err(Fault::malformed("JPEG-LS data with a run beyond its line"));
        }
        Ok((len, true))
    }

    /// The sample that ends a run (A.7.2).
    fn interruption(&mut self, a: i32, b: i32, is_flat: bool, index: usize) -> Result<i32, Fault> {
        let coding = self.coding;
        let context = &mut self.runs[usize::from(is_flat)];
        let flat = i32::from(is_flat);
        let k = Context::k(context.n, context.a + if is_flat { context.n >> 1 } else { 0 });
        let mapped = self.bits.golomb(k, coding.limit - J[index] - 1, coding.range_bits)?;
        let t = mapped + flat;
        let odd = t & 1;
        let magnitude = (t + odd) >> 1;
        let is_negative = (k != 0 || 2 * context.negative >= context.n) == (odd == 1);
        let error = if is_negative { -magnitude } else { magnitude };
        if error < 0 {
            context.negative += 1;
        }
        context.a += (mapped + 1 - flat) >> 1;
        if context.n >= coding.reset {
            context.a >>= 1;
            context.n >>= 1;
            context.negative >>= 1;
        }
        context.n += 1;
        let sign = if !is_flat && a > b { -1 } else { 1 };
        Ok(coding.reconstruct(if is_flat { a } else { b }, sign * error))
    }
}

/// Bits with one zero bit stuffed after each byte FF (C.1).
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    window: u64,
    available: u32,
    after_ff: bool,
    invented: u32,
}

impl Bits<'_> {
    #[inline]
    fn fill(&mut self) {
        while self.available <= 56 {
            let (byte, bits) = match self.data.get(self.at) {
                // A marker follows: nothing of this scan is left.
                Some(&byte) if self.after_ff && byte >= 0x80 => (0, 8),
                None => (0, 8),
                Some(&byte) => {
                    self.at += 1;
                    let bits = if self.after_ff { 7 } else { 8 };
                    self.after_ff = byte == 0xff;
                    self.window |= (u64::from(byte) << (64 - bits)) >> self.available;
                    self.available += bits;
                    continue;
                }
            };
            self.invented = self.invented.saturating_add(bits);
            self.window |= byte;
            self.available += bits;
        }
    }

    fn is_past_end(&self) -> bool {
        self.invented > self.available
    }

    /// The next `n` bits, 0..=32.
    #[inline]
    fn take(&mut self, n: u32) -> u32 {
        if n == 0 {
            return 0;
        }
        if self.available < n {
            self.fill();
        }
        let v = (self.window >> (64 - n)) as u32;
        self.window <<= n;
        self.available = self.available.saturating_sub(n);
        v
    }

    /// A limited-length Golomb code (A.5.3).
    #[inline]
    fn golomb(&mut self, k: u32, limit: u32, range_bits: u32) -> Result<i32, Fault> {
        let bad = || Fault::malformed("JPEG-LS data with a code that is too long");
        let most = limit.checked_sub(range_bits + 1).ok_or_else(bad)?;
        let mut zeros = 0;
        loop {
            if self.available < 32 {
                self.fill();
            }
            let here = self.window.leading_zeros().min(self.available);
            zeros += here;
            if zeros > most || self.is_past_end() {
                return Err(bad());
            }
            if here < self.available {
                self.take(here + 1);
                break;
            }
            self.take(here);
        }
        let value = if zeros < most { zeros << k | self.take(k) } else { self.take(range_bits) + 1 };
        Ok((value & 0x00ff_ffff) as i32)
    }

    /// Back to the byte after the last one of the scan: the marker that follows.
    fn finish(&mut self) {
        // Bytes were taken ahead; the marker search of the caller goes on from the first FF with a high bit behind.
        let back = self.at.saturating_sub(9);
        let rest = self.data.get(back..).unwrap_or_default();
        let marker = rest.array_windows::<2>().position(|w| w[0] == 0xff && w[1] >= 0x80);
        self.at = marker.map_or(self.data.len(), |p| back + p);
    }
}
