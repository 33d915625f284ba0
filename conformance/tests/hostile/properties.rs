//! Properties that nobody knows, and those that a track must not be used without.

use bytes::Bytes;
use moqt_conformance::end::{End, Got, Output};
use moqt_conformance::objects::{SubgroupStream, datagram, datagram_bytes};
use moqt_conformance::{DRAFTS, cases, say};
use moqt_engine::model::{
    Location, Message, ObjectStatus, Property, RequestErrorCode, TrackProperties, property_type,
};
use moqt_engine::wire::{DatagramHeader, ObjectHeader, Properties, SubgroupWriter};
use moqt_engine::{Config, Dir, Draft, Event, Role};

use crate::{Bystander, PROTOCOL_VIOLATION, assert_closed, session, subscribed, subscribing};

/// Ends of the range of properties that must be understood, and what lies around it.
const MANDATORY: [u64; 2] = [0x4000, 0x7FFE];
const OTHERS: [u64; 3] = [0x38, 0x3FFE, 0x8000];

// "When an endpoint receives Track Properties (in PUBLISH, SUBSCRIBE_OK, or FETCH_OK messages)
// containing a Mandatory Track Property type that it does not understand, it MUST NOT process or
// forward that track: For PUBLISH messages: the subscriber MUST respond with REQUEST_ERROR with
// error code UNSUPPORTED_EXTENSION." (draft-18, "Mandatory Track Properties")
#[test]
fn a_publish_with_a_mandatory_property_that_is_not_understood_is_refused() {
    for (draft, role) in cases() {
        for key in MANDATORY.into_iter().chain(OTHERS) {
            let what = format!("{draft:?} {role:?} {key:#x}");
            let mut end = session(draft, role);
            let mut bystander = Bystander::new(&mut end);
            let before = end.engine.usage();
            end.said(end.control);
            let id = end.fresh_id();
            let Message::Publish(mut publish) = say::publish(id, "t", 9) else { unreachable!() };
            // Draft 14 has no properties of tracks but those that are parameters.
            if draft != Draft::D14 {
                publish.track_properties = TrackProperties::new().with_int(key, 1);
            }
            let on = end.request(&Message::Publish(publish));
            if draft < Draft::D18 || OTHERS.contains(&key) {
                assert!(matches!(end.take_events()[..], [Event::Request { .. }]), "{what}");
                continue;
            }
            assert!(end.take_events().is_empty(), "{what}: it is not the application's");
            let said = end.said(on);
            assert!(
                matches!(&said[..], [Message::RequestError(error)]
                    if error.code == RequestErrorCode::UnsupportedExtension),
                "{what}: {said:?}"
            );
            end.fin(on);
            assert_eq!(end.engine.usage(), before, "{what}");
            bystander.assert_well(&mut end);
        }
    }
}

// "For SUBSCRIBE_OK messages: the subscriber MUST cancel the subscription" (draft-18, "Mandatory
// Track Properties")
#[test]
fn a_subscribe_ok_with_a_mandatory_property_that_is_not_understood_makes_us_cancel() {
    for (draft, role) in cases().filter(|(draft, _)| *draft != Draft::D14) {
        for key in MANDATORY.into_iter().chain(OTHERS) {
            let what = format!("{draft:?} {role:?} {key:#x}");
            let mut end = session(draft, role);
            let mut bystander = Bystander::new(&mut end);
            let before = end.engine.usage();
            let (request, id, on) = subscribing(&mut end, "t");
            let Message::SubscribeOk(mut ok) = say::subscribe_ok(id, 9) else { unreachable!() };
            ok.track_properties = TrackProperties::new().with_int(key, 1);
            end.say(on, &Message::SubscribeOk(ok));
            let events = end.take_events();
            if draft < Draft::D18 || OTHERS.contains(&key) {
                assert!(matches!(events[..], [Event::Accepted { .. }]), "{what}: {events:?}");
                continue;
            }
            assert!(
                matches!(&events[..], [Event::Rejected { request: key, error }]
                    if *key == request && error.code == RequestErrorCode::UnsupportedExtension),
                "{what}: {events:?}"
            );
            assert!(end.did(&Output::Reset(on, 1)) && end.did(&Output::Stop(on, 1)), "{what}");
            let late = end.open_with(Dir::Uni, say::subgroup(draft, 9, 0, &[(0, b"x")]));
            crate::wait_long(&mut end);
            assert!(end.did(&Output::Stop(late, 1)), "{what}: nothing of the track is read");
            end.reset(late, 1);
            assert_eq!(end.engine.usage(), before, "{what}");
            bystander.assert_well(&mut end);
        }
    }
}

