//! Files that are wrong say where and what to do, and change nothing.

use moqt_relay::Permission;
use moqt_relay_server::auth::{Guesses, Rules, Sources, WallClock};

use crate::support::*;

#[test]
fn errors_name_the_line_and_what_to_do() {
    for (text, expected) in [
        ("\n\n[[token]]\ntokn = 'x'", ":4: unknown field `tokn`, expected one of `name`, `token`"),
        ("[[token]]\npermissions = ['all']\nnamespaces = ['a']", ":1: a [[token]] needs one of"),
        (
            "[[token]]\ntoken = 'x'\nsha256 = 'y'\npermissions = ['all']\nnamespaces = ['a']",
            ":1: a [[token]] needs one of",
        ),
        ("[[token]]\ntoken = 'x'\nnamespaces = ['a']", ":1: missing field `permissions`"),
        ("[[token]]\ntoken = 'x'\npermissions = []\nnamespaces = ['a']", ":1: a [[token]] without"),
        (
            "[[token]]\ntoken = 'x'\npermissions = ['all',\n 'publishing']\nnamespaces = ['a']",
            ":4: no permission `publishing`: there are publish, publish-namespace,",
        ),
        (
            "[[token]]\ntoken = 'x'\npermissions = ['all']\nnamespaces = ['a/**/b']",
            ":4: in `a/**/b` `**` is not the last field",
        ),
        (
            "[[token]]\ntoken = 'x'\npermissions = ['all']\nnamespaces = ['a']\ntrack = '%'",
            ":5: in `%` `%` without two hex digits",
        ),
        (
            "[[token]]\ntoken = 'x'\npermissions = ['all']\nnamespaces = ['a']\nexpires = 'soon'",
            ":5: `expires` must be a time such as",
        ),
        (
            "[[token]]\ntoken = 'x'\npermissions = ['all']\nnamespaces = ['a']\nexpires = -1",
            ":5: `expires` must be",
        ),
        (
            "[[token]]\ntoken = 'x'\npermissions = ['all']\nnamespaces = ['a']\n\
             expires = 2030-01-31T12:00:00",
            ":5: `expires` must be a time such as 2030-01-31T12:00:00Z (with Z or an offset",
        ),
        ("[jwt]\nleeway = 601", ":2: `leeway` is over 600 seconds"),
        (
            "[[jwt.key]]\nfile = 'x'\nalgorithm = 'RS256'",
            ":3: no algorithm `RS256`: there are HS256",
        ),
        ("[relays]\ncertificates = ['a', 'relay-*.example']", ":2: a certificate's name"),
        ("[sessions]\nneed_tokens = true", ":2: unknown field `need_tokens`"),
        ("[[token]\n", ":1: "),
    ] {
        let wrong = wrong("lines", text);
        assert!(wrong.starts_with(expected), "{text}\n{wrong}");
    }
}

#[test]
fn errors_show_no_token() {
    for text in [
        "[[token]]\ntoken = 'SECRET",
        "[[token]]\ntoken = 'SECRET' permissions",
        "[[token]]\ntoken = ['SECRET']\npermissions = ['all']\nnamespaces = ['a']",
        "[[token]]\nsha256 = 'SECRET'\npermissions = ['all']\nnamespaces = ['a']",
        "[[token]]\ntoken = 'SECRET'\npermissions = ['all']\nnamespaces = 'SECRET2'x",
        "[[token]]\ntoken = 'SECRET'\ntoken = 'SECRET'",
    ] {
        let wrong = wrong("secrets", text);
        assert!(!wrong.contains("SECRET"), "{wrong}");
    }
}

