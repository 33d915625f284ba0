/// What an object without payload says (draft-18, "Object Status").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ObjectStatus {
    /// An ordinary object (0x0).
    #[default]
    Normal,
    /// The object will never exist (0x1; draft 14 only).
    DoesNotExist,
    /// No object with this ID or a larger one exists in the group (0x3).
    EndOfGroup,
    /// No object at this location or a larger one exists in the track (0x4).
    EndOfTrack,
}

impl ObjectStatus {
    /// The value every draft gives this status.
    pub const fn code(self) -> u64 {
        match self {
            Self::Normal => 0,
            Self::DoesNotExist => 1,
            Self::EndOfGroup => 3,
            Self::EndOfTrack => 4,
        }
    }

    /// What the drafts call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::DoesNotExist => "Does Not Exist",
            Self::EndOfGroup => "End of Group",
            Self::EndOfTrack => "End of Track",
        }
    }
}

/// How a subgroup header gives the Subgroup ID (draft-18, "Subgroup Header").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubgroupId {
    /// The Subgroup ID is this one; 0 takes no bytes on the wire.
    Explicit(u64),
    /// The Subgroup ID is the ID of the first object sent in the subgroup.
    FirstObjectId,
}

/// What a fetch response says about a range of objects it leaves out
/// (draft-18, "End of Range").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndOfRange {
    /// The objects do not exist (0x8C).
    NonExistent,
    /// It is not known whether they exist (0x10C).
    Unknown,
}
