//! One device: what is asked for, and what became of each value.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio_modbus::ExceptionCode;
use weir_protocol::Value;

use super::line::{Answer, Line, ReadError};
use super::plan::{self, Block, Place};
use super::settings::ModbusConfig;
use super::value::Layout;

/// The most values that a message names.
const NAMED: usize = 8;
/// How often a device that is busy is asked again while everything is read once, and after what pause.
const BUSY: (u32, Duration) = (3, Duration::from_millis(100));
/// The most requests that may stay without an answer before the first that has one; then the device is not there.
const MOST_SILENT: u32 = 2;

/// Reads a device again and again.
pub struct Poller {
    unit: u8,
    patience: Duration,
    values: Vec<Wanted>,
    places: Vec<Place>,
    blocks: Vec<Block>,
    /// What went wrong with which value at the last look.
    failing: BTreeMap<usize, String>,
}

/// One value of the map.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The channel.
    pub name: String,
    /// Its unit, a UCUM code.
    pub unit: String,
    /// How it lies in its registers.
    pub layout: Layout,
}

impl Poller {
    /// Everything that the settings name.
    pub fn new(config: &ModbusConfig) -> Self {
        let registers = config.register.get_ref();
        let wanted = |register: &super::settings::RegisterConfig| Wanted {
            name: register.name.get_ref().clone(),
            unit: register.unit.get_ref().clone(),
            layout: register.layout(),
        };
        let places: Vec<Place> = registers.iter().map(|register| register.place()).collect();
        Self {
            unit: *config.unit.get_ref(),
            patience: config.timeout.get_ref().0,
            values: registers.iter().map(wanted).collect(),
            blocks: plan::blocks(&places, config.gap),
            places,
            failing: BTreeMap::new(),
        }
    }

    /// The values, in the order of the settings.
    pub fn values(&self) -> &[Wanted] {
        &self.values
    }

    /// Reads everything once and gives each value as it comes. A value that the device refuses fails alone; a request
    /// that it does not answer, as some do instead of refusing, fails alone if it answers others.
    ///
    /// # Errors
    /// The device does not answer, or wrongly; what it gave before is given.
    pub async fn poll(&mut self, line: &Line, mut give: impl FnMut(&Wanted, Value<'_>)) -> Result<(), String> {
        let mut asked: VecDeque<Block> = std::mem::take(&mut self.blocks).into();
        self.failing.clear();
        let mut outcome = Ok(());
        let (mut answers, mut silent, mut busy) = (0_u32, Vec::new(), 0);
        while let Some(block) = asked.pop_front() {
            match line.read(self.unit, &block.place, self.patience).await {
                Ok(answer) => {
                    answers += 1;
                    self.take(&block, &answer, &mut give);
                }
                Err(ReadError::Refused(code)) if is_busy(code) && busy < BUSY.0 => {
                    busy += 1;
                    // Others on the line go on meanwhile.
                    tokio::time::sleep(BUSY.1).await;
                    asked.push_front(block);
                    continue;
                }
                Err(ReadError::Refused(code)) => {
                    answers += 1;
                    if let Some([first, second]) = about_one(code).then(|| block.halves(&self.places)).flatten() {
                        asked.push_front(second);
                        asked.push_front(first);
                        continue;
                    }
                    let why = ReadError::Refused(code).to_string();
                    self.failing.extend(block.values.iter().map(|value| (*value, why.clone())));
                }
                Err(error @ ReadError::Silent(_)) => {
                    let why = error.to_string();
                    self.failing.extend(block.values.iter().map(|value| (*value, why.clone())));
                    silent.push(self.told(line, &block.place, &error));
                    if answers == 0 && silent.len() as u32 >= MOST_SILENT {
                        self.blocks.push(block);
                        break;
                    }
                }
                Err(error) => {
                    outcome = Err(self.told(line, &block.place, &error));
                    self.blocks.push(block);
                    break;
                }
            }
            self.blocks.push(block);
        }
        self.blocks.extend(asked);
        match silent.into_iter().next() {
            Some(first) if answers == 0 => outcome.and(Err(first)),
            _ => outcome,
        }
    }

    /// What went wrong with a request, and where.
    fn told(&self, line: &Line, place: &Place, error: &ReadError) -> String {
        let (line, table, first) = (line.address(), place.table.name(), place.start);
        let last = u32::from(first) + u32::from(place.count) - 1;
        format!("{line}, unit {}, {table} {first} to {last}: {error}", self.unit)
    }

    /// Which values could not be read, and why.
    pub fn failing(&self) -> Option<String> {
        let named = self.failing.iter().take(NAMED).map(|(value, why)| format!("{}: {why}", self.values[*value].name));
        let mut text = named.collect::<Vec<String>>().join("; ");
        if self.failing.len() > NAMED {
            text.push_str(&format!("; and {} more", self.failing.len() - NAMED));
        }
        (!text.is_empty()).then_some(text)
    }

    /// How many values could not be read.
    pub fn failures(&self) -> usize {
        self.failing.len()
    }

    fn take(&mut self, block: &Block, answer: &Answer, give: &mut impl FnMut(&Wanted, Value<'_>)) {
        let mut text = String::new();
        for at in &block.values {
            let (wanted, part) = (&self.values[*at], block.part(&self.places[*at]));
            let value = match answer {
                Answer::Registers(registers) => {
                    wanted.layout.decode(registers.get(part).unwrap_or_default(), &mut text)
                }
                Answer::Bits(bits) => bits.get(part.start).map(|bit| Value::Boolean(*bit)).ok_or_else(String::new),
            };
            match value {
                Ok(value) => give(wanted, value),
                Err(why) => {
                    self.failing.insert(*at, why);
                }
            }
        }
    }
}

/// Whether a device that answers so may answer otherwise in a moment.
fn is_busy(code: ExceptionCode) -> bool {
    matches!(code, ExceptionCode::Acknowledge | ExceptionCode::ServerDeviceBusy)
}

/// Whether a device that answers so refuses one of the addresses, and may give the others.
fn about_one(code: ExceptionCode) -> bool {
    matches!(code, ExceptionCode::IllegalDataAddress | ExceptionCode::IllegalDataValue)
}
