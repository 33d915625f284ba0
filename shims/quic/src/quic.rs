//! What the bridge needs of a QUIC stack.

use bytes::Bytes;
use moqt_engine::Dir;

/// One QUIC connection whose handshake is complete, as the [`Connection`](crate::Connection) on
/// it sees it.
///
/// Streams are known by QUIC's IDs. Nothing here waits: what cannot be done now is told by a
/// `handle_*` of [`Connection`](crate::Connection) when it can.
pub trait Quic {
    /// Opens a stream; `None` if the peer allows no more for now.
    fn open(&mut self, dir: Dir) -> Option<u64>;

    /// The next stream that the peer opened.
    fn accept(&mut self, dir: Dir) -> Option<u64>;

    /// What is written on this stream goes before data, if the stack can do that.
    fn lift(&mut self, stream: u64);

    /// Hands `take` what has come on a stream, until it answers that there is room for no more.
    /// At first there is room for `window` bytes, which is more than none; a stack that hands
    /// over whole chunks may exceed it by one.
    fn read(&mut self, stream: u64, window: usize, take: impl FnMut(Bytes) -> usize)
    -> ReadOutcome;

    /// The code with which the peer has reset a stream that is not read for now.
    fn received_reset(&mut self, stream: u64) -> Option<u64>;

    /// What may be written now. `has_control` says that there is something for control or
    /// request streams.
    fn begin_writing(&mut self, has_control: bool) -> Room;

    /// Writes go in pieces of at most this size.
    fn piece_len(&self) -> usize {
        usize::MAX
    }

    /// Writes as much of `pieces` as there is room for: how many bytes, and why no more. `pieces`
    /// may be changed, as the stack likes.
    fn write(&mut self, stream: u64, pieces: &mut [Bytes]) -> (usize, WriteOutcome);

    /// Nothing more is written for now. The counterpart of
    /// [`begin_writing`](Self::begin_writing), unless that gave [`Room::Nothing`].
    fn end_writing(&mut self);

    /// What was written is all there is.
    fn finish(&mut self, stream: u64);

    /// What was not delivered need not be.
    fn reset(&mut self, stream: u64, code: u64);

    /// What the peer still sends is not wanted.
    fn stop(&mut self, stream: u64, code: u64);

    /// The next datagram that came in.
    fn recv_datagram(&mut self) -> Option<Bytes>;

    /// Sends a datagram.
    fn send_datagram(&mut self, datagram: Bytes) -> DatagramOutcome;

    /// The largest datagram that can be sent now, in bytes; `None` if the peer takes none.
    fn max_datagram_size(&mut self) -> Option<usize>;

    /// Closes the connection.
    fn close(&mut self, code: u64, reason: &str);

    /// Whether the connection is closed, by either side.
    fn is_closed(&self) -> bool;
}

/// Why there was no more to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// There was no room for more.
    Full,
    /// No more has come yet.
    Blocked,
    /// The stream ended.
    Finished,
    /// The peer has reset the stream with this code.
    Reset(u64),
    /// There is no such stream any more.
    Gone,
}

/// What may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Nothing.
    Nothing,
    /// What belongs on control and request streams: there is enough data in flight.
    Control,
    /// Anything.
    Any,
}

/// Why no more was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// There was no more.
    All,
    /// The peer's flow control of this stream:
    /// [`handle_writable`](crate::Connection::handle_writable) tells when to go on.
    Blocked,
    /// Enough has been written on the connection. The stream waits likewise.
    Full,
    /// The peer has stopped the stream, or it is gone: nothing written on it matters.
    Gone,
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramOutcome {
    /// It is on its way.
    Sent,
    /// Enough are:
    /// [`handle_datagrams_writable`](crate::Connection::handle_datagrams_writable) tells when to
    /// go on.
    Blocked,
    /// It is larger than what can be sent now.
    TooLarge,
}
