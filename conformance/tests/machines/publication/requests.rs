//! How subscriptions come about, and how the subscriber changes them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use moqt_conformance::end::Name;
use moqt_conformance::say;
use moqt_engine::model::{
    Location, Message, Parameters, PublishDoneCode, RequestErrorCode, RequestKind,
    SubscriptionFilter, TrackProperties,
};
use moqt_engine::{Accept, Draft, Event, IncomingRequest, Refusal, RequestKey, Timestamp};

use super::reference::{State, Subscription, Wish};
use super::{Machine, REFUSED, Said, Saw};

impl Machine {
    fn know(&mut self, key: RequestKey, id: u64, on: Name, track: u8, wish: Wish) -> usize {
        let n = self.subscriptions.len();
        self.ids.insert(id, n);
        self.subscriptions.push(Subscription {
            key,
            id,
            on,
            track,
            ours: false,
            is_answered: false,
            state: State::Pending,
            alias: u64::MAX,
            filter: wish.filter,
            start: Location::ZERO,
            end_group: None,
            forward: wish.forward.unwrap_or(true),
            largest: None,
            expiry: None,
            held: 0,
            open: Vec::new(),
            streams: Vec::new(),
            datagrams: Vec::new(),
            queued: 0,
            next: BTreeMap::new(),
            fates: BTreeMap::new(),
            finished: BTreeSet::new(),
            stopped: BTreeSet::new(),
            has_gaps: false,
        });
        self.subscriptions[n].set_filter(wish.filter);
        n
    }

    pub(super) fn deadline(&self, expires: Option<u64>) -> Option<(u64, Timestamp)> {
        expires.map(|after| (after, self.end.now.saturating_add(Duration::from_millis(after))))
    }

    pub(super) fn subscribe(&mut self, track: u8, wish: Wish) -> Vec<Saw> {
        let id = self.end.fresh_id();
        let message = say::subscribe_with(id, &format!("t{track}"), wish.parameters());
        let on = self.end.request(&message);
        let other = self.subscriptions.iter().find(|known| known.is_live() && known.track == track);
        let other = other.map(|other| other.ours && !other.is_answered);
        if let Some(crossed) = other {
            // "If a publisher receives a SUBSCRIBE request for a Track with an existing
            // subscription in `Pending (publisher)` state, it MUST fail that request"; "If an
            // endpoint receives a message attempting to establish a second subscription to a
            // Track with the same role, it MUST fail that request with a
            // `DUPLICATE_SUBSCRIPTION` error."
            if self.draft == Draft::D14 && !crossed {
                return self.close();
            }
            let code = if self.draft == Draft::D14 {
                RequestErrorCode::InternalError
            } else {
                RequestErrorCode::DuplicateSubscription
            };
            let key = self.subscriptions[0].key;
            let n = self.know(key, id, on, REFUSED, wish);
            self.subscriptions[n].state = State::Over;
            self.unsaid.push((n, Said::Error(code)));
            return vec![];
        }
        let key = self.end.events.iter().rev().find_map(|event| match event {
            Event::Request { request, what: IncomingRequest::Subscribe { .. } } => Some(*request),
            _ => None,
        });
        let n = self.know(key.expect("the request is told"), id, on, track, wish);
        vec![Saw::Requested(n)]
    }

