//! Metrics in Prometheus' text format, version 0.0.4.
//!
//! Names start with `weir_agent_` and carry their base unit; counters end in `_total` and exist from the start, so that
//! a first failure is a step and not a new series. No label names a device; `source`, `class`, `gateway` and `event`
//! are as many as the settings and this program name. What is of the process alone has its usual name (`process_`).

use std::fmt::{Display, Write};

use super::View;
use crate::counters::Event;
use crate::health::{SourceHealth, SourceState};
use crate::queue::ClassFacts;
use crate::uplink::BreakerState;
use crate::uplink::health::{GatewayView, UplinkState};

/// The content type of the answer.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text as it grows.
#[derive(Debug, Default)]
struct Text(String);

impl Text {
    /// A counter; `name` without the `_total` behind. Each value has labels such as `event="resends"`, or none.
    fn counter<L: Display, V: Display>(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (L, V)>) {
        self.family("counter", &format!("{name}_total"), help, values);
    }

    /// A gauge, likewise.
    fn gauge<L: Display, V: Display>(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (L, V)>) {
        self.family("gauge", name, help, values);
    }

    fn family<L: Display, V: Display>(
        &mut self,
        kind: &str,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, V)>,
    ) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in values {
            let labels = labels.to_string();
            let _ = match labels.as_str() {
                "" => writeln!(self.0, "{name} {value}"),
                _ => writeln!(self.0, "{name}{{{labels}}} {value}"),
            };
        }
    }
}

/// A label; what would end it is escaped.
pub(super) fn label(name: &str, value: impl Display) -> String {
    let value = value.to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{name}=\"{value}\"")
}

/// All of them.
pub fn text(view: &View) -> String {
    let mut text = Text::default();
    agent(&mut text, view);
    sources(&mut text, view);
    queue(&mut text, view);
    uplink(&mut text, view);
    let events = Event::ALL.iter().map(|event| (label("event", event.name()), view.counters.get(*event)));
    text.counter("weir_agent_events", "What happened, by kind.", events);
    process(&mut text);
    text.0
}

fn agent(out: &mut Text, view: &View) {
    let version = label("version", env!("CARGO_PKG_VERSION"));
    out.gauge("weir_agent_info", "The agent's version.", [(version, 1)]);
    out.gauge("weir_agent_uptime_seconds", "Time since the agent started.", [("", view.started.elapsed().as_secs())]);
    let healthy = u8::from(super::health::stuck(view).is_empty());
    out.gauge("weir_agent_healthy", "1 while everything moves on, as /healthz says.", [("", healthy)]);
    let ready = u8::from(super::health::not_ready(view).is_empty());
    out.gauge("weir_agent_ready", "1 while readings are taken, as /readyz says.", [("", ready)]);
}

fn sources(out: &mut Text, view: &View) {
    let sources = view.health.sources();
    let each = |value: fn(&SourceHealth) -> u64| {
        sources.iter().map(move |source| (label("source", &source.id), value(source))).collect::<Vec<_>>()
    };
    let up = each(|source| u64::from(source.state == SourceState::Running));
    out.gauge("weir_agent_source_running", "1 while the source gives readings or is open for them.", up);
    out.counter("weir_agent_source_readings", "Readings that the source gave.", each(|source| source.readings));
    let help = "Times the source failed and was started again.";
    out.counter("weir_agent_source_failures", help, each(|source| source.failures));
    let help = "When the source gave its last reading, in seconds since 1970.";
    let last = |source: &SourceHealth| {
        let at = source.last_reading_at?;
        Some((label("source", &source.id), at.as_millis() as f64 / 1e3))
    };
    out.gauge("weir_agent_source_last_reading_time_seconds", help, sources.iter().filter_map(last));
}

