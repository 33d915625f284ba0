//! Draft 16's messages in the other codec's types.

use moqt_engine::model::{
    Draft, FetchRange, JoiningStart, Message, MessageKind, NamespaceInterest, PublishNamespaceDone,
    RequestKind, TrackProperties,
};
use moqtap_codec::draft16::message as theirs;
/// A control message of draft 16.
pub use moqtap_codec::draft16::message::ControlMessage;

use super::translate::{int, name, namespace, opt, options, properties};

fn parameters(parameters: &moqt_engine::model::Parameters) -> Vec<moqtap_codec::kvp::KeyValuePair> {
    super::translate::parameters(Draft::D16, parameters, &TrackProperties::new())
}

fn target(target: &PublishNamespaceDone) -> moqtap_codec::varint::VarInt {
    match target {
        PublishNamespaceDone::RequestId(id) => int(*id),
        PublishNamespaceDone::Namespace(_) => panic!("draft 16 names the request"),
    }
}

pub(super) fn message(kind: MessageKind, message: &Message) -> ControlMessage {
    let dialect = Draft::D16.dialect();
    match message {
        Message::Setup(m) => {
            let parameters = options(Draft::D16, &m.options);
            match kind {
                MessageKind::ServerSetup => {
                    ControlMessage::ServerSetup(theirs::ServerSetup { parameters })
                }
                _ => ControlMessage::ClientSetup(theirs::ClientSetup { parameters }),
            }
        }
        Message::Goaway(m) => {
            ControlMessage::GoAway(theirs::GoAway { new_session_uri: m.new_session_uri.to_vec() })
        }
        Message::MaxRequestId(m) => {
            ControlMessage::MaxRequestId(theirs::MaxRequestId { request_id: int(m.max_request_id) })
        }
        Message::RequestsBlocked(m) => ControlMessage::RequestsBlocked(theirs::RequestsBlocked {
            maximum_request_id: int(m.max_request_id),
        }),
        Message::RequestOk(m) => {
            let request_id = opt(m.request_id);
            let parameters = parameters(&m.parameters);
            match kind {
                MessageKind::PublishOk => {
                    ControlMessage::PublishOk(theirs::PublishOk { request_id, parameters })
                }
                _ => ControlMessage::RequestOk(theirs::RequestOk { request_id, parameters }),
            }
        }
        Message::RequestError(m) => ControlMessage::RequestError(theirs::RequestError {
            request_id: opt(m.request_id),
            error_code: int(dialect.request_error_code(RequestKind::Update, m.code)),
            retry_interval: int(m.retry_interval),
            reason_phrase: m.reason.clone().into_bytes(),
        }),
        Message::Subscribe(m) => {
            let (track_namespace, track_name) = name(&m.track);
            ControlMessage::Subscribe(theirs::Subscribe {
                request_id: int(m.request_id),
                track_namespace,
                track_name,
                parameters: parameters(&m.parameters),
            })
        }
        Message::SubscribeOk(m) => ControlMessage::SubscribeOk(theirs::SubscribeOk {
            request_id: opt(m.request_id),
            track_alias: int(m.track_alias),
            parameters: parameters(&m.parameters),
            track_extensions: properties(&m.track_properties),
        }),
        Message::RequestUpdate(m) => ControlMessage::RequestUpdate(theirs::RequestUpdate {
            request_id: int(m.request_id),
            existing_request_id: opt(m.existing_request_id),
            parameters: parameters(&m.parameters),
        }),
        Message::Unsubscribe(m) => {
            ControlMessage::Unsubscribe(theirs::Unsubscribe { request_id: int(m.request_id) })
        }
        Message::Publish(m) => {
            let (track_namespace, track_name) = name(&m.track);
            ControlMessage::Publish(theirs::Publish {
                request_id: int(m.request_id),
                track_namespace,
                track_name,
                track_alias: int(m.track_alias),
                parameters: parameters(&m.parameters),
                track_extensions: properties(&m.track_properties),
            })
        }
        Message::PublishDone(m) => ControlMessage::PublishDone(theirs::PublishDone {
            request_id: opt(m.request_id),
            status_code: int(dialect.publish_done_code(m.code)),
            stream_count: int(m.stream_count),
            reason_phrase: m.reason.clone().into_bytes(),
        }),
        Message::Fetch(m) => {
            let (fetch_type, fetch_payload) = match &m.range {
                FetchRange::Standalone { track, start, end } => {
                    let (track_namespace, track_name) = name(track);
                    let payload = theirs::FetchPayload::Standalone {
                        track_namespace,
                        track_name,
                        start_group: int(start.group),
                        start_object: int(start.object),
                        end_group: int(end.group),
                        end_object: int(end.object),
                    };
                    (theirs::FetchType::Standalone, payload)
                }
                FetchRange::Joining { request_id, start } => {
                    let (kind, start) = match start {
                        JoiningStart::Relative(n) => (theirs::FetchType::RelativeJoining, n),
                        JoiningStart::Absolute(n) => (theirs::FetchType::AbsoluteJoining, n),
                    };
                    let joining_request_id = int(*request_id);
                    let joining_start = int(*start);
                    (kind, theirs::FetchPayload::Joining { joining_request_id, joining_start })
                }
            };
            ControlMessage::Fetch(theirs::Fetch {
                request_id: int(m.request_id),
                fetch_type,
                fetch_payload,
                parameters: parameters(&m.parameters),
            })
        }
        Message::FetchOk(m) => ControlMessage::FetchOk(theirs::FetchOk {
            request_id: opt(m.request_id),
            end_of_track: u8::from(m.end_of_track),
            end_group: int(m.end.group),
            end_object: int(m.end.object),
            parameters: parameters(&m.parameters),
            track_extensions: properties(&m.track_properties),
        }),
        Message::FetchCancel(m) => {
            ControlMessage::FetchCancel(theirs::FetchCancel { request_id: int(m.request_id) })
        }
        Message::TrackStatus(m) => {
            let (track_namespace, track_name) = name(&m.track);
            ControlMessage::TrackStatus(theirs::TrackStatus {
                request_id: int(m.request_id),
                track_namespace,
                track_name,
                parameters: parameters(&m.parameters),
            })
        }
        Message::PublishNamespace(m) => {
            ControlMessage::PublishNamespace(theirs::PublishNamespace {
                request_id: int(m.request_id),
                track_namespace: namespace(&m.namespace),
                parameters: parameters(&m.parameters),
            })
        }
        Message::PublishNamespaceDone(m) => {
            let done = theirs::PublishNamespaceDone { request_id: target(m) };
            ControlMessage::PublishNamespaceDone(done)
        }
        Message::PublishNamespaceCancel(m) => {
            ControlMessage::PublishNamespaceCancel(theirs::PublishNamespaceCancel {
                request_id: target(&m.target),
                error_code: int(dialect.request_error_code(RequestKind::PublishNamespace, m.code)),
                reason_phrase: m.reason.clone().into_bytes(),
            })
        }
        Message::SubscribeNamespace(m) => {
            ControlMessage::SubscribeNamespace(theirs::SubscribeNamespace {
                request_id: int(m.request_id),
                namespace_prefix: namespace(&m.prefix),
                subscribe_options: int(match m.interest {
                    NamespaceInterest::Tracks => 0,
                    NamespaceInterest::Namespaces => 1,
                    NamespaceInterest::Both => 2,
                }),
                parameters: parameters(&m.parameters),
            })
        }
        Message::Namespace(m) => {
            ControlMessage::Namespace(theirs::Namespace { namespace_suffix: namespace(&m.suffix) })
        }
        Message::NamespaceDone(m) => ControlMessage::NamespaceDone(theirs::NamespaceDone {
            namespace_suffix: namespace(&m.suffix),
        }),
        other => panic!("draft 16 has no {other:?}"),
    }
}
