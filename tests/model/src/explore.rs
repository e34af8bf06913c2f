//! Exhaustive exploration, breadth first, so that a trace is as short as it can be.
//!
//! Also proves progress: from every state that was reached, the steps that are no faults lead to rest. States are
//! told apart by 64 bits of hash: at ten million states the chance that two share one is about 3 in a million.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

use crate::properties::{PROPERTIES, at_rest};
use crate::state::{Action, State};
use crate::world::World;

/// What an exploration found.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) states: usize,
    pub(crate) steps: usize,
    /// States at rest.
    pub(crate) rests: usize,
    pub(crate) verdict: Verdict,
}

/// How it ended.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Everything holds in every state.
    Holds,
    /// A property does not, after these steps.
    Violated(&'static str, Vec<Action>),
    /// After these steps no rest can be reached without a fault.
    Stuck(Vec<Action>),
    /// There are more states than were allowed.
    TooMany,
}

#[derive(Default)]
struct Graph {
    ids: HashMap<u64, u32, BuildHasherDefault<Unmixed>>,
    /// The state that each was first reached from, and which of its actions led there.
    parents: Vec<(u32, u16)>,
    /// Steps that are no faults, as (to, from).
    backwards: Vec<(u32, u32)>,
    rests: Vec<u32>,
}

/// Explores a world, at most `limit` states of it.
pub(crate) fn explore(world: &World, limit: usize) -> Report {
    let mut graph = Graph::default();
    let mut queue = VecDeque::new();
    let first = State::first(world);
    graph.ids.insert(fingerprint(&first), 0);
    graph.parents.push((0, 0));
    queue.push_back((0_u32, first));
    let mut steps = 0;
    let ended = loop {
        let Some((id, state)) = queue.pop_front() else { break None };
        if let Some(broken) = PROPERTIES.iter().find(|property| !(property.holds)(world, &state)) {
            break Some(Verdict::Violated(broken.name, graph.trace(world, id)));
        }
        if at_rest(world, &state) {
            graph.rests.push(id);
        }
        if graph.parents.len() > limit {
            break Some(Verdict::TooMany);
        }
        for (index, action) in state.actions(world).into_iter().enumerate() {
            let Some(next) = state.after(world, action) else { continue };
            steps += 1;
            let new = graph.parents.len() as u32;
            let to = *graph.ids.entry(fingerprint(&next)).or_insert(new);
            if to == new {
                graph.parents.push((id, index as u16));
                queue.push_back((new, next));
            }
            if !action.is_fault() {
                graph.backwards.push((to, id));
            }
        }
    };
    let verdict = ended.unwrap_or_else(|| match graph.stuck() {
        Some(id) => Verdict::Stuck(graph.trace(world, id)),
        None => Verdict::Holds,
    });
    Report { states: graph.parents.len(), steps, rests: graph.rests.len(), verdict }
}

impl Graph {
    /// The steps that first led to a state.
    fn trace(&self, world: &World, id: u32) -> Vec<Action> {
        let mut path = Vec::new();
        let mut at = id;
        while at != 0 {
            let (parent, index) = self.parents[at as usize];
            path.push(index);
            at = parent;
        }
        let mut state = State::first(world);
        let mut actions = Vec::new();
        for index in path.into_iter().rev() {
            let action = state.actions(world)[index as usize];
            state = state.after(world, action).unwrap_or(state);
            actions.push(action);
        }
        actions
    }

    /// The first state from which no rest can be reached.
    fn stuck(&mut self) -> Option<u32> {
        self.backwards.sort_unstable();
        let mut reaches = vec![false; self.parents.len()];
        let mut stack = self.rests.clone();
        stack.iter().for_each(|rest| reaches[*rest as usize] = true);
        while let Some(to) = stack.pop() {
            let from = self.backwards.partition_point(|(end, _)| *end < to);
            for (_, start) in self.backwards[from..].iter().take_while(|(end, _)| *end == to) {
                if !std::mem::replace(&mut reaches[*start as usize], true) {
                    stack.push(*start);
                }
            }
        }
        reaches.iter().position(|reaches| !reaches).map(|id| id as u32)
    }
}

fn fingerprint(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// A fingerprint is mixed already.
#[derive(Default)]
struct Unmixed(u64);

impl Hasher for Unmixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }
}