    /// "A publisher MUST send exactly one SUBSCRIBE_OK or REQUEST_ERROR in response to a
    /// SUBSCRIBE."
    pub(super) fn accept(
        &mut self,
        which: u8,
        largest: Option<Location>,
        expires: Option<u64>,
    ) -> Vec<Saw> {
        let fits = |known: &Subscription| !known.ours && known.track != REFUSED;
        let Some(n) = self.choose(which, fits) else { return vec![] };
        let mut accept = Accept::default();
        accept.parameters.largest_object = largest;
        accept.parameters.expires = expires;
        let key = self.subscriptions[n].key;
        let accepted = self.end.with(|engine, now| engine.accept(now, key, accept));
        let expiry = self.deadline(expires);
        let known = &mut self.subscriptions[n];
        if known.state != State::Pending {
            assert!(accepted.is_err());
            return vec![];
        }
        accepted.unwrap();
        known.largest = largest;
        known.is_answered = true;
        if known.is_past(known.filter) {
            known.state = State::Over;
            self.unsaid.push((n, Said::Error(RequestErrorCode::InvalidRange)));
            return vec![Saw::Cancelled(n)];
        }
        known.set_filter(known.filter);
        known.has_gaps = false;
        known.state = State::Established;
        known.expiry = expiry;
        self.unsaid.push((n, Said::Ok { largest, expires }));
        for _ in 0..core::mem::take(&mut known.held) {
            self.unsaid.push((n, Said::UpdateOk { largest, expires: None }));
        }
        vec![]
    }

    pub(super) fn reject(&mut self, which: u8) -> Vec<Saw> {
        let pending = |known: &Subscription| !known.ours && known.state == State::Pending;
        let Some(n) = self.choose(which, pending) else { return vec![] };
        let key = self.subscriptions[n].key;
        let refusal = Refusal::new(RequestErrorCode::DoesNotExist);
        self.end.with(|engine, now| engine.reject(now, key, refusal)).unwrap();
        self.subscriptions[n].state = State::Over;
        self.unsaid.push((n, Said::Error(RequestErrorCode::DoesNotExist)));
        vec![]
    }

    pub(super) fn publish(&mut self, track: u8, forward: bool, expires: Option<u64>) -> Vec<Saw> {
        let id = self.end.next_own_id();
        let mut parameters = Parameters::default();
        parameters.forward = Some(forward);
        parameters.expires = expires.filter(|_| self.draft >= Draft::D16);
        let expires = parameters.expires;
        let name = say::track(&format!("t{track}"));
        let properties = TrackProperties::new();
        let was_stalled = !self.end.takes_data;
        if was_stalled {
            // So that what it says can be seen.
            return vec![];
        }
        let published =
            self.end.with(|engine, now| engine.publish(now, &name, &parameters, &properties));
        // "For a given Track, an endpoint can have at most one subscription to a Track acting as
        // the publisher".
        let is_taken =
            self.subscriptions.iter().any(|known| known.is_live() && known.track == track);
        assert_eq!(published.is_err(), is_taken, "{published:?}");
        let Ok(key) = published else { return vec![] };
        let on = self.end.own_request();
        let wish = Wish { filter: None, forward: Some(forward) };
        let n = self.know(key, id, on, track, wish);
        let said = self.end.said(on);
        let alias = said.iter().find_map(|message| match message {
            Message::Publish(publish) => Some(publish.track_alias),
            _ => None,
        });
        self.announce(n, alias.expect("PUBLISH"));
        let expiry = self.deadline(expires);
        let known = &mut self.subscriptions[n];
        known.ours = true;
        known.expiry = expiry;
        vec![]
    }

    /// "The same Track Alias MUST NOT be used to refer to two different Tracks simultaneously."
    pub(super) fn announce(&mut self, n: usize, alias: u64) {
        assert!(self.subscriptions.iter().all(|known| known.alias != alias));
        self.subscriptions[n].alias = alias;
    }

    pub(super) fn peer_accepts(&mut self, which: u8, wish: Wish) -> Vec<Saw> {
        let Some(n) = self.choose(which, |known| known.ours) else { return vec![] };
        let known = &self.subscriptions[n];
        if known.is_answered && (known.state == State::Over || self.draft >= Draft::D18) {
            return vec![];
        }
        let (id, on) = (known.id, known.on);
        self.end.say(on, &say::ok_with(id, RequestKind::Publish, wish.parameters()));
        let known = &mut self.subscriptions[n];
        if core::mem::replace(&mut known.is_answered, true) {
            // "A subscriber MUST send exactly one PUBLISH_OK or REQUEST_ERROR in response to a
            // PUBLISH. The peer SHOULD close the session with a protocol error if it receives
            // more than one."
            return self.close();
        }
        if known.state == State::Over {
            return vec![];
        }
        known.set_filter(wish.filter);
        // "If the parameter is omitted from any other message, the default value is 1."
        known.forward = wish.forward.unwrap_or(true);
        match known.state {
            State::Ending { is_told: true, .. } => return vec![],
            State::Ending { .. } => {}
            _ => known.state = State::Established,
        }
        vec![Saw::Accepted(n)]
    }

