//! The section `[[exec]]`.

use serde::Deserialize;
use weir_protocol::DeviceId;
use weir_protocol::settings::{Period, SettingsError, Source, Spanned};

use crate::config::check::at_least;

/// The most programs.
const MAX_PROGRAMS: usize = 64;
/// The most words of a command.
const MAX_WORDS: usize = 64;
/// Time between two runs.
const INTERVAL: Period = Period::secs(10);

/// A program that prints readings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecConfig {
    /// The device whose readings it prints.
    pub device: DeviceId,
    /// The program and its arguments; no shell looks at them.
    pub command: Spanned<Vec<String>>,
    /// Time between the beginnings of two runs; none for a program that goes on printing.
    pub interval: Option<Spanned<Period>>,
    /// Whether it goes on printing; it is started again when it ends.
    #[serde(default)]
    pub stream: bool,
    /// How long one run may take.
    pub timeout: Option<Spanned<Period>>,
}

impl ExecConfig {
    /// Time between the beginnings of two runs.
    pub(super) fn interval(&self) -> Period {
        self.interval.as_ref().map_or(INTERVAL, |interval| *interval.get_ref())
    }

    /// How long one run may take: as long as there is until the next one.
    pub(super) fn timeout(&self) -> Period {
        self.timeout.as_ref().map_or(self.interval().max(Period::secs(1)), |timeout| *timeout.get_ref())
    }

    fn check(&self, source: &Source) -> Result<(), SettingsError> {
        let words = self.command.get_ref();
        if words.is_empty() || words.len() > MAX_WORDS || words[0].is_empty() {
            let help = "write the program and its arguments, such as [\"/usr/local/bin/read-ups\", \"--once\"]";
            let message = format!("got {} words, expected 1 to {MAX_WORDS}, the first of them a program", words.len());
            return Err(source.error(self.command.span(), message).with_help(help));
        }
        if self.stream {
            let of_runs = self.interval.as_ref().or(self.timeout.as_ref());
            return match of_runs {
                Some(key) => Err(source
                    .error(key.span(), "a program with stream = true has no interval and no timeout")
                    .with_help("remove this line, or stream = true")),
                None => Ok(()),
            };
        }
        let keys = [&self.interval, &self.timeout].into_iter().flatten();
        keys.into_iter().try_for_each(|key| at_least(source, key, Period::millis(100)))
    }
}

/// Checks all programs.
pub(crate) fn check(programs: &[ExecConfig], source: &Source) -> Result<(), SettingsError> {
    if let Some(program) = programs.get(MAX_PROGRAMS) {
        let message = format!("got {} programs, expected at most {MAX_PROGRAMS}", programs.len());
        return Err(source.error(program.command.span(), message));
    }
    programs.iter().try_for_each(|program| program.check(source))
}
