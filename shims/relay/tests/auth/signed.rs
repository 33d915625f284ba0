//! Signed tokens.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use moqt_engine::model::RequestErrorCode;
use moqt_relay::{Authorize, PeerInfo, Permission, Verdict};
use moqt_relay_server::auth::{Guesses, Rules, Sources};
use serde_json::{Value, json};

use crate::support::*;

pub(crate) fn signing_key(name: &str) -> (Algorithm, EncodingKey) {
    let bytes = std::fs::read(key(name)).unwrap();
    match name {
        "secret" => (Algorithm::HS256, EncodingKey::from_secret(bytes.trim_ascii_end())),
        "ed25519.pem" => (Algorithm::EdDSA, EncodingKey::from_ed_pem(&bytes).unwrap()),
        _ => (Algorithm::ES256, EncodingKey::from_ec_pem(&bytes).unwrap()),
    }
}

pub(crate) fn sign(name: &str, kid: Option<&str>, claims: &Value) -> String {
    let (algorithm, key) = signing_key(name);
    let mut header = Header::new(algorithm);
    header.kid = kid.map(Into::into);
    encode(&header, claims, &key).unwrap()
}

/// Rules with one public key.
fn one_key(name: &str, hand: &Hand) -> Rules {
    let sources = Sources { jwt_keys: vec![key(name)], ..Sources::default() };
    Rules::load(&sources, hand.clock(), Guesses::default()).unwrap()
}

fn may(rules: &Rules, token: &str, what: Permission, namespace: &str) -> bool {
    is_allowed(&ask(rules, &peer(), what, namespace, &[token.as_bytes()]))
}

fn refused(rules: &Rules, token: &str) -> RequestErrorCode {
    code(&ask(rules, &peer(), Permission::Subscribe, "a", &[token.as_bytes()]))
}

#[test]
fn each_algorithm_with_a_key_from_a_file() {
    let hand = Hand::at(NOON);
    let text = format!("[[jwt.key]]\nalgorithm = 'HS256'\nfile = '{}'", key("secret").display());
    let secret = load("algorithms", &text, &hand).unwrap();
    let claims = json!({ "subscribe": "a" });
    for (rules, signer) in [
        (secret, "secret"),
        (one_key("ed25519.pub.pem", &hand), "ed25519.pem"),
        (one_key("p256-a.pub.pem", &hand), "p256-a.pem"),
    ] {
        assert!(may(&rules, &sign(signer, None, &claims), Permission::Subscribe, "a"), "{signer}");
        for other in ["secret", "ed25519.pem", "p256-a.pem", "p256-b.pem"] {
            let is_own = other == signer;
            assert_eq!(may(&rules, &sign(other, None, &claims), Permission::Fetch, "a"), is_own);
        }
    }
}

#[test]
fn it_is_shown_in_the_path_as_with_a_request() {
    let rules = one_key("ed25519.pub.pem", &Hand::at(NOON));
    let token = sign("ed25519.pem", None, &json!({ "publish": "a/**" }));
    for shown in [
        peer_at(&format!("/?jwt={token}")),
        peer_at(&format!("/{token}")),
        peer_with(&[token.as_bytes()]),
    ] {
        assert_eq!(rules.session(&shown), Verdict::ALLOWED);
        assert!(is_allowed(&ask(&rules, &shown, Permission::PublishNamespace, "a", &[])));
        assert!(!is_allowed(&ask(&rules, &shown, Permission::PublishNamespace, "b", &[])));
    }
}

