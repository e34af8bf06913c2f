//! Requests about groups, as clients send them.

use bytes::Bytes;

use super::*;
use crate::groups::coordinator::Client;
use crate::groups::offsets::tests::start;
use crate::groups::{Groups, Options};
use crate::kafka::messages::*;

/// Without a wait for more members: answers come at once.
fn groups() -> Groups {
    let initial_rebalance_delay = std::time::Duration::ZERO;
    start(&weir_storage::FaultyFs::new(1), Options { initial_rebalance_delay, ..Options::default() })
}

fn join(group: &str, member_id: &str) -> join_group::Request {
    join_group::Request {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        member_id: member_id.into(),
        protocol_type: "consumer".into(),
        protocols: vec![join_group::Protocol { name: "range".into(), metadata: Bytes::from_static(b"?") }],
        ..join_group::Request::default()
    }
}

async fn joined(groups: &Groups, group: &str) -> join_group::Response {
    join_group(groups, &Client::default(), join(group, ""), 3).await
}

fn commit(group: &str, partitions: &[(i32, i64)]) -> offset_commit::Request {
    let partition = |(index, offset): &(i32, i64)| offset_commit::RequestPartition {
        index: *index,
        offset: *offset,
        leader_epoch: -1,
        metadata: None,
    };
    let partitions = partitions.iter().map(partition).collect();
    offset_commit::Request {
        group_id: group.into(),
        generation_id: -1,
        topics: vec![offset_commit::RequestTopic { name: "readings".into(), partitions }],
        ..offset_commit::Request::default()
    }
}

fn codes(response: &offset_commit::Response) -> Vec<ErrorCode> {
    response.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error).collect()
}

#[tokio::test]
async fn a_new_member_comes_back_under_the_name_it_is_given_from_version_4_on() {
    let groups = groups();
    let old = joined(&groups, "old").await;
    assert_eq!((old.error, old.generation_id, old.members.len()), (ErrorCode::None, 1, 1));
    let told = join_group(&groups, &Client::default(), join("new", ""), 4).await;
    assert_eq!((told.error, told.generation_id), (ErrorCode::MemberIdRequired, -1));
    let back = join_group(&groups, &Client::default(), join("new", &told.member_id), 4).await;
    assert_eq!((back.error, &back.member_id), (ErrorCode::None, &told.member_id));
    assert_eq!(back.leader, back.member_id);

    let sync = sync_group::Request {
        group_id: "new".into(),
        generation_id: back.generation_id,
        member_id: back.member_id.clone(),
        assignments: vec![sync_group::Assignment {
            member_id: back.member_id.clone(),
            assignment: Bytes::from_static(b"yours"),
        }],
        ..sync_group::Request::default()
    };
    assert_eq!(sync_group(&groups, sync).await.assignment, "yours");
    let beat = heartbeat::Request {
        group_id: "new".into(),
        generation_id: back.generation_id,
        member_id: back.member_id.clone(),
        group_instance_id: None,
    };
    assert_eq!(heartbeat(&groups, &beat).error, ErrorCode::None);
    assert_eq!(
        heartbeat(&groups, &heartbeat::Request { generation_id: 7, ..beat }).error,
        ErrorCode::IllegalGeneration
    );
    let member = |member_id: &str| leave_group::RequestMember {
        member_id: member_id.into(),
        group_instance_id: None,
        reason: None,
    };
    let members = vec![member("somebody"), member(&back.member_id)];
    let left = leave_group(&groups, leave_group::Request { group_id: "new".into(), members });
    let errors: Vec<ErrorCode> = left.members.iter().map(|member| member.error).collect();
    assert_eq!(errors, [ErrorCode::UnknownMemberId, ErrorCode::None]);
}

