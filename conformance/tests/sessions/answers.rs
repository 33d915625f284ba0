//! How requests are answered, and what follows from the answer.

use std::collections::BTreeSet;

use bytes::Bytes;
use moqt_conformance::end::{End, Name, Output};
use moqt_conformance::{DRAFTS, cases, say};
use moqt_engine::model::{
    Location, Message, NamespaceInterest, Parameters, PublishDoneCode, RequestErrorCode,
    RequestKind, TrackProperties,
};
use moqt_engine::track::{PublishedTrack, TrackLayout};
use moqt_engine::wire::{ObjectHeader, Properties, SubgroupHeader};
use moqt_engine::{
    Accept, Config, DatagramOptions, Dir, Draft, Event, Refusal, RequestKey, Role, SubgroupOptions,
};

use crate::{published, published_with};

/// The requests that an application answers, as a peer with this Request ID makes them.
fn requests(draft: Draft, id: u64) -> Vec<Message> {
    let mut requests =
        vec![say::subscribe(id, "t"), say::publish(id, "t", 9), say::publish_namespace(id, "t")];
    requests.push(say::subscribe_namespace(draft, id, "a", NamespaceInterest::Namespaces));
    if draft >= Draft::D18 {
        requests.push(say::subscribe_namespace(draft, id, "a", NamespaceInterest::Tracks));
    }
    requests
}

fn is_ok(message: &Message) -> bool {
    matches!(message, Message::SubscribeOk(_) | Message::RequestOk(_))
}

// "A publisher MUST send exactly one SUBSCRIBE_OK or REQUEST_ERROR in response to a SUBSCRIBE." "A
// subscriber MUST send exactly one PUBLISH_OK or REQUEST_ERROR in response to a PUBLISH." (all
// drafts, "Subscriptions"). "A subscriber MUST send exactly one REQUEST_OK or REQUEST_ERROR as the
// first message on the bidi stream in response to a PUBLISH_NAMESPACE." (draft-18, "Publishing
// Namespaces"; without the stream in 14 and 16). "the publisher MUST send a single REQUEST_OK or
// REQUEST_ERROR as the first message" (draft-18, "Subscribing to Namespaces"; so in 14 and 16)
#[test]
fn every_request_is_answered_exactly_once() {
    for (draft, role) in cases() {
        let kinds = requests(draft, 0).len();
        for (kind, accepts) in (0..kinds).flat_map(|kind| [(kind, true), (kind, false)]) {
            let mut end = End::established(draft, role, Config::default());
            end.said(end.control);
            let id = end.fresh_id();
            let message = requests(draft, id).swap_remove(kind);
            let what = format!("{role:?} {message:?} {accepts}");
            let on = end.request(&message);
            let Some(Event::Request { request, .. }) = end.take_events().pop() else {
                panic!("{what}: {:?}", end.closed())
            };
            assert_eq!(end.said(on), [], "{what}: not before the application answers");
            let accept = |end: &mut End| {
                end.with(|engine, now| engine.accept(now, request, Accept::default()))
            };
            let reject = |end: &mut End| {
                let refusal = Refusal::new(RequestErrorCode::Unauthorized);
                end.with(|engine, now| engine.reject(now, request, refusal))
            };
            if accepts {
                accept(&mut end).unwrap();
            } else {
                reject(&mut end).unwrap();
            }
            assert!(accept(&mut end).is_err() && reject(&mut end).is_err(), "{what}: once");
            let said = end.said(on);
            let [answer] = &said[..] else { panic!("{what}: {said:?}") };
            assert_eq!(is_ok(answer), accepts, "{what}: {answer:?}");
            assert_eq!(is_refusal(answer), !accepts, "{what}: {answer:?}");
        }
    }
}

fn is_refusal(message: &Message) -> bool {
    matches!(message, Message::RequestError(error) if error.code == RequestErrorCode::Unauthorized)
}

/// This end publishes a track that the peer has not answered yet: it, its Request ID, and where
/// it is answered.
fn publishing(end: &mut End, name: &str) -> (RequestKey, u64, Name) {
    let id = end.next_own_id();
    let (plain, properties) = (Parameters::default(), TrackProperties::new());
    let track = say::track(name);
    let request = end.with(|engine, now| engine.publish(now, &track, &plain, &properties)).unwrap();
    (request, id, end.own_request())
}

fn open_with_object(end: &mut End, request: RequestKey, group: u64) -> Name {
    let options = SubgroupOptions::new(group);
    let stream = end
        .with(|engine, _| engine.publisher(request).unwrap().open_subgroup(options))
        .unwrap()
        .unwrap();
    let header = ObjectHeader { payload_len: 1, ..ObjectHeader::default() };
    end.with(|engine, _| engine.subgroup(stream).unwrap().object(&header, "x".into())).unwrap();
    end.name(stream)
}

