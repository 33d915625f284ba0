//! How sessions end, and why there are none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod common;

use std::net::UdpSocket;
use std::time::Duration;

use common::{ENDS, Server, Stack, anywhere, bounded, cases, connect, options, pair};
use moqt_engine::model::{Parameters, SessionError};
use moqt_engine::{CloseReason, Draft};
use moqt_s2n_quic::session::Error;
use moqt_s2n_quic::{
    Client, ClientTls, ConfigError, Congestion, ConnectError, Identity, Scheme, ServerOptions,
    Target, Verify,
};

#[tokio::test]
async fn nobody_there() {
    // Bound and never read: nothing comes back.
    let silent = UdpSocket::bind(anywhere()).unwrap();
    let target: Target = format!("moqt://{}", silent.local_addr().unwrap()).parse().unwrap();
    let (mut client, _) = options();
    client.connect_timeout = Duration::from_millis(300);
    let error = bounded(Client::connect(&target, &client)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Timeout { handshake_complete: false, .. }), "{error}");
    assert!(error.to_string().contains("no answer from 127.0.0.1"), "{error}");
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted() {
    for stack in [Stack::S2n, Stack::Quinn] {
        let (mut client, server) = options();
        let server = Server::bind(stack, &server);
        let target = server.target(Scheme::Quic);
        client.tls = ClientTls::new(Verify::Pinned(vec![[7; 32]]));
        let error = bounded(Client::connect(&target, &client)).await.unwrap_err();
        assert!(matches!(error, ConnectError::Certificate(_)), "{error}");
        assert!(error.to_string().contains("its hash is not the one expected"), "{error}");

        // A chain that leads elsewhere.
        let other = Identity::self_signed([]).unwrap();
        let name = format!("moqt-s2n-ca-{stack:?}-{}.pem", std::process::id());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, other.to_pem()).unwrap();
        client.tls = ClientTls::new(Verify::CaFile(file.clone()));
        let error = bounded(Client::connect(&target, &client)).await.unwrap_err();
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(error, ConnectError::Certificate(_)), "{error}");
    }
}

#[tokio::test]
async fn a_name_that_the_certificate_has_and_others() {
    let identity = Identity::self_signed(["relay.example"]).unwrap();
    let file = std::env::temp_dir().join(format!("moqt-s2n-own-{}.pem", std::process::id()));
    std::fs::write(&file, identity.to_pem()).unwrap();
    let server = Server::bind(Stack::S2n, &ServerOptions::new(identity));
    let (mut client, _) = options();
    client.tls = ClientTls::new(Verify::CaFile(file.clone()));
    for name in [None, Some("relay.example".to_owned()), Some("localhost".to_owned())] {
        client.server_name = name;
        bounded(Client::connect(&server.target(Scheme::Quic), &client)).await.unwrap();
    }
    client.server_name = Some("other.example".to_owned());
    let error = bounded(Client::connect(&server.target(Scheme::Quic), &client)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Certificate(_)), "{error}");
    client.server_name = Some("no name".to_owned());
    let error = bounded(Client::connect(&server.target(Scheme::Quic), &client)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Target(_)), "{error}");
    std::fs::remove_file(&file).unwrap();
}

#[tokio::test]
async fn no_draft_in_common() {
    for (client_stack, server_stack) in ENDS {
        let (mut client, mut server) = options();
        server.drafts = vec![Draft::D14];
        let server = Server::bind(server_stack, &server);
        client.drafts = vec![Draft::D16, Draft::D18];
        client.connect_timeout = Duration::from_millis(500);
        let error = bounded(connect(client_stack, &server.target(Scheme::Quic), &client))
            .await
            .unwrap_err();
        match server_stack {
            Stack::Quinn => assert!(matches!(error, ConnectError::NoCommonDraft { .. }), "{error}"),
            // s2n-quic says nothing.
            Stack::S2n => {
                assert!(matches!(error, ConnectError::Timeout { .. }), "{error}");
                assert!(error.to_string().contains("none of the drafts offered"), "{error}");
            }
        }
        client.connect_timeout = Duration::from_secs(20);
        // The newest in common is chosen otherwise.
        client.drafts = Draft::ALL.to_vec();
        let session =
            bounded(connect(client_stack, &server.target(Scheme::Quic), &client)).await.unwrap();
        assert_eq!(session.draft(), Draft::D14);
    }
}

#[tokio::test]
async fn one_connection_more_than_there_may_be() {
    for (client_stack, server_stack) in ENDS {
        let (client, mut server) = options();
        server.connections.total = 2;
        let server = Server::bind(server_stack, &server);
        let target = server.target(Scheme::Quic);
        let mut sessions = Vec::new();
        for _ in 0..2 {
            sessions.push(bounded(connect(client_stack, &target, &client)).await.unwrap());
        }
        let error = bounded(connect(client_stack, &target, &client)).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::Refused(_)),
            "{client_stack:?} and {server_stack:?}: {error}"
        );
    }
}

#[tokio::test]
async fn options_that_s2n_quic_does_not_have_are_errors() {
    let (client, _) = options();
    let mut new_reno = client.clone();
    new_reno.transport.congestion = Congestion::NewReno;
    let mut large_window = client;
    large_window.transport.receive_window = Some(1 << 40);
    for options in [new_reno, large_window] {
        let error = Client::bind(anywhere(), Scheme::Quic, &options).unwrap_err();
        assert!(matches!(error, ConnectError::Config(ConfigError::Transport(_))), "{error}");
    }
}

