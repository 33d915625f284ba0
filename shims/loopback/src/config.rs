//! What a link is like.

use core::time::Duration;

use crate::rng::{Chance, Rng};

/// A link between two endpoints: one path each way.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LinkConfig {
    /// From the client to the server.
    pub up: PathConfig,
    /// From the server to the client.
    pub down: PathConfig,
}

impl LinkConfig {
    /// The same path both ways.
    pub fn symmetric(path: PathConfig) -> Self {
        Self { up: path.clone(), down: path }
    }

    /// A link with everything chosen by a seed: delays, cuts, windows, limits, loss. For
    /// scenarios that must hold on any link.
    pub fn seeded(seed: u64) -> Self {
        Self {
            up: PathConfig::draw(&mut Rng::fork(seed, 1)),
            down: PathConfig::draw(&mut Rng::fork(seed, 2)),
        }
    }
}

/// One direction of a link: what happens to what one endpoint sends.
///
/// The default is an honest path: 10 ms, no limit on bandwidth, nothing cut or lost, and the
/// windows that QUIC transports commonly have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathConfig {
    /// How long everything takes.
    pub latency: Duration,
    /// How much longer single things take, at most. Each piece of a stream and each datagram
    /// draws its own delay, so streams and datagrams overtake each other; the pieces of one
    /// stream do not.
    pub jitter: Duration,
    /// Bytes a second. With a bound, the sender is asked for a packet at a time, as the ones
    /// before have left, so what is urgent goes first; without one, it is asked for
    /// everything at once.
    pub bandwidth: Option<u64>,
    /// How the bytes of streams are cut on their way.
    pub chunking: Chunking,
    /// Unread bytes that the receiver lets the sender have on one stream.
    pub stream_window: u64,
    /// Unread bytes that it lets it have on all streams.
    pub connection_window: u64,
    /// Bidirectional streams that the sender may have open at a time.
    pub bi_streams: u64,
    /// Unidirectional streams that it may have open at a time.
    pub uni_streams: u64,
    /// The receiver hands over whole pieces even if they are larger than
    /// [`recv_window`](moqt_engine::MoqtConnection::recv_window), as transports do that cannot
    /// split what they hold. It still hands over nothing while the window is 0.
    pub overshoot: bool,
    /// What becomes of the data before a reset.
    pub reset: ResetDelivery,
    /// What becomes of datagrams.
    pub datagrams: DatagramConfig,
}

impl Default for PathConfig {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(10),
            jitter: Duration::ZERO,
            bandwidth: None,
            chunking: Chunking::AsWritten,
            stream_window: 1024 * 1024,
            connection_window: 16 * 1024 * 1024,
            bi_streams: 100,
            uni_streams: 100,
            overshoot: false,
            reset: ResetDelivery::Overtakes,
            datagrams: DatagramConfig::default(),
        }
    }
}

impl PathConfig {
    /// A path on which everything arrives at once.
    pub fn instant() -> Self {
        Self { latency: Duration::ZERO, ..Self::default() }
    }

    fn draw(rng: &mut Rng) -> Self {
        let stream_window = rng.between(64, 256 * 1024);
        Self {
            latency: rng.duration(Duration::from_millis(200)),
            jitter: rng.duration(Duration::from_millis(50)),
            bandwidth: (rng.below(2) == 0).then(|| rng.between(20_000, 20_000_000)),
            chunking: match rng.below(4) {
                0 => Chunking::AsWritten,
                1 => Chunking::Fixed(usize::try_from(rng.between(1, 64)).unwrap_or(1)),
                _ => Chunking::Random(usize::try_from(rng.between(1, 4096)).unwrap_or(1)),
            },
            stream_window,
            connection_window: rng.between(stream_window, 1024 * 1024),
            bi_streams: rng.between(2, 100),
            uni_streams: rng.between(2, 100),
            overshoot: rng.below(2) == 0,
            reset: if rng.below(2) == 0 {
                ResetDelivery::Overtakes
            } else {
                ResetDelivery::AfterData
            },
            datagrams: DatagramConfig {
                max_size: Some(1200),
                loss: Chance::percent(u32::try_from(rng.below(20)).unwrap_or_default()),
                duplication: Chance::percent(u32::try_from(rng.below(5)).unwrap_or_default()),
                reordering: Chance::percent(u32::try_from(rng.below(20)).unwrap_or_default()),
                ..DatagramConfig::default()
            },
        }
    }
}

/// How the bytes of a stream are cut on their way. They are never joined: every piece is a
/// part of one [`Bytes`](bytes::Bytes) that the sender gave, not a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Chunking {
    /// Pieces arrive as the sender gave them, its last with the end of the stream.
    #[default]
    AsWritten,
    /// Pieces have at most this many bytes; 1 gives single bytes. The end of the stream comes
    /// apart.
    Fixed(usize),
    /// Pieces have from 1 to this many bytes, as the seed says, and the end of the stream
    /// comes with the last or apart.
    Random(usize),
}

impl Chunking {
    /// The length of the next piece of `left` bytes.
    pub(crate) fn cut(self, rng: &mut Rng, left: usize) -> usize {
        match self {
            Self::AsWritten => left,
            Self::Fixed(len) => len.clamp(1, left.max(1)),
            Self::Random(max) => {
                let max = u64::try_from(max.clamp(1, left.max(1))).unwrap_or(1);
                usize::try_from(rng.between(1, max)).unwrap_or(1)
            }
        }
    }

    /// Whether the end of a stream comes with its last piece.
    pub(crate) fn joins_fin(self, rng: &mut Rng) -> bool {
        match self {
            Self::AsWritten => true,
            Self::Fixed(_) => false,
            Self::Random(_) => rng.below(2) == 0,
        }
    }
}

/// What becomes of the data that was sent before a stream was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ResetDelivery {
    /// The reset may arrive before data, and what the receiver has not been handed by then is
    /// dropped.
    #[default]
    Overtakes,
    /// All data arrives and is handed over first.
    AfterData,
}

/// What becomes of datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatagramConfig {
    /// The largest that may be sent; `None` if there are no datagrams.
    pub max_size: Option<usize>,
    /// One is lost.
    pub loss: Chance,
    /// One arrives twice.
    pub duplication: Chance,
    /// One takes longer, so that later ones overtake it.
    pub reordering: Chance,
    /// How much longer, at most.
    pub reordering_delay: Duration,
}

impl Default for DatagramConfig {
    fn default() -> Self {
        Self {
            max_size: Some(1200),
            loss: Chance::NEVER,
            duplication: Chance::NEVER,
            reordering: Chance::NEVER,
            reordering_delay: Duration::from_millis(20),
        }
    }
}
