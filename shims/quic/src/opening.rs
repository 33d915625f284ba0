//! The time between QUIC's handshake and an established WebTransport session.

use moqt_engine::{Dir, Draft, Role, Timestamp, Transport};
use moqt_webtransport::code::H3_NO_ERROR;
use moqt_webtransport::{Config, Connection, Event, Request};

use crate::config::SessionConfig;
use crate::failure::Failure;
use crate::http::Http;
use crate::quic::Quic;

/// The status with which a server answers a request that names no protocol it speaks.
const BAD_REQUEST: u16 = 400;

/// A WebTransport session that is being established, or has failed to be.
#[derive(Debug)]
pub(crate) struct Opening {
    http: Box<Http>,
    drafts: Vec<Draft>,
    begin: Timestamp,
    deadline: Timestamp,
    has_failed: bool,
}

/// An established session.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) draft: Draft,
    /// What the client has asked for; at the server.
    pub(crate) request: Option<Request>,
}

impl Opening {
    /// `None` for a client that does not know what to ask for.
    pub(crate) fn new(role: Role, config: &SessionConfig, now: Timestamp) -> Option<Self> {
        let mut http = Config::default();
        http.grease_seed = config.engine.hash_seed;
        let layer = match role {
            Role::Client => {
                let mut request = config.request.clone()?;
                request.protocols = config.drafts.iter().map(|draft| protocol(*draft)).collect();
                Connection::client(request, &http)
            }
            Role::Server => Connection::server(&http),
        };
        Some(Self {
            http: Box::new(Http::new(layer)),
            drafts: config.drafts.clone(),
            begin: now,
            deadline: now.saturating_add(config.engine.limits.setup_timeout),
            has_failed: false,
        })
    }

    pub(crate) fn http(&mut self) -> &mut Http {
        &mut self.http
    }

    pub(crate) fn into_http(self) -> Box<Http> {
        self.http
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Takes a stream of the peer's. Whether there was one.
    pub(crate) fn accept(&mut self, quic: &mut impl Quic, dir: Dir) -> bool {
        let Some(id) = quic.accept(dir) else { return false };
        // None is the session's before there is one.
        self.http.accepted(quic, id);
        true
    }

    pub(crate) fn readable(&mut self, quic: &mut impl Quic, id: u64) {
        self.http.readable(quic, id);
    }

    pub(crate) fn receive_datagrams(&mut self, quic: &mut impl Quic) {
        while let Some(datagram) = quic.recv_datagram() {
            self.http.datagram(datagram);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        let deadline = Some(self.deadline).filter(|_| !self.has_failed);
        match (deadline, self.http.poll_timeout()) {
            (Some(deadline), Some(http)) => Some(deadline.min(http)),
            (deadline, http) => deadline.or(http),
        }
    }

    /// Does what HTTP/3 wants done. Whether there was something.
    pub(crate) fn act(&mut self, quic: &mut impl Quic, now: Timestamp) -> bool {
        self.http.act(quic, now)
    }

    /// What has come of it, if something has.
    pub(crate) fn advance(
        &mut self,
        quic: &mut impl Quic,
        now: Timestamp,
    ) -> Option<Result<Opened, Failure>> {
        self.http.act(quic, now);
        while let Some(event) = self.http.poll_event() {
            let outcome = match event {
                Event::Requested(request) => self.answer(request),
                Event::Established { response } => self.established(response.protocol.as_deref()),
                Event::Refused { response } => Err(Failure::Status(response.status)),
                Event::Failed(error) => Err(Failure::WebTransport(error.to_string())),
                Event::Closed { .. } => {
                    Err(Failure::WebTransport("the peer has withdrawn the session".into()))
                }
                _ => continue,
            };
            return self.conclude(quic, now, outcome);
        }
        if self.deadline <= now && !self.has_failed {
            let failure = Failure::Timeout(now.saturating_since(self.begin));
            quic.close(H3_NO_ERROR, &failure.to_string());
            return self.conclude(quic, now, Err(failure));
        }
        None
    }

    fn conclude(
        &mut self,
        quic: &mut impl Quic,
        now: Timestamp,
        outcome: Result<Opened, Failure>,
    ) -> Option<Result<Opened, Failure>> {
        if outcome.is_err() {
            self.http.part(now);
        }
        self.http.act(quic, now);
        if outcome.is_err() && std::mem::replace(&mut self.has_failed, true) {
            return None;
        }
        Some(outcome)
    }

    /// A server's answer: the newest of its drafts that the client speaks.
    fn answer(&mut self, request: Request) -> Result<Opened, Failure> {
        let offered = &request.protocols;
        let chosen = if offered.is_empty() {
            // Drafts that agree on a version in their setup messages need no protocol here.
            self.in_band().map(|draft| (draft, None))
        } else {
            let drafts = self.drafts.iter().map(|draft| (*draft, protocol(*draft)));
            drafts
                .into_iter()
                .find(|(_, protocol)| offered.contains(protocol))
                .map(|(draft, protocol)| (draft, Some(protocol)))
        };
        let Some((draft, protocol)) = chosen else {
            self.http.layer().refuse(BAD_REQUEST);
            return Err(Failure::NoDraft { transport: Transport::WebTransport });
        };
        self.http.layer().accept(protocol.as_deref(), &[]);
        Ok(Opened { draft, request: Some(request) })
    }

    /// A client's session is there.
    fn established(&mut self, chosen: Option<&str>) -> Result<Opened, Failure> {
        let draft = match chosen {
            Some(chosen) => self.drafts.iter().copied().find(|draft| protocol(*draft) == chosen),
            None => self.in_band(),
        };
        let Some(draft) = draft else {
            self.http.layer().reject_protocol();
            return Err(Failure::NoDraft { transport: Transport::WebTransport });
        };
        Ok(Opened { draft, request: None })
    }

    /// The newest draft that is negotiated in its own setup messages.
    fn in_band(&self) -> Option<Draft> {
        self.drafts.iter().copied().find(|draft| draft.setup_version().is_some())
    }
}

/// A draft's name in WebTransport's protocol negotiation.
fn protocol(draft: Draft) -> String {
    String::from_utf8_lossy(draft.alpn()).into_owned()
}
