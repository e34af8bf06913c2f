//! Committing, reading and deleting offsets.
//!
//! A commit is decided under the lock and handed to the log in the same step, so that the log has commits in the order
//! they were decided in; it is acknowledged, and seen, when it is durable.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::coordinator::{Speaker, Subscriptions};
use super::error::Error;
use super::names::GroupId;
use super::offsets::log::Records;
use super::offsets::{Commit, Committed, MAX_METADATA_BYTES, TOPIC};
use super::service::{Groups, State};

/// A place that has an offset: topic and partition.
pub type Place = (Arc<str>, u32);

/// How it went with each of several places, in the order asked.
pub type Each = Vec<Result<(), Error>>;

impl Groups {
    /// Commits offsets of a group: when this returns, those that went well are on disk.
    ///
    /// # Errors
    /// Why the speaker may commit none.
    pub async fn commit(&self, group: &GroupId, speaker: &Speaker, commits: Vec<Commit>) -> Result<Each, Error> {
        let written = self.step(|state, now| {
            state.coordinator.check_commit(now, group, speaker)?;
            Ok(self.write(state, group, commits))
        })?;
        Ok(written.wait().await)
    }

    /// Sets offsets of a group that has no members, as an operator does.
    ///
    /// # Errors
    /// [`Error::NotEmpty`], [`Error::TooMuch`].
    pub async fn set(&self, group: &GroupId, commits: Vec<Commit>) -> Result<Each, Error> {
        let written = self.step(|state, now| {
            state.coordinator.ensure(now, group)?;
            state.coordinator.empty_since(group.as_str()).ok_or(Error::NotEmpty)?;
            Ok(self.write(state, group, commits))
        })?;
        Ok(written.wait().await)
    }

    /// Hands offsets to the log.
    fn write(&self, state: &mut State, group: &GroupId, commits: Vec<Commit>) -> Written {
        let elapsed = self.shared.elapsed();
        let (at_ms, clock_ms) = (self.shared.clock.wall(elapsed), self.shared.clock.at(elapsed));
        let (mut records, mut writing, mut each) = (Records::default(), Vec::new(), Vec::new());
        for (index, commit) in commits.into_iter().enumerate() {
            each.push(self.check(state, group, &commit));
            if each[index].is_ok() {
                let Commit { topic, partition, offset, leader_epoch, metadata } = commit;
                let committed = Committed { offset, leader_epoch, metadata, at_ms, clock_ms };
                records.offset(group, &topic, partition, &committed);
                writing.push(Writing { index, place: (topic, partition), said: Some(committed) });
            }
        }
        state.counters.commits += 1;
        self.submit(state, group, records, writing, each)
    }

    /// Whether an offset may be committed; it has a place then.
    fn check(&self, state: &mut State, group: &GroupId, commit: &Commit) -> Result<(), Error> {
        let topic = self.shared.topics.named(&commit.topic).ok_or(Error::UnknownPartition)?;
        if commit.partition as usize >= topic.partitions().len() {
            return Err(Error::UnknownPartition);
        }
        if commit.metadata.len() > MAX_METADATA_BYTES {
            return Err(Error::Metadata);
        }
        state.table.reserve(group, commit, &self.shared.options).inspect_err(|_| state.counters.over_bounds += 1)
    }

    /// Hands records to the log; when they are durable the table says what they say.
    fn submit(
        &self,
        state: &mut State,
        group: &GroupId,
        records: Records,
        writing: Vec<Writing>,
        each: Each,
    ) -> Written {
        let (answer, answered) = oneshot::channel();
        if records.is_empty() {
            return Written { each, writing: Vec::new(), answered: None };
        }
        let indices = writing.iter().map(|writing| writing.index).collect();
        let (groups, group) = (self.clone(), group.clone());
        let done = move |result: Result<std::ops::Range<u64>, String>| {
            groups.written(&group, writing, &result);
            // Whoever asked may be gone; it is written all the same.
            let _ = answer.send(result.map(|_| ()).map_err(Error::NotWritten));
        };
        self.hand_in(state, records, done);
        Written { each, writing: indices, answered: Some(answered) }
    }

    pub(super) fn hand_in(
        &self,
        state: &mut State,
        records: Records,
        done: impl FnOnce(Result<std::ops::Range<u64>, String>) + Send + 'static,
    ) {
        if let Err(refused) = self.shared.log.submit(records.into_batch(), done) {
            state.refused.push(refused);
        }
    }

