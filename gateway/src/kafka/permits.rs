//! Which role each API needs.

use super::messages::{ApiKey, ErrorCode, Request, delete_groups, offset_delete};
use super::wire::Output;
use crate::access::Role;

/// The role. Consuming in a group, offsets included, is reading.
pub(super) const fn role(key: ApiKey) -> Role {
    match key {
        ApiKey::DeleteGroups | ApiKey::OffsetDelete => Role::Operator,
        ApiKey::ApiVersions
        | ApiKey::SaslHandshake
        | ApiKey::SaslAuthenticate
        | ApiKey::Produce
        | ApiKey::Metadata
        | ApiKey::ListOffsets
        | ApiKey::Fetch
        | ApiKey::DescribeConfigs
        | ApiKey::DescribeCluster
        | ApiKey::FindCoordinator
        | ApiKey::JoinGroup
        | ApiKey::SyncGroup
        | ApiKey::Heartbeat
        | ApiKey::LeaveGroup
        | ApiKey::OffsetCommit
        | ApiKey::OffsetFetch
        | ApiKey::ListGroups
        | ApiKey::DescribeGroups => Role::Viewer,
    }
}

/// Writes that a request was refused: one of those that a viewer may not send.
pub(super) fn refuse(request: &Request, error: ErrorCode, out: &mut Output, version: i16) {
    match request {
        Request::DeleteGroups(request) => {
            let refused = |group_id: &String| delete_groups::Group { group_id: group_id.clone(), error };
            delete_groups::Response { groups: request.groups.iter().map(refused).collect() }.encode(out, version);
        }
        _ => offset_delete::Response { error, topics: Vec::new() }.encode(out, version),
    }
}
