//! The requests that are served and their responses, one file for each API.
//!
//! Each has `Request::decode` and `Response::encode` for every version in [`SUPPORTED`], and the constant `API` that
//! says which these are. A request of an old version becomes the newest shape (one member to leave is a list of one),
//! so that handlers know one shape. Fields that a version lacks have the default that the protocol gives them. Every
//! response says a throttle time of 0: clients are slowed down by not being read.
//!
//! Format: <https://kafka.apache.org/protocol#protocol_messages>; what a field means is said in the message definitions
//! of Kafka, `clients/src/main/resources/common/message/*.json`.

pub mod api_versions;
pub mod delete_groups;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod error;
pub mod fetch;
pub mod find_coordinator;
pub mod header;
pub mod heartbeat;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod list_offsets;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod produce;
mod request;
pub mod sasl_authenticate;
pub mod sasl_handshake;
pub mod sync_group;

pub use error::ErrorCode;
pub use header::RequestHeader;
pub use request::Request;

#[cfg(test)]
mod tests;

/// The APIs that are served, by their number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i16)]
#[expect(missing_docs, reason = "each is the file of that name")]
pub enum ApiKey {
    Produce = 0,
    Fetch = 1,
    ListOffsets = 2,
    Metadata = 3,
    OffsetCommit = 8,
    OffsetFetch = 9,
    FindCoordinator = 10,
    JoinGroup = 11,
    Heartbeat = 12,
    LeaveGroup = 13,
    SyncGroup = 14,
    DescribeGroups = 15,
    ListGroups = 16,
    SaslHandshake = 17,
    ApiVersions = 18,
    DescribeConfigs = 32,
    SaslAuthenticate = 36,
    DeleteGroups = 42,
    OffsetDelete = 47,
    DescribeCluster = 60,
}

/// An API and the versions of it that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supported {
    /// Which.
    pub key: ApiKey,
    /// The oldest version.
    pub min: i16,
    /// The newest.
    pub max: i16,
    /// From this version on the encoding is flexible; above `max` if no version here is.
    pub flexible_from: i16,
}

/// What is advertised.
pub const SUPPORTED: [Supported; 20] = [
    produce::API,
    fetch::API,
    list_offsets::API,
    metadata::API,
    offset_commit::API,
    offset_fetch::API,
    find_coordinator::API,
    join_group::API,
    heartbeat::API,
    leave_group::API,
    sync_group::API,
    describe_groups::API,
    list_groups::API,
    sasl_handshake::API,
    api_versions::API,
    describe_configs::API,
    sasl_authenticate::API,
    delete_groups::API,
    offset_delete::API,
    describe_cluster::API,
];

impl ApiKey {
    /// The number on the wire.
    pub const fn number(self) -> i16 {
        self as i16
    }
}

impl Supported {
    /// The API with that number, if it is served at all.
    pub fn of(api_key: i16) -> Option<&'static Self> {
        SUPPORTED.iter().find(|api| api.key.number() == api_key)
    }

    /// Whether this version is served.
    pub fn serves(&self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }

    /// Whether this version has the flexible encoding.
    pub fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_from
    }
}
