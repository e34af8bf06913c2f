//! JoinGroup, SyncGroup, Heartbeat, LeaveGroup.

use std::time::Duration;

use bytes::Bytes;

use super::{code, code_of, instance, member, speaker};
use crate::groups::coordinator::Client;
use crate::groups::{Error, GroupId, Groups, JoinRequest, Joined, Leaver, Protocol, SyncRequest, Synced};
use crate::kafka::messages::{ErrorCode, heartbeat, join_group, leave_group, sync_group};

/// From this version on a new member comes back under the name it is given.
const COMES_BACK_FROM: i16 = 4;
/// From this version on a leader can be told that the assignment stays.
const SKIPS_FROM: i16 = 9;

/// Answers JoinGroup, when the others have joined too.
pub async fn join_group(
    groups: &Groups,
    client: &Client,
    request: join_group::Request,
    version: i16,
) -> join_group::Response {
    let asked_as = request.member_id.clone();
    match join(groups, client, request, version).await {
        Ok(joined) => accepted(joined),
        Err(error) => {
            let member_id = match &error {
                Error::MemberIdRequired(member) => member.as_str().to_owned(),
                _ => asked_as,
            };
            join_group::Response {
                error: code(&error),
                generation_id: -1,
                // Before version 7 it may not be null, and nobody reads it.
                protocol_name: (version < 7).then(String::new),
                member_id,
                ..join_group::Response::default()
            }
        }
    }
}

async fn join(groups: &Groups, client: &Client, request: join_group::Request, version: i16) -> Result<Joined, Error> {
    let group = GroupId::new(&request.group_id).ok_or(Error::GroupId)?;
    let protocol =
        |own: join_group::Protocol| Protocol { name: own.name.as_str().into(), metadata: detached(&own.metadata) };
    let join = JoinRequest {
        member: member(&request.member_id)?,
        instance: instance(request.group_instance_id.as_deref())?,
        client: client.clone(),
        session_timeout: millis(request.session_timeout_ms),
        rebalance_timeout: millis(request.rebalance_timeout_ms),
        protocol_type: request.protocol_type.as_str().into(),
        protocols: request.protocols.into_iter().map(protocol).collect(),
        comes_back: version >= COMES_BACK_FROM,
        can_skip: version >= SKIPS_FROM,
    };
    groups.join(&group, join).await
}

fn accepted(joined: Joined) -> join_group::Response {
    let member = |own: crate::groups::coordinator::JoinedMember| join_group::Member {
        member_id: own.member.as_str().to_owned(),
        group_instance_id: own.instance.map(|instance| instance.as_str().to_owned()),
        metadata: own.metadata,
    };
    join_group::Response {
        error: ErrorCode::None,
        generation_id: joined.generation.0,
        protocol_type: joined.protocol_type.as_deref().map(str::to_owned),
        protocol_name: joined.protocol.as_deref().map(str::to_owned),
        leader: joined.leader.as_str().to_owned(),
        skip_assignment: joined.skips_assignment,
        member_id: joined.member.as_str().to_owned(),
        members: joined.members.into_iter().map(member).collect(),
    }
}

/// Answers SyncGroup, when the leader has spoken.
pub async fn sync_group(groups: &Groups, request: sync_group::Request) -> sync_group::Response {
    match sync(groups, request).await {
        Ok(Synced { protocol_type, protocol, assignment }) => sync_group::Response {
            error: ErrorCode::None,
            protocol_type: protocol_type.as_deref().map(str::to_owned),
            protocol_name: protocol.as_deref().map(str::to_owned),
            assignment,
        },
        Err(error) => sync_group::Response { error: code(&error), ..sync_group::Response::default() },
    }
}

async fn sync(groups: &Groups, request: sync_group::Request) -> Result<Synced, Error> {
    check_group(&request.group_id)?;
    let speaker = speaker(&request.member_id, request.group_instance_id.as_deref(), request.generation_id)?;
    let assigned = |own: sync_group::Assignment| {
        Ok((member(&own.member_id)?.ok_or(Error::UnknownMember)?, detached(&own.assignment)))
    };
    let sync = SyncRequest {
        speaker,
        protocol_type: request.protocol_type.as_deref().map(Into::into),
        protocol: request.protocol_name.as_deref().map(Into::into),
        assignments: request.assignments.into_iter().map(assigned).collect::<Result<_, Error>>()?,
    };
    groups.sync(&request.group_id, sync).await
}

/// Answers Heartbeat.
pub fn heartbeat(groups: &Groups, request: &heartbeat::Request) -> heartbeat::Response {
    let lives = check_group(&request.group_id)
        .and_then(|()| speaker(&request.member_id, request.group_instance_id.as_deref(), request.generation_id))
        .and_then(|speaker| groups.heartbeat(&request.group_id, &speaker));
    heartbeat::Response { error: code_of(&lives) }
}

/// Answers LeaveGroup. Before version 3 the one member's error is that of the request; the encoding sees to it.
pub fn leave_group(groups: &Groups, request: leave_group::Request) -> leave_group::Response {
    if let Err(error) = check_group(&request.group_id) {
        return leave_group::Response { error: code(&error), members: Vec::new() };
    }
    let members = request.members.into_iter().map(|named| {
        let leaver = member(&named.member_id)
            .and_then(|member| Ok(Leaver { member, instance: instance(named.group_instance_id.as_deref())? }));
        let left = leaver.and_then(|leaver| groups.leave(&request.group_id, &[leaver]).pop().unwrap_or(Ok(())));
        leave_group::Member {
            member_id: named.member_id,
            group_instance_id: named.group_instance_id,
            error: code_of(&left),
        }
    });
    leave_group::Response { error: ErrorCode::None, members: members.collect() }
}

fn check_group(id: &str) -> Result<(), Error> {
    GroupId::new(id).map(|_| ()).ok_or(Error::GroupId)
}

/// A copy: what a member says is kept for as long as it is a member, and the bytes of its request must not be.
fn detached(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn millis(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
