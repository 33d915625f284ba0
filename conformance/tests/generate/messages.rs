//! Random control messages that a draft allows, in the one form that reading them gives.

use bytes::Bytes;
use moqt_engine::model::{
    AuthToken, Draft, Fetch, FetchCancel, FetchOk, FetchRange, FullTrackName, Goaway, GroupOrder,
    JoiningStart, Location, MaxRequestId, Message, MessageKind, Namespace, NamespaceDone,
    NamespaceInterest, Parameter as P, Parameters, Property, Publish, PublishBlocked, PublishDone,
    PublishNamespace, PublishNamespaceCancel, PublishNamespaceDone, Redirect, RequestError,
    RequestErrorCode, RequestKind, RequestOk, RequestUpdate, RequestsBlocked, Setup, SetupOptions,
    Subscribe, SubscribeNamespace, SubscribeOk, SubscribeTracks, SubscriptionFilter,
    TrackNamespace, TrackProperties, TrackStatus, Unsubscribe, UnsubscribeNamespace,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// An integer of the draft, small ones and those at the edges of a length often.
pub(crate) fn int(draft: Draft) -> BoxedStrategy<u64> {
    let max = draft.dialect().ints.max();
    prop_oneof![
        4 => 0..300_u64,
        1 => 0..=max,
        1 => (0_u32..64, 0_u64..3).prop_map(move |(shift, less)| {
            (1_u64 << shift).saturating_sub(less).min(max)
        }),
        1 => Just(max),
    ]
    .boxed()
}

fn data(longest: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..=longest).prop_map(Bytes::from)
}

/// A field never begins with a period: draft 18 reserves those.
fn namespace(fewest: usize) -> impl Strategy<Value = TrackNamespace> {
    let field = ("[a-z]", vec(any::<u8>(), 0..12))
        .prop_map(|(first, rest)| [first.into_bytes(), rest].concat());
    prop_oneof![9 => vec(field.clone(), fewest..6), 1 => vec(field, 32)]
        .prop_map(|fields| TrackNamespace::new(fields).unwrap())
}

fn track(fewest: usize) -> impl Strategy<Value = FullTrackName> {
    (namespace(fewest), data(40)).prop_map(|(space, name)| FullTrackName::new(space, name).unwrap())
}

pub(crate) fn location(draft: Draft) -> impl Strategy<Value = Location> {
    (int(draft), int(draft)).prop_map(|(group, object)| Location::new(group, object))
}

fn group_order() -> impl Strategy<Value = GroupOrder> {
    prop_oneof![Just(GroupOrder::Ascending), Just(GroupOrder::Descending)]
}

/// A range of two locations, the second in a later group.
fn range(draft: Draft) -> impl Strategy<Value = (Location, Location)> {
    let max = draft.dialect().ints.max();
    (location(draft), 1..1000_u64, int(draft)).prop_map(move |(start, groups, object)| {
        let start = Location::new(start.group.min(max - 1000), start.object);
        (start, Location::new(start.group + groups, object))
    })
}

fn absolute_filter(draft: Draft) -> impl Strategy<Value = SubscriptionFilter> {
    prop_oneof![
        location(draft).prop_map(|start| SubscriptionFilter::AbsoluteStart { start }),
        range(draft).prop_map(|(start, end)| SubscriptionFilter::AbsoluteRange {
            start,
            end_group: end.group
        }),
        location(draft).prop_map(|start| {
            // The end group may be the start's own; one more must fit draft 14's update.
            let start = Location::new(start.group / 2, start.object);
            SubscriptionFilter::AbsoluteRange { start, end_group: start.group }
        }),
    ]
}

fn filter(draft: Draft) -> impl Strategy<Value = SubscriptionFilter> {
    prop_oneof![
        Just(SubscriptionFilter::NextGroupStart),
        Just(SubscriptionFilter::LargestObject),
        absolute_filter(draft),
    ]
}

fn token(draft: Draft) -> impl Strategy<Value = AuthToken> {
    let int = || int(draft);
    prop_oneof![
        int().prop_map(|alias| AuthToken::Delete { alias }),
        (int(), int(), data(30)).prop_map(|(alias, token_type, value)| AuthToken::Register {
            alias,
            token_type,
            value
        }),
        int().prop_map(|alias| AuthToken::UseAlias { alias }),
        (int(), data(30)).prop_map(|(token_type, value)| AuthToken::UseValue { token_type, value }),
    ]
}

