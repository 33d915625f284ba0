//! What clients can ask too much of.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use moqt_engine::Draft;
use moqt_engine::model::{
    FullTrackName, Location, Message, NamespaceInterest, ObjectStatus, Parameters,
    PublishNamespace, SubgroupId, Subscribe, SubscribeNamespace, TrackNamespace,
};
use moqt_engine::wire::{DatagramHeader, Properties, SubgroupHeader};
use moqt_quinn_proto::TransportOptions;
use tokio::task::JoinSet;

use super::hostile::{Hostile, Tally, address, client_config, connect, ended};
use super::initials;
use crate::relays::Relay;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Clients of one flood.
const CLIENTS: u64 = 4;
/// Clients that read nothing.
const SLOW_READERS: u64 = 10;
/// Connections at a time on which no SETUP comes.
const HALF_OPEN: u64 = 200;
/// Namespaces for a prefix to have too many of.
const NAMESPACES: u64 = 100;
/// Payload for aliases that nobody made.
const PAYLOAD: usize = 8 * 1024;
/// Time after which a client that was refused comes again.
const AGAIN: Duration = Duration::from_millis(10);
/// Time for the relay to lose its patience with clients that do nothing.
const LAST_WORDS: Duration = Duration::from_secs(4);

/// A flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// First packets of QUIC connections that never go on.
    Initials,
    /// QUIC connections without SETUP.
    HalfOpen,
    /// PUBLISH_NAMESPACE for one namespace after the other.
    Namespaces,
    /// SUBSCRIBE for one track after the other, in a namespace that somebody publishes.
    Subscriptions,
    /// SUBSCRIBE_NAMESPACE for a prefix of many namespaces.
    Prefixes,
    /// Streams with track aliases that nobody made.
    AliasStreams,
    /// Datagrams with track aliases that nobody made.
    AliasDatagrams,
    /// Subscribers that read no data.
    SlowReaders,
    /// SETUP with tokens that are none.
    Tokens,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Initials,
        Self::HalfOpen,
        Self::Namespaces,
        Self::Subscriptions,
        Self::Prefixes,
        Self::AliasStreams,
        Self::AliasDatagrams,
        Self::SlowReaders,
        Self::Tokens,
    ];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initials => "initials",
            Self::HalfOpen => "half-open",
            Self::Namespaces => "namespaces",
            Self::Subscriptions => "subscriptions",
            Self::Prefixes => "prefixes",
            Self::AliasStreams => "alias-streams",
            Self::AliasDatagrams => "alias-datagrams",
            Self::SlowReaders => "slow-readers",
            Self::Tokens => "tokens",
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What offenders must get, each at least once; nothing is said to those whose datagrams are
    /// dropped.
    pub fn expected(self, draft: Draft) -> &'static [&'static str] {
        // What draft 18 has a name for is an internal error before it.
        let knows = draft >= Draft::D18;
        match self {
            Self::Initials => &["Retry"],
            Self::HalfOpen => &["CONNECTION_REFUSED", "closed CONTROL_MESSAGE_TIMEOUT"],
            Self::Namespaces | Self::Subscriptions if knows => &["EXCESSIVE_LOAD"],
            Self::Prefixes if knows => &["NAMESPACE_TOO_LARGE"],
            Self::Prefixes => &["PREFIX_OVERLAP"],
            Self::Namespaces | Self::Subscriptions => &["INTERNAL_ERROR"],
            Self::AliasStreams => &["stopped"],
            Self::AliasDatagrams => &[],
            Self::SlowReaders => &["done TOO_FAR_BEHIND"],
            Self::Tokens => &["closed UNAUTHORIZED", "CONNECTION_REFUSED"],
        }
    }

    /// Attacks until then. Subscribers ask for what is published in the namespace `name`.
    pub(super) async fn attack(
        self,
        relay: &Relay,
        draft: Draft,
        name: &str,
        until: Instant,
        tally: &Tally,
    ) -> Result<(), Error> {
        let (relay, namespace) = (relay.clone(), TrackNamespace::new([name])?);
        let mut scene =
            Attack { kind: self, draft, relay, namespace, until, tally: tally.clone(), client: 0 };
        let clients = match self {
            Self::Initials => {
                let config = client_config(draft, &TransportOptions::default())?;
                let (from, to) = (scene.from(), address(&scene.relay)?);
                let tally = tally.clone();
                let send = move || initials::send(from, to, &config, until, &tally);
                return tokio::task::spawn_blocking(send).await?;
            }
            Self::HalfOpen => HALF_OPEN,
            Self::SlowReaders => SLOW_READERS,
            _ => CLIENTS,
        };
        let mut attacks = JoinSet::new();
        for client in 0..clients {
            scene.client = client;
            attacks.spawn(scene.clone().run());
        }
        while let Some(attack) = attacks.join_next().await {
            attack??;
        }
        Ok(())
    }
}

/// One client's part.
#[derive(Clone)]
struct Attack {
    kind: Kind,
    draft: Draft,
    relay: Relay,
    /// Where the ordinary publisher is.
    namespace: TrackNamespace,
    until: Instant,
    tally: Tally,
    client: u64,
}

impl Attack {
    /// Each kind comes from an address of its own, so that limits of one address bite there.
    fn from(&self) -> Ipv4Addr {
        let at = Kind::ALL.iter().position(|kind| *kind == self.kind).unwrap_or_default();
        Ipv4Addr::new(127, 0, 1, u8::try_from(at + 1).unwrap_or(u8::MAX))
    }

