//! What the options mean for quinn-proto.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use moqt_engine::{Draft, Role};
use moqt_quic::{
    ClientTls, ConfigError, Congestion, ConnectError, Scheme, ServerTls, SessionConfig,
    TransportOptions,
};
#[cfg(feature = "qlog")]
use quinn_proto::QlogConfig;
use quinn_proto::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use quinn_proto::{
    AckFrequencyConfig, ConnectionError, IdleTimeout, TransportConfig, TransportErrorCode, VarInt,
};
use rustls::crypto::ring;

use crate::error::ConnectionFailure;

/// What [`Config::coalesce_below`](moqt_engine::Config::coalesce_below) should be over
/// quinn-proto, in bytes: it looks through what is not acknowledged buffer by buffer, so
/// smaller payloads are better copied next to their headers, into blocks of up to 32 KiB.
/// [`Client`](crate::Client) and [`Server`](crate::Server) do so unless told otherwise.
pub const COALESCE_BELOW: usize = 4 * 1024;

pub(crate) fn transport(options: &TransportOptions) -> Arc<TransportConfig> {
    Arc::new(transport_config(options))
}

/// The same for a connection that begins now, if its trace wants to know of packets. The session
/// is traced in that trace, then.
#[cfg(feature = "qlog")]
pub(crate) fn logged(
    options: &TransportOptions,
    session: &mut SessionConfig,
    role: Role,
    remote: SocketAddr,
    now: Instant,
) -> Option<Arc<TransportConfig>> {
    let (log, trace) = session.trace.as_ref()?.begin(role, remote)?;
    session.trace = Some(trace);
    let mut qlog = QlogConfig::default();
    qlog.writer(log).start_time(now).title(Some(format!("QUIC with {remote}")));
    let mut config = transport_config(options);
    config.qlog_stream(qlog.into_stream());
    Some(Arc::new(config))
}

/// Nobody can know of packets.
#[cfg(not(feature = "qlog"))]
pub(crate) fn logged(
    _: &TransportOptions,
    _: &mut SessionConfig,
    _: Role,
    _: SocketAddr,
    _: Instant,
) -> Option<Arc<TransportConfig>> {
    None
}

fn transport_config(options: &TransportOptions) -> TransportConfig {
    let mut config = TransportConfig::default();
    let pinned = u64::from(options.max_uni_streams) * u64::from(options.stream_receive_window);
    let receive_window = options.receive_window.unwrap_or(pinned + 16 * 1024 * 1024);
    let initial_mtu = options.initial_mtu.max(1200);
    let mut discovery = quinn_proto::MtuDiscoveryConfig::default();
    discovery.upper_bound(options.max_mtu.max(initial_mtu));
    config
        .max_concurrent_uni_streams(options.max_uni_streams.into())
        .max_concurrent_bidi_streams(options.max_bidi_streams.into())
        .stream_receive_window(options.stream_receive_window.into())
        .receive_window(VarInt::from_u64(receive_window).unwrap_or(VarInt::MAX))
        // The bridge moves this with the congestion window.
        .send_window(options.send_backlog)
        // Streams take turns with what QUIC holds of them. Without that, a stream that is
        // written to again and again would keep its turn for good.
        .send_fairness(true)
        .max_idle_timeout(IdleTimeout::try_from(options.idle_timeout).ok())
        .keep_alive_interval(options.keep_alive)
        .datagram_receive_buffer_size(Some(options.datagram_receive_buffer))
        .datagram_send_buffer_size(options.datagram_send_buffer)
        .initial_mtu(initial_mtu)
        .mtu_discovery_config(Some(discovery))
        // Peers that can acknowledge less often do so: fewer packets both ways.
        .ack_frequency_config(Some(AckFrequencyConfig::default()))
        .enable_segmentation_offload(options.segmentation_offload);
    match options.congestion {
        Congestion::Cubic => {}
        Congestion::NewReno => {
            let new_reno = quinn_proto::congestion::NewRenoConfig::default();
            config.congestion_controller_factory(Arc::new(new_reno));
        }
        Congestion::Bbr => {
            let bbr = quinn_proto::congestion::BbrConfig::default();
            config.congestion_controller_factory(Arc::new(bbr));
        }
    }
    config
}

pub(crate) fn client_tls(
    tls: &ClientTls,
    alpn: Vec<Vec<u8>>,
) -> Result<Arc<QuicClientConfig>, ConfigError> {
    let config = tls.config(alpn, Arc::new(ring::default_provider()))?;
    QuicClientConfig::try_from(config).map(Arc::new).map_err(|error| no_initial_suite(&error))
}

pub(crate) fn server_tls(
    tls: &ServerTls,
    alpn: Vec<Vec<u8>>,
) -> Result<Arc<QuicServerConfig>, ConfigError> {
    let config = tls.config(alpn, Arc::new(ring::default_provider()))?;
    QuicServerConfig::try_from(config).map(Arc::new).map_err(|error| no_initial_suite(&error))
}

fn no_initial_suite(error: &NoInitialCipherSuite) -> ConfigError {
    ConfigError::Tls(rustls::Error::General(error.to_string()))
}

/// TLS alerts (RFC 8446, section 6), as QUIC carries them.
const ALERTS: u64 = 0x100;
const NO_APPLICATION_PROTOCOL: u64 = 120;

/// What a failed connection means.
pub(crate) fn connect_error(
    error: ConnectionFailure,
    remote: SocketAddr,
    offered: &[Draft],
    scheme: Scheme,
) -> ConnectError {
    let error = match error {
        ConnectionFailure::Quic(error) => error,
        ConnectionFailure::Session(failure) => {
            return ConnectError::from_failure(&failure, offered);
        }
    };
    let alert = |code: TransportErrorCode| u64::from(code).checked_sub(ALERTS);
    let alert = match &error {
        ConnectionError::TransportError(error) => alert(error.code),
        ConnectionError::ConnectionClosed(close) => alert(close.error_code),
        _ => None,
    };
    match &error {
        _ if alert == Some(NO_APPLICATION_PROTOCOL) => {
            return ConnectError::no_alpn(offered, scheme);
        }
        ConnectionError::TransportError(failed) if alert.is_some() => {
            if let Some(error) = ConnectError::certificate(&failed.reason) {
                return error;
            }
        }
        ConnectionError::ConnectionClosed(close)
            if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
        {
            return ConnectError::Refused(remote);
        }
        _ => {}
    }
    ConnectError::Quic(error.into())
}
