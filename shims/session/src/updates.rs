//! Changing requests, and moving them.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use moqt_engine::model::Parameters;
use moqt_engine::{CommandError, Event, MoqtConnection, Refusal, RequestKey, Timestamp, UpdateId};

use crate::driver::Access;
use crate::error::Error;
use crate::publication::{Publication, PublicationEnd};
use crate::router::Router;
use crate::session::{Goaway, Session, driver_gone};
use crate::wakers::{WakerSet, WakerSlot};

/// An update that waits for its answer (draft-18, "REQUEST_UPDATE"): what the peer said when it
/// accepted, the largest location and the new expiry. It goes out at once if it can, and stays sent
/// if this is dropped.
///
/// A refusal ([`Error::Rejected`]) ends the request; if no answer came in time
/// ([`RequestError::raw_code`](moqt_engine::RequestError::raw_code) is `None` then), it goes on.
#[must_use = "an update that cannot go out at once goes out when this is awaited"]
#[derive(Debug)]
pub struct PendingUpdate {
    session: Session,
    request: RequestKey,
    state: State,
}

#[derive(Debug)]
enum State {
    /// It has to wait for credit, or for answers to those before it.
    Unsent(Box<Parameters>),
    Sent(UpdateId),
}

/// An update that has been sent.
#[derive(Debug)]
struct UpdateSlot {
    request: RequestKey,
    answer: Option<Result<Parameters, Error>>,
    waker: WakerSlot,
}

/// What waits for updates and for GOAWAYs of requests.
#[derive(Debug, Default)]
pub(crate) struct UpdateSlots {
    sent: HashMap<UpdateId, UpdateSlot>,
    goaways: HashMap<RequestKey, Goaway>,
    /// Those who wait for room, for an update of the peer's, or for a GOAWAY.
    wakers: WakerSet,
}

impl PendingUpdate {
    pub(crate) fn new(session: Session, request: RequestKey, parameters: Parameters) -> Self {
        let mut update = Self { session, request, state: State::Unsent(Box::new(parameters)) };
        // What cannot be done now is told, or tried again, when this is awaited.
        let _ = update.send();
        update
    }

    /// Sends it, if that can be done now.
    fn send(&mut self) -> Result<(), CommandError> {
        let State::Unsent(parameters) = &self.state else { return Ok(()) };
        let request = self.request;
        let sent = self.session.shared.run(|access| {
            let update = access.connection.update(access.now, request, parameters)?;
            access.wrote = true;
            let slot = UpdateSlot { request, answer: None, waker: WakerSlot::default() };
            access.router.updates.sent.insert(update, slot);
            Ok(update)
        });
        self.state = State::Sent(sent.unwrap_or(Err(CommandError::Closed))?);
        Ok(())
    }

    fn poll_answer(&self, cx: &Context<'_>, update: UpdateId) -> Poll<Result<Parameters, Error>> {
        let answer = self.session.shared.run(|access| {
            let router = &mut *access.router;
            let Some(slot) = router.updates.sent.get_mut(&update) else {
                return Poll::Ready(Err(Error::Command(CommandError::Gone)));
            };
            if let Some(answer) = slot.answer.take() {
                router.updates.sent.remove(&update);
                return Poll::Ready(answer);
            }
            if let Some(reason) = &router.closed {
                return Poll::Ready(Err(Error::Closed(reason.clone())));
            }
            slot.waker.register(cx);
            Poll::Pending
        });
        answer.unwrap_or_else(|| Poll::Ready(Err(Error::Closed(driver_gone()))))
    }
}

impl Future for PendingUpdate {
    type Output = Result<Parameters, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.send() {
            Err(CommandError::Blocked(_)) => {
                self.session.shared.run(|access| {
                    access.router.unblocked_wakers.register(cx);
                    access.router.updates.wakers.register(cx);
                });
                // There may have been room before these were registered.
                match self.send() {
                    Err(CommandError::Blocked(_)) => return Poll::Pending,
                    Err(error) => return Poll::Ready(Err(Error::Command(error))),
                    Ok(()) => {}
                }
            }
            Err(error) => return Poll::Ready(Err(Error::Command(error))),
            Ok(()) => {}
        }
        match self.state {
            State::Sent(update) => self.poll_answer(cx, update),
            State::Unsent(_) => Poll::Pending,
        }
    }
}

