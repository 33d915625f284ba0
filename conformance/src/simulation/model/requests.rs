//! Requests: who made which, how it was answered, and its last word at each end.

use moqt_engine::model::{Location, Parameters, RequestErrorCode, StreamResetCode};
use moqt_engine::{
    Answer, CommandError, Draft, IncomingRequest, RequestKey, SlowSubscriber, Timestamp,
};

use super::expiry::Expiry;
use super::fetches::Fetch;
use super::subscriptions::Subscription;
use super::{Checked, Model, Rule, TIMEOUT, must};
use crate::simulation::acts::serial_of;
use crate::simulation::history::{Ask, track_name};

/// A request, as both ends know it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) ask: Ask,
    pub(super) asker: usize,
    /// When, by the clock of each side.
    asked_at: [Timestamp; 2],
    /// The other end has been told of it.
    is_told: bool,
    /// The other end's application has accepted or refused it.
    pub(super) accepted: bool,
    refused: bool,
    pub(super) answer_told: bool,
    /// What the acceptance said.
    pub(super) largest: Option<Location>,
    expires: Option<u64>,
    /// By side: nothing more may be said of it.
    pub(super) over: [bool; 2],
    /// By side: when its application ended it. What the engine had to say before that may be
    /// told at the same time still.
    pub(super) left_at: [Option<Timestamp>; 2],
    /// By side: it was told that it came to nothing, or to an early end.
    pub(super) is_cut: [bool; 2],
    /// By side: its application ended it.
    pub(super) ended_by: [bool; 2],
    /// Something else has happened that may end it.
    pub(super) may_end: bool,
    /// By side: when it lets the subscription expire, by its clock, and what an update of the
    /// peer's extends that by.
    pub(super) expiry: [Option<Expiry>; 2],
    /// Updates that have not been answered, or told of.
    pub(super) updates: u32,
    pub(super) subscription: Option<Subscription>,
    pub(super) fetch: Option<Fetch>,
}

impl Request {
    fn side_of_asker(&self) -> usize {
        self.asker % 2
    }

    /// The application at an end has ended it.
    pub(super) fn end_at(&mut self, end: usize, now: Timestamp) {
        self.over[end % 2] = true;
        self.ended_by[end % 2] = true;
        self.left_at[end % 2] = Some(now);
    }

    /// Whether it has had its last word at a side, or needs none.
    fn has_ended(&self, side: usize) -> bool {
        self.over[side] || self.ended_by[side]
    }
}

