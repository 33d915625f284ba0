//! Clients that ask too much of a relay in another process, while others use it as they should.
//!
//! Ordinary subscribers are a [`Gathering`] with a pace. What the hostile ones get is counted by
//! what the relay says: the answers to their requests, why their sessions are closed, and what
//! becomes of their streams.

mod hostile;
mod initials;
mod kind;

use std::fs;
use std::time::{Duration, Instant};

use moqt_engine::Draft;

use crate::relays::{Gathering, Load, Offer, Outcome, Relay, connect};
pub use hostile::Tally;
pub use kind::Kind;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Time before and after a flood for which objects are published, too.
const AROUND: Duration = Duration::from_millis(500);
/// Bytes of an object.
const SIZE: usize = 1024;
/// The longest that a newcomer may take to get in.
const COMING: Duration = Duration::from_secs(10);

/// What there is beside a flood, and how long it takes.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// The draft that everybody speaks.
    pub draft: Draft,
    /// Ordinary subscribers.
    pub subscribers: usize,
    /// Objects that each of them gets a second.
    pub rate: f64,
    /// How long the flood takes.
    pub time: Duration,
}

/// What a flood did.
#[derive(Clone, Debug)]
pub struct Flooded {
    /// What the offenders got.
    pub offenders: Tally,
    /// What the ordinary ones got.
    pub ordinary: Outcome,
    /// How long one took to get a session that came in the middle of it, if it got one.
    pub newcomer: Option<Duration>,
    /// The most memory that the relay had in use, in bytes.
    pub peak: u64,
}

/// Floods a relay in one way. `name` must be new to it.
pub async fn flood(relay: &Relay, kind: Kind, scene: Scene, name: &str) -> Result<Flooded, Error> {
    let load = Load {
        draft: scene.draft,
        offer: Offer::Namespace,
        subscribers: scene.subscribers,
        size: SIZE,
        time: scene.time + 2 * AROUND,
        rate: Some(scene.rate),
        // Nobody waits for those that are behind.
        ahead: u64::MAX / 2,
    };
    let gathering = Gathering::new(relay.clone(), load, name).await?;
    // From now on the peak is that of the flood.
    fs::write(format!("/proc/{}/clear_refs", relay.process), "5")?;
    let ordinary = tokio::spawn(gathering.run());
    tokio::time::sleep(AROUND).await;
    let tally = Tally::default();
    let until = Instant::now() + scene.time;
    let attack = {
        let (relay, name, tally) = (relay.clone(), name.to_owned(), tally.clone());
        on_one_core(async move { kind.attack(&relay, scene.draft, &name, until, &tally).await })
    };
    let newcomer = async {
        tokio::time::sleep(scene.time / 2).await;
        let begun = Instant::now();
        let coming = tokio::time::timeout(COMING, connect(relay, scene.draft)).await;
        coming.ok()?.ok().map(|_| begun.elapsed())
    };
    let (attacked, newcomer) = tokio::join!(attack, newcomer);
    attacked?;
    let ordinary = ordinary.await??;
    Ok(Flooded { offenders: tally, ordinary, newcomer, peak: peak(relay.process)? })
}

/// Offenders are on the same machine as all others, and must not take them all of it.
async fn on_one_core(
    attack: impl Future<Output = Result<(), Error>> + Send + 'static,
) -> Result<(), Error> {
    let attack =
        || tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(attack);
    tokio::task::spawn_blocking(attack).await?
}

/// The most memory that a process has had in use, in bytes.
fn peak(process: u32) -> Result<u64, Error> {
    crate::relays::memory(process, "VmHWM:")
}
