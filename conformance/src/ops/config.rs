//! Configurations with limits that are soon reached.

use core::time::Duration;

use bytes::Bytes;
use moqt_engine::model::AuthToken;
use moqt_engine::{Config, Limits};

use super::source::Source;

pub(super) fn config(source: &mut Source<'_>) -> Config {
    let mut config = Config::default();
    config.decide_updates = source.one_in(3);
    config.grease = source.one_in(4);
    config.coalesce_below = source.pick(&[0, 0, 16, 4096]).unwrap_or_default();
    config.trace = source.one_in(8);
    if source.one_in(4) {
        config.path = Some(Bytes::from_static(b"/path"));
        config.authority = Some(Bytes::from_static(b"host"));
    }
    if source.one_in(5) {
        let token = AuthToken::Register { alias: 1, token_type: 0, value: "own".into() };
        config.authorization_tokens.push(token);
    }
    match source.byte() {
        0..=99 => {}
        100..=219 => some_small(source, &mut config.limits),
        _ => all_small(source, &mut config.limits),
    }
    if source.one_in(4) {
        // Queues that are soon full.
        config.limits.subscription_send = 40 + usize::from(source.byte()) * 2;
    }
    if source.one_in(3) {
        config.limits.auth_token_cache = Some(source.small(200));
    }
    config
}

/// One to four limits are small.
fn some_small(source: &mut Source<'_>, limits: &mut Limits) {
    for _ in 0..=source.below(4) {
        let which = source.below(FIELDS);
        shrink(source, limits, which);
    }
}

fn all_small(source: &mut Source<'_>, limits: &mut Limits) {
    for which in 0..FIELDS {
        shrink(source, limits, which);
    }
}

/// How many limits there are to shrink.
const FIELDS: usize = 40;

fn shrink(source: &mut Source<'_>, limits: &mut Limits, which: usize) {
    let few = u32::from(source.byte() % 6);
    let count = few as usize;
    let bytes = usize::from(source.byte()) * 4;
    let millis = Duration::from_millis(u64::from(source.byte()) * 10);
    match which {
        0 => limits.open_requests = few + 1,
        1 => limits.open_subscriptions = few,
        2 => limits.open_publishes = few,
        3 => limits.open_publish_namespaces = few,
        4 => limits.open_namespace_subscriptions = few,
        5 => limits.namespaces_told = count,
        6 => limits.open_fetches = few,
        7 => limits.unanswered_updates = count,
        8 => limits.object_properties = bytes,
        9 => limits.stream_receive = bytes,
        10 => limits.session_receive = bytes,
        11 => limits.stream_minimum = bytes / 8,
        12 => limits.early_streams = count,
        13 => limits.early_bytes = bytes,
        14 => limits.setup_timeout = millis,
        15 => limits.unknown_aliases = count,
        16 => limits.unknown_alias_datagrams = count,
        17 => limits.unknown_alias_bytes = bytes,
        18 => limits.unknown_alias_timeout = millis,
        19 => limits.control_message_timeout = millis,
        20 => limits.stream_header_timeout = millis,
        21 => limits.stream_end_timeout = millis,
        22 => limits.answer_timeout = source.some(|_| millis),
        23 => limits.fetch_stream_timeout = source.some(|_| millis),
        24 => limits.late_stream_timeout = millis,
        25 => limits.late_datagram_timeout = millis,
        26 => limits.late_timeout_max = millis,
        27 => limits.subscription_send = bytes,
        28 => limits.session_send = bytes * 2,
        29 => limits.given_up_subgroups = count,
        30 => limits.watched_streams = count,
        31 => limits.control_send = bytes * 8,
        32 => limits.open_subgroups = few,
        33 => limits.remembered_objects = count,
        34 => limits.alias_tombstones = count,
        35 => limits.alias_tombstone_age = millis,
        36 => limits.churn_burst = few * 4,
        37 => limits.churn_per_second = few,
        38 => limits.trace_events = count,
        _ => limits.waiting_updates = bytes * 4,
    }
}
