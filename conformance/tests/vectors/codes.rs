//! Every registered error code of every draft, by the number and name of the draft's tables.

use moqt_engine::model::{
    Draft, PublishDoneCode, RequestErrorCode, RequestKind, SessionError, StreamResetCode,
};

type Table = &'static [(u64, &'static str)];

const SESSION: Table = &[
    (0x0, "NO_ERROR"),
    (0x1, "INTERNAL_ERROR"),
    (0x2, "UNAUTHORIZED"),
    (0x3, "PROTOCOL_VIOLATION"),
    (0x4, "INVALID_REQUEST_ID"),
    (0x5, "DUPLICATE_TRACK_ALIAS"),
    (0x6, "KEY_VALUE_FORMATTING_ERROR"),
    (0x7, "TOO_MANY_REQUESTS"),
    (0x8, "INVALID_PATH"),
    (0x9, "MALFORMED_PATH"),
    (0x10, "GOAWAY_TIMEOUT"),
    (0x11, "CONTROL_MESSAGE_TIMEOUT"),
    (0x12, "DATA_STREAM_TIMEOUT"),
    (0x13, "AUTH_TOKEN_CACHE_OVERFLOW"),
    (0x14, "DUPLICATE_AUTH_TOKEN_ALIAS"),
    (0x15, "VERSION_NEGOTIATION_FAILED"),
    (0x16, "MALFORMED_AUTH_TOKEN"),
    (0x17, "UNKNOWN_AUTH_TOKEN_ALIAS"),
    (0x18, "EXPIRED_AUTH_TOKEN"),
    (0x19, "INVALID_AUTHORITY"),
    (0x1A, "MALFORMED_AUTHORITY"),
];

const REQUEST_16: Table = &[
    (0x0, "INTERNAL_ERROR"),
    (0x1, "UNAUTHORIZED"),
    (0x2, "TIMEOUT"),
    (0x3, "NOT_SUPPORTED"),
    (0x4, "MALFORMED_AUTH_TOKEN"),
    (0x5, "EXPIRED_AUTH_TOKEN"),
    (0x10, "DOES_NOT_EXIST"),
    (0x11, "INVALID_RANGE"),
    (0x12, "MALFORMED_TRACK"),
    (0x19, "DUPLICATE_SUBSCRIPTION"),
    (0x20, "UNINTERESTED"),
    (0x30, "PREFIX_OVERLAP"),
    (0x32, "INVALID_JOINING_REQUEST_ID"),
];

const REQUEST_18: Table = &[
    (0x0, "INTERNAL_ERROR"),
    (0x1, "UNAUTHORIZED"),
    (0x2, "TIMEOUT"),
    (0x3, "NOT_SUPPORTED"),
    (0x4, "MALFORMED_AUTH_TOKEN"),
    (0x5, "EXPIRED_AUTH_TOKEN"),
    (0x6, "GOING_AWAY"),
    (0x9, "EXCESSIVE_LOAD"),
    (0x10, "DOES_NOT_EXIST"),
    (0x11, "INVALID_RANGE"),
    (0x12, "MALFORMED_TRACK"),
    (0x19, "DUPLICATE_SUBSCRIPTION"),
    (0x20, "UNINTERESTED"),
    (0x30, "PREFIX_OVERLAP"),
    (0x31, "NAMESPACE_TOO_LARGE"),
    (0x32, "INVALID_JOINING_REQUEST_ID"),
    (0x33, "UNSUPPORTED_EXTENSION"),
    (0x34, "REDIRECT"),
];

