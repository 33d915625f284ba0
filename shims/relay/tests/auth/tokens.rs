//! Tokens in the file, and relays' certificates.

use moqt_engine::model::{AuthToken, RequestErrorCode};
use moqt_relay::{Ask, Authorize, Permission, Verdict};
use moqt_relay_server::auth::{Guesses, Rules, Sources, WallClock};

use crate::support::*;

const FILE: &str = r#"
[[token]]
name = "studio"
token = "studio-secret"
permissions = ["publisher"]
namespaces = ["meet/*/audio", "live/**"]

[[token]]
token = "viewer-secret"
permissions = ["subscriber"]
namespaces = ["live/**"]
expires = 2030-01-31T13:00:00+01:00

[[token]]
# printf %s hashed-secret | sha256sum
sha256 = "4e598f5daafc2fda61641ddbb5956deb23fde6616366dc9dd5a7c9f47da4d787"
permissions = ["fetch", "track-status"]
namespaces = ["**"]
track = "cam-*"
"#;

fn rules(test: &str, hand: &Hand) -> Rules {
    load(test, FILE, hand).unwrap()
}

#[test]
fn without_rules_all_is_allowed() {
    let rules = Rules::load(&Sources::default(), WallClock::default(), Guesses::default()).unwrap();
    assert!(rules.is_open());
    assert_eq!(rules.session(&peer()), Verdict::ALLOWED);
    for what in ALL {
        assert_eq!(ask(&rules, &peer(), what, "any", &[]), Verdict::ALLOWED);
    }
}

#[test]
fn once_there_are_rules_nothing_is_allowed_that_is_not_granted() {
    for text in ["", "[relays]\ncertificates = ['hub.example']", FILE] {
        let rules = load("deny", text, &Hand::at(NOON)).unwrap();
        assert!(!rules.is_open());
        for what in ALL {
            let verdict = ask(&rules, &peer(), what, "live/x", &[]);
            assert_eq!(code(&verdict), RequestErrorCode::Unauthorized, "{text}");
        }
    }
}

#[test]
fn a_token_allows_its_permissions_in_its_namespaces() {
    let rules = rules("permissions", &Hand::at(NOON - 3600));
    let may = |token: &[u8], namespace: &str| {
        ALL.map(|what| is_allowed(&ask(&rules, &peer(), what, namespace, &[token])))
    };
    let none = [false; 6];
    assert_eq!(may(b"studio-secret", "live/a"), [true, true, false, false, false, false]);
    assert_eq!(may(b"studio-secret", "live"), [true, true, false, false, false, false]);
    assert_eq!(may(b"studio-secret", "liver"), none);
    // A namespace that is published has all beneath it, which this pattern does not.
    assert_eq!(may(b"studio-secret", "meet/r/audio"), [true, false, false, false, false, false]);
    assert_eq!(may(b"studio-secret", "meet/r/audio/x"), none);
    assert_eq!(may(b"viewer-secret", "live/a"), [false, false, true, true, true, true]);
    assert_eq!(may(b"viewer-secret", ""), none);
    assert_eq!(may(b"hashed-secret", "any"), [false, false, false, true, true, false]);
    assert_eq!(may(b"studio-secre", "live/a"), none);
    assert_eq!(may(b"studio-secretx", "live/a"), none);
    assert_eq!(may(b"", "live/a"), none);
}

#[test]
fn tokens_of_the_session_and_the_request_add_up() {
    let rules = rules("together", &Hand::at(NOON - 3600));
    let session = peer_with(&[b"studio-secret"]);
    let may = |what, tokens: &[&[u8]]| is_allowed(&ask(&rules, &session, what, "live/a", tokens));
    assert!(may(Permission::Publish, &[]));
    assert!(!may(Permission::Subscribe, &[]));
    assert!(may(Permission::Subscribe, &[b"viewer-secret"]));
    assert!(may(Permission::Publish, &[b"viewer-secret"]));
    assert!(may(Permission::Publish, &[b"nothing known"]), "it is well formed, and adds nothing");
}

