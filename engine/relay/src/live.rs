//! [`Live`]: a subgroup on its way from those who give it to each subscriber.
//!
//! Several publishers, and several shards, may give the same subgroup. A stream that is there from
//! its beginning says of everything that it goes past that it does not exist, and what comes first
//! is handed on. A stream that begins in the middle says nothing of what is before: as long as
//! another may still give that, what comes in it is kept and held back, so that subscribers get
//! everything in order.

use alloc::vec::Vec;

use moqt_engine::{StreamKey, Timestamp};
use smallvec::SmallVec;

use crate::store::{SubgroupEnd, SubgroupFacts};
use crate::track::Node;

/// A subgroup on its way.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) facts: SubgroupFacts,
    /// Streams that give it, and the object begun last in each.
    feeds: SmallVec<[(FeedId, Option<u64>); 1]>,
    /// Since when nothing gives it, though it has not ended.
    pub(crate) lost_since: Option<Timestamp>,
    /// The object that was handed on last.
    pub(crate) last: Option<u64>,
    /// The object up to which everything may be handed on.
    pub(crate) reached: Option<u64>,
    pub(crate) end: Option<SubgroupEnd>,
    /// Since when something is held back.
    pub(crate) held_since: Option<Timestamp>,
    ahead: Vec<Ahead>,
    /// Objects before which something may be missing.
    gaps: SmallVec<[u64; 1]>,
    /// If there were too many of them, something may be missing anywhere before this object.
    torn_before: Option<u64>,
    /// Objects in which streams broke off.
    pub(crate) broken: SmallVec<[u64; 1]>,
    /// How many streams have begun to give it.
    joined: u32,
    /// How far each subscriber is, by slot. Those beyond the end have not begun.
    outs: Vec<Out>,
    /// How many of them have something to come.
    open_outs: usize,
}

/// More gaps than this in one subgroup are not told apart.
const MAX_GAPS: usize = 32;

/// Which of the streams that give a subgroup it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FeedId(u32);

/// What a stream has given that began in the middle.
#[derive(Debug)]
struct Ahead {
    feed: FeedId,
    /// Who gives it.
    from: Node,
    /// It has given everything after this object,
    after: Option<u64>,
    /// and up to this one.
    last: u64,
    /// It has come to the end of the subgroup.
    is_finished: bool,
}

/// How far a subscriber is in a subgroup.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Out {
    /// Nothing was sent.
    #[default]
    Unopened,
    /// Its filter or forward state leaves the subgroup out for now.
    Unwanted,
    /// It is wanted after this object, but there is no stream for it yet.
    Waiting(Option<u64>),
    /// It is being sent.
    Open(Cursor),
    /// It has ended, one way or the other.
    Over,
}

/// A place in a subgroup that is being sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    pub(crate) stream: StreamKey,
    /// The object begun last.
    pub(crate) last: Option<u64>,
    /// Bytes of its payload that were written, and that are to come.
    pub(crate) written: u64,
    pub(crate) left: u64,
    /// What comes in is not what comes next here: it goes on from the store.
    pub(crate) is_behind: bool,
    /// An object was begun in the stream.
    pub(crate) has_begun: bool,
}

impl Live {
    pub(crate) fn new(facts: SubgroupFacts) -> Self {
        Self {
            facts,
            feeds: SmallVec::new(),
            lost_since: None,
            last: None,
            reached: None,
            end: None,
            held_since: None,
            ahead: Vec::new(),
            gaps: SmallVec::new(),
            torn_before: None,
            broken: SmallVec::new(),
            joined: 0,
            outs: Vec::new(),
            open_outs: 0,
        }
    }

    /// A subgroup that was handed on up to this object before.
    pub(crate) fn after(facts: SubgroupFacts, last: Option<u64>) -> Self {
        Self { last, reached: last, ..Self::new(facts) }
    }

    /// A stream begins to give it.
    pub(crate) fn join(&mut self) -> FeedId {
        self.joined = self.joined.wrapping_add(1);
        self.lost_since = None;
        let feed = FeedId(self.joined);
        self.feeds.push((feed, None));
        feed
    }

    /// An object begins in a stream which has given everything after `after`. Whether all that is
    /// before it was handed on or will not come, so that this one may be; `may_come` says whether
    /// objects after the given one may still come from others.
    pub(crate) fn advance(
        &mut self,
        now: Timestamp,
        (feed, from): (FeedId, Node),
        (after, object): (Option<u64>, u64),
        may_come: impl FnOnce(&Self, u64) -> bool,
    ) -> bool {
        if let Some((_, at)) = self.feeds.iter_mut().find(|(id, _)| *id == feed) {
            *at = Some(object);
        }
        if let Some(ahead) = self.ahead.iter_mut().find(|ahead| ahead.feed == feed) {
            ahead.last = ahead.last.max(object);
            return false;
        }
        if Some(object) <= self.reached {
            return true;
        }
        if let Some(missing) = after.filter(|_| after > self.reached) {
            self.ahead.push(Ahead { feed, from, after, last: object, is_finished: false });
            if may_come(self, missing) {
                self.held_since = self.held_since.or(Some(now));
                return false;
            }
            self.ahead.pop();
            self.note_gap(missing);
        }
        self.reach(object);
        true
    }

