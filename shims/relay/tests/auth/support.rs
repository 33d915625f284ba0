//! Rules from texts, peers, and asking them.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use moqt_engine::model::{AuthToken, RequestErrorCode, TrackNamespace};
use moqt_engine::{Draft, Transport};
use moqt_relay::{Ask, Authorize, PeerInfo, Permission, Verdict};
use moqt_relay_server::auth::{Guesses, LoadError, Rules, Sources, WallClock};

/// 2030-01-31T12:00:00Z.
pub(crate) const NOON: u64 = 1_896_091_200;

pub(crate) const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Where the keys are.
pub(crate) fn key(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/auth/keys").join(name)
}

/// A clock that is set by hand.
#[derive(Clone)]
pub(crate) struct Hand(Arc<AtomicU64>);

impl Hand {
    pub(crate) fn at(seconds: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seconds)))
    }

    pub(crate) fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::SeqCst);
    }

    pub(crate) fn clock(&self) -> WallClock {
        let hand = self.clone();
        WallClock::new(move || Duration::from_secs(hand.0.load(Ordering::SeqCst)))
    }
}

/// A folder for one test, apart from what tests of other crates keep there.
pub(crate) fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("auth").join(test);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Loads a file of this text.
pub(crate) fn load(test: &str, text: &str, hand: &Hand) -> Result<Rules, LoadError> {
    let file = folder(test).join("auth.toml");
    std::fs::write(&file, text).unwrap();
    let sources = Sources { file: Some(file), ..Sources::default() };
    Rules::load(&sources, hand.clock(), Guesses::default())
}

/// What is wrong with a file of this text, without the file's name before it.
pub(crate) fn wrong(test: &str, text: &str) -> String {
    let error = load(test, text, &Hand::at(NOON)).expect_err(text).to_string();
    let (_, rest) = error.split_once("auth.toml").unwrap_or(("", &error));
    rest.to_owned()
}

pub(crate) fn peer() -> PeerInfo {
    let mut peer = PeerInfo::new(Draft::D18, Transport::Quic);
    peer.address = Some(HOME);
    peer
}

pub(crate) fn peer_at(path: &str) -> PeerInfo {
    let mut peer = peer();
    peer.path = Bytes::copy_from_slice(path.as_bytes());
    peer
}

pub(crate) fn peer_with(tokens: &[&[u8]]) -> PeerInfo {
    let mut peer = peer();
    peer.tokens = tokens.iter().map(|token| value(token)).collect();
    peer
}

pub(crate) fn value(token: &[u8]) -> AuthToken {
    AuthToken::UseValue { token_type: 0, value: Bytes::copy_from_slice(token) }
}

pub(crate) fn namespace(text: &str) -> TrackNamespace {
    TrackNamespace::new(text.split('/').filter(|field| !field.is_empty())).unwrap()
}

/// Asks for something about a namespace, and the track `cam-1` if it is about a track, with these
/// tokens.
pub(crate) fn ask(
    rules: &Rules,
    peer: &PeerInfo,
    what: Permission,
    text: &str,
    tokens: &[&[u8]],
) -> Verdict {
    ask_track(rules, peer, what, (text, b"cam-1"), tokens)
}

pub(crate) fn ask_track(
    rules: &Rules,
    peer: &PeerInfo,
    what: Permission,
    (text, name): (&str, &[u8]),
    tokens: &[&[u8]],
) -> Verdict {
    let namespace = namespace(text);
    let tokens: Vec<AuthToken> = tokens.iter().map(|token| value(token)).collect();
    let mut ask = Ask::new(peer, what, &namespace);
    ask.tokens = &tokens;
    if !matches!(what, Permission::PublishNamespace | Permission::SubscribeNamespace) {
        ask.name = Some(name);
    }
    rules.request(&ask)
}

pub(crate) fn is_allowed(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Allow { .. })
}

/// For how many seconds; `None` is for ever.
pub(crate) fn lasts(verdict: &Verdict) -> Option<u64> {
    match verdict {
        Verdict::Allow { lasts } => lasts.map(|lasts| lasts.as_secs()),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn code(verdict: &Verdict) -> RequestErrorCode {
    match verdict {
        Verdict::Deny { code, .. } => *code,
        other => panic!("{other:?}"),
    }
}

pub(crate) const ALL: [Permission; 6] = [
    Permission::Publish,
    Permission::PublishNamespace,
    Permission::Subscribe,
    Permission::Fetch,
    Permission::TrackStatus,
    Permission::SubscribeNamespace,
];
