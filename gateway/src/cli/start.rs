//! `run`: the daemon.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use weir_protocol::time::SystemClock;

use super::{Failed, RunArgs, descriptors, logs};
use crate::config::Config;
use crate::run::{self, World};

pub(super) fn run(config: &Config, args: &RunArgs) -> Result<(), Failed> {
    let world = world(args)?;
    logs::start();
    descriptors::take(config);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (mut hangup, reload) = (signal(SignalKind::hangup())?, world.reload.clone());
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                reload.notify_one();
            }
        });
        let shutdown = async {
            tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
            // A second signal is from somebody who will not wait.
            tokio::spawn(async move {
                tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
                std::process::exit(1);
            });
        };
        run::run(config, world, shutdown, |_| ()).await.map_err(Failed::unavailable)
    });
    // A read of a slow disk may still run; nobody waits for its answer any more.
    runtime.shutdown_background();
    outcome
}

#[cfg(not(feature = "plant"))]
fn world(_: &RunArgs) -> Result<World, Failed> {
    Ok(World { fs: Arc::new(weir_storage::RealFs), clock: Arc::new(SystemClock), reload: Arc::default() })
}

/// A build that can plant faults runs on a filesystem that forgets unsynced bytes when it is killed.
#[cfg(feature = "plant")]
fn world(args: &RunArgs) -> Result<World, Failed> {
    use crate::ingest::plant::Plant;
    let named = |name: &str| {
        let plant = Plant::NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, plant)| plant);
        let expected = || Plant::NAMES.map(|(known, _)| known).join(", ");
        plant.ok_or_else(|| Failed::usage(format!("--plant {name}: expected one of {}", expected())))
    };
    let plant = args.plant.as_deref().map(named).transpose()?;
    Ok(World {
        fs: Arc::new(weir_storage::fs::ForgetfulFs::lying(plant.and_then(Plant::lie))),
        clock: Arc::new(SystemClock),
        reload: Arc::default(),
        plant,
    })
}
