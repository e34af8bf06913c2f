//! A state of a world, and the steps from one to the next.

use crate::agent::Agent;
use crate::device::{Device, Line};
use crate::gateway::{DEAD, Gateway, LOSSES, READINGS};
use crate::rules::Rule;
use crate::uplink::{Batch, Uplink};
use crate::world::{Fault, World};

/// Everything there is.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct State {
    pub(crate) device: Device,
    pub(crate) line: Line,
    pub(crate) agent: Agent,
    pub(crate) uplink: Uplink,
    pub(crate) gateway: Gateway,
    /// What is left of each budget.
    pub(crate) faults: u8,
    pub(crate) redrives: u8,
    pub(crate) deletions: u8,
}

/// One step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    Sample,
    SendFrame,
    TakeFrame,
    SyncQueue,
    SendAck,
    TakeAck,
    ClaimOldest(u8),
    Unlink(u8),
    CoarsenClaims,
    SendBatch(Batch),
    ReadBatch,
    ReadLate,
    GiveUpDescription,
    LosePatience,
    Commit(usize),
    Answer,
    TakeAnswer,
    Checkpoint(usize),
    Delete(usize),
    Account,
    Redrive(u8),
    Disconnect { late: bool },
    KillAgent,
    CutAgent { additions_survive: bool, removals_survive: bool },
    WipeAgent,
    DamageQueue(u8),
    KillGateway,
    CutGateway([u8; 3]),
    FailCommit(usize),
    DamageRecord(usize, u8),
    DamageCheckpoint(usize, usize),
}

impl Action {
    /// Faults are not needed for progress, and come out of a budget.
    pub(crate) fn is_fault(self) -> bool {
        use Action::*;
        matches!(
            self,
            Disconnect { .. }
                | KillAgent
                | CutAgent { .. }
                | WipeAgent
                | DamageQueue(_)
                | KillGateway
                | CutGateway(_)
                | FailCommit(_)
                | DamageRecord(..)
                | DamageCheckpoint(..)
        )
    }
}

impl State {
    pub(crate) fn first(world: &World) -> Self {
        Self { faults: world.faults, redrives: world.redrives, deletions: world.deletions, ..Self::default() }
    }

    /// Every step that can be taken.
    pub(crate) fn actions(&self, world: &World) -> Vec<Action> {
        let mut all = Vec::with_capacity(32);
        self.device_actions(world, &mut all);
        self.agent_actions(world, &mut all);
        self.gateway_actions(world, &mut all);
        if self.faults > 0 {
            self.fault_actions(world, &mut all);
        }
        all
    }

    fn device_actions(&self, world: &World, all: &mut Vec<Action>) {
        if self.device.next < world.sequences {
            all.push(Action::Sample);
        }
        let told = self.agent.durable.reach.is_some_and(|reach| reach.accepted == self.device.next);
        if self.line.up != Some(self.device.frame()) && !told {
            all.push(Action::SendFrame);
        }
        if self.line.down.is_some() {
            all.push(Action::TakeAck);
        }
    }

    fn agent_actions(&self, world: &World, all: &mut Vec<Action>) {
        let agent = &self.agent;
        if self.line.up.is_some() {
            all.push(Action::TakeFrame);
        }
        if agent.written != agent.durable {
            all.push(Action::SyncQueue);
        }
        let accepted = agent.acknowledgeable(world);
        if self.device.base < accepted && self.line.down != Some(accepted) {
            all.push(Action::SendAck);
        }
        all.extend(agent.droppable(world, self.device.next).map(Action::ClaimOldest));
        all.extend(agent.unlinkable(world).iter().map(Action::Unlink));
        if world.coarsen && agent.coarse(world) != agent.written.claims {
            all.push(Action::CoarsenClaims);
        }
        self.batches(world, all);
        if !self.uplink.in_flight.is_empty() && self.uplink.answered > 0 {
            all.push(Action::TakeAnswer);
        }
        if self.uplink.waiting && world.breaks(Rule::ImpatientAgent) {
            all.push(Action::LosePatience);
        }
    }