#[test]
fn claims_grant_what_they_say() {
    use Permission::{Publish, Subscribe, SubscribeNamespace};

    let rules = one_key("ed25519.pub.pem", &Hand::at(NOON));
    let may = |claims: Value, what, namespace: &str| {
        may(&rules, &sign("ed25519.pem", None, &claims), what, namespace)
    };
    let ours =
        || json!({ "publish": ["meet/*/audio"], "subscribe": ["meet/**", "x"], "root": "r" });
    assert!(may(ours(), Publish, "r/meet/1/audio"));
    assert!(!may(ours(), Publish, "r/meet/1/video"));
    assert!(!may(ours(), Publish, "meet/1/audio"), "not beneath the root");
    assert!(may(ours(), Subscribe, "r/x"));
    assert!(!may(ours(), Subscribe, "r/x/y"));
    assert!(may(ours(), SubscribeNamespace, "r/meet"));
    assert!(!may(ours(), SubscribeNamespace, "r/x"));

    // As moq-token writes them: prefixes beneath a root, in which a star is a star.
    for (publish, subscribe) in [("pub", "sub"), ("put", "get")] {
        let theirs = || json!({ "root": "/demo/", publish: ["alice", "*"], subscribe: [""] });
        assert!(may(theirs(), Publish, "demo/alice"));
        assert!(may(theirs(), Publish, "demo/alice/camera"));
        assert!(may(theirs(), Publish, "demo/*"));
        assert!(!may(theirs(), Publish, "demo/bob"));
        assert!(!may(theirs(), Publish, "alice"));
        assert!(may(theirs(), SubscribeNamespace, "demo"));
        assert!(!may(theirs(), Subscribe, "demos"));
    }
    assert!(may(json!({ "pub": "alice" }), Publish, "alice/camera"));
    // RFC 7519: who the token is about.
    let about = || json!({ "sub": "alice", "subscribe": "a" });
    assert!(may(about(), Subscribe, "a"));
    assert!(!may(about(), Subscribe, "alice"));
    assert!(!may(json!({}), Subscribe, "a"));
}

#[test]
fn times_are_obeyed_with_leeway() {
    let hand = Hand::at(NOON);
    let text =
        format!("[jwt]\nleeway = 5\n[[jwt.key]]\nfile = '{}'", key("ed25519.pub.pem").display());
    let rules = load("times", &text, &hand).unwrap();
    let token = sign(
        "ed25519.pem",
        None,
        &json!({
            "subscribe": "a", "nbf": NOON + 100, "exp": 1_896_091_400.5,
        }),
    );
    let asked = || ask(&rules, &peer(), Permission::Subscribe, "a", &[token.as_bytes()]);
    assert_eq!(code(&asked()), RequestErrorCode::Unauthorized, "not valid yet");
    hand.set(NOON + 94);
    assert_eq!(code(&asked()), RequestErrorCode::Unauthorized);
    hand.set(NOON + 95);
    assert_eq!(lasts(&asked()), Some(110));
    hand.set(NOON + 205);
    assert_eq!(lasts(&asked()), Some(0), "half a second");
    hand.set(NOON + 206);
    assert_eq!(code(&asked()), RequestErrorCode::ExpiredAuthToken);
    let shown = peer_at(&format!("/?jwt={token}"));
    assert_eq!(code(&rules.session(&shown)), RequestErrorCode::ExpiredAuthToken);
}

#[test]
fn issuer_and_audience_must_fit() {
    let hand = Hand::at(NOON);
    let file = key("ed25519.pub.pem");
    let text =
        format!("[jwt]\nissuer = 'i'\naudience = 'us'\n[[jwt.key]]\nfile = '{}'", file.display());
    let strict = load("issuer", &text, &hand).unwrap();
    let plain = one_key("ed25519.pub.pem", &hand);
    let token = |iss: Value, aud: Value| {
        let mut claims = json!({ "subscribe": "a" });
        for (name, value) in [("iss", iss), ("aud", aud)] {
            if !value.is_null() {
                claims[name] = value;
            }
        }
        sign("ed25519.pem", None, &claims)
    };
    let may = |rules, iss, aud| may(rules, &token(iss, aud), Permission::Subscribe, "a");
    assert!(may(&strict, json!("i"), json!("us")));
    assert!(may(&strict, json!("i"), json!(["them", "us"])));
    assert!(!may(&strict, json!("j"), json!("us")));
    assert!(!may(&strict, json!(null), json!("us")));
    assert!(!may(&strict, json!("i"), json!("them")));
    assert!(!may(&strict, json!("i"), json!(["them"])));
    assert!(!may(&strict, json!("i"), json!(null)));
    assert!(!may(&strict, json!("i"), json!([])));
    assert!(may(&plain, json!("j"), json!(null)));
    // RFC 7519, section 4.1.3: who does not identify itself with a value in it must reject it.
    assert!(!may(&plain, json!("i"), json!("us")));
}

