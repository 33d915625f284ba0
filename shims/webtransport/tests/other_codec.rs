//! Against an independent codec, in both directions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod common;

use bytes::Bytes;
use moqt_webtransport::{Event, Version};
use web_transport_proto::{Capsule, ConnectRequest, ConnectResponse, Settings, http};

use common::*;

fn their_settings() -> Vec<u8> {
    let mut settings = Settings::default();
    settings.enable_webtransport(1);
    let mut bytes = Vec::new();
    settings.encode(&mut bytes);
    bytes
}

/// A client that has asked a server with the other codec's SETTINGS.
fn asking() -> End {
    let mut request = request();
    request.protocols = vec!["moqt-18".into(), "a \"b\" \\c".into()];
    request.headers = vec![("origin".into(), Bytes::from_static(b"https://example.com"))];
    let mut end = End::client_with(request, &moqt_webtransport::Config::default());
    let _ = end.data(SERVER_CONTROL, &their_settings());
    assert_eq!(end.connection.version(), Some(Version::Draft07));
    end.events.clear();
    end
}

fn read_request(end: &End) -> ConnectRequest {
    ConnectRequest::decode(&mut &end.sent[&CONNECT].0[..]).unwrap()
}

#[test]
fn settings_are_understood() {
    for (end, own) in [(End::client(), CLIENT_CONTROL), (End::server(), SERVER_CONTROL)] {
        let settings = Settings::decode(&mut &end.sent[&own].0[..]).unwrap();
        assert_eq!(settings.supports_webtransport(), 1);
    }
}

#[test]
fn requests_are_understood() {
    let request = read_request(&asking());
    assert_eq!(request.url.as_str(), "https://example.com:4443/moq?room=1");
    assert_eq!(request.protocols, ["moqt-18", "a \"b\" \\c"]);
    assert_eq!(request.headers.get("origin").unwrap(), "https://example.com");

    let mut bytes = Vec::new();
    request.encode(&mut bytes).unwrap();
    let mut server = End::server();
    let _ = server.data(CLIENT_CONTROL, &their_settings());
    let _ = server.data(CONNECT, &bytes);
    let [Event::Requested(read)] = &server.events[..] else { panic!("{:?}", server.events) };
    assert_eq!((&read.authority[..], &read.path[..]), ("example.com:4443", "/moq?room=1"));
    assert_eq!(read.protocols, request.protocols);
    assert_eq!(read.header("origin").collect::<Vec<_>>(), ["https://example.com"]);

    server.with(|connection| connection.accept(Some("moqt-18"), &[]));
    let response = ConnectResponse::decode(&mut &server.sent[&CONNECT].0[..]).unwrap();
    assert_eq!(response.status, 200);
    assert_eq!(response.protocol.as_deref(), Some("moqt-18"));
}

#[test]
fn responses_are_understood() {
    for (response, status) in [
        (ConnectResponse::OK.with_protocol("moqt-18"), 200),
        (ConnectResponse::new(http::StatusCode::TOO_MANY_REQUESTS), 429),
    ] {
        let mut bytes = Vec::new();
        response.encode(&mut bytes).unwrap();
        let mut client = asking();
        let _ = client.data(CONNECT, &bytes);
        match &client.events[..] {
            [Event::Established { response }] => {
                assert_eq!(status, 200);
                assert_eq!(response.protocol.as_deref(), Some("moqt-18"));
            }
            [Event::Refused { response }] => assert_eq!(response.status, status),
            events => panic!("{events:?}"),
        }
    }
}

#[test]
fn capsules_are_understood() {
    for mut end in End::established() {
        let before = end.sent[&CONNECT].0.len();
        end.with(|connection| connection.close(77, "über"));
        // The DATA frame's header has two bytes.
        let capsule = Capsule::decode(&mut &end.sent[&CONNECT].0[before + 2..]).unwrap();
        let expected = Capsule::CloseWebTransportSession { code: 77, reason: "über".into() };
        assert_eq!(capsule, expected);
    }
    for mut end in End::established() {
        let mut bytes = Vec::new();
        let capsule = Capsule::CloseWebTransportSession { code: u32::MAX, reason: "bye".into() };
        Capsule::Grease { num: 5 }.encode(&mut bytes);
        capsule.encode(&mut bytes);
        let _ = end.last(CONNECT, &content(&bytes));
        assert_eq!(end.events, [Event::Closed { code: u32::MAX, reason: "bye".into() }]);
    }
}

/// WebTransport, "Resetting Data Streams".
#[test]
fn codes_are_the_same() {
    for code in [0, 1, 0x1d, 0x1e, 0xff, 1 << 20, u32::MAX] {
        let http3 = web_transport_proto::error_to_http3(code);
        assert_eq!(moqt_webtransport::error_to_http3(code), http3);
        assert_eq!(moqt_webtransport::error_from_http3(http3), Some(code));
    }
}
