//! What has been published, to be had again: for FETCH, and for whoever joins late.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use moqt_engine::model::{GroupOrder, Location};

use crate::source::{Cut, Source, SourceError};

/// The largest object ID that every draft can write.
const LAST_OBJECT: u64 = (1 << 62) - 1;

/// The objects of a track that can be had again. A file is read again; of anything else the
/// newest are kept in memory.
pub(crate) struct History(Mutex<Inner>);

struct Inner {
    kept: Kept,
    /// Bytes of memory that it may take, and those it does.
    limit: usize,
    bytes: usize,
    /// The groups there are, oldest first, without a gap.
    groups: VecDeque<Group>,
    /// The ID of the first of them.
    first_group: u64,
    largest: Option<Location>,
    /// Nothing is published any more.
    ended: bool,
}

enum Kept {
    /// In a file, which is cut again the same way.
    File { path: PathBuf, cut: Cut, repeat: bool },
    /// In memory.
    Memory,
}

enum Group {
    /// So many objects, from so far into the file.
    InFile { position: u64, count: u64 },
    /// The objects from `first` on.
    InMemory { first: u64, objects: VecDeque<Bytes> },
}

/// What an object in memory, or a group in a file, takes beside its payload.
const ENTRY_LEN: usize = 64;

/// What a [`Replay`] gives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Replayed {
    Object(Location, Bytes),
    /// What there was from the object before to this one is not kept any more.
    Lost(Location),
}

impl History {
    /// A history of what this source will give. What cannot be read again is kept in memory; it
    /// takes at most `limit` bytes.
    pub(crate) fn of(source: &Source, limit: usize) -> Arc<Self> {
        let kept = match source.file() {
            Some((path, cut, repeat)) => Kept::File { path: path.into(), cut, repeat },
            None => Kept::Memory,
        };
        Arc::new(Self::new(kept, limit))
    }

    /// A history of what is all to be had from memory.
    pub(crate) fn in_memory() -> Arc<Self> {
        Arc::new(Self::new(Kept::Memory, usize::MAX))
    }

    /// A history of a file that will be read when somebody asks for it.
    pub(crate) fn of_file(path: PathBuf, cut: Cut) -> Arc<Self> {
        Arc::new(Self::new(Kept::File { path, cut, repeat: false }, usize::MAX))
    }

    fn new(kept: Kept, limit: usize) -> Self {
        Self(Mutex::new(Inner {
            kept,
            limit,
            bytes: 0,
            groups: VecDeque::new(),
            first_group: 0,
            largest: None,
            ended: false,
        }))
    }

    /// The largest location published.
    pub(crate) fn largest(&self) -> Option<Location> {
        self.lock().largest
    }

    /// Nothing is published any more.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
    }

    /// Whether the track has ended with this object.
    pub(crate) fn ends_with(&self, last: Location) -> bool {
        let inner = self.lock();
        inner.ended && inner.largest == Some(last)
    }

    /// An object is published that began so far into its source. Objects come in order, and
    /// groups one after another.
    pub(crate) fn note(&self, location: Location, position: u64, payload: &Bytes) {
        self.lock().note(location, position, payload);
    }

    /// The objects of `range`, group by group in this order, and in each group by object.
    pub(crate) fn replay(
        self: &Arc<Self>,
        range: RangeInclusive<Location>,
        order: GroupOrder,
    ) -> Replay {
        // What comes later was not asked for.
        let (first_group, last_group) = {
            let inner = self.lock();
            (inner.first_group, inner.largest.map_or(0, |largest| largest.group))
        };
        let groups = range.start().group.max(first_group)..=range.end().group.min(last_group);
        Replay { history: self.clone(), range, groups, order, current: None, told: None }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn note(&mut self, location: Location, position: u64, payload: &Bytes) {
        if self.largest.is_none() {
            self.first_group = location.group;
        }
        if self.largest.is_none_or(|largest| largest.group != location.group) {
            self.groups.push_back(match self.kept {
                Kept::File { .. } => {
                    self.bytes += ENTRY_LEN;
                    Group::InFile { position, count: 0 }
                }
                Kept::Memory => {
                    Group::InMemory { first: location.object, objects: VecDeque::new() }
                }
            });
        }
        self.largest = Some(location);
        match self.groups.back_mut() {
            Some(Group::InFile { count, .. }) => *count += 1,
            Some(Group::InMemory { objects, .. }) => {
                objects.push_back(payload.clone());
                self.bytes += payload.len() + ENTRY_LEN;
            }
            None => {}
        }
        self.forget_oldest();
    }

    fn forget_oldest(&mut self) {
        while self.bytes > self.limit {
            let is_current = self.groups.len() == 1;
            match self.groups.front_mut() {
                Some(Group::InMemory { first, objects }) => {
                    if let Some(oldest) = objects.pop_front() {
                        self.bytes -= oldest.len() + ENTRY_LEN;
                        *first += 1;
                        continue;
                    }
                }
                Some(Group::InFile { .. }) if is_current => return,
                Some(Group::InFile { .. }) => self.bytes -= ENTRY_LEN,
                None => return,
            }
            self.groups.pop_front();
            self.first_group += 1;
        }
    }

    fn group(&self, id: u64) -> Option<&Group> {
        self.groups.get(usize::try_from(id.checked_sub(self.first_group)?).ok()?)
    }

    /// The first location that can still be had.
    fn first(&self) -> Option<Location> {
        let object = match self.groups.front()? {
            Group::InFile { .. } => 0,
            Group::InMemory { first, .. } => *first,
        };
        Some(Location::new(self.first_group, object))
    }
}

