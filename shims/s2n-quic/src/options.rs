//! What the options mean for s2n-quic.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use moqt_quic::{ConfigError, Congestion, ConnectError, TransportOptions};
use s2n_quic::provider::congestion_controller::{Bbr, Cubic};
use s2n_quic::provider::connection_close_formatter::Development;
use s2n_quic::provider::io::tokio as io;
use s2n_quic::provider::limits::Limits;
use s2n_quic::provider::tls::rustls;

use crate::datagrams::DatagramEndpoint;
use crate::limiter::Limiter;
use crate::signals::Events;

/// What [`Config::coalesce_below`](moqt_engine::Config::coalesce_below) should be over s2n-quic, in
/// bytes: it keeps what is not acknowledged buffer by buffer, so smaller payloads are better copied
/// next to their headers, into blocks of up to 32 KiB. [`Client`](crate::Client) and
/// [`Server`](crate::Server) do so unless told otherwise.
pub const COALESCE_BELOW: usize = 4 * 1024;

/// The largest window that s2n-quic grants.
const MAX_WINDOW: u64 = u32::MAX as u64;

/// Streams this side opens at a time: as many as the peer allows.
const MAX_LOCAL_STREAMS: u64 = 1 << 60;

/// Around a UDP payload: the UDP header with an IPv4 and with an IPv6 header. s2n-quic counts them
/// in, by the family of the peer's address.
const IPV4_AND_UDP: u16 = 20 + 8;
const IPV6_AND_UDP: u16 = 40 + 8;

/// What to ask the system to buffer, in bytes. It may give less.
const SYSTEM_BUFFER: usize = 2 * 1024 * 1024;

/// Starts a client's endpoint on this address. Handshakes are given up after `max_handshake`.
pub(crate) fn start_client(
    address: SocketAddr,
    tls: rustls::Client,
    options: &TransportOptions,
    max_handshake: Duration,
) -> Result<s2n_quic::Client, ConnectError> {
    let limits = limits(options, Some(max_handshake))?;
    let io = socket(address, options)?;
    let start = || -> Result<_, Box<dyn Error + Send + Sync>> {
        let builder = s2n_quic::Client::builder()
            .with_tls(tls)?
            .with_io(io)?
            .with_limits(limits)?
            .with_event(Events::new(options.send_backlog))?
            .with_datagram(datagrams(options))?
            // What went wrong is no secret.
            .with_connection_close_formatter(Development)?;
        Ok(match options.congestion {
            Congestion::Bbr => builder.with_congestion_controller(Bbr::default())?.start()?,
            _ => builder.with_congestion_controller(Cubic::default())?.start()?,
        })
    };
    start().map_err(|error| not_started(error.as_ref()))
}

/// Starts a server's endpoint on this address, for this many connections at a time.
pub(crate) fn start_server(
    address: SocketAddr,
    tls: rustls::Server,
    options: &TransportOptions,
    max_connections: usize,
) -> Result<s2n_quic::Server, ConnectError> {
    let limits = limits(options, None)?;
    let io = socket(address, options)?;
    let start = || -> Result<_, Box<dyn Error + Send + Sync>> {
        let builder = s2n_quic::Server::builder()
            .with_tls(tls)?
            .with_io(io)?
            .with_limits(limits)?
            .with_endpoint_limits(Limiter::new(max_connections))?
            .with_event(Events::new(options.send_backlog))?
            .with_datagram(datagrams(options))?
            // A client is to learn that this server speaks none of its drafts.
            .with_connection_close_formatter(Development)?;
        Ok(match options.congestion {
            Congestion::Bbr => builder.with_congestion_controller(Bbr::default())?.start()?,
            _ => builder.with_congestion_controller(Cubic::default())?.start()?,
        })
    };
    start().map_err(|error| not_started(error.as_ref()))
}

/// A socket that was bound fails to be driven only for want of a runtime or of the system's means.
fn not_started(error: &(dyn Error + Send + Sync)) -> ConnectError {
    ConnectError::Socket(std::io::Error::other(error.to_string()))
}

fn datagrams(options: &TransportOptions) -> DatagramEndpoint {
    DatagramEndpoint {
        max_out: options.datagram_send_buffer,
        max_in: options.datagram_receive_buffer,
    }
}

fn socket(address: SocketAddr, options: &TransportOptions) -> Result<io::Provider, ConnectError> {
    let around = if address.is_ipv4() { IPV4_AND_UDP } else { IPV6_AND_UDP };
    let initial = options.initial_mtu.max(1200);
    let max = options.max_mtu.max(initial);
    let build = || {
        let socket = std::net::UdpSocket::bind(address)?;
        io::Builder::default()
            .with_rx_socket(socket)?
            .with_send_buffer_size(SYSTEM_BUFFER)?
            .with_recv_buffer_size(SYSTEM_BUFFER)?
            .with_max_mtu(max.saturating_add(around))?
            .with_initial_mtu(initial.saturating_add(around))?
            .with_gso(options.segmentation_offload)?
            .build()
    };
    build().map_err(ConnectError::Socket)
}

fn limits(
    options: &TransportOptions,
    max_handshake: Option<Duration>,
) -> Result<Limits, ConfigError> {
    if options.congestion == Congestion::NewReno {
        return Err(ConfigError::Transport("s2n-quic has no NewReno: use CUBIC or BBR".into()));
    }
    let pinned = u64::from(options.max_uni_streams) * u64::from(options.stream_receive_window);
    let receive_window = match options.receive_window {
        // What was not asked for may be less.
        None => (pinned + 16 * 1024 * 1024).min(MAX_WINDOW),
        Some(window) => window,
    };
    let stream_window = u64::from(options.stream_receive_window);
    let (uni, bidi) = (options.max_uni_streams.into(), options.max_bidi_streams.into());
    let limits = Limits::new()
        .with_data_window(receive_window)
        .and_then(|limits| limits.with_unidirectional_data_window(stream_window))
        .and_then(|limits| limits.with_bidirectional_local_data_window(stream_window))
        .and_then(|limits| limits.with_bidirectional_remote_data_window(stream_window))
        .and_then(|limits| limits.with_max_open_remote_unidirectional_streams(uni))
        .and_then(|limits| limits.with_max_open_remote_bidirectional_streams(bidi))
        .and_then(|limits| limits.with_max_open_local_unidirectional_streams(MAX_LOCAL_STREAMS))
        .and_then(|limits| limits.with_max_open_local_bidirectional_streams(MAX_LOCAL_STREAMS))
        // How much is written is bounded here, over all streams.
        .and_then(|limits| limits.with_max_send_buffer_size(u32::MAX))
        .and_then(|limits| limits.with_max_idle_timeout(options.idle_timeout))
        .and_then(|limits| match options.keep_alive {
            Some(period) => limits.with_max_keep_alive_period(period),
            None => Ok(limits),
        })
        .and_then(|limits| match max_handshake {
            Some(max) => limits.with_max_handshake_duration(max),
            None => Ok(limits),
        });
    limits.map_err(|error| {
        ConfigError::Transport(format!("s2n-quic does not take these options: {error}"))
    })
}
