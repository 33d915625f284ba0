//! What is going to happen, as data: so that it can be made from a seed, printed, and made
//! smaller.

use std::fmt;

use moqt_engine::model::{GroupOrder, JoiningStart, Location, NamespaceInterest, TrackNamespace};
use moqt_engine::{Draft, Transport};
use moqt_loopback::LinkConfig;

use crate::simulation::{Burst, TrackPlan, Trouble, Wish};

/// How much goes on, and whether anything goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// One relay of one shard, one publisher and one subscriber of one track.
    One,
    /// Trees of relays whose clients publish, ask about and are told of namespaces, more than
    /// anything else; nothing goes wrong.
    Names,
    /// Trees of relays with several shards, many clients; nothing goes wrong.
    Calm,
    /// The same with relays that go away, after those below them have been asked to leave.
    Moves,
    /// The same as [`Calm`](Self::Calm) with faults everywhere.
    Faults,
}

/// Relays, their clients, and everything that these do and that befalls them.
///
/// Every part can be left out without making the rest meaningless: a step whose client is not
/// there does nothing.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// How much goes on.
    pub level: Level,
    /// For the network's own choices.
    pub seed: u64,
    /// The first has none above it; each other one has an earlier one.
    pub relays: Vec<RelayPlan>,
    /// Publishers and subscribers.
    pub clients: Vec<ClientPlan>,
    /// What there is to publish.
    pub tracks: Vec<TrackContent>,
    /// What happens, in order of time.
    pub steps: Vec<Step>,
}

impl fmt::Display for Scenario {
    /// A line for each part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { level, seed, relays, clients, tracks, steps } = self;
        writeln!(f, "{level:?}, network seed {seed}")?;
        for (number, relay) in relays.iter().enumerate() {
            writeln!(f, "relay {number}: {relay:?}")?;
        }
        for (number, client) in clients.iter().enumerate() {
            writeln!(f, "client {number}: {client:?}")?;
        }
        for (number, track) in tracks.iter().enumerate() {
            writeln!(f, "track {number}: {track:?}")?;
        }
        for (number, Step { at, act }) in steps.iter().enumerate() {
            writeln!(f, "step {number}, after {at} ms: {act:?}")?;
        }
        Ok(())
    }
}

/// What a relay is like.
#[derive(Clone, Debug)]
pub struct RelayPlan {
    /// The relay upstream of it, which comes before it; of the first this means nothing.
    pub parent: usize,
    /// What is spoken with that.
    pub draft: Draft,
    /// What carries that.
    pub transport: Transport,
    /// The link with it; `None` is a plain one.
    pub link: Option<LinkConfig>,
    /// How many shards it has.
    pub shards: u16,
    /// How long messages between them take at most, in milliseconds.
    pub message_delay: u64,
    /// How many objects of a track it keeps at most.
    pub track_objects: usize,
}

/// What a client is like.
#[derive(Clone, Debug)]
pub struct ClientPlan {
    /// The relay that it connects to.
    pub relay: usize,
    /// What it speaks.
    pub draft: Draft,
    /// What carries that.
    pub transport: Transport,
    /// The link; `None` is a plain one.
    pub link: Option<LinkConfig>,
    /// How much payload it reads at a time.
    pub read_max: usize,
    /// Payload of objects in subgroups is written in halves, the second so many milliseconds
    /// after the first.
    pub halves: Option<u64>,
}

/// A track. All that publish it publish the same.
#[derive(Clone, Debug)]
pub struct TrackContent {
    /// What its objects are like; the end in it means nothing.
    pub plan: TrackPlan,
    /// Its objects do not state their priority where the track can, for all of them.
    pub has_default_priority: bool,
}

/// Something that is done, or that goes wrong.
#[derive(Clone, Debug)]
pub struct Step {
    /// When, in milliseconds since the relays were linked.
    pub at: u64,
    /// What.
    pub act: Act,
}

/// How a track is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// PUBLISH_NAMESPACE of its namespace.
    Namespace,
    /// PUBLISH.
    Publish,
    /// Both.
    Both,
}

