//! Guessing costs.

use std::net::IpAddr;
use std::time::Duration;

use moqt_engine::model::RequestErrorCode;
use moqt_relay::{Authorize, PeerInfo, Permission};
use moqt_relay_server::auth::{Guesses, Rules, Sources};

use crate::support::*;

const TEXT: &str = "[[token]]\ntoken = 'good'\npermissions = ['all']\nnamespaces = ['a/**']\n\
                    [[token]]\ntoken = 'old'\npermissions = ['all']\nnamespaces = ['**']\nexpires = 1";

fn rules(test: &str, hand: &Hand) -> (Rules, Guesses) {
    let file = folder(test).join("auth.toml");
    std::fs::write(&file, TEXT).unwrap();
    let guesses = Guesses::default();
    let sources = Sources { file: Some(file), ..Sources::default() };
    (Rules::load(&sources, hand.clock(), guesses.clone()).unwrap(), guesses)
}

fn from(address: &str) -> PeerInfo {
    let mut peer = peer();
    peer.address = Some(address.parse().unwrap());
    peer
}

fn subscribe(rules: &Rules, peer: &PeerInfo, namespace: &str, tokens: &[&[u8]]) -> bool {
    is_allowed(&ask(rules, peer, Permission::Subscribe, namespace, tokens))
}

#[test]
fn who_guesses_too_often_is_not_heard_for_a_while() {
    let hand = Hand::at(NOON);
    let (rules, guesses) = rules("guesser", &hand);
    let guesser = from("192.0.2.7");
    for guess in 0..Guesses::ATTEMPTS {
        assert!(
            !guesses.is_blocked(guesser.address.unwrap(), Duration::from_secs(NOON)),
            "{guess}"
        );
        assert!(!subscribe(&rules, &guesser, "a", &[format!("guess {guess}").as_bytes()]));
    }
    assert!(guesses.is_blocked(guesser.address.unwrap(), Duration::from_secs(NOON)));
    assert!(!subscribe(&rules, &guesser, "a", &[b"good"]), "found too late");
    assert_eq!(code(&rules.session(&guesser)), RequestErrorCode::Unauthorized);
    assert!(subscribe(&rules, &from("192.0.2.8"), "a", &[b"good"]), "others go on");

    hand.set(NOON + Guesses::REGAINED.as_secs());
    assert!(subscribe(&rules, &guesser, "a", &[b"good"]));
    assert!(!subscribe(&rules, &guesser, "a", &[b"guess"]));
    assert!(!subscribe(&rules, &guesser, "a", &[b"good"]), "one attempt was regained, no more");
}

/// Shows a guess for a session.
type Show = fn(&mut PeerInfo);

#[test]
fn guesses_in_sessions_count_as_those_in_requests() {
    let hand = Hand::at(NOON);
    let (rules, guesses) = rules("sessions", &hand);
    let now = Duration::from_secs(NOON);
    let shows: [(&str, Show); 3] = [
        ("192.0.2.1", |peer| peer.tokens = vec![value(b"guess")]),
        ("192.0.2.2", |peer| peer.path = "?token=guess".into()),
        // The session is had, and does no good.
        ("192.0.2.3", |peer| peer.path = "/guess".into()),
    ];
    for (address, show) in shows {
        let mut peer = from(address);
        show(&mut peer);
        for _ in 0..Guesses::ATTEMPTS {
            if is_allowed(&rules.session(&peer)) {
                assert!(!subscribe(&rules, &peer, "a", &[]));
            }
        }
        assert!(guesses.is_blocked(peer.address.unwrap(), now), "{address}");
    }
}

#[test]
fn neighbours_of_a_guesser_go_on_with_the_sessions_they_have() {
    let hand = Hand::at(NOON);
    let (known, _) = rules("neighbours", &hand);
    let sources = Sources { jwt_keys: vec![key("ed25519.pub.pem")], ..Sources::default() };
    let signed = Rules::load(&sources, hand.clock(), Guesses::default()).unwrap();
    let token =
        crate::signed::sign("ed25519.pem", None, &serde_json::json!({ "subscribe": "a/**" }));
    for (rules, token) in [(known, "good"), (signed, token.as_str())] {
        let guesser = from("192.0.2.7");
        let mut neighbour = guesser.clone();
        neighbour.path = format!("/?token={token}").into();
        assert!(is_allowed(&rules.session(&neighbour)));
        for _ in 0..Guesses::ATTEMPTS {
            assert!(!subscribe(&rules, &guesser, "a", &[b"guess"]));
        }
        assert!(!subscribe(&rules, &guesser, "a", &[token.as_bytes()]));
        assert!(!subscribe(&rules, &neighbour, "a", &[token.as_bytes()]), "it might be a guess");
        assert!(subscribe(&rules, &neighbour, "a", &[]));
        assert!(!is_allowed(&rules.session(&neighbour)), "a new one");
    }
}

