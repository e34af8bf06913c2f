//! Groups and their members.

use bytes::Bytes;
use kafka_protocol::messages as theirs;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;

use super::{NODE, agree, group, text, when};
use crate::kafka::messages::{
    ApiKey, ErrorCode, Request, delete_groups, describe_groups, find_coordinator, heartbeat, join_group, leave_group,
    list_groups, sync_group,
};

fn some(known: bool, value: &str) -> Option<String> {
    known.then(|| value.to_owned())
}

pub(super) fn find_coordinator(version: i16) -> Bytes {
    let batched = version >= 4;
    let names: &[&str] = if batched { &["g", "h"] } else { &["g"] };
    let key_type = when(version >= 1, 1);
    let asked = theirs::FindCoordinatorRequest::default()
        .with_key(text(when(!batched, "g")))
        .with_key_type(key_type)
        .with_coordinator_keys(if batched { names.iter().map(|name| text(name)).collect() } else { Vec::new() });
    let expected = find_coordinator::Request { key_type, keys: names.iter().map(|name| (*name).to_owned()).collect() };
    let response = find_coordinator::Response {
        coordinators: vec![find_coordinator::Coordinator {
            key: "g".to_owned(),
            node_id: 0,
            host: "127.0.0.1".to_owned(),
            port: 9092,
            error: ErrorCode::CoordinatorNotAvailable,
            error_message: Some("why".to_owned()),
        }],
    };
    let answered = if batched {
        let coordinator = Coordinator::default()
            .with_key(text("g"))
            .with_node_id(NODE)
            .with_host(text("127.0.0.1"))
            .with_port(9092)
            .with_error_code(15)
            .with_error_message(Some(text("why")));
        theirs::FindCoordinatorResponse::default().with_coordinators(vec![coordinator])
    } else {
        theirs::FindCoordinatorResponse::default()
            .with_error_code(15)
            .with_error_message(if version >= 1 { Some(text("why")) } else { Some(text("")) })
            .with_node_id(NODE)
            .with_host(text("127.0.0.1"))
            .with_port(9092)
    };
    agree(
        ApiKey::FindCoordinator,
        version,
        asked,
        Request::FindCoordinator(expected),
        |out| response.encode(out, version),
        answered,
    )
}

pub(super) fn join(version: i16) -> Bytes {
    let asked = theirs::JoinGroupRequest::default()
        .with_group_id(group("g"))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(if version >= 1 { 60_000 } else { -1 })
        .with_member_id(text("member"))
        .with_group_instance_id(when(version >= 5, Some(text("instance"))))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![
            JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(Bytes::from_static(b"topics")),
        ])
        .with_reason(when(version >= 8, Some(text("why"))));
    let protocol = join_group::Protocol { name: "range".to_owned(), metadata: Bytes::from_static(b"topics") };
    let expected = join_group::Request {
        group_id: "g".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: if version >= 1 { 60_000 } else { 10_000 },
        member_id: "member".to_owned(),
        group_instance_id: some(version >= 5, "instance"),
        protocol_type: "consumer".to_owned(),
        protocols: vec![protocol],
        reason: some(version >= 8, "why"),
    };
    let response = join_group::Response {
        error: ErrorCode::MemberIdRequired,
        generation_id: 5,
        protocol_type: some(true, "consumer"),
        protocol_name: some(true, "range"),
        leader: "leader".to_owned(),
        skip_assignment: true,
        member_id: "member".to_owned(),
        members: vec![join_group::Member {
            member_id: "other".to_owned(),
            group_instance_id: some(true, "instance"),
            metadata: Bytes::from_static(b"topics"),
        }],
    };
    let member = JoinGroupResponseMember::default()
        .with_member_id(text("other"))
        .with_group_instance_id(when(version >= 5, Some(text("instance"))))
        .with_metadata(Bytes::from_static(b"topics"));
    let answered = theirs::JoinGroupResponse::default()
        .with_error_code(79)
        .with_generation_id(5)
        .with_protocol_type(when(version >= 7, Some(text("consumer"))))
        .with_protocol_name(Some(text("range")))
        .with_leader(text("leader"))
        .with_skip_assignment(version >= 9)
        .with_member_id(text("member"))
        .with_members(vec![member]);
    agree(
        ApiKey::JoinGroup,
        version,
        asked,
        Request::JoinGroup(expected),
        |out| response.encode(out, version),
        answered,
    )
}

