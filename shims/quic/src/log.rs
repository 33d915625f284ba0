//! What is worth a line in the program's log.

use moqt_engine::{CloseReason, Event};
use tracing::{debug, info, warn};

/// Logs what a session has to tell, but not what happens with every object.
pub(crate) fn event(connection: u64, event: &Event) {
    match event {
        Event::Established { .. } => info!(connection, "session established"),
        Event::Closed { reason: CloseReason::Local { error, reason } } => {
            info!(connection, ?error, ?reason, "session closed by this side");
        }
        Event::Closed { reason: CloseReason::Peer { error, code, reason } } => {
            info!(connection, ?error, code, ?reason, "session closed by the peer");
        }
        Event::Closed { reason: CloseReason::Transport { reason } } => {
            info!(connection, ?reason, "session lost");
        }
        Event::Goaway { .. } => info!(connection, "the peer asks this side to leave"),
        Event::Rejected { request, error } => {
            debug!(connection, ?request, code = ?error.code, reason = ?error.reason, "refused");
        }
        Event::TrackMalformed { request, rule, location } => {
            warn!(connection, ?request, ?rule, ?location, "malformed track");
        }
        Event::SubgroupGivenUp { request, stream, reason } => {
            debug!(connection, ?request, ?stream, ?reason, "subgroup given up");
        }
        Event::DatagramDropped { request, header, reason } => {
            let location = header.location;
            debug!(connection, ?request, ?location, ?reason, "datagram dropped");
        }
        _ => {}
    }
}
