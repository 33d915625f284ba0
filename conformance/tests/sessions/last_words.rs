//! Nothing is said of a request after its last word, though something of it is still to be sent.

use std::time::Duration;

use moqt_conformance::end::{End, Name};
use moqt_conformance::{ROLES, drafts_from, say};
use moqt_engine::model::{Parameters, RequestErrorCode, RequestKind, TrackProperties};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{Config, Draft, Event, RequestKey, Role, SubgroupOptions, Usage};

const EXPIRES: Duration = Duration::from_secs(1);

/// A PUBLISH that has expired before it was answered, and of which the peer's transport has still
/// to take an object.
fn expired(draft: Draft, role: Role) -> (End, RequestKey, u64, Name) {
    let mut config = Config::default();
    config.limits.answer_timeout = Some(EXPIRES * 5);
    let mut end = End::established(draft, role, config);
    let mut parameters = Parameters::default();
    parameters.expires = Some(1000);
    let (id, track) = (end.next_own_id(), say::track("t"));
    let properties = TrackProperties::new();
    let request =
        end.with(|engine, now| engine.publish(now, &track, &parameters, &properties)).unwrap();
    let on = end.own_request();
    end.takes_data = false;
    let stream = end
        .with(|engine, _| engine.publisher(request).unwrap().open_subgroup(SubgroupOptions::new(0)))
        .unwrap()
        .unwrap();
    let header = ObjectHeader { payload_len: 1, ..ObjectHeader::default() };
    end.with(|engine, _| {
        let mut subgroup = engine.subgroup(stream).unwrap();
        subgroup.object(&header, "x".into()).unwrap();
        subgroup.finish().unwrap();
    });
    end.wait(EXPIRES * 2);
    assert_eq!(end.take_events(), [Event::Expired { request }], "{draft:?} {role:?}");
    assert_eq!(end.engine.usage().requests, 1, "its object has not been sent");
    (end, request, id, on)
}

// A request is known "until the event that says that it is over": whatever comes of it then, in
// whatever way, is not the application's business.
#[test]
fn nothing_is_said_of_a_publish_that_has_expired() {
    for (draft, role, what) in drafts_from(Draft::D16)
        .flat_map(|draft| ROLES.map(|role| (draft, role)))
        .flat_map(|(draft, role)| (0..5).map(move |what| (draft, role, what)))
    {
        let (mut end, _, id, on) = expired(draft, role);
        let by_stream = draft.dialect().answers_by_stream;
        match what {
            // Its answer does not come in time.
            0 => end.wait(EXPIRES * 10),
            1 => end.say(on, &say::error(id, RequestKind::Publish, RequestErrorCode::Uninterested)),
            2 => {
                end.say(on, &say::ok(id, RequestKind::Publish));
                let update = end.fresh_id();
                end.say(on, &say::update(update, id, Parameters::default()));
            }
            3 if by_stream => end.reset(on, 1),
            3 => end.say(on, &say::unsubscribe(id)),
            _ => {
                let stream = end.outputs.iter().rev().find_map(|output| match output {
                    moqt_conformance::end::Output::Open(name, moqt_engine::Dir::Uni) => Some(*name),
                    _ => None,
                });
                end.stop(stream.unwrap(), 1);
            }
        }
        end.takes_data = true;
        end.drain();
        assert_eq!(end.take_events(), [], "{draft:?} {role:?} {what}");
        assert_eq!(end.closed(), None, "{draft:?} {role:?} {what}");
        end.wait(Duration::from_secs(60));
        assert_eq!(end.take_events(), [], "{draft:?} {role:?} {what}");
        let Usage { requests, send_bytes, .. } = end.engine.usage();
        assert_eq!((requests, send_bytes), (0, 0), "{draft:?} {role:?} {what}");
    }
}