// "Endpoints MUST ignore unknown Property types, skipping them using the length field." (draft-18,
// "Properties" registry) "Unknown Properties MUST be handled as specified" (draft-18, "Greasing").
// Drafts 14 and 16 have them as extension headers.
#[test]
fn unknown_properties_are_skipped_by_their_length() {
    for (draft, role) in cases() {
        let long = Bytes::from(vec![0xAB; 300]);
        // In ascending order, as differences need it: even types are integers, odd ones bytes.
        let properties = [
            Property::int(0x38, 70_000),
            Property::bytes(0x39, long.clone()),
            Property::bytes(0x39, Bytes::new()),
            Property::int(0x3F00, 5),
        ];
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        subscribed(&mut end, "t", 1);
        let bytes = SubgroupStream::new(draft, 1, 0)
            .with(0, b"one", &properties)
            .with(1, b"two", &properties[..1])
            .bytes();
        let stream = end.open_with(Dir::Uni, bytes);
        end.fin(stream);
        let got = end.take_reads(stream);
        let [Got::Object(first, one), Got::Object(_, two), Got::Finished] = &got[..] else {
            panic!("{draft:?} {role:?}: {got:?} {:?}", end.closed())
        };
        assert_eq!((&one[..], &two[..]), (&b"one"[..], &b"two"[..]), "{draft:?}");
        let kept: Vec<Property> = first.properties.iter().map(Result::unwrap).collect();
        assert_eq!(kept, properties, "{draft:?}: the application may know them");

        let mut header = datagram(1, 2, 0);
        header.properties = Properties::encode(draft.dialect(), &properties).unwrap();
        end.take_events();
        end.datagram(datagram_bytes(draft, &header, b"three"));
        if draft != Draft::D14 {
            assert!(
                matches!(&end.events[..], [Event::Datagram { object, .. }] if object.payload == "three"),
                "{draft:?}: {:?}",
                end.events
            );
        }
        bystander.assert_well(&mut end);
    }
}

// "When looking for the value of a property, processors MUST search both the mutable properties
// and the contents of Immutable Properties." (draft-18, "Immutable Properties"; in 14 and 16 what
// they contain "are also Track or Object Extension Headers")
#[test]
fn a_property_of_an_object_is_found_among_the_immutable_ones() {
    for (draft, role) in cases() {
        let inner = Properties::encode(draft.dialect(), &[Property::int(0x38, 7)]).unwrap();
        let immutable = Property::bytes(property_type::IMMUTABLE, inner.as_bytes().to_vec().into());
        let mut end = session(draft, role);
        subscribed(&mut end, "t", 1);
        let bytes = SubgroupStream::new(draft, 1, 0)
            .with(0, b"one", &[immutable.clone(), Property::int(0x3A, 9)])
            .with(1, b"two", &[Property::int(0x38, 8)])
            .bytes();
        let stream = end.open_with(Dir::Uni, bytes);
        let got = end.take_reads(stream);
        let [Got::Object(one, _), Got::Object(two, _)] = &got[..] else {
            panic!("{draft:?} {role:?}: {got:?} {:?}", end.closed())
        };
        let values = |key| [one, two].map(|object| object.properties.int(key));
        assert_eq!(values(0x38), [Some(7), Some(8)], "{draft:?} {role:?}");
        assert_eq!(values(0x3A), [Some(9), None], "{draft:?} {role:?}");
        assert_eq!(values(0x3C), [None; 2], "{draft:?} {role:?}");
    }
}

// Limits, `object_properties`: "Properties Length" is the sender's to choose, and what it announces
// would have to be held before the object can be given out.
#[test]
fn properties_longer_than_the_limit_close() {
    for draft in DRAFTS {
        for over in [false, true] {
            let mut config = Config::default();
            config.limits.object_properties = 1_000;
            // A type of one byte and a length of two go before the value.
            let value = vec![0; if over { 998 } else { 997 }];
            let property = Property::bytes(0x3D, value.into());
            let properties = Properties::encode(draft.dialect(), [&property]).unwrap();
            assert_eq!(properties.as_bytes().len(), 1_000 + usize::from(over), "{draft:?}");

            let mut end = End::established(draft, Role::Client, config.clone());
            subscribed(&mut end, "t", 5);
            let mut bytes = say::header(draft, 5, 0, 0, true);
            let header = ObjectHeader {
                properties: properties.clone(),
                payload_len: 1,
                ..ObjectHeader::default()
            };
            SubgroupWriter::new(draft.dialect(), true).object(&header, &mut bytes).unwrap();
            bytes.push(b'x');
            // That there are too many is known before they have come.
            let known = bytes.len() - 900;
            let stream = end.open_with(Dir::Uni, bytes[..known].to_vec());
            assert_eq!(end.closed().is_some(), over, "{draft:?}: {:?}", end.events);
            if over {
                assert_closed(&end, PROTOCOL_VIOLATION, "on a stream");
            } else {
                end.data_and(stream, bytes[known..].to_vec(), true);
                assert!(matches!(end.take_reads(stream)[..], [Got::Object(..), Got::Finished]));
            }

            let mut end = End::established(draft, Role::Client, config);
            subscribed(&mut end, "t", 5);
            let header = DatagramHeader {
                track_alias: 5,
                location: Location::new(0, 0),
                publisher_priority: Some(128),
                end_of_group: false,
                status: ObjectStatus::Normal,
                properties,
            };
            let mut bytes = Vec::new();
            header.encode(draft.dialect(), 1, &mut bytes).unwrap();
            bytes.push(b'x');
            end.datagram(bytes);
            if over {
                assert_closed(&end, PROTOCOL_VIOLATION, "in a datagram");
            } else {
                assert!(matches!(end.events[..], [Event::Datagram { .. }]), "{:?}", end.events);
            }
        }
    }
}
