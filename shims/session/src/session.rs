use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use moqt_engine::model::{
    FullTrackName, JoiningStart, LocationRange, NamespaceInterest, Parameters, SessionError, Setup,
    SubscriptionFilter, TrackNamespace, TrackProperties,
};
use moqt_engine::{
    Answer, Blocked, CloseReason, CommandError, Draft, FetchTarget, Role, Stats, Transport, Usage,
};

use crate::driver::{Access, Driver, Shared};
use crate::error::Error;
use crate::fetch_reader::FetchReader;
use crate::incoming::Incoming;
use crate::namespace_subscription::PendingNamespaceSubscription;
use crate::pending::{NamespacePublication, Pending};
use crate::publication::Publication;
use crate::router::PublisherSlot;
use crate::subscription::Subscription;
use crate::track_reader::TrackReader;

/// A MoQT session that has been set up. Clones are handles to the same session; it is closed
/// when the last of them, and of what was made from them, is gone.
#[derive(Clone, Debug)]
pub struct Session {
    pub(crate) shared: Shared,
    info: Arc<SessionInfo>,
}

/// What is known of a session from its beginning.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Which end this is.
    pub role: Role,
    /// The draft negotiated.
    pub draft: Draft,
    /// What carries the session.
    pub transport: Transport,
    /// The peer's address, where there is such a thing.
    pub remote_address: Option<SocketAddr>,
    /// What the peer said of itself.
    pub setup: Setup,
    /// The path and query that a client asked for, as they came: with its leading slash, if it
    /// has one. On raw QUIC that is the setup's PATH option, on WebTransport `:path`. `None` if it
    /// named none, and on the client's side.
    pub path: Option<Bytes>,
    /// The authority that a client asked for, as it came: the setup's AUTHORITY option, or
    /// `:authority`. `None` if it named none, and on the client's side.
    pub authority: Option<Bytes>,
    /// Further fields of the request that opened a WebTransport session, in order; names are in
    /// lower case, and may be repeated. Empty on raw QUIC, and on the client's side.
    pub headers: Vec<(String, Bytes)>,
}

impl SessionInfo {
    /// What a driver knows once the session is set up.
    pub fn new(
        role: Role,
        draft: Draft,
        transport: Transport,
        remote_address: Option<SocketAddr>,
        setup: Setup,
    ) -> Self {
        let path = setup.options.path.clone();
        let authority = setup.options.authority.clone();
        let headers = Vec::new();
        Self { role, draft, transport, remote_address, setup, path, authority, headers }
    }

    /// What a driver knows of the HTTP request that opened a WebTransport session.
    #[must_use]
    pub fn requested(
        mut self,
        path: Bytes,
        authority: Bytes,
        headers: Vec<(String, Bytes)>,
    ) -> Self {
        (self.path, self.authority, self.headers) = (Some(path), Some(authority), headers);
        self
    }
}

/// The peer's wish that this side leave, or move a request (draft-18, "GOAWAY").
///
/// What is open goes on, for as long as the peer lets it. Requests that the peer has not
/// processed need no list: each of them is refused, and what waits for its answer gets
/// [`Error::Rejected`] (GOING_AWAY on draft 18) and can ask again elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Goaway {
    /// Where to continue; empty means at the current URI, or for a request in this session.
    pub new_session_uri: Bytes,
    /// Time until the peer closes the session or resets the request; zero if it did not say.
    pub timeout: Duration,
}

impl Session {
    /// A handle on a session that a driver has set up. For drivers.
    pub fn new(driver: Arc<dyn Driver>, info: SessionInfo) -> Self {
        Self { shared: Shared::new(driver), info: Arc::new(info) }
    }

    /// What is known of the session from its beginning.
    pub fn info(&self) -> &SessionInfo {
        &self.info
    }

    /// The draft negotiated. Few applications need it.
    pub fn draft(&self) -> Draft {
        self.info.draft
    }

