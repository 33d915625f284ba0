//! The reference model: what the specification lets happen between applications that did what a
//! history says. It knows nothing of messages and bytes; each entry of the history either is
//! something that it expects, or breaks one of its rules.

#![expect(clippy::unnecessary_wraps, reason = "all entries are checked in the same way")]
#![expect(clippy::struct_excessive_bools, reason = "independent facts, not one state")]

mod conclusion;
mod expiry;
mod fetches;
mod objects;
mod requests;
mod streams;
mod subscriptions;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use moqt_engine::model::{Location, SessionError};
use moqt_engine::{CloseReason, Event, RequestKey, Timestamp};
use moqt_loopback::{Chunking, StreamId};

use super::history::{Ask, Entry, History, Object, What};
use super::scenario::{Scenario, Trouble};
use requests::Request;
use streams::Stream;

/// Something that must not have happened, or that should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The rule, always in the same words.
    pub rule: &'static str,
    /// What it was about.
    pub about: String,
    /// After how much of the history.
    pub entry: usize,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, after {} entries)", self.rule, self.about, self.entry)
    }
}

/// Whether a history may be that of a scenario; if not, the first rule that it breaks.
pub fn check(scenario: &Scenario, history: &History) -> Result<(), Broken> {
    let mut model = Model::new(scenario);
    for (number, entry) in history.entries.iter().enumerate() {
        model.now = entry.at;
        let checked = model.entry(entry);
        checked.map_err(|broken| broken.at(number + 1))?;
    }
    model.conclude(history).map_err(|broken| broken.at(history.entries.len()))
}

/// A broken rule, without where.
#[derive(Debug)]
struct Rule(&'static str, String);

impl Rule {
    fn at(self, entry: usize) -> Broken {
        Broken { rule: self.0, about: self.1, entry }
    }
}

type Checked = Result<(), Rule>;

/// A rule is broken unless this holds.
fn must(holds: bool, rule: &'static str, about: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Rule(rule, about())) }
}

#[derive(Debug)]
struct Model<'a> {
    scenario: &'a Scenario,
    now: Timestamp,
    /// By end: how far its clock is ahead, and when it leapt last.
    ahead: Vec<Duration>,
    leapt: Vec<Option<Timestamp>>,
    tracks: Vec<BTreeMap<Location, Object>>,
    requests: Vec<Request>,
    /// Requests by end and key.
    by_key: BTreeMap<(usize, RequestKey), usize>,
    by_serial: BTreeMap<u64, usize>,
    /// Streams of subgroups by link and number.
    streams: BTreeMap<(usize, StreamId), Stream>,
    links: Vec<Link>,
    /// By end: whether the session is set up there, and whether it is over.
    established: Vec<bool>,
    /// All requests have ended.
    is_settled: bool,
    closed: Vec<bool>,
    /// Subgroups that were refused for a reason that has to be told at the same time.
    unexplained: Vec<(Timestamp, usize, (u64, u64))>,
}

/// What may end a session.
#[derive(Clone, Debug, Default)]
struct Link {
    was_closed: bool,
    /// Before all requests had ended.
    was_closed_early: bool,
    was_cut: bool,
    /// It was closed because a control message was left incomplete.
    was_overdue: bool,
    /// By side: when the sender of a GOAWAY may close it, by its clock.
    goaway: [Option<Timestamp>; 2],
    goaway_sent: bool,
    /// Time that the transport stood still.
    stalled: Duration,
    has_troubles: bool,
}

