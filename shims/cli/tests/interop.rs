//! `moqt interop` as the runner calls it: its TAP, its exit status, and what it finds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod support;

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::process::{Command, Output, Stdio};

use moqt_engine::model::{RequestErrorCode, SessionError};
use moqt_engine::{Accept, Draft, Refusal, SubgroupOptions};
use moqt_quinn_proto::session::Incoming;
use support::{examples, relay, server};

const STANDARD: [&str; 6] = [
    "setup-only",
    "announce-only",
    "publish-namespace-done",
    "subscribe-error",
    "announce-subscribe",
    "subscribe-before-announce",
];

/// Calls it with these arguments and variables, and none of those that are set around here.
fn interop(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moqt"));
    for name in ["RELAY_URL", "TESTCASE", "TLS_DISABLE_VERIFY", "VERBOSE", "DRAFT", "MOQT_DRAFT"] {
        command.env_remove(name);
    }
    command.arg("interop").args(args).envs(variables.iter().copied());
    command.stdin(Stdio::null()).output().unwrap()
}

/// Calls it for a URL whose certificate is not to be looked at.
fn against(url: &str, args: &[&str]) -> (Tap, Output) {
    let output = interop(&[&["-r", url, "--tls-disable-verify"], args].concat(), &[]);
    (Tap::parse(&output), output)
}

/// What TAP says.
#[derive(Debug)]
struct Tap {
    comments: Vec<String>,
    points: Vec<Point>,
    bail_out: Option<String>,
}

#[derive(Debug)]
struct Point {
    is_ok: bool,
    name: String,
    skipped: Option<String>,
    fields: BTreeMap<String, String>,
}

impl Tap {
    /// Reads all of it, and takes nothing that TAP 14 and the runner do not know.
    fn parse(output: &Output) -> Self {
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("TAP version 14"), "{text}");
        let mut tap = Self { comments: Vec::new(), points: Vec::new(), bail_out: None };
        let mut plan = None;
        while let Some(line) = lines.next() {
            if let Some(comment) = line.strip_prefix("# ") {
                tap.comments.push(comment.to_owned());
            } else if let Some(count) = line.strip_prefix("1..") {
                assert!(plan.replace(count.parse::<usize>().unwrap()).is_none(), "{text}");
            } else if let Some(why) = line.strip_prefix("Bail out! ") {
                tap.bail_out = Some(why.to_owned());
                assert_eq!(lines.next(), None, "{text}");
            } else if line == "  ---" {
                let point = tap.points.last_mut().unwrap();
                for line in lines.by_ref().take_while(|line| *line != "  ...") {
                    let (name, value) = line.strip_prefix("  ").unwrap().split_once(": ").unwrap();
                    let value = if value.starts_with('"') {
                        serde_json::from_str(value).unwrap()
                    } else {
                        value.to_owned()
                    };
                    assert!(point.fields.insert(name.to_owned(), value).is_none(), "{text}");
                }
            } else {
                let (is_ok, rest) = match line.strip_prefix("not ") {
                    Some(rest) => (false, rest),
                    None => (true, line),
                };
                let number = format!("ok {} - ", tap.points.len() + 1);
                let Some(rest) = rest.strip_prefix(&number) else { panic!("{line:?} in\n{text}") };
                let (name, skipped) = match rest.split_once(" # SKIP ") {
                    Some((name, why)) => (name, Some(why.to_owned())),
                    None => (rest, None),
                };
                let name = name.to_owned();
                tap.points.push(Point { is_ok, name, skipped, fields: BTreeMap::new() });
            }
        }
        let plan = plan.unwrap_or_else(|| panic!("no plan: {text}"));
        assert!(tap.bail_out.is_some() || plan == tap.points.len(), "{text}");
        tap
    }

    fn only(self) -> Point {
        let [point] = <[Point; 1]>::try_from(self.points).unwrap();
        point
    }
}

