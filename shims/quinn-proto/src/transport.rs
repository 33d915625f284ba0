use std::sync::Arc;
use std::time::Duration;

use quinn_proto::{AckFrequencyConfig, IdleTimeout, TransportConfig, VarInt};

/// What [`Config::coalesce_below`](moqt_engine::Config::coalesce_below) should be over
/// quinn-proto, in bytes: it looks through what is not acknowledged buffer by buffer, so
/// smaller payloads are better copied next to their headers, into blocks of up to 32 KiB.
/// [`Client`](crate::Client) and [`Server`](crate::Server) do so unless told otherwise.
pub const COALESCE_BELOW: usize = 4 * 1024;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
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

impl TransportOptions {
    pub(crate) fn build(&self) -> Arc<TransportConfig> {
        let mut config = TransportConfig::default();
        let pinned = u64::from(self.max_uni_streams) * u64::from(self.stream_receive_window);
        let receive_window = self.receive_window.unwrap_or(pinned + 16 * 1024 * 1024);
        let initial_mtu = self.initial_mtu.max(1200);
        let mut discovery = quinn_proto::MtuDiscoveryConfig::default();
        discovery.upper_bound(self.max_mtu.max(initial_mtu));
        config
            .max_concurrent_uni_streams(self.max_uni_streams.into())
            .max_concurrent_bidi_streams(self.max_bidi_streams.into())
            .stream_receive_window(self.stream_receive_window.into())
            .receive_window(VarInt::from_u64(receive_window).unwrap_or(VarInt::MAX))
            // The bridge moves this with the congestion window.
            .send_window(self.send_backlog)
            // Streams take turns with what QUIC holds of them. Without that, a stream that is
            // written to again and again would keep its turn for good.
            .send_fairness(true)
            .max_idle_timeout(IdleTimeout::try_from(self.idle_timeout).ok())
            .keep_alive_interval(self.keep_alive)
            .datagram_receive_buffer_size(Some(self.datagram_receive_buffer))
            .datagram_send_buffer_size(self.datagram_send_buffer)
            .initial_mtu(initial_mtu)
            .mtu_discovery_config(Some(discovery))
            // Peers that can acknowledge less often do so: fewer packets both ways.
            .ack_frequency_config(Some(AckFrequencyConfig::default()))
            .enable_segmentation_offload(self.segmentation_offload);
        match self.congestion {
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
        Arc::new(config)
    }
}