#[test]
fn a_track_pattern_limits_to_tracks() {
    let rules = rules("track", &Hand::at(NOON));
    let may = |what, name: &[u8]| {
        is_allowed(&ask_track(&rules, &peer(), what, ("a", name), &[b"hashed-secret"]))
    };
    assert!(may(Permission::Fetch, b"cam-2"));
    assert!(!may(Permission::Fetch, b"mic-2"));
    assert!(!may(Permission::Fetch, b""));

    // Namespaces have other tracks, too.
    let text = "[[token]]\ntoken = 'a'\npermissions = ['all']\nnamespaces = ['**']\ntrack = '*'";
    let rules = load("track-all", text, &Hand::at(NOON)).unwrap();
    let may = ALL.map(|what| is_allowed(&ask(&rules, &peer(), what, "x", &[b"a"])));
    assert_eq!(may, [true, false, true, true, true, false]);
}

#[test]
fn a_token_is_shown_in_setup_or_in_the_path() {
    let rules = rules("places", &Hand::at(NOON));
    for shown in [
        peer_with(&[b"studio-secret"]),
        peer_at("/?token=studio-secret"),
        peer_at("/relay?x=1&jwt=studio%2dsecret"),
        peer_at("/studio-secret"),
        peer_at("/relay/studio-secret/?x"),
    ] {
        assert_eq!(rules.session(&shown), Verdict::ALLOWED);
        let verdict = ask(&rules, &shown, Permission::Publish, "live/a", &[]);
        assert!(is_allowed(&verdict), "{:?}", shown.path);
    }
    for path in
        ["/studio", "/?x=studio-secret", "/?token", "/studio-secret-not", "?TOKEN=studio-secret"]
    {
        let verdict = ask(&rules, &peer_at(path), Permission::Publish, "live/a", &[]);
        assert_eq!(code(&verdict), RequestErrorCode::Unauthorized, "{path}");
    }
}

#[test]
fn tokens_of_other_types_are_somebody_elses() {
    let rules = rules("types", &Hand::at(NOON));
    let verdict = |token_type| {
        // Draft-18, "AUTHORIZATION TOKEN Parameter": 0 is agreed on otherwise; "Greasing": 0x9D.
        let token = AuthToken::UseValue { token_type, value: "studio-secret".into() };
        let (peer, namespace, tokens) = (peer(), namespace("live"), [token]);
        let mut ask = Ask::new(&peer, Permission::PublishNamespace, &namespace);
        ask.tokens = &tokens;
        rules.request(&ask)
    };
    assert!(is_allowed(&verdict(0)));
    assert_eq!(code(&verdict(1)), RequestErrorCode::Unauthorized);
    assert_eq!(code(&verdict(0x9d)), RequestErrorCode::Unauthorized);
}

#[test]
fn a_token_lasts_until_it_expires_and_is_expired_from_then_on() {
    let hand = Hand::at(NOON - 10);
    let rules = rules("expiry", &hand);
    let session = peer_with(&[b"viewer-secret"]);
    let asked = |tokens: &[&[u8]]| ask(&rules, &session, Permission::Subscribe, "live/a", tokens);
    assert_eq!(lasts(&asked(&[])), Some(10));
    assert_eq!(lasts(&asked(&[b"viewer-secret"])), Some(10));
    hand.set(NOON - 1);
    assert_eq!(lasts(&asked(&[])), Some(1));
    hand.set(NOON);
    assert_eq!(code(&asked(&[])), RequestErrorCode::ExpiredAuthToken);
    assert_eq!(code(&asked(&[b"viewer-secret"])), RequestErrorCode::ExpiredAuthToken);
    assert_eq!(code(&rules.session(&session)), RequestErrorCode::ExpiredAuthToken);

    // It might have allowed what nothing else does.
    let both = peer_with(&[b"viewer-secret", b"studio-secret"]);
    let verdict = ask(&rules, &both, Permission::Subscribe, "live/a", &[]);
    assert_eq!(code(&verdict), RequestErrorCode::ExpiredAuthToken);

    // "Any message that references the token ... fails with EXPIRED_AUTH_TOKEN", also one that
    // the session may make without it.
    let studio = peer_with(&[b"studio-secret"]);
    assert!(is_allowed(&ask(&rules, &studio, Permission::Publish, "live/a", &[])));
    let verdict = ask(&rules, &studio, Permission::Publish, "live/a", &[b"viewer-secret"]);
    assert_eq!(code(&verdict), RequestErrorCode::ExpiredAuthToken);
}

