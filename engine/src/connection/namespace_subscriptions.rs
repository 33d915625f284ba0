//! Asking for namespaces and tracks, and telling of them (draft-18, "Subscribing to
//! Namespaces").

use alloc::format;
use alloc::vec::Vec;

use super::MoqtConnection;
use super::requests::PendingAnswer;
use crate::error::CommandError;
use crate::event::{Event, IncomingRequest};
use crate::key::{RequestKey, StreamKey};
use crate::link::Violation;
use crate::model::{
    FullTrackName, Message, MessageKind, Namespace, NamespaceDone, NamespaceInterest, Parameters,
    PublishBlocked, RequestErrorCode, RequestKind, StreamResetCode, SubscribeNamespace,
    SubscribeTracks, TrackNamespace,
};
use crate::request::{Body, NamespaceSubscription, Phase, Space, Unfit};
use crate::time::Timestamp;
use crate::wire::{EncodeError, encode_message};

impl MoqtConnection {
    /// Asks to be told of namespaces, or offered tracks, under a prefix (draft-18,
    /// "SUBSCRIBE_NAMESPACE" and "SUBSCRIBE_TRACKS"). The prefix of no fields stands for
    /// everything. [`Event::Accepted`] or [`Event::Rejected`] tells how it went;
    /// [`cancel`](Self::cancel) ends it.
    ///
    /// Namespaces come as [`Event::Namespace`], tracks as [`IncomingRequest::Publish`]. The
    /// drafts differ in what one request can ask for:
    ///
    /// - Draft 14 knows one kind, which asks for both whatever `interest` says. Namespaces come
    ///   as [`IncomingRequest::PublishNamespace`] there, and the prefix has at least one field.
    /// - Draft 16 asks for what `interest` says.
    /// - Draft 18 has a request for each, and none for both: `Both` is
    ///   [`Encode`](CommandError::Encode), ask twice.
    ///
    /// Prefixes of which one begins with the other cannot be subscribed to at a time; in draft 18
    /// that goes for requests of the same kind.
    pub fn subscribe_namespace(
        &mut self,
        now: Timestamp,
        prefix: &TrackNamespace,
        interest: NamespaceInterest,
        parameters: &Parameters,
    ) -> Result<RequestKey, CommandError> {
        let Some((kind, interest)) = self.link.namespace_request(self.dialect, interest) else {
            let (what, draft) = ("namespaces and tracks in one request", self.dialect.draft);
            return Err(CommandError::Encode(EncodeError::NotInDraft { what, draft }));
        };
        if self.requests.prefixes.overlapping(Space::new(true, kind), prefix).is_some() {
            return Err(CommandError::WrongState("another namespace subscription overlaps"));
        }
        let message = |request_id| {
            let (prefix, parameters) = (prefix.clone(), parameters.clone());
            if kind == RequestKind::SubscribeTracks {
                Message::SubscribeTracks(SubscribeTracks { request_id, prefix, parameters })
            } else {
                let subscribe = SubscribeNamespace { request_id, prefix, interest, parameters };
                Message::SubscribeNamespace(subscribe)
            }
        };
        let subscription = NamespaceSubscription::new(kind, prefix.clone(), interest, None);
        self.begin_request(now, kind, message, Body::NamespaceSubscription(subscription))
    }

    /// What a [namespace subscription](Self::subscribe_namespace) with this interest asks for: in
    /// draft 14 both, whatever it says. `None` if the draft has no such request, but one for each.
    pub fn namespace_interest(&self, interest: NamespaceInterest) -> Option<NamespaceInterest> {
        self.link.namespace_request(self.dialect, interest).map(|(_, interest)| interest)
    }

    /// Our namespace subscription that a namespace, or the namespace of a track, was asked for
    /// with, if there is one with this interest.
    pub fn namespace_subscription(
        &self,
        namespace: &TrackNamespace,
        interest: NamespaceInterest,
    ) -> Option<RequestKey> {
        let find = |kind| {
            let key = self.requests.prefixes.covering(Space::new(true, kind), namespace)?;
            let (_, subscription) = self.requests.namespace_subscription(key)?;
            let has_interest = match interest {
                NamespaceInterest::Namespaces => subscription.wants_namespaces(),
                NamespaceInterest::Tracks => subscription.wants_tracks(),
                NamespaceInterest::Both => {
                    subscription.wants_namespaces() && subscription.wants_tracks()
                }
            };
            has_interest.then_some(key)
        };
        find(RequestKind::SubscribeNamespace).or_else(|| find(RequestKind::SubscribeTracks))
    }

