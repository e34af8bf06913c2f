//! Why a request about a group is refused. What a client does next differs from one to the other.

use std::time::Duration;

use thiserror::Error;

use super::names::{MAX_NAME_BYTES, MemberId};

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// Empty or too long.
    #[error("group id: expected 1 to {MAX_NAME_BYTES} bytes")]
    GroupId,
    /// Outside of the settings.
    #[error("session timeout: got {got:?}, expected {least:?} to {most:?} (groups.session_timeout_min and _max)")]
    SessionTimeout {
        /// What was asked for.
        got: Duration,
        /// The shortest.
        least: Duration,
        /// The longest.
        most: Duration,
    },
    /// No protocol that all members have, or another kind of group.
    #[error("no assignment protocol that all members of the group have")]
    Protocol,
    /// The member is to join again under this name.
    #[error("join again as member {0}")]
    MemberIdRequired(MemberId),
    /// Not, or no longer, in the group.
    #[error("not a member of the group")]
    UnknownMember,
    /// Another consumer has taken over this instance.
    #[error("another consumer runs under the same instance id")]
    Fenced,
    /// Of an assignment that is over.
    #[error("not the generation of the group")]
    Generation,
    /// The member is to join again.
    #[error("the group rebalances")]
    Rebalancing,
    /// A bound of one group is reached.
    #[error("the group is at a bound of the settings (groups.members, groups.group_bytes)")]
    GroupFull,
    /// A bound of all groups is reached.
    #[error("a bound of all groups is reached (groups.groups, groups.bytes)")]
    TooMuch,
    /// The request contradicts itself.
    #[error("the request contradicts itself")]
    Invalid,
    /// There is no such group.
    #[error("no such group")]
    NotFound,
    /// The group has members.
    #[error("the group has members; stop its consumers first")]
    NotEmpty,
    /// Members of the group are subscribed to the topic.
    #[error("members of the group are subscribed to the topic")]
    Subscribed,
    /// There is no such topic or partition.
    #[error("no such topic or partition")]
    UnknownPartition,
    /// The text beside an offset is too long.
    #[error("metadata of an offset: expected at most {} bytes", super::offsets::MAX_METADATA_BYTES)]
    Metadata,
    /// A bound of the offsets is reached.
    #[error("too many offsets (groups.offsets_per_group, groups.offsets)")]
    TooManyOffsets,
    /// The offset did not become durable; it may be committed again.
    #[error("the offsets could not be written: {0}")]
    NotWritten(String),
    /// The gateway stops.
    #[error("the gateway stops")]
    Stopping,
}
