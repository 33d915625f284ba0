//! A track that is joined while it goes on: whatever the link does to streams, the subscriber has
//! the past and then the present, each object once and as it was sent.

use core::time::Duration;

use bytes::Bytes;
use moqt_engine::model::{
    JoiningStart, Location, LocationRange, ObjectStatus, Parameters, PublishDoneCode,
    SubscriptionFilter,
};
use moqt_engine::track::{PublishedTrack, SubscribedTrack, TrackLayout, TrackRead};
use moqt_engine::wire::{FetchObject, Properties};
use moqt_engine::{
    Accept, AcceptFetch, CommandError, Config, Draft, Event, FetchTarget, IncomingRequest,
    MoqtConnection, RequestKey, Timestamp,
};
use moqt_loopback::{LinkConfig, Pair, Rng};

use crate::{DRAFTS, track};

/// Objects of a group.
const OBJECTS: u64 = 8;
const GAP_TIMEOUT: Duration = Duration::from_secs(20);

fn payload(location: Location) -> Bytes {
    let len = (location.group * 37 + location.object * 411) % 1500;
    (0..len).map(|at| (at + location.group + location.object * 3).to_le_bytes()[0]).collect()
}

/// All locations of a range.
fn locations(range: LocationRange) -> Vec<Location> {
    (range.start.group..=range.last().group)
        .flat_map(|group| (0..OBJECTS).map(move |object| Location::new(group, object)))
        .filter(|location| range.contains(*location))
        .collect()
}

/// The publisher of a track that has come to `largest` when the subscriber comes.
struct Publisher {
    largest: Location,
    /// Where the live part ends.
    last_group: u64,
    layout: TrackLayout,
    live: Option<PublishedTrack>,
    /// The fetch, and what of it is still to be sent.
    past: Option<(RequestKey, Vec<Location>)>,
    is_joined: bool,
}

impl Publisher {
    fn handle(&mut self, connection: &mut MoqtConnection, now: Timestamp, event: Event) {
        let Event::Request { request, what } = event else { return };
        match what {
            IncomingRequest::Subscribe { .. } => {
                let mut accept = Accept::default();
                accept.parameters.largest_object = Some(self.largest);
                connection.accept(now, request, accept).unwrap();
                self.live = Some(PublishedTrack::new(request));
            }
            IncomingRequest::Fetch { range, joining, .. } => {
                assert_eq!(joining, self.live.as_ref().map(PublishedTrack::request));
                connection.accept_fetch(now, request, AcceptFetch::new(range.end)).unwrap();
                let mut past = locations(range);
                past.reverse();
                self.past = Some((request, past));
                self.is_joined = true;
            }
            other => panic!("{other:?}"),
        }
    }

    /// Sends a little of this and that: something, if there is anything.
    fn go_on(&mut self, connection: &mut MoqtConnection, rng: &mut Rng) {
        let mut has_sent = false;
        for _ in 0..rng.below(4) {
            has_sent |= match rng.below(2) {
                0 => self.send_live(connection),
                _ => self.send_past(connection),
            };
        }
        if !has_sent && !self.send_past(connection) {
            self.send_live(connection);
        }
    }

    fn send_live(&mut self, connection: &mut MoqtConnection) -> bool {
        let Some(live) = &mut self.live else { return false };
        let next = self.layout.next();
        if next.group > self.last_group {
            if self.is_joined
                && let Some(live) = self.live.take()
            {
                live.done(connection, PublishDoneCode::TrackEnded, "");
                return true;
            }
            return false;
        }
        let mut layout = self.layout;
        let slot = layout.place(next.object + 1 == OBJECTS);
        match live.object(connection, slot, &Properties::EMPTY, payload(slot.location)) {
            Ok(_) => self.layout = layout,
            Err(CommandError::Blocked(_)) => return false,
            Err(error) => panic!("{error}"),
        }
        true
    }

    fn send_past(&mut self, connection: &mut MoqtConnection) -> bool {
        let Some((request, past)) = &mut self.past else { return false };
        let mut response = connection.fetch_response(*request).expect("not over");
        let Some(location) = past.last().copied() else {
            response.finish().unwrap();
            self.past = None;
            return true;
        };
        let payload = payload(location);
        let object = FetchObject {
            location,
            subgroup_id: Some(0),
            publisher_priority: 128,
            payload_len: payload.len() as u64,
            status: ObjectStatus::Normal,
            properties: Properties::EMPTY,
        };
        match response.object(&object, payload) {
            Ok(()) => drop(past.pop()),
            Err(CommandError::Blocked(_)) => return false,
            Err(error) => panic!("{error}"),
        }
        true
    }
}

