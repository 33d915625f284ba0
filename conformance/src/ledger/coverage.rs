//! How much of the drafts is covered.

use std::fmt;

use serde::Serialize;

use super::{DRAFTS, Ledger, Rule, State, Who};

/// Counts of key words, for each draft, scope and level that has any.
#[derive(Debug, Serialize)]
pub struct Coverage(Vec<Row>);

/// The key words of one draft, scope and level.
#[derive(Debug, Serialize)]
struct Row {
    draft: u8,
    scope: Scope,
    level: &'static str,
    covered: usize,
    exception: usize,
    open: usize,
}

/// Whose rules are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Scope {
    /// Endpoints, publishers, subscribers, clients, servers: what the library must obey.
    Endpoint,
    /// Relays.
    Relay,
    /// Applications and documents.
    Others,
}

impl Scope {
    fn of(rule: &Rule) -> Self {
        match rule.who {
            Who::Endpoint | Who::Publisher | Who::Subscriber | Who::Client | Who::Server => {
                Self::Endpoint
            }
            Who::Relay => Self::Relay,
            Who::Application | Who::Document => Self::Others,
        }
    }
}

impl Coverage {
    /// Counts.
    pub fn of(ledger: &Ledger) -> Self {
        let mut rows = Vec::new();
        for draft in DRAFTS {
            for scope in [Scope::Endpoint, Scope::Relay, Scope::Others] {
                for level in ["MUST", "SHOULD"] {
                    let count = |state| {
                        let rules = ledger.rules.iter().filter(|rule| {
                            Scope::of(rule) == scope
                                && rule.level.is_must() == (level == "MUST")
                                && rule.state() == Ok(state)
                        });
                        rules.flat_map(|rule| &rule.ids).filter(|id| id.draft == draft).count()
                    };
                    rows.push(Row {
                        draft,
                        scope,
                        level,
                        covered: count(State::Covered),
                        exception: count(State::Exception),
                        open: count(State::Open),
                    });
                }
            }
        }
        Self(rows)
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = ["draft", "of", "level", "total", "covered", "exception", "open"];
        let [draft, of, level, total, covered, exception, open] = heads;
        writeln!(
            f,
            "{draft:5}  {of:8}  {level:6}  {total:>5}  {covered:>7}  {exception:>9}  {open:>4}"
        )?;
        for row in &self.0 {
            let Row { draft, scope, level, covered, exception, open } = row;
            let total = covered + exception + open;
            let scope = match scope {
                Scope::Endpoint => "endpoint",
                Scope::Relay => "relay",
                Scope::Others => "others",
            };
            writeln!(
                f,
                "{draft:<5}  {scope:8}  {level:6}  {total:>5}  {covered:>7}  {exception:>9}  {open:>4}"
            )?;
        }
        Ok(())
    }
}
