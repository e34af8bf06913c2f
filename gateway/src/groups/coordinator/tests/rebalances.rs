//! Members come, go, fall silent.

use super::*;

#[test]
fn the_first_assignment_waits_for_consumers_that_start_together() {
    let (mut world, mut a, mut b) = (World::default(), consumer("a"), consumer("b"));
    let first = world.join(&mut a);
    world.pass(Duration::from_millis(300));
    assert!(!world.joined.contains_key(&first), "others may be starting too");
    let second = world.join(&mut b);
    world.pass(Duration::from_millis(700));
    let answers = [world.joined(first), world.joined(second)];
    assert_eq!(answers.each_ref().map(|joined| joined.generation), [Generation(1); 2]);
    let leaders = answers.iter().filter(|joined| joined.leader == joined.member);
    let told: Vec<usize> = leaders.map(|joined| joined.members.len()).collect();
    assert_eq!(told, [2], "one leads, and is told of both");
    assert_eq!(answers.iter().map(|joined| joined.members.len()).sum::<usize>(), 2, "the other is told of none");
}

#[test]
fn a_group_that_keeps_growing_waits_no_longer_than_a_rebalance_may_take() {
    let (mut world, mut first) = (World::default(), consumer("first"));
    let ticket = world.join(&mut first);
    let names = (0..300).map(|_| consumer("more"));
    for mut more in names {
        world.join(&mut more);
        world.pass(Duration::from_millis(400));
    }
    assert_eq!(world.joined(ticket).generation, Generation(1));
}

#[test]
fn of_two_consumers_one_dies_and_its_partitions_move_within_the_session_timeout() {
    let (mut world, mut a, mut b) = (World::default(), consumer("a"), consumer("b"));
    world.settle([&mut a, &mut b]);
    world.live(&[&a], SESSION);
    assert_eq!(world.heartbeat(&a), Err(Error::Rebalancing), "b was silent for its session timeout");
    let again = world.join(&mut a);
    a.learn(&world.joined(again));
    assert_eq!(a.generation, Generation(2));
    assert_eq!(world.joined(again).members.len(), 1, "all partitions are for a to assign");
    world.assign(&[&a]);
    assert_eq!(world.state(), State::Stable);
    assert_eq!(world.heartbeat(&b), Err(Error::UnknownMember));
    assert_eq!(world.commit(&b), Err(Error::UnknownMember), "a zombie commits nothing");
    assert_eq!(world.commit(&a), Ok(()));
}

#[test]
fn a_late_joiner_has_all_join_again_and_who_does_not_is_out() {
    let (mut world, mut a, mut b, mut late) = (World::default(), consumer("a"), consumer("b"), consumer("late"));
    world.settle([&mut a, &mut b]);
    let joining = world.join(&mut late);
    assert_eq!(world.heartbeat(&a), Err(Error::Rebalancing));
    let again = world.join(&mut a);
    // It lives, and does not stop what it is doing.
    world.live(&[&b], REBALANCE - Duration::from_secs(1));
    assert!(!world.joined.contains_key(&again), "b may still come");
    assert_eq!(world.commit(&b), Ok(()), "what it has done until now counts");
    world.live(&[&b], Duration::from_secs(1));
    late.learn(&world.joined(joining));
    a.learn(&world.joined(again));
    assert_eq!(world.commit(&b), Err(Error::UnknownMember));
    world.assign(&[&a, &late]);
    assert_eq!(world.view().members.len(), 2);
}

#[test]
fn a_member_of_an_earlier_generation_is_told_so() {
    let (mut world, mut a, mut b) = (World::default(), consumer("a"), consumer("b"));
    world.settle([&mut a, &mut b]);
    let old = a.clone();
    let again = world.join(&mut a);
    let other = world.join(&mut b);
    a.learn(&world.joined(again));
    b.learn(&world.joined(other));
    assert_eq!(world.commit(&a), Err(Error::Rebalancing), "its partitions are not given out yet");
    world.assign(&[&a, &b]);
    assert_eq!(world.commit(&old), Err(Error::Generation));
    assert_eq!(world.heartbeat(&old), Err(Error::Generation));
    let ticket = world.sync_with(&old, Vec::new());
    assert_eq!(world.synced[&ticket], Err(Error::Generation));
}

#[test]
fn a_leader_that_never_assigns_is_out_and_another_one_leads() {
    let (mut world, mut a, mut b) = (World::default(), consumer("a"), consumer("b"));
    let tickets = [world.join(&mut a), world.join(&mut b)];
    world.pass(Duration::from_secs(1));
    a.learn(&world.joined(tickets[0]));
    b.learn(&world.joined(tickets[1]));
    let (leader, mut other) = if world.view().leader == a.member { (a, b) } else { (b, a) };
    let waiting = world.sync_with(&other, Vec::new());
    world.live(&[&leader], REBALANCE);
    assert_eq!(world.synced[&waiting], Err(Error::Rebalancing));
    assert_eq!(world.heartbeat(&leader), Err(Error::UnknownMember));
    let again = world.join(&mut other);
    other.learn(&world.joined(again));
    assert_eq!(world.view().leader, other.member);
    world.assign(&[&other]);
}

#[test]
fn a_member_that_never_asks_for_its_assignment_is_out() {
    let (mut world, mut a, mut b) = (World::default(), consumer("a"), consumer("b"));
    let tickets = [world.join(&mut a), world.join(&mut b)];
    world.pass(Duration::from_secs(1));
    a.learn(&world.joined(tickets[0]));
    b.learn(&world.joined(tickets[1]));
    let (leader, other) = if world.view().leader == a.member { (a, b) } else { (b, a) };
    world.assign(&[&leader]);
    world.live(&[&leader, &other], REBALANCE);
    assert_eq!(world.heartbeat(&other), Err(Error::UnknownMember));
    assert_eq!(world.heartbeat(&leader), Err(Error::Rebalancing));
}

