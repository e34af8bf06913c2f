//! Stories of groups, on a clock that the test moves.

mod bounds;
mod property;
mod rebalances;
mod statics;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::*;
use crate::groups::names::{Generation, InstanceId};

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);

/// The coordinator, what it answered, and the time.
pub(super) struct World {
    pub(super) coordinator: Coordinator,
    pub(super) now: Duration,
    next_ticket: Ticket,
    pub(super) joined: BTreeMap<Ticket, Result<Joined, Error>>,
    pub(super) synced: BTreeMap<Ticket, Result<Synced, Error>>,
}

/// A consumer, and what it knows.
#[derive(Clone, Debug)]
pub(super) struct Consumer {
    pub(super) name: &'static str,
    pub(super) member: Option<MemberId>,
    pub(super) instance: Option<InstanceId>,
    pub(super) generation: Generation,
    pub(super) topics: Vec<&'static str>,
    pub(super) comes_back: bool,
    pub(super) can_skip: bool,
}

pub(super) fn consumer(name: &'static str) -> Consumer {
    let (member, instance, generation) = (None, None, Generation::NONE);
    Consumer { name, member, instance, generation, topics: vec!["readings"], comes_back: true, can_skip: false }
}

pub(super) fn fixed(name: &'static str, instance: &str) -> Consumer {
    Consumer { instance: InstanceId::new(instance), ..consumer(name) }
}

pub(super) fn group() -> GroupId {
    GroupId::new("lake").expect("a name")
}

/// A subscription as consumers write it.
fn subscription(topics: &[&str]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(0);
    out.put_i32(topics.len() as i32);
    for topic in topics {
        out.put_i16(topic.len() as i16);
        out.put_slice(topic.as_bytes());
    }
    out.put_i32(-1);
    out.freeze()
}

impl Consumer {
    pub(super) fn request(&self) -> JoinRequest {
        let protocol = |name: &str| Protocol { name: name.into(), metadata: subscription(&self.topics) };
        JoinRequest {
            member: self.member.clone(),
            instance: self.instance.clone(),
            client: Client { id: self.name.into(), host: "127.0.0.1".into() },
            session_timeout: SESSION,
            rebalance_timeout: REBALANCE,
            protocol_type: "consumer".into(),
            protocols: vec![protocol("range"), protocol("roundrobin")],
            comes_back: self.comes_back,
            can_skip: self.can_skip,
        }
    }

    pub(super) fn speaker(&self) -> Speaker {
        Speaker { member: self.member.clone(), instance: self.instance.clone(), generation: self.generation }
    }

    /// Takes in the answer to its join.
    pub(super) fn learn(&mut self, joined: &Joined) {
        self.member = Some(joined.member.clone());
        self.generation = joined.generation;
    }
}

impl World {
    pub(super) fn new(options: Options) -> Self {
        let mut random = 0;
        let random = Box::new(move || {
            random += 1;
            random
        });
        let coordinator = Coordinator::new(options, random);
        Self { coordinator, now: Duration::ZERO, next_ticket: 0, joined: BTreeMap::new(), synced: BTreeMap::new() }
    }

    /// Lets time pass, looking whenever the coordinator wants to.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(wake) = self.coordinator.next_wake().filter(|wake| *wake <= end) {
            self.now = self.now.max(wake);
            self.coordinator.tick(self.now);
        }
        self.now = end;
        self.look();
    }

    pub(super) fn look(&mut self) {
        for effect in self.coordinator.take_effects() {
            match effect {
                Effect::Joined(ticket, answer) => {
                    assert!(self.joined.insert(ticket, answer).is_none(), "a join is answered once");
                }
                Effect::Synced(ticket, answer) => {
                    assert!(self.synced.insert(ticket, answer).is_none(), "a sync is answered once");
                }
                Effect::Used(_) | Effect::Emptied(_) => (),
            }
        }
    }

    pub(super) fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        self.next_ticket
    }

    pub(super) fn ask(&mut self, request: JoinRequest) -> Ticket {
        let ticket = self.ticket();
        self.coordinator.join(self.now, ticket, &group(), request);
        self.look();
        ticket
    }

    /// Joins; a new member comes back under the name that it is given.
    pub(super) fn join(&mut self, consumer: &mut Consumer) -> Ticket {
        let ticket = self.ask(consumer.request());
        if let Some(Err(Error::MemberIdRequired(member))) = self.joined.get(&ticket) {
            consumer.member = Some(member.clone());
            return self.ask(consumer.request());
        }
        ticket
    }

    pub(super) fn sync_with(&mut self, consumer: &Consumer, assignments: Assignments) -> Ticket {
        let ticket = self.ticket();
        let (protocol_type, protocol) = (Some("consumer".into()), None);
        let sync = SyncRequest { speaker: consumer.speaker(), protocol_type, protocol, assignments };
        self.coordinator.sync(self.now, ticket, "lake", sync);
        self.look();
        ticket
    }

    /// The answer that a join has got.
    pub(super) fn joined(&self, ticket: Ticket) -> Joined {
        self.joined[&ticket].clone().expect("joined")
    }

    pub(super) fn refusal(&self, ticket: Ticket) -> Error {
        self.joined[&ticket].clone().expect_err("refused")
    }

    /// Has all of them join, and the leader give each one its own name; the group is stable then.
    pub(super) fn settle<const N: usize>(&mut self, mut consumers: [&mut Consumer; N]) {
        let tickets: Vec<Ticket> = consumers.iter_mut().map(|consumer| self.join(consumer)).collect();
        self.pass(Duration::from_secs(1));
        for (consumer, ticket) in consumers.iter_mut().zip(&tickets) {
            consumer.learn(&self.joined(*ticket));
        }
        self.assign(&consumers.each_ref().map(|consumer| &**consumer));
    }

    /// Has all of them sync; the leader gives each member its own name.
    pub(super) fn assign(&mut self, consumers: &[&Consumer]) {
        let view = self.view();
        let assignments: Assignments =
            view.members.iter().map(|member| (member.id.clone(), Bytes::from(member.id.to_string()))).collect();
        let leads = |consumer: &Consumer| consumer.member == view.leader;
        let syncs: Vec<(Ticket, &Consumer)> = consumers
            .iter()
            .map(|consumer| {
                let given = if leads(consumer) { assignments.clone() } else { Vec::new() };
                (self.sync_with(consumer, given), *consumer)
            })
            .collect();
        for (ticket, consumer) in syncs {
            let synced = self.synced[&ticket].clone().expect("synced");
            assert_eq!(synced.assignment, consumer.member.as_ref().expect("a member").to_string());
        }
    }

    pub(super) fn view(&self) -> GroupView {
        self.coordinator.view("lake").expect("a group")
    }

    pub(super) fn state(&self) -> State {
        self.view().state
    }

    pub(super) fn heartbeat(&mut self, consumer: &Consumer) -> Result<(), Error> {
        let beat = self.coordinator.heartbeat(self.now, "lake", &consumer.speaker());
        self.look();
        beat
    }

    pub(super) fn commit(&mut self, consumer: &Consumer) -> Result<(), Error> {
        self.coordinator.check_commit(self.now, &group(), &consumer.speaker())
    }

    /// Lets time pass while these say that they live.
    pub(super) fn live(&mut self, consumers: &[&Consumer], time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.pass(Duration::from_secs(3).min(end - self.now));
            for consumer in consumers {
                let _ = self.heartbeat(consumer);
            }
        }
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new(Options::default())
    }
}
