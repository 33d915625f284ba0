//! What is known of a connection's streams from what was told before.

use std::collections::{HashMap, VecDeque};

use moqt_engine::{StreamKey, TraceEvent};
use moqt_quic::Traced;

/// Streams of a connection that are remembered. Of one that is forgotten, the oldest, objects are
/// told by their IDs alone, and without the stream's once all of it has come in.
const REMEMBERED: usize = 4096;

/// The streams of a connection.
#[derive(Default)]
pub(crate) struct Streams {
    known: HashMap<StreamKey, Known>,
    /// In the order in which they were first seen.
    order: VecDeque<StreamKey>,
}

#[derive(Default)]
struct Known {
    id: Option<u64>,
    /// Its subgroup's header was seen.
    is_subgroup: bool,
    /// The object before.
    object: Option<u64>,
}

impl Streams {
    /// QUIC's ID of the stream that something happened on.
    pub(crate) fn id(&mut self, traced: &Traced) -> Option<u64> {
        let known = self.known(traced.event.stream()?);
        if traced.stream_id.is_some() {
            known.id = traced.stream_id;
        }
        if let TraceEvent::SubgroupHeaderCreated(_) | TraceEvent::SubgroupHeaderParsed(_) =
            traced.event
        {
            known.is_subgroup = true;
        }
        known.id
    }

    /// The difference that is on the wire for this object, if the one before is known.
    pub(crate) fn object_delta(&mut self, stream: StreamKey, object: u64) -> Option<u64> {
        let known = self.known(stream);
        match known.object.replace(object) {
            Some(before) => object.checked_sub(before)?.checked_sub(1),
            None => known.is_subgroup.then_some(object),
        }
    }

    fn known(&mut self, stream: StreamKey) -> &mut Known {
        if !self.known.contains_key(&stream) {
            self.order.push_back(stream);
            if self.order.len() > REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
        self.known.entry(stream).or_default()
    }
}
