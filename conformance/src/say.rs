//! What a peer says, as bytes and as messages.

use bytes::Bytes;
use moqt_engine::Role;
use moqt_engine::model::{
    Draft, Fetch, FetchOk, FetchRange, FullTrackName, GroupOrder, JoiningStart, Location, Message,
    MessageKind, Namespace, NamespaceDone, NamespaceInterest, ObjectStatus, Parameters, Publish,
    PublishBlocked, PublishDone, PublishDoneCode, PublishNamespace, PublishNamespaceDone,
    RequestError, RequestErrorCode, RequestKind, RequestOk, RequestUpdate, Setup, SetupOptions,
    SubgroupId, Subscribe, SubscribeNamespace, SubscribeOk, SubscribeTracks, TrackNamespace,
    TrackProperties, TrackStatus, Unsubscribe,
};
use moqt_engine::wire::{
    DatagramHeader, FetchObject, FetchWriter, ObjectHeader, Properties, SubgroupHeader,
    SubgroupWriter, encode_message,
};

/// A track's name.
pub fn track(name: &str) -> FullTrackName {
    let parsed = format!("test--{name}").parse();
    assert!(parsed.is_ok(), "{name:?} is no name");
    parsed.unwrap_or_default()
}

/// A message as bytes.
pub fn message(draft: Draft, message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoded = encode_message(draft.dialect(), message, &mut bytes);
    assert!(encoded.is_ok(), "{draft:?} {message:?}: {encoded:?}");
    bytes
}

/// The setup message of an end in this role.
pub fn setup(draft: Draft, sender: Role, options: SetupOptions) -> Vec<u8> {
    let versions = draft.setup_version().into_iter().collect();
    let setup = Setup { versions, options };
    match sender {
        Role::Client => message(draft, &Message::Setup(setup)),
        Role::Server => {
            let mut bytes = Vec::new();
            let encoded = draft.dialect().encode_server_setup(&setup, &mut bytes);
            assert!(encoded.is_ok(), "{encoded:?}");
            bytes
        }
    }
}

/// SUBSCRIBE with parameters.
pub fn subscribe_with(id: u64, name: &str, parameters: Parameters) -> Message {
    Message::Subscribe(Subscribe { request_id: id, track: track(name), parameters })
}

/// SUBSCRIBE without parameters.
pub fn subscribe(id: u64, name: &str) -> Message {
    subscribe_with(id, name, Parameters::default())
}

/// SUBSCRIBE_OK.
pub fn subscribe_ok(id: u64, alias: u64) -> Message {
    Message::SubscribeOk(SubscribeOk {
        request_id: Some(id),
        track_alias: alias,
        parameters: Parameters::default(),
        track_properties: TrackProperties::new(),
    })
}

/// PUBLISH.
pub fn publish(id: u64, name: &str, alias: u64) -> Message {
    Message::Publish(Publish {
        request_id: id,
        track: track(name),
        track_alias: alias,
        parameters: Parameters::default(),
        track_properties: TrackProperties::new(),
    })
}

/// The OK to a request of this kind.
pub fn ok_with(id: u64, kind: RequestKind, parameters: Parameters) -> Message {
    Message::RequestOk(RequestOk {
        request_id: Some(id),
        answers: Some(kind),
        parameters,
        track_properties: TrackProperties::new(),
    })
}

/// The OK to a request of this kind, without parameters.
pub fn ok(id: u64, kind: RequestKind) -> Message {
    ok_with(id, kind, Parameters::default())
}

/// The error in answer to a request of this kind.
pub fn error(id: u64, kind: RequestKind, code: RequestErrorCode) -> Message {
    Message::RequestError(RequestError {
        request_id: Some(id),
        answers: Some(kind),
        code,
        retry_interval: 0,
        reason: "no".into(),
        redirect: None,
    })
}

