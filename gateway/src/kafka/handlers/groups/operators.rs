//! ListGroups, DescribeGroups, DeleteGroups.

use super::{code, code_of};
use crate::groups::coordinator::MemberView;
use crate::groups::{Error, GroupId, GroupView, Groups};
use crate::kafka::handlers::once;
use crate::kafka::messages::{ErrorCode, delete_groups, describe_groups, list_groups};

/// The state of a group that does not exist.
const DEAD: &str = "Dead";

/// Answers ListGroups.
pub fn list_groups(groups: &Groups, request: &list_groups::Request) -> list_groups::Response {
    let wants =
        |list: &[String], name: &str| list.is_empty() || list.iter().any(|want| want.eq_ignore_ascii_case(name));
    let mut listed = Vec::new();
    if wants(&request.types, list_groups::CLASSIC) {
        for group in groups.list() {
            if wants(&request.states, group.state.as_str()) {
                listed.push(list_groups::Group {
                    group_id: group.id.as_str().to_owned(),
                    protocol_type: group.protocol_type.as_deref().unwrap_or_default().to_owned(),
                    state: group.state.as_str().to_owned(),
                });
            }
        }
    }
    list_groups::Response { error: ErrorCode::None, groups: listed }
}

/// Answers DescribeGroups. A group that does not exist is a dead one.
pub fn describe_groups(groups: &Groups, request: describe_groups::Request) -> describe_groups::Response {
    let described = |id: String| match GroupId::new(&id).ok_or(Error::GroupId).map(|_| groups.view(&id)) {
        Ok(Some(view)) => of_view(view),
        Ok(None) => nobody(id, ErrorCode::None),
        Err(error) => nobody(id, code(&error)),
    };
    describe_groups::Response { groups: once(request.groups, String::clone).into_iter().map(described).collect() }
}

fn nobody(group_id: String, error: ErrorCode) -> describe_groups::Group {
    let (protocol_type, protocol) = (String::new(), String::new());
    describe_groups::Group { error, group_id, state: DEAD.to_owned(), protocol_type, protocol, members: Vec::new() }
}

fn of_view(view: GroupView) -> describe_groups::Group {
    let member = |own: MemberView| describe_groups::Member {
        member_id: own.id.as_str().to_owned(),
        group_instance_id: own.instance.map(|instance| instance.as_str().to_owned()),
        client_id: own.client.id.to_string(),
        client_host: own.client.host.to_string(),
        metadata: own.metadata,
        assignment: own.assignment,
    };
    describe_groups::Group {
        error: ErrorCode::None,
        group_id: view.id.as_str().to_owned(),
        state: view.state.as_str().to_owned(),
        protocol_type: view.protocol_type.as_deref().unwrap_or_default().to_owned(),
        protocol: view.protocol.as_deref().unwrap_or_default().to_owned(),
        members: view.members.into_iter().map(member).collect(),
    }
}

/// Answers DeleteGroups, when the deletions are on disk.
pub async fn delete_groups(groups: &Groups, request: delete_groups::Request) -> delete_groups::Response {
    let mut deleted = Vec::new();
    for group_id in request.groups {
        let result = match GroupId::new(&group_id) {
            Some(group) => groups.delete(&group).await,
            None => Err(Error::GroupId),
        };
        deleted.push(delete_groups::Group { error: code_of(&result), group_id });
    }
    delete_groups::Response { groups: deleted }
}
