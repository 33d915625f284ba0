//! FETCHes of the peer's: what is refused, how they are answered, and how they end.

use bytes::Bytes;
use moqt_conformance::end::{End, Name, Output};
use moqt_conformance::{ROLES, cases, say};
use moqt_engine::model::{
    EndOfRange, FetchCancel, FetchRange, GroupOrder, Location, LocationRange, Message, Parameters,
    RequestErrorCode, StreamResetCode,
};
use moqt_engine::{
    AcceptFetch, CommandError, Config, Draft, Event, IncomingRequest, RequestKey, Role,
};

use crate::{Bystander, PROTOCOL_VIOLATION, assert_closed, session};

fn at(group: u64, object: u64) -> Location {
    Location::new(group, object)
}

/// A FETCH of the peer's that the application has heard of.
struct Fetched {
    request: RequestKey,
    id: u64,
    /// Where it is answered.
    on: Name,
}

fn fetched(end: &mut End, start: Location, to: Location) -> Fetched {
    let range = FetchRange::Standalone { track: say::track("t"), start, end: to };
    fetched_with(end, range, Parameters::default())
}

fn fetched_with(end: &mut End, range: FetchRange, parameters: Parameters) -> Fetched {
    end.said(end.control);
    let id = end.fresh_id();
    let on = end.request(&say::fetch_with(id, range, parameters));
    let Some(Event::Request { request, what: IncomingRequest::Fetch { .. } }) =
        end.take_events().pop()
    else {
        panic!("no request")
    };
    Fetched { request, id, on }
}

fn accept(end: &mut End, fetched: &Fetched, to: Location) -> Result<(), CommandError> {
    let request = fetched.request;
    end.with(|engine, now| engine.accept_fetch(now, request, AcceptFetch::new(to)))
}

fn put(
    end: &mut End,
    fetched: &Fetched,
    location: Location,
    payload: &'static [u8],
) -> Result<(), CommandError> {
    let object = say::fetch_object(location, payload);
    end.with(|engine, _| {
        let mut response = engine.fetch_response(fetched.request).ok_or(CommandError::Gone)?;
        response.object(&object, Bytes::from_static(payload))
    })
}

fn finish(end: &mut End, fetched: &Fetched) {
    end.with(|engine, _| engine.fetch_response(fetched.request).unwrap().finish()).unwrap();
}

/// The stream that the connection opened last.
fn data_stream(end: &End) -> Name {
    let opened = end.outputs.iter().rev().find_map(|output| match output {
        Output::Open(name, moqt_engine::Dir::Uni) => Some(*name),
        _ => None,
    });
    opened.expect("a stream")
}

/// The code of the refusal that came on a stream, if that is all that did.
fn refusal(end: &mut End, on: Name) -> Option<RequestErrorCode> {
    match &end.said(on)[..] {
        [Message::RequestError(error)] => Some(error.code),
        _ => None,
    }
}

// "The publisher MUST send exactly one FETCH_OK or REQUEST_ERROR in response to a FETCH." "The
// Objects in the response are delivered on a single unidirectional stream." (all drafts)
#[test]
fn objects_go_out_before_the_answer_and_after_it() {
    let sent = [(at(1, 2), &b"one"[..]), (at(1, 3), b""), (at(4, 0), b"three")];
    for ((draft, role), accept_at) in cases().flat_map(|case| [0, 1, 2, 3].map(|n| (case, n))) {
        let what = format!("{draft:?} {role:?} {accept_at}");
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        let fetched = fetched(&mut end, at(1, 2), at(9, 0));
        for (n, (location, payload)) in sent.into_iter().enumerate() {
            if n == accept_at {
                accept(&mut end, &fetched, at(4, 1)).unwrap();
            }
            put(&mut end, &fetched, location, payload).unwrap();
        }
        finish(&mut end, &fetched);
        let stream = data_stream(&end);
        if accept_at == sent.len() {
            assert_eq!(end.engine.usage().requests, before.requests + 1, "{what}");
            accept(&mut end, &fetched, at(4, 1)).unwrap();
        }
        let said = end.said(fetched.on);
        let [Message::FetchOk(ok)] = &said[..] else { panic!("{what}: {said:?}") };
        assert_eq!((ok.end, ok.end_of_track), (at(4, 1), false), "{what}");
        assert_eq!(end.sent(stream), say::fetch_stream(draft, fetched.id, &sent), "{what}");
        assert!(end.did(&Output::Fin(stream)), "{what}");
        if draft >= Draft::D18 {
            assert!(end.did(&Output::Fin(fetched.on)), "{what}");
            end.fin(fetched.on);
        }
        assert_eq!(end.engine.usage(), before, "{what}");
        assert!(end.engine.fetch_response(fetched.request).is_none());
        bystander.assert_well(&mut end);
    }
}

