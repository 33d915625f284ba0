//! Events other than what control messages say.

use moqt_engine::model::{EndOfRange, Location, ObjectStatus, SubgroupId};
use moqt_engine::wire::{DatagramHeader, Dialect, FetchObject, ObjectHeader, SubgroupHeader};
use moqt_engine::{FetchItem, TraceEvent, TraceOwner, TracedDatagram, TracedStreamType};
use moqt_quic::Traced;
use serde_json::{Value, json};

use crate::message::message;
use crate::streams::Streams;
use crate::values::{Fields, object_properties};

/// The `data` of an event.
pub(crate) fn data(dialect: &Dialect, traced: &Traced, streams: &mut Streams) -> Value {
    use TraceEvent as Event;
    let mut fields = Fields::default();
    fields.add_some("stream_id", streams.id(traced));
    match &traced.event {
        Event::ControlMessageCreated(said) | Event::ControlMessageParsed(said) => {
            fields.add("length", said.length);
            fields.add("message", message(dialect, said.kind, &said.message));
        }
        Event::StreamTypeSet { owner, stream_type, .. } => {
            fields.add("owner", if *owner == TraceOwner::Local { "local" } else { "remote" });
            fields.add("stream_type", stream_type_name(*stream_type, dialect));
        }
        Event::ObjectDatagramCreated(datagram) | Event::ObjectDatagramParsed(datagram) => {
            add_datagram(&mut fields, datagram);
        }
        Event::SubgroupHeaderCreated(subgroup) | Event::SubgroupHeaderParsed(subgroup) => {
            add_subgroup(&mut fields, &subgroup.header);
        }
        Event::SubgroupObjectCreated(object) | Event::SubgroupObjectParsed(object) => {
            let delta = streams.object_delta(object.stream, object.header.object_id);
            add_object(&mut fields, &object.header, delta);
        }
        Event::FetchHeaderCreated(fetch) | Event::FetchHeaderParsed(fetch) => {
            fields.add("request_id", fetch.request_id);
        }
        Event::FetchObjectCreated(object) | Event::FetchObjectParsed(object) => {
            add_fetch_item(&mut fields, &object.item);
        }
        // Whatever else the engine may learn to tell.
        _ => {}
    }
    fields.into()
}

fn stream_type_name(stream_type: TracedStreamType, dialect: &Dialect) -> &'static str {
    match stream_type {
        TracedStreamType::Control => "control",
        TracedStreamType::Subgroup => "subgroup_header",
        TracedStreamType::Fetch => "fetch_header",
        // The only request that has a stream on such a draft.
        TracedStreamType::Request if !dialect.answers_by_stream => "subscribe_namespace",
        TracedStreamType::Request => "request",
        TracedStreamType::Padding => "padding",
        _ => "unknown",
    }
}

fn add_datagram(fields: &mut Fields, datagram: &TracedDatagram) {
    let DatagramHeader {
        track_alias,
        location,
        publisher_priority,
        end_of_group,
        status,
        properties,
    } = &datagram.header;
    fields.add("track_alias", *track_alias);
    add_location(fields, *location);
    fields.add_some("publisher_priority", *publisher_priority);
    object_properties(fields, properties);
    if *status != ObjectStatus::Normal {
        fields.add("object_status", status.code());
    }
    fields.add("object_payload", json!({ "length": datagram.payload_len }));
    fields.add("end_of_group", *end_of_group);
}

fn add_subgroup(fields: &mut Fields, header: &SubgroupHeader) {
    fields.add("track_alias", header.track_alias);
    fields.add("group_id", header.group_id);
    let (mode, id) = match header.subgroup_id {
        SubgroupId::Explicit(0) => (0, Some(0)),
        SubgroupId::FirstObjectId => (1, None),
        SubgroupId::Explicit(id) => (2, Some(id)),
    };
    fields.add("subgroup_id_mode", mode);
    fields.add_some("subgroup_id", id);
    fields.add_some("publisher_priority", header.publisher_priority);
    fields.add("contains_end_of_group", header.end_of_group);
    fields.add("properties_present", header.has_properties);
    if header.first_object {
        fields.add("first_object", true);
    }
}

fn add_object(fields: &mut Fields, header: &ObjectHeader, delta: Option<u64>) {
    fields.add("object_id", header.object_id);
    fields.add_some("object_id_delta", delta);
    object_properties(fields, &header.properties);
    fields.add("object_payload_length", header.payload_len);
    if header.payload_len == 0 {
        fields.add("object_status", header.status.code());
    }
}

fn add_fetch_item(fields: &mut Fields, item: &FetchItem) {
    let end = |kind| matches!(item, FetchItem::EndOfRange { kind: found, .. } if *found == kind);
    fields.add("end_of_nonexistent_range", end(EndOfRange::NonExistent));
    fields.add("end_of_unknown_range", end(EndOfRange::Unknown));
    let object = match item {
        FetchItem::EndOfRange { location, .. } => {
            fields.add("datagram", false);
            add_location(fields, *location);
            fields.add("object_payload_length", 0);
            return;
        }
        FetchItem::Object(object) => object,
    };
    let FetchObject { location, subgroup_id, publisher_priority, payload_len, status, properties } =
        object;
    fields.add("datagram", subgroup_id.is_none());
    add_location(fields, *location);
    fields.add_some("subgroup_id", *subgroup_id);
    fields.add("publisher_priority", *publisher_priority);
    object_properties(fields, properties);
    fields.add("object_payload_length", *payload_len);
    if *status != ObjectStatus::Normal {
        fields.add("object_status", status.code());
    }
}

fn add_location(fields: &mut Fields, location: Location) {
    fields.add("group_id", location.group);
    fields.add("object_id", location.object);
}
