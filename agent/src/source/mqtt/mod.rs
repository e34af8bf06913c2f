//! A subscriber on a broker of the local network.
//!
//! What it guarantees: **a message with QoS 1 is acknowledged after its readings are on disk here**, in the order in
//! which messages came, so a session that the broker keeps loses nothing while the agent is away, and may give the same
//! message twice after a break (no identity tells the second from a new one). A queue without room is not an error: no
//! more is read, and the broker keeps its messages. A message that says nothing is counted, named and acknowledged, so
//! that it does not come for ever. Messages, devices and channels are bounded; a broker that is away is tried again
//! with growing pauses.

mod filter;
pub mod fuzz;
mod message;
mod payload;
mod session;
mod settings;
mod template;

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::ops::Range;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use weir_protocol::{AgentId, DeviceId};

use super::context::Context;
use super::feed::{Feed, Sample};
use super::supervise::LifeError;
use super::units::{UnitRule, unit_of};
use crate::counters::Event as Counted;
use crate::identity::{Identity, trust};
use crate::mqtt::{Connection, Endpoint, Event, Message, Options, Receipt};
use crate::uplink::credentials::Shown;
use message::{Subscription, Understood};
use session::BESIDE_PAYLOAD;

pub use payload::{Measured, Payload};
pub use session::Session;
pub use settings::{MAX_BROKERS, MqttConfig, TopicConfig, check};
pub use template::Template;

/// The most messages that are not acknowledged yet.
const WINDOW: u16 = 256;
/// Acknowledgements and subscriptions that wait for the event loop.
const REQUESTS: usize = 1024;
/// No room for so long is worth a word.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a source that stops waits for the disk, so that messages need not come again.
const FAREWELL: Duration = Duration::from_secs(1);

/// Listens to one broker until the connection ends or the source must stop. `session` is the same for all lives.
///
/// # Errors
/// The broker cannot be reached, does not take the subscriptions, or the connection broke.
pub async fn run(config: MqttConfig, agent: AgentId, session: Arc<Session>, context: Context) -> Result<(), LifeError> {
    let mut options = options(&config, agent)?;
    options.max_incoming = session.max_incoming(options.max_incoming);
    if !context.feeds.are_linked() {
        // Somebody takes a look: the session of the agent that runs is not to be disturbed.
        options.client_id.push_str("-once");
        options.session = 0;
    }
    let renewed = tokio::select! {
        () = context.stopped() => return Ok(()),
        renewed = session.renew(&options) => renewed?,
    };
    if renewed {
        context.counters.warn(Counted::SessionsGivenUp, || format!("{}: a new session", context.report.id()));
    }
    let mut connection = Connection::open(&options);
    let mut listener = Listener::new(&config, options.endpoint, session, context.clone());
    loop {
        let is_full = listener.pending.len() >= usize::from(WINDOW);
        tokio::select! {
            biased;
            () = context.stopped() => {
                listener.farewell(&connection).await;
                connection.disconnect().await;
                return Ok(());
            }
            kept = first_kept(&mut listener.pending) => listener.kept(kept, &connection)?,
            event = connection.events.recv(), if !is_full => match event {
                Some(event) => {
                    let taken = listener.take(event, &connection);
                    tokio::select! {
                        () = context.stopped() => return Ok(()),
                        taken = taken => taken?,
                    }
                }
                None => return Err("the connection ended".into()),
            },
        }
    }
}

/// What is known of one connection.
struct Listener {
    endpoint: Endpoint,
    session: Arc<Session>,
    /// What the broker is asked for.
    filters: Vec<String>,
    acknowledged: bool,
    subscriptions: Vec<Subscription>,
    units: Vec<UnitRule>,
    most_devices: usize,
    most_payload: usize,
    ring: usize,
    feeds: BTreeMap<DeviceId, Feed>,
    context: Context,
    /// Messages whose readings are on their way to the disk, in the order in which they came.
    pending: VecDeque<Pending>,
}

/// A message that waits to be acknowledged.
struct Pending {
    receipt: Option<Receipt>,
    /// True once its readings are on disk; false if some may be lost.
    kept: Pin<Box<dyn Future<Output = bool> + Send>>,
}

