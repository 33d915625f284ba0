//! The CONNECT stream, and what becomes of the session.

use bytes::{Bytes, BytesMut};

use super::{Connection, is_request, session_headers};
use crate::capsule::{Capsule, Capsules};
use crate::fields::Malformed;
use crate::message::Asked;
use crate::qpack::{self, Field};
use crate::request_stream::{Came, Fault, RequestStream};
use crate::{Action, Error, Event, Own, Request, Response, Route, Version, code, frame};

/// How far the session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is no CONNECT request.
    Waiting,
    /// There is one, and the client's SETTINGS are not there.
    Asked,
    /// A client: it was sent. A server: the application was asked.
    Requested,
    Established,
    Over,
}

/// The CONNECT stream.
#[derive(Debug)]
pub(super) struct Connect {
    pub(super) id: u64,
    /// The application protocols that the client offers.
    pub(super) protocols: Vec<String>,
    stream: RequestStream,
    capsules: Capsules,
    /// What a server was asked, until the client's SETTINGS are there: with which upgrade token.
    asked: Option<(Request, String)>,
    /// What came before a server answered.
    early: BytesMut,
    peer: Peer,
    /// This side has sent its last.
    has_ended: bool,
    /// The connection is to be closed when the peer has sent its last.
    closes_connection: bool,
}

/// How far the peer's side of the CONNECT stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Open,
    /// The end is among what came before a server answered.
    EndedEarly,
    /// The session was closed: nothing may come but the end.
    Closed,
    Ended,
}

impl Connect {
    fn new(id: u64, stream: RequestStream, max_datagram: usize) -> Self {
        Self {
            id,
            protocols: Vec::new(),
            stream,
            capsules: Capsules::new(max_datagram, false),
            asked: None,
            early: BytesMut::new(),
            peer: Peer::Open,
            has_ended: false,
            closes_connection: false,
        }
    }
}

impl Connection {
    /// The peer's SETTINGS have come: a session can be asked for, or granted.
    pub(super) fn settings_are_known(&mut self) {
        if self.is_client() {
            self.choose_version();
        } else if self.stage == Stage::Asked {
            self.ask();
        }
    }

    fn choose_version(&mut self) {
        let Some(settings) = &self.settings else { return };
        if self.stage != Stage::Waiting {
            return;
        }
        match settings.choose(&self.versions, true, |_| true) {
            Ok(version) => {
                self.version = Some(version);
                self.actions.push_back(Action::Open(Own::Connect));
            }
            Err(missing) => {
                self.end_session(Some(Event::Failed(Error::RequirementsNotMet { missing })));
                self.close_connection(
                    code::WT_REQUIREMENTS_NOT_MET,
                    "the server lacks what WebTransport needs",
                );
            }
        }
    }

    /// A client: the CONNECT stream is open.
    pub(super) fn send_request(&mut self, stream: u64) {
        let (Some(request), Some(version), Some(settings)) =
            (&self.request, self.version, &self.settings)
        else {
            return;
        };
        if self.stage != Stage::Waiting || !is_request(stream) {
            return;
        }
        let error = match request.encode(version) {
            Err(Malformed(reason)) => Error::Request { reason },
            Ok(fields) => {
                let size = fields.iter().map(Field::size).fold(0, usize::saturating_add);
                let limit = settings.max_field_section_size;
                if u64::try_from(size).is_ok_and(|size| size <= limit) {
                    let messages = RequestStream::new(self.limits.field_section, true);
                    let mut connect = Connect::new(stream, messages, self.limits.capsule_datagram);
                    connect.protocols.clone_from(&request.protocols);
                    self.connect = Some(connect);
                    self.stage = Stage::Requested;
                    self.send_fields(stream, &fields, false);
                    return;
                }
                Error::RequestTooLarge { size, limit }
            }
        };
        self.end_session(Some(Event::Failed(error)));
        self.close_connection(code::H3_NO_ERROR, "no session is asked for");
    }

