//! Colours into interleaved RGB (PS3.3 C.7.6.3.1.2).

use super::{Photometric, Sample};

/// Planes of red, green and blue into triples.
pub(super) fn interleave<T: Sample>(planes: &[T], out: &mut [T]) {
    let n = out.len() / 3;
    let (first, rest) = planes.split_at(n.min(planes.len()));
    let (second, third) = rest.split_at(n.min(rest.len()));
    for (((o, &a), &b), &c) in out.as_chunks_mut::<3>().0.iter_mut().zip(first).zip(second).zip(third) {
        *o = [a, b, c];
    }
}

/// Pairs of pixels stored as Y Y Cb Cr into triples; each pair shares its colour differences.
pub(super) fn spread_422<T: Sample>(stored: &[T], out: &mut [T]) {
    for (o, &[y0, y1, cb, cr]) in out.as_chunks_mut::<6>().0.iter_mut().zip(stored.as_chunks::<4>().0) {
        *o = [y0, cb, cr, y1, cb, cr];
    }
}

/// Luma and colour differences in place into red, green, blue; RGB and grey stay as they are.
pub(super) fn to_rgb<T: Sample>(photometric: Photometric, bits_stored: u32, samples: &mut [T]) {
    let bits = bits_stored.min(32);
    let max = ((1_u64 << bits) - 1) as f64;
    let half = (1_u64 << (bits - 1)) as f64;
    let cut = |v: f64| T::from_i64(v.round().clamp(0.0, max) as i64);
    match photometric {
        Photometric::YbrFull | Photometric::YbrFull422 | Photometric::YbrIct => {
            for [a, b, c] in samples.as_chunks_mut::<3>().0 {
                let (y, cb, cr) = (a.to_i64() as f64, b.to_i64() as f64 - half, c.to_i64() as f64 - half);
                *a = cut(y + 1.402 * cr);
                *b = cut(y - (0.114 * 1.772 / 0.587) * cb - (0.299 * 1.402 / 0.587) * cr);
                *c = cut(y + 1.772 * cb);
            }
        }
        Photometric::YbrPartial422 | Photometric::YbrPartial420 => {
            // Luma 16..=235, differences 16..=240 of 8 bits (ITU-R BT.601).
            let unit = 2_f64.powi(bits as i32 - 8);
            for [a, b, c] in samples.as_chunks_mut::<3>().0 {
                let y = (a.to_i64() as f64 - 16.0 * unit) * (255.0 / 219.0);
                let cb = (b.to_i64() as f64 - half) * (255.0 / 224.0);
                let cr = (c.to_i64() as f64 - half) * (255.0 / 224.0);
                *a = cut(y + 1.402 * cr);
                *b = cut(y - (0.114 * 1.772 / 0.587) * cb - (0.299 * 1.402 / 0.587) * cr);
                *c = cut(y + 1.772 * cb);
            }
        }
        Photometric::Monochrome1
        | Photometric::Monochrome2
        | Photometric::Palette
        | Photometric::Rgb
        | Photometric::YbrRct
        | Photometric::Xyb => {}
    }
}
