//! What each end of a subscription does on the wire when it is over.

use moqt_conformance::cases;
use moqt_conformance::end::{End, Output};
use moqt_engine::model::{Message, StreamResetCode};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{Config, Draft, Event, SubgroupOptions, Written};

use crate::{leave, published, subscribed};

fn count(end: &End, is: impl Fn(&Output) -> bool) -> usize {
    end.outputs.iter().filter(|output| is(output)).count()
}

// "It MUST reset any open streams associated with the SUBSCRIBE." (all drafts, "Subscriptions" /
// "Subscription State Management", of a publisher whose subscriber has ended the subscription)
#[test]
fn the_streams_of_a_subscription_that_the_subscriber_ends_are_reset() {
    for (draft, role) in cases() {
        let mut end = End::established(draft, role, Config::default());
        let (request, (id, on)) = published(&mut end, "t");
        let mut open = Vec::new();
        for group in 0..3 {
            let options = SubgroupOptions::new(group);
            let stream = end
                .with(|engine, _| engine.publisher(request).unwrap().open_subgroup(options))
                .unwrap()
                .unwrap();
            let header = ObjectHeader { payload_len: 1, ..ObjectHeader::default() };
            let written =
                end.with(|engine, _| engine.subgroup(stream).unwrap().object(&header, "x".into()));
            assert_eq!(written, Ok(Written::Queued));
            open.push(stream);
        }
        let finished = open.pop().unwrap();
        end.with(|engine, _| engine.subgroup(finished).unwrap().finish()).unwrap();
        leave(&mut end, (id, on));
        for stream in open {
            let name = end.name(stream);
            let resets =
                count(&end, |output| matches!(output, Output::Reset(stream, _) if *stream == name));
            assert_eq!(resets, 1, "{draft:?} {role:?}: {:?}", end.outputs);
            assert!(end.engine.subgroup(stream).is_none(), "{draft:?} {role:?}");
        }
        let finished = end.name(finished);
        assert!(end.did(&Output::Fin(finished)), "{draft:?}: all of it was sent before");
        assert!(end.engine.publisher(request).is_none());
        assert!(end.events.iter().any(|event| matches!(event, Event::Cancelled { .. })));
    }
}

// "Implementations SHOULD cancel requests by abruptly terminating any directions of a stream that
// are still open by resetting or sending STOP_SENDING." (draft-18, "Request Cancellation and
// Rejection"). Drafts 14 and 16 have UNSUBSCRIBE, once.
#[test]
fn a_subscription_is_cancelled_on_the_wire_once() {
    for (draft, role) in cases() {
        let mut end = End::established(draft, role, Config::default());
        let (request, (_, on)) = subscribed(&mut end, "t", 1);
        end.said(on);
        let code = StreamResetCode::Cancelled;
        end.with(|engine, now| engine.cancel(now, request, code)).unwrap();
        assert!(end.with(|engine, now| engine.cancel(now, request, code)).is_err(), "{draft:?}");
        if draft >= Draft::D18 {
            let reset = count(&end, |output| *output == Output::Reset(on, 1));
            let stopped = count(&end, |output| *output == Output::Stop(on, 1));
            assert_eq!((reset, stopped), (1, 1), "{role:?}: {:?}", end.outputs);
            assert_eq!(end.said(on), [], "{role:?}");
        } else {
            let said = end.said(on);
            assert!(matches!(said[..], [Message::Unsubscribe(_)]), "{draft:?}: {said:?}");
        }
    }
}
