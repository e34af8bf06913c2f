//! A connection on the way to stand, and one that stands.

use super::connection::{Connection, Event, Greeting};

/// A connection whose CONNACK came.
pub(super) struct Standing {
    pub(super) connection: Connection,
    pub(super) greeting: Greeting,
}

/// Why a connection does not come to stand.
pub(super) enum Failed {
    /// The gateway takes no will that is retained: without that it takes the next one.
    Retain,
    /// Anything else.
    Closed(String),
}

/// A connection whose CONNACK is waited for. It ends when this is dropped.
pub(super) struct Attempt {
    connection: Option<Connection>,
    retain: bool,
}

impl Attempt {
    /// `retain`: whether its will is to be retained.
    pub(super) fn new(connection: Connection, retain: bool) -> Self {
        Self { connection: Some(connection), retain }
    }

    /// Waits for CONNACK. May be dropped and called again, until it answers.
    pub(super) async fn stands(&mut self) -> Result<Standing, Failed> {
        let closed = |why: &str| Failed::Closed(why.to_owned());
        loop {
            let Some(connection) = &mut self.connection else { return Err(closed("no connection")) };
            match connection.events.recv().await {
                Some(Event::Connected(greeting)) if !greeting.at_least_once => {
                    return Err(closed(
                        "this broker takes nothing above QoS 0, which nobody acknowledges: allow QoS 1 there",
                    ));
                }
                Some(Event::Connected(greeting)) => {
                    let Some(connection) = self.connection.take() else { return Err(closed("no connection")) };
                    return Ok(Standing { connection, greeting });
                }
                Some(Event::RetainRefused) if self.retain => return Err(Failed::Retain),
                Some(Event::RetainRefused) => {}
                Some(Event::Closed(reason)) => return Err(Failed::Closed(reason)),
                other => return Err(Failed::Closed(format!("got {other:?}, expected CONNACK"))),
            }
        }
    }
}
