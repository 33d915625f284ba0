//! Answers to what a peer asks about the tracks there are.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moqt_engine::model::{
    EndOfRange, FullTrackName, ObjectStatus, Parameters, RequestErrorCode, StreamResetCode,
};
use moqt_engine::wire::{FetchObject, Properties};
use moqt_engine::{Accept, AcceptFetch, Refusal};
use moqt_session::{FetchWriter, Incoming, IncomingFetch, IncomingTrackStatus, WriteError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::args::SourceArgs;
use crate::history::{History, Replay, Replayed};
use crate::origin::{Joiner, PRIORITY};

/// Where subscribers are taken to, and fetches are served.
#[derive(Clone)]
pub(crate) struct Desk {
    tracks: Arc<HashMap<FullTrackName, Arc<History>>>,
    joiners: mpsc::Sender<Joiner>,
    served: Arc<Served>,
    /// How many subgroups a group has; none if objects are sent in datagrams.
    subgroups: Option<u64>,
}

/// What fetches were given.
#[derive(Debug, Default)]
struct Served {
    fetches: AtomicU64,
    bytes: AtomicU64,
}

impl Desk {
    pub(crate) fn new(
        track: FullTrackName,
        history: Arc<History>,
        joiners: mpsc::Sender<Joiner>,
        source: &SourceArgs,
    ) -> Self {
        let subgroups = (!source.datagram).then_some(source.streams);
        let tracks = Arc::new(HashMap::from([(track, history)]));
        Self { tracks, joiners, served: Arc::default(), subgroups }
    }

    /// Several tracks, whose objects are in one subgroup a group.
    pub(crate) fn of(
        tracks: Arc<HashMap<FullTrackName, Arc<History>>>,
        joiners: mpsc::Sender<Joiner>,
    ) -> Self {
        Self { tracks, joiners, served: Arc::default(), subgroups: Some(1) }
    }

    /// How many fetches were answered, with how many bytes.
    pub(crate) fn served(&self) -> (u64, u64) {
        let Served { fetches, bytes } = &*self.served;
        (fetches.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed))
    }

    /// Answers one request; what takes time goes on in `tasks`. `false` if nobody publishes any
    /// more.
    pub(crate) async fn answer(&self, incoming: Incoming, tasks: &mut JoinSet<()>) -> bool {
        match incoming {
            Incoming::Subscribe(subscribe) if self.tracks.contains_key(subscribe.track()) => {
                return self.joiners.send(Joiner::Subscribe(Box::new(subscribe))).await.is_ok();
            }
            Incoming::Fetch(fetch) => match self.tracks.get(fetch.track()) {
                Some(history) => {
                    tasks.spawn(self.clone().serve(fetch, history.clone()));
                    while tasks.try_join_next().is_some() {}
                }
                None => self.turn_away(Incoming::Fetch(fetch)),
            },
            Incoming::TrackStatus(status) => match self.tracks.get(status.track()) {
                Some(history) => tell(status, history),
                None => self.turn_away(Incoming::TrackStatus(status)),
            },
            other => self.turn_away(other),
        }
        true
    }

    /// Waits until nobody is left who would take subscribers.
    pub(crate) async fn closed(&self) {
        self.joiners.closed().await;
    }

    async fn serve(self, fetch: IncomingFetch, history: Arc<History>) {
        let asked = fetch.range();
        let largest = history.largest();
        let Some(range) = largest.and_then(|largest| asked.published(largest)) else {
            let mut refusal = Refusal::new(RequestErrorCode::InvalidRange);
            refusal.reason = match largest {
                Some(largest) => format!("the largest object published so far is {largest}"),
                None => "nothing was published so far".into(),
            };
            return fetch.reject(refusal);
        };
        let order = fetch.parameters().group_order.unwrap_or_default();
        let mut accept = AcceptFetch::new(range.end);
        accept.group_order = Some(order);
        accept.end_of_track = history.ends_with(range.last());
        let Ok(mut writer) = fetch.accept(accept) else { return };
        self.served.fetches.fetch_add(1, Ordering::Relaxed);
        let replay = history.replay(range.start..=range.last(), order);
        match self.write(&mut writer, replay).await {
            Ok(()) => drop(writer.finish().await),
            Err(code) => writer.reset(code),
        }
    }

    async fn write(
        &self,
        writer: &mut FetchWriter,
        mut replay: Replay,
    ) -> Result<(), StreamResetCode> {
        loop {
            let replayed = replay.next().await.map_err(|error| {
                eprintln!("moqt: a fetch was given up: {error}");
                StreamResetCode::InternalError
            })?;
            match replayed {
                None => return Ok(()),
                Some(Replayed::Object(location, payload)) => {
                    let object = FetchObject {
                        location,
                        subgroup_id: self.subgroups.map(|subgroups| location.object % subgroups),
                        publisher_priority: PRIORITY,
                        payload_len: payload.len() as u64,
                        status: ObjectStatus::Normal,
                        properties: Properties::EMPTY,
                    };
                    self.served.bytes.fetch_add(object.payload_len, Ordering::Relaxed);
                    writer.write(&object, payload).await.map_err(|error| given_up(&error))?;
                }
                Some(Replayed::Lost(location)) => {
                    let said = writer.end_of_range(location, EndOfRange::Unknown).await;
                    // Draft 14 has no way to say so.
                    said.map_err(|_| StreamResetCode::UnknownObjectStatus)?;
                }
            }
        }
    }

    /// Refuses what is not about a track there is.
    fn turn_away(&self, incoming: Incoming) {
        let code = match &incoming {
            Incoming::Subscribe(_) | Incoming::Fetch(_) | Incoming::TrackStatus(_) => {
                RequestErrorCode::DoesNotExist
            }
            Incoming::Publish(_) | Incoming::PublishNamespace(_) => RequestErrorCode::Uninterested,
            _ => RequestErrorCode::NotSupported,
        };
        let mut refusal = Refusal::new(code);
        refusal.reason = match self.tracks.keys().next() {
            Some(track) if self.tracks.len() == 1 => format!("only {track} is served here"),
            _ => "no such track is served here".into(),
        };
        incoming.reject(refusal);
    }
}

fn tell(status: IncomingTrackStatus, history: &History) {
    let mut parameters = Parameters::default();
    parameters.largest_object = history.largest();
    // Who has left needs no answer.
    let _ = status.accept(Accept { parameters, ..Accept::default() });
}

fn given_up(error: &WriteError) -> StreamResetCode {
    match error {
        WriteError::Stopped(code) => *code,
        _ => StreamResetCode::InternalError,
    }
}
