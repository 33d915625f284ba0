//! Reading the objects of a fetch.

use alloc::format;

use super::MoqtConnection;
use super::read::share;
use crate::event::{Event, FetchRead, RequestError};
use crate::key::{RequestKey, StreamKey};
use crate::link::Violation;
use crate::model::{Location, RequestErrorCode, StreamResetCode};
use crate::request::{Body, FetchFault};
use crate::stream::{FetchRecv, RecvKind};
use crate::time::Timestamp;
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
                    let subgroup_id = object.subgroup_id.filter(|_| has_subgroups);
                    let priority = object.publisher_priority;
                    if let Err(fault) = order.object(object.location, subgroup_id, priority) {
                        return self.malformed_at(request, object.location, fault);
                    }
                    let raw = share(front, properties);
                    *received = received.saturating_sub(used);
                    half.buffer.advance(used);
                    let properties = Properties::from_wire(self.dialect, raw);
                    FetchRead::Object(FetchObject { properties, ..object })
                }
                Ok(FetchEvent::EndOfRange { location, kind }) => {
                    if let Err(fault) = order.end_of_range(location) {
                        return self.malformed_at(request, location, fault);
                    }
                    *received = received.saturating_sub(used);
                    half.buffer.advance(used);
                    FetchRead::EndOfRange { location, kind }
                }
                Ok(FetchEvent::NeedMore) => {
                    *received = received.saturating_sub(used);
                    half.buffer.advance(used);
                    if half.buffer.len() > 0 && max > 0 {
                        continue;
                    }
                    if half.buffer.len() > 0 {
                        return FetchRead::Pending;
                    }
                    self.reopen_windows(stream);
                    return self.at_fetch_end(stream);
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

    fn malformed_at(
        &mut self,
        request: RequestKey,
        location: Location,
        fault: FetchFault,
    ) -> FetchRead {
        self.end_malformed(request, fault);
        FetchRead::Malformed { location, fault }
    }

    /// What was read of a fetch turns out not to have been in its range.
    pub(super) fn fetch_malformed(&mut self, request: RequestKey, fault: FetchFault) {
        self.end_malformed(request, fault);
        self.events.push_back(Event::Rejected { request, error: malformed_error(fault) });
    }

    /// "When a subscriber detects a Malformed Track, it MUST cancel any corresponding
    /// subscription or fetches for that Track from that publisher" (draft-18, "Malformed
    /// Tracks"). The fetch in which it was found is for the caller to tell of.
    fn end_malformed(&mut self, request: RequestKey, fault: FetchFault) {
        let code = StreamResetCode::MalformedTrack;
        let found = self.requests.get(request).map(|request| &request.body);
        let Some(Body::FetchSubscriber(fetch)) = found else { return };
        let track = fetch.track.clone();
        self.withdraw(Timestamp::ZERO, request, code);
        let fetches = self.requests.fetches_of(&track);
        for other in self.requests.received(&track).into_iter().chain(fetches) {
            self.withdraw(Timestamp::ZERO, other, code);
            let error = malformed_error(fault);
            self.events.push_back(Event::Rejected { request: other, error });
        }
    }
}

fn malformed_error(fault: FetchFault) -> RequestError {
    RequestError {
        code: RequestErrorCode::MalformedTrack,
        raw_code: None,
        reason: format!("{fault}"),
        retry_after: None,
        redirect: None,
    }
}
