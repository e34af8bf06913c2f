//! What operators do over Kafka: deleting groups and offsets, which is in the audit as it is over HTTP.
//!
//! What it guarantees: an act is in the audit before it is done and, with its error code, before it is answered; one that cannot
//! be written is not done.

use super::Kafka;
use super::dispatch::Client;
use super::handlers::groups;
use super::messages::{ErrorCode, delete_groups, offset_delete};
use crate::access::audit::NotWritten;

/// DeleteGroups.
pub(super) async fn delete_groups(
    kafka: &Kafka,
    client: &Client,
    request: delete_groups::Request,
) -> delete_groups::Response {
    let named = request.groups.clone();
    let first = |response: &delete_groups::Response| {
        response.groups.iter().map(|group| group.error).find(|error| !error.is_none()).unwrap_or_default()
    };
    let act = groups::delete_groups(&kafka.groups, request);
    act_of(kafka, client, ("DeleteGroups", &named.join(", ")), act, first).await.unwrap_or_else(|error| {
        let refused = |group_id| delete_groups::Group { group_id, error };
        delete_groups::Response { groups: named.into_iter().map(refused).collect() }
    })
}

/// OffsetDelete.
pub(super) async fn offset_delete(
    kafka: &Kafka,
    client: &Client,
    request: offset_delete::Request,
) -> offset_delete::Response {
    let group = request.group_id.clone();
    let act = groups::offset_delete(&kafka.groups, request);
    let done = act_of(kafka, client, ("OffsetDelete", &group), act, |response| response.error).await;
    done.unwrap_or_else(|error| offset_delete::Response { error, topics: Vec::new() })
}

/// Does something that the audit has; `error` says how it ended.
async fn act_of<R>(
    kafka: &Kafka,
    client: &Client,
    (name, target): (&str, &str),
    act: impl Future<Output = R>,
    error: impl Fn(&R) -> ErrorCode,
) -> Result<R, ErrorCode> {
    let Some(access) = &kafka.access else { return Ok(act.await) };
    let not_written = |why: NotWritten| {
        tracing::error!(%why, "{name} over Kafka");
        kafka.counters.failed(ErrorCode::KafkaStorageError)
    };
    let id = access.new_id().ok_or_else(|| kafka.counters.failed(ErrorCode::UnknownServerError))?;
    let begun = access.audit().begin(&client.caller(), name, &id, target).await.map_err(not_written)?;
    let done = act.await;
    let error = error(&done);
    begun.end(error.is_none(), &error.number().to_string()).await.map_err(not_written)?;
    Ok(done)
}
