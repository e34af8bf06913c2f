//! What became of a document: a result, and the readings that tell it.
//!
//! | channel | text |
//! |---|---|
//! | `config.result` | version, and `trying`, `confirmed`, `rolled-back`, `superseded` or `refused` |
//! | `command.result` | id, and `exited 0`, `timed-out ...`, `interrupted`, `not started` or `refused` |
//! | `config.detail`, `command.detail` | why, or what it printed: the readings joined are the text |
//!
//! Guarantee: of one result they are the same readings however often it is told ([`Place`]).

use serde::{Deserialize, Serialize};
use weir_protocol::name::Name;
use weir_protocol::reading::MAX_TEXT;
use weir_protocol::{Restart, Sequence};

/// Where a result is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum About {
    /// In the channel `config.result`.
    Config,
    /// In the channel `command.result`.
    Command,
}

/// The identity of the readings of a result: they have sequences that follow on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The restart of the agent's own device, which results alone are under.
    pub restart: Restart,
    /// The sequence of the first.
    pub first: Sequence,
}

/// What became of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Rises with every result of this agent.
    pub number: u64,
    /// What it is about.
    pub about: About,
    /// One line, such as `7 confirmed`.
    pub headline: String,
    /// Why, or what the command printed; may be empty.
    pub detail: String,
    /// The id of a command with a topic of its own, which is taken back from there once the queue has this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decides: Option<Name>,
    /// What its readings are; none in the ledger of a build that did not decide it with the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

impl Outcome {
    /// The texts of its readings, each with its channel.
    pub fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let (result, detail) = match self.about {
            About::Config => ("config.result", "config.detail"),
            About::Command => ("command.result", "command.detail"),
        };
        let headline = pieces(&self.headline).take(1).map(move |piece| (result, piece));
        headline.chain(pieces(&self.detail).map(move |piece| (detail, piece)))
    }
}

/// A text in pieces that a reading holds; joined again they are the text.
fn pieces(mut rest: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let end = (0..=rest.len().min(MAX_TEXT)).rev().find(|at| rest.is_char_boundary(*at))?;
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece).filter(|piece| !piece.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_where_a_reading_is_full_and_between_characters() {
        let text = format!("{}é\nend", "x".repeat(MAX_TEXT - 1));
        let full = "x".repeat(MAX_TEXT - 1);
        assert_eq!(pieces(&text).collect::<Vec<_>>(), [&full, "é\nend"]);
        assert_eq!(pieces("").next(), None);
    }
}
