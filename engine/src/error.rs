//! Why a command was not carried out.

use core::fmt;

use crate::wire::EncodeError;

/// A command that could not be carried out. Nothing has changed.
///
/// A peer never causes one except by leaving too little room, which is
/// [`Blocked`](Self::Blocked), and by ending what the command is about, which is
/// [`Gone`](Self::Gone), [`Closed`](Self::Closed) or [`GoingAway`](Self::GoingAway) and comes
/// with an event. Any command may give [`Closed`](Self::Closed); one about a request or stream
/// that is over gives [`Gone`](Self::Gone); one that begins a request may be
/// [`Blocked`](Self::Blocked) by [`Setup`](Blocked::Setup), [`Requests`](Blocked::Requests) or
/// [`Streams`](Blocked::Streams), one that writes objects by [`Queue`](Blocked::Queue) or
/// [`Streams`](Blocked::Streams); what carries parameters may give [`Token`](Self::Token).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandError {
    /// Not now. An event says when to try again.
    Blocked(Blocked),
    /// The session is closed, or closing.
    Closed,
    /// There is no such request or stream, or no longer.
    Gone,
    /// The request or stream is not in a state for this, or not of a kind for it.
    WrongState(&'static str),
    /// The peer said that it is going away: no new requests (draft-18, "GOAWAY").
    GoingAway,
    /// The draft has no way to say this, or not at this length.
    Encode(EncodeError),
    /// An authorization token may not be sent so, or not yet.
    Token(TokenMisuse),
}

/// Why an authorization token may not be sent (draft-18, "AUTHORIZATION TOKEN Parameter").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenMisuse {
    /// The alias is registered, or was deleted on another stream and that has not been
    /// answered.
    AliasInUse,
    /// The alias is not registered. One in the setup message is not if the peer's cache had
    /// no room for it.
    UnknownAlias,
    /// The alias was registered on another stream, by a message that has not been answered.
    NotAnswered,
    /// A message that uses the alias has not been answered, so it cannot be deleted.
    StillUsed,
    /// The peer keeps no more (its MAX_AUTH_TOKEN_CACHE_SIZE): delete others, or send the
    /// value.
    CacheFull,
    /// The message has a token of this type and value already (drafts 16 and 18).
    Duplicate,
}

/// What a command is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Blocked {
    /// The session is not set up yet; [`Event::Established`](crate::Event::Established).
    Setup,
    /// The peer allows no more requests; [`Event::Unblocked`](crate::Event::Unblocked).
    Requests,
    /// The transport allows no more streams; [`Event::Unblocked`](crate::Event::Unblocked).
    Streams,
    /// Too many updates of the request have not been answered;
    /// [`Event::UpdateAccepted`](crate::Event::UpdateAccepted),
    /// [`Event::UpdateRejected`](crate::Event::UpdateRejected), or
    /// [`Event::Unblocked`](crate::Event::Unblocked) if one is answered that was given up.
    Updates,
    /// Too much waits to be sent; [`Event::Writable`](crate::Event::Writable).
    Queue,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked(Blocked::Setup) => f.write_str("the session is not set up yet"),
            Self::Blocked(Blocked::Requests) => f.write_str("the peer allows no more requests now"),
            Self::Blocked(Blocked::Streams) => f.write_str("the peer allows no more streams now"),
            Self::Blocked(Blocked::Updates) => {
                f.write_str("too many updates of the request wait for an answer")
            }
            Self::Blocked(Blocked::Queue) => f.write_str("too much is waiting to be sent"),
            Self::Closed => f.write_str("the session is closed"),
            Self::Gone => f.write_str("the request or stream is over"),
            Self::WrongState(what) => f.write_str(what),
            Self::GoingAway => f.write_str("the peer is going away and takes no new requests"),
            Self::Encode(error) => error.fmt(f),
            Self::Token(misuse) => misuse.fmt(f),
        }
    }
}

impl fmt::Display for TokenMisuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AliasInUse => "the token alias is in use",
            Self::UnknownAlias => "the token alias is not registered with the peer",
            Self::NotAnswered => "the message that registers the token alias was not answered yet",
            Self::StillUsed => "a message that uses the token alias was not answered yet",
            Self::CacheFull => "the peer keeps no more tokens",
            Self::Duplicate => "the same token twice in one message",
        })
    }
}

impl core::error::Error for CommandError {}

impl From<TokenMisuse> for CommandError {
    fn from(misuse: TokenMisuse) -> Self {
        Self::Token(misuse)
    }
}

impl From<EncodeError> for CommandError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}