impl Listener {
    fn new(config: &MqttConfig, endpoint: Endpoint, session: Arc<Session>, context: Context) -> Self {
        let filters: Vec<String> = config.topic.get_ref().iter().map(|topic| topic.filter.get_ref().clone()).collect();
        Self {
            endpoint,
            session,
            filters: filter::needed(&filters).into_iter().map(str::to_owned).collect(),
            acknowledged: *config.qos.get_ref() == 1,
            subscriptions: config.topic.get_ref().iter().map(Subscription::of).collect(),
            units: config.unit.clone(),
            most_devices: usize::from(*config.max_devices.get_ref()),
            most_payload: config.max_payload.get_ref().0 as usize,
            ring: *config.ring.get_ref() as usize,
            feeds: BTreeMap::new(),
            context,
            pending: VecDeque::new(),
        }
    }

    async fn take(&mut self, event: Event, connection: &Connection) -> Result<(), LifeError> {
        match event {
            Event::Connected(_) => {
                connection.subscribe(self.filters.iter().map(String::as_str), self.acknowledged)?;
            }
            Event::Subscribed(refused) if refused.iter().all(Option::is_none) => {
                self.context.report.running();
                tracing::info!(source = self.context.report.id(), broker = %self.endpoint.address, "subscribed");
            }
            Event::Subscribed(refused) => {
                let refused = self.filters.iter().zip(refused).filter(|(_, refused)| refused.is_some());
                let named: Vec<&str> = refused.map(|(filter, _)| filter.as_str()).collect();
                return Err(format!("{}: the broker refuses {}", self.endpoint.address, named.join(", ")).into());
            }
            Event::Message(message) => self.message(message).await,
            Event::Stuck(stuck) => return Err(self.ended(self.session.note(stuck))),
            Event::Closed(why) => return Err(self.ended(why)),
            // Nothing is published here, and no will is left behind.
            Event::RetainRefused | Event::Pinged | Event::Sent(_) | Event::Acked { .. } => {}
        }
        Ok(())
    }

    fn ended(&self, why: String) -> LifeError {
        format!("{}: {why}", self.endpoint.address).into()
    }

    /// Puts the readings of a message once there is room for them.
    async fn message(&mut self, message: Message) {
        let (topic, receipt) = (&message.topic, message.receipt);
        let subscription = self.subscriptions.iter().find(|subscription| subscription.matches(topic));
        if message.retained && subscription.is_some_and(|subscription| !subscription.takes_retained()) {
            return self.done(receipt);
        }
        let size = message.payload.len();
        let understood = match subscription {
            // Of a session that was made with other settings.
            None => Err("no subscription matches".to_owned()),
            Some(_) if size > self.most_payload => {
                Err(format!("{size} bytes; at most {} are read, raise max_payload", self.most_payload))
            }
            Some(subscription) => subscription.read(topic, &message.payload),
        };
        let put = match understood {
            Ok(understood) => self.put(&understood).await,
            Err(why) => Err(why),
        };
        match put {
            Ok((feed, sequences)) if receipt.is_some() => {
                self.pending.push_back(Pending { receipt, kept: Box::pin(async move { feed.kept(sequences).await }) });
            }
            Ok(_) => {}
            Err(why) => {
                let id = self.context.report.id();
                self.context.counters.warn(Counted::MessagesRefused, || format!("{id}: {topic}: {why}"));
                self.context.report.error(format!("{topic}: {why}"));
                self.done(receipt);
            }
        }
    }

    async fn put(&mut self, understood: &Understood) -> Result<(Feed, Range<u64>), String> {
        let feed = self.feed(understood.device)?;
        let at = self.context.now();
        let sample = |(name, value): &'_ (String, Measured)| (name.clone(), value.clone());
        let values: Vec<(String, Measured)> = understood.values.iter().map(sample).collect();
        let samples: Vec<Sample<'_>> = values
            .iter()
            .map(|(name, value)| {
                let (value, unit) = (value.value(), unit_of(&self.units, name));
                Sample { name, unit, resolution: 0.0, value, at }
            })
            .collect();
        if tokio::time::timeout(PATIENCE, feed.has_room(samples.len())).await.is_err() {
            self.context.report.error("the queue has no room; nothing more is read until it has");
            feed.has_room(samples.len()).await;
        }
        let taken = feed.put_all(&samples);
        Ok((feed, taken.sequences))
    }

