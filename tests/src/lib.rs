//! What the end-to-end tests share: the programs, a deployment, the seed, and loud skips.

pub mod prove;
pub mod rough;
pub mod sender;

use std::sync::OnceLock;
use std::time::Duration;

use weir_lab::binaries::Binaries;
use weir_lab::deployment::{Deployment, Plan};
use weir_lab::soak::{self, Bench, Verdict};

/// How long anything may take before a test gives up; only a broken system takes so long.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The programs, built once for all tests of a process.
pub fn binaries() -> &'static Binaries {
    static BINARIES: OnceLock<Binaries> = OnceLock::new();
    BINARIES.get_or_init(|| Binaries::prepare(true, None).expect("the programs build"))
}

/// `WEIR_SEED`, or a fixed one. Printed, so that a failure can be replayed.
pub fn seed() -> u64 {
    let seed = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121);
    println!("WEIR_SEED={seed}");
    seed
}

/// A deployment of one host board, running. `change` makes it what the test needs.
pub async fn deployment(change: impl FnOnce(&mut Plan)) -> Deployment {
    Deployment::start(plan(change), binaries()).await.expect("the deployment starts")
}

/// The plan of [`deployment`].
pub fn plan(change: impl FnOnce(&mut Plan)) -> Plan {
    let mut plan = Plan::new(seed());
    plan.boards = 1;
    plan.rate = 100;
    plan.system = false;
    change(&mut plan);
    plan
}

/// Drains, expects that the ledger holds, and removes the directory.
pub async fn expect_to_hold(mut deployment: Deployment) {
    let (report, _) = deployment.drain().await.expect("the deployment drains");
    assert!(report.holds(), "\n{report}");
    deployment.scratch.remove().expect("the directory can be removed");
}

/// Runs a slice of a scenario of `cargo lab soak` and expects that it holds.
pub async fn soak_slice(name: &str) {
    let bench = Bench { binaries: binaries(), quick: true, seed: seed(), build: true };
    match soak::scenario(name, &bench).await.expect("the scenario runs to its end") {
        Verdict::Holds(what) => println!("{name}: {what}"),
        Verdict::Skipped(why) => skip(&why),
        Verdict::Broken(what) => panic!("{name}: {what}"),
    }
}

/// Types a command of the gateway beside the one that runs; what it prints.
pub async fn typed(deployment: &Deployment, arguments: &[&str]) -> String {
    let mut command = tokio::process::Command::new(&deployment.gateway.program.path);
    command.args(arguments).arg("--config").arg(deployment.scratch.join("gateway.toml"));
    let output = command.kill_on_drop(true).output().await.expect("the command starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Says loudly that something was not tested; with `TESTS_REQUIRE_ALL=1` that is a failure.
pub fn skip(why: &str) {
    assert!(std::env::var_os("TESTS_REQUIRE_ALL").is_none_or(|v| v != "1"), "SKIPPED although all is required: {why}");
    eprintln!("SKIPPED: {why}");
}
