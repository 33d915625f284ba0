//! How a client reads what comes.

use bytes::{Bytes, BytesMut};
use moqt_engine::model::{Location, ObjectStatus, Property, SubgroupId};
use moqt_engine::wire::{FetchObject, ObjectDatagram, ObjectHeader, Properties};
use moqt_engine::{FetchRead, Read, RequestKey, StreamKey, SubgroupInfo};

use super::record::{FetchEnd, Item, Seen, Stream};
use super::run::Run;

/// A stream that is read.
#[derive(Debug)]
pub(super) struct Reading {
    of: Of,
    /// The object at hand, and what has come of it.
    object: Option<(Begun, BytesMut)>,
}

/// An object that has begun.
#[derive(Debug)]
struct Begun {
    location: Location,
    subgroup: Option<u64>,
    priority: Option<u8>,
    status: ObjectStatus,
    properties: Properties,
    len: u64,
}

#[derive(Clone, Copy, Debug)]
enum Of {
    /// The numbers of a subscription, and of a stream of its, in the record.
    Subgroup(usize, usize),
    /// The number of a fetch in the record.
    Fetch(usize, RequestKey),
}

impl Reading {
    pub(super) fn fetch(of: usize, request: RequestKey) -> Self {
        Self { of: Of::Fetch(of, request), object: None }
    }

    /// Gives the object at hand if it is whole.
    fn whole(&mut self, at: moqt_engine::Timestamp) -> Option<Seen> {
        let is_whole = |(begun, payload): &mut (Begun, BytesMut)| begun.len == payload.len() as u64;
        let (begun, payload) = self.object.take_if(is_whole)?;
        Some(begun.seen(at, payload.freeze()))
    }
}

impl Begun {
    fn seen(self, at: moqt_engine::Timestamp, payload: Bytes) -> Seen {
        let Self { location, subgroup, priority, status, properties, .. } = self;
        let properties: Vec<Property> = properties.iter().map_while(Result::ok).collect();
        Seen { at, location, subgroup, priority, status, properties, payload }
    }
}

