//! Requests that the peer begins.

use moqt_conformance::say;
use moqt_engine::Accept;
use moqt_engine::model::{
    EndOfRange, JoiningStart, Location, Message, NamespaceInterest, Parameters, RequestKind,
    SubscriptionFilter, TrackProperties,
};

use super::{
    Script, answers_updates, has_request_streams, ours, tells_namespaces,
    updates_subscriptions_only,
};
use crate::play::{ALIAS, Play};

pub(super) fn all() -> Vec<Script> {
    vec![
        subscribe(),
        undecided_update(),
        publish(),
        fetch(),
        joining_fetch(),
        track_status(),
        publish_namespace(),
        subscribe_namespace(),
        subscribe_tracks(),
    ]
}

fn subscribe() -> Script {
    Script::new("their SUBSCRIBE")
        .then(|play| {
            let parameters = play.tokens();
            play.receive(RequestKind::Subscribe, |id| say::subscribe_with(id, "t", parameters));
        })
        .on(has_request_streams, Play::update_comes)
        .then(Play::accept)
        .then(|play| play.stream_goes(0))
        .then(|play| play.stream_goes(1))
        .then(Play::finish_stream)
        .on(answers_updates, ours::send_datagram)
        .then(Play::update_comes)
        .then(|play| {
            play.end_here(0);
        })
}

fn undecided_update() -> Script {
    Script::new("their SUBSCRIBE and an update of it")
        .deciding_updates()
        .then(|play| play.receive(RequestKind::Subscribe, |id| say::subscribe(id, "t")))
        .then(Play::accept)
        .then(Play::update_comes)
        .then(Play::update_comes)
        .on(answers_updates, |play| {
            let key = play.last().key;
            let none = Parameters::default();
            play.end.with(|engine, now| engine.accept_update(now, key, &none)).expect("waits");
        })
}

fn publish() -> Script {
    Script::new("their PUBLISH")
        .then(|play| {
            let parameters = play.tokens();
            play.receive(RequestKind::Publish, |id| {
                let mut publish = say::publish(id, "t", ALIAS);
                if let Message::Publish(publish) = &mut publish {
                    publish.parameters = parameters;
                }
                publish
            });
        })
        .then(|play| play.stream_comes(0))
        .then(Play::accept)
        .then(|play| play.stream_comes(1))
        .then(Play::update_goes)
        .on(answers_updates, Play::update_answered)
        .on(has_request_streams, Play::update_comes)
        .then(|play| ours::done(play, 3))
        .then(Play::continue_stream)
}

/// An object of the FETCH begun last, and the beginning of another.
fn objects_go(play: &mut Play) {
    let key = play.last().key;
    play.end.with(|engine, _| {
        let mut response = engine.fetch_response(key).expect("open");
        let start = response.range().start;
        let object = say::fetch_object(start, b"first");
        response.object(&object, "first".into()).expect("room");
        let next = Location::new(start.group, start.object + 1);
        response.begin_object(&say::fetch_object(next, b"second")).expect("room");
        response.payload("sec".into()).expect("room");
    });
}

fn objects_end(play: &mut Play) {
    let key = play.last().key;
    play.end.with(|engine, _| {
        let mut response = engine.fetch_response(key).expect("open");
        response.payload("ond".into()).expect("room");
        let start = response.range().start;
        let last = Location::new(start.group, start.object + 9);
        response.end_of_range(last, EndOfRange::NonExistent).expect("possible");
        response.finish().expect("whole");
    });
    play.last_mut().ended_here = true;
}

fn fetch() -> Script {
    Script::new("their FETCH")
        .then(|play| {
            play.receive(RequestKind::Fetch, |id| {
                say::fetch(id, "t", Location::new(1, 0), Location::new(4, 0))
            });
        })
        .then(objects_go)
        .then(|play| play.accept_fetch(Location::new(3, 0)))
        .on(answers_updates, Play::update_comes)
        .then(objects_end)
}

fn joining_fetch() -> Script {
    Script::new("their joining FETCH")
        .then(|play| {
            let mut parameters = Parameters::default();
            parameters.subscription_filter = Some(SubscriptionFilter::LargestObject);
            play.receive(RequestKind::Subscribe, |id| say::subscribe_with(id, "t", parameters));
        })
        // It waits for the subscription to be accepted.
        .then(|play| {
            let subscription = play.last().id;
            let id = play.end.fresh_id();
            let on = play.end.request(&say::join(id, subscription, JoiningStart::Relative(1)));
            play.join = Some((id, on));
        })
        .then(|play| {
            let mut accept = Accept::default();
            accept.parameters.largest_object = Some(Location::new(5, 3));
            play.accept_with(accept);
            play.join_comes();
        })
        .then(|play| play.accept_fetch(Location::new(5, 4)))
        .then(objects_go)
        .then(objects_end)
}

fn track_status() -> Script {
    Script::new("their TRACK_STATUS")
        .then(|play| play.receive(RequestKind::TrackStatus, |id| say::track_status(id, "t")))
        .then(Play::accept)
}

fn publish_namespace() -> Script {
    Script::new("their PUBLISH_NAMESPACE")
        .then(|play| {
            play.receive(RequestKind::PublishNamespace, |id| say::publish_namespace(id, "test"));
        })
        .then(Play::accept)
        .on(answers_updates, Play::update_comes)
}

fn subscribe_namespace() -> Script {
    Script::new("their SUBSCRIBE_NAMESPACE")
        .then(|play| {
            let draft = play.draft;
            play.receive(RequestKind::SubscribeNamespace, |id| {
                say::subscribe_namespace(draft, id, "pre", NamespaceInterest::Namespaces)
            });
        })
        .then(Play::accept)
        .on(tells_namespaces, |play| tell(play, "pre-one"))
        .on(tells_namespaces, |play| tell(play, "pre-two"))
        .on(tells_namespaces, |play| {
            let (key, one) = (play.last().key, say::namespace("pre-one"));
            play.end.with(|engine, now| engine.namespace_done(now, key, &one)).expect("told");
        })
        .on(answers_updates, Play::update_comes)
        // Namespaces have requests of their own here.
        .on(updates_subscriptions_only, |play| {
            play.begin(RequestKind::PublishNamespace, |engine, now| {
                engine.publish_namespace(now, &say::namespace("pre-one"), &Parameters::default())
            });
        })
}

fn tell(play: &mut Play, namespace: &str) {
    let (key, namespace) = (play.last().key, say::namespace(namespace));
    play.end.with(|engine, now| engine.namespace(now, key, &namespace)).expect("asked for");
}

fn subscribe_tracks() -> Script {
    Script::new("their SUBSCRIBE_TRACKS")
        .then(|play| {
            let kind = if has_request_streams(play.draft) {
                RequestKind::SubscribeTracks
            } else {
                RequestKind::SubscribeNamespace
            };
            let draft = play.draft;
            play.receive(kind, |id| {
                say::subscribe_namespace(draft, id, "test", NamespaceInterest::Tracks)
            });
        })
        .then(Play::accept)
        .on(has_request_streams, |play| {
            let (key, track) = (play.last().key, say::track("blocked"));
            play.end.with(|engine, now| engine.publish_blocked(now, key, &track)).expect("asked");
        })
        .then(|play| {
            play.begin(RequestKind::Publish, |engine, now| {
                let none = Parameters::default();
                engine.publish(now, &say::track("t"), &none, &TrackProperties::new())
            });
        })
        .then(|play| play.stream_goes(0))
}
