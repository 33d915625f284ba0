use std::net::SocketAddr;
use std::time::Duration;

use moqt_engine::Draft;
use moqt_session::RouterLimits;

use crate::admission::ConnectionLimits;
use crate::target::Scheme;
use crate::tls::{ClientTls, Identity, ServerTls};
use crate::trace::Trace;

/// What a client brings to a session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Drafts to offer: all. They are offered newest first, in one list.
    pub drafts: Vec<Draft>,
    /// How to trust the server: by the system's roots.
    pub tls: ClientTls,
    /// QUIC's parameters.
    pub transport: TransportOptions,
    /// The engine's configuration. Path and authority come from the target.
    pub engine: moqt_engine::Config,
    /// The time within which the session must be set up: 10 s.
    pub connect_timeout: Duration,
    /// The name to ask for and verify, if it is not the target's host.
    pub server_name: Option<String>,
    /// Where to connect to, if the target's host is not to be resolved.
    pub address: Option<SocketAddr>,
    /// The connection ID that the first packets are sent to, by which a server's logs know the
    /// connection: random. It must be hard to guess, 8 to 20 bytes long, and another for every
    /// connection (RFC 9000, section 7.2). s2n-quic takes no such wish.
    pub initial_connection_id: Option<Vec<u8>>,
    /// Bounds on what waits for the application.
    pub limits: RouterLimits,
    /// Traces sessions: none.
    pub trace: Option<Trace>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            drafts: Draft::ALL.to_vec(),
            tls: ClientTls::default(),
            transport: TransportOptions::default(),
            engine: moqt_engine::Config::default(),
            connect_timeout: Duration::from_secs(10),
            server_name: None,
            address: None,
            initial_connection_id: None,
            limits: RouterLimits::default(),
            trace: None,
        }
    }
}

/// What a server brings to its sessions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Drafts to speak: all. The newest that the client offers is chosen.
    pub drafts: Vec<Draft>,
    /// What carries sessions: raw QUIC and WebTransport, on the same port.
    pub schemes: Vec<Scheme>,
    /// Certificate and key.
    pub tls: ServerTls,
    /// QUIC's parameters.
    pub transport: TransportOptions,
    /// The engine's configuration.
    pub engine: moqt_engine::Config,
    /// Bounds on connections.
    pub connections: ConnectionLimits,
    /// Bounds on what waits for the application.
    pub limits: RouterLimits,
    /// Traces sessions: none.
    pub trace: Option<Trace>,
}

impl ServerOptions {
    /// The defaults, with this certificate.
    pub fn new(identity: Identity) -> Self {
        Self {
            drafts: Draft::ALL.to_vec(),
            schemes: vec![Scheme::Quic, Scheme::WebTransport],
            tls: ServerTls::new(identity),
            transport: TransportOptions::default(),
            engine: moqt_engine::Config::default(),
            connections: ConnectionLimits::default(),
            limits: RouterLimits::default(),
            trace: None,
        }
    }
}

/// QUIC's parameters, with defaults that suit MoQT. All of them in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransportOptions {
    /// Unidirectional streams the peer may have open at a time: 1,024. Every subgroup is one.
    pub max_uni_streams: u32,
    /// Bidirectional streams the peer may have open at a time: 1,024. On draft 18 every request
    /// is one, on older drafts only the control stream.
    pub max_bidi_streams: u32,
    /// Bytes the peer may send on a stream before they are read: 1 MiB. A slow reader of a
    /// track makes its publisher wait after this, on that stream alone.
    pub stream_receive_window: u32,
    /// Bytes the peer may send on the connection before they are read. Unless it is set, as
    /// much as unidirectional streams can pin (their number times their window) and 16 MiB
    /// more for the others, which are read at once: no order of reading can block the
    /// connection. Where that is too much memory, lower the number of streams or their window.
    pub receive_window: Option<u64>,
    /// The most to have written and not acknowledged, in bytes, whatever the congestion window:
    /// 32 MiB, enough for 1 Gbit/s over 250 ms. On paths with a round trip under 0.1 ms,
    /// 128 KiB at most.
    pub send_backlog: u64,
    /// Without a sign of life for this long the connection is given up: 30 s.
    pub idle_timeout: Duration,
    /// A sign of life is given this often when there is nothing to say: 5 s. Less than half of
    /// what NATs allow, and often enough for two to be lost. `None` gives none.
    pub keep_alive: Option<Duration>,
    /// Bytes of datagrams that came in and wait to be handled: 1 MiB. The oldest are dropped.
    pub datagram_receive_buffer: usize,
    /// Bytes of datagrams that QUIC holds on their way out: 64 KiB. The rest waits in the
    /// engine, where it can still be reordered.
    pub datagram_send_buffer: usize,
    /// The UDP payload size to start with, 1,200 to 65,527 bytes: 1,200, which every path
    /// takes. Discovery of larger ones is on, and goes up to [`max_mtu`](Self::max_mtu).
    pub initial_mtu: u16,
    /// The largest UDP payload size to try: 1,452, an Ethernet frame's over IPv6.
    pub max_mtu: u16,
    /// How to react to congestion.
    pub congestion: Congestion,
    /// Send several datagrams to the system at once where it can: yes.
    pub segmentation_offload: bool,
}

/// A congestion controller.
///
/// A further one is a breaking change, so that every shim says what it makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Congestion {
    /// CUBIC (RFC 9438), the default: quinn's best tested one, and fair to what else is on the
    /// path. Its queues are kept short by the backlog bound of this crate rather than by itself.
    #[default]
    Cubic,
    /// NewReno (RFC 9002). Slower to come back after a loss.
    NewReno,
    /// BBR, for paths that lose packets without being congested. quinn calls it experimental.
    Bbr,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            max_uni_streams: 1024,
            max_bidi_streams: 1024,
            stream_receive_window: 1024 * 1024,
            receive_window: None,
            send_backlog: 32 * 1024 * 1024,
            idle_timeout: Duration::from_secs(30),
            keep_alive: Some(Duration::from_secs(5)),
            datagram_receive_buffer: 1024 * 1024,
            datagram_send_buffer: 64 * 1024,
            initial_mtu: 1200,
            max_mtu: 1452,
            congestion: Congestion::default(),
            segmentation_offload: true,
        }
    }
}
