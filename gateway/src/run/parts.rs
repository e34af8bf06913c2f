//! What HTTP asks about the whole gateway: whether it is ready, its version and its metrics.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::watch;
use weir_protocol::Tenant;

use super::clients::Clients;
use crate::access::Access;
use crate::delivery::Delivery;
use crate::front::Front;
use crate::http::websocket::WebSockets;
use crate::http::{Gateway, metrics};
use crate::ingest::Ingest;
use crate::kafka::Kafka;
use crate::model::Model;
use crate::router::Live;
use crate::tls::Tls;

/// The parts that it asks.
pub(super) struct Parts {
    pub(super) front: Arc<Front<Ingest>>,
    pub(super) ingest: Ingest,
    pub(super) live: Live,
    pub(super) clients: Clients,
    pub(super) delivery: Delivery,
    pub(super) access: Access,
    pub(super) websockets: WebSockets,
    pub(super) kafka: Arc<Kafka>,
    pub(super) tls: Option<Tls>,
    pub(super) model: Option<Arc<Model>>,
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) instance: String,
}

impl Gateway for Parts {
    fn not_ready(&self) -> Option<String> {
        if *self.stopping.borrow() {
            return Some("stopping".to_owned());
        }
        self.ingest
            .stats()
            .paused
            .then(|| "paused: no room on the disk, or a log is at topics.partition_cap".to_owned())
    }

    fn model(&self) -> Option<Arc<Model>> {
        self.model.clone()
    }

    fn status(&self, tenant: Option<Tenant>) -> Value {
        self.clients.sessions.agents(&self.clients.retained, tenant)
    }

    fn version(&self) -> Value {
        json!({
            "name": env!("CARGO_PKG_NAME"),
            "version": env!("CARGO_PKG_VERSION"),
            "instance": self.instance,
        })
    }

    fn metrics(&self, out: &mut metrics::Text) {
        metrics::front(out, self.front.counters());
        metrics::front_bounds(out, self.front.options(), self.front.waiting_and_room());
        metrics::live(out, &self.live.stats());
        metrics::sessions(out, &self.clients.sessions.stats());
        metrics::retained(out, &self.clients.retained.stats());
        metrics::delivery(out, &self.delivery.stats());
        metrics::access(out, &self.access);
        metrics::websockets(out, self.websockets.counts());
        self.kafka.metrics(out);
        if let Some(tls) = &self.tls {
            tls.metrics(out);
        }
        metrics::ingest(out, &self.ingest.stats());
    }
}
