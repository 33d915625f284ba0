//! Malformed tracks: looking at what objects say, and what is done when it cannot be.

use alloc::format;
use core::hash::BuildHasher;

use super::MoqtConnection;
use crate::event::{Event, Read};
use crate::hash::KeyedState;
use crate::key::{RequestKey, StreamKey};
use crate::link::Violation;
use crate::model::{Location, ObjectStatus, StreamResetCode};
use crate::object::{Broken, Gaps, ObjectFacts, Print, PropertyFault, TrackRules};
use crate::request::{Body, Phase};
use crate::stream::{RecvKind, SubgroupRecv};
use crate::time::Timestamp;
use crate::trace::{TraceEvent, TracedObject};
use crate::wire::{ObjectDatagram, ObjectHeader, Properties};

/// Why an object is not given out.
enum Refused {
    /// It is gone already.
    Gone,
    /// The track is malformed.
    Track(Broken),
    /// The session must be closed.
    Session(Violation),
}

impl From<Broken> for Refused {
    fn from(broken: Broken) -> Self {
        Self::Track(broken)
    }
}

impl MoqtConnection {
    /// What is remembered of a new subscription's objects: nothing yet.
    pub(super) fn track_rules(&self) -> TrackRules {
        TrackRules::new(self.dialect, self.config.limits.remembered_objects)
    }

    /// Gives out an object if it fits what is known of its track. `existing` is the last object
    /// before it on the stream that exists.
    #[cold]
    #[inline(never)]
    pub(super) fn read_checked(
        &mut self,
        stream: StreamKey,
        existing: Option<u64>,
        header: ObjectHeader,
    ) -> Read {
        let Some(request) = self.subgroup_mut(stream).map(|subgroup| subgroup.request) else {
            return Read::Gone;
        };
        self.trace.add(|| {
            let header = header.clone();
            TraceEvent::SubgroupObjectParsed(TracedObject { stream, header })
        });
        match self.check_object(request, stream, existing, &header) {
            Ok(()) => Read::Object(header),
            Err(refused) => {
                self.refuse_object(request, refused);
                Read::Gone
            }
        }
    }

    fn check_object(
        &mut self,
        request: RequestKey,
        stream: StreamKey,
        existing: Option<u64>,
        header: &ObjectHeader,
    ) -> Result<(), Refused> {
        let id = header.object_id;
        let Some(half) = self.streams.recv_mut(stream) else { return Err(Refused::Gone) };
        let RecvKind::Subgroup(subgroup) = &mut half.kind else { return Err(Refused::Gone) };
        let place = &mut subgroup.place;
        let location = Location::new(place.group_id, id);
        let gaps = if header.properties.is_empty() {
            // Most objects with neither properties nor a status are nothing to look at.
            if id < place.bound && header.status == ObjectStatus::Normal {
                return Ok(());
            }
            Gaps::default()
        } else {
            read_gaps(self.dialect, &header.properties, location)?
        };
        let Some(Body::Subscriber(subscriber)) =
            self.requests.get_mut(request).map(|request| &mut request.body)
        else {
            return Err(Refused::Gone);
        };
        let rules = &mut subscriber.rules;
        let facts = ObjectFacts { location, status: header.status, gaps };
        let subgroup_id = *place.subgroup_id.get_or_insert(id);
        if !core::mem::replace(&mut place.has_begun, true) {
            rules.begin(stream, subgroup_id, place.publisher_priority, &facts)?;
        }
        let is_news = rules.object(subgroup_id, existing, &facts)?;
        if header.status != ObjectStatus::Normal {
            place.marked = Some((id, existing));
        }
        let bound = rules.bound(location.group, subgroup_id, subgroup.existing())?;
        subgroup.set_bound(bound, self.trace.is_on());
        if is_news {
            self.rebound(request, location.group)?;
        }
        Ok(())
    }

    /// Something new is known of a group: sets the bounds of its streams again, which may show
    /// that too much has been read of one.
    fn rebound(&mut self, request: RequestKey, group: u64) -> Result<(), Refused> {
        let Some(Body::Subscriber(subscriber)) =
            self.requests.get_mut(request).map(|request| &mut request.body)
        else {
            return Err(Refused::Gone);
        };
        let rules = &subscriber.rules;
        for stream in rules.streams(group) {
            let Some(half) = self.streams.recv_mut(stream) else { continue };
            let RecvKind::Subgroup(subgroup) = &mut half.kind else { continue };
            let Some(subgroup_id) = subgroup.place.subgroup_id else { continue };
            let bound = rules.bound(group, subgroup_id, subgroup.existing())?;
            subgroup.set_bound(bound, self.trace.is_on());
        }
        Ok(())
    }

