//! What people see when there is no session.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod common;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use common::{anywhere, bounded, serve, target};
use moqt_engine::model::SessionError;
use moqt_engine::{CloseReason, Draft};
use moqt_quinn_proto::{
    Client, ClientOptions, ClientTls, ConnectError, Identity, Server, ServerOptions, Target, Verify,
};

#[tokio::test]
async fn nobody_there() {
    // Bound and never read: nothing comes back.
    let silent = UdpSocket::bind(anywhere()).unwrap();
    let target: Target = format!("moqt://{}", silent.local_addr().unwrap()).parse().unwrap();
    let mut options = ClientOptions::default();
    options.tls = ClientTls::new(Verify::Insecure);
    options.connect_timeout = Duration::from_millis(300);
    let begin = Instant::now();
    let error = bounded(Client::connect(&target, &options)).await.unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert!(matches!(error, ConnectError::Timeout { handshake_complete: false, .. }), "{error}");
    assert!(error.to_string().contains("no answer from 127.0.0.1"), "{error}");
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted() {
    let (server, mut options) = serve();
    let target = target(&server);
    options.tls = ClientTls::new(Verify::Pinned(vec![[7; 32]]));
    let error = bounded(Client::connect(&target, &options)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Certificate(_)), "{error}");
    assert!(error.to_string().contains("its hash is not the one expected"), "{error}");

    // A chain that leads elsewhere.
    let other = Identity::self_signed([]).unwrap();
    let file = std::env::temp_dir().join(format!("moqt-ca-{}.pem", std::process::id()));
    std::fs::write(&file, other.to_pem()).unwrap();
    options.tls = ClientTls::new(Verify::CaFile(file.clone()));
    let error = bounded(Client::connect(&target, &options)).await.unwrap_err();
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(error, ConnectError::Certificate(_)), "{error}");

    options.tls = ClientTls::new(Verify::CaFile("/nowhere/ca.pem".into()));
    let error = bounded(Client::connect(&target, &options)).await.unwrap_err();
    assert!(error.to_string().contains("cannot read certificates from /nowhere/ca.pem"), "{error}");
}

#[tokio::test]
async fn a_certificate_file_that_is_trusted() {
    let identity = Identity::self_signed(["relay.example"]).unwrap();
    let file = std::env::temp_dir().join(format!("moqt-own-{}.pem", std::process::id()));
    std::fs::write(&file, identity.to_pem()).unwrap();
    let server = Server::bind(anywhere(), &ServerOptions::new(identity)).unwrap();
    let mut options = ClientOptions::default();
    options.tls = ClientTls::new(Verify::CaFile(file.clone()));
    for name in [None, Some("relay.example".to_owned()), Some("localhost".to_owned())] {
        options.server_name = name;
        bounded(Client::connect(&target(&server), &options)).await.unwrap();
    }
    options.server_name = Some("other.example".to_owned());
    let error = bounded(Client::connect(&target(&server), &options)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Certificate(_)), "{error}");

    // What has been read once is not read again.
    options.tls = ClientTls::new(Verify::CaFile(file.clone()).loaded().unwrap());
    std::fs::remove_file(&file).unwrap();
    let error = bounded(Client::connect(&target(&server), &options)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Certificate(_)), "{error}");
    options.server_name = None;
    bounded(Client::connect(&target(&server), &options)).await.unwrap();
    let missing = Verify::CaFile(file.clone()).loaded().unwrap_err();
    assert!(missing.to_string().contains("cannot read certificates"), "{missing}");
}

#[tokio::test]
async fn no_draft_in_common() {
    let identity = Identity::self_signed([]).unwrap();
    let mut server = ServerOptions::new(identity);
    server.drafts = vec![Draft::D14];
    let server = Server::bind(anywhere(), &server).unwrap();
    let mut options = ClientOptions::default();
    options.tls = ClientTls::new(Verify::Insecure);
    options.drafts = vec![Draft::D16, Draft::D18];
    let error = bounded(Client::connect(&target(&server), &options)).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoCommonDraft { .. }), "{error}");
    // The newest in common is chosen otherwise.
    options.drafts = Draft::ALL.to_vec();
    let session = bounded(Client::connect(&target(&server), &options)).await.unwrap();
    assert_eq!(session.draft(), Draft::D14);
}

