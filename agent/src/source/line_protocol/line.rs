//! One line: `measurement,tag=value,.. field=value,.. timestamp` (InfluxDB line protocol, versions 1 and 2), as readings.
//!
//! A channel is called `measurement.field`, and behind it `.tag-value` for each tag that is not the device, in the
//! order of the tags' names, so that the same series has the same channel whatever the order in which a sender writes
//! its tags. A name that would not tell its parts ends in a hash of all of it.

use influxdb_line_protocol::{FieldValue, ParsedLine};
use weir_protocol::reading::MAX_TEXT;
use weir_protocol::{DeviceId, Timestamp, Value};

use super::plain::PlainLine;
use crate::source::name::{self, MAX_GIVEN};

/// What a timestamp counts, since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Nanoseconds, unless it is said.
    #[default]
    Nanoseconds,
    /// Microseconds.
    Microseconds,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Minutes, of version 1.
    Minutes,
    /// Hours, of version 1.
    Hours,
}

/// What becomes of the parts of a line.
#[derive(Clone, Debug)]
pub struct Naming {
    /// The tag that names the device.
    pub device_tag: String,
    /// The device of a line that has no such tag.
    pub device: DeviceId,
    /// The tags that belong to the name of a channel; None: all.
    pub tags: Option<Vec<String>>,
}

/// A line, understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Line<'a> {
    /// Whose it is.
    pub device: DeviceId,
    /// What its sender says of the time.
    pub time: Option<Timestamp>,
    /// Channels and values; a value that cannot be a reading says why.
    pub fields: Vec<(String, Result<Field<'a>, String>)>,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Field<'a> {
    /// `1i`, and `1u` as far as it fits.
    Integer(i64),
    /// `1.0`, `1`
    Double(f64),
    /// `true`
    Boolean(bool),
    /// `"running"`
    Text(std::borrow::Cow<'a, str>),
}

impl Precision {
    /// As a query says it.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "n" | "ns" => Self::Nanoseconds,
            "u" | "us" | "µ" | "µs" => Self::Microseconds,
            "ms" => Self::Milliseconds,
            "s" => Self::Seconds,
            "m" => Self::Minutes,
            "h" => Self::Hours,
            _ => return None,
        })
    }

    /// A time in microseconds; None: it lies outside of what can be said.
    pub fn timestamp(self, count: i64) -> Option<Timestamp> {
        const SECOND: i64 = 1_000_000;
        let micros = match self {
            Self::Nanoseconds => Some(count.div_euclid(1000)),
            Self::Microseconds => Some(count),
            Self::Milliseconds => count.checked_mul(1000),
            Self::Seconds => count.checked_mul(SECOND),
            Self::Minutes => count.checked_mul(60 * SECOND),
            Self::Hours => count.checked_mul(3600 * SECOND),
        };
        micros.map(Timestamp)
    }
}

impl Naming {
    /// Understands a line.
    ///
    /// # Errors
    /// Why nothing of it can be a reading.
    pub fn line<'a>(&self, line: ParsedLine<'a>, precision: Precision) -> Result<Line<'a>, String> {
        let tags = line.series.tag_set.as_deref().unwrap_or_default();
        let tags: Vec<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let head = (line.series.measurement.as_str(), &*tags, line.timestamp);
        self.parts(head, precision, line.field_set.into_iter().map(|(key, value)| (key, field(value))))
    }

    /// The same of a plain line.
    ///
    /// # Errors
    /// See [`Naming::line`].
    pub(super) fn plain_line<'a>(&self, line: PlainLine<'a>, precision: Precision) -> Result<Line<'a>, String> {
        let head = (line.measurement, &*line.tags, line.timestamp);
        self.parts(head, precision, line.fields.into_iter().map(|(key, value)| (key, Ok(value))))
    }

    fn parts<'a, K: std::ops::Deref<Target = str>>(
        &self,
        (measurement, tags, timestamp): (&str, &[(&str, &str)], Option<i64>),
        precision: Precision,
        fields: impl Iterator<Item = (K, Result<Field<'a>, String>)>,
    ) -> Result<Line<'a>, String> {
        let device = match tags.iter().find(|(key, _)| *key == self.device_tag) {
            Some((_, value)) => name::device(value).ok_or_else(|| format!("tag {} is empty", self.device_tag))?,
            None => self.device,
        };
        let time = match timestamp {
            Some(count) => {
                Some(precision.timestamp(count).ok_or_else(|| format!("timestamp {count} is out of range"))?)
            }
            None => None,
        };
        let wanted = |key: &str| {
            key != self.device_tag && self.tags.as_ref().is_none_or(|tags| tags.iter().any(|tag| tag == key))
        };
        let mut further: Vec<(&str, &str)> = tags.iter().copied().filter(|(key, _)| wanted(key)).collect();
        further.sort_unstable();
        let length = measurement.len() + further.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        if length > MAX_GIVEN {
            return Err(format!("measurement and tags have {length} bytes, at most {MAX_GIVEN} can be a name"));
        }
        let series = Series::new(measurement, &further);
        let fields = fields.map(|(key, value)| (series.channel(&key), value)).collect();
        Ok(Line { device, time, fields })
    }
}

