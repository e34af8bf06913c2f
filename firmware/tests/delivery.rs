//! From the sensor to the agent, over lines that lie and rings that overflow.

mod support;

use support::{Noise, STEP, World, seeds};
use weir_firmware::Event;
use weir_protocol::serial::Down;
use weir_protocol::serial::agent_to_device::Command;
use weir_protocol::serial::device_to_agent::{Outcome, Ring};
use weir_protocol::{Restart, Sequence};

const SECOND: u64 = 1_000_000 / STEP;

/// A device with its ring in flash, or in RAM.
fn world(seed: u64, in_flash: bool) -> World {
    let mut world = World::new(seed, 8);
    if in_flash {
        assert!(world.boot());
    } else {
        world.boot_in_ram();
    }
    world
}

#[test]
fn every_sample_arrives_over_a_line_that_drops_corrupts_repeats_and_truncates() {
    let (mut bad_frames, mut resends) = (0, 0);
    for seed in seeds(20) {
        for in_flash in [true, false] {
            let mut world = world(seed, in_flash);
            world.noise = Noise { drop: 10, corrupt: 10, duplicate: 10, truncate: 5 };
            world.run(20 * SECOND);
            world.noise = Noise::default();
            world.drain();
            world.check();
            let running = world.device().running();
            let intake = &world.agent.restarts[&running.restart];
            assert_eq!(intake.accepted, running.next.0);
            assert!(running.next.0 > 300, "it went on sampling: {running:?}");
            bad_frames += world.agent.bad_frames;
            resends += world.agent.resends;
            // With seed 69 several Hellos in a row are lost, and the ring in flash fills up during the silence.
            let (lost, evicted) =
                (intake.claimed.len(), world.device.as_ref().map(|d| d.counters().get(Event::Evicted)));
            assert!(Some(lost) <= evicted.map(u64::from), "lost without being evicted: {lost}, {evicted:?}");
        }
    }
    assert!(bad_frames > 0 && resends > 0, "the line was bad: {bad_frames} {resends}");
}

#[test]
fn an_unplugged_cable_costs_nothing_while_the_ring_has_room() {
    let mut world = world(1, true);
    world.run(SECOND);
    world.plugged = false;
    world.run(2 * SECOND);
    world.plugged = true;
    world.drain();
    world.check();
    let restart = world.device().running().restart;
    assert_eq!(world.agent.claims(restart), []);
}

#[test]
fn a_full_ring_loses_a_prefix_and_the_agent_claims_exactly_that() {
    for in_flash in [true, false] {
        let mut world = world(1, in_flash);
        world.run(SECOND / 10);
        // A RAM ring waits for its number first.
        let restart = world.device().running().restart;
        assert_ne!(restart, Restart::UNBOUND);
        world.plugged = false;
        world.run(10 * SECOND);
        let held = world.device().running();
        let before = world.agent.restarts[&restart].accepted;
        assert!(held.base.0 > before, "the ring is small");
        assert_eq!(u64::from(world.device().counters().get(Event::Evicted)), held.base.0 - before);
        world.plugged = true;
        world.drain();
        world.check();
        let claims = world.agent.claims(restart);
        assert!(claims.len() == 1 && claims[0].start == before && claims[0].end >= held.base.0, "{claims:?}");
    }
}

#[test]
fn without_credit_nothing_is_sent_and_the_agent_still_learns_what_was_evicted() {
    for in_flash in [true, false] {
        let mut world = world(1, in_flash);
        world.agent.ahead = 0;
        // That nothing is sent past the credit is checked by the agent, at each frame.
        world.run(15 * SECOND);
        let running = world.device().running();
        let intake = &world.agent.restarts[&running.restart];
        assert!(running.base.0 > 0 && intake.readings.is_empty());
        assert!(intake.next + 200 > running.next.0, "reported within some seconds: {} {running:?}", intake.next);
        assert!(intake.accepted > 0, "the evicted prefix was claimed meanwhile");
        world.agent.ahead = 7;
        world.drain();
        world.check();
    }
}

#[test]
fn a_frame_that_was_lost_is_sent_again_as_soon_as_the_agent_asks() {
    let mut world = world(1, true);
    world.run(SECOND);
    // The agent's answers do not arrive for a moment, so that several frames are in flight.
    world.noise.drop = 100;
    world.run(SECOND / 5);
    world.noise.drop = 0;
    let restart = world.device().running().restart;
    let accepted = world.agent.restarts[&restart].accepted;
    let silences = world.device().counters().get(Event::Silence);
    world.say(Down::Resend { restart, from: Sequence(accepted) });
    world.run(10);
    assert_eq!(world.device().counters().get(Event::Resend), 1);
    assert_eq!(world.device().counters().get(Event::Silence), silences);
    assert!(world.agent.restarts[&restart].accepted > accepted);
}

