//! Random objects.

use moqt_conformance::streams::{Item, Object};
use moqt_engine::model::{
    Draft, EndOfRange, GroupOrder, Location, ObjectStatus, Property, SubgroupId,
};
use moqt_engine::wire::{FetchObject, Properties, SubgroupHeader};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::messages::int;

/// The other codec holds Object IDs of draft 18 to 62 bits.
const MAX_ID: u64 = (1 << 62) - 1;

fn properties(draft: Draft) -> impl Strategy<Value = Vec<u8>> {
    let list = proptest::collection::btree_map(
        0x40..0x9000_u64,
        (int(draft), vec(any::<u8>(), 0..9)),
        0..3,
    );
    list.prop_map(move |list| {
        let list: Vec<Property> = list
            .into_iter()
            .map(|(key, (number, bytes))| {
                if key % 2 == 0 {
                    Property::int(key, number)
                } else {
                    Property::bytes(key, bytes.into())
                }
            })
            .collect();
        Properties::encode(draft.dialect(), &list).unwrap().as_bytes().to_vec()
    })
}

fn status(draft: Draft) -> impl Strategy<Value = ObjectStatus> {
    let last = if draft == Draft::D14 { 4_usize } else { 3 };
    (0..last).prop_map(|index| {
        [
            ObjectStatus::Normal,
            ObjectStatus::EndOfGroup,
            ObjectStatus::EndOfTrack,
            ObjectStatus::DoesNotExist,
        ][index]
    })
}

/// Objects with rising IDs; properties only if the header says so, and where the draft allows.
pub(crate) fn objects(draft: Draft, has_properties: bool) -> impl Strategy<Value = Vec<Object>> {
    let payload = prop_oneof![2 => vec(any::<u8>(), 1..100), 1 => Just(Vec::new())];
    let object = (0..300_u64, properties(draft), status(draft), payload);
    (prop_oneof![0..100_u64, Just(MAX_ID - 10_000)], vec(object, 0..12)).prop_map(
        move |(first, list)| {
            let mut next = first;
            list.into_iter()
                .map(|(gap, mut properties, mut status, payload)| {
                    let id = next + gap;
                    next = id + 1;
                    if !payload.is_empty() {
                        status = ObjectStatus::Normal;
                    }
                    let may_have_some = match status {
                        ObjectStatus::Normal => true,
                        ObjectStatus::DoesNotExist => false,
                        _ => draft == Draft::D14,
                    };
                    if !has_properties || !may_have_some {
                        properties.clear();
                    }
                    Object { id, properties, status, payload }
                })
                .collect()
        },
    )
}

pub(crate) fn header(draft: Draft) -> impl Strategy<Value = SubgroupHeader> {
    let id = || int(draft);
    let mode = prop_oneof![
        Just(SubgroupId::Explicit(0)),
        Just(SubgroupId::FirstObjectId),
        id().prop_map(SubgroupId::Explicit)
    ];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (id(), id(), mode, option::of(any::<u8>()), flags).prop_map(
        move |(track_alias, group_id, subgroup_id, priority, (last, first, some))| SubgroupHeader {
            track_alias,
            group_id,
            subgroup_id,
            publisher_priority: priority.or((draft == Draft::D14).then_some(0)),
            end_of_group: last,
            first_object: first && draft >= Draft::D18,
            has_properties: some,
        },
    )
}

pub(crate) fn subgroup(draft: Draft) -> impl Strategy<Value = (SubgroupHeader, Vec<Object>)> {
    header(draft).prop_flat_map(move |header| (Just(header), objects(draft, header.has_properties)))
}

/// Objects and ranges in order. Draft 14 has no ranges, and no object without a subgroup.
pub(crate) fn items(draft: Draft, order: GroupOrder) -> impl Strategy<Value = Vec<Item>> {
    let step = (0..4_u64, 0..200_u64, 0..6_u8, 0..3_u64);
    let content = (0..3_u8, properties(draft), status(draft), vec(any::<u8>(), 0..60));
    (1_000..2_000_u64, vec((step, content), 0..14)).prop_map(move |(first, list)| {
        let mut group = first;
        let mut object_id = 0;
        let mut subgroup_base = 0;
        let mut after_range = false;
        let mut items = Vec::new();
        for ((groups, gap, kind, subgroup), (priority, mut properties, status, payload)) in list {
            match (groups, order) {
                (0, _) => object_id += gap + 1,
                (_, GroupOrder::Ascending) => (group, object_id) = (group + groups, gap),
                (_, GroupOrder::Descending) => (group, object_id) = (group - groups, gap),
            }
            let location = Location::new(group, object_id);
            if kind == 0 && draft != Draft::D14 {
                let kind = if gap % 2 == 0 { EndOfRange::NonExistent } else { EndOfRange::Unknown };
                items.push(Item::End(location, kind));
                after_range = true;
                continue;
            }
            let is_datagram = kind == 1 && draft != Draft::D14;
            if is_datagram {
                // The codecs differ on what a reference past a datagram means, so make none.
                subgroup_base += 10;
            }
            // Nor one to a subgroup before a range on draft 16.
            let subgroup = if after_range && draft == Draft::D16 { 0 } else { subgroup };
            after_range = false;
            let status = if draft == Draft::D14 && payload.is_empty() {
                status
            } else {
                ObjectStatus::Normal
            };
            if status == ObjectStatus::DoesNotExist {
                properties.clear();
            }
            let object = FetchObject {
                location,
                subgroup_id: match subgroup {
                    _ if is_datagram => None,
                    0 => Some(0),
                    _ => Some(subgroup_base + subgroup),
                },
                publisher_priority: priority,
                payload_len: payload.len() as u64,
                status,
                properties: Properties::EMPTY,
            };
            items.push(Item::Object { object, properties, payload });
        }
        items
    })
}

pub(crate) fn order() -> impl Strategy<Value = GroupOrder> {
    prop_oneof![Just(GroupOrder::Ascending), Just(GroupOrder::Descending)]
}
