//! `moqt decode`: what it makes of bytes, from wherever they come.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by it")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const MOQT: &str = env!("CARGO_BIN_EXE_moqt");

/// Exit code, standard output, standard error.
fn outcome(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn decode(args: &[&str]) -> (i32, String, String) {
    outcome(Command::new(MOQT).arg("decode").args(args).stdin(Stdio::null()).output().unwrap())
}

fn decode_stdin(args: &[&str], input: &[u8]) -> (i32, String, String) {
    let mut command = Command::new(MOQT);
    command.arg("decode").args(args).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    outcome(child.wait_with_output().unwrap())
}

fn file(name: &str, content: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).unwrap();
    path
}

// draft-18, "Subgroup Header" and "Object": Type, Track Alias, Group ID, Subgroup ID, Publisher
// Priority; Object ID Delta, Object Payload Length, payload.
const SUBGROUP: &str = "14 05 02 07 80  00 05 'hello'  01 02 'yo'";

const SUBGROUP_TOLD: &str = "\
a data stream of draft-18, 16 bytes
SUBGROUP_HEADER
   0  14                    SUBGROUP_HEADER                 20 (0x14): subgroup follows
   1  05                    Track Alias                     5
   2  02                    Group ID                        2
   3  07                    Subgroup ID                     7
   4  80                    Publisher Priority              128 (0x80)
Object {2, 0}
   5  00                    Object ID Delta                 0
   6  05                    Object Payload Length           5
   7  68656c6c6f            Object Payload                  \"hello\"
Object {2, 2}
  12  01                    Object ID Delta                 1
  13  02                    Object Payload Length           2
  14  796f                  Object Payload                  \"yo\"
";

#[test]
fn bytes_are_told_field_by_field_from_wherever_they_come() {
    let told = (0, SUBGROUP_TOLD.to_owned(), String::new());
    let bytes = b"\x14\x05\x02\x07\x80\x00\x05hello\x01\x02yo";
    assert_eq!(decode(&[SUBGROUP]), told);
    assert_eq!(decode(&["1405:0207", "80000568656c6c6f0102796F"]), told);
    assert_eq!(decode_stdin(&[], bytes), told);
    assert_eq!(decode_stdin(&["-"], b"14050207 80 000568656c6c6f\n0102796f\n"), told);
    let binary = file("subgroup.bin", bytes);
    assert_eq!(decode(&[binary.to_str().unwrap()]), told);
    let text = file("subgroup.hex", SUBGROUP.as_bytes());
    assert_eq!(decode(&[text.to_str().unwrap()]), told);
}