#[test]
fn an_acknowledgement_counts_only_for_what_is_held() {
    for in_flash in [true, false] {
        let mut world = world(1, in_flash);
        world.agent.ahead = 0;
        world.run(SECOND / 4);
        let held = world.device().running();
        for (restart, accepted) in [(held.restart, held.next.0 + 100), (Restart(77), 3), (held.restart, 0)] {
            world.say(Down::Ack { restart, accepted: Sequence(accepted) });
        }
        world.step();
        assert_eq!(world.device().counters().get(Event::AckIgnored), 3);
        assert_eq!(world.device().running().base, held.base);
        world.say(Down::Ack { restart: held.restart, accepted: Sequence(3) });
        world.step();
        assert_eq!(world.device().running().base, Sequence(3));
    }
}

#[test]
fn a_board_without_flash_waits_for_the_number_of_its_restart() {
    let mut world = World::new(1, 8);
    world.plugged = false;
    world.boot_in_ram();
    world.run(SECOND / 10);
    assert_eq!(world.device().running().restart, Restart::UNBOUND);
    assert!(world.device().running().next.0 > 0, "it samples meanwhile");
    world.plugged = true;
    world.drain();
    world.check();
    assert_eq!(world.agent.ring, Some(Ring::Volatile));
    let first = world.device().running().restart;
    assert_eq!(first, Restart::from_agent(1));
    // A second number is not taken.
    world.say(Down::AssignRestart { restart: Restart::from_agent(9) });
    world.run(2);
    assert_eq!(world.device().running().restart, first);
}

#[test]
fn a_missing_sensor_is_counted_and_tried_again_and_stops_nothing_else() {
    let mut world = world(1, true);
    world.sensor.unplugged.set(true);
    world.run(3 * SECOND);
    assert!(world.device().counters().get(Event::SensorMissing) > 10);
    assert_eq!(world.device().running().next, Sequence(0));
    assert!(!world.agent.last_hello.is_empty(), "it said Hello");
    world.sensor.unplugged.set(false);
    world.run(SECOND);
    assert!(world.device().running().next.0 >= 90);
    world.drain();
    world.check();
}

#[test]
fn a_failure_is_tried_again_in_a_second_and_not_all_the_time() {
    for interval in [0, 3_600_000_000] {
        let mut world = World::new(1, 8);
        world.interval = interval;
        world.sensor.unplugged.set(true);
        assert!(world.boot());
        world.run(7 * SECOND / 2);
        assert_eq!(world.device().counters().get(Event::SensorMissing), 4);
        world.sensor.unplugged.set(false);
        world.run(SECOND);
        assert!(world.device().running().next.0 > 0);
    }
}

#[test]
fn commands_are_carried_out_and_answered() {
    let mut world = world(1, true);
    world.say(Down::Configure { id: 1, interval_ms: 3_600_000 });
    world.say(Down::Configure { id: 2, interval_ms: 0 });
    world.run(5);
    let before = world.device().running().next;
    world.say(Down::Command { id: 3, command: Command::Sample });
    world.run(5);
    assert_eq!(world.device().running().next.0, before.0 + 2);
    world.sensor.unplugged.set(true);
    world.say(Down::Command { id: 4, command: Command::Sample });
    world.say(Down::Command { id: 5, command: Command::Identify });
    world.run(5);
    world.say(Down::Command { id: 6, command: Command::Reboot });
    world.run(5);
    let outcomes: Vec<_> = world.agent.results.iter().map(|result| (result.id, result.outcome)).collect();
    let expected = [Outcome::Done, Outcome::OutOfRange, Outcome::Done, Outcome::Failed, Outcome::Done, Outcome::Done];
    assert_eq!(outcomes, (1..).zip(expected).collect::<Vec<_>>());
    assert_eq!(world.requests, [weir_firmware::Request::Identify, weir_firmware::Request::Reboot]);
}

#[test]
fn a_description_is_given_to_who_asks_for_it() {
    let mut world = world(1, true);
    world.run(2);
    let schema = world.agent.last_hello[0].schema;
    world.say(Down::DescribeRequest { schema });
    world.say(Down::DescribeRequest { schema: weir_protocol::SchemaHash(schema.0 ^ 1) });
    world.run(5);
    assert_eq!(world.agent.described, 1);
}
