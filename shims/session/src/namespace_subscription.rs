//! Asking for namespaces and tracks under a prefix.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::ops::Bound;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use moqt_engine::model::{
    AuthToken, FullTrackName, MessageKind, NamespaceInterest, Parameters, RequestErrorCode,
    StreamResetCode, TrackNamespace,
};
use moqt_engine::{Accept, Answer, MoqtConnection, RequestError, RequestKey, Timestamp};

use crate::error::Error;
use crate::router::Router;
use crate::session::{Session, driver_gone};
use crate::wakers::WakerSlot;

/// What the peer told of in a [`NamespaceSubscription`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NamespaceEvent {
    /// There is a publisher of this namespace.
    Namespace(TrackNamespace),
    /// There is none any more.
    NamespaceDone(TrackNamespace),
    /// The peer could not offer this track for want of streams;
    /// [`subscribe`](Session::subscribe) to it instead.
    PublishBlocked(FullTrackName),
}

/// A namespace subscription that is on its way: await it for the peer's answer, now or later.
/// Dropping it withdraws the request.
#[must_use = "the request is withdrawn when this is dropped"]
#[derive(Debug)]
pub struct PendingNamespaceSubscription {
    session: Session,
    prefix: TrackNamespace,
    interest: NamespaceInterest,
    /// One request, or two where the draft has no request for both.
    parts: Vec<Part>,
    /// What sending it failed with.
    failed: Option<Error>,
}

#[derive(Debug)]
struct Part {
    interest: NamespaceInterest,
    parameters: Parameters,
    request: Option<RequestKey>,
}

impl PendingNamespaceSubscription {
    /// Sends the request if that is possible at once; otherwise polling will.
    pub(crate) fn new(
        session: Session,
        prefix: TrackNamespace,
        interest: NamespaceInterest,
        parameters: Parameters,
    ) -> Self {
        let dialect = session.draft().dialect();
        let is_split = interest == NamespaceInterest::Both
            && dialect.message_code(MessageKind::SubscribeTracks).is_some();
        let part = |interest, parameters| Part { interest, parameters, request: None };
        let parts = if is_split {
            let again = said_again(&parameters);
            vec![
                part(NamespaceInterest::Namespaces, parameters),
                part(NamespaceInterest::Tracks, again),
            ]
        } else {
            vec![part(interest, parameters)]
        };
        let mut pending = Self { session, prefix, interest, parts, failed: None };
        if let Poll::Ready(Err(error)) = pending.poll_send(&Context::from_waker(Waker::noop())) {
            pending.failed = Some(error);
        }
        pending
    }

