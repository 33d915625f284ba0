//! How subscriptions begin and end, from both sides and at every point.

use std::time::Duration;

use bytes::Bytes;
use moqt_conformance::DRAFTS;
use moqt_conformance::end::{Got, Output};
use moqt_engine::model::{Location, Parameters};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{Accept, Draft, Event, RequestKey, Role, SubgroupOptions, Usage};

use crate::script::{Do, Of, Player, talk};

fn object(id: u64, len: usize) -> Do {
    let header = ObjectHeader { object_id: id, payload_len: len as u64, ..Default::default() };
    Do::Object(0, header, vec![1; len].into())
}

/// The steps of a subscription's life, each with its side, in order. Between them both ends may
/// hear of what the other has done, or not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Point {
    Asked,
    Heard,
    Answered,
    Established,
    Begun,
    Flowing,
    Finished,
    Done,
}

const POINTS: [Point; 8] = [
    Point::Asked,
    Point::Heard,
    Point::Answered,
    Point::Established,
    Point::Begun,
    Point::Flowing,
    Point::Finished,
    Point::Done,
];

/// Both ends of a subscription that has come so far: subscriber, publisher, and what each calls
/// the request.
fn at(draft: Draft, role: Role, publish: bool, point: Point) -> (Player, Player, Of, Of) {
    let mut asking = Player::new(draft, role);
    let mut asked = Player::new(draft, role.peer());
    talk(&mut asking, &mut asked);
    asking.act_all([if publish {
        Do::Publish("t")
    } else {
        Do::Subscribe("t", Parameters::default())
    }]);
    if point >= Point::Heard {
        talk(&mut asking, &mut asked);
    }
    if point >= Point::Answered {
        asked.act_all([Do::Accept(0, Accept::default())]);
    }
    if point >= Point::Established {
        talk(&mut asking, &mut asked);
    }
    let (mut subscriber, mut publisher, sub, publ) = if publish {
        (asked, asking, Of::Theirs(0), Of::Ours(0))
    } else {
        (asking, asked, Of::Ours(0), Of::Theirs(0))
    };
    if point >= Point::Begun {
        publisher.act_all([Do::Open(publ, SubgroupOptions::new(0)), object(0, 10)]);
    }
    if point >= Point::Flowing {
        talk(&mut subscriber, &mut publisher);
        publisher.act_all([object(1, 10)]);
    }
    if point >= Point::Finished {
        publisher.act_all([Do::Finish(0)]);
    }
    if point >= Point::Done {
        publisher.act_all([Do::Done(publ)]);
    }
    (subscriber, publisher, sub, publ)
}

/// Whether an event says that this request is over.
fn ends(event: &Event) -> Option<RequestKey> {
    match event {
        Event::Rejected { request, .. }
        | Event::Cancelled { request, .. }
        | Event::SubscriptionDone { request, .. } => Some(*request),
        _ => None,
    }
}

fn assert_nothing_left(player: &mut Player, what: &str) {
    player.end.wait(Duration::from_secs(60));
    assert_eq!(player.end.closed(), None, "{what}: {:?}", player.end.events);
    let usage = player.end.engine.usage();
    let control = if player.end.draft() >= Draft::D18 { 2 } else { 1 };
    assert_eq!((usage.requests, usage.streams), (0, control), "{what}: {:?}", player.end.events);
    assert_eq!(usage.receive_bytes + usage.send_bytes + usage.control_bytes, 0, "{what}");
    assert_eq!(player.end.engine.poll_timeout(), None, "{what}");
}

// Draft-18, "Subscriptions": "Either endpoint can terminate"; the publisher with PUBLISH_DONE,
// the subscriber with UNSUBSCRIBE or by cancelling the request.
#[test]
fn either_side_may_end_it_at_any_point() {
    let cases =
        DRAFTS.into_iter().flat_map(|draft| [Role::Client, Role::Server].map(|role| (draft, role)));
    for (draft, role) in cases {
        for (point, publish) in POINTS.into_iter().flat_map(|point| [(point, false), (point, true)])
        {
            for by_publisher in [false, true] {
                let (mut subscriber, mut publisher, sub, publ) = at(draft, role, publish, point);
                let what = format!(
                    "{draft:?} {role:?} publish: {publish}, {point:?}, by publisher: {by_publisher}"
                );
                let pending = point < Point::Answered;
                let asked_has_not_heard = point == Point::Asked;
                let (actor, act) = match (by_publisher, publish) {
                    // The one that was asked can do nothing before it has heard.
                    (true, false) | (false, true) if asked_has_not_heard => continue,
                    (true, false) if pending => (&mut publisher, Do::Reject(0)),
                    (false, true) if pending => (&mut subscriber, Do::Reject(0)),
                    (true, _) if point == Point::Done => continue,
                    (true, _) => (&mut publisher, Do::Done(publ)),
                    (false, _) => (&mut subscriber, Do::Cancel(sub)),
                };
                let told = actor.end.events.len();
                actor.act_all([act]);
                talk(&mut subscriber, &mut publisher);
                if publish && by_publisher && pending {
                    // What was offered waits for an answer even if it is over.
                    subscriber.act_all([Do::Accept(0, Accept::default())]);
                    talk(&mut subscriber, &mut publisher);
                }
                let (actor, other) = if by_publisher {
                    (&mut publisher, &mut subscriber)
                } else {
                    (&mut subscriber, &mut publisher)
                };
                let own: Vec<_> = actor.end.events[told..].iter().filter_map(ends).collect();
                assert_eq!(own, [], "{what}: who ends it is not told of it");
                assert_nothing_left(actor, &what);
                assert_nothing_left(other, &what);
                let heard: Vec<_> = other.end.events.iter().filter_map(ends).collect();
                // A publisher that was done already is told no more.
                let tells = usize::from(point != Point::Done || by_publisher);
                assert_eq!(heard.len(), tells, "{what}: {:?}", other.end.events);
            }
        }
    }
}

