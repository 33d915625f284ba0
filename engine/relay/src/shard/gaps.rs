//! What a publisher that was asked for objects of the past does not know: another may, now or when
//! it has come.

use alloc::vec::Vec;

use moqt_engine::model::{FullTrackName, GroupOrder, Location};
use moqt_engine::{FetchRead, RequestKey, Timestamp};
use thunderdome::Index;

use super::fetch::{Fetch, after};
use super::fill::Fill;
use super::response::Asker;
use super::{Cx, Due, Shard};
use crate::authorize::Authorize;
use crate::connections::{ConnectionId, Connections, ShardId};

/// A FETCH of ours that has come to a gap of which its publisher knows nothing, while others are
/// asked about that.
#[derive(Debug)]
pub(super) struct Aside {
    fill: Fill,
    /// The end of the gap.
    until: Location,
}

/// Whether a fetch waits for publishers that move.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Waits {
    #[default]
    Not,
    Until(Timestamp),
    /// It has, in vain.
    NoLonger,
}

impl Fetch {
    /// The gap that others are asked about ends here.
    pub(super) fn gap_end(&self) -> Option<Location> {
        self.aside.last().map(|aside| aside.until)
    }

    /// What comes from a publisher goes on where the gap ends, if it does here.
    pub(super) fn take_up(&mut self) -> bool {
        match self.aside.pop_if(|aside| self.at > Some(aside.until)) {
            Some(aside) => {
                self.fill = Some(aside.fill);
                true
            }
            None => false,
        }
    }

    /// Another shard gives more of what was put aside.
    pub(super) fn add_aside(&mut self, shard: ShardId, read: FetchRead) {
        let mut aside = self.aside.iter_mut();
        if let Some(aside) = aside.find(|aside| aside.fill.is_from_shard(shard)) {
            aside.fill.hold_last(read);
        }
    }

    /// Forgets what was put aside, of which a publisher gives no more. Whether it was that.
    pub(super) fn forget_aside(&mut self, connection: ConnectionId, request: RequestKey) -> bool {
        let before = self.aside.len();
        self.aside.retain(|aside| !aside.fill.is_from(connection, request));
        self.aside.len() < before
    }
}

impl<A: Authorize> Shard<A> {
    /// A publisher does not know what there is up to a location: another is asked, and what this one
    /// gives goes on after that. Whether there is one.
    pub(super) fn put_aside<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: Index,
        until: Location,
    ) -> bool {
        let Some(fetch) = self.fetches.get_mut(id) else { return false };
        let is_fit = fetch.order == GroupOrder::Ascending && fetch.from != Asker::Recovery;
        let Some(at) = fetch.at.filter(|at| is_fit && *at <= until) else { return false };
        let Some(fill) = fetch.fill.take_if(|fill| fill.is_answered()) else { return false };
        // Who was asked about another gap may know more of this one.
        let aside = fetch.aside.iter().map(|aside| &aside.fill).chain([&fill]);
        fetch.asked = aside.map(Fill::asked).collect();
        let is_begun = self.begin_fill(cx, id, at, until);
        if let Some(fetch) = self.fetches.get_mut(id) {
            if is_begun {
                fetch.aside.push(Aside { fill, until });
            } else {
                fetch.fill = Some(fill);
            }
        }
        is_begun
    }

    /// Lets go of the publishers whose answers were put aside.
    pub(super) fn end_aside<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: Index) {
        while let Some(fetch) = self.fetches.get_mut(id)
            && let Some(aside) = fetch.aside.pop()
        {
            fetch.fill = Some(aside.fill);
            self.end_fill(cx, id);
        }
    }

    /// Nobody can be asked now for what is missing: whether those who could be are about to come,
    /// as they move, and the fetch waits for them.
    pub(super) fn waits_for_publisher<C>(&mut self, cx: &Cx<'_, C>, id: Index) -> bool {
        let Some(fetch) = self.fetches.get(id) else { return false };
        let track = self.tracks.get(fetch.track());
        if fetch.from == Asker::Recovery || !track.is_some_and(|track| self.is_track_moving(track))
        {
            return false;
        }
        let until = cx.now.saturating_add(fetch.patience.min(self.config.takeover));
        match fetch.waits {
            Waits::NoLonger => return false,
            Waits::Until(_) => return true,
            Waits::Not => {}
        }
        if let Some(fetch) = self.fetches.get_mut(id) {
            fetch.waits = Waits::Until(until);
        }
        self.schedule(until, Due::Fetch(id));
        true
    }

    /// It has waited long enough.
    pub(super) fn wait_is_over<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: Index) {
        let Some(fetch) = self.fetches.get_mut(id) else { return };
        if matches!(fetch.waits, Waits::Until(until) if until <= cx.now) {
            fetch.waits = Waits::NoLonger;
            self.fetch_again(cx, id);
        }
    }

    /// Somebody publishes such tracks from now on, or can ask upstream for them.
    pub(super) fn resume_fetches<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        of: impl Fn(&FullTrackName) -> bool,
    ) {
        let waits = |fetch: &Fetch| {
            matches!(fetch.waits, Waits::Until(_))
                && self.tracks.get(fetch.track()).is_some_and(|track| of(&track.name))
        };
        let waiting = self.fetches.iter().filter(|(_, fetch)| waits(fetch)).map(|(id, _)| id);
        for id in waiting.collect::<Vec<_>>() {
            self.fetch_again(cx, id);
        }
    }

    fn fetch_again<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: Index) {
        let Some(fetch) = self.fetches.get(id).filter(|fetch| fetch.fill.is_none()) else { return };
        if fetch.is_accepted {
            self.serve(cx, id);
        } else {
            self.begin_fetch(cx, id);
        }
    }
}

impl Fetch {
    /// Where to go on when nothing more is held up to where the store was asked.
    pub(super) fn after_held(&self) -> Option<Location> {
        self.gap_end().and_then(after)
    }
}
