//! Claims that wait beside the log: what the queue dropped or gave away, and what was lost while it was full.
//!
//! A log is freed from its front only, so a claim at its end would wait behind all the readings that cannot be
//! shipped either, and many of them would need the room that there is not. So these claims live in a file of their
//! own, which is replaced as a whole and lies in room that readings never get.
//!
//! Guarantees:
//! - A claim is in the file before it counts, and nothing that it stands for is removed or acknowledged before.
//! - Claims are never dropped. Neighbours of one kind become one; past the bound the nearest become one, a superset
//!   that heals. What does not fit even then is refused, and then nothing is dropped for it: the queue blocks.
//! - A claim leaves when the gateway has it. A file that is older than that only repeats it.
//!
//! Format: the payload of a [`weir_storage::StateFile`]: version byte 1, then postcard: claims of device, restart,
//! kind and `(start, end)` pairs; ends of device, restart and first sequence never accepted.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use weir_protocol::batch::{Claim, LossKind, RestartEnd, Section};
use weir_protocol::items::{self, Items};
use weir_protocol::{DeviceId, RangeSet, Restart, Sequence};
use weir_storage::IoError;

use super::cover::{Pairs, coarsen, pairs};
use super::sealed_file::SealedFile;
use super::{Key, SharedState};

const VERSION: u8 = 1;
/// How many ranges of one kind and restart are left, step by step, until all fits.
const STEPS: [usize; 4] = [64, 16, 4, 1];

/// The claims that wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    lost: BTreeMap<(Key, LossKind), RangeSet>,
    ends: BTreeMap<Key, Sequence>,
}

/// More than the room kept for claims, however coarse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no room for more claims: got {got} bytes, expected at most {most}; connect the gateway or raise queue.cap")]
pub struct ClaimsFull {
    /// Bytes that they would take.
    pub got: usize,
    /// Bytes that they may take.
    pub most: usize,
}

/// Why claims could not be made durable; none of them counts.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClaimsError {
    /// No room.
    #[error(transparent)]
    Full(#[from] ClaimsFull),
    /// The filesystem refused.
    #[error(transparent)]
    Io(#[from] IoError),
}

#[derive(Serialize, Deserialize)]
struct Stored {
    lost: Vec<(DeviceId, Restart, LossKind, Pairs)>,
    ends: Vec<(DeviceId, Restart, Sequence)>,
}

impl Claims {
    /// Adds lost sequences.
    pub fn add(&mut self, key: Key, kind: LossKind, range: Range<u64>) {
        if !range.is_empty() {
            self.lost.entry((key, kind)).or_default().insert(range);
        }
    }

    /// Adds the end of a restart.
    pub fn add_end(&mut self, end: &RestartEnd) {
        self.ends.insert((end.device, end.restart), end.from);
    }

    /// Adds all of `other`.
    pub fn add_all(&mut self, other: &Self) {
        for ((key, kind), set) in &other.lost {
            set.iter().for_each(|range| self.add(*key, *kind, range));
        }
        self.ends.extend(&other.ends);
    }

    /// Takes out what the gateway has.
    pub fn remove(&mut self, section: &Section<'_>) {
        match section {
            Section::Claim(claim) => {
                let at = ((claim.device, claim.restart), claim.kind);
                if let Some(set) = self.lost.get_mut(&at) {
                    set.remove(claim.start.0..claim.end.0);
                    if set.is_empty() {
                        self.lost.remove(&at);
                    }
                }
            }
            Section::End(end) => {
                let key = (end.device, end.restart);
                if self.ends.get(&key) == Some(&end.from) {
                    self.ends.remove(&key);
                }
            }
            Section::Readings(_) | Section::Position(_) | Section::Summary(_) | Section::SetAside(_) => {}
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.ends.is_empty()
    }

    /// How many sequences are claimed.
    pub fn sequences(&self) -> u64 {
        self.lost.values().map(RangeSet::len).sum()
    }

    /// What is claimed: restart, kind and sequences.
    pub fn lost(&self) -> impl Iterator<Item = (Key, LossKind, &RangeSet)> {
        self.lost.iter().map(|((key, kind), set)| (*key, *kind, set))
    }

    /// At most `most` claims and ends, as they are sent.
    pub fn sections(&self, most: usize) -> Vec<Section<'static>> {
        let claim = |(key, kind, range): (Key, LossKind, Range<u64>)| {
            let (start, end) = (Sequence(range.start), Sequence(range.end));
            Section::Claim(Claim { device: key.0, restart: key.1, kind, start, end })
        };
        let ranges = self.lost().flat_map(|(key, kind, set)| set.iter().map(move |range| (key, kind, range)));
        let ends = self.ends.iter().map(|(key, from)| RestartEnd { device: key.0, restart: key.1, from: *from });
        ranges.map(claim).chain(ends.map(Section::End)).take(most).collect()
    }

    /// Makes it fit into `most` bytes. True if claims became coarser.
    pub fn fit(&mut self, most: usize) -> Result<bool, ClaimsFull> {
        let mut got = self.encode().len();
        let mut coarser = false;
        for ranges in STEPS {
            if got <= most {
                return Ok(coarser);
            }
            for set in self.lost.values_mut() {
                coarser |= coarsen(set, ranges);
            }
            got = self.encode().len();
        }
        if got <= most { Ok(coarser) } else { Err(ClaimsFull { got, most }) }
    }

    /// The bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        let lost = self.lost().map(|(key, kind, set)| (key.0, key.1, kind, pairs(set))).collect();
        let ends = self.ends.iter().map(|(key, from)| (key.0, key.1, *from)).collect();
        let mut bytes = vec![VERSION];
        items::push(&mut bytes, &Stored { lost, ends });
        bytes
    }

    /// Reads stored bytes; `Err` says what is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let stored: Stored = match bytes.split_first() {
            Some((&VERSION, rest)) => Items::new(rest).iter().next().and_then(Result::ok),
            Some((version, _)) => return Err(format!("version {version}; this build reads {VERSION}")),
            None => None,
        }
        .ok_or("not decodable")?;
        let mut claims = Self::default();
        for (device, restart, kind, pairs) in stored.lost {
            pairs.into_iter().for_each(|(start, end)| claims.add((device, restart), kind, start..end));
        }
        claims.ends = stored.ends.into_iter().map(|(device, restart, from)| ((device, restart), from)).collect();
        Ok(claims)
    }
}

