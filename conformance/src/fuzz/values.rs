//! Control messages as values, whatever they hold.

use arbitrary::{Arbitrary, Result, Unstructured};
use moqt_engine::model::{
    AuthToken, Fetch, FetchCancel, FetchOk, FetchRange, FullTrackName, Goaway, GroupOrder,
    JoiningStart, Location, MaxRequestId, Message, Namespace, NamespaceDone, NamespaceInterest,
    Parameters, Property, Publish, PublishBlocked, PublishDone, PublishDoneCode, PublishNamespace,
    PublishNamespaceCancel, PublishNamespaceDone, Redirect, RequestError, RequestErrorCode,
    RequestKind, RequestOk, RequestUpdate, RequestsBlocked, Setup, SetupOptions, Subscribe,
    SubscribeNamespace, SubscribeOk, SubscribeTracks, SubscriptionFilter, TrackNamespace,
    TrackProperties, TrackStatus, Unsubscribe, UnsubscribeNamespace,
};

/// Any message.
pub(super) fn message(u: &mut Unstructured<'_>) -> Result<Message> {
    Ok(match u.int_in_range(0..=24)? {
        0 => {
            let versions = list(u, int)?;
            Message::Setup(Setup { versions, options: options(u)? })
        }
        1 => Message::Goaway(Goaway {
            new_session_uri: bytes(u)?,
            timeout: int(u)?,
            request_id: option(u, int)?,
        }),
        2 => Message::MaxRequestId(MaxRequestId { max_request_id: int(u)? }),
        3 => Message::RequestsBlocked(RequestsBlocked { max_request_id: int(u)? }),
        4 => Message::RequestOk(RequestOk {
            request_id: option(u, int)?,
            answers: option(u, kind)?,
            parameters: parameters(u)?,
            track_properties: properties(u)?,
        }),
        5 => Message::RequestError(RequestError {
            request_id: option(u, int)?,
            answers: option(u, kind)?,
            code: error_code(u)?,
            retry_interval: int(u)?,
            reason: reason(u)?,
            redirect: option(u, redirect)?,
        }),
        6 => Message::Subscribe(Subscribe {
            request_id: int(u)?,
            track: track(u)?,
            parameters: parameters(u)?,
        }),
        7 => Message::SubscribeOk(SubscribeOk {
            request_id: option(u, int)?,
            track_alias: int(u)?,
            parameters: parameters(u)?,
            track_properties: properties(u)?,
        }),
        8 => Message::RequestUpdate(RequestUpdate {
            request_id: int(u)?,
            existing_request_id: option(u, int)?,
            parameters: parameters(u)?,
        }),
        9 => Message::Unsubscribe(Unsubscribe { request_id: int(u)? }),
        10 => Message::Publish(Publish {
            request_id: int(u)?,
            track: track(u)?,
            track_alias: int(u)?,
            parameters: parameters(u)?,
            track_properties: properties(u)?,
        }),
        11 => Message::PublishDone(PublishDone {
            request_id: option(u, int)?,
            code: match u.int_in_range(0..=2)? {
                0 => PublishDoneCode::TrackEnded,
                1 => PublishDoneCode::ExcessiveLoad,
                _ => PublishDoneCode::Other(int(u)?),
            },
            stream_count: int(u)?,
            reason: reason(u)?,
        }),
        12 => Message::Fetch(Fetch {
            request_id: int(u)?,
            range: range(u)?,
            parameters: parameters(u)?,
        }),
        13 => Message::FetchOk(FetchOk {
            request_id: option(u, int)?,
            end_of_track: u.arbitrary()?,
            end: location(u)?,
            group_order: option(u, order)?,
            parameters: parameters(u)?,
            track_properties: properties(u)?,
        }),
        14 => Message::FetchCancel(FetchCancel { request_id: int(u)? }),
        15 => Message::TrackStatus(TrackStatus {
            request_id: int(u)?,
            track: track(u)?,
            parameters: parameters(u)?,
        }),
        16 => Message::PublishNamespace(PublishNamespace {
            request_id: int(u)?,
            namespace: namespace(u)?,
            parameters: parameters(u)?,
        }),
        17 => Message::PublishNamespaceDone(target(u)?),
        18 => Message::PublishNamespaceCancel(PublishNamespaceCancel {
            target: target(u)?,
            code: error_code(u)?,
            reason: reason(u)?,
        }),
        19 => Message::SubscribeNamespace(SubscribeNamespace {
            request_id: int(u)?,
            prefix: namespace(u)?,
            interest: *u.choose(&[
                NamespaceInterest::Tracks,
                NamespaceInterest::Namespaces,
                NamespaceInterest::Both,
            ])?,
            parameters: parameters(u)?,
        }),
        20 => Message::UnsubscribeNamespace(UnsubscribeNamespace { prefix: namespace(u)? }),
        21 => Message::Namespace(Namespace { suffix: namespace(u)? }),
        22 => Message::NamespaceDone(NamespaceDone { suffix: namespace(u)? }),
        23 => Message::SubscribeTracks(SubscribeTracks {
            request_id: int(u)?,
            prefix: namespace(u)?,
            parameters: parameters(u)?,
        }),
        _ => Message::PublishBlocked(PublishBlocked { track: track(u)? }),
    })
}

