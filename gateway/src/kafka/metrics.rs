//! The metrics of the Kafka port.

use super::{Kafka, Refusal};
use crate::http::metrics::Text;

impl Kafka {
    /// Writes what was counted, and what is there now.
    pub fn metrics(&self, out: &mut Text) {
        let (waiting, connected, room) = self.waiting_connected_and_room();
        let (now, options) = (self.counters().snapshot(), self.options());
        let gauge = |out: &mut Text, name: &str, help: &str, value: usize| out.gauge(name, help, value as u64);
        gauge(out, "kafka_connections", "Kafka connections that have sent a request.", connected);
        gauge(out, "kafka_connections_max", "The most of them.", options.connections);
        gauge(out, "kafka_waiting", "Kafka sockets that have sent no request.", waiting);
        gauge(out, "kafka_waiting_max", "The most of them.", options.lobby.most);
        gauge(out, "kafka_buffer_bytes_free", "Bytes of records that may still be on their way to clients.", room);
        gauge(
            out,
            "kafka_buffer_bytes_max",
            "Bytes of records that may be on their way to all clients.",
            options.buffers,
        );
        out.counter("kafka_connects", "Kafka connections that sent a request.", now.connections);
        out.counter("kafka_sent_bytes", "Bytes of responses to Kafka clients.", now.sent_bytes);
        out.counter("kafka_fetched_bytes", "Bytes of records in them.", now.fetched_bytes);
        out.counter("kafka_fetch_waits", "Fetches that waited for records.", now.fetch_waits);
        out.counter("kafka_fetch_throttles", "Fetches that waited for room in kafka.buffers.", now.fetch_throttles);
        out.counter("kafka_gaps", "Stretches of damage that fetches passed.", now.gaps);
        let requests = self.counters().requests().map(|(key, count)| (format!("api=\"{key:?}\""), count));
        out.counters("kafka_requests", "Requests by API.", requests);
        let errors = self.counters().errors();
        let errors = errors.into_iter().map(|(code, count)| (format!("code=\"{code:?}\""), count));
        out.counters("kafka_errors", "Errors answered, by Kafka's name for them.", errors);
        let refusals = self.counters().refusals();
        let refusals =
            refusals.map(|(refusal, count): (Refusal, _)| (format!("reason=\"{}\"", refusal.as_str()), count));
        out.counters("kafka_refusals", "Kafka connections closed.", refusals);
    }
}
