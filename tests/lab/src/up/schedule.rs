//! When to kill what: `agent=5s,gateway=7s,board=11s`.

use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::deployment::{Aim, Target};

/// Kills at intervals: right behind an acknowledgement, behind one that the network swallows, and blind, in turns.
#[derive(Clone, Debug, Default)]
pub struct Schedule(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    target: Target,
    interval: Duration,
    due: Instant,
    kills: usize,
}

/// One kill that is due.
#[derive(Clone, Copy, Debug)]
pub struct Kill {
    /// What to kill.
    pub target: Target,
    /// When exactly.
    pub aim: Aim,
    /// Which of the boards: they take turns.
    pub pick: usize,
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut entries = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let expected = || format!("got `{part}`, expected such as agent=5s, gateway=7s or board=11s");
            let (target, interval) = part.split_once('=').ok_or_else(expected)?;
            let target = Target::from_str(target.trim(), true).map_err(|_| expected())?;
            let interval = duration(interval.trim()).map_err(|_| expected())?;
            entries.push(Entry { target, interval, due: Instant::now() + interval, kills: 0 });
        }
        Ok(Self(entries))
    }
}

impl Schedule {
    /// Counts the intervals from now on.
    pub fn begin(&mut self) {
        for entry in &mut self.0 {
            entry.due = Instant::now() + entry.interval;
        }
    }

    /// When the next kill is due; `None` if nothing is ever to be killed.
    pub fn next_due(&self) -> Option<Instant> {
        self.0.iter().map(|entry| entry.due).min()
    }

    /// The kill that is due now, if one is; the next of its kind is an interval later.
    pub fn take_due(&mut self) -> Option<Kill> {
        let now = Instant::now();
        let entry = self.0.iter_mut().filter(|entry| entry.due <= now).min_by_key(|entry| entry.due)?;
        entry.due = now + entry.interval;
        entry.kills += 1;
        let aim = [Aim::Blind, Aim::BehindPromise, Aim::BehindLostAnswer][entry.kills % 3];
        Some(Kill { target: entry.target, aim, pick: entry.kills })
    }
}

/// A duration such as `500ms`, `30s` or `2m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("got `{text}`, expected a number above 0 and a unit, such as 500ms, 30s or 2m");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| expected())?;
    let millis = match &text[digits..] {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    millis.filter(|ms| (1..=86_400_000).contains(ms)).map(Duration::from_millis).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_names_targets_and_intervals() {
        let schedule: Schedule = "agent=5s,board=1500ms".parse().unwrap();
        let read: Vec<_> = schedule.0.iter().map(|e| (e.target, e.interval.as_millis())).collect();
        assert_eq!(read, [(Target::Agent, 5000), (Target::Board, 1500)]);
    }

    #[test]
    fn a_mistake_in_a_schedule_says_what_to_type() {
        for wrong in ["agent", "agent=", "agent=5", "agnet=5s", "agent=0s", "agent=-1s"] {
            let error = wrong.parse::<Schedule>().unwrap_err();
            assert!(error.contains("expected such as agent=5s"), "{wrong}: {error}");
        }
    }
}
