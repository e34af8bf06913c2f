//! Where settings come from: one file, perhaps a second text laid over it, and the environment on top.
//!
//! Everything is kept as one text, the file first, the overlay and one line per variable behind it, so that a span
//! says by its place which of them is to blame.

use core::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::SettingsError;

/// The largest settings file, in bytes.
pub const MAX_FILE: u64 = 1 << 20;

/// A settings file with its overrides, not looked into yet.
#[derive(Clone, Debug)]
pub struct Source {
    name: String,
    text: String,
    file_len: usize,
    overlay: Option<Overlay>,
    overrides: Vec<Override>,
}

/// Settings that take the place of those of the file, and where they stand in the text.
#[derive(Clone, Debug)]
struct Overlay {
    name: String,
    place: Range<usize>,
}

/// A variable of the environment; `value` is where its value stands in the text.
#[derive(Clone, Debug)]
struct Override {
    variable: String,
    path: Vec<String>,
    line: Range<usize>,
    value: Range<usize>,
}

impl Source {
    /// Settings given as text; `name` is what messages call it.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { name: name.into(), file_len: text.len(), text, overlay: None, overrides: Vec::new() }
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let name = path.display().to_string();
        let refuse =
            |what: String| SettingsError::whole(&name, what).with_help("name the settings file with --config PATH");
        let size = std::fs::metadata(path).map_err(|error| refuse(format!("cannot be read: {error}")))?.len();
        if size > MAX_FILE {
            return Err(refuse(format!("is {size} bytes; a settings file has at most {MAX_FILE}")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| refuse(format!("cannot be read: {error}")))?;
        Ok(Self::new(name, text))
    }

    /// Lays other settings over the file, before any variable: a key takes the place of the same key, tables are laid
    /// over each other key by key, and a list is replaced as a whole. `name` is what messages call them.
    pub fn with_overlay(mut self, name: impl Into<String>, text: &str) -> Self {
        self.text.push('\n');
        let start = self.text.len();
        self.text.push_str(text);
        self.overlay = Some(Overlay { name: name.into(), place: start..self.text.len() });
        self
    }

    /// The keys at the top of the file, each with its place.
    ///
    /// # Errors
    /// [`SettingsError`] if it is no TOML.
    pub fn keys(&self) -> Result<Vec<(String, Range<usize>)>, SettingsError> {
        let root = DeTable::parse(&self.text[..self.file_len])
            .map_err(|error| self.error(error.span().unwrap_or(0..0), error.message()))?;
        Ok(root.get_ref().keys().map(|key| (key.get_ref().to_string(), key.span())).collect())
    }

    /// Lays variables of the environment over the file; those without `prefix` are not for us.
    pub fn with_overrides(mut self, prefix: &str, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut ours: Vec<_> = variables.into_iter().filter(|(name, _)| name.starts_with(prefix)).collect();
        // The environment has no order; messages and results must have one.
        ours.sort();
        for (variable, value) in ours {
            let path = variable[prefix.len()..].to_lowercase().split("__").map(str::to_owned).collect();
            self.text.push('\n');
            let start = self.text.len();
            self.text.push_str(&variable);
            self.text.push('=');
            let value_start = self.text.len();
            self.text.push_str(&value);
            let end = self.text.len();
            self.overrides.push(Override { variable, path, line: start..end, value: value_start..end });
        }
        self
    }

    /// Reads the settings.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, SettingsError> {
        self.merged(|root| T::deserialize(toml::de::Deserializer::from(root)).map_err(|error| self.blame(&error)))
    }

