//! What the sections of the settings check themselves with, and defaults that depend on the machine.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, de};
use weir_protocol::name::Name;
use weir_protocol::settings::{Period, SettingsError, Source, Spanned};

/// Refuses a time that is too short.
pub(crate) fn at_least(source: &Source, period: &Spanned<Period>, least: Period) -> Result<(), SettingsError> {
    match period.get_ref() {
        got if *got < least => Err(source.error(period.span(), format!("got {got}, expected {least} or more"))),
        _ => Ok(()),
    }
}

/// Refuses a number that is too small or too large; `what` is what it counts, or nothing.
pub(crate) fn within<T: PartialOrd + Display>(
    source: &Source,
    number: &Spanned<T>,
    range: RangeInclusive<T>,
    what: &str,
) -> Result<(), SettingsError> {
    let got = number.get_ref();
    if range.contains(got) {
        return Ok(());
    }
    let what = if what.is_empty() { String::new() } else { format!(" {what}") };
    let message = format!("got {got}{what}, expected {} to {}", range.start(), range.end());
    Err(source.error(number.span(), message))
}

/// Refuses one of two keys that come together.
pub(crate) fn together<A, B>(
    source: &Source,
    (first, one): (&str, &Option<Spanned<A>>),
    (second, other): (&str, &Option<Spanned<B>>),
) -> Result<(), SettingsError> {
    let (at, which, missing) = match (one, other) {
        (Some(one), None) => (one.span(), first, second),
        (None, Some(other)) => (other.span(), second, first),
        _ => return Ok(()),
    };
    let message = format!("{which} comes together with {missing}");
    Err(source.error(at, message).with_help(format!("set {missing}, too")))
}

/// Reads a path that means the same wherever the program is started.
pub(crate) fn whole_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if path.is_absolute() {
        return Ok(path);
    }
    let shown = path.display();
    Err(de::Error::custom(format!("got {shown:?}, expected a whole path such as \"/var/lib/weir/agent\"")))
}

/// A default stands nowhere in the file.
pub(crate) fn unwritten<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

/// The name of this machine, as far as it can be a name.
pub(crate) fn host_name() -> Name {
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-:".contains(c) { c } else { '-' };
    let text: String = node.trim_start_matches('.').chars().map(allowed).take(40).collect();
    Name::new(&text).unwrap_or(
        const {
            match Name::new("agent") {
                Ok(name) => name,
                Err(_) => unreachable!(),
            }
        },
    )
}
