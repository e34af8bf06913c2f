//! The measures: in the order in which they are taken and stand on the page.

use anyhow::Result;

use super::found::Found;
use super::{
    agent, append, beside, catch_up, connections, consumer, fan_out, latency, members, memory, partitions, publish,
    readings, reopen, scaling, tls,
};
use crate::binaries::Binaries;

/// A measure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named {
    /// What is typed.
    pub(super) name: &'static str,
    /// Its headline.
    pub(super) title: &'static str,
    /// What a reader must know before the numbers.
    pub(super) about: &'static str,
}

const fn named(name: &'static str, title: &'static str, about: &'static str) -> Named {
    Named { name, title, about }
}

/// All of them.
pub(super) const MEASURES: &[Named] = &[
    named("publish", "Single publishes", "One small message at a time of each client: what an MQTT server costs."),
    named(
        "readings",
        "Readings in batches",
        "What an agent with a backlog sends, from the socket to the PUBACK behind the disk.",
    ),
    named(
        "latency",
        "From due to PUBACK",
        "Open loop: a publish is due by the clock, whether or not others were answered. The disk is asked alone in the same turns.",
    ),
    named(
        "consumer",
        "From due to a Kafka consumer",
        "The same publishers and the same consumer, which waits in a fetch, for Weir and for Kafka behind a bridge.",
    ),
    named("connections", "Connections", ""),
    named("reopen", "Opening a large log", "The process is killed with -9 under load, and started again."),
    named(
        "scaling-devices",
        "CPU of a reading over devices",
        "Batches of one device each, over the same 10 connections; devices take turns.",
    ),
    named(
        "scaling-partitions",
        "CPU of a reading over partitions",
        "At this rate the commits are small, so that more partitions are more writes for the same readings.",
    ),
    named("scaling-log", "CPU of a reading over the size of the log", ""),
    named("append", "Durable append", "The storage alone, in one process."),
    named("partitions", "Commits over many partitions", "The storage alone, in one process, as fast as it goes."),
    named("catch-up", "Catching up", ""),
    named("beside", "PUBACKs beside a consumer that catches up", ""),
    named("members", "Members of groups", ""),
    named("live-fan-out", "Live fan-out", ""),
    named("tls", "TLS 1.3", ""),
    named("memory", "Memory of the agent", ""),
    named("agent", "The agent beside Telegraf", ""),
    named("other", "Storage and firmware", "Measured by commands of their own."),
];

/// Takes the measure of this name; `None` if it is taken elsewhere.
pub(super) async fn take(name: &str, binaries: &Binaries, quick: bool) -> Result<Option<Found>> {
    Ok(Some(match name {
        "publish" => publish::run(binaries, quick).await?,
        "readings" => readings::run(binaries, quick).await?,
        "latency" => latency::run(binaries, quick).await?,
        "consumer" => consumer::run(binaries, quick).await?,
        "connections" => connections::run(binaries, quick).await?.into(),
        "reopen" => reopen::run(binaries, quick).await?,
        "scaling-devices" => scaling::run(&scaling::DEVICES_SCALE, binaries, quick).await?,
        "scaling-partitions" => scaling::run(&scaling::PARTITIONS_SCALE, binaries, quick).await?,
        "scaling-log" => scaling::run(&scaling::LOG_SCALE, binaries, quick).await?,
        "append" => append::run(quick)?.into(),
        "partitions" => partitions::run(quick)?,
        "catch-up" => catch_up::run(binaries, quick).await?,
        "beside" => beside::run(binaries, quick).await?,
        "members" => members::run(binaries, quick).await?.into(),
        "live-fan-out" => fan_out::run(binaries, quick).await?.into(),
        "tls" => tls::run(binaries, quick).await?.into(),
        "memory" => memory::run(binaries, quick).await?.into(),
        "agent" => agent::run(binaries, quick).await?.into(),
        _ => return Ok(None),
    }))
}
