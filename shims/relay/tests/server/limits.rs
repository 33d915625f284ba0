//! Who is let in.

use std::time::Duration;

use moqt_engine::Draft;
use moqt_engine::model::AuthToken;
use moqt_quinn_proto::{Client, ConnectError, Identity, ServerTls};

use moqt_relay_server::auth::{Guesses, Rules, Sources, WallClock};

use crate::support::{bounded, publish, start};

#[tokio::test]
async fn connections_of_an_address_are_counted_in_all_shards() {
    let relay = start(2, |options| options.server.connections.per_address = 4);
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(relay.connect(Draft::D18).await);
    }
    let refused = relay.try_connect(Draft::D18).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Refused(_)), "{refused}");
    let report = bounded(relay.relay.report()).await;
    assert_eq!((report.admission.connections, report.admission.refused), (4, 1));
    // The third and the fourth had to prove that they are there.
    assert_eq!(report.admission.retried, 2);
}

#[tokio::test]
async fn who_has_guessed_too_often_is_not_let_in() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("server");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("guessed.toml");
    let text = "[[token]]\ntoken = 'right'\npermissions = ['all']\nnamespaces = ['**']\n\
                [sessions]\nneed_token = true\n";
    std::fs::write(&file, text).unwrap();
    let sources = Sources { file: Some(file), ..Sources::default() };
    let guesses = Guesses::default();
    // It stands still: no attempt comes back.
    let clock = WallClock::new(|| Duration::from_secs(1_000_000_000));
    let rules = Rules::load(&sources, clock.clone(), guesses.clone()).unwrap();
    let relay = start(2, |options| {
        options.rules = rules;
        options.guesses = guesses;
        options.clock = clock;
    });
    let connect = async |token: &'static str| {
        let mut options = relay.options(Draft::D18);
        let value = token.as_bytes().into();
        let token = AuthToken::UseValue { token_type: 0, value };
        options.engine.authorization_tokens = vec![token];
        bounded(Client::connect(&relay.target("moqt"), &options)).await
    };
    let good = connect("right").await.unwrap();
    for _ in 0..Guesses::ATTEMPTS {
        // It may be closed before the client hears of the session, or after.
        if let Ok(session) = connect("wrong").await {
            bounded(session.closed()).await;
        }
    }
    let refused = connect("right").await.unwrap_err();
    assert!(matches!(refused, ConnectError::Refused(_)), "{refused}");
    // What is there goes on.
    drop(publish(&good, "t").await);
}

#[tokio::test]
async fn another_certificate_is_shown_to_those_who_come_later() {
    let mut relay = start(2, |_| {});
    let before = relay.connect(Draft::D18).await;
    let identity = Identity::self_signed([]).unwrap();
    let hash = identity.sha256();
    relay.relay.set_tls(&ServerTls::new(identity)).unwrap();
    // When each shard has answered this, it has heard of the other.
    bounded(relay.relay.report()).await;
    assert!(relay.try_connect(Draft::D18).await.is_err());
    relay.hash = hash;
    let after = relay.connect(Draft::D18).await;
    for session in [before, after] {
        drop(publish(&session, "a").await);
    }
}