#[test]
fn all_of_it_arrives_before_the_end() {
    for (draft, role) in
        DRAFTS.into_iter().flat_map(|draft| [(draft, Role::Client), (draft, Role::Server)])
    {
        for publish in [false, true] {
            let (mut subscriber, mut publisher, ..) = at(draft, role, publish, Point::Done);
            talk(&mut subscriber, &mut publisher);
            let what = format!("{draft:?} {role:?} {publish}");
            assert!(
                matches!(
                    subscriber.end.events.last(),
                    Some(Event::SubscriptionDone { missing_streams: 0, .. })
                ),
                "{what}: {:?}",
                subscriber.end.events
            );
            let reads: Vec<_> = subscriber.end.reads.values().collect();
            assert!(
                matches!(&reads[..], [got] if matches!(&got[..],
                    [Got::Object(..), Got::Object(..), Got::Finished])),
                "{what}: {reads:?}"
            );
            assert_nothing_left(&mut subscriber, &what);
            assert_nothing_left(&mut publisher, &what);
        }
    }
}

// Draft-16, -18, "Subscriptions": a SUBSCRIBE that meets a pending PUBLISH fails with
// DUPLICATE_SUBSCRIPTION; a subscriber ends its own SUBSCRIBE before it sends PUBLISH_OK. In
// draft 14, too, nobody is at fault when the two cross.
#[test]
fn publish_crosses_with_subscribe() {
    for (draft, role) in
        DRAFTS.into_iter().flat_map(|draft| [(draft, Role::Client), (draft, Role::Server)])
    {
        for accepts_early in [true, false] {
            let what = format!("{draft:?} {role:?} accepts early: {accepts_early}");
            let mut publisher = Player::new(draft, role);
            let mut subscriber = Player::new(draft, role.peer());
            talk(&mut publisher, &mut subscriber);
            publisher.act_all([
                Do::Publish("t"),
                Do::Open(Of::Ours(0), SubgroupOptions::new(0)),
                object(0, 10),
                Do::Finish(0),
            ]);
            subscriber.act_all([Do::Subscribe("t", Parameters::default())]);
            // The PUBLISH arrives first.
            publisher.hand_to(&mut subscriber);
            if !accepts_early {
                talk(&mut subscriber, &mut publisher);
            }
            let before = subscriber.end.outputs.len();
            subscriber.act_all([Do::Accept(0, Accept::default())]);
            let outputs = subscriber.end.outputs[before..].to_vec();
            talk(&mut subscriber, &mut publisher);
            let events = &subscriber.end.events;
            assert_eq!(
                subscriber.end.closed().or(publisher.end.closed()),
                None,
                "{what}: {events:?}"
            );
            let rejected =
                events.iter().filter(|event| matches!(event, Event::Rejected { .. })).count();
            assert_eq!(rejected, 1, "{what}: {events:?}");
            if accepts_early {
                // Its own request ends first.
                let first = &outputs[0];
                match draft {
                    _ if draft >= Draft::D18 => assert!(
                        matches!(first, Output::Reset(..) | Output::Stop(..)),
                        "{what}: {outputs:?}"
                    ),
                    // UNSUBSCRIBE is 0x0A.
                    _ => assert!(
                        matches!(first, Output::Data(_, bytes) if bytes[0] == 0x0A),
                        "{what}: {outputs:?}"
                    ),
                }
            }
            // What was sent before anybody answered is there, once.
            let reads: Vec<_> = subscriber.end.reads.values().flatten().collect();
            assert!(
                matches!(&reads[..], [Got::Object(..), Got::Finished]),
                "{what}: {reads:?} {events:?}"
            );
            let accepted = |event: &Event| matches!(event, Event::Accepted { .. });
            assert!(publisher.end.events.iter().any(accepted), "{what}");
            publisher.act_all([Do::Done(Of::Ours(0))]);
            talk(&mut subscriber, &mut publisher);
            assert_nothing_left(&mut subscriber, &what);
            assert_nothing_left(&mut publisher, &what);
        }
    }
}

