//! The ledger of requirements is sound: what it cites is there. So is what is said here of limits.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use moqt_conformance::ledger::{Ledger, sources};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn every_rule_has_a_state_and_every_test_it_cites_is_there() {
    let ledger = Ledger::read(&Ledger::folder()).unwrap();
    let problems = ledger.problems(&sources::tests(&root()).unwrap());
    assert!(problems.is_empty(), "{problems:#?}");
}

/// Each field of `Limits`, and a test that reaches it.
const LIMITS: &[(&str, &str)] = &[
    (
        "open_requests",
        "hostile::requests::one_more_open_request_is_refused_where_there_is_no_credit",
    ),
    ("open_requests", "hostile::control::a_request_beyond_the_maximum_closes"),
    ("open_subscriptions", "hostile::floods::each_kind_of_request_has_a_limit_of_its_own"),
    ("open_publishes", "hostile::floods::each_kind_of_request_has_a_limit_of_its_own"),
    ("open_publish_namespaces", "hostile::floods::each_kind_of_request_has_a_limit_of_its_own"),
    ("auth_token_cache", "hostile::tokens::registering_more_than_the_cache_holds_closes"),
    (
        "open_namespace_subscriptions",
        "hostile::namespace_subscriptions::one_more_namespace_subscription_is_refused",
    ),
    (
        "namespaces_told",
        "hostile::namespace_subscriptions::namespaces_without_end_end_the_subscription",
    ),
    ("open_fetches", "hostile::floods::each_kind_of_request_has_a_limit_of_its_own"),
    ("unanswered_updates", "hostile::updates::updates_that_nobody_answers_are_bounded"),
    ("unanswered_updates", "hostile::own_updates::updates_that_a_peer_does_not_answer_are_bounded"),
    (
        "waiting_updates",
        "hostile::updates::updates_that_wait_are_bounded_for_all_requests_together",
    ),
    ("object_properties", "hostile::properties::properties_longer_than_the_limit_close"),
    (
        "stream_receive",
        "hostile::limits::unread_bytes_of_a_stream_close_its_window_and_reading_opens_it",
    ),
    ("session_receive", "hostile::limits::a_slow_reader_of_one_track_holds_up_nothing_else"),
    ("stream_minimum", "hostile::limits::a_slow_reader_of_one_track_holds_up_nothing_else"),
    ("early_streams", "hostile::limits::what_precedes_setup_is_held_up_to_limits"),
    ("early_bytes", "hostile::limits::what_precedes_setup_is_held_up_to_limits"),
    (
        "setup_timeout",
        "hostile::setup::a_peer_that_leaves_setup_out_or_unfinished_is_given_up_at_the_deadline",
    ),
    ("unknown_aliases", "hostile::limits::unknown_aliases_are_held_up_to_limits_and_a_time"),
    (
        "unknown_alias_datagrams",
        "hostile::limits::datagrams_of_unknown_aliases_are_held_and_the_oldest_dropped",
    ),
    ("unknown_alias_bytes", "hostile::limits::unknown_aliases_are_held_up_to_limits_and_a_time"),
    ("unknown_alias_timeout", "hostile::limits::unknown_aliases_are_held_up_to_limits_and_a_time"),
    ("control_message_timeout", "hostile::control::half_a_message_has_a_deadline"),
    (
        "control_message_timeout",
        "hostile::late_updates::the_stream_of_a_request_that_is_over_ends_anyhow",
    ),
    ("stream_header_timeout", "hostile::floods::a_stream_header_that_trickles_is_given_up"),
    (
        "stream_end_timeout",
        "points::stream_end::a_peer_that_leaves_the_stream_of_a_refused_request_open_is_stopped",
    ),
    ("answer_timeout", "hostile::limits::an_answer_that_does_not_come_fails_the_request"),
    (
        "answer_timeout",
        "hostile::late_updates::a_request_that_does_not_end_after_a_refused_update_is_given_up",
    ),
    (
        "fetch_stream_timeout",
        "hostile::floods::the_stream_of_an_accepted_fetch_is_waited_for_so_long",
    ),
    ("late_stream_timeout", "hostile::limits::streams_that_never_come_are_waited_for_so_long"),
    ("late_datagram_timeout", "hostile::limits::datagrams_may_be_late_for_so_long"),
    (
        "late_timeout_max",
        "sessions::timeouts::after_publish_done_a_subscriber_waits_for_at_least_the_delivery_timeout",
    ),
    ("subscription_send", "sessions::writers::a_peer_that_takes_nothing_bounds_what_waits"),
    ("session_send", "sessions::writers::a_peer_that_takes_nothing_bounds_what_waits"),
    ("given_up_subgroups", "sessions::timeouts::subgroups_given_up_are_remembered_up_to_a_limit"),
    ("watched_streams", "sessions::timeouts::finished_streams_are_watched_up_to_a_limit"),
    ("control_send", "hostile::limits::a_peer_that_asks_and_reads_no_answers_is_closed"),
    ("open_subgroups", "hostile::limits::one_more_open_subgroup_is_stopped"),
    ("remembered_objects", "hostile::malformed::the_oldest_objects_are_forgotten"),
    ("remembered_objects", "sessions::finished::what_is_remembered_of_finished_groups_is_bounded"),
    ("alias_tombstones", "hostile::limits::closed_aliases_are_remembered_up_to_a_number"),
    ("alias_tombstone_age", "hostile::floods::closed_aliases_are_remembered_for_a_time"),
    ("churn_burst", "hostile::limits::streams_and_requests_begun_and_abandoned_too_often_close"),
    (
        "churn_per_second",
        "hostile::limits::streams_and_requests_begun_and_abandoned_too_often_close",
    ),
    (
        "trace_events",
        "sessions::trace::trace_events_that_nobody_polls_are_bounded_and_the_rest_counted",
    ),
];

/// The names of the fields of `Limits`, from its source.
fn fields() -> BTreeSet<&'static str> {
    let source = include_str!("../../engine/src/limits.rs");
    source
        .lines()
        .skip_while(|line| *line != "pub struct Limits {")
        .take_while(|line| *line != "}")
        .skip(1)
        .filter_map(|line| line.trim().strip_prefix("pub "))
        .filter_map(|field| field.split_once(':'))
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn every_limit_is_reached_by_a_test() {
    let (fields, tests) = (fields(), sources::tests(&root()).unwrap());
    assert!(fields.len() > 30, "{fields:?}");
    for field in fields {
        let reached = |(of, test): &(&str, &str)| *of == field && tests.contains(*test);
        assert!(LIMITS.iter().any(reached), "name a test here that reaches {field}");
    }
}
