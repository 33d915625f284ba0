//! What the application does: what makes sense, and what does not.

use core::time::Duration;

use bytes::Bytes;
use moqt_engine::model::{
    FullTrackName, GroupOrder, JoiningStart, Location, LocationRange, NamespaceInterest,
    PublishDoneCode, Redirect, RequestErrorCode, RequestKind, SessionError, StreamResetCode,
    TrackNamespace,
};
use moqt_engine::wire::Carrier;
use moqt_engine::{Accept, AcceptFetch, CommandError, FetchTarget, Refusal, RequestKey, StreamKey};

use super::commands::About;
use super::peer_says::{SPACES, TRACKS};
use super::world::{Known, Life, World};
use crate::say;

impl World<'_> {
    /// One thing that the application does.
    pub(super) fn application_acts(&mut self) {
        match self.source.below(16) {
            0..=3 => self.asks(),
            4..=6 => self.answers(),
            7 => self.changes(),
            8 => self.decides(),
            9 => self.ends(),
            10..=13 => self.writes(),
            14 => self.reads(),
            _ => self.says_something_else(),
        }
        self.drain();
    }

    /// A request, mostly one that lives.
    pub(super) fn some_request(&mut self, fits: impl Fn(&Known) -> bool) -> Option<RequestKey> {
        let is_right = self.source.byte() < 240;
        let some: Vec<RequestKey> = self
            .requests
            .iter()
            .filter(|known| !is_right || (known.life == Life::Lives && fits(known)))
            .map(|known| known.key)
            .collect();
        if !is_right && self.source.one_in(4) {
            return self.foreign_request();
        }
        self.source.pick(&some)
    }

    fn track(&mut self) -> FullTrackName {
        if self.source.one_in(60) {
            // A name of no bytes at all, or one as long as there may be.
            let long = TrackNamespace::new(["x"]).unwrap_or_default();
            return FullTrackName::new(long, vec![b'n'; 4095]).unwrap_or_default();
        }
        say::track(self.source.pick(&TRACKS).unwrap_or_default())
    }

    fn space(&mut self) -> TrackNamespace {
        say::namespace(self.source.pick(&SPACES).unwrap_or_default())
    }

    fn begun(&mut self, key: Option<RequestKey>, kind: RequestKind) {
        let Some(key) = key else { return };
        self.begun += 1;
        self.know(key, kind, true, None);
    }

    fn asks(&mut self) {
        let (track, space) = (self.track(), self.space());
        let about = About::Session;
        match self.source.below(12) {
            0..=2 => {
                let parameters = self.any_parameters(Carrier::Subscribe);
                let key = self.command("subscribe", about, |engine, now| {
                    engine.subscribe(now, &track, &parameters)
                });
                self.begun(key, RequestKind::Subscribe);
            }
            3 | 4 => {
                let parameters = self.any_parameters(Carrier::Publish);
                let properties = self.track_properties();
                let key = self.command("publish", about, |engine, now| {
                    engine.publish(now, &track, &parameters, &properties)
                });
                self.begun(key, RequestKind::Publish);
            }
            5 | 6 => {
                let parameters = self.any_parameters(Carrier::Fetch);
                let start = Location::new(self.source.small(4), self.source.small(3));
                let end = Location::new(start.group + self.source.small(3), self.source.number());
                let range = LocationRange::new(start, end);
                let target = FetchTarget::Standalone { track, range };
                let key = self
                    .command("fetch", about, |engine, now| engine.fetch(now, &target, &parameters));
                self.begun(key, RequestKind::Fetch);
            }
            7 => {
                let parameters = self.any_parameters(Carrier::Fetch);
                let fits =
                    |known: &Known| matches!(known.kind, RequestKind::Subscribe) && known.ours;
                let Some(subscription) = self.some_request(fits) else { return };
                let n = self.source.number();
                let start = if self.source.flag() {
                    JoiningStart::Relative(n)
                } else {
                    JoiningStart::Absolute(n)
                };
                let target = FetchTarget::Joining { subscription, start };
                let key = self.command("join", About::Request(subscription), |engine, now| {
                    engine.fetch(now, &target, &parameters)
                });
                self.begun(key, RequestKind::Fetch);
            }
            8 => {
                let parameters = self.any_parameters(Carrier::TrackStatus);
                let key = self.command("track_status", about, |engine, now| {
                    engine.track_status(now, &track, &parameters)
                });
                self.begun(key, RequestKind::TrackStatus);
            }
            9 => {
                let parameters = self.any_parameters(Carrier::PublishNamespace);
                let key = self.command("publish_namespace", about, |engine, now| {
                    engine.publish_namespace(now, &space, &parameters)
                });
                self.begun(key, RequestKind::PublishNamespace);
                if let Some(key) = key.filter(|_| self.draft.dialect().namespace_done_by_name) {
                    self.advertised.insert(space, key);
                }
            }
            n => {
                let parameters = self.any_parameters(Carrier::SubscribeNamespace);
                let interest = match n {
                    10 => NamespaceInterest::Namespaces,
                    _ if self.source.one_in(8) => NamespaceInterest::Both,
                    _ => NamespaceInterest::Tracks,
                };
                let key = self.command("subscribe_namespace", about, |engine, now| {
                    engine.subscribe_namespace(now, &space, interest, &parameters)
                });
                self.begun(key, RequestKind::SubscribeNamespace);
                if key.is_some() {
                    let found = self.engine.namespace_subscription(&space, interest);
                    assert!(found.is_some() || interest == NamespaceInterest::Both);
                }
            }
        }
    }

    fn answers(&mut self) {
        let fits = |known: &Known| !known.ours && !known.answered;
        let Some(key) = self.some_request(fits) else { return };
        let known = self.request(key).cloned();
        let kind = known.as_ref().map_or(RequestKind::Subscribe, |known| known.kind);
        let about = About::Request(key);
        let choice = self.source.byte();
        let is_fetch = kind == RequestKind::Fetch;
        match choice {
            0..=29 => {
                let refusal = self.refusal();
                let done =
                    self.command("reject", about, |engine, now| engine.reject(now, key, refusal));
                if done.is_some() {
                    self.end(key, Life::Over);
                }
            }
            _ if is_fetch == (choice < 250) => {
                let range = known.and_then(|known| known.range).unwrap_or_default();
                let mut accept = AcceptFetch::new(range.end);
                if self.source.one_in(6) {
                    accept.end = Location::new(self.source.small(5), self.source.small(5));
                }
                accept.end_of_track = self.source.one_in(4);
                accept.group_order = self.source.some(|source| {
                    if source.flag() { GroupOrder::Descending } else { GroupOrder::Ascending }
                });
                if self.source.one_in(30) {
                    accept.parameters.expires = Some(1);
                }
                let done = self.command("accept_fetch", about, |engine, now| {
                    engine.accept_fetch(now, key, accept)
                });
                if done.is_some() {
                    self.accepted(key);
                }
            }
            _ => {
                let mut accept = Accept {
                    parameters: self.any_parameters(Carrier::answer_to(kind)),
                    track_properties: self.track_properties(),
                };
                if self.source.flag() {
                    accept.parameters.expires = None;
                }
                let done =
                    self.command("accept", about, |engine, now| engine.accept(now, key, accept));
                if done.is_some() {
                    self.accepted(key);
                    if kind == RequestKind::TrackStatus {
                        self.end(key, Life::Over);
                    }
                }
            }
        }
    }

    fn accepted(&mut self, key: RequestKey) {
        if let Some(known) = self.request_mut(key) {
            assert!(!known.answered && !known.ours, "accepted twice: {known:?}");
            known.answered = true;
            // The response may have been finished before.
            if known.fetched {
                known.life = Life::Ending;
            }
        }
    }

    fn refusal(&mut self) -> Refusal {
        let mut refusal = Refusal::new(RequestErrorCode::DoesNotExist);
        match self.source.byte() {
            0..=199 => {}
            200..=219 => {
                refusal.code = RequestErrorCode::Redirect;
                let connect_uri = if self.source.flag() {
                    Bytes::from_static(b"moqt://there")
                } else {
                    Bytes::new()
                };
                refusal.redirect = Some(Redirect { connect_uri, track: say::track("t9") });
            }
            220..=239 => refusal.retry_after = Some(Duration::from_millis(self.source.number())),
            240..=249 => refusal.code = RequestErrorCode::Other(self.source.number()),
            _ => refusal.reason = "x".repeat(self.source.len() * 8),
        }
        refusal
    }

    /// Changes a request.
    fn changes(&mut self) {
        let Some(key) = self.some_request(|known| known.answered) else { return };
        let parameters = self.any_parameters(Carrier::UpdateSubscription);
        let about = About::Request(key);
        let updated =
            self.command("update", about, |engine, now| engine.update(now, key, &parameters));
        if updated.is_some() {
            self.begun += 1;
            if let Some(known) = self.request_mut(key) {
                known.unanswered_updates += 1;
            }
        }
    }

    /// Decides on an update of the peer's.
    fn decides(&mut self) {
        let Some(key) = self.some_request(|known| known.undecided_updates > 0) else { return };
        let about = About::Request(key);
        let done = if self.source.byte() < 200 {
            let parameters = self.any_parameters(Carrier::UpdateOk);
            self.command("accept_update", about, |engine, now| {
                engine.accept_update(now, key, &parameters)
            })
        } else {
            let refusal = self.refusal();
            // It may end the request, and it may not.
            let done = self.command("reject_update", about, |engine, now| {
                engine.reject_update(now, key, refusal)
            });
            if done.is_some() {
                self.end(key, Life::Ending);
            }
            done
        };
        if done.is_some()
            && let Some(known) = self.request_mut(key)
        {
            assert!(known.undecided_updates > 0, "nothing was to be decided");
            known.undecided_updates -= 1;
        }
    }

    fn ends(&mut self) {
        let Some(key) = self.some_request(|_| true) else { return };
        let about = About::Request(key);
        let code = self.reset_code();
        match self.source.below(6) {
            0 => {
                let why = "x".repeat(self.source.len());
                let done = self.command("cancel_publish_namespace", about, |engine, now| {
                    let code = RequestErrorCode::Uninterested;
                    engine.cancel_publish_namespace(now, key, code, &why)
                });
                if done.is_some() {
                    self.end(key, Life::Over);
                }
            }
            1 => {
                let uri = self.uri();
                let timeout = Duration::from_millis(self.source.small(4) * 700);
                self.command("goaway_request", about, |engine, now| {
                    engine.goaway_request(now, key, uri, timeout)
                });
            }
            2 | 3 => self.publisher_done(key),
            _ => {
                let done =
                    self.command("cancel", about, |engine, now| engine.cancel(now, key, code));
                if done.is_some() {
                    self.end(key, Life::Over);
                }
            }
        }
    }

    fn publisher_done(&mut self, key: RequestKey) {
        let done = self.command("done", About::Request(key), |engine, _| {
            let publisher = engine.publisher(key).ok_or(NOT_NOW)?;
            publisher.done(PublishDoneCode::TrackEnded, "enough");
            Ok(())
        });
        if done.is_some() {
            self.end(key, Life::Ending);
        }
    }

    pub(super) fn reset_code(&mut self) -> StreamResetCode {
        match self.source.byte() {
            0..=199 => StreamResetCode::Cancelled,
            200..=229 => StreamResetCode::UnknownObjectStatus,
            _ => StreamResetCode::Other(self.source.number()),
        }
    }

    fn uri(&mut self) -> Bytes {
        match self.source.byte() {
            0..=127 => Bytes::new(),
            128..=249 => Bytes::from_static(b"moqt://next"),
            _ => vec![b'u'; self.source.len() * 3].into(),
        }
    }

    fn reads(&mut self) {
        let names: Vec<usize> =
            (0..self.streams.len()).filter(|name| self.streams[*name].incoming.is_open).collect();
        let Some(name) = self.source.pick(&names) else { return };
        match self.source.byte() {
            0..=199 => {
                let max = self.source.pick(&[usize::MAX, usize::MAX, 1, 5, 0]).unwrap_or(1);
                for _ in 0..=self.source.below(8) {
                    if !self.read_some(name, max) {
                        break;
                    }
                }
            }
            200..=239 => self.read_all(name),
            _ => {
                let code = self.reset_code();
                let key = self.streams[name].key;
                self.engine.stop(key, code);
                self.reach("stop");
            }
        }
    }

    fn says_something_else(&mut self) {
        let space = self.space();
        let fits = |known: &Known| {
            known.kind == RequestKind::SubscribeNamespace && !known.ours && known.answered
        };
        match self.source.below(16) {
            0..=5 => {
                let Some(key) = self.some_request(fits) else { return };
                let told = self.command("namespace", About::Request(key), |engine, now| {
                    engine.namespace(now, key, &space)
                });
                if let Some(Some(key)) = told {
                    self.advertised.insert(space, key);
                    if self.request(key).is_none() {
                        self.begun(Some(key), RequestKind::PublishNamespace);
                    }
                }
            }
            6..=8 => {
                let Some(key) = self.some_request(fits) else { return };
                let done = self.command("namespace_done", About::Request(key), |engine, now| {
                    engine.namespace_done(now, key, &space)
                });
                // On draft 14 that is the end of a request.
                if done.is_some()
                    && let Some(key) = self.advertised.remove(&space)
                {
                    self.end(key, Life::Over);
                }
            }
            9 => {
                let Some(key) = self.some_request(fits) else { return };
                let track = self.track();
                self.command("publish_blocked", About::Request(key), |engine, now| {
                    engine.publish_blocked(now, key, &track)
                });
            }
            10 => {
                if self.source.one_in(6) {
                    let uri = self.uri();
                    let timeout = Duration::from_millis(self.source.small(5) * 600);
                    self.command("goaway", About::Session, |engine, now| {
                        engine.goaway(now, uri, timeout)
                    });
                }
            }
            11 => {
                if self.source.one_in(40) {
                    self.engine.close(SessionError::NoError, "enough");
                }
            }
            12 => {
                let Some(key) = self.some_request(|_| true) else { return };
                let stats = self.engine.subscription_stats(key);
                assert!(stats.is_none() || self.life(key) != Life::Over);
                self.engine.stats();
            }
            13 => self.uses_stale_streams(),
            _ => {
                let Some(key) = self.some_request(|known| known.answered || known.ours) else {
                    return;
                };
                self.asks_publisher(key);
            }
        }
    }

    /// Calls with streams that are over, or that are for something else, do nothing.
    fn uses_stale_streams(&mut self) {
        let keys: Vec<StreamKey> = self.streams.iter().map(|stream| stream.key).collect();
        let Some(key) = self.source.pick(&keys) else { return };
        let name = self.name(key);
        let is_open = self.streams[name].incoming.is_open && !self.streams[name].incoming.is_over;
        if is_open {
            return;
        }
        let before = self.engine.usage();
        let read = self.engine.read(key, usize::MAX);
        assert_eq!(read, moqt_engine::Read::Gone, "stream {name}");
        let read = self.engine.read_fetch(key, usize::MAX);
        assert_eq!(read, moqt_engine::FetchRead::Gone, "stream {name}");
        self.engine.stop(key, StreamResetCode::Cancelled);
        assert_eq!(before, self.engine.usage(), "stream {name}");
    }
}

/// What a handle that is not given stands for: the request or stream is over, or not for this.
pub(super) const NOT_NOW: CommandError = CommandError::WrongState("there is no such handle now");
