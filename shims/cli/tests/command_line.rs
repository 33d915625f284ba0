//! The command as it is called: what it says, where, and how it exits.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by it")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};

fn moqt(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moqt"));
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs to the end: exit code, standard output, standard error.
fn run(args: &[&str]) -> (i32, Vec<u8>, String) {
    let Output { status, stdout, stderr } = moqt(args).output().unwrap();
    (status.code().unwrap(), stdout, String::from_utf8(stderr).unwrap())
}

/// One line that begins with the command's name, an exit code of 1 and nothing for data.
fn fails(args: &[&str]) -> String {
    let (code, stdout, stderr) = run(args);
    assert_eq!(code, 1, "{stderr}");
    assert!(stdout.is_empty());
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("moqt: "), "{stderr}");
    stderr
}

/// `moqt serve` or `moqt receive` on a port of its own, stopped when dropped.
struct Serve {
    child: Child,
    stderr: BufReader<ChildStderr>,
    url: String,
}

impl Serve {
    fn new(args: &[&str]) -> Self {
        Self::reading(Stdio::null(), args)
    }

    fn reading(stdin: impl Into<Stdio>, args: &[&str]) -> Self {
        let mut command = moqt(&["serve", "--bind", "127.0.0.1:0"]);
        command.args(args).stdin(stdin).stdout(Stdio::null());
        Self::start(command)
    }

    /// `moqt receive`, and what it writes.
    fn receiving(args: &[&str]) -> (Self, ChildStdout) {
        let mut command = moqt(&["receive", "--bind", "127.0.0.1:0"]);
        command.args(args).stdout(Stdio::piped());
        let mut receive = Self::start(command);
        let stdout = receive.child.stdout.take().unwrap();
        (receive, stdout)
    }

    fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("moqt://") {
            line.clear();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "no address was printed");
        }
        let url = raw_url(&line).to_owned();
        Self { child, stderr, url }
    }

    /// Waits for the end and gives what was said since the address.
    fn said(mut self) -> String {
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        assert!(self.child.wait().unwrap().success(), "{said}");
        said
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file of this many bytes, named for the test that wants it.
fn file(test: &str, len: usize) -> (PathBuf, Vec<u8>) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("command_line");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(test);
    let bytes: Vec<u8> = (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect();
    fs::write(&path, &bytes).unwrap();
    (path, bytes)
}

/// The URL for raw QUIC in what a server says of itself.
fn raw_url(line: &str) -> &str {
    line.split_whitespace().find(|word| word.starts_with("moqt://")).unwrap()
}

#[test]
fn a_wrong_command_line_is_explained() {
    for (args, what) in [
        (&["frobnicate"][..], "frobnicate"),
        (&["sub"], "<URL>"),
        (&["sub", "moqt://127.0.0.1", "--draft", "15"], "use 14, 16 or 18"),
        (&["serve", "--bind", "nowhere"], "--bind"),
    ] {
        let (code, stdout, stderr) = run(args);
        assert_eq!((code, stdout.len()), (2, 0));
        assert!(stderr.contains(what) && stderr.contains("--help"), "{stderr}");
    }
    assert!(fails(&["sub", "example.com"]).contains("expected moqt://host"));
    assert!(fails(&["sub", "moqt://127.0.0.1:0"]).contains("port"));
    assert!(fails(&["serve", "--bind", "127.0.0.1:0", "/no/such/file"]).contains("/no/such/file"));
}

#[test]
fn a_server_that_is_not_there_is_named() {
    // Nobody answers on a port that is held but not read.
    let held = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("moqt://{}", held.local_addr().unwrap());
    let said = fails(&["sub", &url, "--connect-timeout", "0.3"]);
    assert!(said.contains("no answer from 127.0.0.1"), "{said}");
}

#[test]
fn what_keeps_a_subscriber_out_is_named() {
    let (input, _) = file("refusals", 10);
    let serve = Serve::new(&["--draft", "16", input.to_str().unwrap()]);
    let url = serve.url.as_str();
    let said = fails(&["sub", url]);
    assert!(said.contains("certificate") && said.contains("--cert-hash"), "{said}");
    let said = fails(&["sub", url, "--cert-hash", &"00".repeat(32)]);
    assert!(said.contains("certificate"), "{said}");
    let said = fails(&["sub", url, "-k", "--draft", "14"]);
    assert!(said.contains("none of the drafts") && said.contains("14"), "{said}");
    let said = fails(&["sub", url, "-k", "--trackname", "other"]);
    assert!(said.contains("demo--other") && said.contains("DOES_NOT_EXIST"), "{said}");
}

#[test]
fn a_token_opens_what_is_closed_without_it() {
    let (input, bytes) = file("token", 1000);
    for draft in ["14", "16", "18"] {
        let args = ["--auth-token", "s3cret", "--auth-token", "other", "--draft", draft];
        let serve = Serve::new(&[&args[..], &[input.to_str().unwrap()]].concat());
        for wrong in [&[][..], &["--auth-token", "s3cre"], &["--auth-token", ""]] {
            let said = fails(&[&["sub", &serve.url, "-k"], wrong].concat());
            assert!(said.contains("UNAUTHORIZED") && said.contains("token"), "{draft}: {said}");
        }
        let sub = ["sub", &serve.url, "-k", "-q", "--auth-token", "other"];
        let (code, copy, stderr) = run(&sub);
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert!(copy == bytes, "draft {draft}");
    }
}

#[test]
fn a_track_arrives_byte_for_byte_and_is_counted() {
    let (input, bytes) = file("track", 300_000);
    for draft in ["14", "16", "18"] {
        let serve = Serve::new(
            &["--once", "-s", "4096", "--draft", draft, "--json"]
                .into_iter()
                .chain([input.to_str().unwrap()])
                .collect::<Vec<_>>(),
        );
        let (code, copy, stderr) = run(&["sub", &serve.url, "-k", "-q"]);
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert!(copy == bytes, "draft {draft}");
        serve.said();
    }
}

#[test]
fn a_track_is_received_however_it_is_offered() {
    let (input, bytes) = file("received", 300_000);
    for draft in ["14", "16", "18"] {
        for how in [&[][..], &["--pub-ns"], &["--pub-both"], &["--datagram", "-r", "1000"]] {
            let (receive, mut stdout) = Serve::receiving(&["--trackname", "media"]);
            let patient = ["pub", "-k", "--trackname", "media", "--linger", "100"];
            let publish = [&patient[..], &["--draft", draft, &receive.url]].concat();
            let publish = moqt(&[&publish, how, &[input.to_str().unwrap()]].concat())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut copy = Vec::new();
            stdout.read_to_end(&mut copy).unwrap();
            let Output { status, stderr, .. } = publish.wait_with_output().unwrap();
            let said = String::from_utf8(stderr).unwrap();
            assert!(status.success(), "draft {draft}, {how:?}: {said}");
            assert!(copy == bytes, "draft {draft}, {how:?}: {} bytes; {said}", copy.len());
            let said = receive.said();
            assert!(said.contains("TRACK_ENDED"), "draft {draft}, {how:?}: {said}");
        }
    }
}

#[test]
fn only_the_track_asked_for_is_received_and_only_of_those_who_may() {
    let (input, bytes) = file("wanted", 1000);
    for draft in ["14", "16", "18"] {
        let (receive, mut stdout) =
            Serve::receiving(&["--trackname", "media", "--auth-token", "s3cret"]);
        let publish = |more: &[&str]| {
            let publish = ["pub", "-k", "-q", "--linger", "100", "--draft", draft];
            run(&[&publish[..], &[&receive.url, "--trackname"], more, &[input.to_str().unwrap()]]
                .concat())
        };
        for (wrong, why) in [
            (&["other", "--auth-token", "s3cret"][..], "UNINTERESTED"),
            (&["media", "-n", "other", "--pub-ns", "--auth-token", "s3cret"], "UNINTERESTED"),
            (&["media"], "UNAUTHORIZED"),
        ] {
            let (code, _, said) = publish(wrong);
            assert!(code == 1 && said.contains(why), "draft {draft}, {wrong:?}: {said}");
        }
        let (code, _, said) = publish(&["media", "--auth-token", "s3cret"]);
        assert_eq!((code, said.as_str()), (0, ""));
        let mut copy = Vec::new();
        stdout.read_to_end(&mut copy).unwrap();
        assert!(copy == bytes, "draft {draft}");
        assert!(receive.said().contains("1 objects, 1000 B"), "draft {draft}");
    }
}

#[test]
fn the_past_is_fetched_in_parts_and_in_either_order() {
    let (input, bytes) = file("past", 10_000);
    for draft in ["14", "16", "18"] {
        let args = ["-s", "100", "-g", "10", "--start", "now", "--draft", draft];
        let serve = Serve::new(&[&args[..], &[input.to_str().unwrap()]].concat());
        let fetch = |args: &[&str]| run(&[&["fetch", &serve.url, "-k", "-q"], args].concat());
        // The last group of ten is there once the track has ended.
        while fetch(&["--range", "9.9"]).0 != 0 {}
        assert!(fetch(&[]).1 == bytes, "draft {draft}");
        assert!(fetch(&["--range", "3.4..5.6"]).1 == bytes[3400..5700], "draft {draft}");
        let newest_first = fetch(&["--range", "8", "--descending"]).1;
        assert!(newest_first == [&bytes[9000..], &bytes[8000..9000]].concat(), "draft {draft}");
        assert!(run(&["join", &serve.url, "-k", "-q", "--back", "1"]).1 == bytes[8000..]);
        let said = fails(&["fetch", &serve.url, "-k", "--range", "10"]);
        assert!(said.contains("INVALID_RANGE") && said.contains("{9, 9}"), "{said}");
        let said = fails(&["fetch", &serve.url, "-k", "--trackname", "other"]);
        assert!(said.contains("DOES_NOT_EXIST"), "{said}");
    }
}

#[test]
fn what_is_not_kept_any_more_is_not_passed_over_in_silence() {
    let (input, _) = file("forgotten", 10_000);
    for draft in ["14", "16", "18"] {
        let args = ["--start", "now", "-s", "100", "-g", "10", "--history", "1k", "--draft", draft];
        let stdin = fs::File::open(&input).unwrap();
        let serve = Serve::reading(stdin, &[&args[..], &["-"]].concat());
        let fetch = |range| run(&["fetch", &serve.url, "-k", "-q", "--range", range]);
        while fetch("9.9").0 != 0 {}
        let (code, part, stderr) = fetch("0");
        assert_eq!(code, 1, "{stderr}");
        assert!(part.len() <= 1024, "{}", part.len());
        // Draft 14 has no way to say which part it is, and refuses the whole.
        let why = if draft == "14" { "UNKNOWN_STATUS_IN_RANGE" } else { "not known" };
        assert!(stderr.contains(why), "draft {draft}: {stderr}");
    }
}

#[test]
fn a_filter_leaves_out_what_was_not_asked_for() {
    let (input, bytes) = file("filter", 10_000);
    for draft in ["14", "16", "18"] {
        for (filter, part) in [
            ("3.4..5", &bytes[3400..6000]),
            ("9", &bytes[9000..]),
            ("latest", &bytes[..]),
            ("next-group", &bytes[..]),
        ] {
            // It begins with the first subscriber, so nothing is past.
            let args = ["-s", "100", "-g", "10", "--draft", draft, input.to_str().unwrap()];
            let serve = Serve::new(&args);
            let (code, copy, stderr) = run(&["sub", &serve.url, "-k", "-q", "--filter", filter]);
            assert_eq!((code, stderr.as_str()), (0, ""), "draft {draft}, {filter}");
            assert!(copy == part, "draft {draft}, {filter}: {} bytes", copy.len());
        }
    }
}

fn lines(numbers: std::ops::Range<u32>) -> String {
    numbers.map(|number| ["line ", &number.to_string(), "\n"].concat()).collect()
}

#[test]
fn who_joins_gets_the_past_and_what_comes_after_it() {
    for draft in ["14", "16", "18"] {
        let args = ["--lines", "-g", "3", "--start", "now", "--once", "--draft", draft, "-"];
        let mut serve = Serve::reading(Stdio::piped(), &args);
        let mut input = serve.child.stdin.take().unwrap();
        let url = serve.url.clone();
        let early = lines(0..10);
        input.write_all(early.as_bytes()).unwrap();
        while run(&["fetch", &url, "-k", "-q", "--range", "3"]).0 != 0 {}
        let mut join = moqt(&["join", &url, "-k", "-q", "--from", "0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut came = vec![0; early.len()];
        // The past comes though nothing new does; what comes new comes after it.
        join.stdout.as_mut().unwrap().read_exact(&mut came).unwrap();
        let late = lines(10..20);
        input.write_all(late.as_bytes()).unwrap();
        drop(input);
        let Output { status, stdout, stderr } = join.wait_with_output().unwrap();
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        assert_eq!(String::from_utf8([came, stdout].concat()).unwrap(), early + &late);
        serve.said();
    }
}

#[test]
fn objects_are_told_in_json() {
    let (input, _) = file("meta", 1000);
    let serve = Serve::new(&["--once", "-s", "300", "-g", "2", input.to_str().unwrap()]);
    let (code, stdout, stderr) = run(&["sub", &serve.url, "-k", "-q", "--meta"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let lines: Vec<serde_json::Value> = String::from_utf8(stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<_> = lines
        .iter()
        .filter_map(|line| {
            let number = |name: &str| line.get(name).and_then(serde_json::Value::as_u64);
            Some((number("group")?, number("object")?, number("size")?))
        })
        .collect();
    let first = told.first().map(|&(group, ..)| group).unwrap();
    let expected = [(0, 0, 300), (0, 1, 300), (1, 0, 300), (1, 1, 100)]
        .map(|(group, object, len)| (first + group, object, len));
    assert_eq!(told, expected, "{lines:?}");
}

#[test]
fn datagrams_that_fit_arrive_and_the_others_are_counted() {
    let (input, bytes) = file("datagrams", 20_000);
    let path = input.to_str().unwrap();
    for draft in ["14", "16", "18"] {
        let serve = Serve::new(&["-D", "-s", "1000", "--once", "--draft", draft, path]);
        let (code, copy, stderr) = run(&["sub", &serve.url, "-k", "-q"]);
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert!(copy == bytes, "draft {draft}");
        let said = serve.said();
        assert!(!said.contains("dropped") && !said.contains("too large"), "{said}");

        let serve = Serve::new(&["-D", "-s", "5000", "--once", "--draft", draft, path]);
        let (code, copy, _) = run(&["sub", &serve.url, "-k"]);
        assert_eq!((code, copy.len()), (0, 0));
        let said = serve.said();
        assert!(said.contains("4 datagrams were too large"), "{said}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_it_without_a_fuss() {
    let (input, _) = file("reader", 4_000_000);
    let serve = Serve::new(&["--once", input.to_str().unwrap()]);
    let mut sub = moqt(&["sub", &serve.url, "-k", "-q"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 1000];
    sub.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let mut said = String::new();
    sub.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    sub.wait().unwrap();
    assert!(!said.contains("panicked"), "{said}");
    assert!(said.lines().count() <= 1, "{said}");
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_both_sides_in_order() {
    let mut input = moqt(&["serve", "--bind", "127.0.0.1:0", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let held = input.stdin.take();
    let mut stderr = BufReader::new(input.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("moqt://") {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0);
    }
    let url = raw_url(&line);
    let sub = moqt(&["sub", url, "-k", "--meta"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let interrupt = Command::new("kill").args(["-INT", &input.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    assert!(input.wait().unwrap().success());
    // Whether it had subscribed by then or not, the subscriber is told that it is over.
    let Output { stderr, .. } = sub.wait_with_output().unwrap();
    assert!(!String::from_utf8_lossy(&stderr).contains("panicked"));
    drop(held);
}