/// A part of a [`History`], object by object.
pub(crate) struct Replay {
    history: Arc<History>,
    range: RangeInclusive<Location>,
    /// Groups that have not begun.
    groups: RangeInclusive<u64>,
    order: GroupOrder,
    current: Option<Current>,
    /// The loss told of last.
    told: Option<Location>,
}

/// The group being replayed.
enum Current {
    File { source: Source, next: Location, left: u64 },
    Memory { next: Location },
}

impl Replay {
    /// The next object, or `None` when there are no more.
    pub(crate) async fn next(&mut self) -> Result<Option<Replayed>, SourceError> {
        loop {
            if let Some(lost) = self.loss() {
                return Ok(Some(Replayed::Lost(lost)));
            }
            let Some(current) = &mut self.current else {
                if !self.begin_group().await? {
                    return Ok(None);
                }
                continue;
            };
            let (at, payload) = match current {
                Current::File { left: 0, .. } => {
                    self.current = None;
                    continue;
                }
                Current::File { source, next, left } => {
                    let Some(payload) = source.next().await? else {
                        return Err(SourceError::Changed);
                    };
                    *left -= 1;
                    (next, Some(payload))
                }
                Current::Memory { next } => {
                    let payload = self.history.lock().object(*next);
                    (next, payload)
                }
            };
            let location = *at;
            at.object += 1;
            match payload {
                Some(payload) if self.range.contains(&location) => {
                    return Ok(Some(Replayed::Object(location, payload)));
                }
                Some(_) if location < *self.range.start() => {}
                _ => self.current = None,
            }
        }
    }

    /// Goes on to the next group; `false` if there is none.
    async fn begin_group(&mut self) -> Result<bool, SourceError> {
        let group = match self.order {
            GroupOrder::Ascending => self.groups.next(),
            GroupOrder::Descending => self.groups.next_back(),
        };
        let Some(group) = group else { return Ok(false) };
        let next = Location::new(group, 0);
        let in_file = {
            let inner = self.history.lock();
            match (&inner.kept, inner.group(group)) {
                (Kept::File { path, cut, repeat }, Some(Group::InFile { position, count })) => {
                    Some((path.clone(), *cut, *repeat, *position, *count))
                }
                _ => None,
            }
        };
        self.current = Some(match in_file {
            Some((path, cut, repeat, position, left)) => {
                let source = Source::open_at(&path, cut, repeat, position).await?;
                Current::File { source, next, left }
            }
            None => Current::Memory { next: next.max(*self.range.start()) },
        });
        Ok(true)
    }

    /// The last object that should come now and is not kept any more, if that has not been told.
    fn loss(&mut self) -> Option<Location> {
        let first = self.history.lock().first()?;
        let expected = match (&self.current, self.order) {
            (Some(Current::Memory { next }), _) => *next,
            (None, GroupOrder::Ascending) if self.told.is_none() => *self.range.start(),
            (None, GroupOrder::Descending) if self.groups.is_empty() => *self.range.start(),
            _ => return None,
        };
        if expected >= first || expected > *self.range.end() {
            return None;
        }
        let lost = match first.object.checked_sub(1) {
            Some(object) => Location::new(first.group, object),
            None => Location::new(first.group.checked_sub(1)?, LAST_OBJECT),
        };
        let lost = lost.min(*self.range.end());
        match &mut self.current {
            Some(Current::Memory { next }) if next.group == first.group => *next = first,
            _ => self.current = None,
        }
        if self.told.is_some_and(|told| told >= lost) {
            return None;
        }
        self.told = Some(lost);
        Some(lost)
    }
}

