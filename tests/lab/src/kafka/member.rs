//! A member of a consumer group, step by step: whoever uses it decides when it joins, beats, commits and dies.
//!
//! The leader deals the partitions out one by one. Dropping a member leaves nobody a word, like a `kill -9`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, GroupId, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use super::client::Client;
use super::log::{expect, name};

/// Versions that every client of the last years speaks.
const JOIN_GROUP: i16 = 5;
const SYNC_GROUP: i16 = 3;
const HEARTBEAT: i16 = 3;
const LEAVE_GROUP: i16 = 3;
const OFFSET_COMMIT: i16 = 7;
const OFFSET_FETCH: i16 = 5;
/// The version of the subscription and the assignment, and what members and leader call how they deal.
const CONSUMER: i16 = 0;
const PROTOCOL: &str = "lab-dealt";
/// The generation of a commit that no member makes.
const NO_GENERATION: i32 = -1;

/// A group, and what its members read.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its id.
    pub id: String,
    /// The topic that its members share out.
    pub topic: String,
    /// How many partitions that has.
    pub partitions: i32,
    /// How long a member may be silent.
    pub session: Duration,
}

/// A member that has its partitions.
pub struct Member {
    client: Client,
    group: Group,
    id: StrBytes,
    generation: i32,
    /// What it may read in this generation.
    pub partitions: Vec<i32>,
}

/// What a group wants of a member that beats or commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// To go on.
    Good,
    /// To join again: others came or went, or the group has forgotten it.
    Rejoin,
}

impl Member {
    /// Joins, and returns once the group has dealt its partitions out.
    pub async fn join(gateway: SocketAddr, group: &Group) -> Result<Self> {
        let mut client = Client::connect(gateway).await?;
        let mut id = StrBytes::default();
        loop {
            let joined = join(&mut client, group, &id).await?;
            match ResponseError::try_from_code(joined.error_code) {
                None => {}
                Some(ResponseError::MemberIdRequired) => {
                    id = joined.member_id;
                    continue;
                }
                Some(error) => return Err(anyhow::Error::new(error).context("JoinGroup")),
            }
            id = joined.member_id.clone();
            let synced = client.ask(SYNC_GROUP, &sync(group, &id, &joined)?).await?;
            match ResponseError::try_from_code(synced.error_code) {
                None => {}
                // Another one came meanwhile.
                Some(ResponseError::RebalanceInProgress) => continue,
                Some(error) => return Err(anyhow::Error::new(error).context("SyncGroup")),
            }
            let partitions = dealt(synced.assignment, &group.topic)?;
            return Ok(Self { client, group: group.clone(), id, generation: joined.generation_id, partitions });
        }
    }

    /// Says that it is alive.
    pub async fn beat(&mut self) -> Result<Standing> {
        let request = HeartbeatRequest::default()
            .with_group_id(group_id(&self.group))
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone());
        standing(self.client.ask(HEARTBEAT, &request).await?.error_code, "Heartbeat")
    }

    /// Where the group goes on in each partition; nothing for those it never committed.
    pub async fn committed(&mut self) -> Result<BTreeMap<i32, u64>> {
        committed(&mut self.client, &self.group, &self.partitions).await
    }

    /// Commits the offsets to go on with. [`Standing::Good`]: they are on disk.
    pub async fn commit(&mut self, offsets: &BTreeMap<i32, u64>) -> Result<Standing> {
        let request = commit(&self.group, offsets, self.generation, self.id.clone())?;
        let answer = self.client.ask(OFFSET_COMMIT, &request).await?;
        let answers = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let codes: Vec<i16> = answers.map(|partition| partition.error_code).collect();
        if codes.len() != offsets.len() {
            bail!("{} answers to a commit of {} partitions", codes.len(), offsets.len());
        }
        let bad = codes.into_iter().find(|code| *code != 0).unwrap_or(0);
        standing(bad, "OffsetCommit")
    }

    /// Says goodbye.
    pub async fn leave(mut self) -> Result<()> {
        let request = LeaveGroupRequest::default()
            .with_group_id(group_id(&self.group))
            .with_members(vec![MemberIdentity::default().with_member_id(self.id.clone())]);
        expect(self.client.ask(LEAVE_GROUP, &request).await?.error_code, || "LeaveGroup".to_owned())
    }
}

/// Where a group goes on, asked by somebody who is no member of it.
pub async fn offsets_of(gateway: SocketAddr, group: &Group) -> Result<BTreeMap<i32, u64>> {
    let partitions: Vec<i32> = (0..group.partitions).collect();
    committed(&mut Client::connect(gateway).await?, group, &partitions).await
}

/// Commits for a group that has no members.
pub async fn commit_alone(client: &mut Client, group: &Group, offsets: &BTreeMap<i32, u64>) -> Result<()> {
    let request = commit(group, offsets, NO_GENERATION, StrBytes::default())?;
    let answer = client.ask(OFFSET_COMMIT, &request).await?;
    let mut answers = answer.topics.iter().flat_map(|topic| &topic.partitions);
    answers.try_for_each(|partition| expect(partition.error_code, || format!("OffsetCommit of {}", group.id)))
}

