//! Setting a session up and closing it.

use alloc::format;
use alloc::string::{String, ToString};

use super::{MoqtConnection, SessionState};
use crate::action::Action;
use crate::config::{Role, Transport};
use crate::event::{CloseReason, Event};
use crate::key::StreamKey;
use crate::link::Violation;
use crate::model::{MaxRequestId, Message, SessionError, Setup, SetupOptions};
use crate::request::{Aliases, Requests};
use crate::stream::{MessageStream, RecvKind, SendClass};
use crate::time::Timestamp;
use crate::timers::Timer;
use crate::trace::{TraceOwner, TracedStreamType};
use crate::wire::{ControlReader, encode_message};

impl MoqtConnection {
    /// Closes the session (draft-18, "Termination"). What is queued is dropped.
    pub fn close(&mut self, error: SessionError, reason: &str) {
        self.close_local(error, reason.to_string());
    }

    pub(super) fn close_for(&mut self, violation: Violation) {
        // Peers that are done close their control stream first, as often as not.
        self.complete_those_done();
        self.close_local(violation.error, violation.reason);
    }

    pub(super) fn close_local(&mut self, error: SessionError, reason: String) {
        if self.is_closed() {
            return;
        }
        let code = self.dialect.session_error_code(error);
        self.streams.push_action(Action::Close { code, reason: reason.clone() });
        self.end(CloseReason::Local { error, reason });
    }

    /// The session is over; nothing is kept but what has not been polled yet.
    pub(super) fn end(&mut self, reason: CloseReason) {
        self.state = SessionState::Closed;
        // What has been read of open subgroups is counted with them so far.
        self.stats = self.stats();
        self.streams.clear();
        self.timers.clear_all();
        self.early.clear();
        self.early_bytes = 0;
        self.update_bytes = 0;
        let peer_ids = self.link.peer_ids(self.dialect, self.role.peer().first_request_id());
        self.requests = Requests::new(self.role, peer_ids, self.config.hash_seed);
        self.aliases = Aliases::new(self.config.hash_seed);
        self.forget_tokens();
        self.events.push_back(Event::Closed { reason });
    }

    /// Opens this side's control stream and sends its setup message, as soon as it can. The
    /// peer's may have waited for that.
    pub(super) fn start(&mut self, now: Timestamp) {
        if self.state != (SessionState::Setup { sent: false }) {
            return;
        }
        if let Some(dir) = self.link.own_control_stream(self.role) {
            let recv = (dir == crate::config::Dir::Bi).then(|| self.control_recv());
            let Some(stream) = self.streams.open(dir, SendClass::Control, recv) else { return };
            self.trace.stream_type(stream, TraceOwner::Local, TracedStreamType::Control);
            self.control_out = Some(stream);
            if dir == crate::config::Dir::Bi {
                self.control_in = Some(stream);
            }
            self.send_setup();
            self.look_for_setup(now);
        }
    }

    /// The peer's control stream may be among what came before this side's could be opened.
    fn look_for_setup(&mut self, now: Timestamp) {
        for stream in self.early.clone() {
            if self.state != (SessionState::Setup { sent: true }) {
                return;
            }
            if let Err(violation) = self.go_on_with_early(now, stream) {
                return self.close_for(violation);
            }
        }
    }

    pub(super) fn control_recv(&self) -> RecvKind {
        RecvKind::Control(MessageStream::new(ControlReader::new(self.dialect)))
    }

    fn send_setup(&mut self) {
        let Some(stream) = self.control_out else { return };
        let authorization_tokens = match self.setup_tokens() {
            Ok(tokens) => tokens,
            Err(misuse) => {
                self.close_local(
                    SessionError::InternalError,
                    format!("cannot send SETUP: {misuse}"),
                );
                return;
            }
        };
        let config = &self.config;
        let is_client = self.role == Role::Client;
        let over_quic = self.transport == Transport::Quic;
        let limits = &config.limits;
        self.peer_max_request_id =
            self.role.peer().first_request_id() + 2 * u64::from(limits.open_requests);
        let options = SetupOptions {
            path: config.path.clone().filter(|_| is_client && over_quic),
            authority: config.authority.clone().filter(|_| is_client && over_quic),
            max_request_id: Some(self.peer_max_request_id),
            max_auth_token_cache_size: self.token_cache_to_announce(),
            authorization_tokens,
            implementation: config.implementation.clone(),
            reserved: (config.grease && self.dialect.grease)
                .then(|| crate::reserved_value(config.hash_seed)),
        };
        let versions = self.dialect.draft.setup_version().into_iter().collect();
        let setup = Setup { versions, options };
        self.scratch.clear();
        let encoded = if is_client {
            encode_message(self.dialect, &Message::Setup(setup), &mut self.scratch)
        } else {
            self.dialect.encode_server_setup(&setup, &mut self.scratch)
        };
        if let Err(error) = encoded {
            self.close_local(SessionError::InternalError, format!("cannot send SETUP: {error}"));
            return;
        }
        self.streams.send_control(stream, &self.scratch, &mut self.trace);
        self.state = SessionState::Setup { sent: true };
    }

    /// The peer's control stream begins.
    pub(super) fn control_opened(&mut self, stream: StreamKey) -> Result<(), Violation> {
        if self.control_in.is_some() {
            return Err(Violation::protocol("a second control stream"));
        }
        self.trace.stream_type(stream, TraceOwner::Remote, TracedStreamType::Control);
        self.control_in = Some(stream);
        let kind = self.control_recv();
        if let Some(half) = self.streams.recv_mut(stream) {
            half.kind = kind;
        }
        if self.link.server_answers_setup() {
            self.control_out = Some(stream);
            if let Some(half) = self.streams.send_mut(stream) {
                half.class = SendClass::Control;
            }
        }
        Ok(())
    }

