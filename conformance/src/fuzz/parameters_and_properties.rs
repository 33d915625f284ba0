use bytes::Bytes;
use moqt_engine::model::{
    AuthToken, Draft, JoiningStart, Location, Message, MessageKind, NamespaceInterest, Parameters,
    Property, PropertyValue, RequestKind, SessionError, SetupOptions, SubscriptionFilter,
    property_type,
};
use moqt_engine::wire::{ControlReader, DecodeError, Properties, decode_message};

use super::control_message;
use super::reference::{self, Pairs};
use crate::{DRAFTS, say};

/// Key-value pairs in every place that has them: the properties of objects and of tracks, setup
/// options and the tokens in them, message parameters.
///
/// The first byte chooses draft and place. The pairs are also read by the text's own rules
/// (`reference`), which say what must come out.
pub fn parameters_and_properties(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let choice = usize::from(*choice);
    let draft = DRAFTS[choice % DRAFTS.len()];
    match choice / DRAFTS.len() % 5 {
        0 => object_properties(draft, data),
        1 => track_properties(draft, data),
        2 => setup_options(draft, data),
        3 => token(draft, data),
        _ => message_parameters(draft, data),
    }
}

fn object_properties(draft: Draft, data: &[u8]) {
    let properties = Properties::from_wire(draft.dialect(), Bytes::copy_from_slice(data));
    assert_eq!(properties.as_bytes(), data);
    let expected = Pairs::read(draft, data);
    let mut found: Vec<_> = properties.iter().collect();
    if !expected.right {
        let last = found.pop().and_then(Result::err);
        let last = last.expect("what is wrong is found out");
        assert_eq!(last.session_error(), SessionError::ProtocolViolation);
    }
    let found: Vec<Property> = found.into_iter().map(|found| found.expect("right")).collect();
    assert_eq!(found, expected.list);
    for key in found.iter().map(|property| property.key).chain([property_type::IMMUTABLE, 2]) {
        assert_eq!(properties.int(key), number(draft, &found, key), "{key:#x}");
    }
    for other in DRAFTS {
        translate(draft, other, &properties, &expected);
    }
    if expected.right {
        let encoded = Properties::encode(draft.dialect(), &found).expect("what was read");
        let list: Vec<_> = encoded.iter().map(|property| property.expect("written")).collect();
        assert_eq!(list, expected.sorted());
        assert!(encoded.as_bytes().len() <= data.len(), "{found:?} have become longer");
    }
}

/// The number under a key, also in the first Immutable Properties.
fn number(draft: Draft, list: &[Property], key: u64) -> Option<u64> {
    let find = |list: &[Property]| list.iter().find(|property| property.key == key)?.as_int();
    find(list).or_else(|| {
        let immutable = list.iter().find(|property| property.key == property_type::IMMUTABLE)?;
        let PropertyValue::Bytes(bytes) = &immutable.value else { return None };
        find(&Pairs::read(draft, bytes).list)
    })
}

/// Properties on their way to a peer of another draft, as a relay passes them on.
fn translate(from: Draft, to: Draft, properties: &Properties, expected: &Pairs) {
    let translated = properties.to_dialect(to.dialect());
    if from == to {
        assert_eq!(
            translated.map(|same| same.as_bytes().to_vec()),
            Ok(properties.as_bytes().to_vec())
        );
        return;
    }
    let mut sorted = expected.list.clone();
    sorted.sort_by_key(|property| property.key);
    let max = to.dialect().ints.max();
    let mut previous = 0;
    let fits = sorted.iter().all(|property| {
        let base = if to >= Draft::D16 { previous } else { 0 };
        previous = property.key;
        property.key - base <= max && property.as_int().is_none_or(|value| value <= max)
    });
    let Ok(translated) = translated else {
        assert!(!(expected.right && fits), "{from} {properties:?} are lost on the way to {to}");
        return;
    };
    assert!(expected.right && fits, "{from} {properties:?} have become {translated:?} of {to}");
    let list: Vec<_> = translated.iter().map(|property| property.expect("written")).collect();
    assert_eq!(list, sorted, "{from} to {to}");
    assert!(Pairs::read(to, translated.as_bytes()).right);
}

