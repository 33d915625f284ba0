//! [`Ages`]: which objects are the oldest.

use alloc::collections::VecDeque;

use moqt_engine::Timestamp;
use moqt_engine::model::Location;

/// Locations of objects by when these began. Objects come in the order of time and mostly go in
/// it, so a queue does; one that goes from the middle leaves its entry behind, until
/// [`retain`](Self::retain) or its time comes.
#[derive(Debug, Default)]
pub(super) struct Ages {
    queue: VecDeque<(Timestamp, Location)>,
}

impl Ages {
    /// The oldest, which may not be there any more: none that is there is older.
    pub(super) fn first(&self) -> Option<(Timestamp, Location)> {
        self.queue.front().copied()
    }

    pub(super) fn pop_first(&mut self) {
        self.queue.pop_front();
    }

    /// How many entries there are, those that were left behind too.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn insert(&mut self, arrived: Timestamp, location: Location) {
        if self.queue.back().is_none_or(|(last, _)| *last <= arrived) {
            self.queue.push_back((arrived, location));
        } else {
            let at = self.queue.partition_point(|(before, _)| *before <= arrived);
            self.queue.insert(at, (arrived, location));
        }
    }

    /// An object is gone.
    pub(super) fn leave(&mut self, arrived: Timestamp, location: Location) {
        if self.first() == Some((arrived, location)) {
            self.pop_first();
        }
    }

    /// Keeps the entries of objects that are there.
    pub(super) fn retain(&mut self, mut is_there: impl FnMut(Timestamp, Location) -> bool) {
        self.queue.retain(|(arrived, location)| is_there(*arrived, *location));
    }
}
