//! One source, sent to every subscriber alike.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moqt_engine::Accept;
use moqt_engine::model::{Location, Parameters, PublishDoneCode};
use moqt_engine::track::{Slot, TrackLayout};
use moqt_engine::wire::Properties;
use moqt_engine::{DatagramOptions, DatagramOutcome, DropReason};
use moqt_session::{IncomingSubscribe, Publication, TrackWriter, WriteError};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::args::SourceArgs;
use crate::history::History;
use crate::progress::Progress;
use crate::source::{Source, SourceError};

/// How long a subscriber may take nothing before it is given up, so that it does not hold up
/// the others for good.
const PATIENCE: Duration = Duration::from_secs(10);

/// The priority of all objects. It is what those that state none have, and stated nonetheless:
/// there are relays that do not know how to do without.
pub(crate) const PRIORITY: u8 = 128;

/// Somebody who is to get the track.
pub(crate) enum Joiner {
    /// A SUBSCRIBE of the peer's.
    Subscribe(Box<IncomingSubscribe>),
    /// A PUBLISH of ours, accepted or about to be.
    Publication(Publication),
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    pub(crate) subscribers: u64,
    pub(crate) too_large: u64,
    pub(crate) queue_full: u64,
    pub(crate) given_up: u64,
}

/// A track on its way to any number of subscribers.
pub(crate) struct Origin<'a> {
    args: &'a SourceArgs,
    layout: TrackLayout,
    joiners: mpsc::Receiver<Joiner>,
    writers: Vec<TrackWriter>,
    history: Arc<History>,
    sent: Sent,
    progress: &'a Progress,
    /// While this is false, nothing is sent.
    goes_on: Option<watch::Receiver<bool>>,
}

impl<'a> Origin<'a> {
    /// A track made of what `run` will be given, which `history` will remember.
    pub(crate) fn new(
        args: &'a SourceArgs,
        history: Arc<History>,
        joiners: mpsc::Receiver<Joiner>,
        progress: &'a Progress,
    ) -> Self {
        Self {
            args,
            layout: TrackLayout::new(Location::ZERO, args.streams),
            joiners,
            writers: Vec::new(),
            history,
            sent: Sent::default(),
            progress,
            goes_on: None,
        }
    }

    /// Sends nothing while this is false.
    pub(crate) fn pause_unless(&mut self, goes_on: watch::Receiver<bool>) {
        self.goes_on = Some(goes_on);
    }

    /// Waits until somebody is there.
    pub(crate) async fn wait_for_first(&mut self) {
        while self.writers.is_empty() {
            match self.joiners.recv().await {
                Some(joiner) => self.join(joiner),
                None => return,
            }
        }
    }

    /// Sends all there is, then ends the track for everybody.
    pub(crate) async fn run(&mut self, mut source: Source) -> Result<(), SourceError> {
        let mut pace = Pace::new(self.args.rate);
        let mut group_began = Instant::now();
        loop {
            let position = source.position();
            let payload = tokio::select! {
                payload = source.next() => payload?,
                Some(joiner) = self.joiners.recv() => {
                    self.join(joiner);
                    continue;
                }
            };
            let Some(payload) = payload else { break };
            if let Some(goes_on) = &mut self.goes_on {
                // It fails if nobody will ever say so.
                let _ = goes_on.wait_for(|goes_on| *goes_on).await;
            }
            while let Ok(joiner) = self.joiners.try_recv() {
                self.join(joiner);
            }
            pace.wait().await;
            if let Some(every) = self.args.group_every
                && group_began.elapsed() >= every
                && self.layout.is_in_group()
            {
                // The objects before it did not know that they would be the last.
                self.layout = TrackLayout::new(
                    Location::new(self.layout.next().group.saturating_add(1), 0),
                    self.args.streams,
                );
                group_began = Instant::now();
            }
            let is_full = self.args.group_every.is_none()
                && self.layout.next().object + 1 >= self.args.group_size;
            let ends_group = is_full || source.is_finished().await?;
            let slot = self.layout.place(ends_group);
            self.history.note(slot.location, position, &payload);
            self.send(slot, payload).await;
        }
        self.history.end();
        for writer in self.writers.drain(..) {
            writer.done(PublishDoneCode::TrackEnded, "");
        }
        Ok(())
    }