#[test]
fn our_relay_passes_everything_on_every_draft_and_transport() {
    let (relay, _runtime) = relay();
    let all = String::from_utf8(interop(&["--list"], &[]).stdout).unwrap();
    let all: Vec<_> = all.lines().collect();
    assert_eq!(all[..6], STANDARD);
    for scheme in ["moqt", "https"] {
        for draft in Draft::ALL {
            let url = format!("{scheme}://{}/", relay.local_addr());
            let (tap, output) =
                against(&url, &["--strict", "--draft", &draft.number().to_string()]);
            let failed: Vec<_> =
                tap.points.iter().filter(|point| !point.is_ok || point.skipped.is_some()).collect();
            assert!(failed.is_empty() && output.status.success(), "{url} {draft}: {failed:#?}");
            let names: Vec<_> = tap.points.iter().map(|point| point.name.as_str()).collect();
            assert_eq!(names, all);
            assert!(tap.comments.contains(&format!("Relay: {url}")), "{:?}", tap.comments);
            assert!(tap.comments.contains(&format!("Draft: {draft}")), "{:?}", tap.comments);
            let fields = |name: &str| -> Vec<String> {
                let point = tap.points.iter().find(|point| point.name == name).unwrap();
                assert!(point.fields["duration_ms"].parse::<u64>().is_ok());
                let ids = point.fields.iter().filter(|(name, _)| name.ends_with("connection_id"));
                ids.map(|(name, id)| {
                    assert!(id.len() >= 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
                    name.clone()
                })
                .collect()
            };
            assert_eq!(fields("setup-only"), ["connection_id"]);
            let both = ["publisher_connection_id", "subscriber_connection_id"];
            assert_eq!(fields("announce-subscribe"), both);
            let error = tap.points.iter().find(|point| point.name == "subscribe-error").unwrap();
            assert_eq!(error.fields["expected"], error.fields["received"]);
            // Draft 14, section 8.8, and drafts 16 and 18, "Request Error Codes".
            let code = if draft >= Draft::D16 {
                "REQUEST_ERROR 0x10 DOES_NOT_EXIST"
            } else {
                "SUBSCRIBE_ERROR 0x4 TRACK_DOES_NOT_EXIST"
            };
            assert_eq!(error.fields["received"], code);
        }
    }
}

#[test]
fn variables_count_less_than_flags_and_more_than_defaults() {
    let (relay, _runtime) = relay();
    let url = format!("moqt://{}", relay.local_addr());
    let variables = [
        ("RELAY_URL", url.as_str()),
        ("TESTCASE", "announce-only"),
        ("TLS_DISABLE_VERIFY", "1"),
        ("VERBOSE", "1"),
        ("MOQT_DRAFT", "16"),
    ];
    let output = interop(&[], &variables);
    let tap = Tap::parse(&output);
    assert!(output.status.success());
    assert!(tap.comments.contains(&"Draft: draft-16".into()), "{:?}", tap.comments);
    assert!(tap.comments.contains(&"received PUBLISH_NAMESPACE_OK".into()), "{:?}", tap.comments);
    let point = tap.only();
    assert!(point.is_ok && point.name == "announce-only");

    let args = ["--draft", "14", "-t", "setup-only", "-r", &url];
    let tap = Tap::parse(&interop(&args, &variables));
    assert!(tap.comments.contains(&"Draft: draft-14".into()), "{:?}", tap.comments);
    assert_eq!(tap.only().name, "setup-only");

    // Variables that are empty say nothing; a certificate is looked at unless one says so.
    let variables = [("RELAY_URL", url.as_str()), ("TESTCASE", ""), ("TLS_DISABLE_VERIFY", "0")];
    let output = interop(&["-t", "setup-only"], &variables);
    assert!(Tap::parse(&output).bail_out.unwrap().contains("certificate"));
    assert_eq!(output.status.code(), Some(1));

    let output = interop(&[], &[("RELAY_URL", &url), ("DRAFT", "15")]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("DRAFT"));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn other_names_of_a_test_are_kept_and_unknown_ones_are_said_so() {
    let (relay, _runtime) = relay();
    let url = format!("moqt://{}", relay.local_addr());
    for name in [
        "publish-namespace-only",
        "publish-namespace-subscribe",
        "subscribe-before-publish-namespace",
    ] {
        let point = against(&url, &["-t", name]).0.only();
        assert!(point.is_ok && point.name == name, "{point:?}");
    }
    let output = interop(&["-r", &url, "-t", "no-such-test"], &[]);
    assert_eq!(output.status.code(), Some(127));
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8(output.stderr).unwrap().contains("no-such-test"));
}

#[test]
fn a_relay_that_is_not_there_ends_the_run() {
    // Nobody answers on a port that is held but not read.
    let held = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (tap, output) = against(&format!("moqt://{}", held.local_addr().unwrap()), &[]);
    assert!(tap.bail_out.unwrap().contains("no answer from 127.0.0.1"));
    assert!(tap.points.is_empty());
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_peer_that_never_answers_costs_a_test_its_time_and_no_more() {
    let (url, _runtime) = server(|session| async move {
        let mut asked = Vec::new();
        while let Ok(request) = session.accept_request().await {
            asked.push(request);
        }
    });
    let point = against(&url, &["-t", "setup-only"]).0.only();
    assert!(point.is_ok, "{point:?}");
    for (name, expected) in [
        ("announce-only", "PUBLISH_NAMESPACE_OK"),
        ("publish-namespace-done", "PUBLISH_NAMESPACE_OK"),
        ("announce-subscribe", "PUBLISH_NAMESPACE_OK"),
        ("join", "PUBLISH_NAMESPACE_OK"),
    ] {
        let (tap, output) = against(&url, &["-t", name]);
        let point = tap.only();
        assert!(!point.is_ok && output.status.code() == Some(1), "{point:?}");
        assert_eq!(point.fields["expected"], expected);
        assert_eq!(point.fields["received"], "timeout");
        assert!(point.fields["message"].starts_with("no answer within "), "{point:?}");
        assert!(point.fields.keys().any(|name| name.ends_with("connection_id")), "{point:?}");
    }
    let point = against(&url, &["-t", "subscribe-error"]).0.only();
    assert_eq!(point.fields["received"], "timeout", "{point:?}");
}

#[test]
fn a_peer_that_closes_the_session_is_quoted() {
    let (url, _runtime) = server(|session| async move {
        let _ = session.accept_request().await;
        session.close(SessionError::InternalError, "out of\ntapes\nok 1 - forged");
        session.closed().await;
    });
    let (tap, output) = against(&url, &["-t", "announce-only"]);
    let point = tap.only();
    assert!(!point.is_ok && output.status.code() == Some(1), "{point:?}");
    assert!(point.fields["message"].contains("INTERNAL_ERROR"), "{point:?}");
    assert!(point.fields["message"].contains("tapes"), "{point:?}");
}

#[test]
fn an_error_of_another_code_passes_unless_it_is_to_be_exact() {
    let (url, _runtime) = server(|session| async move {
        while let Ok(request) = session.accept_request().await {
            request.reject(Refusal::new(RequestErrorCode::Timeout));
        }
    });
    let args = ["-t", "subscribe-error", "--draft", "18"];
    let point = against(&url, &args).0.only();
    assert!(point.is_ok, "{point:?}");
    assert_eq!(point.fields["received"], "REQUEST_ERROR 0x2 TIMEOUT");
    let point = against(&url, &[&args[..], &["--strict"]].concat()).0.only();
    assert!(!point.is_ok, "{point:?}");
}

#[test]
fn a_relay_that_makes_up_objects_fails() {
    let (url, _runtime) = server(|session| async move {
        let mut kept = Vec::new();
        while let Ok(request) = session.accept_request().await {
            match request {
                Incoming::PublishNamespace(request) => kept.push(request.accept().unwrap()),
                Incoming::Subscribe(request) => {
                    let publication = request.accept(Accept::default()).unwrap();
                    let writer = publication.open_subgroup(SubgroupOptions::new(0)).await.unwrap();
                    let mut writer = writer.unwrap();
                    writer.write_object(0, vec![0; 1000].into()).await.unwrap();
                    writer.finish().unwrap();
                    session.closed().await;
                }
                _ => {}
            }
        }
    });
    let point = against(&url, &["-t", "single-object"]).0.only();
    assert!(
        !point.is_ok && point.fields["message"].contains("has 1000 bytes of 1000"),
        "{point:?}"
    );
}

#[test]
fn the_examples_in_the_help_are_right() {
    let output = interop(&["--help"], &[]);
    let help = String::from_utf8(output.stdout).unwrap();
    let (relay, _runtime) = relay();
    let address = relay.local_addr().to_string();
    let examples = examples(&help, "interop");
    assert_eq!(examples.len(), 3, "{help}");
    for example in examples {
        let line = example.replace("127.0.0.1:4443", &address);
        let output = interop(&line.split(' ').collect::<Vec<_>>(), &[]);
        assert!(output.status.success(), "{line}: {output:?}");
    }
}