impl Field<'_> {
    /// As a reading has it.
    pub fn value(&self) -> Value<'_> {
        match self {
            Self::Integer(value) => Value::Integer(*value),
            Self::Double(value) => Value::Double(*value),
            Self::Boolean(value) => Value::Boolean(*value),
            Self::Text(value) => Value::Text(value),
        }
    }
}

/// What the channels of one line have in common.
struct Series<'l> {
    measurement: &'l str,
    tags: &'l [(&'l str, &'l str)],
    /// The further tags as they are shown.
    shown: String,
    /// Whether the one tells the other.
    is_exact: bool,
}

impl<'l> Series<'l> {
    fn new(measurement: &'l str, tags: &'l [(&'l str, &'l str)]) -> Self {
        let mut shown = String::new();
        for (key, value) in tags {
            shown.extend([".", key, "-", value]);
        }
        let is_told = |(key, value): &(&str, &str)| !key.contains(['.', '-']) && !value.contains('.');
        let is_exact = !measurement.contains('.') && tags.iter().all(is_told);
        Self { measurement, tags, shown, is_exact }
    }

    fn channel(&self, field: &str) -> String {
        let Self { measurement, tags, shown, is_exact } = self;
        let all = || {
            let tags = tags.iter().flat_map(|(key, value)| [",", key, "=", value]);
            [measurement, ".", field].into_iter().chain(tags).collect()
        };
        name::channel_of([measurement, ".", field, shown].concat(), all, *is_exact && !field.contains('.'))
    }
}

