//! `--qlog`, and `moqt decode` of what it writes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by it")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn moqt(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moqt"));
    command.args(args).stdin(Stdio::null());
    command
}

/// Exit code, standard output, standard error.
fn run(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = moqt(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A folder that is not there yet.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("qlog").join(name);
    let _ = fs::remove_dir_all(&folder);
    folder
}

fn logs(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    assert!(files.iter().all(|file| file.extension().is_some_and(|it| it == "sqlog")));
    files
}

#[test]
fn both_ends_write_what_they_say_and_decode_reads_it() {
    for (scheme, transport) in [("moqt", "quinn"), ("https", "quinn"), ("moqt", "s2n")] {
        let folder = folder(&format!("{scheme}-{transport}"));
        let to = folder.to_str().unwrap();
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{scheme}-{transport}"));
        fs::write(&file, "first line\nsecond\n").unwrap();
        let track = ["-n", "demo", "--trackname", "lines", "--transport", transport, "--qlog", to];
        let mut serve = moqt(&["serve", "--bind", "127.0.0.1:0", "--once", "--lines"]);
        serve.args(track).arg(&file).stderr(Stdio::piped());
        let mut serve = serve.spawn().unwrap();
        let mut stderr = BufReader::new(serve.stderr.take().unwrap());
        let url = loop {
            let mut line = String::new();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "no address was printed");
            if let Some(at) = line.find(&format!("{scheme}://")) {
                let url: &str = &line[at..];
                break url.split([' ', '\n', ',']).next().unwrap().to_owned();
            }
        };
        let url = url.trim_end_matches('/');
        let (code, got, said) = run(&[&["sub", url, "-k", "-q"], &track[..]].concat());
        assert_eq!((code, got.as_str()), (0, "first line\nsecond\n"), "{said}");
        let mut said = String::new();
        stderr.read_to_string(&mut said).unwrap();
        assert!(serve.wait().unwrap().success(), "{said}");

        let is_of_packets = |file: &PathBuf| file.to_str().unwrap().ends_with("_quic.sqlog");
        let (packets, files): (Vec<PathBuf>, _) =
            logs(&folder).into_iter().partition(is_of_packets);
        assert_eq!(files.len(), 2, "one an end: {files:?}");
        // quinn-proto can tell of its packets.
        assert_eq!(packets.len(), if transport == "quinn" { 2 } else { 0 }, "{packets:?}");
        for file in packets {
            let (code, told, said) = run(&["decode", file.to_str().unwrap()]);
            assert_eq!((code, said.as_str()), (0, ""));
            assert!(told.starts_with("qlog QUIC with 127.0.0.1:"), "{told}");
            assert!(told.contains("packet_sent") && told.contains("packet_received"), "{told}");
        }
        let told: Vec<String> = files
            .iter()
            .map(|file| {
                let (code, told, said) = run(&["decode", file.to_str().unwrap()]);
                assert_eq!((code, said.as_str()), (0, ""));
                told
            })
            .collect();
        let (client, server) = if told[0].starts_with("qlog of a client, MoQT draft-18 over ") {
            (&told[0], &told[1])
        } else {
            (&told[1], &told[0])
        };
        assert!(server.starts_with("qlog of a server, MoQT draft-18 over "), "{server}");
        let has = |log: &str, name: &str, what: &str| {
            let found = log.lines().any(|line| line.contains(name) && line.contains(what));
            assert!(found, "no {name} {what}:\n{log}");
        };
        has(client, "control_message_created", "SUBSCRIBE ");
        has(server, "control_message_parsed", "SUBSCRIBE ");
        has(client, "control_message_parsed", "PUBLISH_DONE ");
        has(server, "subgroup_object_created", "object_payload_length=11");
        has(client, "subgroup_object_parsed", "object_payload_length=11");
        let (code, json, _) = run(&["decode", "--json", files[0].to_str().unwrap()]);
        assert_eq!(code, 0);
        assert_eq!(json.lines().count(), told[0].lines().count());
    }
}

#[test]
fn everything_that_connects_writes() {
    let (relay, _runtime) = support::relay();
    let url = format!("moqt://{}", relay.local_addr());
    for args in [
        &["probe", &url, "-k", "--once", "--draft", "18"][..],
        &["interop", "-r", &url, "--tls-disable-verify", "-t", "setup-only", "--draft", "16"],
        &["clock", &url, "-k", "--publish", "--ticks", "1"],
    ] {
        let folder = folder(args[0]);
        let mut args = args.to_vec();
        args.extend(["--qlog", folder.to_str().unwrap()]);
        let (code, _, said) = run(&args);
        assert_eq!(code, 0, "{args:?}: {said}");
        let is_of_packets = |file: &PathBuf| file.to_str().unwrap().ends_with("_quic.sqlog");
        let (packets, files): (Vec<PathBuf>, _) =
            logs(&folder).into_iter().partition(is_of_packets);
        assert!(!files.is_empty() && packets.len() == files.len(), "{args:?}");
        for file in files {
            assert!(fs::read_to_string(&file).unwrap().contains("setup"), "{file:?}");
        }
    }
}

#[test]
fn a_qlog_that_breaks_off_is_told_up_to_there() {
    let folder = folder("broken");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("broken.sqlog");
    let text = "\x1e{\"title\":\"t\",\"trace\":{}}\n\x1e{\"time\":1,\"name\":\"moqt:a\",\"data\":{\"b\":2}}\n\x1e{\"time\":2,";
    fs::write(&file, text).unwrap();
    let (code, told, said) = run(&["decode", file.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(told.lines().nth(1).unwrap().ends_with(" b=2"), "{told}");
    let at = text.rfind('\x1e').unwrap() + 1;
    assert!(said.contains(&format!("at byte {at} ")), "{said}");
}

#[test]
fn a_folder_that_cannot_be_written_is_told_of_at_once() {
    let args = ["sub", "moqt://127.0.0.1:1", "--qlog", "/dev/null/logs"];
    let (code, _, said) = run(&args);
    assert_eq!(code, 1);
    assert!(said.starts_with("moqt: cannot write qlogs to /dev/null/logs: "), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}
