//! What a publisher sends of a track: filters, forward state, updates, and how subgroups and
//! subscriptions end.

use bytes::Bytes;
use moqt_conformance::end::{End, Got, Name, Output};
use moqt_conformance::{DRAFTS, drafts_from, say};
use moqt_engine::model::{
    GroupOrder, Location, Message, Parameters, PublishDoneCode, RequestKind, StreamResetCode,
    SubgroupId, SubscriptionFilter, TrackProperties, property_type,
};
use moqt_engine::wire::{ObjectHeader, SubgroupHeader};
use moqt_engine::{
    Accept, Config, DatagramOptions, DatagramOutcome, Dir, Draft, Event, RequestKey, Role,
    StreamKey, SubgroupOptions, Written,
};

use crate::{published, published_with, subscribed};

fn server(draft: Draft) -> End {
    End::established(draft, Role::Server, Config::default())
}

fn open(end: &mut End, request: RequestKey, group: u64) -> Option<StreamKey> {
    let options = SubgroupOptions::new(group);
    end.with(|engine, _| engine.publisher(request).unwrap().open_subgroup(options)).unwrap()
}

fn put(end: &mut End, stream: StreamKey, object_id: u64) -> Written {
    let header = ObjectHeader { object_id, payload_len: 1, ..ObjectHeader::default() };
    end.with(|engine, _| engine.subgroup(stream).unwrap().object(&header, "x".into())).unwrap()
}

fn finish(end: &mut End, stream: StreamKey) {
    end.with(|engine, _| engine.subgroup(stream).unwrap().finish()).unwrap();
}

fn datagram(end: &mut End, request: RequestKey, location: Location) -> DatagramOutcome {
    let options = DatagramOptions::new(location);
    end.with(|engine, _| engine.publisher(request).unwrap().datagram(options, "x".into())).unwrap()
}

// "Subscription Filters" (draft-16, -18), "Filter Types" (draft-14): "greater than or equal to
// Start Location and [...] less than or equal to the End Group (when present) pass". Relative
// ones count from the Largest Object, or are {0,0} without one.
#[test]
fn each_filter_passes_what_it_says() {
    let at = Location::new;
    let absolute = |start| SubscriptionFilter::AbsoluteStart { start };
    let range = |start, end_group| SubscriptionFilter::AbsoluteRange { start, end_group };
    let largest = Some(at(5, 3));
    let cases = [
        (SubscriptionFilter::LargestObject, largest, at(5, 4), None),
        (SubscriptionFilter::LargestObject, None, at(0, 0), None),
        (SubscriptionFilter::NextGroupStart, largest, at(6, 0), None),
        (SubscriptionFilter::NextGroupStart, None, at(0, 0), None),
        (absolute(at(7, 2)), largest, at(7, 2), None),
        (absolute(at(2, 1)), largest, at(2, 1), None),
        (range(at(7, 2), 8), largest, at(7, 2), Some(8)),
        (range(at(7, 2), 7), None, at(7, 2), Some(7)),
    ];
    for (draft, (filter, largest, start, end_group)) in
        DRAFTS.into_iter().flat_map(|draft| cases.map(|case| (draft, case)))
    {
        let what = format!("{draft:?} {filter:?} {largest:?}");
        let mut wishes = Parameters::default();
        wishes.subscription_filter = Some(filter);
        let mut accept = Accept::default();
        accept.parameters.largest_object = largest;
        let mut end = server(draft);
        let (request, _) = published_with(&mut end, "t", wishes.clone(), accept.clone());
        // Draft 14 has tracks of subgroups and tracks of datagrams, and no others.
        let mut other = server(draft);
        let (in_datagrams, _) = published_with(&mut other, "t", wishes.clone(), accept);
        for group in 0..10 {
            let passes = |object| {
                let location = at(group, object);
                location >= start && end_group.is_none_or(|end| group <= end)
            };
            for object in 0..6 {
                let wants = end.engine.publisher(request).unwrap().wants(at(group, object));
                assert_eq!(wants, passes(object), "{what} {group} {object}");
                let sent = datagram(&mut other, in_datagrams, at(group, object));
                assert_eq!(sent == DatagramOutcome::Queued, passes(object), "{what}");
            }
            let Some(stream) = open(&mut end, request, group) else {
                assert!(!passes(u64::MAX), "{what} {group}");
                continue;
            };
            let name = end.name(stream);
            let mut sent = 0;
            for object in 0..6 {
                let written = put(&mut end, stream, object);
                assert_eq!(written == Written::Queued, passes(object), "{what} {group} {object}");
                sent += usize::from(passes(object));
            }
            finish(&mut end, stream);
            // "If a sender has delivered all objects in a Subgroup [...] except any Objects with
            // Locations smaller than the subscription's Start Location, it MUST close the stream
            // with a FIN." ("Closing Subgroup Streams")
            assert!(end.did(&Output::Fin(name)), "{what} {group}");
            assert!(sent > 0 || end.sent(name).len() < 8);
        }
        let is_past = |group| {
            let mut end = server(draft);
            let mut accept = Accept::default();
            accept.parameters.largest_object = largest;
            let (request, _) = published_with(&mut end, "t", wishes.clone(), accept);
            end.engine.publisher(request).unwrap().is_past_end(group)
        };
        assert_eq!(is_past(9), end_group.is_some(), "{what}");
        assert!(!is_past(7), "{what}");
    }
}

