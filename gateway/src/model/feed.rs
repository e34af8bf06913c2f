//! Feeding the model: it reads the logs behind the commits, as any consumer could, and asks ingest how far restarts
//! have come.
//!
//! Guarantees: what it holds before a commit of the model is bounded ([`STEP_BYTES`]); how far it has come is in the
//! same commit as what it read; a failure empties the model and fills it again.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use serde_json::{Value as Json, json};
use weir_protocol::Tenant;
use weir_storage::keyed::{Changes, KeyedError, TooLarge};
use weir_storage::{Chunk, ReadError};

use super::{CHANNEL, DEVICE, Model, OWNER, RESTART, VALUE, key, key_of, object};
use crate::background;
use crate::ingest::{Ingest, RestartRow};
use crate::record::reading::Origin;
use crate::record::{Description, Value};
use crate::topics::{Partition, TopicId, Topics};

/// Bytes of log between two commits of the model.
const STEP_BYTES: usize = 4 << 20;
/// Bytes of one read.
const READ_BYTES: usize = 1 << 20;
/// Channels and devices between two commits of the model.
const MAX_CHANGED: usize = 2048;
/// The least time between two steps: each syncs, on a disk that commits wait for.
const REST: Duration = Duration::from_secs(1);
/// It rests this many times as long as a step took, so that under load it lags instead of taking a core from ingest.
const REST_PER_STEP: u32 = 15;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The model failed.
    #[error(transparent)]
    Keyed(#[from] KeyedError),
    /// A log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An entry is larger than the model can hold.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

/// Feeds the model.
pub struct Feed {
    model: Arc<Model>,
    topics: Topics,
    changes: Changes,
    /// Latest value of a record for each channel, by key, and its time.
    latest: HashMap<Vec<u8>, (i64, Vec<u8>)>,
    /// Earliest and latest record time for each device, by key.
    seen: HashMap<Vec<u8>, (i64, i64)>,
    run: Run,
}

/// The device of the last reading: they come many of one device at a time, so what repeats is decoded once.
#[derive(Default)]
struct Run {
    /// [`Origin::head`] of the reading.
    head: Vec<u8>,
    /// The key of its device, and behind that the key of its channel.
    key: Vec<u8>,
    /// Bytes of the key of its device.
    device: usize,
}

impl Run {
    /// Goes on with a reading; false if it is of nobody.
    fn take(&mut self, origin: &Origin<'_>) -> bool {
        if self.head != origin.head {
            let Ok((tenant, device)) = origin.device() else { return false };
            self.head.clear();
            self.head.extend_from_slice(origin.head);
            self.set(tenant, device.as_str());
        }
        self.name(origin.channel);
        true
    }

    fn set(&mut self, tenant: Tenant, device: &str) {
        self.key.clear();
        self.key.extend_from_slice(tenant.as_bytes());
        self.key.push(0);
        self.key.extend_from_slice(device.as_bytes());
        self.device = self.key.len();
    }

    fn name(&mut self, channel: &[u8]) {
        self.key.truncate(self.device);
        self.key.push(0);
        self.key.extend_from_slice(channel);
    }
}

/// The handle of the thread.
pub struct Feeding {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Feeding {
    /// Ends the thread; what the model does not have yet, the next start reads.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the feed of the model died; delete <data>/model and start the gateway again");
        }
    }
}

/// Starts the thread.
///
/// # Errors
/// When the system has no thread to give.
pub fn start(model: Arc<Model>, topics: Topics, ingest: Ingest) -> io::Result<Feeding> {
    let (stop, stopped) = channel();
    let feed = Feed::new(model, topics);
    let thread = std::thread::Builder::new().name("model".into()).spawn(move || run(feed, &ingest, &stopped))?;
    Ok(Feeding { stop, thread })
}

fn run(mut feed: Feed, ingest: &Ingest, stopped: &Receiver<()>) {
    background::give_way();
    loop {
        let start = Instant::now();
        if let Err(error) = feed.step(ingest.rows()) {
            tracing::warn!(%error, "the read model is emptied and filled again from the logs");
            if let Err(error) = feed.model.clear() {
                tracing::error!(%error, "it cannot be emptied; devices are not shown until the next start");
                return;
            }
            ingest.tell_all_rows();
        }
        match stopped.recv_timeout(REST.max(start.elapsed() * REST_PER_STEP)) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => return,
        }
    }
}

impl Feed {
    /// Goes on where the model is.
    pub fn new(model: Arc<Model>, topics: Topics) -> Self {
        let (latest, seen) = (HashMap::new(), HashMap::new());
        Self { model, topics, changes: Changes::new(), latest, seen, run: Run::default() }
    }

    /// Reads a bounded part of what the model does not have, and commits that with the rows. Whether there is more.
    ///
    /// # Errors
    /// [`FeedError`]; the model is as it was, or is to be emptied.
    pub fn step(&mut self, rows: Vec<RestartRow>) -> Result<bool, FeedError> {
        (self.latest, self.seen) = Default::default();
        self.changes.clear();
        let mut has_more = !rows.is_empty();
        for row in rows {
            self.row(&row)?;
        }
        let topics = self.topics.clone();
        for topic in std::iter::once(topics.get(TopicId::DESCRIBE)).chain(topics.readings()) {
            for (number, partition) in topic.partitions().iter().enumerate() {
                has_more |= self.read(&format!("{}/{number}", topic.name()), partition)?;
            }
        }
        self.flush()?;
        if !self.changes.is_empty() {
            self.model.keyed.commit(&self.changes)?;
        }
        Ok(has_more)
    }

