//! What the targets for framing share: chance, streams made from choices, and tight limits.

use moqt_engine::model::{
    EndOfRange, GroupOrder, Location, Message, NamespaceInterest, ObjectStatus, Parameters,
    RequestErrorCode, RequestKind, SubgroupId,
};
use moqt_engine::wire::{FetchWriter, ObjectHeader, Properties, SubgroupHeader, SubgroupWriter};
use moqt_engine::{Config, Draft, Role};

use crate::say;

/// Choices taken from bytes, 0 once there are none left.
pub(super) struct Choices<'a>(pub(super) &'a [u8]);

impl Choices<'_> {
    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end.max(1)
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// A number that is small, or of a length in bytes where something changes.
    fn number(&mut self) -> u64 {
        const EDGES: [u64; 8] = [63, 64, 127, 128, 16_383, 16_384, (1 << 30) - 1, (1 << 62) - 1];
        match self.byte() {
            small @ 0..200 => u64::from(small % 8),
            edge => EDGES[usize::from(edge) % EDGES.len()],
        }
    }

    /// Payload of a length that is mostly small.
    fn payload(&mut self) -> Vec<u8> {
        let len = match self.byte() {
            0..60 => 0,
            some @ 60..240 => usize::from(some % 12),
            many => usize::from(many) * 3,
        };
        let first = self.byte();
        (0..len).map(|at| first.wrapping_add(at.to_le_bytes()[0])).collect()
    }
}

/// Numbers that look like chance, from a seed.
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % end.max(1) as u64).unwrap_or_default()
    }

    /// The length of a piece of `left` bytes, at least 1 unless there are none.
    pub(super) fn piece(&mut self, left: usize) -> usize {
        let most = if self.below(3) == 0 { left } else { left.min(9) };
        (1 + self.below(most)).min(left)
    }
}

/// The first Request ID of an endpoint in this role.
pub(super) fn first_id(role: Role) -> u64 {
    u64::from(role == Role::Server)
}

/// Limits that are met soon.
pub(super) fn small() -> Config {
    let mut config = Config::default();
    let limits = &mut config.limits;
    limits.open_requests = 6;
    limits.object_properties = 24;
    limits.stream_receive = 100;
    limits.session_receive = 130;
    limits.stream_minimum = 20;
    limits.early_bytes = 90;
    limits.unknown_aliases = 1;
    limits.unknown_alias_bytes = 320;
    limits.unknown_alias_datagrams = 2;
    limits.open_subgroups = 3;
    limits.remembered_objects = 3;
    config
}

/// A subgroup stream of this track, with everything that one may hold.
pub(super) fn subgroup(draft: Draft, alias: u64, choices: &mut Choices<'_>) -> Vec<u8> {
    subgroup_of(draft, alias, None, choices)
}

/// A subgroup stream with nothing in it that could contradict those of other groups.
pub(super) fn sound_subgroup(
    draft: Draft,
    alias: u64,
    group: u64,
    choices: &mut Choices<'_>,
) -> Vec<u8> {
    subgroup_of(draft, alias, Some(group), choices)
}

fn subgroup_of(draft: Draft, alias: u64, group: Option<u64>, choices: &mut Choices<'_>) -> Vec<u8> {
    let dialect = draft.dialect();
    let bits = choices.byte();
    let subgroup_id = match choices.below(3) {
        0 => SubgroupId::Explicit(0),
        1 => SubgroupId::Explicit(choices.number()),
        _ => SubgroupId::FirstObjectId,
    };
    let is_sound = group.is_some();
    let header = SubgroupHeader {
        track_alias: alias,
        group_id: group.unwrap_or_else(|| choices.number()),
        subgroup_id,
        publisher_priority: (bits & 8 == 0 || draft < Draft::D16).then_some(128),
        end_of_group: bits & 1 != 0,
        first_object: bits & 2 != 0,
        has_properties: bits & 4 != 0,
    };
    let mut bytes = Vec::new();
    let mut written = header.encode(dialect, &mut bytes);
    let mut writer = SubgroupWriter::new(dialect, header.has_properties);
    let mut next = 0_u64;
    while written.is_ok() && !choices.is_over() && bytes.len() < 3000 {
        let object_id = next.saturating_add(choices.number());
        next = object_id.saturating_add(1);
        let payload = choices.payload();
        let status = match choices.byte() {
            0 if payload.is_empty() => ObjectStatus::EndOfGroup,
            1 if payload.is_empty() && !is_sound => ObjectStatus::EndOfTrack,
            _ => ObjectStatus::Normal,
        };
        let is_last = is_sound && status != ObjectStatus::Normal;
        let mut properties = Properties::EMPTY;
        if header.has_properties && status == ObjectStatus::Normal {
            properties = Properties::from_wire(dialect, some_properties(choices).into());
        }
        let payload_len = payload.len() as u64;
        let object = ObjectHeader { object_id, payload_len, status, properties };
        written = writer.object(&object, &mut bytes);
        if written.is_ok() {
            bytes.extend(payload);
        }
        if is_last {
            break;
        }
    }
    bytes
}

