//! The last words on requests: an application's own, and what events say of them.

use moqt_engine::model::{PublishDoneCode, RequestErrorCode, StreamResetCode};
use moqt_engine::{CommandError, Event, MoqtConnection, Refusal, RequestKey, Timestamp};

/// How a request was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// It was cancelled, and is over.
    Cancelled,
    /// It was refused, or what is published for it has come to its end.
    Ended,
    /// There is nothing to be done: it ends when all has been sent, or when the peer ends it.
    Nothing,
    /// It was over before.
    Gone,
}

/// The application wants nothing more of a request, at whatever point it is.
pub fn give_up(engine: &mut MoqtConnection, now: Timestamp, key: RequestKey) -> GivenUp {
    match engine.cancel(now, key, StreamResetCode::Cancelled) {
        Ok(()) => return GivenUp::Cancelled,
        Err(CommandError::Gone | CommandError::Closed) => return GivenUp::Gone,
        Err(_) => {}
    }
    if engine.reject(now, key, Refusal::new(RequestErrorCode::DoesNotExist)).is_ok() {
        return GivenUp::Ended;
    }
    if let Some(publisher) = engine.publisher(key) {
        publisher.done(PublishDoneCode::SubscriptionEnded, "");
        return GivenUp::Ended;
    }
    if let Some(response) = engine.fetch_response(key) {
        response.reset(StreamResetCode::Cancelled);
        return GivenUp::Ended;
    }
    GivenUp::Nothing
}

/// The request that an event is about.
pub fn request_of(event: &Event) -> Option<RequestKey> {
    Some(match event {
        Event::Request { request, .. }
        | Event::Accepted { request, .. }
        | Event::Rejected { request, .. }
        | Event::Updated { request, .. }
        | Event::UpdateRequested { request, .. }
        | Event::UpdateAccepted { request, .. }
        | Event::UpdateRejected { request, .. }
        | Event::NewGroupRequested { request, .. }
        | Event::Expired { request }
        | Event::Cancelled { request, .. }
        | Event::Namespace { request, .. }
        | Event::NamespaceDone { request, .. }
        | Event::PublishBlocked { request, .. }
        | Event::SubscriptionDone { request, .. }
        | Event::TrackMalformed { request, .. }
        | Event::SubgroupOpened { request, .. }
        | Event::FetchOpened { request, .. }
        | Event::Datagram { request, .. }
        | Event::SubgroupStopped { request, .. }
        | Event::SubgroupGivenUp { request, .. }
        | Event::Writable { request }
        | Event::RequestGoaway { request, .. } => *request,
        Event::DatagramDropped { request, .. } => return *request,
        _ => return None,
    })
}

/// Whether an event is the last about its request, of whatever kind that is.
pub fn ends_request(event: &Event) -> bool {
    matches!(
        event,
        Event::Rejected { .. }
            | Event::Cancelled { .. }
            | Event::SubscriptionDone { .. }
            | Event::TrackMalformed { .. }
            | Event::Expired { .. }
    )
}
