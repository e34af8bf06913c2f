//! Whole Weirs in one process, on virtual time, network and disks: one seed is one world, and the same seed is the same
//! world again, byte for byte.
//!
//! ```text
//! Device (rings in flash or RAM) ══ cable ══ intake, queue (FaultyFs), uplink ══ network ══ session, ingest, logs (FaultyFs)
//!    power cuts                 noise, pulled   kills, power, EIO, full and      cuts, silence,   the same, and retention
//!                                     │          slow disks, flipped bits        half-open, delay         │
//!                                     ╰──────────▸ ledger ◂───── PUBACKs ───────────────╯    census ◂─────╯
//! ```
//!
//! What is real: `weir_firmware::Device` with both rings; the agent's intake, queue with its committer, keeper's work, and the
//! uplink as the whole task, down to rumqttc's state machine and codec; the gateway's sessions, ingest engine, recovery,
//! committer with and without a journal, checkpoints, retention and topics. What each world is judged by is the lab's ledger
//! and reconciliation ([`weir_lab::reconcile`]), which judge real programs too.
//!
//! What is not, and why:
//! - rumqttc's event loop, the agent's threads and channels around intake and queue (`intake/task.rs`, `queue/keeper.rs`), the
//!   gateway's (`ingest/service.rs`, `ingest/keeper/thread.rs`) and its connections' (`front/exchange.rs`): they wait for
//!   sockets and threads, whose order no seed can say. What they do is done here by calls, in steps that the seed orders. The
//!   soak covers them with real processes.
//! - sled and rumqttd, which own threads and files: nothing that is acknowledged depends on them.
//! - TLS, HTTP, Kafka, consumers' groups; wills, and retained messages.
//!
//! The uplink's task runs on a runtime of one thread whose time is paused; whatever it waits for is done when it is polled
//! next, so the order is that of the steps. Threads are left in one place only: committers write on theirs while the world
//! waits for them.
//!
//! Read in this order: [`plan`] says what a seed stands for, [`world`] is the loop, [`trouble`] breaks things, [`board`], [`cable`], [`agent`],
//! [`network`] and [`gateway`] are who is in it, [`damage`] flips bits, [`judge`] has the last word.

mod agent;
mod board;
mod cable;
mod clock;
mod damage;
#[path = "../../../firmware/tests/support/flash.rs"]
#[expect(dead_code, unreachable_pub, reason = "the firmware's tests use more of it")]
mod flash;
mod gateway;
mod judge;
mod network;
mod plan;
#[cfg(feature = "plant")]
mod plant;
#[path = "../../../firmware/tests/support/sensor.rs"]
#[expect(unreachable_pub, reason = "shared with the firmware's tests")]
mod sensor;
mod trace;
mod trouble;
mod world;

pub use judge::Judgement;
#[cfg(feature = "plant")]
pub use plant::Plant;
pub use trace::Trace;
use world::World;

/// How a world is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Its story is kept.
    pub told: bool,
    /// A fault in the program, which must be caught.
    #[cfg(feature = "plant")]
    pub plant: Option<Plant>,
}

/// What came of a world.
pub struct Outcome {
    /// The same hash means that the same happened.
    pub hash: u64,
    /// What it is judged to be.
    pub judgement: Judgement,
    /// What happened.
    pub trace: Trace,
    /// How long it lived, in microseconds of its own time.
    pub micros: u64,
}

/// Runs the world of a seed.
///
/// # Errors
/// The system gives no runtime.
pub fn run(seed: u64, options: &Options) -> std::io::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let world = World::new(seed, options);
    Ok(runtime.block_on(world.live()))
}