    /// The track has ended: whoever still comes is told so.
    pub(crate) async fn serve_latecomers(&mut self) {
        while let Some(joiner) = self.joiners.recv().await {
            self.join(joiner);
            for writer in self.writers.drain(..) {
                writer.done(PublishDoneCode::TrackEnded, "");
            }
        }
    }

    /// Ends the track early for everybody who is left.
    pub(crate) fn leave(self) {
        for writer in self.writers {
            writer.done(PublishDoneCode::GoingAway, "the publisher is leaving");
        }
    }

    pub(crate) fn sent(&self) -> Sent {
        self.sent
    }

    fn join(&mut self, joiner: Joiner) {
        let publication = match joiner {
            Joiner::Publication(publication) => Ok(publication),
            Joiner::Subscribe(subscribe) => {
                let mut parameters = Parameters::default();
                parameters.largest_object = self.history.largest();
                subscribe.accept(Accept { parameters, ..Accept::default() })
            }
        };
        match publication {
            Ok(publication) => {
                self.sent.subscribers += 1;
                let track = publication.into_track_with(|track| track.with_priority(PRIORITY));
                self.writers.push(track);
            }
            Err(error) => self.progress.say(&format!("a subscriber left at once: {error}")),
        }
    }

    async fn send(&mut self, slot: Slot, payload: Bytes) {
        self.sent.objects += 1;
        self.sent.bytes += payload.len() as u64;
        self.progress.count(payload.len());
        let mut at = 0;
        while let Some(writer) = self.writers.get_mut(at) {
            let outcome = if self.args.datagram {
                send_datagram(writer.publication(), slot, payload.clone(), &mut self.sent)
            } else {
                let write = writer.write(slot, &Properties::EMPTY, payload.clone());
                let Ok(written) = timeout(PATIENCE, write).await else {
                    self.sent.given_up += 1;
                    self.progress.say("a subscriber takes nothing any more: given up");
                    let writer = self.writers.swap_remove(at);
                    writer.done(PublishDoneCode::TooFarBehind, "");
                    continue;
                };
                written.map(drop)
            };
            match outcome {
                Ok(()) => at += 1,
                // It has left, which is its right.
                Err(_) => drop(self.writers.swap_remove(at)),
            }
        }
    }
}

fn send_datagram(
    publication: &Publication,
    slot: Slot,
    payload: Bytes,
    sent: &mut Sent,
) -> Result<(), WriteError> {
    let mut options = DatagramOptions::new(slot.location);
    options.end_of_group = slot.ends_group;
    options.publisher_priority = Some(PRIORITY);
    match publication.datagram(options, payload)? {
        DatagramOutcome::Dropped(DropReason::TooLarge) => sent.too_large += 1,
        DatagramOutcome::Dropped(_) => sent.queue_full += 1,
        _ => {}
    }
    Ok(())
}

/// How far behind its time an object may be and still be followed by the next one at once. Time
/// in which there was nothing to send is not made up for.
const MAX_LAG: Duration = Duration::from_millis(20);

/// Objects at an even rate.
pub(crate) struct Pace {
    /// Time between two; none if they go as fast as they can.
    period: Option<Duration>,
    next: Instant,
}

impl Pace {
    pub(crate) fn new(per_second: f64) -> Self {
        let period = (per_second > 0.0).then(|| Duration::from_secs_f64(1.0 / per_second));
        Self { period, next: Instant::now() }
    }

    pub(crate) async fn wait(&mut self) {
        let Some(period) = self.period else {
            // Others want to run, too.
            return tokio::task::yield_now().await;
        };
        let now = Instant::now();
        self.next = self.next.max(now.checked_sub(MAX_LAG).unwrap_or(now));
        if self.next > now {
            tokio::time::sleep_until(self.next).await;
        }
        self.next += period;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept_and_a_pause_not_made_up_for() {
        let mut pace = Pace::new(10_000.0);
        let began = Instant::now();
        for _ in 0..=20_000 {
            pace.wait().await;
        }
        let took = began.elapsed();
        assert!(took.abs_diff(Duration::from_secs(2)) < Duration::from_millis(2), "{took:?}");
        tokio::time::advance(Duration::from_secs(5)).await;
        let after_a_pause = Instant::now();
        for _ in 0..10_000 {
            pace.wait().await;
        }
        let took = after_a_pause.elapsed();
        assert!(took + 2 * MAX_LAG >= Duration::from_secs(1), "{took:?}");
    }
}
