//! Brings what became of documents into the queue, as readings of the agent's own device.
//!
//! | channel | text |
//! |---|---|
//! | `config.result` | version, and `trying`, `confirmed`, `rolled-back`, `superseded` or `refused` |
//! | `command.result` | id, and `exited 0`, `timed-out ...`, `interrupted`, `not started` or `refused` |
//! | `config.detail`, `command.detail` | why, or what it printed: the readings joined are the text |
//!
//! Guarantees: a result is owed until the disk has all of its readings, which have sequences that follow on. One whose
//! agent is killed in between comes again, in the next restart of the device.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use weir_protocol::reading::MAX_TEXT;
use weir_protocol::{AgentId, DeviceId, Value};

use super::desk::Desk;
use super::ledger::{About, Outcome};
use crate::source::feed::{Feed, Sample};
use crate::source::{Context, LifeError, Source};

/// How long the last result waits for the disk when the agent stops.
const LAST: Duration = Duration::from_secs(1);
/// Time between two tries with a queue that takes nothing.
const PAUSE: Duration = Duration::from_secs(1);

/// The source of these readings.
pub(super) fn source(desk: &Arc<Desk>, agent: AgentId) -> Source {
    let desk = Arc::clone(desk);
    Source::new("remote", agent.to_string(), move |context| run(Arc::clone(&desk), DeviceId(agent.0), context))
}

async fn run(desk: Arc<Desk>, device: DeviceId, context: Context) -> Result<(), LifeError> {
    let feed = context.feed(device)?;
    loop {
        let outcome = tokio::select! {
            biased;
            () = context.stopped() => return Ok(()),
            outcome = desk.owed() => outcome,
        };
        let bringing = bring(&desk, &feed, &outcome, &context);
        tokio::pin!(bringing);
        tokio::select! {
            biased;
            brought = &mut bringing => brought?,
            () = context.stopped() => {
                return timeout(LAST, bringing).await.unwrap_or(Ok(()));
            }
        }
    }
}

/// Puts one result into the feed, and forgets it once the disk has it.
async fn bring(desk: &Arc<Desk>, feed: &Feed, outcome: &Outcome, context: &Context) -> Result<(), LifeError> {
    let (result, detail) = match outcome.about {
        About::Config => ("config.result", "config.detail"),
        About::Command => ("command.result", "command.detail"),
    };
    let at = context.now();
    let text = |name, text| Sample { name, unit: "1", resolution: 0.0, value: Value::Text(text), at };
    let headline = pieces(&outcome.headline).take(1).map(|piece| text(result, piece));
    let samples: Vec<_> = headline.chain(pieces(&outcome.detail).map(|piece| text(detail, piece))).collect();
    while feed.room() < samples.len() {
        sleep(PAUSE).await;
    }
    let taken = feed.put_all(&samples);
    if let Some((_, error)) = taken.refused.into_iter().next() {
        return Err(error.into());
    }
    if feed.kept(taken.sequences).await {
        let (desk, number) = (Arc::clone(desk), outcome.number);
        let (decided, decides) = (Arc::clone(&desk.decided), outcome.decides);
        tokio::task::spawn_blocking(move || desk.change(|ledger, _| ledger.paid(number))).await??;
        decides.into_iter().for_each(|id| decided.add(id));
    }
    Ok(())
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