    /// "Objects MUST NOT be sent for requests that end with an error."
    pub(super) fn peer_refuses(&mut self, which: u8) -> Vec<Saw> {
        let pending = |known: &Subscription| known.ours && known.state == State::Pending;
        let Some(n) = self.choose(which, pending) else { return vec![] };
        let Subscription { id, on, .. } = self.subscriptions[n];
        let code = RequestErrorCode::Uninterested;
        self.end.say(on, &say::error(id, RequestKind::Publish, code));
        self.subscriptions[n].is_answered = true;
        self.over(n);
        vec![Saw::Rejected(n)]
    }

    pub(super) fn update(&mut self, which: u8, mut wish: Wish) -> Vec<Saw> {
        let fits = |known: &Subscription| {
            known.state == State::Established || known.state == State::Pending && !known.ours
        };
        let Some(n) = self.choose(which, fits) else { return vec![] };
        let id = self.end.fresh_id();
        self.ids.insert(id, n);
        let known = &self.subscriptions[n];
        let mut parameters = wish.parameters();
        if self.draft == Draft::D14 {
            // Everything is said, and no filter that is relative.
            let (start, end_group) = match (wish.filter, known.range(wish.filter)) {
                (None, _) => (known.start, known.end_group),
                (Some(_), range) => range,
            };
            wish.filter = Some(match end_group {
                Some(end_group) if end_group >= start.group => {
                    SubscriptionFilter::AbsoluteRange { start, end_group }
                }
                _ => SubscriptionFilter::AbsoluteStart { start },
            });
            wish.forward = wish.forward.or(Some(known.forward));
            parameters = wish.parameters();
            parameters.subscriber_priority = Some(128);
        }
        let (key_id, on) = (known.id, known.on);
        self.end.say(on, &say::update(id, key_id, parameters));
        let draft = self.draft;
        let known = &mut self.subscriptions[n];
        if draft == Draft::D14 && known.is_wider(known.range(wish.filter)) {
            // "The Start Location MUST NOT decrease and the End Group MUST NOT increase. A
            // publisher MUST terminate the session with a `PROTOCOL_VIOLATION` if the
            // SUBSCRIBE_UPDATE violates these rules"
            return self.close();
        }
        if draft >= Draft::D16 && wish.filter.is_some() && known.is_past(wish.filter) {
            // "When a REQUEST_UPDATE is unsuccessful, the publisher MUST also terminate the
            // subscription by sending a PUBLISH_DONE with error code `UPDATE_FAILED`."
            self.unsaid.push((n, Said::Error(RequestErrorCode::InvalidRange)));
            self.end_with(n, PublishDoneCode::UpdateFailed, true);
            return vec![Saw::Cancelled(n)];
        }
        if wish.filter.is_some() {
            known.set_filter(wish.filter);
        }
        let forward = wish.forward.unwrap_or(known.forward);
        if forward && !known.forward && draft >= Draft::D18 {
            // "it MAY open a new stream to deliver Objects in that Subgroup, as the update
            // indicates the subscriber has renewed interest"
            known.stopped.clear();
        }
        known.forward = forward;
        if draft >= Draft::D18 && known.state == State::Pending {
            known.held += 1;
        } else if draft >= Draft::D16 {
            let expires = known.expiry.map(|(after, _)| after);
            let largest = known.largest;
            self.subscriptions[n].expiry = self.deadline(expires);
            self.unsaid.push((n, Said::UpdateOk { largest, expires }));
        }
        vec![Saw::Updated(n)]
    }
}