#[test]
fn signatures_are_not_verified_for_a_guesser() {
    let hand = Hand::at(NOON);
    let sources = Sources { jwt_keys: vec![key("ed25519.pub.pem")], ..Sources::default() };
    let rules = Rules::load(&sources, hand.clock(), Guesses::default()).unwrap();
    let sign = |claims| crate::signed::sign("ed25519.pem", None, &claims);
    let mut guesser = from("192.0.2.7");
    // Where it may be no token at all, and lets the session be had.
    guesser.path = format!("/{}", sign(serde_json::json!({ "subscribe": "a" }))).into();
    for _ in 0..Guesses::ATTEMPTS {
        assert!(!subscribe(&rules, &from("192.0.2.7"), "a", &[b"guess"]));
    }
    assert!(!subscribe(&rules, &guesser, "a", &[]), "it would be good if it were looked at");
    hand.set(NOON + Guesses::REGAINED.as_secs());
    assert!(subscribe(&rules, &guesser, "a", &[]));
}

#[test]
fn who_is_known_or_was_does_not_guess() {
    let hand = Hand::at(NOON);
    let (rules, _) = rules("known", &hand);
    let known = from("192.0.2.9");
    for _ in 0..100 {
        assert!(!subscribe(&rules, &known, "b", &[b"good"]), "it is for another namespace");
        assert!(!subscribe(&rules, &known, "b", &[b"old"]), "it has expired");
    }
    assert!(subscribe(&rules, &known, "a", &[b"good"]));
}

#[test]
fn who_is_known_and_guesses_for_more_is_a_guesser() {
    let hand = Hand::at(NOON);
    let now = Duration::from_secs(NOON);
    let (rules, guesses) = rules("more", &hand);
    for (address, path) in [
        ("192.0.2.9", "/good"),
        ("192.0.2.10", "/good?token=guess"),
        ("192.0.2.11", "/good/old?jwt=guess"),
    ] {
        let known = {
            let mut peer = from(address);
            peer.path = path.into();
            peer
        };
        let own: &[&[u8]] = if path == "/good" { &[b"guess"] } else { &[] };
        for _ in 0..Guesses::ATTEMPTS {
            assert!(subscribe(&rules, &known, "a", own), "a token too many does no harm");
            assert!(is_allowed(&rules.session(&known)));
        }
        for _ in 0..Guesses::ATTEMPTS {
            assert!(!guesses.is_blocked(known.address.unwrap(), now));
            assert!(!subscribe(&rules, &known, "b", own));
        }
        assert!(guesses.is_blocked(known.address.unwrap(), now));
    }
}

#[test]
fn a_network_counts_as_one_address() {
    let guesses = Guesses::default();
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let now = Duration::ZERO;
    for last in 0..Guesses::ATTEMPTS {
        guesses.failed(address(&format!("2001:db8:1:2::{last:x}")), now);
        guesses.failed(address("::ffff:192.0.2.1"), now);
    }
    assert!(guesses.is_blocked(address("2001:db8:1:2:ffff::1"), now));
    assert!(!guesses.is_blocked(address("2001:db8:1:3::1"), now));
    assert!(guesses.is_blocked(address("192.0.2.1"), now));
    assert!(!guesses.is_blocked(address("192.0.2.2"), now));
}

#[test]
fn many_addresses_do_not_wash_out_one() {
    let guesses = Guesses::default();
    let now = Duration::ZERO;
    let one = IpAddr::from([192, 0, 2, 1]);
    for _ in 0..Guesses::ATTEMPTS {
        guesses.failed(one, now);
    }
    for other in 0..5 * u32::try_from(Guesses::ADDRESSES).unwrap() {
        guesses.failed(IpAddr::from((0x0a00_0000 + other).to_be_bytes()), now);
    }
    assert!(guesses.is_blocked(one, now));
    assert!(!guesses.is_blocked(IpAddr::from([10, 0, 0, 1]), now));
}

#[test]
fn attempts_come_back_one_by_one_and_no_more_than_there_were() {
    let guesses = Guesses::default();
    let regained = Guesses::REGAINED;
    for _ in 0..3 * Guesses::ATTEMPTS {
        guesses.failed(HOME, Duration::ZERO);
    }
    assert!(guesses.is_blocked(HOME, regained.saturating_sub(Duration::from_millis(1))));
    assert!(!guesses.is_blocked(HOME, regained));
    // Long after, there are as many as at first.
    let later = regained * 1000;
    for attempt in 0..Guesses::ATTEMPTS {
        assert!(!guesses.is_blocked(HOME, later), "{attempt}");
        guesses.failed(HOME, later);
    }
    assert!(guesses.is_blocked(HOME, later));
    // A clock that is set back makes nothing worse.
    assert!(guesses.is_blocked(HOME, Duration::ZERO));
    assert!(!guesses.is_blocked(HOME, later + regained));
}
