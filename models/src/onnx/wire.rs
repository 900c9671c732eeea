//! Protocol Buffers off the wire, reading only, without a copy (<https://protobuf.dev/programming-guides/encoding/>).

/// Bytes that are no message, or one that parsers would read differently.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A whole number.
    Int(u64),
    /// Text, bytes, a message or packed numbers.
    Bytes(&'a [u8]),
    /// A number of 4 or 8 bytes, little-endian.
    Fixed(&'a [u8]),
}

/// The fields of a message in the order of the file: numbers and values. Ends after the first error.
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Of the bytes of a message.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn field(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        // Keys have 32 bits. Some parsers drop what is above, so a larger one could stand for any field.
        let key = u32::try_from(varint(&mut self.0)?).map_err(|_| Malformed)?;
        let value = match key & 7 {
            0 => Value::Int(varint(&mut self.0)?),
            1 => Value::Fixed(take(&mut self.0, 8)?),
            2 => {
                let len = usize::try_from(varint(&mut self.0)?).map_err(|_| Malformed)?;
                Value::Bytes(take(&mut self.0, len)?)
            }
            5 => Value::Fixed(take(&mut self.0, 4)?),
            _ => return Err(Malformed),
        };
        Ok((key >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// Whole numbers of a repeated field, packed.
pub fn packed(mut bytes: &[u8]) -> Result<Vec<i64>, Malformed> {
    let mut numbers = Vec::new();
    while !bytes.is_empty() {
        numbers.push(varint(&mut bytes)?.cast_signed());
    }
    Ok(numbers)
}

fn take<'a>(bytes: &mut &'a [u8], n: usize) -> Result<&'a [u8], Malformed> {
    let (head, tail) = bytes.split_at_checked(n).ok_or(Malformed)?;
    *bytes = tail;
    Ok(head)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let [b, ..] = take(bytes, 1)? else { return Err(Malformed) };
        value |= u64::from(b & 0x7f) << shift;
        if b & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed)
}