// Draft-18, "Subscriptions": "Publishers MAY start sending Objects on PUBLISH-initiated
// subscriptions before receiving a PUBLISH_OK": they wait for the application's answer.
#[test]
fn objects_before_a_publish_is_accepted_are_held() {
    for (draft, role) in
        DRAFTS.into_iter().flat_map(|draft| [(draft, Role::Client), (draft, Role::Server)])
    {
        for accepts in [true, false] {
            let what = format!("{draft:?} {role:?} {accepts}");
            let mut publisher = Player::new(draft, role);
            let mut subscriber = Player::new(draft, role.peer());
            talk(&mut publisher, &mut subscriber);
            let early = Bytes::from_static(b"early");
            publisher.act_all([Do::Publish("t")]);
            // Draft 14 has tracks of subgroups and tracks of datagrams, and no others.
            let mixes = draft.dialect().objects.mixed_forwarding;
            if mixes {
                publisher.act_all([Do::Datagram(Of::Ours(0), Location::new(0, 7), early)]);
            }
            publisher.act_all([
                Do::Open(Of::Ours(0), SubgroupOptions::new(0)),
                object(0, 10),
                Do::Finish(0),
            ]);
            publisher.hand_to(&mut subscriber);
            assert!(matches!(subscriber.end.events[1..], [Event::Request { .. }]), "{what}");
            let answer = if accepts { Do::Accept(0, Accept::default()) } else { Do::Reject(0) };
            subscriber.act_all([answer]);
            let events = &subscriber.end.events[2..];
            if accepts {
                assert!(
                    match events {
                        [Event::SubgroupOpened { .. }, Event::Datagram { .. }] => mixes,
                        [Event::SubgroupOpened { .. }] => !mixes,
                        _ => false,
                    },
                    "{what}: {events:?}"
                );
                let reads: Vec<_> = subscriber.end.reads.values().flatten().collect();
                assert!(matches!(&reads[..], [Got::Object(..), Got::Finished]), "{what}");
            } else {
                assert!(subscriber.end.reads.is_empty(), "{what}");
                assert!(
                    events.iter().all(|event| matches!(event, Event::DatagramDropped { .. })),
                    "{what}: {events:?}"
                );
                talk(&mut subscriber, &mut publisher);
                assert_nothing_left(&mut subscriber, &what);
                assert_nothing_left(&mut publisher, &what);
            }
        }
    }
}

#[test]
fn a_namespace_is_offered_accepted_and_withdrawn() {
    for (draft, role) in
        DRAFTS.into_iter().flat_map(|draft| [(draft, Role::Client), (draft, Role::Server)])
    {
        for (accepted, by_offerer) in [(true, true), (true, false), (false, true)] {
            let what = format!("{draft:?} {role:?} {accepted} {by_offerer}");
            let mut offering = Player::new(draft, role);
            let mut offered = Player::new(draft, role.peer());
            talk(&mut offering, &mut offered);
            offering.act_all([Do::PublishNamespace("t")]);
            talk(&mut offering, &mut offered);
            if accepted {
                offered.act_all([Do::Accept(0, Accept::default())]);
                talk(&mut offering, &mut offered);
                assert!(matches!(offering.end.events.last(), Some(Event::Accepted { .. })));
            }
            if by_offerer {
                offering.act_all([Do::Cancel(Of::Ours(0))]);
            } else {
                offered.act_all([Do::Cancel(Of::Theirs(0))]);
            }
            talk(&mut offering, &mut offered);
            let other = if by_offerer { &offered } else { &offering };
            assert!(
                matches!(other.end.events.last(), Some(Event::Cancelled { .. })),
                "{what}: {:?}",
                other.end.events
            );
            assert_nothing_left(&mut offering, &what);
            assert_nothing_left(&mut offered, &what);
        }
    }
}

#[test]
fn a_session_that_is_closed_keeps_nothing() {
    for draft in DRAFTS {
        for point in POINTS {
            let (subscriber, publisher, ..) = at(draft, Role::Client, false, point);
            for mut player in [subscriber, publisher] {
                player.end.with(|engine, _| {
                    engine.close(moqt_engine::model::SessionError::NoError, "bye");
                });
                assert_eq!(player.end.closed(), Some(0));
                assert_eq!(player.end.engine.usage(), Usage::default(), "{draft:?} {point:?}");
                assert_eq!(player.end.engine.poll_timeout(), None);
            }
        }
    }
}
