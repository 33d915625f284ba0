//! Properties of tracks that a peer states, and what they do here.

use bytes::Bytes;
use moqt_conformance::{cases, say};
use moqt_engine::model::{Message, Property, property_type};
use moqt_engine::wire::{EncodeError, Properties, encode_message};
use moqt_engine::{Dir, Draft, Event};

use crate::{PROTOCOL_VIOLATION, assert_closed, session, subscribing};

// "When looking for the value of a property, processors MUST search both the mutable properties
// and the contents of Immutable Properties." (draft-18, "Immutable Properties"; draft-16 says
// that they "are also Track or Object Extension Headers")
#[test]
fn immutable_track_properties_are_properties_of_the_track() {
    for (draft, role) in cases().filter(|(draft, _)| *draft != Draft::D14) {
        let answered = |key, value: u8| {
            let mut end = session(draft, role);
            let (_, id, on) = subscribing(&mut end, "t");
            let Message::SubscribeOk(mut ok) = say::subscribe_ok(id, 1) else {
                panic!("SUBSCRIBE_OK")
            };
            // No encoder writes a value that closes the session: it is put in afterwards.
            let inner = Properties::encode(draft.dialect(), &[Property::int(key, 1)]);
            let inner = inner.unwrap().as_bytes().to_vec().into();
            ok.track_properties.push(Property::bytes(property_type::IMMUTABLE, inner));
            let mut bytes = say::message(draft, &Message::SubscribeOk(ok));
            *bytes.last_mut().unwrap() = value;
            end.data(on, bytes);
            end
        };
        let mut end = answered(property_type::DEFAULT_PUBLISHER_PRIORITY, 9);
        end.take_events();
        // Type 0x30: no priority; alias 1, group 0.
        end.open_with(Dir::Uni, Bytes::from_static(b"\x30\x01\x00"));
        let events = end.take_events();
        assert!(
            matches!(events[..], [Event::SubgroupOpened { subgroup, .. }]
                if subgroup.publisher_priority == 9),
            "{draft:?}: {events:?}"
        );
        // "If an endpoint receives a value outside this range, it MUST close the session"
        let end = answered(property_type::DEFAULT_PUBLISHER_GROUP_ORDER, 3);
        assert_closed(&end, PROTOCOL_VIOLATION, "a group order");
        let mut end = answered(0x4000, 3);
        let rejected = |event: &Event| matches!(event, Event::Rejected { .. });
        assert_eq!(end.take_events().iter().any(rejected), draft >= Draft::D18, "{draft:?}");
    }
}

// The peer would have to close the session for what we write, so it is not written: not inside
// Immutable Properties either, which it looks into.
#[test]
fn track_properties_that_close_the_session_are_not_written() {
    for (draft, _) in cases().filter(|(draft, _)| *draft >= Draft::D16) {
        let bad = Property::int(property_type::DEFAULT_PUBLISHER_GROUP_ORDER, 3);
        let inner = Properties::encode(draft.dialect(), [&bad]).unwrap().as_bytes().to_vec();
        for property in [bad, Property::bytes(property_type::IMMUTABLE, inner.into())] {
            let Message::SubscribeOk(mut ok) = say::subscribe_ok(0, 1) else { panic!() };
            ok.track_properties.push(property);
            let mut bytes = Vec::new();
            let encoded = encode_message(draft.dialect(), &Message::SubscribeOk(ok), &mut bytes);
            assert_eq!(encoded, Err(EncodeError::OutOfRange("Track Properties")), "{draft}");
        }
    }
}
