//! Requests about groups: from Kafka's messages to [`crate::groups`] and back.
//!
//! Nothing is decided here. What is said of a group that does not exist differs from request to request, as Kafka has it.

mod members;
mod offsets;
mod operators;
#[cfg(test)]
mod tests;

use crate::groups::{Error, Generation, InstanceId, MemberId, Speaker};
use crate::kafka::messages::ErrorCode;

pub use members::{heartbeat, join_group, leave_group, sync_group};
pub use offsets::{offset_commit, offset_delete, offset_fetch};
pub use operators::{delete_groups, describe_groups, list_groups};

/// What Kafka calls a refusal.
fn code(error: &Error) -> ErrorCode {
    match error {
        Error::GroupId => ErrorCode::InvalidGroupId,
        Error::SessionTimeout { .. } => ErrorCode::InvalidSessionTimeout,
        Error::Protocol => ErrorCode::InconsistentGroupProtocol,
        Error::MemberIdRequired(_) => ErrorCode::MemberIdRequired,
        Error::UnknownMember => ErrorCode::UnknownMemberId,
        Error::Fenced => ErrorCode::FencedInstanceId,
        Error::Generation => ErrorCode::IllegalGeneration,
        Error::Rebalancing => ErrorCode::RebalanceInProgress,
        Error::GroupFull => ErrorCode::GroupMaxSizeReached,
        // Clients wait and try again.
        Error::TooMuch | Error::NotWritten(_) | Error::Stopping => ErrorCode::CoordinatorNotAvailable,
        Error::Invalid => ErrorCode::InvalidRequest,
        Error::NotFound => ErrorCode::GroupIdNotFound,
        Error::NotEmpty => ErrorCode::NonEmptyGroup,
        Error::Subscribed => ErrorCode::GroupSubscribedToTopic,
        Error::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
        Error::Metadata => ErrorCode::OffsetMetadataTooLarge,
        Error::TooManyOffsets => ErrorCode::InvalidCommitOffsetSize,
    }
}

fn code_of<T>(result: &Result<T, Error>) -> ErrorCode {
    result.as_ref().map_or_else(code, |_| ErrorCode::None)
}

/// A member id; empty means none. One that is too long is nobody's.
fn member(text: &str) -> Result<Option<MemberId>, Error> {
    match text {
        "" => Ok(None),
        _ => MemberId::new(text).map(Some).ok_or(Error::UnknownMember),
    }
}

/// An instance id, if there is one.
fn instance(text: Option<&str>) -> Result<Option<InstanceId>, Error> {
    text.map(|text| InstanceId::new(text).ok_or(Error::Invalid)).transpose()
}

fn speaker(member_id: &str, instance_id: Option<&str>, generation: i32) -> Result<Speaker, Error> {
    Ok(Speaker { member: member(member_id)?, instance: instance(instance_id)?, generation: Generation(generation) })
}
