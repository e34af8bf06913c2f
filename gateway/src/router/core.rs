//! One life of rumqttd's router: its thread, its links, and what is known of its habits.
//!
//! What it guarantees: nothing here blocks a task on the router. What could (connecting a link) happens on a thread
//! of its own; everything else is tried, and a router that does not take it has failed. The router sees [`LANES`]
//! links and as many filters for as long as it lives, and numbers of turns: its memory does not grow.
//!
//! Habits of rumqttd 0.20, read off its source:
//! - after [`rumqttd::Notification::Unschedule`] it sends a link nothing until the link says that it is ready; one that
//!   says so after its end makes it panic;
//! - an event of a link is only a nudge: packets wait in the link's buffer, and one nudge serves all of them;
//! - its thread owns both ends of its own channel, so nothing ends it but a panic: [`Core::end`] makes it panic when it
//!   comes to look at its channel again, and until then a router that hangs is left behind;
//! - per link id and per filter and topic ever seen it keeps something for ever;
//! - a link reserves room for hundreds of packets and notifications, some 100 kB.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rumqttd::local::{LinkBuilder, LinkError, LinkRx, LinkTx};
use rumqttd::protocol::{Disconnect, DisconnectReasonCode, Packet, Publish};
use rumqttd::{Router, RouterConfig};
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Shared;
use super::lanes::{self, LANES, PROBE};
use super::turn::Turn;

/// What the router keeps of a lane: segments of so many bytes of tokens; one more segment, and the oldest goes.
const SEGMENTS: usize = 4;
const SEGMENT_BYTES: usize = 16 << 10;
/// Tokens that the router hands to a link at a time.
const LINK_TOKENS: u64 = 100;
/// How long the router may take to answer.
pub(super) const STALL: Duration = Duration::from_secs(10);

/// Why a life ended.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// Its thread is gone, or does not take what it is given.
    #[error("the router's thread ended: {0}")]
    Ended(String),
    /// It does not answer; its thread cannot be ended and stays behind until it does.
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

/// Says whether a thread that was left behind is gone by now.
pub(super) type Gone = Box<dyn Fn() -> bool + Send + Sync>;

/// A running router.
pub(super) struct Core {
    shared: Arc<Shared>,
    /// The way in, for all lanes.
    sender: LinkTx,
    pumps: Vec<JoinHandle<()>>,
    last: Option<Last>,
    is_gone: Gone,
}

/// A link that nobody uses: its end ends the router.
struct Last {
    sender: LinkTx,
    receiver: LinkRx,
}

/// What starting a router gives.
type Started = (Vec<(LinkTx, LinkRx)>, Last, Gone);

impl Core {
    /// Starts a router. Puts what hangs into `left_behind`.
    pub(super) async fn start(shared: &Arc<Shared>, left_behind: &mut Vec<Gone>) -> Result<Self, Failure> {
        let (links, last, is_gone) = on_a_thread(connect, left_behind).await?;
        let mut pumps = Vec::new();
        let mut way_in = None;
        for (lane, (mut sender, receiver)) in links.into_iter().enumerate() {
            sender.try_subscribe(lane.to_string())?;
            // The last one: its first nudge comes behind the subscriptions of all others, and makes the router take
            // whatever is in its buffer by then.
            way_in = Some(sender);
            pumps.push(tokio::spawn(lanes::run(lane, receiver, Arc::clone(shared))));
        }
        let sender = way_in.ok_or_else(|| Failure::Ended("it has no links".to_owned()))?;
        Ok(Self { shared: Arc::clone(shared), sender, pumps, last: Some(last), is_gone })
    }

    /// Shows that all lanes work: sends `pending`, a turn that an earlier life was given, through those where it did
    /// not arrive.
    pub(super) async fn begin(&mut self, pending: Option<u64>) -> Result<(), Failure> {
        for lane in 0..LANES {
            let is_missing = self.shared.progress.give_up(lane);
            self.put(lane, pending.filter(|_| is_missing).unwrap_or(PROBE));
        }
        self.nudge()?;
        self.arrived().await
    }

    /// Sends a turn, which is kept under `number`, through the lanes that it concerns.
    pub(super) fn send(&mut self, number: u64, turn: &Turn) -> Result<(), Failure> {
        (0..LANES).filter(|lane| turn.concerns(*lane)).for_each(|lane| self.put(lane, number));
        self.nudge()
    }

