//! What must hold in every state, and at rest.

use crate::gateway::log::{Record, union};
use crate::gateway::{DEAD, LOSSES, READINGS};
use crate::sequences::Set;
use crate::state::State;
use crate::world::{Policy, World};

/// Something that must hold.
pub(crate) struct Property {
    pub(crate) name: &'static str,
    pub(crate) holds: fn(&World, &State) -> bool,
}

/// All of them.
pub(crate) const PROPERTIES: [Property; 10] = [
    Property { name: "a sequence has one reading, one dead letter, one loss at most", holds: once },
    Property { name: "heals stands exactly where an earlier verdict exists", holds: heals },
    Property { name: "no promise of the gateway is broken", holds: promises },
    Property { name: "no sequence is an orphan", holds: no_orphan },
    Property { name: "what was acknowledged is lost only if something else accounts for it", holds: ledger },
    Property { name: "sent in order, first readings are logged in order", holds: ordered },
    Property { name: "an agent that blocks drops nothing", holds: block },
    Property { name: "one bad checkpoint costs no history", holds: one_bad_checkpoint },
    Property {
        name: "at rest every sample is stored, dead-lettered or counted lost, and sums are exact",
        holds: conserved,
    },
    Property { name: "at rest what was kept is not lost", holds: kept },
];

/// Whether nothing is in flight and nothing is left to do.
pub(crate) fn at_rest(world: &World, state: &State) -> bool {
    let State { device, agent, uplink, gateway, .. } = state;
    let held = agent.written.readings | agent.durable.readings | agent.written.claims | agent.durable.claims;
    device.next == world.sequences
        && device.holds().is_empty()
        && held.is_empty()
        && agent.durable.reach.is_some_and(|reach| reach.accepted == device.next)
        && agent.audited
        && uplink.in_flight.is_empty()
        && uplink.late.is_none()
        && gateway.logs.iter().all(|log| log.synced == log.end())
        && (0..3).all(|log| state.gateway.damaged.is_empty() || !gateway.may_checkpoint(world, log))
        && gateway.unaccounted_damage(world).is_empty()
}

/// A repeat in the log is what identities exist to prevent. Losses are counted once as long as their history is known.
fn once(_: &World, state: &State) -> bool {
    let mut seen = [Set::EMPTY; 3];
    state.gateway.records().all(|record| {
        let (log, said) = match record {
            Record::Reading { sequence, .. } => (READINGS, Set::of(*sequence)),
            Record::Dead { sequence, .. } => (DEAD, Set::of(*sequence)),
            Record::Loss(set) => (LOSSES, *set),
            Record::Damaged(_) => return true,
        };
        let repeated = seen[log].meets(said);
        seen[log] |= said;
        !repeated || (log != READINGS && lost_history(state))
    })
}

/// Whether a verdict may have been forgotten: not by one fault alone.
fn lost_history(state: &State) -> bool {
    state.gateway.bad_checkpoints > 1
}

fn heals(_: &World, state: &State) -> bool {
    if !state.gateway.damaged.is_empty() || lost_history(state) {
        return true;
    }
    let on_disk = |log: usize| union(state.gateway.logs[log].on_disk(), Record::sequences);
    let (dead, lost) = (on_disk(DEAD), on_disk(LOSSES));
    state.gateway.synced_records().all(|record| match *record {
        Record::Reading { sequence, heals } => heals == (dead | lost).contains(sequence),
        Record::Dead { sequence, heals } => heals == lost.contains(sequence),
        Record::Loss(_) | Record::Damaged(_) => true,
    })
}

fn promises(_: &World, state: &State) -> bool {
    state.gateway.broken_promise.is_none()
}

/// Every sequence is at the device, on its way as an eviction, durable at the agent, or on the gateway's disk.
/// What a fault destroyed is excused; the account of that is due at rest.
fn no_orphan(_: &World, state: &State) -> bool {
    let State { device, agent, gateway, .. } = state;
    let unseen = Set::range(crate::agent::Agent::accepted(&agent.durable)..device.base) & device.evicted;
    let durable = (agent.durable.readings & agent.written.readings) | (agent.durable.claims & agent.written.claims);
    let safe = device.holds() | unseen | durable | gateway.on_disk() | agent.destroyed;
    safe.contains_all(Set::range(0..device.next))
}

/// The ring evicted it first, the policy dropped it, a fault destroyed it, or a coarse claim covers it for a while.
fn ledger(_: &World, state: &State) -> bool {
    let State { device, agent, gateway, .. } = state;
    let lost = gateway.known[LOSSES] - gateway.known[READINGS];
    let accounted = device.evicted | agent.dropped | agent.destroyed | agent.coarsened | gateway.damaged;
    accounted.contains_all(lost) || lost_history(state)
}

/// What heals comes late by nature; so does what is sent again because a fault destroyed it.
fn ordered(world: &World, state: &State) -> bool {
    let first = |record: &Record| match *record {
        Record::Reading { sequence, heals: false } => Some(sequence),
        _ => None,
    };
    let destroyed = state.gateway.damaged | state.agent.destroyed;
    let excused = !world.in_order || !destroyed.is_empty() || lost_history(state);
    excused || state.gateway.logs[READINGS].records.iter().filter_map(first).is_sorted()
}

fn block(world: &World, state: &State) -> bool {
    world.policy != Policy::Block || state.agent.dropped.is_empty()
}

fn one_bad_checkpoint(_: &World, state: &State) -> bool {
    state.gateway.floor == 0 || lost_history(state)
}

fn conserved(world: &World, state: &State) -> bool {
    if !at_rest(world, state) {
        return true;
    }
    let gateway = &state.gateway;
    let deleted = gateway
        .logs
        .iter()
        .fold(Set::EMPTY, |all, log| all | union(&log.records[..log.start as usize], Record::sequences));
    let covered = gateway.readable() | deleted;
    let sum = |record: &Record| match *record {
        Record::Reading { heals, .. } | Record::Dead { heals, .. } => 1 - i32::from(heals),
        Record::Loss(set) => i32::from(set.len()),
        Record::Damaged(_) => 0,
    };
    let total: i32 = gateway.records().map(sum).sum();
    let exact = gateway.damaged.is_empty() && !lost_history(state);
    covered == Set::range(0..world.sequences) && (!exact || total == i32::from(world.sequences))
}

/// A coarse claim heals, and a position costs nothing that was there.
fn kept(world: &World, state: &State) -> bool {
    let State { device, agent, gateway, .. } = state;
    let lost = gateway.known[LOSSES] - gateway.known[READINGS] - gateway.known[DEAD];
    let accounted = device.evicted | agent.dropped | agent.destroyed | gateway.damaged;
    !at_rest(world, state) || accounted.contains_all(lost) || lost_history(state)
}
