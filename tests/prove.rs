//! `weir-lab prove`, as a person runs it: the verdict, the report, the exit code.

use std::path::Path;
use std::process::Command;

use weir_tests::prove::prove;
use weir_tests::{binaries, soak_slice};

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