#[test]
fn examples_work() {
    let (_, help, _) = decode(&["--help"]);
    let examples = help.split_once("Examples:\n").unwrap().1;
    let lines: Vec<&str> = examples.lines().take_while(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 3);
    let path = Path::new(MOQT).parent().unwrap().to_str().unwrap();
    for line in lines {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).env("PATH", format!("{path}:/usr/bin:/bin"));
        let (code, stdout, stderr) = outcome(shell.output().unwrap());
        assert_eq!((code, stderr.as_str()), (0, ""), "{line}");
        assert!(!stdout.is_empty(), "{line}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_byte_behind_all_that_is_right() {
    let (code, stdout, stderr) = decode(&["14 05 02 07 80 00 05 'hel'"]);
    assert_eq!(code, 1);
    assert_eq!(stderr, "moqt: Object: Object Payload is cut off (byte 10)\n");
    assert!(stdout.contains("   7  68656c "), "{stdout}");
    assert!(stdout.ends_with("  10  ^^                    Object Payload is cut off (byte 10)\n"));

    // A SETUP, then a SUBSCRIBE whose filter is none: 7 of byte 20.
    let bytes = "af00 0000  03 000d 00 0000 01 'n' 01 't' 01 21 02 07 00";
    let (code, stdout, stderr) = decode(&["--as", "control", "--json", bytes]);
    assert_eq!(code, 1);
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{stdout}");
    assert!(lines[0].contains(r#""name":"SETUP""#), "{stdout}");
    assert!(lines[1].contains(r#""session_error":"PROTOCOL_VIOLATION""#), "{stdout}");
    assert!(stderr.starts_with("moqt: SUBSCRIBE: "), "{stderr}");
}

#[test]
fn json_has_the_bytes_and_the_values() {
    let (code, stdout, _) = decode(&["--json", "--draft", "14", "01 02 05 07 80 02 3c 01 'pay'"]);
    assert_eq!(code, 0);
    let line: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(line["name"], "OBJECT_DATAGRAM");
    assert_eq!((&line["group"], &line["object"]), (&5.into(), &7.into()));
    assert_eq!((&line["draft"], &line["as"]), (&14.into(), &"datagram".into()));
    let fields = line["fields"].as_array().unwrap();
    let names: Vec<&str> = fields.iter().map(|field| field["name"].as_str().unwrap()).collect();
    let want = [
        "Datagram Type",
        "Track Alias",
        "Group ID",
        "Object ID",
        "Publisher Priority",
        "Properties Length",
        "Properties",
        "Properties",
        "Object Payload",
    ];
    assert_eq!(names, want);
    assert_eq!(fields[4]["value"], 128);
    assert_eq!(fields[6]["meaning"], "PRIOR_GROUP_ID_GAP (0x3c)");
    assert_eq!((&fields[8]["hex"], &fields[8]["text"]), (&"706179".into(), &"pay".into()));
    assert_eq!((&fields[8]["start"], &fields[8]["end"]), (&8.into(), &11.into()));
}

#[test]
fn bytes_that_say_what_they_are_need_no_options() {
    // CLIENT_SETUP of draft 14, of draft 16, SETUP of draft 18, FETCH_HEADER, a datagram.
    for (bytes, told) in [
        ("20 000a 01 c0000000ff00000e 00", "control messages of draft-14, 13 bytes"),
        ("20 0003 01 02 0a", "control messages of draft-16, 6 bytes"),
        ("af00 0000", "control messages of draft-18, 4 bytes"),
        ("05 04", "a data stream of draft-18, 2 bytes"),
        ("08 01 02 03 'x'", "a datagram of draft-18, 5 bytes"),
    ] {
        let (code, stdout, stderr) = decode(&[bytes]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{bytes}");
        assert_eq!(stdout.lines().next(), Some(told), "{bytes}");
    }
    let (code, stdout, stderr) = decode(&["3f 3f 3f"]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("--as"), "{stderr}");
    // What is said is believed.
    let (code, stdout, _) = decode(&["--as", "datagram", "--draft", "16", "20 0003 01 02 0a"]);
    assert_eq!(code, 1);
    assert!(stdout.starts_with("a datagram of draft-16"), "{stdout}");
}

// draft-18, "Fetch Header": groups go up or down as the FETCH asked for.
#[test]
fn a_fetch_in_descending_order_is_one_if_it_is_said() {
    let bytes = "05 04  1f 0a 01 02 80 00  0c 02 00 00";
    let (_, ascending, _) = decode(&["--draft", "18", bytes]);
    assert!(ascending.contains("Object {13, 0}"), "{ascending}");
    let (_, descending, _) = decode(&["--draft", "18", "--descending", bytes]);
    assert!(descending.contains("Object {7, 0}"), "{descending}");
}

#[test]
fn what_is_neither_bytes_nor_a_file_is_refused() {
    for (args, why) in [
        (&["no-such-file"][..], "neither a file nor hexadecimal"),
        (&["00 0"], "half a byte"),
        (&[""], "nothing to decode"),
        (&[][..], "nothing to decode"),
    ] {
        let (code, stdout, stderr) = decode(args);
        assert_eq!((code, stdout.as_str()), (1, ""), "{args:?}");
        assert!(stderr.contains(why), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

/// Whoever reads may leave early: `moqt decode FILE | head`.
#[test]
fn a_reader_may_leave() {
    let mut bytes = b"\x14\x05\x02\x07\x80".to_vec();
    bytes.extend(b"\x00\x01x".repeat(100_000));
    let path = file("long.bin", &bytes);
    let line = format!("'{MOQT}' decode '{}' | head -n 1; exit ${{PIPESTATUS[0]}}", path.display());
    let output = Command::new("bash").args(["-c", &line]).output().unwrap();
    let (code, stdout, stderr) = outcome(output);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(stdout.lines().count(), 1);
}