    /// The feed of a device, of which there are only so many.
    fn feed(&mut self, device: DeviceId) -> Result<Feed, String> {
        if let Some(feed) = self.feeds.get(&device) {
            return Ok(feed.clone());
        }
        if self.feeds.len() == self.most_devices {
            return Err(format!("device {device} is one more than {}; raise max_devices", self.most_devices));
        }
        let feed = self.context.feed_with(device, self.ring).map_err(|error| error.to_string())?;
        self.feeds.insert(device, feed.clone());
        Ok(feed)
    }

    /// Nothing of this message has to be kept; it is acknowledged in its turn.
    fn done(&mut self, receipt: Option<Receipt>) {
        if receipt.is_some() {
            self.pending.push_back(Pending { receipt, kept: Box::pin(std::future::ready(true)) });
        }
    }

    /// Acknowledges what is on disk soon, so that the broker does not give it again.
    async fn farewell(&mut self, connection: &Connection) {
        let rest = async {
            while !self.pending.is_empty() {
                let kept = first_kept(&mut self.pending).await;
                if self.kept(kept, connection).is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(FAREWELL, rest).await;
    }

    /// The first of the pending messages is on disk, or will never be.
    fn kept(&mut self, kept: bool, connection: &Connection) -> Result<(), LifeError> {
        let Some(pending) = self.pending.pop_front() else { return Ok(()) };
        if !kept {
            // The broker gives it again when the connection is made anew.
            return Err("a message could not be kept and is asked for again".into());
        }
        match pending.receipt {
            Some(receipt) => Ok(connection.acknowledge(receipt)?),
            None => Ok(()),
        }
    }
}

/// Waits until the first pending message is on disk; for ever if none is pending.
async fn first_kept(pending: &mut VecDeque<Pending>) -> bool {
    match pending.front_mut() {
        Some(first) => first.kept.as_mut().await,
        None => std::future::pending().await,
    }
}

fn options(config: &MqttConfig, agent: AgentId) -> Result<Options, LifeError> {
    let path = |set: &weir_protocol::settings::Spanned<std::path::PathBuf>| set.get_ref().clone();
    let tls = match &config.ca {
        None => None,
        Some(ca) => {
            let shown = config.certificate.as_ref().zip(config.key.as_ref());
            let identity =
                shown.map(|(certificate, key)| Identity::read(&path(certificate), &path(key))).transpose()?;
            Some(Arc::new(trust::client(ca.get_ref(), identity.as_ref())?))
        }
    };
    let login = match config.username.as_ref().zip(config.password_file.as_ref()) {
        Some((name, file)) => Some((name.get_ref().clone(), password(file.get_ref())?)),
        None => None,
    };
    let id = config.client_id.as_ref().map(|id| id.get_ref().clone());
    let max_payload = u32::try_from(config.max_payload.get_ref().0).unwrap_or(u32::MAX);
    Ok(Options {
        endpoint: Endpoint { address: config.address.clone(), version: config.mqtt, proxy: None },
        shown: Shown { tls, login },
        client_id: id.unwrap_or_else(|| format!("weir-{agent}-{}", config.name.get_ref().as_str())),
        keep_alive: config.keep_alive.get_ref().0,
        session: u32::try_from(config.session.get_ref().0.as_secs()).unwrap_or(u32::MAX),
        will: None,
        // Nothing is published.
        in_flight: 1,
        receive_max: Some(WINDOW),
        acknowledges: true,
        max_incoming: max_payload.saturating_add(BESIDE_PAYLOAD),
        max_outgoing: BESIDE_PAYLOAD,
        requests: REQUESTS,
    })
}

/// The first line of a file.
fn password(file: &Path) -> Result<String, LifeError> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("password_file: {}: {error}", file.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
