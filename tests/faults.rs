//! Slices of `cargo lab soak`: what breaks under load, and the reconciliation behind it.

use weir_tests::soak_slice;

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_board_agent_and_gateway_lose_and_double_nothing() {
    soak_slice("kills").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unplugged_cable_leaves_no_gap_and_no_repeat() {
    soak_slice("unplug").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_the_gateway_only_delays() {
    soak_slice("disk-full").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_between_agent_and_gateway_only_delays() {
    soak_slice("black-hole").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_of_the_disks_of_agent_and_gateway_loses_nothing_acknowledged() {
    soak_slice("blackouts").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_of_disks_without_a_journal_loses_nothing_acknowledged() {
    soak_slice("blackouts-plain").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_fail_for_a_while_only_delay() {
    soak_slice("read-only").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_turned_read_only_ends_no_process_and_loses_nothing() {
    soak_slice("read-only-disk").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_many_minutes_drains_in_little_memory_and_what_is_fresh_does_not_wait() {
    soak_slice("day-backlog").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_box_that_blocks_loses_nothing_of_its_queue_whatever_its_disk_and_its_link_do() {
    soak_slice("small-box-block").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_box_that_drops_counts_exactly_what_it_dropped_whatever_its_disk_and_its_link_do() {
    soak_slice("small-box-drop").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_years_loses_nothing() {
    soak_slice("clock").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_silent_sockets_slows_nobody() {
    soak_slice("crowd").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_the_gateway_under_consumers_that_commit_take_nothing_back_and_skip_nothing() {
    soak_slice("group-kills").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_during_compaction_keep_the_last_value_and_store_nothing_twice() {
    soak_slice("compaction").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_the_gateway_under_foreign_clients_lose_nothing_and_double_nothing_at_qos_2() {
    soak_slice("mqtt-kills").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_front_door_under_attack_slows_nobody_and_lets_nothing_pass() {
    soak_slice("front-door").await;
}
