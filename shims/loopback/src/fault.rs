//! What may go wrong.

use core::time::Duration;

use moqt_engine::StreamKey;

/// Something that goes wrong at one endpoint, through
/// [`Network::inject`](crate::Network::inject) and its like.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// A stream that the endpoint receives on is reset, as if its peer's transport had done
    /// it. The peer's engine knows nothing of it; what it sends on the stream is lost.
    ResetStream {
        /// Which stream; `None` lets the seed choose one.
        stream: Option<StreamKey>,
        /// The application error code.
        code: u64,
    },
    /// The endpoint is asked to stop sending on a stream, as if by its peer's transport.
    StopSending {
        /// Which stream; `None` lets the seed choose one.
        stream: Option<StreamKey>,
        /// The application error code.
        code: u64,
    },
    /// The transport session is lost. Each side learns of it after its path's latency; what
    /// arrives until then still does.
    Disconnect {
        /// What both sides are told.
        reason: String,
    },
    /// Nothing that the endpoint has sent or is going to send arrives for this long, then
    /// everything does. [`Duration::MAX`] is for good, zero ends an earlier one; the same
    /// holds for those below.
    Stall {
        /// For how long.
        lasting: Duration,
    },
    /// The endpoint's transport hands over no stream data, and so gives no flow control
    /// credit back.
    StopReading {
        /// For how long.
        lasting: Duration,
    },
    /// The endpoint's transport grants its peer no new streams in place of finished ones.
    RefuseStreams {
        /// For how long.
        lasting: Duration,
    },
    /// The endpoint's clock leaps ahead, as that of a machine that was asleep: its connection
    /// is told times later by so much from here on. The network's own clock does not leap.
    Leap {
        /// How far.
        by: Duration,
    },
    /// The endpoint's transport takes no datagrams to send.
    HoldDatagrams {
        /// For how long.
        lasting: Duration,
    },
}