/// Any set of parameters, of which only `allowed` are kept.
fn parameters(draft: Draft, allowed: &'static [P]) -> BoxedStrategy<Parameters> {
    let int = || option::of(int(draft));
    let timeout = int().prop_map(move |timeout| match draft {
        // Draft 16 has no timeout of 0.
        Draft::D16 => timeout.filter(|timeout| *timeout > 0),
        _ => timeout,
    });
    let numbers = (timeout, int(), int(), int(), int(), int());
    let others = (
        vec(token(draft), 0..3),
        option::of(location(draft)),
        option::of(any::<bool>()),
        option::of(any::<u8>()),
        option::of(filter(draft)),
        option::of(group_order()),
        option::of(namespace(0)),
    );
    (numbers, others)
        .prop_map(move |(numbers, others)| {
            let has = |parameter| allowed.contains(&parameter);
            let mut p = Parameters::default();
            p.object_delivery_timeout = numbers.0.filter(|_| has(P::ObjectDeliveryTimeout));
            p.subgroup_delivery_timeout = numbers.1.filter(|_| has(P::SubgroupDeliveryTimeout));
            p.rendezvous_timeout = numbers.2.filter(|_| has(P::RendezvousTimeout));
            p.fill_timeout = numbers.3.filter(|_| has(P::FillTimeout));
            p.expires = numbers.4.filter(|_| has(P::Expires));
            p.new_group_request = numbers.5.filter(|_| has(P::NewGroupRequest));
            if has(P::AuthorizationToken) {
                p.authorization_tokens = others.0;
            }
            p.largest_object = others.1.filter(|_| has(P::LargestObject));
            p.forward = others.2.filter(|_| has(P::Forward));
            p.subscriber_priority = others.3.filter(|_| has(P::SubscriberPriority));
            p.subscription_filter = others.4.filter(|_| has(P::SubscriptionFilter));
            p.group_order = others.5.filter(|_| has(P::GroupOrder));
            p.track_namespace_prefix = others.6.filter(|_| has(P::TrackNamespacePrefix));
            p
        })
        .boxed()
}

/// Draft 14's parameters, with those that are fixed fields of their message made sure of.
fn fixed(allowed: &'static [P], always: &'static [P]) -> BoxedStrategy<Parameters> {
    let values = (any::<u8>(), group_order(), any::<bool>(), filter(Draft::D14), int(Draft::D14));
    (parameters(Draft::D14, allowed), values)
        .prop_map(move |(mut p, values)| {
            for parameter in always {
                match parameter {
                    P::SubscriberPriority => p.subscriber_priority = Some(values.0),
                    P::GroupOrder => p.group_order = Some(values.1),
                    P::Forward => p.forward = Some(values.2),
                    P::SubscriptionFilter => p.subscription_filter = Some(values.3),
                    P::Expires => p.expires = Some(values.4),
                    other => panic!("{other} is no fixed field"),
                }
            }
            p
        })
        .boxed()
}

/// Properties of a track, each type at most once. Draft 14 has two, and not everywhere.
fn properties(draft: Draft, draft_14: &'static [u64]) -> BoxedStrategy<TrackProperties> {
    if draft == Draft::D14 {
        let values = vec(option::of(int(draft)), draft_14.len());
        return values
            .prop_map(move |values| {
                let pairs = draft_14.iter().zip(values);
                pairs.filter_map(|(key, value)| Some(Property::int(*key, value?))).collect()
            })
            .boxed();
    }
    let known = (
        option::of(1..10_000_u64),
        option::of(0..10_000_u64),
        option::of(0..=255_u64),
        option::of(1..=2_u64),
        option::of(0..=1_u64),
    );
    let unknown = proptest::collection::btree_map(0x40..0x9000_u64, (int(draft), data(20)), 0..3);
    (known, unknown)
        .prop_map(|(known, unknown)| {
            let known = [
                (0x02, known.0),
                (0x04, known.1),
                (0x0e, known.2),
                (0x22, known.3),
                (0x30, known.4),
            ];
            let known =
                known.into_iter().filter_map(|(key, value)| Some(Property::int(key, value?)));
            let unknown = unknown.into_iter().map(|(key, (number, bytes))| {
                if key % 2 == 0 { Property::int(key, number) } else { Property::bytes(key, bytes) }
            });
            known.chain(unknown).collect()
        })
        .boxed()
}

