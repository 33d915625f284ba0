//! What is WebTransport's own: who asks for what, and how it ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod common;

use common::{anywhere, bounded};
use moqt_engine::model::SessionError;
use moqt_engine::{CloseReason, Draft, Transport};
use moqt_quinn_proto::session::Session;
use moqt_quinn_proto::{
    Client, ClientOptions, ClientTls, ConnectError, Identity, Scheme, Server, ServerOptions,
    Target, Verify,
};

/// A server over these, and options that trust it.
fn serve(schemes: &[Scheme], drafts: &[Draft]) -> (Server, ClientOptions) {
    let identity = Identity::self_signed([]).unwrap();
    let mut client = ClientOptions::default();
    client.tls = ClientTls::new(Verify::Pinned(vec![identity.sha256()]));
    let mut options = ServerOptions::new(identity);
    options.schemes = schemes.to_vec();
    options.drafts = drafts.to_vec();
    (Server::bind(anywhere(), &options).unwrap(), client)
}

fn target(server: &Server, scheme: &str, path: &str) -> Target {
    format!("{scheme}://{}{path}", server.local_addr()).parse().unwrap()
}

/// Both ends of a session on one draft over WebTransport.
async fn pair(draft: Draft) -> (Session, Session, Server) {
    let (server, mut options) = serve(&[Scheme::Quic, Scheme::WebTransport], &Draft::ALL);
    options.drafts = vec![draft];
    let target = target(&server, "https", "/");
    let client = Client::connect(&target, &options);
    let (client, accepted) = bounded(async { tokio::join!(client, server.accept()) }).await;
    (client.unwrap(), accepted.unwrap(), server)
}

#[tokio::test]
async fn path_query_and_authority_arrive_as_they_were_given() {
    let (server, options) = serve(&[Scheme::Quic, Scheme::WebTransport], &Draft::ALL);
    let cases = [
        ("https", "", Some("/")),
        ("https", "?token=a%2Fb", Some("/?token=a%2Fb")),
        ("https", "/x/../y?token=a%2Fb&c=//", Some("/x/../y?token=a%2Fb&c=//")),
        ("moqt", "", None),
        ("moqt", "/x/../y?token=a%2Fb&c=//", Some("/x/../y?token=a%2Fb&c=//")),
    ];
    for (scheme, given, expected) in cases {
        let target = target(&server, scheme, given);
        let client = Client::connect(&target, &options);
        let (client, accepted) = bounded(async { tokio::join!(client, server.accept()) }).await;
        let (_client, accepted) = (client.unwrap(), accepted.unwrap());
        let info = accepted.info();
        assert_eq!(info.path.as_deref(), expected.map(str::as_bytes), "{target}");
        let authority = server.local_addr().to_string();
        assert_eq!(info.authority.as_deref(), Some(authority.as_bytes()), "{target}");
        let over_http = scheme == "https";
        assert_eq!(info.transport == Transport::WebTransport, over_http, "{target}");
        // draft-18, "AUTHORITY" and "PATH": they are not used over WebTransport.
        assert_eq!(info.setup.options.path.is_none(), over_http || given.is_empty());
        assert_eq!(info.setup.options.authority.is_none(), over_http);
    }
}

#[tokio::test]
async fn code_and_reason_of_the_end_arrive() {
    for draft in Draft::ALL {
        for by_client in [true, false] {
            let (client, accepted, _server) = bounded(pair(draft)).await;
            let (closer, other) = if by_client { (client, accepted) } else { (accepted, client) };
            closer.close(SessionError::Unauthorized, "not today");
            let reason = bounded(other.closed()).await;
            let CloseReason::Peer { error, reason, .. } = reason else {
                panic!("{draft}: {reason}");
            };
            assert_eq!(
                (error, &*reason),
                (SessionError::Unauthorized, "not today"),
                "{draft}, by client: {by_client}"
            );
        }
    }
}

#[tokio::test]
async fn a_handle_that_is_dropped_closes_its_session() {
    let (client, accepted, _server) = bounded(pair(Draft::D18)).await;
    drop(client);
    let reason = bounded(accepted.closed()).await;
    assert!(matches!(reason, CloseReason::Peer { code: 0, .. }), "{reason}");
}

#[tokio::test]
async fn the_newest_draft_that_both_speak_is_taken() {
    for (ours, theirs, expected) in [
        (&Draft::ALL[..], &Draft::ALL[..], Draft::D18),
        (&[Draft::D14, Draft::D16], &Draft::ALL, Draft::D16),
        (&Draft::ALL, &[Draft::D14], Draft::D14),
    ] {
        let (server, mut options) = serve(&[Scheme::WebTransport], theirs);
        options.drafts = ours.to_vec();
        let target = target(&server, "https", "/");
        let client = Client::connect(&target, &options);
        let (client, accepted) = bounded(async { tokio::join!(client, server.accept()) }).await;
        assert_eq!((client.unwrap().draft(), accepted.unwrap().draft()), (expected, expected));
    }
}

#[tokio::test]
async fn what_a_server_does_not_speak_is_said() {
    // No draft in common: the server refuses the request.
    let (server, mut options) = serve(&[Scheme::WebTransport], &[Draft::D16]);
    options.drafts = vec![Draft::D18];
    let error = bounded(Client::connect(&target(&server, "https", "/"), &options)).await;
    let error = error.unwrap_err();
    assert!(matches!(error, ConnectError::Status { status: 400, .. }), "{error}");
    assert!(error.to_string().contains("draft-18"), "{error}");

    // No raw QUIC.
    let error = bounded(Client::connect(&target(&server, "moqt", "/"), &options)).await;
    let error = error.unwrap_err();
    assert!(matches!(error, ConnectError::NoCommonDraft { .. }), "{error}");
    assert!(error.to_string().contains("https://"), "{error}");

    // No HTTP/3.
    let (server, options) = serve(&[Scheme::Quic], &Draft::ALL);
    let error = bounded(Client::connect(&target(&server, "https", "/"), &options)).await;
    let error = error.unwrap_err();
    assert!(matches!(error, ConnectError::NoHttp3), "{error}");
    assert!(error.to_string().contains("moqt://"), "{error}");
}