/// Draft 14's names are later drafts' where the meaning is the same: TRACK_DOES_NOT_EXIST and
/// NAMESPACE_PREFIX_UNKNOWN are DOES_NOT_EXIST, NAMESPACE_PREFIX_OVERLAP is PREFIX_OVERLAP.
const REQUEST_14: [(RequestKind, Table); 6] = [
    (RequestKind::Subscribe, SUBSCRIBE_14),
    (RequestKind::TrackStatus, SUBSCRIBE_14),
    (
        RequestKind::Publish,
        &[
            (0x0, "INTERNAL_ERROR"),
            (0x1, "UNAUTHORIZED"),
            (0x2, "TIMEOUT"),
            (0x3, "NOT_SUPPORTED"),
            (0x4, "UNINTERESTED"),
        ],
    ),
    (
        RequestKind::Fetch,
        &[
            (0x0, "INTERNAL_ERROR"),
            (0x1, "UNAUTHORIZED"),
            (0x2, "TIMEOUT"),
            (0x3, "NOT_SUPPORTED"),
            (0x4, "DOES_NOT_EXIST"),
            (0x5, "INVALID_RANGE"),
            (0x6, "NO_OBJECTS"),
            (0x7, "INVALID_JOINING_REQUEST_ID"),
            (0x8, "UNKNOWN_STATUS_IN_RANGE"),
            (0x9, "MALFORMED_TRACK"),
            (0x10, "MALFORMED_AUTH_TOKEN"),
            (0x12, "EXPIRED_AUTH_TOKEN"),
        ],
    ),
    (
        RequestKind::PublishNamespace,
        &[
            (0x0, "INTERNAL_ERROR"),
            (0x1, "UNAUTHORIZED"),
            (0x2, "TIMEOUT"),
            (0x3, "NOT_SUPPORTED"),
            (0x4, "UNINTERESTED"),
            (0x10, "MALFORMED_AUTH_TOKEN"),
            (0x12, "EXPIRED_AUTH_TOKEN"),
        ],
    ),
    (
        RequestKind::SubscribeNamespace,
        &[
            (0x0, "INTERNAL_ERROR"),
            (0x1, "UNAUTHORIZED"),
            (0x2, "TIMEOUT"),
            (0x3, "NOT_SUPPORTED"),
            (0x4, "DOES_NOT_EXIST"),
            (0x5, "PREFIX_OVERLAP"),
            (0x10, "MALFORMED_AUTH_TOKEN"),
            (0x12, "EXPIRED_AUTH_TOKEN"),
        ],
    ),
];

const SUBSCRIBE_14: Table = &[
    (0x0, "INTERNAL_ERROR"),
    (0x1, "UNAUTHORIZED"),
    (0x2, "TIMEOUT"),
    (0x3, "NOT_SUPPORTED"),
    (0x4, "DOES_NOT_EXIST"),
    (0x5, "INVALID_RANGE"),
    (0x10, "MALFORMED_AUTH_TOKEN"),
    (0x12, "EXPIRED_AUTH_TOKEN"),
];

const PUBLISH_DONE_14: Table = &[
    (0x0, "INTERNAL_ERROR"),
    (0x1, "UNAUTHORIZED"),
    (0x2, "TRACK_ENDED"),
    (0x3, "SUBSCRIPTION_ENDED"),
    (0x4, "GOING_AWAY"),
    (0x5, "EXPIRED"),
    (0x6, "TOO_FAR_BEHIND"),
    (0x7, "MALFORMED_TRACK"),
];

const PUBLISH_DONE_16: Table = &[
    (0x0, "INTERNAL_ERROR"),
    (0x1, "UNAUTHORIZED"),
    (0x2, "TRACK_ENDED"),
    (0x3, "SUBSCRIPTION_ENDED"),
    (0x4, "GOING_AWAY"),
    (0x5, "EXPIRED"),
    (0x6, "TOO_FAR_BEHIND"),
    (0x8, "UPDATE_FAILED"),
    (0x12, "MALFORMED_TRACK"),
];

const PUBLISH_DONE_18: Table = &[
    (0x0, "INTERNAL_ERROR"),
    (0x1, "UNAUTHORIZED"),
    (0x2, "TRACK_ENDED"),
    (0x3, "SUBSCRIPTION_ENDED"),
    (0x4, "GOING_AWAY"),
    (0x5, "TOO_FAR_BEHIND"),
    (0x6, "EXPIRED"),
    (0x8, "UPDATE_FAILED"),
    (0x9, "EXCESSIVE_LOAD"),
    (0x12, "MALFORMED_TRACK"),
];

const RESET_14: Table = &[
    (0x0, "INTERNAL_ERROR"),
    (0x1, "CANCELLED"),
    (0x2, "DELIVERY_TIMEOUT"),
    (0x3, "SESSION_CLOSED"),
];

const RESET_16: Table = &[
    (0x0, "INTERNAL_ERROR"),
    (0x1, "CANCELLED"),
    (0x2, "DELIVERY_TIMEOUT"),
    (0x3, "SESSION_CLOSED"),
    (0x4, "UNKNOWN_OBJECT_STATUS"),
    (0x12, "MALFORMED_TRACK"),
];

