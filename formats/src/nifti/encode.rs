//! The header as bytes: the way back from [`super::header::parse`].

use super::header::{Header, LEN_1, LEN_2, Order, Version};

/// The bytes of a header, in its own version and byte order, without the extender. Text is cut to its field at a
/// character border; NIfTI-1 rounds numbers to single precision.
pub fn encode(h: &Header) -> Vec<u8> {
    let mut w = Writer { bytes: vec![0; h.version.header_len()], order: h.order };
    let count = h.dims.len() as i64;
    let dim = |n: usize| if n == 0 { count } else { h.dims.get(n - 1).map_or(1, |&d| d.cast_signed()) };
    let magic: &[u8] = match (h.version, h.is_single) {
        (Version::Analyze, _) => b"",
        (Version::Nifti1, true) => b"n+1\0",
        (Version::Nifti1, false) => b"ni1\0",
        (Version::Nifti2, true) => b"n+2\0\r\n\x1a\n",
        (Version::Nifti2, false) => b"ni2\0\r\n\x1a\n",
    };
    if h.version == Version::Nifti2 {
        w.put(0, (LEN_2 as i32).to_le_bytes());
        w.text(4, magic);
        w.put(12, h.datatype.to_le_bytes());
        w.put(14, h.bitpix.to_le_bytes());
        for n in 0..8 {
            w.put(16 + 8 * n, dim(n).to_le_bytes());
            w.put(104 + 8 * n, h.pixdim[n].to_le_bytes());
        }
        w.put(168, (h.vox_offset as i64).to_le_bytes());
        let reals = [
            (80, h.intent_p[0]),
            (88, h.intent_p[1]),
            (96, h.intent_p[2]),
            (176, h.slope),
            (184, h.inter),
            (192, h.cal_max),
            (200, h.cal_min),
            (208, h.slice_duration),
            (216, h.toffset),
        ];
        reals.into_iter().for_each(|(at, v)| w.put(at, v.to_le_bytes()));
        w.put(224, h.slice_start.to_le_bytes());
        w.put(232, h.slice_end.to_le_bytes());
        w.text(240, fit(&h.descrip, 79));
        w.text(320, fit(&h.aux_file, 23));
        w.put(344, h.qform_code.to_le_bytes());
        w.put(348, h.sform_code.to_le_bytes());
        for (n, v) in h.quatern.iter().chain(&h.qoffset).chain(h.srow.iter().flatten()).enumerate() {
            w.put(352 + 8 * n, v.to_le_bytes());
        }
        let ints = [(496, h.slice_code), (500, h.xyzt_units), (504, h.intent_code)];
        ints.into_iter().for_each(|(at, v)| w.put(at, v.to_le_bytes()));
        w.text(508, fit(&h.intent_name, 15));
        w.put(524, [h.dim_info]);
    } else {
        w.put(0, (LEN_1 as i32).to_le_bytes());
        w.put(38, *b"r"); // "regular", which Analyze readers look for
        w.put(39, [h.dim_info]);
        for n in 0..8 {
            w.put(40 + 2 * n, (dim(n) as i16).to_le_bytes());
            w.put(76 + 4 * n, (h.pixdim[n] as f32).to_le_bytes());
        }
        let shorts = [
            (68, h.intent_code as i16),
            (70, h.datatype),
            (72, h.bitpix),
            (74, h.slice_start as i16),
            (120, h.slice_end as i16),
            (252, h.qform_code as i16),
            (254, h.sform_code as i16),
        ];
        shorts.into_iter().for_each(|(at, v)| w.put(at, v.to_le_bytes()));
        let reals = [
            (56, h.intent_p[0]),
            (60, h.intent_p[1]),
            (64, h.intent_p[2]),
            (108, h.vox_offset),
            (112, h.slope),
            (116, h.inter),
            (124, h.cal_max),
            (128, h.cal_min),
            (132, h.slice_duration),
            (136, h.toffset),
        ];
        reals.into_iter().for_each(|(at, v)| w.put(at, (v as f32).to_le_bytes()));
        w.put(122, [h.slice_code as u8]);
        w.put(123, [h.xyzt_units as u8]);
        w.text(148, fit(&h.descrip, 79));
        w.text(228, fit(&h.aux_file, 23));
        for (n, v) in h.quatern.iter().chain(&h.qoffset).chain(h.srow.iter().flatten()).enumerate() {
            w.put(256 + 4 * n, (*v as f32).to_le_bytes());
        }
        w.text(328, fit(&h.intent_name, 15));
        w.text(344, magic);
    }
    w.bytes
}

/// At most `max` bytes of a text, cut between characters.
fn fit(text: &str, max: usize) -> &[u8] {
    text.get(..text.floor_char_boundary(max)).unwrap_or_default().as_bytes()
}

struct Writer {
    bytes: Vec<u8>,
    order: Order,
}

impl Writer {
    /// Little-endian bytes of a number, turned into the file's order.
    fn put<const N: usize>(&mut self, at: usize, mut le: [u8; N]) {
        if self.order == Order::Big {
            le.reverse();
        }
        self.text(at, &le);
    }
    fn text(&mut self, at: usize, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(at..at + bytes.len()) {
            room.copy_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::header::{looks_like_header, parse};
    use super::*;
    use std::path::Path;

    /// A header in which every field differs from every other.
    fn full(version: Version, order: Order, is_single: bool) -> Header {
        Header {
            version,
            order,
            is_single,
            dims: vec![3, 4, 5, 6, 7],
            datatype: 16,
            bitpix: 32,
            pixdim: [-1.0, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5],
            vox_offset: 4000.0,
            slope: 0.25,
            inter: -3.0,
            cal_min: -7.0,
            cal_max: 9.0,
            qform_code: 1,
            sform_code: 4,
            quatern: [0.125, 0.25, 0.5],
            qoffset: [10.0, 11.0, 12.0],
            srow: [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], [9.0, 10.0, 11.0, 12.5]],
            xyzt_units: 10,
            intent_code: 1007,
            intent_p: [21.0, 22.0, 23.0],
            intent_name: "name".to_owned(),
            descrip: "a description".to_owned(),
            aux_file: "aux".to_owned(),
            dim_info: 57,
            slice_code: 3,
            slice_start: 1,
            slice_end: 2,
            slice_duration: 0.5,
            toffset: 0.75,
        }
    }

    #[test]
    fn headers_come_back_in_both_versions_and_orders() {
        for version in [Version::Nifti1, Version::Nifti2] {
            for order in [Order::Little, Order::Big] {
                for is_single in [true, false] {
                    let h = full(version, order, is_single);
                    let bytes = encode(&h);
                    assert!(looks_like_header(&bytes));
                    assert_eq!(parse(Path::new("x"), &bytes, false).unwrap(), h);
                }
            }
        }
    }

    #[test]
    fn text_is_cut_between_characters() {
        let mut h = full(Version::Nifti1, Order::Little, true);
        h.descrip = "é".repeat(60);
        let back = parse(Path::new("x"), &encode(&h), false).unwrap();
        assert_eq!(back.descrip, "é".repeat(39));
    }
}