// "End Location MUST specify the same or a larger Location than Start Location for Standalone
// and Absolute Joining Fetches." (all drafts); INVALID_RANGE: "The end of the requested range is
// earlier than the beginning" (draft-14).
#[test]
fn a_range_that_ends_before_it_begins_is_refused() {
    for (draft, role) in cases() {
        for (start, to, is_refused) in [
            (at(2, 0), at(1, 0), true),
            (at(1, 5), at(1, 5), true),
            (at(1, 5), at(1, 2), true),
            (at(1, 5), at(1, 6), false),
            (at(1, 5), at(1, 0), false),
        ] {
            let mut end = session(draft, role);
            let mut bystander = Bystander::new(&mut end);
            end.said(end.control);
            let id = end.fresh_id();
            let on = end.request(&say::fetch(id, "t", start, to));
            let code = refusal(&mut end, on);
            let expected = is_refused.then_some(RequestErrorCode::InvalidRange);
            assert_eq!(code, expected, "{draft:?} {role:?} {start} {to}");
            end.take_events();
            bystander.assert_well(&mut end);
        }
    }
}

// Draft-14: "If no Objects exist in the requested range, the publisher returns FETCH_ERROR with
// code NO_OBJECTS." Drafts 16 and 18: "the publisher opens the unidirectional stream, sends the
// FETCH_HEADER and closes the stream with a FIN".
#[test]
fn a_range_without_objects_is_refused_or_an_empty_stream() {
    for ((draft, role), is_accepted) in cases().flat_map(|case| [false, true].map(|is| (case, is)))
    {
        let what = format!("{draft:?} {role:?} {is_accepted}");
        let mut end = session(draft, role);
        let before = end.engine.usage();
        let fetched = fetched(&mut end, at(0, 0), at(2, 0));
        if is_accepted {
            accept(&mut end, &fetched, at(2, 0)).unwrap();
        }
        finish(&mut end, &fetched);
        if draft == Draft::D14 {
            let code = refusal(&mut end, fetched.on);
            assert_eq!(code, Some(RequestErrorCode::NoObjects), "{what}");
        } else {
            if !is_accepted {
                accept(&mut end, &fetched, at(2, 0)).unwrap();
            }
            let stream = data_stream(&end);
            assert_eq!(end.sent(stream), say::fetch_stream(draft, fetched.id, &[]), "{what}");
            assert!(end.did(&Output::Fin(stream)), "{what}");
            assert!(matches!(end.said(fetched.on)[..], [Message::FetchOk(_)]), "{what}");
        }
        if draft >= Draft::D18 {
            end.fin(fetched.on);
        }
        assert_eq!(end.engine.usage(), before, "{what}");
    }
}

// "The Publisher can destroy fetch state as soon as it has received a FETCH_CANCEL. It MUST
// reset any open streams associated with the FETCH." (14, 16) "as soon as it has received a
// STOP_SENDING. It MUST reset the bidi request stream and unidirectional data stream" (18)
#[test]
fn a_cancelled_fetch_is_reset_at_every_point() {
    for ((draft, role), point) in cases().flat_map(|case| [0, 1, 2, 3].map(|n| (case, n))) {
        for stops_data in [false, true] {
            let what = format!("{draft:?} {role:?} {point} {stops_data}");
            let mut end = session(draft, role);
            let mut bystander = Bystander::new(&mut end);
            let before = end.engine.usage();
            let fetched = fetched(&mut end, at(0, 0), at(2, 0));
            if point & 1 != 0 {
                accept(&mut end, &fetched, at(2, 0)).unwrap();
            }
            let stream = (point & 2 != 0).then(|| {
                put(&mut end, &fetched, at(0, 0), b"x").unwrap();
                data_stream(&end)
            });
            match stream {
                Some(stream) if stops_data => end.stop(stream, 1),
                _ if draft >= Draft::D18 => end.stop(fetched.on, 1),
                _ => {
                    let request_id = fetched.id;
                    end.say(end.control, &Message::FetchCancel(FetchCancel { request_id }));
                }
            }
            if let Some(stream) = stream {
                assert!(end.did(&Output::Reset(stream, 1)), "{what}: {:?}", end.outputs);
            }
            if draft >= Draft::D18 {
                assert!(end.did(&Output::Reset(fetched.on, 1)), "{what}");
                end.reset(fetched.on, 1);
            } else if stops_data && stream.is_some() {
                // The FETCH_CANCEL that must come with it.
                let request_id = fetched.id;
                end.say(end.control, &Message::FetchCancel(FetchCancel { request_id }));
            }
            let request = fetched.request;
            let cancelled = |event: &Event| matches!(event, Event::Cancelled { request: over, .. } if *over == request);
            assert_eq!(end.take_events().iter().filter(|event| cancelled(event)).count(), 1);
            assert_eq!(put(&mut end, &fetched, at(0, 1), b"x"), Err(CommandError::Gone), "{what}");
            assert_eq!(end.engine.usage(), before, "{what}");
            bystander.assert_well(&mut end);
        }
    }
}

