//! One message about one place in the settings.

use core::fmt;
use core::ops::Range;

use super::explain::explain;

/// Why settings were refused. Its text is the whole message for a person, without a newline at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    message: String,
    place: Option<Place>,
    help: Option<String>,
    name: String,
}

/// Where in a file or in a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
    source_line: String,
    carets: usize,
}

impl SettingsError {
    /// About all of `name`, a file.
    pub(super) fn whole(name: &str, message: String) -> Self {
        Self { message, place: None, help: None, name: name.to_owned() }
    }

    /// About the bytes `span` of `text`, which is called `name`.
    pub(super) fn at(name: &str, text: &str, span: Range<usize>, message: &str) -> Self {
        let start = floor(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = floor(text, span.end).clamp(start, line_end);
        let (message, help) = explain(message, &text[start..end]);
        let place = Place {
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            source_line: text[line_start..line_end].trim_end().to_owned(),
            carets: text[start..end].trim_end().chars().count().max(1),
        };
        Self { message, place: Some(place), help, name: name.to_owned() }
    }

    /// Adds what to type.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Line and column, both from 1, if the error is about one place.
    pub fn position(&self) -> Option<(usize, usize)> {
        self.place.as_ref().map(|place| (place.line, place.column))
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            None => write!(f, "{}: {}", self.name, self.message)?,
            Some(place) => {
                writeln!(f, "{}:{}:{}: {}", self.name, place.line, place.column, self.message)?;
                let number = place.line.to_string();
                let margin = " ".repeat(number.len());
                // A tab stays a tab, so that the caret stands under its character.
                let before = place.source_line.chars().take(place.column - 1);
                let indent: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
                writeln!(f, "{margin} |")?;
                writeln!(f, "{number} | {}", place.source_line)?;
                write!(f, "{margin} | {indent}{}", "^".repeat(place.carets))?;
            }
        }
        match &self.help {
            Some(help) => write!(f, "\n  = {help}"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for SettingsError {}

/// The closest character boundary at or below `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
