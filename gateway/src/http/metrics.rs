//! Metrics in Prometheus' text format, version 0.0.4.
//!
//! Names start with `weir_gateway_` and carry their base unit; counters end in `_total` and exist from the start, so
//! that a first failure is a step and not a new series. No label names a device or an agent.

use std::fmt::{Display, Write};

use crate::access::Access;
use crate::delivery::DeliveryStats;
use crate::front::FrontOptions;
use crate::front::counters::Counters;
use crate::front::memory;
use crate::front::refusal::Refusal;
use crate::groups::Groups;
use crate::groups::coordinator::State;
use crate::ingest::{Failure, Reason, Stats};
use crate::router::LiveStats;
use crate::topics::Topics;
use crate::{retained, sessions};

/// The content type of the answer.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text as it grows.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// A counter without labels; `name` without the `weir_gateway_` in front and the `_total` behind.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family("counter", &format!("{name}_total"), help, [("", value)]);
    }

    /// A counter for each label, such as `reason="qos"`.
    pub fn counters<L: Display>(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (L, u64)>) {
        self.family("counter", &format!("{name}_total"), help, values);
    }

    /// A gauge.
    pub fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.family("gauge", name, help, [("", value)]);
    }

    /// A gauge for each label.
    pub fn gauges<L: Display>(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (L, u64)>) {
        self.family("gauge", name, help, values);
    }

    fn family<L: Display>(&mut self, kind: &str, name: &str, help: &str, values: impl IntoIterator<Item = (L, u64)>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP weir_gateway_{name} {help}\n# TYPE weir_gateway_{name} {kind}");
        for (labels, value) in values {
            let labels = labels.to_string();
            let _ = match labels.as_str() {
                "" => writeln!(self.0, "weir_gateway_{name} {value}"),
                _ => writeln!(self.0, "weir_gateway_{name}{{{labels}}} {value}"),
            };
        }
    }

    /// The finished text.
    pub fn finish(self) -> String {
        self.0
    }
}

fn reason(name: &str) -> String {
    format!("reason=\"{name}\"")
}

/// The metrics of the MQTT front.
pub fn front(out: &mut Text, counters: &Counters) {
    let now = counters.snapshot();
    out.gauge("mqtt_sessions", "MQTT sessions now.", now.connected);
    out.counter("mqtt_connects", "MQTT sessions that began.", now.connects);
    out.counter("mqtt_messages", "PUBLISH packets received.", now.messages);
    out.counter("mqtt_message_bytes", "Bytes of PUBLISH packets received.", now.bytes);
    out.counter("mqtt_acknowledged", "Messages acknowledged with success.", now.stored);
    out.counter("mqtt_acknowledged_dead", "Messages acknowledged as dead-lettered.", now.dead_lettered);
    out.counter("mqtt_pauses", "Times a connection was not read on for lack of room.", now.pauses);
    out.gauge("mqtt_buffered_bytes", "Bytes in the buffers of all MQTT connections now.", now.held);
    out.counter("mqtt_asks_dropped", "Requests to agents dropped because too many waited.", now.asks_dropped);
    out.gauge("mqtt_subscriptions", "Subscriptions of connected MQTT clients.", now.subscriptions);
    out.counter(
        "mqtt_subscriptions_withheld",
        "Subscriptions that bring nothing in a session that went on, as the rules do not allow them any more.",
        now.subscriptions_withheld,
    );
    out.counter("mqtt_messages_delivered", "Messages sent to MQTT subscribers.", now.delivered);
    out.counter("mqtt_messages_expired", "Messages that a subscriber did not get as their time was over.", now.expired);
    out.counter("mqtt_messages_too_large", "Messages that a subscriber did not get for their size.", now.too_large);
    let refusals = Refusal::ALL.into_iter().map(|refusal| (reason(refusal.as_str()), counters.refusals(refusal)));
    out.counters("mqtt_refusals", "Packets, messages and connections refused.", refusals);
}

