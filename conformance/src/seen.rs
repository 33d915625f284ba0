//! All that can be seen of a connection.

use std::collections::BTreeMap;

use moqt_engine::{Event, Stats, Usage};

use crate::end::{End, Fetched, Got, Name, Output};

/// All that can be seen of an end so far. Payload and sent bytes are joined.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is what it is called")]
pub struct Seen {
    pub events: Vec<String>,
    pub reads: BTreeMap<Name, Vec<Got>>,
    pub fetched: BTreeMap<Name, Vec<Fetched>>,
    pub sent: BTreeMap<Name, Vec<u8>>,
    /// What was given to the transport besides bytes on streams.
    pub acts: Vec<Output>,
    pub usage: Usage,
    pub stats: Stats,
}

impl Seen {
    /// What is to be seen now.
    pub fn of(end: &End) -> Self {
        let mut sent: BTreeMap<Name, Vec<u8>> = BTreeMap::new();
        let mut acts = Vec::new();
        for output in &end.outputs {
            match output {
                Output::Data(name, bytes) => {
                    sent.entry(*name).or_default().extend_from_slice(bytes);
                }
                other => acts.push(other.clone()),
            }
        }
        let read = |got: &[Got]| !got.is_empty();
        let fetched = |got: &[Fetched]| !got.is_empty();
        Self {
            events: end.events.iter().map(said).collect(),
            reads: end.reads.clone().into_iter().filter(|(_, got)| read(got)).collect(),
            fetched: end.fetched.clone().into_iter().filter(|(_, got)| fetched(got)).collect(),
            sent,
            acts,
            usage: end.engine.usage(),
            stats: end.engine.stats(),
        }
    }

    /// Checks that another run gave the same.
    pub fn same(&self, other: &Self, what: &str) {
        assert_eq!(self.events, other.events, "{what}");
        assert_eq!(self.reads, other.reads, "{what}");
        assert_eq!(self.fetched, other.fetched, "{what}");
        assert_eq!(self.sent, other.sent, "{what}");
        assert_eq!(self.acts, other.acts, "{what}");
        assert_eq!(self.usage, other.usage, "{what}");
        assert_eq!(self.stats, other.stats, "{what}");
    }
}

/// An event as text. Where in some bytes an error was found is left out, since it counts from
/// what a reader has kept.
fn said(event: &Event) -> String {
    let mut said = format!("{event:?}");
    if let (Event::Closed { .. }, Some(at)) = (event, said.find(" (byte ")) {
        said.truncate(at);
    }
    said
}