    /// Tells the peer of a namespace under the prefix of a namespace subscription that was
    /// accepted (draft-18, "NAMESPACE").
    ///
    /// Draft 14 has no such message: the namespace is advertised with
    /// [`publish_namespace`](Self::publish_namespace) if it is not yet, and that request is
    /// returned. It outlives the namespace subscription.
    ///
    /// If the peer reads so little that too much waits to be sent to it
    /// ([`Limits::control_send`](crate::Limits::control_send)), the subscription is reset, as
    /// drafts let a publisher do: this gives [`Gone`](CommandError::Gone), and
    /// [`Event::Cancelled`] with EXCESSIVE_LOAD follows.
    pub fn namespace(
        &mut self,
        now: Timestamp,
        request: RequestKey,
        namespace: &TrackNamespace,
    ) -> Result<Option<RequestKey>, CommandError> {
        let (stream, suffix) = self.told_under(request, namespace, true)?;
        if self.dialect.message_code(MessageKind::Namespace).is_none() {
            if let Some(advertised) = self.requests.namespace(namespace, true) {
                return Ok(Some(advertised));
            }
            return self.publish_namespace(now, namespace, &Parameters::default()).map(Some);
        }
        self.may_publish_under(namespace)?;
        if namespace.len() < self.dialect.min_namespace_fields {
            return Err(CommandError::WrongState("a namespace of no fields"));
        }
        let known = self.requests.namespace_subscription(request);
        if known.is_some_and(|(_, subscription)| subscription.told.contains(namespace)) {
            return Err(CommandError::WrongState("the peer was told of the namespace already"));
        }
        self.tell_subscriber(now, request, stream, &Message::Namespace(Namespace { suffix }))?;
        self.requests.tell(request, namespace.clone());
        Ok(None)
    }

    /// Tells the peer that a namespace it was told of is gone (draft-18, "NAMESPACE_DONE"). In
    /// draft 14 the PUBLISH_NAMESPACE of it ends.
    pub fn namespace_done(
        &mut self,
        now: Timestamp,
        request: RequestKey,
        namespace: &TrackNamespace,
    ) -> Result<(), CommandError> {
        let untold = CommandError::WrongState("the peer was not told of the namespace");
        let (stream, suffix) = self.told_under(request, namespace, true)?;
        if self.dialect.message_code(MessageKind::NamespaceDone).is_none() {
            let advertised = self.requests.namespace(namespace, true).ok_or(untold)?;
            return self.cancel(now, advertised, StreamResetCode::Cancelled);
        }
        let known = self.requests.namespace_subscription(request);
        if !known.is_some_and(|(_, subscription)| subscription.told.contains(namespace)) {
            return Err(untold);
        }
        let message = Message::NamespaceDone(NamespaceDone { suffix });
        self.tell_subscriber(now, request, stream, &message)?;
        self.requests.untell(request, namespace);
        Ok(())
    }

    /// Tells the peer that a track it asked for cannot be offered for want of streams (draft-18,
    /// "PUBLISH_BLOCKED"). The track cannot be offered after that for as long as the
    /// subscription lasts; the peer may subscribe to it. Other drafts cannot say this.
    pub fn publish_blocked(
        &mut self,
        now: Timestamp,
        request: RequestKey,
        track: &FullTrackName,
    ) -> Result<(), CommandError> {
        let (stream, suffix) = self.told_under(request, track.namespace(), false)?;
        let Ok(suffix) = FullTrackName::new(suffix, track.name().clone()) else {
            return Err(CommandError::WrongState("a name that is too long"));
        };
        let message = Message::PublishBlocked(PublishBlocked { track: suffix });
        self.tell_subscriber(now, request, stream, &message)?;
        if let Some(subscription) = self.requests.namespace_subscription_mut(request) {
            subscription.blocked.insert(track.clone());
        }
        Ok(())
    }

    /// Where to tell of a namespace, and what of it to say.
    fn told_under(
        &self,
        request: RequestKey,
        namespace: &TrackNamespace,
        of_namespaces: bool,
    ) -> Result<(Option<StreamKey>, TrackNamespace), CommandError> {
        if self.is_closed() {
            return Err(CommandError::Closed);
        }
        self.requests.get(request).ok_or(CommandError::Gone)?;
        let found = self.requests.namespace_subscription(request);
        let (found, subscription) = found
            .filter(|(found, _)| !found.ours)
            .ok_or(CommandError::WrongState("not a namespace subscription of the peer's"))?;
        if found.phase == Phase::Pending {
            return Err(CommandError::WrongState("accept the request first"));
        }
        let wanted = if of_namespaces {
            subscription.wants_namespaces()
        } else {
            subscription.wants_tracks()
        };
        if !wanted {
            return Err(CommandError::WrongState("the peer did not ask for this"));
        }
        let suffix = namespace
            .strip_prefix(&subscription.prefix)
            .ok_or(CommandError::WrongState("not under the prefix that the peer asked for"))?;
        Ok((found.stream, suffix))
    }

