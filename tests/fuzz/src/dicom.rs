//! DICOM files made element by element (PS3.5 §7.1, PS3.10 §7.1).

/// How a data set is written.
#[derive(Clone, Copy)]
pub struct Syntax {
    uid: &'static str,
    is_explicit: bool,
    is_big: bool,
}

pub const IMPLICIT: Syntax = Syntax { uid: "1.2.840.10008.1.2", is_explicit: false, is_big: false };
pub const EXPLICIT: Syntax = Syntax { uid: "1.2.840.10008.1.2.1", is_explicit: true, is_big: false };
pub const DEFLATED: Syntax = Syntax { uid: "1.2.840.10008.1.2.1.99", ..EXPLICIT };
pub const BIG: Syntax = Syntax { uid: "1.2.840.10008.1.2.2", is_explicit: true, is_big: true };

/// Explicit little endian with fragments of an encoding.
pub const fn encapsulated(uid: &'static str) -> Syntax {
    Syntax { uid, ..EXPLICIT }
}

/// A value, before it is written in some byte order.
#[derive(Clone)]
pub enum Value {
    Text(String),
    U16(Vec<u16>),
    U32(Vec<u32>),
    F64(Vec<f64>),
    Bytes(Vec<u8>),
    Items(Vec<Vec<Element>>),
    /// Offset table and fragments.
    Fragments(Vec<Vec<u8>>),
}

pub type Element = (u16, u16, &'static str, Value);

pub fn text(group: u16, element: u16, vr: &'static str, value: &str) -> Element {
    (group, element, vr, Value::Text(value.to_owned()))
}

pub fn us(group: u16, element: u16, values: &[u16]) -> Element {
    (group, element, "US", Value::U16(values.to_vec()))
}

pub fn items(group: u16, element: u16, items: Vec<Vec<Element>>) -> Element {
    (group, element, "SQ", Value::Items(items))
}

impl Syntax {
    fn u16(self, v: u16) -> [u8; 2] {
        if self.is_big { v.to_be_bytes() } else { v.to_le_bytes() }
    }

    fn u32(self, v: u32) -> [u8; 4] {
        if self.is_big { v.to_be_bytes() } else { v.to_le_bytes() }
    }

    /// A data set; elements in the order given.
    pub fn data_set(self, elements: &[Element]) -> Vec<u8> {
        elements.iter().flat_map(|e| self.element(e)).collect()
    }

    fn item(self, element: u16, content: &[u8]) -> Vec<u8> {
        [&self.u16(0xfffe)[..], &self.u16(element), &self.u32(content.len() as u32), content].concat()
    }

    fn element(self, (group, element, vr, value): &Element) -> Vec<u8> {
        let mut is_undefined = false;
        let mut bytes: Vec<u8> = match value {
            Value::Text(t) => t.bytes().collect(),
            Value::U16(v) => v.iter().flat_map(|v| self.u16(*v)).collect(),
            Value::U32(v) => v.iter().flat_map(|v| self.u32(*v)).collect(),
            Value::F64(v) => {
                v.iter().flat_map(|v| if self.is_big { v.to_be_bytes() } else { v.to_le_bytes() }).collect()
            }
            Value::Bytes(v) => v.clone(),
            Value::Items(items) => items.iter().flat_map(|i| self.item(0xe000, &self.data_set(i))).collect(),
            Value::Fragments(fragments) => {
                is_undefined = true;
                let pieces = fragments.iter().map(|f| self.item(0xe000, f));
                pieces.chain([self.item(0xe0dd, &[])]).flatten().collect()
            }
        };
        if bytes.len() % 2 == 1 {
            bytes.push(if matches!(value, Value::Text(_)) && *vr != "UI" { b' ' } else { 0 });
        }
        let len = if is_undefined { u32::MAX } else { bytes.len() as u32 };
        let mut out = [self.u16(*group), self.u16(*element)].concat();
        if !self.is_explicit {
            out.extend(self.u32(len));
        } else if matches!(*vr, "OB" | "OW" | "OF" | "OD" | "SQ" | "UT" | "UN") {
            out.extend(vr.bytes().chain([0, 0]));
            out.extend(self.u32(len));
        } else {
            out.extend(vr.bytes());
            out.extend(self.u16(len as u16));
        }
        out.extend(bytes);
        out
    }

    /// A whole file.
    pub fn file(self, class: &str, elements: &[Element]) -> Vec<u8> {
        let meta = EXPLICIT.data_set(&[
            (2, 1, "OB", Value::Bytes(vec![0, 1])),
            text(2, 2, "UI", class),
            text(2, 3, "UI", "1.2.3.4"),
            text(2, 0x10, "UI", self.uid),
        ]);
        let length = EXPLICIT.data_set(&[(2, 0, "UL", Value::U32(vec![meta.len() as u32]))]);
        let mut data = self.data_set(elements);
        if self.uid == DEFLATED.uid {
            let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut deflate, &data).expect("memory can be written");
            data = deflate.finish().expect("memory can be written");
        }
        [&[0; 128][..], b"DICM", &length, &meta, &data].concat()
    }
}