/// Small integers mostly, and any.
fn int(u: &mut Unstructured<'_>) -> Result<u64> {
    Ok(match u.arbitrary::<u8>()? {
        small @ ..0xf8 => u64::from(small),
        0xf8..0xfc => u64::arbitrary(u)? >> 2,
        _ => u.arbitrary()?,
    })
}

fn option<T>(
    u: &mut Unstructured<'_>,
    of: impl FnOnce(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Option<T>> {
    if u.arbitrary()? { of(u).map(Some) } else { Ok(None) }
}

fn list<T>(
    u: &mut Unstructured<'_>,
    of: impl Fn(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut list = Vec::new();
    while list.len() < 40 && u.ratio(3, 4)? && !u.is_empty() {
        list.push(of(u)?);
    }
    Ok(list)
}

/// A few bytes, or more than any field may have.
fn bytes(u: &mut Unstructured<'_>) -> Result<bytes::Bytes> {
    let long = [1025, 4097, 8193, 65_536];
    Ok(match u.arbitrary::<u8>()? {
        which @ 0..4 => vec![b'x'; long[usize::from(which)]].into(),
        len => u.bytes(usize::from(len % 24).min(u.len()))?.to_vec().into(),
    })
}

fn reason(u: &mut Unstructured<'_>) -> Result<String> {
    Ok(String::from_utf8_lossy(&bytes(u)?).into_owned())
}

fn namespace(u: &mut Unstructured<'_>) -> Result<TrackNamespace> {
    TrackNamespace::new(list(u, bytes)?).or(Ok(TrackNamespace::root()))
}

fn track(u: &mut Unstructured<'_>) -> Result<FullTrackName> {
    FullTrackName::new(namespace(u)?, bytes(u)?).or(Ok(FullTrackName::default()))
}

fn location(u: &mut Unstructured<'_>) -> Result<Location> {
    Ok(Location::new(int(u)?, int(u)?))
}

fn order(u: &mut Unstructured<'_>) -> Result<GroupOrder> {
    u.choose(&[GroupOrder::Ascending, GroupOrder::Descending]).copied()
}

fn kind(u: &mut Unstructured<'_>) -> Result<RequestKind> {
    use RequestKind as Kind;
    let kinds = [
        Kind::Subscribe,
        Kind::Publish,
        Kind::Fetch,
        Kind::TrackStatus,
        Kind::PublishNamespace,
        Kind::SubscribeNamespace,
        Kind::SubscribeTracks,
        Kind::Update,
    ];
    u.choose(&kinds).copied()
}

fn error_code(u: &mut Unstructured<'_>) -> Result<RequestErrorCode> {
    Ok(match u.int_in_range(0..=4)? {
        0 => RequestErrorCode::Redirect,
        1 => RequestErrorCode::DoesNotExist,
        2 => RequestErrorCode::NoObjects,
        // One that a draft may have a name for.
        3 => RequestErrorCode::Other(u.int_in_range(0..=0x3f)?),
        _ => RequestErrorCode::Other(int(u)?),
    })
}

fn redirect(u: &mut Unstructured<'_>) -> Result<Redirect> {
    Ok(Redirect { connect_uri: bytes(u)?, track: track(u)? })
}

fn range(u: &mut Unstructured<'_>) -> Result<FetchRange> {
    Ok(match u.int_in_range(0..=2)? {
        0 => FetchRange::Standalone { track: track(u)?, start: location(u)?, end: location(u)? },
        1 => {
            let (request_id, start) = (int(u)?, JoiningStart::Relative(int(u)?));
            FetchRange::Joining { request_id, start }
        }
        _ => {
            let (request_id, start) = (int(u)?, JoiningStart::Absolute(int(u)?));
            FetchRange::Joining { request_id, start }
        }
    })
}

fn target(u: &mut Unstructured<'_>) -> Result<PublishNamespaceDone> {
    Ok(if u.arbitrary()? {
        PublishNamespaceDone::Namespace(namespace(u)?)
    } else {
        PublishNamespaceDone::RequestId(int(u)?)
    })
}

fn token(u: &mut Unstructured<'_>) -> Result<AuthToken> {
    Ok(match u.int_in_range(0..=3)? {
        0 => AuthToken::Delete { alias: int(u)? },
        1 => AuthToken::Register { alias: int(u)?, token_type: int(u)?, value: bytes(u)? },
        2 => AuthToken::UseAlias { alias: int(u)? },
        _ => AuthToken::UseValue { token_type: int(u)?, value: bytes(u)? },
    })
}

fn options(u: &mut Unstructured<'_>) -> Result<SetupOptions> {
    let mut options = SetupOptions::default();
    options.path = option(u, bytes)?;
    options.authority = option(u, bytes)?;
    options.max_request_id = option(u, int)?;
    options.max_auth_token_cache_size = option(u, int)?;
    options.authorization_tokens = list(u, token)?;
    options.implementation = option(u, bytes)?;
    // "0x7f * N + 0x9D" (draft-18, "Grease").
    options.reserved = option(u, |u| Ok(u64::from(u.arbitrary::<u16>()?) * 0x7f + 0x9d))?;
    Ok(options)
}

fn filter(u: &mut Unstructured<'_>) -> Result<SubscriptionFilter> {
    Ok(match u.int_in_range(0..=3)? {
        0 => SubscriptionFilter::NextGroupStart,
        1 => SubscriptionFilter::LargestObject,
        2 => SubscriptionFilter::AbsoluteStart { start: location(u)? },
        _ => SubscriptionFilter::AbsoluteRange { start: location(u)?, end_group: int(u)? },
    })
}

fn parameters(u: &mut Unstructured<'_>) -> Result<Parameters> {
    let mut parameters = Parameters::default();
    parameters.authorization_tokens = list(u, token)?;
    parameters.object_delivery_timeout = option(u, int)?;
    parameters.subgroup_delivery_timeout = option(u, int)?;
    parameters.rendezvous_timeout = option(u, int)?;
    parameters.fill_timeout = option(u, int)?;
    parameters.expires = option(u, int)?;
    parameters.largest_object = option(u, location)?;
    parameters.forward = u.arbitrary()?;
    parameters.subscriber_priority = u.arbitrary()?;
    parameters.subscription_filter = option(u, filter)?;
    parameters.group_order = option(u, order)?;
    parameters.new_group_request = option(u, int)?;
    parameters.track_namespace_prefix = option(u, namespace)?;
    Ok(parameters)
}

fn properties(u: &mut Unstructured<'_>) -> Result<TrackProperties> {
    let property = |u: &mut Unstructured<'_>| {
        let key = int(u)?;
        // Now and then a value that is not of the type's form.
        let is_int = key.is_multiple_of(2) != u.ratio(1, 50)?;
        Ok(if is_int { Property::int(key, int(u)?) } else { Property::bytes(key, bytes(u)?) })
    };
    list(u, property).map(TrackProperties::from_iter)
}
