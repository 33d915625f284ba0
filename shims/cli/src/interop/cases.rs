//! The cases there are.

use std::time::Duration;

use super::control;
use super::data::{self, Shape};
use super::run::{Outcome, Run};

/// A case of moq-interop-runner's, or of our own.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What other clients call it.
    pub(crate) aliases: &'static [&'static str],
    /// The time it may take.
    pub(crate) limit: Duration,
    steps: Steps,
}

#[derive(Debug)]
enum Steps {
    SetupOnly,
    AnnounceOnly,
    PublishNamespaceDone,
    SubscribeError,
    AnnounceSubscribe,
    SubscribeBeforeAnnounce,
    Objects(Shape),
    TrackEnd,
    LateSubscriber,
    Fetch,
    Join,
}

impl Case {
    const fn new(name: &'static str, limit_ms: u64, steps: Steps) -> Self {
        Self { name, aliases: &[], limit: Duration::from_millis(limit_ms), steps }
    }

    const fn also(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    pub(crate) async fn run(&self, run: &mut Run<'_>) -> Result<(), Outcome> {
        match self.steps {
            Steps::SetupOnly => control::setup_only(run).await,
            Steps::AnnounceOnly => control::announce_only(run).await,
            Steps::PublishNamespaceDone => control::publish_namespace_done(run).await,
            Steps::SubscribeError => control::subscribe_error(run).await,
            Steps::AnnounceSubscribe => control::announce_subscribe(run).await,
            Steps::SubscribeBeforeAnnounce => control::subscribe_before_announce(run).await,
            Steps::Objects(shape) => data::objects(run, self.name, shape).await,
            Steps::TrackEnd => data::track_end(run, self.name).await,
            Steps::LateSubscriber => data::late_subscriber(run, self.name).await,
            Steps::Fetch => data::fetch(run, self.name).await,
            Steps::Join => data::join(run, self.name).await,
        }
    }
}

/// In the order in which they run: moq-interop-runner's, then those with objects.
pub(crate) static CASES: &[Case] = &[
    Case::new("setup-only", 2000, Steps::SetupOnly),
    Case::new("announce-only", 2000, Steps::AnnounceOnly).also(&["publish-namespace-only"]),
    Case::new("publish-namespace-done", 2000, Steps::PublishNamespaceDone),
    Case::new("subscribe-error", 2000, Steps::SubscribeError),
    Case::new("announce-subscribe", 3000, Steps::AnnounceSubscribe)
        .also(&["publish-namespace-subscribe"]),
    Case::new("subscribe-before-announce", 3500, Steps::SubscribeBeforeAnnounce)
        .also(&["subscribe-before-publish-namespace"]),
    Case::new("single-object", 5000, Steps::Objects(Shape::streams(&[&[1000]]))),
    Case::new("single-group", 5000, Steps::Objects(Shape::streams(&[SIZES]))),
    Case::new("multiple-groups", 5000, Steps::Objects(Shape::streams(&[SIZES, SIZES, SIZES]))),
    Case::new("datagrams", 5000, Steps::Objects(Shape::datagrams(&[&[1, 10, 100, 500, 1000]]))),
    Case::new("track-end", 5000, Steps::TrackEnd),
    Case::new("late-subscriber", 5000, Steps::LateSubscriber),
    Case::new("fetch", 5000, Steps::Fetch),
    Case::new("join", 5000, Steps::Join),
];

/// Payload sizes of a group: below and above a packet, and above what one reads at once.
pub(crate) const SIZES: &[usize] = &[1, 100, 1200, 5000, 64, 70_000, 1000];
