//! Streams that die at every byte, by FIN and by RESET.

use moqt_conformance::end::{End, Got, Name, Output};
use moqt_conformance::{DRAFTS, ROLES, cases, say};
use moqt_engine::model::{
    Message, NamespaceInterest, Parameters, StreamResetCode, SubscribeNamespace,
};
use moqt_engine::{Accept, Config, Dir, Draft, Event, Role};

use crate::{Bystander, PROTOCOL_VIOLATION, assert_closed, session, subscribed, wait_long};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    Fin,
    Reset,
}

const DEATHS: [Death; 2] = [Death::Fin, Death::Reset];

fn die(end: &mut End, stream: Name, death: Death) {
    match death {
        Death::Fin => end.fin(stream),
        Death::Reset => end.reset(stream, 2),
    }
}

// A stream may be reset at any time, and what it was for may be lost with it (draft-18, "Closing
// Subgroup Streams"); only a FIN says that what came is whole.
#[test]
fn subgroup_streams() {
    for (draft, role) in cases() {
        for known in [true, false] {
            let whole = say::subgroup(draft, 300, 70, &[(0, b"abc"), (1, b""), (9, b"z")]);
            let header = say::header(draft, 300, 70, 0, false).len();
            for (len, death) in (0..=whole.len()).flat_map(|len| DEATHS.map(|death| (len, death))) {
                let what = format!("{draft:?} {role:?} known: {known}, {len} bytes, {death:?}");
                let mut end = session(draft, role);
                let mut bystander = Bystander::new(&mut end);
                if known {
                    subscribed(&mut end, "t", 300);
                }
                let before = end.engine.usage();
                let stream = end.open_with(Dir::Uni, whole[..len].to_vec());
                die(&mut end, stream, death);
                if !known {
                    wait_long(&mut end);
                }
                let got = end.take_reads(stream);
                let expected = match death {
                    _ if !known || len < header => None,
                    Death::Reset => Some(Got::Reset(StreamResetCode::DeliveryTimeout)),
                    Death::Fin if end.closed().is_none() => Some(Got::Finished),
                    Death::Fin => continue, // inside an object, see `data`
                };
                assert_eq!(got.last(), expected.as_ref(), "{what}");
                bystander.assert_well(&mut end);
                assert_eq!(end.engine.usage(), before, "{what}");
            }
        }
    }
}

// Draft-18: request streams. "a stream dying before its type is known" asks for nothing; a reset
// cancels ("Request Cancellation and Rejection"); a FIN inside a message leaves it without the
// length it states ("Control Messages").
#[test]
fn request_streams_before_they_are_whole() {
    for role in ROLES {
        for message in [say::subscribe(301, "t"), say::publish(301, "t", 9)] {
            let id = u64::from(role == Role::Client);
            let message = match message {
                Message::Subscribe(mut subscribe) => {
                    subscribe.request_id = id;
                    Message::Subscribe(subscribe)
                }
                Message::Publish(mut publish) => {
                    publish.request_id = id;
                    Message::Publish(publish)
                }
                other => other,
            };
            let whole = say::message(Draft::D18, &message);
            for (len, death) in (0..whole.len()).flat_map(|len| DEATHS.map(|death| (len, death))) {
                let what = format!("{role:?} {message:?} {len} bytes, {death:?}");
                let mut end = session(Draft::D18, role);
                let mut bystander = Bystander::new(&mut end);
                let before = end.engine.usage();
                let stream = end.open_with(Dir::Bi, whole[..len].to_vec());
                die(&mut end, stream, death);
                if death == Death::Fin && len > 0 {
                    assert_closed(&end, PROTOCOL_VIOLATION, &what);
                    continue;
                }
                assert!(end.take_events().is_empty(), "{what}");
                bystander.assert_well(&mut end);
                wait_long(&mut end);
                assert_eq!(end.closed(), None, "{what}");
                assert_eq!(end.engine.usage(), before, "{what}");
            }
        }
    }
}

// Draft-16: a SUBSCRIBE_NAMESPACE has a stream of its own ("Session initialization").
#[test]
fn draft_16_namespace_streams() {
    for role in ROLES {
        let message = Message::SubscribeNamespace(SubscribeNamespace {
            request_id: u64::from(role == Role::Client),
            prefix: say::track("t").namespace().clone(),
            interest: NamespaceInterest::Both,
            parameters: Parameters::default(),
        });
        let whole = say::message(Draft::D16, &message);
        for (len, death) in (0..=whole.len()).flat_map(|len| DEATHS.map(|death| (len, death))) {
            let mut end = session(Draft::D16, role);
            let mut bystander = Bystander::new(&mut end);
            let before = end.engine.usage();
            let stream = end.open_with(Dir::Bi, whole[..len].to_vec());
            die(&mut end, stream, death);
            let what = format!("{role:?} {len} bytes, {death:?}");
            if death == Death::Fin && len > 0 && len < whole.len() {
                assert_closed(&end, PROTOCOL_VIOLATION, &what);
                continue;
            }
            bystander.assert_well(&mut end);
            wait_long(&mut end);
            assert_eq!(end.engine.usage(), before, "{what}");
        }
    }
}