/// The bounds of the MQTT front, and what waits at them.
pub fn front_bounds(out: &mut Text, options: &FrontOptions, (waiting, room): (usize, usize)) {
    let gauge = |out: &mut Text, name: &str, help: &str, value: usize| out.gauge(name, help, value as u64);
    gauge(out, "mqtt_sessions_max", "The most MQTT sessions at a time.", options.connections);
    gauge(out, "mqtt_waiting", "MQTT sockets that have not said CONNECT.", waiting);
    gauge(out, "mqtt_waiting_max", "The most of them.", options.lobby.most);
    let most = memory::most(options.limits, options.subscriptions.most);
    gauge(out, "mqtt_connection_bytes_max", "The most bytes that the buffers of one MQTT connection take.", most);
    gauge(out, "mqtt_read_buffer_bytes_free", "Bytes that read buffers of MQTT connections may still take.", room);
    gauge(out, "mqtt_read_buffer_bytes_max", "Bytes that all of them may take together.", options.buffers);
}

/// The metrics of MQTT over WebSocket: how many are open, how many were refused.
pub fn websockets(out: &mut Text, (open, refused): (u64, u64)) {
    out.gauge("http_websockets", "MQTT connections over WebSocket now.", open);
    out.counter("http_websockets_refused", "Requests for one that were refused.", refused);
}

/// The metrics of the live subscriptions.
pub fn live(out: &mut Text, now: &LiveStats) {
    out.gauge("live_up", "1 while a live router runs; it starts with the first subscriber.", u64::from(now.up));
    out.gauge("live_subscribers", "Clients with live subscriptions now.", now.subscribers);
    out.gauge("live_filters", "Different filters that they have.", now.filters);
    out.counter("live_delivered", "Live messages handed to connections.", now.delivered);
    out.counter("live_dropped", "Live messages lost: their subscriber was slow or takes only less.", now.dropped);
    out.counter("live_skipped", "Readings not served live because the router was behind.", now.skipped);
    out.counter("live_restarts", "Times the live router was replaced after a failure.", now.restarts);
}

/// The metrics of durable subscriptions.
pub fn delivery(out: &mut Text, now: &DeliveryStats) {
    let skipped = "Offsets that retention removed before a durable MQTT session had read them.";
    out.counter("mqtt_positions_skipped", skipped, now.skipped);
    out.counter("mqtt_positions_damaged", "Offsets that no MQTT session could read because of damage.", now.damaged);
    out.counter("mqtt_log_reads", "Reads of the log for durable MQTT sessions.", now.reads);
    out.counter("mqtt_log_reads_waited", "Those of them that waited for one of mqtt.catch_ups.", now.waited);
    out.counter("mqtt_log_messages", "Messages that they found.", now.messages);
}

/// The metrics of who may come, and how often.
pub fn access(out: &mut Text, access: &Access) {
    out.gauge(
        "access_passwords_waiting",
        "Logins that wait for their password to be checked.",
        access.waiting() as u64,
    );
    let limited = access.limits().counts().map(|(limited, count)| (reason(limited.as_str()), count));
    let refused = access.audit().counts().map(|(wanted, count)| (format!("wanted=\"{}\"", wanted.as_str()), count));
    out.counters("access_refused", "Refusals of connects, topics, requests and enrolments.", refused);
    out.counters("mqtt_limited", "Connects refused and publishers paused for their rate.", limited);
}

