use crate::Version;

/// How a [`Connection`](crate::Connection) behaves. The defaults suit everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The versions of WebTransport to offer; the newest that the peer offers too is taken. All.
    pub versions: Vec<Version>,
    /// What a peer can make this side hold.
    pub limits: Limits,
    /// Chooses the reserved setting and frame that are sent, so that peers stay used to ignoring
    /// what they do not know (RFC 9114, section 9). 0; any number will do.
    pub grease_seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { versions: Version::ALL.to_vec(), limits: Limits::default(), grease_seed: 0 }
    }
}

/// What a peer can make this side hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The size of a field section, in bytes: names and values decoded, and 32 more for each field
    /// line (RFC 9114, section 4.2.2). 16 KiB; the peer is told. A request beyond it is answered
    /// with status 431, a response beyond it ends the session with `H3_EXCESSIVE_LOAD`.
    pub field_section: usize,
    /// The size of a SETTINGS frame, in bytes: 4 KiB. Beyond it the connection is closed with
    /// `H3_EXCESSIVE_LOAD`.
    pub settings: usize,
    /// Streams of which not even the header has come: 256. Further ones are refused with
    /// `WT_BUFFERED_STREAM_REJECTED`, whatever they would have become.
    pub unattributed_streams: usize,
    /// Requests whose header has not come completely: 8. Further ones are reset with
    /// `H3_REQUEST_REJECTED`.
    pub requests: usize,
    /// Streams that wait for their session to be established: 256. Further ones are refused with
    /// `WT_BUFFERED_STREAM_REJECTED`.
    pub held_streams: usize,
    /// Bytes that came with the headers of these streams, all together: 256 KiB. A stream that
    /// would exceed it is refused with `WT_BUFFERED_STREAM_REJECTED`. How many bytes come with a
    /// header depends on how much is read at once.
    pub held_stream_bytes: usize,
    /// Datagrams that wait for their session to be established: 64. Further ones are dropped.
    pub held_datagrams: usize,
    /// Bytes of these datagrams, all together: 64 KiB. One that would exceed it is dropped.
    pub held_datagram_bytes: usize,
    /// Bytes that follow a request before it is accepted or refused: 8 KiB. Beyond it the request
    /// is reset with `H3_EXCESSIVE_LOAD`.
    pub early_bytes: usize,
    /// The payload of a datagram that comes in a capsule, in bytes: 64 KiB. A longer one is
    /// dropped.
    pub capsule_datagram: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            field_section: 16 * 1024,
            settings: 4 * 1024,
            unattributed_streams: 256,
            requests: 8,
            held_streams: 256,
            held_stream_bytes: 256 * 1024,
            held_datagrams: 64,
            held_datagram_bytes: 64 * 1024,
            early_bytes: 8 * 1024,
            capsule_datagram: 64 * 1024,
        }
    }
}
