//! Going away (draft-18, "GOAWAY").

use core::time::Duration;

use bytes::Bytes;

use super::MoqtConnection;
use crate::config::Role;
use crate::error::CommandError;
use crate::event::Event;
use crate::key::{RequestKey, StreamKey};
use crate::link::Violation;
use crate::model::{Goaway, Message, SessionError, StreamResetCode};
use crate::request::Request;
use crate::stream::RecvKind;
use crate::time::Timestamp;
use crate::timers::Timer;
use crate::wire::EncodeError;

impl MoqtConnection {
    /// Tells the peer that this side will close the session, and where to continue; empty
    /// means at the current URI, and a client's must be empty (draft-18, "GOAWAY"). What is
    /// open goes on. New requests of the peer's are refused where the draft says so (18); this
    /// side may begin more, but should not.
    ///
    /// When `timeout` has passed and the peer has not closed the session, it is closed with
    /// GOAWAY_TIMEOUT. Zero sets no time. Only draft 18 tells the peer of it.
    pub fn goaway(
        &mut self,
        now: Timestamp,
        new_session_uri: Bytes,
        timeout: Duration,
    ) -> Result<(), CommandError> {
        if !self.is_established() {
            return Err(self.not_established());
        }
        self.check_goaway_uri(&new_session_uri)?;
        if self.goaway_sent {
            return Err(CommandError::WrongState("GOAWAY was sent already"));
        }
        let message = Message::Goaway(Goaway {
            new_session_uri,
            timeout: self.goaway_millis(timeout),
            request_id: Some(self.requests.peer_ids.next()),
        });
        self.encode_and_send(None, &message)?;
        self.goaway_sent = true;
        if !timeout.is_zero() {
            self.timers.set(now.saturating_add(timeout), Timer::Goaway);
        }
        Ok(())
    }

    /// Asks the peer to move one request: to a session at the URI, or to this one anew if it is
    /// empty, which a client's must be (draft-18, "GOAWAY"). The request goes on.
    ///
    /// When `timeout` has passed and the request is not over, it is reset, and
    /// [`Event::Cancelled`] with GOING_AWAY follows. Zero sets no time. Other drafts cannot say
    /// this.
    pub fn goaway_request(
        &mut self,
        now: Timestamp,
        request: RequestKey,
        new_session_uri: Bytes,
        timeout: Duration,
    ) -> Result<(), CommandError> {
        if self.is_closed() {
            return Err(CommandError::Closed);
        }
        if !self.dialect.answers_by_stream {
            let (what, draft) = ("GOAWAY for a request", self.dialect.draft);
            return Err(CommandError::Encode(EncodeError::NotInDraft { what, draft }));
        }
        self.check_goaway_uri(&new_session_uri)?;
        let found = self.requests.get(request).ok_or(CommandError::Gone)?;
        if found.goaway_sent {
            return Err(CommandError::WrongState("GOAWAY was sent for the request already"));
        }
        let stream = found.stream;
        let timeout_millis = self.goaway_millis(timeout);
        let goaway = Goaway { new_session_uri, timeout: timeout_millis, request_id: None };
        self.encode_and_send(stream, &Message::Goaway(goaway))?;
        let deadline = now.saturating_add(timeout);
        let Some(found) = self.requests.get_mut(request) else { return Ok(()) };
        found.goaway_sent = true;
        if !timeout.is_zero() {
            found.goaway_deadline = Some(deadline);
            self.timers.set(deadline, Timer::RequestGoaway(request));
        }
        Ok(())
    }

    fn check_goaway_uri(&self, uri: &Bytes) -> Result<(), CommandError> {
        if self.role == Role::Client && !uri.is_empty() {
            return Err(CommandError::WrongState("a client cannot send a peer elsewhere"));
        }
        Ok(())
    }

    /// Milliseconds as they are told. What is shorter than one must not be told as none.
    fn goaway_millis(&self, timeout: Duration) -> u64 {
        let millis = u64::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
        millis.min(self.dialect.ints.max())
    }

    /// The peer did not close the session in time.
    pub(super) fn goaway_expired(&mut self) {
        let reason = "the peer did not leave in time after GOAWAY";
        self.close_local(SessionError::GoawayTimeout, reason.into());
    }

    /// The peer did not move the request in time.
    pub(super) fn request_goaway_expired(&mut self, now: Timestamp, request: RequestKey) {
        let Some(found) = self.requests.get_mut(request) else { return };
        found.goaway_deadline = None;
        let code = StreamResetCode::GoingAway;
        let is_told = found.is_told();
        self.withdraw(now, request, code);
        if is_told {
            self.events.push_back(Event::Cancelled { request, code, error: None });
        }
    }

    pub(super) fn on_goaway(&mut self, goaway: Goaway) -> Result<(), Violation> {
        let Goaway { new_session_uri, timeout, request_id } = goaway;
        if core::mem::replace(&mut self.goaway_received, true) {
            return Err(Violation::protocol("a second GOAWAY"));
        }
        self.check_peer_uri(&new_session_uri)?;
        if request_id.is_none() && self.dialect.goaway_request_id {
            return Err(Violation::protocol("GOAWAY on the control stream without a Request ID"));
        }
        if request_id.is_some_and(|id| id % 2 != self.role.first_request_id()) {
            let reason = "GOAWAY with a Request ID of the wrong parity";
            return Err(Violation::new(SessionError::InvalidRequestId, reason));
        }
        let unprocessed =
            request_id.map(|id| self.requests.unanswered_from(id)).unwrap_or_default();
        let timeout = Duration::from_millis(timeout);
        self.events.push_back(Event::Goaway { new_session_uri, timeout, unprocessed });
        Ok(())
    }

    pub(super) fn on_request_goaway(
        &mut self,
        stream: StreamKey,
        goaway: Goaway,
    ) -> Result<(), Violation> {
        let Goaway { new_session_uri, timeout, request_id } = goaway;
        if request_id.is_some() {
            return Err(Violation::protocol("GOAWAY with a Request ID on a request stream"));
        }
        self.check_peer_uri(&new_session_uri)?;
        let Some(half) = self.streams.recv_mut(stream) else { return Ok(()) };
        if let RecvKind::Request(messages) = &mut half.kind
            && core::mem::replace(&mut messages.goaway_seen, true)
        {
            return Err(Violation::protocol("a second GOAWAY on a request stream"));
        }
        if let Some(request) = self.streams.get(stream).and_then(|stream| stream.request)
            && self.requests.get(request).is_some_and(Request::is_told)
        {
            let timeout = Duration::from_millis(timeout);
            self.events.push_back(Event::RequestGoaway { request, new_session_uri, timeout });
        }
        Ok(())
    }

    /// Clients cannot instruct servers to initiate connections.
    fn check_peer_uri(&self, uri: &Bytes) -> Result<(), Violation> {
        if self.role == Role::Server && !uri.is_empty() {
            return Err(Violation::protocol("GOAWAY with a URI from a client"));
        }
        Ok(())
    }
}
