//! Draft 14's messages in the other codec's types.

use moqt_engine::model::{
    Draft, FetchRange, GroupOrder, JoiningStart, Location, Message, MessageKind, Parameters,
    PublishNamespaceDone, RequestKind, SubscriptionFilter, TrackProperties,
};
use moqtap_codec::draft14::message as theirs;
/// A control message of draft 14.
pub use moqtap_codec::draft14::message::ControlMessage;
use moqtap_codec::kvp::KeyValuePair;
use moqtap_codec::types::{self, ContentExists, Forward};
use moqtap_codec::varint::VarInt;

use super::translate::{filter_parts, int, location, name, namespace, opt, options};

fn parameters(parameters: &Parameters, properties: &TrackProperties) -> Vec<KeyValuePair> {
    super::translate::parameters(Draft::D14, parameters, properties)
}

fn plain(of: &Parameters) -> Vec<KeyValuePair> {
    parameters(of, &TrackProperties::new())
}

fn order(order: Option<GroupOrder>) -> types::GroupOrder {
    match order {
        None => types::GroupOrder::Publisher,
        Some(GroupOrder::Ascending) => types::GroupOrder::Ascending,
        Some(GroupOrder::Descending) => types::GroupOrder::Descending,
    }
}

fn forward(parameters: &Parameters) -> Forward {
    match parameters.forward {
        Some(true) => Forward::Forward,
        Some(false) => Forward::DontForward,
        None => panic!("draft 14 states it"),
    }
}

fn filter(parameters: &Parameters) -> (types::FilterType, Option<types::Location>, Option<VarInt>) {
    let (kind, start, end) = filter_parts(parameters.subscription_filter.unwrap());
    (kind, start.map(location), end.map(int))
}

fn largest(largest: Option<Location>) -> (ContentExists, Option<types::Location>) {
    match largest {
        Some(largest) => (ContentExists::HasLargestLocation, Some(location(largest))),
        None => (ContentExists::NoLargestLocation, None),
    }
}

fn target(target: &PublishNamespaceDone) -> types::TrackNamespace {
    match target {
        PublishNamespaceDone::Namespace(name) => namespace(name),
        PublishNamespaceDone::RequestId(_) => panic!("draft 14 names the namespace"),
    }
}

