//! Requests that the connection begins.

use moqt_conformance::say;
use moqt_engine::model::{
    JoiningStart, Location, LocationRange, Message, NamespaceInterest, Parameters, RequestKind,
    SubscriptionFilter, TrackProperties,
};
use moqt_engine::{DatagramOptions, Dir, FetchTarget};

use super::{Script, answers_updates, has_request_streams, tells_namespaces};
use crate::play::{ALIAS, Play};

pub(super) fn all() -> Vec<Script> {
    vec![
        subscribe(),
        publish(),
        fetch(),
        joining_fetch(),
        track_status(),
        publish_namespace(),
        subscribe_namespace(),
        subscribe_tracks(),
    ]
}

/// The PUBLISH_DONE of the peer's, after this many streams.
pub(super) fn done(play: &mut Play, stream_count: u64) {
    let request = play.last();
    play.end.say(request.on, &say::done(request.id, stream_count));
    play.last_mut().done = true;
}

fn subscribe() -> Script {
    Script::new("our SUBSCRIBE")
        .then(|play| {
            let mut parameters = Parameters::default();
            parameters.subscription_filter = Some(SubscriptionFilter::LargestObject);
            play.begin(RequestKind::Subscribe, |engine, now| {
                engine.subscribe(now, &say::track("t"), &parameters)
            });
        })
        // Overtakes the answer.
        .then(|play| play.stream_comes(0))
        .then(|play| play.accepted(|id| say::subscribe_ok(id, ALIAS)))
        .then(|play| play.stream_comes(1))
        .then(Play::continue_stream)
        .on(answers_updates, |play| {
            let datagram = say::datagram(play.draft, ALIAS, Location::new(7, 0), b"datagram");
            play.end.datagram(datagram);
        })
        .then(Play::update_goes)
        .on(answers_updates, Play::update_answered)
        // One subgroup is in the middle of an object, and two have not come.
        .then(|play| done(play, 4))
        .then(|play| play.stream_comes(2))
}

fn publish() -> Script {
    Script::new("our PUBLISH")
        .then(|play| {
            play.begin(RequestKind::Publish, |engine, now| {
                let none = Parameters::default();
                engine.publish(now, &say::track("t"), &none, &TrackProperties::new())
            });
        })
        .then(|play| play.stream_goes(0))
        .then(|play| play.accepted(|id| say::ok(id, RequestKind::Publish)))
        .then(|play| play.stream_goes(1))
        .then(Play::finish_stream)
        .on(answers_updates, send_datagram)
        .then(Play::update_comes)
        .on(has_request_streams, Play::update_goes)
        .on(has_request_streams, Play::update_answered)
        .then(|play| {
            play.end_here(0);
        })
}

/// The application sends a datagram.
pub(super) fn send_datagram(play: &mut Play) {
    let key = play.publication();
    let options = DatagramOptions {
        status: moqt_engine::model::ObjectStatus::Normal,
        ..DatagramOptions::new(Location::new(8, 0))
    };
    play.end.with(|engine, _| {
        let mut publisher = engine.publisher(key).expect("publishing");
        publisher.datagram(options, "datagram".into()).expect("possible");
    });
}

/// The beginning of the stream of the FETCH begun last, up to the middle of its second object.
fn objects_come(play: &mut Play, start: Location) {
    let next = Location::new(start.group, start.object + 1);
    let objects: &[(Location, &[u8])] = &[(start, b"first"), (next, b"the second one")];
    let whole = say::fetch_stream(play.draft, play.last().id, objects);
    let (begin, rest) = whole.split_at(whole.len() - 6);
    let stream = play.end.open_with(Dir::Uni, begin.to_vec());
    play.received.push(stream);
    play.rest = rest.to_vec();
}

fn fetch() -> Script {
    Script::new("our FETCH")
        .then(|play| {
            let range = LocationRange::new(Location::new(1, 0), Location::new(4, 0));
            let target = FetchTarget::Standalone { track: say::track("t"), range };
            play.begin(RequestKind::Fetch, |engine, now| {
                engine.fetch(now, &target, &Parameters::default())
            });
        })
        .then(|play| play.accepted(|id| say::fetch_ok(id, Location::new(3, 0))))
        .then(|play| objects_come(play, Location::new(1, 0)))
        .on(answers_updates, Play::update_goes)
        .on(answers_updates, Play::update_answered)
        .then(Play::continue_stream)
}