/// The setup options, of a client unless `from_server`.
fn options(draft: Draft, from_server: bool) -> impl Strategy<Value = SetupOptions> {
    let bytes = || option::of(data(30));
    let int = || option::of(int(draft));
    (bytes(), bytes(), bytes(), int(), int(), vec(token(draft), 0..3)).prop_map(
        move |(path, authority, name, max, size, tokens)| {
            let mut options = SetupOptions::default();
            // A draft-14 server's AUTHORITY reads as the name of its implementation.
            let ambiguous = draft == Draft::D14 && from_server;
            options.path = path;
            options.authority = authority.filter(|_| !ambiguous);
            options.implementation = name;
            options.max_request_id = max.filter(|_| draft < Draft::D18);
            options.max_auth_token_cache_size = size;
            options.authorization_tokens = tokens;
            options
        },
    )
}

fn reason() -> impl Strategy<Value = String> {
    "\\PC{0,12}"
}

fn refusal(draft: Draft, answers: Option<RequestKind>) -> BoxedStrategy<Message> {
    let kind = answers.unwrap_or(RequestKind::Update);
    let redirect =
        (data(40), track(0)).prop_map(|(connect_uri, track)| Redirect { connect_uri, track });
    (id(draft), 0..0x40_u64, int(draft), reason(), redirect)
        .prop_map(move |(request_id, code, retry, reason, redirect)| {
            let code = draft.dialect().request_error(kind, code);
            let redirect = (code == RequestErrorCode::Redirect).then_some(redirect);
            let retry_interval = if draft == Draft::D14 { 0 } else { retry };
            let error =
                RequestError { request_id, answers, code, retry_interval, reason, redirect };
            Message::RequestError(error)
        })
        .boxed()
}

/// The Request ID of an answer.
fn id(draft: Draft) -> BoxedStrategy<Option<u64>> {
    if draft >= Draft::D18 { Just(None).boxed() } else { int(draft).prop_map(Some).boxed() }
}

/// What the messages that only carry parameters may carry: "MAY appear in".
fn allowed(draft: Draft, kind: MessageKind) -> &'static [P] {
    use MessageKind as Kind;
    match (draft, kind) {
        (Draft::D14, Kind::Subscribe | Kind::TrackStatus) => {
            &[P::AuthorizationToken, P::ObjectDeliveryTimeout, P::GroupOrder]
        }
        (Draft::D14, Kind::RequestUpdate) => &[P::AuthorizationToken, P::ObjectDeliveryTimeout],
        (Draft::D14, Kind::Fetch) => &[P::AuthorizationToken, P::GroupOrder],
        (Draft::D14, Kind::PublishOk) => &[P::ObjectDeliveryTimeout],
        (Draft::D14, Kind::SubscribeOk | Kind::TrackStatusOk) => &[P::LargestObject],
        (Draft::D14, Kind::Publish) => &[P::AuthorizationToken, P::LargestObject],
        (_, Kind::Subscribe) => &[
            P::AuthorizationToken,
            P::ObjectDeliveryTimeout,
            P::Forward,
            P::SubscriberPriority,
            P::SubscriptionFilter,
            P::GroupOrder,
            P::NewGroupRequest,
        ],
        (_, Kind::SubscribeOk) | (Draft::D16, Kind::RequestOk) => &[P::Expires, P::LargestObject],
        (_, Kind::Publish) => &[P::AuthorizationToken, P::Expires, P::LargestObject, P::Forward],
        (Draft::D16, Kind::PublishOk) | (Draft::D18, Kind::RequestOk) => &[
            P::ObjectDeliveryTimeout,
            P::Expires,
            P::Forward,
            P::SubscriberPriority,
            P::SubscriptionFilter,
            P::GroupOrder,
            P::NewGroupRequest,
        ],
        (_, Kind::RequestUpdate) => &[
            P::AuthorizationToken,
            P::ObjectDeliveryTimeout,
            P::Forward,
            P::SubscriberPriority,
            P::SubscriptionFilter,
            P::NewGroupRequest,
        ],
        (_, Kind::Fetch) => &[P::AuthorizationToken, P::SubscriberPriority, P::GroupOrder],
        (Draft::D16, Kind::SubscribeNamespace) | (_, Kind::SubscribeTracks) => {
            &[P::AuthorizationToken, P::Forward]
        }
        (_, Kind::TrackStatus | Kind::PublishNamespace | Kind::SubscribeNamespace) => {
            &[P::AuthorizationToken]
        }
        _ => &[],
    }
}