    async fn run(self) -> Result<(), Error> {
        let mut transport = TransportOptions::default();
        if self.kind == Kind::SlowReaders {
            transport.stream_receive_window = 4096;
            transport.max_uni_streams = 3;
        }
        let config = client_config(self.draft, &transport)?;
        while Instant::now() < self.until {
            let connected = connect(self.from(), &self.relay, config.clone(), &self.tally).await?;
            let Some(connected) = connected else {
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            let connection = connected.1.clone();
            let attack = self.in_session(connected);
            let _ = tokio::time::timeout_at(self.end().into(), attack).await;
            if let Some(error) = connection.close_reason() {
                self.tally.add(ended(Some(self.draft), &error));
            }
        }
        Ok(())
    }

    /// When it stops. Those that do nothing wait for what the relay says to that.
    fn end(&self) -> Instant {
        match self.kind {
            Kind::HalfOpen | Kind::SlowReaders => self.until + LAST_WORDS,
            _ => self.until,
        }
    }

    async fn in_session(
        &self,
        connected: (quinn::Endpoint, quinn::Connection),
    ) -> Result<(), Error> {
        if self.kind == Kind::HalfOpen {
            connected.1.closed().await;
            return Ok(());
        }
        let token = match self.kind {
            Kind::Tokens => Some(Bytes::from(format!("guess-{}", self.client))),
            _ => self.relay.token.clone(),
        };
        let session = Hostile::begin(connected, self.draft, token, &self.tally).await?;
        let mut next = 0;
        match self.kind {
            Kind::Namespaces => loop {
                session.ask(|id| publish_namespace(id, self.own(next))).await?;
                next += 1;
            },
            Kind::Subscriptions => loop {
                let name = Bytes::from(format!("{}-{next}", self.client));
                let track = FullTrackName::new(self.namespace.clone(), name)?;
                session.ask(|id| subscribe(id, track)).await?;
                next += 1;
            },
            Kind::Prefixes => {
                for at in 0..NAMESPACES {
                    session.ask(|id| publish_namespace(id, self.own(at))).await?;
                }
                loop {
                    let prefix = TrackNamespace::new([self.own_field()])?;
                    session.ask(|id| subscribe_namespace(id, prefix)).await?;
                }
            }
            Kind::AliasStreams => loop {
                let stream = session.connection.open_uni().await?;
                tokio::spawn(send_stream(stream, self.draft, next, self.tally.clone()));
                next += 1;
            },
            Kind::AliasDatagrams => loop {
                session.connection.send_datagram_wait(datagram(self.draft, next)?).await?;
                next += 1;
            },
            Kind::SlowReaders => {
                let track = FullTrackName::new(self.namespace.clone(), "track")?;
                session.ask(|id| subscribe(id, track)).await?;
                session.connection.closed().await;
                Ok(())
            }
            Kind::Tokens | Kind::Initials | Kind::HalfOpen => {
                session.connection.closed().await;
                Ok(())
            }
        }
    }

    /// A namespace that no other client has.
    fn own(&self, number: u64) -> TrackNamespace {
        TrackNamespace::new([self.own_field(), number.to_string()]).unwrap_or_default()
    }

    /// What all of those begin with.
    fn own_field(&self) -> String {
        format!("{}-{}", self.kind.name(), self.client)
    }
}

fn publish_namespace(request_id: u64, namespace: TrackNamespace) -> Message {
    let parameters = Parameters::default();
    Message::PublishNamespace(PublishNamespace { request_id, namespace, parameters })
}

fn subscribe(request_id: u64, track: FullTrackName) -> Message {
    Message::Subscribe(Subscribe { request_id, track, parameters: Parameters::default() })
}

fn subscribe_namespace(request_id: u64, prefix: TrackNamespace) -> Message {
    let (interest, parameters) = (NamespaceInterest::default(), Parameters::default());
    Message::SubscribeNamespace(SubscribeNamespace { request_id, prefix, interest, parameters })
}

/// A stream for an alias that nobody made, and what becomes of it.
async fn send_stream(mut stream: quinn::SendStream, draft: Draft, alias: u64, tally: Tally) {
    let header = SubgroupHeader {
        track_alias: 1_000_000 + alias,
        group_id: 0,
        subgroup_id: SubgroupId::Explicit(0),
        publisher_priority: Some(128),
        end_of_group: false,
        first_object: false,
        has_properties: false,
    };
    let mut bytes = Vec::new();
    if header.encode(draft.dialect(), &mut bytes).is_err() {
        return;
    }
    bytes.resize(bytes.len() + PAYLOAD, 1);
    let _ = stream.write_all(&bytes).await;
    if let Ok(Some(code)) = stream.stopped().await {
        tally.add(format!("stopped {}", draft.dialect().reset(code.into_inner())));
    }
}

fn datagram(draft: Draft, alias: u64) -> Result<Bytes, Error> {
    let header = DatagramHeader {
        track_alias: 1_000_000 + alias,
        location: Location::new(0, 0),
        publisher_priority: Some(128),
        end_of_group: false,
        status: ObjectStatus::Normal,
        properties: Properties::EMPTY,
    };
    let mut bytes = Vec::new();
    header.encode(draft.dialect(), 1000, &mut bytes)?;
    bytes.resize(bytes.len() + 1000, 1);
    Ok(bytes.into())
}
