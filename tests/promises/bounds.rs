//! Bounds: what has no room goes by a policy, and is counted.

use weir_tests::soak_slice;

#[tokio::test(flavor = "multi_thread")]
async fn drop_oldest_is_counted_on_exactly_the_sequences_that_were_dropped() {
    soak_slice("drop-oldest").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drop_newest_is_counted_on_exactly_the_sequences_that_were_dropped() {
    soak_slice("drop-newest").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_never_lets_a_repeat_in() {
    soak_slice("retention").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_opened_by_its_tail_however_much_is_in_it() {
    soak_slice("backlog").await;
}
