//! What is over a bound is refused, counted, and costs the others nothing.

use super::*;

#[test]
fn members_of_a_group_are_bounded_those_included_that_have_not_come_back() {
    let mut world = World::new(Options { members: 2, ..Options::default() });
    let (mut a, b, c) = (consumer("a"), consumer("b"), consumer("c"));
    let first = world.join(&mut a);
    let pending = world.ask(b.request());
    assert!(matches!(world.refusal(pending), Error::MemberIdRequired(_)));
    let over = world.ask(c.request());
    assert_eq!(world.refusal(over), Error::GroupFull);
    assert_eq!(world.coordinator.counts().over_bounds, 1);
    world.pass(SESSION);
    assert!(world.joined[&first].is_ok());
    let room = world.ask(c.request());
    assert!(matches!(world.refusal(room), Error::MemberIdRequired(_)), "b did not come back");
}

#[test]
fn groups_are_bounded_and_those_without_anything_are_forgotten() {
    let mut world = World::new(Options { groups: 1, ..Options::default() });
    let (mut a, other) = (consumer("a"), GroupId::new("other").expect("a name"));
    world.settle([&mut a]);
    let ticket = world.ticket();
    world.coordinator.join(world.now, ticket, &other, consumer("b").request());
    world.look();
    assert_eq!(world.refusal(ticket), Error::TooMuch);
    assert_eq!(world.coordinator.check_commit(world.now, &other, &Speaker::ALONE), Err(Error::TooMuch));
    world.pass(SESSION);
    assert_eq!(world.state(), State::Empty, "its consumer died");
    world.pass(IDLE);
    world.coordinator.forget_idle(world.now, |_| true);
    assert!(world.coordinator.has("lake"), "its offsets are stored");
    world.coordinator.forget_idle(world.now, |_| false);
    assert!(!world.coordinator.has("lake"));
    assert_eq!(world.coordinator.ensure(world.now, &other), Ok(()));
}

#[test]
fn bytes_of_a_group_and_of_all_are_bounded() {
    let large = |bytes: usize| {
        let protocols = vec![Protocol { name: "range".into(), metadata: Bytes::from(vec![0; bytes]) }];
        JoinRequest { protocols, comes_back: false, ..consumer("large").request() }
    };
    let mut world = World::new(Options { group_bytes: 10_000, ..Options::default() });
    world.ask(large(5_000));
    let over = world.ask(large(5_000));
    assert_eq!(world.refusal(over), Error::GroupFull);

    let mut world = World::new(Options { bytes: 10_000, ..Options::default() });
    world.ask(large(5_000));
    let ticket = world.ticket();
    world.coordinator.join(world.now, ticket, &GroupId::new("other").expect("a name"), large(5_000));
    world.look();
    assert_eq!(world.refusal(ticket), Error::TooMuch);
    assert!(world.coordinator.bytes < 10_000);
    world.pass(Duration::from_secs(3600));
    assert_eq!(world.coordinator.bytes, 0, "what they took is given back");
}

#[test]
fn those_who_never_come_back_take_room_until_they_are_forgotten() {
    let mut world = World::new(Options { bytes: 1000, ..Options::default() });
    let mut told = 0;
    let refused = loop {
        let ticket = world.ask(consumer("a").request());
        match world.refusal(ticket) {
            Error::MemberIdRequired(_) => told += 1,
            other => break other,
        }
        assert!(told < 1000, "nothing bounds them");
    };
    assert_eq!(refused, Error::TooMuch);
    assert!(told > 0 && world.coordinator.bytes <= 1000);
    world.pass(SESSION);
    assert_eq!(world.coordinator.bytes, 0, "what they took is given back");
}

#[test]
fn an_assignment_that_is_too_large_is_refused_and_the_group_goes_on() {
    let mut world = World::new(Options { group_bytes: 10_000, ..Options::default() });
    let mut a = consumer("a");
    let ticket = world.join(&mut a);
    world.pass(Duration::from_secs(1));
    a.learn(&world.joined(ticket));
    let member = a.member.clone().expect("a member");
    let over = world.sync_with(&a, vec![(member, Bytes::from(vec![0; 10_000]))]);
    assert_eq!(world.synced[&over], Err(Error::GroupFull));
    let again = world.join(&mut a);
    a.learn(&world.joined(again));
    world.assign(&[&a]);
}

#[test]
fn an_assignment_for_a_stranger_is_kept_for_nobody() {
    let (mut world, mut a) = (World::default(), consumer("a"));
    let ticket = world.join(&mut a);
    world.pass(Duration::from_secs(1));
    a.learn(&world.joined(ticket));
    let before = world.coordinator.bytes;
    let stranger = MemberId::new("stranger").expect("a name");
    world.sync_with(&a, vec![(stranger, Bytes::from(vec![0; 1000]))]);
    assert_eq!((world.state(), world.coordinator.bytes), (State::Stable, before));
}

#[test]
fn session_timeouts_are_bounded_and_longer_rebalances_are_cut() {
    let mut world = World::default();
    let asked = |millis| JoinRequest { session_timeout: Duration::from_millis(millis), ..consumer("a").request() };
    for millis in [0, 999, 31 * 60 * 1000] {
        let ticket = world.ask(asked(millis));
        assert!(matches!(world.refusal(ticket), Error::SessionTimeout { .. }), "{millis}");
    }
    let (mut a, mut b) = (consumer("a"), consumer("b"));
    for endless in [Duration::ZERO, Duration::from_secs(u64::from(u32::MAX))] {
        let ticket = world.ask(JoinRequest { rebalance_timeout: endless, comes_back: false, ..a.request() });
        world.pass(Duration::from_millis(600));
        a.learn(&world.joined(ticket));
        world.assign(&[&a]);
        let other = world.join(&mut b);
        // a lives, and never joins.
        world.live(&[&a], Duration::from_secs(60));
        if endless.is_zero() {
            assert!(world.joined[&other].is_ok());
        }
        world.live(&[&a], Duration::from_secs(3600));
        assert_ne!(world.heartbeat(&a), Ok(()));
        world.pass(Duration::from_secs(7200));
        (a, b) = (consumer("a"), consumer("b"));
    }
}
