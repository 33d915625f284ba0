//! What the other codec has read, brought into the form that translating our reading gives.

use moqt_engine::model::{Draft, MessageKind};
use moqtap_codec::auth_token::AuthorizationToken;
use moqtap_codec::error::CodecError;
use moqtap_codec::kvp::{KeyValuePair, KvpValue};
use moqtap_codec::subscription_filter::SubscriptionFilter;
use moqtap_codec::types::Location;
use moqtap_codec::varint::Moqt18;

use super::translate::int;

/// Does the same to one field of several messages.
macro_rules! each {
    ($message:expr, $type:ident { $($name:ident),* $(,)? } . $field:ident, $change:expr) => {
        match $message {
            $($type::$name(m) => $change(&mut m.$field),)*
            _ => {}
        }
    };
}

/// Does the same to the parameters of each message, with the types that may be there.
macro_rules! parameters {
    ($message:expr, $draft:expr, $type:ident { $($name:ident: $kind:ident),* $(,)? }) => {
        match $message {
            $($type::$name(m) => {
                parameters($draft, &mut m.parameters, allowed($draft, MessageKind::$kind));
            })*
            _ => {}
        }
    };
}

/// The parameters that a message may have, or the setup options that there are. "If it appears in
/// some other type of message, it MUST be ignored" (draft-14, "Version Specific Parameters",
/// draft-16, "Message Parameters"); draft 18 closes the session, so that any may be here.
pub fn allowed(draft: Draft, kind: MessageKind) -> &'static [u64] {
    use MessageKind as Kind;
    match (draft, kind) {
        (_, Kind::ClientSetup | Kind::ServerSetup) => &[0x01, 0x02, 0x03, 0x04, 0x05, 0x07],
        (_, Kind::Setup) => &[0x01, 0x03, 0x04, 0x05, 0x07],
        (Draft::D14, Kind::Subscribe | Kind::RequestUpdate | Kind::TrackStatus) => &[0x02, 0x03],
        (Draft::D14, Kind::SubscribeOk | Kind::TrackStatusOk) => &[0x02, 0x04],
        (Draft::D14, Kind::Publish) => &[0x02, 0x03, 0x04],
        (Draft::D14, Kind::PublishOk) => &[0x02],
        (Draft::D14, Kind::FetchOk) => &[0x04],
        (Draft::D14, Kind::Fetch | Kind::PublishNamespace | Kind::SubscribeNamespace)
        | (Draft::D16, Kind::TrackStatus | Kind::PublishNamespace) => &[0x03],
        (Draft::D16, Kind::Subscribe) => &[0x02, 0x03, 0x10, 0x20, 0x21, 0x22, 0x32],
        (Draft::D16, Kind::SubscribeOk | Kind::RequestOk) => &[0x08, 0x09],
        (Draft::D16, Kind::RequestUpdate) => &[0x02, 0x03, 0x10, 0x20, 0x21, 0x32],
        (Draft::D16, Kind::Publish) => &[0x03, 0x08, 0x09, 0x10],
        (Draft::D16, Kind::PublishOk) => &[0x02, 0x08, 0x10, 0x20, 0x21, 0x22, 0x32],
        (Draft::D16, Kind::Fetch) => &[0x03, 0x20, 0x22],
        (Draft::D16, Kind::SubscribeNamespace) => &[0x03, 0x10],
        (Draft::D14 | Draft::D16, _) => &[],
        _ => &[0x02, 0x03, 0x04, 0x06, 0x08, 0x09, 0x0a, 0x10, 0x20, 0x21, 0x22, 0x32, 0x34],
    }
}

pub(super) fn d14(mut message: super::d14::ControlMessage) -> super::d14::ControlMessage {
    use super::d14::ControlMessage;
    if let ControlMessage::ServerSetup(m) = &mut message {
        // A server has no authority: 0x05 is a misprint of MOQT IMPLEMENTATION there. Of both
        // numbers the last one counts.
        let names = |key| key == int(0x05) || key == int(0x07);
        if let Some(last) = m.parameters.iter().rposition(|pair| names(pair.key)) {
            let mut name = m.parameters.remove(last);
            name.key = int(0x07);
            m.parameters.retain(|pair| !names(pair.key));
            m.parameters.push(name);
        }
    }
    parameters!(
        &mut message,
        Draft::D14,
        ControlMessage {
            Subscribe: Subscribe,
            SubscribeOk: SubscribeOk,
            SubscribeUpdate: RequestUpdate,
            Publish: Publish,
            PublishOk: PublishOk,
            Fetch: Fetch,
            FetchOk: FetchOk,
            TrackStatus: TrackStatus,
            TrackStatusOk: TrackStatusOk,
            PublishNamespace: PublishNamespace,
            SubscribeNamespace: SubscribeNamespace,
            ClientSetup: ClientSetup,
            ServerSetup: ServerSetup,
        }
    );
    each!(
        &mut message,
        ControlMessage {
            SubscribeError,
            PublishError,
            FetchError,
            TrackStatusError,
            PublishNamespaceError,
            SubscribeNamespaceError,
            PublishNamespaceCancel,
            PublishDone,
        }
        .reason_phrase,
        reason
    );
    // Nothing says what the alias of a track means that one has only asked about.
    if let ControlMessage::TrackStatusOk(m) = &mut message {
        m.track_alias = int(0);
    }
    message
}

