//! What goes wrong in a world, when, and how badly: all by its seed.

use rand::Rng;
use weir_storage::fs::Fault;

use crate::network::Cut;
use crate::plan::{self, Trouble};
use crate::world::{Dying, Machine, STEP, World};

impl World {
    /// What goes wrong now, if anything.
    pub(crate) async fn trouble(&mut self) {
        for (trouble, every) in self.plan.troubles.clone() {
            if self.random.random_ratio(STEP as u32, every as u32) {
                self.trace.note("trouble:", 0, &[], || format!("{trouble:?}"));
                self.cause(trouble).await;
            }
        }
    }

    async fn cause(&mut self, trouble: Trouble) {
        let agent = Machine::Agent(self.random.random_range(0..self.agents.len()));
        match trouble {
            Trouble::Unplug => {
                let place = self.random.random_range(0..self.places.len());
                let back_at = self.now + self.random.random_range(50_000..4_000_000);
                let place = &mut self.places[place];
                (place.cable.plugged, place.plugged_at) = (false, Some(back_at));
            }
            Trouble::BoardPower => {
                let place = self.random.random_range(0..self.places.len());
                let (fuel, pause) = (self.random.random_range(0..2_000), self.random.random_range(0..2_000_000));
                self.places[place].board.cut_power(fuel, self.now + pause);
            }
            Trouble::AgentKill if self.is_on(agent) => self.kill(agent).await,
            Trouble::GatewayKill if self.is_on(Machine::Gateway) => self.kill(Machine::Gateway).await,
            Trouble::AgentPower => self.lose_power(agent).await,
            Trouble::GatewayPower => self.lose_power(Machine::Gateway).await,
            Trouble::AgentDisk => self.fail(agent),
            Trouble::GatewayDisk => self.fail(Machine::Gateway),
            Trouble::AgentFull => self.fill(agent),
            Trouble::GatewayFull => self.fill(Machine::Gateway),
            Trouble::Cut => {
                let cut = [Cut::Both, Cut::AgentOnly, Cut::GatewayOnly][self.random.random_range(0..3)];
                self.network.cut(cut, self.host.life.as_mut(), self.now, &mut self.random);
            }
            Trouble::Silence => {
                let until = self.now + self.random.random_range(100_000..7_000_000);
                self.network.fall_silent(until);
            }
            Trouble::Retention => self.retain(),
            Trouble::Clock => {
                let day = 86_400_000_000_i64;
                let jump = self.random.random_range(-400 * day..400 * day);
                let clocks = self.agents.len() + 1;
                match self.random.random_range(0..clocks) {
                    0 => self.host.clock.jump(jump),
                    at => self.agents[at - 1].clock.jump(jump),
                }
            }
            Trouble::Reconfigure => {
                if let Machine::Agent(at) = agent
                    && self.is_on(agent)
                {
                    self.agents[at].plan.policy = plan::policy(&mut self.random);
                    self.kill(agent).await;
                }
            }
            Trouble::AgentBits => self.spoil(agent).await,
            Trouble::GatewayBits => self.spoil(Machine::Gateway).await,
            Trouble::AgentKill | Trouble::GatewayKill => {}
        }
    }

    /// The power goes: now, or somewhere in what is written next.
    async fn lose_power(&mut self, machine: Machine) {
        if !self.is_on(machine) {
            return;
        }
        if self.random.random_bool(0.4) {
            return self.cut_power(machine).await;
        }
        let operations = self.random.random_range(0..12);
        self.disk(machine).fail_power_after(operations);
        let at = self.now + self.random.random_range(STEP..60 * STEP);
        self.dying.push(Dying { machine, at });
    }

    /// A bit flips, and is met by who reads it, or by the next start.
    async fn spoil(&mut self, machine: Machine) {
        let spoilt = match machine {
            Machine::Agent(at) => self.agents[at].spoil(&mut self.random),
            Machine::Gateway => self.host.spoil(&mut self.random),
        };
        let Some(spoilt) = spoilt else { return };
        self.trace.note("bit flips:", 0, &[], || format!("{machine:?} {spoilt:?}"));
        self.judge.spoilt(spoilt);
        if self.is_on(machine) && self.random.random() {
            self.kill(machine).await;
        }
    }

    fn fail(&mut self, machine: Machine) {
        let faults = [Fault::Sync, Fault::Write, Fault::SetLen, Fault::SyncDir, Fault::Name];
        let fault = faults[self.random.random_range(0..faults.len())];
        let passing = self.random.random_range(0..6);
        self.disk(machine).fail_after(fault, passing);
    }

    fn fill(&mut self, machine: Machine) {
        let free = self.random.random_range(0..20_000);
        let until = self.now + self.random.random_range(100_000..3_000_000);
        let disk = self.disk(machine);
        disk.set_capacity(Some(disk.used_bytes() + free));
        self.full.push((machine, until));
    }
}