const RESET_18: Table = &[
    (0x0, "INTERNAL_ERROR"),
    (0x1, "CANCELLED"),
    (0x2, "DELIVERY_TIMEOUT"),
    (0x3, "SESSION_CLOSED"),
    (0x4, "GOING_AWAY"),
    (0x5, "TOO_FAR_BEHIND"),
    (0x6, "UNKNOWN_OBJECT_STATUS"),
    (0x7, "EXPIRED_AUTH_TOKEN"),
    (0x9, "EXCESSIVE_LOAD"),
    (0x12, "MALFORMED_TRACK"),
];

/// `read` and `write` agree with the table both ways, and keep every other code as it is.
fn check<T: Copy + PartialEq + ToString + std::fmt::Debug>(
    table: Table,
    other: impl Fn(u64) -> T,
    read: impl Fn(u64) -> T,
    write: impl Fn(T) -> u64,
) {
    for code in 0..0x200 {
        let meaning = read(code);
        match table.iter().find(|(known, _)| *known == code) {
            Some((_, name)) => assert_eq!(meaning.to_string(), *name, "0x{code:x}"),
            None => assert_eq!(meaning, other(code)),
        }
        assert_eq!(write(meaning), code);
    }
}

#[test]
fn session_errors() {
    for draft in Draft::ALL {
        let dialect = draft.dialect();
        let check = |table| {
            check(
                table,
                SessionError::Other,
                |code| dialect.session_error(code),
                |error| dialect.session_error_code(error),
            );
        };
        if draft >= Draft::D18 {
            // Draft 18 has no request credit, and so no TOO_MANY_REQUESTS.
            check(&[&SESSION[..7], &SESSION[8..]].concat().leak()[..]);
        } else {
            check(SESSION);
        }
    }
}

#[test]
fn request_errors() {
    let of = |draft: Draft, kind, table| {
        let dialect = draft.dialect();
        check(
            table,
            RequestErrorCode::Other,
            |code| dialect.request_error(kind, code),
            |error| dialect.request_error_code(kind, error),
        );
    };
    for (kind, table) in REQUEST_14 {
        of(Draft::D14, kind, table);
        of(Draft::D16, kind, REQUEST_16);
        of(Draft::D18, kind, REQUEST_18);
    }
    of(Draft::D16, RequestKind::Update, REQUEST_16);
    of(Draft::D18, RequestKind::Update, REQUEST_18);
    of(Draft::D18, RequestKind::SubscribeTracks, REQUEST_18);
}

#[test]
fn publish_done_codes() {
    let tables = [
        (Draft::D14, PUBLISH_DONE_14),
        (Draft::D16, PUBLISH_DONE_16),
        (Draft::D18, PUBLISH_DONE_18),
    ];
    for (draft, table) in tables {
        let dialect = draft.dialect();
        check(
            table,
            PublishDoneCode::Other,
            |code| dialect.publish_done(code),
            |code| dialect.publish_done_code(code),
        );
    }
}

#[test]
fn stream_reset_codes() {
    let tables = [(Draft::D14, RESET_14), (Draft::D16, RESET_16), (Draft::D18, RESET_18)];
    for (draft, table) in tables {
        let dialect = draft.dialect();
        check(
            table,
            StreamResetCode::Other,
            |code| dialect.reset(code),
            |code| dialect.reset_code(code),
        );
    }
}

/// A code that a draft lacks is written as one that it has.
#[test]
fn codes_of_other_drafts_are_written_as_the_nearest_there_is() {
    let d14 = Draft::D14.dialect();
    let d18 = Draft::D18.dialect();
    assert_eq!(d18.session_error_code(SessionError::TooManyRequests), 0x3);
    assert_eq!(d14.request_error_code(RequestKind::Subscribe, RequestErrorCode::Redirect), 0x0);
    assert_eq!(d14.publish_done_code(PublishDoneCode::UpdateFailed), 0x0);
    assert_eq!(d14.reset_code(StreamResetCode::TooFarBehind), 0x1);
}

// "ALPNs used to identify IETF drafts are created by appending the draft number to "moqt-"."
// "Draft versions prior to -15 all used moq-00 ALPN" (draft-16 and -18, "Session establishment")
#[test]
fn drafts_are_offered_by_their_identifiers() {
    for (draft, alpn) in [(Draft::D14, "moq-00"), (Draft::D16, "moqt-16"), (Draft::D18, "moqt-18")]
    {
        assert_eq!(draft.alpn(), alpn.as_bytes());
        assert_eq!(Draft::from_alpn(alpn.as_bytes()), Some(draft));
    }
    for unknown in ["", "moqt", "moqt-1", "moqt-180", "h3"] {
        assert_eq!(Draft::from_alpn(unknown.as_bytes()), None, "{unknown}");
    }
}
