//! Whole sessions with peers that keep the rules: nothing may depend on how bytes are cut or
//! streams interleave, payload is never copied, and everything begun comes to an end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod answers;
mod closed;
mod counters;
mod delivery;
mod endings;
mod failed_commands;
mod fetches;
mod finished;
mod framing;
mod grease;
mod handles;
mod interleaving;
mod invariance;
mod joined_tracks;
mod last_words;
mod lifecycle;
mod namespaces;
mod prefixes;
mod priorities;
mod published_tracks;
mod script;
mod sending;
mod timeouts;
mod tokens;
mod told_over;
mod trace;
mod tracks;
mod turns;
mod well_formed;
mod writers;

use moqt_conformance::end::{End, Name};
use moqt_conformance::say;
use moqt_engine::model::Parameters;
use moqt_engine::{Accept, Event, RequestKey};

/// The peer subscribes, and the connection accepts: the subscription, its Request ID, and where
/// it is answered.
fn published(end: &mut End, name: &str) -> (RequestKey, (u64, Name)) {
    published_with(end, name, Parameters::default(), Accept::default())
}

fn published_with(
    end: &mut End,
    name: &str,
    parameters: Parameters,
    accept: Accept,
) -> (RequestKey, (u64, Name)) {
    let id = end.fresh_id();
    let on = end.request(&say::subscribe_with(id, name, parameters));
    let Some(Event::Request { request, .. }) = end.take_events().pop() else {
        panic!("no request")
    };
    end.with(|engine, now| engine.accept(now, request, accept)).expect("acceptable");
    (request, (id, on))
}

/// The connection subscribes, and the peer accepts: the subscription, its Request ID, and where
/// it is answered.
fn subscribed(end: &mut End, name: &str, alias: u64) -> (RequestKey, (u64, Name)) {
    let id = end.next_own_id();
    let track = say::track(name);
    let request = end
        .with(|engine, now| engine.subscribe(now, &track, &Parameters::default()))
        .expect("nothing in the way");
    let on = end.own_request();
    end.say(on, &say::subscribe_ok(id, alias));
    assert!(matches!(end.take_events()[..], [Event::Accepted { .. }]));
    (request, (id, on))
}

/// The peer ends a subscription of its own.
fn leave(end: &mut End, (id, on): (u64, Name)) {
    if end.draft().dialect().answers_by_stream {
        end.reset(on, 0);
        end.stop(on, 0);
    } else {
        end.say(on, &say::unsubscribe(id));
    }
}
