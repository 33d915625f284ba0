//! Hashes of what happened, to compare runs by.

use core::fmt::{self, Write};
use core::hash::Hasher;
use std::collections::BTreeMap;

use moqt_engine::{Event, Read, StreamKey, Timestamp};
use siphasher::sip::SipHasher13;

use crate::network::EndpointId;

/// What is kept of a run.
#[derive(Debug)]
pub(crate) struct Trace {
    raw: SipHasher13,
    joined: BTreeMap<EndpointId, Joined>,
    log: Option<Vec<String>>,
}

/// What one endpoint's application saw, however it was cut.
#[derive(Debug)]
struct Joined {
    events: SipHasher13,
    /// Keys by order of appearance: their own numbers depend on when old ones were freed.
    names: BTreeMap<String, usize>,
    reading: BTreeMap<StreamKey, SipHasher13>,
    /// Sum of the hashes of streams that are over, since they end in any order.
    read: u64,
}

impl Default for Joined {
    fn default() -> Self {
        Self { events: hasher(), names: BTreeMap::new(), reading: BTreeMap::new(), read: 0 }
    }
}

fn hasher() -> SipHasher13 {
    SipHasher13::new_with_keys(0, 0)
}

impl Default for Trace {
    fn default() -> Self {
        Self { raw: hasher(), joined: BTreeMap::new(), log: None }
    }
}

impl Trace {
    pub(crate) fn keep_log(&mut self, keep: bool) {
        self.log = keep.then(Vec::new);
    }

    pub(crate) fn take_log(&mut self) -> Vec<String> {
        self.log.as_mut().map(core::mem::take).unwrap_or_default()
    }

    /// Something happened; `data` is part of it.
    pub(crate) fn note(
        &mut self,
        now: Timestamp,
        at: EndpointId,
        what: fmt::Arguments<'_>,
        data: &[u8],
    ) {
        // Writing to a hasher or a string cannot fail.
        let _ = writeln!(HashWriter(&mut self.raw), "{now:?} {at} {what}");
        self.raw.write(data);
        if let Some(log) = &mut self.log {
            log.push(format!("{now:?} {at} {what}"));
        }
    }

    pub(crate) fn event(&mut self, now: Timestamp, at: EndpointId, event: &Event) {
        self.note(now, at, format_args!("event {event:?}"), &[]);
        let joined = self.joined.entry(at).or_default();
        match event {
            // These tell when to go on, and so how bytes were cut.
            Event::Readable { .. } | Event::Writable { .. } | Event::Unblocked => return,
            Event::SubgroupOpened { stream, subgroup, .. } => {
                let mut reading = hasher();
                let _ = write!(HashWriter(&mut reading), "{subgroup:?}");
                joined.reading.insert(*stream, reading);
            }
            _ => {}
        }
        let text = joined.name_keys(&format!("{event:?}"));
        joined.events.write(text.as_bytes());
    }

    pub(crate) fn read(&mut self, now: Timestamp, at: EndpointId, stream: StreamKey, read: &Read) {
        match read {
            Read::Payload(payload) => {
                let len = payload.len();
                self.note(now, at, format_args!("read {stream:?} {len} bytes"), payload);
            }
            _ => self.note(now, at, format_args!("read {stream:?} {read:?}"), &[]),
        }
        let Some(joined) = self.joined.get_mut(&at) else { return };
        let Some(reading) = joined.reading.get_mut(&stream) else { return };
        match read {
            Read::Pending | Read::Gone => {}
            Read::Payload(payload) => reading.write(payload),
            Read::Finished | Read::Reset(_) => {
                let _ = write!(HashWriter(reading), "{read:?}");
                joined.read = joined.read.wrapping_add(reading.finish());
                joined.reading.remove(&stream);
            }
            _ => {
                let _ = write!(HashWriter(reading), "{read:?}");
            }
        }
    }

    pub(crate) fn raw_hash(&self) -> u64 {
        self.raw.finish()
    }

    pub(crate) fn joined_hash(&self) -> u64 {
        let mut all = hasher();
        for (at, joined) in &self.joined {
            let reading = joined
                .reading
                .values()
                .fold(joined.read, |sum, reading| sum.wrapping_add(reading.finish()));
            let events = joined.events.finish();
            let _ = write!(HashWriter(&mut all), "{at} {events:x} {reading:x}");
        }
        all.finish()
    }
}

impl Joined {
    /// Replaces keys by their order of appearance.
    fn name_keys(&mut self, text: &str) -> String {
        let mut named = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("Key(") {
            let (before, from) = rest.split_at(at);
            let Some((key, after)) = from.split_once(')') else { break };
            let next = self.names.len();
            let kind = if before.ends_with("Stream") { 's' } else { 'r' };
            let name = *self.names.entry(format!("{kind}{key}")).or_insert(next);
            let _ = write!(named, "{before}{name}");
            rest = after;
        }
        named.push_str(rest);
        named
    }
}

struct HashWriter<'a>(&'a mut SipHasher13);

impl Write for HashWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_in_order_of_appearance() {
        let mut joined = Joined::default();
        assert_eq!(joined.name_keys("a StreamKey(3.1), RequestKey(3.1)."), "a Stream0, Request1.");
        assert_eq!(joined.name_keys("StreamKey(9.2) StreamKey(3.1)"), "Stream2 Stream0");
    }

    #[test]
    fn pieces_hash_as_their_whole() {
        let (mut whole, mut pieces) = (hasher(), hasher());
        whole.write(b"payload that is longer than one word");
        for piece in b"payload that is longer than one word".chunks(3) {
            pieces.write(piece);
        }
        assert_eq!(whole.finish(), pieces.finish());
    }
}
