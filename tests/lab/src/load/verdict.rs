//! What came of a load, in words and as JSON.

use std::fmt;

use hdrhistogram::Histogram;
use serde_json::{Value as Json, json};

use super::consumption::Consumed;
use super::counts::Second;
use super::{LoadPlan, Outcome};
use crate::reconcile::Report;

/// Findings that JSON lists, and ranges of all of them together; more are counted.
const RANGES: usize = 100_000;
/// Devices that are printed with what of them is not acknowledged; more are counted.
const DEVICES: usize = 20;
const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999), ("p99_99", 0.9999)];

/// A load that is over, and what the log was found to hold.
pub(super) struct Told<'a> {
    pub(super) plan: &'a LoadPlan,
    pub(super) outcome: &'a Outcome,
    pub(super) report: Option<&'a Report>,
}

impl fmt::Display for Second {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |us: u64| us as f64 / 1000.0;
        write!(
            f,
            "{:>5} s  due {:>7}  sent {:>7}  acknowledged {:>7}  connected {:>5}  p50 {:>7.1} ms  p99 {:>7.1} ms  max {:>7.1} ms",
            self.second + 1,
            self.due,
            self.sent,
            self.acknowledged,
            self.connected,
            ms(self.p50_us),
            ms(self.p99_us),
            ms(self.max_us)
        )?;
        if self.consumed > 0 {
            let (p50, p99) = (ms(self.consumed_p50_us), ms(self.consumed_p99_us));
            write!(f, "  consumed {:>7}  p50 {p50:>7.1} ms  p99 {p99:>7.1} ms", self.consumed)?;
        }
        Ok(())
    }
}

/// Prints it for people.
pub(super) fn print(told: &Told<'_>) {
    let Told { plan, outcome, report } = told;
    let (seen, counts) = (&outcome.seen, &outcome.seen.counts);
    println!(
        "\n{} due, {} acknowledged in {} messages, {} sent again, {} dead-lettered; {} connects",
        seen.due, counts.acknowledged, counts.messages, counts.sent_again, counts.dead_lettered, counts.connects
    );
    for (reason, times) in &counts.refusals {
        println!("  {times:>8} times: {reason}");
    }
    println!("from due to acknowledged:      {}", quantiles(&seen.latency));
    if let Some(Consumed { since_due, since_acknowledged }) = &outcome.consumed {
        println!("from due to consumed:          {}", quantiles(since_due));
        println!("from acknowledged to consumed: {}", quantiles(since_acknowledged));
        println!("consumed over Kafka: {} of {}", since_due.len(), counts.acknowledged);
    }
    println!("later than {:?}: {}", plan.late, counts.late);
    for late in &outcome.late {
        println!("  {} sequence {}: {:.3} s", late.device, late.sequence, late.took.as_secs_f64());
    }
    let missing = &outcome.unacknowledged;
    if !missing.is_empty() {
        println!("not acknowledged: {} readings of {} devices", seen.unacknowledged(), missing.len());
        for ((device, restart), run) in missing.iter().take(DEVICES) {
            println!("  {device} restart {restart} sequences {}..{}", run.start, run.end);
        }
    }
    match report {
        Some(report) => println!("\n{report}"),
        None => println!("the log was not read; type --http HOST:PORT to have it judged"),
    }
    println!("seed {}", plan.seed);
}

fn quantiles(times: &Histogram<u64>) -> String {
    let ms = |us: u64| us as f64 / 1000.0;
    let each = QUANTILES.map(|(name, quantile)| format!("{name} {:.1} ms", ms(times.value_at_quantile(quantile))));
    format!("{}, max {:.1} ms", each.join(", "), ms(times.max()))
}

/// The whole as one JSON object. Lists of ranges are complete up to [`RANGES`]; `ranges_in_all` says how many there are.
pub(super) fn json(told: &Told<'_>) -> Json {
    let Told { plan, outcome, report } = told;
    let seen = &outcome.seen;
    let late = outcome.late.iter();
    let late = late
        .map(|late| json!({"device": late.device, "sequence": late.sequence, "took_us": late.took.as_micros() as u64}));
    let missing = outcome.unacknowledged.iter();
    let listed = missing.clone().take(RANGES);
    let listed = listed.map(|((device, restart), run)| {
        json!({"device": device, "restart": restart.0.to_string(), "start": run.start, "end": run.end})
    });
    json!({
        "seed": plan.seed,
        "shape": format!("{:?}", plan.shape).to_lowercase(),
        "pattern": format!("{:?}", plan.pattern),
        "devices": plan.devices,
        "connections": plan.connections,
        "rate": plan.rate,
        "elapsed_s": seen.elapsed.as_secs_f64(),
        "due": seen.due,
        "counts": seen.counts,
        "latency_us": times(&seen.latency),
        "consumed": outcome.consumed.as_ref().map(|Consumed { since_due, since_acknowledged }| json!({
            "readings": since_due.len(),
            "since_due_us": times(since_due),
            "since_acknowledged_us": times(since_acknowledged),
        })),
        "seconds": outcome.seconds,
        "late": {"after_ms": plan.late.as_millis() as u64, "readings": seen.counts.late, "worst": late.collect::<Json>()},
        "unacknowledged": {
            "readings": seen.unacknowledged(),
            "ranges": listed.collect::<Json>(),
            "ranges_in_all": missing.len(),
        },
        "ledger": report.map(ledger),
    })
}

/// Quantiles in microseconds, and how often each time was recorded.
fn times(times: &Histogram<u64>) -> Json {
    let quantiles = QUANTILES.map(|(name, quantile)| (name.to_owned(), times.value_at_quantile(quantile).into()));
    let mut told: serde_json::Map<String, Json> = quantiles.into_iter().collect();
    told.insert("max".to_owned(), times.max().into());
    let counted = times.iter_recorded().map(|step| json!([step.value_iterated_to(), step.count_at_value()]));
    told.insert("counts".to_owned(), counted.collect());
    told.into()
}

/// The reconciliation: each finding with its sequences.
fn ledger(report: &Report) -> Json {
    let mut room = RANGES;
    let mut findings = Vec::new();
    for finding in report.findings.iter().take(RANGES) {
        let sequences = &finding.sequences;
        let ranges: Vec<_> = sequences.iter().take(room).map(|range| json!([range.start, range.end])).collect();
        room -= ranges.len();
        findings.push(json!({
            "what": finding.what,
            "device": finding.key.map(|(device, _)| device),
            "restart": finding.key.map(|(_, restart)| restart.0.to_string()),
            "evidence": finding.evidence,
            "sequences": sequences.len(),
            "ranges": ranges,
            "ranges_in_all": sequences.range_count(),
        }));
    }
    let (next, stored, dead, lost, in_flight) = report.total();
    json!({
        "holds": report.holds(),
        "sampled": next,
        "stored": stored,
        "dead_lettered": dead,
        "lost": lost,
        "in_flight": in_flight,
        "records_over_kafka_and_http": report.over_kafka,
        "findings": findings,
        "findings_in_all": report.findings.len(),
    })
}
