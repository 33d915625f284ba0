//! Going away (draft-18, "GOAWAY").

use core::time::Duration;

use bytes::Bytes;

use super::MoqtConnection;
use crate::config::Role;
use crate::error::CommandError;
use crate::event::Event;
use crate::key::StreamKey;
use crate::link::Violation;
use crate::model::{Goaway, Message, SessionError};
use crate::stream::RecvKind;

impl MoqtConnection {
    /// Tells the peer that this side will close the session (draft-18, "GOAWAY"). A client's
    /// URI must be empty.
    pub fn goaway(
        &mut self,
        new_session_uri: Bytes,
        timeout: Duration,
    ) -> Result<(), CommandError> {
        if !self.is_established() {
            return Err(self.not_established());
        }
        if self.role == Role::Client && !new_session_uri.is_empty() {
            return Err(CommandError::WrongState("a client cannot send a peer elsewhere"));
        }
        if self.goaway_sent {
            return Err(CommandError::WrongState("GOAWAY was sent already"));
        }
        let message = Message::Goaway(Goaway {
            new_session_uri,
            timeout: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            request_id: Some(self.requests.peer_ids.next()),
        });
        self.encode_and_send(None, &message)?;
        self.goaway_sent = true;
        Ok(())
    }

    pub(super) fn on_goaway(
        &mut self,
        uri: Bytes,
        timeout_ms: u64,
        request_id: Option<u64>,
    ) -> Result<(), Violation> {
        if core::mem::replace(&mut self.goaway_received, true) {
            return Err(Violation::protocol("a second GOAWAY"));
        }
        if self.role == Role::Server && !uri.is_empty() {
            return Err(Violation::protocol("GOAWAY with a URI from a client"));
        }
        if request_id.is_some_and(|id| id % 2 != self.role.first_request_id()) {
            let reason = "GOAWAY with a Request ID of the wrong parity";
            return Err(Violation::new(SessionError::InvalidRequestId, reason));
        }
        let timeout = Duration::from_millis(timeout_ms);
        self.events.push_back(Event::Goaway { new_session_uri: uri, timeout });
        Ok(())
    }

    pub(super) fn on_request_goaway(
        &mut self,
        stream: StreamKey,
        request_id: Option<u64>,
    ) -> Result<(), Violation> {
        if request_id.is_some() {
            return Err(Violation::protocol("GOAWAY with a Request ID on a request stream"));
        }
        let Some(half) = self.streams.recv_mut(stream) else { return Ok(()) };
        if let RecvKind::Request(messages) = &mut half.kind
            && core::mem::replace(&mut messages.goaway_seen, true)
        {
            return Err(Violation::protocol("a second GOAWAY on a request stream"));
        }
        Ok(())
    }
}
