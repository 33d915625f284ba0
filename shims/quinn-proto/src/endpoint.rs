use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use moqt_engine::{Draft, MoqtConnection, Role, Timestamp, Transport};
use moqt_quic::webtransport::Request;
use moqt_quic::{
    Admission, ClientTls, Clock, ConfigError, ConnectionLimits, Decision, ServerTls, SessionConfig,
    TransportOptions,
};
use quinn_proto::{
    ConnectError, ConnectionHandle, ConnectionId, DatagramEvent, EcnCodepoint, EndpointConfig,
    Incoming, Transmit,
};
use rustls::pki_types::CertificateDer;
use tracing::debug;

use crate::connection::Connection;
use crate::error::ConnectionFailure;
use crate::options;
use crate::steering::Steering;

/// Something that happened to a connection.
#[derive(Debug)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "most are the large one, and are moved once")]
pub enum Event {
    /// The QUIC handshake is complete, and a WebTransport session is being established.
    Opening,
    /// The transport is there; the session is being set up.
    Connected {
        /// The draft negotiated.
        draft: Draft,
        /// What carries the session.
        transport: Transport,
        /// What the client has asked for over HTTP/3; at the server only.
        request: Option<Request>,
    },
    /// The session has something to say. Closing is said here, too.
    Moqt(moqt_engine::Event),
    /// The peer wishes, in HTTP, that the session be ended.
    Draining,
    /// There will be no session.
    Failed {
        /// Why.
        error: ConnectionFailure,
    },
    /// The connection is over and forgotten: its handle means nothing any more.
    Drained,
}

/// What a client brings to a connection.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    quic: quinn_proto::ClientConfig,
    session: SessionConfig,
    transport: TransportOptions,
}

impl ClientConfig {
    /// A configuration that offers the session's drafts, newest first: over WebTransport if the
    /// session is asked for by a request, else over raw QUIC.
    pub fn new(
        tls: &ClientTls,
        transport: &TransportOptions,
        session: SessionConfig,
    ) -> Result<Self, ConfigError> {
        let tls = options::client_tls(tls, session.client_alpn()?)?;
        let mut quic = quinn_proto::ClientConfig::new(tls);
        quic.transport_config(options::transport(transport));
        Ok(Self { quic, session, transport: transport.clone() })
    }

    /// Sends the first packets of connections to this connection ID.
    pub(crate) fn set_initial_connection_id(&mut self, id: &[u8]) -> Result<(), ConfigError> {
        // RFC 9000, section 7.2, and what a version 1 packet has room for.
        if !(8..=20).contains(&id.len()) {
            let reason = format!("an initial connection ID of {} bytes: use 8 to 20", id.len());
            return Err(ConfigError::Transport(reason));
        }
        let id = ConnectionId::new(id);
        self.quic.initial_dst_cid_provider(Arc::new(move || id));
        Ok(())
    }

    /// The part that is quinn-proto's, to make connections without MoQT from.
    pub fn quic(&self) -> &quinn_proto::ClientConfig {
        &self.quic
    }
}

/// What a server brings to every connection. Connections of all endpoints that have clones of one
/// count together.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    quic: Arc<quinn_proto::ServerConfig>,
    session: SessionConfig,
    transport: TransportOptions,
    admission: Admission,
}

impl ServerConfig {
    /// A configuration that takes the newest of the session's drafts that a client offers.
    pub fn new(
        tls: &ServerTls,
        transport: &TransportOptions,
        session: SessionConfig,
    ) -> Result<Self, ConfigError> {
        let tls = options::server_tls(tls, session.server_alpn()?)?;
        let mut quic = quinn_proto::ServerConfig::with_crypto(tls);
        quic.transport_config(options::transport(transport));
        let admission = Admission::new(ConnectionLimits::default());
        Ok(Self { quic: Arc::new(quic), session, transport: transport.clone(), admission })
    }

    /// The same with another certificate, for connections to come; those there are count on.
    pub fn with_tls(&self, tls: &ServerTls) -> Result<Self, ConfigError> {
        let mut quic = (*self.quic).clone();
        quic.crypto = options::server_tls(tls, self.session.server_alpn()?)?;
        Ok(Self { quic: Arc::new(quic), ..self.clone() })
    }

    /// The part that is quinn-proto's, to take connections without MoQT with.
    pub fn quic(&self) -> &Arc<quinn_proto::ServerConfig> {
        &self.quic
    }

    /// Bounds on connections; [`ConnectionLimits::default`] unless they are set.
    #[must_use]
    pub fn limits(mut self, limits: ConnectionLimits) -> Self {
        self.admission = Admission::new(limits);
        self
    }

