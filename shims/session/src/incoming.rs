use moqt_engine::model::{
    FullTrackName, Parameters, RequestErrorCode, TrackNamespace, TrackProperties,
};
use moqt_engine::{Accept, Answer, CommandError, IncomingRequest, Refusal, RequestKey};

use crate::driver::Access;
use crate::error::Error;
use crate::fetch_writer::{IncomingFetch, IncomingTrackStatus};
use crate::namespace_subscriber::IncomingSubscribeNamespace;
use crate::pending::NamespacePublication;
use crate::publication::Publication;
use crate::router::{NamespaceSlot, PublisherSlot, SubscriberSlot};
use crate::session::{Session, driver_gone};
use crate::subscription::Subscription;

/// Something the peer asks for. Dropped unanswered, it is refused.
#[must_use = "the request is refused when this is dropped"]
#[derive(Debug)]
#[non_exhaustive]
pub enum Incoming {
    /// The objects of a track. Refused with DOES_NOT_EXIST when dropped.
    Subscribe(IncomingSubscribe),
    /// To be allowed to send a track. Refused with UNINTERESTED when dropped.
    Publish(IncomingPublish),
    /// Objects of the past. Refused with DOES_NOT_EXIST when dropped.
    Fetch(IncomingFetch),
    /// To be told how far a track has come. Refused with DOES_NOT_EXIST when dropped.
    TrackStatus(IncomingTrackStatus),
    /// To be asked for tracks in a namespace. Refused with UNINTERESTED when dropped.
    PublishNamespace(IncomingPublishNamespace),
    /// To be told of namespaces or offered tracks under a prefix. Refused with NOT_SUPPORTED when
    /// dropped.
    SubscribeNamespace(IncomingSubscribeNamespace),
}

impl Incoming {
    /// `None` if the request is of a kind that this crate does not know; it has been refused.
    pub(crate) fn new(
        session: Session,
        request: RequestKey,
        what: IncomingRequest,
    ) -> Option<Self> {
        let unanswered = |code| Unanswered { session, request, default: code, answered: false };
        Some(match what {
            IncomingRequest::Subscribe { track, parameters } => {
                let inner = unanswered(RequestErrorCode::DoesNotExist);
                Self::Subscribe(IncomingSubscribe { inner, track, parameters })
            }
            IncomingRequest::Publish { track, parameters, track_properties } => {
                let inner = unanswered(RequestErrorCode::Uninterested);
                Self::Publish(IncomingPublish { inner, track, parameters, track_properties })
            }
            IncomingRequest::Fetch { track, range, parameters, .. } => {
                let inner = unanswered(RequestErrorCode::DoesNotExist);
                Self::Fetch(IncomingFetch::new(inner, track, range, parameters))
            }
            IncomingRequest::TrackStatus { track, parameters } => {
                let inner = unanswered(RequestErrorCode::DoesNotExist);
                Self::TrackStatus(IncomingTrackStatus::new(inner, track, parameters))
            }
            IncomingRequest::PublishNamespace { namespace, parameters } => {
                let inner = unanswered(RequestErrorCode::Uninterested);
                Self::PublishNamespace(IncomingPublishNamespace { inner, namespace, parameters })
            }
            IncomingRequest::SubscribeNamespace { prefix, interest, parameters } => {
                let inner = unanswered(RequestErrorCode::NotSupported);
                Self::SubscribeNamespace(IncomingSubscribeNamespace::new(
                    inner, prefix, interest, parameters,
                ))
            }
            _ => {
                drop(unanswered(RequestErrorCode::NotSupported));
                return None;
            }
        })
    }

    /// What it came with, whatever it is. Tokens are here by value, and in
    /// [`SessionInfo::setup`](crate::SessionInfo::setup) those of the whole session.
    pub fn parameters(&self) -> &Parameters {
        match self {
            Self::Subscribe(request) => request.parameters(),
            Self::Publish(request) => request.parameters(),
            Self::Fetch(request) => request.parameters(),
            Self::TrackStatus(request) => request.parameters(),
            Self::PublishNamespace(request) => request.parameters(),
            Self::SubscribeNamespace(request) => request.parameters(),
        }
    }

    /// Refuses it, whatever it is.
    pub fn reject(self, refusal: Refusal) {
        match self {
            Self::Subscribe(request) => request.reject(refusal),
            Self::Publish(request) => request.reject(refusal),
            Self::Fetch(request) => request.reject(refusal),
            Self::TrackStatus(request) => request.reject(refusal),
            Self::PublishNamespace(request) => request.reject(refusal),
            Self::SubscribeNamespace(request) => request.reject(refusal),
        }
    }
}

/// Sees to it that a request is answered.
#[derive(Debug)]
pub(crate) struct Unanswered {
    pub(crate) session: Session,
    pub(crate) request: RequestKey,
    default: RequestErrorCode,
    answered: bool,
}

