//! DescribeCluster: one broker.

use crate::kafka::Kafka;
use crate::kafka::cluster::NODE;
use crate::kafka::messages::ErrorCode;
use crate::kafka::messages::describe_cluster::{BROKERS, Request, Response};

pub(in crate::kafka) fn answer(kafka: &Kafka, request: Request) -> Response {
    if request.endpoint_type != BROKERS {
        return Response {
            error: kafka.counters.failed(ErrorCode::InvalidRequest),
            error_message: Some("brokers only: there is no controller apart from them".to_owned()),
            endpoint_type: request.endpoint_type,
            controller_id: -1,
            ..Response::default()
        };
    }
    Response {
        error: ErrorCode::None,
        error_message: None,
        endpoint_type: BROKERS,
        cluster_id: kafka.broker.cluster.clone(),
        controller_id: NODE,
        brokers: vec![kafka.broker.node()],
    }
}
