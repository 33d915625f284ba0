//! The steps of a scenario, carried out.

use std::collections::BTreeSet;
use std::time::Duration;

use moqt_engine::model::{
    GroupOrder, JoiningStart, LocationRange, NamespaceInterest, Parameters, SessionError,
    StreamResetCode, TrackNamespace,
};
use moqt_engine::{CommandError, Draft, FetchTarget, MoqtConnection, RequestKey, Timestamp};
use moqt_loopback::{EndpointId, Fault};

use super::client::Request;
use super::record::{Announced, Fetched, Published, SubscriptionEnd, Told, TrackState};
use super::run::{Later, Run};
use super::scenario::{Act, How, namespace};
use crate::simulation::history::track_name;
use crate::simulation::tracks::Track;
use crate::simulation::{Burst, GroupPick, Trouble};

/// How long something that went wrong may still have an effect, once it is over and noticed.
const RECOVERY: Duration = Duration::from_secs(10);

impl Run<'_> {
    pub(super) fn act(&mut self, act: &Act) {
        if act.client().is_some_and(|client| !self.is_ready(client)) {
            return;
        }
        match act {
            Act::Connect { client } => self.connect(*client),
            Act::Offer { client, track, how } => self.offer(*client, *track, *how),
            Act::Leave { client, track, is_end } => self.leave(*client, *track, *is_end),
            Act::Subscribe { client, track, wish } => {
                let Some(name) = track_name(*track) else { return };
                let parameters = wish.parameters();
                let asked = self
                    .ask(*client, |connection, now| connection.subscribe(now, &name, &parameters));
                let Some(request) = asked else { return };
                let now = self.network.now();
                let of = self.record.subscribed(*client, *track, now, wish.filter);
                self.record.subscriptions[of].forward = vec![(now, wish.forward.unwrap_or(true))];
                self.remember(*client, request, Request::Subscription(of));
            }
            Act::Forward { client, pick, forward } => {
                let Some((request, of)) = self.subscription(*client, *pick) else { return };
                let mut parameters = Parameters::default();
                parameters.forward = Some(*forward);
                let updated = self
                    .ask(*client, |connection, now| connection.update(now, request, &parameters));
                if updated.is_some() {
                    let now = self.network.now();
                    self.record.subscriptions[of].forward.push((now, *forward));
                }
            }
            Act::Unsubscribe { client, pick } => {
                let Some((request, of)) = self.subscription(*client, *pick) else { return };
                self.record.end_subscription(of, self.network.now(), SubscriptionEnd::Left);
                self.cancel(*client, request);
            }
            Act::Fetch { client, track, start, end, order } => {
                let Some(name) = track_name(*track) else { return };
                let range = LocationRange::new(*start, *end);
                let target = FetchTarget::Standalone { track: name, range };
                self.fetch(*client, *track, &target, Some(range), None, *order);
            }
            Act::Join { client, pick, start } => self.join(*client, *pick, *start),
            Act::TrackStatus { client, track } => {
                let Some(name) = track_name(*track) else { return };
                let asked = self.ask(*client, |connection, now| {
                    connection.track_status(now, &name, &Parameters::default())
                });
                let Some(request) = asked else { return };
                let asked = self.network.now();
                let status = TrackState {
                    client: *client,
                    track: *track,
                    asked,
                    is_over: false,
                    answer: None,
                };
                self.record.statuses.push(status);
                let of = self.record.statuses.len() - 1;
                self.remember(*client, request, Request::Status(of));
            }
            Act::SubscribeNamespace { client, which, interest } => {
                self.subscribe_namespace(*client, *which, *interest);
            }
            Act::MoveNamespaceSubscription { client, pick, which } => {
                self.move_namespace_subscription(*client, *pick, *which);
            }
            Act::Announce { client, which } => {
                if let Some(namespace) = namespace(*which) {
                    self.announce(*client, namespace);
                }
            }
            Act::Withdraw { client, pick } => {
                // Others are withdrawn with their tracks.
                let with_tracks = [namespace(0), namespace(1)];
                let announced = self.record.announced.iter();
                let is_empty: Vec<bool> = announced
                    .map(|it| !with_tracks.iter().flatten().any(|with| *with == it.namespace))
                    .collect();
                let is_fit = |what| match what {
                    Request::Namespace(of) => is_empty[of].then_some(of),
                    _ => None,
                };
                let Some((request, of)) = self.pick(*client, *pick, is_fit) else { return };
                self.record.announced[of].to.get_or_insert(self.network.now());
                self.cancel(*client, request);
            }
            Act::EndNamespaceSubscription { client, pick } => {
                let is_fit = |what| match what {
                    Request::NamespaceSubscription(of) => Some(of),
                    _ => None,
                };
                let Some((request, of)) = self.pick(*client, *pick, is_fit) else { return };
                self.record.namespaces[of].ended.get_or_insert(self.network.now());
                self.cancel(*client, request);
            }
            Act::Produce { track, burst, closes_group } => {
                self.produce(*track, burst, *closes_group);
            }
            Act::FinishGroup { track } => {
                if *track < self.tracks.len() {
                    self.publish_news(*track, Track::complete_largest, false);
                }
            }
            Act::Pause { client, millis } => {
                let now = self.network.now();
                let until = now.saturating_add(Duration::from_millis(*millis));
                if let Some(client) = self.client(*client) {
                    client.paused_until = until;
                }
                self.record.pauses.push((*client, now, until));
                self.put_off(*client, *millis, Later::Resume);
            }
            Act::Close { client } => self.close(*client),
            Act::Die { client, unnoticed } => self.die(*client, Duration::from_millis(*unnoticed)),
            Act::Kill { relay, unnoticed } => {
                let Some(node) = self.nodes.get(*relay).copied() else { return };
                let unnoticed = Duration::from_millis(*unnoticed);
                self.trouble_for(unnoticed);
                self.relays.kill(&mut self.network, node, unnoticed);
                self.uplinks[*relay] = None;
            }
            Act::GoAway { relay, after, timeout } => self.go_away(*relay, *after, *timeout),
            Act::Relink { relay } => self.relink(*relay),
            Act::ClientTrouble { client, at_relay, trouble } => {
                let Some(at) = self.client(*client).map(|client| client.at) else { return };
                self.trouble(if *at_relay { at.peer() } else { at }, *trouble);
            }
            Act::RelayTrouble { relay, at_parent, trouble } => {
                let Some(at) = self.uplinks.get(*relay).copied().flatten() else { return };
                self.trouble(if *at_parent { at.peer() } else { at }, *trouble);
            }
        }
    }

    /// Whether a client's session is set up, and not over.
    fn is_ready(&mut self, number: usize) -> bool {
        let at = self.client(number).map(|client| client.at);
        at.is_some_and(|at| self.network.connection(at).is_established())
    }

    /// A command of a client's that begins something, unless its session is over.
    fn ask<R>(
        &mut self,
        number: usize,
        command: impl FnOnce(&mut MoqtConnection, Timestamp) -> Result<R, CommandError>,
    ) -> Option<R> {
        self.with(number, command)?.ok()
    }

    fn remember(&mut self, number: usize, request: RequestKey, what: Request) {
        if let Some(client) = self.client(number) {
            client.requests.insert(request, what);
        }
    }

    /// One of a client's requests.
    fn pick(
        &mut self,
        number: usize,
        pick: usize,
        is_fit: impl Fn(Request) -> Option<usize>,
    ) -> Option<(RequestKey, usize)> {
        let requests = self.client(number)?.requests.iter();
        let fit = requests.filter_map(|(request, what)| Some((*request, is_fit(*what)?)));
        let fit: Vec<_> = fit.collect();
        fit.get(pick.checked_rem(fit.len())?).copied()
    }

    fn subscription(&mut self, number: usize, pick: usize) -> Option<(RequestKey, usize)> {
        self.pick(number, pick, |what| match what {
            Request::Subscription(of) => Some(of),
            _ => None,
        })
    }

    fn offer(&mut self, number: usize, track: usize, how: How) {
        let Some(name) = track_name(track).filter(|_| track < self.tracks.len()) else { return };
        let now = self.network.now();
        match self.client(number) {
            Some(client) if !client.publishes.contains(&track) => {
                client.publishes.insert(track);
            }
            _ => return,
        }
        let published = Published { client: number, how, from: now, to: None, is_refused: false };
        self.record.tracks[track].publishers.push(published);
        if how != How::Publish {
            self.announce(number, name.namespace().clone());
        }
        if how != How::Namespace {
            let mut parameters = Parameters::default();
            parameters.largest_object = self.tracks[track].largest();
            let properties = self.track_properties(track);
            let asked = self.ask(number, |connection, now| {
                connection.publish(now, &name, &parameters, &properties)
            });
            if let Some(request) = asked
                && let Some(client) = self.client(number)
            {
                client.requests.insert(request, Request::Publish(track));
                client.sending.insert(request, super::publishing::Sending::new(track));
            }
        }
    }

    /// Publishes a namespace, if it is not published.
    fn announce(&mut self, client: usize, namespace: TrackNamespace) {
        let mut announced = self.record.announced.iter();
        let has_it =
            announced.any(|it| it.client == client && it.to.is_none() && it.namespace == namespace);
        if has_it {
            return;
        }
        let asked = self.ask(client, |connection, now| {
            connection.publish_namespace(now, &namespace, &Parameters::default())
        });
        if let Some(request) = asked {
            let from = self.network.now();
            let announced = Announced { client, namespace, from, to: None, is_refused: false };
            self.record.announced.push(announced);
            let of = self.record.announced.len() - 1;
            self.remember(client, request, Request::Namespace(of));
        }
    }

    fn fetch(
        &mut self,
        client: usize,
        track: usize,
        target: &FetchTarget,
        range: Option<LocationRange>,
        joined: Option<(usize, JoiningStart)>,
        order: Option<GroupOrder>,
    ) {
        let mut parameters = Parameters::default();
        parameters.group_order = order;
        let asked = self.ask(client, |connection, now| connection.fetch(now, target, &parameters));
        let Some(request) = asked else { return };
        self.record.fetches.push(Fetched {
            client,
            track,
            range,
            joined,
            order: order.unwrap_or_default(),
            asked: self.network.now(),
            answer: None,
            items: Vec::new(),
            end: None,
        });
        let of = self.record.fetches.len() - 1;
        self.remember(client, request, Request::Fetch(of));
    }

    fn join(&mut self, client: usize, pick: usize, start: JoiningStart) {
        let Some((subscription, of)) = self.subscription(client, pick) else { return };
        let track = self.record.subscriptions[of].track;
        let target = FetchTarget::Joining { subscription, start };
        self.fetch(client, track, &target, None, Some((of, start)), None);
    }

    fn subscribe_namespace(&mut self, client: usize, which: u8, interest: NamespaceInterest) {
        let Some(prefix) = namespace(which) else { return };
        let Some(draft) = self.client(client).map(|client| client.draft) else { return };
        // Draft 14 has but one kind.
        let interest = if draft < Draft::D16 { NamespaceInterest::Both } else { interest };
        let asked = self.ask(client, |connection, now| {
            connection.subscribe_namespace(now, &prefix, interest, &Parameters::default())
        });
        let Some(request) = asked else { return };
        let interest =
            (interest != NamespaceInterest::Tracks, interest != NamespaceInterest::Namespaces);
        let of = self.record.namespaces.len();
        let now = self.network.now();
        let mut news = Vec::new();
        if let Some(client) = self.client(client) {
            client.requests.insert(request, Request::NamespaceSubscription(of));
            // What draft 14 has been told of by requests is not told of again.
            for (request, namespace) in &client.told {
                if namespace.starts_with(&prefix) {
                    client.requests.insert(*request, Request::ToldOf(of));
                    news.push((now, namespace.clone(), true));
                }
            }
        }
        let known = BTreeSet::new();
        let told = Told { client, prefix, interest, accepted: None, ended: None, known, news };
        self.record.namespaces.push(told);
    }

    fn move_namespace_subscription(&mut self, number: usize, pick: usize, which: u8) {
        let Some(prefix) = namespace(which) else { return };
        let is_fit = |what| match what {
            Request::NamespaceSubscription(of) => Some(of),
            _ => None,
        };
        let Some((request, _)) = self.pick(number, pick, is_fit) else { return };
        let mut parameters = Parameters::default();
        parameters.track_namespace_prefix = Some(prefix.clone());
        let is_moving = self.client(number).is_some_and(|it| it.moving.contains_key(&request));
        // Others cannot say it.
        let can_move = self.client(number).is_some_and(|it| it.draft >= Draft::D18);
        if can_move
            && !is_moving
            && self
                .ask(number, |connection, now| connection.update(now, request, &parameters))
                .is_some()
            && let Some(client) = self.client(number)
        {
            client.moving.insert(request, prefix);
        }
    }

    fn produce(&mut self, track: usize, burst: &Burst, closes_group: bool) {
        let Some(content) = self.scenario.tracks.get(track) else { return };
        let plan = &content.plan;
        // What was not there when a group was fetched does not exist: only the newest goes on.
        let is_fetched = self.record.fetches.iter().any(|it| it.track == track);
        // The properties are rewritten for each draft.
        let make = |track_state: &mut Track| {
            let mut burst = *burst;
            burst.finish |= closes_group;
            if is_fetched && matches!(burst.group, GroupPick::Earlier(_)) {
                burst.group = GroupPick::Largest;
            }
            let mut news = track_state.produce(Draft::D18, track, plan, &burst);
            if closes_group && !news.is_empty() {
                news.extend(track_state.close_group_of(&news));
            }
            news
        };
        self.publish_news(track, make, closes_group);
    }

    pub(super) fn cancel(&mut self, number: usize, request: RequestKey) {
        let cancelled = self.with(number, |connection, now| {
            connection.cancel(now, request, StreamResetCode::Cancelled)
        });
        if let Some(Err(error)) = cancelled
            && error != CommandError::Gone
        {
            self.fail(format!("client {number} ends a request: {error}"));
        }
        if let Some(client) = self.client(number) {
            client.requests.remove(&request);
        }
    }

    /// Ends all requests of a client.
    pub(super) fn end_requests(&mut self, number: usize) {
        let Some(client) = self.client(number) else { return };
        let requests = client.requests.clone();
        let now = self.network.now();
        for (request, what) in requests {
            match what {
                Request::Subscription(of) => {
                    self.record.end_subscription(of, now, SubscriptionEnd::Left);
                }
                Request::NamespaceSubscription(of) => {
                    self.record.namespaces[of].ended.get_or_insert(now);
                }
                _ => {}
            }
            self.cancel(number, request);
        }
    }

    /// A client closes its session.
    pub(super) fn close(&mut self, number: usize) {
        self.with(number, |connection, _| connection.close(SessionError::NoError, ""));
        self.session_over(number);
    }

    fn die(&mut self, number: usize, unnoticed: Duration) {
        let Some(at) = self.client(number).map(|client| client.at) else { return };
        self.session_over(number);
        for end in [at, at.peer()] {
            self.network.inject(end, Fault::Stall { lasting: Duration::MAX });
        }
        let when = self.network.now().saturating_add(unnoticed);
        let reason = "the idle timeout has passed".to_owned();
        self.network.schedule(when, at, Fault::Disconnect { reason });
        self.trouble_for(unnoticed);
    }

    /// Links a relay with the one above it, if it is not linked.
    pub(super) fn relink(&mut self, relay: usize) {
        let Some(uplink) = self.uplinks.get(relay) else { return };
        let is_linked = uplink.is_some_and(|at| {
            let is_closed = |at: EndpointId| self.network.connection(at).is_closed();
            !is_closed(at)
        });
        if relay > 0 && !is_linked && !self.has_gone(relay) {
            self.trouble_for(Duration::ZERO);
            self.link(relay);
        }
    }

    /// Something is wrong from now on, for so long.
    fn trouble_for(&mut self, lasting: Duration) {
        let now = self.network.now();
        let until = now.saturating_add(lasting).saturating_add(RECOVERY);
        self.record.troubles.push((now, until));
    }

    fn trouble(&mut self, at: EndpointId, trouble: Trouble) {
        let for_millis = Duration::from_millis;
        let (lasting, fault) = match trouble {
            Trouble::ResetStream { .. } => (0, Fault::ResetStream { stream: None, code: 0 }),
            Trouble::StopSending { .. } => (0, Fault::StopSending { stream: None, code: 0 }),
            Trouble::Disconnect => {
                (0, Fault::Disconnect { reason: "the cable was cut".to_owned() })
            }
            Trouble::Leap { .. } => return,
            Trouble::Stall { millis } => (millis, Fault::Stall { lasting: for_millis(millis) }),
            Trouble::StopReading { millis } => {
                (millis, Fault::StopReading { lasting: for_millis(millis) })
            }
            Trouble::RefuseStreams { millis } => {
                (millis, Fault::RefuseStreams { lasting: for_millis(millis) })
            }
            Trouble::HoldDatagrams { millis } => {
                (millis, Fault::HoldDatagrams { lasting: for_millis(millis) })
            }
        };
        self.trouble_for(for_millis(lasting));
        self.network.inject(at, fault);
    }
}
