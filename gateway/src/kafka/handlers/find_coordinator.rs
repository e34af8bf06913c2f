//! FindCoordinator: of every group, the only broker. There are no transactions to coordinate.

use crate::kafka::Kafka;
use crate::kafka::cluster::NODE;
use crate::kafka::messages::ErrorCode;
use crate::kafka::messages::find_coordinator::{Coordinator, GROUP, Request, Response};

pub(in crate::kafka) fn answer(kafka: &Kafka, request: Request) -> Response {
    let Request { key_type, keys } = request;
    let coordinator = |key: String| {
        if key_type != GROUP {
            let message = "groups only: there are no transactions here, nothing is produced";
            return Coordinator::none(key, kafka.counters.failed(ErrorCode::InvalidRequest), message);
        }
        if key.is_empty() {
            return Coordinator::none(key, kafka.counters.failed(ErrorCode::InvalidGroupId), "a group has a name");
        }
        Coordinator {
            key,
            node_id: NODE,
            host: kafka.broker.advertised.host.clone(),
            port: i32::from(kafka.broker.advertised.port),
            error: ErrorCode::None,
            error_message: None,
        }
    };
    Response { coordinators: keys.into_iter().map(coordinator).collect() }
}
