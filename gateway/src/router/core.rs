//! One life of rumqttd's router: its thread, its links, and what is known of its habits.
//!
//! What it guarantees: nothing here blocks a task on the router. What could (connecting a link) happens on a thread
//! of its own; everything else is tried, and a router that does not take it has failed. Memory of the router is
//! bounded by the slots and by the numbers of links, which are used again.
//!
//! Habits of rumqttd 0.20, read off its source:
//! - after [`Notification::Unschedule`] it sends a link nothing until the link says that it is ready; one that says so
//!   after its end makes it panic, so a pump is awaited before its link is closed;
//! - an event of a link is only a nudge: packets wait in the link's buffer, and one nudge serves all of them;
//! - its thread owns both ends of its own channel, so nothing ends it but a panic: a router that hangs is left behind;
//! - per link id and per filter and topic ever seen it keeps something for ever.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rumqttd::local::{LinkBuilder, LinkError, LinkRx, LinkTx};
use rumqttd::protocol::{Disconnect, DisconnectReasonCode, Filter, Packet, Publish, QoS, RetainForwardRule, Subscribe};
use rumqttd::{Notification, Router, RouterConfig};
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Shared;
use super::pump;
use super::registry::{Entry, MAX_FILTERS, MAX_SUBSCRIBERS, Slot, Slots, bit, each};

/// What the router keeps of the messages of a filter for its slowest subscriber, in segments of so many bytes; one
/// more segment, and the oldest goes.
pub(super) const SEGMENTS: usize = 4;
pub(super) const SEGMENT_BYTES: usize = 128 << 10;
/// Messages that the router hands to a link at a time.
const LINK_MESSAGES: u64 = 100;
/// How long the router may take to answer.
const STALL: Duration = Duration::from_secs(10);
/// The topic on which the router shows that it lives; no slot has this name.
const ECHO: &str = "echo";

/// Why a life ended.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// Its thread is gone, or does not take what it is given.
    #[error("the router's thread ended: {0}")]
    Ended(String),
    /// It does not answer; its thread cannot be ended and stays behind.
    #[error("the router did not answer within {} s", STALL.as_secs())]
    Stalled,
    /// The system has no thread to give.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        Self::Ended(error.to_string())
    }
}

/// A running router.
pub(super) struct Core {
    connect: Connect,
    shared: Arc<Shared>,
    feeder: LinkTx,
    echoes: LinkRx,
    echo: u64,
    links: BTreeMap<usize, Link>,
    /// The topic of each slot.
    names: Vec<Bytes>,
}

/// The link of one subscriber.
struct Link {
    serial: u64,
    slots: Slots,
    sender: LinkTx,
    pump: JoinHandle<()>,
}

/// Makes a link of this name; blocks until the router has answered.
type Connect = Arc<dyn Fn(&str) -> Result<(LinkTx, LinkRx), Failure> + Send + Sync>;

impl Core {
    /// Starts a router.
    pub(super) async fn start(shared: Arc<Shared>) -> Result<Self, Failure> {
        let config = RouterConfig {
            // The feeder, and a link that a subscriber who comes may have beside one who goes.
            max_connections: 2 * MAX_SUBSCRIBERS + 1,
            max_outgoing_packet_count: LINK_MESSAGES,
            max_segment_size: SEGMENT_BYTES,
            max_segment_count: SEGMENTS,
            ..RouterConfig::default()
        };
        let (connect, mut feeder) = on_a_thread(move || {
            let events = Router::new(0, config).spawn();
            let connect: Connect = Arc::new(move |name| match LinkBuilder::new(name, events.clone()).build() {
                Ok((sender, receiver, _)) => Ok((sender, receiver)),
                Err(error) => Err(error.into()),
            });
            let feeder = connect("feeder")?;
            Ok((connect, feeder))
        })
        .await?;
        feeder.0.try_subscribe(ECHO)?;
        let names = (0..MAX_FILTERS).map(|slot| Bytes::from(slot.to_string())).collect();
        let (feeder, echoes) = feeder;
        let mut core = Self { connect, shared, feeder, echoes, echo: 0, links: BTreeMap::new(), names };
        core.echo().await?;
        Ok(core)
    }

    /// Makes links and subscriptions what they should be. What is published after it reaches all of them.
    pub(super) async fn reconcile(&mut self, wanted: &BTreeMap<usize, Entry>) -> Result<(), Failure> {
        let is_wanted = |number: &usize, link: &Link| wanted.get(number).is_some_and(|w| w.serial == link.serial);
        let gone: Vec<_> = self.links.extract_if(.., |number, link| !is_wanted(number, link)).collect();
        for (_, link) in gone {
            link.close().await?;
        }
        let new: Vec<usize> = wanted.keys().filter(|number| !self.links.contains_key(number)).copied().collect();
        if !new.is_empty() {
            self.connect(new, wanted).await?;
        }
        for (number, entry) in wanted {
            if let Some(link) = self.links.get_mut(number) {
                link.set_slots(entry.slots)?;
            }
        }
        Ok(())
    }

