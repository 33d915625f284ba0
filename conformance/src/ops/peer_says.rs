//! What the peer does: mostly what it may, so that sessions come far.

use bytes::Bytes;
use moqt_engine::model::{
    FetchCancel, FetchOk, FetchRange, Goaway, GroupOrder, JoiningStart, Location, MaxRequestId,
    Message, NamespaceInterest, Publish, PublishDone, PublishNamespaceCancel, RequestError,
    RequestErrorCode, RequestKind, RequestOk, RequestUpdate, RequestsBlocked, SetupOptions,
    SubscribeOk, SubscriptionFilter, TrackProperties, Unsubscribe, UnsubscribeNamespace,
};
use moqt_engine::wire::{Carrier, JoiningRule, encode_message};
use moqt_engine::{Dir, Role};

use super::peer::Asked;
use super::world::World;
use crate::say;

/// Tracks that are asked for.
pub(super) const TRACKS: [&str; 4] = ["t0", "t1", "t2", "t3"];

/// Namespaces and prefixes.
pub(super) const SPACES: [&str; 6] = ["test", "test-a", "test-a-b", "pre", "pre-c", ""];

impl World<'_> {
    /// The peer sets the session up.
    pub(super) fn peer_sets_up(&mut self) {
        if self.peer.granted > 0 {
            return;
        }
        let mut options = SetupOptions::default();
        self.peer.granted = match self.source.byte() {
            byte @ 0..=63 => 1 + u64::from(byte % 8),
            _ => 1_000,
        };
        options.max_request_id = Some(self.peer.granted);
        options.max_auth_token_cache_size = self.source.some(|source| 40 * source.small(8));
        let by_stream = self.draft.dialect().answers_by_stream;
        if self.peer.control.is_none() {
            if by_stream || self.role == Role::Server {
                let name = self.peer_opens(if by_stream { Dir::Uni } else { Dir::Bi });
                self.peer.control = Some(name);
            } else {
                self.peer.control = self.streams.iter().position(|stream| stream.ours);
            }
        }
        let Some(control) = self.peer.control else {
            self.peer.granted = 0;
            return;
        };
        let setup = say::setup(self.draft, self.role.peer(), options);
        self.peer_sends(control, setup, false);
    }

    pub(super) fn peer_opens(&mut self, dir: Dir) -> usize {
        let key = self.engine.handle_stream_opened(self.now, dir);
        let name = self.add_stream(key, dir, false);
        self.drain();
        name
    }

    pub(super) fn peer_sends(&mut self, name: usize, bytes: Vec<u8>, fin: bool) {
        let stream = &mut self.streams[name];
        if stream.pending_fin || stream.reset {
            return;
        }
        stream.is_silent &= bytes.is_empty();
        stream.pending.extend(bytes);
        stream.pending_fin = fin;
        self.deliver(name);
        self.drain();
    }

    pub(super) fn peer_resets(&mut self, name: usize, code: u64) {
        let stream = &mut self.streams[name];
        if stream.reset || stream.fin || (stream.ours && stream.dir == Dir::Uni) {
            return;
        }
        stream.reset = true;
        self.engine.handle_stream_reset(self.now, stream.key, code);
        self.drain();
    }

    pub(super) fn peer_stops(&mut self, name: usize, code: u64) {
        let stream = &mut self.streams[name];
        if stream.stopped_by_peer || (!stream.ours && stream.dir == Dir::Uni) {
            return;
        }
        stream.stopped_by_peer = true;
        self.engine.handle_stop_sending(self.now, stream.key, code);
        self.drain();
    }

    /// A message, if the draft can say it.
    fn say_on(&mut self, name: usize, message: &Message) -> bool {
        let mut bytes = Vec::new();
        if encode_message(self.draft.dialect(), message, &mut bytes).is_err() {
            return false;
        }
        self.note(&("peer", name, message));
        self.peer_sends(name, bytes, false);
        true
    }

    fn say_on_control(&mut self, message: &Message) -> bool {
        let Some(control) = self.peer.control else { return false };
        self.say_on(control, message)
    }

    /// One thing that the peer does.
    pub(super) fn peer_acts(&mut self) {
        if self.peer.session_closed {
            return;
        }
        if self.source.byte() < self.habits.mischief {
            return self.peer_misbehaves();
        }
        if self.peer.granted == 0 {
            return self.peer_sets_up();
        }
        match self.source.below(32) {
            0..=5 => self.peer_asks(),
            6..=10 => self.peer_answers(),
            11 | 12 => self.peer_updates(),
            13 => self.peer_answers_update(),
            14 | 15 => self.peer_ends_own(),
            16 | 17 => self.peer_ends_theirs(),
            18..=20 => self.peer_begins_subgroup(),
            21..=24 => self.peer_writes(),
            25 => self.peer_sends_datagram(),
            26 => self.peer_begins_fetch(),
            27 => self.peer_tells_namespace(),
            28 => self.peer_has_streams_stopped(),
            29 => self.peer_breaks_off(),
            30 => self.peer_grants(),
            _ => self.peer_goes_away(),
        }
    }

    fn peer_asks(&mut self) {
        let dialect = self.draft.dialect();
        let id = self.peer.next_id;
        if !dialect.answers_by_stream && id >= self.peer.allowed {
            let max_request_id = self.peer.allowed;
            self.say_on_control(&Message::RequestsBlocked(RequestsBlocked { max_request_id }));
            return;
        }
        let picked = self.source.pick(&TRACKS).unwrap_or_default();
        let is_taken = |asked: &Asked| asked.track == picked && !asked.over;
        let is_taken = self.draft.dialect().duplicate_subscription_closes
            && self.peer.own.iter().any(is_taken)
            && !self.source.one_in(10);
        let track = &if is_taken { format!("more{id}") } else { picked.to_owned() };
        let space = self.source.pick(&SPACES).unwrap_or_default();
        let mut asked = Asked::new(id, RequestKind::Subscribe, 0);
        let message = match self.source.below(12) {
            0..=3 => {
                let parameters = self.peer_parameters(Carrier::Subscribe);
                asked.track.clone_from(track);
                asked.joinable = match dialect.joining {
                    JoiningRule::ForwardState => parameters.forward != Some(false),
                    _ => parameters.subscription_filter == Some(SubscriptionFilter::LargestObject),
                };
                say::subscribe_with(id, track, parameters)
            }
            4 | 5 => {
                asked.kind = RequestKind::Publish;
                let alias = self.peer.next_alias;
                self.peer.next_alias += 1;
                asked.alias = Some(alias);
                Message::Publish(Publish {
                    request_id: id,
                    track: say::track(track),
                    track_alias: alias,
                    parameters: self.peer_parameters(Carrier::Publish),
                    track_properties: self.track_properties(),
                })
            }
            6 | 7 => {
                asked.kind = RequestKind::Fetch;
                let parameters = self.peer_parameters(Carrier::Fetch);
                let wished = parameters.group_order;
                self.outgoing.orders.insert(id, wished.unwrap_or(GroupOrder::Ascending));
                let joined = self
                    .peer
                    .own
                    .iter()
                    .rev()
                    .find(|asked| asked.kind == RequestKind::Subscribe && !asked.over);
                let joined = joined.map(|asked| asked.id).filter(|_| self.source.flag());
                let range = if let Some(request_id) = joined {
                    let n = self.source.small(4);
                    let start = if self.source.flag() {
                        JoiningStart::Relative(n)
                    } else {
                        JoiningStart::Absolute(n)
                    };
                    FetchRange::Joining { request_id, start }
                } else {
                    let start = Location::new(self.source.small(4), self.source.small(3));
                    let more = self.source.small(3);
                    let end = Location::new(start.group + more, self.source.small(5));
                    FetchRange::Standalone { track: say::track(track), start, end }
                };
                say::fetch_with(id, range, parameters)
            }
            8 => {
                asked.kind = RequestKind::TrackStatus;
                say::track_status(id, track)
            }
            9 => {
                asked.kind = RequestKind::PublishNamespace;
                asked.prefix = say::namespace(space);
                Message::PublishNamespace(moqt_engine::model::PublishNamespace {
                    request_id: id,
                    namespace: say::namespace(space),
                    parameters: self.peer_parameters(Carrier::PublishNamespace),
                })
            }
            n => {
                asked.prefix = say::namespace(space);
                let interest =
                    if n == 10 { NamespaceInterest::Tracks } else { NamespaceInterest::Namespaces };
                let message = say::subscribe_namespace(self.draft, id, space, interest);
                asked.kind = match message {
                    Message::SubscribeTracks(_) => RequestKind::SubscribeTracks,
                    _ => RequestKind::SubscribeNamespace,
                };
                message
            }
        };
        let mut bytes = Vec::new();
        if encode_message(dialect, &message, &mut bytes).is_err() {
            return;
        }
        self.peer.next_id += 2;
        self.note(&("peer asks", &message));
        let of_namespaces = matches!(message, Message::SubscribeNamespace(_));
        let own_stream =
            dialect.answers_by_stream || of_namespaces && say::namespaces_have_streams(self.draft);
        let Some(control) = self.peer.control else { return };
        asked.on = if own_stream { self.peer_opens(Dir::Bi) } else { control };
        let on = asked.on;
        self.peer.own.push(asked);
        self.peer_sends(on, bytes, false);
    }

    /// One of these requests, as far as it may still be meant.
    fn choose(&mut self, theirs: bool, fits: impl Fn(&Asked) -> bool) -> Option<usize> {
        let all = if theirs { &self.peer.theirs } else { &self.peer.own };
        let some: Vec<usize> =
            all.iter().enumerate().filter(|(_, asked)| fits(asked)).map(|(at, _)| at).collect();
        self.source.pick(&some)
    }

    fn peer_answers(&mut self) {
        let Some(at) = self.choose(true, |asked| !asked.answered && !asked.over) else { return };
        let is_ok = self.source.byte() < 210;
        let Asked { id, kind, on, start, end, .. } = self.peer.theirs[at].clone();
        let request_id = Some(id);
        let parameters = self.peer_parameters(Carrier::answer_to(kind));
        let track_properties = self.track_properties();
        let mut alias = None;
        let message = match kind {
            _ if !is_ok => Message::RequestError(RequestError {
                request_id,
                answers: Some(kind),
                code: RequestErrorCode::DoesNotExist,
                retry_interval: self.source.small(4),
                reason: "no".into(),
                redirect: None,
            }),
            RequestKind::Subscribe => {
                let track_alias = self.peer.next_alias;
                self.peer.next_alias += 1;
                alias = Some(track_alias);
                Message::SubscribeOk(SubscribeOk {
                    request_id,
                    track_alias,
                    parameters,
                    track_properties,
                })
            }
            RequestKind::Fetch => Message::FetchOk(FetchOk {
                request_id,
                end_of_track: self.source.one_in(4),
                end: if self.source.one_in(4) {
                    Location::new(start.group, start.object + 1)
                } else {
                    end
                },
                group_order: Some(self.peer.theirs[at].order),
                parameters,
                track_properties,
            }),
            _ => Message::RequestOk(RequestOk {
                request_id,
                answers: Some(kind),
                parameters,
                track_properties: match kind {
                    RequestKind::TrackStatus => track_properties,
                    _ => TrackProperties::new(),
                },
            }),
        };
        if self.say_on(on, &message) {
            let asked = &mut self.peer.theirs[at];
            asked.answered = true;
            asked.alias = asked.alias.or(alias);
            asked.over |= !is_ok || kind == RequestKind::TrackStatus;
        }
    }

    fn peer_updates(&mut self) {
        let fits = |asked: &Asked| !asked.over && asked.kind != RequestKind::TrackStatus;
        let theirs = self.source.one_in(4);
        let at = if theirs {
            // Of the connection's requests, a PUBLISH.
            self.choose(true, |asked| {
                asked.kind == RequestKind::Publish && asked.answered && !asked.over && !asked.done
            })
        } else {
            let early = self.draft.dialect().answers_by_stream;
            self.choose(false, |asked| fits(asked) && (asked.answered || early) && !asked.done)
        };
        let Some(at) = at else { return };
        let dialect = self.draft.dialect();
        let id = self.peer.next_id;
        if !dialect.answers_by_stream && id >= self.peer.allowed {
            return;
        }
        let asked = if theirs { &self.peer.theirs[at] } else { &self.peer.own[at] };
        let (of, on, kind) = (asked.id, asked.on, asked.kind);
        if !theirs && kind == RequestKind::Publish && dialect.only_subscribers_update {
            return;
        }
        let only_subscriptions = dialect.only_subscribers_update;
        let carrier = match kind {
            RequestKind::Subscribe | RequestKind::Publish => Carrier::UpdateSubscription,
            _ if only_subscriptions => return,
            RequestKind::Fetch => Carrier::UpdateFetch,
            RequestKind::PublishNamespace => Carrier::UpdatePublishNamespace,
            RequestKind::SubscribeTracks => Carrier::UpdateSubscribeTracks,
            _ => Carrier::UpdateSubscribeNamespace,
        };
        let mut parameters = self.peer_parameters(carrier);
        if dialect.fixed_fields {
            let start = Location::new(self.source.small(6), 0);
            parameters.subscription_filter = Some(SubscriptionFilter::AbsoluteStart { start });
        }
        let message = Message::RequestUpdate(RequestUpdate {
            request_id: id,
            existing_request_id: Some(of),
            parameters,
        });
        let on = if dialect.answers_by_stream { Some(on) } else { self.peer.control };
        let Some(on) = on else { return };
        // Counted before it is heard, as its answer comes at once.
        self.peer.own_updates.push(id);
        self.peer.next_id += 2;
        let asked = if theirs { &mut self.peer.theirs[at] } else { &mut self.peer.own[at] };
        asked.updates += 1;
        if !self.say_on(on, &message) {
            self.peer.next_id -= 2;
        }
    }

    fn peer_answers_update(&mut self) {
        if self.draft.dialect().fixed_fields || self.peer.their_updates.is_empty() {
            return;
        }
        let (id, of) = self.peer.their_updates.remove(0);
        let own = self.peer.own.iter().chain(&self.peer.theirs).find(|asked| asked.id == of);
        let Some(asked) = own.filter(|asked| !asked.over) else { return };
        let on =
            if self.draft.dialect().answers_by_stream { Some(asked.on) } else { self.peer.control };
        let Some(on) = on else { return };
        let message = if self.source.one_in(6) {
            say::error(id, RequestKind::Update, RequestErrorCode::InternalError)
        } else {
            say::ok(id, RequestKind::Update)
        };
        let message = match message {
            Message::RequestOk(ok) => Message::RequestOk(RequestOk { answers: None, ..ok }),
            Message::RequestError(error) => {
                Message::RequestError(RequestError { answers: None, ..error })
            }
            other => other,
        };
        self.say_on(on, &message);
    }

    /// The peer ends a request of its own.
    fn peer_ends_own(&mut self) {
        let Some(at) = self.choose(false, |asked| !asked.over && !asked.done) else { return };
        let Asked { id, kind, on, prefix, answered, streams, .. } = self.peer.own[at].clone();
        if kind == RequestKind::Publish && answered && self.source.flag() {
            return self.peer_says_done(false, at, streams);
        }
        self.peer.own[at].over = true;
        if Some(on) != self.peer.control {
            return self.peer_ends_stream(on);
        }
        let target = say::published_namespace(self.draft, id, &prefix);
        let message = match kind {
            RequestKind::Subscribe => Message::Unsubscribe(Unsubscribe { request_id: id }),
            RequestKind::Fetch => Message::FetchCancel(FetchCancel { request_id: id }),
            RequestKind::PublishNamespace => Message::PublishNamespaceDone(target),
            RequestKind::SubscribeNamespace => {
                Message::UnsubscribeNamespace(UnsubscribeNamespace { prefix })
            }
            RequestKind::Publish => return self.peer_says_done(false, at, streams),
            _ => return,
        };
        self.say_on(on, &message);
    }

    fn peer_says_done(&mut self, theirs: bool, at: usize, streams: u64) {
        let stream_count = if self.source.one_in(6) {
            self.source.pick(&[0, streams + 1, PublishDone::UNKNOWN_STREAM_COUNT]).unwrap_or(0)
        } else {
            streams
        };
        let asked = if theirs { &mut self.peer.theirs[at] } else { &mut self.peer.own[at] };
        asked.done = true;
        let (id, on) = (asked.id, asked.on);
        self.say_on(on, &say::done(id, stream_count));
        if self.draft.dialect().answers_by_stream && self.source.flag() {
            self.peer_sends(on, Vec::new(), true);
        }
    }

    /// The peer ends a request of the connection's.
    fn peer_ends_theirs(&mut self) {
        let fits = |asked: &Asked| !asked.over && !asked.done && asked.answered;
        let Some(at) = self.choose(true, fits) else { return };
        let Asked { id, kind, on, prefix, streams, .. } = self.peer.theirs[at].clone();
        match kind {
            RequestKind::Subscribe => self.peer_says_done(true, at, streams),
            _ if Some(on) != self.peer.control && !self.is_control(on) => {
                self.peer.theirs[at].over = true;
                self.peer_ends_stream(on);
            }
            RequestKind::Publish => {
                self.peer.theirs[at].over = true;
                self.say_on_control(&Message::Unsubscribe(Unsubscribe { request_id: id }));
            }
            RequestKind::PublishNamespace => {
                self.peer.theirs[at].over = true;
                let target = say::published_namespace(self.draft, id, &prefix);
                self.say_on_control(&Message::PublishNamespaceCancel(PublishNamespaceCancel {
                    target,
                    code: RequestErrorCode::Uninterested,
                    reason: String::new(),
                }));
            }
            _ => {}
        }
    }

    fn is_control(&self, on: usize) -> bool {
        Some(on) == self.peer.control
            || self.streams.iter().position(|stream| stream.ours) == Some(on)
    }

    fn peer_ends_stream(&mut self, on: usize) {
        match self.source.below(4) {
            0 => self.peer_resets(on, 1),
            1 => self.peer_stops(on, 1),
            2 => self.peer_sends(on, Vec::new(), true),
            _ => {
                self.peer_stops(on, 1);
                self.peer_resets(on, 1);
            }
        }
    }

    fn peer_tells_namespace(&mut self) {
        let fits = |asked: &Asked| {
            asked.kind == RequestKind::SubscribeNamespace
                && asked.answered
                && asked.wants_namespaces
                && !asked.over
        };
        let tracks = |asked: &Asked| {
            matches!(asked.kind, RequestKind::SubscribeNamespace | RequestKind::SubscribeTracks)
                && asked.answered
                && !asked.over
        };
        if self.source.one_in(4) {
            let Some(at) = self.choose(true, tracks) else { return };
            let on = self.peer.theirs[at].on;
            if !self.is_control(on) && self.draft.dialect().answers_by_stream {
                let track = self.source.pick(&["--t0", "x--t1"]).unwrap_or("--t0");
                if self.peer.theirs[at].kind == RequestKind::SubscribeTracks {
                    self.say_on(on, &say::publish_blocked(track));
                }
            }
            return;
        }
        let Some(at) = self.choose(true, fits) else { return };
        let on = self.peer.theirs[at].on;
        if self.is_control(on) {
            return;
        }
        let suffix = say::namespace(self.source.pick(&["a", "b", "a-b"]).unwrap_or("a"));
        let told = &mut self.peer.theirs[at].told;
        let message = if let Some(known) = told.iter().position(|one| *one == suffix) {
            told.remove(known);
            Message::NamespaceDone(moqt_engine::model::NamespaceDone { suffix })
        } else {
            told.push(suffix.clone());
            Message::Namespace(moqt_engine::model::Namespace { suffix })
        };
        self.say_on(on, &message);
    }

    fn peer_has_streams_stopped(&mut self) {
        let some: Vec<usize> = (0..self.streams.len())
            .filter(|name| {
                let stream = &self.streams[*name];
                stream.ours
                    && stream.dir == Dir::Uni
                    && !self.is_control(*name)
                    && !stream.stopped_by_peer
            })
            .collect();
        if let Some(name) = self.source.pick(&some) {
            let code = self.source.small(6);
            self.peer_stops(name, code);
        }
    }

    /// The peer opens a stream, and does not say much on it.
    fn peer_breaks_off(&mut self) {
        let dir = if self.source.flag() { Dir::Bi } else { Dir::Uni };
        let name = self.peer_opens(dir);
        match self.source.below(3) {
            0 => self.peer_resets(name, 0),
            1 => self.peer_sends(name, Vec::new(), true),
            _ => {}
        }
    }

    fn peer_grants(&mut self) {
        if self.draft.dialect().answers_by_stream {
            return;
        }
        self.peer.granted += 1 + self.source.small(8);
        let max_request_id = self.peer.granted;
        self.say_on_control(&Message::MaxRequestId(MaxRequestId { max_request_id }));
        let delivered = self.peer.control.is_some_and(|name| self.streams[name].pending.is_empty());
        if delivered && self.established && !self.peer.is_garbled {
            assert!(!self.wants_credit || self.is_closed(), "nobody says that there is credit");
        }
    }

    fn peer_goes_away(&mut self) {
        if !self.source.one_in(4) {
            return;
        }
        let new_session_uri = match self.role {
            Role::Client if self.source.flag() => Bytes::from_static(b"moqt://elsewhere"),
            _ => Bytes::new(),
        };
        let timeout = self.source.small(4) * 1000;
        if self.draft.dialect().answers_by_stream && self.source.flag() {
            let Some(at) = self.choose(true, |asked| !asked.over) else { return };
            let on = self.peer.theirs[at].on;
            let goaway = Goaway { new_session_uri, timeout, request_id: None };
            self.say_on(on, &Message::Goaway(goaway));
            return;
        }
        if self.goaway_received {
            return;
        }
        let request_id = Some(2 * self.source.small(8) + u64::from(self.role == Role::Server));
        let goaway = Goaway { new_session_uri, timeout, request_id };
        self.say_on_control(&Message::Goaway(goaway));
    }
}