// "The publisher does not send Objects if the Forward State is 0" (all drafts,
// "Subscriptions"), and a subgroup with one left out is reset ("Closing Subgroup Streams").
#[test]
fn nothing_is_sent_while_the_subscriber_wants_nothing() {
    for draft in DRAFTS {
        let forward = |forward| {
            let mut parameters = Parameters::default();
            parameters.forward = Some(forward);
            if draft == Draft::D14 {
                let start = Location::ZERO;
                parameters.subscription_filter = Some(SubscriptionFilter::AbsoluteStart { start });
                parameters.subscriber_priority = Some(1);
            }
            parameters
        };
        let mut end = server(draft);
        let (request, (id, on)) = published_with(&mut end, "t", forward(false), Accept::default());
        assert!(!end.engine.publisher(request).unwrap().forward());
        assert_eq!(open(&mut end, request, 0), None, "{draft:?}");
        assert_eq!(datagram(&mut end, request, Location::ZERO), DatagramOutcome::Skipped);
        let update = end.fresh_id();
        end.say(on, &say::update(update, id, forward(true)));
        assert!(matches!(end.take_events()[..], [Event::Updated { .. }]), "{draft:?}");
        let stream = open(&mut end, request, 1).expect("wanted now");
        let name = end.name(stream);
        assert_eq!(put(&mut end, stream, 0), Written::Queued);
        let update = end.fresh_id();
        end.say(on, &say::update(update, id, forward(false)));
        assert_eq!(put(&mut end, stream, 1), Written::Skipped, "{draft:?}");
        let update = end.fresh_id();
        end.say(on, &say::update(update, id, forward(true)));
        // "MUST NOT forward an Object on an existing Subgroup stream unless it is the next"
        assert_eq!(put(&mut end, stream, 2), Written::Skipped);
        finish(&mut end, stream);
        assert!(end.did(&Output::Reset(name, 1)), "{draft:?}: object 1 is missing");
        assert!(!end.did(&Output::Fin(name)), "{draft:?}");
        let answers = end.said(on);
        let expected = if draft == Draft::D14 { 0 } else { 3 };
        let oks = answers.iter().filter(|one| matches!(one, Message::RequestOk(_))).count();
        assert_eq!(oks, expected, "{draft:?}: {answers:?}");
    }
}

// Draft-18, "Updating Subscriptions": "The REQUEST_UPDATE_OK will include the LARGEST_OBJECT
// parameter"; what the update does not mention "remains unchanged".
#[test]
fn an_update_tells_the_largest_object_and_changes_only_what_it_says() {
    for draft in drafts_from(Draft::D16) {
        let mut end = server(draft);
        let mut wishes = Parameters::default();
        wishes.subscription_filter =
            Some(SubscriptionFilter::AbsoluteStart { start: Location::new(3, 0) });
        let (request, (id, on)) = published_with(&mut end, "t", wishes, Accept::default());
        datagram(&mut end, request, Location::new(8, 1));
        end.said(on);
        let mut parameters = Parameters::default();
        parameters.subscriber_priority = Some(1);
        let update = end.fresh_id();
        end.say(on, &say::update(update, id, parameters));
        let said = end.said(on);
        assert!(
            matches!(&said[..], [Message::RequestOk(ok)]
                if ok.parameters.largest_object == Some(Location::new(8, 1))),
            "{draft:?}: {said:?}"
        );
        let publisher = end.engine.publisher(request).unwrap();
        assert!(publisher.wants(Location::new(3, 0)) && !publisher.wants(Location::new(2, 9)));
    }
}

