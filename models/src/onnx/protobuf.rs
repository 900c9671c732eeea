//! Protocol Buffers on the wire, writing (reading: [`super::wire`]; <https://protobuf.dev/programming-guides/encoding/>).

use super::wire::Value;

/// A message under construction.
#[derive(Default)]
pub struct Message(Vec<u8>);

const VARINT: u64 = 0;
const LENGTH_DELIMITED: u64 = 2;
const FIXED_64: u64 = 1;
const FIXED_32: u64 = 5;

impl Message {
    /// A whole number.
    pub fn int(&mut self, field: u64, value: i64) {
        self.varint(field << 3 | VARINT);
        self.varint(value.cast_unsigned());
    }

    /// A single-precision number.
    pub fn float(&mut self, field: u64, value: f32) {
        self.varint(field << 3 | FIXED_32);
        self.0.extend(value.to_le_bytes());
    }

    /// Bytes.
    pub fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | LENGTH_DELIMITED);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }

    /// Text.
    pub fn text(&mut self, field: u64, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    /// A message inside this one.
    pub fn message(&mut self, field: u64, value: &Self) {
        self.bytes(field, &value.0);
    }

    /// A field as it was read.
    pub fn copy(&mut self, field: u32, value: Value<'_>) {
        let field = u64::from(field);
        match value {
            Value::Int(n) => self.int(field, n.cast_signed()),
            Value::Bytes(bytes) => self.bytes(field, bytes),
            Value::Fixed(bytes) => {
                self.varint(field << 3 | if bytes.len() == 8 { FIXED_64 } else { FIXED_32 });
                self.0.extend(bytes);
            }
        }
    }

    /// Whole numbers, packed.
    pub fn packed_ints(&mut self, field: u64, values: &[i64]) {
        let mut packed = Self::default();
        for value in values {
            packed.varint(value.cast_unsigned());
        }
        self.message(field, &packed);
    }

    /// The wire bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the encoding guide.
    #[test]
    fn encodes_the_examples_of_the_specification() {
        let mut inner = Message::default();
        inner.int(1, 150);
        assert_eq!(inner.0, [0x08, 0x96, 0x01]);
        let mut outer = Message::default();
        outer.message(3, &inner);
        assert_eq!(outer.into_bytes(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        let mut text = Message::default();
        text.text(2, "testing");
        assert_eq!(text.into_bytes(), [0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67]);
        let mut packed = Message::default();
        packed.packed_ints(6, &[3, 270, 86942]);
        assert_eq!(packed.into_bytes(), [0x32, 0x06, 0x03, 0x8e, 0x02, 0x9e, 0xa7, 0x05]);
        let mut negative = Message::default();
        negative.int(1, -2);
        assert_eq!(negative.into_bytes(), [8, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
    }
}
