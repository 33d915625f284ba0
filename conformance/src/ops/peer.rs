//! What the peer knows, and what it hears.

use std::collections::BTreeSet;

use moqt_engine::model::{
    FetchRange, GroupOrder, Location, Message, NamespaceInterest, RequestKind, TrackNamespace,
};
use moqt_engine::wire::{FetchWriter, SubgroupWriter};
use moqt_engine::{Draft, Role};

use super::world::World;

/// The peer's half of the session.
#[derive(Debug)]
pub(super) struct Peer {
    /// The transport session is over.
    pub(super) session_closed: bool,
    /// It has sent what means nothing, so that nothing it sent after may have been heard.
    pub(super) is_garbled: bool,
    /// Where its control messages go.
    pub(super) control: Option<usize>,
    pub(super) next_id: u64,
    /// Token aliases that it has registered, and room for more of them.
    pub(super) tokens: BTreeSet<u64>,
    pub(super) token_room: u64,
    /// One more than the largest Request ID it may use, and that it has granted.
    pub(super) allowed: u64,
    pub(super) granted: u64,
    /// Requests of its own, and of the connection's.
    pub(super) own: Vec<Asked>,
    pub(super) theirs: Vec<Asked>,
    ids: BTreeSet<u64>,
    aliases: Vec<u64>,
    pub(super) next_alias: u64,
    /// Streams with objects that it is writing.
    pub(super) writing: Vec<Writing>,
    goaways: usize,
    /// Updates that it has sent and heard nothing of.
    pub(super) own_updates: Vec<u64>,
    pub(super) their_updates: Vec<(u64, u64)>,
}

/// A request as the peer knows it.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not one state")]
pub(super) struct Asked {
    pub(super) id: u64,
    pub(super) kind: RequestKind,
    /// The stream that its messages go on.
    pub(super) on: usize,
    pub(super) alias: Option<u64>,
    pub(super) answered: bool,
    pub(super) done: bool,
    pub(super) over: bool,
    /// The connection has ended it.
    withdrawn: bool,
    pub(super) updates: usize,
    pub(super) answers: usize,
    pub(super) streams: u64,
    pub(super) start: Location,
    pub(super) end: Location,
    pub(super) order: GroupOrder,
    pub(super) fetch_stream: bool,
    pub(super) prefix: TrackNamespace,
    pub(super) wants_namespaces: bool,
    /// The track asked for, and whether it may be joined.
    pub(super) track: String,
    pub(super) joinable: bool,
    pub(super) told: Vec<TrackNamespace>,
}

impl Asked {
    pub(super) fn new(id: u64, kind: RequestKind, on: usize) -> Self {
        Self {
            id,
            kind,
            on,
            alias: None,
            answered: false,
            done: false,
            over: false,
            withdrawn: false,
            updates: 0,
            answers: 0,
            streams: 0,
            start: Location::ZERO,
            end: Location::ZERO,
            order: GroupOrder::Ascending,
            fetch_stream: false,
            prefix: TrackNamespace::root(),
            wants_namespaces: false,
            track: String::new(),
            joinable: false,
            told: Vec::new(),
        }
    }
}

/// A stream that the peer writes objects to.
#[derive(Debug)]
pub(super) struct Writing {
    pub(super) name: usize,
    pub(super) form: WritingForm,
    pub(super) group: u64,
    pub(super) next_object: u64,
}

#[derive(Debug)]
pub(super) enum WritingForm {
    Subgroup(SubgroupWriter, bool),
    Fetch(FetchWriter),
}

impl Peer {
    pub(super) fn new(_draft: Draft, role: Role) -> Self {
        let first = |role| u64::from(role == Role::Server);
        Self {
            session_closed: false,
            is_garbled: false,
            control: None,
            next_id: first(role.peer()),
            allowed: 0,
            granted: 0,
            own: Vec::new(),
            theirs: Vec::new(),
            ids: BTreeSet::new(),
            tokens: BTreeSet::new(),
            token_room: 0,
            aliases: Vec::new(),
            next_alias: 0,
            writing: Vec::new(),
            goaways: 0,
            own_updates: Vec::new(),
            their_updates: Vec::new(),
        }
    }
}