// "PUBLISH_OK" of every draft: filter, forward state, priority and order are the subscriber's.
#[test]
fn a_publish_is_accepted_with_wishes() {
    for draft in DRAFTS {
        for forward in [true, false] {
            let mut end = server(draft);
            let id = end.next_own_id();
            let request = end
                .with(|engine, now| {
                    let none = Parameters::default();
                    engine.publish(now, &say::track("t"), &none, &TrackProperties::new())
                })
                .unwrap();
            let mut wishes = Parameters::default();
            wishes.forward = Some(forward);
            wishes.subscriber_priority = Some(3);
            wishes.group_order = Some(GroupOrder::Descending);
            wishes.subscription_filter =
                Some(SubscriptionFilter::AbsoluteStart { start: Location::new(4, 0) });
            let on = end.own_request();
            end.say(on, &say::ok_with(id, RequestKind::Publish, wishes));
            assert!(matches!(end.take_events()[..], [Event::Accepted { .. }]), "{draft:?}");
            let publisher = end.engine.publisher(request).unwrap();
            assert_eq!(publisher.forward(), forward, "{draft:?}");
            assert_eq!(publisher.wants(Location::new(4, 0)), forward, "{draft:?}");
            assert!(!publisher.wants(Location::new(3, 9)), "{draft:?}");
            if forward {
                assert_eq!(order_of(&mut end, request), [7, 6, 5], "{draft:?}");
            }
        }
    }
}

/// The order in which three groups that wait are sent.
fn order_of(end: &mut End, request: RequestKey) -> Vec<u64> {
    end.takes_data = false;
    for group in 5..8 {
        let stream = open(end, request, group).unwrap();
        put(end, stream, 0);
        finish(end, stream);
    }
    let from = end.outputs.len();
    end.take_data();
    let groups = end.outputs[from..].iter().filter_map(|output| match output {
        Output::Data(_, bytes) => {
            let header = SubgroupHeader::decode(end.draft().dialect(), bytes);
            header.unwrap().map(|(header, _)| header.group_id)
        }
        _ => None,
    });
    groups.collect()
}

// "the publisher's preference is used if the subscriber did not express one" (draft-18,
// "Priorities"; draft-14 and -16 likewise). Draft 14 says in SUBSCRIBE_OK which it is.
#[test]
fn groups_come_in_the_order_wished_or_else_the_publishers() {
    let (up, down) = (GroupOrder::Ascending, GroupOrder::Descending);
    for draft in DRAFTS {
        for (wish, own, expected) in [
            (None, None, up),
            (None, Some(down), down),
            (Some(up), Some(down), up),
            (Some(down), None, down),
            (Some(down), Some(up), down),
        ] {
            let mut end = server(draft);
            let mut wishes = Parameters::default();
            wishes.group_order = wish;
            let mut accept = Accept::default();
            if let Some(own) = own {
                if draft == Draft::D14 {
                    // It has no property for this.
                    accept.parameters.group_order = Some(own);
                    if wish.is_some() {
                        continue;
                    }
                } else {
                    let key = property_type::DEFAULT_PUBLISHER_GROUP_ORDER;
                    accept.track_properties =
                        TrackProperties::new().with_int(key, u64::from(own.code()));
                }
            }
            let (request, (_, on)) = published_with(&mut end, "t", wishes, accept);
            let said = end.said(on);
            let Some(Message::SubscribeOk(ok)) = said.last() else { panic!("{said:?}") };
            if draft == Draft::D14 {
                assert_eq!(ok.parameters.group_order, Some(expected), "{wish:?} {own:?}");
            }
            let groups = order_of(&mut end, request);
            let what = format!("{draft:?} {wish:?} {own:?}");
            match expected {
                GroupOrder::Ascending => assert_eq!(groups, [5, 6, 7], "{what}"),
                GroupOrder::Descending => assert_eq!(groups, [7, 6, 5], "{what}"),
            }
        }
    }
}

// "A sender MUST NOT send PUBLISH_DONE until it has closed all streams it will ever open, and
// has no further datagrams to send, for a subscription." Its Stream Count counts all that were
// opened. (all drafts, "PUBLISH_DONE")
#[test]
fn publish_done_comes_last_and_counts() {
    for draft in DRAFTS {
        let mut end = server(draft);
        let (request, (_, on)) = published(&mut end, "t");
        end.said(on);
        end.takes_data = false;
        let finished = open(&mut end, request, 0).unwrap();
        put(&mut end, finished, 0);
        finish(&mut end, finished);
        let reset = open(&mut end, request, 1).unwrap();
        put(&mut end, reset, 0);
        end.with(|engine, _| {
            engine.subgroup(reset).unwrap().reset(StreamResetCode::DeliveryTimeout);
        });
        let empty = open(&mut end, request, 2).unwrap();
        finish(&mut end, empty);
        let unfinished = open(&mut end, request, 3).unwrap();
        put(&mut end, unfinished, 0);
        let unfinished = end.name(unfinished);
        if draft.dialect().objects.mixed_forwarding {
            datagram(&mut end, request, Location::new(4, 0));
        }
        end.with(|engine, _| {
            engine.publisher(request).unwrap().done(PublishDoneCode::TrackEnded, "over");
        });
        assert!(end.engine.publisher(request).is_none(), "nothing more can be published");
        assert!(end.did(&Output::Reset(unfinished, 1)), "{draft:?}: it was not finished");
        // One turn at a time: control would go first if it were there.
        while end.take_turn(usize::MAX).is_some() {
            end.drain();
        }
        let last = end.outputs.iter().rposition(|output| {
            matches!(output, Output::Data(name, _) | Output::Fin(name) if *name != on)
                || matches!(output, Output::Datagram(_))
        });
        let done = end
            .outputs
            .iter()
            .rposition(|output| matches!(output, Output::Data(name, _) if *name == on));
        assert!(last < done, "{draft:?}: {:?}", end.outputs);
        let said = end.said(on);
        assert!(
            matches!(&said[..], [Message::PublishDone(done)]
                if done.stream_count == 4 && done.reason == "over"),
            "{draft:?}: {said:?}"
        );
        // "A sender SHOULD send FIN on the subscription's bidi stream immediately after" it.
        assert_eq!(end.did(&Output::Fin(on)), draft >= Draft::D18);
        assert_eq!(end.engine.usage().requests, 0);
    }
}

