use bytes::Bytes;

use crate::{Error, Request, Response};

/// The direction of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dir {
    /// Both sides send.
    Bi,
    /// The side that opened it sends.
    Uni,
}

/// Whose a stream of the peer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// HTTP/3's own, or nobody knows yet: what came was consumed. Go on reading, unless this was
    /// the end of the stream.
    Own,
    /// The session's, from here on: its header was consumed, and this is what follows it.
    Session(Bytes),
    /// The session's, which is not established yet. Read no more until [`Event::Stream`] tells
    /// what was held, or an action refuses the stream.
    Held,
    /// Nobody's: the actions say how it is refused, if there is anything to refuse. Forget it.
    Refused,
}

/// A stream that this side opens for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Own {
    /// The control stream: unidirectional.
    Control,
    /// The CONNECT stream, at a client: bidirectional.
    Connect,
}

impl Own {
    /// Which direction it has.
    pub fn dir(self) -> Dir {
        match self {
            Self::Control => Dir::Uni,
            Self::Connect => Dir::Bi,
        }
    }
}

/// What the QUIC stack is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a stream, as soon as the peer allows it, and tell its ID with
    /// [`handle_opened`](crate::Connection::handle_opened).
    Open(Own),
    /// Send on a stream, after what was sent on it before.
    Send {
        /// The stream's ID.
        stream: u64,
        /// What to send; may be empty.
        data: Bytes,
        /// This is the end.
        fin: bool,
    },
    /// Reset the sending side of a stream. What was to be sent on it is forgotten.
    Reset {
        /// The stream's ID.
        stream: u64,
        /// The HTTP/3 error code.
        code: u64,
    },
    /// Ask the peer to send no more on a stream, and read it no more, unless it is the CONNECT
    /// stream: its end, or its reset, is still to be told.
    StopSending {
        /// The stream's ID.
        stream: u64,
        /// The HTTP/3 error code.
        code: u64,
    },
    /// Close the connection. There is no action after this one.
    Close {
        /// The HTTP/3 error code.
        code: u64,
        /// Why, for people.
        reason: String,
    },
}

/// What the application is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A server: somebody wants a session. [`accept`](crate::Connection::accept) or
    /// [`refuse`](crate::Connection::refuse) it.
    Requested(Request),
    /// A client: the session is established.
    Established {
        /// What the server answered.
        response: Response,
    },
    /// A client: the server refuses the session. The connection is closed.
    Refused {
        /// What the server answered. Status 429 or 503 means later, 3xx elsewhere, 403 never.
        response: Response,
    },
    /// A stream that was [held](Route::Held) is the session's now.
    Stream {
        /// The stream's ID.
        stream: u64,
        /// What came after its header.
        data: Bytes,
        /// This is all there is.
        fin: bool,
        /// The peer has reset the stream since, with this HTTP/3 error code.
        reset: Option<u64>,
    },
    /// The payload of a datagram that was held, or came in a capsule.
    Datagram(Bytes),
    /// The peer asks to end the session soon, or takes no new ones.
    Draining,
    /// The peer has ended the session.
    Closed {
        /// The application's code, 0 if there was none.
        code: u32,
        /// The application's reason, empty if there was none.
        reason: String,
    },
    /// The session has failed, or never came.
    Failed(Error),
}