#[tokio::test]
async fn the_server_learns_where_the_client_wants_to_go() {
    let (server, options) = serve();
    let target = target(&server);
    let (client, session) =
        bounded(async { tokio::join!(Client::connect(&target, &options), server.accept()) }).await;
    let (client, session) = (client.unwrap(), session.unwrap());
    assert_eq!((client.draft(), session.draft()), (Draft::D18, Draft::D18));
    let setup = &session.info().setup.options;
    assert_eq!(setup.path.as_deref(), Some(&b"/path?query"[..]));
    assert_eq!(setup.authority.as_deref(), Some(target.authority().as_bytes()));
    assert_eq!(client.remote_address(), Some(server.local_addr()));
}

#[tokio::test]
async fn many_sessions_share_a_socket() {
    let (server, options) = serve();
    let target = target(&server);
    let client = Client::bind(anywhere()).unwrap();
    let mut sessions = Vec::new();
    for _ in 0..5 {
        let (made, accepted) =
            bounded(async { tokio::join!(client.session(&target, &options), server.accept()) })
                .await;
        let (made, accepted) = (made.unwrap(), accepted.unwrap());
        assert_eq!(accepted.remote_address(), Some(client.local_addr()));
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

#[test]
fn a_peer_hears_of_a_close_even_if_the_program_ends_next() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (stays, leaves) = (runtime(), runtime());
    let (server, options) = stays.block_on(async { serve() });
    let target = target(&server);
    let accepted = std::thread::spawn(move || {
        stays.block_on(async {
            let session = bounded(server.accept()).await.unwrap();
            bounded(session.closed()).await
        })
    });
    let session = leaves.block_on(bounded(Client::connect(&target, &options))).unwrap();
    session.close(SessionError::Unauthorized, "leaving");
    drop(leaves);
    let reason = accepted.join().unwrap();
    assert!(matches!(reason, CloseReason::Peer { .. }), "{reason}");
    // What is left of the session says that nothing moves any more.
    assert!(session.close_reason().is_some());
}

#[tokio::test]
async fn a_peer_that_vanishes_is_said_to_have_timed_out() {
    let elsewhere = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (server, mut options) = {
        let _there = elsewhere.enter();
        serve()
    };
    options.transport.idle_timeout = Duration::from_millis(300);
    let target = target(&server);
    let accepted = elsewhere.spawn(async move { (server.accept().await, server) });
    let session = bounded(Client::connect(&target, &options)).await.unwrap();
    let accepted = bounded(accepted).await.unwrap();
    // Nothing is sent any more, and nobody says so.
    elsewhere.shutdown_background();
    let reason = bounded(session.closed()).await;
    drop(accepted);
    assert!(matches!(reason, CloseReason::Transport { .. }), "{reason}");
    assert!(reason.to_string().contains("timed out"), "{reason}");
}

#[tokio::test]
async fn the_first_packet_goes_to_the_address_and_connection_id_given() {
    let (server, mut options) = serve();
    let silent = tokio::net::UdpSocket::bind(anywhere()).await.unwrap();
    options.address = Some(silent.local_addr().unwrap());
    options.initial_connection_id = Some((1..=16).collect());
    let target = target(&server);
    let client = tokio::spawn(async move {
        let _ = Client::connect(&target, &options).await;
    });
    let mut packet = [0; 2048];
    let len = bounded(silent.recv(&mut packet)).await.unwrap();
    // RFC 9000, section 17.2: after the first byte and the version, a length and so many bytes.
    let id: Vec<u8> = (1..=16).collect();
    assert!(len >= 1200 && packet[5] == 16 && packet[6..22] == id, "{:02x?}", &packet[..32]);
    client.abort();

    let (server, mut options) = serve();
    // What the address says counts, not the host.
    let port = server.local_addr().port();
    let elsewhere: Target = format!("moqt://nowhere.invalid:{port}").parse().unwrap();
    options.address = Some(server.local_addr());
    options.server_name = Some("localhost".into());
    options.initial_connection_id = Some(vec![7; 20]);
    drop(bounded(Client::connect(&elsewhere, &options)).await.unwrap());
    for wrong in [7, 21] {
        options.initial_connection_id = Some(vec![7; wrong]);
        let error = bounded(Client::connect(&elsewhere, &options)).await.unwrap_err();
        assert!(error.to_string().contains("use 8 to 20"), "{error}");
    }
}
