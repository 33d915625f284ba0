//! The object reader and writer, and a control message, without a connection.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use moqt_engine::Draft;
use moqt_engine::model::{
    Location, Message, MessageKind, Parameters, Subscribe, SubscriptionFilter,
};
use moqt_engine::wire::{
    ObjectHeader, SubgroupEvent, SubgroupReader, SubgroupWriter, decode_message, encode_message,
};

use crate::Case;

/// A subgroup stream's objects, without the stream's header: `count` objects of `size` bytes
/// with IDs 0, 1, 2, …
pub fn subgroup_objects(draft: Draft, count: u64, size: usize) -> Bytes {
    let mut writer = SubgroupWriter::new(draft.dialect(), false);
    let payload = vec![0x5a; size];
    let mut out = BytesMut::new();
    for object_id in 0..count {
        let header =
            ObjectHeader { object_id, payload_len: size as u64, ..ObjectHeader::default() };
        writer.object(&header, &mut out).unwrap_or_else(|error| unreachable!("{error}"));
        out.extend_from_slice(&payload);
    }
    out.freeze()
}

/// Reads all objects of a subgroup stream, given in pieces of at most `chunk` bytes.
#[derive(Debug)]
pub struct Read {
    reader: SubgroupReader,
    bytes: Bytes,
    chunk: usize,
}

impl Read {
    /// `count` objects of `size` bytes.
    pub fn new(draft: Draft, count: u64, size: usize, chunk: usize) -> Self {
        let reader = SubgroupReader::new(draft.dialect(), false, 16 * 1024);
        Self { reader, bytes: subgroup_objects(draft, count, size), chunk }
    }
}

impl Case for Read {
    fn run(&mut self) -> u64 {
        let mut objects = 0;
        for chunk in self.bytes.chunks(self.chunk) {
            let mut input = chunk;
            loop {
                match self.reader.next(&mut input) {
                    Ok(SubgroupEvent::Object { object_id, .. }) => {
                        black_box(object_id);
                        objects += 1;
                    }
                    Ok(SubgroupEvent::Payload(payload)) => {
                        black_box(payload);
                    }
                    Ok(SubgroupEvent::NeedMore) => break,
                    Err(error) => unreachable!("{error}"),
                }
            }
        }
        objects
    }
}

/// Writes object headers of 1 KiB objects into one buffer.
#[derive(Debug)]
pub struct WriteHeaders {
    writer: SubgroupWriter,
    out: BytesMut,
    count: u64,
}

impl WriteHeaders {
    /// `count` headers.
    pub fn new(draft: Draft, count: u64) -> Self {
        let writer = SubgroupWriter::new(draft.dialect(), false);
        let room = usize::try_from(count).unwrap_or_default() * 16 + 64;
        Self { writer, out: BytesMut::with_capacity(room), count }
    }
}

impl Case for WriteHeaders {
    fn run(&mut self) -> u64 {
        let mut header = ObjectHeader { payload_len: 1024, ..ObjectHeader::default() };
        for object_id in 0..self.count {
            header.object_id = object_id;
            let written = self.writer.object(black_box(&header), &mut self.out);
            written.unwrap_or_else(|error| unreachable!("{error}"));
        }
        black_box(&self.out);
        self.count
    }
}

/// Decodes a SUBSCRIBE with three namespace fields and three parameters.
#[derive(Debug)]
pub struct DecodeSubscribe {
    draft: Draft,
    body: Vec<u8>,
    count: u64,
}

impl DecodeSubscribe {
    /// `count` times the same message.
    pub fn new(draft: Draft, count: u64) -> Self {
        let mut parameters = Parameters::default();
        parameters.subscriber_priority = Some(20);
        parameters.forward = Some(true);
        parameters.subscription_filter =
            Some(SubscriptionFilter::AbsoluteStart { start: Location::new(7, 0) });
        let subscribe = Message::Subscribe(Subscribe {
            request_id: 4,
            track: "example.2enet-team2-project_x--report"
                .parse()
                .unwrap_or_else(|error| unreachable!("{error}")),
            parameters,
        });
        let mut message = Vec::new();
        encode_message(draft.dialect(), &subscribe, &mut message)
            .unwrap_or_else(|error| unreachable!("{error}"));
        // One byte of type and two of length precede the body.
        let body = message.split_off(3);
        Self { draft, body, count }
    }
}

impl Case for DecodeSubscribe {
    fn run(&mut self) -> u64 {
        for _ in 0..self.count {
            let body = black_box(&self.body[..]);
            let message = decode_message(self.draft.dialect(), MessageKind::Subscribe, body);
            let _ = black_box(&message);
        }
        self.count
    }
}