pub(super) fn d16(mut message: super::d16::ControlMessage) -> super::d16::ControlMessage {
    use super::d16::ControlMessage;
    parameters!(
        &mut message,
        Draft::D16,
        ControlMessage {
            Subscribe: Subscribe,
            SubscribeOk: SubscribeOk,
            RequestUpdate: RequestUpdate,
            Publish: Publish,
            PublishOk: PublishOk,
            Fetch: Fetch,
            FetchOk: FetchOk,
            TrackStatus: TrackStatus,
            RequestOk: RequestOk,
            PublishNamespace: PublishNamespace,
            SubscribeNamespace: SubscribeNamespace,
            ClientSetup: ClientSetup,
            ServerSetup: ServerSetup,
        }
    );
    each!(
        &mut message,
        ControlMessage { RequestError, PublishNamespaceCancel, PublishDone }.reason_phrase,
        reason
    );
    message
}

pub(super) fn d18(mut message: super::d18::ControlMessage) -> super::d18::ControlMessage {
    use super::d18::ControlMessage;
    parameters!(
        &mut message,
        Draft::D18,
        ControlMessage {
            Subscribe: Subscribe,
            SubscribeOk: SubscribeOk,
            RequestUpdate: RequestUpdate,
            Publish: Publish,
            Fetch: Fetch,
            FetchOk: FetchOk,
            TrackStatus: TrackStatus,
            RequestOk: RequestOk,
            PublishNamespace: PublishNamespace,
            SubscribeNamespace: SubscribeNamespace,
            SubscribeTracks: SubscribeTracks,
        }
    );
    if let ControlMessage::Setup(m) = &mut message {
        parameters(Draft::D18, &mut m.options, allowed(Draft::D18, MessageKind::Setup));
    }
    each!(&mut message, ControlMessage { RequestError, PublishDone }.reason_phrase, reason);
    message
}

/// The track properties of a message.
macro_rules! track_properties {
    ($message:expr, $type:ident { $($name:ident),* } . $field:ident) => {
        match $message {
            $($type::$name(m) => &m.$field,)*
            _ => &[],
        }
    };
}

pub(super) fn d16_track_properties(message: &super::d16::ControlMessage) -> &[KeyValuePair] {
    use super::d16::ControlMessage;
    track_properties!(message, ControlMessage { SubscribeOk, Publish, FetchOk }.track_extensions)
}

pub(super) fn d18_track_properties(message: &super::d18::ControlMessage) -> &[KeyValuePair] {
    use super::d18::ControlMessage;
    track_properties!(
        message,
        ControlMessage { SubscribeOk, Publish, FetchOk, RequestOk }.track_properties
    )
}

/// Text for people: what is not UTF-8 in it is replaced.
fn reason(bytes: &mut Vec<u8>) {
    *bytes = String::from_utf8_lossy(bytes).into_owned().into_bytes();
}

fn parameters(draft: Draft, list: &mut Vec<KeyValuePair>, allowed: &[u64]) {
    list.retain(|pair| allowed.contains(&pair.key.into_inner()));
    list.sort_by_key(|pair| pair.key);
    for pair in list {
        let key = pair.key.into_inner();
        if let KvpValue::Bytes(value) = &mut pair.value
            && let Some(shortest) = shortest(draft, key, value)
        {
            *value = shortest;
        }
    }
}

/// The structure that a value is, written anew; `None` if it is none.
fn shortest(draft: Draft, key: u64, value: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let is_new = draft >= Draft::D18;
    let done: Result<(), CodecError> = match key {
        0x03 if is_new => AuthorizationToken::decode_moqt::<Moqt18>(key, value)
            .map(|token| token.encode_moqt::<Moqt18>(&mut out)),
        0x03 => AuthorizationToken::decode(key, value).and_then(|token| token.encode(&mut out)),
        // Its reader has done so on draft 18.
        0x09 if !is_new => Location::decode(&mut &*value).map(|location| location.encode(&mut out)),
        0x21 if is_new => SubscriptionFilter::decode_moqt::<Moqt18>(value)
            .and_then(|filter| filter.encode_moqt::<Moqt18>(&mut out)),
        0x21 => SubscriptionFilter::decode(value).and_then(|filter| filter.encode(&mut out)),
        _ => return None,
    };
    done.is_ok().then_some(out)
}
