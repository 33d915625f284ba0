//! What goes out, read as the peer reads it: nothing of it may be what the drafts do not allow.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use moqt_engine::model::{GroupOrder, Message};
use moqt_engine::wire::{
    ControlReader, Datagram, FetchEvent, FetchReader, StreamType, SubgroupEvent, SubgroupHeader,
    SubgroupReader,
};
use moqt_engine::{Dir, Draft, Role};

/// No properties are longer.
const MAX_PROPERTIES: usize = 1 << 20;

/// Everything that has been sent.
pub(super) struct Outgoing {
    draft: Draft,
    role: Role,
    lanes: Vec<Lane>,
    /// The order of groups that a FETCH of the peer's wants.
    pub(super) orders: BTreeMap<u64, GroupOrder>,
    fetches: BTreeSet<u64>,
    /// How many subgroup streams have been begun for a track alias.
    pub(super) subgroups: BTreeMap<u64, u64>,
}

/// One direction of a stream.
struct Lane {
    form: Form,
    ended: bool,
    /// What the application has written, and is still to come.
    objects: VecDeque<(u64, u64, Vec<u8>)>,
}

enum Form {
    /// Only the peer sends on it.
    Silent,
    Unidentified(Vec<u8>),
    Messages(ControlReader),
    Subgroup(SubgroupReader),
    Fetch(FetchReader),
}

impl Outgoing {
    pub(super) fn new(draft: Draft, role: Role) -> Self {
        Self {
            draft,
            role,
            lanes: Vec::new(),
            orders: BTreeMap::new(),
            fetches: BTreeSet::new(),
            subgroups: BTreeMap::new(),
        }
    }

    pub(super) fn add_stream(&mut self, dir: Dir, ours: bool) {
        let form = match (dir, ours) {
            (Dir::Bi, _) => Form::Messages(ControlReader::new(self.draft.dialect())),
            (Dir::Uni, true) => Form::Unidentified(Vec::new()),
            (Dir::Uni, false) => Form::Silent,
        };
        self.lanes.push(Lane { form, ended: false, objects: VecDeque::new() });
    }

    /// The application has begun an object.
    pub(super) fn object(&mut self, name: usize, id: u64, payload_len: u64) {
        self.lanes[name].objects.push_back((id, payload_len, Vec::new()));
    }

    /// The application has written payload of it.
    pub(super) fn payload(&mut self, name: usize, bytes: &[u8]) {
        if let Some((_, _, payload)) = self.lanes[name].objects.back_mut() {
            payload.extend_from_slice(bytes);
        }
    }

    pub(super) fn reset(&mut self, name: usize) {
        self.lanes[name].ended = true;
    }

    /// The transport has taken bytes of a stream. The messages among them.
    pub(super) fn taken(&mut self, name: usize, bytes: &Bytes) -> Vec<Message> {
        let dialect = self.draft.dialect();
        let mut bytes = bytes.clone();
        assert!(!self.lanes[name].ended, "bytes after the end of stream {name}");
        if let Form::Unidentified(begun) = &mut self.lanes[name].form {
            begun.extend_from_slice(&bytes);
            bytes = Bytes::copy_from_slice(begun);
            let found = StreamType::decode(dialect, &bytes);
            assert!(found.is_ok(), "no stream begins so: {found:?}");
            let Ok(Some((kind, _))) = found else { return Vec::new() };
            let Some((form, used)) = self.begin(kind, &bytes) else { return Vec::new() };
            self.lanes[name].form = form;
            bytes = bytes.slice(used..);
        }
        self.lanes[name].read(&bytes)
    }

    fn begin(&mut self, kind: StreamType, bytes: &[u8]) -> Option<(Form, usize)> {
        let dialect = self.draft.dialect();
        match kind {
            StreamType::Control => Some((Form::Messages(ControlReader::new(dialect)), 0)),
            StreamType::Subgroup => {
                let header = SubgroupHeader::decode(dialect, bytes);
                assert!(header.is_ok(), "{header:?}");
                let (header, used) = header.ok()??;
                *self.subgroups.entry(header.track_alias).or_default() += 1;
                let reader = SubgroupReader::new(dialect, header.has_properties, MAX_PROPERTIES);
                Some((Form::Subgroup(reader), used))
            }
            StreamType::Fetch => {
                let header = FetchReader::decode_header(dialect, bytes);
                assert!(header.is_ok(), "{header:?}");
                let (id, used) = header.ok()??;
                let order = self.orders.get(&id).copied();
                assert!(order.is_some(), "nobody has asked for FETCH {id}");
                assert!(self.fetches.insert(id), "FETCH {id} is answered by two streams");
                let order = order.unwrap_or_default();
                Some((Form::Fetch(FetchReader::new(dialect, order, MAX_PROPERTIES)), used))
            }
            other => unreachable!("{other:?}"),
        }
    }

    /// The transport has taken the end of a stream.
    pub(super) fn finished(&mut self, name: usize) {
        let lane = &mut self.lanes[name];
        assert!(!lane.ended, "stream {name} ends twice");
        lane.ended = true;
        let is_whole = match &lane.form {
            Form::Silent | Form::Unidentified(_) => false,
            Form::Messages(reader) => !reader.is_mid_message(),
            Form::Subgroup(reader) => reader.is_at_boundary(),
            Form::Fetch(reader) => reader.is_at_boundary(),
        };
        assert!(is_whole, "stream {name} ends in the middle");
        assert!(lane.objects.is_empty(), "objects are lost: {:?}", lane.objects);
    }

    pub(super) fn datagram(&mut self, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        let datagram = Datagram::decode(self.draft.dialect(), &bytes, MAX_PROPERTIES);
        assert!(matches!(datagram, Ok(Datagram::Object(_))), "{:?}: {datagram:?}", self.role);
    }
}

impl Lane {
    fn read(&mut self, bytes: &Bytes) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut input = &bytes[..];
        match &mut self.form {
            Form::Silent | Form::Unidentified(_) => unreachable!("bytes on a silent stream"),
            Form::Messages(reader) => {
                reader.push(bytes.clone());
                loop {
                    match reader.next_message() {
                        Ok(Some(message)) => messages.push(message),
                        Ok(None) => break,
                        Err(error) => unreachable!("what was sent cannot be read: {error}"),
                    }
                }
            }
            Form::Subgroup(reader) => loop {
                match reader.next(&mut input) {
                    Ok(SubgroupEvent::Object { object_id, payload_len, .. }) => {
                        let front = self.objects.front();
                        let is_next = front
                            .is_some_and(|(id, len, _)| (*id, *len) == (object_id, payload_len));
                        assert!(is_next, "object {object_id}, {payload_len} bytes, not {front:?}");
                        if payload_len == 0 {
                            self.objects.pop_front();
                        }
                    }
                    Ok(SubgroupEvent::Payload(payload)) => {
                        let Some((_, left, written)) = self.objects.front_mut() else {
                            unreachable!("payload of no object")
                        };
                        assert_eq!(written.get(..payload.len()), Some(payload), "payload");
                        written.drain(..payload.len());
                        *left -= payload.len() as u64;
                        if *left == 0 {
                            self.objects.pop_front();
                        }
                    }
                    Ok(SubgroupEvent::NeedMore) => break,
                    Err(error) => unreachable!("what was sent cannot be read: {error}"),
                }
            },
            Form::Fetch(reader) => loop {
                match reader.next(&mut input) {
                    Ok(FetchEvent::NeedMore) => break,
                    Ok(_) => {}
                    Err(error) => unreachable!("what was sent cannot be read: {error}"),
                }
            },
        }
        messages
    }
}