/// The metrics of what is kept of MQTT clients.
pub fn sessions(out: &mut Text, now: &sessions::Stats) {
    out.gauge("mqtt_durable_sessions", "MQTT sessions that outlive their connection.", now.durable);
    out.gauge("mqtt_session_bytes", "Bytes that they take.", now.bytes);
    out.gauge("mqtt_wills_waiting", "Wills that wait for their delay, or to be published.", now.wills_waiting);
    out.counter("mqtt_sessions_resumed", "Connections that found their session.", now.resumed);
    out.counter("mqtt_sessions_taken_over", "Connections that another one of their client ended.", now.taken_over);
    out.counter("mqtt_sessions_expired", "Sessions that ended because nobody came for them.", now.expired);
    out.counter(
        "mqtt_sessions_refused",
        "Sessions, subscriptions and packet ids refused at a bound of sessions.",
        now.refused,
    );
    out.counter("mqtt_wills_published", "Wills published.", now.wills_published);
    out.counter("mqtt_wills_refused", "Wills whose topic nothing stores.", now.wills_refused);
    out.counter("mqtt_wills_dropped", "Wills dropped: too many waited, or the disk failed.", now.wills_dropped);
    out.counter("mqtt_session_commits", "Writes of sessions.", now.commits);
    out.counter("mqtt_session_commits_failed", "Writes of sessions that failed.", now.commits_failed);
}

/// The metrics of retained messages.
pub fn retained(out: &mut Text, now: &retained::Stats) {
    out.gauge("mqtt_retained_messages", "Retained messages.", now.messages);
    out.gauge("mqtt_retained_bytes", "Bytes that they take.", now.bytes);
    out.counter("mqtt_retained_refused", "Messages that could not be retained: a bound is reached.", now.refused);
    out.counter("mqtt_retained_expired", "Retained messages that expired.", now.expired);
    out.counter("mqtt_retained_failed", "Writes of retained messages that failed.", now.failed);
}

/// The metrics of ingest.
pub fn ingest(out: &mut Text, now: &Stats) {
    out.counter("batches", "Batches decided, whatever their verdict.", now.batches);
    out.counter("readings_stored", "Readings stored.", now.readings);
    out.counter("readings_healed", "Readings stored after they were dead-lettered or counted lost.", now.healed);
    out.counter("messages_stored", "Messages of MQTT clients stored.", now.messages);
    out.counter("readings_repeated", "Readings and messages dropped because the log had them.", now.repeats);
    out.counter("readings_lost", "Sequences counted lost.", now.lost);
    out.counter("readings_reduced", "Sequences that agents' rules left out or put into summaries.", now.reduced);
    let dead = Reason::ALL.iter().zip(now.dead_lettered).map(|(why, count)| (reason(why.as_str()), count));
    let help = "Parts of batches about devices that are bound to another agent.";
    out.counter("not_bound", help, now.not_bound);
    out.counters("readings_dead_lettered", "Sequences dead-lettered.", dead);
    out.counter("sequences_damaged", "Sequences whose records cannot be read any more.", now.damaged);
    out.gauge(
        "unnamed_damage_offsets",
        "Offsets that cannot be read any more and whose identities nobody can tell.",
        now.unnamed_offsets,
    );
    out.counter("checkpoints", "Checkpoints written.", now.checkpoints);
    out.counter("checkpoints_failed", "Checkpoints that could not be written.", now.checkpoint_failures);
    out.counter("segments_removed", "Segments removed by retention.", now.removed_segments);
    out.counter("records_compacted", "Records that compaction took out of state topics.", now.compacted_records);
    out.gauge("retention_waiting", "Partitions in which retention waits for a checkpoint.", now.retention_waiting);
    out.counter("scrubbed_bytes", "Bytes that the search for damage has read.", now.scrubbed_bytes);
    out.counter("tails_unknown", "Restarts that ended with an unknown tail.", now.tails_unknown);
    out.counter("descriptions_stored", "Descriptions stored.", now.descriptions);
    out.counter("descriptions_asked", "Descriptions asked for.", now.asked);
    out.counter("batches_unreadable", "Batches of which not even the manifest could be read.", now.unreadable);
    let failed = Failure::ALL.iter().zip(now.failed).map(|(why, count)| (reason(why.as_str()), count));
    out.counters("messages_failed", "Messages of which nothing is promised.", failed);
    let over = now.over_limit.iter().map(|(bound, count)| (format!("bound=\"{bound}\""), *count));
    out.counters("messages_over_limit", "Messages refused because a bound is reached.", over);
    out.counter("commits", "Groups committed.", now.commits);
    out.counter("commits_failed", "Groups of which at least one partition failed.", now.failed_commits);
    out.counter("committed_bytes", "Bytes committed.", now.committed_bytes);
    out.gauge("devices", "Devices that the log knows.", now.devices);
    out.gauge("paused", "1 while commits wait for room on the disk or under a cap.", u64::from(now.paused));
}