    /// A subgroup stream has been read to its end, finished or not, or is given up. Whether its
    /// subscription goes on.
    pub(super) fn closes_well(&mut self, stream: StreamKey, finished: bool) -> bool {
        let Some(subgroup) = self.subgroup_mut(stream) else { return false };
        let request = subgroup.request;
        let place = &subgroup.place;
        let last = subgroup.reader.previous();
        let (Some(subgroup_id), Some(last), true) = (place.subgroup_id, last, place.has_begun)
        else {
            return true;
        };
        let (group, end_of_group) = (place.group_id, place.end_of_group);
        let existing = subgroup.existing();
        let Some(Body::Subscriber(subscriber)) =
            self.requests.get_mut(request).map(|request| &mut request.body)
        else {
            return true;
        };
        let place = (group, subgroup_id);
        let closed = subscriber.rules.close(stream, place, last, existing, finished, end_of_group);
        let result = match closed {
            Ok(true) => self.rebound(request, group),
            Ok(false) => Ok(()),
            Err(broken) => Err(broken.into()),
        };
        result.map_err(|refused| self.refuse_object(request, refused)).is_ok()
    }

    /// Whether an object in a datagram fits what is known of its track.
    pub(super) fn admits_datagram(&mut self, request: RequestKey, object: &ObjectDatagram) -> bool {
        let result = self.check_datagram(request, object);
        result.map_err(|refused| self.refuse_object(request, refused)).is_ok()
    }

    fn check_datagram(
        &mut self,
        request: RequestKey,
        object: &ObjectDatagram,
    ) -> Result<(), Refused> {
        let header = &object.header;
        let location = header.location;
        let gaps = read_gaps(self.dialect, &header.properties, location)?;
        let facts = ObjectFacts { location, status: header.status, gaps };
        let Some(Body::Subscriber(subscriber)) =
            self.requests.get_mut(request).map(|request| &mut request.body)
        else {
            return Err(Refused::Gone);
        };
        let priority = header.publisher_priority.unwrap_or(subscriber.default_priority);
        let payload = KeyedState::new(self.config.hash_seed).hash_one(&object.payload[..]);
        let print = Print::new(priority, payload);
        if subscriber.rules.datagram(&facts, header.end_of_group, print)? {
            self.rebound(request, location.group)?;
        }
        Ok(())
    }

    fn refuse_object(&mut self, request: RequestKey, refused: Refused) {
        match refused {
            Refused::Gone => {}
            Refused::Track(broken) => self.track_is_malformed(request, broken),
            Refused::Session(violation) => self.close_for(violation),
        }
    }

    /// "When a subscriber detects a Malformed Track, it MUST cancel any corresponding
    /// subscription or fetches for that Track from that publisher" (draft-18, "Malformed
    /// Tracks").
    pub(super) fn track_is_malformed(&mut self, request: RequestKey, broken: Broken) {
        let Broken { rule, location } = broken;
        let track = match self.requests.get(request).map(|request| &request.body) {
            Some(Body::Subscriber(subscriber)) => subscriber.track.clone(),
            Some(Body::FetchSubscriber(fetch)) => fetch.track.clone(),
            _ => return,
        };
        let mut next = Some(request);
        while let Some(request) = next {
            self.withdraw(Timestamp::ZERO, request, StreamResetCode::MalformedTrack);
            self.events.push_back(Event::TrackMalformed { request, rule, location });
            next = self.requests.received(&track).filter(|key| {
                self.requests.get(*key).is_some_and(|request| request.phase == Phase::Established)
            });
        }
        for request in self.requests.fetches_of(&track) {
            self.withdraw(Timestamp::ZERO, request, StreamResetCode::MalformedTrack);
            self.events.push_back(Event::TrackMalformed { request, rule, location });
        }
    }

    fn subgroup_mut(&mut self, stream: StreamKey) -> Option<&mut SubgroupRecv> {
        match &mut self.streams.recv_mut(stream)?.kind {
            RecvKind::Subgroup(subgroup) => Some(subgroup),
            _ => None,
        }
    }
}

fn read_gaps(
    dialect: &crate::wire::Dialect,
    properties: &Properties,
    location: Location,
) -> Result<Gaps, Refused> {
    Gaps::read(dialect, properties).map_err(|fault| match fault {
        PropertyFault::Track(rule) => Refused::Track(Broken { rule, location }),
        PropertyFault::Session(error) => {
            let reason = format!("object at {location}: {error}");
            Refused::Session(Violation::new(error.session_error(), reason))
        }
    })
}
