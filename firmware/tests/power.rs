//! Power cuts, restarts, clones: what survives, and under which number.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use support::flash::PAGE;
use support::{STEP, World, seeds};
use weir_firmware::Event;
use weir_firmware::ring::MAX_RESTARTS;
use weir_protocol::{Restart, Sequence};

const SECOND: u64 = 1_000_000 / STEP;

/// The story of one cut: some lives, the power failing after `fuel` units of flash work in the second one,
/// then everything is delivered. Returns false when the fuel was enough for the whole life.
fn survives_a_cut(seed: u64, fuel: u64, plugged: bool) -> bool {
    let mut world = World::new(seed, 3);
    assert!(world.boot());
    world.plugged = plugged;
    world.run(SECOND / 2);
    let first = world.device().running();

    world.device = None;
    world.last = None;
    world.flash.cut_after(fuel);
    if world.boot() {
        world.run(3 * SECOND / 2);
    }
    let cut = !world.flash.is_powered();
    let second = world.last;
    world.flash.power_on();

    assert!(world.boot(), "after a cut at {fuel} the device starts");
    let held = world.device().held().to_vec();
    let numbers: BTreeSet<Restart> = held.iter().map(|held| held.restart).chain([first.restart]).collect();
    assert!(numbers.len() >= held.len(), "no restart is listed twice: {held:?}");
    assert_ne!(world.device().running().restart, first.restart);
    for (before, now) in [Some(first), second].iter().flatten().flat_map(|b| held.iter().map(move |h| (b, h))) {
        if before.restart == now.restart {
            assert!(now.next == before.next || now.next.0 == before.next.0 + 2, "cut at {fuel}: {before:?} {now:?}");
        }
    }
    world.plugged = true;
    world.run(SECOND);
    world.drain();
    world.check();
    // Whatever was sampled in any life is at the agent, as a reading or as a loss.
    for before in [Some(first), second].into_iter().flatten().filter(|before| before.next.0 > 0) {
        let accepted = world.agent.restarts.get(&before.restart).map_or(0, |intake| intake.accepted);
        assert!(accepted >= before.next.0, "cut at {fuel}: {before:?} was accepted up to {accepted}");
    }
    cut
}

#[test]
fn a_power_cut_at_any_flash_operation_loses_nothing_and_reuses_nothing() {
    // Every count up to the first samples, then every 37th: each kind of operation is hit at many places.
    for plugged in [false, true] {
        let mut fuel = 0;
        while survives_a_cut(1, fuel, plugged) {
            fuel += if fuel < 150 { 1 } else { 37 };
        }
        assert!(fuel > 1500, "the second life used the flash: {fuel}");
    }
}

#[test]
fn many_lives_with_cuts_at_random() {
    for seed in seeds(10) {
        let mut world = World::new(seed, 4);
        let mut lives = BTreeMap::new();
        for life in 0..30 {
            world.flash.cut_after((seed * 7919 + life * 613) % 2500);
            // Now and then the agent is away for a whole life.
            world.plugged = life % 3 != 0;
            if world.boot() {
                let restart = world.device().running().restart;
                assert!(!lives.contains_key(&restart), "restart {restart} came twice");
                world.run(2 * SECOND);
                lives.insert(restart, world.last.map_or(0, |running| running.next.0));
            }
            world.last = None;
            world.device = None;
            world.flash.power_on();
        }
        assert!(world.boot());
        world.plugged = true;
        world.run(SECOND);
        world.drain();
        world.check();
        for (restart, next) in lives {
            let accepted = world.agent.restarts.get(&restart).map_or(0, |intake| intake.accepted);
            assert!(accepted >= next, "{restart} sampled up to {next}, accepted up to {accepted}");
        }
    }
}

#[test]
fn the_oldest_restart_is_sent_first_and_stays_until_all_of_it_is_accepted() {
    let mut world = World::new(1, 8);
    world.plugged = false;
    let mut restarts = Vec::new();
    for _ in 0..4 {
        assert!(world.boot());
        world.run(SECOND / 5);
        restarts.push(world.device().running());
    }
    let held = world.device().held().to_vec();
    assert_eq!(held.len(), 4);
    assert_eq!(held, restarts, "each with its exact base and next");
    world.plugged = true;
    world.drain();
    world.check();
    assert_eq!(world.agent.order, restarts.iter().map(|held| held.restart).collect::<Vec<_>>());
    assert_eq!(world.agent.last_hello.len(), 1, "what is accepted is no longer listed");
}