#[test]
fn a_name_that_nobody_comes_back_under_is_given_up() {
    let (mut world, mut a, gone) = (World::default(), consumer("a"), consumer("gone"));
    let first = world.join(&mut a);
    let asked = world.ask(gone.request());
    let Error::MemberIdRequired(name) = world.refusal(asked) else { panic!("it is to come back") };
    world.pass(SESSION);
    assert_eq!(world.joined(first).generation, Generation(1), "nobody waits for it for ever");
    let late = world.ask(JoinRequest { member: Some(name), ..gone.request() });
    assert_eq!(world.refusal(late), Error::UnknownMember);
}

#[test]
fn who_waits_for_its_first_generation_for_too_long_is_taken_for_gone() {
    let (mut world, mut a) = (World::default(), consumer("a"));
    let options = Options { initial_rebalance_delay: Duration::ZERO, ..Options::default() };
    world.coordinator.options = options;
    world.settle([&mut a]);
    // It takes very long to join, and the new one does not hear of it.
    let slow = JoinRequest { rebalance_timeout: Duration::from_secs(3000), ..a.request() };
    world.ask(slow);
    world.assign_leader_again(&mut a);
    let mut new = consumer("new");
    let ticket = world.join(&mut new);
    world.live(&[&a], join::NEW_MEMBER_TIMEOUT);
    assert_eq!(world.refusal(ticket), Error::UnknownMember);
}

#[test]
fn an_answer_that_got_lost_is_given_again() {
    let (mut world, mut a, mut b) = (World::default(), consumer("a"), consumer("b"));
    let tickets = [world.join(&mut a), world.join(&mut b)];
    world.pass(Duration::from_secs(1));
    let answers = tickets.map(|ticket| world.joined(ticket));
    a.learn(&answers[0]);
    b.learn(&answers[1]);
    let again = world.join(&mut b);
    assert_eq!(world.joined(again), answers[1], "the same generation, no rebalance");
    world.assign(&[&a, &b]);
    let follower = if world.view().leader == a.member { &mut b } else { &mut a };
    let again = world.join(follower);
    assert_eq!(world.joined(again).generation, Generation(1));
}

#[test]
fn another_subscription_and_a_leader_that_joins_again_rebalance() {
    let (mut world, mut a, mut b) = (World::default(), consumer("a"), consumer("b"));
    world.settle([&mut a, &mut b]);
    let follower_is_a = world.view().leader == b.member;
    let (leader, follower) = if follower_is_a { (&mut b, &mut a) } else { (&mut a, &mut b) };
    follower.topics = vec!["weir.loss"];
    world.join(follower);
    assert_eq!(world.state(), State::PreparingRebalance);
    let ticket = world.join(leader);
    assert_eq!(world.joined(ticket).generation, Generation(2));
}

#[test]
fn the_last_one_to_leave_empties_the_group_and_the_next_one_begins_anew() {
    let (mut world, mut a, mut b) = (World::default(), consumer("a"), consumer("b"));
    world.settle([&mut a, &mut b]);
    let leaver = |consumer: &Consumer| Leaver { member: consumer.member.clone(), instance: None };
    let leavers = [leaver(&a), leaver(&b), leaver(&a)];
    let left = world.coordinator.leave(world.now, "lake", &leavers);
    assert_eq!(left, [Ok(()), Ok(()), Err(Error::UnknownMember)]);
    assert_eq!(world.state(), State::Empty);
    assert_eq!(world.coordinator.bytes, 0);
    let (earlier, mut next) = (world.view().generation, consumer("next"));
    world.settle([&mut next]);
    assert!(next.generation > earlier, "nobody of an earlier generation is taken for one of this");
}

#[test]
fn a_consumer_without_a_group_commits_only_while_nobody_shares_the_partitions() {
    let (mut world, mut a) = (World::default(), consumer("a"));
    let alone = Speaker::ALONE;
    assert_eq!(world.coordinator.check_commit(world.now, &group(), &alone), Ok(()));
    world.settle([&mut a]);
    assert_eq!(world.coordinator.check_commit(world.now, &group(), &alone), Err(Error::UnknownMember));
    let stranger = GroupId::new("other").expect("a name");
    assert_eq!(world.coordinator.check_commit(world.now, &stranger, &a.speaker()), Err(Error::Generation));
}

#[test]
fn a_protocol_is_chosen_that_all_have_and_most_prefer() {
    let mut world = World::default();
    let with = |names: &[&str]| {
        let protocols = names.iter().map(|name| Protocol { name: (*name).into(), metadata: Bytes::new() });
        JoinRequest { protocols: protocols.collect(), comes_back: false, ..consumer("c").request() }
    };
    let tickets = [
        world.ask(with(&["sticky", "range", "roundrobin"])),
        world.ask(with(&["roundrobin", "range"])),
        world.ask(with(&["range", "roundrobin"])),
    ];
    let stranger = world.ask(with(&["mine"]));
    assert_eq!(world.refusal(stranger), Error::Protocol);
    let other_kind = world.ask(JoinRequest { protocol_type: "connect".into(), ..with(&["range"]) });
    assert_eq!(world.refusal(other_kind), Error::Protocol);
    let none = world.ask(with(&[]));
    assert_eq!(world.refusal(none), Error::Protocol);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.joined(tickets[0]).protocol.as_deref(), Some("range"), "sticky is not for all");
}

impl World {
    /// The only member has joined again: it assigns.
    fn assign_leader_again(&mut self, consumer: &mut Consumer) {
        consumer.generation = self.view().generation;
        self.assign(&[consumer]);
    }
}
