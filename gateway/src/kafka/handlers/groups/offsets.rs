//! OffsetCommit, OffsetFetch, OffsetDelete.

use std::sync::Arc;

use super::{code, code_of, speaker};
use crate::groups::{Commit, Committed, Each, Error, GroupId, Groups, Place};
use crate::kafka::handlers::once;
use crate::kafka::messages::{ErrorCode, offset_commit, offset_delete, offset_fetch};

/// Answers OffsetCommit, when the offsets are on disk.
pub async fn offset_commit(groups: &Groups, request: offset_commit::Request) -> offset_commit::Response {
    let commits: Vec<Result<Commit, Error>> = commits(&request).collect();
    let good: Vec<Commit> = commits.iter().filter_map(|commit| commit.clone().ok()).collect();
    let committed = async {
        let group = GroupId::new(&request.group_id).ok_or(Error::GroupId)?;
        let speaker = speaker(&request.member_id, request.group_instance_id.as_deref(), request.generation_id)?;
        groups.commit(&group, &speaker, good).await
    };
    let mut codes = match committed.await {
        Err(error) => vec![code(&error); commits.len()],
        Ok(each) => {
            let mut each = each.into_iter();
            let one = |commit: &Result<Commit, Error>| match commit {
                Ok(_) => code_of(&each.next().unwrap_or(Err(Error::Stopping))),
                Err(error) => code(error),
            };
            commits.iter().map(one).collect()
        }
    }
    .into_iter();
    let mut topic = |asked: offset_commit::RequestTopic| offset_commit::Topic {
        name: asked.name,
        partitions: asked
            .partitions
            .iter()
            .map(|own| offset_commit::Partition { index: own.index, error: codes.next().unwrap_or_default() })
            .collect(),
    };
    offset_commit::Response { topics: request.topics.into_iter().map(&mut topic).collect() }
}

fn commits(request: &offset_commit::Request) -> impl Iterator<Item = Result<Commit, Error>> {
    request.topics.iter().flat_map(|topic| {
        let name: Arc<str> = topic.name.as_str().into();
        topic.partitions.iter().map(move |own| {
            Ok(Commit {
                topic: Arc::clone(&name),
                partition: u32::try_from(own.index).map_err(|_| Error::UnknownPartition)?,
                offset: u64::try_from(own.offset).map_err(|_| Error::Invalid)?,
                leader_epoch: own.leader_epoch,
                metadata: own.metadata.as_deref().unwrap_or_default().into(),
            })
        })
    })
}

/// Answers OffsetFetch. A group that does not exist has no offsets, which is no error.
pub fn offset_fetch(groups: &Groups, request: offset_fetch::Request) -> offset_fetch::Response {
    let group = |asked: offset_fetch::RequestGroup| {
        let known = GroupId::new(&asked.group_id).ok_or(Error::GroupId);
        let error = code_of(&known);
        let topics = match asked.topics {
            Some(topics) => {
                let topics = once(topics, |topic| topic.name.clone()).into_iter();
                topics.map(|topic| asked_for(groups, &asked.group_id, topic, error)).collect()
            }
            None => everything(groups, &asked.group_id),
        };
        offset_fetch::Group { group_id: asked.group_id, topics, error }
    };
    // Some of a group's offsets, and all of them, are two questions.
    let asked = once(request.groups, |asked| (asked.group_id.clone(), asked.topics.is_none()));
    offset_fetch::Response { groups: asked.into_iter().map(group).collect() }
}

fn asked_for(groups: &Groups, group: &str, topic: offset_fetch::RequestTopic, error: ErrorCode) -> offset_fetch::Topic {
    let partition = |index: i32| {
        let found = u32::try_from(index).ok().and_then(|number| groups.offset(group, &topic.name, number));
        partition(index, found, error)
    };
    offset_fetch::Topic {
        partitions: once(topic.partitions, |index| *index).into_iter().map(partition).collect(),
        name: topic.name.clone(),
    }
}

fn everything(groups: &Groups, group: &str) -> Vec<offset_fetch::Topic> {
    let mut topics: Vec<offset_fetch::Topic> = Vec::new();
    for ((topic, number), committed) in groups.offsets(group) {
        let Ok(index) = i32::try_from(number) else { continue };
        let found = partition(index, Some(committed), ErrorCode::None);
        match topics.last_mut().filter(|last| *last.name == *topic) {
            Some(last) => last.partitions.push(found),
            None => topics.push(offset_fetch::Topic { name: topic.to_string(), partitions: vec![found] }),
        }
    }
    topics
}

fn partition(index: i32, committed: Option<Committed>, error: ErrorCode) -> offset_fetch::Partition {
    let offset = committed.as_ref().and_then(|committed| i64::try_from(committed.offset).ok());
    offset_fetch::Partition {
        index,
        offset: offset.unwrap_or(-1),
        leader_epoch: committed.as_ref().map_or(-1, |committed| committed.leader_epoch),
        metadata: Some(committed.map_or_else(String::new, |committed| committed.metadata.to_string())),
        error,
    }
}

/// Answers OffsetDelete, when the deletions are on disk.
pub async fn offset_delete(groups: &Groups, request: offset_delete::Request) -> offset_delete::Response {
    let places: Vec<Result<Place, Error>> = request
        .topics
        .iter()
        .flat_map(|topic| {
            let name: Arc<str> = topic.name.as_str().into();
            let place = move |index: &i32| {
                let number = u32::try_from(*index).map_err(|_| Error::UnknownPartition)?;
                Ok((Arc::clone(&name), number))
            };
            topic.partitions.iter().map(place)
        })
        .collect();
    let good: Vec<Place> = places.iter().filter_map(|place| place.clone().ok()).collect();
    let deleted: Result<Each, Error> = async {
        let group = GroupId::new(&request.group_id).ok_or(Error::GroupId)?;
        groups.delete_offsets(&group, &good).await
    }
    .await;
    let mut each = match deleted {
        Err(error) => return offset_delete::Response { error: code(&error), topics: Vec::new() },
        Ok(each) => each.into_iter(),
    };
    let mut places = places.iter();
    let mut topic = |asked: offset_delete::RequestTopic| offset_delete::Topic {
        name: asked.name,
        partitions: asked
            .partitions
            .into_iter()
            .map(|index| {
                let error = match places.next() {
                    Some(Err(error)) => code(error),
                    _ => code_of(&each.next().unwrap_or(Err(Error::Stopping))),
                };
                offset_delete::Partition { index, error }
            })
            .collect(),
    };
    offset_delete::Response { error: ErrorCode::None, topics: request.topics.into_iter().map(&mut topic).collect() }
}