#[test]
fn an_ended_restart_that_was_evicted_is_still_reported_with_its_end() {
    let mut world = World::new(1, 3);
    world.plugged = false;
    assert!(world.boot());
    world.run(SECOND / 10);
    let ended = world.device().running();
    for _ in 0..2 {
        assert!(world.boot());
        world.run(5 * SECOND);
    }
    let listed = world.device().held()[0];
    assert_eq!((listed.restart, listed.base, listed.next), (ended.restart, ended.next, ended.next));
    world.plugged = true;
    world.drain();
    world.check();
    let claims = world.agent.claims(ended.restart);
    assert_eq!((claims.len(), &claims[0]), (1, &(0..ended.next.0)));
}

#[test]
fn too_many_unaccepted_restarts_stop_the_sampling_and_not_the_counting() {
    let mut world = World::new(1, 16);
    world.plugged = false;
    for life in 0..MAX_RESTARTS + 3 {
        assert!(world.boot());
        world.run(10);
        let sampled = world.device().running().next.0 > 0;
        assert_eq!(sampled, life < MAX_RESTARTS - 1, "life {life}");
    }
    assert!(world.device().counters().get(Event::TooManyRestarts) > 0);
    assert_eq!(world.device().held().len(), MAX_RESTARTS);
    world.plugged = true;
    world.run(5 * SECOND);
    assert!(world.device().running().next.0 > 0, "it samples again");
    world.drain();
    world.check();
    assert_eq!(world.agent.restarts.values().filter(|intake| intake.accepted > 0).count(), MAX_RESTARTS);
}

#[test]
fn clones_of_one_flash_do_not_share_a_restart() {
    let mut original = World::new(1, 4);
    assert!(original.boot());
    original.run(SECOND / 2);
    let mut clone = World::new(2, 4);
    clone.flash = original.flash.clone_chip();
    let mut worlds = [original, clone];
    let mut restarts = BTreeSet::new();
    for turn in 0..6 {
        let world = &mut worlds[turn % 2];
        assert!(world.boot());
        world.run(SECOND / 10);
        assert!(restarts.insert(world.device().running().restart));
    }
}

#[test]
fn one_flipped_bit_costs_its_sample_and_nothing_else() {
    let mut world = World::new(1, 4);
    assert!(world.boot());
    world.plugged = false;
    world.run(SECOND / 2);
    let before = world.device().running();
    // Somewhere in the samples of the first page of the ring.
    world.flash.flip(2 * PAGE + 500, 3);
    world.plugged = true;
    world.drain();
    world.check();
    let claims = world.agent.claims(before.restart);
    assert!(claims.len() == 1 && claims[0].end - claims[0].start == 2, "{claims:?}");
    assert_eq!(world.device().counters().get(Event::Hole), 1);
    assert!(world.agent.restarts[&before.restart].accepted >= before.next.0);
}

#[test]
fn a_damaged_boot_record_does_not_bring_back_a_number() {
    let mut world = World::new(1, 4);
    world.plugged = false;
    let mut restarts = BTreeSet::new();
    for _ in 0..3 {
        assert!(world.boot());
        world.run(SECOND / 10);
        restarts.insert(world.device().running().restart);
    }
    let held = world.device().held().len();
    // Every byte of the boot records; what is erased stays so.
    let programmed = world.flash.content().into_iter().take(2 * PAGE).enumerate().filter(|(_, cell)| *cell != 0xff);
    programmed.for_each(|(at, _)| world.flash.flip(at, (at % 8) as u8));
    world.device = None;
    assert!(world.boot());
    let running = world.device().running().restart;
    assert!(!restarts.contains(&running));
    assert!(restarts.iter().all(|restart| restart.boot() < running.boot()));
    assert_eq!(world.device().held().len(), held + 1, "samples say whose they are");
    world.plugged = true;
    world.drain();
    world.check();
}

#[test]
fn an_acknowledged_sample_does_not_come_back() {
    let mut world = World::new(1, 4);
    assert!(world.boot());
    world.run(SECOND);
    world.drain();
    let before = world.device().running();
    assert!(before.next > Sequence(0));
    assert!(world.boot());
    assert_eq!(world.device().held().len(), 1, "an accepted restart is gone: {:?}", world.device().held());
}