async fn join(client: &mut Client, group: &Group, id: &StrBytes) -> Result<JoinGroupResponse> {
    let subscription = ConsumerProtocolSubscription::default().with_topics(vec![text(&group.topic)]);
    let protocol =
        JoinGroupRequestProtocol::default().with_name(text(PROTOCOL)).with_metadata(versioned(&subscription)?);
    let session = i32::try_from(group.session.as_millis())?;
    let request = JoinGroupRequest::default()
        .with_group_id(group_id(group))
        .with_session_timeout_ms(session)
        .with_rebalance_timeout_ms(session)
        .with_member_id(id.clone())
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    client.ask(JOIN_GROUP, &request).await
}

/// The leader deals; the others only ask.
fn sync(group: &Group, id: &StrBytes, joined: &JoinGroupResponse) -> Result<SyncGroupRequest> {
    let mut assignments = Vec::new();
    for (number, member) in joined.members.iter().enumerate() {
        let partitions = (number as i32..group.partitions).step_by(joined.members.len()).collect();
        let dealt = TopicPartition::default().with_topic(name(&group.topic)).with_partitions(partitions);
        let assignment = ConsumerProtocolAssignment::default().with_assigned_partitions(vec![dealt]);
        let assignment = SyncGroupRequestAssignment::default()
            .with_member_id(member.member_id.clone())
            .with_assignment(versioned(&assignment)?);
        assignments.push(assignment);
    }
    Ok(SyncGroupRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id(joined.generation_id)
        .with_member_id(id.clone())
        .with_assignments(assignments))
}

/// The partitions in an assignment. Empty bytes, which is what members of no leader get, mean none.
fn dealt(mut assignment: Bytes, topic: &str) -> Result<Vec<i32>> {
    if assignment.remaining() < size_of::<i16>() {
        return Ok(Vec::new());
    }
    let version = assignment.get_i16();
    let assignment = ConsumerProtocolAssignment::decode(&mut assignment, version).context("an assignment")?;
    let of_topic = assignment.assigned_partitions.into_iter().filter(|dealt| dealt.topic.as_str() == topic);
    Ok(of_topic.flat_map(|dealt| dealt.partitions).collect())
}

async fn committed(client: &mut Client, group: &Group, partitions: &[i32]) -> Result<BTreeMap<i32, u64>> {
    let asked =
        OffsetFetchRequestTopic::default().with_name(name(&group.topic)).with_partition_indexes(partitions.to_vec());
    let request = OffsetFetchRequest::default().with_group_id(group_id(group)).with_topics(Some(vec![asked]));
    let answer = client.ask(OFFSET_FETCH, &request).await?;
    expect(answer.error_code, || "OffsetFetch".to_owned())?;
    let mut offsets = BTreeMap::new();
    for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
        expect(partition.error_code, || format!("OffsetFetch of partition {}", partition.partition_index))?;
        // -1: never committed.
        if let Ok(offset) = u64::try_from(partition.committed_offset) {
            offsets.insert(partition.partition_index, offset);
        }
    }
    Ok(offsets)
}

fn commit(
    group: &Group,
    offsets: &BTreeMap<i32, u64>,
    generation: i32,
    member: StrBytes,
) -> Result<OffsetCommitRequest> {
    let mut partitions = Vec::new();
    for (partition, offset) in offsets {
        let offset = i64::try_from(*offset).context("an offset")?;
        let asked =
            OffsetCommitRequestPartition::default().with_partition_index(*partition).with_committed_offset(offset);
        partitions.push(asked);
    }
    let topic = OffsetCommitRequestTopic::default().with_name(name(&group.topic)).with_partitions(partitions);
    Ok(OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id_or_member_epoch(generation)
        .with_member_id(member)
        .with_topics(vec![topic]))
}

fn standing(code: i16, what: &str) -> Result<Standing> {
    match ResponseError::try_from_code(code) {
        None => Ok(Standing::Good),
        Some(
            ResponseError::RebalanceInProgress
            | ResponseError::IllegalGeneration
            | ResponseError::UnknownMemberId
            | ResponseError::NotCoordinator
            | ResponseError::CoordinatorNotAvailable
            | ResponseError::CoordinatorLoadInProgress,
        ) => Ok(Standing::Rejoin),
        Some(error) => Err(anyhow::Error::new(error).context(what.to_owned())),
    }
}

/// Subscriptions and assignments carry their version in front.
fn versioned(message: &impl Encodable) -> Result<Bytes> {
    let mut bytes = BytesMut::new();
    bytes.put_i16(CONSUMER);
    message.encode(&mut bytes, CONSUMER)?;
    Ok(bytes.freeze())
}

fn group_id(group: &Group) -> GroupId {
    GroupId(text(&group.id))
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
