//! [`Group`]: what is kept of a group besides its objects.

use alloc::collections::BTreeMap;

use moqt_engine::model::StreamResetCode;

use super::ids::Ids;

/// What a subgroup is charged.
pub(super) const SUBGROUP_CHARGE: usize = 320;

/// A subgroup of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SubgroupKey {
    pub(crate) group: u64,
    pub(crate) subgroup: u64,
}

impl SubgroupKey {
    /// The first there can be.
    pub(crate) const MIN: Self = Self { group: 0, subgroup: 0 };
    /// The last.
    pub(crate) const MAX: Self = Self { group: u64::MAX, subgroup: u64::MAX };
}

/// What a subgroup's header says of it (draft-18, "Subgroup Header").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SubgroupFacts {
    pub(crate) publisher_priority: u8,
    /// The last object of the subgroup is the last of the group.
    pub(crate) end_of_group: bool,
    /// The first object that came is the first of the subgroup.
    pub(crate) first_object: bool,
    pub(crate) has_properties: bool,
}

/// How a subgroup ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubgroupEnd {
    /// All of it has come.
    Finished,
    /// No more of it comes.
    Reset(StreamResetCode),
}

/// A group of which something is kept.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) subgroups: BTreeMap<u64, Subgroup>,
    /// How many objects are kept, those with a status too.
    pub(super) objects: usize,
    /// How many groups before it do not exist, if that was said.
    pub(super) gap: Option<u64>,
    /// The largest ID of a subgroup that was here and is forgotten.
    pub(super) forgotten: Option<u64>,
}

impl Group {
    pub(super) fn is_empty(&self) -> bool {
        self.objects == 0 && self.subgroups.is_empty()
    }
}

/// A subgroup of which something is kept.
#[derive(Debug)]
pub(super) struct Subgroup {
    pub(super) publisher_priority: u8,
    /// What its header said, if it came in a stream of its own and not by FETCH.
    pub(super) facts: Option<SubgroupFacts>,
    /// Nothing of it was here and forgotten before this was made.
    pub(super) is_whole: bool,
    /// The IDs of the objects kept.
    pub(super) objects: Ids,
    /// The largest ID of an object that came.
    pub(super) last: Option<u64>,
    /// The largest ID of an object that came and is not here any more.
    pub(super) lost: Option<u64>,
    pub(super) end: Option<SubgroupEnd>,
}

impl Subgroup {
    pub(super) fn new(publisher_priority: u8, is_whole: bool) -> Self {
        Self {
            publisher_priority,
            facts: None,
            is_whole,
            objects: Ids::default(),
            last: None,
            lost: None,
            end: None,
        }
    }
}