pub(super) fn message(kind: MessageKind, message: &Message) -> ControlMessage {
    let dialect = Draft::D14.dialect();
    match message {
        Message::Setup(m) => {
            let parameters = options(Draft::D14, &m.options);
            let versions: Vec<VarInt> = m.versions.iter().copied().map(int).collect();
            match kind {
                MessageKind::ServerSetup => ControlMessage::ServerSetup(theirs::ServerSetup {
                    selected_version: versions[0],
                    parameters,
                }),
                _ => ControlMessage::ClientSetup(theirs::ClientSetup {
                    supported_versions: versions,
                    parameters,
                }),
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
            let p = &m.parameters;
            match kind {
                MessageKind::PublishOk => {
                    let (filter_type, start_location, end_group) = filter(p);
                    ControlMessage::PublishOk(theirs::PublishOk {
                        request_id,
                        forward: forward(p),
                        subscriber_priority: p.subscriber_priority.unwrap(),
                        group_order: order(p.group_order),
                        filter_type,
                        start_location,
                        end_group,
                        parameters: plain(p),
                    })
                }
                MessageKind::TrackStatusOk => {
                    let (content_exists, largest_location) = largest(p.largest_object);
                    ControlMessage::TrackStatusOk(theirs::TrackStatusOk {
                        request_id,
                        track_alias: int(0),
                        expires: opt(p.expires),
                        group_order: order(p.group_order),
                        content_exists,
                        largest_location,
                        parameters: parameters(p, &m.track_properties),
                    })
                }
                MessageKind::PublishNamespaceOk => {
                    ControlMessage::PublishNamespaceOk(theirs::PublishNamespaceOk { request_id })
                }
                _ => {
                    let ok = theirs::SubscribeNamespaceOk { request_id };
                    ControlMessage::SubscribeNamespaceOk(ok)
                }
            }
        }
        Message::RequestError(m) => {
            let request_id = opt(m.request_id);
            let answers = m.answers.unwrap();
            let error_code = int(dialect.request_error_code(answers, m.code));
            let reason_phrase = m.reason.clone().into_bytes();
            macro_rules! error {
                ($name:ident) => {
                    ControlMessage::$name(theirs::$name { request_id, error_code, reason_phrase })
                };
            }
            match answers {
                RequestKind::Subscribe => error!(SubscribeError),
                RequestKind::Publish => error!(PublishError),
                RequestKind::Fetch => error!(FetchError),
                RequestKind::TrackStatus => error!(TrackStatusError),
                RequestKind::PublishNamespace => error!(PublishNamespaceError),
                RequestKind::SubscribeNamespace => error!(SubscribeNamespaceError),
                other => panic!("draft 14 refuses no {other:?}"),
            }
        }
        Message::Subscribe(m) => {
            let (track_namespace, track_name) = name(&m.track);
            let (filter_type, start_location, end_group) = filter(&m.parameters);
            ControlMessage::Subscribe(theirs::Subscribe {
                request_id: int(m.request_id),
                track_namespace,
                track_name,
                subscriber_priority: m.parameters.subscriber_priority.unwrap(),
                group_order: order(m.parameters.group_order),
                forward: forward(&m.parameters),
                filter_type,
                start_location,
                end_group,
                parameters: plain(&m.parameters),
            })
        }
        Message::TrackStatus(m) => {
            let (track_namespace, track_name) = name(&m.track);
            let (filter_type, start_location, end_group) = filter(&m.parameters);
            ControlMessage::TrackStatus(theirs::TrackStatus {
                request_id: int(m.request_id),
                track_namespace,
                track_name,
                subscriber_priority: m.parameters.subscriber_priority.unwrap(),
                group_order: order(m.parameters.group_order),
                forward: forward(&m.parameters),
                filter_type,
                start_location,
                end_group,
                parameters: plain(&m.parameters),
            })
        }
        Message::SubscribeOk(m) => {
            let (content_exists, largest_location) = largest(m.parameters.largest_object);
            ControlMessage::SubscribeOk(theirs::SubscribeOk {
                request_id: opt(m.request_id),
                track_alias: int(m.track_alias),
                expires: opt(m.parameters.expires),
                group_order: order(m.parameters.group_order),
                content_exists,
                largest_location,
                parameters: parameters(&m.parameters, &m.track_properties),
            })
        }
        Message::RequestUpdate(m) => {
            let (start, end_group) = match m.parameters.subscription_filter.unwrap() {
                SubscriptionFilter::AbsoluteStart { start } => (start, 0),
                SubscriptionFilter::AbsoluteRange { start, end_group } => (start, end_group + 1),
                other => panic!("{other:?} in an update"),
            };
            ControlMessage::SubscribeUpdate(theirs::SubscribeUpdate {
                request_id: int(m.request_id),
                subscription_request_id: opt(m.existing_request_id),
                start_location: location(start),
                end_group: int(end_group),
                subscriber_priority: m.parameters.subscriber_priority.unwrap(),
                forward: forward(&m.parameters),
                parameters: plain(&m.parameters),
            })
        }
        Message::Unsubscribe(m) => {
            ControlMessage::Unsubscribe(theirs::Unsubscribe { request_id: int(m.request_id) })
        }
        Message::Publish(m) => {
            let (track_namespace, track_name) = name(&m.track);
            let (content_exists, largest_location) = largest(m.parameters.largest_object);
            ControlMessage::Publish(theirs::Publish {
                request_id: int(m.request_id),
                track_namespace,
                track_name,
                track_alias: int(m.track_alias),
                group_order: order(m.parameters.group_order),
                content_exists,
                largest_location,
                forward: forward(&m.parameters),
                parameters: parameters(&m.parameters, &m.track_properties),
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
                subscriber_priority: m.parameters.subscriber_priority.unwrap(),
                group_order: order(m.parameters.group_order),
                fetch_type,
                fetch_payload,
                parameters: plain(&m.parameters),
            })
        }
        Message::FetchOk(m) => ControlMessage::FetchOk(theirs::FetchOk {
            request_id: opt(m.request_id),
            group_order: order(m.group_order),
            end_of_track: u8::from(m.end_of_track),
            end_location: location(m.end),
            parameters: parameters(&m.parameters, &m.track_properties),
        }),
        Message::FetchCancel(m) => {
            ControlMessage::FetchCancel(theirs::FetchCancel { request_id: int(m.request_id) })
        }
        Message::PublishNamespace(m) => {
            ControlMessage::PublishNamespace(theirs::PublishNamespace {
                request_id: int(m.request_id),
                track_namespace: namespace(&m.namespace),
                parameters: plain(&m.parameters),
            })
        }
        Message::PublishNamespaceDone(m) => {
            let done = theirs::PublishNamespaceDone { track_namespace: target(m) };
            ControlMessage::PublishNamespaceDone(done)
        }
        Message::PublishNamespaceCancel(m) => {
            ControlMessage::PublishNamespaceCancel(theirs::PublishNamespaceCancel {
                track_namespace: target(&m.target),
                error_code: int(dialect.request_error_code(RequestKind::PublishNamespace, m.code)),
                reason_phrase: m.reason.clone().into_bytes(),
            })
        }
        Message::SubscribeNamespace(m) => {
            ControlMessage::SubscribeNamespace(theirs::SubscribeNamespace {
                request_id: int(m.request_id),
                track_namespace: namespace(&m.prefix),
                parameters: plain(&m.parameters),
            })
        }
        Message::UnsubscribeNamespace(m) => {
            ControlMessage::UnsubscribeNamespace(theirs::UnsubscribeNamespace {
                track_namespace_prefix: namespace(&m.prefix),
            })
        }
        other => panic!("draft 14 has no {other:?}"),
    }
}
