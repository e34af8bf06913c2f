//! Deciding one message: it is staged, parked, refused, or waits for a description.

use std::mem;

use super::super::connection::{Connection, State, Wait};
use super::super::decode::{Part, Work};
use super::super::devices::SchemaState;
use super::super::group::LogSet;
use super::super::plan::{Plan, Planner};
use super::super::{Failure, Reason, Verdict};
use super::{Engine, MAX_REFUSED};

impl Engine {
    /// Decides one message; false if it has to wait.
    pub(super) fn decide(&mut self, id: u64, connection: &mut Connection, at: usize) -> bool {
        let entry = &mut connection.queue[at];
        let arrival = entry.arrival;
        let waits = mem::replace(&mut entry.state, State::Done(Verdict::Failed(Failure::Stopping)));
        let State::Waiting(work) = waits else {
            entry.state = waits;
            return true;
        };
        if let Work::Batch(parts) = &work
            && self.awaits_description(id, connection, parts)
        {
            connection.queue[at].state = State::Waiting(work);
            return false;
        }
        let planner = Planner {
            devices: &mut self.devices,
            group: &mut self.staging,
            counters: &self.counters,
            scratch: &mut self.scratch,
            routes: &self.routes,
            tenant: connection.sender.tenant,
            agent: connection.agent,
            arrival,
            is_retry: connection.is_retry,
            logs: LogSet::default(),
            poison: None,
        };
        let plan = match &work {
            Work::Batch(parts) => planner.batch(parts),
            Work::Spans { payload, spans } => planner.unreadable(spans, payload),
            Work::Describe(described) => planner.describe(described),
            Work::BadDescription(payload) => planner.bury_description(Reason::UnreadableDescription, payload),
            Work::Message(topic, published, payload) => {
                planner.message(&connection.sender.client, *topic, published, payload)
            }
            Work::Move(device) => planner.reassign(*device),
            Work::Unreadable(why) => {
                self.counters.unreadable.add(1);
                Plan::Refuse(Verdict::Unreadable(why))
            }
        };
        match plan {
            Plan::Park => {
                connection.queue[at].state = State::Waiting(work);
                self.parked.insert(id);
                return false;
            }
            Plan::Staged(logs, verdict) if logs.is_empty() => connection.queue[at].state = State::Done(verdict),
            Plan::Staged(logs, verdict) => {
                let group = self.staging.number;
                connection.queue[at].state = State::Staged { group, logs, verdict };
                if self.staging.connections.last() != Some(&id) {
                    self.staging.connections.push(id);
                }
            }
            Plan::OverLimit(over, device) => {
                self.counters.over_limit[over as usize].add(1);
                if self.refused.len() < MAX_REFUSED {
                    self.refused.push((over, connection.sender.clone(), device));
                }
                connection.queue[at].state = State::Done(Verdict::Failed(Failure::Quota));
                connection.refuse_waiting(Failure::AfterRefusal);
            }
            Plan::Refuse(verdict) => {
                connection.queue[at].state = State::Done(verdict);
                connection.refuse_waiting(Failure::AfterRefusal);
            }
        }
        if let Work::Describe(described) = &work {
            connection.waiting_descriptions = connection.waiting_descriptions.saturating_sub(1);
            connection.got(described.device, described.schema);
        } else {
            self.counters.batches.add(1);
        }
        true
    }

    /// Whether the batch has to wait because a schema of it is not described, or not committed yet.
    pub(super) fn awaits_description(&mut self, id: u64, connection: &mut Connection, parts: &[Part]) -> bool {
        let mut awaits = false;
        for part in parts {
            let Part::Run(run) = part else { continue };
            if self.devices.is_foreign(connection.agent, connection.sender.tenant, run.device) {
                continue;
            }
            match self.devices.schema(connection.sender.tenant, run.device, run.schema) {
                Some(SchemaState::Known(_)) => {}
                Some(SchemaState::Pending) => {
                    self.parked.insert(id);
                    awaits = true;
                }
                None => {
                    let (sender, full) = (connection.sender.clone(), self.options.describe_wait);
                    let wait = self.waited.wait(&sender, run.device, run.schema, self.now, full);
                    match connection.wait_for(run.device, run.schema, self.now, wait) {
                        Wait::Over => {}
                        Wait::Until(deadline, asked) => {
                            awaits = true;
                            if asked {
                                self.counters.asked.add(1);
                                let behind = self.held.partition_point(|(other, _)| *other <= deadline);
                                self.held.insert(behind, (deadline, id));
                            }
                        }
                    }
                }
            }
        }
        awaits
    }
}
