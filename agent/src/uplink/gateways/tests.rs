use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::Instant;
use weir_protocol::AgentId;

use super::*;
use crate::config::{Address, Mqtt};

const MINUTE: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(30);

fn three(now: Instant) -> Gateways {
    let agent = AgentId::new("edge-1").expect("a name");
    let gateway = |name: &str| Gateway {
        endpoint: Endpoint {
            address: Address { host: name.to_owned(), ..Address::default() },
            version: Mqtt::V5,
            proxy: None,
        },
        credentials: Credentials::none(agent),
        retain: true,
    };
    let order = Order { failures: 3, return_after: 10 * MINUTE, backoff: (Duration::from_millis(500), LONGEST) };
    Gateways::new(["a", "b", "c"].map(gateway).into(), order, StdRng::seed_from_u64(1), now)
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