/// PUBLISH_NAMESPACE.
pub fn publish_namespace(id: u64, name: &str) -> Message {
    Message::PublishNamespace(PublishNamespace {
        request_id: id,
        namespace: namespace(name),
        parameters: Parameters::default(),
    })
}

/// What PUBLISH_NAMESPACE_DONE and PUBLISH_NAMESPACE_CANCEL say which PUBLISH_NAMESPACE is meant
/// with.
pub fn published_namespace(draft: Draft, id: u64, name: &TrackNamespace) -> PublishNamespaceDone {
    if draft.dialect().namespace_done_by_name {
        PublishNamespaceDone::Namespace(name.clone())
    } else {
        PublishNamespaceDone::RequestId(id)
    }
}

/// A namespace from its text form; no text is the one of no fields.
pub fn namespace(text: &str) -> TrackNamespace {
    let parsed = text.parse();
    assert!(parsed.is_ok(), "{text:?} is no namespace");
    parsed.unwrap_or_default()
}

/// Whether namespace subscriptions have streams of their own, on which namespaces are told of.
pub fn namespaces_have_streams(draft: Draft) -> bool {
    draft.dialect().message_code(MessageKind::Namespace).is_some()
}

/// The request of this draft that asks for these, or for as little more as it can.
pub fn subscribe_namespace(
    draft: Draft,
    id: u64,
    prefix: &str,
    interest: NamespaceInterest,
) -> Message {
    let (request_id, prefix) = (id, namespace(prefix));
    let parameters = Parameters::default();
    let has_tracks = draft.dialect().message_code(MessageKind::SubscribeTracks).is_some();
    if has_tracks && interest == NamespaceInterest::Tracks {
        return Message::SubscribeTracks(SubscribeTracks { request_id, prefix, parameters });
    }
    let interest = match draft {
        Draft::D14 => NamespaceInterest::Both,
        _ if has_tracks => NamespaceInterest::Namespaces,
        _ => interest,
    };
    Message::SubscribeNamespace(SubscribeNamespace { request_id, prefix, interest, parameters })
}

/// NAMESPACE.
pub fn namespace_found(suffix: &str) -> Message {
    Message::Namespace(Namespace { suffix: namespace(suffix) })
}

/// NAMESPACE_DONE.
pub fn namespace_done(suffix: &str) -> Message {
    Message::NamespaceDone(NamespaceDone { suffix: namespace(suffix) })
}

/// PUBLISH_BLOCKED, for a track whose namespace begins with the prefix left out here.
pub fn publish_blocked(track: &str) -> Message {
    let parsed = track.parse();
    assert!(parsed.is_ok(), "{track:?} is no name");
    Message::PublishBlocked(PublishBlocked { track: parsed.unwrap_or_default() })
}

/// PUBLISH_DONE.
pub fn done(id: u64, streams: u64) -> Message {
    Message::PublishDone(PublishDone {
        request_id: Some(id),
        code: PublishDoneCode::TrackEnded,
        stream_count: streams,
        reason: String::new(),
    })
}

/// UNSUBSCRIBE.
pub fn unsubscribe(id: u64) -> Message {
    Message::Unsubscribe(Unsubscribe { request_id: id })
}

/// REQUEST_UPDATE, or SUBSCRIBE_UPDATE.
pub fn update(id: u64, of: u64, parameters: Parameters) -> Message {
    Message::RequestUpdate(RequestUpdate {
        request_id: id,
        existing_request_id: Some(of),
        parameters,
    })
}

/// FETCH with parameters.
pub fn fetch_with(id: u64, range: FetchRange, parameters: Parameters) -> Message {
    Message::Fetch(Fetch { request_id: id, range, parameters })
}

/// FETCH of a range of a track; `end` is as on the wire.
pub fn fetch(id: u64, name: &str, start: Location, end: Location) -> Message {
    let range = FetchRange::Standalone { track: track(name), start, end };
    fetch_with(id, range, Parameters::default())
}