    /// A server: a request's header has come.
    pub(super) fn request_header(
        &mut self,
        stream: u64,
        mut messages: RequestStream,
        section: Bytes,
        data: Bytes,
        fin: bool,
    ) -> Route {
        let fields = match qpack::decode(section, self.limits.field_section) {
            Ok(fields) => fields,
            Err(qpack::Fault::TooLarge) => return self.answer_request(stream, 431),
            Err(qpack::Fault::Decompression(reason)) => {
                self.fail(code::QPACK_DECOMPRESSION_FAILED, reason);
                return Route::Refused;
            }
        };
        match Asked::decode(&fields) {
            Err(Malformed(_)) => self.refuse_stream(stream, code::H3_MESSAGE_ERROR),
            Ok(Asked::Else { status }) => self.answer_request(stream, status),
            Ok(Asked::Session { request, token }) => {
                messages.header_is_complete();
                let mut connect = Connect::new(stream, messages, self.limits.capsule_datagram);
                connect.protocols.clone_from(&request.protocols);
                connect.asked = Some((request, token));
                self.connect = Some(connect);
                self.stage = Stage::Asked;
                self.refuse_requests();
                self.refuse_held(Some(stream));
                if self.settings.is_some() {
                    self.ask();
                }
                self.connect_data(data, fin);
                Route::Own
            }
        }
    }

    /// A server: asks the application whether it wants the session.
    fn ask(&mut self) {
        let asked = self.connect.as_mut().and_then(|connect| connect.asked.take());
        let (Some((request, token)), Some(settings)) = (asked, &self.settings) else { return };
        match settings.choose(&self.versions, false, |version| version.upgrade_token() == token) {
            Ok(version) => {
                self.version = Some(version);
                self.stage = Stage::Requested;
                self.events.push_back(Event::Requested(request));
            }
            Err(missing) => {
                let error = Error::RequirementsNotMet { missing };
                self.abort_session(code::H3_MESSAGE_ERROR, Some(error));
            }
        }
    }

    /// What came on the CONNECT stream.
    pub(super) fn connect_data(&mut self, mut data: Bytes, fin: bool) {
        let Some(connect) = &mut self.connect else { return };
        if connect.peer == Peer::Ended {
            return;
        }
        let is_early = matches!(self.stage, Stage::Asked | Stage::Requested);
        if is_early && self.request.is_none() {
            let length = connect.early.len().saturating_add(data.len());
            if length > self.limits.early_bytes {
                let reason = "more than is held came before the session was established";
                self.violate(code::H3_EXCESSIVE_LOAD, reason);
            } else {
                connect.early.extend_from_slice(&data);
                if fin {
                    connect.peer = Peer::EndedEarly;
                }
                return;
            }
        }
        while self.message(&mut data) {}
        if fin && !self.is_closed {
            self.connect_has_ended();
        }
    }

    /// A server: what came before the session was established.
    pub(super) fn early_data(&mut self) {
        let Some(connect) = &mut self.connect else { return };
        let data = std::mem::take(&mut connect.early).freeze();
        let fin = connect.peer == Peer::EndedEarly;
        self.connect_data(data, fin);
    }

    /// Takes what comes next on the CONNECT stream; whether that may not have been all.
    fn message(&mut self, data: &mut Bytes) -> bool {
        let Some(connect) = &mut self.connect else { return false };
        if self.is_closed {
            return false;
        }
        if self.stage == Stage::Over {
            if connect.peer == Peer::Closed && !data.is_empty() {
                // The end was sent already.
                connect.peer = Peer::Open;
                let (stream, code) = (connect.id, code::H3_MESSAGE_ERROR);
                self.stop_connect(code);
                self.actions.push_back(Action::Reset { stream, code });
            }
            return false;
        }
        match connect.stream.next(data) {
            Ok(None) => return false,
            Ok(Some(Came::Begun)) => {}
            // Of a stream that this side opened.
            Ok(Some(Came::WtStream)) => self.fail(
                code::H3_FRAME_ERROR,
                "WT_STREAM elsewhere than at the beginning of a stream",
            ),
            Ok(Some(Came::FieldSection(section))) => self.response(section),
            Ok(Some(Came::Content(content))) => self.content(content, data),
            Err(Fault::Connection(code, reason)) => self.fail(code, reason),
            Err(Fault::TooLarge) => self.response_too_large(),
        }
        true
    }

    /// A client: a response, or an interim one.
    fn response(&mut self, section: Bytes) {
        let fields = match qpack::decode(section, self.limits.field_section) {
            Ok(fields) => fields,
            Err(qpack::Fault::TooLarge) => return self.response_too_large(),
            Err(qpack::Fault::Decompression(reason)) => {
                return self.fail(code::QPACK_DECOMPRESSION_FAILED, reason);
            }
        };
        match Response::decode(&fields) {
            Err(Malformed(reason)) => self.violate(code::H3_MESSAGE_ERROR, reason),
            Ok(response) if response.is_interim() => {}
            Ok(response) if response.is_success() => self.established(response),
            Ok(response) => {
                self.end_session(Some(Event::Refused { response }));
                self.close_connection(code::H3_NO_ERROR, "the session was refused");
            }
        }
    }

