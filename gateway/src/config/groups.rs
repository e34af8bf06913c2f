//! The table `groups`: groups of consumers, and how long their offsets are kept.

use serde::Deserialize;
use weir_protocol::settings::{ByteSize, Period, SettingsError, Source, Spanned};

use super::{unset, within};
use crate::groups::Options;

/// The table `groups`: what is over a bound is refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Groups {
    /// Groups in all, those included that have nothing but offsets.
    pub groups: Spanned<u32>,
    /// Members of one group.
    pub members: Spanned<u32>,
    /// What the members of one group take with their subscriptions and assignments.
    pub group_bytes: Spanned<ByteSize>,
    /// What they take in all groups together.
    pub bytes: Spanned<ByteSize>,
    /// The shortest time after which a consumer may ask to be given up when it is silent.
    pub session_timeout_min: Spanned<Period>,
    /// The longest.
    pub session_timeout_max: Spanned<Period>,
    /// The longest time that a rebalance waits for a member.
    pub rebalance_timeout_max: Spanned<Period>,
    /// How long an empty group waits for more members before its first assignment.
    pub initial_rebalance_delay: Spanned<Period>,
    /// Offsets of one group, one for each partition that it reads.
    pub offsets_per_group: Spanned<u32>,
    /// Offsets of all groups together.
    pub offsets: Spanned<u32>,
    /// How long the offsets of a group without members are kept.
    pub offsets_retention: Spanned<Period>,
}

impl Default for Groups {
    fn default() -> Self {
        let options = Options::default();
        let count = |count: usize| unset(u32::try_from(count).unwrap_or(u32::MAX));
        Self {
            groups: count(options.groups),
            members: count(options.members),
            group_bytes: unset(ByteSize(options.group_bytes as u64)),
            bytes: unset(ByteSize(options.bytes as u64)),
            session_timeout_min: unset(Period(options.session_timeout_min)),
            session_timeout_max: unset(Period(options.session_timeout_max)),
            rebalance_timeout_max: unset(Period(options.rebalance_timeout_max)),
            initial_rebalance_delay: unset(Period(options.initial_rebalance_delay)),
            offsets_per_group: count(options.offsets_per_group),
            offsets: count(options.offsets),
            offsets_retention: unset(Period(options.offsets_retention)),
        }
    }
}

impl Groups {
    pub(super) fn check(&self, source: &Source) -> Result<(), SettingsError> {
        within(source, "groups.groups", &self.groups, 1..=1_000_000)?;
        within(source, "groups.members", &self.members, 1..=100_000)?;
        within(source, "groups.group_bytes", &self.group_bytes, ByteSize(64 << 10)..=ByteSize::mib(1024))?;
        within(source, "groups.bytes", &self.bytes, ByteSize::mib(1)..=ByteSize::mib(16 * 1024))?;
        within(
            source,
            "groups.session_timeout_min",
            &self.session_timeout_min,
            Period::millis(100)..=Period::secs(60),
        )?;
        within(
            source,
            "groups.session_timeout_max",
            &self.session_timeout_max,
            Period::secs(60)..=Period::secs(86_400),
        )?;
        let longest = Period::secs(60)..=Period::secs(86_400);
        within(source, "groups.rebalance_timeout_max", &self.rebalance_timeout_max, longest)?;
        let delays = Period::millis(0)..=Period::secs(60);
        within(source, "groups.initial_rebalance_delay", &self.initial_rebalance_delay, delays)?;
        within(source, "groups.offsets_per_group", &self.offsets_per_group, 1..=10_000_000)?;
        within(source, "groups.offsets", &self.offsets, 1..=10_000_000)?;
        let kept = Period::secs(60)..=Period::secs(100 * 366 * 86_400);
        within(source, "groups.offsets_retention", &self.offsets_retention, kept)
    }

    /// As the coordinator takes them.
    pub fn options(&self) -> Options {
        Options {
            groups: *self.groups.get_ref() as usize,
            members: *self.members.get_ref() as usize,
            group_bytes: self.group_bytes.get_ref().0 as usize,
            bytes: self.bytes.get_ref().0 as usize,
            session_timeout_min: self.session_timeout_min.get_ref().0,
            session_timeout_max: self.session_timeout_max.get_ref().0,
            rebalance_timeout_max: self.rebalance_timeout_max.get_ref().0,
            initial_rebalance_delay: self.initial_rebalance_delay.get_ref().0,
            offsets_per_group: *self.offsets_per_group.get_ref() as usize,
            offsets: *self.offsets.get_ref() as usize,
            offsets_retention: self.offsets_retention.get_ref().0,
        }
    }
}
