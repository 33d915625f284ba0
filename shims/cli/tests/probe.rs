//! `moqt probe` as it is called: its lines, its report, and whom it waits for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;

use moqt_engine::model::AuthToken;
use moqt_engine::{CloseReason, Draft};
use serde_json::{Value, json};
use support::{examples, relay, server};

/// With these arguments and variables, and none of those that are set around here.
fn command(args: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moqt"));
    for name in ["RELAYS_FILE", "OUTPUT_FILE", "PROBE_TIMEOUT", "PROBE_INTERVAL", "PROBE_ONCE"] {
        command.env_remove(name);
    }
    command.arg("probe").args(args).envs(variables.iter().copied()).stdin(Stdio::null());
    command
}

fn probe(args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, .. } = command(args, &[]).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap())
}

/// One that goes on until it is dropped.
struct Monitor(Child);

impl Monitor {
    fn start(mut command: Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn folder(test: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("probe").join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn read(file: &PathBuf) -> Option<Value> {
    // It is never there in parts.
    fs::read_to_string(file).ok().map(|text| serde_json::from_str(&text).unwrap())
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn newest_first() -> Vec<Draft> {
    let mut drafts = Draft::ALL.to_vec();
    drafts.sort_unstable_by(|a, b| b.cmp(a));
    drafts
}

/// A port that is held but not read: nobody answers there.
fn silent() -> (UdpSocket, String) {
    let held = UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("moqt://{}", held.local_addr().unwrap());
    (held, url)
}

#[test]
fn what_a_relay_speaks_is_a_line() {
    let (relay, _runtime) = relay();
    let quic = format!("moqt://{}", relay.local_addr());
    let http = format!("https://{}/", relay.local_addr());
    let (code, lines) = probe(&["-k", &quic, &http]);
    assert_eq!(code, Some(0));
    let mut lines: Vec<_> = lines.lines().collect();
    lines.sort_unstable();
    let all: Vec<_> = newest_first().iter().map(Draft::to_string).collect();
    for (line, url, transport) in [(lines[0], &http, "H3/WT"), (lines[1], &quic, "QUIC")] {
        let words: Vec<_> =
            line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect();
        let [got_url, got_transport, mark, drafts, time] = words[..] else { panic!("{line}") };
        assert_eq!((got_url, got_transport, mark), (url.as_str(), transport, "✓"));
        assert_eq!(drafts, all.join(", "));
        assert!(time.starts_with('(') && time.ends_with(" ms)"), "{line}");
    }
}

#[test]
fn who_does_not_answer_is_said_why() {
    let (_held, nobody) = silent();
    let (code, line) = probe(&["-t", "0.3", &nobody]);
    assert!(code == Some(1) && line.contains("✗  no answer"), "{line}");
    let (relay, _runtime) = relay();
    let (code, line) = probe(&[&format!("moqt://{}", relay.local_addr())]);
    assert!(code == Some(1) && line.contains("✗  certificate not accepted"), "{line}");
    // One that answers is enough.
    let (code, lines) =
        probe(&["-k", "-t", "1", &nobody, &format!("moqt://{}", relay.local_addr())]);
    assert!(code == Some(0) && lines.contains('✗') && lines.contains('✓'), "{lines}");
    let output = command(&["nonsense"], &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("expected moqt://host"));
}

#[test]
fn one_session_is_enough_for_an_offer() {
    let (relay, _runtime) = relay();
    let url = format!("moqt://{}", relay.local_addr());
    let (_, text) = probe(&["-k", "--json", "--offer", "--draft", "14,16", &url]);
    let endpoint: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&endpoint["drafts"], &endpoint["draft"]), (&json!([16]), &json!(16)));
    assert_eq!(endpoint["probes"].as_array().unwrap().len(), 1);
    assert_eq!(endpoint["probes"][0]["alpn"], "moqt-16");
}

#[test]
fn a_token_is_sent_with_every_setup() {
    let (came, tokens) = mpsc::channel();
    let (url, _runtime) = server(move |session| {
        let _ = came.send(session.info().setup.options.authorization_tokens.clone());
        async move { drop(session.closed().await) }
    });
    assert_eq!(probe(&["-k", "--auth-token", "secret", &url]).0, Some(0));
    for _ in Draft::ALL {
        let tokens = tokens.recv().unwrap();
        let (_, value) = tokens.first().and_then(AuthToken::value).unwrap();
        assert_eq!(value, "secret");
    }
}

#[test]
fn sessions_are_ended_in_order() {
    let (ended, ends) = mpsc::channel();
    let (url, _runtime) = server(move |session| {
        let ended = ended.clone();
        async move {
            let reason = session.closed().await;
            ended.send((session.draft(), reason)).unwrap();
        }
    });
    assert_eq!(probe(&["-k", &url]).0, Some(0));
    let mut drafts = Vec::new();
    for _ in Draft::ALL {
        let (draft, reason) = ends.recv().unwrap();
        assert!(matches!(reason, CloseReason::Peer { .. }) && reason.is_clean(), "{reason}");
        drafts.push(draft);
    }
    drafts.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(drafts, newest_first());
}

#[test]
fn the_report_has_everything_in_its_place() {
    let folder = folder("report");
    let (relay, _runtime) = relay();
    let address = relay.local_addr();
    let (list, report) = (folder.join("relays.json"), folder.join("deep").join("status.json"));
    let relays = json!([
        {"id": "ours", "name": "Our relay", "interval": 7, "endpoints": [
            {"url": format!("moqt://{address}"), "verify_tls": false},
            {"url": format!("https://{address}/"), "verify_tls": false},
        ]},
        {"id": "strict", "endpoints": [{"url": format!("moqt://{address}")}]},
        {"id": "wrong", "endpoints": [{"url": "gopher://example"}]},
    ]);
    fs::write(&list, relays.to_string()).unwrap();
    let (list, file) = (list.to_str().unwrap(), report.to_str().unwrap());
    let variables = [("RELAYS_FILE", list), ("OUTPUT_FILE", "/no/such"), ("PROBE_ONCE", "1")];
    // A flag counts more than a variable.
    let output = command(&["-o", file], &variables).output().unwrap();
    assert!(output.status.success(), "{output:?}");

    let report = read(&report).unwrap();
    assert_eq!(keys(&report), ["timestamp", "relays"].into());
    let time = report["timestamp"].as_str().unwrap();
    assert!(time.len() == 20 && time.starts_with("20") && time.ends_with('Z'), "{time}");
    assert_eq!(keys(&report["relays"]), ["ours", "strict", "wrong"].into());
    let ours = &report["relays"]["ours"];
    assert_eq!(keys(ours), ["name", "live", "drafts", "endpoints"].into());
    let numbers: Vec<_> = newest_first().iter().rev().map(|draft| draft.number()).collect();
    assert_eq!(ours["name"], "Our relay");
    assert_eq!((&ours["live"], &ours["drafts"]), (&json!(true), &json!(numbers)));
    let endpoint_keys = [
        "url",
        "transport",
        "host",
        "port",
        "live",
        "drafts",
        "draft",
        "latency_ms",
        "probes",
        "error",
    ];
    for (at, transport) in ["QUIC", "H3/WT"].into_iter().enumerate() {
        let endpoint = &ours["endpoints"][at];
        assert_eq!(keys(endpoint), endpoint_keys.into());
        assert_eq!(endpoint["transport"], transport);
        assert_eq!(
            (&endpoint["host"], &endpoint["port"]),
            (&json!("127.0.0.1"), &json!(address.port()))
        );
        assert_eq!((&endpoint["drafts"], &endpoint["error"]), (&json!(numbers), &json!(null)));
        assert_eq!(endpoint["draft"], *numbers.last().unwrap());
        assert!(endpoint["latency_ms"].is_u64());
        let probes = endpoint["probes"].as_array().unwrap();
        assert_eq!(probes.len(), numbers.len());
        for (probe, draft) in probes.iter().zip(newest_first()) {
            let probe_keys = ["live", "draft", "version_hex", "alpn", "params", "error"];
            assert_eq!(keys(probe), probe_keys.into());
            assert_eq!((&probe["live"], &probe["draft"]), (&json!(true), &json!(draft.number())));
            // Draft 14, "Version Negotiation": 0xff000000 and the draft's number.
            assert_eq!(probe["version_hex"], format!("0xff{:06x}", draft.number()));
            let alpn = if at == 1 { "h3" } else { str::from_utf8(draft.alpn()).unwrap() };
            assert_eq!(probe["alpn"], alpn);
            assert!(probe["params"].is_object() && probe["error"].is_null(), "{probe}");
        }
    }
    let strict = &report["relays"]["strict"];
    assert_eq!((&strict["live"], &strict["name"]), (&json!(false), &json!("strict")));
    assert_eq!(strict["endpoints"][0]["error"], "certificate not accepted");
    let wrong = &report["relays"]["wrong"]["endpoints"][0];
    assert!(wrong["error"].as_str().unwrap().contains("gopher"), "{wrong}");
    // Nothing is left of how it was written.
    assert_eq!(fs::read_dir(folder.join("deep")).unwrap().count(), 1);
}

#[test]
fn one_that_hangs_delays_no_other() {
    let folder = folder("hangs");
    let (relay, _runtime) = relay();
    let (_held, nobody) = silent();
    let live = json!([{"url": format!("moqt://{}", relay.local_addr()), "verify_tls": false}]);
    let mut relays = vec![json!({"id": "hangs", "endpoints": [{"url": nobody}]})];
    relays.extend((0..40).map(|at| json!({"id": format!("{at}"), "endpoints": live})));
    let (list, report) = (folder.join("relays.json"), folder.join("status.json"));
    fs::write(&list, json!(relays).to_string()).unwrap();
    let args = ["-f", list.to_str().unwrap(), "-o", report.to_str().unwrap(), "-t", "100000"];
    let _monitor = Monitor::start(command(&args, &[]));
    loop {
        let known = read(&report).map(|report| report["relays"].as_object().unwrap().clone());
        let known = known.unwrap_or_default();
        assert!(!known.contains_key("hangs"));
        if known.len() == 40 {
            assert!(known.values().all(|relay| relay["live"] == true));
            break;
        }
        std::thread::yield_now();
    }
}

#[test]
fn relays_are_probed_again_each_after_its_own_time() {
    let folder = folder("again");
    let seen = |url: &mut String| {
        let (seen, sessions) = mpsc::channel();
        let (at, runtime) = server(move |session| {
            let _ = seen.send(());
            async move { drop(session.closed().await) }
        });
        *url = at;
        (sessions, runtime)
    };
    let (mut often, mut once) = (String::new(), String::new());
    let (of_often, _often) = seen(&mut often);
    let (of_once, _once) = seen(&mut once);
    let relays = json!([
        {"id": "often", "interval": 0.01, "endpoints": [{"url": often}]},
        {"id": "once", "interval": 0, "endpoints": [{"url": once}]},
    ]);
    let list = folder.join("relays.json");
    fs::write(&list, relays.to_string()).unwrap();
    let report = folder.join("status.json");
    let args =
        ["-k", "-f", list.to_str().unwrap(), "-o", report.to_str().unwrap(), "--draft", "18"];
    let _monitor = Monitor::start(command(&args, &[]));
    for _ in 0..10 {
        of_often.recv().unwrap();
    }
    of_once.recv().unwrap();
    assert!(of_once.try_recv().is_err());
}

#[test]
fn what_cannot_be_done_is_said_in_a_line() {
    let folder = folder("wrong");
    let list = folder.join("relays.json");
    fs::write(&list, "[{]").unwrap();
    let (list, report) = (list.to_str().unwrap(), folder.join("status.json"));
    let report = report.to_str().unwrap();
    for (args, variables, what) in [
        (&["-f", list, "-o", report][..], &[][..], "relays.json: "),
        (&["-o", report], &[("RELAYS_FILE", "/no/such/file")], "/no/such/file"),
        (&["moqt://127.0.0.1:9"], &[("PROBE_TIMEOUT", "soon")], "PROBE_TIMEOUT"),
    ] {
        let output = command(args, variables).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && stderr.contains(what), "{stderr}");
        assert_eq!((stderr.lines().count(), output.stdout.len()), (1, 0), "{stderr}");
    }
}

#[test]
fn the_examples_in_the_help_are_right() {
    let folder = folder("examples");
    let help = probe(&["--help"]).1;
    let (relay, _runtime) = relay();
    let address = relay.local_addr().to_string();
    let list = help.lines().skip_while(|line| !line.trim().starts_with("[{\"id\""));
    let list: String = list.take_while(|line| !line.is_empty()).collect();
    fs::write(folder.join("relays.json"), list.replace("127.0.0.1:4443", &address)).unwrap();
    let examples = examples(&help, "probe");
    assert_eq!(examples.len(), 3, "{help}");
    for example in examples {
        let line = example.replace("127.0.0.1:4443", &address);
        let args: Vec<_> = line.split(' ').collect();
        let output = command(&args, &[]).current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
    }
    assert_eq!(read(&folder.join("status.json")).unwrap()["relays"]["mine"]["live"], true);
}