pub(super) fn sync(version: i16) -> Bytes {
    let asked = theirs::SyncGroupRequest::default()
        .with_group_id(group("g"))
        .with_generation_id(5)
        .with_member_id(text("member"))
        .with_group_instance_id(when(version >= 3, Some(text("instance"))))
        .with_protocol_type(when(version >= 5, Some(text("consumer"))))
        .with_protocol_name(when(version >= 5, Some(text("range"))))
        .with_assignments(vec![
            SyncGroupRequestAssignment::default()
                .with_member_id(text("other"))
                .with_assignment(Bytes::from_static(b"share")),
        ]);
    let assignment = sync_group::Assignment { member_id: "other".to_owned(), assignment: Bytes::from_static(b"share") };
    let expected = sync_group::Request {
        group_id: "g".to_owned(),
        generation_id: 5,
        member_id: "member".to_owned(),
        group_instance_id: some(version >= 3, "instance"),
        protocol_type: some(version >= 5, "consumer"),
        protocol_name: some(version >= 5, "range"),
        assignments: vec![assignment],
    };
    let response = sync_group::Response {
        error: ErrorCode::RebalanceInProgress,
        protocol_type: some(true, "consumer"),
        protocol_name: some(true, "range"),
        assignment: Bytes::from_static(b"share"),
    };
    let answered = theirs::SyncGroupResponse::default()
        .with_error_code(27)
        .with_protocol_type(when(version >= 5, Some(text("consumer"))))
        .with_protocol_name(when(version >= 5, Some(text("range"))))
        .with_assignment(Bytes::from_static(b"share"));
    agree(
        ApiKey::SyncGroup,
        version,
        asked,
        Request::SyncGroup(expected),
        |out| response.encode(out, version),
        answered,
    )
}

pub(super) fn heartbeat(version: i16) -> Bytes {
    let asked = theirs::HeartbeatRequest::default()
        .with_group_id(group("g"))
        .with_generation_id(5)
        .with_member_id(text("member"))
        .with_group_instance_id(when(version >= 3, Some(text("instance"))));
    let expected = heartbeat::Request {
        group_id: "g".to_owned(),
        generation_id: 5,
        member_id: "member".to_owned(),
        group_instance_id: some(version >= 3, "instance"),
    };
    let response = heartbeat::Response { error: ErrorCode::IllegalGeneration };
    let answered = theirs::HeartbeatResponse::default().with_error_code(22);
    agree(
        ApiKey::Heartbeat,
        version,
        asked,
        Request::Heartbeat(expected),
        |out| response.encode(out, version),
        answered,
    )
}

pub(super) fn leave(version: i16) -> Bytes {
    let batched = version >= 3;
    let identity = MemberIdentity::default()
        .with_member_id(text("member"))
        .with_group_instance_id(Some(text("instance")))
        .with_reason(when(version >= 5, Some(text("why"))));
    let asked = theirs::LeaveGroupRequest::default()
        .with_group_id(group("g"))
        .with_member_id(text(when(!batched, "member")))
        .with_members(if batched { vec![identity] } else { Vec::new() });
    let expected = leave_group::Request {
        group_id: "g".to_owned(),
        members: vec![leave_group::RequestMember {
            member_id: "member".to_owned(),
            group_instance_id: some(batched, "instance"),
            reason: some(version >= 5, "why"),
        }],
    };
    let response = leave_group::Response {
        error: ErrorCode::None,
        members: vec![leave_group::Member {
            member_id: "member".to_owned(),
            group_instance_id: some(true, "instance"),
            error: ErrorCode::UnknownMemberId,
        }],
    };
    let member = MemberResponse::default()
        .with_member_id(text("member"))
        .with_group_instance_id(Some(text("instance")))
        .with_error_code(25);
    let answered = theirs::LeaveGroupResponse::default().with_error_code(when(!batched, 25)).with_members(if batched {
        vec![member]
    } else {
        Vec::new()
    });
    agree(
        ApiKey::LeaveGroup,
        version,
        asked,
        Request::LeaveGroup(expected),
        |out| response.encode(out, version),
        answered,
    )
}