#[test]
fn subgroups_of_every_form_arrive() {
    for draft in DRAFTS {
        let mut end = server(draft);
        let mut client = End::established(draft, Role::Client, Config::default());
        let (request, _) = published(&mut end, "t");
        subscribed(&mut client, "t", 1);
        let forms = [
            (SubgroupId::Explicit(0), false),
            (SubgroupId::Explicit(9), true),
            (SubgroupId::FirstObjectId, true),
        ];
        for (group, (subgroup_id, end_of_group)) in forms.into_iter().enumerate() {
            for objects in 0..3 {
                // Each is another one, so it needs another group.
                let group = 3 * group as u64 + objects;
                let mut options = SubgroupOptions::new(group);
                options.subgroup_id = subgroup_id;
                options.end_of_group = end_of_group;
                options.publisher_priority = Some(5);
                let stream = end
                    .with(|engine, _| engine.publisher(request).unwrap().open_subgroup(options))
                    .unwrap()
                    .unwrap();
                for object in 0..objects {
                    put(&mut end, stream, object * 1_000 + 4);
                }
                let name = end.name(stream);
                finish(&mut end, stream);
                let what = format!("{draft:?} {subgroup_id:?} {objects}");
                assert!(end.did(&Output::Fin(name)), "{what}");
                let into = client.open_with(Dir::Uni, end.sent(name));
                client.fin(into);
                let events = client.take_events();
                let [Event::SubgroupOpened { subgroup, .. }] = events[..] else {
                    panic!("{what}: {events:?} {:?}", client.closed())
                };
                assert_eq!(subgroup.group_id, group, "{what}");
                assert_eq!(subgroup.subgroup_id, subgroup_id, "{what}");
                assert_eq!(subgroup.end_of_group, end_of_group, "{what}");
                assert_eq!(subgroup.publisher_priority, 5, "{what}");
                let ids: Vec<u64> = client
                    .take_reads(into)
                    .iter()
                    .filter_map(|got| match got {
                        Got::Object(header, _) => Some(header.object_id),
                        _ => None,
                    })
                    .collect();
                let expected: Vec<u64> = (0..objects).map(|object| object * 1_000 + 4).collect();
                assert_eq!(ids, expected, "{what}");
            }
        }
    }
}

// The priority of subgroups that state none is the track's default, 128 if it has none
// (draft-18, "DEFAULT PUBLISHER PRIORITY").
#[test]
fn a_track_has_a_default_priority() {
    for draft in drafts_from(Draft::D16) {
        for (default, expected) in [(Some(9), 9), (None, 128)] {
            let mut client = End::established(draft, Role::Client, Config::default());
            let id = client.next_own_id();
            let track = say::track("t");
            client
                .with(|engine, now| engine.subscribe(now, &track, &Parameters::default()))
                .unwrap();
            let Message::SubscribeOk(mut ok) = say::subscribe_ok(id, 1) else { unreachable!() };
            if let Some(default) = default {
                let key = property_type::DEFAULT_PUBLISHER_PRIORITY;
                ok.track_properties = TrackProperties::new().with_int(key, default);
            }
            let on: Name = client.own_request();
            client.say(on, &Message::SubscribeOk(ok));
            client.take_events();
            // Type 0x30: no priority; alias 1, group 0.
            client.open_with(Dir::Uni, Bytes::from_static(b"\x30\x01\x00"));
            let events = client.take_events();
            assert!(
                matches!(events[..], [Event::SubgroupOpened { subgroup, .. }]
                    if subgroup.publisher_priority == expected),
                "{draft:?}: {events:?}"
            );
        }
    }
}