impl<'a> Model<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        Self {
            scenario,
            now: Timestamp::ZERO,
            ahead: vec![Duration::ZERO; scenario.ends.len()],
            leapt: vec![None; scenario.ends.len()],
            tracks: scenario.tracks.iter().map(|_| BTreeMap::new()).collect(),
            requests: Vec::new(),
            by_key: BTreeMap::new(),
            by_serial: BTreeMap::new(),
            streams: BTreeMap::new(),
            links: scenario.links.iter().map(|_| Link::default()).collect(),
            established: vec![false; scenario.ends.len()],
            is_settled: false,
            unexplained: Vec::new(),
            closed: vec![false; scenario.ends.len()],
        }
    }

    fn entry(&mut self, entry: &Entry) -> Checked {
        let end = entry.end;
        if let Some((at, _, subgroup)) = self.unexplained.first() {
            must(*at == self.now, "what passes the filter is wanted", || format!("{subgroup:?}"))?;
        }
        match &entry.what {
            What::Produced { track, location, object } => {
                self.tracks[*track].insert(*location, object.clone());
                Ok(())
            }
            What::Asked { request, serial, ask } => self.asked(end, *request, *serial, ask),
            What::Accepted { request, largest, parameters } => {
                self.accepted(end, *request, *largest, parameters)
            }
            What::AcceptedFetch { request, range } => self.accepted_fetch(end, *request, *range),
            What::Refused { request } => self.refused(end, *request),
            What::Updated { request, parameters } => self.updated(end, *request, parameters),
            What::Cancelled { request } => self.cancelled(end, *request),
            What::NamespaceDone => {
                let of_namespace = |request: &&mut Request| {
                    request.asker == end && request.ask == Ask::PublishNamespace
                };
                for request in self.requests.iter_mut().filter(of_namespace) {
                    request.may_end = true;
                }
                Ok(())
            }
            What::Done { request } => self.done(end, *request),
            What::Opened { request, stream, options } => {
                self.opened(end, *request, *stream, *options)
            }
            What::NotWanted { request, options, location } => {
                self.not_wanted(end, *request, *options, *location)
            }
            What::Wrote { stream, header, written } => self.wrote(end, *stream, header, *written),
            What::Finished { stream } => {
                self.stream(end, *stream)?.finished = true;
                Ok(())
            }
            What::Reset { stream } => {
                self.stream(end, *stream)?.was_reset = true;
                Ok(())
            }
            What::Datagram { request, location, outcome } => {
                self.sent_datagram(end, *request, *location, *outcome)
            }
            What::FetchFinished { request } => self.fetch_finished(end, *request),
            What::Stopped { stream } => {
                self.stream(end, *stream)?.was_stopped = true;
                Ok(())
            }
            What::Goaway { millis } => {
                let at = self.clock(end).saturating_add(Duration::from_millis(*millis));
                let link = &mut self.links[end / 2];
                link.goaway_sent = true;
                if *millis > 0 {
                    link.goaway[end % 2] = Some(at);
                }
                Ok(())
            }
            What::GoawayRequest { request } => {
                self.request(end, *request)?.may_end = true;
                Ok(())
            }
            What::Closed => {
                let link = &mut self.links[end / 2];
                link.was_closed = true;
                link.was_closed_early |= !self.is_settled;
                Ok(())
            }
            What::Fault { trouble, stream } => self.trouble(end, *trouble, *stream),
            What::Told { event, stream } => self.told(end, event, *stream),
            What::Read { stream, read } => self.read(end, *stream, read),
            What::FetchRead { request, read } => self.fetch_read(end, *request, read),
            What::Failed { error, .. } => self.failed(end, *error),
            What::Stuck { request } => self.stuck(end, *request),
            What::Settled => {
                self.is_settled = true;
                Ok(())
            }
        }
    }

    fn trouble(&mut self, end: usize, trouble: Trouble, stream: Option<StreamId>) -> Checked {
        let link = &mut self.links[end / 2];
        link.has_troubles |= !matches!(trouble, Trouble::Leap { .. });
        match trouble {
            Trouble::Leap { millis } => {
                self.ahead[end] += Duration::from_millis(millis);
                self.leapt[end] = Some(self.now);
            }
            Trouble::Disconnect => link.was_cut = true,
            Trouble::ResetStream { .. } | Trouble::StopSending { .. } => {
                if let Some(stream) = stream {
                    self.stream(end, stream)?.was_hit = true;
                }
            }
            Trouble::Stall { millis }
            | Trouble::StopReading { millis }
            | Trouble::RefuseStreams { millis }
            | Trouble::HoldDatagrams { millis } => {
                link.stalled += Duration::from_millis(millis);
            }
        }
        Ok(())
    }

    /// What the clock at an end shows.
    fn clock(&self, end: usize) -> Timestamp {
        self.now.saturating_add(self.ahead[end])
    }

    /// Whether the session between two ends may be over for a reason that the model knows.
    fn may_be_over(&self, end: usize) -> bool {
        let link = &self.links[end / 2];
        link.was_closed || link.was_cut || link.was_overdue || self.is_goaway_over(end)
    }

    /// Whether the time that the sender of a GOAWAY gave its peer has passed.
    fn is_goaway_over(&self, end: usize) -> bool {
        let client = end & !1;
        let goaway = self.links[end / 2].goaway;
        [client, client | 1]
            .into_iter()
            .zip(goaway)
            .any(|(sender, at)| at.is_some_and(|at| self.clock(sender) >= at))
    }

    /// Whether a control message may have been on its way in parts when the clock leapt: its
    /// rest does not come in time then.
    fn may_lack_message(&self, end: usize) -> bool {
        let link = &self.scenario.links[end / 2];
        let path = if end.is_multiple_of(2) { &link.down } else { &link.up };
        let is_cut_up = path.chunking != Chunking::AsWritten
            || path.bandwidth.is_some()
            || path.connection_window < 1024 * 1024
            || self.links[end / 2].has_troubles;
        let leapt = self.leapt[end].is_some_and(|at| self.now.saturating_since(at) <= TIMEOUT);
        is_cut_up && leapt
    }

    fn told(&mut self, end: usize, event: &Event, stream: Option<StreamId>) -> Checked {
        must(!self.closed[end], "nothing follows the end of a session", || format!("{event:?}"))?;
        match event {
            Event::Established { .. } => {
                let was = core::mem::replace(&mut self.established[end], true);
                must(!was, "a session is set up once", || format!("end {end}"))
            }
            Event::Closed { reason } => self.told_closed(end, reason),
            Event::Goaway { .. } => {
                must(self.links[end / 2].goaway_sent, "a GOAWAY was sent", || format!("end {end}"))
            }
            Event::Request { request, what } => self.told_request(end, *request, what),
            Event::Accepted { request, answer } => self.told_accepted(end, *request, answer),
            Event::Rejected { request, error } => self.told_rejected(end, *request, error.code),
            Event::Cancelled { request, code, .. } => self.told_cancelled(end, *request, *code),
            Event::SubscriptionDone { request, missing_streams, .. } => {
                self.told_done(end, *request, *missing_streams)
            }
            Event::TrackMalformed { rule, location, .. } => {
                Err(Rule("no track is malformed", format!("{rule:?} at {location}")))
            }
            Event::Updated { request, parameters } => self.told_updated(end, *request, parameters),
            Event::UpdateAccepted { request, .. } => self.told_update_answer(end, *request, true),
            Event::UpdateRejected { request, .. } => self.told_update_answer(end, *request, false),
            Event::SubgroupOpened { request, subgroup, .. } => {
                self.told_subgroup(end, *request, stream, subgroup)
            }
            Event::SubgroupStopped { request, .. } => self.told_stopped(end, *request, stream),
            Event::SubgroupGivenUp { request, reason, .. } => {
                self.told_given_up(end, *request, stream, *reason)
            }
            Event::Expired { request } => self.told_expired(end, *request),
            Event::Datagram { request, object } => self.told_datagram(end, *request, object),
            Event::DatagramDropped { request, .. } => self.told_dropped(end, *request),
            Event::FetchOpened { request, .. } => self.told_fetch_opened(end, *request),
            Event::RequestGoaway { request, .. } => {
                self.live(end, *request)?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn told_closed(&mut self, end: usize, reason: &CloseReason) -> Checked {
        self.closed[end] = true;
        let link = &self.links[end / 2];
        let is_explained = match reason {
            CloseReason::Local { error: SessionError::GoawayTimeout, .. }
            | CloseReason::Peer { error: SessionError::GoawayTimeout, .. } => {
                self.is_goaway_over(end)
            }
            CloseReason::Local { error: SessionError::ControlMessageTimeout, .. } => {
                self.may_lack_message(end)
            }
            CloseReason::Peer { error: SessionError::ControlMessageTimeout, .. } => {
                link.was_overdue
            }
            CloseReason::Transport { .. } => link.was_cut,
            reason => reason.is_clean() && link.was_closed,
        };
        let is_overdue =
            matches!(reason, CloseReason::Local { error: SessionError::ControlMessageTimeout, .. });
        self.links[end / 2].was_overdue |= is_overdue;
        must(is_explained, "a session does not end for nothing", || reason.to_string())
    }

    fn request(&mut self, end: usize, key: RequestKey) -> Result<&mut Request, Rule> {
        let number = self.by_key.get(&(end, key)).copied();
        let request = number.and_then(|number| self.requests.get_mut(number));
        request.ok_or_else(|| Rule("requests are known", format!("{key:?} at end {end}")))
    }

    /// A request that is not over at this end.
    fn live(&mut self, end: usize, key: RequestKey) -> Result<&mut Request, Rule> {
        let now = self.now;
        let request = self.request(end, key)?;
        if request.over[end % 2] && request.left_at[end % 2] != Some(now) {
            return Err(Rule(
                "nothing follows a request's last word",
                format!("{key:?} at end {end}"),
            ));
        }
        Ok(request)
    }

    fn stream(&mut self, end: usize, id: StreamId) -> Result<&mut Stream, Rule> {
        let stream = self.streams.get_mut(&(end / 2, id));
        stream.ok_or_else(|| Rule("streams are known", format!("{id:?} at end {end}")))
    }
}

/// What the engine waits for longest: answers, the rest of control messages.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Locations that have been given out once.
type Seen = BTreeSet<Location>;