    /// Waits until everything that was sent is in the mailboxes.
    pub(super) async fn arrived(&self) -> Result<(), Failure> {
        timeout(STALL, self.shared.progress.all_arrived()).await.map_err(|_| Failure::Stalled)
    }

    /// Ends this life: nothing comes out of the lanes any more. The router ends when it next looks at its channel.
    pub(super) async fn end(self) -> Gone {
        for pump in self.pumps {
            pump.abort();
            // However it ended, it hands out nothing more.
            let _ = pump.await;
        }
        // A router that is gone, or hangs, does not take it: nobody waits for that.
        self.last.map(|last| tokio::spawn(last.end()));
        self.is_gone
    }

    fn put(&mut self, lane: usize, turn: u64) {
        let token = lanes::token(self.shared.progress.send(lane), turn);
        let publish = Publish::new(Bytes::from(lane.to_string()), token, false);
        self.sender.buffer().push_back(Packet::Publish(publish, None));
    }

    /// Makes the router look into the link's buffer. The only way to is a packet more; nobody has this subscription.
    fn nudge(&mut self) -> Result<(), Failure> {
        self.sender.try_unsubscribe("none")?;
        Ok(())
    }

    /// Makes the router panic.
    #[cfg(any(test, feature = "plant"))]
    pub(super) async fn make_it_panic(&mut self) -> Result<(), Failure> {
        match self.last.take() {
            Some(last) => Ok(last.end().await?),
            None => Ok(()),
        }
    }
}

impl Last {
    /// Does what makes the router panic: says that a link is ready that has ended.
    async fn end(mut self) -> Result<(), LinkError> {
        let reason_code = DisconnectReasonCode::NormalDisconnection;
        self.sender.buffer().push_back(Packet::Disconnect(Disconnect { reason_code }, None));
        self.sender.try_unsubscribe("none")?;
        self.receiver.wake().await
    }
}

/// Makes a router and its links; blocks until it has answered.
fn connect() -> Result<Started, Failure> {
    let config = RouterConfig {
        max_connections: LANES + 1,
        max_outgoing_packet_count: LINK_TOKENS,
        max_segment_size: SEGMENT_BYTES,
        max_segment_count: SEGMENTS,
        ..RouterConfig::default()
    };
    let events = Router::new(0, config).spawn();
    let connect = |name: &str| -> Result<_, Failure> {
        let (sender, receiver, _) = LinkBuilder::new(name, events.clone()).build()?;
        Ok((sender, receiver))
    };
    let (sender, receiver) = connect("last")?;
    let links = (0..LANES).map(|lane| connect(&format!("lane-{lane}"))).collect::<Result<_, Failure>>()?;
    Ok((links, Last { sender, receiver }, Box::new(move || events.is_disconnected())))
}

/// Runs what may block for ever where that costs a thread and nothing else.
async fn on_a_thread(work: fn() -> Result<Started, Failure>, left_behind: &mut Vec<Gone>) -> Result<Started, Failure> {
    let (done, wait) = oneshot::channel();
    let runtime = Handle::current();
    let thread = thread::Builder::new().name("live-links".into()).spawn(move || {
        if let Err(Ok((_, last, _))) = done.send(work()) {
            // Nobody waits any more, it took too long.
            runtime.spawn(last.end());
        }
    })?;
    match timeout(STALL, wait).await {
        Ok(Ok(done)) => done,
        // The thread panicked, or hangs: either way the router is of no use.
        Ok(Err(_)) | Err(_) => {
            left_behind.push(Box::new(move || thread.is_finished()));
            Err(Failure::Stalled)
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_storage::Reader;

    use super::*;
    use crate::router::{Live, LiveOptions};
    use crate::topics::Topics;

    /// The first tokens used to go in by the link that subscribed first: a router that came late to its first nudge took
    /// them before the other lanes had subscribed, and said nothing for ever.
    #[tokio::test(flavor = "multi_thread")]
    async fn all_lanes_of_a_new_router_work_however_late_its_thread_comes() {
        let Live(shared) = Live::new(Topics::new([], std::iter::empty::<Reader>()), LiveOptions::default());
        for _ in 0..100 {
            let mut core = Core::start(&shared, &mut Vec::new()).await.unwrap();
            core.begin(None).await.unwrap();
            let _is_gone = core.end().await;
        }
    }
}
