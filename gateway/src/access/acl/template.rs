//! A topic filter with placeholders, and what it covers.

use std::fmt;

use thiserror::Error;
use weir_protocol::Tenant;

use crate::access::ClientId;

/// The longest filter of a rule, in bytes.
pub const MAX_TEMPLATE: usize = 1024;

/// A topic filter in which `{client}` or `{device}` stands for the client id and `{tenant}` for the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    levels: Vec<Level>,
    names_client: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    /// `#`.
    Many,
    /// `+`.
    One,
    /// These, one after the other.
    Text(Vec<Part>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Client,
    Tenant,
}

/// Why a text is no filter with placeholders.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// Empty or too long.
    #[error("got {0} bytes, expected 1 to {MAX_TEMPLATE}")]
    Length(usize),
    /// A wildcard that is not a whole level, or `#` before the last one.
    #[error("`{0}` stands for whole levels: `+` for one, `#` for all that follow, at the end")]
    Wildcard(char),
    /// A placeholder that does not exist.
    #[error("no placeholder `{0}`; there are {{client}}, {{device}} (the same) and {{tenant}}")]
    Placeholder(String),
    /// A shared subscription, which is never served.
    #[error("shared subscriptions are not served")]
    Shared,
    /// U+0000, which no topic has.
    #[error("a control character")]
    Control,
}

impl Template {
    /// Reads a filter.
    ///
    /// # Errors
    /// [`TemplateError`] with what is wrong with it.
    pub fn new(text: &str) -> Result<Self, TemplateError> {
        if text.is_empty() || text.len() > MAX_TEMPLATE {
            return Err(TemplateError::Length(text.len()));
        }
        if text.starts_with("$share/") {
            return Err(TemplateError::Shared);
        }
        if text.contains(char::is_control) {
            return Err(TemplateError::Control);
        }
        let mut levels = Vec::new();
        let mut rest = text.split('/').peekable();
        while let Some(level) = rest.next() {
            levels.push(match level {
                "#" if rest.peek().is_none() => Level::Many,
                "+" => Level::One,
                _ => Level::Text(parts(level)?),
            });
        }
        let has_client = |level: &Level| matches!(level, Level::Text(parts) if parts.contains(&Part::Client));
        Ok(Self { names_client: levels.iter().any(has_client), text: text.to_owned(), levels })
    }

    /// Whether, filled in for this client, it matches every topic that `filter` matches; a topic name is a filter too.
    ///
    /// A client id that is not one level (`/`, `+` or `#` is in it) stands for nothing: such a client has no topics of its
    /// own.
    pub fn covers(&self, tenant: Tenant, client: &ClientId, filter: &str) -> bool {
        let client = client.as_str();
        if self.names_client && client.contains(['/', '+', '#']) {
            return false;
        }
        let mut inner = filter.split('/').peekable();
        // A topic has at least one level, so this is `#`.
        let own = match &self.levels[..] {
            [Level::One, Level::Many] => &self.levels[1..],
            all => all,
        };
        // Section 4.7.2 of MQTT 5: a wildcard in front does not match `$`.
        if filter.starts_with('$') && !matches!(own.first(), Some(Level::Text(_))) {
            return false;
        }
        for level in own {
            match (level, inner.next()) {
                // Also what is in front of it, without this level.
                (Level::Many, _) => return true,
                (_, None | Some("#")) => return false,
                (Level::One, Some(_)) => (),
                (Level::Text(_), Some("+")) => return false,
                (Level::Text(parts), Some(text)) => {
                    if !is_filled(parts, tenant, client, text) {
                        return false;
                    }
                }
            }
        }
        inner.next().is_none()
    }
}

fn parts(level: &str) -> Result<Vec<Part>, TemplateError> {
    if let Some(wildcard) = level.chars().find(|found| matches!(found, '+' | '#')) {
        return Err(TemplateError::Wildcard(wildcard));
    }
    let mut parts = Vec::new();
    let mut rest = level;
    while let Some((before, behind)) = rest.split_once('{') {
        let (name, after) = behind.split_once('}').ok_or_else(|| TemplateError::Placeholder(format!("{{{behind}")))?;
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        parts.push(match name {
            "client" | "device" => Part::Client,
            "tenant" => Part::Tenant,
            _ => return Err(TemplateError::Placeholder(format!("{{{name}}}"))),
        });
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(parts)
}

fn is_filled(parts: &[Part], tenant: Tenant, client: &str, text: &str) -> bool {
    let mut rest = text;
    for part in parts {
        let value = match part {
            Part::Text(text) => text,
            Part::Client => client,
            Part::Tenant => tenant.as_str(),
        };
        match rest.strip_prefix(value) {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    rest.is_empty()
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