    /// Reads on in one log.
    fn read(&mut self, log: &str, partition: &Partition) -> Result<bool, FeedError> {
        let reader = partition.reader();
        let end = reader.end_offset();
        let before = self.model.keyed.stamp(log)?.unwrap_or(0);
        // Retention may have been faster; a log that was cut is read from its end.
        let mut at = before.clamp(reader.start_offset().min(end), end);
        let mut bytes = 0;
        while at < end && bytes < STEP_BYTES && self.latest.len() + self.seen.len() < MAX_CHANGED {
            let chunk = reader.read(at, READ_BYTES)?;
            bytes += chunk.bytes.len();
            self.chunk(&chunk)?;
            at = if chunk.next_offset > at { chunk.next_offset } else { end };
        }
        if at != before {
            self.changes.stamp(log, at)?;
        }
        Ok(at < end)
    }

    fn chunk(&mut self, chunk: &Chunk) -> Result<(), FeedError> {
        for record in chunk.records().filter_map(Result::ok) {
            let value = record.value.unwrap_or_default();
            if let Some(origin) = Origin::of(value) {
                if self.run.take(&origin) {
                    self.reading(record.timestamp_ms, value);
                }
                continue;
            }
            match Value::decode(value) {
                // As JSON.
                Ok(Value::Reading(reading)) => {
                    self.run.head.clear();
                    self.run.set(reading.tenant, reading.device.as_str());
                    self.run.name(reading.channel.as_bytes());
                    self.reading(record.timestamp_ms, value);
                }
                Ok(Value::Description(description)) => self.description(&description)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes a reading of the device and the channel whose keys are in `run`.
    fn reading(&mut self, at: i64, value: &[u8]) {
        let Self { latest, seen, run, .. } = self;
        match latest.get_mut(&run.key) {
            Some((latest, _)) if *latest > at => {}
            Some((latest, kept)) => {
                *latest = at;
                kept.clear();
                kept.extend_from_slice(value);
            }
            None => {
                latest.insert(run.key.clone(), (at, value.to_vec()));
            }
        }
        match seen.get_mut(&run.key[..run.device]) {
            Some((first, last)) => (*first, *last) = ((*first).min(at), (*last).max(at)),
            None => {
                seen.insert(run.key[..run.device].to_vec(), (at, at));
            }
        }
    }

    fn description(&mut self, description: &Description<'_>) -> Result<(), FeedError> {
        let (tenant, device) = (description.tenant, description.device);
        for channel in &description.channels {
            let name = [&description.schema.0.to_be_bytes()[..], &channel.id.0.to_be_bytes()].concat();
            let mut value = serde_json::to_value(channel).unwrap_or_default();
            value["schema"] = description.schema.to_string().into();
            self.put(CHANNEL, &key_of(tenant, device.as_str(), &name), &value)?;
        }
        let own = key(tenant, device.as_str());
        // The last one has it, as ingest has it.
        self.put(OWNER, &own, &json!({"agent": description.agent.as_str()}))?;
        if self.model.keyed.get(DEVICE, &own)?.is_none() && !self.seen.contains_key(&own) {
            self.put(DEVICE, &own, &json!({}))?;
        }
        Ok(())
    }

    fn row(&mut self, row: &RestartRow) -> Result<(), FeedError> {
        let RestartRow { tenant, device, restart, next, stored, reduced, dead_lettered, lost, tail_unknown } = *row;
        let key = key_of(tenant, device.as_str(), &restart.0.to_be_bytes());
        let value = json!({
            "restart": restart.0.to_string(),
            "next": next,
            "stored": stored,
            "reduced": reduced,
            "dead_lettered": dead_lettered,
            "lost": lost,
            "tail_unknown": tail_unknown,
        });
        // After a start all rows are told, and most are as they were.
        if self.model.keyed.get(RESTART, &key)?.is_none_or(|known| Json::Object(object(&known)) != value) {
            self.put(RESTART, &key, &value)?;
        }
        Ok(())
    }

    /// Takes what is newer than what the model has.
    fn flush(&mut self) -> Result<(), FeedError> {
        for (key, (at, value)) in std::mem::take(&mut self.latest) {
            let known = self.model.keyed.get(VALUE, &key)?.map(|known| object(&known));
            let is_old = known.is_some_and(|known| known.get("timestamp_ms").and_then(Json::as_i64) > Some(at));
            let Ok(Value::Reading(reading)) = Value::decode(&value) else { continue };
            if is_old {
                continue;
            }
            let mut json = serde_json::to_value(reading).unwrap_or_default();
            json["timestamp_ms"] = at.into();
            self.put(VALUE, &key, &json)?;
        }
        for (key, (mut first, mut last)) in std::mem::take(&mut self.seen) {
            if let Some(known) = self.model.keyed.get(DEVICE, &key)?.map(|known| object(&known)) {
                let at = |name: &str| known.get(name).and_then(Json::as_i64);
                first = first.min(at("first_seen_ms").unwrap_or(first));
                last = last.max(at("last_seen_ms").unwrap_or(last));
            }
            self.put(DEVICE, &key, &json!({"first_seen_ms": first, "last_seen_ms": last}))?;
        }
        Ok(())
    }

    fn put(&mut self, space: &str, key: &[u8], value: &Json) -> Result<(), FeedError> {
        Ok(self.changes.put(space, key, value.to_string().as_bytes())?)
    }
}
