//! What the command says of itself to shells and manuals.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by it")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const MOQT: &str = env!("CARGO_BIN_EXE_moqt");

fn stdout(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn moqt(args: &[&str]) -> String {
    stdout(Command::new(MOQT).args(args))
}

/// The subcommands that `moqt --help` lists.
fn subcommands() -> Vec<String> {
    let help = moqt(&["--help"]);
    let list = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let names = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    let names: Vec<String> = names.filter(|name| *name != "help").map(str::to_owned).collect();
    assert!(names.len() > 10, "{help}");
    names
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Runs the examples that a command's help ends with, in a home of their own.
fn run_examples(command: &str) -> PathBuf {
    let home = folder(command);
    let examples = support::examples(&moqt(&[command, "--help"]), command);
    assert!(!examples.is_empty());
    for example in examples {
        if let Some((_, file)) = example.split_once("> ~/") {
            fs::create_dir_all(home.join(file).parent().unwrap()).unwrap();
        }
        let line = format!("'{MOQT}' {command} {example}");
        let mut shell = Command::new("sh");
        stdout(shell.args(["-c", &line]).env("HOME", &home).current_dir(&home));
    }
    home
}

#[test]
fn bash_completes_subcommands_options_and_values() {
    let home = run_examples("completions");
    let script = home.join(".local/share/bash-completion/completions/moqt");
    let complete = |words: &[&str]| {
        let line = format!(
            "source '{}'; COMP_WORDS=({}); COMP_CWORD={}; _moqt moqt '{}' '{}'; echo ${{COMPREPLY[@]}}",
            script.display(),
            words.join(" "),
            words.len() - 1,
            words[words.len() - 1],
            words[words.len() - 2],
        );
        stdout(Command::new("bash").args(["-c", &line]))
    };
    assert_eq!(complete(&["moqt", "rec"]), "receive\n");
    assert_eq!(complete(&["moqt", "sub", "--keyl"]), "--keylogfile\n");
    assert_eq!(complete(&["moqt", "sub", "--transport", "s"]), "s2n\n");
    for name in subcommands() {
        assert!(complete(&["moqt", &name]).split_whitespace().any(|found| found == name), "{name}");
    }
}

#[test]
fn completions_are_there_for_each_shell() {
    let names = subcommands();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = moqt(&["completions", shell]);
        for name in &names {
            assert!(script.contains(name.as_str()), "{shell} does not know {name}");
        }
    }
}

#[test]
fn each_subcommand_has_a_manual_page_with_its_options_and_examples() {
    let pages = run_examples("man").join(".local/share/man/man1");
    assert!(fs::read_to_string(pages.join("moqt.1")).unwrap().contains(".SH SUBCOMMANDS"));
    for name in subcommands() {
        let page = fs::read_to_string(pages.join(format!("moqt-{name}.1"))).unwrap();
        let page = page.replace("\\*(Aq", "'").replace('\\', "");
        assert!(page.contains(&format!("moqt-{name}")), "{page}");
        assert!(page.contains("--verbose"), "{page}");
        let help = moqt(&[&name, "--help"]);
        for option in help.lines().filter_map(|line| line.trim_start().strip_prefix("--")) {
            let option = option.split([' ', '=']).next().unwrap();
            assert!(page.contains(option), "{name} --{option}");
        }
        let examples = support::examples(&help, &name);
        assert!(!examples.is_empty() || help.contains("Example"), "{name} has no example");
        for example in examples {
            assert!(page.contains(&example), "{name} {example}: {page}");
        }
    }
}

#[test]
fn there_is_no_page_for_what_is_not_there() {
    let output = Command::new(MOQT).args(["man", "nothing"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "moqt: there is no `moqt nothing`\n");
    let output = Command::new(MOQT).args(["man", "--out", "/dev/null/man"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("/dev/null/man"));
}

#[test]
fn a_bug_report_says_what_is_spoken() {
    let said = moqt(&["version"]);
    let told = moqt(&["version", "--json"]);
    for word in ["14", "16", "18", "raw QUIC", "WebTransport", "quinn-proto", "s2n-quic"] {
        assert!(said.contains(word), "{said}");
        assert!(told.contains(word), "{told}");
    }
}