impl Inner {
    fn object(&self, location: Location) -> Option<Bytes> {
        let Some(Group::InMemory { first, objects }) = self.group(location.group) else {
            return None;
        };
        let index = usize::try_from(location.object.checked_sub(*first)?).ok()?;
        objects.get(index).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three groups of three objects of ten bytes, of which so many are kept.
    fn filled(kept: usize) -> Arc<History> {
        let history = Arc::new(History::new(Kept::Memory, kept * (10 + ENTRY_LEN)));
        for group in 0..3 {
            for object in 0..3 {
                let payload = Bytes::from(format!("{group}.{object}......."));
                history.note(Location::new(group, object), 0, &payload);
            }
        }
        history
    }

    async fn all(mut replay: Replay) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(replayed) = replay.next().await.unwrap() {
            said.push(match replayed {
                Replayed::Object(location, payload) => {
                    let expected = format!("{}.{}.......", location.group, location.object);
                    assert_eq!(payload, expected.as_bytes());
                    format!("{}.{}", location.group, location.object)
                }
                Replayed::Lost(location) => format!("-{}.{}", location.group, location.object),
            });
        }
        said
    }

    fn range(from: (u64, u64), to: (u64, u64)) -> RangeInclusive<Location> {
        Location::new(from.0, from.1)..=Location::new(to.0, to.1)
    }

    #[tokio::test]
    async fn a_range_comes_in_the_order_asked_for() {
        let history = filled(100);
        let replay = history.replay(range((0, 1), (2, 0)), GroupOrder::Ascending);
        assert_eq!(all(replay).await, ["0.1", "0.2", "1.0", "1.1", "1.2", "2.0"]);
        let replay = history.replay(range((0, 1), (2, 0)), GroupOrder::Descending);
        assert_eq!(all(replay).await, ["2.0", "1.0", "1.1", "1.2", "0.1", "0.2"]);
        let replay = history.replay(range((2, 2), (9, 9)), GroupOrder::Ascending);
        assert_eq!(all(replay).await, ["2.2"]);
    }

    #[tokio::test]
    async fn what_is_not_kept_is_said_to_be_lost() {
        let history = filled(4);
        let replay = history.replay(range((0, 0), (2, 1)), GroupOrder::Ascending);
        assert_eq!(all(replay).await, ["-1.1", "1.2", "2.0", "2.1"]);
        let replay = history.replay(range((0, 0), (1, 0)), GroupOrder::Ascending);
        assert_eq!(all(replay).await, ["-1.0"]);
        let history = filled(3);
        let replay = history.replay(range((0, 0), (2, 1)), GroupOrder::Ascending);
        assert_eq!(all(replay).await, ["-1.2", "2.0", "2.1"]);
        let replay = history.replay(range((0, 0), (2, 1)), GroupOrder::Descending);
        assert_eq!(all(replay).await, ["2.0", "2.1", "-1.2"]);
        let replay = history.replay(range((2, 1), (2, 1)), GroupOrder::Descending);
        assert_eq!(all(replay).await, ["2.1"]);
    }

    #[tokio::test]
    async fn what_is_forgotten_meanwhile_is_lost() {
        let history = filled(9);
        let mut replay = history.replay(range((0, 0), (2, 2)), GroupOrder::Ascending);
        let first = replay.next().await.unwrap();
        assert_eq!(first, Some(Replayed::Object(Location::ZERO, "0.0.......".into())));
        for object in 3..6 {
            history.note(Location::new(2, object), 0, &Bytes::from_static(b"0123456789"));
        }
        assert_eq!(all(replay).await, ["-0.2", "1.0", "1.1", "1.2", "2.0", "2.1", "2.2"]);
    }

    #[tokio::test]
    async fn a_file_is_read_again_even_in_a_loop() {
        let path = std::env::temp_dir().join(format!("moqt-history-{}", std::process::id()));
        std::fs::write(&path, "abcdefghij").unwrap();
        let mut source = Source::open(&path, Cut::Size(3), true).await.unwrap();
        let history = History::of(&source, 6 * ENTRY_LEN);
        let mut want = Vec::new();
        for number in 0..12 {
            let position = source.position();
            let payload = source.next().await.unwrap().unwrap();
            let location = Location::new(number / 2, number % 2);
            history.note(location, position, &payload);
            want.push(Replayed::Object(location, payload));
        }
        let mut replay = history.replay(range((0, 1), (5, 0)), GroupOrder::Ascending);
        for want in &want[1..11] {
            assert_eq!(replay.next().await.unwrap().as_ref(), Some(want));
        }
        assert_eq!(replay.next().await.unwrap(), None);
        // Where groups begin takes memory, too, and a loop has no end.
        let payload = source.next().await.unwrap().unwrap();
        history.note(Location::new(6, 0), 36, &payload);
        let mut replay = history.replay(range((0, 0), (6, 0)), GroupOrder::Ascending);
        let lost = Replayed::Lost(Location::new(0, LAST_OBJECT));
        assert_eq!(replay.next().await.unwrap(), Some(lost));
        assert_eq!(replay.next().await.unwrap().as_ref(), Some(&want[2]));
        std::fs::remove_file(&path).unwrap();
    }
}