pub(super) fn describe(version: i16) -> Bytes {
    let asked = theirs::DescribeGroupsRequest::default()
        .with_groups(vec![group("g"), group("h")])
        .with_include_authorized_operations(version >= 3);
    let expected = describe_groups::Request {
        groups: vec!["g".to_owned(), "h".to_owned()],
        include_authorized_operations: version >= 3,
    };
    let response = describe_groups::Response {
        groups: vec![describe_groups::Group {
            error: ErrorCode::GroupIdNotFound,
            group_id: "g".to_owned(),
            state: "Stable".to_owned(),
            protocol_type: "consumer".to_owned(),
            protocol: "range".to_owned(),
            members: vec![describe_groups::Member {
                member_id: "member".to_owned(),
                group_instance_id: some(true, "instance"),
                client_id: "client".to_owned(),
                client_host: "/127.0.0.1".to_owned(),
                metadata: Bytes::from_static(b"topics"),
                assignment: Bytes::from_static(b"share"),
            }],
        }],
    };
    let member = DescribedGroupMember::default()
        .with_member_id(text("member"))
        .with_group_instance_id(when(version >= 4, Some(text("instance"))))
        .with_client_id(text("client"))
        .with_client_host(text("/127.0.0.1"))
        .with_member_metadata(Bytes::from_static(b"topics"))
        .with_member_assignment(Bytes::from_static(b"share"));
    let answered = theirs::DescribeGroupsResponse::default().with_groups(vec![
        DescribedGroup::default()
            .with_error_code(69)
            .with_group_id(group("g"))
            .with_group_state(text("Stable"))
            .with_protocol_type(text("consumer"))
            .with_protocol_data(text("range"))
            .with_members(vec![member]),
    ]);
    agree(
        ApiKey::DescribeGroups,
        version,
        asked,
        Request::DescribeGroups(expected),
        |out| response.encode(out, version),
        answered,
    )
}

pub(super) fn list(version: i16) -> Bytes {
    let asked = theirs::ListGroupsRequest::default()
        .with_states_filter(when(version >= 4, vec![text("Stable"), text("Empty")]))
        .with_types_filter(when(version >= 5, vec![text("classic")]));
    let expected = list_groups::Request {
        states: when(version >= 4, vec!["Stable".to_owned(), "Empty".to_owned()]),
        types: when(version >= 5, vec!["classic".to_owned()]),
    };
    let response = list_groups::Response {
        error: ErrorCode::CoordinatorNotAvailable,
        groups: vec![list_groups::Group {
            group_id: "g".to_owned(),
            protocol_type: "consumer".to_owned(),
            state: "Stable".to_owned(),
        }],
    };
    let answered = theirs::ListGroupsResponse::default().with_error_code(15).with_groups(vec![
        ListedGroup::default()
            .with_group_id(group("g"))
            .with_protocol_type(text("consumer"))
            .with_group_state(text(when(version >= 4, "Stable")))
            .with_group_type(text(when(version >= 5, "classic"))),
    ]);
    agree(
        ApiKey::ListGroups,
        version,
        asked,
        Request::ListGroups(expected),
        |out| response.encode(out, version),
        answered,
    )
}

pub(super) fn delete(version: i16) -> Bytes {
    let asked = theirs::DeleteGroupsRequest::default().with_groups_names(vec![group("g")]);
    let expected = delete_groups::Request { groups: vec!["g".to_owned()] };
    let response = delete_groups::Response {
        groups: vec![delete_groups::Group { group_id: "g".to_owned(), error: ErrorCode::NonEmptyGroup }],
    };
    let answered = theirs::DeleteGroupsResponse::default()
        .with_results(vec![DeletableGroupResult::default().with_group_id(group("g")).with_error_code(68)]);
    agree(
        ApiKey::DeleteGroups,
        version,
        asked,
        Request::DeleteGroups(expected),
        |out| response.encode(out, version),
        answered,
    )
}
