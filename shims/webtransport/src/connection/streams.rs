//! Streams of the peer's, from their first byte until it is known whose they are; and datagrams.

use bytes::Bytes;

use super::{Connection, connect::Stage, dir, is_request};
use crate::held::HeldStream;
use crate::qpack::Instructions;
use crate::request_stream::{Came, Fault, RequestStream};
use crate::{Dir, Event, Route, code, frame, varint};

/// What begins a bidirectional stream of a session.
pub(super) const WT_STREAM_SIGNAL: u64 = frame::WT_STREAM;
/// The type of a session's unidirectional streams.
pub(super) const WT_STREAM_TYPE: u64 = 0x54;

const CONTROL: u64 = 0x0;
const PUSH: u64 = 0x1;
const QPACK_ENCODER: u64 = 0x2;
const QPACK_DECODER: u64 = 0x3;

/// The largest quarter stream ID (RFC 9297, section 2.1).
const MAX_QUARTER_STREAM_ID: u64 = (1 << 60) - 1;

/// How much of its header a stream has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Header {
    /// A part of a unidirectional stream's type, or of what begins a server's bidirectional one.
    Kind(varint::Reading),
    /// A part of the session's ID.
    Session(varint::Reading),
}

impl Connection {
    /// A stream whose header is not complete.
    pub(super) fn header_data(&mut self, stream: u64, mut data: Bytes, fin: bool) -> Route {
        let known = self.headers.remove(&stream);
        if known.is_none() {
            let unattributed = self.headers.len().saturating_add(self.requests.len());
            if unattributed >= self.limits.unattributed_streams {
                return self.refuse_stream(stream, code::WT_BUFFERED_STREAM_REJECTED);
            }
            if is_request(stream) {
                self.next_request = self.next_request.max(stream.saturating_add(4));
                return self.request_data(stream, data, fin);
            }
        }
        let mut header = known.unwrap_or(Header::Kind(varint::Reading::default()));
        if let Header::Kind(mut reading) = header {
            header = match reading.take(&mut data) {
                None => Header::Kind(reading),
                Some(kind) => match self.begin_stream(stream, kind) {
                    Begun::Session => Header::Session(varint::Reading::default()),
                    Begun::Critical => {
                        self.critical_data(stream, data, fin);
                        return Route::Own;
                    }
                    Begun::Unknown => {
                        return self.refuse_stream(stream, code::H3_STREAM_CREATION_ERROR);
                    }
                    Begun::Wrong => return Route::Refused,
                },
            };
        }
        if let Header::Session(mut reading) = header {
            match reading.take(&mut data) {
                Some(session) => return self.session_stream(stream, session, data, fin),
                None => header = Header::Session(reading),
            }
        }
        if fin {
            // RFC 9114, section 6.2, has this tolerated.
            self.header_reset(stream);
            return Route::Refused;
        }
        self.headers.insert(stream, header);
        Route::Own
    }

    /// The type of a stream is known that is no request's.
    fn begin_stream(&mut self, stream: u64, kind: u64) -> Begun {
        let wrong = match (dir(stream), kind) {
            (Dir::Bi, WT_STREAM_SIGNAL) | (Dir::Uni, WT_STREAM_TYPE) => return Begun::Session,
            (Dir::Bi, _) => (
                code::H3_STREAM_CREATION_ERROR,
                "a bidirectional stream of the server's that is no session's",
            ),
            (Dir::Uni, CONTROL) if self.peer_control.is_none() => {
                self.begin_control(stream);
                return Begun::Critical;
            }
            (Dir::Uni, QPACK_ENCODER) if self.peer_encoder.is_none() => {
                self.peer_encoder = Some((stream, Instructions::encoder()));
                return Begun::Critical;
            }
            (Dir::Uni, QPACK_DECODER) if self.peer_decoder.is_none() => {
                self.peer_decoder = Some((stream, Instructions::decoder()));
                return Begun::Critical;
            }
            (Dir::Uni, CONTROL | QPACK_ENCODER | QPACK_DECODER) => {
                (code::H3_STREAM_CREATION_ERROR, "a second stream of a kind of which there is one")
            }
            (Dir::Uni, PUSH) if self.is_client() => {
                (code::H3_ID_ERROR, "a push stream, and there was no MAX_PUSH_ID")
            }
            (Dir::Uni, PUSH) => (code::H3_STREAM_CREATION_ERROR, "a push stream of a client's"),
            (Dir::Uni, _) => return Begun::Unknown,
        };
        let (code, reason) = wrong;
        self.fail(code, reason);
        Begun::Wrong
    }

    /// A bidirectional stream of a client's, until its header is complete.
    pub(super) fn request_data(&mut self, stream: u64, mut data: Bytes, fin: bool) -> Route {
        let request = self.requests.remove(&stream);
        let limit = self.limits.field_section;
        let mut request = request.unwrap_or_else(|| RequestStream::new(limit, false));
        loop {
            match request.next(&mut data) {
                Ok(None) => break,
                Ok(Some(Came::WtStream)) => {
                    self.headers.insert(stream, Header::Session(varint::Reading::default()));
                    return self.header_data(stream, data, fin);
                }
                Ok(Some(Came::Begun)) => {
                    if !self.takes_requests(stream) {
                        return self.refuse_stream(stream, code::H3_REQUEST_REJECTED);
                    }
                }
                Ok(Some(Came::FieldSection(section))) => {
                    return self.request_header(stream, request, section, data, fin);
                }
                // There is no content before the header.
                Ok(Some(Came::Content(_))) => {}
                Err(Fault::Connection(code, reason)) => {
                    self.fail(code, reason);
                    return Route::Refused;
                }
                Err(Fault::TooLarge) => return self.answer_request(stream, 431),
            }
        }
        if !fin {
            self.requests.insert(stream, request);
            return Route::Own;
        }
        if request.is_inside() {
            self.fail(code::H3_FRAME_ERROR, "a request stream ends within a frame");
            return Route::Refused;
        }
        self.refuse_stream(stream, code::H3_REQUEST_INCOMPLETE)
    }

