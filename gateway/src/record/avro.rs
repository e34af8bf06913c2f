//! The few Avro encodings that the schemas use; specified at
//! <https://avro.apache.org/docs/1.12.0/specification/#binary-encoding>.
//!
//! `int` and `long`: zigzag varint. `float`, `double`: little endian. `string`, `bytes`: long length, bytes.
//! `enum`, union branch: int index. Array: blocks of (long count, items), a zero count ends it; a negative
//! count is followed by the block's size in bytes.

use super::Malformed;

/// Appends an int or a long.
pub fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

/// Appends a string or bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

/// Appends an array as one block.
pub fn put_array<T>(out: &mut Vec<u8>, items: &[T], mut put: impl FnMut(&mut Vec<u8>, &T)) {
    if !items.is_empty() {
        put_long(out, items.len() as i64);
        for item in items {
            put(out, item);
        }
    }
    put_long(out, 0);
}

/// Avro bytes to decode, front to back.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// Starts at the front of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes that are not decoded yet.
    pub const fn len(&self) -> usize {
        self.rest.len()
    }

    /// Whether everything was decoded.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// An int or a long.
    pub fn long(&mut self, field: &'static str) -> Result<i64, Malformed> {
        let mut zigzag = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1, field)?[0];
            zigzag |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64));
            }
        }
        Err(Malformed::Field { field })
    }

    /// A long that is not negative.
    pub fn unsigned(&mut self, field: &'static str) -> Result<u64, Malformed> {
        u64::try_from(self.long(field)?).map_err(|_| Malformed::Field { field })
    }

    /// Bytes.
    pub fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.long(field)?).map_err(|_| Malformed::Field { field })?;
        self.take(length, field)
    }

    /// A string.
    pub fn string(&mut self, field: &'static str) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes(field)?).map_err(|_| Malformed::Field { field })
    }

    /// A string that spells something.
    pub fn parsed<T: std::str::FromStr>(&mut self, field: &'static str) -> Result<T, Malformed> {
        self.string(field)?.parse().map_err(|_| Malformed::Field { field })
    }

    /// A boolean.
    pub fn boolean(&mut self, field: &'static str) -> Result<bool, Malformed> {
        match self.take(1, field)?[0] {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::Field { field }),
        }
    }

    /// A float.
    pub fn float(&mut self, field: &'static str) -> Result<f32, Malformed> {
        let bytes = self.array_of_bytes(field)?;
        Ok(f32::from_le_bytes(bytes))
    }

    /// A double.
    pub fn double(&mut self, field: &'static str) -> Result<f64, Malformed> {
        let bytes = self.array_of_bytes(field)?;
        Ok(f64::from_le_bytes(bytes))
    }

    /// An array; `item` decodes one of its items.
    pub fn array<T>(
        &mut self,
        field: &'static str,
        mut item: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let mut items = Vec::new();
        loop {
            let count = self.long(field)?;
            if count == 0 {
                return Ok(items);
            }
            if count < 0 {
                self.long(field)?;
            }
            for _ in 0..count.unsigned_abs() {
                let before = self.rest.len();
                items.push(item(self)?);
                // An item of no bytes would let a few bytes ask for endless memory.
                if self.rest.len() == before {
                    return Err(Malformed::Field { field });
                }
            }
        }
    }

    fn array_of_bytes<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Malformed> {
        self.take(N, field)?.try_into().map_err(|_| Malformed::Field { field })
    }

    fn take(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Field { field })?;
        self.rest = rest;
        Ok(taken)
    }
}