    /// Sends a message on a namespace subscription's stream, unless the peer reads too little.
    fn tell_subscriber(
        &mut self,
        now: Timestamp,
        request: RequestKey,
        stream: Option<StreamKey>,
        message: &Message,
    ) -> Result<(), CommandError> {
        let mut encoded = Vec::new();
        encode_message(self.dialect, message, &mut encoded)?;
        let queued = self.streams.control_queued.saturating_add(encoded.len());
        if queued > self.config.limits.control_send {
            let code = StreamResetCode::ExcessiveLoad;
            self.withdraw(now, request, code);
            self.events.push_back(Event::Cancelled { request, code, error: None });
            return Err(CommandError::Gone);
        }
        if let Some(stream) = stream {
            self.streams.send_control(stream, &encoded, &mut self.trace);
        }
        Ok(())
    }

    pub(super) fn on_subscribe_namespace(
        &mut self,
        answer_to: PendingAnswer,
        subscribe: SubscribeNamespace,
    ) {
        let SubscribeNamespace { request_id: _, prefix, interest, parameters } = subscribe;
        self.on_namespace_subscription(answer_to, prefix, interest, parameters);
    }

    pub(super) fn on_subscribe_tracks(
        &mut self,
        answer_to: PendingAnswer,
        subscribe: SubscribeTracks,
    ) {
        let SubscribeTracks { request_id: _, prefix, parameters } = subscribe;
        let interest = NamespaceInterest::Tracks;
        self.on_namespace_subscription(answer_to, prefix, interest, parameters);
    }

    fn on_namespace_subscription(
        &mut self,
        answer_to: PendingAnswer,
        prefix: TrackNamespace,
        interest: NamespaceInterest,
        parameters: Parameters,
    ) {
        let kind = answer_to.kind;
        // One that waits for its answer counts, too: a subscriber cannot have both.
        if self.requests.prefixes.overlapping(Space::new(false, kind), &prefix).is_some() {
            let code = RequestErrorCode::PrefixOverlap;
            self.refuse(answer_to, code, "the prefix overlaps with another subscription's");
            return;
        }
        let limit = self.config.limits.open_namespace_subscriptions;
        let open = [RequestKind::SubscribeNamespace, RequestKind::SubscribeTracks]
            .map(|kind| self.requests.open_by_peer_of(kind));
        if open.into_iter().sum::<u32>() >= limit {
            let code = RequestErrorCode::ExcessiveLoad;
            self.refuse(answer_to, code, "too many namespace subscriptions");
            return;
        }
        let has_forward = !self.dialect.fixed_fields && interest != NamespaceInterest::Namespaces;
        let forward = has_forward.then(|| parameters.forward.unwrap_or(true));
        let subscription = NamespaceSubscription::new(kind, prefix.clone(), interest, forward);
        let request = self.register(answer_to, Body::NamespaceSubscription(subscription));
        let what = IncomingRequest::SubscribeNamespace { prefix, interest, parameters };
        self.events.push_back(Event::Request { request, what });
    }

    /// UNSUBSCRIBE_NAMESPACE. One of a subscription that was refused crosses with the refusal.
    pub(super) fn on_unsubscribe_namespace(&mut self, now: Timestamp, prefix: &TrackNamespace) {
        let space = Space::new(false, RequestKind::SubscribeNamespace);
        if let Some(key) = self.requests.prefixes.get(space, prefix) {
            self.cancelled_by_peer(now, key, StreamResetCode::Cancelled);
        }
    }

    /// NAMESPACE, NAMESPACE_DONE or PUBLISH_BLOCKED in answer to a request of ours.
    pub(super) fn on_discovery(
        &mut self,
        now: Timestamp,
        key: RequestKey,
        message: Message,
    ) -> Result<(), Violation> {
        let Some((request, subscription)) = self.requests.namespace_subscription(key) else {
            return Ok(());
        };
        if request.phase == Phase::Pending {
            return Err(Violation::protocol(
                "a namespace subscription's first message is its answer",
            ));
        }
        let prefix = &subscription.prefix;
        match message {
            Message::Namespace(Namespace { suffix }) => {
                let namespace = self.whole_namespace(prefix, &suffix)?;
                if subscription.told.len() >= self.config.limits.namespaces_told
                    && !subscription.told.contains(&namespace)
                {
                    let code = StreamResetCode::ExcessiveLoad;
                    self.all_namespaces_done(key);
                    self.withdraw(now, key, code);
                    self.events.push_back(Event::Cancelled { request: key, code, error: None });
                    return Ok(());
                }
                if self.requests.tell(key, namespace.clone()) {
                    self.events.push_back(Event::Namespace { request: key, namespace });
                }
            }
            Message::NamespaceDone(NamespaceDone { suffix }) => {
                let namespace = self.whole_namespace(prefix, &suffix)?;
                if !self.requests.untell(key, &namespace) {
                    return Err(Violation::protocol("NAMESPACE_DONE before NAMESPACE"));
                }
                self.events.push_back(Event::NamespaceDone { request: key, namespace });
            }
            Message::PublishBlocked(PublishBlocked { track }) => {
                let namespace = self.whole_namespace(prefix, track.namespace())?;
                let track = FullTrackName::new(namespace, track.name().clone())
                    .map_err(|error| Violation::protocol(format!("PUBLISH_BLOCKED: {error}")))?;
                self.events.push_back(Event::PublishBlocked { request: key, track });
            }
            _ => {}
        }
        Ok(())
    }

