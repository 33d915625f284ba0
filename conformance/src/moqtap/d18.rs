//! Draft 18's messages in the other codec's types.

use moqt_engine::model::{Draft, FetchRange, JoiningStart, Message, MessageKind, TrackProperties};
use moqtap_codec::draft18::message as theirs;
/// A control message of draft 18.
pub use moqtap_codec::draft18::message::ControlMessage;

use super::translate::{int, name, namespace, options, properties};

fn parameters(parameters: &moqt_engine::model::Parameters) -> Vec<moqtap_codec::kvp::KeyValuePair> {
    super::translate::parameters(Draft::D18, parameters, &TrackProperties::new())
}

pub(super) fn message(_: MessageKind, message: &Message) -> ControlMessage {
    match message {
        Message::Setup(m) => {
            ControlMessage::Setup(theirs::Setup { options: options(Draft::D18, &m.options) })
        }
        Message::Goaway(m) => ControlMessage::GoAway(theirs::GoAway {
            new_session_uri: m.new_session_uri.to_vec(),
            timeout: int(m.timeout),
            request_id: m.request_id.map(int),
        }),
        Message::RequestOk(m) => ControlMessage::RequestOk(theirs::RequestOk {
            parameters: parameters(&m.parameters),
            track_properties: properties(&m.track_properties),
        }),
        Message::RequestError(m) => ControlMessage::RequestError(theirs::RequestError {
            error_code: int(Draft::D18
                .dialect()
                .request_error_code(moqt_engine::model::RequestKind::Update, m.code)),
            retry_interval: int(m.retry_interval),
            reason_phrase: m.reason.clone().into_bytes(),
            redirect: m.redirect.as_ref().map(|redirect| {
                let (track_namespace, track_name) = name(&redirect.track);
                let connect_uri = redirect.connect_uri.to_vec();
                theirs::Redirect { connect_uri, track_namespace, track_name }
            }),
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
            track_alias: int(m.track_alias),
            parameters: parameters(&m.parameters),
            track_properties: properties(&m.track_properties),
        }),
        Message::RequestUpdate(m) => ControlMessage::RequestUpdate(theirs::RequestUpdate {
            request_id: int(m.request_id),
            parameters: parameters(&m.parameters),
        }),
        Message::Publish(m) => {
            let (track_namespace, track_name) = name(&m.track);
            ControlMessage::Publish(theirs::Publish {
                request_id: int(m.request_id),
                track_namespace,
                track_name,
                track_alias: int(m.track_alias),
                parameters: parameters(&m.parameters),
                track_properties: properties(&m.track_properties),
            })
        }
        Message::PublishDone(m) => ControlMessage::PublishDone(theirs::PublishDone {
            status_code: int(Draft::D18.dialect().publish_done_code(m.code)),
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
            end_of_track: u8::from(m.end_of_track),
            end_group: int(m.end.group),
            end_object: int(m.end.object),
            parameters: parameters(&m.parameters),
            track_properties: properties(&m.track_properties),
        }),
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
        Message::SubscribeNamespace(m) => {
            ControlMessage::SubscribeNamespace(theirs::SubscribeNamespace {
                request_id: int(m.request_id),
                namespace_prefix: namespace(&m.prefix),
                parameters: parameters(&m.parameters),
            })
        }
        Message::SubscribeTracks(m) => ControlMessage::SubscribeTracks(theirs::SubscribeTracks {
            request_id: int(m.request_id),
            namespace_prefix: namespace(&m.prefix),
            parameters: parameters(&m.parameters),
        }),
        Message::Namespace(m) => {
            ControlMessage::Namespace(theirs::Namespace { namespace_suffix: namespace(&m.suffix) })
        }
        Message::NamespaceDone(m) => ControlMessage::NamespaceDone(theirs::NamespaceDone {
            namespace_suffix: namespace(&m.suffix),
        }),
        Message::PublishBlocked(m) => {
            let (namespace_suffix, track_name) = name(&m.track);
            ControlMessage::PublishBlocked(theirs::PublishBlocked { namespace_suffix, track_name })
        }
        other => panic!("draft 18 has no {other:?}"),
    }
}