fn queue(out: &mut Text, view: &View) {
    let facts = view.queue.facts(view.clock.now().as_millis());
    let each = |value: fn(&ClassFacts) -> u64| {
        facts.classes.iter().map(move |class| (label("class", &class.name), value(class))).collect::<Vec<_>>()
    };
    let age = |class: &ClassFacts| class.oldest_unshipped_ms.map_or(0.0, |age| age.max(0) as f64 / 1e3);
    let oldest = facts.classes.iter().map(|class| (label("class", &class.name), age(class)));
    out.gauge("weir_agent_queue_bytes", "Bytes that the queue takes on disk.", each(|class| class.allocated));
    out.gauge("weir_agent_queue_cap_bytes", "The most bytes that it may take.", each(|class| class.cap));
    let help = "Records the gateway does not have.";
    out.gauge("weir_agent_queue_unshipped_records", help, each(|class| class.unshipped));
    out.gauge("weir_agent_queue_oldest_unshipped_seconds", "Age of the oldest of them.", oldest);
    out.counter("weir_agent_queue_records", "Records committed, ever.", each(|class| class.next_offset));
    let help = "Sequences in claims that wait beside the log.";
    out.gauge("weir_agent_queue_claimed_sequences", help, [("", facts.claimed)]);
}

fn uplink(out: &mut Text, view: &View) {
    let uplink = view.health.uplink.view();
    let connected = u8::from(uplink.state == UplinkState::Connected);
    out.gauge(
        "weir_agent_uplink_connected",
        "1 while a connection stands, which is not yet progress.",
        [("", connected)],
    );
    let help = "How long nothing was acknowledged although something was to be sent.";
    out.gauge("weir_agent_uplink_silent_seconds", help, [("", uplink.silent_ms as f64 / 1e3)]);
    let help = "When a gateway acknowledged a reading last, in seconds since 1970.";
    let last = uplink.last_acked.as_ref().map(|last| ("", last.at_ms as f64 / 1e3));
    out.gauge("weir_agent_uplink_last_acknowledged_time_seconds", help, last);
    let used = |gateway: &GatewayView| u8::from(uplink.gateway.as_ref() == Some(&gateway.address));
    let gateways = || uplink.gateways.iter();
    let each = gateways().map(|gateway| (label("gateway", &gateway.address), used(gateway)));
    out.gauge("weir_agent_uplink_gateway_used", "1 for the gateway that is used or tried.", each);
    let each = gateways().map(|gateway| (label("gateway", &gateway.address), gateway.failures));
    out.gauge("weir_agent_uplink_gateway_failures", "Failures of a gateway in a row.", each);
    let states = gateways().flat_map(|gateway| {
        BreakerState::ALL.map(|state| {
            let labels = format!("{},{}", label("gateway", &gateway.address), label("state", state.as_str()));
            (labels, u8::from(gateway.breaker == state))
        })
    });
    out.gauge("weir_agent_uplink_breaker", "1 for the state of a gateway's circuit breaker.", states);
    let held_back = u8::from(uplink.held_back);
    out.gauge("weir_agent_uplink_held_back", "1 while hours or budget hold something back.", [("", held_back)]);
    if let Some(budget) = uplink.budget {
        out.gauge(
            "weir_agent_uplink_budget_used_bytes",
            "Bytes of the day that are used, estimated.",
            [("", budget.used)],
        );
        out.gauge("weir_agent_uplink_budget_bytes", "The most bytes of a day.", [("", budget.limit)]);
    }
}

/// What the kernel says of this process; what it does not say is left out.
fn process(out: &mut Text) {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let pages = read("/proc/self/statm").split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    if let Some(pages) = pages {
        let bytes = pages * rustix::param::page_size() as u64;
        out.gauge("process_resident_memory_bytes", "Memory of the process in RAM.", [("", bytes)]);
    }
    // Behind the name, which may hold spaces: the 12th and 13th are ticks of the processor (proc_pid_stat(5)).
    let stat = read("/proc/self/stat");
    let ticks: Vec<u64> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2).flat_map(str::parse).collect();
    if let [user, system] = ticks[..] {
        let seconds = (user + system) as f64 / rustix::param::clock_ticks_per_second() as f64;
        out.counter("process_cpu_seconds", "Processor time that the process took.", [("", seconds)]);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd").map(Iterator::count) {
        out.gauge("process_open_fds", "Files that the process has open.", [("", files)]);
    }
}
