//! What is going to happen, as data: so that it can be made from a seed or from bytes, printed,
//! and made smaller.

use std::fmt;

use moqt_engine::model::{
    GroupOrder, JoiningStart, Location, NamespaceInterest, Parameters, SubscriptionFilter,
};
use moqt_engine::{Draft, SlowSubscriber};
use moqt_loopback::LinkConfig;

/// Sessions between applications, and everything that these do and that befalls them.
///
/// Every part can be left out without making the rest meaningless: what a step refers to is
/// chosen among what there is when its time has come, and without any the step does nothing.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The draft that is spoken.
    pub draft: Draft,
    /// For the network's own choices.
    pub seed: u64,
    /// Link 0 joins ends 0 (its client) and 1, link 1 ends 2 and 3, and so on.
    pub links: Vec<LinkConfig>,
    /// Two for each link.
    pub ends: Vec<EndPlan>,
    /// What there is to publish.
    pub tracks: Vec<TrackPlan>,
    /// What happens, in order of time.
    pub steps: Vec<Step>,
}

impl fmt::Display for Scenario {
    /// A line for each part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { draft, seed, links, ends, tracks, steps } = self;
        writeln!(f, "{draft:?}, network seed {seed}")?;
        for (number, link) in links.iter().enumerate() {
            writeln!(f, "link {number}: {link:?}")?;
        }
        for (number, end) in ends.iter().enumerate() {
            writeln!(f, "end {number}: {end:?}")?;
        }
        for (number, track) in tracks.iter().enumerate() {
            writeln!(f, "track {number}: {track:?}")?;
        }
        for Step { at, end, act } in steps {
            writeln!(f, "after {at} ms at end {end}: {act:?}")?;
        }
        Ok(())
    }
}

/// What an end is like.
#[derive(Clone, Debug)]
pub struct EndPlan {
    /// What it has little of.
    pub little: Little,
    /// [`Config::coalesce_below`](moqt_engine::Config::coalesce_below).
    pub coalesce_below: usize,
    /// How much payload it reads at a time.
    pub read_max: usize,
    /// What becomes of its subscribers that are slow.
    pub slow: SlowSubscriber,
    /// After how many milliseconds the subscriptions expire that it offers or accepts, if they do.
    pub expires: Option<u64>,
    /// How it answers the requests of its peer, one after the other, over and over.
    pub answers: Vec<AnswerPlan>,
}

/// Small [`Limits`](moqt_engine::Limits), of some kinds: each excuses something else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Little {
    /// Few requests are taken, and few updates of each.
    pub requests: bool,
    /// Few streams of each subscription are taken, and little is held for those that come
    /// before their track is known.
    pub streams: bool,
    /// So many bytes may wait to be sent in a subscription, not many more in all of them, and
    /// little to be read. That makes things slow; it excuses no loss.
    pub queue: Option<usize>,
}

/// What a request is answered with, and how many milliseconds after it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is what it is called")]
pub enum AnswerPlan {
    Accept { after: u64 },
    Reject { after: u64 },
    Never,
}

/// A track, and what its objects are like.
#[derive(Clone, Debug)]
pub struct TrackPlan {
    /// The end that has it.
    pub end: usize,
    /// Its objects go in datagrams.
    pub is_datagrams: bool,
    /// Its subgroups are named by their first object.
    pub named_by_first: bool,
    /// Its objects have properties.
    pub has_properties: bool,
    /// The priority of its subgroups, if they state one.
    pub priority: Option<u8>,
    /// A delivery timeout of the publisher's, in milliseconds.
    pub timeout: Option<u64>,
}

/// Something that an application does, or that goes wrong.
#[derive(Clone, Debug)]
pub struct Step {
    /// When, in milliseconds since the sessions were set up.
    pub at: u64,
    /// Where.
    pub end: usize,
    /// What.
    pub act: Act,
}

/// What is done. A `pick` chooses among all that is fit.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is what it is called")]
pub enum Act {
    Subscribe { track: usize, wish: Wish },
    Publish { track: usize, forward: Option<bool> },
    Fetch { track: usize, start: Location, groups: u64, whole: bool, order: Option<GroupOrder> },
    Join { pick: usize, start: JoiningStart },
    TrackStatus { track: usize },
    PublishNamespace { which: u8 },
    SubscribeNamespace { which: u8, interest: NamespaceInterest },
    Namespace { pick: usize, which: u8 },
    NamespaceDone { pick: usize, which: u8 },
    Update { pick: usize, wish: Wish },
    Cancel { pick: usize },
    Done { pick: usize },
    Produce { track: usize, burst: Burst },
    FinishGroup { track: usize },
    Reset { pick: usize },
    Stop { pick: usize },
    Pause { millis: u64 },
    Goaway { millis: u64 },
    GoawayRequest { pick: usize, millis: u64 },
    Close,
    Fault(Trouble),
}

/// Objects that are published together.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    /// Into which group.
    pub group: GroupPick,
    /// Into which subgroup of it.
    pub subgroup: u64,
    /// How many.
    pub count: u64,
    /// IDs left out before the first.
    pub gap: u64,
    /// Bytes of payload of each.
    pub size: usize,
    /// The subgroup is complete then.
    pub finish: bool,
    /// What else ends with the last.
    pub end: BurstEnd,
}

/// A group, as seen from the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is what it is called")]
pub enum GroupPick {
    Largest,
    Next,
    Skip(u64),
    Earlier(u64),
}

/// What ends with a burst, and how that is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is what it is called")]
pub enum BurstEnd {
    Nothing,
    GroupByStatus,
    TrackByStatus,
}

/// What a subscriber wants.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "each is what it is called")]
pub struct Wish {
    pub filter: Option<SubscriptionFilter>,
    pub forward: Option<bool>,
    pub priority: Option<u8>,
    pub order: Option<GroupOrder>,
    pub timeout: Option<u64>,
}

impl Wish {
    /// As a request says it.
    pub fn parameters(&self) -> Parameters {
        let mut parameters = Parameters::default();
        parameters.subscription_filter = self.filter;
        parameters.forward = self.forward;
        parameters.subscriber_priority = self.priority;
        parameters.group_order = self.order;
        parameters.object_delivery_timeout = self.timeout;
        parameters
    }
}

/// What goes wrong, for some milliseconds if it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is what it is called")]
pub enum Trouble {
    ResetStream { pick: usize },
    StopSending { pick: usize },
    Disconnect,
    Leap { millis: u64 },
    Stall { millis: u64 },
    StopReading { millis: u64 },
    RefuseStreams { millis: u64 },
    HoldDatagrams { millis: u64 },
}
