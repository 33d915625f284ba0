//! What cuts the life of a request short.

use std::time::Duration;

use bytes::Bytes;
use moqt_conformance::say;
use moqt_engine::model::{
    FetchCancel, Goaway, Message, PublishNamespaceCancel, RequestErrorCode, RequestKind,
    SessionError, SetupOptions, UnsubscribeNamespace,
};
use moqt_engine::{Draft, Role, TransportClosed};

use crate::play::{AtStake, Play};

/// Something that happens at any point of a request's life. Unless it is the session's end, the
/// application gives up what is left of the request after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interruption {
    /// The application gives the request up.
    EndedHere,
    /// The peer says nothing more, for as long as anything is waited for.
    Silence,
    /// The peer ends the request with a message.
    Message,
    /// The peer resets, stops or finishes the request's stream.
    Reset,
    Stop,
    ResetAndStop,
    StopAndReset,
    Fin,
    /// The same happens to the streams with the request's objects.
    DataReset,
    DataStop,
    DataFin,
    /// The peer goes away, or moves the request.
    Goaway,
    RequestGoaway,
    /// This side goes away, or moves the request, and the peer does not do what it is told.
    OwnGoaway,
    OwnRequestGoaway,
    /// The peer breaks a rule of the session, or of the request.
    Violation,
    RequestViolation,
    /// The session is closed by the application, by the peer, or lost.
    Close,
    ClosedByPeer,
    Lost,
}

impl Interruption {
    pub(crate) const ALL: [Self; 20] = [
        Self::EndedHere,
        Self::Silence,
        Self::Message,
        Self::Reset,
        Self::Stop,
        Self::ResetAndStop,
        Self::StopAndReset,
        Self::Fin,
        Self::DataReset,
        Self::DataStop,
        Self::DataFin,
        Self::Goaway,
        Self::RequestGoaway,
        Self::OwnGoaway,
        Self::OwnRequestGoaway,
        Self::Violation,
        Self::RequestViolation,
        Self::Close,
        Self::ClosedByPeer,
        Self::Lost,
    ];

    /// Whether the session ends with it whatever the point.
    pub(crate) fn ends_session(self) -> bool {
        let ends = [Self::OwnGoaway, Self::Violation, Self::Close, Self::ClosedByPeer, Self::Lost];
        ends.contains(&self)
    }

    /// Lets it happen, to every request at stake. Whether it can at this point.
    pub(crate) fn happen(self, play: &mut Play) -> bool {
        let all = 0..play.requests.len();
        match self {
            Self::EndedHere => all.filter(|index| play.end_here(*index)).count() > 0,
            Self::Silence => true,
            Self::Message => all.filter(|index| say_end(play, *index)).count() > 0,
            Self::Reset => with_streams(play, |play, on| play.end.reset(on, 1)),
            Self::Stop => with_streams(play, |play, on| play.end.stop(on, 1)),
            Self::ResetAndStop => with_streams(play, |play, on| {
                play.end.reset(on, 1);
                play.end.stop(on, 1);
            }),
            Self::StopAndReset => with_streams(play, |play, on| {
                play.end.stop(on, 1);
                play.end.reset(on, 1);
            }),
            Self::Fin => with_streams(play, |play, on| play.end.fin(on)),
            Self::DataReset => {
                let streams = play.received.clone();
                for stream in &streams {
                    play.end.reset(*stream, 2);
                }
                !streams.is_empty()
            }
            Self::DataFin => {
                let streams = play.received.clone();
                for stream in &streams {
                    play.end.fin(*stream);
                }
                !streams.is_empty()
            }
            Self::DataStop => {
                let streams = play.sent.clone();
                for stream in &streams {
                    play.end.stop(play.end.name(*stream), 1);
                }
                !streams.is_empty()
            }
            Self::Goaway => {
                let request_id = (play.draft >= Draft::D18).then_some(play.end.next_own_id());
                goaway(play, play.end.control, request_id);
                true
            }
            Self::RequestGoaway => {
                play.draft >= Draft::D18 && with_streams(play, |play, on| goaway(play, on, None))
            }
            Self::OwnGoaway => {
                let timeout = Duration::from_secs(1);
                let done = play.end.with(|engine, now| engine.goaway(now, Bytes::new(), timeout));
                done.is_ok()
            }
            Self::OwnRequestGoaway => {
                let keys: Vec<_> = play.requests.iter().map(|request| request.key).collect();
                let timeout = Duration::from_secs(1);
                let told = keys.into_iter().filter(|key| {
                    let told = play.end.with(|engine, now| {
                        engine.goaway_request(now, *key, Bytes::new(), timeout)
                    });
                    told.is_ok()
                });
                told.count() > 0
            }
            Self::Violation => {
                let setup =
                    say::setup(play.draft, play.end.engine.role().peer(), SetupOptions::default());
                play.end.data(play.end.control, setup);
                true
            }
            Self::RequestViolation => {
                let AtStake { id, on, .. } = play.last();
                // Nobody asked for this.
                let message = match play.draft {
                    draft if draft >= Draft::D18 => say::ok(id, RequestKind::TrackStatus),
                    _ => say::ok(id, RequestKind::PublishNamespace),
                };
                play.end.say(on, &message);
                true
            }
            Self::Close => {
                play.end.with(|engine, _| engine.close(SessionError::NoError, "enough"));
                true
            }
            Self::ClosedByPeer => {
                closed(play, TransportClosed::ByPeer { code: 0, reason: String::new() })
            }
            Self::Lost => closed(play, TransportClosed::Lost { reason: "idle".into() }),
        }
    }
}