/// The stream of this fetch, in ascending order.
pub(super) fn fetch(draft: Draft, id: u64, choices: &mut Choices<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = FetchWriter::new(draft.dialect(), GroupOrder::Ascending);
    let mut written = writer.header(id, &mut bytes);
    let (mut group, mut next) = (0_u64, 0_u64);
    while written.is_ok() && !choices.is_over() && bytes.len() < 3000 {
        let kind = choices.byte();
        if kind.is_multiple_of(4) {
            group += 1 + choices.number() % 1000;
            next = 0;
        }
        let location = Location::new(group, next + choices.number() % 100_000);
        next = location.object + 1;
        if kind % 16 == 1 && draft >= Draft::D16 {
            let kind = [EndOfRange::NonExistent, EndOfRange::Unknown][choices.below(2)];
            written = writer.end_of_range(location, kind, &mut bytes);
            continue;
        }
        let payload = choices.payload();
        let mut object = say::fetch_object(location, &payload);
        object.subgroup_id = Some(choices.number());
        object.publisher_priority = 128 + u8::from(kind % 8 == 2);
        if kind.is_multiple_of(3) {
            let properties = some_properties(choices).into();
            object.properties = Properties::from_wire(draft.dialect(), properties);
        }
        written = writer.object(&object, &mut bytes);
        if written.is_ok() {
            bytes.extend(payload);
        }
    }
    bytes
}

/// The bytes of some properties: unknown ones, with numbers or bytes.
fn some_properties(choices: &mut Choices<'_>) -> Vec<u8> {
    match choices.below(4) {
        0 => vec![],
        1 => vec![0x22, choices.byte() % 64],
        2 => vec![0x23, 3, 1, 2, 3],
        _ => [&[0x23, 30][..], &[7; 30]].concat(),
    }
}

/// Messages of a peer in this role, well-formed and not always in place, one after the other.
pub(super) fn messages(draft: Draft, peer: Role, choices: &mut Choices<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut id = first_id(peer);
    while !choices.is_over() && bytes.len() < 3000 {
        let message = message(draft, id, choices);
        let is_request = matches!(
            message,
            Message::Subscribe(_)
                | Message::Publish(_)
                | Message::Fetch(_)
                | Message::TrackStatus(_)
                | Message::PublishNamespace(_)
                | Message::SubscribeNamespace(_)
                | Message::RequestUpdate(_)
        );
        let len = bytes.len();
        let dialect = draft.dialect();
        if moqt_engine::wire::encode_message(dialect, &message, &mut bytes).is_err() {
            bytes.truncate(len);
        } else if is_request {
            id += 2;
        }
    }
    bytes
}

fn message(draft: Draft, id: u64, choices: &mut Choices<'_>) -> Message {
    let name = ["a", "b", "c"][choices.below(3)];
    // One of the peer's, or of ours.
    let of = u64::from(choices.byte() % 12);
    match choices.below(18) {
        0 => say::subscribe(id, name),
        1 => say::publish(id, name, of),
        2 => say::publish_namespace(id, "test"),
        3 => say::subscribe_namespace(draft, id, "test", NamespaceInterest::Both),
        4 => say::fetch(id, name, Location::new(0, 0), Location::new(5, 0)),
        5 => say::track_status(id, name),
        6 => say::update(id, of, Parameters::default()),
        7 => say::unsubscribe(of),
        8 => say::subscribe_ok(of, choices.number()),
        9 => say::fetch_ok(of, Location::new(9, 0)),
        10 => say::done(of, choices.number()),
        11 => say::ok(of, RequestKind::PublishNamespace),
        12 => say::ok(of, RequestKind::Publish),
        13 => say::error(of, RequestKind::Subscribe, RequestErrorCode::DoesNotExist),
        14 => say::error(of, RequestKind::Fetch, RequestErrorCode::Timeout),
        15 => say::namespace_found("n"),
        16 => say::namespace_done("n"),
        _ => say::ok(of, RequestKind::SubscribeNamespace),
    }
}

/// Changes a byte or two of a stream, or none, or cuts it off.
pub(super) fn damage(bytes: &mut Vec<u8>, from: usize, choices: &mut Choices<'_>) {
    let how = choices.below(5);
    if how > 2 {
        let len = usize::from(choices.byte()) << 8 | usize::from(choices.byte());
        return bytes.truncate(from.max(len % (bytes.len() + 1)));
    }
    for _ in 0..how {
        let at = usize::from(choices.byte()) << 8 | usize::from(choices.byte());
        let flip = choices.byte();
        let bytes = bytes.get_mut(from..).unwrap_or_default();
        if let Some(byte) = at.checked_rem(bytes.len()).and_then(|at| bytes.get_mut(at)) {
            *byte ^= flip;
        }
    }
}