/// FETCH that joins a subscription.
pub fn join(id: u64, request_id: u64, start: JoiningStart) -> Message {
    fetch_with(id, FetchRange::Joining { request_id, start }, Parameters::default())
}

/// FETCH_OK.
pub fn fetch_ok(id: u64, end: Location) -> Message {
    Message::FetchOk(FetchOk {
        request_id: Some(id),
        end_of_track: false,
        end,
        group_order: Some(GroupOrder::Ascending),
        parameters: Parameters::default(),
        track_properties: TrackProperties::new(),
    })
}

/// TRACK_STATUS.
pub fn track_status(id: u64, name: &str) -> Message {
    let track = track(name);
    Message::TrackStatus(TrackStatus { request_id: id, track, parameters: Parameters::default() })
}

/// An object of a fetch, in subgroup 0.
pub fn fetch_object(location: Location, payload: &[u8]) -> FetchObject {
    FetchObject {
        location,
        subgroup_id: Some(0),
        publisher_priority: 128,
        payload_len: payload.len() as u64,
        status: ObjectStatus::Normal,
        properties: Properties::EMPTY,
    }
}

/// A fetch stream with these objects, in ascending order.
pub fn fetch_stream(draft: Draft, id: u64, objects: &[(Location, &[u8])]) -> Vec<u8> {
    fetch_stream_in(draft, GroupOrder::Ascending, id, objects)
}

/// A fetch stream with these objects, written for this order of groups.
pub fn fetch_stream_in(
    draft: Draft,
    order: GroupOrder,
    id: u64,
    objects: &[(Location, &[u8])],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = FetchWriter::new(draft.dialect(), order);
    let mut encoded = writer.header(id, &mut bytes);
    for (location, payload) in objects {
        encoded = encoded.and_then(|()| {
            writer.object(&fetch_object(*location, payload), &mut bytes)?;
            bytes.extend_from_slice(payload);
            Ok(())
        });
    }
    assert!(encoded.is_ok(), "{encoded:?}");
    bytes
}

/// A subgroup header, with a type of 0x10 or larger.
pub fn header(draft: Draft, alias: u64, group: u64, subgroup: u64, properties: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = SubgroupHeader {
        track_alias: alias,
        group_id: group,
        subgroup_id: SubgroupId::Explicit(subgroup),
        publisher_priority: Some(128),
        end_of_group: false,
        first_object: false,
        has_properties: properties,
    };
    let encoded = header.encode(draft.dialect(), &mut bytes);
    assert!(encoded.is_ok(), "{encoded:?}");
    bytes
}

/// A subgroup whose objects have these IDs and payloads.
pub fn subgroup(draft: Draft, alias: u64, group: u64, objects: &[(u64, &[u8])]) -> Vec<u8> {
    let mut bytes = header(draft, alias, group, 0, false);
    let mut writer = SubgroupWriter::new(draft.dialect(), false);
    for (object_id, payload) in objects {
        let header = ObjectHeader {
            object_id: *object_id,
            payload_len: payload.len() as u64,
            ..ObjectHeader::default()
        };
        let encoded = writer.object(&header, &mut bytes);
        assert!(encoded.is_ok(), "{encoded:?}");
        bytes.extend_from_slice(payload);
    }
    bytes
}

/// A datagram with an object.
pub fn datagram(draft: Draft, alias: u64, location: Location, payload: &[u8]) -> Bytes {
    let header = DatagramHeader {
        track_alias: alias,
        location,
        publisher_priority: Some(128),
        end_of_group: false,
        status: ObjectStatus::Normal,
        properties: Properties::EMPTY,
    };
    let mut bytes = Vec::new();
    let encoded = header.encode(draft.dialect(), payload.len(), &mut bytes);
    assert!(encoded.is_ok(), "{encoded:?}");
    bytes.extend_from_slice(payload);
    bytes.into()
}
