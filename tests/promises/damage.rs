//! One flipped bit in the middle of a log: named, skipped, and everything else is served.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value as Json;
use weir_lab::census::Census;
use weir_protocol::batch::LossKind;
use weir_tests::{PATIENCE, binaries, deployment, soak_slice};

/// The log file of the topic `readings` that holds most.
fn fullest(data: &Path) -> PathBuf {
    let partitions = (0..4).map(|number| data.join(format!("topics/readings/{number}")));
    let files = partitions.flat_map(|dir| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()));
    let logs = files.filter(|file| file.extension().is_some_and(|extension| extension == "log"));
    logs.max_by_key(|file| file.metadata().unwrap().len()).unwrap()
}

fn verify(settings: &Path) -> Output {
    let mut verify = Command::new(&binaries().gateway);
    verify.args(["--output", "json", "topic", "verify", "readings", "--config"]).arg(settings);
    verify.output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_flipped_bit_costs_its_frame_and_nothing_else() {
    let mut deployment = deployment(|plan| plan.rate = 500).await;
    deployment.wait_for("1000 readings", PATIENCE, |census| census.readings() >= 1000).await.unwrap();
    let (report, whole) = deployment.drain().await.unwrap();
    assert!(report.holds(), "\n{report}");
    let settings = deployment.scratch.join("gateway.toml");
    assert!(verify(&settings).status.success(), "an undamaged log verifies");

    let file = fullest(&deployment.scratch.join("gateway"));
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&file, bytes).unwrap();

    let found = verify(&settings);
    assert_eq!(found.status.code(), Some(1), "{}", String::from_utf8_lossy(&found.stderr));
    let partitions = String::from_utf8(found.stdout).unwrap();
    let partitions = partitions.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    let damaged: Vec<_> = partitions.filter(|partition| partition["damages"] != 0).collect();
    let [partition] = damaged.as_slice() else { panic!("one partition is damaged: {damaged:?}") };
    let [damage] = partition["damage"].as_array().unwrap().as_slice() else { panic!("one damage: {partition}") };
    assert_eq!(damage["file"].as_str(), file.file_name().unwrap().to_str(), "{damage}");
    let (from, to) = (damage["from"].as_u64().unwrap(), damage["to"].as_u64().unwrap());
    let (at, length) = (damage["position"].as_u64().unwrap(), damage["bytes"].as_u64().unwrap());
    assert!((at..at + length).contains(&(middle as u64)), "the bit at {middle} is inside: {damage}");
    assert!(from < to && to < partition["end"].as_u64().unwrap(), "{partition}");

    deployment.ledger.allow(LossKind::Damage);
    deployment.gateway.start().unwrap();
    deployment.wait_for_gateway().await.unwrap();
    let counted = |census: &Census| census.restarts.values().any(|stored| stored.kinds.contains_key("damage"));
    let census = deployment.wait_for("the damage is counted", PATIENCE, counted).await.unwrap();
    let [gap] = census.gaps.as_slice() else { panic!("one gap is served: {:?}", census.gaps) };
    assert_eq!(gap.offsets, from..to, "what is served is what verify named");
    assert_eq!(census.readings(), whole.readings() - (to - from), "everything outside of the gap is served");
    let lost: u64 = census.restarts.values().map(|stored| stored.lost.len()).sum();
    assert_eq!(lost, to - from, "what was on the gap is counted lost");
    let report = weir_lab::reconcile::reconcile(&deployment.ledger, &census);
    assert!(report.holds(), "\n{report}");
    deployment.scratch.remove().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_lost_without_knowing_is_counted() {
    soak_slice("damage-queue").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_delivery_heals_what_was_damaged() {
    soak_slice("damage-log").await;
}