/// Those of a SUBSCRIBE_OK, on drafts that have them there.
fn track_properties(draft: Draft, data: &[u8]) {
    let dialect = draft.dialect();
    if !dialect.track_properties {
        return;
    }
    let body = [&parameters_of(draft, &say::subscribe_ok(0, 0)).1[..], &[0], data].concat();
    let expected = Pairs::read(draft, data);
    let decoded = decode_message(dialect, MessageKind::SubscribeOk, &body);
    let Ok(Message::SubscribeOk(ok)) = decoded else {
        assert!(!expected.right || !all_valid(draft, &expected.list), "{decoded:?}");
        return;
    };
    assert!(expected.right && all_valid(draft, &expected.list), "{ok:?}");
    let found: Vec<_> = ok.track_properties.iter().cloned().collect();
    for property in &found {
        let key = property.key;
        let among: Vec<_> = inside(draft, &expected.list).chain(expected.list.clone()).collect();
        let value = ok.track_properties.int(key);
        assert!(value.is_none_or(|value| among.contains(&Property::int(key, value))), "{key:#x}");
    }
    assert_eq!(found, expected.sorted());
    control_message::body(dialect, MessageKind::SubscribeOk, &body);
}

/// Whether no value is one that the draft closes the session for, inside Immutable Properties
/// or out.
fn all_valid(draft: Draft, list: &[Property]) -> bool {
    let mut all = list.iter().cloned().chain(inside(draft, list));
    all.all(|property| match (property.key, property.as_int()) {
        // DELIVERY_TIMEOUT, "MUST be greater than 0" until draft 17.
        (0x02, Some(timeout)) => timeout > 0 || draft > Draft::D16,
        // DEFAULT_PUBLISHER_PRIORITY, _GROUP_ORDER, DYNAMIC_GROUPS.
        (0x0E, Some(priority)) => priority <= 255,
        (0x22, Some(order)) => order == 1 || order == 2,
        (0x30, Some(dynamic)) => dynamic <= 1,
        _ => true,
    })
}

/// What is inside Immutable Properties, as far as it can be read.
fn inside(draft: Draft, list: &[Property]) -> impl Iterator<Item = Property> {
    let immutable = list.iter().filter(|property| property.key == property_type::IMMUTABLE);
    immutable.flat_map(move |property| match &property.value {
        PropertyValue::Bytes(bytes) => Pairs::read(draft, bytes).list,
        PropertyValue::Int(_) => Vec::new(),
    })
}

/// Those of the setup message that a client sends.
fn setup_options(draft: Draft, data: &[u8]) {
    let dialect = draft.dialect();
    let pairs = Pairs::read(draft, data);
    // One more than could be read, where that many are announced.
    let count = pairs.list.len() + usize::from(!pairs.right);
    let (count, count_len) = dialect.ints.encode(count as u64).expect("few");
    let before: &[&[u8]] = match draft {
        Draft::D14 => &[&[0], &count[..count_len]],
        Draft::D16 => &[&count[..count_len]],
        _ => &[],
    };
    let body = [&before.concat()[..], data].concat();
    let kind = match dialect.message_code(MessageKind::ClientSetup) {
        Some(_) => MessageKind::ClientSetup,
        None => MessageKind::Setup,
    };
    match (decode_message(dialect, kind, &body), options(draft, &pairs)) {
        (Ok(Message::Setup(setup)), Some(options)) => assert_eq!(setup.options, options),
        (Err(_), None) => {}
        (found, expected) => panic!("{draft}: {found:?} instead of {expected:?}"),
    }
    control_message::body(dialect, kind, &body);
}

/// The options that pairs are, unless they are wrong.
fn options(draft: Draft, pairs: &Pairs) -> Option<SetupOptions> {
    let mut options = SetupOptions::default();
    let mut seen = Vec::new();
    for Property { key, value } in &pairs.list {
        match (key, value) {
            (0x01, PropertyValue::Bytes(path)) => options.path = Some(path.clone()),
            (0x02, PropertyValue::Int(max)) if draft < Draft::D18 => {
                options.max_request_id = Some(*max);
            }
            (0x03, PropertyValue::Bytes(token)) => {
                options.authorization_tokens.push(token_of(draft, token)?);
                continue;
            }
            (0x04, PropertyValue::Int(size)) => options.max_auth_token_cache_size = Some(*size),
            (0x05, PropertyValue::Bytes(authority)) => options.authority = Some(authority.clone()),
            (0x07, PropertyValue::Bytes(name)) => options.implementation = Some(name.clone()),
            _ => continue,
        }
        if seen.contains(key) {
            return None;
        }
        seen.push(*key);
    }
    pairs.right.then_some(options)
}

