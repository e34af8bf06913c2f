//! What messages hold: a number, a text, or JSON of which some fields are channels.
//!
//! A message that is not what it should be says why; nothing of it is guessed.

use serde::Deserialize;
use serde_json::Value as Json;
use weir_protocol::Value;
use weir_protocol::reading::MAX_TEXT;

use crate::source::name::MAX_GIVEN;
use crate::source::number;

/// How to read a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Payload {
    /// Text that is a number, or a switch: `true`, `false`, `on`, `off`.
    Number,
    /// JSON.
    Json,
    /// A text, kept as it is.
    Text,
}

/// A value of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Measured {
    /// A number. JSON has one kind only, so a whole number is one too.
    Double(f64),
    /// A whole number that no double is.
    Integer(i64),
    /// A switch.
    Boolean(bool),
    /// A state by name.
    Text(String),
}

/// The most levels of JSON that are looked into.
const MAX_DEPTH: usize = 8;
/// The most values that are taken from one message.
pub(super) const MAX_VALUES: usize = 256;
const SHOWN: usize = 40;

impl Measured {
    /// As a reading has it.
    pub fn value(&self) -> Value<'_> {
        match self {
            Self::Double(value) => Value::Double(*value),
            Self::Integer(value) => Value::Integer(*value),
            Self::Boolean(value) => Value::Boolean(*value),
            Self::Text(value) => Value::Text(value),
        }
    }
}

impl Payload {
    /// The values in `payload` by their field, which is empty but for JSON. Of JSON the `fields`, dotted paths, or
    /// without any every number and switch.
    ///
    /// # Errors
    /// Why there is none.
    pub fn read(self, payload: &[u8], fields: &[String]) -> Result<Vec<(String, Measured)>, String> {
        let text = core::str::from_utf8(payload).map_err(|_| format!("{} bytes that are no text", payload.len()))?;
        match self {
            Self::Number => number(text.trim()).map(|value| vec![(String::new(), value)]),
            Self::Text => words(text).map(|value| vec![(String::new(), value)]),
            Self::Json => {
                let json: Json = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
                if fields.is_empty() { all(&json) } else { some(&json, fields) }
            }
        }
    }
}

fn number(text: &str) -> Result<Measured, String> {
    match text {
        "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Ok(Measured::Boolean(true)),
        "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => return Ok(Measured::Boolean(false)),
        _ => {}
    }
    numeric(number::parse(text)).ok_or_else(|| format!("{:?} is no number", shown(text)))
}

fn numeric(number: Option<Value<'_>>) -> Option<Measured> {
    match number? {
        Value::Double(value) => Some(Measured::Double(value)),
        Value::Integer(value) => Some(Measured::Integer(value)),
        _ => None,
    }
}

fn words(text: &str) -> Result<Measured, String> {
    if text.len() > MAX_TEXT {
        return Err(format!("a text of {} bytes; at most {MAX_TEXT} are kept", text.len()));
    }
    Ok(Measured::Text(text.to_owned()))
}

/// Every number and switch, in order.
fn all(json: &Json) -> Result<Vec<(String, Measured)>, String> {
    let mut found = Vec::new();
    walk(json, String::new(), 0, &mut found)?;
    Ok(found)
}

fn walk(json: &Json, path: String, depth: usize, found: &mut Vec<(String, Measured)>) -> Result<(), String> {
    if path.len() > MAX_GIVEN {
        return Err(format!("a field whose name has {} bytes, at most {MAX_GIVEN} can be a name", path.len()));
    }
    if depth > MAX_DEPTH || found.len() == MAX_VALUES {
        return Ok(());
    }
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match json {
        Json::Object(fields) => fields.iter().try_for_each(|(key, value)| walk(value, below(key), depth + 1, found)),
        Json::Array(values) => {
            let mut values = values.iter().enumerate();
            values.try_for_each(|(at, value)| walk(value, below(&at.to_string()), depth + 1, found))
        }
        Json::String(_) => Ok(()),
        other => {
            found.extend(measured(other).ok().map(|value| (path, value)));
            Ok(())
        }
    }
}

/// The fields that are wanted; one that is missing is not an error, one that holds something else is.
fn some(json: &Json, fields: &[String]) -> Result<Vec<(String, Measured)>, String> {
    let mut found = Vec::new();
    for field in fields {
        match at(json, field) {
            None | Some(Json::Null) => {}
            Some(value) => found.push((field.clone(), measured(value).map_err(|why| format!("{field}: {why}"))?)),
        }
    }
    Ok(found)
}

/// A key of its own wins over a path, because keys may have dots.
fn at<'j>(json: &'j Json, path: &str) -> Option<&'j Json> {
    if let Some(value) = json.get(path) {
        return Some(value);
    }
    path.split('.').try_fold(json, |json, key| match json {
        Json::Array(values) => values.get(key.parse::<usize>().ok()?),
        _ => json.get(key),
    })
}

