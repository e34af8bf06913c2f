//! The promises of the README, one test each, of the same name.

/// Declares promises whose parts do not exist yet: each is an ignored test that fails if it is run.
macro_rules! not_built_yet {
    ($($name:ident: $missing:literal),+ $(,)?) => {
        $(#[test]
        #[ignore = $missing]
        fn $name() {
            panic!($missing);
        })+
    };
}

not_built_yet! {
    an_identity_travels_unchanged_from_the_device_to_the_consumer: "needs device, agent and gateway",
    a_sequence_is_never_used_twice: "needs the firmware core",
    a_reading_delivered_twice_is_in_the_log_once: "needs the gateway",
    what_a_full_ring_evicts_is_in_the_log_as_loss_on_exactly_those_sequences: "needs device, agent and gateway",
    a_late_reading_heals_the_loss_that_was_counted: "needs the gateway",
    a_lost_volatile_ring_is_reported_as_an_unknown_tail: "needs agent and gateway",
    at_rest_every_sample_is_stored_or_dead_lettered_or_counted_lost: "needs the lab",
    readings_of_a_restart_are_in_the_log_in_order: "needs agent and gateway",
    a_device_sends_its_oldest_restart_first: "needs the firmware core",
    all_readings_of_a_device_are_in_one_partition: "needs the gateway",
    a_reading_says_when_it_was_sampled_and_by_which_clock: "needs device, agent and gateway",
    a_record_is_filed_under_its_sample_time_unless_that_cannot_be_true: "needs the gateway",
    a_device_is_acknowledged_only_after_the_queue_commit: "needs the agent",
    puback_means_it_is_on_disk: "needs the gateway",
    nothing_is_discarded_before_the_next_hop_has_it: "needs device, agent and gateway",
    a_failed_commit_acknowledges_nothing_and_loses_nothing: "needs agent and gateway",
    a_full_queue_gives_the_device_no_credit: "needs the agent",
    one_flipped_bit_costs_its_frame_and_nothing_else: "needs the log",
}