/// What is done. A `pick` chooses among all that is fit.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is what it is called")]
pub enum Act {
    /// A client connects to its relay.
    Connect {
        client: usize,
    },
    /// It offers a track, and publishes what is produced of it from now on.
    Offer {
        client: usize,
        track: usize,
        how: How,
    },
    /// It publishes a track no longer, and says so; with TRACK_ENDED or, if others go on, with
    /// GOING_AWAY.
    Leave {
        client: usize,
        track: usize,
        is_end: bool,
    },
    Subscribe {
        client: usize,
        track: usize,
        wish: Wish,
    },
    Forward {
        client: usize,
        pick: usize,
        forward: bool,
    },
    Unsubscribe {
        client: usize,
        pick: usize,
    },
    Fetch {
        client: usize,
        track: usize,
        start: Location,
        end: Location,
        order: Option<GroupOrder>,
    },
    Join {
        client: usize,
        pick: usize,
        start: JoiningStart,
    },
    TrackStatus {
        client: usize,
        track: usize,
    },
    /// `which` is the number of a namespace; tracks are in 0 and 1.
    SubscribeNamespace {
        client: usize,
        which: u8,
        interest: NamespaceInterest,
    },
    /// A namespace subscription gets another prefix, where the draft can say that.
    MoveNamespaceSubscription {
        client: usize,
        pick: usize,
        which: u8,
    },
    EndNamespaceSubscription {
        client: usize,
        pick: usize,
    },
    /// A client publishes a namespace without tracks.
    Announce {
        client: usize,
        which: u8,
    },
    /// It withdraws one.
    Withdraw {
        client: usize,
        pick: usize,
    },
    /// Objects of a track come into being, at all who publish it then.
    Produce {
        track: usize,
        burst: Burst,
        closes_group: bool,
    },
    /// Nothing more comes in the largest group.
    FinishGroup {
        track: usize,
    },
    /// A client reads nothing for some milliseconds.
    Pause {
        client: usize,
        millis: u64,
    },
    /// A client closes its session.
    Close {
        client: usize,
    },
    /// A client dies; its relay notices so many milliseconds later.
    Die {
        client: usize,
        unnoticed: u64,
    },
    /// A relay dies; all others notice so many milliseconds later.
    Kill {
        relay: usize,
        unnoticed: u64,
    },
    /// A relay, if it is not the first and has no clients, asks the relays below it to leave.
    /// After so many milliseconds they link themselves with the one above it; after more, it closes
    /// what is left.
    GoAway {
        relay: usize,
        after: u64,
        timeout: u64,
    },
    /// A relay links itself with the one above it, if it is not linked.
    Relink {
        relay: usize,
    },
    /// Something goes wrong at one of the ends of a client's link.
    ClientTrouble {
        client: usize,
        at_relay: bool,
        trouble: Trouble,
    },
    /// Something goes wrong at one of the ends of the link of a relay with the one above it.
    RelayTrouble {
        relay: usize,
        at_parent: bool,
        trouble: Trouble,
    },
}

/// A namespace by its number: 0 and 1 are those that tracks are in.
pub(super) fn namespace(which: u8) -> Option<TrackNamespace> {
    let fields: &[&str] = match which {
        0 => &["sim", "a"],
        1 => &["sim", "b"],
        2 => &["sim"],
        3 => &["sim", "a", "x"],
        4 => &["sim", "a", "y"],
        5 => &["sim", "b", "x"],
        6 => &["other"],
        _ => &[],
    };
    TrackNamespace::new(fields).ok()
}

impl Act {
    /// Whose it is, if it takes a session.
    pub(super) fn client(&self) -> Option<usize> {
        match self {
            Self::Offer { client, .. }
            | Self::Leave { client, .. }
            | Self::Subscribe { client, .. }
            | Self::Forward { client, .. }
            | Self::Unsubscribe { client, .. }
            | Self::Fetch { client, .. }
            | Self::Join { client, .. }
            | Self::TrackStatus { client, .. }
            | Self::SubscribeNamespace { client, .. }
            | Self::MoveNamespaceSubscription { client, .. }
            | Self::Announce { client, .. }
            | Self::Withdraw { client, .. }
            | Self::EndNamespaceSubscription { client, .. } => Some(*client),
            _ => None,
        }
    }
}
