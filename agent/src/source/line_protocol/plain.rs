//! Lines as machines write them, read at a quarter of the cost: no quotes, no escapes, numbers alone.
//!
//! What it guarantees: a line that is read here is read exactly as the crate `influxdb_line_protocol` reads it; whatever
//! is in doubt, a mistake above all, is left to that crate, which says what is wrong.

use super::line::Field;

/// A line in its parts.
#[derive(Debug, PartialEq)]
pub(super) struct PlainLine<'a> {
    pub(super) measurement: &'a str,
    /// Keys and values, in their order.
    pub(super) tags: Vec<(&'a str, &'a str)>,
    pub(super) fields: Vec<(&'a str, Field<'a>)>,
    /// As it stands there.
    pub(super) timestamp: Option<i64>,
}

/// Reads a line without its end; `None` if it is not plain.
pub(super) fn read(line: &str) -> Option<PlainLine<'_>> {
    if line.bytes().any(|byte| matches!(byte, b'"' | b'\\') || byte.is_ascii_control()) {
        return None;
    }
    let mut words = line.split(' ');
    let (series, values) = (words.next()?, words.next()?);
    let timestamp = words.next();
    if words.next().is_some() || series.starts_with('#') {
        return None;
    }
    let mut parts = series.split(',');
    let measurement = parts.next().filter(|name| !name.is_empty() && !name.contains('='))?;
    Some(PlainLine {
        measurement,
        tags: parts.map(pair).collect::<Option<_>>()?,
        fields: values.split(',').map(field).collect::<Option<_>>()?,
        timestamp: match timestamp {
            Some(count) => Some(integer(count)?),
            None => None,
        },
    })
}

fn pair(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.split_once('=')?;
    (!key.is_empty() && !value.is_empty() && !value.contains('=')).then_some((key, value))
}

fn field(text: &str) -> Option<(&str, Field<'_>)> {
    let (key, value) = pair(text)?;
    if let Some(digits) = value.strip_suffix('i') {
        return Some((key, Field::Integer(integer(digits)?)));
    }
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    if !is_number(whole.strip_prefix('-').unwrap_or(whole)) || !is_number(fraction) {
        return None;
    }
    let number = value.parse().ok().filter(|number: &f64| number.is_finite())?;
    Some((key, Field::Double(number)))
}

fn integer(text: &str) -> Option<i64> {
    is_number(text.strip_prefix('-').unwrap_or(text)).then(|| text.parse().ok()).flatten()
}

fn is_number(digits: &str) -> bool {
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use weir_protocol::DeviceId;

    use super::super::line::{Naming, Precision};
    use super::*;

    /// Both ways of reading a line; the first is there if it is plain.
    fn both(line: &str) -> (Option<String>, Option<String>) {
        let naming = Naming { device_tag: "host".to_owned(), device: DeviceId::new("box").unwrap(), tags: None };
        let ours = read(line).map(|line| format!("{:?}", naming.plain_line(line, Precision::default())));
        let parsed = influxdb_line_protocol::parse_lines(line).next();
        let theirs = parsed.and_then(Result::ok).map(|line| format!("{:?}", naming.line(line, Precision::default())));
        (ours, theirs)
    }

    #[test]
    fn what_machines_write_is_plain_and_read_alike() {
        for line in [
            "press,host=edge-1,line=4 temperature=21.5,speed=-12,count=7i 1700000000123456789",
            "m x=0",
            "m,a=b x=-0.5 -1",
            "Küche,ort=größer temp=1e,x=1",
            "m x=9223372036854775807i 9223372036854775807",
        ] {
            let (ours, theirs) = both(line);
            assert!(ours.is_none() || ours == theirs, "{line}: {ours:?}, {theirs:?}");
        }
        assert!(read("press,host=edge-1 temperature=21.5,count=7i 1700000000123456789").is_some());
        for line in
            ["m x=\"a\"", "m\\ n x=1", "m x=t", "m x=1u", "m x=1e3", "m  x=1", "#m x=1", "m x=1 2 3", "m,a= x=1"]
        {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[test]
    fn lines_of_chance_are_read_as_the_crate_reads_them_or_not_at_all() {
        let seed = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
        let mut random = StdRng::seed_from_u64(seed);
        let series = ["m", "a", "b", "é", "=", "=", ",", ",", " ", "#", "\\", "\"", "_"];
        let numbers = ["0", "1", "23", "9223372036854775808", ".", "-", "+", "i", "u", "e", "t", " ", ","];
        let mut some = |pieces: &[&str], most| -> String {
            let length = random.random_range(1..=most);
            (0..length).map(|_| pieces[random.random_range(0..pieces.len())]).collect()
        };
        let mut plain = 0;
        for _ in 0..5_000 {
            let (head, value, last) = (some(&series, 8), some(&numbers, 4), some(&numbers, 3));
            let lines = [
                format!("{head} x=1 5"),
                format!("m,{head} x=1"),
                format!("m,a=b x={value} 5"),
                format!("m x=1,{head}={value}"),
                format!("m x=1 {last}"),
            ];
            for line in &lines {
                if let (Some(ours), theirs) = both(line) {
                    plain += 1;
                    assert_eq!(Some(ours), theirs, "WEIR_SEED={seed}: {line:?}");
                }
            }
        }
        assert!(plain > 1000, "{plain} were plain");
    }
}
