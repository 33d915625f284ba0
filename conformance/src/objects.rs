//! Objects as a peer sends them, right or wrong.

use bytes::Bytes;
use moqt_engine::model::{Draft, Location, ObjectStatus, Property, SubgroupId};
use moqt_engine::wire::{DatagramHeader, ObjectHeader, Properties, SubgroupHeader, SubgroupWriter};

/// A subgroup stream in the making.
#[derive(Debug)]
pub struct SubgroupStream {
    draft: Draft,
    header: SubgroupHeader,
    writer: SubgroupWriter,
    objects: Vec<u8>,
}

impl SubgroupStream {
    /// One of this group, with Subgroup ID 0 and priority 128, whose objects have room for
    /// properties.
    pub fn new(draft: Draft, track_alias: u64, group_id: u64) -> Self {
        let header = SubgroupHeader {
            track_alias,
            group_id,
            subgroup_id: SubgroupId::Explicit(0),
            publisher_priority: Some(128),
            end_of_group: false,
            first_object: false,
            has_properties: true,
        };
        let writer = SubgroupWriter::new(draft.dialect(), true);
        Self { draft, header, writer, objects: Vec::new() }
    }

    /// The same without properties, so that objects are read in the shortest way.
    pub fn plain(draft: Draft, track_alias: u64, group_id: u64) -> Self {
        let mut this = Self::new(draft, track_alias, group_id);
        this.header.has_properties = false;
        this.writer = SubgroupWriter::new(draft.dialect(), false);
        this
    }

    /// With this Subgroup ID.
    #[must_use]
    pub fn subgroup(mut self, id: u64) -> Self {
        self.header.subgroup_id = SubgroupId::Explicit(id);
        self
    }

    /// With the first object's ID as Subgroup ID.
    #[must_use]
    pub fn named_by_first_object(mut self) -> Self {
        self.header.subgroup_id = SubgroupId::FirstObjectId;
        self
    }

    /// With this priority.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.header.publisher_priority = Some(priority);
        self
    }

    /// With the END_OF_GROUP bit.
    #[must_use]
    pub fn end_of_group(mut self) -> Self {
        self.header.end_of_group = true;
        self
    }

    /// Then this object.
    #[must_use]
    pub fn object(self, id: u64, payload: &[u8]) -> Self {
        self.with(id, payload, &[])
    }

    /// Then objects with these IDs.
    #[must_use]
    pub fn objects(mut self, ids: impl IntoIterator<Item = u64>) -> Self {
        for id in ids {
            self = self.object(id, b"x");
        }
        self
    }

    /// Then an object with properties.
    #[must_use]
    pub fn with(self, id: u64, payload: &[u8], properties: &[Property]) -> Self {
        let properties = Properties::encode(self.draft.dialect(), properties);
        assert!(properties.is_ok(), "{properties:?}");
        self.raw(id, payload, properties.unwrap_or_default())
    }

    /// Then an object with these bytes as properties.
    #[must_use]
    pub fn with_bytes(self, id: u64, payload: &[u8], properties: &[u8]) -> Self {
        let properties = Bytes::copy_from_slice(properties);
        let properties = Properties::from_wire(self.draft.dialect(), properties);
        self.raw(id, payload, properties)
    }

    fn raw(mut self, object_id: u64, payload: &[u8], properties: Properties) -> Self {
        let payload_len = payload.len() as u64;
        let header = ObjectHeader { object_id, payload_len, properties, ..ObjectHeader::default() };
        self.write(&header);
        self.objects.extend_from_slice(payload);
        self
    }

    /// Then an object with a status.
    #[must_use]
    pub fn status(mut self, object_id: u64, status: ObjectStatus) -> Self {
        self.write(&ObjectHeader { object_id, status, ..ObjectHeader::default() });
        self
    }

    fn write(&mut self, header: &ObjectHeader) {
        let written = self.writer.object(header, &mut self.objects);
        assert!(written.is_ok(), "{header:?}: {written:?}");
    }

    /// The objects so far, taken out; the header comes with the first.
    pub fn take(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.header.track_alias != u64::MAX {
            let encoded = self.header.encode(self.draft.dialect(), &mut bytes);
            assert!(encoded.is_ok(), "{encoded:?}");
            self.header.track_alias = u64::MAX;
        }
        bytes.append(&mut self.objects);
        bytes
    }

    /// Everything.
    pub fn bytes(mut self) -> Vec<u8> {
        self.take()
    }
}

/// A datagram in the making: an object of one byte with priority 128.
pub fn datagram(track_alias: u64, group: u64, object: u64) -> DatagramHeader {
    DatagramHeader {
        track_alias,
        location: Location::new(group, object),
        publisher_priority: Some(128),
        end_of_group: false,
        status: ObjectStatus::Normal,
        properties: Properties::EMPTY,
    }
}

/// A datagram as bytes.
pub fn datagram_bytes(draft: Draft, header: &DatagramHeader, payload: &[u8]) -> Bytes {
    let mut bytes = Vec::new();
    let encoded = header.encode(draft.dialect(), payload.len(), &mut bytes);
    assert!(encoded.is_ok(), "{header:?}: {encoded:?}");
    bytes.extend_from_slice(payload);
    bytes.into()
}