impl Model<'_> {
    pub(super) fn asked(&mut self, end: usize, key: RequestKey, serial: u64, ask: &Ask) -> Checked {
        let subscription = match ask {
            Ask::Subscribe { track, parameters } => {
                Some(Subscription::new(*track, end ^ 1, parameters))
            }
            Ask::Publish { track, parameters } => {
                let mut subscription = Subscription::new(*track, end, parameters);
                subscription.begin(parameters.largest_object);
                // A namespace subscription that asks for the track says whether to forward.
                let is_asked_for = self
                    .requests
                    .iter()
                    .any(|other| other.asker == end ^ 1 && other.ask == Ask::SubscribeNamespace);
                subscription.pending = is_asked_for.then(Parameters::default);
                Some(subscription)
            }
            _ => None,
        };
        let fetch = match ask {
            Ask::Fetch { track, order } => Some(Fetch::new(*track, *order)),
            Ask::Join { joined, .. } => {
                let joined = self.request(end, *joined)?;
                let track = joined.subscription.as_ref().map(|subscription| subscription.track);
                track.map(|track| Fetch::new(track, None))
            }
            _ => None,
        };
        let number = self.requests.len();
        self.requests.push(Request {
            ask: ask.clone(),
            asker: end,
            asked_at: [self.clock(end & !1), self.clock(end | 1)],
            is_told: false,
            accepted: false,
            refused: false,
            answer_told: false,
            largest: None,
            expires: None,
            over: [false; 2],
            left_at: [None; 2],
            is_cut: [false; 2],
            ended_by: [false; 2],
            may_end: false,
            expiry: [None; 2],
            updates: 0,
            subscription,
            fetch,
        });
        if let Ask::Publish { parameters, .. } = ask {
            self.begin_expiry(end, number, parameters);
        }
        self.by_serial.insert(serial, number);
        let other = self.by_key.insert((end, key), number);
        must(other.is_none(), "request keys are used once", || format!("{key:?}"))
    }

    pub(super) fn told_request(
        &mut self,
        end: usize,
        key: RequestKey,
        what: &IncomingRequest,
    ) -> Checked {
        let (IncomingRequest::Subscribe { parameters, .. }
        | IncomingRequest::Publish { parameters, .. }
        | IncomingRequest::Fetch { parameters, .. }
        | IncomingRequest::TrackStatus { parameters, .. }
        | IncomingRequest::PublishNamespace { parameters, .. }
        | IncomingRequest::SubscribeNamespace { parameters, .. }) = what
        else {
            return Ok(());
        };
        let number = serial_of(parameters).and_then(|serial| self.by_serial.get(&serial)).copied();
        let Some(number) = number else {
            // On draft 14, `namespace` makes one that nobody asked for.
            let is_of_namespace = matches!(what, IncomingRequest::PublishNamespace { .. });
            return must(is_of_namespace, "a request was made", || format!("{what:?}"));
        };
        let joined = match &self.requests[number].ask {
            Ask::Join { joined, start } => Some((*joined, *start)),
            _ => None,
        };
        if let Some((joined, start)) = joined {
            self.check_join(end ^ 1, joined, start, what)?;
        }
        let request = &mut self.requests[number];
        must(request.asker == end ^ 1, "a request goes to the peer", || format!("{what:?}"))?;
        must(!request.is_told, "a request is told of once", || format!("{what:?}"))?;
        request.is_told = true;
        let track = match (&request.ask, what) {
            (
                Ask::Subscribe { track, parameters: asked },
                IncomingRequest::Subscribe { track: name, .. },
            )
            | (
                Ask::Publish { track, parameters: asked },
                IncomingRequest::Publish { track: name, .. },
            ) => {
                check_parameters(asked, parameters)?;
                Some((*track, name))
            }
            (Ask::Fetch { track, .. }, IncomingRequest::Fetch { track: name, .. })
            | (Ask::TrackStatus { track }, IncomingRequest::TrackStatus { track: name, .. }) => {
                Some((*track, name))
            }
            (Ask::Join { .. }, IncomingRequest::Fetch { .. })
            | (Ask::PublishNamespace, IncomingRequest::PublishNamespace { .. })
            | (Ask::SubscribeNamespace, IncomingRequest::SubscribeNamespace { .. }) => None,
            _ => return Err(Rule("a request is of the kind it was", format!("{what:?}"))),
        };
        if let Some((track, name)) = track {
            must(track_name(track).as_ref() == Some(name), "a request is of its track", || {
                format!("{name} is not track {track}")
            })?;
        }
        let other = self.by_key.insert((end, key), number);
        must(other.is_none(), "request keys are used once", || format!("{key:?}"))
    }

    pub(super) fn accepted(
        &mut self,
        end: usize,
        key: RequestKey,
        largest: Option<Location>,
        parameters: &Parameters,
    ) -> Checked {
        let now = self.now;
        let Ok(request) = self.live(end, key) else { return Ok(()) };
        request.accepted = true;
        request.largest = largest;
        match (&request.ask, &mut request.subscription) {
            (Ask::Subscribe { .. }, Some(subscription)) => {
                subscription.begin(largest);
                // Nothing that passes is still to come: it is refused instead.
                let is_past = subscription.is_past();
                request.may_end |= is_past;
            }
            (Ask::Publish { .. }, Some(subscription)) => {
                subscription.pending = Some(parameters.clone());
            }
            (Ask::TrackStatus { .. }, _) => request.end_at(end, now),
            _ => {}
        }
        request.expires = parameters.expires;
        if let Some(number) = self.number(end, key) {
            self.begin_expiry(end, number, parameters);
        }
        Ok(())
    }

    pub(super) fn refused(&mut self, end: usize, key: RequestKey) -> Checked {
        let now = self.now;
        if let Ok(request) = self.live(end, key) {
            request.refused = true;
            request.end_at(end, now);
        }
        Ok(())
    }

    pub(super) fn cancelled(&mut self, end: usize, key: RequestKey) -> Checked {
        let now = self.now;
        if let Ok(request) = self.live(end, key) {
            request.end_at(end, now);
        }
        Ok(())
    }

    pub(super) fn told_accepted(
        &mut self,
        end: usize,
        key: RequestKey,
        answer: &Answer,
    ) -> Checked {
        let Some(number) = self.number(end, key) else { return Ok(()) };
        let request = self.live(end, key)?;
        must(request.asker == end, "who asks is answered", || format!("{key:?}"))?;
        must(request.accepted, "what is told to be accepted was", || format!("{:?}", request.ask))?;
        must(!request.answer_told, "a request is answered once", || format!("{:?}", request.ask))?;
        request.answer_told = true;
        let (largest, expires) = (request.largest, request.expires);
        let told = answer.parameters.expires;
        // 0 means that it is not known.
        must(told.unwrap_or(0) == expires.unwrap_or(0), "the time that is left is told", || {
            format!("{told:?} is not {expires:?}")
        })?;
        match &request.ask {
            Ask::Subscribe { .. } | Ask::TrackStatus { .. } => {
                let told = answer.parameters.largest_object;
                must(told == largest, "the largest location is told", || {
                    format!("{told:?} is not {largest:?}")
                })?;
            }
            _ => {}
        }
        if matches!(request.ask, Ask::TrackStatus { .. })
            || request.fetch.as_ref().is_some_and(Fetch::is_over)
        {
            request.over[end % 2] = true;
        }
        if matches!(request.ask, Ask::Publish { .. })
            && let Some(subscription) = &mut request.subscription
        {
            subscription.settle_publish(&answer.parameters);
        }
        self.check_fetch_answer(number, answer)
    }

    /// The number of a request that the model knows. On draft 14, telling of a namespace makes
    /// requests by itself.
    fn number(&self, end: usize, key: RequestKey) -> Option<usize> {
        self.by_key.get(&(end, key)).copied()
    }

    pub(super) fn told_rejected(
        &mut self,
        end: usize,
        key: RequestKey,
        code: RequestErrorCode,
    ) -> Checked {
        let is_small = self.scenario.ends[end ^ 1].little.requests;
        let (now, link) = (self.clock(end), self.links[end / 2].clone());
        if self.number(end, key).is_none() {
            return Ok(());
        }
        let draft = self.scenario.draft;
        let is_past_join = matches!(
            code,
            RequestErrorCode::InvalidRange | RequestErrorCode::InvalidJoiningRequestId
        );
        let request = self.live(end, key)?;
        request.over[end % 2] = true;
        request.is_cut[end % 2] = true;
        let waited = now.saturating_since(request.asked_at[end % 2]);
        let is_explained = request.refused
            || match code {
                RequestErrorCode::Timeout => waited >= TIMEOUT,
                RequestErrorCode::GoingAway => link.goaway_sent,
                RequestErrorCode::ExcessiveLoad => is_small,
                // Draft 14 has no other word for a second subscription to a track.
                RequestErrorCode::InternalError => {
                    is_small || (draft < Draft::D16 && request.subscription.is_some())
                }
                RequestErrorCode::DuplicateSubscription => request.subscription.is_some(),
                RequestErrorCode::PrefixOverlap => request.ask == Ask::SubscribeNamespace,
                RequestErrorCode::NoObjects => request.fetch.as_ref().is_some_and(Fetch::is_empty),
                RequestErrorCode::InvalidRange => request.may_end || request.fetch.is_some(),
                _ => is_past_join && matches!(request.ask, Ask::Join { .. }),
            };
        must(is_explained, "a request does not fail for nothing", || {
            format!("{code} for {:?}", request.ask)
        })
    }

    pub(super) fn told_cancelled(
        &mut self,
        end: usize,
        key: RequestKey,
        code: StreamResetCode,
    ) -> Checked {
        let link_over = self.may_be_over(end);
        let slow = self.scenario.ends[end].slow;
        let peers_clock = self.clock(end ^ 1);
        if self.number(end, key).is_none() {
            return Ok(());
        }
        let request = self.live(end, key)?;
        request.over[end % 2] = true;
        request.is_cut[end % 2] = true;
        let is_explained = request.ended_by[(end + 1) % 2]
            || request.may_end
            || link_over
            || (code == StreamResetCode::TooFarBehind && slow == SlowSubscriber::End)
            || request.over[(end + 1) % 2]
            // It was refused at once, and that lay unread until the stream had to be closed.
            || (!request.is_told
                && peers_clock.saturating_since(request.asked_at[(end + 1) % 2]) >= TIMEOUT);
        must(is_explained, "a request does not end for nothing", || {
            format!("{code} for {:?}", request.ask)
        })
    }

    /// A command was not carried out.
    pub(super) fn failed(&mut self, end: usize, error: CommandError) -> Checked {
        let is_open = !self.may_be_over(end);
        match error {
            CommandError::Closed => {
                must(!is_open, "commands are not refused for nothing", || error.to_string())
            }
            CommandError::GoingAway => {
                let was_sent = self.links[end / 2].goaway_sent;
                must(was_sent, "commands are not refused for nothing", || error.to_string())
            }
            _ => Ok(()),
        }
    }

    /// What a fetch that joins a subscription asks for ends where that began.
    fn check_join(
        &mut self,
        asker: usize,
        joined: RequestKey,
        start: moqt_engine::model::JoiningStart,
        what: &IncomingRequest,
    ) -> Checked {
        use moqt_engine::model::JoiningStart;
        let IncomingRequest::Fetch { range, .. } = what else { return Ok(()) };
        let joined = self.request(asker, joined)?;
        // An update that has not been told of yet may have moved it.
        if joined.updates > 0 {
            return Ok(());
        }
        let largest =
            joined.subscription.as_ref().and_then(|subscription| subscription.joining_location);
        let Some(largest) = largest.filter(|_| joined.accepted) else {
            return Err(Rule("only what began can be joined", format!("{what:?}")));
        };
        let group = match start {
            JoiningStart::Relative(groups) => largest.group.saturating_sub(groups),
            JoiningStart::Absolute(group) => group,
        };
        let expected = moqt_engine::model::LocationRange::to_last(Location::new(group, 0), largest);
        must(*range == expected, "a joining fetch ends where the subscription began", || {
            format!("{range:?} is not {expected:?}")
        })
    }

    pub(super) fn stuck(&mut self, end: usize, key: RequestKey) -> Checked {
        let is_over = self.may_be_over(end) || self.is_crowded_out(end);
        let request = self.request(end, key)?;
        must(
            is_over || request.over.contains(&true) || request.ended_by.contains(&true),
            "what waits to be written is written in the end",
            || format!("{:?}", request.ask),
        )
    }

    /// Whether streams of a PUBLISH that the peer does not answer, which it does not read either,
    /// may take all the room there is on a narrow connection.
    fn is_crowded_out(&self, end: usize) -> bool {
        let link = &self.scenario.links[end / 2];
        let path = if end.is_multiple_of(2) { &link.up } else { &link.down };
        let is_unread = |request: &Request| {
            request.asker == end && matches!(request.ask, Ask::Publish { .. }) && !request.accepted
        };
        path.connection_window < 1024 * 1024 && self.requests.iter().any(is_unread)
    }

    /// Whether the peer's engine may have refused a PUBLISH without asking its application: there
    /// is a subscription to the track already.
    pub(super) fn is_refused_at_once(&self, request: &Request) -> bool {
        let Some(subscription) = &request.subscription else { return false };
        let is_rival = |other: &Request| {
            other.subscription.as_ref().is_some_and(|known| known.track == subscription.track)
        };
        !request.is_told && self.requests.iter().filter(|other| is_rival(other)).count() > 1
    }

    /// Each request has had its last word at both ends.
    pub(super) fn conclude_requests(&self) -> Checked {
        for request in &self.requests {
            let end = request.asker;
            if self.may_be_over_early(end) {
                continue;
            }
            if request.ask == Ask::PublishNamespace && request.may_end {
                // It may have been ended by the end of what was told of with it.
                continue;
            }
            let side = request.side_of_asker();
            must(request.has_ended(side), "who asks gets a last word", || {
                format!("{:?}", request.ask)
            })?;
            if request.is_told {
                must(request.has_ended(side ^ 1), "who was asked gets a last word", || {
                    format!("{:?}", request.ask)
                })?;
            }
        }
        Ok(())
    }
}

/// What was asked for is what is told.
fn check_parameters(asked: &Parameters, told: &Parameters) -> Checked {
    let same = |asked: bool, name: &str| {
        must(asked, "parameters arrive as they were given", || name.to_owned())
    };
    let kept = asked.subscription_filter.is_none()
        || asked.subscription_filter == told.subscription_filter;
    same(kept, "filter")?;
    same(
        asked
            .subscriber_priority
            .is_none_or(|priority| told.subscriber_priority.unwrap_or(128) == priority),
        "priority",
    )?;
    same(asked.group_order.is_none() || asked.group_order == told.group_order, "group order")
}
