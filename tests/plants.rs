//! A ledger that catches nothing proves nothing: faults planted on purpose must be named, and the exit code is 1.

use weir_tests::prove::prove;

/// A build with a fault must not pass, and whose readings it cost must be said.
fn is_caught(plant: &str) {
    let (output, json, page) = prove(&["--for", "20s", "--plant", plant]);
    assert_eq!(output.status.code(), Some(1), "{plant} went unnoticed");
    let named = json["findings"].as_array().into_iter().flatten();
    let named = named.filter(|finding| finding["device"].is_string() && finding["count"].as_u64() > Some(0));
    assert!(named.count() > 0, "no identities: {json}");
    assert!(page.contains("A promise was broken"), "{page}");
    assert!(String::from_utf8_lossy(&output.stdout).contains(&format!("--plant {plant}")), "how to do it again");
}

#[test]
fn an_acknowledgement_before_the_sync_is_caught() {
    is_caught("ack-before-sync");
}

#[test]
fn a_directory_that_is_never_synced_is_caught() {
    is_caught("skip-directory-sync");
}

#[test]
fn a_range_that_is_forgotten_is_caught() {
    is_caught("forget-range");
}

#[test]
fn a_failed_sync_that_is_swallowed_is_caught() {
    is_caught("swallow-eio");
}

#[test]
fn a_loss_without_a_record_is_caught() {
    is_caught("lose-loss-record");
}
