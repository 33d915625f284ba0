//! What an endpoint has received, as plain data.

use bytes::Bytes;
use moqt_engine::model::StreamResetCode;
use moqt_engine::wire::{ObjectDatagram, ObjectHeader};
use moqt_engine::{Event, Read, RequestKey, StreamKey, SubgroupInfo};

use crate::network::{EndpointId, Network};

/// Everything an endpoint has received, gathered by [`collect`](Self::collect).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Record {
    /// Subgroups, in the order they began.
    pub subgroups: Vec<SubgroupRecord>,
    /// Objects in datagrams, in the order they came.
    pub datagrams: Vec<(RequestKey, ObjectDatagram)>,
    /// All other events, in order.
    pub events: Vec<Event>,
}

/// What was read of a subgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubgroupRecord {
    /// The subscription.
    pub request: RequestKey,
    /// The stream.
    pub stream: StreamKey,
    /// Which subgroup it is.
    pub info: SubgroupInfo,
    /// Its objects.
    pub objects: Vec<ObjectRecord>,
    /// How it ended, if it did.
    pub end: Option<End>,
}

/// An object, with its payload in one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRecord {
    /// Its header.
    pub header: ObjectHeader,
    /// Its payload, as far as it came.
    pub payload: Vec<u8>,
}

/// How a subgroup ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All of it came.
    Finished,
    /// The sender gave it up.
    Reset(StreamResetCode),
    /// The stream was gone before it was read to its end.
    Gone,
}

impl Record {
    /// Takes the events of an endpoint and reads all that can be read now.
    pub fn collect(&mut self, network: &mut Network, at: EndpointId) {
        loop {
            let events = network.take_events(at);
            if events.is_empty() {
                return;
            }
            for event in events {
                self.handle(network, at, event);
            }
        }
    }

    /// Takes one event of an endpoint, and reads what it says can be read.
    pub fn handle(&mut self, network: &mut Network, at: EndpointId, event: Event) {
        match event {
            Event::SubgroupOpened { request, stream, subgroup } => {
                let objects = Vec::new();
                let info = subgroup;
                let record = SubgroupRecord { request, stream, info, objects, end: None };
                self.subgroups.push(record);
                self.read(network, at, stream);
            }
            Event::Readable { stream } => self.read(network, at, stream),
            Event::Datagram { request, object } => self.datagrams.push((request, object)),
            other => self.events.push(other),
        }
    }

    fn read(&mut self, network: &mut Network, at: EndpointId, stream: StreamKey) {
        let mut records = self.subgroups.iter_mut();
        let Some(record) = records.find(|known| known.stream == stream && known.end.is_none())
        else {
            return;
        };
        loop {
            match network.read(at, stream, usize::MAX) {
                Read::Object(header) => {
                    record.objects.push(ObjectRecord { header, payload: Vec::new() });
                }
                Read::Payload(payload) => record.extend(&payload),
                Read::Pending => return,
                Read::Finished => record.end = Some(End::Finished),
                Read::Reset(code) => record.end = Some(End::Reset(code)),
                _ => record.end = Some(End::Gone),
            }
            if record.end.is_some() {
                return;
            }
        }
    }

    /// The payloads of all objects, subgroup after subgroup.
    pub fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        let objects = self.subgroups.iter().flat_map(|subgroup| &subgroup.objects);
        objects.map(|object| object.payload.as_slice())
    }
}

impl SubgroupRecord {
    fn extend(&mut self, payload: &Bytes) {
        if let Some(object) = self.objects.last_mut() {
            object.payload.extend_from_slice(payload);
        }
    }
}
