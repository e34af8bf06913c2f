//! `[line_protocol]` and InfluxDB's own client library for Python, with gzip.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use weir_lab::deployment::{Aim, Target};
use weir_lab::ports::Reserved;

use crate::peer::Peer;
use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_survives_a_kill() {
    let reserved = Reserved::new(0).unwrap();
    let mut stage = Stage::start(&format!("[line_protocol]\nlisten = \"{}\"\n", reserved.address)).await;
    // Nothing leaves the agent before it is killed.
    stage.deployment.network.black_hole();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() - 60_000;
    let (url, first) = (format!("http://{}", reserved.address), format!("{now}000000"));
    let Some(writer) = Peer::python("writer.py", &[&url, &first]).await else { return };
    stage.deployment.kill(Target::Agent, Aim::Blind, 0).await.unwrap();

    let tank = [
        ("tank.level", "1", json!(0.5)),
        ("tank.level", "1", json!(1.5)),
        ("tank.level", "1", json!(2.5)),
        ("tank.alarm", "1", json!(false)),
        ("tank.alarm", "1", json!(true)),
    ];
    stage.expect("edge-9", &tank).await;
    let readings = stage.readings("edge-9").await;
    assert_eq!(readings.len(), 6, "each once: {readings:?}");
    // A machine whose own clock is not right believes no times.
    if readings.iter().all(|reading| reading.clock == "synchronised") {
        let mut times: Vec<_> = readings.iter().map(|reading| (reading.time / 1000) as u128 - now).collect();
        times.sort_unstable();
        assert_eq!(times, [0, 0, 1000, 1000, 2000, 2000], "as the writer says: {readings:?}");
    }
    stage.end().await;
    writer.end().await;
}
