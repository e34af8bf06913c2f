//! What is kept of the readings of one channel in one window: enough for every [`Take`], whatever the rules ask for.

use serde::{Deserialize, Serialize};
use weir_protocol::{Clock, Reading, Timestamp, Value};

use super::settings::Take;

/// A value that outlives the message that it came in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Kept {
    Float(f32),
    Double(f64),
    Integer(i64),
    Boolean(bool),
    Text(String),
}

impl Kept {
    pub(crate) fn of(value: Value<'_>) -> Self {
        match value {
            Value::Float(value) => Self::Float(value),
            Value::Double(value) => Self::Double(value),
            Value::Integer(value) => Self::Integer(value),
            Value::Boolean(value) => Self::Boolean(value),
            Value::Text(value) => Self::Text(value.to_owned()),
        }
    }

    pub(crate) fn value(&self) -> Value<'_> {
        match self {
            Self::Float(value) => Value::Float(*value),
            Self::Double(value) => Value::Double(*value),
            Self::Integer(value) => Value::Integer(*value),
            Self::Boolean(value) => Value::Boolean(*value),
            Self::Text(value) => Value::Text(value),
        }
    }

    /// Whether it is below `other`, which is of the same kind.
    fn is_below(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(one), Self::Float(other)) => one < other,
            (Self::Double(one), Self::Double(other)) => one < other,
            (Self::Integer(one), Self::Integer(other)) => one < other,
            _ => false,
        }
    }
}

/// A number as arithmetic sees it; `None` of what is none.
pub(crate) fn number(value: Value<'_>) -> Option<f64> {
    match value {
        Value::Float(value) => Some(f64::from(value)),
        Value::Double(value) => Some(value),
        Value::Integer(value) => Some(value as f64),
        Value::Boolean(_) | Value::Text(_) => None,
    }
}

/// The readings of one channel in one window. The first and all others are of one kind, and finite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Accumulator {
    count: u64,
    /// The mean so far (Welford): a sum of many large values would lose the small ones.
    mean: f64,
    min: Kept,
    max: Kept,
    last: Kept,
    time: Timestamp,
    clock: Clock,
}

impl Accumulator {
    /// Of one reading.
    pub(crate) fn new(reading: &Reading<'_>) -> Self {
        let kept = Kept::of(reading.value);
        Self {
            count: 1,
            mean: number(reading.value).unwrap_or(0.0),
            min: kept.clone(),
            max: kept.clone(),
            last: kept,
            time: reading.time,
            clock: reading.clock,
        }
    }

    /// Takes one more in.
    pub(crate) fn add(&mut self, reading: &Reading<'_>) {
        let kept = Kept::of(reading.value);
        self.count += 1;
        self.mean += (number(reading.value).unwrap_or(0.0) - self.mean) / self.count as f64;
        if kept.is_below(&self.min) {
            self.min = kept.clone();
        }
        if self.max.is_below(&kept) {
            self.max = kept.clone();
        }
        (self.last, self.time, self.clock) = (kept, reading.time, reading.clock);
    }

    /// When the last one was sampled, and by which clock.
    pub(crate) fn stamp(&self) -> (Timestamp, Clock) {
        (self.time, self.clock)
    }

    /// What is sent of it.
    pub(crate) fn take(&self, take: Take) -> Value<'_> {
        match take {
            Take::Min => self.min.value(),
            Take::Max => self.max.value(),
            Take::Last => self.last.value(),
            Take::Count => Value::Integer(i64::try_from(self.count).unwrap_or(i64::MAX)),
            Take::Mean if matches!(self.last, Kept::Float(_)) => Value::Float(self.mean as f32),
            Take::Mean => Value::Double(self.mean),
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_protocol::ChannelId;

    use super::*;

    fn folded(values: &[Value<'static>]) -> Accumulator {
        let reading = |(at, value): (usize, &Value<'static>)| Reading {
            channel: ChannelId(0),
            time: Timestamp(at as i64),
            clock: Clock::Synchronised,
            value: *value,
        };
        let mut readings = values.iter().enumerate().map(reading);
        let mut accumulator = Accumulator::new(&readings.next().expect("one"));
        readings.for_each(|reading| accumulator.add(&reading));
        accumulator
    }

    #[test]
    fn each_kind_of_value_is_summarised_as_itself() {
        let floats = folded(&[Value::Float(2.5), Value::Float(-1.0), Value::Float(3.0)]);
        let taken = Take::ALL.map(|take| floats.take(take));
        let expected = [Value::Float(-1.0), Value::Float(3.0), Value::Float(1.5), Value::Float(3.0), Value::Integer(3)];
        assert_eq!(taken, expected);
        assert_eq!(floats.stamp().0, Timestamp(2));

        // Whole numbers keep all their digits, which a double would not.
        let large = i64::MAX - 1;
        let counts = folded(&[Value::Integer(large), Value::Integer(i64::MAX), Value::Integer(large)]);
        assert_eq!((counts.take(Take::Min), counts.take(Take::Max)), (Value::Integer(large), Value::Integer(i64::MAX)));
        assert_eq!(folded(&[Value::Integer(1), Value::Integer(2)]).take(Take::Mean), Value::Double(1.5));

        let doors = folded(&[Value::Boolean(false), Value::Boolean(true)]);
        assert_eq!((doors.take(Take::Last), doors.take(Take::Count)), (Value::Boolean(true), Value::Integer(2)));
        assert_eq!(folded(&[Value::Text("open"), Value::Text("ajar")]).take(Take::Last), Value::Text("ajar"));
    }
}