    fn takes_requests(&self, stream: u64) -> bool {
        let others = self.requests.values().filter(|request| request.has_begun()).count();
        self.stage == Stage::Waiting
            && self.goaway.is_none_or(|goaway| stream < goaway)
            && others < self.limits.requests
    }

    /// There is a session, or will be: requests that have begun are not its own.
    pub(super) fn refuse_requests(&mut self) {
        let begun = self.requests.iter().filter(|(_, request)| request.has_begun());
        let begun: Vec<u64> = begun.map(|(stream, _)| *stream).collect();
        for stream in begun {
            self.requests.remove(&stream);
            let _ = self.refuse_stream(stream, code::H3_REQUEST_REJECTED);
        }
    }

    /// A stream that is nobody's yet, and never will be, since the peer has reset it.
    pub(super) fn header_reset(&mut self, stream: u64) {
        self.headers.remove(&stream);
        self.requests.remove(&stream);
        self.stats.unattributed_streams = self.stats.unattributed_streams.saturating_add(1);
        self.reset_if_bidirectional(stream, code::H3_REQUEST_CANCELLED);
    }

    /// A stream whose header names a session.
    fn session_stream(&mut self, stream: u64, session: u64, data: Bytes, fin: bool) -> Route {
        if !is_request(session) {
            self.fail(code::H3_ID_ERROR, "a stream of a session whose ID is no request stream's");
            return Route::Refused;
        }
        match self.place(session) {
            Place::Here => Route::Session(data),
            Place::Later => {
                let held = HeldStream { stream, session, data, fin, reset: None };
                match self.held.hold_stream(held, &self.limits) {
                    Ok(()) => Route::Held,
                    Err(_) => self.refuse_stream(stream, code::WT_BUFFERED_STREAM_REJECTED),
                }
            }
            Place::Gone => self.refuse_stream(stream, code::WT_SESSION_GONE),
            Place::Nowhere => self.refuse_stream(stream, code::WT_BUFFERED_STREAM_REJECTED),
        }
    }

    pub(super) fn datagram(&mut self, mut data: Bytes) -> Option<Bytes> {
        let Some(id) = varint::take(&mut data).filter(|id| *id <= MAX_QUARTER_STREAM_ID) else {
            self.fail(code::H3_DATAGRAM_ERROR, "a datagram without a valid quarter stream ID");
            return None;
        };
        let session = id.saturating_mul(4);
        match self.place(session) {
            Place::Here => return Some(data),
            Place::Later if self.held.hold_datagram(session, &data, &self.limits) => {}
            Place::Later | Place::Gone | Place::Nowhere => self.count_dropped_datagram(),
        }
        None
    }

    /// Gives out what waited for the session.
    pub(super) fn release(&mut self) {
        let (streams, datagrams) = self.held.take();
        for HeldStream { stream, session, data, fin, reset } in streams {
            if self.session_id() == Some(session) {
                self.events.push_back(Event::Stream { stream, data, fin, reset });
            } else {
                let _ = self.refuse_stream(stream, code::WT_BUFFERED_STREAM_REJECTED);
            }
        }
        for (session, payload) in datagrams {
            if self.session_id() == Some(session) {
                self.events.push_back(Event::Datagram(payload));
            } else {
                self.count_dropped_datagram();
            }
        }
    }

    /// Refuses what waits for a session that will not come: all but those of `session`.
    pub(super) fn refuse_held(&mut self, session: Option<u64>) {
        let (streams, datagrams) = self.held.take();
        for held in streams {
            if session == Some(held.session) {
                let _ = self.held.hold_stream(held, &self.limits);
            } else {
                let _ = self.refuse_stream(held.stream, code::WT_BUFFERED_STREAM_REJECTED);
            }
        }
        for (id, payload) in datagrams {
            if session != Some(id) || !self.held.hold_datagram(id, &payload, &self.limits) {
                self.count_dropped_datagram();
            }
        }
    }

    fn count_dropped_datagram(&mut self) {
        self.stats.dropped_datagrams = self.stats.dropped_datagrams.saturating_add(1);
    }

    fn place(&self, session: u64) -> Place {
        let is_ours = self.session_id() == Some(session);
        match self.stage {
            Stage::Established if is_ours => Place::Here,
            Stage::Asked | Stage::Requested if is_ours => Place::Later,
            Stage::Over if is_ours => Place::Gone,
            // The CONNECT request may be on its way.
            Stage::Waiting if !self.is_client() => Place::Later,
            _ => Place::Nowhere,
        }
    }
}

/// What a stream's type means.
enum Begun {
    /// The session's ID follows.
    Session,
    /// It is one that the connection needs.
    Critical,
    /// Nothing.
    Unknown,
    /// The connection was closed because of it.
    Wrong,
}

/// Where a session is.
enum Place {
    Here,
    /// It may be here later.
    Later,
    /// It was here.
    Gone,
    Nowhere,
}