#[tokio::test]
async fn offsets_are_committed_read_and_deleted_each_with_its_own_error() {
    let groups = groups();
    let response = offset_commit(&groups, commit("lake", &[(0, 5), (-1, 5), (1, -5), (9, 5), (2, 7)])).await;
    let unknown = ErrorCode::UnknownTopicOrPartition;
    assert_eq!(codes(&response), [ErrorCode::None, unknown, ErrorCode::InvalidRequest, unknown, ErrorCode::None]);
    let nameless = offset_commit(&groups, commit("", &[(0, 5)])).await;
    assert_eq!(codes(&nameless), [ErrorCode::InvalidGroupId]);

    let asked = offset_fetch::RequestTopic { name: "readings".into(), partitions: vec![2, 1] };
    let one = offset_fetch::RequestGroup { group_id: "lake".into(), topics: Some(vec![asked]) };
    let all = offset_fetch::RequestGroup { group_id: "lake".into(), topics: None };
    let none = offset_fetch::RequestGroup { group_id: "nobody".into(), topics: None };
    let fetched = offset_fetch(&groups, offset_fetch::Request { groups: vec![one, all, none], require_stable: true });
    let offsets = |group: &offset_fetch::Group| -> Vec<(i32, i64)> {
        group.topics.iter().flat_map(|topic| &topic.partitions).map(|found| (found.index, found.offset)).collect()
    };
    let found: Vec<_> = fetched.groups.iter().map(offsets).collect();
    assert_eq!(found, [vec![(2, 7), (1, -1)], vec![(0, 5), (2, 7)], vec![]]);
    assert!(fetched.groups.iter().all(|group| group.error.is_none()), "no offsets are no error");

    let place = |group: &str| offset_delete::Request {
        group_id: group.into(),
        topics: vec![offset_delete::RequestTopic { name: "readings".into(), partitions: vec![0, -1] }],
    };
    let deleted = offset_delete(&groups, place("lake")).await;
    let errors: Vec<ErrorCode> = deleted.topics[0].partitions.iter().map(|partition| partition.error).collect();
    assert_eq!(errors, [ErrorCode::None, unknown]);
    assert_eq!(groups.offset("lake", "readings", 0), None);
    assert_eq!(offset_delete(&groups, place("nobody")).await.error, ErrorCode::GroupIdNotFound);
}

#[tokio::test]
async fn groups_are_listed_by_state_described_and_deleted_when_they_are_empty() {
    let groups = groups();
    offset_commit(&groups, commit("idle", &[(0, 5)])).await;
    joined(&groups, "busy").await;
    let listed = |states: &[&str], types: &[&str]| -> Vec<String> {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let response = list_groups(&groups, &list_groups::Request { states: texts(states), types: texts(types) });
        response.groups.into_iter().map(|group| group.group_id).collect()
    };
    assert_eq!(listed(&[], &[]), ["busy", "idle"]);
    assert_eq!(listed(&["empty"], &["Classic"]), ["idle"]);
    assert_eq!(listed(&["Stable"], &[]), [""; 0]);
    assert_eq!(listed(&[], &["consumer"]), [""; 0], "groups of the newer kind");

    let names = ["busy", "idle", "nobody", ""].map(str::to_owned);
    let request = describe_groups::Request { groups: names.to_vec(), include_authorized_operations: false };
    let described = describe_groups(&groups, request).groups;
    let states: Vec<(&str, usize)> = described.iter().map(|group| (&*group.state, group.members.len())).collect();
    assert_eq!(states, [("CompletingRebalance", 1), ("Empty", 0), ("Dead", 0), ("Dead", 0)]);
    assert_eq!(described[3].error, ErrorCode::InvalidGroupId);

    let deleted = delete_groups(&groups, delete_groups::Request { groups: names.to_vec() }).await;
    let errors: Vec<ErrorCode> = deleted.groups.iter().map(|group| group.error).collect();
    let missing = ErrorCode::GroupIdNotFound;
    assert_eq!(errors, [ErrorCode::NonEmptyGroup, ErrorCode::None, missing, ErrorCode::InvalidGroupId]);
    assert_eq!(listed(&[], &[]), ["busy"]);
}

#[tokio::test]
async fn a_group_that_is_named_a_thousand_times_is_told_once() {
    let groups = groups();
    assert_eq!(codes(&offset_commit(&groups, commit("lake", &[(0, 10), (1, 20)])).await), [ErrorCode::None; 2]);
    let request = describe_groups::Request { groups: vec!["lake".to_owned(); 1000], ..Default::default() };
    assert_eq!(describe_groups(&groups, request).groups.len(), 1);
    let topic = offset_fetch::RequestTopic { name: "readings".into(), partitions: [0, 1].repeat(500) };
    let group = offset_fetch::RequestGroup { group_id: "lake".into(), topics: Some(vec![topic; 10]) };
    let request = offset_fetch::Request { groups: vec![group; 10], require_stable: false };
    let answer = offset_fetch(&groups, request);
    let offsets = answer.groups.iter().flat_map(|group| &group.topics).flat_map(|topic| &topic.partitions);
    assert_eq!(offsets.map(|partition| partition.offset).collect::<Vec<_>>(), [10, 20]);
}
