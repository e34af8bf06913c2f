//! The delivery rules as a model: device ring, agent queue, connection, gateway logs, and the faults between them.
//!
//! ```text
//! weir-model            the worlds of the short run, and every broken rule
//! weir-model --all      the slow worlds too
//! weir-model NAME ...   worlds or rules by name, with every step of what breaks
//! ```
//!
//! Exits 1 if a property is violated where every rule is kept, or if a broken rule is not caught. Read in this
//! order: `device`, `agent`, `uplink`, `gateway/` are who takes part; `state` is what can happen; `properties`
//! what must hold; `worlds` where it was looked for; `rules` what is broken on purpose.

mod agent;
mod device;
mod explore;
mod foreign;
mod gateway;
mod properties;
mod rules;
mod sequences;
mod state;
mod uplink;
mod window;
mod world;
mod worlds;

use std::process::ExitCode;
use std::time::Instant;

use explore::{Report, Verdict, explore};
use rules::Rule;
use world::World;

/// The most states of one world; about 2 GB of memory.
const LIMIT: usize = 6_000_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let all = arguments.iter().any(|argument| argument == "--all");
    let names: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let named = |name: &str| names.iter().any(|wanted| *wanted == name);
    let mut explored = 0;
    let mut bad = 0;
    let mut run = |name: &str, world: &World, expected: fn(&Report) -> bool| {
        let report = show(name, world, named(name), expected);
        explored += 1;
        bad += usize::from(!expected(&report));
    };
    println!("{:<38} {:>9} {:>10} {:>6} {:>7}", "world", "states", "steps", "rests", "seconds");
    for world in &worlds::KEPT {
        let wanted = if names.is_empty() { all || !world.slow } else { named(world.name) };
        if wanted {
            run(world.name, &world.world, |report| matches!(report.verdict, Verdict::Holds) && report.rests > 0);
        }
    }
    for rule in Rule::ALL {
        let name = format!("{rule:?}");
        if names.is_empty() || named(&name) {
            let caught = |report: &Report| matches!(report.verdict, Verdict::Violated(..) | Verdict::Stuck(_));
            run(&name, &worlds::broken(rule), caught);
        }
    }
    for broken in [None].into_iter().chain(foreign::Broken::ALL.map(Some)) {
        let name = broken.map_or_else(|| "QoS2".to_owned(), |broken| format!("{broken:?}"));
        if names.is_empty() || named(&name) {
            let is_expected = show_found(&name, || foreign::explore(broken), broken.is_some());
            explored += 1;
            bad += usize::from(!is_expected);
        }
    }
    for broken in [None].into_iter().chain(window::Broken::ALL.map(Some)) {
        let name = broken.map_or_else(|| "window".to_owned(), |broken| format!("{broken:?}"));
        if names.is_empty() || named(&name) {
            let is_expected = show_found(&name, || window::explore(broken), broken.is_some());
            explored += 1;
            bad += usize::from(!is_expected);
        }
    }
    println!("{explored} explored, {bad} not as expected");
    if bad == 0 && explored > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Explores what stands by itself; whether what was found is as expected.
fn show_found(name: &str, explore: impl FnOnce() -> foreign::Found, is_broken: bool) -> bool {
    let start = Instant::now();
    let foreign::Found { states, steps, rests, wrong } = explore();
    let seconds = start.elapsed().as_secs_f32();
    let found = wrong.map_or_else(|| "holds".to_owned(), |wrong| format!("violates: {wrong}"));
    println!("{name:<38} {states:>9} {steps:>10} {rests:>6} {seconds:>7.1}  {found}");
    wrong.is_some() == is_broken && (is_broken || rests > 0)
}

/// Explores a world and prints what was found; with every step if that was asked for or is not as expected.
fn show(name: &str, world: &World, verbose: bool, expected: fn(&Report) -> bool) -> Report {
    let start = Instant::now();
    let report = explore(world, LIMIT);
    let Report { states, steps, rests, verdict } = &report;
    let seconds = start.elapsed().as_secs_f32();
    let (found, trace) = match verdict {
        Verdict::Holds => ("holds", None),
        Verdict::Violated(property, trace) => (*property, Some(trace)),
        Verdict::Stuck(trace) => ("there is always a way to rest", Some(trace)),
        Verdict::TooMany => ("too many states", None),
    };
    let found = if trace.is_some() { format!("violates: {found}") } else { found.to_owned() };
    println!("{name:<38} {states:>9} {steps:>10} {rests:>6} {seconds:>7.1}  {found}");
    if verbose || !expected(&report) {
        trace.into_iter().flatten().enumerate().for_each(|(at, step)| println!("{:>6}. {step:?}", at + 1));
    }
    report
}
