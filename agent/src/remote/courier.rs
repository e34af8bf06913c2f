//! Brings what became of documents into the queue, as readings of the agent's own device ([`super::outcome`]).
//!
//! Guarantees: a result is owed until the disk has all of its readings, and is there once: they are readings that the
//! ledger keeps ([`Recorded`]), and told again after a crash they are the same ones.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use weir_protocol::{AgentId, DeviceId, Value};

use super::desk::Desk;
use super::outcome::Outcome;
use crate::source::feed::{Recorded, Sample};
use crate::source::{Context, LifeError, Source};

/// How long the last result waits for the disk when the agent stops.
const LAST: Duration = Duration::from_secs(1);
/// Every channel, in an order that stays: their ids follow from it.
const CHANNELS: [&str; 4] = ["config.result", "config.detail", "command.result", "command.detail"];

/// The source of these readings.
pub(super) fn source(desk: &Arc<Desk>, agent: AgentId) -> Source {
    let desk = Arc::clone(desk);
    Source::new("remote", agent.to_string(), move |context| run(Arc::clone(&desk), DeviceId(agent.0), context))
}

async fn run(desk: Arc<Desk>, device: DeviceId, context: Context) -> Result<(), LifeError> {
    loop {
        let outcome = tokio::select! {
            biased;
            () = context.stopped() => return Ok(()),
            outcome = desk.owed() => outcome,
        };
        let bringing = bring(&desk, device, &outcome, &context);
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

/// Brings one result, and forgets it once the disk has it.
async fn bring(desk: &Arc<Desk>, device: DeviceId, outcome: &Outcome, context: &Context) -> Result<(), LifeError> {
    let place = outcome.place.ok_or("a result without an identity")?;
    let at = context.now();
    let sample = |(name, text)| Sample { name, unit: "1", resolution: 0.0, value: Value::Text(text), at };
    let samples: Vec<_> = outcome.texts().map(sample).collect();
    let recorded =
        Recorded { device, restart: place.restart, first: place.first, channels: &CHANNELS, samples: &samples };
    context.bring(recorded).await?;
    let (desk, number) = (Arc::clone(desk), outcome.number);
    let (decided, decides) = (Arc::clone(&desk.decided), outcome.decides);
    tokio::task::spawn_blocking(move || desk.change(|ledger, _| ledger.paid(number))).await??;
    decides.into_iter().for_each(|id| decided.add(id));
    Ok(())
}
