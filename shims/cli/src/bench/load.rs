//! [`Load`]: the objects of a benchmark, and sending them.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use moqt_engine::model::{Location, Property, PublishDoneCode};
use moqt_engine::track::{PublishedTrack, TrackLayout};
use moqt_engine::wire::Properties;
use moqt_engine::{DatagramOptions, DatagramOutcome, Draft};
use moqt_session::Publication;
use tokio::time::Instant;

use crate::failure::Failure;
use crate::origin::{PRIORITY, Pace};

/// Payloads begin at one of so many places of the same bytes.
const PLACES: u64 = 1 << 16;

/// What is published.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) object_size: usize,
    pub(super) group_size: u64,
    /// Subgroups of a group, each a stream.
    pub(super) streams: u64,
    /// Objects a second of all streams; as many as go if it is 0.
    pub(super) rate: f64,
    pub(super) time: Duration,
    pub(super) datagram: bool,
    /// The property that says when an object was sent.
    pub(super) timestamp: u64,
}

/// What was sent to one subscriber.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    pub(super) objects: u64,
    /// Datagrams that were dropped before they were sent.
    pub(super) dropped: u64,
    pub(super) seconds: f64,
}

impl Load {
    /// Sends objects until the time is up, and ends the track.
    pub(super) async fn send(
        &self,
        draft: Draft,
        publication: Publication,
    ) -> Result<Sent, Failure> {
        let mut writer = publication.into_track_with(|track| {
            PublishedTrack::with_properties(track).with_priority(PRIORITY)
        });
        let mut layout = TrackLayout::new(Location::ZERO, self.streams);
        let mut pace = Pace::new(self.rate);
        let mut sent = Sent::default();
        let dialect = draft.dialect();
        let began = Instant::now();
        while began.elapsed() < self.time {
            pace.wait().await;
            let slot = layout.place(layout.next().object + 1 >= self.group_size);
            let payload = payload(slot.location, self.object_size);
            let stamp = Property::int(self.timestamp, unix_micros());
            let properties = Properties::encode(dialect, [&stamp])?;
            sent.objects += 1;
            if self.datagram {
                let mut options = DatagramOptions::new(slot.location);
                options.end_of_group = slot.ends_group;
                options.publisher_priority = Some(PRIORITY);
                options.properties = properties;
                if let DatagramOutcome::Dropped(_) =
                    writer.publication().datagram(options, payload)?
                {
                    sent.dropped += 1;
                }
            } else {
                writer.write(slot, &properties, payload).await?;
            }
        }
        sent.seconds = began.elapsed().as_secs_f64();
        writer.done(PublishDoneCode::TrackEnded, "");
        Ok(sent)
    }
}

/// The payload of an object: bytes that are the same whenever it is asked for, and most likely
/// others for another object.
pub(super) fn payload(location: Location, len: usize) -> Bytes {
    static ALL: OnceLock<Bytes> = OnceLock::new();
    let Location { group, object } = location;
    let place = group.wrapping_mul(1_000_003).wrapping_add(object).wrapping_mul(97) % PLACES;
    let begin = usize::try_from(place).unwrap_or_default();
    let most = usize::try_from(PLACES).unwrap_or_default() + MAX_SHARED;
    if len > MAX_SHARED {
        return crate::demo::payload(place, len);
    }
    ALL.get_or_init(|| crate::demo::payload(0, most)).slice(begin..begin + len)
}

/// Payloads up to this length are parts of the same bytes.
const MAX_SHARED: usize = 1 << 20;

/// Microseconds since the Unix epoch.
pub(super) fn unix_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_differ_and_stay_as_they_are() {
        for len in [1024, MAX_SHARED, MAX_SHARED + 1] {
            let of = |group, object| payload(Location::new(group, object), len);
            assert_eq!(of(3, 4).len(), len);
            assert_eq!(of(3, 4), of(3, 4));
            assert_ne!(of(3, 4), of(3, 5));
            assert_ne!(of(3, 4), of(4, 4));
        }
    }
}