    async fn connect(&mut self, new: Vec<usize>, wanted: &BTreeMap<usize, Entry>) -> Result<(), Failure> {
        let connect = Arc::clone(&self.connect);
        let linked = on_a_thread(move || {
            let link = |number| Ok((number, connect(&format!("subscriber-{number}"))?));
            new.into_iter().map(link).collect::<Result<Vec<_>, Failure>>()
        })
        .await?;
        for (number, (sender, receiver)) in linked {
            let Some(entry) = wanted.get(&number) else { continue };
            let pump = tokio::spawn(pump::run(receiver, entry.queue.clone(), Arc::clone(&self.shared)));
            self.links.insert(number, Link { serial: entry.serial, slots: 0, sender, pump });
        }
        Ok(())
    }

    /// Publishes messages, each to its slots, and waits until the router has them.
    pub(super) async fn publish(&mut self, messages: &[(Slots, Bytes)]) -> Result<(), Failure> {
        let names = &self.names;
        let packets = messages.iter().flat_map(|(slots, bytes)| {
            let names = each(*slots).filter_map(|slot| names.get(usize::from(slot)));
            names.map(|name| Packet::Publish(Publish::new(name.clone(), bytes.clone(), false), None))
        });
        // The echo nudges the router, and comes behind them.
        self.feeder.buffer().extend(packets);
        self.echo().await
    }

    /// Waits until the router has done everything that it was given before.
    pub(super) async fn echo(&mut self) -> Result<(), Failure> {
        self.echo += 1;
        let token = self.echo.to_be_bytes();
        self.feeder.try_publish(ECHO, token.to_vec())?;
        let heard = async {
            loop {
                match self.echoes.next().await? {
                    Some(Notification::Forward(forward)) if forward.publish.payload[..] == token => return Ok(()),
                    Some(Notification::Unschedule) => self.echoes.wake().await?,
                    _ => (),
                }
            }
        };
        timeout(STALL, heard).await.unwrap_or(Err(Failure::Stalled))
    }

    /// Does what makes the router panic: says that a link is ready that has ended.
    #[cfg(any(test, feature = "plant"))]
    pub(super) async fn make_it_panic(&self) -> Result<(), Failure> {
        let connect = Arc::clone(&self.connect);
        on_a_thread(move || {
            let (mut sender, receiver) = connect("doomed")?;
            close(&mut sender)?;
            Ok(receiver.ready()?)
        })
        .await
    }
}

impl Link {
    /// Subscribes and unsubscribes until it has exactly `wanted`.
    fn set_slots(&mut self, wanted: Slots) -> Result<(), Failure> {
        let old: Vec<Slot> = each(self.slots & !wanted).collect();
        for slot in old {
            self.sender.try_unsubscribe(slot.to_string())?;
            self.slots &= !bit(slot);
        }
        let filters: Vec<Filter> = each(wanted & !self.slots).map(filter).collect();
        if !filters.is_empty() {
            // All in one packet and with one nudge: the router takes only so many before it has to be waited for.
            self.sender.buffer().push_back(Packet::Subscribe(Subscribe { pkid: 0, filters }, None));
            nudge(&mut self.sender)?;
            self.slots = wanted;
        }
        Ok(())
    }

    async fn close(mut self) -> Result<(), Failure> {
        self.pump.abort();
        // However it ended, it says nothing more.
        let _ = (&mut self.pump).await;
        close(&mut self.sender)
    }
}

/// A router that is given up leaves no pump behind, even if its thread stays.
impl Drop for Link {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

fn close(sender: &mut LinkTx) -> Result<(), Failure> {
    let reason_code = DisconnectReasonCode::NormalDisconnection;
    sender.buffer().push_back(Packet::Disconnect(Disconnect { reason_code }, None));
    nudge(sender)
}

/// Makes the router look into the link's buffer. The only way to is a packet more; nobody has this subscription.
fn nudge(sender: &mut LinkTx) -> Result<(), Failure> {
    sender.try_unsubscribe("none")?;
    Ok(())
}

/// A subscription to one slot. At QoS 0, so that the router keeps no account: the front does that with the client.
fn filter(slot: Slot) -> Filter {
    Filter {
        path: slot.to_string(),
        qos: QoS::AtMostOnce,
        nolocal: false,
        preserve_retain: false,
        retain_forward_rule: RetainForwardRule::Never,
    }
}

/// Runs what may block for ever where that costs a thread and nothing else.
async fn on_a_thread<T, F>(work: F) -> Result<T, Failure>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Failure> + Send + 'static,
{
    let (done, wait) = oneshot::channel();
    thread::Builder::new().name("live-links".into()).spawn(move || {
        // Nobody waits any more if it took too long.
        let _ = done.send(work());
    })?;
    match timeout(STALL, wait).await {
        Ok(Ok(done)) => done,
        // The thread panicked, or hangs: either way the router is of no use.
        Ok(Err(_)) | Err(_) => Err(Failure::Stalled),
    }
}