    fn poll_send(&mut self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        let (prefix, whole) = (&self.prefix, self.interest);
        for part in self.parts.iter_mut().filter(|part| part.request.is_none()) {
            let sent = self.session.poll_command(cx, |access| {
                let Part { interest, parameters, .. } = &*part;
                let connection = &mut *access.connection;
                let request =
                    connection.subscribe_namespace(access.now, prefix, *interest, parameters)?;
                let slot = NamespaceSubscriptionSlot::new(whole);
                access.router.namespace_subscriptions.insert(request, slot);
                Ok(request)
            });
            match sent {
                Poll::Ready(Ok(request)) => part.request = Some(request),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// The same parameters in a second request: what the first registers is not registered again.
fn said_again(parameters: &Parameters) -> Parameters {
    let mut again = parameters.clone();
    again.authorization_tokens.retain(|token| !matches!(token, AuthToken::Delete { .. }));
    for token in &mut again.authorization_tokens {
        if let AuthToken::Register { token_type, value, .. } = token {
            *token = AuthToken::UseValue { token_type: *token_type, value: value.clone() };
        }
    }
    again
}

impl Future for PendingNamespaceSubscription {
    type Output = Result<NamespaceSubscription, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.poll_send(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
        let requests: Vec<RequestKey> = self.parts.iter().filter_map(|part| part.request).collect();
        let answer = self.session.shared.run(|access| {
            let router = &mut *access.router;
            let mut answer = None;
            for request in &requests {
                let slot = router.namespace_subscriptions.get_mut(request);
                match slot.map(|slot| (&slot.answer, &mut slot.waker)) {
                    Some((Some(Ok(accepted)), _)) => {
                        answer.get_or_insert_with(|| accepted.clone());
                    }
                    Some((Some(Err(error)), _)) => {
                        return Poll::Ready(Err(Error::Rejected(error.clone())));
                    }
                    Some((None, waker)) => {
                        if let Some(reason) = &router.closed {
                            return Poll::Ready(Err(Error::Closed(reason.clone())));
                        }
                        waker.register(cx);
                        return Poll::Pending;
                    }
                    None => return Poll::Ready(Err(Error::Closed(driver_gone()))),
                }
            }
            Poll::Ready(Ok(answer.unwrap_or_default()))
        });
        match answer {
            Some(Poll::Ready(Ok(answer))) => {
                self.parts.clear();
                let (session, prefix) = (self.session.clone(), self.prefix.clone());
                let interest = self.interest;
                let subscription =
                    NamespaceSubscription { session, prefix, interest, requests, answer };
                Poll::Ready(Ok(subscription))
            }
            Some(Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
            Some(Poll::Pending) => Poll::Pending,
            None => Poll::Ready(Err(Error::Closed(driver_gone()))),
        }
    }
}

impl Drop for PendingNamespaceSubscription {
    fn drop(&mut self) {
        end(&self.session, self.parts.iter().filter_map(|part| part.request));
    }
}

/// A subscription to the namespaces, the tracks or both under a prefix. Dropping it ends it;
/// subscriptions that came of it go on.
///
/// Namespaces come here, with [`next`](Self::next). Tracks are offered by the peer, and come as
/// [`Incoming::Publish`](crate::Incoming::Publish) from
/// [`accept_request`](Session::accept_request).
#[must_use = "the subscription ends when this is dropped"]
#[derive(Debug)]
pub struct NamespaceSubscription {
    session: Session,
    prefix: TrackNamespace,
    interest: NamespaceInterest,
    requests: Vec<RequestKey>,
    answer: Answer,
}

impl NamespaceSubscription {
    /// The prefix.
    pub fn prefix(&self) -> &TrackNamespace {
        &self.prefix
    }

    /// What was asked for.
    pub fn interest(&self) -> NamespaceInterest {
        self.interest
    }

    /// What the peer said when it accepted.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Waits for the next namespace or the end of one. What has changed and changed back before
    /// it was fetched is passed by.
    ///
    /// When the peer has ended the subscription, every namespace is first
    /// [`done`](NamespaceEvent::NamespaceDone), and then [`Error::Cancelled`] says why.
    pub async fn next(&mut self) -> Result<NamespaceEvent, Error> {
        poll_fn(|cx| {
            let next = self.session.shared.run(|access| {
                let router = &mut *access.router;
                let mut end = None;
                for request in &self.requests {
                    let Some(slot) = router.namespace_subscriptions.get_mut(request) else {
                        continue;
                    };
                    if let Some(event) = slot.next() {
                        return Poll::Ready(Ok(event));
                    }
                    match (slot.end, &router.closed) {
                        (Some(code), _) => end = Some(Error::Cancelled(code)),
                        (None, Some(reason)) => end = Some(Error::Closed(reason.clone())),
                        (None, None) => slot.waker.register(cx),
                    }
                }
                end.map_or(Poll::Pending, |error| Poll::Ready(Err(error)))
            });
            next.unwrap_or_else(|| Poll::Ready(Err(Error::Closed(driver_gone()))))
        })
        .await
    }
}

impl Drop for NamespaceSubscription {
    fn drop(&mut self) {
        end(&self.session, self.requests.iter().copied());
    }
}

/// Ends namespace subscriptions of ours.
fn end(session: &Session, requests: impl Iterator<Item = RequestKey>) {
    for request in requests {
        session.shared.run(|access| {
            access.wrote = true;
            let slot = access.router.namespace_subscriptions.remove(&request);
            // If it is over already there is nothing to end.
            let _ = access.connection.cancel(access.now, request, StreamResetCode::Cancelled);
            for (_, publication) in slot.into_iter().flat_map(|slot| slot.publications) {
                access.router.publications.remove(&publication);
                let code = RequestErrorCode::Uninterested;
                let connection = &mut *access.connection;
                let _ = connection.cancel_publish_namespace(access.now, publication, code, "");
            }
        });
    }
}

/// A namespace subscription, or a part of one.
#[derive(Debug)]
pub(crate) struct NamespaceSubscriptionSlot {
    interest: NamespaceInterest,
    pub(crate) answer: Option<Result<Answer, Box<RequestError>>>,
    pub(crate) end: Option<StreamResetCode>,
    /// Namespaces that are there or gone, and the application does not know.
    changes: BTreeMap<TrackNamespace, bool>,
    /// The one fetched last: others come first.
    fetched: Option<TrackNamespace>,
    blocked: BTreeSet<FullTrackName>,
    /// PUBLISH_NAMESPACE requests that are what tells of namespaces (draft 14).
    publications: BTreeMap<TrackNamespace, RequestKey>,
    pub(crate) waker: WakerSlot,
}

impl NamespaceSubscriptionSlot {
    fn new(interest: NamespaceInterest) -> Self {
        Self {
            interest,
            answer: None,
            end: None,
            changes: BTreeMap::new(),
            fetched: None,
            blocked: BTreeSet::new(),
            publications: BTreeMap::new(),
            waker: WakerSlot::default(),
        }
    }

    /// A namespace came or went. What has changed back is no news.
    pub(crate) fn changed(&mut self, namespace: TrackNamespace, is_there: bool) {
        if self.changes.get(&namespace) == Some(&!is_there) {
            self.changes.remove(&namespace);
        } else {
            self.changes.insert(namespace, is_there);
        }
    }

    /// A track could not be offered. At most `limit` of those are kept.
    pub(crate) fn blocked(&mut self, track: FullTrackName, limit: usize) {
        if self.blocked.len() < limit {
            self.blocked.insert(track);
        }
    }

    fn next(&mut self) -> Option<NamespaceEvent> {
        if let Some(track) = self.blocked.pop_first() {
            return Some(NamespaceEvent::PublishBlocked(track));
        }
        // In turns, so that one that comes and goes all the time does not hide the others.
        let after = self.fetched.take().and_then(|last| {
            let rest = (Bound::Excluded(last), Bound::Unbounded);
            self.changes.range(rest).next().map(|(namespace, _)| namespace.clone())
        });
        let namespace = after.or_else(|| self.changes.keys().next().cloned())?;
        let is_there = self.changes.remove(&namespace)?;
        self.fetched = Some(namespace.clone());
        Some(if is_there {
            NamespaceEvent::Namespace(namespace)
        } else {
            NamespaceEvent::NamespaceDone(namespace)
        })
    }
}

impl Router {
    /// Where namespaces are told of by PUBLISH_NAMESPACE (draft 14), one under a prefix that
    /// was asked for is accepted, and told of in the subscription. Whether this was one.
    pub(crate) fn published_under_subscription(
        &mut self,
        connection: &mut MoqtConnection,
        now: Timestamp,
        request: RequestKey,
        namespace: &TrackNamespace,
    ) -> bool {
        if connection.draft().dialect().message_code(MessageKind::Namespace).is_some() {
            return false;
        }
        let interest = NamespaceInterest::Namespaces;
        let asked = connection.namespace_subscription(namespace, interest);
        let found = asked.and_then(|key| Some((key, self.namespace_subscriptions.get_mut(&key)?)));
        let Some((key, slot)) = found else { return false };
        if slot.interest == NamespaceInterest::Tracks
            || slot.publications.contains_key(namespace)
            || connection.accept(now, request, Accept::default()).is_err()
        {
            return false;
        }
        slot.publications.insert(namespace.clone(), request);
        slot.changed(namespace.clone(), true);
        slot.waker.take_into(&mut self.wakers);
        self.publications.insert(request, (key, namespace.clone()));
        true
    }

    /// A request is over. Whether it was one that told of a namespace.
    pub(crate) fn publication_over(&mut self, request: RequestKey) -> bool {
        let Some((key, namespace)) = self.publications.remove(&request) else { return false };
        if let Some(slot) = self.namespace_subscriptions.get_mut(&key) {
            slot.publications.remove(&namespace);
            slot.changed(namespace, false);
            slot.waker.take_into(&mut self.wakers);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<TrackNamespace> {
        (0..count).map(|n| TrackNamespace::new([format!("n{n:03}")]).unwrap()).collect()
    }

    #[test]
    fn what_changes_back_before_it_is_fetched_is_no_news() {
        let names = names(3);
        let mut slot = NamespaceSubscriptionSlot::new(NamespaceInterest::Namespaces);
        for _ in 0..1000 {
            slot.changed(names[0].clone(), true);
            slot.changed(names[0].clone(), false);
        }
        assert_eq!(slot.next(), None);
        slot.changed(names[1].clone(), true);
        assert_eq!(slot.next(), Some(NamespaceEvent::Namespace(names[1].clone())));
        slot.changed(names[1].clone(), false);
        assert_eq!(slot.next(), Some(NamespaceEvent::NamespaceDone(names[1].clone())));
        assert_eq!(slot.next(), None);
    }

    #[test]
    fn one_that_comes_and_goes_does_not_hide_the_others() {
        let names = names(3);
        let mut slot = NamespaceSubscriptionSlot::new(NamespaceInterest::Namespaces);
        for name in &names {
            slot.changed(name.clone(), true);
        }
        assert_eq!(slot.next(), Some(NamespaceEvent::Namespace(names[0].clone())));
        // The first in order has news again.
        slot.changed(names[0].clone(), false);
        assert_eq!(slot.next(), Some(NamespaceEvent::Namespace(names[1].clone())));
        assert_eq!(slot.next(), Some(NamespaceEvent::Namespace(names[2].clone())));
        assert_eq!(slot.next(), Some(NamespaceEvent::NamespaceDone(names[0].clone())));
        assert_eq!(slot.next(), None);
    }

    #[test]
    fn tracks_that_were_blocked_are_kept_up_to_a_limit() {
        let mut slot = NamespaceSubscriptionSlot::new(NamespaceInterest::Tracks);
        for name in names(100) {
            slot.blocked(FullTrackName::new(name, "t").unwrap(), 10);
        }
        let fetched = std::iter::from_fn(|| slot.next()).count();
        assert_eq!(fetched, 10);
    }
}