    /// Refuses clients at addresses of which `is_blocked` says so. Limits are to be set before.
    #[must_use]
    pub fn unless(self, is_blocked: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self { admission: self.admission.unless(is_blocked), ..self }
    }

    /// The most connections to have at a time, without other bounds on their number: see
    /// [`ConnectionLimits::total`].
    #[must_use]
    pub fn max_connections(self, max: usize) -> Self {
        let mut limits = ConnectionLimits::default();
        limits.total = max;
        self.limits(limits)
    }

    /// What counts the connections.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }
}

/// MoQT connections that share a UDP socket, without the socket. See the
/// [crate documentation](crate) for the order in which to call what.
#[derive(Debug)]
pub struct Endpoint {
    quic: quinn_proto::Endpoint,
    server: Option<ServerConfig>,
    connections: HashMap<ConnectionHandle, Connection>,
    /// Connections that may have something to send.
    queue: VecDeque<ConnectionHandle>,
    deadlines: BTreeSet<(Instant, usize)>,
    events: VecDeque<(ConnectionHandle, Event)>,
    /// Datagrams that belong to no connection.
    responses: VecDeque<(Transmit, Vec<u8>)>,
    max_segments: usize,
    clock: Clock,
}

impl Endpoint {
    /// An endpoint that takes connections if it has a server's configuration.
    ///
    /// `may_fragment` says that the socket's datagrams may be fragmented on the way, so that
    /// nothing can be learnt about the path's MTU. `max_segments` is how many datagrams of the
    /// same size a [`Transmit`] may hold: 1 if the socket cannot split them.
    pub fn new(
        server: Option<ServerConfig>,
        may_fragment: bool,
        max_segments: usize,
        now: Instant,
    ) -> Self {
        let config = EndpointConfig::default();
        Self::with_config(config, server, may_fragment, max_segments, now)
    }

    /// The same for one of several endpoints that share a port: its connection IDs say that they
    /// are the `index`th endpoint's, of those that are counted in `steering`.
    pub fn steered(
        (steering, index): (&Steering, u16),
        server: Option<ServerConfig>,
        may_fragment: bool,
        max_segments: usize,
        now: Instant,
    ) -> Self {
        let mut config = EndpointConfig::default();
        let steering = steering.clone();
        config.cid_generator(move || Box::new(steering.generator(index)));
        Self::with_config(config, server, may_fragment, max_segments, now)
    }

    fn with_config(
        config: EndpointConfig,
        server: Option<ServerConfig>,
        may_fragment: bool,
        max_segments: usize,
        now: Instant,
    ) -> Self {
        let quic_server = server.as_ref().map(|server| server.quic.clone());
        Self {
            quic: quinn_proto::Endpoint::new(Arc::new(config), quic_server, !may_fragment, None),
            server,
            connections: HashMap::new(),
            queue: VecDeque::new(),
            deadlines: BTreeSet::new(),
            events: VecDeque::new(),
            responses: VecDeque::new(),
            max_segments: max_segments.max(1),
            clock: Clock::new(now),
        }
    }

    /// Begins a connection. [`Event::Connected`] or [`Event::Failed`] tells how it went.
    pub fn connect(
        &mut self,
        now: Instant,
        config: ClientConfig,
        remote: SocketAddr,
        server_name: &str,
    ) -> Result<ConnectionHandle, ConnectError> {
        let ClientConfig { mut quic, mut session, transport } = config;
        let logged = options::logged(&transport, &mut session, Role::Client, remote, now);
        if let Some(config) = logged {
            quic.transport_config(config);
        }
        let (handle, quic) = self.quic.connect(now, quic, remote, server_name)?;
        self.add(Connection::new(quic, handle, Role::Client, session, transport.send_backlog));
        Ok(handle)
    }

