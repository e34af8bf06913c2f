//! Hours of the day, as `"22:00-06:00"`, and how far local time is ahead of UTC, as `"+02:00"`.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// Minutes of a day.
pub const DAY: u16 = 24 * 60;
/// The most windows of one class.
const MAX_WINDOWS: usize = 8;

/// Windows of a day, in minutes from midnight: from, and up to. One may go over midnight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours(Vec<(u16, u16)>);

impl Hours {
    /// Reads `22:00-06:00`. None: it is no such window.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(vec![window(text)?]))
    }

    /// Whether a minute of the day is inside.
    pub fn contains(&self, minute: u16) -> bool {
        self.0.iter().any(|(from, upto)| {
            if from < upto { (*from..*upto).contains(&minute) } else { minute >= *from || minute < *upto }
        })
    }

    /// Minutes from `minute` on until [`Hours::contains`] changes. None: it never does.
    pub fn until_change(&self, minute: u16) -> Option<u16> {
        let now = self.contains(minute);
        (1..DAY).find(|ahead| self.contains((minute + ahead) % DAY) != now)
    }
}

fn window(text: &str) -> Option<(u16, u16)> {
    let (from, upto) = text.split_once('-')?;
    let (from, upto) = (clock(from)?, clock(upto)? % DAY);
    // A whole day needs no hours, and none at all would be a class that is never sent.
    (from != upto && from < DAY).then_some((from, upto))
}

/// Minutes since midnight of `hh:mm`, up to 24:00.
fn clock(text: &str) -> Option<u16> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let two = |digits: &str| digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !two(hours) || !two(minutes) {
        return None;
    }
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    let all = hours * 60 + minutes;
    (minutes < 60 && all <= DAY).then_some(all)
}

impl<'de> Deserialize<'de> for Hours {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> de::Visitor<'de> for OneOrMore {
            type Value = Hours;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("hours such as \"22:00-06:00\", or a list of them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Hours, E> {
                let wrong = || E::custom(format!("got {text:?}, expected hours of the day such as \"22:00-06:00\""));
                Hours::parse(text).ok_or_else(wrong)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Hours, A::Error> {
                let mut windows = Vec::new();
                while let Some(hours) = list.next_element::<Hours>()? {
                    windows.extend(hours.0);
                    if windows.len() > MAX_WINDOWS {
                        return Err(de::Error::custom(format!("got more than {MAX_WINDOWS} windows of hours")));
                    }
                }
                if windows.is_empty() {
                    return Err(de::Error::custom("got no hours: this class would never be sent"));
                }
                Ok(Hours(windows))
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}

/// How far the time by which days and hours are counted is ahead of UTC, in minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UtcOffset(pub i16);

impl UtcOffset {
    /// Reads `+02:00`, up to 14 hours. None: it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (sign, rest) = match text.split_at_checked(1)? {
            ("+", rest) => (1, rest),
            ("-", rest) => (-1, rest),
            _ => return None,
        };
        let minutes = clock(rest).filter(|minutes| *minutes <= 14 * 60)?;
        Some(Self(sign * i16::try_from(minutes).ok()?))
    }
}

impl<'de> Deserialize<'de> for UtcOffset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || de::Error::custom(format!("got {text:?}, expected an offset such as \"+02:00\""));
        Self::parse(&text).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_read_and_go_over_midnight() {
        let night = Hours::parse("22:00-06:00").unwrap();
        assert!(night.contains(22 * 60) && night.contains(0) && night.contains(6 * 60 - 1));
        assert!(!night.contains(6 * 60) && !night.contains(22 * 60 - 1));
        assert_eq!(night.until_change(12 * 60), Some(10 * 60));
        assert_eq!(night.until_change(23 * 60), Some(7 * 60));
        let evening = Hours::parse("18:30-24:00").unwrap();
        assert!(evening.contains(DAY - 1) && !evening.contains(0));
        assert_eq!(Hours::parse("00:00-24:00"), None, "always needs no hours");
        for wrong in
            ["", "22:00", "22:00-22:00", "24:00-06:00", "25:00-06:00", "22:60-23:00", "2:00-3:00", "+2:00-03:00"]
        {
            assert_eq!(Hours::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_offset_has_a_sign() {
        assert_eq!(UtcOffset::parse("+02:00"), Some(UtcOffset(120)));
        assert_eq!(UtcOffset::parse("-03:30"), Some(UtcOffset(-210)));
        for wrong in ["", "02:00", "+2", "+15:00", "+02:0x", "é2:00"] {
            assert_eq!(UtcOffset::parse(wrong), None, "{wrong}");
        }
    }
}