/// The file of the claims, and the claims in the shared state that it is the truth of.
pub(super) struct ClaimsFile {
    /// One write at a time, and what is in the file.
    file: Mutex<(SealedFile, Claims)>,
    state: SharedState,
    most: usize,
}

impl ClaimsFile {
    /// A file that may hold `most` bytes of claims, and holds those of `state`.
    pub(super) fn new(file: SealedFile, state: SharedState, most: usize) -> Self {
        let held = state.lock().claims.clone();
        Self { file: Mutex::new((file, held)), state, most }
    }

    /// Makes claims durable; they count when this returns. True if others became coarser for them. Blocks.
    pub(super) fn add(&self, new: &Claims) -> Result<bool, ClaimsError> {
        if new.is_empty() {
            return Ok(false);
        }
        let mut held = self.held();
        // With what the gateway took in the meantime: the state on disk need not know that a device was acknowledged for it.
        let mut claims = held.1.clone();
        claims.add_all(new);
        let coarser = claims.fit(self.most)?;
        held.0.replace(claims.encode())?;
        held.1 = claims;
        let mut state = self.state.lock();
        state.claims.add_all(new);
        state.claims.fit(self.most)?;
        Ok(coarser)
    }

    /// Holds the file as it is, until the state is durable that [`ClaimsHeld::keep`] relies on.
    pub(super) fn hold(&self) -> ClaimsHeld<'_> {
        ClaimsHeld(self.held())
    }

    fn held(&self) -> MutexGuard<'_, (SealedFile, Claims)> {
        // Whoever panicked held a path and a copy.
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file of the claims, which nobody adds to meanwhile.
pub(super) struct ClaimsHeld<'a>(MutexGuard<'a, (SealedFile, Claims)>);

impl ClaimsHeld<'_> {
    /// Lets go of everything but `claims`. Only once a state is durable that was taken while the file was held: of a claim that is
    /// in neither nobody would know that its device was acknowledged for it. Blocks.
    pub(super) fn keep(mut self, claims: Claims) -> Result<(), IoError> {
        if claims != self.0.1 {
            self.0.0.replace(claims.encode())?;
            self.0.1 = claims;
        }
        Ok(())
    }
}