    fn response_too_large(&mut self) {
        self.violate(code::H3_EXCESSIVE_LOAD, "a response with more header fields than are taken");
    }

    /// A client: the session is established.
    fn established(&mut self, mut response: Response) {
        let Some(connect) = &mut self.connect else { return };
        connect.stream.header_is_complete();
        let is_offered = |chosen: &String| connect.protocols.contains(chosen);
        if response.protocol.as_ref().is_some_and(|chosen| !is_offered(chosen)) {
            let was_asked = !connect.protocols.is_empty();
            if was_asked && self.version.is_some_and(Version::refuses_other_protocols) {
                let reason = "WT-Protocol is none that was offered";
                return self.violate(code::WT_ALPN_ERROR, reason);
            }
            response.protocol = None;
        }
        self.establish(Some(Event::Established { response }));
    }

    /// The session is established, on either side.
    pub(super) fn establish(&mut self, event: Option<Event>) {
        let Some(connect) = &mut self.connect else { return };
        let prohibits = self.version.is_some_and(Version::prohibits_stream_flow_control);
        connect.capsules = Capsules::new(self.limits.capsule_datagram, prohibits);
        (self.stream_headers, self.datagram_header) = session_headers(connect.id);
        self.stage = Stage::Established;
        self.events.extend(event);
        self.release();
        // It may have said so before.
        if self.peer_is_going {
            self.events.push_back(Event::Draining);
        }
    }

    /// Content is capsules.
    fn content(&mut self, mut content: Bytes, rest: &mut Bytes) {
        while let Some(connect) = &mut self.connect
            && self.stage == Stage::Established
        {
            match connect.capsules.next(&mut content) {
                Ok(None) => return,
                Ok(Some(Capsule::Datagram(payload))) => {
                    self.events.push_back(Event::Datagram(payload));
                }
                Ok(Some(Capsule::Drain)) => self.events.push_back(Event::Draining),
                Ok(Some(Capsule::Close { code, reason })) => {
                    connect.peer = Peer::Closed;
                    self.finish_connect(&[]);
                    self.end_session(Some(Event::Closed { code, reason }));
                    if !content.is_empty() {
                        // More came in the same frame.
                        *rest = content;
                    }
                    return;
                }
                Err(Malformed(reason)) => self.violate(code::H3_MESSAGE_ERROR, reason),
            }
        }
    }

    /// The peer has sent its last on the CONNECT stream.
    fn connect_has_ended(&mut self) {
        let Some(connect) = &mut self.connect else { return };
        connect.peer = Peer::Ended;
        if self.stage != Stage::Over {
            if connect.stream.is_inside() {
                return self.fail(code::H3_FRAME_ERROR, "the CONNECT stream ends within a frame");
            }
            if self.stage != Stage::Established {
                return self.violate(code::H3_MESSAGE_ERROR, "the CONNECT stream ends early");
            }
            if connect.capsules.is_inside() {
                return self
                    .violate(code::H3_MESSAGE_ERROR, "the CONNECT stream ends in a capsule");
            }
            self.finish_connect(&[]);
            self.end_session(Some(Event::Closed { code: 0, reason: String::new() }));
        }
        self.close_if_ended();
    }

    /// The peer has reset the CONNECT stream.
    pub(super) fn connect_reset(&mut self, code: u64) {
        let Some(connect) = &mut self.connect else { return };
        if connect.peer == Peer::Ended {
            return;
        }
        connect.peer = Peer::Ended;
        if self.stage == Stage::Over {
            return self.close_if_ended();
        }
        self.abort_session(code::H3_REQUEST_CANCELLED, Some(Error::Reset { code }));
    }

    /// The peer does not read the CONNECT stream any more.
    pub(super) fn connect_stop_sending(&mut self, code: u64) {
        let Some(connect) = &mut self.connect else { return };
        if !connect.has_ended {
            connect.has_ended = true;
            self.actions.push_back(Action::Reset { stream: connect.id, code });
        }
        // A response, or the reason for the end, may be on its way.
        let more_comes = match self.stage {
            Stage::Requested => self.request.is_some(),
            Stage::Established => [code::H3_NO_ERROR, code::WT_SESSION_GONE].contains(&code),
            Stage::Waiting | Stage::Asked | Stage::Over => false,
        };
        if self.stage != Stage::Over && !more_comes {
            self.abort_session(code::H3_REQUEST_CANCELLED, Some(Error::Reset { code }));
        }
    }

