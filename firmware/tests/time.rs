//! Wall time by round trips.

mod support;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::{STEP, World, seeds};
use weir_firmware::Uptime;
use weir_firmware::clock::{MAX_ROUND_TRIP, ROUND, WallTime};
use weir_protocol::{Clock, Timestamp};

const WALL: i64 = 1_700_000_000_000_000;

#[test]
fn the_error_is_at_most_half_the_shortest_round_trip() {
    for seed in seeds(200) {
        println!("WEIR_SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut wall = WallTime::default();
        let mut now = 1_000_u64;
        assert_eq!(wall.stamp(Uptime(now)), (Timestamp(1_000), Clock::Uptime));
        let mut shortest = u64::MAX;
        for _ in 0..ROUND {
            now = now.max(wall.due().0);
            wall.asked(Uptime(now));
            let (up, down) = (random.random_range(0..200_000), random.random_range(0..200_000));
            let answered = now + up;
            let sent = now;
            now = answered + down;
            shortest = shortest.min(up + down);
            assert!(wall.answer(Uptime(now), sent, Timestamp(WALL + answered as i64)));
            assert!(!wall.answer(Uptime(now), sent, Timestamp(0)), "an answer counts once");
        }
        let (stamp, clock) = wall.stamp(Uptime(now));
        assert_eq!(clock, Clock::Synchronised);
        let error = (stamp.0 - WALL - now as i64).unsigned_abs();
        assert!(error <= shortest / 2 + 1, "off by {error} us, shortest round trip {shortest} us");
    }
}

#[test]
fn a_slow_or_foreign_answer_is_not_believed() {
    let mut wall = WallTime::default();
    wall.asked(Uptime(10));
    assert!(!wall.answer(Uptime(20), 11, Timestamp(WALL)), "another request");
    assert!(!wall.answer(Uptime(10 + MAX_ROUND_TRIP + 1), 10, Timestamp(WALL)), "too slow");
    assert_eq!(wall.stamp(Uptime(30)).1, Clock::Uptime);
}

#[test]
fn readings_say_uptime_until_the_first_answer_and_wall_time_after_it() {
    let mut world = World::new(1, 8);
    assert!(world.boot());
    world.plugged = false;
    world.run(20);
    world.plugged = true;
    world.run(400);
    world.drain();
    let restart = world.device().running().restart;
    let readings = &world.agent.restarts[&restart].readings;
    assert!(readings[&0].1.0 < 1_000_000, "sampled before anybody said the time");
    let (last, (_, stamp)) = readings.last_key_value().expect("readings");
    let sampled = stamp.0 - world.agent.wall;
    assert!(sampled > 0 && sampled <= world.now as i64 + STEP as i64, "sequence {last} at {sampled}");
}