fn field(value: FieldValue<'_>) -> Result<Field<'_>, String> {
    use influxdb_line_protocol::EscapedStr;
    use std::borrow::Cow;
    Ok(match value {
        FieldValue::I64(value) => Field::Integer(value),
        FieldValue::U64(value) => {
            Field::Integer(i64::try_from(value).map_err(|_| format!("{value} is above 2^63 - 1"))?)
        }
        FieldValue::F64(value) if !value.is_finite() => return Err("the number is too large".to_owned()),
        FieldValue::F64(value) => Field::Double(value),
        FieldValue::Boolean(value) => Field::Boolean(value),
        FieldValue::String(text) if text.len() > MAX_TEXT => {
            return Err(format!("a text of {} bytes; at most {MAX_TEXT} are kept", text.len()));
        }
        FieldValue::String(EscapedStr::SingleSlice(text)) => Field::Text(Cow::Borrowed(text)),
        FieldValue::String(EscapedStr::CopiedValue(text)) => Field::Text(Cow::Owned(text)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming() -> Naming {
        Naming { device_tag: "host".to_owned(), device: DeviceId::new("box").unwrap(), tags: None }
    }

    fn read(naming: &Naming, text: &str) -> Line<'static> {
        let text: &'static str = text.to_owned().leak();
        let parsed = influxdb_line_protocol::parse_lines(text).next().unwrap().unwrap();
        naming.line(parsed, Precision::default()).unwrap()
    }

    fn channels(naming: &Naming, text: &str) -> Vec<String> {
        read(naming, text).fields.into_iter().map(|(channel, _)| channel).collect()
    }

    #[test]
    fn a_line_as_telegraf_writes_it() {
        let line = read(&naming(), "cpu,cpu=cpu-total,host=edge-1 usage_idle=98.5,usage_user=1.25 1700000000123456789");
        assert_eq!(line.device.as_str(), "edge-1");
        assert_eq!(line.time, Some(Timestamp(1_700_000_000_123_456)));
        let expected = [
            ("cpu.usage_idle.cpu-cpu-total".to_owned(), Ok(Field::Double(98.5))),
            ("cpu.usage_user.cpu-cpu-total".to_owned(), Ok(Field::Double(1.25))),
        ];
        assert_eq!(line.fields, expected);
    }

    #[test]
    fn every_kind_of_value_keeps_its_kind() {
        let line = read(&naming(), r#"m i=-5i,u=7u,f=-0.5,n=3,t=true,s="a \"b\"",big=18446744073709551615u"#);
        let values: Vec<_> = line.fields.iter().map(|(_, value)| value.clone()).collect();
        assert_eq!(
            values[..4],
            [Ok(Field::Integer(-5)), Ok(Field::Integer(7)), Ok(Field::Double(-0.5)), Ok(Field::Double(3.0))]
        );
        assert_eq!(values[4..6], [Ok(Field::Boolean(true)), Ok(Field::Text("a \"b\"".into()))]);
        assert!(values[6].as_ref().unwrap_err().contains("2^63"));
        assert_eq!((line.device.as_str(), line.time), ("box", None));
    }

    #[test]
    fn a_number_that_is_none_and_a_text_without_end_are_refused_alone() {
        let line = read(&naming(), &format!("m ok=1,inf=1e999,long=\"{}\"", "x".repeat(MAX_TEXT + 1)));
        let refused: Vec<bool> = line.fields.iter().map(|(_, value)| value.is_err()).collect();
        assert_eq!(refused, [false, true, true]);
    }

    #[test]
    fn the_order_of_tags_changes_nothing() {
        let one = channels(&naming(), "disk,host=a,device=sda1,path=root used=1i");
        assert_eq!(one, ["disk.used.device-sda1.path-root"]);
        assert_eq!(one, channels(&naming(), "disk,path=root,device=sda1,host=a used=1i"));
    }

    #[test]
    fn two_series_never_share_a_channel() {
        let series =
            ["m,a=b.c-d x=1", "m,a=b,c=d x=1", "m,a-b=c x=1", "m,a=b-c x=1", "m x.a-b-c=1", "m,a=/ x=1", "m,a=_ x=1"];
        let mut names: Vec<String> = series.iter().flat_map(|line| channels(&naming(), line)).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), series.len(), "{names:?}");
    }

    /// The name of every field begins with them: one push of two megabytes was work for minutes.
    #[test]
    fn a_line_with_an_endless_name_is_refused() {
        let text = format!("{},t={} x=1,y=2", "m".repeat(1000), "v".repeat(100));
        let parsed = influxdb_line_protocol::parse_lines(&text).next().unwrap().unwrap();
        let refused = naming().line(parsed, Precision::default()).unwrap_err();
        assert_eq!(refused, "measurement and tags have 1101 bytes, at most 1024 can be a name");
        // What is not part of the name may be long.
        let naming = Naming { tags: Some(Vec::new()), ..naming() };
        assert_eq!(channels(&naming, &text).len(), 2);
    }

    #[test]
    fn tags_that_are_not_wanted_stay_out_of_the_name() {
        let naming = Naming { tags: Some(vec!["path".to_owned()]), ..naming() };
        assert_eq!(channels(&naming, "disk,host=a,device=sda1,fstype=ext4,path=root used=1i"), ["disk.used.path-root"]);
    }

    #[test]
    fn a_timestamp_counts_what_the_query_says() {
        let micros = [("n", 1), ("u", 1700), ("ms", 1_700_000), ("s", 1_700_000_000)];
        for (text, expected) in micros {
            let count = 1700;
            assert_eq!(Precision::parse(text).unwrap().timestamp(count), Some(Timestamp(expected)), "{text}");
        }
        assert_eq!(Precision::parse("m").unwrap().timestamp(2), Some(Timestamp(120_000_000)));
        assert_eq!(Precision::parse("h").unwrap().timestamp(-1), Some(Timestamp(-3_600_000_000)));
        assert_eq!(Precision::parse("h").unwrap().timestamp(i64::MAX), None);
        assert_eq!(Precision::parse("fortnight"), None);
    }
}
