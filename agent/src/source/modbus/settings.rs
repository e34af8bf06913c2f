//! `[[modbus]]`: a device behind Modbus, and the map of its registers.

use serde::Deserialize;
use weir_protocol::DeviceId;
use weir_protocol::channel::MAX_CHANNELS;
use weir_protocol::reading::MAX_TEXT;
use weir_protocol::settings::{Period, SettingsError, Source, Spanned};

use crate::config::check::{at_least, unwritten, within};
use crate::source::units::check_unit;

use super::address::Address;
use super::plan::{Place, Table};
use super::value::{ByteOrder, Layout, Type};

/// The most devices on Modbus.
pub const MAX_DEVICES: usize = 64;
/// The longest name that the gateway takes, in bytes.
const MAX_NAME: usize = 64;

/// One device.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModbusConfig {
    /// What its readings are called.
    pub device: Spanned<DeviceId>,
    /// Its line.
    pub address: Spanned<Address>,
    /// Its number on the line.
    #[serde(default = "default_unit")]
    pub unit: Spanned<u8>,
    /// Time between two reads of everything.
    #[serde(default = "default_interval")]
    pub interval: Spanned<Period>,
    /// How long an answer may take.
    #[serde(default = "default_timeout")]
    pub timeout: Spanned<Period>,
    /// Registers between two wanted ones that are read rather than asked around.
    #[serde(default = "default_gap")]
    pub gap: u16,
    /// Readings kept in memory while the queue takes none.
    #[serde(default = "default_ring")]
    pub ring: Spanned<u32>,
    /// The map.
    pub register: Spanned<Vec<RegisterConfig>>,
}

/// One value of a device.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterConfig {
    /// The channel.
    pub name: Spanned<String>,
    /// In which table.
    #[serde(default = "holding")]
    pub kind: Spanned<Table>,
    /// The first register, from 0.
    pub address: Spanned<u16>,
    /// What it holds.
    #[serde(default = "u16_type")]
    pub r#type: Spanned<Type>,
    /// In which order.
    #[serde(default)]
    pub byte_order: Option<Spanned<ByteOrder>>,
    /// The value is multiplied by this.
    #[serde(default)]
    pub scale: Option<Spanned<f64>>,
    /// And this is added.
    #[serde(default)]
    pub offset: Option<Spanned<f64>>,
    /// Which bit of a register.
    #[serde(default)]
    pub bit: Option<Spanned<u8>>,
    /// How many registers a text has.
    #[serde(default)]
    pub length: Option<Spanned<u16>>,
    /// The UCUM code of the unit.
    #[serde(default = "no_unit")]
    pub unit: Spanned<String>,
}

fn default_unit() -> Spanned<u8> {
    unwritten(1)
}

fn default_interval() -> Spanned<Period> {
    unwritten(Period::secs(10))
}

fn default_timeout() -> Spanned<Period> {
    unwritten(Period::secs(1))
}

const fn default_gap() -> u16 {
    8
}

fn default_ring() -> Spanned<u32> {
    unwritten(4096)
}

fn holding() -> Spanned<Table> {
    unwritten(Table::Holding)
}

fn u16_type() -> Spanned<Type> {
    unwritten(Type::U16)
}

fn no_unit() -> Spanned<String> {
    unwritten("1".to_owned())
}

/// Checks all devices and their maps.
pub fn check(devices: &[ModbusConfig], source: &Source) -> Result<(), SettingsError> {
    for (at, device) in devices.iter().enumerate() {
        if at == MAX_DEVICES {
            let message = format!("got {} devices on Modbus, expected at most {MAX_DEVICES}", devices.len());
            return Err(source.error(device.device.span(), message));
        }
        device.check(source)?;
        for other in &devices[..at] {
            let (one, two) = (other.address.get_ref(), device.address.get_ref());
            if one.wire() == two.wire() && one != two {
                let message = format!("{} is set otherwise above", one.wire());
                return Err(source
                    .error(device.address.span(), message)
                    .with_help("a line has one speed: write the same address in both sections"));
            }
        }
    }
    Ok(())
}

