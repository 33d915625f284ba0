use core::fmt;

/// Declares an enum of registered codes, keeping unregistered ones as values.
macro_rules! codes {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $( $(#[$variant_meta:meta])* $variant:ident = $text:literal, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $( $(#[$variant_meta])* $variant, )*
            /// A code that the negotiated draft does not register. Treat it as an internal
            /// error of the peer's (draft-18, "Grease").
            Other(u64),
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $( Self::$variant => f.write_str($text), )*
                    Self::Other(code) => write!(f, "code 0x{code:x}"),
                }
            }
        }
    };
}

codes! {
    /// Why a session ended (draft-18, "Termination").
    pub enum SessionError {
        /// Nothing was wrong.
        NoError = "NO_ERROR",
        /// An implementation-specific error.
        InternalError = "INTERNAL_ERROR",
        /// The client may not establish a session.
        Unauthorized = "UNAUTHORIZED",
        /// The peer did what the specification forbids.
        ProtocolViolation = "PROTOCOL_VIOLATION",
        /// A Request ID of the wrong parity, or one used before.
        InvalidRequestId = "INVALID_REQUEST_ID",
        /// A Track Alias that another track uses.
        DuplicateTrackAlias = "DUPLICATE_TRACK_ALIAS",
        /// A key-value pair that does not have its type's form.
        KeyValueFormattingError = "KEY_VALUE_FORMATTING_ERROR",
        /// A Request ID beyond the allowed maximum (drafts 14 and 16).
        TooManyRequests = "TOO_MANY_REQUESTS",
        /// A PATH where none may be, or one that the server does not serve.
        InvalidPath = "INVALID_PATH",
        /// A PATH that is no path.
        MalformedPath = "MALFORMED_PATH",
        /// The peer took too long to leave after a GOAWAY.
        GoawayTimeout = "GOAWAY_TIMEOUT",
        /// The peer took too long with a control message.
        ControlMessageTimeout = "CONTROL_MESSAGE_TIMEOUT",
        /// The peer took too long with data it had begun to send.
        DataStreamTimeout = "DATA_STREAM_TIMEOUT",
        /// More registered tokens than the cache was said to hold.
        AuthTokenCacheOverflow = "AUTH_TOKEN_CACHE_OVERFLOW",
        /// A token alias registered twice.
        DuplicateAuthTokenAlias = "DUPLICATE_AUTH_TOKEN_ALIAS",
        /// No common version.
        VersionNegotiationFailed = "VERSION_NEGOTIATION_FAILED",
        /// A token that could not be read.
        MalformedAuthToken = "MALFORMED_AUTH_TOKEN",
        /// A token alias that was never registered.
        UnknownAuthTokenAlias = "UNKNOWN_AUTH_TOKEN_ALIAS",
        /// A token that has expired.
        ExpiredAuthToken = "EXPIRED_AUTH_TOKEN",
        /// An AUTHORITY where none may be, or one that the server does not serve.
        InvalidAuthority = "INVALID_AUTHORITY",
        /// An AUTHORITY that is no authority.
        MalformedAuthority = "MALFORMED_AUTHORITY",
    }
}

codes! {
    /// Why a request was refused (draft-18, "REQUEST_ERROR").
    ///
    /// Draft 14 has a code space per message; all are lifted into this one.
    pub enum RequestErrorCode {
        /// An implementation-specific error.
        InternalError = "INTERNAL_ERROR",
        /// The sender may not do this.
        Unauthorized = "UNAUTHORIZED",
        /// It could not be done in time.
        Timeout = "TIMEOUT",
        /// The endpoint does not support this kind of request.
        NotSupported = "NOT_SUPPORTED",
        /// A token that could not be read.
        MalformedAuthToken = "MALFORMED_AUTH_TOKEN",
        /// A token that has expired.
        ExpiredAuthToken = "EXPIRED_AUTH_TOKEN",
        /// The endpoint is going away (draft 18).
        GoingAway = "GOING_AWAY",
        /// The endpoint has too much to do (draft 18).
        ExcessiveLoad = "EXCESSIVE_LOAD",
        /// The track or namespace is not available here.
        DoesNotExist = "DOES_NOT_EXIST",
        /// The range asked for cannot be served.
        InvalidRange = "INVALID_RANGE",
        /// The track is malformed.
        MalformedTrack = "MALFORMED_TRACK",
        /// There is a subscription for this track in this role already.
        DuplicateSubscription = "DUPLICATE_SUBSCRIPTION",
        /// The subscriber does not want the track or namespace.
        Uninterested = "UNINTERESTED",
        /// The prefix overlaps with another namespace subscription's.
        PrefixOverlap = "PREFIX_OVERLAP",
        /// The prefix matches more than the relay will list (draft 18).
        NamespaceTooLarge = "NAMESPACE_TOO_LARGE",
        /// The fetch joins a subscription that does not exist.
        InvalidJoiningRequestId = "INVALID_JOINING_REQUEST_ID",
        /// The track needs an extension that the endpoint does not know (draft 18).
        UnsupportedExtension = "UNSUPPORTED_EXTENSION",
        /// The request may succeed elsewhere (draft 18).
        Redirect = "REDIRECT",
        /// No object exists in the range (draft 14).
        NoObjects = "NO_OBJECTS",
        /// The range has objects whose status is unknown (draft 14).
        UnknownStatusInRange = "UNKNOWN_STATUS_IN_RANGE",
    }
}

codes! {
    /// Why a publisher ended a subscription (draft-18, "PUBLISH_DONE").
    pub enum PublishDoneCode {
        /// An implementation-specific error.
        InternalError = "INTERNAL_ERROR",
        /// The subscriber is no longer authorized.
        Unauthorized = "UNAUTHORIZED",
        /// The track is no longer published.
        TrackEnded = "TRACK_ENDED",
        /// The end of the subscription's filter was reached.
        SubscriptionEnded = "SUBSCRIPTION_ENDED",
        /// One side is going away.
        GoingAway = "GOING_AWAY",
        /// The subscription expired.
        Expired = "EXPIRED",
        /// The subscriber was too slow.
        TooFarBehind = "TOO_FAR_BEHIND",
        /// The track is malformed.
        MalformedTrack = "MALFORMED_TRACK",
        /// An update failed, which ends the subscription (drafts 16 and 18).
        UpdateFailed = "UPDATE_FAILED",
        /// The publisher has too much to do (draft 18).
        ExcessiveLoad = "EXCESSIVE_LOAD",
    }
}

codes! {
    /// Why a stream was reset or stopped (draft-18, "Stream Reset Error Codes").
    pub enum StreamResetCode {
        /// An implementation-specific error.
        InternalError = "INTERNAL_ERROR",
        /// One side lost interest.
        Cancelled = "CANCELLED",
        /// A delivery timeout passed.
        DeliveryTimeout = "DELIVERY_TIMEOUT",
        /// The session is closing.
        SessionClosed = "SESSION_CLOSED",
        /// One side is going away (draft 18).
        GoingAway = "GOING_AWAY",
        /// The subscription is too far behind (draft 18).
        TooFarBehind = "TOO_FAR_BEHIND",
        /// The status of the next object of a fetch is unknown (drafts 16 and 18).
        UnknownObjectStatus = "UNKNOWN_OBJECT_STATUS",
        /// The request's token has expired (draft 18).
        ExpiredAuthToken = "EXPIRED_AUTH_TOKEN",
        /// The endpoint has too much to do (draft 18).
        ExcessiveLoad = "EXCESSIVE_LOAD",
        /// The track is malformed (drafts 16 and 18).
        MalformedTrack = "MALFORMED_TRACK",
    }
}
