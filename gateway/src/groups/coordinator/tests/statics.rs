//! Static members: an operator names them, and they keep their place over a restart.

use super::*;

#[test]
fn a_static_member_restarts_without_a_rebalance_and_the_old_one_is_fenced() {
    let (mut world, mut a, mut b) = (World::default(), fixed("a", "pod-0"), fixed("b", "pod-1"));
    world.settle([&mut a, &mut b]);
    let follower_is_a = world.view().leader == b.member;
    let (other, restarting) = if follower_is_a { (&mut b, &mut a) } else { (&mut a, &mut b) };
    let zombie = restarting.clone();
    let mut restarted = Consumer { member: None, ..restarting.clone() };
    let ticket = world.join(&mut restarted);
    let joined = world.joined(ticket);
    restarted.learn(&joined);
    assert_eq!((joined.generation, world.state()), (Generation(1), State::Stable), "no rebalance");
    assert_ne!(restarted.member, zombie.member);
    let ticket = world.sync_with(&restarted, Vec::new());
    let synced = world.synced[&ticket].clone().expect("synced");
    assert_eq!(synced.assignment, zombie.member.clone().expect("a member").to_string(), "what it had");
    assert_eq!(world.heartbeat(other), Ok(()), "the other one notices nothing");
    assert_eq!(world.heartbeat(&zombie), Err(Error::Fenced));
    assert_eq!(world.commit(&zombie), Err(Error::Fenced));
    assert_eq!(world.commit(&restarted), Ok(()));
    assert_eq!(world.coordinator.counts().fenced, 2);
}

#[test]
fn a_static_leader_that_restarts_leads_and_need_not_assign() {
    for can_skip in [false, true] {
        let (mut world, mut a) = (World::default(), fixed("a", "pod-0"));
        a.can_skip = can_skip;
        world.settle([&mut a]);
        let old = a.member.clone().expect("a member");
        let mut restarted = Consumer { member: None, ..a.clone() };
        let ticket = world.join(&mut restarted);
        let joined = world.joined(ticket);
        restarted.learn(&joined);
        assert_eq!(world.view().leader, restarted.member);
        assert_eq!(joined.skips_assignment, can_skip);
        if can_skip {
            assert_eq!((&joined.leader, joined.members.len()), (&joined.member, 1));
        } else {
            assert_eq!((&joined.leader, joined.members.len()), (&old, 0), "it would assign if it knew that it leads");
        }
        let ticket = world.sync_with(&restarted, Vec::new());
        assert_eq!(world.synced[&ticket].clone().expect("synced").assignment, old.to_string());
    }
}

#[test]
fn a_static_member_that_restarts_with_another_subscription_rebalances() {
    let (mut world, mut a, mut b) = (World::default(), fixed("a", "pod-0"), fixed("b", "pod-1"));
    world.settle([&mut a, &mut b]);
    let mut restarted = Consumer { member: None, topics: vec!["weir.loss"], ..a.clone() };
    let joining = world.join(&mut restarted);
    assert_eq!(world.heartbeat(&b), Err(Error::Rebalancing));
    let other = world.join(&mut b);
    assert_eq!(world.joined(joining).generation, world.joined(other).generation);
}

#[test]
fn a_static_member_keeps_its_place_through_a_rebalance_that_it_sleeps_through() {
    let (mut world, mut awake, mut asleep) = (World::default(), consumer("awake"), fixed("asleep", "pod-0"));
    let long = Duration::from_secs(300);
    let sleeper = JoinRequest { session_timeout: long, ..asleep.request() };
    let tickets = [world.ask(sleeper), world.join(&mut awake)];
    world.pass(Duration::from_secs(1));
    asleep.learn(&world.joined(tickets[0]));
    awake.learn(&world.joined(tickets[1]));
    world.assign(&[&awake, &asleep]);
    awake.topics = vec!["weir.loss"];
    let again = world.join(&mut awake);
    world.pass(REBALANCE);
    assert_eq!(world.joined(again).members.len(), 2, "its session goes on");
    awake.learn(&world.joined(again));
    assert_eq!(world.view().leader, awake.member, "one leads who is there");
    world.assign(&[&awake]);
}

#[test]
fn a_static_member_that_waits_when_its_instance_starts_again_is_told() {
    let (mut world, mut a) = (World::default(), fixed("a", "pod-0"));
    let waiting = world.join(&mut a);
    let again = world.join(&mut a);
    assert_eq!(world.refusal(waiting), Error::Fenced);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.view().members.len(), 1);
    assert_eq!(world.joined(again).generation, Generation(1));
}

#[test]
fn an_operator_sends_an_instance_away_by_its_name() {
    let (mut world, mut a) = (World::default(), fixed("a", "pod-0"));
    world.settle([&mut a]);
    let leaver = |member, instance| Leaver { member, instance: InstanceId::new(instance) };
    let stale = leaver(MemberId::new("somebody"), "pod-0");
    let unknown = leaver(None, "pod-7");
    let named = leaver(None, "pod-0");
    let left = world.coordinator.leave(world.now, "lake", &[stale, unknown, named]);
    assert_eq!(left, [Err(Error::Fenced), Err(Error::UnknownMember), Ok(())]);
    assert_eq!(world.state(), State::Empty);
}
