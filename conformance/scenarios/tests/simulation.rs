//! What only the network in memory can show.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

use std::sync::Arc;

use bytes::Bytes;
use moqt_engine::model::{Location, Parameters, PublishDoneCode, SessionError};
use moqt_engine::{Accept, CloseReason, Config, Draft, MoqtConnection, Role, Transport};
use moqt_loopback::{LinkConfig, Simulation};
use moqt_scenarios::{accept_subscribe, payload, track, write_group};

/// Several tasks, each with a track, on a link of the seed's making; a hash of all that happened,
/// with times.
fn several_tracks(draft: Draft, seed: u64) -> u64 {
    let simulation = Simulation::new(seed);
    let [client, server] = [Role::Client, Role::Server].map(|role| {
        let config = Arc::new(Config::default());
        MoqtConnection::new(role, draft, Transport::Quic, config, simulation.now())
    });
    let (client, server) = simulation.connect(client, server, LinkConfig::seeded(seed));
    let run = simulation.run(async {
        let (client, server) = (client.await.unwrap(), server.await.unwrap());
        let publishing = server.clone();
        let spawner = simulation.clone();
        simulation.spawn(async move {
            loop {
                let request = accept_subscribe(&publishing).await;
                let publication = request.accept(Accept::default()).unwrap();
                spawner.spawn(async move {
                    for group in 0..3 {
                        write_group(&publication, group, 0..10).await;
                    }
                    publication.done(PublishDoneCode::TrackEnded, "");
                });
            }
        });
        let mut tasks = Vec::new();
        for number in 0..4 {
            let session = client.clone();
            tasks.push(simulation.spawn(async move {
                let track = track(&number.to_string());
                let pending = session.subscribe(track, Parameters::default());
                let mut subscription = pending.await.unwrap();
                let mut seen = Vec::new();
                while let Some(object) = subscription.next_object().await.unwrap() {
                    assert_eq!(object.payload, payload(object.location));
                    seen.push(object.location);
                }
                seen.sort();
                seen
            }));
        }
        let all = (0..3).flat_map(|group| (0..10).map(move |id| Location::new(group, id)));
        let all: Vec<_> = all.collect();
        for task in tasks {
            assert_eq!(task.await, all);
        }
    });
    assert_eq!(run, Some(()), "{draft}, seed {seed}: somebody waits in vain");
    simulation.with_network(|network| network.raw_trace_hash())
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for draft in Draft::ALL {
        let runs: Vec<_> = (0..10).map(|seed| several_tracks(draft, seed)).collect();
        let again: Vec<_> = (0..10).map(|seed| several_tracks(draft, seed)).collect();
        assert_eq!(runs, again, "{draft}");
        let mut different = runs;
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), 10, "{draft}");
    }
}

#[test]
fn waiting_in_vain_is_told() {
    let simulation = Simulation::new(0);
    assert_eq!(simulation.run(std::future::pending::<()>()), None);
}

// draft-18, "AUTHORITY" and "PATH": each "MUST NOT be used" over WebTransport, and the session "MUST
// be closed" with its error if it is.
#[test]
fn path_and_authority_in_the_setup_are_refused_over_webtransport() {
    for draft in Draft::ALL {
        let mut path = Config::default();
        path.path = Some(Bytes::from_static(b"/live"));
        let mut authority = Config::default();
        authority.authority = Some(Bytes::from_static(b"relay.example"));
        for (config, expected) in
            [(path, SessionError::InvalidPath), (authority, SessionError::InvalidAuthority)]
        {
            let simulation = Simulation::new(0);
            let new = |role, transport, config| {
                MoqtConnection::new(role, draft, transport, Arc::new(config), simulation.now())
            };
            // The client takes it for raw QUIC.
            let client = new(Role::Client, Transport::Quic, config);
            let server = new(Role::Server, Transport::WebTransport, Config::default());
            let (client, server) = simulation.connect(client, server, LinkConfig::default());
            let reason = simulation.run(async {
                let client =
                    async { client.await.map(|session| async move { session.closed().await }) };
                let (_, server) = tokio::join!(client, server);
                server.err()
            });
            let Some(Some(CloseReason::Local { error, .. })) = reason else {
                panic!("{draft}: {reason:?}")
            };
            assert_eq!(error, expected, "{draft}");
        }
    }
}
