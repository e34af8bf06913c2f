//! Numbers that come as text, which does not say what its channel holds: `21` now may be `21.5` the next time.
//!
//! So a number is a double. Only a whole number that no double is stays whole, and then all of its channel has to be
//! whole: identifiers, counters of nanoseconds.

use weir_protocol::Value;

/// Whole numbers up to this are the same as doubles.
pub(super) const EXACT: u64 = 1 << 53;

/// A whole number.
pub(super) fn whole(value: i64) -> Value<'static> {
    if value.unsigned_abs() <= EXACT { Value::Double(value as f64) } else { Value::Integer(value) }
}

/// A number as it is written. None: it is none, or an infinite one.
pub(super) fn parse(text: &str) -> Option<Value<'static>> {
    match text.parse() {
        Ok(value) => Some(whole(value)),
        Err(_) => text.parse().ok().filter(|value: &f64| value.is_finite()).map(Value::Double),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_stays_whole_where_no_double_is_the_same() {
        let cases = [
            ("21", Value::Double(21.0)),
            ("-3e2", Value::Double(-300.0)),
            ("9007199254740992", Value::Double(9_007_199_254_740_992.0)),
            ("9007199254740993", Value::Integer(9_007_199_254_740_993)),
            ("-9223372036854775808", Value::Integer(i64::MIN)),
            ("18446744073709551615", Value::Double(18_446_744_073_709_551_615.0)),
        ];
        for (text, value) in cases {
            assert_eq!(parse(text), Some(value), "{text}");
        }
        for wrong in ["", "NaN", "inf", "1e999", "0x10", "1,5"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