// The publisher gives a fetch up: "reset the FETCH data stream with UNKNOWN_OBJECT_STATUS"
// (drafts 16 and 18, "Fetch Handling").
#[test]
fn a_response_can_be_given_up() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        let fetched = fetched(&mut end, at(0, 0), at(2, 0));
        accept(&mut end, &fetched, at(2, 0)).unwrap();
        put(&mut end, &fetched, at(0, 0), b"x").unwrap();
        let stream = data_stream(&end);
        let code = StreamResetCode::UnknownObjectStatus;
        end.with(|engine, _| engine.fetch_response(fetched.request).unwrap().reset(code));
        let code = draft.dialect().reset_code(code);
        assert!(end.did(&Output::Reset(stream, code)), "{draft:?}");
        if draft >= Draft::D18 {
            end.fin(fetched.on);
        }
        assert_eq!(end.engine.usage(), before, "{draft:?} {role:?}");
        bystander.assert_well(&mut end);
    }
}

// "A publisher MUST send fetched groups in the requested group order, either ascending or
// descending. Within each group, objects are sent in Object ID order" (all drafts).
#[test]
fn what_would_be_malformed_is_not_sent() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let fetched = fetched(&mut end, at(1, 2), at(5, 0));
        accept(&mut end, &fetched, at(4, 3)).unwrap();
        for outside in [at(1, 1), at(4, 3), at(5, 0)] {
            let refused = put(&mut end, &fetched, outside, b"x");
            assert!(matches!(refused, Err(CommandError::WrongState(_))), "{draft:?} {outside}");
        }
        put(&mut end, &fetched, at(2, 2), b"x").unwrap();
        let so_far = end.sent(data_stream(&end));
        for disorder in [at(2, 2), at(2, 1), at(1, 9)] {
            let refused = put(&mut end, &fetched, disorder, b"x");
            assert!(matches!(refused, Err(CommandError::WrongState(_))), "{draft:?} {disorder}");
        }
        assert_eq!(end.sent(data_stream(&end)), so_far, "{draft:?} {role:?}");
        put(&mut end, &fetched, at(4, 2), b"x").unwrap();

        let range =
            FetchRange::Standalone { track: say::track("t"), start: at(1, 0), end: at(5, 0) };
        let mut parameters = Parameters::default();
        parameters.group_order = Some(GroupOrder::Descending);
        let down = fetched_with(&mut end, range, parameters);
        put(&mut end, &down, at(4, 2), b"x").unwrap();
        put(&mut end, &down, at(4, 3), b"x").unwrap();
        put(&mut end, &down, at(2, 0), b"x").unwrap();
        let refused = put(&mut end, &down, at(3, 0), b"x");
        assert!(matches!(refused, Err(CommandError::WrongState(_))), "{draft:?}");
    }
}

// "If the requested FETCH End Location was beyond the Largest known (possibly final) Object, End
// Location is {Largest.Group, Largest.Object + 1}" (all drafts, "FETCH_OK"): it is within what
// was asked for.
#[test]
fn an_answer_ends_within_the_range_asked_for() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let fetched = fetched(&mut end, at(1, 2), at(3, 4));
        for outside in [at(1, 2), at(0, 0), at(3, 5), at(3, 0), at(4, 0)] {
            let refused = accept(&mut end, &fetched, outside);
            assert!(matches!(refused, Err(CommandError::WrongState(_))), "{draft:?} {outside}");
        }
        put(&mut end, &fetched, at(2, 5), b"x").unwrap();
        let refused = accept(&mut end, &fetched, at(2, 5));
        assert!(matches!(refused, Err(CommandError::WrongState(_))), "{draft:?} {role:?}");
        assert!(end.said(fetched.on).is_empty());
        accept(&mut end, &fetched, at(2, 6)).unwrap();
        assert!(accept(&mut end, &fetched, at(2, 6)).is_err(), "once");
        assert!(matches!(end.said(fetched.on)[..], [Message::FetchOk(_)]), "{draft:?}");
    }
}