    /// The namespace that a suffix stands for. What it may not be, neither may its parts make.
    fn whole_namespace(
        &self,
        prefix: &TrackNamespace,
        suffix: &TrackNamespace,
    ) -> Result<TrackNamespace, Violation> {
        let namespace = prefix
            .join(suffix)
            .map_err(|error| Violation::protocol(format!("a Track Namespace Suffix: {error}")))?;
        if namespace.len() < self.dialect.min_namespace_fields {
            return Err(Violation::protocol("a Track Namespace of no fields"));
        }
        Ok(namespace)
    }

    /// An update of the peer's changes the prefix of what it asked for (draft-18, "Updating
    /// Namespace Subscriptions").
    pub(super) fn move_prefix(
        &mut self,
        key: RequestKey,
        parameters: &Parameters,
    ) -> Result<(), Unfit> {
        let Some(prefix) = &parameters.track_namespace_prefix else { return Ok(()) };
        if self.is_unserved_namespace(prefix) {
            return Err(Unfit::Reserved);
        }
        if self.requests.move_prefix(key, prefix) { Ok(()) } else { Err(Unfit::Overlaps) }
    }

    /// Whether an update of ours may ask for the prefix it does.
    pub(super) fn check_prefix(
        &mut self,
        key: RequestKey,
        parameters: &Parameters,
    ) -> Result<(), CommandError> {
        let Some(prefix) = &parameters.track_namespace_prefix else { return Ok(()) };
        self.may_ask_under(prefix)?;
        if self.requests.may_move_prefix(key, prefix) {
            Ok(())
        } else {
            Err(CommandError::WrongState("another namespace subscription overlaps"))
        }
    }

    /// An update of ours asks for another prefix. What comes before its answer is relative to
    /// the old one.
    pub(super) fn await_prefix(
        &mut self,
        key: RequestKey,
        update: u64,
        prefix: Option<TrackNamespace>,
    ) {
        let Some((_, subscription)) = self.requests.namespace_subscription(key) else { return };
        if let Some(prefix) = prefix {
            let space = Space::new(true, subscription.kind);
            self.requests.prefixes.ask(space, key, update, prefix);
        }
    }

    /// The peer accepted an update of ours: what follows is relative to its prefix.
    pub(super) fn prefix_accepted(&mut self, key: RequestKey, update: u64) {
        if let Some(prefix) = self.requests.prefixes.answered(key, update) {
            // Nothing of ours overlaps with what was asked for.
            self.requests.move_prefix(key, &prefix);
        }
    }

    /// A subscription of ours is over, and nobody will tell of its namespaces' ends (draft-18,
    /// "SUBSCRIBE_NAMESPACE").
    pub(super) fn all_namespaces_done(&mut self, key: RequestKey) {
        let ours = self.requests.get(key).is_some_and(|request| request.ours);
        let Some(subscription) = self.requests.namespace_subscription_mut(key).filter(|_| ours)
        else {
            return;
        };
        let told = core::mem::take(&mut subscription.told);
        self.requests.told = self.requests.told.saturating_sub(told.len());
        let done = |namespace| Event::NamespaceDone { request: key, namespace };
        self.events.extend(told.into_iter().map(done));
    }

    /// Fits a PUBLISH to the namespace subscription that it results from, if it does.
    pub(super) fn follow_namespace_subscription(
        &self,
        track: &FullTrackName,
        parameters: &mut Parameters,
    ) -> Result<(), CommandError> {
        let Some(subscription) = self.requests.asked_for(track) else { return Ok(()) };
        if subscription.blocked.contains(track) {
            return Err(CommandError::WrongState("PUBLISH_BLOCKED was sent for the track"));
        }
        match subscription.forward {
            Some(false) => parameters.forward = Some(false),
            // What is left out means the same.
            Some(true) if parameters.forward == Some(false) => parameters.forward = Some(true),
            _ => {}
        }
        Ok(())
    }
}