fn joining_fetch() -> Script {
    Script::new("our joining FETCH")
        .then(|play| {
            let mut parameters = Parameters::default();
            parameters.subscription_filter = Some(SubscriptionFilter::LargestObject);
            parameters.forward = Some(true);
            play.begin(RequestKind::Subscribe, |engine, now| {
                engine.subscribe(now, &say::track("t"), &parameters)
            });
        })
        .then(|play| {
            let subscription = play.requests[0].key;
            let target = FetchTarget::Joining { subscription, start: JoiningStart::Relative(2) };
            play.begin(RequestKind::Fetch, |engine, now| {
                engine.fetch(now, &target, &Parameters::default())
            });
        })
        // It may come before its answer, too.
        .then(|play| objects_come(play, Location::new(3, 0)))
        .then(|play| {
            let request = play.requests[0];
            let mut ok = say::subscribe_ok(request.id, ALIAS);
            if let Message::SubscribeOk(ok) = &mut ok {
                ok.parameters.largest_object = Some(Location::new(5, 0));
            }
            play.end.say(request.on, &ok);
            play.requests[0].answered = true;
        })
        .then(|play| play.accepted(|id| say::fetch_ok(id, Location::new(5, 1))))
        .then(Play::continue_stream)
}

fn track_status() -> Script {
    Script::new("our TRACK_STATUS")
        .then(|play| {
            play.begin(RequestKind::TrackStatus, |engine, now| {
                engine.track_status(now, &say::track("t"), &Parameters::default())
            });
        })
        .then(|play| play.accepted(|id| say::ok(id, RequestKind::TrackStatus)))
}

fn publish_namespace() -> Script {
    Script::new("our PUBLISH_NAMESPACE")
        .then(|play| {
            play.begin(RequestKind::PublishNamespace, |engine, now| {
                engine.publish_namespace(now, &say::namespace("ns"), &Parameters::default())
            });
        })
        .then(|play| play.accepted(|id| say::ok(id, RequestKind::PublishNamespace)))
        .on(answers_updates, Play::update_goes)
        .on(answers_updates, Play::update_answered)
}

fn subscribe_namespace() -> Script {
    Script::new("our SUBSCRIBE_NAMESPACE")
        .then(|play| {
            play.begin(RequestKind::SubscribeNamespace, |engine, now| {
                let interest = NamespaceInterest::Namespaces;
                engine.subscribe_namespace(
                    now,
                    &say::namespace("pre"),
                    interest,
                    &Parameters::default(),
                )
            });
        })
        .then(|play| play.accepted(|id| say::ok(id, RequestKind::SubscribeNamespace)))
        .on(tells_namespaces, |play| play.end.say(play.last().on, &say::namespace_found("one")))
        .on(tells_namespaces, |play| play.end.say(play.last().on, &say::namespace_found("two")))
        .on(tells_namespaces, |play| play.end.say(play.last().on, &say::namespace_done("one")))
        .on(answers_updates, Play::update_goes)
        .on(answers_updates, Play::update_answered)
}

fn subscribe_tracks() -> Script {
    Script::new("our SUBSCRIBE_TRACKS")
        .then(|play| {
            let kind = if has_request_streams(play.draft) {
                RequestKind::SubscribeTracks
            } else {
                RequestKind::SubscribeNamespace
            };
            play.begin(kind, |engine, now| {
                let interest = NamespaceInterest::Tracks;
                engine.subscribe_namespace(
                    now,
                    &say::namespace("test"),
                    interest,
                    &Parameters::default(),
                )
            });
        })
        .then(|play| {
            let kind = play.last().kind;
            play.accepted(|id| say::ok(id, kind));
        })
        .on(has_request_streams, |play| {
            play.end.say(play.last().on, &say::publish_blocked("--blocked"));
        })
        // A track that was asked for.
        .then(|play| play.receive(RequestKind::Publish, |id| say::publish(id, "t", ALIAS)))
        .then(Play::accept)
}