#[test]
fn a_key_is_found_by_its_name() {
    let hand = Hand::at(NOON);
    let entry = |kid: &str, file: &str| {
        format!("[[jwt.key]]\nkid = '{kid}'\nfile = '{}'\n", key(file).display())
    };
    let text = entry("one", "p256-a.pub.pem") + &entry("two", "p256-b.pub.pem");
    let rules = load("kid", &text, &hand).unwrap();
    let claims = json!({ "subscribe": "a" });
    let may = |signer, kid| may(&rules, &sign(signer, kid, &claims), Permission::Subscribe, "a");
    assert!(may("p256-a.pem", Some("one")) && may("p256-b.pem", Some("two")));
    assert!(may("p256-a.pem", None) && may("p256-b.pem", None));
    assert!(!may("p256-a.pem", Some("two")));
    assert!(!may("p256-a.pem", Some("three")), "a key with another name is another key");
}

#[test]
fn keys_may_be_a_set() {
    let hand = Hand::at(NOON);
    let secret = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0";
    let set = json!({ "keys": [
        { "kty": "oct", "kid": "h", "alg": "HS256", "k": secret },
        { "kty": "OKP", "crv": "Ed25519", "kid": "e", "alg": "EdDSA",
          "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" },
    ]});
    let file = folder("set").join("keys.json");
    std::fs::write(&file, set.to_string()).unwrap();
    let sources = Sources { jwt_keys: vec![file], ..Sources::default() };
    let rules = Rules::load(&sources, hand.clock(), Guesses::default()).unwrap();
    let mut header = Header::new(Algorithm::HS256);
    let key = EncodingKey::from_base64_secret(secret).unwrap();
    let claims = json!({ "subscribe": "a" });
    let mut may_as = |kid: &str| {
        header.kid = Some(kid.into());
        may(&rules, &encode(&header, &claims, &key).unwrap(), Permission::Subscribe, "a")
    };
    assert!(may_as("h"));
    assert!(!may_as("e"));
    // RFC 8037, appendix A: the key above, and a text signed with it, which is no claims.
    let signed = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0Jzl\
                  nLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(refused(&rules, signed), RequestErrorCode::MalformedAuthToken);
    let forged = signed.replace("hgyY", "hgyZ");
    assert_eq!(refused(&rules, &forged), RequestErrorCode::Unauthorized);
}

#[test]
fn known_tokens_and_signed_ones_go_together() {
    let text = format!(
        "[[token]]\ntoken = 'known'\npermissions = ['publisher']\nnamespaces = ['a']\n\
         [[jwt.key]]\nfile = '{}'",
        key("ed25519.pub.pem").display()
    );
    let rules = load("both", &text, &Hand::at(NOON)).unwrap();
    let token = sign("ed25519.pem", None, &json!({ "subscribe": "a" }));
    assert!(may(&rules, &token, Permission::Subscribe, "a"));
    assert!(may(&rules, "known", Permission::Publish, "a"));
    // What is not like a JWT may have been meant as a known token.
    assert_eq!(refused(&rules, "unknown"), RequestErrorCode::Unauthorized);
    let alone = one_key("ed25519.pub.pem", &Hand::at(NOON));
    assert_eq!(refused(&alone, "unknown"), RequestErrorCode::MalformedAuthToken);
}

#[test]
fn a_token_is_good_again_and_again() {
    let hand = Hand::at(NOON);
    let rules = one_key("p256-a.pub.pem", &hand);
    let token = sign("p256-a.pem", None, &json!({ "subscribe": "a", "exp": NOON + 100 }));
    let shown: PeerInfo = peer_at(&format!("?jwt={token}"));
    for passed in [0, 50, 129] {
        hand.set(NOON + passed);
        let verdict = ask(&rules, &shown, Permission::Subscribe, "a", &[]);
        assert_eq!(lasts(&verdict), Some(130 - passed));
    }
    hand.set(NOON + 130);
    let verdict = ask(&rules, &shown, Permission::Subscribe, "a", &[]);
    assert_eq!(code(&verdict), RequestErrorCode::ExpiredAuthToken);
}
