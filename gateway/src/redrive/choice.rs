//! Which dead letters are tried again.

use std::collections::BTreeSet;

use thiserror::Error;
use weir_protocol::DeviceId;
use weir_protocol::batch::describe;

use super::letter::{Letter, Place};
use crate::record::dead_letter::Format;

/// The most places that one choice names.
pub const MAX_PLACES: usize = 10_000;

/// Letters that match all that is said.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    places: Option<BTreeSet<Place>>,
    reason: Option<String>,
    device: Option<DeviceId>,
}

/// Nobody redrives everything by leaving out an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NothingChosen {
    /// Neither a place nor a filter nor `all`.
    #[error("name dead letters (PARTITION:OFFSET), a reason or a device, or say that all are meant (--all)")]
    Nothing,
    /// Both, which contradict each other.
    #[error("--all and places exclude each other")]
    AllAndPlaces,
    /// Over [`MAX_PLACES`].
    #[error("got {0} places, expected at most {MAX_PLACES}")]
    TooMany(usize),
}

impl Choice {
    /// Checks that something was chosen.
    ///
    /// # Errors
    /// [`NothingChosen`], with what to say.
    pub fn new(
        places: Vec<Place>,
        reason: Option<String>,
        device: Option<DeviceId>,
        all: bool,
    ) -> Result<Self, NothingChosen> {
        match (places.len(), all) {
            (0, false) if reason.is_none() && device.is_none() => Err(NothingChosen::Nothing),
            (1.., true) => Err(NothingChosen::AllAndPlaces),
            (count, _) if count > MAX_PLACES => Err(NothingChosen::TooMany(count)),
            (count, _) => {
                let places = (count > 0).then(|| places.into_iter().collect());
                Ok(Self { places, reason, device })
            }
        }
    }

    pub(super) fn only(place: Place) -> Self {
        Self { places: Some(BTreeSet::from([place])), ..Self::default() }
    }

    /// Places that were named.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.places.iter().flatten().copied()
    }

    /// The first offset in the partition of `from`, at that or behind it, that may hold a letter of the choice.
    pub(super) fn next_at_or_after(&self, from: Place) -> Option<u64> {
        let Some(places) = &self.places else { return Some(from.offset) };
        places.range(from..).next().filter(|next| next.partition == from.partition).map(|next| next.offset)
    }

    pub(super) fn takes(&self, letter: &Letter) -> bool {
        self.places.as_ref().is_none_or(|places| places.contains(&letter.place))
            && self.reason.as_ref().is_none_or(|reason| is_for(letter, reason))
            && self.device.is_none_or(|device| is_of(letter, device))
    }
}

/// Whether that is why; some letters say more behind a colon.
fn is_for(letter: &Letter, reason: &str) -> bool {
    letter.reason.strip_prefix(reason).is_some_and(|more| more.is_empty() || more.starts_with(':'))
}

/// Whether the letter is about the device; of a description that cannot be read nobody knows.
fn is_of(letter: &Letter, device: DeviceId) -> bool {
    if letter.format == Format::Description {
        return describe::decode(&letter.original).is_ok_and(|description| description.device == device);
    }
    letter.spans.iter().any(|span| span.device == device)
}
