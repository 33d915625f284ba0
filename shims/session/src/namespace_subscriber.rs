//! Telling a peer of namespaces and tracks that it asked for.

use std::future::poll_fn;

use moqt_engine::model::{
    FullTrackName, NamespaceInterest, Parameters, StreamResetCode, TrackNamespace,
};
use moqt_engine::{Accept, CommandError, Refusal, RequestKey};

use crate::driver::Access;
use crate::error::Error;
use crate::incoming::Unanswered;
use crate::pending::namespace_ended;
use crate::router::NamespaceSlot;
use crate::session::{Session, driver_gone};

/// The peer wants to be told of namespaces, or to be offered tracks, under a prefix (draft-18,
/// "SUBSCRIBE_NAMESPACE" and "SUBSCRIBE_TRACKS").
#[must_use = "the request is refused when this is dropped"]
#[derive(Debug)]
pub struct IncomingSubscribeNamespace {
    inner: Unanswered,
    prefix: TrackNamespace,
    interest: NamespaceInterest,
    parameters: Parameters,
}

impl IncomingSubscribeNamespace {
    pub(crate) fn new(
        inner: Unanswered,
        prefix: TrackNamespace,
        interest: NamespaceInterest,
        parameters: Parameters,
    ) -> Self {
        Self { inner, prefix, interest, parameters }
    }

    /// The prefix; the one of no fields stands for everything.
    pub fn prefix(&self) -> &TrackNamespace {
        &self.prefix
    }

    /// What the peer wants to hear of.
    pub fn interest(&self) -> NamespaceInterest {
        self.interest
    }

    /// Tokens, forward state of the resulting PUBLISHes.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Accepts it. Check first that the peer may see what is under the prefix.
    pub fn accept(mut self) -> Result<NamespaceSubscriber, Error> {
        self.inner.accept(Accept::default(), |router, request| {
            router.namespaces.insert(request, NamespaceSlot::default());
        })?;
        let (session, request) = (self.inner.session.clone(), self.inner.request);
        let (prefix, interest) = (self.prefix, self.interest);
        Ok(NamespaceSubscriber { session, request, prefix, interest })
    }

    /// Refuses it.
    pub fn reject(mut self, refusal: Refusal) {
        self.inner.reject(refusal);
    }
}

/// A peer that is told of namespaces, or offered tracks, under a prefix. Dropping it ends the
/// subscription, except in draft 14, where only the peer can: there it hears of nothing further.
///
/// Tracks are offered with [`Session::publish`]; their forward state is what the peer asked for.
#[must_use = "the subscription ends when this is dropped"]
#[derive(Debug)]
pub struct NamespaceSubscriber {
    session: Session,
    request: RequestKey,
    prefix: TrackNamespace,
    interest: NamespaceInterest,
}

impl NamespaceSubscriber {
    /// The prefix.
    pub fn prefix(&self) -> &TrackNamespace {
        &self.prefix
    }

    /// What the peer wants to hear of.
    pub fn interest(&self) -> NamespaceInterest {
        self.interest
    }

    /// Tells of a namespace, given in full (draft-18, "NAMESPACE"). In draft 14, where this is a
    /// request of its own, it waits until the peer allows one more, and not for the answer.
    ///
    /// If the peer reads nothing of what it is told, the subscription ends.
    pub async fn namespace(&self, namespace: &TrackNamespace) -> Result<(), Error> {
        poll_fn(|cx| {
            self.session.poll_command(cx, |access| {
                access.connection.namespace(access.now, self.request, namespace).map(drop)
            })
        })
        .await
    }

    /// Tells that a namespace it was told of is gone (draft-18, "NAMESPACE_DONE").
    pub fn namespace_done(&self, namespace: &TrackNamespace) -> Result<(), Error> {
        self.command(|access| access.connection.namespace_done(access.now, self.request, namespace))
    }

    /// Tells that a track cannot be offered for want of streams (draft-18, "PUBLISH_BLOCKED"). It
    /// cannot be offered to this peer after that. Other drafts cannot say this.
    pub fn publish_blocked(&self, track: &FullTrackName) -> Result<(), Error> {
        self.command(|access| access.connection.publish_blocked(access.now, self.request, track))
    }

    /// Waits for the peer to end it, and says why: [`Error::Cancelled`] or [`Error::Closed`].
    pub async fn ended(&self) -> Error {
        namespace_ended(&self.session, self.request).await
    }

    fn command(
        &self,
        command: impl FnOnce(&mut Access<'_>) -> Result<(), CommandError>,
    ) -> Result<(), Error> {
        let done = self.session.shared.run(|access| {
            if let Some(reason) = &access.router.closed {
                return Err(Error::Closed(reason.clone()));
            }
            access.wrote = true;
            command(access).map_err(Error::Command)
        });
        done.unwrap_or_else(|| Err(Error::Closed(driver_gone())))
    }
}

impl Drop for NamespaceSubscriber {
    fn drop(&mut self) {
        self.session.shared.run(|access| {
            access.wrote = true;
            access.router.namespaces.remove(&self.request);
            // If it is over already, or the peer's to end, there is nothing to end.
            let code = StreamResetCode::Cancelled;
            let _ = access.connection.cancel(access.now, self.request, code);
        });
    }
}