#[tokio::test]
async fn the_close_code_reaches_the_peer() {
    for case in cases() {
        for from_client in [true, false] {
            let (client, server, _server) = pair(case).await;
            let (ours, theirs) = if from_client { (client, server) } else { (server, client) };
            ours.close(SessionError::Unauthorized, "no ticket");
            let reason = bounded(theirs.closed()).await;
            let CloseReason::Peer { error, .. } = reason else { panic!("{case:?}: {reason}") };
            assert_eq!(error, SessionError::Unauthorized, "{case:?}");
            // Whatever is asked of a closed session says so.
            let asked = bounded(theirs.subscribe("a--b".parse().unwrap(), Parameters::default()));
            assert!(matches!(asked.await, Err(Error::Closed(_))));
            let asked = bounded(ours.subscribe("a--b".parse().unwrap(), Parameters::default()));
            assert!(asked.await.is_err());
            assert!(matches!(bounded(ours.closed()).await, CloseReason::Local { .. }));
        }
    }
}

#[tokio::test]
async fn the_last_handle_closes_the_session() {
    for case in cases() {
        let (client, server, _server) = pair(case).await;
        drop(client);
        let reason = bounded(server.closed()).await;
        assert!(reason.is_clean(), "{case:?}: {reason}");
    }
}

#[tokio::test]
async fn many_sessions_share_a_socket() {
    let (client, server) = options();
    let server = Server::bind(Stack::S2n, &server);
    let target = server.target(Scheme::Quic);
    let client = Client::bind(anywhere(), Scheme::Quic, &client).unwrap();
    let mut sessions = Vec::new();
    for _ in 0..5 {
        let (made, accepted) =
            bounded(async { tokio::join!(client.session(&target), server.accept()) }).await;
        let made = made.unwrap();
        assert_eq!(accepted.remote_address(), Some(client.local_addr()));
        assert_eq!(made.remote_address(), Some(server.local_addr()));
        assert_eq!(accepted.info().path.as_deref(), Some(&b"/path?query"[..]));
        sessions.push((made, accepted));
    }
    // Sessions outlive what they were made from.
    drop((client, server));
    for (made, accepted) in sessions {
        assert!(made.close_reason().is_none());
        drop(made);
        assert!(bounded(accepted.closed()).await.is_clean());
    }
}

#[tokio::test]
async fn a_server_that_is_dropped_closes_what_nobody_has_accepted() {
    let (client, server) = options();
    let server = Server::bind(Stack::S2n, &server);
    let session =
        bounded(connect(Stack::S2n, &server.target(Scheme::Quic), &client)).await.unwrap();
    drop(server);
    assert!(bounded(session.closed()).await.is_clean());
}

#[tokio::test]
async fn a_peer_that_vanishes_is_given_up_after_the_idle_timeout() {
    // It is the transport's matter, and takes its time.
    for case in cases().filter(|case| case.draft == Draft::ALL[0]) {
        let (mut client, server) = options();
        client.drafts = vec![case.draft];
        client.transport.idle_timeout = Duration::from_secs(2);
        // A runtime that ends takes its side with it.
        let theirs = tokio::runtime::Runtime::new().unwrap();
        let (client_stack, server_stack) = case.ends;
        let (address, listening) = std::sync::mpsc::channel();
        let accepted = theirs.spawn(async move {
            let server = Server::bind(server_stack, &server);
            address.send(server.target(case.scheme)).unwrap();
            server.accept().await
        });
        let target = tokio::task::spawn_blocking(move || listening.recv().unwrap()).await.unwrap();
        let session = bounded(connect(client_stack, &target, &client)).await.unwrap();
        let accepted = bounded(accepted).await.unwrap();
        theirs.shutdown_background();
        let reason = bounded(session.closed()).await;
        assert!(matches!(reason, CloseReason::Transport { .. }), "{case:?}: {reason}");
        // What is left of the session says that nothing moves any more.
        assert!(bounded(accepted.closed()).await.to_string().contains("runtime"), "{case:?}");
    }
}

#[tokio::test]
async fn signs_of_life_keep_a_session() {
    let (mut client, mut server) = options();
    client.transport.idle_timeout = Duration::from_secs(2);
    server.transport.keep_alive = None;
    let server = Server::bind(Stack::S2n, &server);
    let target = server.target(Scheme::Quic);
    client.transport.keep_alive = Some(Duration::from_millis(100));
    let lives = bounded(Client::connect(&target, &client)).await.unwrap();
    client.transport.keep_alive = None;
    let dies = bounded(Client::connect(&target, &client)).await.unwrap();
    // The younger one is given up first.
    let reason = bounded(dies.closed()).await;
    assert!(matches!(reason, CloseReason::Transport { .. }), "{reason}");
    assert!(lives.close_reason().is_none());
}

#[test]
fn a_program_may_end_when_its_session_is_closed() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for case in cases().filter(|case| matches!(case.ends.0, Stack::S2n)) {
        let (stays, leaves) = (runtime(), runtime());
        let (mut client, server) = options();
        client.drafts = vec![case.draft];
        let server = stays.block_on(async { Server::bind(case.ends.1, &server) });
        let target = server.target(case.scheme);
        let (established, is_established) = std::sync::mpsc::channel();
        let accepted = std::thread::spawn(move || {
            stays.block_on(async {
                let session = bounded(server.accept()).await;
                established.send(()).unwrap();
                bounded(session.closed()).await
            })
        });
        let session = leaves.block_on(bounded(Client::connect(&target, &client))).unwrap();
        let accepting = leaves.spawn_blocking(move || is_established.recv().unwrap());
        leaves.block_on(accepting).unwrap();
        session.close(SessionError::Unauthorized, "leaving");
        leaves.block_on(bounded(session.closed()));
        drop(leaves);
        let reason = accepted.join().unwrap();
        let CloseReason::Peer { error, .. } = reason else { panic!("{case:?}: {reason}") };
        assert_eq!(error, SessionError::Unauthorized, "{case:?}");
    }
}