/// What draft 18 alone has.
fn allowed_18(kind: MessageKind) -> &'static [P] {
    match kind {
        MessageKind::Subscribe => &[
            P::AuthorizationToken,
            P::RendezvousTimeout,
            P::SubgroupDeliveryTimeout,
            P::SubscriptionFilter,
        ],
        MessageKind::Fetch => &[P::AuthorizationToken, P::FillTimeout],
        MessageKind::RequestUpdate => {
            &[P::SubgroupDeliveryTimeout, P::Forward, P::TrackNamespacePrefix]
        }
        MessageKind::RequestOk => &[P::SubgroupDeliveryTimeout, P::LargestObject],
        _ => allowed(Draft::D18, kind),
    }
}

fn parameters_of(draft: Draft, kind: MessageKind) -> BoxedStrategy<Parameters> {
    use MessageKind as Kind;
    let allowed = allowed(draft, kind);
    match (draft, kind) {
        (Draft::D14, Kind::Subscribe | Kind::TrackStatus) => {
            fixed(allowed, &[P::SubscriberPriority, P::Forward, P::SubscriptionFilter])
        }
        (Draft::D14, Kind::Fetch) => fixed(allowed, &[P::SubscriberPriority]),
        (Draft::D14, Kind::PublishOk) => fixed(
            allowed,
            &[P::SubscriberPriority, P::Forward, P::SubscriptionFilter, P::GroupOrder],
        ),
        (Draft::D14, Kind::SubscribeOk | Kind::TrackStatusOk) => {
            fixed(allowed, &[P::GroupOrder, P::Expires])
        }
        (Draft::D14, Kind::Publish) => fixed(allowed, &[P::GroupOrder, P::Forward]),
        (Draft::D14, Kind::RequestUpdate) => {
            (fixed(allowed, &[P::SubscriberPriority, P::Forward]), absolute_filter(draft))
                .prop_map(|(mut p, filter)| {
                    p.subscription_filter = Some(filter);
                    p
                })
                .boxed()
        }
        (Draft::D18, _) => {
            prop_oneof![parameters(draft, allowed), parameters(draft, allowed_18(kind))].boxed()
        }
        _ => parameters(draft, allowed),
    }
}