#[test]
fn a_request_lasts_as_long_as_the_last_token_that_allows_it() {
    let text = "
        [[token]]
        token = 'a'
        permissions = ['all']
        namespaces = ['x/**']
        expires = 1896091300
        [[token]]
        token = 'a'
        permissions = ['all']
        namespaces = ['x/y']
        expires = '2030-01-31T12:03:20Z'
        [[token]]
        token = 'b'
        permissions = ['fetch']
        namespaces = ['**']
    ";
    let rules = load("longest", text, &Hand::at(NOON)).unwrap();
    let asked =
        |what, namespace, tokens: &[&[u8]]| lasts(&ask(&rules, &peer(), what, namespace, tokens));
    assert_eq!(asked(Permission::Subscribe, "x/z", &[b"a"]), Some(100));
    assert_eq!(asked(Permission::Subscribe, "x/y", &[b"a"]), Some(200));
    assert_eq!(asked(Permission::Subscribe, "x/y", &[b"a", b"b"]), Some(200));
    assert_eq!(asked(Permission::Fetch, "x/y", &[b"a", b"b"]), None);
}

#[test]
fn a_session_needs_a_token_only_if_that_is_said() {
    let hand = Hand::at(NOON - 10);
    let open = rules("no-need", &hand);
    assert_eq!(open.session(&peer()), Verdict::ALLOWED);
    assert_eq!(open.session(&peer_with(&[b"viewer-secret"])), Verdict::ALLOWED);
    assert_eq!(code(&open.session(&peer_with(&[b"x"]))), RequestErrorCode::Unauthorized);
    assert_eq!(code(&open.session(&peer_at("?token=x"))), RequestErrorCode::Unauthorized);
    // That may be any path.
    assert_eq!(open.session(&peer_at("/x")), Verdict::ALLOWED);

    let strict = load("need", &format!("[sessions]\nneed_token = true\n{FILE}"), &hand).unwrap();
    assert_eq!(code(&strict.session(&peer())), RequestErrorCode::Unauthorized);
    assert_eq!(code(&strict.session(&peer_at("/x"))), RequestErrorCode::Unauthorized);
    assert_eq!(lasts(&strict.session(&peer_with(&[b"viewer-secret"]))), Some(10));
    assert_eq!(lasts(&strict.session(&peer_with(&[b"viewer-secret", b"studio-secret"]))), None);
}

#[test]
fn a_relay_with_a_certificate_may_do_everything() {
    let text = format!("{FILE}\n[relays]\ncertificates = ['Hub.example', '*.edge.example']");
    let rules = load("relays", &text, &Hand::at(NOON)).unwrap();
    let may = |name: Option<&str>| {
        let mut peer = peer();
        peer.address = None;
        peer.certificate_name = name.map(Into::into);
        ALL.map(|what| is_allowed(&ask(&rules, &peer, what, "any", &[])))
    };
    for name in ["hub.example", "HUB.EXAMPLE", "a.edge.example"] {
        assert_eq!(may(Some(name)), [true; 6], "{name}");
    }
    for name in [
        "xhub.example",
        "edge.example",
        ".edge.example",
        "a.b.edge.example",
        "*.edge.example.org",
        "",
    ] {
        assert_eq!(may(Some(name)), [false; 6], "{name}");
    }
    assert_eq!(may(None), [false; 6]);
    // People have tokens at the same time.
    assert!(is_allowed(&ask(&rules, &peer(), Permission::Publish, "live", &[b"studio-secret"])));
}
