//! `moqt clock` and `moqt chat`, through a relay.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};

use support::{examples, relay};

/// A process with its ends, stopped when dropped.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
}

impl Running {
    fn start(line: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_moqt"))
            .args(line.split(' '))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stdin, stdout, stderr }
    }

    /// What it writes next.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Waits until it says this.
    fn says(&mut self, what: &str) {
        let mut line = String::new();
        while !line.contains(what) {
            line.clear();
            assert_ne!(self.stderr.read_line(&mut line).unwrap(), 0, "{what:?} was not said");
        }
    }

    /// Waits until it says both, in whichever order.
    fn says_both(&mut self, what: [&str; 2]) {
        let mut missing = what.to_vec();
        let mut line = String::new();
        while !missing.is_empty() {
            line.clear();
            assert_ne!(self.stderr.read_line(&mut line).unwrap(), 0, "{missing:?} was not said");
            missing.retain(|what| !line.contains(what));
        }
    }

    fn type_line(&mut self, text: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{text}").unwrap();
    }

    fn ends_well(&mut self) {
        self.stdin = None;
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn help(command: &str) -> Vec<String> {
    let output =
        Command::new(env!("CARGO_BIN_EXE_moqt")).args([command, "--help"]).output().unwrap();
    examples(&String::from_utf8(output.stdout).unwrap(), command)
}

#[test]
fn a_clock_is_followed_on_every_draft() {
    let (relay, _runtime) = relay();
    let address = relay.local_addr().to_string();
    let examples = help("clock");
    let [publish, follow] = &examples[..] else { panic!("{examples:?}") };
    let here = |line: &str| format!("clock {}", line.replace("127.0.0.1:4443", &address));
    let mut publisher = Running::start(&here(publish));
    publisher.says("publishing clock--now");
    let mut followers = ["14", "16", "18"]
        .map(|draft| Running::start(&format!("{} --ticks 2 --draft {draft}", here(follow))));
    for follower in &mut followers {
        let times = [follower.line(), follower.line()];
        for time in &times {
            assert!(time.len() == 20 && time.ends_with('Z'), "{times:?}");
        }
        assert!(times[0] < times[1], "{times:?}");
        follower.ends_well();
    }
    // A clock that stops is followed to its end.
    let mut short = Running::start(&format!("{} --ticks 3 -n short", here(publish)));
    short.says("publishing short--now");
    let mut follower = Running::start(&format!("{} -n short --json", here(follow)));
    let first: serde_json::Value = serde_json::from_str(&follower.line()).unwrap();
    assert!(first["group"].is_u64() && first["object"].is_u64() && first["time"].is_string());
    short.ends_well();
    follower.ends_well();
}

#[test]
fn people_in_a_room_find_each_other() {
    let (relay, _runtime) = relay();
    let address = relay.local_addr().to_string();
    let examples = help("chat");
    let [ann, bob] = &examples[..] else { panic!("{examples:?}") };
    for (of_ann, of_bob) in [(14, 18), (16, 14), (18, 16)] {
        let enter = |line: &str, draft: u8| {
            let line = line.replace("127.0.0.1:4443", &address);
            Running::start(
                &format!("chat {line}-{of_ann} --draft {draft}")
                    .replace(" tearoom ", &format!(" tearoom{of_ann} ")),
            )
        };
        let mut ann = enter(ann, of_ann);
        ann.says("you are in");
        let mut bob = enter(bob, of_bob);
        // Bob may listen before he is announced.
        ann.says_both([&format!("bob-{of_ann} is here"), "you are heard"]);
        bob.says("you are heard");
        ann.type_line("hello");
        assert_eq!(bob.line(), format!("ann-{of_ann}: hello"));
        // What one says must not control the other's terminal.
        bob.type_line("\u{1b}[2Jhow are you?");
        assert_eq!(ann.line(), format!("bob-{of_ann}: \\u{{1b}}[2Jhow are you?"));
        bob.ends_well();
        ann.says(&format!("bob-{of_ann} has left"));
        ann.ends_well();
    }
}