fn measured(json: &Json) -> Result<Measured, String> {
    match json {
        Json::Bool(value) => Ok(Measured::Boolean(*value)),
        Json::Number(value) => {
            let fraction = || value.as_f64().filter(|number| number.is_finite()).map(Value::Double);
            let number = value.as_i64().map(number::whole).or_else(fraction);
            numeric(number).ok_or_else(|| format!("{value} is too large"))
        }
        Json::String(text) => words(text),
        _ => Err(format!("{} is no value", shown(&json.to_string()))),
    }
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(payload: Payload, text: &str) -> Result<Measured, String> {
        payload.read(text.as_bytes(), &[]).map(|mut values| values.remove(0).1)
    }

    #[test]
    fn a_number_is_a_number_and_a_switch_a_switch() {
        assert_eq!(one(Payload::Number, " 21.5\n"), Ok(Measured::Double(21.5)));
        assert_eq!(one(Payload::Number, "-3e2"), Ok(Measured::Double(-300.0)));
        assert_eq!(one(Payload::Number, "ON"), Ok(Measured::Boolean(true)));
        for wrong in ["", "warm", "NaN", "inf", "21,5", "0x10"] {
            assert!(one(Payload::Number, wrong).is_err(), "{wrong}");
        }
        assert!(Payload::Number.read(b"\xff", &[]).is_err());
    }

    /// The name of every value in it begins with that of the field: a message of a megabyte became hundreds.
    #[test]
    fn a_field_with_an_endless_name_is_refused() {
        let json = |name: usize| format!("{{{:?}: [{}1]}}", "x".repeat(name), "1,".repeat(200));
        let refused = Payload::Json.read(json(500_000).as_bytes(), &[]).unwrap_err();
        assert_eq!(refused, "a field whose name has 500000 bytes, at most 1024 can be a name");
        assert_eq!(Payload::Json.read(json(1000).as_bytes(), &[]).unwrap().len(), 201);
    }

    #[test]
    fn a_text_is_kept_up_to_what_a_reading_holds() {
        assert_eq!(one(Payload::Text, "running"), Ok(Measured::Text("running".to_owned())));
        assert!(one(Payload::Text, &"x".repeat(MAX_TEXT + 1)).is_err());
    }

    #[test]
    fn json_gives_all_numbers_and_switches_or_the_fields_that_are_wanted() {
        let message =
            br#"{"temperature":21.5,"battery":{"level":97,"low":false},"state":"ON","list":[1,{"x":2}],"gone":null}"#;
        let all = Payload::Json.read(message, &[]).unwrap();
        let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["battery.level", "battery.low", "list.0", "list.1.x", "temperature"]);
        let wanted = ["battery.level", "state", "gone", "missing"].map(str::to_owned);
        let some = Payload::Json.read(message, &wanted).unwrap();
        let expected = [
            ("battery.level".to_owned(), Measured::Double(97.0)),
            ("state".to_owned(), Measured::Text("ON".to_owned())),
        ];
        assert_eq!(some, expected);
        assert!(Payload::Json.read(message, &["battery".to_owned()]).unwrap_err().contains("battery"));
        assert!(Payload::Json.read(b"{", &[]).is_err());
    }

    #[test]
    fn json_without_end_is_bounded() {
        let wide = format!("[{}]", vec!["1"; 10_000].join(","));
        assert_eq!(Payload::Json.read(wide.as_bytes(), &[]).unwrap().len(), MAX_VALUES);
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        assert_eq!(Payload::Json.read(deep.as_bytes(), &[]).unwrap(), []);
        let too_deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(Payload::Json.read(too_deep.as_bytes(), &[]).is_err());
    }

    #[test]
    fn a_whole_number_that_no_double_is_stays_whole() {
        let message = br#"{"ns":1795262400123456789,"wh":21,"top":18446744073709551615}"#;
        let read = Payload::Json.read(message, &["ns", "wh", "top"].map(str::to_owned)).unwrap();
        let values: Vec<_> = read.into_iter().map(|(_, value)| value).collect();
        let top = Measured::Double(18_446_744_073_709_551_615.0);
        assert_eq!(values, [Measured::Integer(1_795_262_400_123_456_789), Measured::Double(21.0), top]);
        assert_eq!(one(Payload::Number, "9007199254740993"), Ok(Measured::Integer(9_007_199_254_740_993)));
    }

    #[test]
    fn a_field_with_a_dot_in_its_name_is_found() {
        let found = Payload::Json.read(br#"{"a.b":1,"a":{"b":2}}"#, &["a.b".to_owned()]).unwrap();
        assert_eq!(found, [("a.b".to_owned(), Measured::Double(1.0))]);
    }
}