    /// The batches that the agent may send next: everything, or any part that tells orders apart.
    fn batches(&self, world: &World, all: &mut Vec<Action>) {
        if self.uplink.in_flight.len() >= world.window {
            return;
        }
        let carried = self.uplink.carried();
        let (readings, claims) = self.agent.shippable(world, &carried);
        let mut offer = |batch: Batch| {
            let action = Action::SendBatch(batch);
            if batch != Batch::default() && !all.contains(&action) {
                all.push(action);
            }
        };
        offer(Batch { readings, claims, position: None });
        offer(Batch { claims, ..Batch::default() });
        for one in readings.iter().take(if world.in_order { 1 } else { 8 }) {
            offer(Batch { readings: crate::sequences::Set::of(one), ..Batch::default() });
        }
        if !self.agent.audited && carried.position.is_none() {
            let position = self.agent.position(world).filter(|position| position.upto > 0);
            offer(Batch { position, ..Batch::default() });
        }
    }

    fn gateway_actions(&self, world: &World, all: &mut Vec<Action>) {
        let gateway = &self.gateway;
        if self.uplink.waiting {
            if !world.breaks(Rule::ImpatientAgent) {
                all.push(Action::GiveUpDescription);
            }
        } else if self.uplink.unread().is_some() {
            all.push(Action::ReadBatch);
        }
        if self.uplink.late.is_some() {
            all.push(Action::ReadLate);
        }
        for log in [READINGS, DEAD, LOSSES] {
            if gateway.logs[log].synced < gateway.logs[log].end() {
                all.push(Action::Commit(log));
            }
            if gateway.may_checkpoint(world, log) {
                all.push(Action::Checkpoint(log));
            }
            if self.deletions > 0 && gateway.deletable(world, log).is_some() {
                all.push(Action::Delete(log));
            }
        }
        if self.uplink.unanswered().is_some_and(|flight| gateway.may_answer(world, flight.needs)) {
            all.push(Action::Answer);
        }
        if !gateway.unaccounted_damage(world).is_empty() {
            all.push(Action::Account);
        }
        if self.redrives > 0 {
            all.extend(gateway.redrivable().iter().map(Action::Redrive));
        }
    }

    fn fault_actions(&self, world: &World, all: &mut Vec<Action>) {
        let logs = &self.gateway.logs;
        if world.has(Fault::Disconnect) {
            all.push(Action::Disconnect { late: false });
            if self.uplink.unread().is_some() {
                all.push(Action::Disconnect { late: true });
            }
        }
        if world.has(Fault::Agent) {
            all.push(Action::KillAgent);
            for additions_survive in [false, true] {
                for removals_survive in [false, true] {
                    all.push(Action::CutAgent { additions_survive, removals_survive });
                }
            }
        }
        if world.has(Fault::Wipe) && self.agent.written.reach.is_some() {
            all.push(Action::WipeAgent);
        }
        if world.has(Fault::QueueDamage) {
            let kept = self.agent.durable.readings | self.agent.durable.claims;
            all.extend(kept.iter().map(Action::DamageQueue));
        }
        if world.has(Fault::Gateway) {
            all.push(Action::KillGateway);
            let survivors = |log: usize| logs[log].synced..=logs[log].end();
            for readings in survivors(READINGS) {
                for dead in survivors(DEAD) {
                    all.extend(survivors(LOSSES).map(|losses| Action::CutGateway([readings, dead, losses])));
                }
            }
        }
        for (at, log) in logs.iter().enumerate() {
            if world.has(Fault::CommitFails) && log.synced < log.end() {
                all.push(Action::FailCommit(at));
            }
            if world.has(Fault::LogDamage) {
                all.extend((log.start..log.synced).map(|record| Action::DamageRecord(at, record)));
            }
            if world.has(Fault::CheckpointDamage) {
                all.extend((0..log.checkpoints.len()).map(|kept| Action::DamageCheckpoint(at, kept)));
            }
        }
    }

    /// The state after a step; `None` if nothing changes.
    pub(crate) fn after(&self, world: &World, action: Action) -> Option<Self> {
        let mut next = self.clone();
        next.take(world, action);
        if action.is_fault() {
            // A fault that changes nothing is not worth its budget.
            if next == *self {
                return None;
            }
            next.faults -= 1;
        }
        (next != *self).then_some(next)
    }