    /// Hands the settings as one tree to `read`, each value with its place in the whole text.
    pub(super) fn merged<T>(
        &self,
        read: impl FnOnce(Spanned<DeTable<'_>>) -> Result<T, SettingsError>,
    ) -> Result<T, SettingsError> {
        let blame = |error: toml::de::Error| self.blame(&error);
        let mut root = DeTable::parse(&self.text[..self.file_len]).map_err(blame)?;
        // Behind as many spaces as bytes are before it, so that its spans are those of the whole text.
        let overlay = self.overlay.as_ref().map(|Overlay { place, .. }| {
            let mut text = " ".repeat(place.start);
            text.push_str(&self.text[place.clone()]);
            text
        });
        if let Some(overlay) = &overlay {
            lay_over(root.get_mut(), DeTable::parse(overlay).map_err(blame)?.into_inner());
        }
        let padded: Vec<String> = self.overrides.iter().map(|over| self.padded(over)).collect();
        for (over, padded) in self.overrides.iter().zip(&padded) {
            // One key, or the value held a line of its own and is text.
            let parsed = DeTable::parse(padded).ok().map(Spanned::into_inner).filter(|table| table.len() == 1);
            let parsed = parsed.and_then(|table| table.into_iter().next()).map(|(_, value)| value);
            let text = || Spanned::new(over.value.clone(), DeValue::String(self.text[over.value.clone()].into()));
            self.put(root.get_mut(), over, parsed.unwrap_or_else(text))?;
        }
        read(root)
    }

    /// An error of the reader, at its place.
    pub(super) fn blame(&self, error: &toml::de::Error) -> SettingsError {
        self.error(error.span().unwrap_or(0..0), error.message())
    }

    /// Who says what stands at `at` of the whole text: a file or an overlay with its line, or a variable.
    pub(super) fn teller(&self, at: usize) -> String {
        if let Some(over) = self.overrides.iter().find(|over| over.line.contains(&at)) {
            return format!("environment variable {}", over.variable);
        }
        let (name, start) = match &self.overlay {
            Some(Overlay { name, place }) if at >= place.start => (name, place.start),
            _ => (&self.name, 0),
        };
        let line = self.text.as_bytes()[start..at.max(start)].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("{name}:{line}")
    }

    /// An error about `span`, as a [`Spanned`] setting has it.
    pub fn error(&self, span: Range<usize>, message: impl AsRef<str>) -> SettingsError {
        let message = message.as_ref();
        match self.overrides.iter().find(|over| over.line.contains(&span.start)) {
            Some(over) => {
                let line = &self.text[over.line.clone()];
                let inside = span.start - over.line.start..span.end.saturating_sub(over.line.start);
                SettingsError::at(&format!("environment variable {}", over.variable), line, inside, message)
            }
            None if let Some(Overlay { name, place }) = &self.overlay
                && span.start >= place.start =>
            {
                let inside = span.start - place.start..span.end.saturating_sub(place.start);
                SettingsError::at(name, &self.text[place.clone()], inside, message)
            }
            None => SettingsError::at(&self.name, &self.text[..self.file_len], span, message),
        }
    }

    /// The value of a variable as a document whose spans are those of the whole text.
    fn padded(&self, over: &Override) -> String {
        let mut document = " ".repeat(over.value.start - PADDING.len());
        document.push_str(PADDING);
        document.push_str(&self.text[over.value.clone()]);
        document
    }

    /// Sets the key that `over` names, making the tables on the way.
    fn put<'i>(
        &'i self,
        root: &mut DeTable<'i>,
        over: &'i Override,
        value: Spanned<DeValue<'i>>,
    ) -> Result<(), SettingsError> {
        let Some((key, tables)) = over.path.split_last() else { return Ok(()) };
        let mut table = root;
        for name in tables {
            let empty = || Spanned::new(over.line.clone(), DeValue::Table(DeTable::new()));
            let next = table.entry(Spanned::new(over.line.clone(), name.as_str().into())).or_insert_with(empty);
            table = match next.get_mut() {
                DeValue::Table(table) => table,
                _ => return Err(self.error(over.line.clone(), format!("`{name}` is not a table"))),
            };
        }
        table.insert(Spanned::new(over.line.clone(), key.as_str().into()), value);
        Ok(())
    }
}

/// Puts the keys of `over` in the place of those of `base`.
fn lay_over<'i>(base: &mut DeTable<'i>, over: DeTable<'i>) {
    for (key, mut value) in over {
        if let Some(DeValue::Table(below)) = base.get_mut(key.get_ref().as_ref()).map(Spanned::get_mut)
            && let DeValue::Table(table) = value.get_mut()
        {
            lay_over(below, core::mem::take(table));
            continue;
        }
        // With its key, whose place is blamed for it.
        base.remove(key.get_ref().as_ref());
        base.insert(key, value);
    }
}

/// Makes a value a document. A variable's name and its `=` are longer than this.
const PADDING: &str = "v=";
