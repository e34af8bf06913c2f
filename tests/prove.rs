//! `weir-lab prove`, as a person runs it: the verdict, the report, the exit code.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value as Json;
use weir_lab::binaries::{Binaries, Plant};
use weir_lab::deployment::{Aim, Deployment, Plan, Target};
use weir_lab::load::{Load, LoadPlan};
use weir_tests::prove::{prove, prove_against};
use weir_tests::{PATIENCE, binaries, plan, seed, soak_slice};

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_broken_by_a_seed_nothing_acknowledged_is_lost() {
    soak_slice("schedules").await;
}

#[test]
fn a_proof_ends_with_a_page_for_people_and_json_for_machines() {
    let (output, json, page) = prove(&["--for", "4s", "--no-build"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(json["holds"] == true && json["totals"]["acknowledged"].as_u64() > Some(0), "{json}");
    assert_eq!((&json["totals"]["lost"], &json["totals"]["doubled"]), (&0.into(), &0.into()));
    assert!(page.contains("Every one of them is in the log") && page.contains("<svg"), "{page}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("PROVEN") && said.contains("proof.html"), "{said}");
}

#[test]
fn a_report_that_cannot_be_written_says_what_to_type() {
    let nowhere = Path::new("/nowhere/at/all").to_str().expect("text");
    let mut command = Command::new(&binaries().lab);
    let output = command.args(["prove", "--for", "1s", "--calm", "--no-build", "--report", nowhere]).output();
    let output = output.expect("weir-lab starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--report FILE"), "{output:?}");
}

/// A gateway that runs by itself, and is somebody else's.
async fn gateway(binaries: &Binaries, change: impl FnOnce(&mut Plan)) -> Deployment {
    let plan = plan(|plan| {
        (plan.boards, plan.system) = (0, false);
        change(plan);
    });
    let mut deployment = Deployment::prepare(plan, binaries).await.expect("the deployment is prepared");
    deployment.gateway.start().expect("the gateway starts");
    deployment.wait_for_gateway().await.expect("the gateway is ready");
    deployment
}

/// Kills it right behind so many acknowledgements that it gave through its own relay, and each time waits until it is back.
async fn kill(deployment: &mut Deployment, times: u32) {
    for _ in 0..times {
        // Each gives many before the next.
        let mut promises = deployment.ledger.gateway_promises();
        for _ in 0..20 {
            let acknowledged = tokio::time::timeout(PATIENCE, promises.changed()).await;
            acknowledged.expect("the gateway acknowledges").expect("the ledger lives");
        }
        deployment.kill(Target::Gateway, Aim::BehindPromise, 0).await.expect("the gateway is killed");
        deployment.wait_for_gateway().await.expect("the gateway is ready");
    }
}

const SMALL: [&str; 8] = ["--for", "8s", "--devices", "40", "--connections", "8", "--rate", "800"];

fn holds((output, json, page): &(Output, Json, String)) {
    assert_eq!(output.status.code(), Some(0));
    let (totals, consumed) = (&json["totals"], &json["consumed"]["agents"]["readings"]);
    assert!(totals["acknowledged"].as_u64() > Some(1000) && totals["compared"].as_u64() > Some(1000), "{json}");
    assert_eq!(totals["acknowledged"], totals["found"], "what others wrote is none of it: {totals}");
    assert_eq!(consumed, &totals["found"], "each came to the consumer once");
    assert!(json["against"].as_str().is_some_and(|against| against.contains("which somebody else runs")), "{json}");
    assert!(json["faults"].as_array().is_some_and(|faults| !faults.is_empty()), "the network was broken: {json}");
    assert!(page.contains("because somebody else runs them") && page.contains("PUBACK to a consumer"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_somebody_else_runs_and_kills_is_proven_twice_on_a_log_that_is_in_use() {
    let mut deployment = gateway(binaries(), |_| ()).await;
    // Somebody else uses it, before and meanwhile.
    let other =
        LoadPlan { name: "other".to_owned(), devices: 10, connections: 2, rate: 200.0, ..LoadPlan::new(seed()) };
    let (mqtt, ledger) = (deployment.mqtt, deployment.ledger.clone());
    let other = Load::start(other, mqtt, ledger, &mut deployment.truths).await.expect("the other load starts");
    let entrance = deployment.network.address;
    for _ in 0..2 {
        let kills = async |deployment: &mut Deployment| kill(deployment, 3).await;
        holds(&prove_against(&mut deployment, entrance, &SMALL, kills).await);
    }
    drop(other);
    deployment.gateway.stop(PATIENCE).await.expect("the gateway stops");
    deployment.scratch.remove().expect("the directory goes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_of_somebody_else_that_acknowledges_before_it_syncs_is_caught() {
    let planted = Binaries::prepare(true, Some(Plant::AckBeforeSync)).expect("the programs build");
    let mut deployment = gateway(&planted, |plan| plan.plant = Some(Plant::AckBeforeSync)).await;
    let entrance = deployment.network.address;
    let kills = async |deployment: &mut Deployment| kill(deployment, 6).await;
    let calm = [&["--for", "12s", "--calm"], &SMALL[2..]].concat();
    let (output, json, _) = prove_against(&mut deployment, entrance, &calm, kills).await;
    assert_eq!(output.status.code(), Some(1));
    let findings = json["findings"].as_array().into_iter().flatten();
    let lost = findings.filter(|finding| finding["what"] == "acknowledged and lost" && finding["device"].is_string());
    assert!(lost.count() > 0, "{json}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("do it again: cargo lab prove --gateway"), "{output:?}");
    deployment.scratch.remove().expect("the directory goes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_with_certificates_and_passwords_is_proven_over_tls() {
    let arguments = ["--tls", "--boards", "1", "--foreign", "4", "--no-build"];
    let (output, json, _) = prove(&[&SMALL[..], &arguments].concat());
    assert_eq!(output.status.code(), Some(0));
    assert!(json["latency"]["agents"]["p50"].as_f64() > Some(0.0), "{json}");
    assert!(json["latency"]["devices of others"]["p50"].as_f64() > Some(0.0), "{json}");
}

/// What is typed, and what the answer has to say.
#[tokio::test(flavor = "multi_thread")]
async fn who_types_something_wrong_is_told_what_to_type() {
    const ACCESS: &str = "[access]\nmqtt = \"required\"\nhttp = \"required\"\nkafka = \"required\"\n";
    let mut deployment = gateway(binaries(), |plan| plan.tables = ACCESS.to_owned()).await;
    let [mqtt, http, kafka] = [deployment.mqtt, deployment.http, deployment.kafka].map(|port| port.to_string());
    let nobody = weir_lab::ports::Reserved::new(0).expect("a port").address.to_string();
    let wrong: [(&[&str], &str); 8] = [
        (&["--gateway", "no-such-host.invalid:1883", "--http", &http], "nobody is called"),
        (&["--gateway", "127.0.0.1", "--http", &http], "the port is missing"),
        (&["--gateway", &nobody, "--http", &http], "is the gateway there?"),
        (&["--gateway", &http, "--http", &http], "HTTP is spoken at"),
        (&["--gateway", &mqtt], "type --http"),
        (&["--gateway", &mqtt, "--http", &http], "type --login USER:PASSWORD"),
        (&["--gateway", &mqtt, "--http", &http, "--login", "joe:wrong"], "an unknown user or a wrong password"),
        (&["--gateway", &format!("mqtts://{mqtt}"), "--http", &http], "type --ca FILE"),
    ];
    for (arguments, expected) in wrong {
        let (output, ..) = prove(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(expected), "{arguments:?}: {said}, expected {expected}");
    }
    let of_gateway = deployment.gateway.program.path.clone();
    let settings = deployment.scratch.join("gateway.toml");
    let typed = |arguments: &'static [&'static str], input: &'static str| {
        let mut command = Command::new(&of_gateway);
        command.args(arguments).arg("--config").arg(&settings).stdin(std::process::Stdio::piped());
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().expect("the command starts");
        let mut stdin = child.stdin.take().expect("its input");
        std::io::Write::write_all(&mut stdin, input.as_bytes()).expect("it reads");
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    typed(&["user", "add", "joe", "--mqtt", "--clients", "fleet-*"], "secret\n");
    let token = typed(&["token", "create", "--role", "viewer"], "");
    let login = ["--gateway", &mqtt, "--http", &http, "--login", "joe:secret"];
    let (output, ..) = prove(&login);
    assert!(String::from_utf8_lossy(&output.stderr).contains("type --token TOKEN"), "{output:?}");
    let known = [&login[..], &["--token", &token]].concat();
    let (output, ..) = prove(&[&known[..], &["--kafka", &http]].concat());
    assert!(String::from_utf8_lossy(&output.stderr).contains("the port is kafka.listen"), "{output:?}");
    let (output, json, _) = prove(&[&known[..], &["--kafka", &kafka], &SMALL].concat());
    assert_eq!(output.status.code(), Some(0), "with all of it right");
    let replay = json["replay"].as_str().unwrap_or_default();
    assert!(replay.contains("joe:PASSWORD") && !replay.contains(&token), "no secret is in a report: {replay}");
    deployment.gateway.stop(PATIENCE).await.expect("the gateway stops");
    deployment.scratch.remove().expect("the directory goes");
}
