//! What waits its turn: datagrams that the transport does not take yet, and requests that have much
//! to say.

use bytes::Bytes;
use moqt_conformance::end::{End, Output};
use moqt_conformance::{DRAFTS, say};
use moqt_engine::model::{
    GroupOrder, Location, NamespaceInterest, Parameters, RequestKind, TrackNamespace,
    TrackProperties,
};
use moqt_engine::{Accept, Config, DatagramOptions, Event, MoqtConnection, Role, Transmit};

use crate::priorities::wishes;
use crate::{leave, published};

// While the transport takes no datagrams those that wait keep their place in the order, and go when
// their subscription does.
#[test]
fn datagrams_that_the_transport_does_not_take_yet_keep_their_place() {
    for draft in DRAFTS {
        let mut end = End::established(draft, Role::Server, Config::default());
        let (id, track) = (end.next_own_id(), say::track("t"));
        let ours = end
            .with(|engine, now| {
                let properties = TrackProperties::new();
                engine.publish(now, &track, &Parameters::default(), &properties)
            })
            .unwrap();
        let on = end.own_request();
        let (theirs, by) = published(&mut end, "other");
        end.takes_data = false;
        let send = |end: &mut End, request, group: u64| {
            let options = DatagramOptions {
                publisher_priority: Some(9),
                ..DatagramOptions::new(Location::new(group, 0))
            };
            let payload = vec![u8::try_from(group).unwrap()];
            end.with(|engine, _| {
                engine.publisher(request).unwrap().datagram(options, payload.into())
            })
            .unwrap();
        };
        for group in 1..4 {
            send(&mut end, ours, group);
            send(&mut end, theirs, 10 + group);
        }
        while let Some(transmit) = end.engine.poll_send(end.now) {
            match transmit {
                Transmit::Datagram(datagram) => datagram.blocked(),
                Transmit::Stream(mut send) => {
                    let len = send.offer().0.iter().map(Bytes::len).sum();
                    send.written(len);
                }
            }
        }
        let mut answer = wishes(10, GroupOrder::Descending);
        answer.forward = Some(true);
        end.say(on, &say::ok_with(id, RequestKind::Publish, answer));
        leave(&mut end, by);
        end.with(MoqtConnection::handle_datagrams_writable);
        end.take_data();
        let order: Vec<u8> = end
            .outputs
            .iter()
            .filter_map(|output| match output {
                Output::Datagram(bytes) => bytes.last().copied(),
                _ => None,
            })
            .collect();
        assert_eq!(order, [3, 2, 1], "{draft:?}");
        assert_eq!(end.engine.usage().send_bytes, 0, "{draft:?}");
    }
}

// The streams of requests are equals, too: one with much to say leaves the others their turns.
#[test]
fn requests_take_turns() {
    for draft in DRAFTS.into_iter().filter(|draft| say::namespaces_have_streams(*draft)) {
        let mut end = End::established(draft, Role::Server, Config::default());
        end.takes_data = false;
        let mut names = Vec::new();
        for prefix in ["a", "b"] {
            let id = end.fresh_id();
            let interest = NamespaceInterest::Namespaces;
            names.push(end.request(&say::subscribe_namespace(draft, id, prefix, interest)));
            let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
            end.with(|engine, now| {
                engine.accept(now, request, Accept::default()).unwrap();
                for n in 0..100_u32 {
                    let field = [&n.to_be_bytes()[..], &[b'n'; 2_000]].concat();
                    let namespace = TrackNamespace::new([prefix.as_bytes(), &field]).unwrap();
                    engine.namespace(now, request, &namespace).unwrap();
                }
            });
        }
        let mut turns = Vec::new();
        while let Some(turn) = end.take_turn(usize::MAX) {
            turns.extend(turn.filter(|name| names.contains(name)));
        }
        let [one, other] = names[..] else { panic!("{names:?}") };
        assert!(turns.len() >= 4, "{draft:?}: 200,000 bytes are more than one turn");
        for (n, turn) in turns.iter().enumerate() {
            assert_eq!(*turn, if n % 2 == 0 { one } else { other }, "{draft:?}: {turns:?}");
        }
    }
}
