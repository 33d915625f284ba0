//! Peers that break the rules: each rule broken has the scope and code of answer that the draft
//! says, and nothing beyond that scope is disturbed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod answers;
mod control;
mod crossing;
mod data;
mod deaths;
mod early;
mod fetch;
mod fetch_response;
mod floods;
mod found_late;
mod goaway;
mod group_ends_in_datagrams;
mod joins;
mod late_updates;
mod limits;
mod malformed;
mod namespace_subscriptions;
mod namespaces;
mod noise;
mod own_updates;
mod properties;
mod ranges;
mod redirects;
mod refused_updates;
mod requests;
mod setup;
mod setup_options;
mod tokens;
mod track_properties;
mod track_status;
mod updates;

use std::time::Duration;

use moqt_conformance::end::{End, Got, Name};
use moqt_conformance::say;
use moqt_engine::model::Parameters;
use moqt_engine::{CloseReason, Config, Dir, Draft, Event, RequestKey, Role, Usage};

/// Codes of the drafts' "Termination" sections; these are the same in all of them.
const PROTOCOL_VIOLATION: u64 = 0x3;
const INVALID_REQUEST_ID: u64 = 0x4;
const DUPLICATE_TRACK_ALIAS: u64 = 0x5;
const TOO_MANY_REQUESTS: u64 = 0x7;
const CONTROL_MESSAGE_TIMEOUT: u64 = 0x11;

/// An established session over QUIC.
fn session(draft: Draft, role: Role) -> End {
    End::established(draft, role, Config::default())
}

/// That the session was closed with this code and nothing of it is left.
#[track_caller]
fn assert_closed(end: &End, code: u64, what: &str) {
    let at = format!("{:?} {:?}: {what}", end.draft(), end.engine.role());
    assert_eq!(end.closed(), Some(code), "{at}: {:?}", end.events);
    assert!(
        matches!(end.events.last(), Some(Event::Closed { reason: CloseReason::Local { .. } })),
        "{at}: {:?}",
        end.events
    );
    assert_eq!(end.engine.usage(), Usage::default(), "{at}");
    assert_eq!(end.engine.poll_timeout(), None, "{at}");
}

/// Another subscription, which must not notice what is done to the session.
struct Bystander {
    request: RequestKey,
    alias: u64,
    group: u64,
}

impl Bystander {
    /// The connection subscribes to a track, and the peer accepts.
    fn new(end: &mut End) -> Self {
        let (request, _) = subscribed(end, "bystander", 77);
        Self { request, alias: 77, group: 0 }
    }

    /// A subgroup still comes through.
    #[track_caller]
    fn assert_well(&mut self, end: &mut End) {
        assert_eq!(end.closed(), None, "{:?}: {:?}", end.draft(), end.events);
        let bytes = say::subgroup(end.draft(), self.alias, self.group, &[(0, b"well")]);
        self.group += 1;
        let stream = end.open_with(Dir::Uni, bytes);
        end.fin(stream);
        let got = end.take_reads(stream);
        assert!(
            matches!(&got[..], [Got::Object(_, payload), Got::Finished] if payload == b"well"),
            "{:?}: {got:?} {:?}",
            end.draft(),
            end.events
        );
        let opened = end.take_events();
        let mine = |event: &Event| matches!(event, Event::SubgroupOpened { request, .. } if *request == self.request);
        assert!(opened.iter().any(mine), "{opened:?}");
    }
}

/// A subscription of the connection's that the peer has accepted: it, and where it is answered.
fn subscribed(end: &mut End, name: &str, alias: u64) -> (RequestKey, Name) {
    let (request, id, on) = subscribing(end, name);
    end.say(on, &say::subscribe_ok(id, alias));
    let events = end.take_events();
    assert!(
        events.iter().any(|event| matches!(event, Event::Accepted { .. })),
        "{:?}: {events:?}",
        end.draft()
    );
    (request, on)
}

/// A subscription of the connection's that has not been answered: it, its Request ID, and
/// where it is answered.
fn subscribing(end: &mut End, name: &str) -> (RequestKey, u64, Name) {
    let id = end.next_own_id();
    let track = say::track(name);
    let request = end
        .with(|engine, now| engine.subscribe(now, &track, &Parameters::default()))
        .expect("nothing in the way");
    (request, id, end.own_request())
}

/// The request that the peer has made last.
#[track_caller]
fn requested(end: &mut End) -> RequestKey {
    let events = end.take_events();
    match events.last() {
        Some(Event::Request { request, .. }) => *request,
        other => panic!("{other:?}"),
    }
}

/// Lets the time for everything that is waited for pass.
fn wait_long(end: &mut End) {
    end.wait(Duration::from_secs(30));
}
