//! The page: for people who look for one number, and for those who do not believe it.

use std::fmt::Write as _;

use super::super::found::{Contender, Contest, Found};
use super::super::measures::{MEASURES, Named};
use super::super::table::{Measure, median, ratios, spread};
use super::{Ran, Results};
use crate::plot::short;

const INTRODUCTION: &str = "\
# Benchmarks

Written by `cargo lab bench --report tests/BENCHMARKS.md`; what is here by hand is lost with the next run. `cargo lab bench publish
--report tests/BENCHMARKS.md` takes one measure again and leaves the others. Every turn of every measure is in
[results.json](BESIDE/results.json).

## How to read it

- Both sides of a comparison take turns in one run, with the same payloads from the same publishers on the same machine. A ratio is
  that of two turns beside each other; what is shown is the median of the ratios, and in parentheses the least and the most. Absolute
  numbers differ between machines and between hours; ratios less so.
- What an answer *means* stands beside each server, because that is what costs: a PUBACK from memory and one from the disk are not the
  same thing. Compare rows that mean the same, or know what you are giving up.
- All servers run on this machine, beside the publishers that load them, over loopback, without TLS unless it is said. CPU is that
  of the server's processes alone, user and system, for one of what is counted.
- The load of the machine is the average of the minute before a measure began and of the one before it ended. The second one holds the
  measure itself; a first one above 1 says that something else ran meanwhile.
- Goals are what the project set itself before it measured. A row that misses its goal is left as it is.

What servers are measured against, and how to have them: [lab/peers](lab/peers/install). What is not installed is skipped and said so.
";

/// The page; plots and results are in the directory `beside`.
pub(super) fn markdown(results: &Results, beside: &str) -> String {
    let mut page = INTRODUCTION.replace("BESIDE", beside);
    for named in MEASURES {
        if let Some(ran) = results.0.get(named.name) {
            page += &section(named, ran, Some(beside));
        }
    }
    page
}

/// A measure; with its plots if they are files somewhere.
pub(in super::super) fn section(named: &Named, ran: &Ran, beside: Option<&str>) -> String {
    let Found { contests, measures, figures, .. } = &ran.found;
    let mut text = format!("\n## {}\n\n", named.title);
    if !named.about.is_empty() {
        text += &format!("{}\n\n", named.about);
    }
    let plot = |name: &str, what: &str| match beside {
        Some(beside) => format!("![{what}]({beside}/{name}.svg)\n\n"),
        None => String::new(),
    };
    for one in contests {
        text += &contest(one);
        if one.is_drawn() {
            text += &plot(&one.name, &one.title);
        }
        text += &settings(one);
    }
    if !measures.is_empty() {
        text += &format!("{}\n", Measure::HEAD);
        measures.iter().for_each(|measure| text += &format!("{measure}\n"));
        text += "\n";
    }
    for figure in figures {
        text += &plot(&figure.name, &figure.plot.title);
    }
    text + &about(ran)
}

/// The table of a contest.
fn contest(contest: &Contest) -> String {
    let mut text = format!("{}:\n\n", contest.title);
    let Some(first) = contest.contenders.first() else { return text };
    let has_cpu = contest.contenders.iter().any(|one| !one.cpu_micros.is_empty());
    let (cpu_head, cpu_line) = if has_cpu { (" CPU each |", "--:|") } else { ("", "") };
    let (ratio_head, ratio_line) = if contest.compared {
        (format!(" {} to it | goal |", first.card.name), "--:|--:|")
    } else {
        (String::new(), "")
    };
    text += &format!("| server | an answer means | {} |{cpu_head}{ratio_head}\n", contest.unit);
    text += &format!("|---|---|--:|{cpu_line}{ratio_line}\n");
    for (index, one) in contest.contenders.iter().enumerate() {
        text += &row(contest, first, one, (index > 0, has_cpu));
    }
    text + "\n"
}

fn row(contest: &Contest, first: &Contender, one: &Contender, (is_other, has_cpu): (bool, bool)) -> String {
    let Contender { card, turns, cpu_micros, goal, skipped } = one;
    if let Some(why) = skipped {
        let columns = 1 + usize::from(has_cpu) + 2 * usize::from(contest.compared);
        return format!("| {} | SKIPPED: {why} |{}\n", card.name, " |".repeat(columns));
    }
    let mut text = format!("| {} | {} | {} |", card.name, card.means, amounts(turns));
    if has_cpu {
        let cpu =
            if cpu_micros.is_empty() { String::new() } else { format!("{} us", short(median(cpu_micros.clone()))) };
        let _ = write!(text, " {cpu} |");
    }
    if contest.compared {
        let ratio = if is_other { format!("{}x", spread(&ratios(&first.turns, turns))) } else { String::new() };
        let _ = write!(text, " {ratio} | {goal} |");
    }
    text + "\n"
}

/// Median, least and most, as short as in plots.
fn amounts(turns: &[f64]) -> String {
    let least = turns.iter().copied().fold(f64::INFINITY, f64::min);
    let most = turns.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match turns {
        [] => "nothing".to_owned(),
        [only] => short(*only),
        _ => format!("{} ({} to {})", short(median(turns.to_vec())), short(least), short(most)),
    }
}

/// How each of a contest was set up.
fn settings(contest: &Contest) -> String {
    let mut text = String::new();
    for card in contest.contenders.iter().map(|one| &one.card).filter(|card| !card.settings.is_empty()) {
        text += &format!("- {}: {}.\n", card.name, card.settings);
    }
    if text.is_empty() { text } else { text + "\n" }
}

fn about(ran: &Ran) -> String {
    let Ran { when, command, machine, disk, load, seconds, quick, note, .. } = ran;
    let slice = if *quick { " **A slice: it shows that it runs, not how fast it is.**" } else { "" };
    let note = if note.is_empty() { String::new() } else { format!(" {note}") };
    if when.is_empty() {
        return format!("<sub>{machine}{note}</sub>\n");
    }
    format!(
        "<sub>{when}, `{command}`, {seconds:.0} s. {machine} {disk} Load {:.1} before, {:.1} at the end.{slice}{note}</sub>\n",
        load[0], load[1]
    )
}