/// A message of this kind. Setup messages are the client's, or draft 18's.
pub(crate) fn message(draft: Draft, kind: MessageKind) -> BoxedStrategy<Message> {
    use MessageKind as Kind;
    let int = || int(draft);
    let fewest = usize::from(draft < Draft::D18);
    let fewest_in_prefix = usize::from(draft == Draft::D14);
    let p = parameters_of(draft, kind);
    let answered = match kind {
        Kind::SubscribeError => Some(RequestKind::Subscribe),
        Kind::PublishOk | Kind::PublishError => Some(RequestKind::Publish),
        Kind::FetchError => Some(RequestKind::Fetch),
        Kind::TrackStatusOk | Kind::TrackStatusError => Some(RequestKind::TrackStatus),
        Kind::PublishNamespaceOk | Kind::PublishNamespaceError => {
            Some(RequestKind::PublishNamespace)
        }
        Kind::SubscribeNamespaceOk | Kind::SubscribeNamespaceError => {
            Some(RequestKind::SubscribeNamespace)
        }
        _ => None,
    };
    match kind {
        Kind::ClientSetup | Kind::ServerSetup | Kind::Setup => {
            let from_server = kind == Kind::ServerSetup;
            let versions = match (draft, from_server) {
                (Draft::D14, true) => vec(int(), 1),
                (Draft::D14, false) => vec(int(), 1..4),
                _ => vec(int(), 0),
            };
            (versions, options(draft, from_server))
                .prop_map(|(versions, options)| Message::Setup(Setup { versions, options }))
                .boxed()
        }
        Kind::Goaway => (data(60), int(), option::of(int()))
            .prop_map(move |(new_session_uri, timeout, request_id)| {
                let goaway = Goaway { new_session_uri, ..Goaway::default() };
                Message::Goaway(match draft {
                    _ if draft >= Draft::D18 => Goaway { timeout, request_id, ..goaway },
                    _ => goaway,
                })
            })
            .boxed(),
        Kind::MaxRequestId => {
            int().prop_map(|id| Message::MaxRequestId(MaxRequestId { max_request_id: id })).boxed()
        }
        Kind::RequestsBlocked => int()
            .prop_map(|id| Message::RequestsBlocked(RequestsBlocked { max_request_id: id }))
            .boxed(),
        Kind::RequestOk
        | Kind::PublishOk
        | Kind::TrackStatusOk
        | Kind::PublishNamespaceOk
        | Kind::SubscribeNamespaceOk => {
            let has_properties = matches!(
                (draft, kind),
                (Draft::D14, Kind::TrackStatusOk) | (Draft::D18, Kind::RequestOk)
            );
            let track_properties = if has_properties {
                properties(draft, &[0x02, 0x04])
            } else {
                Just(TrackProperties::new()).boxed()
            };
            (id(draft), p, track_properties)
                .prop_map(move |(request_id, parameters, track_properties)| {
                    let answers = answered;
                    let ok = RequestOk { request_id, answers, parameters, track_properties };
                    Message::RequestOk(ok)
                })
                .boxed()
        }
        Kind::RequestError
        | Kind::SubscribeError
        | Kind::PublishError
        | Kind::FetchError
        | Kind::TrackStatusError
        | Kind::PublishNamespaceError
        | Kind::SubscribeNamespaceError => refusal(draft, answered),
        Kind::Subscribe => (int(), track(fewest), p)
            .prop_map(|(request_id, track, parameters)| {
                Message::Subscribe(Subscribe { request_id, track, parameters })
            })
            .boxed(),
        Kind::TrackStatus => (int(), track(fewest), p)
            .prop_map(|(request_id, track, parameters)| {
                Message::TrackStatus(TrackStatus { request_id, track, parameters })
            })
            .boxed(),
        Kind::SubscribeOk => (id(draft), int(), p, properties(draft, &[0x02, 0x04]))
            .prop_map(|(request_id, track_alias, parameters, track_properties)| {
                let ok = SubscribeOk { request_id, track_alias, parameters, track_properties };
                Message::SubscribeOk(ok)
            })
            .boxed(),
        Kind::RequestUpdate => (int(), int(), p)
            .prop_map(move |(request_id, existing, parameters)| {
                let existing_request_id = (draft < Draft::D18).then_some(existing);
                Message::RequestUpdate(RequestUpdate {
                    request_id,
                    existing_request_id,
                    parameters,
                })
            })
            .boxed(),
        Kind::Unsubscribe => {
            int().prop_map(|id| Message::Unsubscribe(Unsubscribe { request_id: id })).boxed()
        }
        Kind::FetchCancel => {
            int().prop_map(|id| Message::FetchCancel(FetchCancel { request_id: id })).boxed()
        }
        Kind::Publish => (int(), track(fewest), int(), p, properties(draft, &[0x02, 0x04]))
            .prop_map(|(request_id, track, track_alias, parameters, track_properties)| {
                let publish =
                    Publish { request_id, track, track_alias, parameters, track_properties };
                Message::Publish(publish)
            })
            .boxed(),
        Kind::PublishDone => (id(draft), 0..0x20_u64, int(), reason())
            .prop_map(move |(request_id, code, stream_count, reason)| {
                let code = draft.dialect().publish_done(code);
                Message::PublishDone(PublishDone { request_id, code, stream_count, reason })
            })
            .boxed(),
        Kind::Fetch => {
            let start = prop_oneof![
                int().prop_map(JoiningStart::Relative),
                int().prop_map(JoiningStart::Absolute)
            ];
            let fetch_range = prop_oneof![
                (track(fewest), range(draft)).prop_map(|(track, (start, end))| {
                    FetchRange::Standalone { track, start, end }
                }),
                (int(), start)
                    .prop_map(|(request_id, start)| FetchRange::Joining { request_id, start }),
            ];
            (int(), fetch_range, p)
                .prop_map(|(request_id, range, parameters)| {
                    Message::Fetch(Fetch { request_id, range, parameters })
                })
                .boxed()
        }
        Kind::FetchOk => {
            let fields = (id(draft), any::<bool>(), location(draft), group_order());
            (fields, properties(draft, &[0x04]))
                .prop_map(move |((request_id, end_of_track, end, order), track_properties)| {
                    let group_order = (draft == Draft::D14).then_some(order);
                    let parameters = Parameters::default();
                    Message::FetchOk(FetchOk {
                        request_id,
                        end_of_track,
                        end,
                        group_order,
                        parameters,
                        track_properties,
                    })
                })
                .boxed()
        }
        Kind::PublishNamespace => (int(), namespace(fewest), p)
            .prop_map(|(request_id, namespace, parameters)| {
                Message::PublishNamespace(PublishNamespace { request_id, namespace, parameters })
            })
            .boxed(),
        Kind::PublishNamespaceDone => target(draft).prop_map(Message::PublishNamespaceDone).boxed(),
        Kind::PublishNamespaceCancel => (target(draft), 0..0x40_u64, reason())
            .prop_map(move |(target, code, reason)| {
                let code = draft.dialect().request_error(RequestKind::PublishNamespace, code);
                let cancel = PublishNamespaceCancel { target, code, reason };
                Message::PublishNamespaceCancel(cancel)
            })
            .boxed(),
        Kind::SubscribeNamespace => {
            let interest = match draft {
                Draft::D14 => Just(NamespaceInterest::Both).boxed(),
                Draft::D16 => prop_oneof![
                    Just(NamespaceInterest::Tracks),
                    Just(NamespaceInterest::Namespaces),
                    Just(NamespaceInterest::Both)
                ]
                .boxed(),
                _ => Just(NamespaceInterest::Namespaces).boxed(),
            };
            (int(), namespace(fewest_in_prefix), interest, p)
                .prop_map(|(request_id, prefix, interest, parameters)| {
                    let subscribe = SubscribeNamespace { request_id, prefix, interest, parameters };
                    Message::SubscribeNamespace(subscribe)
                })
                .boxed()
        }
        Kind::SubscribeTracks => (int(), namespace(0), p)
            .prop_map(|(request_id, prefix, parameters)| {
                Message::SubscribeTracks(SubscribeTracks { request_id, prefix, parameters })
            })
            .boxed(),
        Kind::UnsubscribeNamespace => namespace(1)
            .prop_map(|prefix| Message::UnsubscribeNamespace(UnsubscribeNamespace { prefix }))
            .boxed(),
        Kind::Namespace => {
            namespace(0).prop_map(|suffix| Message::Namespace(Namespace { suffix })).boxed()
        }
        Kind::NamespaceDone => {
            namespace(0).prop_map(|suffix| Message::NamespaceDone(NamespaceDone { suffix })).boxed()
        }
        Kind::PublishBlocked => {
            track(0).prop_map(|track| Message::PublishBlocked(PublishBlocked { track })).boxed()
        }
        other => panic!("no messages of kind {other:?}"),
    }
}

fn target(draft: Draft) -> BoxedStrategy<PublishNamespaceDone> {
    match draft {
        Draft::D14 => namespace(1).prop_map(PublishNamespaceDone::Namespace).boxed(),
        _ => int(draft).prop_map(PublishNamespaceDone::RequestId).boxed(),
    }
}

/// Any message of the draft, with its kind.
pub(crate) fn any_message(draft: Draft) -> BoxedStrategy<(MessageKind, Message)> {
    let kinds: Vec<MessageKind> = draft.dialect().messages.iter().map(|(_, kind)| *kind).collect();
    proptest::sample::select(kinds)
        .prop_flat_map(move |kind| message(draft, kind).prop_map(move |message| (kind, message)))
        .boxed()
}