    /// Everything up to this object may be handed on.
    pub(crate) fn reach(&mut self, object: u64) {
        self.reached = self.reached.max(Some(object));
        self.merge();
    }

    /// A stream gives nothing more. Whether it is one whose objects are held back.
    pub(crate) fn leave(&mut self, feed: FeedId, is_finished: bool) -> bool {
        self.feeds.retain(|(id, _)| *id != feed);
        let ahead = self.ahead.iter_mut().find(|ahead| ahead.feed == feed);
        if let Some(ahead) = ahead {
            ahead.is_finished = is_finished;
            return true;
        }
        false
    }

    /// All streams are lost.
    pub(crate) fn leave_all(&mut self) {
        self.feeds.clear();
        self.lost_since = None;
    }

    /// Whether some stream gives it.
    pub(crate) fn is_fed(&self) -> bool {
        !self.feeds.is_empty()
    }

    /// Whether some other stream than this one gives it.
    pub(crate) fn is_fed_besides(&self, feed: Option<FeedId>) -> bool {
        self.feeds.iter().any(|(id, _)| Some(*id) != feed)
    }

    /// Whether some stream has not come past this object: it may give it, or the rest of it.
    pub(crate) fn may_give(&self, object: u64) -> bool {
        self.feeds.iter().any(|(_, at)| *at <= Some(object))
    }

    /// Whether something is held back.
    pub(crate) fn is_holding(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Whether something is held back that comes from here.
    pub(crate) fn holds_of(&self, node: Node) -> bool {
        self.ahead.iter().any(|ahead| ahead.from == node)
    }

    /// Up to which object something is missing before what is held back.
    pub(crate) fn missing_up_to(&self) -> Option<u64> {
        self.ahead.iter().filter_map(|ahead| ahead.after).min()
    }

    /// What is missing does not come.
    pub(crate) fn skip(&mut self) {
        if let Some(missing) = self.missing_up_to().filter(|missing| Some(*missing) > self.reached)
        {
            self.note_gap(missing);
            self.reached = Some(missing);
        }
        self.merge();
    }

    /// This object, or one before it, may exist and does not come.
    pub(crate) fn note_gap(&mut self, object: u64) {
        let Some(next) = object.checked_add(1).filter(|next| !self.gaps.contains(next)) else {
            return;
        };
        if self.gaps.len() >= MAX_GAPS
            && let Some(oldest) = self.gaps.iter().min().copied()
        {
            self.gaps.retain(|gap| *gap != oldest);
            self.torn_before = self.torn_before.max(Some(oldest));
        }
        self.gaps.push(next);
    }

    /// Whether an object may not be the next after another in the subgroup.
    pub(crate) fn is_torn(&self, last: Option<u64>, next: u64) -> bool {
        let is_between = |gap: &u64| last < Some(*gap) && *gap <= next;
        last < self.torn_before || self.gaps.iter().any(is_between)
    }

    /// What was held back is not, if nothing is missing before it any more.
    fn merge(&mut self) {
        while let Some(at) = self.ahead.iter().position(|ahead| ahead.after <= self.reached) {
            let ahead = self.ahead.swap_remove(at);
            self.reached = self.reached.max(Some(ahead.last));
            if ahead.is_finished {
                self.end = self.end.or(Some(SubgroupEnd::Finished));
            }
        }
        if self.ahead.is_empty() {
            self.held_since = None;
        }
    }

    pub(crate) fn out(&self, slot: usize) -> Out {
        self.outs.get(slot).copied().unwrap_or_default()
    }

    pub(crate) fn set_out(&mut self, slot: usize, out: Out) {
        let is_open = |out| matches!(out, Out::Open(_) | Out::Waiting(_));
        let (was_open, is_open) = (is_open(self.out(slot)), is_open(out));
        if slot >= self.outs.len() {
            if matches!(out, Out::Unopened) {
                return;
            }
            self.outs.resize(slot + 1, Out::Unopened);
        }
        if let Some(place) = self.outs.get_mut(slot) {
            *place = out;
        }
        match (was_open, is_open) {
            (false, true) => self.open_outs += 1,
            (true, false) => self.open_outs = self.open_outs.saturating_sub(1),
            _ => {}
        }
    }

    /// The subgroup goes on after all: who was told of its end can be given the rest.
    pub(crate) fn reopen(&mut self) {
        for out in &mut self.outs {
            if matches!(out, Out::Over) {
                *out = Out::Unopened;
            }
        }
    }

    /// Whether nothing more comes and nothing more goes.
    pub(crate) fn is_over(&self) -> bool {
        self.end.is_some() && self.feeds.is_empty() && self.open_outs == 0 && self.ahead.is_empty()
    }
}

impl Cursor {
    /// Whether an object may not be the next of the subgroup after what is in the stream.
    pub(crate) fn is_torn(&self, live: &Live, next: u64) -> bool {
        self.has_begun && live.is_torn(self.last, next)
    }
}

impl Out {
    /// Whether there is something for the subscriber that it did not take.
    pub(crate) fn is_behind(self) -> bool {
        match self {
            Self::Open(cursor) => cursor.is_behind,
            Self::Waiting(_) => true,
            Self::Unopened | Self::Unwanted | Self::Over => false,
        }
    }
}
