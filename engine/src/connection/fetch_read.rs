//! Reading the objects of a fetch.

use alloc::format;

use bytes::Bytes;

use super::MoqtConnection;
use super::read::share;
use crate::event::FetchRead;
use crate::key::StreamKey;
use crate::link::Violation;
use crate::object::Broken;
use crate::stats;
use crate::stream::{FetchRecv, RecvKind};
use crate::trace::{FetchItem, TraceEvent, TracedFetchObject};
use crate::wire::{DecodeError, FetchEvent, FetchLayout, FetchObject, Properties};

impl MoqtConnection {
    /// Reads on in a fetch, at most `max` bytes of payload at a time. Call it until it says
    /// [`Pending`](FetchRead::Pending) or the stream is over; what is not read holds the peer
    /// back. Drain actions and events afterwards.
    ///
    /// The fetch is over when its stream is, and it was answered.
    pub fn read_fetch(&mut self, stream: StreamKey, max: usize) -> FetchRead {
        loop {
            let Some((half, received)) = self.streams.receiving(stream) else {
                return FetchRead::Gone;
            };
            let RecvKind::Fetch(fetch) = &mut half.kind else { return FetchRead::Gone };
            let FetchRecv { request, reader, order, .. } = &mut **fetch;
            let request = *request;
            let front = half.buffer.front();
            let available =
                if reader.payload_left() > 0 { front.get(..max).unwrap_or(front) } else { front };
            let mut input = available;
            let event = reader.next(&mut input);
            let used = available.len() - input.len();
            // Draft 14 does not say which objects have no subgroup.
            let has_subgroups = self.dialect.objects.fetch != FetchLayout::Absolute;
            let read = match event {
                Ok(FetchEvent::Payload(_)) => {
                    *received = received.saturating_sub(used);
                    FetchRead::Payload(half.buffer.take(used))
                }
                Ok(FetchEvent::Object { object, properties }) => {
                    let raw = share(front, properties);
                    let object = FetchObject {
                        properties: Properties::from_wire(self.dialect, raw),
                        ..object
                    };
                    self.trace.add(|| {
                        let item = FetchItem::Object(object.clone());
                        TraceEvent::FetchObjectParsed(TracedFetchObject { stream, item })
                    });
                    let subgroup_id = object.subgroup_id.filter(|_| has_subgroups);
                    let priority = object.publisher_priority;
                    if let Err(rule) = order.object(object.location, subgroup_id, priority) {
                        let location = object.location;
                        self.track_is_malformed(request, Broken { rule, location });
                        return FetchRead::Gone;
                    }
                    *received = received.saturating_sub(used);
                    half.buffer.advance(used);
                    self.stats.fetches_received.objects += 1;
                    stats::add(&mut self.stats.fetches_received.payload_bytes, object.payload_len);
                    FetchRead::Object(object)
                }
                Ok(FetchEvent::EndOfRange { location, kind }) => {
                    self.trace.add(|| {
                        let item = FetchItem::EndOfRange { location, kind };
                        TraceEvent::FetchObjectParsed(TracedFetchObject { stream, item })
                    });
                    if let Err(rule) = order.end_of_range(location) {
                        self.track_is_malformed(request, Broken { rule, location });
                        return FetchRead::Gone;
                    }
                    *received = received.saturating_sub(used);
                    half.buffer.advance(used);
                    FetchRead::EndOfRange { location, kind }
                }
                Ok(FetchEvent::NeedMore) => {
                    *received = received.saturating_sub(used);
                    half.buffer.advance(used);
                    if half.buffer.len() == 0 {
                        self.reopen_windows(stream);
                        return self.at_fetch_end(stream);
                    }
                    if reader.payload_left() == 0 {
                        continue;
                    }
                    // There is payload, and none is wanted: nothing to wait for.
                    FetchRead::Payload(Bytes::new())
                }
                Err(error) => return self.fetch_unreadable(&error),
            };
            self.reopen_windows(stream);
            return read;
        }
    }

    /// Everything that has come in was read.
    fn at_fetch_end(&mut self, stream: StreamKey) -> FetchRead {
        let Some(half) = self.streams.recv_mut(stream) else { return FetchRead::Gone };
        let RecvKind::Fetch(fetch) = &mut half.kind else { return FetchRead::Gone };
        let request = fetch.request;
        if let Some(code) = half.reset {
            let code = self.dialect.reset(code);
            self.streams.drop_recv(stream);
            self.fetch_read(request);
            return FetchRead::Reset(code);
        }
        if !half.fin {
            fetch.waiting = true;
            return FetchRead::Pending;
        }
        if !fetch.reader.is_at_boundary() {
            self.close_for(Violation::protocol("a fetch stream finished inside an object"));
            return FetchRead::Gone;
        }
        self.streams.drop_recv(stream);
        self.fetch_read(request);
        FetchRead::Finished
    }

    fn fetch_unreadable(&mut self, error: &DecodeError) -> FetchRead {
        self.close_for(Violation::new(error.session_error(), format!("fetch: {error}")));
        FetchRead::Gone
    }
}
