//! The steps of a scenario, carried out.

use std::time::Duration;

use moqt_engine::model::{
    AuthToken, FullTrackName, Location, LocationRange, Parameters, StreamResetCode, TrackNamespace,
};
use moqt_engine::{
    CommandError, Draft, FetchTarget, IncomingRequest, MoqtConnection, RequestKey, StreamKey,
    Timestamp,
};
use moqt_loopback::{Fault, StreamId};

use super::history::{Ask, CUT, What, track_name};
use super::publishing::Sending;
use super::run::{Later, Run};
use super::scenario::{Act, Trouble};

/// The type of the token that says which request it is. Its meaning is agreed between the two
/// applications.
const SERIAL_TOKEN: u64 = 0;

/// The request that parameters belong to, by its serial number.
pub(super) fn serial_of(parameters: &Parameters) -> Option<u64> {
    parameters.authorization_tokens.iter().find_map(|token| match token {
        AuthToken::UseValue { token_type: SERIAL_TOKEN, value } => {
            Some(u64::from_be_bytes(value.as_ref().try_into().ok()?))
        }
        _ => None,
    })
}

impl Run<'_> {
    pub(super) fn act(&mut self, end: usize, act: &Act) {
        match act {
            Act::Subscribe { track, wish } => {
                let Some(name) = self.name(*track) else { return };
                let parameters = wish.parameters();
                let ask = Ask::Subscribe { track: *track, parameters: parameters.clone() };
                self.ask(end, ask, parameters, |connection, now, parameters| {
                    connection.subscribe(now, &name, parameters)
                });
            }
            Act::Publish { track, forward } => self.publish(end, *track, *forward),
            Act::Fetch { track, start, groups, whole, order } => {
                let Some(name) = self.name(*track) else { return };
                let last = start.group + groups;
                let end_object = if *whole { 0 } else { start.object + 2 };
                let range = LocationRange::new(*start, Location::new(last, end_object));
                let target = FetchTarget::Standalone { track: name, range };
                let mut parameters = Parameters::default();
                parameters.group_order = *order;
                let ask = Ask::Fetch { track: *track, order: *order };
                self.ask(end, ask, parameters, |connection, now, parameters| {
                    connection.fetch(now, &target, parameters)
                });
            }
            Act::Join { pick, start } => {
                let own = self.ends[end].own.iter();
                let fit = own.filter(|(_, ask)| matches!(ask, Ask::Subscribe { .. }));
                let Some(subscription) = chosen(fit.map(|(request, _)| *request), *pick) else {
                    return;
                };
                let target = FetchTarget::Joining { subscription, start: *start };
                let ask = Ask::Join { joined: subscription, start: *start };
                self.ask(end, ask, Parameters::default(), |connection, now, parameters| {
                    connection.fetch(now, &target, parameters)
                });
            }
            Act::TrackStatus { track } => {
                let Some(name) = self.name(*track) else { return };
                let ask = Ask::TrackStatus { track: *track };
                self.ask(end, ask, Parameters::default(), |connection, now, parameters| {
                    connection.track_status(now, &name, parameters)
                });
            }
            Act::PublishNamespace { which } => {
                let Some(namespace) = namespace(*which) else { return };
                let ask = Ask::PublishNamespace;
                self.ask(end, ask, Parameters::default(), |connection, now, parameters| {
                    connection.publish_namespace(now, &namespace, parameters)
                });
            }
            Act::SubscribeNamespace { which, interest } => {
                let Some(prefix) = namespace(*which) else { return };
                let ask = Ask::SubscribeNamespace;
                self.ask(end, ask, Parameters::default(), |connection, now, parameters| {
                    connection.subscribe_namespace(now, &prefix, *interest, parameters)
                });
            }
            Act::Namespace { pick, which } => {
                self.tell_namespace(end, *pick, *which, |connection, now, request, namespace| {
                    connection.namespace(now, request, namespace).map(|_| ())
                });
            }
            Act::NamespaceDone { pick, which } => {
                if self.tell_namespace(end, *pick, *which, MoqtConnection::namespace_done) {
                    self.record(end, What::NamespaceDone);
                }
            }
            Act::Update { pick, wish } => {
                let own = self.ends[end].own.keys();
                let accepted = self.ends[end].accepted.iter();
                let received =
                    accepted.filter(|(_, what)| matches!(what, IncomingRequest::Publish { .. }));
                let fit = own.chain(received.map(|(request, _)| request)).copied();
                let Some(request) = chosen(fit, *pick) else { return };
                let mut parameters = wish.parameters();
                parameters.group_order = None;
                let updated = self.network.with(self.ends[end].id, |connection, now| {
                    connection.update(now, request, &parameters)
                });
                match updated {
                    Ok(_) => self.record(end, What::Updated { request, parameters }),
                    Err(error) => self.record(end, What::Failed { request: Some(request), error }),
                }
            }
            Act::Cancel { pick } => {
                let own = self.ends[end].own.keys();
                let fit = own.chain(self.ends[end].accepted.keys()).copied();
                if let Some(request) = chosen(fit, *pick) {
                    self.cancel(end, request);
                }
            }
            Act::Done { pick } => {
                if let Some(request) = chosen(self.ends[end].sending.keys().copied(), *pick) {
                    self.done(end, request);
                }
            }
            Act::Produce { track, burst } => {
                let Some(plan) = self.scenario.tracks.get(*track) else { return };
                let news = self.tracks[*track].produce(self.scenario.draft, *track, plan, burst);
                self.publish_news(*track, &news);
            }
            Act::FinishGroup { track } => {
                let Some(known) = self.tracks.get_mut(*track) else { return };
                let news = known.complete_largest();
                self.publish_news(*track, &news);
            }
            Act::Reset { pick } => {
                let sending = self.ends[end].sending.iter();
                let streams = sending.flat_map(|(request, sending): (&RequestKey, &Sending)| {
                    sending.streams().map(|stream| (*request, stream))
                });
                if let Some((request, stream)) = chosen(streams, *pick) {
                    self.reset(end, request, stream);
                }
            }
            Act::Stop { pick } => {
                if let Some((key, stream)) = self.receiving(end, *pick) {
                    self.record(end, What::Stopped { stream });
                    self.network.with(self.ends[end].id, |connection, _| connection.stop(key, CUT));
                    self.ends[end].reading.remove(&key);
                }
            }
            Act::Pause { millis } => {
                let until = self.network.now().saturating_add(Duration::from_millis(*millis));
                self.ends[end].paused_until = until;
                self.put_off(end, *millis, Later::Resume);
            }
            Act::Goaway { millis } => {
                let sent = self.network.with(self.ends[end].id, |connection, now| {
                    connection.goaway(now, "".into(), Duration::from_millis(*millis))
                });
                if sent.is_ok() {
                    self.record(end, What::Goaway { millis: *millis });
                }
            }
            Act::GoawayRequest { pick, millis } => {
                let own = self.ends[end].own.keys();
                let fit = own
                    .chain(self.ends[end].accepted.keys())
                    .chain(self.ends[end].sending.keys())
                    .copied();
                let Some(request) = chosen(fit, *pick) else { return };
                let timeout = Duration::from_millis(*millis);
                let sent = self.network.with(self.ends[end].id, |connection, now| {
                    connection.goaway_request(now, request, "".into(), timeout)
                });
                if sent.is_ok() {
                    self.record(end, What::GoawayRequest { request });
                }
            }
            Act::Close => self.close(end),
            Act::Fault(trouble) => self.trouble(end, *trouble),
        }
    }

    fn name(&self, track: usize) -> Option<FullTrackName> {
        track_name(track).filter(|_| track < self.tracks.len())
    }

    /// Begins a request, with its serial number.
    fn ask(
        &mut self,
        end: usize,
        ask: Ask,
        mut parameters: Parameters,
        command: impl FnOnce(
            &mut MoqtConnection,
            Timestamp,
            &Parameters,
        ) -> Result<RequestKey, CommandError>,
    ) -> Option<RequestKey> {
        let serial = self.serial;
        self.serial += 1;
        let value = serial.to_be_bytes().to_vec().into();
        parameters.authorization_tokens =
            vec![AuthToken::UseValue { token_type: SERIAL_TOKEN, value }];
        let asked = self
            .network
            .with(self.ends[end].id, |connection, now| command(connection, now, &parameters));
        match asked {
            Ok(request) => {
                self.ends[end].own.insert(request, ask.clone());
                self.record(end, What::Asked { request, serial, ask });
                Some(request)
            }
            Err(error) => {
                self.record(end, What::Failed { request: None, error });
                None
            }
        }
    }

    fn publish(&mut self, end: usize, track: usize, forward: Option<bool>) {
        let Some(name) = self.name(track) else { return };
        let mut parameters = Parameters::default();
        parameters.forward = forward;
        parameters.largest_object = self.tracks[track].largest();
        if self.scenario.draft >= Draft::D16 {
            parameters.expires = self.scenario.ends[end].expires;
        }
        let properties = self.track_properties(track);
        let ask = Ask::Publish { track, parameters: parameters.clone() };
        let asked = self.ask(end, ask, parameters, |connection, now, parameters| {
            connection.publish(now, &name, parameters, &properties)
        });
        if let Some(request) = asked {
            self.ends[end].sending.insert(request, Sending::new(track));
            self.when_slow(end, request);
        }
    }

    fn tell_namespace(
        &mut self,
        end: usize,
        pick: usize,
        which: u8,
        command: impl FnOnce(
            &mut MoqtConnection,
            Timestamp,
            RequestKey,
            &TrackNamespace,
        ) -> Result<(), CommandError>,
    ) -> bool {
        let accepted = self.ends[end].accepted.iter();
        let fit =
            accepted.filter(|(_, what)| matches!(what, IncomingRequest::SubscribeNamespace { .. }));
        let Some(request) = chosen(fit.map(|(request, _)| *request), pick) else {
            return false;
        };
        let Some(namespace) = namespace(which) else { return false };
        let told = self.network.with(self.ends[end].id, |connection, now| {
            command(connection, now, request, &namespace)
        });
        if let Err(error) = told {
            self.record(end, What::Failed { request: None, error });
        }
        told.is_ok()
    }

    fn cancel(&mut self, end: usize, request: RequestKey) {
        let id = self.ends[end].id;
        let cancelled = self.network.with(id, |connection, now| {
            connection.cancel(now, request, StreamResetCode::Cancelled)
        });
        match cancelled {
            Ok(()) => {
                self.record(end, What::Cancelled { request });
                self.ends[end].forget(request);
            }
            Err(error) => self.record(end, What::Failed { request: Some(request), error }),
        }
    }

    /// Ends all requests.
    pub(super) fn end_requests(&mut self, end: usize) {
        let unanswered: Vec<RequestKey> = self.ends[end].unanswered.keys().copied().collect();
        for request in unanswered {
            self.answer(end, request);
        }
        let own = self.ends[end].own.keys();
        let all: Vec<RequestKey> = own.chain(self.ends[end].accepted.keys()).copied().collect();
        for request in all {
            self.cancel(end, request);
        }
        self.end_publishing(end);
    }

    fn receiving(&self, end: usize, pick: usize) -> Option<(StreamKey, StreamId)> {
        let reading = self.ends[end].reading.iter();
        let subgroups = reading.filter(|(_, (_, fetch))| fetch.is_none());
        chosen(subgroups.map(|(key, (id, _))| (*key, *id)), pick)
    }

    fn trouble(&mut self, end: usize, trouble: Trouble) {
        let for_millis = Duration::from_millis;
        let (stream, fault) = match trouble {
            Trouble::ResetStream { pick } => {
                let Some((key, stream)) = self.receiving(end, pick) else { return };
                (Some(stream), Fault::ResetStream { stream: Some(key), code: 1 })
            }
            Trouble::StopSending { pick } => {
                let sending = self.ends[end].sending.values();
                let streams = sending.flat_map(Sending::streams);
                let Some(key) = chosen(streams, pick) else { return };
                let stream = self.ends[end].opened.get(&key).copied();
                (stream, Fault::StopSending { stream: Some(key), code: 1 })
            }
            Trouble::Disconnect => (None, Fault::Disconnect { reason: "a fault".into() }),
            Trouble::Leap { millis } => (None, Fault::Leap { by: for_millis(millis) }),
            Trouble::Stall { millis } => (None, Fault::Stall { lasting: for_millis(millis) }),
            Trouble::StopReading { millis } => {
                (None, Fault::StopReading { lasting: for_millis(millis) })
            }
            Trouble::RefuseStreams { millis } => {
                (None, Fault::RefuseStreams { lasting: for_millis(millis) })
            }
            Trouble::HoldDatagrams { millis } => {
                (None, Fault::HoldDatagrams { lasting: for_millis(millis) })
            }
        };
        self.record(end, What::Fault { trouble, stream });
        self.network.inject(self.ends[end].id, fault);
    }
}

/// One of several.
fn chosen<T>(from: impl Iterator<Item = T>, pick: usize) -> Option<T> {
    let all: Vec<T> = from.collect();
    let at = pick.checked_rem(all.len())?;
    all.into_iter().nth(at)
}

fn namespace(which: u8) -> Option<TrackNamespace> {
    let fields: &[&[u8]] = match which {
        0 => &[b"sim"],
        1 => &[b"sim", b"a"],
        2 => &[b"sim", b"b"],
        _ => &[b"other", b"c"],
    };
    TrackNamespace::new(fields).ok()
}
