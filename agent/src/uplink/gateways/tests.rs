use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::Instant;
use weir_protocol::AgentId;

use super::*;
use crate::config::{Address, Mqtt};

const MINUTE: Duration = Duration::from_secs(60);
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

fn three(now: Instant) -> Gateways {
    of(&["a", "b", "c"], now)
}

fn of(names: &[&str], now: Instant) -> Gateways {
    let agent = AgentId::new("edge-1").expect("a name");
    let gateway = |name: &&str| Gateway {
        endpoint: Endpoint {
            address: Address { host: (*name).to_owned(), ..Address::default() },
            version: Mqtt::V5,
            proxy: None,
        },
        credentials: Credentials::none(agent),
        retain: true,
    };
    let order = Order { failures: 3, return_after: 10 * MINUTE, backoff: (SHORTEST, LONGEST) };
    Gateways::new(names.iter().map(gateway).collect(), order, StdRng::seed_from_u64(1), now)
}

fn used(gateways: &mut Gateways) -> String {
    gateways.current().endpoint.address.host.clone()
}

/// Connects and fails, so often; the moment after that.
fn fails(gateways: &mut Gateways, times: u32, mut now: Instant) -> Instant {
    for _ in 0..times {
        now = now.max(gateways.choose(now));
        gateways.tried();
        gateways.failed(false, now);
    }
    now
}

fn states(gateways: &Gateways) -> Vec<&'static str> {
    gateways.states().map(|(_, state, _)| state.as_str()).collect()
}

#[test]
fn a_gateway_is_left_after_failures_in_a_row_and_not_before() {
    let mut now = Instant::now();
    let mut gateways = three(now);
    now = fails(&mut gateways, 2, now);
    gateways.choose(now);
    assert_eq!(used(&mut gateways), "a");
    gateways.worked();
    now = fails(&mut gateways, 2, now);
    gateways.choose(now);
    assert_eq!((used(&mut gateways).as_str(), states(&gateways)), ("a", vec!["closed", "closed", "closed"]));
    now = fails(&mut gateways, 1, now);
    assert_eq!(gateways.choose(now), gateways.choose(now), "no wait for one that did not fail");
    assert_eq!((used(&mut gateways).as_str(), states(&gateways)), ("b", vec!["open", "closed", "closed"]));
    now = fails(&mut gateways, 3, now);
    gateways.choose(now);
    assert_eq!((used(&mut gateways).as_str(), states(&gateways)), ("c", vec!["open", "open", "closed"]));
}

#[test]
fn with_all_breakers_open_each_gets_one_try_at_its_time_and_what_acknowledges_is_kept() {
    let mut now = Instant::now();
    let mut gateways = three(now);
    now = fails(&mut gateways, 9, now);
    assert_eq!(states(&gateways), ["open", "open", "open"]);
    let mut tried = Vec::new();
    for _ in 0..30 {
        let next = gateways.choose(now);
        assert!(next <= now + LONGEST, "never longer than the longest wait");
        now = now.max(next);
        gateways.tried();
        assert_eq!(states(&gateways).iter().filter(|state| **state == "half-open").count(), 1);
        tried.push(used(&mut gateways));
        gateways.failed(false, now);
    }
    assert!(["a", "b", "c"].iter().all(|name| tried.iter().any(|tried| tried == name)), "{tried:?}");
    now = now.max(gateways.choose(now));
    gateways.tried();
    gateways.worked();
    let kept = used(&mut gateways);
    gateways.failed(false, now);
    gateways.choose(now);
    assert_eq!(used(&mut gateways), kept, "its breaker is closed: one failure is one failure");
}

/// The wait after so many failures in a row: all of it at most, and half of it at least.
fn waits(failures: u32) -> std::ops::RangeInclusive<Duration> {
    let full = SHORTEST.saturating_mul(1 << (failures - 1)).min(LONGEST);
    full / 2..=full
}