// Drafts 16 and 18: "indicate the range of unknown Objects and continue serving other known
// Objects". Draft 14 has no such thing.
#[test]
fn ends_of_range_are_sent_where_the_draft_has_them() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let fetched = fetched(&mut end, at(0, 0), at(5, 0));
        accept(&mut end, &fetched, at(5, 0)).unwrap();
        put(&mut end, &fetched, at(0, 0), b"x").unwrap();
        let mut say_end = |kind| {
            end.with(|engine, _| {
                engine.fetch_response(fetched.request).unwrap().end_of_range(at(1, 3), kind)
            })
        };
        if draft == Draft::D14 {
            assert_eq!(say_end(EndOfRange::NonExistent), Ok(()));
            assert!(matches!(say_end(EndOfRange::Unknown), Err(CommandError::Encode(_))));
            put(&mut end, &fetched, at(1, 3), b"y").unwrap();
        } else {
            assert_eq!(say_end(EndOfRange::Unknown), Ok(()));
            assert!(put(&mut end, &fetched, at(1, 3), b"y").is_err(), "{role:?}");
            put(&mut end, &fetched, at(1, 4), b"y").unwrap();
        }
    }
}

// `Limits::open_fetches`: one more is refused, and the session goes on.
#[test]
fn one_more_open_fetch_is_refused() {
    for (draft, role) in cases() {
        let mut config = Config::default();
        config.limits.open_fetches = 3;
        let mut end = End::established(draft, role, config);
        let mut bystander = Bystander::new(&mut end);
        let open: Vec<Fetched> = (0..3).map(|_| fetched(&mut end, at(0, 0), at(1, 0))).collect();
        end.said(end.control);
        let id = end.fresh_id();
        let on = end.request(&say::fetch(id, "t", at(0, 0), at(1, 0)));
        let expected = match draft {
            _ if draft >= Draft::D18 => RequestErrorCode::ExcessiveLoad,
            _ => RequestErrorCode::InternalError,
        };
        assert_eq!(refusal(&mut end, on), Some(expected), "{draft:?} {role:?}");
        // One that is over makes room.
        let last = open.last().unwrap().request;
        let refusal = moqt_engine::Refusal::new(RequestErrorCode::DoesNotExist);
        end.with(|engine, now| engine.reject(now, last, refusal)).unwrap();
        fetched(&mut end, at(0, 0), at(1, 0));
        bystander.assert_well(&mut end);
    }
}

// "REQUEST_UPDATE (for a subscription or FETCH)" may carry SUBSCRIBER_PRIORITY (drafts 16 and
// 18); draft 14 updates subscriptions only.
#[test]
fn a_fetch_is_updated_where_the_draft_allows_it() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let fetched = fetched(&mut end, at(0, 0), at(1, 0));
        accept(&mut end, &fetched, at(1, 0)).unwrap();
        end.said(fetched.on);
        let mut parameters = Parameters::default();
        parameters.subscriber_priority = Some(3);
        if draft == Draft::D14 {
            let start = at(0, 0);
            parameters.subscription_filter =
                Some(moqt_engine::model::SubscriptionFilter::AbsoluteStart { start });
            parameters.forward = Some(true);
        }
        let id = end.fresh_id();
        end.say(fetched.on, &say::update(id, fetched.id, parameters));
        if draft == Draft::D14 {
            assert_closed(&end, PROTOCOL_VIOLATION, "SUBSCRIBE_UPDATE of a FETCH");
        } else {
            assert!(matches!(end.said(fetched.on)[..], [Message::RequestOk(_)]), "{draft:?}");
            put(&mut end, &fetched, at(0, 0), b"x").unwrap();
        }
    }
}

// An object may be given in pieces; what is missing of it holds back what follows.
#[test]
fn an_object_is_sent_in_pieces() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let fetched = fetched(&mut end, at(0, 0), at(1, 0));
        accept(&mut end, &fetched, at(1, 0)).unwrap();
        let object = say::fetch_object(at(0, 0), b"abcde");
        let mut respond =
            |f: &dyn Fn(&mut moqt_engine::FetchResponse<'_>) -> Result<(), CommandError>| {
                end.with(|engine, _| f(&mut engine.fetch_response(fetched.request).unwrap()))
            };
        respond(&|response| response.begin_object(&object)).unwrap();
        respond(&|response| response.payload(Bytes::from_static(b"ab"))).unwrap();
        assert!(respond(&|response| response.begin_object(&object)).is_err());
        assert!(respond(&|response| response.payload(Bytes::from_static(b"cdef"))).is_err());
        respond(&|response| response.payload(Bytes::from_static(b"cde"))).unwrap();
        let stream = data_stream(&end);
        let whole = say::fetch_stream(draft, fetched.id, &[(at(0, 0), b"abcde")]);
        assert_eq!(end.sent(stream), whole, "{draft:?} {role:?}");
    }
}

