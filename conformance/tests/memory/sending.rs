//! What a connection holds of what it sends to a peer that does not read, and of what it has
//! sent; and what it holds of updates, objects and events that nobody asks for.

use std::time::Duration;

use bytes::Bytes;
use moqt_conformance::{DRAFTS, drafts_from, say};
use moqt_engine::model::{AuthToken, Draft, Location, ObjectStatus, Parameters, SubgroupId};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{
    Accept, CommandError, DatagramOptions, DatagramOutcome, Dir, RequestKey, StreamKey,
    SubgroupOptions,
};

use crate::attacks::{Attacked, BASE, EACH, bytes_of, cut};

/// The most that an entry costs in a list of what has been: a few words, in a tree.
const ENTRY: i64 = 192;

impl Attacked {
    /// The peer subscribes, and that is accepted.
    fn publish(&mut self, name: &str, wishes: Parameters) -> (u64, RequestKey, StreamKey) {
        let id = self.fresh_id();
        let on = self.ask(&say::subscribe_with(id, name, wishes));
        let request = self.last.unwrap();
        self.engine.accept(self.now, request, Accept::default()).unwrap();
        self.drain();
        (id, request, on)
    }

    fn open(&mut self, request: RequestKey, group: u64, subgroup: u64) -> StreamKey {
        let subgroup_id = SubgroupId::Explicit(subgroup);
        let options = SubgroupOptions { subgroup_id, ..SubgroupOptions::new(group) };
        let mut publisher = self.engine.publisher(request).unwrap();
        publisher.open_subgroup(options).unwrap().unwrap()
    }

    fn object(&mut self, stream: StreamKey, id: u64, payload: Bytes) -> Result<(), CommandError> {
        let payload_len = payload.len() as u64;
        let header = ObjectHeader { object_id: id, payload_len, ..ObjectHeader::default() };
        // Each has an age of its own, if that matters.
        let begun = self.now.saturating_add(Duration::from_micros(id));
        self.engine.subgroup(stream).unwrap().begun_at(begun).object(&header, payload).map(drop)
    }

    /// Objects of one byte, each cut from a large buffer, until there is no room.
    fn fill(&mut self, stream: StreamKey) {
        for id in 0.. {
            if let Err(error) = self.object(stream, id, cut(b"x")) {
                assert!(matches!(error, CommandError::Blocked(_)), "{error:?}");
                break;
            }
        }
    }
}

fn with_timeouts(draft: Draft) -> Parameters {
    let mut wishes = Parameters::default();
    wishes.object_delivery_timeout = Some(5_000);
    wishes.subgroup_delivery_timeout = (draft >= Draft::D18).then_some(5_000);
    wishes
}

/// Parameters that fill a message.
fn long_parameters() -> Parameters {
    let token_type = 0;
    let value = Bytes::from(vec![b'x'; 60_000]);
    let mut parameters = Parameters::default();
    parameters.authorization_tokens.push(AuthToken::UseValue { token_type, value });
    parameters
}

// `subscription_send`
#[test]
fn objects_of_one_byte_that_a_subscriber_does_not_read() {
    const LIMIT: usize = 50_000;
    for draft in DRAFTS {
        for (wishes, factor) in [(Parameters::default(), 2), (with_timeouts(draft), 24)] {
            let mut it = Attacked::new(draft, |limits| limits.subscription_send = LIMIT);
            let (_, request, _) = it.publish("t", wishes);
            it.reads = false;
            let stream = it.open(request, 0, 0);
            it.fill(stream);
            it.engine.handle_timeout(it.now);
            assert!(it.engine.usage().send_bytes >= LIMIT, "{draft:?}");
            it.assert_holds_at_most(BASE + factor * bytes_of(LIMIT) + EACH);
            it.over();
        }
    }
}

// `session_send`
#[test]
fn objects_of_one_byte_that_no_subscriber_reads() {
    const LIMIT: usize = 100_000;
    for draft in DRAFTS {
        let mut it = Attacked::new(draft, |limits| {
            limits.session_send = LIMIT;
            limits.subscription_send = LIMIT / 4;
        });
        let subscriptions: Vec<_> =
            (0..8).map(|n| it.publish(&format!("t{n}"), Parameters::default())).collect();
        it.reads = false;
        for (_, request, _) in subscriptions {
            let stream = it.open(request, 0, 0);
            it.fill(stream);
        }
        assert!(it.engine.usage().send_bytes >= LIMIT, "{draft:?}");
        it.assert_holds_at_most(BASE + 2 * bytes_of(LIMIT) + 8 * 3 * EACH);
        it.over();
    }
}

// `subscription_send`
#[test]
fn datagrams_of_no_bytes_that_are_not_sent() {
    const LIMIT: usize = 50_000;
    for draft in DRAFTS {
        let mut it = Attacked::new(draft, |limits| limits.subscription_send = LIMIT);
        it.engine.handle_max_datagram_size(it.now, Some(1200));
        let (_, request, _) = it.publish("t", Parameters::default());
        it.reads = false;
        let mut queued = 0;
        loop {
            let options = DatagramOptions::new(Location::new(0, queued));
            let mut publisher = it.engine.publisher(request).unwrap();
            match publisher.datagram(options, cut(b"x")).unwrap() {
                DatagramOutcome::Queued => queued += 1,
                _ => break,
            }
        }
        assert!(queued >= 50_000 / 768, "{draft:?}: {queued}");
        it.assert_holds_at_most(BASE + bytes_of(LIMIT));
        it.over();
    }
}

