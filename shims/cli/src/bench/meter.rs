//! [`Meter`]: what came of a track, and how long it took.

use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use moqt_engine::model::Location;
use moqt_engine::wire::Properties;
use moqt_session::{Error, Object, Subscription};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::load::{payload, unix_micros};
use crate::failure::Failure;
use crate::progress::to_f64;

/// The largest latency that is told apart, in microseconds.
const MAX_LATENCY: u64 = 60_000_000;

/// What came in some time.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    pub(super) objects: u64,
    pub(super) bytes: u64,
    /// Objects that came after one that was published later; only datagrams can.
    pub(super) out_of_order: u64,
    /// Objects whose payload was not what it should be.
    pub(super) corrupt: u64,
    /// In microseconds.
    pub(super) latency: Histogram<u64>,
    /// As in RFC 3550, in microseconds.
    pub(super) jitter: f64,
}

impl Tally {
    pub(super) fn new() -> Result<Self, Failure> {
        let latency = Histogram::new_with_bounds(1, MAX_LATENCY, 3)
            .map_err(|error| Failure::new(error.to_string()))?;
        Ok(Self { objects: 0, bytes: 0, out_of_order: 0, corrupt: 0, latency, jitter: 0.0 })
    }

    /// Adds what came somewhere else in the same time.
    pub(super) fn add(&mut self, other: &Self) {
        self.objects += other.objects;
        self.bytes += other.bytes;
        self.out_of_order += other.out_of_order;
        self.corrupt += other.corrupt;
        self.jitter = self.jitter.max(other.jitter);
        // Both tell the same latencies apart.
        let _ = self.latency.add(&other.latency);
    }

    fn clear(&mut self) {
        let Self { objects, bytes, out_of_order, corrupt, latency, jitter: _ } = self;
        (*objects, *bytes, *out_of_order, *corrupt) = (0, 0, 0, 0);
        latency.clear();
    }
}

/// Looks at the objects of a track as they come.
pub(super) struct Meter {
    timestamp: u64,
    /// Payloads are compared with what they should be.
    verify: bool,
    state: Mutex<State>,
}

struct State {
    interval: Tally,
    total: Tally,
    largest: Option<Location>,
    /// The latency of the object before.
    before: Option<u64>,
}

impl Meter {
    pub(super) fn new(timestamp: u64, verify: bool) -> Result<Self, Failure> {
        let (interval, total) = (Tally::new()?, Tally::new()?);
        let state = State { interval, total, largest: None, before: None };
        Ok(Self { timestamp, verify, state: Mutex::new(state) })
    }

    /// Takes in all that comes until the track ends or the time is up. Whether it ended.
    pub(super) async fn run(
        &self,
        mut subscription: Subscription,
        time: Option<Duration>,
    ) -> Result<bool, Error> {
        let until = time.map(|time| Instant::now() + time);
        loop {
            let next = subscription.next_object();
            let next = match until {
                None => next.await,
                Some(until) => match timeout_at(until, next).await {
                    Ok(next) => next,
                    Err(_) => return Ok(false),
                },
            };
            match next? {
                Some(object) => {
                    let Object { location, subgroup_id, properties, payload, .. } = &object;
                    self.take(*location, subgroup_id.is_none(), properties, payload).await;
                }
                None => return Ok(true),
            }
        }
    }

    /// What came since it was last asked, and in all.
    pub(super) async fn read(&self) -> (Tally, Tally) {
        let mut state = self.state.lock().await;
        let State { interval, total, .. } = &mut *state;
        total.add(interval);
        total.jitter = interval.jitter;
        let last = interval.clone();
        interval.clear();
        (last, total.clone())
    }

    async fn take(&self, at: Location, is_datagram: bool, properties: &Properties, bytes: &Bytes) {
        let is_corrupt = self.verify && *bytes != payload(at, bytes.len());
        let now = unix_micros();
        let mut state = self.state.lock().await;
        let State { interval, largest, before, .. } = &mut *state;
        interval.objects += 1;
        interval.bytes += bytes.len() as u64;
        interval.corrupt += u64::from(is_corrupt);
        interval.out_of_order += u64::from(is_datagram && *largest > Some(at));
        *largest = (*largest).max(Some(at));
        let Some(sent) = properties.int(self.timestamp) else { return };
        let latency = now.saturating_sub(sent);
        interval.latency.saturating_record(latency.max(1));
        if let Some(before) = before.replace(latency) {
            interval.jitter += (to_f64(latency.abs_diff(before)) - interval.jitter) / 16.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use moqt_engine::Draft;
    use moqt_engine::model::Property;

    use super::*;

    fn sent(ago: u64) -> Properties {
        let stamp = Property::int(0x20, unix_micros() - ago);
        Properties::encode(Draft::D18.dialect(), [&stamp]).unwrap()
    }

    #[tokio::test]
    async fn what_comes_is_counted_and_looked_at() {
        let meter = Meter::new(0x20, true).unwrap();
        for id in [0, 2, 1] {
            let at = Location::new(0, id);
            meter.take(at, true, &sent(5000), &payload(at, 100)).await;
        }
        let at = Location::new(1, 0);
        meter.take(at, false, &sent(5000), &Bytes::from_static(b"wrong")).await;
        let (interval, total) = meter.read().await;
        assert_eq!((interval.objects, interval.bytes), (4, 305));
        assert_eq!((interval.out_of_order, interval.corrupt), (1, 1));
        assert!(interval.latency.min() >= 4990, "{}", interval.latency.min());
        assert_eq!(total.objects, 4);
        // Of what says no time, the rest is still known.
        let at = Location::new(1, 1);
        meter.take(at, false, &Properties::EMPTY, &payload(at, 7)).await;
        let (interval, total) = meter.read().await;
        assert_eq!((interval.objects, total.objects, total.latency.len()), (1, 5, 4));
    }
}