impl ModbusConfig {
    fn check(&self, source: &Source) -> Result<(), SettingsError> {
        let refuse = |at: core::ops::Range<usize>, message: String| Err(source.error(at, message));
        let unit = self.unit.get_ref();
        if matches!(self.address.get_ref(), Address::Rtu(_)) && !(1..=247).contains(unit) {
            return refuse(self.unit.span(), format!("got {unit}, expected 1 to 247 on a serial line"));
        }
        at_least(source, &self.interval, Period::millis(10))?;
        within(source, &self.timeout, Period::millis(10)..=Period::secs(60), "")?;
        within(source, &self.ring, 256..=1 << 20, "readings")?;
        let registers = self.register.get_ref();
        if registers.is_empty() || registers.len() > MAX_CHANNELS {
            let message = format!("got {} registers, expected 1 to {MAX_CHANNELS}", registers.len());
            return refuse(self.register.span(), message);
        }
        for (at, register) in registers.iter().enumerate() {
            register.check(source)?;
            let name = register.name.get_ref();
            if registers[..at].iter().any(|other| other.name.get_ref() == name) {
                return refuse(register.name.span(), format!("{name:?} is there twice"));
            }
        }
        Ok(())
    }
}

impl RegisterConfig {
    fn check(&self, source: &Source) -> Result<(), SettingsError> {
        let refuse = |at: core::ops::Range<usize>, message: String| Err(source.error(at, message));
        let name = self.name.get_ref();
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) {
            return refuse(self.name.span(), format!("got {name:?}, expected 1 to {MAX_NAME} of A-Z a-z 0-9 . _ -"));
        }
        check_unit(&self.unit, source)?;
        let is_bits = matches!(self.kind.get_ref(), Table::Coil | Table::Discrete);
        let kind = *self.r#type.get_ref();
        // A table of bits needs no type.
        if is_bits && self.r#type.span() != (0..0) && kind != Type::Bit {
            let message = format!("a {} is one bit", self.kind.get_ref().name());
            return Err(source.error(self.r#type.span(), message).with_help("remove `type`, or write type = \"bit\""));
        }
        if let Some(bit) = &self.bit {
            if is_bits || kind != Type::Bit {
                return refuse(bit.span(), "`bit` is for a register of type = \"bit\"".to_owned());
            }
            if *bit.get_ref() > 15 {
                return refuse(bit.span(), format!("got {}, expected 0 (least significant) to 15", bit.get_ref()));
            }
        }
        self.check_text(source)?;
        for (which, factor) in [("scale", &self.scale), ("offset", &self.offset)] {
            let Some(factor) = factor else { continue };
            if matches!(self.layout().kind, Type::Bit | Type::String) {
                return refuse(factor.span(), format!("`{which}` is for numbers"));
            }
            if !factor.get_ref().is_finite() || (which == "scale" && *factor.get_ref() == 0.0) {
                return refuse(factor.span(), format!("got {}, expected a number that is not 0", factor.get_ref()));
            }
        }
        let place = self.place();
        if u32::from(place.start) + u32::from(place.count) > 1 << 16 {
            let message = format!("{} registers from {} on go past 65535", place.count, place.start);
            return refuse(self.address.span(), message);
        }
        Ok(())
    }

    fn check_text(&self, source: &Source) -> Result<(), SettingsError> {
        let is_text = *self.r#type.get_ref() == Type::String;
        match &self.length {
            None if is_text => Err(source
                .error(self.r#type.span(), "a text has a length")
                .with_help("write length = 8 for 8 registers, which are 16 characters")),
            Some(length) if !is_text => {
                Err(source.error(length.span(), "`length` is for type = \"string\"; other types have their own"))
            }
            Some(length) if !(1..=MAX_TEXT / 2).contains(&usize::from(*length.get_ref())) => Err(source
                .error(length.span(), format!("got {}, expected 1 to {} registers", length.get_ref(), MAX_TEXT / 2))),
            _ => match &self.byte_order {
                Some(order) if is_text && matches!(order.get_ref(), ByteOrder::Cdab | ByteOrder::Dcba) => Err(source
                    .error(
                        order.span(),
                        "a text is \"abcd\", or \"badc\" with the characters of each register swapped",
                    )),
                _ => Ok(()),
            },
        }
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        let length = self.length.as_ref().map_or(1, |length| *length.get_ref());
        let count = self.layout().kind.registers().unwrap_or(length);
        Place { table: *self.kind.get_ref(), start: *self.address.get_ref(), count }
    }

    /// How to read it.
    pub fn layout(&self) -> Layout {
        let is_bits = matches!(self.kind.get_ref(), Table::Coil | Table::Discrete);
        Layout {
            kind: if is_bits { Type::Bit } else { *self.r#type.get_ref() },
            order: self.byte_order.as_ref().map(|order| *order.get_ref()).unwrap_or_default(),
            bit: self.bit.as_ref().map_or(0, |bit| *bit.get_ref()),
            scale: self.scale.as_ref().map_or(1.0, |scale| *scale.get_ref()),
            offset: self.offset.as_ref().map_or(0.0, |offset| *offset.get_ref()),
        }
    }
}
