//! Requests and updates of the peer's that say what no endpoint of ours would write.

use std::time::Duration;

use moqt_conformance::{ROLES, drafts_from, say};
use moqt_engine::model::{Message, Parameters, RequestErrorCode};
use moqt_engine::{Accept, Config, Dir, Draft, Event, Role};

use crate::updates::{from_peer, range, serving, with_filter, with_priority};
use crate::{Bystander, PROTOCOL_VIOLATION, assert_closed, session};

/// TOO_MANY_REQUESTS in drafts 14 and 16.
const TOO_MANY_REQUESTS: u64 = 0x7;

/// Drafts before 18, where an End Group is not a difference from the start.
fn absolute_cases() -> impl Iterator<Item = (Draft, Role)> {
    [Draft::D14, Draft::D16].into_iter().flat_map(|draft| ROLES.map(|role| (draft, role)))
}

/// The bytes of a message with a range of groups 5 to 6, made to end at group 4.
fn backwards(draft: Draft, message: &Message) -> Vec<u8> {
    let mut bytes = say::message(draft, message);
    let is_plus_one = matches!(message, Message::RequestUpdate(_)) && draft < Draft::D16;
    let end = 6 + u8::from(is_plus_one);
    let at = bytes.iter().rposition(|byte| *byte == end).expect("an End Group");
    bytes[at] -= 2;
    bytes
}

// "`End Group` MUST specify the same or a larger Group than specified in Start"; "If a publisher
// cannot satisfy the requested start or end [...] it SHOULD send a SUBSCRIBE_ERROR with code
// INVALID_RANGE" (draft-14; draft-16 likewise).
#[test]
fn a_subscription_that_ends_before_it_starts_is_refused() {
    for (draft, role) in absolute_cases() {
        let mut end = session(draft, role);
        let id = end.fresh_id();
        let message = say::subscribe_with(id, "t", with_filter(range(5, 6)));
        end.data(end.control, backwards(draft, &message));
        let said = end.said(end.control);
        assert!(
            matches!(&said[..], [.., Message::RequestError(error)]
                if error.request_id == Some(id) && error.code == RequestErrorCode::InvalidRange),
            "{draft:?} {role:?}: {said:?}"
        );
        assert_eq!(end.closed(), None);
        assert_eq!(end.engine.usage().requests, 0, "{draft:?} {role:?}");
    }
}

// "Like SUBSCRIBE, End Group MUST be greater than or equal to the Group specified in `Start`"
// (draft-14, SUBSCRIBE_UPDATE), where an update cannot be refused. From draft 16 on it can.
#[test]
fn an_update_that_ends_before_it_starts_is_not_put_in_force() {
    for (draft, role) in absolute_cases() {
        let mut end = session(draft, role);
        let (_, id, on) = serving(&mut end, Parameters::default(), Accept::default());
        let update = end.fresh_id();
        let parameters = from_peer(draft, with_filter(range(5, 6)));
        end.data(on, backwards(draft, &say::update(update, id, parameters)));
        if draft < Draft::D16 {
            assert_closed(&end, PROTOCOL_VIOLATION, "an update to groups 5 to 4");
            continue;
        }
        let said = end.said(on);
        assert!(
            matches!(&said[..], [Message::RequestError(error), Message::PublishDone(_)]
                if error.code == RequestErrorCode::InvalidRange),
            "{draft:?} {role:?}: {said:?}"
        );
    }
}

// "equal to or larger than this is received by the endpoint that sent the MAX_REQUEST_ID in any
// request message (PUBLISH_NAMESPACE, FETCH, SUBSCRIBE, SUBSCRIBE_NAMESPACE, SUBSCRIBE_UDPATE or
// TRACK_STATUS), the endpoint MUST close the session with an error of TOO_MANY_REQUESTS" (draft-14).
#[test]
fn an_update_beyond_the_credit_closes() {
    for (draft, role) in absolute_cases() {
        let mut end = session(draft, role);
        let (_, id, on) = serving(&mut end, Parameters::default(), Accept::default());
        let far = end.fresh_id() + (1 << 40);
        let parameters = from_peer(draft, with_priority(3));
        end.say(on, &say::update(far, id, parameters));
        assert_closed(&end, TOO_MANY_REQUESTS, "an update far beyond the credit");
    }
}

// The rest of a message does not matter where nothing is answered any more.
#[test]
fn half_a_message_on_a_stream_that_is_over_does_not_close() {
    for (draft, role) in drafts_from(Draft::D18).flat_map(|draft| ROLES.map(|role| (draft, role))) {
        let mut config = Config::default();
        config.limits.stream_end_timeout = Duration::from_secs(100);
        let mut end = moqt_conformance::end::End::established(draft, role, config);
        let mut bystander = Bystander::new(&mut end);
        let id = end.fresh_id();
        let on = end.open_with(Dir::Bi, say::message(draft, &say::subscribe(id, "t")));
        let request = crate::requested(&mut end);
        let refusal = moqt_engine::Refusal::new(RequestErrorCode::DoesNotExist);
        end.with(|engine, now| engine.reject(now, request, refusal)).unwrap();
        let update = end.fresh_id();
        let bytes = say::message(draft, &say::update(update, id, with_priority(3)));
        end.data(on, bytes[..bytes.len() - 1].to_vec());
        end.wait(Duration::from_secs(30));
        assert_eq!(end.closed(), None, "{draft:?} {role:?}");
        assert!(!end.events.iter().any(|event| matches!(event, Event::Closed { .. })));
        end.data(on, bytes[bytes.len() - 1..].to_vec());
        end.fin(on);
        bystander.assert_well(&mut end);
    }
}