#[test]
fn a_gateway_is_not_tried_before_its_wait_is_over_which_grows_until_it_acknowledges() {
    let mut now = Instant::now();
    let mut gateways = of(&["a"], now);
    for _ in 0..2 {
        for failures in 1..12 {
            now = now.max(gateways.choose(now));
            gateways.tried();
            gateways.failed(false, now);
            let wait = gateways.choose(now) - now;
            assert!(waits(failures).contains(&wait), "{wait:?} after {failures} failures");
        }
        now = gateways.choose(now);
        gateways.tried();
        gateways.worked();
    }
    // A connection that ended as it should is no failure.
    gateways.ended(now);
    assert_eq!(gateways.choose(now), now);
}

#[test]
fn with_all_breakers_open_the_one_whose_wait_ends_first_is_next() {
    let mut now = Instant::now();
    let mut gateways = three(now);
    now = fails(&mut gateways, 9, now);
    for _ in 0..30 {
        let first = gateways.list.iter().map(|(_, breaker)| breaker.retry_at()).min();
        let next = gateways.choose(now);
        assert_eq!(Some(next), first);
        now = now.max(next);
        gateways.tried();
        gateways.failed(false, now);
    }
}

/// What was tried beside the present one and was not decided is as it was.
#[test]
fn a_try_that_nobody_waits_for_any_more_leaves_the_breaker_open() {
    let mut now = Instant::now();
    let mut gateways = three(now);
    now = fails(&mut gateways, 3, now) + 10 * MINUTE;
    gateways.choose(now);
    gateways.probing(0);
    gateways.probe_dropped(0);
    assert_eq!(states(&gateways), ["open", "closed", "closed"]);
}

#[test]
fn one_that_acknowledges_nothing_twice_is_left_at_once() {
    let now = Instant::now();
    let mut gateways = three(now);
    gateways.choose(now);
    gateways.tried();
    gateways.failed(true, now);
    gateways.choose(now);
    assert_eq!(used(&mut gateways), "b");
}

#[test]
fn those_before_are_tried_in_order_every_time_the_wait_is_over() {
    let mut now = Instant::now();
    let mut gateways = three(now);
    assert_eq!(gateways.probe(), None, "nothing is before the first");
    now = fails(&mut gateways, 6, now);
    gateways.choose(now);
    gateways.worked();
    assert_eq!(used(&mut gateways), "c");
    assert_eq!(gateways.probe(), Some((now + 10 * MINUTE, 0)));
    now += 10 * MINUTE;
    gateways.probing(0);
    assert_eq!(states(&gateways), ["half-open", "open", "closed"]);
    gateways.probe_failed(0, now);
    assert_eq!(gateways.probe(), Some((now, 1)), "then the second, at once");
    gateways.probing(1);
    gateways.probe_failed(1, now);
    assert_eq!(gateways.probe(), Some((now + 10 * MINUTE, 0)), "then a wait");
    assert_eq!((used(&mut gateways).as_str(), states(&gateways)), ("c", vec!["open", "open", "closed"]));
    now += 10 * MINUTE;
    gateways.probing(0);
    gateways.returned(0, now);
    assert_eq!((used(&mut gateways).as_str(), gateways.probe()), ("a", None));
    gateways.worked();
    assert_eq!(states(&gateways), ["closed", "open", "closed"]);
}

/// A preferred gateway that takes connections and acknowledges nothing costs one failure each time, not three.
#[test]
fn one_that_was_returned_to_and_fails_is_left_at_once() {
    let mut now = Instant::now();
    let mut gateways = three(now);
    now = fails(&mut gateways, 3, now) + 10 * MINUTE;
    gateways.choose(now);
    gateways.probing(0);
    gateways.returned(0, now);
    gateways.failed(false, now);
    gateways.choose(now);
    assert_eq!(used(&mut gateways), "b");
    assert_eq!(gateways.probe(), Some((now + 10 * MINUTE, 0)));
}
