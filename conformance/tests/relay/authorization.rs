//! Who may have what, and who may publish it (draft-18, "Subscriber Interactions" and "Publisher
//! Interactions").

use bytes::Bytes;
use moqt_conformance::DRAFTS;
use moqt_engine::Draft;
use moqt_engine::model::{
    AuthToken, Location, LocationRange, NamespaceInterest, Parameters, RequestErrorCode,
    TrackProperties,
};
use moqt_loopback::RelayOptions;
use moqt_relay::{Ask, Permission, Verdict};
use moqt_session::Error;

use crate::stage::{
    Stage, accept_subscribe, namespace, prefix, publish_namespace, refusal, track, write_group,
};

const TOKEN: &[u8] = b"of somebody who may";

fn has_token(ask: &Ask<'_>) -> bool {
    let is_it = |token: &AuthToken| token.value() == Some((0, &Bytes::from_static(TOKEN)));
    ask.tokens.iter().any(is_it)
}

fn stage(seed: u64, authorize: fn(&Ask<'_>) -> Verdict) -> Stage {
    let mut options = RelayOptions::default();
    options.shards = 1 + u16::try_from(seed % 3).unwrap();
    options.authorize = authorize;
    Stage::with(seed, options)
}

fn with_token() -> Parameters {
    let mut parameters = Parameters::default();
    let value = Bytes::from_static(TOKEN);
    parameters.authorization_tokens.push(AuthToken::UseValue { token_type: 0, value });
    parameters
}

/// "Relays MUST ensure subscribers are authorized to access the content associated with the Track";
/// "Relays that aggregate subscriptions from multiple downstream subscribers MUST ensure each
/// subscriber is independently authorized": whatever the relay has already, and got for others.
#[test]
fn each_subscriber_needs_to_be_authorized() {
    let rules = |ask: &Ask<'_>| match ask.what {
        Permission::Publish | Permission::PublishNamespace => Verdict::ALLOWED,
        _ if has_token(ask) => Verdict::ALLOWED,
        _ => Verdict::unauthorized(),
    };
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        for seed in 0..3 {
            let stage = stage(number as u64 + seed, rules);
            stage.run(async {
                let publisher = stage.client(draft).await;
                let _published = publish_namespace(&publisher).await;
                let (first, second) = (stage.client(draft).await, stage.client(draft).await);
                let pending = first.subscribe(track("closed"), with_token());
                let publication = accept_subscribe(&publisher).await;
                let mut subscription = pending.await.unwrap();
                write_group(&publication, 0, 1).await;
                subscription.next_object().await.unwrap().unwrap();
                let unauthorized = |code| {
                    assert_eq!(code, RequestErrorCode::Unauthorized, "{draft:?}, seed {seed}");
                };
                // The same session may not, either, unless it says why each time.
                for session in [&second, &first] {
                    let range = LocationRange::to_last(Location::ZERO, Location::ZERO);
                    let plain = Parameters::default;
                    let fetched = session.fetch(track("closed"), range, plain()).await;
                    unauthorized(refusal(fetched));
                    unauthorized(refusal(session.track_status(track("closed"), plain()).await));
                    for interest in [NamespaceInterest::Namespaces, NamespaceInterest::Tracks] {
                        let asked = session.subscribe_namespace(prefix(), interest, plain()).await;
                        unauthorized(refusal(asked));
                    }
                    unauthorized(refusal(session.subscribe(track("other"), plain()).await));
                }
                let refused = second.subscribe(track("closed"), Parameters::default()).await;
                unauthorized(refusal(refused));
                assert!(stage.nothing_comes(publisher.accept_request()).await, "{draft:?}");
                let granted = second.subscribe(track("closed"), with_token()).await;
                let _granted = granted.unwrap();
            });
        }
    }
}

/// "Relays MUST verify that publishers are authorized to publish the set of Tracks whose Track
/// Namespace matches the namespace in a PUBLISH_NAMESPACE, or the Full Track Name in PUBLISH. Relays
/// MUST NOT assume that an authorized publisher of a single Track is implicitly authorized to publish
/// any other Tracks or Track Namespaces."
#[test]
fn a_publisher_may_publish_what_it_is_authorized_for_and_nothing_else() {
    let rules = |ask: &Ask<'_>| match ask.what {
        Permission::Publish if ask.name != Some(b"mine") => Verdict::unauthorized(),
        Permission::PublishNamespace => Verdict::unauthorized(),
        _ => Verdict::ALLOWED,
    };
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        for seed in 0..3 {
            let stage = stage(number as u64 + seed, rules);
            stage.run(async {
                let publisher = stage.client(draft).await;
                let offer = |name| {
                    let (parameters, properties) = (Parameters::default(), TrackProperties::new());
                    publisher.publish(track(name), parameters, properties)
                };
                let mine = offer("mine").await.unwrap();
                mine.accepted().await.unwrap();
                let unauthorized = |code| {
                    assert_eq!(code, RequestErrorCode::Unauthorized, "{draft:?}, seed {seed}");
                };
                let other = offer("other").await.unwrap();
                match other.accepted().await {
                    Err(Error::Rejected(error)) => unauthorized(error.code),
                    answer => panic!("{draft:?}: {answer:?}"),
                }
                let refused = publisher.publish_namespace(namespace(), Parameters::default()).await;
                unauthorized(refusal(refused));
                // It is asked for nothing that it may not give.
                let subscriber = stage.client(draft).await;
                let refused = subscriber.subscribe(track("other"), Parameters::default()).await;
                let code = refusal(refused);
                if draft >= Draft::D16 {
                    assert_eq!(code, RequestErrorCode::DoesNotExist, "{draft:?}");
                }
                let subscription = subscriber.subscribe(track("mine"), Parameters::default()).await;
                let mut subscription = subscription.unwrap();
                write_group(&mine, 0, 1).await;
                subscription.next_object().await.unwrap().unwrap();
                assert!(stage.nothing_comes(publisher.accept_request()).await, "{draft:?}");
            });
        }
    }
}
