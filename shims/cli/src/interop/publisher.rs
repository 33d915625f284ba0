//! The publisher of the cases with objects.

use bytes::Bytes;
use moqt_engine::model::{
    FullTrackName, Location, ObjectStatus, Parameters, PublishDoneCode, RequestErrorCode,
};
use moqt_engine::track::{Slot, TrackLayout};
use moqt_engine::wire::{FetchObject, Properties};
use moqt_engine::{Accept, AcceptFetch, DatagramOptions, Refusal};
use moqt_session::{
    Incoming, IncomingFetch, IncomingSubscribe, NamespacePublication, Session, TrackWriter,
    WriteError,
};
use tokio::sync::watch;

use super::data::Shape;
use super::run::Outcome;

/// Stated with every stream and datagram: not all know how to read those that leave it out.
const PRIORITY: u8 = 128;

/// How much of the track is to be published.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Released {
    /// Its first groups.
    pub(crate) groups: usize,
    /// And that it ends with them.
    pub(crate) is_all: bool,
}

/// A track, published as the case says.
pub(crate) struct Publisher {
    session: Session,
    track: FullTrackName,
    /// Kept, since dropping it withdraws the namespace.
    _announced: NamespacePublication,
    shape: Shape,
    subscribers: Vec<TrackWriter>,
    published: Vec<(Slot, Bytes)>,
    groups: usize,
}

impl Publisher {
    pub(crate) fn new(
        session: Session,
        track: FullTrackName,
        announced: NamespacePublication,
        shape: Shape,
    ) -> Self {
        Self {
            session,
            track,
            _announced: announced,
            shape,
            subscribers: Vec::new(),
            published: Vec::new(),
            groups: 0,
        }
    }

    /// Publishes what is released and answers the relay. Returns if that goes wrong.
    pub(crate) async fn serve(mut self, mut released: watch::Receiver<Released>) -> Outcome {
        let failed = |why: String| Outcome::Failed(format!("the publisher: {why}"));
        loop {
            let goal = *released.borrow_and_update();
            // A relay that has answered its subscriber may not have asked us yet.
            if !self.subscribers.is_empty()
                && let Err(error) = self.publish(goal).await
            {
                return failed(error.to_string());
            }
            tokio::select! {
                incoming = self.session.accept_request() => match incoming {
                    Ok(Incoming::Subscribe(request)) if *request.track() == self.track => {
                        if let Err(error) = self.join(request) {
                            return failed(error.to_string());
                        }
                    }
                    Ok(Incoming::Fetch(request)) if *request.track() == self.track => {
                        if let Err(error) = self.answer(request).await {
                            return failed(error.to_string());
                        }
                    }
                    Ok(_) => {}
                    Err(reason) => return failed(reason.to_string()),
                },
                changed = released.changed() => if changed.is_err() {
                    // The case is over.
                    return std::future::pending().await;
                },
            }
        }
    }

    fn largest(&self) -> Option<Location> {
        self.published.last().map(|(slot, _)| slot.location)
    }

    fn join(&mut self, request: IncomingSubscribe) -> Result<(), moqt_session::Error> {
        let mut parameters = Parameters::default();
        parameters.largest_object = self.largest();
        let publication = request.accept(Accept { parameters, ..Accept::default() })?;
        let track = publication.into_track_with(|track| track.with_priority(PRIORITY));
        self.subscribers.push(track);
        Ok(())
    }

    async fn publish(&mut self, goal: Released) -> Result<(), WriteError> {
        for subscriber in &self.subscribers {
            // What is published before a relay wants it, it does not get.
            while self.groups < goal.groups && !subscriber.publication().forward() {
                if subscriber.publication().next_update().await.is_err() {
                    break;
                }
            }
        }
        while self.groups < goal.groups {
            let mut layout = TrackLayout::new(Location::new(self.groups as u64, 0), 1);
            let sizes = self.shape.groups.get(self.groups).copied().unwrap_or_default();
            for at in 0..sizes.len() {
                let slot = layout.place(at + 1 == sizes.len());
                let payload = self.shape.payload(slot.location);
                self.send(slot, &payload).await?;
                self.published.push((slot, payload));
            }
            self.groups += 1;
        }
        if goal.is_all {
            for subscriber in self.subscribers.drain(..) {
                subscriber.done(PublishDoneCode::TrackEnded, "");
            }
        }
        Ok(())
    }

    async fn send(&mut self, slot: Slot, payload: &Bytes) -> Result<(), WriteError> {
        let mut left = Vec::new();
        for (at, subscriber) in self.subscribers.iter_mut().enumerate() {
            let sent = if self.shape.is_datagrams {
                let options = DatagramOptions {
                    end_of_group: slot.ends_group,
                    publisher_priority: Some(PRIORITY),
                    ..DatagramOptions::new(slot.location)
                };
                // One that finds no room is lost, as others are.
                subscriber.publication().datagram(options, payload.clone()).map(drop)
            } else {
                subscriber.write(slot, &Properties::EMPTY, payload.clone()).await.map(drop)
            };
            match sent {
                Ok(()) => {}
                // It has left, which is its right.
                Err(WriteError::Gone | WriteError::Stopped(_)) => left.push(at),
                Err(error) => return Err(error),
            }
        }
        for at in left.into_iter().rev() {
            drop(self.subscribers.swap_remove(at));
        }
        Ok(())
    }

    async fn answer(&self, request: IncomingFetch) -> Result<(), WriteError> {
        let range = self.largest().and_then(|largest| request.range().published(largest));
        let Some(range) = range else {
            request.reject(Refusal::new(RequestErrorCode::InvalidRange));
            return Ok(());
        };
        // Who has left needs no answer.
        let Ok(mut writer) = request.accept(AcceptFetch::new(range.end)) else { return Ok(()) };
        for (slot, payload) in &self.published {
            if !range.contains(slot.location) {
                continue;
            }
            let object = FetchObject {
                location: slot.location,
                subgroup_id: (!self.shape.is_datagrams).then_some(slot.subgroup_id),
                publisher_priority: PRIORITY,
                payload_len: payload.len() as u64,
                status: ObjectStatus::Normal,
                properties: Properties::EMPTY,
            };
            match writer.write(&object, payload.clone()).await {
                Ok(()) => {}
                Err(WriteError::Gone | WriteError::Stopped(_)) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        writer.finish().await
    }
}