fn run(draft: Draft, seed: u64) {
    let what = format!("{draft:?}, seed {seed}");
    let mut rng = Rng::new(seed);
    let largest = Location::new(rng.between(0, 5), rng.between(0, OBJECTS - 1));
    let first = largest.group.saturating_sub(rng.between(0, 3));
    let last_group = largest.group + rng.between(0, 4);
    let is_whole = largest.object + 1 == OBJECTS;
    let live_from = if is_whole {
        Location::new(largest.group + 1, 0)
    } else {
        Location::new(largest.group, largest.object + 1)
    };
    let mut publisher = Publisher {
        largest,
        last_group,
        layout: TrackLayout::new(live_from, 1),
        live: None,
        past: None,
        is_joined: false,
    };
    let mut link = LinkConfig::seeded(seed);
    // The present is not read before the past, so its streams must leave one for the fetch.
    link.down.uni_streams = link.down.uni_streams.max(16);
    let mut pair = Pair::with(draft, seed, link, Config::default());
    let mut parameters = Parameters::default();
    parameters.subscription_filter = Some(SubscriptionFilter::LargestObject);
    let subscription = pair
        .network
        .with(pair.client, |client, now| client.subscribe(now, &track(), &parameters))
        .unwrap();
    let mut reader: Option<SubscribedTrack> = None;
    let mut found: Vec<(Location, Vec<u8>)> = Vec::new();
    let mut early = Vec::new();
    let mut idle = 0;
    'all: loop {
        for event in pair.network.take_events(pair.server) {
            pair.network.with(pair.server, |server, now| publisher.handle(server, now, event));
        }
        pair.network.with(pair.server, |server, _| publisher.go_on(server, &mut rng));
        for event in pair.network.take_events(pair.client) {
            if let Event::Accepted { request, answer } = &event
                && *request == subscription
            {
                let largest = answer.parameters.largest_object.expect("told");
                let groups = largest.group - first;
                let start = if rng.below(2) == 0 {
                    JoiningStart::Relative(groups)
                } else {
                    JoiningStart::Absolute(first)
                };
                let target = FetchTarget::Joining { subscription, start };
                let fetch = pair
                    .network
                    .with(pair.client, |client, now| {
                        client.fetch(now, &target, &Parameters::default())
                    })
                    .unwrap();
                reader = Some(SubscribedTrack::joining(subscription, largest, fetch, GAP_TIMEOUT));
            }
            early.push(event);
        }
        if let Some(reader) = &mut reader {
            for event in early.drain(..) {
                reader.handle_event(&event);
            }
            loop {
                match pair.network.with(pair.client, |client, now| reader.read(client, now)) {
                    TrackRead::Object { location, .. } => found.push((location, Vec::new())),
                    TrackRead::Payload(piece) => {
                        found.last_mut().expect("its object").1.extend_from_slice(&piece);
                    }
                    TrackRead::Pending => break,
                    TrackRead::Done { .. } => break 'all,
                    other => panic!("{what}: {other:?}"),
                }
            }
        }
        idle += 1;
        if pair.network.step() {
            idle = 0;
        } else {
            // Nothing happens but what the publisher has yet to send.
            let is_waiting = publisher.live.is_some() || publisher.past.is_some();
            let deadline = reader.as_ref().and_then(SubscribedTrack::poll_timeout);
            match deadline {
                Some(deadline) if !is_waiting => {
                    pair.network.run_until(deadline);
                    idle = 0;
                }
                // Reading may have been what ends the subscription.
                _ => assert!(is_waiting || idle < 3, "{what}: stuck at {}", found.len()),
            }
        }
    }
    let mut expected = locations(LocationRange::to_last(Location::new(first, 0), largest));
    if live_from.group <= last_group {
        expected.extend(locations(LocationRange::new(live_from, Location::new(last_group, 0))));
    }
    let order: Vec<Location> = found.iter().map(|(location, _)| *location).collect();
    assert_eq!(order, expected, "{what}");
    for (location, bytes) in found {
        assert_eq!(bytes, payload(location), "{what}: {location}");
    }
    assert_eq!(reader.expect("joined").late_objects(), 0, "{what}");
    pair.network.run_until_idle();
    for end in [pair.client, pair.server] {
        assert_eq!(pair.network.connection(end).usage().requests, 0, "{what}");
    }
}

#[test]
fn joined_tracks_have_no_gap_and_nothing_twice_on_any_link() {
    for draft in DRAFTS {
        for seed in 0..60 {
            run(draft, seed);
        }
    }
}
