//! Byte-exact vectors, written by hand from the text of drafts 14, 16 and 18.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what is wrong by panicking"
)]

mod annotated;
mod codes;
mod control;
mod d14;
mod d16;
mod d18;
mod datagrams;
mod fetch;
mod fetch_refused;
mod parameters;
mod refused;
mod seeds;
mod subgroups;
mod too_large;
mod types;
mod words;
mod written;

use bytes::Bytes;
use moqt_conformance::bytes as hex;
use moqt_engine::draft::{D14, D16, D18};
use moqt_engine::model::{
    FullTrackName, Message, Parameters, Property, RequestError, RequestErrorCode, RequestKind,
    Setup, SetupOptions, TrackNamespace, TrackProperties,
};
use moqt_engine::wire::Dialect;

/// A control message as a draft prints it, and what it means.
struct Vector {
    dialect: &'static Dialect,
    name: &'static str,
    bytes: Vec<u8>,
    value: Message,
    /// Whether the bytes are the form to be written, where the draft leaves a choice.
    written: bool,
}

/// Collects the vectors of one draft.
struct Vectors {
    dialect: &'static Dialect,
    list: Vec<Vector>,
}

impl Vectors {
    fn of(dialect: &'static Dialect) -> Self {
        Self { dialect, list: Vec::new() }
    }

    /// These bytes are this message, and this message is these bytes.
    fn both(&mut self, name: &'static str, text: &str, value: impl Into<Message>) {
        self.add(name, text, value.into(), true);
    }

    /// These bytes are this message, but it is to be written in another way.
    fn read_only(&mut self, name: &'static str, text: &str, value: impl Into<Message>) {
        self.add(name, text, value.into(), false);
    }

    fn add(&mut self, name: &'static str, text: &str, value: Message, written: bool) {
        let dialect = self.dialect;
        self.list.push(Vector { dialect, name, bytes: hex(text), value, written });
    }
}

fn all() -> Vec<Vector> {
    [d14::vectors(), d16::vectors(), d18::vectors()].into_iter().flatten().collect()
}

fn track(text: &str) -> FullTrackName {
    text.parse().unwrap()
}

fn namespace(text: &str) -> TrackNamespace {
    text.parse().unwrap()
}

fn parameters(set: impl FnOnce(&mut Parameters)) -> Parameters {
    let mut parameters = Parameters::default();
    set(&mut parameters);
    parameters
}

fn setup(versions: &[u64], set: impl FnOnce(&mut SetupOptions)) -> Message {
    let mut options = SetupOptions::default();
    set(&mut options);
    Message::Setup(Setup { versions: versions.to_vec(), options })
}

fn properties(list: &[Property]) -> TrackProperties {
    list.iter().cloned().collect()
}

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn refusal(
    request_id: Option<u64>,
    answers: Option<RequestKind>,
    code: RequestErrorCode,
    reason: &str,
) -> RequestError {
    let reason = reason.to_owned();
    RequestError { request_id, answers, code, retry_interval: 0, reason, redirect: None }
}
