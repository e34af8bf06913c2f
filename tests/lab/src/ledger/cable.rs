//! What passes on a serial cable. Only Hello names the device, so what came before it waits here.

use std::collections::BTreeMap;

use weir_protocol::identity::{DeviceId, Restart};
use weir_protocol::serial::device_to_agent::Ring;
use weir_protocol::serial::{Down, Up};

use super::timing::Stopwatch;
use super::{Facts, Ledger};

/// What the ledger sees of one serial cable.
#[derive(Debug)]
pub struct Cable {
    ledger: Ledger,
    device: Option<DeviceId>,
    early: BTreeMap<Restart, Facts>,
    stopwatch: Option<Stopwatch>,
}

/// Restarts that may be heard of on a cable before its device is.
const EARLY: usize = 64;

impl Cable {
    /// Nothing passed yet.
    pub(super) fn new(ledger: Ledger, stopwatch: Option<Stopwatch>) -> Self {
        Self { ledger, device: None, early: BTreeMap::new(), stopwatch }
    }

    /// A message of the device passed.
    pub fn up(&mut self, message: &Up<'_>) {
        match message {
            Up::Hello(hello) => {
                self.meet(hello.device);
                let durable = hello.ring == Ring::Durable;
                let held: Vec<_> = hello.held.iter().filter_map(Result::ok).map(|held| held.restart).collect();
                if !durable {
                    self.ledger.holds_only(hello.device, &held);
                }
                for held in hello.held.iter().filter_map(Result::ok) {
                    self.note(held.restart, |facts| {
                        facts.durable |= durable;
                        facts.held(held.base.0, held.next.0);
                    });
                }
            }
            Up::Readings(run) => {
                if let Some(stopwatch) = &mut self.stopwatch {
                    stopwatch.sent(run);
                }
                self.note(run.restart, |facts| facts.held(run.base.0, run.next.0));
                let end = run.first.0 + run.readings.iter().count() as u64;
                match self.device {
                    Some(device) if run.restart != Restart::UNBOUND => self.ledger.sends((device, run.restart), end),
                    _ => self.note(run.restart, |facts| facts.sends(end)),
                }
            }
            Up::Describe(_) | Up::TimeRequest { .. } | Up::CommandResult(_) => {}
        }
    }

    /// A message of the agent passed.
    pub fn down(&mut self, message: &Down) {
        if let Down::Ack { restart, accepted } = message {
            self.note(*restart, |facts| facts.agent_acked(accepted.0));
            if let Some(stopwatch) = &mut self.stopwatch {
                stopwatch.acknowledged(*restart, accepted.0);
            }
            self.ledger.promises.agent.send_modify(|n| *n += 1);
        }
    }

    fn meet(&mut self, device: DeviceId) {
        self.device = Some(device);
        for (restart, early) in std::mem::take(&mut self.early) {
            self.ledger.note((device, restart), |facts| facts.merge(&early));
            self.ledger.behind().insert((device, restart));
        }
    }

    fn note(&mut self, restart: Restart, what: impl FnOnce(&mut Facts)) {
        match self.device {
            Some(device) => self.ledger.note((device, restart), what),
            None if self.early.len() < EARLY || self.early.contains_key(&restart) => {
                what(self.early.entry(restart).or_default());
            }
            None => {}
        }
    }
}
