//! Who may do what.

use alloc::string::String;
use core::time::Duration;

use moqt_engine::model::{AuthToken, RequestErrorCode, TrackNamespace};

use crate::connections::PeerInfo;

/// Decides who may do what on a relay. It is asked for every session and every request of a
/// client's; what it says of relays that this one has connected to does not matter.
///
/// Tokens are secrets: compare them in constant time, and log none.
pub trait Authorize {
    /// Whether a session may be had at all.
    fn session(&self, peer: &PeerInfo) -> Verdict;

    /// Whether a request may be made.
    fn request(&self, ask: &Ask<'_>) -> Verdict;
}

/// A request to be decided on.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Ask<'a> {
    /// Who asks.
    pub peer: &'a PeerInfo,
    /// What for.
    pub what: Permission,
    /// The namespace: of the track, that is published, or the prefix that is asked about.
    pub namespace: &'a TrackNamespace,
    /// The track's name, if it is about a track.
    pub name: Option<&'a [u8]>,
    /// Tokens that came with the request; those of the session are the peer's.
    pub tokens: &'a [AuthToken],
}

impl<'a> Ask<'a> {
    /// A request of a peer's, without tokens of its own.
    pub fn new(peer: &'a PeerInfo, what: Permission, namespace: &'a TrackNamespace) -> Self {
        Self { peer, what, namespace, name: None, tokens: &[] }
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Permission {
    /// PUBLISH.
    Publish,
    /// PUBLISH_NAMESPACE.
    PublishNamespace,
    /// SUBSCRIBE.
    Subscribe,
    /// FETCH, also of a kind that joins a subscription.
    Fetch,
    /// TRACK_STATUS.
    TrackStatus,
    /// SUBSCRIBE_NAMESPACE and SUBSCRIBE_TRACKS.
    SubscribeNamespace,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It may.
    Allow {
        /// For how long; `None` means for as long as it lasts. After that the session is closed
        /// with EXPIRED_AUTH_TOKEN, or the request ended.
        lasts: Option<Duration>,
    },
    /// It may not.
    Deny {
        /// What to tell the peer: UNAUTHORIZED, MALFORMED_AUTH_TOKEN or EXPIRED_AUTH_TOKEN.
        code: RequestErrorCode,
        /// Why, for people. It is sent to the peer.
        reason: String,
    },
}

impl Verdict {
    /// It may, for as long as it lasts.
    pub const ALLOWED: Self = Self::Allow { lasts: None };

    /// It may not, and no more is said.
    pub fn unauthorized() -> Self {
        Self::Deny { code: RequestErrorCode::Unauthorized, reason: String::new() }
    }
}

/// Everybody may do everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open;

impl Authorize for Open {
    fn session(&self, _: &PeerInfo) -> Verdict {
        Verdict::ALLOWED
    }

    fn request(&self, _: &Ask<'_>) -> Verdict {
        Verdict::ALLOWED
    }
}
