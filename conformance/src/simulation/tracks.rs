//! The tracks that applications publish: which objects there are, and which may still come.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::Bytes;
use moqt_engine::Draft;
use moqt_engine::model::{Location, ObjectStatus, Property};
use moqt_engine::wire::Properties;
use moqt_loopback::Rng;

use super::history::Object;
use super::scenario::{Burst, BurstEnd, GroupPick, TrackPlan};

/// A track at its publisher.
#[derive(Debug, Default)]
pub(crate) struct Track {
    pub(crate) objects: BTreeMap<Location, Object>,
    groups: BTreeMap<u64, Group>,
    is_over: bool,
}

#[derive(Debug, Default)]
struct Group {
    /// The next object.
    next: u64,
    is_over: bool,
    /// By the number that bursts use: the Subgroup ID, and whether it is complete.
    subgroups: BTreeMap<u64, (u64, bool)>,
}

/// What a publisher is to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// An object. Of one in a subgroup, whether it is the first there.
    Object { location: Location, is_first: bool },
    /// No more objects of a subgroup.
    Complete { group: u64, subgroup: u64 },
}

impl Track {
    pub(crate) fn largest(&self) -> Option<Location> {
        self.objects.last_key_value().map(|(location, _)| *location)
    }

    /// Groups in which nothing more comes.
    pub(crate) fn groups_over(&self) -> impl Iterator<Item = u64> + '_ {
        self.groups.iter().filter(|(_, group)| group.is_over).map(|(id, _)| *id)
    }

    /// Makes the objects of a burst.
    pub(crate) fn produce(
        &mut self,
        draft: Draft,
        number: usize,
        plan: &TrackPlan,
        burst: &Burst,
    ) -> Vec<News> {
        let mut news = Vec::new();
        let largest = self.groups.last_key_value().map(|(group, _)| *group);
        let group_id = match (burst.group, largest) {
            (_, None) => 0,
            (GroupPick::Largest, Some(largest)) => largest,
            (GroupPick::Next, Some(largest)) => largest + 1,
            (GroupPick::Skip(groups), Some(largest)) => largest + 1 + groups,
            (GroupPick::Earlier(groups), Some(largest)) => largest.saturating_sub(groups),
        };
        let is_largest = largest.is_none_or(|largest| group_id >= largest);
        if self.is_over {
            return news;
        }
        let group = self.groups.entry(group_id).or_default();
        if group.is_over || group.subgroups.get(&burst.subgroup).is_some_and(|(_, over)| *over) {
            return news;
        }
        let first_id = group.next + burst.gap;
        let id = if plan.named_by_first { first_id } else { burst.subgroup };
        let is_new = !group.subgroups.contains_key(&burst.subgroup);
        let (subgroup, _) = *group.subgroups.entry(burst.subgroup).or_insert((id, false));
        for number_in_burst in 0..burst.count {
            let object_id = first_id + number_in_burst;
            let is_last = number_in_burst + 1 == burst.count;
            let status = match burst.end {
                BurstEnd::GroupByStatus if is_last => ObjectStatus::EndOfGroup,
                BurstEnd::TrackByStatus if is_last && is_largest => ObjectStatus::EndOfTrack,
                _ => ObjectStatus::Normal,
            };
            let location = Location::new(group_id, object_id);
            let size = if plan.is_datagrams { burst.size.min(1000) } else { burst.size };
            let is_plain = status == ObjectStatus::Normal;
            let object = Object {
                subgroup: (!plan.is_datagrams).then_some(subgroup),
                status,
                priority: plan.priority.unwrap_or(128),
                properties: properties(draft, plan.has_properties && is_plain, location),
                payload: if is_plain { payload(number, location, size) } else { Bytes::new() },
            };
            group.next = object_id + 1;
            group.is_over |= status != ObjectStatus::Normal;
            self.is_over |= status == ObjectStatus::EndOfTrack;
            self.objects.insert(location, object);
            news.push(News::Object { location, is_first: is_new && number_in_burst == 0 });
        }
        if self.is_over {
            news.extend(self.complete_all());
        } else if self.groups.get(&group_id).is_some_and(|group| group.is_over) {
            news.extend(self.complete_group(group_id));
        } else if burst.finish
            && let Some(group) = self.groups.get_mut(&group_id)
        {
            group.subgroups.insert(burst.subgroup, (subgroup, true));
            news.push(News::Complete { group: group_id, subgroup });
        }
        news
    }

    /// Nothing more comes in the largest group.
    pub(crate) fn complete_largest(&mut self) -> Vec<News> {
        let largest = self.groups.last_key_value().map(|(group, _)| *group);
        largest.map(|group| self.complete_group(group)).unwrap_or_default()
    }

    /// Nothing more comes in the group that an object came in.
    pub(crate) fn close_group_of(&mut self, news: &[News]) -> Vec<News> {
        let group = news.iter().find_map(|new| match new {
            News::Object { location, .. } => Some(location.group),
            News::Complete { .. } => None,
        });
        group.map(|group| self.complete_group(group)).unwrap_or_default()
    }

    /// Nothing more comes in any group.
    pub(crate) fn complete_all(&mut self) -> Vec<News> {
        let groups: Vec<u64> = self.groups.keys().copied().collect();
        groups.into_iter().flat_map(|group| self.complete_group(group)).collect()
    }

    fn complete_group(&mut self, group_id: u64) -> Vec<News> {
        let Some(group) = self.groups.get_mut(&group_id) else { return Vec::new() };
        group.is_over = true;
        let open = group.subgroups.values_mut().filter(|(_, is_over)| !is_over);
        open.map(|(subgroup, is_over)| {
            *is_over = true;
            News::Complete { group: group_id, subgroup: *subgroup }
        })
        .collect()
    }
}

fn properties(draft: Draft, has_some: bool, location: Location) -> Properties {
    if !has_some {
        return Properties::EMPTY;
    }
    let value = Bytes::copy_from_slice(&location.object.to_be_bytes());
    let list = [Property::int(0x100, location.group), Property::bytes(0x101, value)];
    Properties::encode(draft.dialect(), &list).unwrap_or_default()
}

/// Payload of which no two objects have the same, if it is not very short. Nothing is copied.
fn payload(track: usize, location: Location, size: usize) -> Bytes {
    static NOISE: OnceLock<Bytes> = OnceLock::new();
    const LEN: usize = 512 * 1024;
    let noise = NOISE.get_or_init(|| {
        let mut rng = Rng::new(0);
        let noise: Vec<u8> = (0..LEN / 8).flat_map(|_| rng.next_u64().to_be_bytes()).collect();
        noise.into()
    });
    let size = size.min(LEN / 2);
    let at = track as u64 * 7919 + location.group * 1009 + location.object * 101;
    let at = usize::try_from(at).unwrap_or_default() % (LEN - size);
    noise.slice(at..at + size)
}