    /// A datagram came in.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        local_ip: Option<IpAddr>,
        ecn: Option<EcnCodepoint>,
        data: BytesMut,
    ) {
        let mut buf = Vec::new();
        match self.quic.handle(now, remote, local_ip, ecn, data, &mut buf) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(connection) = self.connections.get_mut(&handle) {
                    connection.quic.handle_event(event);
                    self.enqueue(handle);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.accept(now, incoming),
            Some(DatagramEvent::Response(transmit)) => self.responses.push_back((transmit, buf)),
            None => {}
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout). Ask when
    /// [`poll_transmit`](Self::poll_transmit) gives nothing more.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.deadlines.first()
            && at <= now
        {
            self.deadlines.pop_first();
            let handle = ConnectionHandle(id);
            let Some(connection) = self.connections.get_mut(&handle) else { continue };
            connection.deadline = None;
            connection.handle_timeout(self.clock, now);
            self.enqueue(handle);
        }
    }

    /// The next datagram to send, or several of the same size (the last may be shorter) if
    /// [`Transmit::segment_size`] says so: its first [`Transmit::size`] bytes are in `buf`,
    /// which is cleared before.
    ///
    /// This moves data between QUIC and the sessions, so call it after everything else and
    /// until it gives nothing; or, while the socket takes nothing, call
    /// [`process`](Self::process) instead.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        buf.clear();
        if let Some((transmit, contents)) = self.responses.pop_front() {
            buf.extend_from_slice(&contents);
            return Some(transmit);
        }
        while let Some(&handle) = self.queue.front() {
            let Some(connection) = self.connections.get_mut(&handle) else {
                self.queue.pop_front();
                continue;
            };
            connection.pump(self.clock, now, &mut self.events);
            if let Some(transmit) = connection.quic.poll_transmit(now, self.max_segments, buf) {
                self.queue.rotate_left(1);
                return Some(transmit);
            }
            self.queue.pop_front();
            self.settle(handle);
        }
        None
    }

    /// Moves data between QUIC and the sessions without sending anything, so that what came in
    /// is not held up by a socket that takes nothing.
    pub fn process(&mut self, now: Instant) {
        for handle in &self.queue {
            if let Some(connection) = self.connections.get_mut(handle) {
                connection.pump(self.clock, now, &mut self.events);
            }
        }
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<(ConnectionHandle, Event)> {
        self.events.pop_front()
    }

    /// Works on a connection's session, at this time on its clock; `None` if there is none,
    /// because the handshake is not complete or the connection is over. Afterwards drain the
    /// endpoint again.
    pub fn with<R>(
        &mut self,
        handle: ConnectionHandle,
        now: Instant,
        work: impl FnOnce(&mut MoqtConnection, Timestamp) -> R,
    ) -> Option<R> {
        self.with_quietly(handle, now, |moqt, now| (work(moqt, now), true))
            .map(|(result, _)| result)
    }

    /// Like [`with`](Self::with), for work that has seldom anything to send, such as reading:
    /// `work` says with the second value it returns whether it has. The second value returned
    /// says whether the endpoint should be drained; events are there to be polled in any case.
    pub fn with_quietly<R>(
        &mut self,
        handle: ConnectionHandle,
        now: Instant,
        work: impl FnOnce(&mut MoqtConnection, Timestamp) -> (R, bool),
    ) -> Option<(R, bool)> {
        let timestamp = self.clock.timestamp(now);
        let connection = self.connections.get_mut(&handle)?;
        let ((result, wrote), acted) =
            connection.with_session(timestamp, now, |moqt| work(moqt, timestamp))?;
        let is_dirty = wrote || acted;
        connection.collect_events(&mut self.events);
        if is_dirty {
            self.enqueue(handle);
        }
        Some((result, is_dirty))
    }

    /// A connection's session to work on, which may give it events and something to send: drain
    /// the endpoint afterwards, once for many of these.
    pub fn session_mut(&mut self, handle: ConnectionHandle) -> Option<&mut MoqtConnection> {
        let Self { connections, queue, .. } = self;
        let connection = connections.get_mut(&handle)?;
        if connection.session().moqt().is_some()
            && !std::mem::replace(&mut connection.is_queued, true)
        {
            queue.push_back(handle);
        }
        connection.moqt_mut()
    }

    /// Closes a connection, whether its session has been set up or not.
    pub fn close(&mut self, handle: ConnectionHandle, now: Instant, code: u64, reason: &str) {
        let Some(connection) = self.connections.get_mut(&handle) else { return };
        connection.close(now, code, reason);
        self.enqueue(handle);
    }

    /// The session on a connection, to look at.
    pub fn connection(&self, handle: ConnectionHandle) -> Option<&MoqtConnection> {
        self.connections.get(&handle)?.session().moqt()
    }

    /// The QUIC connection under it, to look at: round trip, losses, congestion window.
    pub fn quic(&self, handle: ConnectionHandle) -> Option<&quinn_proto::Connection> {
        self.connections.get(&handle).map(|connection| &*connection.quic)
    }

    /// The peer's address.
    pub fn remote_address(&self, handle: ConnectionHandle) -> Option<SocketAddr> {
        self.quic(handle).map(quinn_proto::Connection::remote_address)
    }

    /// The first DNS name in the certificate that the peer has shown and proved to be its own.
    pub fn certificate_name(&self, handle: ConnectionHandle) -> Option<String> {
        let chain = self.quic(handle)?.crypto_session().peer_identity()?;
        moqt_quic::certificate_name(&chain.downcast::<Vec<CertificateDer<'static>>>().ok()?)
    }

    /// Whether all that was queued on a connection has been sent, finished streams have been
    /// acknowledged, and closing it loses nothing that QUIC knows of.
    pub fn is_flushed(&self, handle: ConnectionHandle) -> bool {
        self.connections
            .get(&handle)
            .is_none_or(|connection| connection.session().is_flushed() && !connection.is_queued)
    }

    /// The engine's time for an instant.
    pub fn timestamp(&self, at: Instant) -> Timestamp {
        self.clock.timestamp(at)
    }

    /// The instant of an engine's time, unless it is too far away.
    pub fn instant(&self, at: Timestamp) -> Option<Instant> {
        self.clock.instant(at)
    }

    /// Connections that are not over.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Sets how many datagrams a [`Transmit`] may hold, when the socket has found out that it
    /// is another number.
    pub fn set_max_segments(&mut self, max: usize) {
        self.max_segments = max.max(1);
    }

    /// Takes connections with this configuration from now on.
    pub fn set_server(&mut self, server: ServerConfig) {
        self.quic.set_server_config(Some(server.quic.clone()));
        self.server = Some(server);
    }

    /// Takes no more connections.
    pub fn stop_accepting(&mut self) {
        self.server = None;
        self.quic.set_server_config(None);
    }

    fn add(&mut self, connection: Connection) {
        let handle = connection.handle;
        self.connections.insert(handle, connection);
        self.enqueue(handle);
    }

    fn enqueue(&mut self, handle: ConnectionHandle) {
        if let Some(connection) = self.connections.get_mut(&handle)
            && !std::mem::replace(&mut connection.is_queued, true)
        {
            self.queue.push_back(handle);
        }
    }

    fn accept(&mut self, now: Instant, incoming: Incoming) {
        let mut buf = Vec::new();
        let Some(server) = &self.server else {
            self.quic.ignore(incoming);
            return;
        };
        let can_retry = !incoming.remote_address_validated() && incoming.may_retry();
        let place = match server.admission.decide(incoming.remote_address().ip(), can_retry) {
            Decision::Accept(place) => place,
            Decision::Refuse(why) => {
                debug!(remote = %incoming.remote_address(), "refused: {why}");
                let transmit = self.quic.refuse(incoming, &mut buf);
                self.responses.push_back((transmit, buf));
                return;
            }
            Decision::Retry => {
                if let Ok(transmit) = self.quic.retry(incoming, &mut buf) {
                    self.responses.push_back((transmit, buf));
                }
                return;
            }
        };
        let (mut session, send_backlog) = (server.session.clone(), server.transport.send_backlog);
        let (role, remote) = (Role::Server, incoming.remote_address());
        let logged = options::logged(&server.transport, &mut session, role, remote, now);
        let config = logged.map(|config| {
            let mut quic = (*server.quic).clone();
            quic.transport_config(config);
            Arc::new(quic)
        });
        let setup_timeout = server.admission.limits().setup_timeout;
        let deadline = setup_timeout.and_then(|timeout| now.checked_add(timeout));
        match self.quic.accept(incoming, now, &mut buf, config) {
            Ok((handle, quic)) => {
                let mut connection =
                    Connection::new(quic, handle, Role::Server, session, send_backlog);
                connection.admit(place, deadline);
                self.add(connection);
            }
            Err(error) => {
                if let Some(transmit) = error.response {
                    self.responses.push_back((transmit, buf));
                }
            }
        }
    }

    /// A connection has nothing more to do for now: what it told the endpoint is passed on and
    /// its deadline noted.
    fn settle(&mut self, handle: ConnectionHandle) {
        let Some(connection) = self.connections.get_mut(&handle) else { return };
        connection.is_queued = false;
        let mut is_drained = false;
        let mut again = false;
        while let Some(event) = connection.quic.poll_endpoint_events() {
            is_drained |= event.is_drained();
            if let Some(event) = self.quic.handle_event(handle, event) {
                connection.quic.handle_event(event);
                again = true;
            }
        }
        let deadline = if is_drained { None } else { connection.next_deadline(self.clock) };
        if deadline != connection.deadline {
            if let Some(old) = connection.deadline {
                self.deadlines.remove(&(old, handle.0));
            }
            if let Some(new) = deadline {
                self.deadlines.insert((new, handle.0));
            }
            connection.deadline = deadline;
        }
        if is_drained {
            self.connections.remove(&handle);
            self.events.push_back((handle, Event::Drained));
        } else if again {
            self.enqueue(handle);
        }
    }
}
