//! What is wrong with this machine, as far as it concerns the agent, and what to type.
//!
//! What it guarantees: every check ends in bounded time, with the network or without; nothing is changed but a file of
//! some bytes that is written to the data directory and removed; no serial line is opened, because opening one resets
//! some boards; the session of a running agent is left alone; a port is listened on for a moment, if no agent runs. What cannot be found out is said to be so.

mod agent;
mod certificate;
mod clock;
mod gateway;
mod lines;
mod machine;
mod person;
mod place;
mod ports;
mod secrets;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use weir_protocol::time::{SystemClock, WallClock};

use crate::config::Config;
use crate::local::ask;
pub use person::Person;
pub(crate) use person::user_name;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, or will not for long.
    Warning,
    /// It does not work.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What: `data_dir`, `gateway 10.0.0.1:1883`.
    pub subject: String,
    /// How bad it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// Where to look.
pub struct Ground<'a> {
    /// The settings.
    pub config: &'a Config,
    /// What `/proc`, `/sys`, `/dev` and `/etc` are below; `/` but for tests.
    pub root: PathBuf,
    /// Seconds since 1970.
    pub now: i64,
    /// Whether the kernel calls its clock synchronised.
    pub is_synchronised: bool,
    /// How long one step towards a gateway may take.
    pub patience: Duration,
}

impl<'a> Ground<'a> {
    /// This machine.
    pub fn here(config: &'a Config, patience: Duration) -> Self {
        let is_synchronised = crate::source::clock::is_synchronised();
        let now = SystemClock.now().as_millis().div_euclid(1000);
        Self { config, root: PathBuf::from("/"), now, is_synchronised, patience }
    }

    /// A path of this machine.
    fn path(&self, path: impl AsRef<std::path::Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

impl Check {
    fn new(subject: impl Into<String>, verdict: Verdict, found: impl Into<String>) -> Self {
        Self { subject: subject.into(), verdict, found: found.into(), fix: None }
    }

    /// One that is as it should be.
    pub fn ok(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Ok, found)
    }

    /// One that works, or will not for long.
    pub fn warning(subject: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..Self::new(subject, Verdict::Warning, found) }
    }

    /// One that does not work.
    pub fn problem(subject: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..Self::new(subject, Verdict::Problem, found) }
    }
}

/// Looks at everything.
pub async fn examine(ground: &Ground<'_>) -> Vec<Check> {
    let running = ask::status(ground.config).await;
    let person = Person::of_the_agent(&ground.root, running.as_ref().ok().map(|status| status.pid));
    let mut checks = agent::check(ground, &running);
    if running.is_ok() {
        checks.extend(agent::settings(ground).await);
    }
    checks.extend(place::check(ground, &person));
    checks.extend(clock::check(ground));
    checks.extend(lines::check(ground, &person).await);
    checks.extend(secrets::check(ground, &person));
    if running.is_err() {
        checks.extend(ports::check(ground, &person));
    }
    checks.extend(certificate::check(ground));
    checks.extend(gateway::check(ground, running.as_ref().ok()).await);
    checks.extend(machine::check(ground, running.as_ref().ok().map(|status| status.pid)));
    checks
}