fn send_datagram(end: &mut End, request: RequestKey) {
    let options = DatagramOptions::new(Location::new(7, 0));
    end.with(|engine, _| engine.publisher(request).unwrap().datagram(options, "x".into())).unwrap();
}

// "Objects MUST NOT be sent for requests that end with an error." (all drafts, "Subscriptions" /
// "Subscription State Management")
#[test]
fn nothing_is_sent_of_a_request_that_was_refused() {
    for (draft, role) in cases() {
        // What this end refused.
        let mut end = End::established(draft, role, Config::default());
        let id = end.fresh_id();
        end.request(&say::subscribe(id, "t"));
        let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
        assert!(end.engine.publisher(request).is_none(), "{draft:?}: not accepted yet");
        let refusal = Refusal::new(RequestErrorCode::DoesNotExist);
        end.with(|engine, now| engine.reject(now, request, refusal)).unwrap();
        assert!(end.engine.publisher(request).is_none(), "{draft:?} {role:?}");

        // What the peer refused after objects were begun: they stay unsent.
        let mut end = End::established(draft, role, Config::default());
        let (request, id, on) = publishing(&mut end, "t");
        let before = end.outputs.len();
        end.takes_data = false;
        let stream = open_with_object(&mut end, request, 0);
        // A track of draft 14 has the one or the other.
        if draft != Draft::D14 {
            send_datagram(&mut end, request);
        }
        let no = RequestErrorCode::Uninterested;
        end.say(on, &say::error(id, RequestKind::Publish, no));
        assert!(end.engine.publisher(request).is_none(), "{draft:?} {role:?}");
        end.takes_data = true;
        end.drain();
        assert!(matches!(end.events[..], [Event::Rejected { .. }, ..]), "{:?}", end.events);
        let sent = |output: &Output| match output {
            Output::Data(name, _) | Output::Fin(name) => *name == stream,
            Output::Datagram(_) => true,
            _ => false,
        };
        assert!(!end.outputs[before..].iter().any(sent), "{draft:?} {role:?}: {:?}", end.outputs);
        assert!(end.was_reset(stream));
    }
}

// "A subscriber receiving a PUBLISH for a Track it does not wish to receive SHOULD send
// REQUEST_ERROR with error code UNINTERESTED, and abandon reading any publisher initiated streams
// associated with that subscription using a STOP_SENDING frame." (all drafts, "PUBLISH")
#[test]
fn streams_of_a_publish_that_is_refused_are_stopped() {
    for (draft, role) in cases() {
        let mut end = End::established(draft, role, Config::default());
        let before = end.engine.usage();
        let id = end.fresh_id();
        let on = end.request(&say::publish(id, "t", 9));
        let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
        let early = end.open_with(Dir::Uni, say::subgroup(draft, 9, 0, &[(0, b"early")]));
        let refusal = Refusal::new(RequestErrorCode::Uninterested);
        end.with(|engine, now| engine.reject(now, request, refusal)).unwrap();
        let said = end.said(on);
        assert!(
            matches!(said.last(), Some(Message::RequestError(error))
                if error.code == RequestErrorCode::Uninterested),
            "{draft:?} {role:?}: {said:?}"
        );
        let late = end.open_with(Dir::Uni, say::subgroup(draft, 9, 1, &[(0, b"late")]));
        for stream in [early, late] {
            let stopped =
                |output: &Output| matches!(output, Output::Stop(name, _) if *name == stream);
            assert!(end.outputs.iter().any(stopped), "{draft:?} {role:?}: {:?}", end.outputs);
            end.reset(stream, 1);
        }
        if on != end.control {
            end.fin(on);
        }
        assert_eq!(end.engine.usage(), before, "{draft:?} {role:?}");
    }
}

// "If the publisher did not open any streams for this subscription, the publisher MUST set Stream
// Count to 0." (draft-18, "PUBLISH_DONE"; in 14 and 16 of tracks with datagrams only)
#[test]
fn a_subscription_without_streams_counts_none() {
    for draft in DRAFTS {
        for datagrams in [0, 3] {
            let mut end = End::established(draft, Role::Server, Config::default());
            let (request, (_, on)) = published(&mut end, "t");
            end.said(on);
            for _ in 0..datagrams {
                send_datagram(&mut end, request);
            }
            end.with(|engine, _| {
                engine.publisher(request).unwrap().done(PublishDoneCode::TrackEnded, "");
            });
            let said = end.said(on);
            assert!(
                matches!(&said[..], [Message::PublishDone(done)] if done.stream_count == 0),
                "{draft:?}: {said:?}"
            );
        }
    }
}

