//! Connecting, and why it fails: with each pair of stacks over each way of carrying sessions. What
//! a server learns of where its client wants to go.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::Duration;

use moqt_engine::{CloseReason, Draft, Transport};
use moqt_quic::{ClientTls, ConnectError, Identity, Scheme, Target, Verify};
use moqt_scenarios::{Server, Stack, anywhere, connect, every_pair, in_time, options};

/// A file that goes with the test.
struct PemFile(PathBuf);

impl PemFile {
    fn new(name: &str, identity: &Identity) -> Self {
        let file = format!("moqt-scenario-{name}-{}.pem", std::process::id());
        let path = std::env::temp_dir().join(file);
        std::fs::write(&path, identity.to_pem()).unwrap();
        Self(path)
    }

    fn trusted(&self) -> ClientTls {
        ClientTls::new(Verify::CaFile(self.0.clone()))
    }
}

impl Drop for PemFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn a_certificate_with_another_hash_is_not_accepted() {
    every_pair(async |client, server, scheme| {
        let (mut ours, theirs) = options();
        let server = Server::bind(server, &theirs);
        ours.tls = ClientTls::new(Verify::Pinned(vec![[7; 32]]));
        let error = connect(client, &server.target(scheme, "/"), &ours).await.unwrap_err();
        assert!(matches!(error, ConnectError::Certificate(_)), "{error:?}");
        let said = error.to_string();
        assert!(said.contains("its hash is not the one expected"), "{said}");
        assert!(said.contains("pin its hash"), "{said}");
    })
    .await;
}