    /// The peer's address, where there is such a thing.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.info.remote_address
    }

    /// Subscribes to a track (draft-18, "SUBSCRIBE"). The request goes out at once, and the answer
    /// can be awaited then or later; dropping what is returned unsubscribes.
    pub fn subscribe(&self, track: FullTrackName, parameters: Parameters) -> Pending<Subscription> {
        Pending::subscribe(self.clone(), track, parameters)
    }

    /// Fetches objects of the past (draft-18, "Standalone Fetch"). The request goes out at once,
    /// and the answer can be awaited then or later; dropping what is returned cancels it.
    pub fn fetch(
        &self,
        track: FullTrackName,
        range: LocationRange,
        parameters: Parameters,
    ) -> Pending<FetchReader> {
        Pending::fetch(self.clone(), FetchTarget::Standalone { track, range }, parameters)
    }

    /// Asks how far a track has come, without subscribing to it (draft-18, "TRACK_STATUS"): the
    /// largest location is in the answer's parameters if anything was published.
    pub fn track_status(&self, track: FullTrackName, parameters: Parameters) -> Pending<Answer> {
        Pending::track_status(self.clone(), track, parameters)
    }

    /// Joins a track (draft-18, "Joining Fetches"): subscribes to it, and fetches what came before
    /// from `start` on. Everything comes in order, first the past and then what is published now,
    /// as one. An object that does not come within `gap_timeout` is left out.
    ///
    /// [`Subscription::into_joined`] does the same with more to choose.
    pub async fn join(
        &self,
        track: FullTrackName,
        start: JoiningStart,
        gap_timeout: Duration,
    ) -> Result<TrackReader, Error> {
        let mut parameters = Parameters::default();
        parameters.subscription_filter = Some(SubscriptionFilter::LargestObject);
        let subscription = self.subscribe(track, parameters).await?;
        subscription.into_joined(start, gap_timeout, Parameters::default()).await
    }

    /// Advertises a namespace, so that the peer may ask for tracks in it (draft-18,
    /// "PUBLISH_NAMESPACE"). The request goes out at once, and the answer can be awaited then or
    /// later; dropping what is returned withdraws it.
    pub fn publish_namespace(
        &self,
        namespace: TrackNamespace,
        parameters: Parameters,
    ) -> Pending<NamespacePublication> {
        Pending::publish_namespace(self.clone(), namespace, parameters)
    }

    /// Asks to be told of the namespaces under a prefix, to be offered the tracks there, or both
    /// (draft-18, "SUBSCRIBE_NAMESPACE" and "SUBSCRIBE_TRACKS"). The prefix of no fields stands for
    /// everything. The request goes out at once, and the answer can be awaited then or later;
    /// dropping what is returned ends it.
    ///
    /// This is the same on all drafts, but for what they cannot tell apart: draft 14 knows only
    /// `Both`, and what was not asked for comes as [`Incoming`] requests there. Where a draft has a
    /// request for each, `Both` makes two of them, which are accepted or refused as one.
    pub fn subscribe_namespace(
        &self,
        prefix: TrackNamespace,
        interest: NamespaceInterest,
        parameters: Parameters,
    ) -> PendingNamespaceSubscription {
        PendingNamespaceSubscription::new(self.clone(), prefix, interest, parameters)
    }

    /// Offers a track to the peer (draft-18, "PUBLISH"). This waits until the offer has been
    /// queued, not for its answer: objects may be sent at once, and [`Publication::accepted`]
    /// tells how it went.
    pub async fn publish(
        &self,
        track: FullTrackName,
        parameters: Parameters,
        properties: TrackProperties,
    ) -> Result<Publication, Error> {
        let request = poll_fn(|cx| {
            self.poll_command(cx, |access| {
                let request =
                    access.connection.publish(access.now, &track, &parameters, &properties)?;
                access.router.publishers.insert(request, PublisherSlot::default());
                Ok(request)
            })
        })
        .await?;
        Ok(Publication::new(self.clone(), request, track))
    }

    /// The next thing the peer asks for. Several tasks may wait; each request goes to one of
    /// them. If nobody ever calls this, requests are refused after a short while.
    pub async fn accept_request(&self) -> Result<Incoming, CloseReason> {
        poll_fn(|cx| {
            let next = self.shared.run(|access| {
                let router = &mut *access.router;
                router.accepting = true;
                if let Some((_, request, what)) = router.incoming.pop_front() {
                    return Poll::Ready(Ok((request, what)));
                }
                if let Some(reason) = &router.closed {
                    return Poll::Ready(Err(reason.clone()));
                }
                router.incoming_wakers.register(cx);
                Poll::Pending
            });
            match next {
                Some(Poll::Ready(Ok((request, what)))) => {
                    if let Some(incoming) = Incoming::new(self.clone(), request, what) {
                        return Poll::Ready(Ok(incoming));
                    }
                    // A kind that this crate does not know yet has been refused.
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Some(Poll::Ready(Err(reason))) => Poll::Ready(Err(reason)),
                Some(Poll::Pending) => Poll::Pending,
                None => Poll::Ready(Err(driver_gone())),
            }
        })
        .await
    }

    /// Closes the session with this code and reason. What is queued is dropped: see
    /// [`flushed`](Self::flushed).
    pub fn close(&self, code: SessionError, reason: &str) {
        self.shared.run(|access| {
            access.connection.close(code, reason);
            access.wrote = true;
        });
    }

    /// Waits for the session to end, and says why it did.
    pub async fn closed(&self) -> CloseReason {
        let end = |access: &mut Access<'_>, cx: &Context<'_>| {
            if let Some(reason) = &access.router.closed {
                return Poll::Ready(reason.clone());
            }
            access.router.state_wakers.register(cx);
            Poll::Pending
        };
        self.shared.wait(end, driver_gone).await
    }

    /// Why the session ended, if it has.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.shared.run(|access| access.router.closed.clone()).flatten()
    }

    /// Waits until everything queued has been sent, finished subgroups have been acknowledged,
    /// and it makes sense to [`close`](Self::close).
    pub async fn flushed(&self) -> Result<(), CloseReason> {
        let mut is_first = true;
        let flushed = |access: &mut Access<'_>, cx: &Context<'_>| {
            if let Some(reason) = &access.router.closed {
                return Poll::Ready(Err(reason.clone()));
            }
            // What the driver said before may be out of date: let it look again.
            if !std::mem::take(&mut is_first) && access.router.is_flushed {
                return Poll::Ready(Ok(()));
            }
            access.router.is_flushed = false;
            access.router.flush_wakers.register(cx);
            access.wrote = true;
            Poll::Pending
        };
        self.shared.wait(flushed, || Err(driver_gone())).await
    }

    /// Waits for the peer to say that it is going away (draft-18, "GOAWAY"). What is open goes on;
    /// new requests fail with [`CommandError::GoingAway`].
    pub async fn goaway_received(&self) -> Result<Goaway, CloseReason> {
        let find = |access: &mut Access<'_>, cx: &Context<'_>| {
            let router = &mut *access.router;
            if let Some(goaway) = &router.goaway {
                return Poll::Ready(Ok(goaway.clone()));
            }
            if let Some(reason) = &router.closed {
                return Poll::Ready(Err(reason.clone()));
            }
            router.state_wakers.register(cx);
            Poll::Pending
        };
        self.shared.wait(find, || Err(driver_gone())).await
    }

    /// Tells the peer that this side is going away, and where to continue: an empty URI means
    /// at the current one. A client's must be empty.
    ///
    /// What is open goes on; end it, and [`close`](Self::close) when the peer has left. On draft
    /// 18 new requests of the peer's are refused with GOING_AWAY from now on. When `timeout` has
    /// passed, the session is closed with GOAWAY_TIMEOUT; zero sets no time. This can be done
    /// once in a session.
    pub fn goaway(&self, new_session_uri: Bytes, timeout: Duration) -> Result<(), CommandError> {
        self.shared
            .run(|access| {
                access.wrote = true;
                access.connection.goaway(access.now, new_session_uri, timeout)
            })
            .unwrap_or(Err(CommandError::Closed))
    }

    /// What the session holds in memory right now.
    pub fn usage(&self) -> Usage {
        self.shared.run(|access| access.connection.usage()).unwrap_or_default()
    }

    /// What the session has carried so far.
    pub fn stats(&self) -> Stats {
        self.shared.run(|access| access.connection.stats()).unwrap_or_default()
    }

    /// Datagrams that were not sent or not delivered, because something was full, they were too
    /// large, or nobody knew their track.
    pub fn datagrams_dropped(&self) -> u64 {
        self.shared.run(|access| access.router.datagrams_dropped).unwrap_or_default()
    }

    /// Runs a command that may have to wait for credit.
    pub(crate) fn poll_command<T>(
        &self,
        cx: &Context<'_>,
        command: impl FnOnce(&mut Access<'_>) -> Result<T, CommandError>,
    ) -> Poll<Result<T, Error>> {
        let outcome = self.shared.run(|access| {
            if let Some(reason) = &access.router.closed {
                return Poll::Ready(Err(Error::Closed(reason.clone())));
            }
            // Even when it is blocked: it may have told the peer so.
            access.wrote = true;
            match command(access) {
                Err(CommandError::Blocked(
                    Blocked::Setup | Blocked::Requests | Blocked::Streams,
                )) => {
                    access.router.unblocked_wakers.register(cx);
                    Poll::Pending
                }
                result => Poll::Ready(result.map_err(Error::Command)),
            }
        });
        outcome.unwrap_or_else(|| Poll::Ready(Err(Error::Closed(driver_gone()))))
    }
}

/// The driver did not do what it was asked to.
pub(crate) fn driver_gone() -> CloseReason {
    CloseReason::Transport { reason: "the transport driver is gone".into() }
}
