//! Groups of consumers: who shares the partitions of a topic, and where each group goes on.
//!
//! What it guarantees: of the members of a group, those of one generation alone commit, by the assignment that their
//! leader made; an acknowledged offset is on disk and never goes back ([`offsets`]); groups, members, bytes and offsets
//! are bounded ([`Options`]), and what is over a bound is refused and counted.
//!
//! ```text
//! kafka handlers, http --> Groups --> Coordinator        state machine: join, sync, heartbeat, leave, time
//!                            |  \---> Table              committed offsets, as the log says
//!                            v
//!                         KeyedLog = topic weir.offsets  one partition, its own commits
//! ```
//!
//! Nothing here knows a request of Kafka: its handlers translate. Read [`coordinator`] first.

mod commits;
pub mod coordinator;
mod error;
mod lag;
mod names;
pub mod offsets;
mod options;
pub mod reset;
mod service;
mod stats;
pub mod stored;
mod subscription;
mod upkeep;

pub use commits::{Each, Place};
pub use coordinator::{GroupView, JoinRequest, Joined, Leaver, Listed, Protocol, Speaker, SyncRequest, Synced};
pub use error::Error;
pub use lag::{Lag, lags};
pub use names::{Generation, GroupId, InstanceId, MAX_NAME_BYTES, MemberId};
pub use offsets::{Commit, Committed};
pub use options::Options;
pub use service::{Groups, Opened, random_bits};
pub use stats::Stats;
pub use subscription::partitions as assigned_partitions;
