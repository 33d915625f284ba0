//! Folders, copied from one side to the other.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by it")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const BIN: &str = env!("CARGO_BIN_EXE_moqt");

/// `moqt serve` or `moqt pub` of a folder, stopped when dropped.
struct Offered {
    child: Child,
    url: String,
}

impl Offered {
    fn serve(folder: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(BIN);
        command.args(["serve", "--bind", "127.0.0.1:0"]).args(args).arg(folder);
        Self::start(command, "moqt://")
    }

    fn publish(url: &str, folder: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(BIN);
        command.args(["pub", url, "-k"]).args(args).arg(folder);
        Self::start(command, "announced")
    }

    /// Waits until it says so.
    fn start(mut command: Command, what: &str) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.find_map(|line| line.ok().filter(|line| line.contains(what))).unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        let url = line.split_whitespace().find(|word| word.starts_with("moqt://"));
        Self { child, url: url.unwrap_or_default().to_owned() }
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An empty folder for the test.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("folders").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

/// A folder of files of all kinds.
fn filled(name: &str) -> PathBuf {
    let folder = folder(name);
    fs::create_dir_all(folder.join("sub/folder")).unwrap();
    for (name, len) in
        [("empty", 0), ("a byte", 1), ("sub/even", 8 * 1000), ("sub/folder/Größe", 123_457)]
    {
        fs::write(folder.join(name), bytes(len)).unwrap();
    }
    folder
}

/// Runs `moqt sub --out`: whether it was content, and what it reports and says.
fn copy(url: &str, to: &Path, args: &[&str]) -> (bool, serde_json::Value, String) {
    let mut command = Command::new(BIN);
    command.args(["sub", url, "-k", "--json", "--out"]).arg(to).args(args);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    let report = said.lines().find_map(|line| serde_json::from_str(line).ok());
    (output.status.success(), report.unwrap_or_default(), said)
}

fn are_same(one: &Path, other: &Path) -> bool {
    Command::new("diff").arg("-r").args([one, other]).status().unwrap().success()
}

#[test]
fn a_folder_is_copied_with_all_that_is_in_it() {
    let from = filled("from");
    for draft in ["14", "16", "18"] {
        let args = ["--draft", draft, "-s", "1000", "-g", "3"];
        let serve = Offered::serve(&from, &args);
        let to = folder(&format!("to-{draft}"));
        let (done, report, said) = copy(&serve.url, &to, &[]);
        assert!(done, "{said}");
        assert_eq!(report["files"], 4, "{said}");
        assert_eq!(report["bytes"], 123_457 + 8000 + 1, "{said}");
        assert!(are_same(&from, &to), "draft {draft}");
        let (done, report, said) = copy(&serve.url, &to, &[]);
        assert!(done, "{said}");
        assert_eq!((&report["had"], &report["bytes"]), (&4.into(), &0.into()), "{said}");
    }
}

#[test]
fn a_folder_goes_through_a_relay() {
    let from = filled("relayed");
    let (relay, _runtime) = support::relay();
    let url = format!("moqt://{}", relay.local_addr());
    for draft in ["14", "16", "18"] {
        let namespace = format!("files/{draft}");
        let args = ["-n", &namespace, "--draft", draft, "-s", "1000", "-g", "10"];
        let _publish = Offered::publish(&url, &from, &args);
        for reader in ["14", "16", "18"] {
            let to = folder(&format!("relayed-{draft}-{reader}"));
            let (done, _, said) = copy(&url, &to, &["-n", &namespace, "--draft", reader]);
            assert!(done, "{draft} to {reader}: {said}");
            assert!(are_same(&from, &to), "{draft} to {reader}: {said}");
        }
    }
}

#[test]
fn a_copy_goes_on_where_it_ended() {
    let from = filled("resumed");
    let serve = Offered::serve(&from, &["-s", "1000"]);
    let to = folder("resumed-to");
    let big = bytes(123_457);
    // All but the last 3,457 bytes are there, and some of the object after them.
    fs::create_dir_all(to.join("sub/folder")).unwrap();
    fs::write(to.join("sub/folder/Größe.part"), &big[..120_321]).unwrap();
    fs::write(to.join("sub/even"), bytes(8000)).unwrap();
    let (done, report, said) = copy(&serve.url, &to, &[]);
    assert!(done, "{said}");
    assert_eq!((&report["had"], &report["resumed"]), (&1.into(), &1.into()), "{said}");
    assert_eq!(report["bytes"], 3457 + 1, "{said}");
    assert!(are_same(&from, &to));
}

#[test]
fn a_wrong_part_is_noticed_and_not_kept() {
    let from = filled("wrong");
    let serve = Offered::serve(&from, &["-s", "1000"]);
    let to = folder("wrong-to");
    fs::write(to.join("a byte"), "not it").unwrap();
    fs::create_dir_all(to.join("sub")).unwrap();
    fs::write(to.join("sub/even.part"), vec![9; 5000]).unwrap();
    let (done, report, said) = copy(&serve.url, &to, &[]);
    assert!(!done && said.contains("sub/even is not what it should be"), "{said}");
    assert_eq!(report["failed"], 1, "{said}");
    assert!(copy(&serve.url, &to, &[]).0 && are_same(&from, &to));
}

#[test]
fn a_file_that_changed_is_not_taken_for_what_it_was() {
    let from = filled("changed");
    let serve = Offered::serve(&from, &["-s", "1000"]);
    let path = from.join("sub/folder/Größe");
    let mut other = bytes(123_457);
    other[100_000] ^= 1;
    fs::write(&path, &other).unwrap();
    let to = folder("changed-to");
    let (done, report, said) = copy(&serve.url, &to, &[]);
    assert!(!done && said.contains("checksum"), "{said}");
    assert_eq!(report["failed"], 1, "{said}");
    // It has become shorter, and cannot be read to its end.
    fs::write(&path, &other[..50_000]).unwrap();
    let (done, _, said) = copy(&serve.url, &to, &[]);
    assert!(!done && said.contains("Größe"), "{said}");
    assert!(!to.join("sub/folder/Größe").exists());
}

#[test]
fn what_is_not_for_folders_is_said() {
    let from = filled("options");
    for option in [&["--lines"][..], &["-D"], &["-r", "10"], &["--loop"], &["-P", "2"], &["--once"]]
    {
        let mut command = Command::new(BIN);
        command.args(["serve", "--bind", "127.0.0.1:0"]).args(option).arg(&from);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("folder"), "{option:?}: {said}");
    }
    // A file that would have the name of the catalog's track.
    fs::write(from.join("track"), "").unwrap();
    let mut command = Command::new(BIN);
    let output = command.args(["serve", "--bind", "127.0.0.1:0"]).arg(&from).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("--trackname"), "{said}");
}