impl Drop for PendingUpdate {
    fn drop(&mut self) {
        if let State::Sent(update) = self.state {
            self.session.shared.run(|access| access.router.updates.sent.remove(&update));
        }
    }
}

/// A change that the subscriber asks for, where the application decides on those
/// ([`Config::decide_updates`](moqt_engine::Config::decide_updates)). Dropped unanswered, it is
/// refused, which ends the publication.
#[must_use = "the update is refused when this is dropped"]
#[derive(Debug)]
pub struct IncomingUpdate<'a> {
    publication: &'a mut Publication,
    parameters: Parameters,
    answered: bool,
}

impl IncomingUpdate<'_> {
    /// What is to change; what is absent stays as it is.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Accepts it, and puts it in force. Of `parameters`, `expires` grants an extension.
    pub fn accept(mut self, parameters: &Parameters) -> Result<(), Error> {
        self.answered = true;
        let request = self.publication.request;
        let accepted = self.publication.session.shared.run(|access| {
            access.wrote = true;
            access.connection.accept_update(access.now, request, parameters)
        });
        Ok(accepted.unwrap_or(Err(CommandError::Closed))?)
    }

    /// Refuses it. The publication ends with that.
    pub fn reject(mut self, refusal: Refusal) {
        self.refuse(refusal);
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.answered = true;
        let request = self.publication.request;
        self.publication.session.shared.run(|access| {
            access.wrote = true;
            // If it is over already there is nothing to refuse.
            let _ = access.connection.reject_update(access.now, request, refusal);
            let end = PublicationEnd::Cancelled(moqt_engine::model::StreamResetCode::Cancelled);
            access.router.publication_ended(request, end);
        });
    }
}

impl Drop for IncomingUpdate<'_> {
    fn drop(&mut self) {
        if !self.answered {
            let code = moqt_engine::model::RequestErrorCode::NotSupported;
            self.refuse(Refusal::new(code));
        }
    }
}

impl Publication {
    /// Asks to extend a publication of ours that the subscriber lets expire, or brings new
    /// tokens. All else about a subscription is for its subscriber to change.
    pub fn update(&self, parameters: Parameters) -> PendingUpdate {
        PendingUpdate::new(self.session.clone(), self.request, parameters)
    }

    /// Waits for the subscriber to ask for a change, where the application decides on those
    /// ([`Config::decide_updates`](moqt_engine::Config::decide_updates)).
    pub async fn next_update_request(&mut self) -> Result<IncomingUpdate<'_>, PublicationEnd> {
        let parameters = self.take(|slot| slot.undecided.pop_front()).await?;
        Ok(IncomingUpdate { publication: self, parameters, answered: false })
    }

    /// Waits for the subscriber to ask for a new group (draft-18, "NEW GROUP REQUEST Parameter"),
    /// which the track has to allow (DYNAMIC_GROUPS): the largest group it knows plus one, or 0. Of
    /// several that were not waited for only the last is told.
    pub async fn new_group_requested(&self) -> Result<u64, PublicationEnd> {
        self.take(|slot| slot.new_group.take()).await
    }

    /// Waits for the subscriber to ask that this publication be moved (draft 18).
    pub async fn goaway_received(&self) -> Result<Goaway, Error> {
        goaway_received(&self.session, self.request).await
    }

    /// Asks the subscriber to move this subscription elsewhere, or to make it again in this
    /// session if the URI is empty (draft 18); a client's must be. When `timeout` has passed it
    /// is reset.
    pub fn goaway(&self, new_session_uri: Bytes, timeout: Duration) -> Result<(), CommandError> {
        goaway(&self.session, self.request, new_session_uri, timeout)
    }
}

pub(crate) fn goaway(
    session: &Session,
    request: RequestKey,
    new_session_uri: Bytes,
    timeout: Duration,
) -> Result<(), CommandError> {
    let sent = session.shared.run(|access| {
        access.wrote = true;
        access.connection.goaway_request(access.now, request, new_session_uri, timeout)
    });
    sent.unwrap_or(Err(CommandError::Closed))
}

