//! Tokens that somebody has made to get in.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use moqt_engine::model::RequestErrorCode;
use moqt_engine::model::RequestErrorCode::{MalformedAuthToken, Unauthorized};
use moqt_relay::{Authorize, Permission};
use moqt_relay_server::auth::{Guesses, Rules, Sources, path_without_secrets};
use serde_json::json;

use crate::signed::{sign, signing_key};
use crate::support::*;

fn rules() -> Rules {
    let jwt_keys = vec![key("ed25519.pub.pem"), key("p256-a.pub.pem")];
    let sources = Sources { jwt_keys, ..Sources::default() };
    Rules::load(&sources, Hand::at(NOON).clock(), Guesses::default()).unwrap()
}

/// Asks with the token with the request, in SETUP and in the path.
fn refused(rules: &Rules, token: &[u8]) -> RequestErrorCode {
    let mut peer = peer();
    peer.address = None;
    let verdict = ask(rules, &peer, Permission::Subscribe, "a", &[token]);
    peer.tokens = vec![value(token)];
    assert_eq!(code(&rules.session(&peer)), code(&verdict));
    assert!(!is_allowed(&ask(rules, &peer, Permission::Subscribe, "a", &[])));
    code(&verdict)
}

/// Base64url without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        let word = word << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            text.push(char::from(DIGITS[(word >> (18 - 6 * place)) as usize & 63]));
        }
    }
    text
}

/// A token of this header and these claims, signed with the Ed25519 key whatever the header says.
fn signed_raw(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", base64(header.as_bytes()), base64(claims.as_bytes()));
    let (algorithm, key) = signing_key("ed25519.pem");
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
    format!("{message}.{signature}")
}

const HEADER: &str = r#"{"alg":"EdDSA"}"#;

