//! What a seed stands for: who there is, how each is set up, and what may happen to it.
//!
//! A world with everything that can go wrong at once is always the same world. So a seed first chooses which kinds of faults
//! there are in its world at all (swarm testing: Groce and others, 2012), and how often.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::time::Duration;
use weir_agent::queue::Policy;
use weir_protocol::DeviceId;

use crate::agent::AgentPlan;
use crate::board::BoardPlan;
use crate::cable::Noise;
use crate::gateway::GatewayPlan;

/// Bytes of a queue that fills up while the gateway is away.
const SMALL: u64 = 20 << 10;

/// The pace of a disk that is well.
pub(crate) const QUICK: f64 = 0.6;

/// Kinds of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// A cable is pulled out and put back.
    Unplug,
    /// A board loses its power.
    BoardPower,
    /// An agent is killed.
    AgentKill,
    /// An agent loses its power, often while it writes.
    AgentPower,
    /// A write or a sync of an agent's disk fails.
    AgentDisk,
    /// An agent's disk is full for a while.
    AgentFull,
    /// A connection is cut, at one end or at both.
    Cut,
    /// The network says nothing for a while.
    Silence,
    /// The gateway is killed.
    GatewayKill,
    /// The gateway loses its power, often while it writes.
    GatewayPower,
    /// A write or a sync of the gateway's disk fails.
    GatewayDisk,
    /// The gateway's disk is full for a while.
    GatewayFull,
    /// Retention takes old segments.
    Retention,
    /// A wall clock jumps.
    Clock,
    /// An agent starts with another policy for its queue.
    Reconfigure,
    /// A bit of an agent's queue flips.
    AgentBits,
    /// A bit of the gateway's log flips.
    GatewayBits,
}

impl Trouble {
    /// All that leave what is on disk as it was written.
    const ALL: [Self; 15] = [
        Self::Unplug,
        Self::BoardPower,
        Self::AgentKill,
        Self::AgentPower,
        Self::AgentDisk,
        Self::AgentFull,
        Self::Cut,
        Self::Silence,
        Self::GatewayKill,
        Self::GatewayPower,
        Self::GatewayDisk,
        Self::GatewayFull,
        Self::Retention,
        Self::Clock,
        Self::Reconfigure,
    ];
}

/// A world.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Each agent, and its boards.
    pub(crate) agents: Vec<(AgentPlan, Vec<BoardPlan>)>,
    pub(crate) gateway: GatewayPlan,
    pub(crate) noise: Noise,
    /// What there is, and how many microseconds lie between two of it on average.
    pub(crate) troubles: Vec<(Trouble, u64)>,
    /// How long there is trouble, in microseconds.
    pub(crate) lasts: u64,
    /// The longest delay of a packet, in microseconds.
    pub(crate) delay: u64,
}

impl Plan {
    /// The world of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed ^ 0x5eed_0f70_0012_3456);
        let mut agents: Vec<_> = (0..random.random_range(1..=2)).map(|agent| agent_plan(agent, &mut random)).collect();
        let segment_bytes = *[1 << 10, 4 << 10, 64 << 10].choose(&mut random).unwrap_or(&4096);
        let mut troubles: Vec<_> = Trouble::ALL
            .into_iter()
            .filter(|_| random.random_bool(0.45))
            .collect::<Vec<_>>()
            .into_iter()
            .map(|trouble| (trouble, random.random_range(1_000_000..6_000_000)))
            .collect();
        let retains = troubles.iter().any(|(trouble, _)| *trouble == Trouble::Retention);
        let mut gateway = GatewayPlan {
            partitions: random.random_range(1..=3),
            segment_bytes,
            pace: QUICK,
            with_journal: random.random(),
            keeps: retains.then_some(segment_bytes * 4),
            receive_maximum: random.random_range(3..=20),
        };
        let noise = if random.random_bool(0.5) {
            let mut percent = || random.random_range(0..8);
            Noise { drop: percent(), corrupt: percent(), duplicate: percent(), truncate: percent() }
        } else {
            Noise::default()
        };
        let lasts = random.random_range(8_000_000..30_000_000);
        let delay = *[1_000, 20_000, 300_000].choose(&mut random).unwrap_or(&1_000);
        agents.iter_mut().for_each(|(agent, _)| agent.pace = pace(&mut random));
        gateway.pace = pace(&mut random);
        if random.random_bool(0.2) {
            troubles.push((Trouble::AgentBits, random.random_range(1_000_000..6_000_000)));
            agents.iter_mut().for_each(make_spoilable);
        }
        if random.random_bool(0.2) {
            troubles.push((Trouble::GatewayBits, random.random_range(1_000_000..6_000_000)));
            // Consumers read each record once, at the end: what was there before its bit flipped would be there twice
            // when it is delivered again.
            troubles.retain(|(trouble, _)| *trouble != Trouble::Retention);
            (gateway.segment_bytes, gateway.keeps) = (1 << 10, None);
        }
        Self { agents, gateway, noise, troubles, lasts, delay }
    }
}

fn agent_plan(agent: usize, random: &mut StdRng) -> (AgentPlan, Vec<BoardPlan>) {
    let boards: Vec<_> = (0..random.random_range(1..=2)).map(|board| board_plan(agent, board, random)).collect();
    // Mostly enough for everything, else so little that it fills up while the gateway is away.
    let cap = if random.random_bool(0.7) { 4 << 20 } else { SMALL };
    let plan = AgentPlan {
        name: format!("agent-{agent}"),
        boards: boards.len(),
        cap,
        policy: policy(random),
        window: random.random_range(3..=16),
        pace: QUICK,
        batch_bytes: *[500, 4_000, 64_000].choose(random).unwrap_or(&4_000),
        checkpoint: Duration::from_millis(random.random_range(300..5_000)),
    };
    (plan, boards)
}

/// How likely a disk is done with a step of a commit within 10 ms: mostly soon, else only after a second or so.
fn pace(random: &mut StdRng) -> f64 {
    if random.random_bool(0.8) { QUICK } else { 0.02 }
}

/// A queue so small that it has closed segments, and boards whose restarts end by what they say themselves: that a ring
/// in RAM is gone is one record, and if that one is damaged nobody is left who knows.
fn make_spoilable((agent, boards): &mut (AgentPlan, Vec<BoardPlan>)) {
    agent.cap = SMALL;
    boards.iter_mut().for_each(|board| board.pages = board.pages.or(Some(8)));
}

/// What a queue does when it is full.
pub(crate) fn policy(random: &mut StdRng) -> Policy {
    match random.random_range(0..4) {
        0 => Policy::DropOldest,
        1 => Policy::DropNewest,
        _ => Policy::Block,
    }
}

fn board_plan(agent: usize, board: usize, random: &mut StdRng) -> BoardPlan {
    let name = format!("board-{agent}-{board}");
    BoardPlan {
        name: DeviceId::new(&name).unwrap_or_else(|error| panic!("{name}: {error}")),
        pages: random.random_bool(0.75).then(|| random.random_range(4..12)),
        interval: random.random_range(20_000..150_000),
    }
}