    pub(super) fn close_session(&mut self, code: u32, reason: &str) {
        match self.stage {
            Stage::Waiting | Stage::Asked | Stage::Requested => {
                self.end_session(None);
                self.close_connection(code::H3_NO_ERROR, reason);
                return;
            }
            Stage::Established => {
                let mut capsule = BytesMut::new();
                Capsule::Close { code, reason: reason.to_owned() }.put(&mut capsule);
                self.finish_connect(&capsule);
                self.end_session(None);
            }
            Stage::Over => {}
        }
        self.closes_connection();
    }

    pub(super) fn send_drain(&mut self) {
        let Some(connect) = &self.connect else { return };
        if !connect.has_ended {
            let (id, mut capsule, mut data) = (connect.id, BytesMut::new(), BytesMut::new());
            Capsule::Drain.put(&mut capsule);
            frame::put(&mut data, frame::DATA, &capsule);
            self.send(id, data.freeze(), false);
        }
    }

    /// A server: answers a request that is no session's.
    pub(super) fn answer_request(&mut self, stream: u64, status: u16) -> Route {
        self.send_fields(stream, &Response::bare(status), true);
        self.actions.push_back(Action::StopSending { stream, code: code::H3_NO_ERROR });
        Route::Refused
    }

    /// A server: answers the session's request.
    pub(super) fn send_response(&mut self, fields: &[Field], fin: bool) {
        let Some(connect) = &mut self.connect else { return };
        if !connect.has_ended {
            connect.has_ended = fin;
            let id = connect.id;
            self.send_fields(id, fields, fin);
        }
    }

    /// Asks the peer for no more on the CONNECT stream.
    pub(super) fn stop_connect(&mut self, code: u64) {
        if let Some(connect) = &self.connect
            && connect.peer != Peer::Ended
        {
            self.actions.push_back(Action::StopSending { stream: connect.id, code });
        }
    }

    /// The peer has violated WebTransport.
    fn violate(&mut self, code: u64, reason: &'static str) {
        self.abort_session(code, Some(Error::Session { code, reason }));
    }

    /// Resets the CONNECT stream, and so ends the session.
    pub(super) fn abort_session(&mut self, code: u64, error: Option<Error>) {
        self.stop_connect(code);
        if let Some(connect) = &mut self.connect
            && !std::mem::replace(&mut connect.has_ended, true)
        {
            self.actions.push_back(Action::Reset { stream: connect.id, code });
        }
        self.end_session(error.map(Event::Failed));
        self.closes_connection();
    }

    /// Nothing more is the session's: what waited for it is refused.
    pub(super) fn end_session(&mut self, event: Option<Event>) {
        if self.stage != Stage::Over {
            self.stage = Stage::Over;
            self.events.extend(event);
            self.refuse_held(None);
            self.refuse_requests();
            if let Some(connect) = &mut self.connect {
                if connect.peer == Peer::EndedEarly {
                    connect.peer = Peer::Ended;
                }
                connect.early = BytesMut::new();
                connect.asked = None;
            }
        }
    }

    /// Sends the last on the CONNECT stream.
    fn finish_connect(&mut self, content: &[u8]) {
        let Some(connect) = &mut self.connect else { return };
        if !std::mem::replace(&mut connect.has_ended, true) {
            let id = connect.id;
            let mut data = BytesMut::new();
            if !content.is_empty() {
                frame::put(&mut data, frame::DATA, content);
            }
            self.send(id, data.freeze(), true);
        }
    }

    fn closes_connection(&mut self) {
        match &mut self.connect {
            Some(connect) => {
                connect.closes_connection = true;
                self.close_if_ended();
            }
            None => self.close_connection(code::H3_NO_ERROR, "there is no session"),
        }
    }

    fn close_if_ended(&mut self) {
        let connect = self.connect.as_ref();
        if connect.is_some_and(|connect| connect.closes_connection && connect.peer == Peer::Ended) {
            self.close_connection(code::H3_NO_ERROR, "the session is over");
        }
    }

    fn send_fields(&mut self, stream: u64, fields: &[Field], fin: bool) {
        let mut data = BytesMut::new();
        frame::put(&mut data, frame::HEADERS, &qpack::encode(fields));
        self.send(stream, data.freeze(), fin);
    }
}