pub(crate) async fn goaway_received(
    session: &Session,
    request: RequestKey,
) -> Result<Goaway, Error> {
    let find = |access: &mut Access<'_>, cx: &Context<'_>| {
        let router = &mut *access.router;
        if let Some(goaway) = router.updates.goaways.get(&request) {
            return Poll::Ready(Ok(goaway.clone()));
        }
        if let Some(reason) = &router.closed {
            return Poll::Ready(Err(Error::Closed(reason.clone())));
        }
        if router.is_over(request) {
            return Poll::Ready(Err(Error::Command(CommandError::Gone)));
        }
        router.updates.wakers.register(cx);
        Poll::Pending
    };
    session.shared.wait(find, || Err(Error::Closed(driver_gone()))).await
}

impl Router {
    /// Sorts in an event about an update, or one that ends a request.
    pub(crate) fn updates_event(
        &mut self,
        connection: &mut MoqtConnection,
        now: Timestamp,
        event: &Event,
    ) {
        match event {
            Event::UpdateAccepted { update, parameters, .. } => {
                self.update_answered(*update, Ok(parameters.clone()));
            }
            Event::UpdateRejected { update, error, .. } => {
                self.update_answered(*update, Err(Error::Rejected(Box::new(error.clone()))));
            }
            Event::UpdateRequested { request, parameters } => {
                if let Some(slot) = self.publishers.get_mut(request) {
                    slot.undecided.push_back(parameters.clone());
                    slot.wakers.take_into(&mut self.wakers);
                } else {
                    // There is nothing about other requests to decide on. On draft 16 one that
                    // has not been answered is decided on with its request.
                    let _ = connection.accept_update(now, *request, &Parameters::default());
                }
            }
            Event::NewGroupRequested { request, value } => {
                if let Some(slot) = self.publishers.get_mut(request) {
                    slot.new_group = Some(*value);
                    slot.wakers.take_into(&mut self.wakers);
                }
            }
            // Nobody can ask for that of others, and nothing would ever forget it.
            Event::RequestGoaway { request, .. }
                if !self.publishers.contains_key(request)
                    && !self.subscribers.contains_key(request) => {}
            Event::RequestGoaway { request, new_session_uri, timeout } => {
                let goaway = Goaway { new_session_uri: new_session_uri.clone(), timeout: *timeout };
                self.updates.goaways.insert(*request, goaway);
                self.updates.wakers.take_into(&mut self.wakers);
            }
            Event::Cancelled { request, .. }
            | Event::Rejected { request, .. }
            | Event::SubscriptionDone { request, .. }
            | Event::TrackMalformed { request, .. }
            | Event::Expired { request } => self.request_over(*request),
            Event::Closed { .. } => {
                for slot in self.updates.sent.values_mut() {
                    slot.waker.take_into(&mut self.wakers);
                }
                self.updates.wakers.take_into(&mut self.wakers);
            }
            _ => {}
        }
    }

    fn update_answered(&mut self, update: UpdateId, answer: Result<Parameters, Error>) {
        if let Some(slot) = self.updates.sent.get_mut(&update) {
            slot.answer = Some(answer);
            slot.waker.take_into(&mut self.wakers);
        }
        self.updates.wakers.take_into(&mut self.wakers);
    }

    /// A request is over: whoever waits for an answer to an update of it waits in vain.
    pub(crate) fn request_over(&mut self, request: RequestKey) {
        self.updates.goaways.remove(&request);
        for slot in self.updates.sent.values_mut() {
            if slot.request == request && slot.answer.is_none() {
                slot.answer = Some(Err(Error::Command(CommandError::Gone)));
                slot.waker.take_into(&mut self.wakers);
            }
        }
        self.updates.wakers.take_into(&mut self.wakers);
    }

    fn is_over(&self, request: RequestKey) -> bool {
        let publication = self.publishers.get(&request).is_none_or(|slot| slot.end.is_some());
        let subscription = self.subscribers.get(&request).is_none_or(|slot| slot.end.is_some());
        publication && subscription
    }
}