// What waits to be sent is bounded (`Limits::subscription_send`), and the application is told
// when to go on.
#[test]
fn a_response_waits_for_the_subscriber() {
    for draft in moqt_conformance::DRAFTS {
        let mut config = Config::default();
        config.limits.subscription_send = 10_000;
        let mut end = End::established(draft, Role::Server, config);
        end.takes_data = false;
        let before = end.engine.usage();
        let fetched = fetched(&mut end, at(0, 0), at(1, 0));
        accept(&mut end, &fetched, at(1, 0)).unwrap();
        let mut object = 0;
        while put(&mut end, &fetched, at(0, object), &[7; 1000]).is_ok() {
            object += 1;
            assert!(object < 20, "{draft:?}");
        }
        end.take_events();
        end.takes_data = true;
        end.drain();
        let writable = Event::Writable { request: fetched.request };
        assert!(end.take_events().contains(&writable), "{draft:?}");
        put(&mut end, &fetched, at(0, object), b"x").unwrap();
        finish(&mut end, &fetched);
        if draft >= Draft::D18 {
            end.fin(fetched.on);
        }
        assert_eq!(end.engine.usage(), before, "{draft:?}");
    }
}

// "the publisher MUST reset the FETCH data stream" when an update of a FETCH fails (draft-18,
// "Updating Subscriptions"): one that says a token twice does.
#[test]
fn an_update_of_a_fetch_that_fails_resets_it() {
    use moqt_engine::model::AuthToken;
    for role in ROLES {
        let mut end = session(Draft::D18, role);
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        let fetched = fetched(&mut end, at(0, 0), at(1, 0));
        accept(&mut end, &fetched, at(1, 0)).unwrap();
        put(&mut end, &fetched, at(0, 0), b"x").unwrap();
        let stream = data_stream(&end);
        end.said(fetched.on);
        let token = AuthToken::UseValue { token_type: 0, value: Bytes::from_static(b"t") };
        let mut parameters = Parameters::default();
        parameters.authorization_tokens = vec![token.clone(), token];
        let id = end.fresh_id();
        end.say(fetched.on, &say::update(id, fetched.id, parameters));
        assert_eq!(refusal(&mut end, fetched.on), Some(RequestErrorCode::MalformedAuthToken));
        assert!(end.did(&Output::Reset(stream, 1)), "{:?}", end.outputs);
        end.fin(fetched.on);
        assert_eq!(end.engine.usage(), before);
        bystander.assert_well(&mut end);
    }
}

#[test]
fn the_range_is_told_as_it_was_asked_for() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let id = end.fresh_id();
        end.request(&say::fetch(id, "t", at(1, 2), at(3, 0)));
        let events = end.take_events();
        let Some(Event::Request {
            what: IncomingRequest::Fetch { track, range, joining, .. }, ..
        }) = events.last()
        else {
            panic!("{draft:?} {role:?}: {events:?}")
        };
        assert_eq!(*track, say::track("t"));
        assert_eq!(*range, LocationRange::new(at(1, 2), at(3, 0)));
        assert_eq!(*joining, None);
    }
}

// "UNKNOWN_STATUS_IN_RANGE: The requested range contains objects with unknown status." (draft-14,
// "FETCH_ERROR"): a response that is given up for that before its first object is refused with it,
// where the answer waits for one.
#[test]
fn a_response_given_up_before_its_answer_says_why() {
    use RequestErrorCode::{InternalError, UnknownStatusInRange};
    use StreamResetCode::{Cancelled, UnknownObjectStatus};
    for role in ROLES {
        for (reset, code) in
            [(UnknownObjectStatus, UnknownStatusInRange), (Cancelled, InternalError)]
        {
            let mut end = session(Draft::D14, role);
            let before = end.engine.usage();
            let fetched = fetched(&mut end, at(0, 0), at(1, 0));
            accept(&mut end, &fetched, at(1, 0)).unwrap();
            end.with(|engine, _| engine.fetch_response(fetched.request).unwrap().reset(reset));
            assert_eq!(refusal(&mut end, fetched.on), Some(code), "{role:?} {reset:?}");
            assert_eq!(end.engine.usage(), before, "{role:?} {reset:?}");
        }
    }
}
