//! `moqt relay` as it is called: what it says, what signals do, and how it exits.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by it")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

use serde_json::Value;

/// A relay, stopped when dropped.
struct Relay {
    child: Child,
    stderr: BufReader<ChildStderr>,
    listening: Value,
}

impl Relay {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_moqt"))
            .args(["relay", "--json", "--log-format", "json", "--bind", "127.0.0.1:0"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let listening =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        Self { child, stderr, listening }
    }

    fn url(&self) -> &str {
        self.listening["urls"][0].as_str().unwrap()
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Reads its log until there is this message.
    fn logged(&mut self, message: &str) -> Value {
        loop {
            let mut line = String::new();
            assert_ne!(self.stderr.read_line(&mut line).unwrap(), 0, "{message} was not logged");
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["message"] == message {
                return event;
            }
        }
    }

    fn ends(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Runs a client against it.
    fn client(&self, command: &str, args: &[&str]) -> Command {
        let mut client = Command::new(env!("CARGO_BIN_EXE_moqt"));
        client.args([command, self.url()]).args(args);
        client.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        client
    }

    fn get(&self, path: &str) -> String {
        let address = self.listening["metrics"].as_str().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder(test: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("relay").join(test);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// One line that begins with the command's name, and an exit code of 1.
fn fails(args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moqt"));
    let output = command.arg("relay").args(args).stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr
}

#[test]
fn a_file_goes_through_it_to_subscribers_on_all_drafts() {
    let folder = folder("through");
    let config = folder.join("relay.toml");
    fs::write(&config, "[relay]\nwait_for_publisher = 20\n").unwrap();
    let config = config.to_str().unwrap();
    let mut relay =
        Relay::start(&["--shards", "2", "--config", config, "--metrics", "127.0.0.1:0"]);
    let hash = relay.listening["certificate_sha256"].as_str().unwrap().to_owned();
    let media: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    let input = folder.join("media");
    fs::write(&input, &media).unwrap();
    let track = ["--cert-hash", &hash, "--trackname", "media", "-q", "--draft"];
    let subscribers: Vec<Child> = ["14", "16", "18"]
        .map(|draft| relay.client("sub", &track).arg(draft).spawn().unwrap())
        .into_iter()
        .collect();
    // Each of them waits for a publisher.
    let requests = |text: &str| -> u64 {
        let of_shard = text.lines().filter_map(|line| {
            let rest = line.strip_prefix("moqt_relay_requests_total{")?;
            rest.rsplit(' ').next()?.parse::<u64>().ok()
        });
        of_shard.sum()
    };
    while requests(&relay.get("/metrics")) < 3 {
        std::thread::yield_now();
    }
    let mut publisher = relay.client("pub", &track);
    let published = publisher.args(["18", input.to_str().unwrap()]).output().unwrap();
    assert!(published.status.success(), "{}", String::from_utf8_lossy(&published.stderr));
    for subscriber in subscribers {
        let got = subscriber.wait_with_output().unwrap();
        assert!(got.status.success(), "{}", String::from_utf8_lossy(&got.stderr));
        assert!(got.stdout == media, "{} bytes", got.stdout.len());
    }
    relay.signal("TERM");
    relay.logged("stopped");
    assert!(relay.ends().success());
}

#[test]
fn clients_may_stay_a_while_and_a_second_signal_stops_at_once() {
    for (first, second) in [("TERM", "INT"), ("INT", "TERM")] {
        let args = ["--shards", "1", "--drain", "1000", "--metrics", "127.0.0.1:0"];
        let mut relay = Relay::start(&args);
        let mut publisher = relay
            .client("pub", &["-k", "-q", "--trackname", "t", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        while !relay.get("/metrics").contains("moqt_relay_sessions{shard=\"0\"} 1") {
            std::thread::yield_now();
        }
        assert!(relay.get("/health").starts_with("HTTP/1.1 200 "));
        relay.signal(first);
        relay.logged("clients are asked to leave");
        // Said before it is done.
        while !relay.get("/health").starts_with("HTTP/1.1 503 ") {
            std::thread::yield_now();
        }
        assert!(relay.child.try_wait().unwrap().is_none());
        relay.signal(second);
        assert!(relay.ends().success());
        publisher.kill().unwrap();
        publisher.wait().unwrap();
    }
}

#[test]
fn files_are_read_again_and_bad_ones_change_nothing() {
    let folder = folder("again");
    let (rules, cert) = (folder.join("auth.toml"), folder.join("cert.pem"));
    let key = folder.join("key.pem");
    let made = |name: &str| {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(&cert, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        fs::write(
            &rules,
            format!(
                "[[token]]\ntoken = '{name}'\npermissions = ['all']\nnamespaces = ['**']\n\
                 [sessions]\nneed_token = true\n"
            ),
        )
        .unwrap();
    };
    made("first");
    let mut relay = Relay::start(&[
        "--cert",
        cert.to_str().unwrap(),
        "--key",
        key.to_str().unwrap(),
        "--auth-file",
        rules.to_str().unwrap(),
    ]);
    let first = relay.listening["certificate_sha256"].as_str().unwrap().to_owned();
    let may = |relay: &Relay, hash: &str, token: &str| {
        let args = ["--cert-hash", hash, "--auth-token", token, "-q", "-"];
        relay.client("pub", &args).output().unwrap().status.success()
    };
    assert!(may(&relay, &first, "first"));
    assert!(!may(&relay, &first, "second"));

    fs::write(&rules, "[[token]]\ntokn = 'x'\n").unwrap();
    fs::write(&cert, "no certificate").unwrap();
    relay.signal("HUP");
    let kept = relay.logged("the rules of before stay in force");
    assert!(kept["error"].as_str().unwrap().contains("auth.toml:2: "), "{kept}");
    let kept = relay.logged("the certificate of before stays in force");
    assert!(kept["error"].as_str().unwrap().contains("cert.pem"), "{kept}");
    assert!(may(&relay, &first, "first"));

    made("second");
    relay.signal("HUP");
    relay.logged("who may do what was read again");
    let read = relay.logged("the certificate was read again");
    let second = read["sha256"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    // The log is written when the shards have been told, and they hear in order.
    assert!(may(&relay, &second, "second"));
    assert!(!may(&relay, &second, "first"));
    relay.signal("TERM");
    assert!(relay.ends().success());
}

#[test]
fn what_is_wrong_is_said_in_a_line() {
    let folder = folder("wrong");
    let config = folder.join("bad.toml");
    fs::write(&config, "[connections]\ntotal = 5\nmost = 7\n").unwrap();
    let said = fails(&["--config", config.to_str().unwrap()]);
    assert!(said.contains("bad.toml:3: ") && said.contains("most"), "{said}");
    let said = fails(&["--upstream", "http://x/"]);
    assert!(said.contains("--upstream"), "{said}");
    let relay = Relay::start(&["--shards", "2"]);
    let taken = relay.listening["address"].as_str().unwrap();
    for shards in ["1", "2"] {
        let said = fails(&["--bind", taken, "--shards", shards]);
        assert!(said.contains(taken), "{said}");
    }
}

#[test]
fn the_configuration_that_is_printed_can_be_read() {
    let moqt = || Command::new(env!("CARGO_BIN_EXE_moqt"));
    let printed = moqt().args(["relay", "--print-config"]).output().unwrap();
    assert!(printed.status.success());
    let file = folder("printed").join("relay.toml");
    fs::write(&file, &printed.stdout).unwrap();
    let args = ["relay", "--print-config", "--config", file.to_str().unwrap()];
    assert_eq!(moqt().args(args).output().unwrap().stdout, printed.stdout);
}

#[test]
fn sessions_are_written_down_for_those_who_are_asked_for() {
    for (peer, logs) in [("127.0.0.1", 2), ("127.0.0.9", 0)] {
        let logs_at = folder(&format!("qlog-{peer}")).join("logs");
        let _ = fs::remove_dir_all(&logs_at);
        let relay = Relay::start(&["--qlog", logs_at.to_str().unwrap(), "--qlog-peer", peer]);
        let probed = relay.client("probe", &["-k", "--once", "--draft", "18"]).output().unwrap();
        assert!(probed.status.success());
        relay.signal("TERM");
        assert!(relay.ends().success());
        // Of the session, and of QUIC's packets.
        let found = fs::read_dir(&logs_at).unwrap().count();
        assert_eq!(found, logs, "{peer}");
    }
}
