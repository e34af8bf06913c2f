//! What registers hold: sixteen bits each, most significant byte first on the wire (Modbus Application Protocol
//! V1.1b3, 4.2). How wider values are laid over several registers the specification does not say, so devices differ,
//! and the order is a setting.

use serde::Deserialize;
use weir_protocol::reading::MAX_TEXT;
use weir_protocol::{Value, ValueKind};

/// What a register, or several together, hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// An unsigned number of one register.
    U16,
    /// A signed number of one register.
    I16,
    /// An unsigned number of two registers.
    U32,
    /// A signed number of two registers.
    I32,
    /// An unsigned number of four registers.
    U64,
    /// A signed number of four registers.
    I64,
    /// An IEEE 754 single in two registers.
    F32,
    /// An IEEE 754 double in four registers.
    F64,
    /// One bit of a register, or a coil.
    Bit,
    /// Text, two characters a register, ended by a NUL or by the last register.
    String,
}

/// In which order the bytes of a value come, where `a` is the most significant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ByteOrder {
    /// Most significant first: what the specification would suggest.
    #[default]
    Abcd,
    /// Registers the other way round, bytes in them as they should be.
    Cdab,
    /// Registers in order, bytes in them the other way round.
    Badc,
    /// Least significant first.
    Dcba,
}

/// How to read a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layout {
    /// What it is.
    pub kind: Type,
    /// How it lies.
    pub order: ByteOrder,
    /// Which bit, of [`Type::Bit`]; 0 is the least significant.
    pub bit: u8,
    /// `value * scale + offset`; (1, 0) leaves the number as it is.
    pub scale: f64,
    /// See `scale`.
    pub offset: f64,
}

impl Type {
    /// How many registers it takes; text as many as it is given.
    pub fn registers(self) -> Option<u16> {
        match self {
            Self::U16 | Self::I16 | Self::Bit => Some(1),
            Self::U32 | Self::I32 | Self::F32 => Some(2),
            Self::U64 | Self::I64 | Self::F64 => Some(4),
            Self::String => None,
        }
    }
}

impl Layout {
    /// What its channel carries.
    pub fn value_kind(&self) -> ValueKind {
        match self.kind {
            Type::Bit => ValueKind::Boolean,
            Type::String => ValueKind::Text,
            _ if self.is_scaled() => ValueKind::Double,
            Type::F32 => ValueKind::Float,
            Type::F64 => ValueKind::Double,
            _ => ValueKind::Integer,
        }
    }

    /// The smallest step of a value, 0 where that depends on the value.
    pub fn resolution(&self) -> f32 {
        match self.kind {
            Type::F32 | Type::F64 | Type::Bit | Type::String => 0.0,
            _ => self.scale.abs() as f32,
        }
    }

    /// Reads the value out of its registers; text is put into `text`.
    ///
    /// # Errors
    /// Why the registers hold no value.
    pub fn decode<'a>(&self, registers: &[u16], text: &'a mut String) -> Result<Value<'a>, String> {
        match self.kind {
            Type::Bit => {
                let register = registers.first().ok_or("no register")?;
                return Ok(Value::Boolean(register >> (self.bit & 15) & 1 == 1));
            }
            Type::String => return self.text(registers, text),
            _ => {}
        }
        let bits = self.bits(registers);
        let number = match self.kind {
            Type::F32 => {
                let float = f32::from_bits(bits as u32);
                if !self.is_scaled() {
                    return finite(f64::from(float)).map(|_| Value::Float(float));
                }
                f64::from(float)
            }
            Type::F64 => f64::from_bits(bits),
            _ => {
                let whole = self.whole(bits);
                if !self.is_scaled() {
                    let whole = i64::try_from(whole);
                    return whole.map(Value::Integer).map_err(|_| format!("got {bits}, more than 2^63 - 1"));
                }
                whole as f64
            }
        };
        let number = if self.is_scaled() { number.mul_add(self.scale, self.offset) } else { number };
        finite(number).map(Value::Double)
    }

    fn is_scaled(&self) -> bool {
        self.scale != 1.0 || self.offset != 0.0
    }

    /// The bytes in order, at most eight of them.
    fn bits(&self, registers: &[u16]) -> u64 {
        let swapped = matches!(self.order, ByteOrder::Badc | ByteOrder::Dcba);
        let push =
            |bits: u64, register: &u16| bits << 16 | u64::from(if swapped { register.swap_bytes() } else { *register });
        match self.order {
            ByteOrder::Abcd | ByteOrder::Badc => registers.iter().fold(0, push),
            ByteOrder::Cdab | ByteOrder::Dcba => registers.iter().rev().fold(0, push),
        }
    }

    fn whole(&self, bits: u64) -> i128 {
        match self.kind {
            Type::I16 => i128::from(bits as u16 as i16),
            Type::I32 => i128::from(bits as u32 as i32),
            Type::I64 => i128::from(bits as i64),
            _ => i128::from(bits),
        }
    }

    fn text<'a>(&self, registers: &[u16], text: &'a mut String) -> Result<Value<'a>, String> {
        let swapped = matches!(self.order, ByteOrder::Badc | ByteOrder::Dcba);
        let in_order = |register: &u16| if swapped { register.to_le_bytes() } else { register.to_be_bytes() };
        let bytes: Vec<u8> = registers.iter().flat_map(in_order).take_while(|byte| *byte != 0).take(MAX_TEXT).collect();
        let read = core::str::from_utf8(&bytes).map_err(|_| format!("got {bytes:02x?}, which is no text"))?;
        text.clear();
        text.push_str(read.trim_end());
        Ok(Value::Text(text))
    }
}

/// Devices say with a NaN that a sensor is missing; nobody could store it.
fn finite(number: f64) -> Result<f64, String> {
    if number.is_finite() { Ok(number) } else { Err(format!("got {number}, which is no measurement")) }
}
