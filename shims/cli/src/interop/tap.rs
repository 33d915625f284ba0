//! TAP 14, as moq-interop-runner reads it.

use std::io::{self, Write};
use std::time::Duration;

/// How a case went.
#[derive(Debug)]
pub(crate) enum Verdict<'a> {
    Passed,
    /// It says nothing about the relay, and why.
    Skipped(&'a str),
    /// And what went wrong.
    Failed(&'a str),
}

/// What a case tells beside its verdict.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Who has connected, and the connection's ID.
    pub(crate) connections: Vec<(&'static str, String)>,
    /// What was waited for last.
    pub(crate) expected: String,
    /// What came.
    pub(crate) received: String,
}

/// Writes TAP, each line at once.
pub(crate) struct Tap<W> {
    out: W,
    is_verbose: bool,
}

impl<W: Write> Tap<W> {
    pub(crate) fn new(out: W, is_verbose: bool) -> Self {
        Self { out, is_verbose }
    }

    pub(crate) fn begin(&mut self) -> io::Result<()> {
        self.line("TAP version 14")
    }

    pub(crate) fn plan(&mut self, points: usize) -> io::Result<()> {
        self.line(&format!("1..{points}"))
    }

    pub(crate) fn comment(&mut self, text: &str) -> io::Result<()> {
        self.line(&format!("# {}", one_line(text)))
    }

    /// A comment for those who want every step.
    pub(crate) fn step(&mut self, text: &str) {
        if self.is_verbose {
            // If it cannot be written, the test point cannot either.
            let _ = self.comment(text);
        }
    }

    pub(crate) fn bail_out(&mut self, why: &str) -> io::Result<()> {
        self.line(&format!("Bail out! {}", one_line(why)))
    }

    pub(crate) fn point(
        &mut self,
        number: usize,
        name: &str,
        verdict: &Verdict<'_>,
        duration: Duration,
        report: &Report,
    ) -> io::Result<()> {
        match verdict {
            Verdict::Passed => self.line(&format!("ok {number} - {name}"))?,
            Verdict::Skipped(why) => {
                self.line(&format!("ok {number} - {name} # SKIP {}", one_line(why)))?;
            }
            Verdict::Failed(_) => self.line(&format!("not ok {number} - {name}"))?,
        }
        self.line("  ---")?;
        self.line(&format!("  duration_ms: {}", duration.as_millis()))?;
        for (name, id) in connection_fields(&report.connections) {
            self.field(&name, id)?;
        }
        self.field("expected", &report.expected)?;
        self.field("received", &report.received)?;
        if let Verdict::Failed(message) = verdict {
            self.field("message", message)?;
        }
        self.line("  ...")
    }

    fn field(&mut self, name: &str, value: &str) -> io::Result<()> {
        if value.is_empty() {
            return Ok(());
        }
        self.line(&format!("  {name}: {}", scalar(value)))
    }

    fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }
}

/// Connections are named for their roles; one alone has no need of that, and several of a role
/// are numbered.
fn connection_fields<'a>(
    connections: &'a [(&'static str, String)],
) -> impl Iterator<Item = (String, &'a str)> {
    connections.iter().enumerate().map(move |(at, (role, id))| {
        let of_role = |part: &[(&str, String)]| part.iter().filter(|(of, _)| of == role).count();
        let before = of_role(connections.get(..at).unwrap_or_default());
        let name = match (role.is_empty(), of_role(connections)) {
            (true, _) => "connection_id".into(),
            (false, 1) => format!("{role}_connection_id"),
            (false, _) => format!("{role}_{}_connection_id", before + 1),
        };
        (name, id.as_str())
    })
}

/// A text in YAML: quoted unless it is a plain word.
fn scalar(text: &str) -> String {
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    // What JSON quotes, YAML reads.
    if is_word { text.into() } else { serde_json::Value::from(text).to_string() }
}

/// A line of a peer's words must not become two.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Tap<Vec<u8>>) -> io::Result<()>) -> String {
        let mut tap = Tap::new(Vec::new(), false);
        write(&mut tap).unwrap();
        String::from_utf8(tap.out).unwrap()
    }

    #[test]
    fn a_failure_is_told_in_the_form_that_the_runner_asks_for() {
        let connections = vec![("publisher", "abc12345".to_owned())];
        let report =
            Report { connections, expected: "SUBSCRIBE_OK".into(), received: "timeout".into() };
        let verdict = Verdict::Failed("nothing came: \"why\"\nnot ok");
        let text = written(|tap| {
            tap.point(2, "announce-subscribe", &verdict, Duration::from_millis(3001), &report)
        });
        assert_eq!(
            text,
            "not ok 2 - announce-subscribe\n  ---\n  duration_ms: 3001\n  \
             publisher_connection_id: abc12345\n  expected: SUBSCRIBE_OK\n  received: timeout\n  \
             message: \"nothing came: \\\"why\\\"\\nnot ok\"\n  ...\n"
        );
    }

    #[test]
    fn connections_are_named_by_role() {
        let named = |roles: &[&'static str]| -> Vec<String> {
            let connections: Vec<_> = roles.iter().map(|role| (*role, "00".to_owned())).collect();
            connection_fields(&connections).map(|(name, _)| name).collect()
        };
        assert_eq!(named(&[""]), ["connection_id"]);
        assert_eq!(
            named(&["subscriber", "publisher", "subscriber"]),
            ["subscriber_1_connection_id", "publisher_connection_id", "subscriber_2_connection_id"]
        );
    }

    #[test]
    fn what_could_be_read_as_something_else_is_quoted() {
        assert_eq!(scalar("timeout"), "timeout");
        assert_eq!(scalar("1e5"), "\"1e5\"");
        assert_eq!(scalar("a: b # c"), "\"a: b # c\"");
        assert_eq!(written(|tap| tap.bail_out("x\nok 1")), "Bail out! x ok 1\n");
    }
}