// "The same Track Alias MUST NOT be used by a publisher to refer to two different Tracks
// simultaneously in the same session." (draft-18, "Track Alias"; draft-14, -16, "SUBSCRIBE_OK",
// "PUBLISH")
#[test]
fn an_alias_is_given_to_one_track_at_a_time() {
    for (draft, role) in cases() {
        let mut end = End::established(draft, role, Config::default());
        let mut aliases = BTreeSet::new();
        for n in 0..50 {
            let (_, (_, on)) = published(&mut end, &format!("asked-{n}").replace('-', "_"));
            let said = end.said(on);
            let Some(Message::SubscribeOk(ok)) = said.last() else { panic!("{said:?}") };
            assert!(aliases.insert(ok.track_alias), "{draft:?} {role:?}: {aliases:?}");
            let (_, _, on) = publishing(&mut end, &format!("offered_{n}"));
            let said = end.said(on);
            let Some(Message::Publish(publish)) = said.last() else { panic!("{said:?}") };
            assert!(aliases.insert(publish.track_alias), "{draft:?} {role:?}: {aliases:?}");
        }
    }
}

/// The headers of the subgroups sent, in order.
fn headers(end: &End) -> Vec<SubgroupHeader> {
    let mut headers = Vec::new();
    for output in &end.outputs {
        if let Output::Open(name, Dir::Uni) = output
            && let Ok(Some((header, _))) =
                SubgroupHeader::decode(end.draft().dialect(), &end.sent(*name))
        {
            headers.push(header);
        }
    }
    headers
}

// "When the Original Publisher opens a new subgroup, it MUST set the FIRST_OBJECT bit to indicate
// that the first object in the subgroup stream is the first object ever published in that
// subgroup." (draft-18, "Subgroups")
#[test]
fn a_subgroup_says_that_it_begins_with_its_first_object() {
    for (from, expected) in [
        // Everything; and from the fourth object of the second group on, which is in a subgroup
        // whose first object has gone by.
        (Location::ZERO, vec![(0, true), (0, true), (1, true), (1, true)]),
        (Location::new(1, 3), vec![(1, false), (1, false)]),
        (Location::new(1, 1), vec![(1, true), (1, false)]),
    ] {
        let mut end = End::established(Draft::D18, Role::Server, Config::default());
        let mut wishes = Parameters::default();
        wishes.subscription_filter =
            Some(moqt_engine::model::SubscriptionFilter::AbsoluteStart { start: from });
        let (request, _) = published_with(&mut end, "t", wishes, Accept::default());
        let mut layout = TrackLayout::new(Location::ZERO, 2);
        let mut track = PublishedTrack::new(request);
        for n in 0..12 {
            let slot = layout.place(n % 6 == 5);
            end.with(|engine, _| {
                track.object(engine, slot, &Properties::EMPTY, Bytes::from_static(b"x"))
            })
            .unwrap();
        }
        let mut got: Vec<_> =
            headers(&end).iter().map(|header| (header.group_id, header.first_object)).collect();
        let mut expected = expected;
        got.sort_unstable();
        expected.sort_unstable();
        assert_eq!(got, expected, "from {from:?}");
    }
}

// "If Objects have been published on this Track the Publisher MUST include this parameter."
// (draft-16, -18, "LARGEST OBJECT Parameter"; draft 14 has Content Exists and a location in
// SUBSCRIBE_OK and PUBLISH): what the application knows of its track is said.
#[test]
fn the_largest_object_is_told_in_subscribe_ok_and_publish() {
    for (draft, role) in cases() {
        for largest_object in [None, Some(Location::ZERO), Some(Location::new(5, 3))] {
            let mut known = Parameters::default();
            known.largest_object = largest_object;
            let mut end = End::established(draft, role, Config::default());
            let accept = Accept { parameters: known.clone(), ..Accept::default() };
            let (_, (_, on)) = published_with(&mut end, "t", Parameters::default(), accept);
            let said = end.said(on);
            let Some(Message::SubscribeOk(ok)) = said.last() else { panic!("{said:?}") };
            assert_eq!(ok.parameters.largest_object, largest_object, "{draft:?} {role:?}");
            let (track, properties) = (say::track("u"), TrackProperties::new());
            end.with(|engine, now| engine.publish(now, &track, &known, &properties)).unwrap();
            let on = end.own_request();
            let said = end.said(on);
            let Some(Message::Publish(publish)) = said.last() else { panic!("{said:?}") };
            assert_eq!(publish.parameters.largest_object, largest_object, "{draft:?} {role:?}");
        }
    }
}