#[test]
fn what_is_made_here_by_hand_is_good_if_it_is_right() {
    let token = signed_raw(HEADER, r#"{"subscribe":"a"}"#);
    let verdict = ask(&rules(), &peer(), Permission::Subscribe, "a", &[token.as_bytes()]);
    assert!(is_allowed(&verdict));
}

#[test]
fn no_algorithm_is_no_signature() {
    let rules = rules();
    for alg in ["none", "None", "NONE", ""] {
        let header = format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#);
        let message = format!("{}.{}", base64(header.as_bytes()), base64(br#"{"subscribe":"a"}"#));
        for token in [format!("{message}."), signed_raw(&header, r#"{"subscribe":"a"}"#)] {
            assert_eq!(refused(&rules, token.as_bytes()), MalformedAuthToken, "{token}");
        }
    }
}

#[test]
fn a_public_key_is_no_secret() {
    let rules = rules();
    let claims = json!({ "subscribe": "a" });
    for name in ["ed25519.pub.pem", "p256-a.pub.pem"] {
        let pem = std::fs::read(key(name)).unwrap();
        let der: Vec<u8> =
            pem.split(|byte| *byte == b'\n').skip(1).take(2).flatten().copied().collect();
        for secret in [&pem[..], pem.trim_ascii_end(), &der] {
            for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
                let key = EncodingKey::from_secret(secret);
                let token = encode(&Header::new(algorithm), &claims, &key).unwrap();
                assert_eq!(refused(&rules, token.as_bytes()), Unauthorized);
            }
        }
    }
    // Nor is one algorithm's key another's.
    let mislabelled = signed_raw(r#"{"alg":"ES256"}"#, r#"{"subscribe":"a"}"#);
    assert_eq!(refused(&rules, mislabelled.as_bytes()), Unauthorized);
}

#[test]
fn a_key_that_a_token_brings_along_is_not_used() {
    let (rules, (_, stranger)) = (rules(), signing_key("p256-b.pem"));
    let mut header = Header::new(Algorithm::ES256);
    header.jwk =
        Some(jsonwebtoken::jwk::Jwk::from_encoding_key(&stranger, Algorithm::ES256).unwrap());
    header.jku = Some("https://127.0.0.1/keys".into());
    let token = encode(&header, &json!({ "subscribe": "a" }), &stranger).unwrap();
    assert_eq!(refused(&rules, token.as_bytes()), Unauthorized);
}

#[test]
fn a_changed_token_is_not_signed() {
    let rules = rules();
    let token = sign("ed25519.pem", None, &json!({ "subscribe": "a" }));
    let last = token.rfind('.').unwrap();
    let (message, signature) = token.split_at(last);
    let (header, _) = message.split_at(message.find('.').unwrap());
    let widened = format!("{header}.{}{signature}", base64(br#"{"subscribe":"**"}"#));
    assert_eq!(refused(&rules, widened.as_bytes()), Unauthorized);
    let cut = &token[..token.len() - 2];
    assert_eq!(refused(&rules, cut.as_bytes()), Unauthorized);
    assert_eq!(refused(&rules, format!("{message}.").as_bytes()), Unauthorized);
    // A verdict on the true one is not one on the others.
    assert!(is_allowed(&ask(&rules, &peer(), Permission::Subscribe, "a", &[token.as_bytes()])));
    assert_eq!(refused(&rules, widened.as_bytes()), Unauthorized);
}

#[test]
fn what_cannot_be_read_is_malformed() {
    let rules = rules();
    let nested = format!("{}{}", r#"{"a":"#.repeat(700), "}".repeat(700));
    for token in [
        b"".to_vec(),
        b"..".to_vec(),
        b"a.b.c".to_vec(),
        b"a.b.c.d".to_vec(),
        vec![0xff; 100],
        vec![0; 8192],
        [b"..".to_vec(), vec![0xff; 100]].concat(),
        vec![b'.'; 8192],
        vec![b'a'; 8193],
        vec![b'a'; 1 << 20],
        signed_raw(&nested, "{}").into_bytes(),
        signed_raw(HEADER, &nested).into_bytes(),
        signed_raw(HEADER, "[]").into_bytes(),
        signed_raw(HEADER, "").into_bytes(),
        signed_raw(HEADER, r#"{"subscribe":1}"#).into_bytes(),
        signed_raw(HEADER, r#"{"subscribe":["a",1]}"#).into_bytes(),
        signed_raw(HEADER, r#"{"subscribe":"a//b"}"#).into_bytes(),
        signed_raw(HEADER, r#"{"subscribe":"**/b"}"#).into_bytes(),
        signed_raw(HEADER, "{\"subscribe\":\"a\"} {}").into_bytes(),
        // Twice the same claim: which one counts?
        signed_raw(HEADER, r#"{"subscribe":"a","subscribe":"**"}"#).into_bytes(),
        signed_raw(HEADER, r#"{"subscribe":"a","exp":1,"exp":9999999999}"#).into_bytes(),
        // Times that are none.
        signed_raw(HEADER, r#"{"subscribe":"a","exp":null}"#).into_bytes(),
        signed_raw(HEADER, r#"{"subscribe":"a","exp":"9999999999"}"#).into_bytes(),
        signed_raw(HEADER, r#"{"subscribe":"a","exp":-1}"#).into_bytes(),
        signed_raw(HEADER, r#"{"subscribe":"a","exp":1e300}"#).into_bytes(),
        signed_raw(HEADER, r#"{"subscribe":"a","nbf":[]}"#).into_bytes(),
        signed_raw(HEADER, r#"{"subscribe":"a","aud":{"us":1}}"#).into_bytes(),
        // Signed, and longer than is read.
        signed_raw(HEADER, &format!(r#"{{"subscribe":"a","x":"{}"}}"#, "x".repeat(6100)))
            .into_bytes(),
        // RFC 7515, section 4.1.11.
        signed_raw(r#"{"alg":"EdDSA","crit":["b64"],"b64":false}"#, r#"{"subscribe":"a"}"#)
            .into_bytes(),
        signed_raw(r#"{"alg":"EdDSA","crit":[]}"#, r#"{"subscribe":"a"}"#).into_bytes(),
        signed_raw(r#"{"alg":"EdDSA","alg":"HS256"}"#, r#"{"subscribe":"a"}"#).into_bytes(),
    ] {
        let shown = String::from_utf8_lossy(&token[..token.len().min(80)]).into_owned();
        assert_eq!(refused(&rules, &token), MalformedAuthToken, "{shown}");
    }
}

#[test]
fn a_message_with_a_malformed_token_is_rejected_whatever_else_it_has() {
    let rules = rules();
    let good = sign("ed25519.pem", None, &json!({ "subscribe": "a" }));
    let session = peer_with(&[good.as_bytes()]);
    assert!(is_allowed(&ask(&rules, &session, Permission::Subscribe, "a", &[])));
    for tokens in [&[&b"x"[..]][..], &[good.as_bytes(), b"x"], &[b"x", good.as_bytes()]] {
        let verdict = ask(&rules, &session, Permission::Subscribe, "a", tokens);
        assert_eq!(code(&verdict), MalformedAuthToken);
    }
}

#[test]
fn a_token_may_be_long_and_say_much_else() {
    let claims = format!(r#"{{"subscribe":"a","x":[{{"y":"{}"}}]}}"#, "x".repeat(5900));
    let token = signed_raw(HEADER, &claims);
    assert!(is_allowed(&ask(&rules(), &peer(), Permission::Subscribe, "a", &[token.as_bytes()])));
}

#[test]
fn far_times_do_no_harm() {
    let rules = rules();
    let token = signed_raw(HEADER, r#"{"subscribe":"a","exp":18446744073709549568,"nbf":0}"#);
    assert!(is_allowed(&ask(&rules, &peer(), Permission::Subscribe, "a", &[token.as_bytes()])));
    let never = signed_raw(HEADER, r#"{"subscribe":"a","nbf":18446744073709549568}"#);
    assert_eq!(refused(&rules, never.as_bytes()), Unauthorized);
}

#[test]
fn nothing_shows_a_secret() {
    let text = format!(
        "[[token]]\ntoken = 'the-secret-token'\npermissions = ['all']\nnamespaces = ['a']\n\
         [[jwt.key]]\nalgorithm = 'HS256'\nfile = '{}'",
        key("secret").display()
    );
    let rules = load("debug", &text, &Hand::at(NOON)).unwrap();
    let shown = format!("{rules:?} {rules:#?}");
    let secret = std::fs::read_to_string(key("secret")).unwrap();
    let bytes = format!("{:?}", secret.as_bytes());
    for secret in ["the-secret-token", secret.trim(), bytes.trim_matches(['[', ']'])] {
        assert!(!shown.contains(secret));
    }
    assert!(shown.contains("HS256"), "it shows something");

    for (path, expected) in [
        ("/live?token=abc&x=1", "/live?token=…&x=…"),
        ("/live/0123456789abcdefg", "/live/…"),
        ("/live/room?abc", "/live/room?…"),
        ("/live/room", "/live/room"),
        ("", ""),
    ] {
        assert_eq!(path_without_secrets(path.as_bytes()), expected);
    }
    assert_eq!(path_without_secrets(&[0xff, b'/', b'a']), "");
}
