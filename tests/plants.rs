//! A ledger that catches nothing proves nothing: faults planted on purpose must be named.

use weir_tests::soak_slice;

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_before_the_sync_is_caught() {
    soak_slice("plant-ack-before-sync").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_range_is_caught() {
    soak_slice("plant-forget-range").await;
}
