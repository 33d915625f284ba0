//! What happened in a run: what each application did, and what it was told.

use std::fmt;

use bytes::Bytes;
use moqt_engine::model::{
    FullTrackName, GroupOrder, JoiningStart, Location, LocationRange, ObjectStatus, Parameters,
    StreamResetCode,
};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{
    CommandError, DatagramOutcome, Event, FetchRead, Read, RequestKey, SubgroupOptions, Timestamp,
    Usage, Written,
};
use moqt_loopback::StreamId;

use super::scenario::Trouble;

/// Everything that happened, in order, and what was left at the end.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What happened.
    pub entries: Vec<Entry>,
    /// What each end held when its session was set up.
    pub first_usage: Vec<Usage>,
    /// What each end held when all requests had ended, if its session was still open.
    pub last_usage: Vec<Option<Usage>>,
    /// What each end still wanted to be woken for then.
    pub last_timers: Vec<Option<String>>,
    /// The run had no end.
    pub is_endless: bool,
}

/// Something that happened at an end.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Where.
    pub end: usize,
    /// What.
    pub what: What,
}

impl fmt::Display for Entry {
    /// In a line of its own; of what is long or absent, nothing is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} end {}: ", self.at, self.end)?;
        match &self.what {
            What::Read { stream, read: Read::Payload(payload) } => {
                write!(f, "{stream:?}: {} bytes", payload.len())
            }
            What::FetchRead { request, read: FetchRead::Payload(payload) } => {
                write!(f, "{request:?}: {} bytes", payload.len())
            }
            What::Produced { track, location, object } => {
                write!(f, "track {track}: {location} in subgroup {:?}, ", object.subgroup)?;
                write!(f, "{:?}, {} bytes", object.status, object.payload.len())
            }
            What::Told { event: Event::Datagram { request, object }, .. } => {
                let (location, len) = (object.header.location, object.payload.len());
                write!(f, "{request:?}: datagram {location}, {len} bytes")
            }
            what => {
                let text = format!("{what:?}");
                let said = |part: &&str| !part.contains(": None") && !part.ends_with(": []");
                let parts: Vec<&str> = text.split(", ").filter(said).collect();
                f.write_str(&parts.join(", "))
            }
        }
    }
}

/// What an application did, successfully unless it says otherwise, or was told.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is what it is called")]
pub enum What {
    /// An object of a track came into being.
    Produced {
        track: usize,
        location: Location,
        object: Object,
    },
    /// A request. Its token carries the serial number, so that the other end can be told which
    /// request it got.
    Asked {
        request: RequestKey,
        serial: u64,
        ask: Ask,
    },
    Accepted {
        request: RequestKey,
        largest: Option<Location>,
        parameters: Parameters,
    },
    AcceptedFetch {
        request: RequestKey,
        range: LocationRange,
    },
    Refused {
        request: RequestKey,
    },
    Updated {
        request: RequestKey,
        parameters: Parameters,
    },
    Cancelled {
        request: RequestKey,
    },
    /// A namespace that was told of is gone. On draft 14 a request ends with that.
    NamespaceDone,
    /// A publisher ended a subscription.
    Done {
        request: RequestKey,
    },
    Opened {
        request: RequestKey,
        stream: StreamId,
        options: SubgroupOptions,
    },
    /// The engine said that a subgroup is not wanted.
    NotWanted {
        request: RequestKey,
        options: SubgroupOptions,
        location: Location,
    },
    Wrote {
        stream: StreamId,
        header: ObjectHeader,
        written: Written,
    },
    Finished {
        stream: StreamId,
    },
    Reset {
        stream: StreamId,
    },
    Datagram {
        request: RequestKey,
        location: Location,
        outcome: DatagramOutcome,
    },
    FetchFinished {
        request: RequestKey,
    },
    Stopped {
        stream: StreamId,
    },
    Goaway {
        millis: u64,
    },
    GoawayRequest {
        request: RequestKey,
    },
    Closed,
    Fault {
        trouble: Trouble,
        stream: Option<StreamId>,
    },
    Told {
        event: Event,
        stream: Option<StreamId>,
    },
    Read {
        stream: StreamId,
        read: Read,
    },
    FetchRead {
        request: RequestKey,
        read: FetchRead,
    },
    /// A command was not carried out.
    Failed {
        request: Option<RequestKey>,
        error: CommandError,
    },
    /// At the end, something still waited to be written.
    Stuck {
        request: RequestKey,
    },
    /// All requests have ended, at both ends.
    Settled,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each is what it is called")]
pub enum Ask {
    Subscribe { track: usize, parameters: Parameters },
    Publish { track: usize, parameters: Parameters },
    Fetch { track: usize, order: Option<GroupOrder> },
    Join { joined: RequestKey, start: JoiningStart },
    TrackStatus { track: usize },
    PublishNamespace,
    SubscribeNamespace,
}

/// An object, as its publisher has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is what it is called")]
pub struct Object {
    pub subgroup: Option<u64>,
    pub status: ObjectStatus,
    pub priority: u8,
    pub properties: moqt_engine::wire::Properties,
    pub payload: Bytes,
}

/// Why a stream is cut off on purpose.
pub(crate) const CUT: StreamResetCode = StreamResetCode::Cancelled;

/// The name of a track.
pub(crate) fn track_name(track: usize) -> Option<FullTrackName> {
    let namespace = [b"sim".to_vec(), vec![b'a' + u8::try_from(track % 2).unwrap_or_default()]];
    let namespace = moqt_engine::model::TrackNamespace::new(&namespace).ok()?;
    FullTrackName::new(namespace, format!("track{track}")).ok()
}
