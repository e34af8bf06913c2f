//! Any request that is served.

use super::{
    ApiKey, api_versions, delete_groups, describe_cluster, describe_configs, describe_groups, fetch, find_coordinator,
    heartbeat, join_group, leave_group, list_groups, list_offsets, metadata, offset_commit, offset_delete,
    offset_fetch, produce, sasl_authenticate, sasl_handshake, sync_group,
};
use crate::kafka::wire::{Input, Malformed};

/// The body of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the file of that name")]
pub enum Request {
    Produce(produce::Request),
    Fetch(fetch::Request),
    ListOffsets(list_offsets::Request),
    Metadata(metadata::Request),
    OffsetCommit(offset_commit::Request),
    OffsetFetch(offset_fetch::Request),
    FindCoordinator(find_coordinator::Request),
    JoinGroup(join_group::Request),
    Heartbeat(heartbeat::Request),
    LeaveGroup(leave_group::Request),
    SyncGroup(sync_group::Request),
    DescribeGroups(describe_groups::Request),
    ListGroups(list_groups::Request),
    SaslHandshake(sasl_handshake::Request),
    ApiVersions(api_versions::Request),
    DescribeConfigs(describe_configs::Request),
    SaslAuthenticate(sasl_authenticate::Request),
    DeleteGroups(delete_groups::Request),
    OffsetDelete(offset_delete::Request),
    DescribeCluster(describe_cluster::Request),
}

impl Request {
    /// Reads the body of a request, after its header. Bytes that are left after it are of no concern.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not one.
    pub fn decode(key: ApiKey, input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        Ok(match key {
            ApiKey::Produce => Self::Produce(produce::Request::decode(input, version)?),
            ApiKey::Fetch => Self::Fetch(fetch::Request::decode(input, version)?),
            ApiKey::ListOffsets => Self::ListOffsets(list_offsets::Request::decode(input, version)?),
            ApiKey::Metadata => Self::Metadata(metadata::Request::decode(input, version)?),
            ApiKey::OffsetCommit => Self::OffsetCommit(offset_commit::Request::decode(input, version)?),
            ApiKey::OffsetFetch => Self::OffsetFetch(offset_fetch::Request::decode(input, version)?),
            ApiKey::FindCoordinator => Self::FindCoordinator(find_coordinator::Request::decode(input, version)?),
            ApiKey::JoinGroup => Self::JoinGroup(join_group::Request::decode(input, version)?),
            ApiKey::Heartbeat => Self::Heartbeat(heartbeat::Request::decode(input, version)?),
            ApiKey::LeaveGroup => Self::LeaveGroup(leave_group::Request::decode(input, version)?),
            ApiKey::SyncGroup => Self::SyncGroup(sync_group::Request::decode(input, version)?),
            ApiKey::DescribeGroups => Self::DescribeGroups(describe_groups::Request::decode(input, version)?),
            ApiKey::ListGroups => Self::ListGroups(list_groups::Request::decode(input, version)?),
            ApiKey::SaslHandshake => Self::SaslHandshake(sasl_handshake::Request::decode(input, version)?),
            ApiKey::ApiVersions => Self::ApiVersions(api_versions::Request::decode(input, version)?),
            ApiKey::DescribeConfigs => Self::DescribeConfigs(describe_configs::Request::decode(input, version)?),
            ApiKey::SaslAuthenticate => Self::SaslAuthenticate(sasl_authenticate::Request::decode(input, version)?),
            ApiKey::DeleteGroups => Self::DeleteGroups(delete_groups::Request::decode(input, version)?),
            ApiKey::OffsetDelete => Self::OffsetDelete(offset_delete::Request::decode(input, version)?),
            ApiKey::DescribeCluster => Self::DescribeCluster(describe_cluster::Request::decode(input, version)?),
        })
    }
}
