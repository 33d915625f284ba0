//! What events say of requests.

use moqt_engine::{Event, RequestKey};

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