    fn take(&mut self, world: &World, action: Action) {
        match action {
            Action::Sample => self.device.sample(world.ring),
            Action::SendFrame => self.line.up = Some(self.device.frame()),
            Action::TakeFrame => {
                if let Some(frame) = self.line.up.take() {
                    self.agent.accept(world, frame);
                }
            }
            Action::SyncQueue => self.agent.sync(),
            Action::SendAck => self.line.down = Some(self.agent.acknowledgeable(world)),
            Action::TakeAck => {
                if let Some(accepted) = self.line.down.take() {
                    self.device.acknowledged(accepted);
                }
            }
            Action::ClaimOldest(sequence) => self.agent.claim(sequence),
            Action::Unlink(sequence) => self.agent.unlink(sequence),
            Action::CoarsenClaims => self.agent.coarsen(world),
            Action::SendBatch(batch) => {
                if world.breaks(Rule::PositionFromCursor) {
                    self.agent.sent |= batch.readings | batch.claims;
                }
                self.uplink.send(batch);
            }
            Action::ReadBatch => self.read(world),
            Action::ReadLate => {
                let taken = self.uplink.late.is_some_and(|batch| self.gateway.decide(world, &batch).is_some());
                if taken {
                    self.uplink.late = None;
                }
            }
            Action::GiveUpDescription => {
                self.uplink.waiting = false;
                self.decide(world);
            }
            Action::LosePatience => self.disconnect(world, false),
            Action::Commit(log) => self.gateway.commit(log),
            Action::Answer => {
                if let Some(flight) = self.uplink.unanswered().cloned() {
                    self.gateway.answer(world, &flight.batch);
                    self.uplink.answered += 1;
                }
            }
            Action::TakeAnswer => {
                let batch = self.uplink.take_answered();
                self.agent.shipped(&batch);
            }
            Action::Checkpoint(log) => self.gateway.checkpoint(world, log),
            Action::Delete(log) => {
                if let Some(upto) = self.gateway.deletable(world, log) {
                    self.gateway.delete(log, upto);
                    self.deletions -= 1;
                }
            }
            Action::Account => self.gateway.account(self.gateway.unaccounted_damage(world)),
            Action::Redrive(sequence) => {
                self.gateway.redrive(sequence);
                self.redrives -= 1;
            }
            fault => self.suffer(world, fault),
        }
    }

    fn suffer(&mut self, world: &World, fault: Action) {
        match fault {
            Action::Disconnect { late } => self.disconnect(world, late),
            Action::KillAgent => {
                self.agent.killed();
                self.disconnect(world, true);
            }
            Action::CutAgent { additions_survive, removals_survive } => {
                self.agent.power_cut(additions_survive, removals_survive);
                self.disconnect(world, true);
            }
            Action::WipeAgent => {
                self.agent.wiped();
                self.disconnect(world, true);
            }
            Action::DamageQueue(sequence) => self.agent.damaged(sequence),
            Action::KillGateway => {
                self.gateway.killed(world);
                self.disconnect(world, false);
            }
            Action::CutGateway(left) => {
                self.gateway.power_cut(world, left);
                self.disconnect(world, false);
            }
            Action::FailCommit(log) => {
                self.gateway.commit_failed(world, log);
                self.disconnect(world, false);
            }
            Action::DamageRecord(log, at) => self.gateway.damage_record(log, at),
            Action::DamageCheckpoint(log, at) => self.gateway.damage_checkpoint(log, at),
            _ => {}
        }
    }

    /// Reads the next batch; one whose channels nobody described waits first.
    fn read(&mut self, world: &World) {
        let described = !world.mute || self.uplink.unread().is_none_or(|flight| flight.batch.readings.is_empty());
        if described {
            self.decide(world);
        } else {
            self.uplink.waiting = true;
        }
    }

    fn decide(&mut self, world: &World) {
        let Some(batch) = self.uplink.unread().map(|flight| flight.batch) else { return };
        if let Some(needs) = self.gateway.decide(world, &batch) {
            self.uplink.in_flight[self.uplink.read].needs = needs;
            self.uplink.read += 1;
        }
    }

    fn disconnect(&mut self, world: &World, late: bool) {
        if world.breaks(Rule::ForgetInFlight) {
            let carried = self.uplink.carried();
            self.agent.shipped(&carried);
        }
        self.uplink.broken(late);
        self.agent.audited = false;
    }
}