impl Unanswered {
    pub(crate) fn accept(
        &mut self,
        accept: Accept,
        register: impl FnOnce(&mut crate::Router, RequestKey),
    ) -> Result<(), Error> {
        self.answer(
            |access, request| access.connection.accept(access.now, request, accept),
            register,
        )
    }

    /// Answers with this command.
    pub(crate) fn answer(
        &mut self,
        command: impl FnOnce(&mut Access<'_>, RequestKey) -> Result<(), CommandError>,
        register: impl FnOnce(&mut crate::Router, RequestKey),
    ) -> Result<(), Error> {
        self.answered = true;
        let request = self.request;
        let accepted = self.session.shared.run(|access| {
            if let Some(reason) = &access.router.closed {
                return Err(Error::Closed(reason.clone()));
            }
            access.wrote = true;
            // Objects that waited for the answer come in with it.
            register(access.router, request);
            command(access, request).map_err(|error| {
                access.router.subscribers.remove(&request);
                access.router.publishers.remove(&request);
                access.router.namespaces.remove(&request);
                Error::Command(error)
            })
        });
        accepted.unwrap_or_else(|| Err(Error::Closed(driver_gone())))
    }

    pub(crate) fn reject(&mut self, refusal: Refusal) {
        self.answered = true;
        self.session.shared.run(|access| {
            // A request that is over needs no answer.
            let _ = access.connection.reject(access.now, self.request, refusal);
            access.wrote = true;
        });
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if !self.answered {
            self.reject(Refusal::new(self.default));
        }
    }
}

/// The peer wants the objects of a track (draft-18, "SUBSCRIBE").
#[must_use = "the request is refused when this is dropped"]
#[derive(Debug)]
pub struct IncomingSubscribe {
    inner: Unanswered,
    track: FullTrackName,
    parameters: Parameters,
}

impl IncomingSubscribe {
    /// The track.
    pub fn track(&self) -> &FullTrackName {
        &self.track
    }

    /// Filter, priority, order, forward state, tokens.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Accepts it: the largest location published so far goes into
    /// `accept.parameters.largest_object`. If the filter ends before that, the request is refused
    /// with INVALID_RANGE instead, and the publication has [ended](Publication::ended).
    pub fn accept(mut self, accept: Accept) -> Result<Publication, Error> {
        self.inner.accept(accept, |router, request| {
            let slot = PublisherSlot { answer: Some(Answer::default()), ..Default::default() };
            router.publishers.insert(request, slot);
        })?;
        Ok(Publication::new(self.inner.session.clone(), self.inner.request, self.track))
    }

    /// Refuses it.
    pub fn reject(mut self, refusal: Refusal) {
        self.inner.reject(refusal);
    }
}

/// The peer wants to send a track (draft-18, "PUBLISH"). Objects that come before the answer are
/// held.
#[must_use = "the request is refused when this is dropped"]
#[derive(Debug)]
pub struct IncomingPublish {
    inner: Unanswered,
    track: FullTrackName,
    parameters: Parameters,
    track_properties: TrackProperties,
}

impl IncomingPublish {
    /// The track.
    pub fn track(&self) -> &FullTrackName {
        &self.track
    }

    /// Largest location, forward state, tokens.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Properties of the track.
    pub fn track_properties(&self) -> &TrackProperties {
        &self.track_properties
    }

    /// Accepts it: filter, priority, order and forward state go into `accept.parameters`.
    pub fn accept(mut self, accept: Accept) -> Result<Subscription, Error> {
        self.inner.accept(accept, |router, request| {
            let slot = SubscriberSlot { answer: Some(Ok(Answer::default())), ..Default::default() };
            router.subscribers.insert(request, slot);
        })?;
        let (session, request) = (self.inner.session.clone(), self.inner.request);
        Ok(Subscription::new(session, request, self.track, None))
    }

    /// Refuses it.
    pub fn reject(mut self, refusal: Refusal) {
        self.inner.reject(refusal);
    }
}

/// The peer wants to be asked for tracks in a namespace (draft-18, "PUBLISH_NAMESPACE").
#[must_use = "the request is refused when this is dropped"]
#[derive(Debug)]
pub struct IncomingPublishNamespace {
    inner: Unanswered,
    namespace: TrackNamespace,
    parameters: Parameters,
}

impl IncomingPublishNamespace {
    /// The namespace.
    pub fn namespace(&self) -> &TrackNamespace {
        &self.namespace
    }

    /// Tokens.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Accepts it.
    pub fn accept(mut self) -> Result<NamespacePublication, Error> {
        self.inner.accept(Accept::default(), |router, request| {
            router.namespaces.insert(request, NamespaceSlot::default());
        })?;
        Ok(NamespacePublication {
            session: self.inner.session.clone(),
            request: self.inner.request,
            namespace: self.namespace,
            answer: Answer::default(),
        })
    }

    /// Refuses it.
    pub fn reject(mut self, refusal: Refusal) {
        self.inner.reject(refusal);
    }
}
