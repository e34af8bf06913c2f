//! Opening what is on the disk, and saying what was found.

use std::sync::Arc;

use weir_storage::Redone;
use weir_storage::keyed::Opened;

use super::clients::{self, Clients};
use super::{RunError, World, access, options};
use crate::access::Access;
use crate::config::Config;
use crate::groups::{self, Groups};
use crate::ingest::{Ingest, RecoveryReport};
use crate::model::Model;
use crate::model::feed::{self, Feeding};
use crate::tls::Revocations;
use crate::topics::Topics;

/// What was opened.
pub(super) struct Started {
    pub(super) ingest: Ingest,
    pub(super) topics: Topics,
    pub(super) groups: Groups,
    pub(super) clients: Clients,
    pub(super) access: Access,
}

/// Recovers the logs; it reads files for a while, so not on a worker thread.
pub(super) async fn start(config: &Config, world: &World, revocations: Revocations) -> Result<Started, RunError> {
    let options = options::ingest(config, world);
    let (fs, clock, data) = (world.fs.clone(), world.clock.clone(), config.data.clone());
    let (settings, wanted) = (config.clone(), access::Wanted::of(config));
    let started = tokio::task::spawn_blocking(move || -> Result<_, RunError> {
        let started = Ingest::start(fs.clone(), &data, options, clock.clone())?;
        let access = access::open(&fs, &data, wanted, clock, revocations)?;
        Ok((started, groups::Opened::open(&fs, &data)?, clients::Opened::open(&fs, &settings)?, access))
    });
    let ((ingest, topics, report), offsets, clients, access) = started.await.map_err(|_| RunError::CutOff)??;
    log_recovery(&report);
    log_offsets(&offsets);
    let options = config.groups.options();
    let all = topics.with_internal(groups::offsets::TOPIC, [offsets.reader()]);
    let groups = Groups::new(offsets, all, options, &*world.clock, Box::new(groups::random_bits));
    let clients = Clients::new(clients, config, &*world.clock);
    Ok(Started { ingest, topics, groups, clients, access })
}

/// Opens the read model and begins to feed it. A gateway without it stores and serves all the same.
pub(super) async fn start_model(
    config: &Config,
    topics: &Topics,
    ingest: &Ingest,
) -> (Option<Arc<Model>>, Option<Feeding>) {
    let (data, topics, ingest) = (config.data.clone(), topics.clone(), ingest.clone());
    let started = tokio::task::spawn_blocking(move || -> Result<_, String> {
        let (model, opened) = Model::open(&data).map_err(|error| error.to_string())?;
        if let Opened::Rebuild(why) = opened {
            tracing::warn!(why, "the read model cannot be believed; it is filled again from the logs");
        }
        let model = Arc::new(model);
        let feeding = feed::start(Arc::clone(&model), topics, ingest).map_err(|error| error.to_string())?;
        Ok((model, feeding))
    });
    match started.await.unwrap_or_else(|error| Err(error.to_string())) {
        Ok((model, feeding)) => (Some(model), Some(feeding)),
        Err(error) => {
            tracing::error!(error, "the read model cannot be opened: /devices is not served");
            (None, None)
        }
    }
}

/// Says what recovery found; damage is named, not fatal.
fn log_recovery(report: &RecoveryReport) {
    let RecoveryReport { readings, reduced, dead_lettered, lost, devices, records_read, malformed, .. } = *report;
    tracing::info!(readings, reduced, dead_lettered, lost, devices, records_read, malformed, "recovered");
    let Redone { entries, bytes, damaged, put_aside, .. } = report.redone;
    if entries > 0 {
        tracing::info!(entries, bytes, "redone from the journal");
    }
    if damaged > 0 || put_aside {
        tracing::warn!(
            damaged,
            put_aside,
            "the journal was damaged; what is missing is named below, partition by partition"
        );
    }
    for found in &report.partitions {
        let (topic, partition, recovery) = (&*found.topic, found.partition, &found.recovery);
        if recovery.truncated_bytes > 0 {
            tracing::info!(topic, partition, bytes = recovery.truncated_bytes, "cut off what was never acknowledged");
        }
        for why in &found.bad_checkpoints {
            tracing::warn!(topic, partition, why, "a checkpoint cannot be believed; an older one was used, or the log");
        }
        if found.is_cut {
            let unnamed = found.unnamed_offsets;
            tracing::warn!(
                topic,
                partition,
                unnamed,
                "the log ends before a checkpoint saw it end: its last commits were damaged"
            );
        }
        if found.history_unknown {
            tracing::error!(
                topic,
                partition,
                "no checkpoint can be believed and the log does not begin at 0: of what was stored before its first records nothing is known, and readings that belong there become dead letters (history-unknown)"
            );
        }
        if recovery.damage_count > 0 {
            let (damages, lost_offsets) = (recovery.damage_count, recovery.lost_offsets);
            tracing::warn!(topic, partition, damages, lost_offsets, "damaged: `weir-gateway topic verify` names it");
        }
    }
}

/// Says what was found of groups.
fn log_offsets(opened: &groups::Opened) {
    let ((groups, offsets), recovery) = (opened.counts(), opened.recovery());
    tracing::info!(groups, offsets, "offsets of groups read");
    if recovery.damage_count > 0 {
        let (damages, lost_offsets) = (recovery.damage_count, recovery.lost_offsets);
        tracing::warn!(damages, lost_offsets, "weir.offsets is damaged: groups may go on at earlier offsets");
    }
}
