//! Streams of objects, and datagrams.

use std::fmt::Debug;

use bytes::Bytes;
use moqt_engine::model::{Draft, GroupOrder};
use moqt_engine::wire::{Datagram, DecodeError, FetchWriter};
use moqtap_codec::error::CodecError;

use super::known;
use crate::moqtap;
use crate::streams::{
    End, Found, Item, Object, read_fetch, read_subgroup, write_fetch, write_subgroup,
};

pub(super) fn subgroups(draft: Draft, bytes: &[u8]) {
    let ours = read_subgroup(draft, bytes);
    let theirs = moqtap::read_subgroup(draft, bytes);
    if let End::Refused(error) = &theirs.end
        && theirs.header.is_none()
        && known::refused_stream(draft, bytes, error)
    {
        return;
    }
    let objects = common(draft, &ours, &theirs);
    let Some(header) = ours.header else { return };
    let bytes = write_subgroup(draft, &header, objects).expect("what was read can be written");
    assert_eq!(moqtap::write_subgroup(draft, &header, objects).as_ref(), Ok(&bytes));
    for (header_read, items, is_whole) in [
        {
            let read = read_subgroup(draft, &bytes);
            (read.header, read.items, read.end == End::Boundary)
        },
        {
            let read = moqtap::read_subgroup(draft, &bytes);
            (read.header, read.items, read.end == End::Boundary)
        },
    ] {
        assert_eq!((header_read, &items[..], is_whole), (Some(header), objects, true));
    }
}

pub(super) fn fetches(draft: Draft, order: GroupOrder, bytes: &[u8]) {
    let ours = read_fetch(draft, order, bytes);
    let theirs = moqtap::read_fetch(draft, order, bytes);
    let items = common(draft, &ours, &theirs);
    let Some(request_id) = ours.header else { return };
    let mut header = Vec::new();
    let written = FetchWriter::new(draft.dialect(), order).header(request_id, &mut header);
    assert_eq!(written, Ok(()));
    // The objects of a response are in order, and a writer holds to that.
    if let Ok(written) = write_fetch(draft, order, items) {
        let bytes = [header.clone(), written.concat()].concat();
        let read = moqtap::read_fetch(draft, order, &bytes);
        assert_eq!((read.items, read.end), (items.to_vec(), End::Boundary));
    }
    let refers_alike = items.iter().all(|item| match item {
        Item::Object { object, .. } => object.subgroup_id.is_some(),
        Item::End(..) => false,
    });
    if refers_alike && let Ok(written) = moqtap::write_fetch(draft, order, items) {
        let bytes = [header, written].concat();
        let read = read_fetch(draft, order, &bytes);
        assert_eq!((read.items, read.end), (items.to_vec(), End::Boundary));
    }
}

pub(super) fn datagrams(draft: Draft, bytes: &[u8]) {
    let ours = Datagram::decode(draft.dialect(), &Bytes::copy_from_slice(bytes), 1 << 20);
    let theirs = moqtap::read_datagram(draft, bytes);
    match (ours, theirs) {
        (Ok(Datagram::Object(ours)), Ok((header, payload))) => {
            assert_eq!((&ours.header, &ours.payload[..]), (&header, &payload[..]));
            if !well_formed(draft, header.properties.as_bytes()) {
                return;
            }
            let mut bytes = Vec::new();
            let written = header.encode(draft.dialect(), payload.len(), &mut bytes);
            assert_eq!(written, Ok(()), "{header:?}");
            bytes.extend(&payload);
            assert_eq!(moqtap::write_datagram(draft, &header, &payload).as_ref(), Ok(&bytes));
            let read = Datagram::decode(draft.dialect(), &bytes.clone().into(), 1 << 20);
            assert_eq!(read, Ok(Datagram::Object(ours)));
            assert_eq!(moqtap::read_datagram(draft, &bytes), Ok((header, payload)));
        }
        (Err(_), Err(_)) => {}
        (Ok(Datagram::Padding), Ok(theirs)) => panic!("no padding: {theirs:?}"),
        (Ok(ours), Err(error)) => {
            let is_known = known::refused_datagram(draft, bytes, &ours, &error)
                || matches!(&ours, Datagram::Object(object)
                    if !well_formed(draft, object.header.properties.as_bytes()));
            assert!(is_known, "refused as {error}: {ours:?}");
        }
        (Err(error), Ok(theirs)) => {
            let is_known = known::accepted_datagram(draft, &error);
            assert!(is_known, "we refuse as {error}: {theirs:?}");
        }
    }
}