impl Run<'_> {
    pub(super) fn begin_subgroup(
        &mut self,
        number: usize,
        of: usize,
        key: StreamKey,
        info: SubgroupInfo,
    ) {
        let subgroup = match info.subgroup_id {
            SubgroupId::Explicit(id) => Some(id),
            SubgroupId::FirstObjectId => None,
        };
        let opened = self.network.now();
        let streams = &mut self.record.subscriptions[of].streams;
        let stream =
            Stream { info, subgroup, opened, objects: Vec::new(), is_cut: false, end: None };
        streams.push(stream);
        let reading = Reading { of: Of::Subgroup(of, streams.len() - 1), object: None };
        if let Some(client) = self.client(number) {
            client.reading.insert(key, reading);
        }
        self.read(number, key);
    }

    pub(super) fn on_datagram(&mut self, of: usize, object: &ObjectDatagram) {
        let header = &object.header;
        let begun = Begun {
            location: header.location,
            subgroup: None,
            priority: header.publisher_priority,
            status: header.status,
            properties: header.properties.clone(),
            len: object.payload.len() as u64,
        };
        let seen = begun.seen(self.network.now(), object.payload.clone());
        self.record.subscriptions[of].datagrams.push(seen);
    }

    /// Reads on in a stream, unless the client has paused.
    pub(super) fn read(&mut self, number: usize, key: StreamKey) {
        let now = self.network.now();
        let max = self.scenario.clients[number].read_max;
        let Some(client) = self.client(number) else { return };
        if now < client.paused_until {
            client.waiting.insert(key);
            return;
        }
        loop {
            let Some(client) = self.client(number) else { return };
            let Some(reading) = client.reading.get(&key) else { return };
            let goes_on = match reading.of {
                Of::Subgroup(of, stream) => self.read_subgroup(number, key, max, of, stream),
                Of::Fetch(of, request) => self.read_fetch(number, key, max, of, request),
            };
            match goes_on {
                Some(true) => {}
                Some(false) => return,
                None => {
                    if let Some(client) = self.client(number) {
                        client.reading.remove(&key);
                    }
                    return;
                }
            }
        }
    }

    /// Whether there may be more; `None` at the end.
    fn read_subgroup(
        &mut self,
        number: usize,
        key: StreamKey,
        max: usize,
        of: usize,
        stream: usize,
    ) -> Option<bool> {
        let now = self.network.now();
        let at = self.client(number)?.at;
        let read = self.network.read(at, key, max);
        let Self { clients, record, .. } = self;
        let reading = clients[number].as_mut()?.reading.get_mut(&key)?;
        let seen = &mut record.subscriptions[of].streams[stream];
        match read {
            Read::Object(ObjectHeader { object_id, payload_len, status, properties }) => {
                let subgroup = *seen.subgroup.get_or_insert(object_id);
                let begun = Begun {
                    location: Location::new(seen.info.group_id, object_id),
                    subgroup: Some(subgroup),
                    priority: Some(seen.info.publisher_priority),
                    status,
                    properties,
                    len: payload_len,
                };
                reading.object = Some((begun, BytesMut::new()));
                seen.objects.extend(reading.whole(now));
                Some(true)
            }
            Read::Payload(payload) => {
                if let Some((_, so_far)) = &mut reading.object {
                    so_far.extend_from_slice(&payload);
                }
                seen.objects.extend(reading.whole(now));
                Some(true)
            }
            Read::Pending => Some(false),
            Read::Finished => {
                seen.is_cut = reading.object.is_some();
                seen.end = Some((now, true));
                None
            }
            _ => {
                seen.is_cut = reading.object.is_some();
                seen.end = Some((now, false));
                None
            }
        }
    }

    fn read_fetch(
        &mut self,
        number: usize,
        key: StreamKey,
        max: usize,
        of: usize,
        request: RequestKey,
    ) -> Option<bool> {
        let now = self.network.now();
        let read = self.with(number, |connection, _| connection.read_fetch(key, max))?;
        let Self { clients, record, .. } = self;
        let client = clients[number].as_mut()?;
        let reading = client.reading.get_mut(&key)?;
        let fetched = &mut record.fetches[of];
        match read {
            FetchRead::Object(object) => {
                let FetchObject { location, subgroup_id, publisher_priority, .. } = object;
                let begun = Begun {
                    location,
                    subgroup: subgroup_id,
                    priority: Some(publisher_priority),
                    status: object.status,
                    properties: object.properties,
                    len: object.payload_len,
                };
                reading.object = Some((begun, BytesMut::new()));
                fetched.items.extend(reading.whole(now).map(Item::Object));
                return Some(true);
            }
            FetchRead::Payload(payload) => {
                if let Some((_, so_far)) = &mut reading.object {
                    so_far.extend_from_slice(&payload);
                }
                fetched.items.extend(reading.whole(now).map(Item::Object));
                return Some(true);
            }
            FetchRead::EndOfRange { location, kind } => {
                fetched.items.push(Item::Range(location, kind));
                return Some(true);
            }
            FetchRead::Pending => return Some(false),
            FetchRead::Finished => {
                let end = if reading.object.is_none() {
                    FetchEnd::Finished
                } else {
                    FetchEnd::Malformed("finished within an object".to_owned())
                };
                client.requests.remove(&request);
                record.end_fetch(of, now, end);
            }
            FetchRead::Reset(code) => {
                client.requests.remove(&request);
                record.end_fetch(of, now, FetchEnd::Reset(code));
            }
            // An event tells why.
            _ => {}
        }
        None
    }

    /// Reads what has come during a pause.
    pub(super) fn resume(&mut self, number: usize) {
        let now = self.network.now();
        let Some(client) = self.client(number) else { return };
        if now >= client.paused_until {
            for key in core::mem::take(&mut client.waiting) {
                self.read(number, key);
            }
        }
    }
}