    pub(super) fn on_setup(&mut self, now: Timestamp, mut setup: Setup) -> Result<(), Violation> {
        if self.state == SessionState::Established {
            return Err(Violation::protocol("a second SETUP"));
        }
        self.check_setup(&setup)?;
        self.on_setup_tokens(&mut setup.options)?;
        if let Some(max) = setup.options.max_request_id {
            self.our_max_request_id = max;
        }
        if self.link.server_answers_setup() && self.role == Role::Server {
            self.send_setup();
        }
        if self.is_closed() {
            return Ok(());
        }
        self.state = SessionState::Established;
        self.timers.clear(self.setup_deadline, Timer::Setup);
        self.events.push_back(Event::Established { setup });
        self.release_early(now);
        Ok(())
    }

    fn check_setup(&self, setup: &Setup) -> Result<(), Violation> {
        if let Some(version) = self.dialect.draft.setup_version()
            && !setup.versions.contains(&version)
        {
            let reason = format!("the peer offers none of {version:#x}");
            return Err(Violation::new(SessionError::VersionNegotiationFailed, reason));
        }
        let SetupOptions { path, authority, .. } = &setup.options;
        let may_address = self.role == Role::Server && self.transport == Transport::Quic;
        if let Some(path) = path {
            if !may_address {
                let reason = "PATH is for clients, over raw QUIC";
                return Err(Violation::new(SessionError::InvalidPath, reason));
            }
            if !is_path(path) {
                let reason = "PATH is not the path of a URI";
                return Err(Violation::new(SessionError::MalformedPath, reason));
            }
        }
        if let Some(authority) = authority {
            if !may_address {
                let reason = "AUTHORITY is for clients, over raw QUIC";
                return Err(Violation::new(SessionError::InvalidAuthority, reason));
            }
            if !is_authority(authority) {
                let reason = "AUTHORITY is not the authority of a URI";
                return Err(Violation::new(SessionError::MalformedAuthority, reason));
            }
        }
        Ok(())
    }

    /// Gives the peer room for more requests, before it runs out.
    pub(super) fn replenish_request_credit(&mut self) {
        if !self.link.has_request_credit() || !self.is_established() {
            return;
        }
        let limit = u64::from(self.config.limits.open_requests);
        let room = limit.saturating_sub(u64::from(self.requests.open_by_peer));
        let next = self.requests.peer_ids.next();
        let left = self.peer_max_request_id.saturating_sub(next) / 2;
        if left > limit / 2 || room <= left {
            return;
        }
        let max_request_id = next.saturating_add(2 * room);
        self.peer_max_request_id = max_request_id;
        self.send_control_message(&Message::MaxRequestId(MaxRequestId { max_request_id }));
    }

    pub(super) fn on_max_request_id(&mut self, max: u64) -> Result<(), Violation> {
        if max <= self.our_max_request_id {
            let reason = format!("MAX_REQUEST_ID from {} to {max}", self.our_max_request_id);
            return Err(Violation::protocol(reason));
        }
        self.our_max_request_id = max;
        self.requests_blocked_sent = false;
        self.unblock();
        Ok(())
    }

    /// There is new credit or there are new streams.
    pub(super) fn unblock(&mut self) {
        if core::mem::take(&mut self.was_blocked) {
            self.events.push_back(Event::Unblocked);
        }
    }

    /// Sends a message on the control stream. Only messages that always encode come here.
    pub(super) fn send_control_message(&mut self, message: &Message) {
        let Some(stream) = self.control_out else { return };
        self.scratch.clear();
        if encode_message(self.dialect, message, &mut self.scratch).is_ok() {
            self.streams.send_control(stream, &self.scratch, &mut self.trace);
        }
    }
}

/// `path-abempty [ "?" query ]` (RFC 3986).
fn is_path(path: &[u8]) -> bool {
    matches!(path.first(), None | Some(b'/' | b'?')) && is_uri_text(path, b"/?:@")
}

/// `[ userinfo "@" ] host [ ":" port ]` with a host that is not empty (RFC 3986).
fn is_authority(authority: &[u8]) -> bool {
    let host = authority.rsplit(|byte| *byte == b'@').next().unwrap_or_default();
    !matches!(host.first(), None | Some(b':')) && is_uri_text(authority, b":@[]")
}

/// Unreserved characters, sub-delimiters, percent-encoded bytes, and `also`.
fn is_uri_text(text: &[u8], also: &[u8]) -> bool {
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        let is_valid = match byte {
            b'%' => [bytes.next(), bytes.next()]
                .into_iter()
                .all(|digit| digit.is_some_and(u8::is_ascii_hexdigit)),
            _ => {
                byte.is_ascii_alphanumeric()
                    || b"-._~!$&'()*+,;=".contains(&byte)
                    || also.contains(&byte)
            }
        };
        if !is_valid {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_follow_the_uri_rules() {
        for path in ["", "/", "/a/b%20c?x=1&y=/?", "?q"] {
            assert!(is_path(path.as_bytes()), "{path}");
        }
        for path in ["a", "/a b", "/%2", "/%zz", "/#f", "/ü"] {
            assert!(!is_path(path.as_bytes()), "{path}");
        }
        for authority in ["example.com", "localhost:4443", "[::1]:443", "user@host"] {
            assert!(is_authority(authority.as_bytes()), "{authority}");
        }
        for authority in ["", ":443", "user@", "a/b", "a b"] {
            assert!(!is_authority(authority.as_bytes()), "{authority}");
        }
    }
}
