//! Random consumers that join, sync, fall silent, restart and leave, against the rules.
//!
//! `WEIR_SEED=17` replays one run; `WEIR_SEEDS=3000` makes that many, else there are 300.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

const STEPS: usize = 200;

#[test]
fn whatever_members_do_a_generation_has_one_assignment_and_no_other_one_commits() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let seeds = match number("WEIR_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("WEIR_SEEDS").unwrap_or(300)).collect(),
    };
    for seed in seeds {
        println!("WEIR_SEED={seed}");
        Run::new(seed).run();
    }
}

/// A consumer and what it waits for.
struct Actor {
    consumer: Consumer,
    joining: Option<Ticket>,
    /// With what it said of itself.
    syncing: Option<(Ticket, Speaker)>,
    /// What it was given, and as whom it asked.
    holds: Option<(Speaker, Bytes)>,
    /// It was told that it leads this generation, with these members.
    leads: Option<(Generation, Vec<MemberId>)>,
}

struct Run {
    random: StdRng,
    world: World,
    actors: Vec<Actor>,
    /// What the leader of each generation gave, member by member.
    given: BTreeMap<i32, BTreeMap<MemberId, Bytes>>,
    leaders: BTreeMap<i32, MemberId>,
    assignments: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let names = ["a", "b", "c", "d"];
        let actors = names.map(|name| {
            let consumer = if random.random_bool(0.4) { fixed(name, name) } else { consumer(name) };
            let consumer = Consumer { comes_back: random.random(), can_skip: random.random(), ..consumer };
            Actor { consumer, joining: None, syncing: None, holds: None, leads: None }
        });
        let delay = Duration::from_millis(if random.random() { 0 } else { 500 });
        let world = World::new(Options { initial_rebalance_delay: delay, ..Options::default() });
        let (given, leaders) = (BTreeMap::new(), BTreeMap::new());
        Self { random, world, actors: actors.into(), given, leaders, assignments: 0 }
    }

    fn run(mut self) {
        let mut generation = Generation(0);
        for _ in 0..STEPS {
            let actor = self.random.random_range(0..self.actors.len());
            self.act(actor);
            self.world.pass(Duration::ZERO);
            (0..self.actors.len()).for_each(|actor| self.hear(actor));
            if let Some(view) = self.world.coordinator.view("lake") {
                assert!(view.generation >= generation, "generations go up");
                generation = view.generation;
            }
            (0..self.actors.len()).for_each(|actor| self.check(actor));
        }
        self.world.pass(Duration::from_secs(4 * 3600));
        for actor in &self.actors {
            let joined = actor.joining.is_none_or(|ticket| self.world.joined.contains_key(&ticket));
            assert!(joined, "no join waits for ever");
            let synced = actor.syncing.as_ref().is_none_or(|(ticket, _)| self.world.synced.contains_key(ticket));
            assert!(synced, "no sync waits for ever");
        }
        assert_eq!(self.world.state(), State::Empty, "everybody has been silent for hours");
        assert_eq!((self.world.coordinator.bytes, self.world.coordinator.next_wake()), (0, None));
    }

    fn act(&mut self, actor: usize) {
        let own = &mut self.actors[actor];
        let world = &mut self.world;
        match self.random.random_range(0..100) {
            0..35 => {
                let join = own.consumer.request();
                own.joining = Some(world.ask(join));
            }
            35..60 => {
                let assignments = match &own.leads {
                    Some((generation, members)) if *generation == own.consumer.generation => {
                        self.assignments += 1;
                        let token = |member: &MemberId| Bytes::from(format!("{} of {member}", self.assignments));
                        members.iter().map(|member| (member.clone(), token(member))).collect()
                    }
                    _ => Vec::new(),
                };
                let was_stable = world.coordinator.view("lake").is_some_and(|view| view.state == State::Stable);
                own.syncing = Some((world.sync_with(&own.consumer, assignments.clone()), own.consumer.speaker()));
                let view = world.coordinator.view("lake");
                let is_stable = view.is_some_and(|view| view.state == State::Stable);
                if !was_stable && is_stable {
                    let given = assignments.into_iter().collect();
                    let earlier = self.given.insert(own.consumer.generation.0, given);
                    assert!(earlier.is_none(), "one assignment a generation");
                }
            }
            60..80 => {
                let _ = world.heartbeat(&own.consumer);
            }
            80..88 => {
                let most = if self.random.random_bool(0.2) { 90 } else { 5 };
                world.pass(Duration::from_secs(self.random.random_range(0..most)));
            }
            88..93 => {
                let leaver = Leaver { member: own.consumer.member.clone(), instance: own.consumer.instance.clone() };
                world.coordinator.leave(world.now, "lake", &[leaver]);
            }
            93..97 => {
                // It starts again, and knows nothing.
                own.consumer.member = None;
                (own.holds, own.leads, own.joining, own.syncing) = (None, None, None, None);
            }
            _ => own.consumer.topics = vec![["readings", "weir.loss"][self.random.random_range(0..2)]],
        }
    }

    /// Takes in what an actor was answered.
    fn hear(&mut self, actor: usize) {
        let own = &mut self.actors[actor];
        if let Some(answer) = own.joining.and_then(|ticket| self.world.joined.get(&ticket)) {
            own.joining = None;
            match answer {
                Ok(joined) => {
                    own.consumer.learn(joined);
                    if joined.leader == joined.member && !joined.skips_assignment {
                        let leader = self.leaders.insert(joined.generation.0, joined.member.clone());
                        assert!(leader.is_none_or(|leader| leader == joined.member), "one leader a generation");
                        let members = joined.members.iter().map(|member| member.member.clone()).collect();
                        own.leads = Some((joined.generation, members));
                    }
                }
                Err(Error::MemberIdRequired(member)) => own.consumer.member = Some(member.clone()),
                Err(Error::UnknownMember | Error::Fenced) => own.consumer.member = None,
                Err(_) => (),
            }
        }
        if let Some((ticket, speaker)) = own.syncing.clone()
            && let Some(answer) = self.world.synced.get(&ticket)
        {
            own.syncing = None;
            if let Ok(synced) = answer {
                own.holds = Some((speaker, synced.assignment.clone()));
            }
        }
    }

    /// Nobody holds what its leader did not give it, and nobody of another generation commits.
    fn check(&mut self, actor: usize) {
        let own = &self.actors[actor];
        // A static member that restarted has what was given to its instance under another name.
        if let Some((Speaker { member: Some(member), instance: None, generation }, holds)) = &own.holds {
            let given = self.given.get(&generation.0).and_then(|given| given.get(member));
            assert_eq!(given.unwrap_or(&Bytes::new()), holds, "{member} in generation {generation}");
        }
        let speaker = own.consumer.speaker();
        if let Some(view) = self.world.coordinator.view("lake")
            && self.world.coordinator.check_commit(self.world.now, &group(), &speaker).is_ok()
        {
            let is_alone = view.members.is_empty() && view.state == State::Empty;
            let is_member = view.members.iter().any(|member| Some(&member.id) == speaker.member.as_ref());
            assert!(is_alone || (is_member && speaker.generation == view.generation), "{speaker:?} of {view:?}");
        }
    }
}