/// A token on its own ("AUTHORIZATION TOKEN Parameter").
fn token_of(draft: Draft, mut bytes: &[u8]) -> Option<AuthToken> {
    let mut next = || {
        let (value, len) = reference::int(draft.dialect().ints, bytes)?;
        bytes = &bytes[len..];
        u64::try_from(value).ok()
    };
    let token = match next()? {
        0 => AuthToken::Delete { alias: next()? },
        1 => {
            let (alias, token_type) = (next()?, next()?);
            let value = Bytes::copy_from_slice(bytes);
            return Some(AuthToken::Register { alias, token_type, value });
        }
        2 => AuthToken::UseAlias { alias: next()? },
        3 => {
            let token_type = next()?;
            let value = Bytes::copy_from_slice(bytes);
            return Some(AuthToken::UseValue { token_type, value });
        }
        _ => return None,
    };
    bytes.is_empty().then_some(token)
}

/// The token of a TRACK_STATUS.
fn token(draft: Draft, data: &[u8]) {
    let dialect = draft.dialect();
    let (kind, before) = parameters_of(draft, &say::track_status(0, "t"));
    let Some((len, len_len)) = dialect.ints.encode(data.len() as u64) else { return };
    let body = [&before[..], &[1, 0x03], &len[..len_len], data].concat();
    let expected = token_of(draft, data);
    match (decode_message(dialect, kind, &body), expected) {
        (Ok(Message::TrackStatus(status)), Some(token)) => {
            assert_eq!(status.parameters.authorization_tokens, [token]);
        }
        (Err(error), expected) => {
            let too_long = data.len() > usize::from(u16::MAX);
            assert!(expected.is_none() || too_long, "{error}");
            assert!(too_long || is_formatting(&error), "{error:?}");
        }
        (found, expected) => panic!("{draft}: {found:?} instead of {expected:?}"),
    }
    control_message::body(dialect, kind, &body);
}

fn is_formatting(error: &DecodeError) -> bool {
    error.session_error() == SessionError::KeyValueFormattingError
}

/// Those of any message that has them, with their count.
fn message_parameters(draft: Draft, data: &[u8]) {
    let Some((which, data)) = data.split_first() else { return };
    let messages = messages(draft);
    let (kind, before) = parameters_of(draft, &messages[usize::from(*which) % messages.len()]);
    control_message::body(draft.dialect(), kind, &[&before, data].concat());
}

/// Messages whose last field is the number of their parameters, none.
fn messages(draft: Draft) -> Vec<Message> {
    let mut update = Parameters::default();
    if draft.dialect().fixed_fields {
        update.forward = Some(true);
        update.subscriber_priority = Some(0);
        let start = Location::ZERO;
        update.subscription_filter = Some(SubscriptionFilter::AbsoluteStart { start });
    }
    let mut messages = vec![
        say::subscribe(0, "t"),
        say::subscribe_ok(0, 0),
        say::publish(0, "t", 0),
        say::ok(0, RequestKind::Publish),
        say::join(0, 0, JoiningStart::Relative(0)),
        say::fetch_ok(0, Location::ZERO),
        say::track_status(0, "t"),
        say::ok(0, RequestKind::TrackStatus),
        say::update(0, 0, update),
        say::publish_namespace(0, "t"),
        say::subscribe_namespace(draft, 0, "t", NamespaceInterest::Namespaces),
    ];
    if say::namespaces_have_streams(draft) {
        messages.push(say::subscribe_namespace(draft, 0, "t", NamespaceInterest::Tracks));
    }
    messages
}

/// The kind of a message without parameters and what its body has before their number.
fn parameters_of(draft: Draft, message: &Message) -> (MessageKind, Vec<u8>) {
    let mut reader = ControlReader::new(draft.dialect());
    reader.push(say::message(draft, message).into());
    let raw = reader.next_raw().ok().flatten().expect("what is written can be read");
    let (count, before) = raw.body.split_last().expect("a number");
    assert_eq!(*count, 0, "{message:?}");
    (raw.kind, before.to_vec())
}
