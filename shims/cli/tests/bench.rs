//! `moqt bench`, in short runs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by it")]

mod support;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn moqt(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moqt"));
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs a benchmark to its end: what it reported.
fn bench(args: &[&str]) -> Vec<Value> {
    let output = moqt(&[&["bench"], args, &["--json"]].concat()).output().unwrap();
    reports(&output, args)
}

fn reports(output: &Output, args: &[&str]) -> Vec<Value> {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What was measured in all.
fn total(reports: &[Value]) -> &Value {
    let total = reports.last().unwrap();
    assert_eq!(total["kind"], "total", "{reports:?}");
    total
}

#[test]
fn everything_that_is_sent_comes_and_is_measured() {
    for draft in ["14", "16", "18"] {
        for more in [&[][..], &["--webtransport", "-P", "4"], &["-s", "100000", "-g", "7"]] {
            let args = ["loopback", "-t", "0.5", "-i", "0.2", "--draft", draft];
            let reports = bench(&[&args[..], more].concat());
            let total = total(&reports);
            assert!(reports.len() > 1, "{reports:?}");
            assert!(total["objects"].as_u64().unwrap() > 0, "{total}");
            for nothing in ["lost", "corrupt", "out_of_order"] {
                assert_eq!(total[nothing], 0, "{draft} {more:?}: {total}");
            }
            let latency = &total["latency_us"];
            let at = |of: &str| latency[of].as_u64().unwrap();
            assert!(0 < at("p50") && at("p50") <= at("p99") && at("p99") <= at("max"), "{latency}");
            assert!(total["cpu_seconds_per_gb"].as_f64().unwrap() > 0.0, "{total}");
        }
    }
}

#[test]
fn what_intervals_count_is_all_there_is() {
    let reports = bench(&["loopback", "-t", "1", "-i", "0.2", "-r", "500", "-P", "2"]);
    let (all, intervals) = reports.split_last().unwrap();
    let counted: u64 = intervals.iter().map(|report| report["objects"].as_u64().unwrap()).sum();
    let objects = all["objects"].as_u64().unwrap();
    // At most 500 of each stream; what came after the last interval is in the total alone.
    assert!(objects <= 1100 && (1..=objects).contains(&counted), "{counted} of {objects}");
    assert!(intervals.iter().all(|report| report["kind"] == "interval"), "{intervals:?}");
}

#[test]
fn a_relay_gives_everything_to_everybody() {
    for draft in ["14", "16", "18"] {
        let args = ["fanout", "-n", "3", "--stagger", "0", "--startup", "0", "-t", "0.5"];
        let reports = bench(&[&args[..], &["-r", "100", "--draft", draft]].concat());
        let objects = total(&reports)["objects"].as_u64().unwrap();
        assert!(objects.is_multiple_of(3) && objects > 0, "{objects}");
    }
    let (relay, _runtime) = support::relay();
    let url = format!("https://{}/", relay.local_addr());
    let reports = bench(&["relay", &url, "-k", "-t", "0.3", "-r", "100"]);
    assert_eq!(total(&reports)["lost"], 0);
    // Datagrams may be lost, but are counted.
    let reports = bench(&["relay", &url, "-k", "-t", "0.3", "-r", "100", "-D"]);
    assert!(total(&reports)["objects"].as_u64().unwrap() > 0);
}

#[test]
fn a_publisher_and_a_subscriber_measure_together() {
    let (relay, _runtime) = support::relay();
    let url = format!("moqt://{}", relay.local_addr());
    for (publisher, subscriber) in [("14", "18"), ("18", "14")] {
        let name = format!("together{publisher}");
        let args = ["bench", "pub", &url, "-k", "--trackname", &name, "--draft", publisher];
        let mut publish = moqt(&[&args[..], &["-t", "0.5", "-r", "200", "--json"]].concat());
        let publish = publish.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let args = ["bench", "sub", &url, "-k", "--verify", "--trackname", &name];
        let measured = loop {
            // Until it is announced nobody publishes it.
            let mut subscribe = moqt(&[&args[..], &["--draft", subscriber, "--json"]].concat());
            let output = subscribe.output().unwrap();
            if !String::from_utf8_lossy(&output.stderr).contains("DOES_NOT_EXIST") {
                break reports(&output, &args);
            }
        };
        let sent = reports(&publish.wait_with_output().unwrap(), &["pub"]);
        assert_eq!(sent[0]["objects"], total(&measured)["objects"], "{sent:?} {measured:?}");
        assert_eq!(total(&measured)["corrupt"], 0, "{measured:?}");
        assert_eq!(total(&measured)["lost"], Value::Null, "{measured:?}");
    }
}

#[test]
fn a_spreadsheet_has_what_was_said() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench.csv");
    let path = path.to_str().unwrap();
    let reports = bench(&["loopback", "-t", "0.5", "-i", "0.2", "-r", "100", "--report", path]);
    let csv = std::fs::read_to_string(path).unwrap();
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), reports.len() + 1);
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{csv}");
    for (row, report) in rows.iter().skip(1).zip(&reports) {
        assert_eq!(row[0], report["kind"]);
        assert_eq!(row[3], report["objects"].to_string());
    }
}

#[test]
fn what_cannot_be_measured_is_said() {
    for (args, what) in [
        (&["loopback", "-i", "0"][..], "more than 0"),
        (&["loopback", "--rate=-1"], "10000000"),
        (&["loopback", "--timestamp-property", "33"], "even"),
        (&["fanout", "-n", "0"], "100000"),
        (&["relay", "-k"], "URL"),
    ] {
        let output = moqt(&[&["bench"], args].concat()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(what), "{args:?}: {said}");
    }
    let args = ["bench", "loopback", "--report", "/no/such/folder/x.csv", "-t", "0.1"];
    let output = moqt(&args).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("/no/such/folder/x.csv"), "{said}");
}

#[test]
fn the_examples_of_the_help_run() {
    let help = moqt(&["bench", "--help"]).output().unwrap().stdout;
    let help = String::from_utf8(help).unwrap();
    let examples = support::examples(&help, "bench");
    assert!(examples.len() >= 4, "{examples:?}");
    let folder = env!("CARGO_TARGET_TMPDIR");
    for example in examples.iter().filter(|example| !example.contains("4443")) {
        let line = example.replace("-t 10", "-t 0.2");
        let args: Vec<&str> = line.split(' ').collect();
        let output = moqt(&["bench"]).args(args).current_dir(folder).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{example}: {said}");
    }
}
