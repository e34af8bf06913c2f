//! The report as a page: one file that needs nothing else, for people who were not there.

use std::fmt::Write as _;

use anyhow::Result;

use super::report::{Broken, Proof};
use super::timeline::Latency;
use crate::load::Second;
use crate::plot::{Line, Plot, short};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;color:#222}\
h1{font-size:1.6em;margin-bottom:.2em}h2{font-size:1.2em;margin-top:2em}\
.verdict{padding:1em 1.2em;border-radius:8px;color:#fff;font-size:1.2em}.holds{background:#00734d}.broken{background:#b3261e}\
table{border-collapse:collapse;width:100%}td,th{padding:.3em .6em;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}\
td.n{text-align:right;font-variant-numeric:tabular-nums}svg{max-width:100%;height:auto}code{background:#f3f3f3;padding:.1em .3em}\
pre{background:#f3f3f3;padding:.8em;overflow-x:auto}small{color:#666}";

/// The page.
///
/// # Errors
/// If a plot cannot be drawn.
pub(super) fn html(proof: &Proof) -> Result<String> {
    let mut page = String::new();
    let title = if proof.holds { "Weir proof: it holds" } else { "Weir proof: it does NOT hold" };
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style>\n<h1>Was anything lost that was acknowledged?</h1>\n"
    )?;
    verdict(&mut page, proof)?;
    totals(&mut page, proof)?;
    plots(&mut page, proof)?;
    latency(&mut page, proof)?;
    faults(&mut page, proof)?;
    findings(&mut page, proof)?;
    about(&mut page, proof)?;
    Ok(page)
}

fn verdict(page: &mut String, proof: &Proof) -> Result<()> {
    let totals = &proof.totals;
    let (class, text) = match proof.holds {
        true => (
            "holds",
            format!(
                "No. {} readings were acknowledged while {} broken. Every one of them is in the log, unaltered, \
                 and none is there twice.",
                grouped(totals.acknowledged),
                match proof.faults.len() {
                    0 => "nothing was".to_owned(),
                    1 => "one thing was".to_owned(),
                    many => format!("{many} things were"),
                }
            ),
        ),
        false => (
            "broken",
            format!(
                "A promise was broken: {} lost, {} doubled, {} altered, {} out of order. The readings are named below.",
                grouped(totals.lost),
                grouped(totals.doubled),
                grouped(totals.altered),
                grouped(totals.reordered)
            ),
        ),
    };
    writeln!(page, "<p class=\"verdict {class}\">{text}</p>")?;
    Ok(())
}

fn totals(page: &mut String, proof: &Proof) -> Result<()> {
    let totals = &proof.totals;
    writeln!(page, "<h2>What became of every reading</h2><table>")?;
    let mut row = |name: &str, count: u64, what: &str| {
        writeln!(page, "<tr><td>{name}<td class=n>{}<td><small>{what}</small>", grouped(count))
    };
    row("sampled", totals.sampled, "numbers that devices gave to their readings")?;
    row("acknowledged", totals.acknowledged, "the gateway said: on disk")?;
    row("found", totals.found, "in the log, read by a consumer")?;
    row("lost", totals.lost, "acknowledged and not in the log; must be 0")?;
    row("doubled", totals.doubled, "in the log more than once; must be 0")?;
    row("altered", totals.altered, "not what the sensor handed out; must be 0")?;
    row("out of order", totals.reordered, "behind a later one of the same device; must be 0")?;
    for (kind, count) in &totals.counted_lost {
        row(
            &format!("counted lost: {kind}"),
            *count,
            "gone before anybody acknowledged it, or damaged on purpose; the log says which",
        )?;
    }
    if totals.reduced > 0 {
        row("left out", totals.reduced, "by rules in the settings of an agent; the log says which")?;
    }
    if totals.dead_lettered > 0 {
        row("dead letters", totals.dead_lettered, "refused with a reason and kept with it")?;
    }
    row("compared", totals.compared, "records that were read over Kafka and over HTTP; the same")?;
    writeln!(page, "</table>")?;
    Ok(())
}

fn plots(page: &mut String, proof: &Proof) -> Result<()> {
    writeln!(page, "<h2>The run</h2><p><small>Grey: something was broken.</small></p>")?;
    let bands: Vec<_> = proof.faults.iter().map(|fault| (fault.at, fault.until.max(fault.at + 0.1))).collect();
    let line = |name: &str, points: Vec<(f64, f64)>| Line { name: name.to_owned(), points };
    let axes = |upwards: &str| ("seconds".to_owned(), upwards.to_owned());
    let rates: Vec<_> = proof.timeline.rates().collect();
    let of = |which: fn(&(f64, f64, f64)) -> f64| rates.iter().map(|rate| (rate.0, which(rate))).collect();
    let moments = &proof.timeline.0;
    let mut plots = vec![
        Plot {
            title: "Readings a second".to_owned(),
            axes: axes("readings/s"),
            lines: vec![line("sampled", of(|rate| rate.1)), line("acknowledged", of(|rate| rate.2))],
            bands: bands.clone(),
            ..Plot::default()
        },
        Plot {
            title: "Sampled and not acknowledged yet".to_owned(),
            axes: axes("readings"),
            lines: vec![line(
                "waiting",
                moments.iter().map(|m| (m.at, m.sampled.saturating_sub(m.acknowledged) as f64)).collect(),
            )],
            bands: bands.clone(),
            ..Plot::default()
        },
    ];
    for (name, seconds) in &proof.seconds_of {
        let of = |which: fn(&Second) -> u64| {
            let measured = seconds.iter().filter(|second| second.acknowledged > 0);
            let points = measured.map(|second| (second.second as f64 + 0.5, which(second) as f64 / 1000.0));
            // A second in which nothing came has no time, and a logarithmic axis no zero.
            points.filter(|point| point.1 > 0.0).collect()
        };
        plots.push(Plot {
            title: format!("From due to PUBACK and to a consumer, {name}"),
            axes: axes("milliseconds"),
            logarithmic: (false, true),
            lines: vec![
                line("half", of(|second| second.p50_us)),
                line("99 %", of(|second| second.p99_us)),
                line("longest", of(|second| second.max_us)),
                line("99 % at a consumer", of(|second| second.consumed_p99_us)),
            ],
            bands: bands.clone(),
        });
    }
    for plot in plots {
        if let Ok(svg) = plot.svg() {
            writeln!(page, "{svg}")?;
        }
    }
    Ok(())
}

fn latency(page: &mut String, proof: &Proof) -> Result<()> {
    if proof.latency.is_empty() {
        return Ok(());
    }
    writeln!(page, "<h2>How long it took, in milliseconds</h2><table>")?;
    writeln!(page, "<tr><th><th>half of all<th>90 %<th>99 %<th>99.9 %<th>the longest")?;
    let mut row = |name: &str, what: &str, latency: &Latency| {
        write!(page, "<tr><td>{}: {what}", escaped(name))?;
        for milliseconds in [latency.p50, latency.p90, latency.p99, latency.p999, latency.max] {
            write!(page, "<td class=n>{}", short(milliseconds))?;
        }
        writeln!(page)
    };
    for (name, latency) in &proof.latency {
        row(name, "from due to PUBACK", latency)?;
        if let Some(consumed) = proof.consumed.get(name) {
            row(name, "from due to a consumer", &consumed.since_due)?;
            row(name, "from PUBACK to a consumer", &consumed.since_acknowledged)?;
        }
    }
    writeln!(
        page,
        "</table><p><small>A reading was due when its device took it. Faults included: one that waited for the end of a fault has \
         waited. The consumer reads over Kafka.</small></p>"
    )?;
    Ok(())
}

fn faults(page: &mut String, proof: &Proof) -> Result<()> {
    writeln!(page, "<h2>What was broken</h2>")?;
    if proof.faults.is_empty() {
        writeln!(page, "<p>Nothing.</p>")?;
    } else {
        writeln!(page, "<table><tr><th>at<th>for<th>what<th>acknowledging again after")?;
        for Broken { at, until, what, note, alive_at } in &proof.faults {
            let lasted = if until > at { format!("{:.1} s", until - at) } else { String::new() };
            let alive = alive_at.map_or_else(|| "the end".to_owned(), |alive| format!("{:.1} s", alive - until));
            let note = note.as_ref().map_or_else(String::new, |note| format!("<br><small>{}</small>", escaped(note)));
            writeln!(
                page,
                "<tr><td class=n>{at:.1} s<td class=n>{lasted}<td>{}{note}<td class=n>{alive}",
                escaped(what)
            )?;
        }
        writeln!(page, "</table>")?;
    }
    if !proof.unavailable.is_empty() {
        writeln!(page, "<p>Not broken:</p><ul>")?;
        for why in &proof.unavailable {
            writeln!(page, "<li>{}", escaped(why))?;
        }
        writeln!(page, "</ul>")?;
    }
    Ok(())
}

/// Findings that the page has; the JSON has all.
const SHOWN: usize = 200;

fn findings(page: &mut String, proof: &Proof) -> Result<()> {
    if proof.findings.is_empty() {
        return Ok(());
    }
    writeln!(page, "<h2>What must not be</h2><table><tr><th>what<th>device<th>restart<th>sequences")?;
    for finding in proof.findings.iter().take(SHOWN) {
        let named = |name: &Option<String>| escaped(name.as_deref().unwrap_or("the log"));
        let (device, restart) = (named(&finding.device), escaped(finding.restart.as_deref().unwrap_or("")));
        writeln!(
            page,
            "<tr><td>{}<td>{device}<td>{restart}<td>{}",
            escaped(&finding.what),
            escaped(&finding.evidence)
        )?;
    }
    writeln!(page, "</table>")?;
    if proof.findings.len() > SHOWN {
        writeln!(page, "<p>... and {} more; the JSON file beside this one has all.</p>", proof.findings.len() - SHOWN)?;
    }
    Ok(())
}

fn about(page: &mut String, proof: &Proof) -> Result<()> {
    writeln!(page, "<h2>How to do it again</h2><pre>{}</pre><table>", escaped(&proof.replay))?;
    writeln!(page, "<tr><td>against<td>{}", escaped(&proof.against))?;
    writeln!(page, "<tr><td>seed<td>{}<tr><td>lasted<td>{:.0} s", proof.seed, proof.seconds)?;
    for (name, value) in &proof.load {
        writeln!(page, "<tr><td>{}<td>{}", escaped(name), escaped(value))?;
    }
    writeln!(page, "</table><p><small>{}</small></p>", escaped(&proof.machine))?;
    Ok(())
}

/// 1234567 is 1,234,567.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove::report::{Finding, Totals};
    use crate::prove::timeline::{Moment, Timeline};

    fn proof() -> Proof {
        let moment = |at: u64| Moment { at: at as f64, sampled: 100 * at, acknowledged: 90 * at };
        Proof {
            holds: true,
            against: "127.0.0.1:1883".to_owned(),
            replay: "cargo lab prove --seed 7".to_owned(),
            seed: 7,
            began_ms: 0,
            seconds: 3.0,
            machine: "a machine".to_owned(),
            load: Vec::new(),
            totals: Totals { acknowledged: 1_234_567, ..Totals::default() },
            latency: Default::default(),
            consumed: Default::default(),
            seconds_of: Default::default(),
            faults: vec![Broken {
                at: 1.0,
                until: 2.0,
                what: "black hole".to_owned(),
                note: None,
                alive_at: Some(2.5),
            }],
            unavailable: Vec::new(),
            findings: Vec::new(),
            timeline: Timeline((0..4).map(moment).collect()),
        }
    }

    #[test]
    fn a_page_says_the_verdict_first_and_how_to_do_it_again() {
        let page = html(&proof()).unwrap();
        assert!(page.contains("No. 1,234,567 readings were acknowledged while one thing was broken"), "{page}");
        assert!(page.contains("against<td>127.0.0.1:1883"), "{page}");
        assert!(page.contains("cargo lab prove --seed 7") && page.contains("black hole") && page.contains("<svg"));
    }

    #[test]
    fn a_broken_promise_is_named_and_what_others_said_cannot_become_markup() {
        let finding = Finding {
            what: "acknowledged and lost".to_owned(),
            device: Some("<b>pump".to_owned()),
            restart: Some("9".to_owned()),
            evidence: "3 (1 in all)".to_owned(),
            count: 1,
            sequences: vec![[3, 4]],
        };
        let totals = Totals { lost: 1, ..Totals::default() };
        let page = html(&Proof { holds: false, findings: vec![finding], totals, ..proof() }).unwrap();
        assert!(page.contains("A promise was broken: 1 lost"), "{page}");
        assert!(page.contains("&lt;b&gt;pump") && !page.contains("<b>pump"));
    }
}
