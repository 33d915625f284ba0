//! Hashes of what happened, to compare runs by.

use core::fmt::{self, Write};
use core::hash::{Hash, Hasher};
use core::mem;
use std::collections::BTreeMap;

use moqt_engine::{Action, Event, Read, StreamKey, Timestamp};

use crate::agenda::Frame;
use crate::digest::Digest;
use crate::fault::Fault;
use crate::network::EndpointId;

/// What is kept of a run.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    raw: Digest,
    joined: BTreeMap<EndpointId, Joined>,
    log: Option<Vec<String>>,
}

/// Something that happens at an endpoint. It is hashed as it is; only the log has it as text.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) enum Note<'a> {
    Arrival(&'a Frame),
    DatagramLost(&'a [u8]),
    Timeout,
    Fault(&'a Fault),
    Action(&'a Action),
    Event(&'a Event),
    Read(StreamKey, &'a Read),
}

/// What one endpoint's application saw, however it was cut.
#[derive(Debug, Default)]
struct Joined {
    events: Digest,
    names: Names,
    reading: BTreeMap<StreamKey, Digest>,
    /// Sum of the hashes of streams that are over, since they end in any order.
    read: u64,
}

/// Keys by order of appearance: their own numbers depend on when old ones were freed.
#[derive(Debug, Default)]
struct Names {
    streams: BTreeMap<String, usize>,
    requests: BTreeMap<String, usize>,
    /// Room for a text, kept to write the next one into.
    text: String,
}

impl Trace {
    pub(crate) fn keep_log(&mut self, keep: bool) {
        self.log = keep.then(Vec::new);
    }

    pub(crate) fn take_log(&mut self) -> Vec<String> {
        self.log.as_mut().map(mem::take).unwrap_or_default()
    }

    pub(crate) fn note(&mut self, now: Timestamp, at: EndpointId, what: Note<'_>) {
        (now, at, what).hash(&mut self.raw);
        if let Some(log) = &mut self.log {
            log.push(format!("{now:?} {at} {what}"));
        }
        match what {
            Note::Event(event) => self.joined.entry(at).or_default().event(event),
            Note::Read(stream, read) => {
                if let Some(joined) = self.joined.get_mut(&at) {
                    joined.read(stream, read);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn raw_hash(&self) -> u64 {
        self.raw.finish()
    }

    pub(crate) fn joined_hash(&self) -> u64 {
        let mut all = Digest::default();
        for (at, joined) in &self.joined {
            let reading = joined
                .reading
                .values()
                .fold(joined.read, |sum, reading| sum.wrapping_add(reading.finish()));
            (at, joined.events.finish(), reading).hash(&mut all);
        }
        all.finish()
    }
}

impl Joined {
    fn event(&mut self, event: &Event) {
        let Self { events, names, .. } = self;
        match event {
            // These tell when to go on, and so how bytes were cut.
            Event::Readable { .. } | Event::Writable { .. } | Event::Unblocked => return,
            // These two come with each object, so they are not written out.
            Event::SubgroupOpened { request, stream, subgroup } => {
                names.write(format_args!("{request:?} {stream:?}"), events);
                subgroup.hash(events);
                let mut reading = Digest::default();
                subgroup.hash(&mut reading);
                self.reading.insert(*stream, reading);
            }
            Event::Datagram { request, object } => {
                names.write(format_args!("{request:?}"), events);
                object.hash(events);
            }
            _ => names.write(format_args!("{event:?}"), events),
        }
        mem::discriminant(event).hash(events);
    }

    fn read(&mut self, stream: StreamKey, read: &Read) {
        let Some(reading) = self.reading.get_mut(&stream) else { return };
        match read {
            Read::Pending | Read::Gone => {}
            Read::Payload(payload) => reading.write(payload),
            Read::Finished | Read::Reset(_) => {
                read.hash(reading);
                self.read = self.read.wrapping_add(reading.finish());
                self.reading.remove(&stream);
            }
            _ => read.hash(reading),
        }
    }
}

impl Names {
    /// Hashes a text in which keys are replaced by their names.
    fn write(&mut self, text: fmt::Arguments<'_>, digest: &mut Digest) {
        let mut room = mem::take(&mut self.text);
        room.clear();
        // Writing to a string cannot fail.
        let _ = room.write_fmt(text);
        self.split(&room, |before, name| (before, name).hash(digest));
        self.text = room;
    }

    /// Gives out the text before each key and the key's name; at last the rest of the text.
    fn split<'t>(&mut self, text: &'t str, mut part: impl FnMut(&'t str, Option<usize>)) {
        let mut rest = text;
        while let Some(at) = rest.find("Key(") {
            let (before, from) = rest.split_at(at);
            let Some((key, after)) = from.split_once(')') else { break };
            let names =
                if before.ends_with("Stream") { &mut self.streams } else { &mut self.requests };
            let name = names.get(key).copied().unwrap_or(names.len());
            if name == names.len() {
                names.insert(key.into(), name);
            }
            part(before, Some(name));
            rest = after;
        }
        part(rest, None);
    }
}

impl fmt::Display for Note<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arrival(Frame::Data { stream, data, fin }) => {
                let end = if *fin { " and the end" } else { "" };
                write!(f, "{stream:?}: {} bytes{end}", data.len())
            }
            Self::Arrival(Frame::Datagram(data)) => write!(f, "datagram of {} bytes", data.len()),
            Self::Arrival(frame) => write!(f, "{frame:?}"),
            Self::DatagramLost(data) => write!(f, "datagram of {} bytes lost", data.len()),
            Self::Timeout => f.write_str("timeout"),
            Self::Fault(fault) => write!(f, "fault {fault:?}"),
            Self::Action(action) => write!(f, "action {action:?}"),
            Self::Event(event) => write!(f, "event {event:?}"),
            Self::Read(stream, Read::Payload(payload)) => {
                write!(f, "read {stream:?} {} bytes", payload.len())
            }
            Self::Read(stream, read) => write!(f, "read {stream:?} {read:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_in_order_of_appearance() {
        let mut names = Names::default();
        let mut named = |text| {
            let mut parts = Vec::new();
            names.split(text, |before, name| parts.push((before, name)));
            parts
        };
        assert_eq!(
            named("a StreamKey(3.1), RequestKey(3.1)."),
            [("a Stream", Some(0)), (", Request", Some(0)), (".", None)]
        );
        assert_eq!(
            named("StreamKey(9.2) StreamKey(3.1)"),
            [("Stream", Some(1)), (" Stream", Some(0)), ("", None)]
        );
    }
}
