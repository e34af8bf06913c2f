//! The state as it is on disk: the payload of a [`weir_storage::StateFile`].
//!
//! Version 1, of a queue without classes and ages, which is still written as such: version byte, then postcard of incarnation,
//! covered, restarts, shipped ranges, descriptions, blocks. Version 2: version byte, then postcard of incarnation,
//! restarts, descriptions, when ages were noted, and of each class its name, covered, shipped ranges, blocks, and base and
//! age of closed segments; `default` is the first.
//! Version 3, of a queue of which rules made summaries: as version 2, then open windows and the restarts of summaries.
//! Version 4, of a queue that lost records: as version 3, then the restarts of which nobody knows how far they were acknowledged.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use weir_protocol::items::{self, Items};
use weir_protocol::name::Name;

use super::blocks::StoredBlock;
use super::cover::{Pairs, pairs};
use super::{Blocks, Claims, ClassState, DEFAULT_CLASS, Descriptions, Incarnation, Key, Restarts, State};
use crate::processing::Held;
use crate::processing::held::StoredHeld;

const WITHOUT_CLASSES: u8 = 1;
const WITH_CLASSES: u8 = 2;
const WITH_WINDOWS: u8 = 3;
const WITH_DOUBT: u8 = 4;

#[derive(Serialize, Deserialize)]
struct StoredV1 {
    incarnation: Incarnation,
    covered: u64,
    restarts: Restarts,
    shipped: Pairs,
    descriptions: Descriptions,
    blocks: Vec<StoredBlock>,
}

#[derive(Serialize, Deserialize)]
struct StoredV2 {
    incarnation: Incarnation,
    restarts: Restarts,
    descriptions: Descriptions,
    aged_ms: i64,
    classes: Vec<StoredClass>,
}

#[derive(Serialize, Deserialize)]
struct StoredV3 {
    state: StoredV2,
    held: StoredHeld,
}

#[derive(Serialize, Deserialize)]
struct StoredV4 {
    state: StoredV3,
    doubtful: Vec<Key>,
}

#[derive(Serialize, Deserialize)]
struct StoredClass {
    name: Name,
    covered: u64,
    shipped: Pairs,
    blocks: Vec<StoredBlock>,
    /// Base offset and age of closed segments.
    ages: Vec<(u64, u64)>,
}

impl StoredClass {
    fn of(class: &ClassState) -> Self {
        let (shipped, blocks) = (pairs(&class.shipped), class.blocks.stored());
        let ages = class.ages.iter().map(|(base, age)| (*base, *age)).collect();
        Self { name: class.name, covered: class.covered, shipped, blocks, ages }
    }

    fn load(self) -> ClassState {
        ClassState {
            name: self.name,
            covered: self.covered,
            shipped: self.shipped.into_iter().map(|(start, end)| start..end).collect(),
            blocks: Blocks::of_stored(self.blocks),
            ages: self.ages.into_iter().collect(),
            sent_below: 0,
        }
    }
}

impl State {
    /// The bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        let (incarnation, restarts, descriptions) =
            (self.incarnation, self.restarts.clone(), self.descriptions.clone());
        let mut classes: Vec<StoredClass> = self.classes.iter().map(StoredClass::of).collect();
        let doubtful: Vec<Key> = restarts.doubtful().collect();
        if !self.held.is_empty() || !doubtful.is_empty() {
            let state = StoredV2 { incarnation, restarts, descriptions, aged_ms: self.aged_ms, classes };
            let state = StoredV3 { state, held: self.held.stored() };
            return match doubtful.is_empty() {
                true => encode(WITH_WINDOWS, &state),
                false => encode(WITH_DOUBT, &StoredV4 { state, doubtful }),
            };
        }
        match classes.pop() {
            Some(StoredClass { covered, shipped, blocks, ages, .. }) if classes.is_empty() && ages.is_empty() => {
                let stored = StoredV1 { incarnation, covered, restarts, shipped, descriptions, blocks };
                encode(WITHOUT_CLASSES, &stored)
            }
            last => {
                classes.extend(last);
                let aged_ms = self.aged_ms;
                encode(WITH_CLASSES, &StoredV2 { incarnation, restarts, descriptions, aged_ms, classes })
            }
        }
    }

    /// Reads stored bytes; `Err` says what is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut held = Held::default();
        let mut windows = |StoredV3 { state, held: windows }: StoredV3| {
            held = Held::of_stored(windows);
            (state.incarnation, state.restarts, state.descriptions, state.aged_ms, state.classes)
        };
        let (incarnation, restarts, descriptions, aged_ms, classes) = match bytes.split_first() {
            Some((&WITHOUT_CLASSES, rest)) => {
                let StoredV1 { incarnation, covered, restarts, shipped, descriptions, blocks } = decode(rest)?;
                let class = StoredClass { name: DEFAULT_CLASS, covered, shipped, blocks, ages: Vec::new() };
                (incarnation, restarts, descriptions, 0, vec![class])
            }
            Some((&WITH_CLASSES, rest)) => {
                let StoredV2 { incarnation, restarts, descriptions, aged_ms, classes } = decode(rest)?;
                (incarnation, restarts, descriptions, aged_ms, classes)
            }
            Some((&WITH_WINDOWS, rest)) => windows(decode(rest)?),
            Some((&WITH_DOUBT, rest)) => {
                let StoredV4 { mut state, doubtful } = decode(rest)?;
                doubtful.iter().for_each(|key| state.state.restarts.doubt(key));
                windows(state)
            }
            Some((version, _)) => {
                return Err(format!("version {version}; this build reads {WITHOUT_CLASSES} to {WITH_DOUBT}"));
            }
            None => return Err("no bytes".to_owned()),
        };
        let classes: Vec<ClassState> = classes.into_iter().map(StoredClass::load).collect();
        if classes.first().is_none_or(|first| first.name != DEFAULT_CLASS) {
            return Err("got another class first, expected `default`".to_owned());
        }
        Ok(Self { incarnation, restarts, descriptions, aged_ms, claims: Claims::default(), held, classes })
    }
}

fn encode(version: u8, stored: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![version];
    items::push(&mut bytes, stored);
    bytes
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut items = Items::new(bytes).iter();
    let stored = items.next().and_then(Result::ok).filter(|_| items.rest().is_empty());
    stored.ok_or_else(|| "not decodable".to_owned())
}