#[test]
fn keys_that_are_none() {
    let folder = folder("keys");
    let wrong = |content: &[u8], algorithm: &str| {
        let file = folder.join("key");
        std::fs::write(&file, content).unwrap();
        let line =
            if algorithm.is_empty() { String::new() } else { format!("algorithm = '{algorithm}'") };
        let text = format!("[[jwt.key]]\nfile = 'key'\n{line}");
        std::fs::write(folder.join("auth.toml"), text).unwrap();
        let sources = Sources { file: Some(folder.join("auth.toml")), ..Sources::default() };
        let loaded = Rules::load(&sources, WallClock::default(), Guesses::default());
        loaded.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let file = |name: &str| std::fs::read(key(name)).unwrap();
    let with = |content: &[u8], algorithm, expected: &str| {
        let wrong = wrong(content, algorithm);
        assert!(wrong.contains(expected), "{expected}: {wrong}");
        assert!(wrong.contains("keys/key: "), "{wrong}");
    };
    with(&file("p384.pub.pem"), "", "of another curve");
    with(&file("rsa.pub.pem"), "", "is not a public key of Ed25519 or P-256");
    with(&file("p256-a.pem"), "", "openssl pkey -in KEY -pubout");
    with(&file("ed25519.pem"), "", "openssl pkey -in KEY -pubout");
    with(&file("ed25519.pub.pem"), "HS256", "and not for the algorithm named");
    with(&file("p256-a.pub.pem"), "EdDSA", "and not for the algorithm named");
    with(&file("secret"), "", "algorithm = \"HS256\"");
    with(&file("secret"), "ES256", "is neither PEM nor JWK");
    with(b"short\n", "HS256", "32 bytes or more");
    with(&[b'x'; 31], "HS256", "32 bytes or more");
    with(br#"{"kty":"oct","k":"c2hvcnQ"}"#, "", "32 bytes or more");
    with(
        br#"{"kty":"oct","alg":"HS512","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}"#,
        "",
        "HS512 is not supported",
    );
    with(br#"{"keys":[]}"#, "", "without any key");
    with(br#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#, "", "neither HS256, ES256");
    with(
        br#"{"kty":"OKP","crv":"Ed25519","alg":"ES256","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
        "",
        "its `alg` is not what its curve is for",
    );
    with(b"{ not json", "", "is neither a JWK nor");
    assert_eq!(wrong(&[b'x'; 32], "HS256"), "");
    assert_eq!(wrong(&file("p256-a.pub.pem"), "ES256"), "");

    let missing = folder.join("missing.pem");
    let sources = Sources { jwt_keys: vec![missing], ..Sources::default() };
    let error = Rules::load(&sources, WallClock::default(), Guesses::default()).unwrap_err();
    assert!(error.to_string().contains("missing.pem: cannot be read: "), "{error}");
}

#[test]
fn two_keys_of_one_name_are_an_error() {
    let entry =
        |file: &str| format!("[[jwt.key]]\nkid = 'one'\nfile = '{}'\n", key(file).display());
    let wrong = wrong("twice", &(entry("p256-a.pub.pem") + &entry("p256-b.pub.pem")));
    assert!(wrong.starts_with(":4: two keys have the `kid` one"), "{wrong}");
}

#[test]
fn a_bad_file_changes_nothing() {
    let hand = Hand::at(NOON);
    let good = "[[token]]\ntoken = 'x'\npermissions = ['all']\nnamespaces = ['a']";
    let rules = load("reload", good, &hand).unwrap();
    assert!(load("reload", "[[token]]\n", &hand).is_err());
    assert!(is_allowed(&ask(&rules, &peer(), Permission::Subscribe, "a", &[b"x"])));
    let other = load("reload", &good.replace("'x'", "'y'"), &hand).unwrap();
    assert!(!is_allowed(&ask(&other, &peer(), Permission::Subscribe, "a", &[b"x"])));
    assert!(is_allowed(&ask(&other, &peer(), Permission::Subscribe, "a", &[b"y"])));
}

#[test]
fn the_file_in_the_documentation_is_right() {
    let docs = include_str!("../../src/auth/mod.rs");
    let (_, rest) = docs.split_once("//! ```toml\n").unwrap();
    let (sample, _) = rest.split_once("//! ```").unwrap();
    let sample = sample.replace("//! ", "").replace("//!", "");
    std::fs::copy(key("p256-a.pub.pem"), folder("sample").join("login.pem")).unwrap();
    let hand = Hand::at(NOON - 1);
    let rules = load("sample", &sample, &hand).unwrap();
    let asked = |hand_at| {
        hand.set(hand_at);
        is_allowed(&ask(&rules, &peer(), Permission::Publish, "live/x", &[b"long and random"]))
    };
    assert!(asked(NOON - 1));
    assert!(!asked(NOON));
}
