//! Produce: nobody may.

use crate::kafka::Kafka;
use crate::kafka::messages::ErrorCode;
use crate::kafka::messages::produce::{Request, Response};

pub(in crate::kafka) fn answer(kafka: &Kafka, request: Request) -> Response {
    // The one refusal that every client shows at once and does not try again.
    Response { error: kafka.counters.failed(ErrorCode::TopicAuthorizationFailed), topics: request.topics }
}
