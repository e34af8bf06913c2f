//! Moves what happens on a connection to its owner, in whichever MQTT.

use std::future::Future;

use tokio::sync::mpsc;

use super::Event;

/// An event loop of rumqttc.
pub(super) trait Loop: Send {
    /// What happens next, if it is for the owner. `Err`: the last that happened, and that it is over.
    fn next(&mut self) -> impl Future<Output = Result<Option<Event>, Vec<Event>>> + Send;
}

/// Moves events until the connection is over, or nobody takes them.
pub(super) async fn drive(mut from: impl Loop, to: mpsc::Sender<Event>) {
    loop {
        match from.next().await {
            Ok(None) => {}
            Ok(Some(event)) => {
                if to.send(event).await.is_err() {
                    return;
                }
            }
            Err(last) => {
                for event in last {
                    if to.send(event).await.is_err() {
                        return;
                    }
                }
                return;
            }
        }
    }
}

/// What came in before the end and is still in the buffer, for a refusal often comes right before a close, then why it
/// is stuck, if it is, and why it ended. Messages that the owner acknowledges come again, and are not among it.
pub(super) fn last(
    buffered: impl Iterator<Item = Event>,
    acknowledges: bool,
    why: Option<Event>,
    error: &impl ToString,
) -> Vec<Event> {
    let kept = buffered.filter(|event| !(acknowledges && matches!(event, Event::Message(_))));
    kept.chain(why).chain([Event::Closed(error.to_string())]).collect()
}