// `given_up_subgroups`
#[test]
fn subgroups_that_a_subscriber_stops() {
    const COUNT: i64 = 50;
    for draft in DRAFTS {
        let mut it = Attacked::new(draft, |limits| limits.given_up_subgroups = 50);
        let (_, request, _) = it.publish("t", Parameters::default());
        for n in 0..3_000 {
            let stream = it.open(request, n / 7, n % 7);
            it.object(stream, 0, Bytes::from_static(b"x")).unwrap();
            it.drain();
            it.engine.handle_stop_sending(it.now, stream, 0);
            it.drain();
        }
        it.assert_holds_at_most(BASE + COUNT * ENTRY);
        it.over();
    }
}

// `watched_streams`
#[test]
fn streams_whose_end_is_never_acknowledged() {
    const COUNT: i64 = 50;
    for draft in DRAFTS {
        let mut it = Attacked::new(draft, |limits| limits.watched_streams = 50);
        let (_, request, _) = it.publish("t", with_timeouts(draft));
        for group in 0..3_000 {
            let stream = it.open(request, group, 0);
            it.object(stream, 0, Bytes::from_static(b"x")).unwrap();
            it.engine.subgroup(stream).unwrap().finish().unwrap();
            it.drain();
        }
        assert_eq!(it.engine.usage().watched_streams, 50, "{draft:?}");
        // And what is remembered of finished subgroups.
        it.assert_holds_at_most(BASE + (COUNT + 2 * 64) * ENTRY);
        it.pass(Duration::from_secs(10));
        assert_eq!(it.engine.usage().watched_streams, 0, "{draft:?}");
        it.assert_holds_at_most(BASE + 2 * 64 * ENTRY);
        it.over();
    }
}

// `remembered_objects`
#[test]
fn groups_subgroups_and_datagrams_that_came() {
    const COUNT: usize = 16;
    for draft in DRAFTS {
        let mut it = Attacked::new(draft, |limits| limits.remembered_objects = COUNT);
        it.subscribe(7);
        for n in 0..3_000 {
            let body = say::subgroup(draft, 7, n, &[(0, b"x"), (5, b"y")]);
            let stream = it.engine.handle_stream_opened(it.now, Dir::Uni);
            it.engine.handle_stream_data(it.now, stream, body.into(), true);
            it.drain();
            while let moqt_engine::Read::Object(_) | moqt_engine::Read::Payload(_) =
                it.engine.read(stream, usize::MAX)
            {}
            let at = Location::new(10_000 + n, 3);
            it.engine.handle_datagram(it.now, say::datagram(draft, 7, at, b"z"));
            it.drain();
        }
        assert!(!it.engine.is_closed(), "{draft:?}");
        it.assert_holds_at_most(BASE + 3 * bytes_of(COUNT) * ENTRY);
        it.over();
    }
}

// `remembered_objects`, of what this side publishes
#[test]
fn groups_that_this_side_has_ended() {
    const COUNT: usize = 16;
    for draft in DRAFTS {
        let mut it = Attacked::new(draft, |limits| limits.remembered_objects = COUNT);
        let (_, request, _) = it.publish("t", Parameters::default());
        for group in 0..3_000 {
            let stream = it.open(request, group, 0);
            let status = ObjectStatus::EndOfGroup;
            let header = ObjectHeader { object_id: 9, status, ..ObjectHeader::default() };
            let mut subgroup = it.engine.subgroup(stream).unwrap();
            subgroup.object(&header, Bytes::new()).unwrap();
            it.engine.subgroup(stream).unwrap().finish().unwrap();
            it.drain();
        }
        it.assert_holds_at_most(BASE + 2 * bytes_of(COUNT) * ENTRY);
        it.over();
    }
}

// `unanswered_updates`: each is as large as a message at most.
#[test]
fn updates_that_the_application_does_not_decide_on() {
    const COUNT: usize = 8;
    for draft in drafts_from(Draft::D16) {
        let mut it = Attacked::configured(draft, |config| {
            config.decide_updates = true;
            config.limits.unanswered_updates = COUNT;
        });
        let (id, _, on) = it.publish("t", Parameters::default());
        let mut most = 0;
        for _ in 0..COUNT + 3 {
            let update = it.fresh_id();
            it.feed(on, say::message(draft, &say::update(update, id, long_parameters())).into());
            most = most.max(it.held());
        }
        assert!(most > 60_000 * bytes_of(COUNT), "{draft:?}: {most}");
        assert!(most <= BASE + bytes_of(COUNT) * (65_536 + EACH), "{draft:?}: {most}");
        // One more ended the request.
        assert_eq!(it.engine.usage().requests, 0, "{draft:?}");
        it.assert_holds_at_most(BASE);
        it.over();
    }
}

// `trace_events`: each is as large as a message at most.
#[test]
fn events_of_a_trace_that_nobody_polls() {
    const COUNT: usize = 8;
    for draft in DRAFTS {
        let mut it = Attacked::configured(draft, |config| {
            config.trace = true;
            config.limits.trace_events = COUNT;
            config.limits.open_subscriptions = 0;
        });
        while it.engine.poll_trace().is_some() {}
        for _ in 0..50 {
            let id = it.fresh_id();
            let on = it.ask(&say::subscribe_with(id, "t", long_parameters()));
            it.end(on, &say::unsubscribe(id));
        }
        assert!(it.engine.stats().trace_events_dropped > 0, "{draft:?}");
        it.pass(Duration::from_secs(60));
        it.assert_holds_at_most(BASE + bytes_of(COUNT) * (65_536 + EACH));
        // They can be polled after the end, too.
        while it.engine.poll_trace().is_some() {}
        it.over();
    }
}
