use serde_json::Value as Json;
use weir_protocol::time::Timestamp;
use weir_storage::FaultyFs;
use weir_storage::fs::Fault;

use super::*;
use crate::access::role::{Role, Who};

struct Noon;

impl WallClock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_795_260_000_000)
    }
}

fn open(fs: &FaultyFs) -> Audit {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    Audit::open(&fs, Path::new("/data"), Arc::new(Noon)).unwrap()
}

fn admin() -> Caller {
    Caller { who: Who::Local(0), role: Role::Admin, tenant: None, address: None }
}

fn entries(audit: &Audit) -> Vec<Json> {
    let mut found = Vec::new();
    let see = |record: weir_storage::Record<'_>| found.extend(entry::decode(record.value.unwrap()));
    keyed_log::read(&audit.reader().unwrap(), see).unwrap();
    found
}

#[tokio::test]
async fn an_act_is_written_before_it_is_done_and_before_it_is_answered() {
    let fs = FaultyFs::new(1);
    let audit = open(&fs);
    let act = audit.begin(&admin(), "DELETE /groups/{group}", "1", "/groups/lake").await.unwrap();
    // The power goes before it ends.
    let fs = fs.power_cut();
    let cut = entries(&open(&fs));
    assert_eq!(cut.len(), 1);
    assert_eq!(
        (&cut[0]["state"], &cut[0]["who"], &cut[0]["from"]),
        (&"begun".into(), &"uid:0".into(), &"socket".into())
    );

    drop(act);
    let audit = open(&fs);
    let act = audit.begin(&admin(), "DELETE /groups/{group}", "2", "/groups/lake").await.unwrap();
    act.end(true, "200").await.unwrap();
    let whole = entries(&open(&fs.power_cut()));
    assert_eq!(
        (&whole[2]["state"], &whole[2]["result"], &whole[2]["target"]),
        (&"done".into(), &"200".into(), &"/groups/lake".into())
    );
    assert_eq!(whole[1]["id"], whole[2]["id"]);
}

#[tokio::test]
async fn what_cannot_be_written_must_not_be_done() {
    let fs = FaultyFs::new(1);
    let audit = open(&fs);
    fs.fail_once(Fault::Sync);
    assert!(audit.begin(&admin(), "DELETE /groups/{group}", "1", "/groups/lake").await.is_err());
    assert!(audit.begin(&admin(), "DELETE /groups/{group}", "2", "/groups/lake").await.is_ok());
}

#[tokio::test]
async fn a_storm_of_refusals_is_a_record_and_a_count() {
    let fs = FaultyFs::new(1);
    let audit = open(&fs);
    let from = Some("10.0.0.7".parse().unwrap());
    for _ in 0..10_000 {
        audit.refused(Wanted::Connect, "pump-1", from, "an unknown user or a wrong password");
    }
    let (_keep, keep) = watch::channel(Keep { bytes: 1 << 20, age: Duration::from_secs(3600) });
    let (_stop, stop) = watch::channel(true);
    audit.clone().run(keep, stop).await;
    audit.stop();
    let found = entries(&open(&fs.power_cut()));
    let counts: Vec<_> = found.iter().map(|entry| entry["count"].as_u64().unwrap()).collect();
    assert_eq!(counts, [1, 9_999]);
    let of_connects = audit.counts().find(|(wanted, _)| *wanted == Wanted::Connect);
    assert_eq!(of_connects, Some((Wanted::Connect, 10_000)), "each is counted on /metrics");
    assert_eq!((&found[0]["refused"], &found[0]["from"]), (&"mqtt-connect".into(), &"10.0.0.7".into()));
}
