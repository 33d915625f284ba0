//! Draft 18: each request has a bidirectional stream, on which its answers, updates and end
//! follow; resetting or stopping that stream cancels it.

use alloc::format;

use super::{Inbound, RequestRef, Source, Violation, name_of};
use crate::model::{Message, RequestKind};

pub(super) fn inbound(source: Source, message: Message) -> Result<Inbound, Violation> {
    let place = match (source, message) {
        (Source::Control, Message::Setup(setup)) => return Ok(Inbound::Setup(setup)),
        // Its type is one that may begin a stream.
        (Source::NewStream, message) => return Ok(Inbound::Open(message)),
        (_, Message::Goaway(goaway)) => return Ok(Inbound::Goaway(goaway)),
        (
            Source::OurRequest(_),
            message @ (Message::RequestOk(_)
            | Message::RequestError(_)
            | Message::SubscribeOk(_)
            | Message::FetchOk(_)),
        )
        // The subscriber's answers to updates of a publisher's request.
        | (
            Source::PeerRequest(RequestKind::Publish),
            message @ (Message::RequestOk(_) | Message::RequestError(_)),
        ) => return Ok(Inbound::Answer(RequestRef::Stream, message)),
        (
            Source::OurRequest(RequestKind::SubscribeNamespace),
            message @ (Message::Namespace(_) | Message::NamespaceDone(_)),
        )
        | (
            Source::OurRequest(RequestKind::SubscribeTracks),
            message @ Message::PublishBlocked(_),
        ) => return Ok(Inbound::Discovery(message)),
        (
            Source::OurRequest(RequestKind::Subscribe)
            | Source::PeerRequest(RequestKind::Publish),
            Message::PublishDone(done),
        ) => return Ok(Inbound::Done(RequestRef::Stream, done)),
        (
            Source::PeerRequest(kind),
            Message::RequestUpdate(update),
        ) if kind != RequestKind::TrackStatus => {
            return Ok(Inbound::Update(RequestRef::Stream, update));
        }
        // A subscriber may update a subscription that the publisher began.
        (Source::OurRequest(RequestKind::Publish), Message::RequestUpdate(update)) => {
            return Ok(Inbound::Update(RequestRef::Stream, update));
        }
        (Source::Control, message) => ("the control stream", message),
        (Source::OurRequest(_) | Source::PeerRequest(_), message) => {
            ("this request's stream", message)
        }
    };
    Err(Violation::protocol(format!("{} on {}", name_of(&place.1), place.0)))
}