// Draft-18: answers. A publisher that resets the stream of a SUBSCRIBE refuses or ends it.
#[test]
fn request_streams_of_ours() {
    for role in ROLES {
        let id = u64::from(role == Role::Server) + 2;
        let whole = [
            say::message(Draft::D18, &say::subscribe_ok(id, 500)),
            say::message(Draft::D18, &say::done(id, 0)),
        ];
        let ok_len = whole[0].len();
        let whole = whole.concat();
        for (len, death) in (0..=whole.len()).flat_map(|len| DEATHS.map(|death| (len, death))) {
            let what = format!("{role:?} {len} bytes, {death:?}");
            let mut end = session(Draft::D18, role);
            let mut bystander = Bystander::new(&mut end);
            let before = end.engine.usage();
            let (request, _, on) = crate::subscribing(&mut end, "t");
            end.data(on, whole[..len].to_vec());
            let answered = len >= ok_len;
            let ended = len == whole.len();
            die(&mut end, on, death);
            if death == Death::Fin && ![0, ok_len, whole.len()].contains(&len) {
                assert_closed(&end, PROTOCOL_VIOLATION, &what);
                continue;
            }
            let events = end.take_events();
            let is_over = |event: &Event| match event {
                Event::SubscriptionDone { request: key, .. } => ended && *key == request,
                Event::Cancelled { request: key, .. } => !ended && *key == request,
                Event::Rejected { request: key, .. } => !answered && *key == request,
                _ => false,
            };
            assert_eq!(
                events.iter().filter(|event| is_over(event)).count(),
                1,
                "{what}: {events:?}"
            );
            bystander.assert_well(&mut end);
            wait_long(&mut end);
            assert_eq!(end.engine.usage(), before, "{what}");
        }
    }
}

// Before the session is set up the same holds.
#[test]
fn early_streams() {
    for (draft, role) in cases() {
        let whole = say::subgroup(draft, 300, 70, &[(0, b"abc")]);
        for (len, death) in (0..=whole.len()).flat_map(|len| DEATHS.map(|death| (len, death))) {
            let mut end = End::new(draft, role, Config::default());
            let before = end.engine.usage();
            let stream = end.open_with(Dir::Uni, whole[..len].to_vec());
            assert_eq!(end.engine.usage().early_bytes, len);
            die(&mut end, stream, death);
            if death == Death::Reset {
                assert_eq!(end.engine.usage(), before, "{draft:?} {role:?} {len} bytes");
            }
            end.set_up();
            let mut bystander = Bystander::new(&mut end);
            wait_long(&mut end);
            bystander.assert_well(&mut end);
            assert_eq!(end.engine.usage().early_bytes, 0);
            assert_eq!(end.engine.usage().receive_bytes, 0, "{draft:?} {role:?} {len} {death:?}");
        }
    }
}

// STOP_SENDING for a subgroup ends that subgroup (draft-18, "Subscriptions"); the peer asks
// before anything, after some, and after all of it was sent.
#[test]
fn stopped_subgroups() {
    for draft in DRAFTS {
        for sent in 0..3 {
            let mut end = session(draft, Role::Server);
            let id = end.fresh_id();
            end.request(&say::subscribe(id, "t"));
            let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
            end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
            let options = moqt_engine::SubgroupOptions::new(0);
            let key = end
                .with(|engine, _| engine.publisher(request).unwrap().open_subgroup(options))
                .unwrap()
                .unwrap();
            let stream = end.name(key);
            let header = moqt_engine::wire::ObjectHeader { payload_len: 5, ..Default::default() };
            if sent > 0 {
                end.with(|engine, _| engine.subgroup(key).unwrap().object(&header, "hello".into()))
                    .unwrap();
            }
            if sent > 1 {
                end.with(|engine, _| engine.subgroup(key).unwrap().finish()).unwrap();
            }
            end.stop(stream, 1);
            let stopped = end.take_events();
            if sent > 1 {
                assert!(stopped.is_empty(), "{draft:?}: all was sent: {stopped:?}");
            } else {
                assert!(end.did(&Output::Reset(stream, 1)), "{draft:?} {sent}");
                assert!(
                    matches!(
                        stopped[..],
                        [Event::SubgroupStopped { code: StreamResetCode::Cancelled, .. }]
                    ),
                    "{draft:?} {sent}: {stopped:?}"
                );
            }
            assert!(end.engine.subgroup(key).is_none());
            assert!(end.engine.publisher(request).is_some(), "the subscription goes on");
        }
    }
}