    fn written(&self, group: &GroupId, writing: Vec<Writing>, result: &Result<std::ops::Range<u64>, String>) {
        let mut state = self.shared.lock();
        let now = self.shared.elapsed();
        for Writing { place: (topic, partition), said, .. } in writing {
            state.table.settle(group, &topic, partition, result.is_ok().then_some(said));
        }
        match result {
            Ok(offsets) => self.announce(offsets.end),
            Err(error) => {
                state.counters.commits_failed += 1;
                if state.table.has_offsets(group.as_str()) {
                    // It was to be deleted, and still has its offsets.
                    let _ = state.coordinator.ensure(now, group);
                }
                tracing::error!(%group, error, "offsets could not be written");
            }
        }
    }

    /// Tells readers of the offsets topic that it has grown.
    pub(super) fn announce(&self, end: u64) {
        if let Some(partition) = self.shared.topics.named(TOPIC).and_then(|topic| topic.partitions().first()) {
            partition.announce(end);
        }
    }

    /// One committed offset.
    pub fn offset(&self, group: &str, topic: &str, partition: u32) -> Option<Committed> {
        self.shared.lock().table.get(group, topic, partition).cloned()
    }

    /// The committed offsets of a group.
    pub fn offsets(&self, group: &str) -> Vec<(Place, Committed)> {
        let state = self.shared.lock();
        let of_group = state.table.of_group(group);
        of_group.map(|(topic, partition, committed)| ((Arc::clone(topic), partition), committed.clone())).collect()
    }

    /// Deletes offsets of a group.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::NotEmpty`] if it has members whose subscriptions cannot be read.
    pub async fn delete_offsets(&self, group: &GroupId, places: &[Place]) -> Result<Each, Error> {
        let written = self.step(|state, _| {
            if !state.coordinator.has(group.as_str()) {
                return Err(Error::NotFound);
            }
            let subscribed = match state.coordinator.subscriptions(group.as_str()) {
                Subscriptions::Topics(topics) => topics,
                Subscriptions::Unknown => return Err(Error::NotEmpty),
            };
            let (mut chosen, mut each) = (Vec::new(), Vec::new());
            for (topic, partition) in places {
                each.push(if subscribed.contains(&**topic) {
                    Err(Error::Subscribed)
                } else if self.shared.topics.named(topic).is_none()
                    && !state.table.has(group.as_str(), topic, *partition)
                {
                    Err(Error::UnknownPartition)
                } else {
                    chosen.push((each.len(), (Arc::clone(topic), *partition)));
                    Ok(())
                });
            }
            Ok(self.write_deletions(state, group, chosen, each))
        })?;
        Ok(written.wait().await)
    }

    /// Deletes a group without members, with its offsets.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotEmpty`], [`Error::NotWritten`].
    pub async fn delete(&self, group: &GroupId) -> Result<(), Error> {
        let written = self.step(|state, _| {
            state.coordinator.delete(group.as_str())?;
            let places = state.table.places(group.as_str()).into_iter().enumerate().collect::<Vec<_>>();
            let each = vec![Ok(()); places.len()];
            self.forget_usage(state, group);
            Ok(self.write_deletions(state, group, places, each))
        })?;
        written.wait().await.into_iter().collect()
    }

    /// Writes the end of offsets; those that are not there need none.
    pub(super) fn write_deletions(
        &self,
        state: &mut State,
        group: &GroupId,
        places: Vec<(usize, Place)>,
        each: Each,
    ) -> Written {
        let at_ms = self.shared.clock.wall(self.shared.elapsed());
        let (mut records, mut writing) = (Records::default(), Vec::new());
        for (index, (topic, partition)) in places {
            if state.table.has(group.as_str(), &topic, partition) {
                state.table.reserve_deletion(group, &topic, partition);
                records.no_offset(group, &topic, partition, at_ms);
                writing.push(Writing { index, place: (topic, partition), said: None });
            }
        }
        self.submit(state, group, records, writing, each)
    }
}

/// A record on its way to the log.
struct Writing {
    /// Which of those asked for.
    index: usize,
    place: Place,
    said: Option<Committed>,
}

/// Records that were handed in.
#[must_use]
pub(super) struct Written {
    each: Each,
    writing: Vec<usize>,
    answered: Option<oneshot::Receiver<Result<(), Error>>>,
}

impl Written {
    /// Waits until they are durable, or are not.
    async fn wait(mut self) -> Each {
        if let Some(answered) = self.answered
            && let Err(error) = answered.await.unwrap_or(Err(Error::Stopping))
        {
            for index in self.writing {
                self.each[index] = Err(error.clone());
            }
        }
        self.each
    }
}