impl World<'_> {
    /// The peer reads a message of the connection's.
    pub(super) fn peer_hears(&mut self, on: usize, message: Message) {
        let is_request_stream = self.is_request_stream(on);
        match message {
            Message::Setup(setup) => {
                self.peer.allowed = setup.options.max_request_id.unwrap_or(0);
                self.peer.token_room = setup.options.max_auth_token_cache_size.unwrap_or(0);
            }
            Message::MaxRequestId(max) => {
                assert!(max.max_request_id > self.peer.allowed, "MAX_REQUEST_ID does not grow");
                self.peer.allowed = max.max_request_id;
            }
            Message::RequestsBlocked(_) => self.reach("said REQUESTS_BLOCKED"),
            Message::Goaway(_) if !is_request_stream => {
                self.peer.goaways += 1;
                assert_eq!(self.peer.goaways, 1, "GOAWAY twice");
            }
            Message::Subscribe(message) => {
                self.peer_is_asked(message.request_id, RequestKind::Subscribe, on);
            }
            Message::Publish(message) => {
                self.new_alias(message.track_alias);
                let asked = self.peer_is_asked(message.request_id, RequestKind::Publish, on);
                asked.alias = Some(message.track_alias);
            }
            Message::Fetch(message) => {
                let order = message.parameters.group_order.unwrap_or_default();
                let asked = self.peer_is_asked(message.request_id, RequestKind::Fetch, on);
                asked.order = order;
                (asked.start, asked.end) = match message.range {
                    FetchRange::Standalone { start, end, .. } => (start, end),
                    FetchRange::Joining { .. } => (Location::ZERO, Location::new(9, 0)),
                };
            }
            Message::TrackStatus(message) => {
                self.peer_is_asked(message.request_id, RequestKind::TrackStatus, on);
            }
            Message::PublishNamespace(message) => {
                let kind = RequestKind::PublishNamespace;
                self.peer_is_asked(message.request_id, kind, on).prefix = message.namespace;
            }
            Message::SubscribeNamespace(message) => {
                let kind = RequestKind::SubscribeNamespace;
                let asked = self.peer_is_asked(message.request_id, kind, on);
                asked.prefix = message.prefix;
                asked.wants_namespaces = message.interest != NamespaceInterest::Tracks;
            }
            Message::SubscribeTracks(message) => {
                let kind = RequestKind::SubscribeTracks;
                self.peer_is_asked(message.request_id, kind, on).prefix = message.prefix;
            }
            Message::RequestUpdate(message) => {
                self.expect_id(message.request_id);
                let of = match message.existing_request_id {
                    Some(of) => of,
                    None => self.id_of_stream(on),
                };
                self.peer.their_updates.push((message.request_id, of));
            }
            Message::SubscribeOk(message) => {
                self.new_alias(message.track_alias);
                let alias = message.track_alias;
                let asked = self.answered(message.request_id, on, Some(RequestKind::Subscribe));
                if let Some(asked) = asked {
                    asked.alias = Some(alias);
                }
            }
            Message::RequestOk(message) => {
                self.answered(message.request_id, on, message.answers);
            }
            Message::FetchOk(message) => {
                let (order, end) = (message.group_order, message.end);
                if let Some(asked) = self.answered(message.request_id, on, Some(RequestKind::Fetch))
                {
                    asked.end = end;
                    asked.order = order.unwrap_or(asked.order);
                }
            }
            Message::RequestError(message) => {
                if let Some(asked) = self.answered(message.request_id, on, message.answers) {
                    asked.over = true;
                }
            }
            Message::PublishDone(message) => {
                let of = message.request_id.unwrap_or_else(|| self.id_of_stream(on));
                let all = self.peer.own.iter_mut().chain(&mut self.peer.theirs);
                let asked = all.into_iter().find(|asked| asked.id == of);
                let Some(asked) = asked else { unreachable!("PUBLISH_DONE of nothing: {of}") };
                assert!(!asked.done, "PUBLISH_DONE twice: {of}");
                asked.done = true;
                let begun =
                    asked.alias.and_then(|alias| self.outgoing.subgroups.get(&alias).copied());
                assert!(
                    message.stream_count >= begun.unwrap_or_default(),
                    "{} streams, of which {begun:?} have been seen",
                    message.stream_count
                );
            }
            Message::Unsubscribe(message) => self.withdrawn(message.request_id),
            Message::FetchCancel(message) => self.withdrawn(message.request_id),
            _ => {}
        }
    }

    fn is_request_stream(&self, on: usize) -> bool {
        Some(on) != self.peer.control && !self.is_own_control(on)
    }

    /// Whether it is the stream of the connection's control messages.
    fn is_own_control(&self, on: usize) -> bool {
        self.streams[on].ours && self.streams.iter().position(|stream| stream.ours) == Some(on)
    }

    fn new_alias(&mut self, alias: u64) {
        assert!(!self.peer.aliases.contains(&alias), "Track Alias {alias} twice");
        self.peer.aliases.push(alias);
    }

    fn expect_id(&mut self, id: u64) {
        let first = u64::from(self.role == Role::Server);
        assert!(id % 2 == first && id < first + 2 * (self.begun + 1), "{id} is not its turn");
        assert!(self.peer.ids.insert(id), "Request ID {id} twice");
        let has_credit = !self.draft.dialect().answers_by_stream;
        assert!(!has_credit || id < self.peer.granted, "{id} of {}", self.peer.granted);
    }

    fn peer_is_asked(&mut self, id: u64, kind: RequestKind, on: usize) -> &mut Asked {
        self.expect_id(id);
        self.peer.theirs.push(Asked::new(id, kind, on));
        let last = self.peer.theirs.len() - 1;
        &mut self.peer.theirs[last]
    }

    /// The Request ID of the request whose stream this is.
    fn id_of_stream(&self, on: usize) -> u64 {
        let all = self.peer.own.iter().chain(&self.peer.theirs);
        let id = all.into_iter().find(|asked| asked.on == on).map(|asked| asked.id);
        let Some(id) = id else { unreachable!("a message on the stream of no request") };
        id
    }

    /// The connection has answered a request of the peer's, or an update of it.
    fn answered(
        &mut self,
        id: Option<u64>,
        on: usize,
        kind: Option<RequestKind>,
    ) -> Option<&mut Asked> {
        if kind.is_none_or(|kind| kind == RequestKind::Update) || id.is_none() {
            let by_stream = id.is_none();
            if let Some(id) = id
                && let Some(at) = self.peer.own_updates.iter().position(|update| *update == id)
            {
                self.peer.own_updates.remove(at);
                return None;
            }
            if by_stream {
                let of = self.id_of_stream(on);
                let asked = self.peer.own.iter_mut().chain(&mut self.peer.theirs);
                let asked = asked.into_iter().find(|asked| asked.id == of)?;
                if asked.answered || self.streams[on].ours {
                    asked.answers += 1;
                    assert!(asked.answers <= asked.updates, "an answer to nothing: {asked:?}");
                    return None;
                }
                asked.answered = true;
                return Some(asked);
            }
        }
        let id = id.unwrap_or_else(|| self.id_of_stream(on));
        let asked = self.peer.own.iter_mut().find(|asked| asked.id == id);
        let Some(asked) = asked else { unreachable!("an answer to nothing: {id}") };
        assert!(!asked.answered, "two answers to request {id}");
        asked.answered = true;
        Some(asked)
    }

    fn withdrawn(&mut self, id: u64) {
        let all = self.peer.own.iter_mut().chain(&mut self.peer.theirs);
        let asked = all.into_iter().find(|asked| asked.id == id);
        let Some(asked) = asked else { unreachable!("nothing to withdraw: {id}") };
        assert!(!asked.withdrawn, "ended twice: {id}");
        asked.withdrawn = true;
        asked.over = true;
    }
}