/// The metrics of the logs.
pub fn topics(out: &mut Text, topics: &Topics) {
    let all = || {
        topics.all().iter().flat_map(|topic| {
            let label = move |number| format!("topic=\"{}\",partition=\"{number}\"", topic.name());
            topic.partitions().iter().enumerate().map(move |(number, partition)| (label(number), partition.reader()))
        })
    };
    let ends = all().map(|(label, reader)| (label, reader.end_offset()));
    out.gauges("log_end_offset", "The offset behind the last committed record.", ends);
    let bytes = all().map(|(label, reader)| (label, reader.allocated()));
    out.gauges("log_allocated_bytes", "Disk space of the log.", bytes);
}

/// The most partitions whose lag is told one by one.
const MAX_LAGS: usize = 2000;
/// The most groups that are told one by one.
const MAX_GROUPS: usize = 500;

/// The metrics of groups.
pub fn groups(out: &mut Text, groups: &Groups) {
    let now = groups.stats();
    let states = State::ALL.iter().zip(now.groups).map(|(state, count)| (format!("state=\"{state}\""), count));
    out.gauges("groups", "Groups of consumers in each state.", states);
    out.gauge("group_offsets", "Offsets that groups have committed.", now.offsets);
    out.counter("group_commits", "Requests to commit offsets.", now.commits);
    out.counter("group_commits_failed", "Writes of offsets that failed.", now.commits_failed);
    out.counter("group_offsets_expired", "Offsets forgotten because nobody used them.", now.offsets_expired);
    out.counter("group_rebalances", "Rebalances that ended.", now.rebalances);
    out.counter("group_members_expired", "Members sent away because they were silent.", now.members_expired);
    out.counter("group_members_fenced", "Requests of members that another one has replaced.", now.fenced);
    out.counter("group_over_bounds", "Requests refused because a bound of groups is reached.", now.over_bounds);
    let listed = groups.list();
    let told = || listed.iter().take(MAX_GROUPS).map(|group| (label("group", group.id.as_str()), group));
    out.gauges("group_members", "Members of a group.", told().map(|(label, group)| (label, group.members as u64)));
    let rebalancing = |state| u64::from(matches!(state, State::PreparingRebalance | State::CompletingRebalance));
    let busy = told().map(|(label, group)| (label, rebalancing(group.state)));
    out.gauges("group_rebalancing", "1 while a group shares its partitions out anew.", busy);
    let lags: Vec<(String, u64)> = listed
        .iter()
        .flat_map(|group| groups.lags(group.id.as_str()).into_iter().map(move |lag| (group, lag)))
        .filter_map(|(group, lag)| {
            let (group, topic) = (label("group", group.id.as_str()), label("topic", &lag.topic));
            Some((format!("{group},{topic},partition=\"{}\"", lag.partition), lag.records()?))
        })
        .take(MAX_LAGS)
        .collect();
    out.gauges("group_lag", "Records that a group has yet to read in a partition.", lags);
}

/// A label whose value may hold anything.
fn label(name: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{name}=\"{value}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_there_before_it_counts() {
        let mut text = Text::default();
        front(&mut text, &Counters::new());
        let text = text.finish();
        for refusal in Refusal::ALL {
            let line = format!("weir_gateway_mqtt_refusals_total{{reason=\"{}\"}} 0", refusal.as_str());
            assert!(text.lines().any(|found| found == line), "{line}");
        }
        assert!(text.contains("# TYPE weir_gateway_mqtt_sessions gauge\nweir_gateway_mqtt_sessions 0\n"));
    }
}