/// An item of a stream.
pub(super) trait Part: Clone + Debug + PartialEq {
    fn properties(&self) -> &[u8];

    /// The largest of the IDs that may have come from differences.
    fn largest_id(&self) -> u64;

    fn is_range(&self) -> bool {
        false
    }

    fn is_datagram(&self) -> bool {
        false
    }

    /// The same in the subgroup of another.
    fn in_subgroup_of(&self, _: &Self) -> Self {
        self.clone()
    }
}

impl Part for Object {
    fn properties(&self) -> &[u8] {
        &self.properties
    }

    fn largest_id(&self) -> u64 {
        self.id
    }
}

impl Part for Item {
    fn properties(&self) -> &[u8] {
        match self {
            Self::Object { properties, .. } => properties,
            Self::End(..) => &[],
        }
    }

    fn largest_id(&self) -> u64 {
        match self {
            Self::Object { object, .. } => {
                object.location.object.max(object.subgroup_id.unwrap_or_default())
            }
            Self::End(..) => 0,
        }
    }

    fn is_range(&self) -> bool {
        matches!(self, Self::End(..))
    }

    fn is_datagram(&self) -> bool {
        matches!(self, Self::Object { object, .. } if object.subgroup_id.is_none())
    }

    fn in_subgroup_of(&self, other: &Self) -> Self {
        let mut moved = self.clone();
        if let (Self::Object { object, .. }, Self::Object { object: other, .. }) =
            (&mut moved, other)
        {
            object.subgroup_id = other.subgroup_id;
        }
        moved
    }
}

/// Whether both codecs can read an object's properties. They must agree on it.
fn well_formed(draft: Draft, block: &[u8]) -> bool {
    match moqtap::properties(draft, block) {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(ours, theirs);
            true
        }
        (Ok(ours), Err(error)) => {
            assert!(known::nested(&ours), "{error}: {ours:?}");
            false
        }
        (Err(error), Ok(theirs)) => panic!("{error}: {theirs:?}"),
        (Err(_), Err(_)) => false,
    }
}

/// The items that both have read, and whose properties both can read.
fn common<'a, H: Debug + PartialEq, T: Part>(
    draft: Draft,
    ours: &'a Found<H, T, DecodeError>,
    theirs: &Found<H, T, CodecError>,
) -> &'a [T] {
    assert_eq!(ours.header, theirs.header, "{:?} {:?}", ours.end, theirs.end);
    let both = ours.items.len().min(theirs.items.len());
    if let Some(parted) = known::parted(draft, &ours.items, &theirs.items) {
        // What follows may refer to what they read differently.
        assert_eq!(ours.items[..parted], theirs.items[..parted]);
        return &ours.items[..0];
    }
    assert_eq!(ours.items[..both], theirs.items[..both]);
    let sound =
        ours.items.iter().take(both).take_while(|item| well_formed(draft, item.properties()));
    let sound = &ours.items[..sound.count()];
    match (&ours.end, &theirs.end) {
        // The other codec looks at properties while it reads, on some streams.
        (_, End::Refused(_))
            if ours.items.get(both).is_some_and(|item| !well_formed(draft, item.properties())) => {}
        (_, End::Refused(error)) if ours.items.len() > both => {
            let item = &ours.items[both];
            let is_known = known::refused_item(draft, item, error);
            assert!(is_known, "refused as {error}: {item:?} after {sound:?}");
        }
        (End::Refused(error), _) if theirs.items.len() > both => {
            let item = &theirs.items[both];
            let is_known = known::accepted_item(draft, &ours.items, error);
            assert!(is_known, "we refuse as {error}: {item:?} after {sound:?}");
        }
        _ => {
            assert_eq!(ours.items.len(), theirs.items.len(), "{:?} {:?}", ours.end, theirs.end);
            let is_whole = matches!(ours.end, End::Boundary);
            assert_eq!(
                is_whole,
                matches!(theirs.end, End::Boundary),
                "{:?} {:?}",
                ours.end,
                theirs.end
            );
        }
    }
    sound
}
