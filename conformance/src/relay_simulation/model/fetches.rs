//! Fetches and track states: what is said of the past is true.

use std::collections::BTreeSet;

use moqt_engine::Timestamp;
use moqt_engine::model::{
    EndOfRange, GroupOrder, JoiningStart, Location, LocationRange, ObjectStatus,
};

use super::{Checked, GRACE, Model, known, must};
use crate::relay_simulation::record::{FetchEnd, Fetched, Item, TrackState};
use crate::relay_simulation::scenario::How;

impl Model<'_> {
    pub(super) fn fetch(&self, fetched: &Fetched) -> Checked {
        let named = |checked: Checked| {
            checked.map_err(|mut broken| {
                let Fetched { client, track, range, joined, asked, answer, end, .. } = fetched;
                broken.about = format!(
                    "fetch of client {client}, track {track}, {range:?} {joined:?}, asked at \
                     {asked:?}, answered {answer:?}, ended {end:?}: {}",
                    broken.about
                );
                broken
            })
        };
        named(self.fetch_items(fetched))?;
        named(self.fetch_whole(fetched))?;
        named(self.fetch_answered(fetched))
    }

    /// Each object was published, was asked for, and comes in order.
    fn fetch_items(&self, fetched: &Fetched) -> Checked {
        let order = fetched.answer.map_or(fetched.order, |(_, answer)| answer.group_order);
        let rank = |location: Location| match order {
            GroupOrder::Ascending => (location.group, location.object),
            GroupOrder::Descending => (u64::MAX - location.group, location.object),
        };
        let mut last = None;
        for item in &fetched.items {
            let Item::Object(seen) = item else { continue };
            self.object(fetched.track, seen, true)?;
            let here = rank(seen.location);
            must(last.is_none_or(|last| last < here), "a fetch comes in order and once", || {
                format!("{}", seen.location)
            })?;
            last = Some(here);
            if let Some(range) = fetched.range {
                must(range.contains(seen.location), "a fetch gives what was asked for", || {
                    format!("{}", seen.location)
                })?;
            }
        }
        Ok(())
    }

    /// Of what was there and lies in the range that is answered for, everything comes or is said
    /// to be unknown.
    fn fetch_whole(&self, fetched: &Fetched) -> Checked {
        let (Some((_, answer)), Some((_, FetchEnd::Finished))) = (fetched.answer, &fetched.end)
        else {
            return Ok(());
        };
        let Some(range) = self.fetch_range(fetched) else { return Ok(()) };
        let range = LocationRange::to_last(range.start, range.last().min(answer.range.last()));
        let objects = &self.record.tracks[fetched.track].objects;
        let came: BTreeSet<Location> = fetched.items.iter().filter_map(Item::location).collect();
        let unknown = fetched.unknown(range.start, answer.group_order);
        for (location, made) in objects.range(range.start..=range.last().max(range.start)) {
            let is_missing = made.at <= fetched.asked
                && range.contains(*location)
                && made.object.status == ObjectStatus::Normal
                && !came.contains(location)
                && !unknown.iter().any(|(from, to)| from <= location && location <= to);
            must(!is_missing, "a fetch gives all that there is", || {
                format!("{location}, published at {:?}, is missing", made.at)
            })?;
        }
        // Nobody says not to know what somebody does.
        let end = fetched.end.as_ref().map_or(fetched.asked, |(at, _)| *at);
        let is_there = self.publishers(fetched.track, fetched.asked, end).next().is_some();
        let is_known = is_there && self.is_quiet(fetched.asked, end);
        must(!is_known || unknown.is_empty(), "what its publisher knows is not unknown", || {
            format!("{unknown:?}")
        })
    }

    /// What a fetch asks for. Of one that joins, that depends on what its subscription was told.
    fn fetch_range(&self, fetched: &Fetched) -> Option<LocationRange> {
        if fetched.range.is_some() {
            return fetched.range;
        }
        let (number, start) = fetched.joined?;
        let (_, largest) = self.record.subscriptions[number].accepted?;
        let largest = largest?;
        let group = match start {
            JoiningStart::Relative(groups) => largest.group.saturating_sub(groups),
            JoiningStart::Absolute(group) => group,
        };
        Some(LocationRange::to_last(Location::new(group, 0), largest))
    }

    /// What is there can be fetched.
    fn fetch_answered(&self, fetched: &Fetched) -> Checked {
        let Fetched { track, asked, end, .. } = fetched;
        if let Some((_, FetchEnd::Malformed(why))) = end {
            return must(false, "no track is malformed", || why.clone());
        }
        let at = end.as_ref().map_or(known(*asked), |(at, _)| *at);
        let is_there = self.publishers(*track, *asked, known(*asked)).next().is_some();
        let reads = self.reads(fetched.client, *asked, at);
        if !is_there || !reads || !self.is_quiet(*asked, known(at)) {
            return Ok(());
        }
        if let Some((_, FetchEnd::Closed)) = end {
            return Ok(());
        }
        must(end.is_some(), "a fetch is answered", || "it never ended".to_owned())?;
        let Some(range) = self.fetch_range(fetched) else { return Ok(()) };
        let objects = &self.record.tracks[*track].objects;
        let has_some = !range.is_backwards()
            && objects.range(range.start..=range.last()).any(|(_, made)| {
                known(made.at) <= *asked && made.object.status == ObjectStatus::Normal
            });
        let is_joining = fetched.joined.is_some();
        let may_fail = !has_some || is_joining && range.is_backwards();
        must(
            may_fail || *end == Some((at, FetchEnd::Finished)),
            "what is there can be fetched",
            || "it was not".to_owned(),
        )?;
        // Not less is answered for than was there.
        let Some((_, answer)) = fetched.answer else { return Ok(()) };
        let missing = objects.range(range.start..=range.last().max(range.start)).find(|it| {
            let (location, made) = it;
            known(made.at) <= *asked
                && made.object.status == ObjectStatus::Normal
                && **location > answer.range.last()
                && range.contains(**location)
        });
        must(missing.is_none(), "a fetch covers all that there is", || {
            format!("{missing:?} is not covered").chars().take(80).collect()
        })
    }

    /// A track's state is told as it is.
    pub(super) fn status(&self, state: &TrackState) -> Checked {
        let TrackState { client, track, asked, is_over, answer } = state;
        let about = |what: String| {
            format!("TRACK_STATUS of client {client}, track {track}, asked at {asked:?}: {what}")
        };
        let objects = &self.record.tracks[*track].objects;
        let largest_by = |by: Timestamp| {
            let made = objects.iter().filter(|(_, made)| made.at <= by);
            made.map(|(location, _)| *location).max()
        };
        let is_there = self.publishers(*track, *asked, known(*asked)).next().is_some();
        let is_quiet = self.is_quiet(*asked, known(*asked));
        match answer {
            Some((at, Ok(largest))) => {
                must(*largest <= largest_by(*at), "no track has come further than it has", || {
                    about(format!("{largest:?}"))
                })?;
                // Where objects are not forwarded, a relay does not hear of them.
                let publishers = &self.record.tracks[*track].publishers;
                let is_forwarded = publishers.iter().all(|it| it.how == How::Namespace)
                    && self.is_always_forwarded(*track);
                let is_due = is_there && is_quiet && is_forwarded;
                let long_ago = asked.saturating_since(Timestamp::ZERO).saturating_sub(GRACE);
                let long_ago = Timestamp::ZERO.saturating_add(long_ago);
                must(
                    !is_due || *largest >= largest_by(long_ago),
                    "a track has come as far as it has",
                    || about(format!("{largest:?}")),
                )
            }
            Some((_, Err(code))) => {
                must(!is_there || !is_quiet, "what is published has a state", || {
                    about(format!("refused with {code}"))
                })
            }
            None => {
                must(*is_over || !is_there || !is_quiet, "what is published has a state", || {
                    about("no answer".to_owned())
                })
            }
        }
    }
}

impl Fetched {
    /// Ranges that are said to be unknown.
    fn unknown(&self, start: Location, order: GroupOrder) -> Vec<(Location, Location)> {
        let mut after = None;
        let mut unknown = Vec::new();
        for item in &self.items {
            match item {
                Item::Object(seen) => after = Some(seen.location),
                Item::Range(location, kind) => {
                    let from = match (order, after) {
                        (GroupOrder::Ascending, None) => start,
                        (GroupOrder::Ascending, Some(after)) => after,
                        // Whole groups in between may be meant.
                        (GroupOrder::Descending, _) => Location::new(location.group, 0),
                    };
                    let to = match (order, after) {
                        (GroupOrder::Descending, Some(after)) => after.max(*location),
                        (GroupOrder::Descending, None) => Location::new(u64::MAX, u64::MAX),
                        _ => *location,
                    };
                    if *kind == EndOfRange::Unknown {
                        unknown.push((from, to));
                    }
                    after = Some(*location);
                }
            }
        }
        unknown
    }
}

impl Item {
    fn location(&self) -> Option<Location> {
        match self {
            Self::Object(seen) => Some(seen.location),
            Self::Range(..) => None,
        }
    }
}
