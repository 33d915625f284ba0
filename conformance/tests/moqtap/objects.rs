//! Objects in subgroups and datagrams.

use moqt_conformance::moqtap;
use moqt_conformance::streams::{End, Found, Object, read_subgroup, write_subgroup};
use moqt_engine::model::{Draft, Location, ObjectStatus};
use moqt_engine::wire::{Datagram, DatagramHeader, Properties, SubgroupHeader};
use proptest::prelude::*;

use super::generate::objects::{header, objects, subgroup};

/// Both codecs read properties alike.
fn check_properties(draft: Draft, block: &[u8]) {
    let (ours, theirs) = moqtap::properties(draft, block);
    assert_eq!(ours.unwrap(), theirs.unwrap());
}

proptest! {
    #[test]
    fn subgroups(
        d14 in subgroup(Draft::D14),
        d16 in subgroup(Draft::D16),
        d18 in subgroup(Draft::D18),
    ) {
        for (draft, (header, objects)) in [(Draft::D14, d14), (Draft::D16, d16), (Draft::D18, d18)] {
            let ours = write_subgroup(draft, &header, &objects).unwrap();
            let found = Found { header: Some(header), items: objects.clone(), end: End::Boundary };
            prop_assert_eq!(&read_subgroup(draft, &ours), &found);
            let read = moqtap::read_subgroup(draft, &ours);
            prop_assert_eq!((read.header, read.items, read.end), (Some(header), objects.clone(), End::Boundary));
            for object in &objects {
                check_properties(draft, &object.properties);
            }
            let theirs = moqtap::write_subgroup(draft, &header, &objects).unwrap();
            prop_assert_eq!(theirs, ours);
        }
    }
}

/// A datagram: the header of its subgroup stands for alias, group, priority and end of group.
fn datagram_of(draft: Draft, header: &SubgroupHeader, object: &Object) -> DatagramHeader {
    let is_status = object.status != ObjectStatus::Normal;
    DatagramHeader {
        track_alias: header.track_alias,
        location: Location::new(header.group_id, object.id),
        publisher_priority: header.publisher_priority,
        end_of_group: header.end_of_group && !is_status,
        status: object.status,
        properties: Properties::from_wire(draft.dialect(), object.properties.clone().into()),
    }
}

proptest! {
    #[test]
    fn datagrams(
        d14 in (header(Draft::D14), objects(Draft::D14, true)),
        d16 in (header(Draft::D16), objects(Draft::D16, true)),
        d18 in (header(Draft::D18), objects(Draft::D18, true)),
    ) {
        for (draft, (header, objects)) in [(Draft::D14, d14), (Draft::D16, d16), (Draft::D18, d18)] {
            for object in &objects {
                let header = datagram_of(draft, &header, object);
                let mut ours = Vec::new();
                header.encode(draft.dialect(), object.payload.len(), &mut ours).unwrap();
                ours.extend(&object.payload);
                let read = Datagram::decode(draft.dialect(), &ours.clone().into(), 1 << 16).unwrap();
                let Datagram::Object(read) = read else { panic!("{read:?}") };
                prop_assert_eq!(&read.header, &header);
                prop_assert_eq!(&read.payload, &object.payload);
                let read = moqtap::read_datagram(draft, &ours).unwrap();
                prop_assert_eq!(read, (header.clone(), object.payload.clone()));
                let theirs = moqtap::write_datagram(draft, &header, &object.payload).unwrap();
                prop_assert_eq!(theirs, ours);
            }
        }
    }
}
