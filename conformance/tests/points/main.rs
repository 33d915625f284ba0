//! Whatever ends a request, and at whatever point of its life: nothing of it is left, as the
//! connection itself counts, the application has had exactly one last word on it, and other
//! requests go on.
//!
//! The last word on a request of this side's is `Rejected`, `Cancelled`, `SubscriptionDone`,
//! `TrackMalformed` or `Expired`; on a TRACK_STATUS also `Accepted`; on a FETCH also that its
//! stream, once it was accepted, has been read to its end. On a request of the peer's it is
//! `Cancelled`, `SubscriptionDone`, `TrackMalformed` or `Expired`. There is none on what the
//! application has ended itself, and the one on what is open when the session ends is `Closed`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod bystanders;
mod interrupt;
mod play;
mod random;
mod scripts;
mod stream_end;
mod waiting_join;

use std::time::Duration;

use moqt_conformance::cases;
use moqt_conformance::last_words::{ends_request, request_of};
use moqt_engine::model::{Message, RequestKind, UnsubscribeNamespace};
use moqt_engine::{Draft, Event, Role, Usage};

use crate::interrupt::Interruption;
use crate::play::{AtStake, Play};
use crate::scripts::Script;

/// What the ends are like when the interruption comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// Both read what there is.
    Brisk,
    /// The peer's transport takes nothing for a while.
    PeerStalls,
    /// The application here reads no objects.
    NobodyReads,
}

const MOODS: [Mood; 3] = [Mood::Brisk, Mood::PeerStalls, Mood::NobodyReads];

// "Once a request stream has been opened, the request MAY be cancelled by either endpoint."
// (draft-18, "Request Cancellation and Rejection") "The Publisher can destroy subscription state
// as soon as it has received" its end, the subscriber when it has sent or received it, or "once
// all open streams for the subscription have closed", and "A REQUEST_ERROR indicates that both
// endpoints can immediately destroy state" (all drafts, "Subscriptions", "Fetch State Management",
// "PUBLISH_DONE").
fn every_point(role: Role) {
    let mut played = 0;
    for script in scripts::all() {
        for (draft, _) in cases().filter(|(_, other)| *other == role) {
            for steps in 1..=script.steps(draft).len() {
                for interruption in Interruption::ALL {
                    for mood in MOODS {
                        played += usize::from(interrupted(
                            &script,
                            draft,
                            role,
                            steps,
                            interruption,
                            mood,
                        ));
                    }
                }
            }
        }
    }
    assert!(played > 4_000, "{played}");
}

#[test]
fn a_request_that_ends_at_any_point_leaves_nothing_at_a_client() {
    every_point(Role::Client);
}

#[test]
fn a_request_that_ends_at_any_point_leaves_nothing_at_a_server() {
    every_point(Role::Server);
}

/// Plays so many steps of a script, and interrupts it. Whether that can be.
fn interrupted(
    script: &Script,
    draft: Draft,
    role: Role,
    steps: usize,
    interruption: Interruption,
    mood: Mood,
) -> bool {
    let what =
        format!("{}, {draft:?} {role:?}, step {steps}, {interruption:?}, {mood:?}", script.name);
    let mut play = Play::new(draft, role, script.decides_updates);
    play.end.reads_at_once = mood != Mood::NobodyReads;
    for (n, step) in script.steps(draft)[..steps].iter().enumerate() {
        play.end.takes_data = !(mood == Mood::PeerStalls && n + 1 == steps);
        step(&mut play);
        assert_eq!(play.end.closed(), None, "{what}: {:?}", play.end.events);
    }
    let usage = play.end.engine.usage();
    let is_in_mood = match mood {
        Mood::Brisk => true,
        Mood::PeerStalls => usage.send_bytes + usage.control_bytes > 0,
        Mood::NobodyReads => usage.receive_bytes > play.bystanders.usage.receive_bytes,
    };
    if !is_in_mood || !interruption.happen(&mut play) {
        return false;
    }
    play.end.takes_data = true;
    play.end.drain();
    wait(&mut play);
    settle(&mut play, &what);
    assert!(
        play.end.engine.is_closed() || !interruption.ends_session(),
        "{what}: {:?}",
        play.end.events
    );
    true
}

fn wait(play: &mut Play) {
    play.end.wait(Duration::from_secs(60));
}

/// The application gives up what it still has, and all has to be as it was.
fn settle(play: &mut Play, what: &str) {
    let closed = |event: &Event| matches!(event, Event::Closed { .. });
    if play.end.engine.is_closed() {
        assert_eq!(play.end.events.iter().filter(|event| closed(event)).count(), 1, "{what}");
        assert!(play.end.events.last().is_some_and(closed), "{what}: {:?}", play.end.events);
        assert_eq!(play.end.engine.usage(), Usage::default(), "{what}");
        assert_eq!(play.end.engine.poll_timeout(), None, "{what}");
        for index in 0..play.requests.len() {
            assert!(!play.end_here(index), "{what}");
        }
        return;
    }
    for index in 0..play.requests.len() {
        let request = play.requests[index];
        let words = play.last_words(&request);
        let events = play.end.events.clone();
        if request.ended_here {
            assert!(
                words <= usize::from(!request.ours || is_published(&request)),
                "{what}: {request:?} {events:?}"
            );
        } else if play.end_here(index) {
            assert_eq!(words, 0, "{what}: {request:?} goes on: {events:?}");
        } else {
            assert_eq!(words, 1, "{what}: {request:?}: {events:?}");
        }
    }
    // Only its subscriber can end this.
    if play.draft < Draft::D16 {
        for prefix in ["pre", "test"] {
            let prefix = moqt_conformance::say::namespace(prefix);
            let message = Message::UnsubscribeNamespace(UnsubscribeNamespace { prefix });
            play.end.say(play.end.control, &message);
        }
    }
    wait(play);
    assert_eq!(play.end.closed(), None, "{what}: {:?}", play.end.events);
    assert_quiet_after_the_end(play, what);
    let mut expected = play.bystanders.usage;
    expected.auth_token_bytes = play.token_bytes;
    assert_eq!(play.end.engine.usage(), expected, "{what}: {:?}", play.end.events);
    assert_eq!(play.end.engine.poll_timeout(), None, "{what}");
    play.bystanders.assert_well(&mut play.end, what);
}

/// A subscription in which this side publishes: it ends when all has been sent, and until then
/// the peer can still end it.
fn is_published(request: &AtStake) -> bool {
    matches!(
        (request.kind, request.ours),
        (RequestKind::Publish, true) | (RequestKind::Subscribe, false)
    )
}

/// Nothing is said of a request after its last word, nor of one that nobody knows.
fn assert_quiet_after_the_end(play: &Play, what: &str) {
    let known = play.known();
    let mut over = Vec::new();
    for event in &play.end.events {
        let Some(request) = request_of(event) else { continue };
        let is_known = known.contains(&request) || play.bystanders.include(request);
        assert!(is_known, "{what}: of an unknown request: {event:?}");
        assert!(!over.contains(&request), "{what}: after the end: {event:?} {:?}", play.end.events);
        if ends_request(event) {
            over.push(request);
        }
    }
}