fn closed(play: &mut Play, how: TransportClosed) -> bool {
    play.end.with(|engine, now| engine.handle_closed(now, how));
    true
}

/// Does something to the streams of requests that have their own. Whether there were any.
fn with_streams(
    play: &mut Play,
    mut what: impl FnMut(&mut Play, moqt_conformance::end::Name),
) -> bool {
    let control = play.end.control;
    let streams: Vec<_> =
        play.requests.iter().map(|request| request.on).filter(|on| *on != control).collect();
    for on in &streams {
        what(play, *on);
    }
    !streams.is_empty()
}

fn goaway(play: &mut Play, on: moqt_conformance::end::Name, request_id: Option<u64>) {
    let uri = match play.end.engine.role() {
        Role::Client => Bytes::from_static(b"moqt://elsewhere"),
        Role::Server => Bytes::new(),
    };
    let goaway = Goaway { new_session_uri: uri, timeout: 0, request_id };
    play.end.say(on, &Message::Goaway(goaway));
}

/// The peer ends a request with a message, if there is one to do so. Whether it did.
fn say_end(play: &mut Play, index: usize) -> bool {
    let AtStake { kind, ours, id, on, answered, done, .. } = play.requests[index];
    let streams = play.draft >= Draft::D18;
    let draft = play.draft;
    let target = |name| say::published_namespace(draft, id, &say::namespace(name));
    let message = match (kind, ours, answered) {
        (RequestKind::Subscribe, true, true) | (RequestKind::Publish, false, _) if !done => {
            play.requests[index].done = true;
            say::done(id, play.received.len() as u64 + 1)
        }
        (_, true, false) => say::error(id, kind, RequestErrorCode::InternalError),
        (RequestKind::Publish, true, true) | (RequestKind::Subscribe, false, _) if !streams => {
            say::unsubscribe(id)
        }
        (RequestKind::Fetch, false, _) if !streams => {
            Message::FetchCancel(FetchCancel { request_id: id })
        }
        (RequestKind::PublishNamespace, true, true) if !streams => {
            let name = if play.requests.len() > 1 { "pre-one" } else { "ns" };
            Message::PublishNamespaceCancel(PublishNamespaceCancel {
                target: target(name),
                code: RequestErrorCode::InternalError,
                reason: String::new(),
            })
        }
        (RequestKind::PublishNamespace, false, _) if !streams => {
            Message::PublishNamespaceDone(target("test"))
        }
        (RequestKind::SubscribeNamespace, false, _) if play.draft < Draft::D16 => {
            let prefix = say::namespace(if play.requests.len() > 1 { "test" } else { "pre" });
            Message::UnsubscribeNamespace(UnsubscribeNamespace { prefix })
        }
        _ => return false,
    };
    play.end.say(on, &message);
    true
}