#[tokio::test]
async fn a_certificate_of_an_unknown_issuer_is_not_accepted() {
    let other = PemFile::new("other", &Identity::self_signed([]).unwrap());
    every_pair(async |client, server, scheme| {
        let (mut ours, theirs) = options();
        let server = Server::bind(server, &theirs);
        ours.tls = other.trusted();
        let error = connect(client, &server.target(scheme, "/"), &ours).await.unwrap_err();
        assert!(matches!(error, ConnectError::Certificate(_)), "{error:?}");
        assert!(error.to_string().contains("name its CA"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_certificate_is_accepted_for_its_names_only() {
    let identity = Identity::self_signed(["relay.example"]).unwrap();
    let own = PemFile::new("own", &identity);
    every_pair(async |client, server, scheme| {
        let (mut ours, mut theirs) = options();
        theirs.tls.identity = identity.clone();
        let server = Server::bind(server, &theirs);
        ours.tls = own.trusted();
        for name in [None, Some("relay.example".to_owned()), Some("localhost".to_owned())] {
            ours.server_name = name;
            connect(client, &server.target(scheme, "/"), &ours).await.unwrap();
        }
        ours.server_name = Some("other.example".to_owned());
        let error = connect(client, &server.target(scheme, "/"), &ours).await.unwrap_err();
        assert!(matches!(error, ConnectError::Certificate(_)), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn no_draft_in_common() {
    every_pair(async |client, server_stack, scheme| {
        let (mut ours, mut theirs) = options();
        theirs.drafts = vec![Draft::D14];
        let server = Server::bind(server_stack, &theirs);
        ours.drafts = vec![Draft::D16, Draft::D18];
        let silent = (server_stack, scheme) == (Stack::S2n, Scheme::Quic);
        if silent {
            ours.connect_timeout = Duration::from_millis(500);
        }
        let error = connect(client, &server.target(scheme, "/"), &ours).await.unwrap_err();
        let said = error.to_string();
        match (silent, scheme) {
            // s2n-quic does not answer then.
            (true, _) => {
                assert!(matches!(error, ConnectError::Timeout { .. }), "{error:?}");
                assert!(said.contains("none of the drafts offered"), "{said}");
            }
            (_, Scheme::Quic) => {
                assert!(matches!(error, ConnectError::NoCommonDraft { .. }), "{error:?}");
                assert!(said.contains("draft-16") && said.contains("draft-18"), "{said}");
            }
            (_, Scheme::WebTransport) => {
                assert!(matches!(error, ConnectError::Status { status: 400, .. }), "{error:?}");
                assert!(said.contains("draft-16") && said.contains("draft-18"), "{said}");
            }
        }
        // The newest in common is chosen otherwise.
        ours.connect_timeout = Duration::from_secs(20);
        ours.drafts = Draft::ALL.to_vec();
        let session = connect(client, &server.target(scheme, "/"), &ours).await.unwrap();
        assert_eq!(session.draft(), Draft::D14);
    })
    .await;
}

#[tokio::test]
async fn nobody_listens() {
    for client in [Stack::Quinn, Stack::S2n] {
        for scheme in ["moqt", "https"] {
            // Bound and never read: nothing comes back.
            let silent = UdpSocket::bind(anywhere()).unwrap();
            let url = format!("{scheme}://{}", silent.local_addr().unwrap());
            let target: Target = url.parse().unwrap();
            let (mut ours, _) = options();
            ours.connect_timeout = Duration::from_millis(300);
            let error = in_time(connect(client, &target, &ours)).await.unwrap_err();
            let expected = matches!(error, ConnectError::Timeout { handshake_complete: false, .. });
            assert!(expected, "{client:?}, {scheme}: {error:?}");
            let said = error.to_string();
            assert!(said.contains("no answer from 127.0.0.1"), "{client:?}, {scheme}: {said}");
        }
    }
}

#[tokio::test]
async fn path_query_and_authority_arrive_as_they_were_given() {
    every_pair(async |client, server, scheme| {
        let (ours, theirs) = options();
        let server = Server::bind(server, &theirs);
        let is_quic = scheme == Scheme::Quic;
        for (given, expected) in [
            ("", if is_quic { None } else { Some("/") }),
            ("/", Some("/")),
            ("/x/../y?token=a%2Fb&c=//", Some("/x/../y?token=a%2Fb&c=//")),
        ] {
            let target = server.target(scheme, given);
            let (session, accepted) =
                tokio::join!(connect(client, &target, &ours), server.accept());
            let _session = session.unwrap();
            let info = accepted.info();
            assert_eq!(info.path.as_deref(), expected.map(str::as_bytes), "{given}");
            let authority = server.local_addr().to_string();
            assert_eq!(info.authority.as_deref(), Some(authority.as_bytes()), "{given}");
            assert_eq!(info.transport == Transport::Quic, is_quic);
            // draft-18, "AUTHORITY" and "PATH": they are not used over WebTransport.
            assert_eq!(info.setup.options.path.is_some(), is_quic && !given.is_empty());
            assert_eq!(info.setup.options.authority.is_some(), is_quic);
        }
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_vanishes_is_given_up_after_the_idle_timeout() {
    every_pair(async |client, server, scheme| {
        for client_vanishes in [false, true] {
            let (mut ours, mut theirs) = options();
            ours.transport.idle_timeout = Duration::from_millis(300);
            theirs.transport.idle_timeout = Duration::from_millis(300);
            // A runtime that ends takes its side with it, sockets and all.
            let other = tokio::runtime::Runtime::new().unwrap();
            let (left, gone) = if client_vanishes {
                let server = Server::bind(server, &theirs);
                let target = server.target(scheme, "/");
                let (accepted, is_accepted) = std::sync::mpsc::channel();
                let connecting = tokio::task::spawn_blocking(move || {
                    let session = other.block_on(connect(client, &target, &ours)).unwrap();
                    is_accepted.recv().unwrap();
                    other.shutdown_background();
                    session
                });
                let left = server.accept().await;
                accepted.send(()).unwrap();
                (left, connecting.await.unwrap())
            } else {
                let (bound, listening) = tokio::sync::oneshot::channel();
                let accepting = other.spawn(async move {
                    let server = Server::bind(server, &theirs);
                    bound.send(server.target(scheme, "/")).unwrap();
                    server.accept().await
                });
                let target = listening.await.unwrap();
                let left = connect(client, &target, &ours).await.unwrap();
                let gone = accepting.await.unwrap();
                other.shutdown_background();
                (left, gone)
            };
            let reason = left.closed().await;
            assert!(matches!(reason, CloseReason::Transport { .. }), "{reason}");
            drop(gone);
        }
    })
    .await;
}

// What is not reachable by one way is said, with the other.
#[tokio::test]
async fn a_server_that_speaks_only_the_other() {
    every_pair(async |client, server_stack, scheme| {
        let (mut ours, mut theirs) = options();
        theirs.schemes = match scheme {
            Scheme::Quic => vec![Scheme::WebTransport],
            Scheme::WebTransport => vec![Scheme::Quic],
        };
        let server = Server::bind(server_stack, &theirs);
        if server_stack == Stack::S2n {
            // It does not answer then.
            ours.connect_timeout = Duration::from_millis(300);
        }
        let error = connect(client, &server.target(scheme, "/"), &ours).await.unwrap_err();
        let said = error.to_string();
        match (server_stack, scheme) {
            (Stack::S2n, _) => assert!(matches!(error, ConnectError::Timeout { .. }), "{error:?}"),
            (_, Scheme::Quic) => assert!(said.contains("https://"), "{said}"),
            (_, Scheme::WebTransport) => assert!(said.contains("moqt://"), "{said}"),
        }
    })
    .await;
}
