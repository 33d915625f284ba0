//! Once a session is over, nothing is begun, changed or heard in it.

use std::time::Duration;

use bytes::Bytes;
use moqt_conformance::end::End;
use moqt_conformance::{cases, say};
use moqt_engine::model::{
    JoiningStart, Location, LocationRange, NamespaceInterest, Parameters, RequestErrorCode,
    SessionError, StreamResetCode, TrackProperties,
};
use moqt_engine::{
    Accept, AcceptFetch, CommandError, Config, FetchRead, FetchTarget, MoqtConnection, Read,
    Refusal, RequestKey, SubgroupOptions, Timestamp, TransportClosed,
};

use crate::published;

/// What each command says. Those for a request of the peer's are given this one.
fn commands(
    engine: &mut MoqtConnection,
    now: Timestamp,
    request: RequestKey,
) -> Vec<(&'static str, Option<CommandError>)> {
    let (track, plain) = (say::track("t"), Parameters::default());
    let namespace = track.namespace();
    let refusal = || Refusal::new(RequestErrorCode::InternalError);
    let (end, no_time) = (Location::new(1, 0), Duration::ZERO);
    let standalone =
        FetchTarget::Standalone { track: track.clone(), range: LocationRange::default() };
    let joining = FetchTarget::Joining { subscription: request, start: JoiningStart::Relative(0) };
    let interest = NamespaceInterest::Namespaces;
    let (error, reset) = (RequestErrorCode::InternalError, StreamResetCode::Cancelled);
    let properties = TrackProperties::new();
    vec![
        ("subscribe", engine.subscribe(now, &track, &plain).err()),
        ("publish", engine.publish(now, &track, &plain, &properties).err()),
        ("track_status", engine.track_status(now, &track, &plain).err()),
        ("fetch", engine.fetch(now, &standalone, &plain).err()),
        ("fetch, joining", engine.fetch(now, &joining, &plain).err()),
        ("publish_namespace", engine.publish_namespace(now, namespace, &plain).err()),
        ("subscribe_namespace", {
            engine.subscribe_namespace(now, namespace, interest, &plain).err()
        }),
        ("accept", engine.accept(now, request, Accept::default()).err()),
        ("accept_fetch", engine.accept_fetch(now, request, AcceptFetch::new(end)).err()),
        ("reject", engine.reject(now, request, refusal()).err()),
        ("cancel", engine.cancel(now, request, reset).err()),
        ("cancel_publish_namespace", {
            engine.cancel_publish_namespace(now, request, error, "").err()
        }),
        ("update", engine.update(now, request, &plain).err()),
        ("accept_update", engine.accept_update(now, request, &plain).err()),
        ("reject_update", engine.reject_update(now, request, refusal()).err()),
        ("namespace", engine.namespace(now, request, namespace).err()),
        ("namespace_done", engine.namespace_done(now, request, namespace).err()),
        ("publish_blocked", engine.publish_blocked(now, request, &track).err()),
        ("goaway", engine.goaway(now, Bytes::new(), no_time).err()),
        ("goaway_request", engine.goaway_request(now, request, Bytes::new(), no_time).err()),
    ]
}

#[test]
fn every_command_says_that_it_is_closed() {
    for (draft, role) in cases() {
        let mut end = End::established(draft, role, Config::default());
        let (request, _) = published(&mut end, "t");
        let options = SubgroupOptions::new(0);
        let stream = end
            .with(|engine, _| engine.publisher(request).unwrap().open_subgroup(options))
            .unwrap()
            .unwrap();
        end.with(|engine, _| engine.close(SessionError::NoError, "enough"));
        assert_eq!(end.closed(), Some(0), "{draft:?} {role:?}");
        end.take_events();
        let outputs = end.outputs.len();
        for (command, error) in end.with(|engine, now| commands(engine, now, request)) {
            assert_eq!(error, Some(CommandError::Closed), "{draft:?} {role:?}: {command}");
        }
        assert!(end.engine.publisher(request).is_none(), "{draft:?} {role:?}");
        assert!(end.engine.subgroup(stream).is_none(), "{draft:?} {role:?}");
        assert!(end.engine.fetch_response(request).is_none(), "{draft:?} {role:?}");
        assert_eq!(end.engine.read(stream, 1), Read::Gone, "{draft:?} {role:?}");
        assert_eq!(end.engine.read_fetch(stream, 1), FetchRead::Gone, "{draft:?} {role:?}");
        end.with(|engine, _| engine.stop(stream, StreamResetCode::Cancelled));
        // It closes once, whoever else has something to say about it.
        end.with(|engine, now| {
            engine.close(SessionError::InternalError, "once more");
            engine.handle_closed(now, TransportClosed::Lost { reason: "too late".to_owned() });
        });
        assert_eq!(end.take_events(), [], "{draft:?} {role:?}");
        assert_eq!(end.outputs.len(), outputs, "{draft:?} {role:?}: {:?}", end.outputs);
    }
}
