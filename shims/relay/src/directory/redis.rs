//! A directory in Redis.
//!
//! The keys, each after the prefix configured and a colon:
//!
//! | key | what |
//! |---|---|
//! | `lease:INSTANCE` | the URL of a relay; it expires unless the relay refreshes it |
//! | `origins:NAMESPACE` | the set of instances that hold a namespace |
//! | `held:INSTANCE` | the set of namespaces that an instance holds |
//! | `instances` | the set of all instances, dead ones until they were cleared away |
//!
//! An instance is a random number that a relay has until its lease is lost. What a dead one has
//! left leads nowhere, since its lease is gone, and the other relays clear it away.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::Duration;

use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use ::redis::{Client, FromRedisValue, Pipeline, RedisError, cmd};
use moqt_engine::model::TrackNamespace;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::Mutex;

use super::{Answer, DirectoryError, Origin, OriginDirectory, prefixes};

/// Relays looked at for one namespace.
const MAX_ORIGINS: usize = 64;
/// Namespaces written or cleared away in one round trip.
const BATCH: usize = 500;
/// Refreshes from one look for dead relays to the next.
const LOOK_EVERY: u32 = 12;
/// Dead relays that are cleared away after one look, and batches of theirs.
const MAX_CLEARED: usize = 4;
const MAX_BATCHES: usize = 20;
/// The longest URL that another relay may have, in bytes.
const MAX_URL_LEN: usize = 2048;
/// Time for a connection to Redis, and for an answer from it.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How a relay uses a Redis.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RedisSettings {
    /// Where other relays reach this one; `None` if they cannot, and it only finds others.
    pub own_url: Option<String>,
    /// Time after which this relay is taken for dead if it does not refresh: 15 s. It does so
    /// three times in that time.
    pub time_to_live: Duration,
    /// What all keys begin with: `moqt`.
    pub key_prefix: String,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self { own_url: None, time_to_live: Duration::from_secs(15), key_prefix: "moqt".into() }
    }
}

/// A directory that relays share through a Redis, version 7 or later, or a Valkey; not through a
/// cluster of them.
///
/// With `f` fields in the namespace, finding takes `f + 1` commands in one round trip. Registering
/// takes 2 for each namespace and one more, withdrawing 2, up to 500 namespaces in a round trip.
/// Refreshing takes one, whatever is held, and one more each twelfth time, which costs Redis a
/// step for each relay there is.
///
/// It keeps every namespace that this relay holds in memory, which the relay bounds
/// ([`Config::namespaces`](moqt_relay::Config::namespaces)).
pub struct RedisDirectory {
    redis: ConnectionManager,
    settings: RedisSettings,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What this relay is in Redis, if all that it holds is there.
    instance: Option<String>,
    /// What it was before something failed; its lease may still be there.
    abandoned: Option<String>,
    /// How often each namespace was registered.
    held: BTreeMap<TrackNamespace, u64>,
    refreshes: u32,
}

impl RedisDirectory {
    /// A directory in the Redis at this URL (`redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`).
    /// It is connected to when it is first needed, and again whenever the connection is lost.
    /// It must be called within a tokio runtime.
    pub fn open(url: &str, settings: RedisSettings) -> Result<Self, DirectoryError> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT))
            .set_number_of_retries(1);
        let client = Client::open(url);
        let redis =
            client.and_then(|client| ConnectionManager::new_lazy_with_config(client, config));
        // The error does not have the URL in it, and with it perhaps a password.
        let redis = redis.map_err(|error| {
            DirectoryError(format!("the URL of Redis, which is redis://HOST:PORT: {error}"))
        })?;
        Ok(Self { redis, settings, state: Mutex::default() })
    }

    fn key(&self, kind: &str, of: &str) -> String {
        format!("{}:{kind}:{of}", self.settings.key_prefix)
    }

    fn origins_key(&self, namespace: &TrackNamespace) -> String {
        self.key("origins", &namespace.to_string())
    }

    fn instances_key(&self) -> String {
        format!("{}:instances", self.settings.key_prefix)
    }

    async fn ask<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, DirectoryError> {
        pipeline.query_async(&mut self.redis.clone()).await.map_err(|error| failed(&error))
    }

    fn lease(&self, instance: &str, url: &str) -> ::redis::Cmd {
        let millis = self.settings.time_to_live.as_millis().max(1);
        let mut set = cmd("SET");
        set.arg(self.key("lease", instance)).arg(url);
        set.arg("PX").arg(u64::try_from(millis).unwrap_or(u64::MAX));
        set
    }

    /// Writes all that is held under a new instance.
    async fn begin(&self, state: &mut State, url: &str) -> Result<(), DirectoryError> {
        let mut random = [0; 8];
        let filled = SystemRandom::new().fill(&mut random);
        filled.map_err(|_| DirectoryError("the system gives no random numbers".into()))?;
        let instance = format!("{:016x}", u64::from_ne_bytes(random));
        // First the lease: without it other relays would clear away what follows.
        let mut pipeline = Pipeline::new();
        pipeline.add_command(self.lease(&instance, url)).ignore();
        if let Some(abandoned) = &state.abandoned {
            pipeline.cmd("DEL").arg(self.key("lease", abandoned)).ignore();
        }
        self.ask::<()>(&pipeline).await?;
        state.abandoned = Some(instance.clone());
        let held: Vec<_> = state.held.keys().collect();
        for batch in held.chunks(BATCH) {
            self.write(&instance, batch).await?;
        }
        state.resume(instance);
        Ok(())
    }

    async fn write(
        &self,
        instance: &str,
        namespaces: &[&TrackNamespace],
    ) -> Result<(), DirectoryError> {
        let mut pipeline = Pipeline::new();
        // Each time, since somebody may have taken this relay for dead: what is written then is
        // cleared away all the same.
        pipeline.cmd("SADD").arg(self.instances_key()).arg(instance).ignore();
        let held = self.key("held", instance);
        for namespace in namespaces {
            // In this order nothing is left that is not known to be held.
            pipeline.cmd("SADD").arg(&held).arg(namespace.to_string()).ignore();
            pipeline.cmd("SADD").arg(self.origins_key(namespace)).arg(instance).ignore();
        }
        self.ask(&pipeline).await
    }

    /// `namespaces` as they are written in `held`.
    async fn erase(&self, instance: &str, namespaces: &[String]) -> Result<(), DirectoryError> {
        let mut pipeline = Pipeline::new();
        let held = self.key("held", instance);
        for namespace in namespaces {
            pipeline.cmd("SREM").arg(self.key("origins", namespace)).arg(instance).ignore();
            pipeline.cmd("SREM").arg(&held).arg(namespace).ignore();
        }
        self.ask(&pipeline).await
    }

    /// Removes what an instance without a lease has left, or as much of it as one call should.
    async fn clear_away(&self, instance: &str) -> Result<(), DirectoryError> {
        for _ in 0..MAX_BATCHES {
            let mut pipeline = Pipeline::new();
            pipeline.cmd("SRANDMEMBER").arg(self.key("held", instance)).arg(BATCH);
            let (left,): (Vec<String>,) = self.ask(&pipeline).await?;
            if left.is_empty() {
                let mut pipeline = Pipeline::new();
                pipeline.cmd("SREM").arg(self.instances_key()).arg(instance).ignore();
                return self.ask(&pipeline).await;
            }
            self.erase(instance, &left).await?;
        }
        Ok(())
    }

    /// Finds instances without a lease, and clears away what they have left.
    async fn look_for_dead(&self) -> Result<(), DirectoryError> {
        let mut pipeline = Pipeline::new();
        self.with_leases(&mut pipeline, &self.instances_key(), None);
        let (all,): (Vec<Option<String>>,) = self.ask(&pipeline).await?;
        let dead = pairs(&all).filter(|(_, url)| url.is_none()).map(|(instance, _)| instance);
        for instance in dead.take(MAX_CLEARED) {
            self.clear_away(instance).await?;
            tracing::info!(instance, "cleared away what a dead relay has left, or some of it");
        }
        Ok(())
    }

    /// Asks for the instances in a set, each with its lease.
    fn with_leases(&self, pipeline: &mut Pipeline, set: &str, most: Option<usize>) {
        let sort = pipeline.cmd("SORT_RO").arg(set).arg("BY").arg("nosort");
        if let Some(most) = most {
            sort.arg("LIMIT").arg(0).arg(most);
        }
        sort.arg("GET").arg("#").arg("GET").arg(self.key("lease", "*"));
    }

    async fn do_register(&self, namespaces: &[TrackNamespace]) -> Result<(), DirectoryError> {
        let Some(url) = &self.settings.own_url else { return Ok(()) };
        let mut state = self.state.lock().await;
        let mut new = Vec::new();
        for namespace in namespaces {
            let count = state.held.entry(namespace.clone()).or_default();
            *count = count.saturating_add(1);
            if *count == 1 {
                new.push(namespace);
            }
        }
        let Some(instance) = state.abandon() else {
            return self.begin(&mut state, url).await;
        };
        for batch in new.chunks(BATCH) {
            self.write(&instance, batch).await?;
        }
        state.resume(instance);
        Ok(())
    }

    async fn do_withdraw(&self, namespaces: &[TrackNamespace]) -> Result<(), DirectoryError> {
        let mut state = self.state.lock().await;
        let mut gone = Vec::new();
        for namespace in namespaces {
            let Some(count) = state.held.get_mut(namespace) else { continue };
            *count = count.saturating_sub(1);
            if *count == 0 {
                state.held.remove(namespace);
                gone.push(namespace.to_string());
            }
        }
        let Some(instance) = state.abandon() else { return Ok(()) };
        for batch in gone.chunks(BATCH) {
            self.erase(&instance, batch).await?;
        }
        state.resume(instance);
        Ok(())
    }

    async fn do_refresh(&self) -> Result<(), DirectoryError> {
        let Some(url) = &self.settings.own_url else { return Ok(()) };
        let mut state = self.state.lock().await;
        if let Some(instance) = state.instance.clone() {
            let mut set = self.lease(&instance, url);
            let mut pipeline = Pipeline::new();
            pipeline.add_command(set.arg("XX").clone());
            let (kept,): (Option<String>,) = self.ask(&pipeline).await?;
            if kept.is_none() {
                // Others may have cleared away what was written.
                state.abandon();
            }
        }
        if state.instance.is_none() && !state.held.is_empty() {
            self.begin(&mut state, url).await?;
        }
        state.refreshes = state.refreshes.wrapping_add(1);
        let looks = state.refreshes.is_multiple_of(LOOK_EVERY);
        drop(state);
        if looks { self.look_for_dead().await } else { Ok(()) }
    }

    async fn do_leave(&self) -> Result<(), DirectoryError> {
        let mut state = self.state.lock().await;
        state.held.clear();
        let instances = [state.instance.take(), state.abandoned.take()];
        for instance in instances.into_iter().flatten() {
            let mut pipeline = Pipeline::new();
            // From here on it is not found any longer; the rest is to be tidy.
            pipeline.cmd("DEL").arg(self.key("lease", &instance)).ignore();
            self.ask::<()>(&pipeline).await?;
            self.clear_away(&instance).await?;
        }
        Ok(())
    }

    async fn do_find(&self, namespace: &TrackNamespace) -> Result<Vec<Origin>, DirectoryError> {
        let prefixes: Vec<TrackNamespace> = prefixes(namespace).collect();
        let mut pipeline = Pipeline::new();
        for prefix in &prefixes {
            self.with_leases(&mut pipeline, &self.origins_key(prefix), Some(MAX_ORIGINS));
        }
        let found: Vec<Vec<Option<String>>> = self.ask(&pipeline).await?;
        let mut origins: Vec<Origin> = Vec::new();
        for (namespace, found) in prefixes.into_iter().zip(found) {
            let urls = pairs(&found).filter_map(|(_, url)| url);
            let mut urls: Vec<_> = urls.filter(|url| url.len() <= MAX_URL_LEN).collect();
            urls.sort_unstable();
            for url in urls {
                let is_known = origins.iter().any(|origin| origin.url == url);
                if !is_known && self.settings.own_url.as_deref() != Some(url) {
                    origins.push(Origin { namespace: namespace.clone(), url: url.into() });
                }
            }
        }
        Ok(origins)
    }
}

impl State {
    /// What is in Redis is not what is held, or will not be if what follows fails or is given up:
    /// then the next refresh begins anew.
    fn abandon(&mut self) -> Option<String> {
        let instance = self.instance.take()?;
        self.abandoned = Some(instance.clone());
        Some(instance)
    }

    /// What is in Redis is what is held.
    fn resume(&mut self, instance: String) {
        self.abandoned = None;
        self.instance = Some(instance);
    }
}

/// Instances and their URLs, if they have any, from what [`RedisDirectory::with_leases`] asks.
fn pairs(answer: &[Option<String>]) -> impl Iterator<Item = (&str, Option<&str>)> {
    answer.chunks_exact(2).filter_map(|pair| match pair {
        [Some(instance), url] => Some((instance.as_str(), url.as_deref())),
        _ => None,
    })
}

fn failed(error: &RedisError) -> DirectoryError {
    let mut text = format!("Redis: {error}");
    if error.is_connection_dropped() || error.is_connection_refusal() || error.is_timeout() {
        // It is connected to again without further ado.
        let _ = write!(text, " (is it running, and reachable?)");
    }
    DirectoryError(text)
}

impl OriginDirectory for RedisDirectory {
    fn register<'a>(&'a self, namespaces: &'a [TrackNamespace]) -> Answer<'a, ()> {
        Box::pin(self.do_register(namespaces))
    }

    fn withdraw<'a>(&'a self, namespaces: &'a [TrackNamespace]) -> Answer<'a, ()> {
        Box::pin(self.do_withdraw(namespaces))
    }

    fn find<'a>(&'a self, namespace: &'a TrackNamespace) -> Answer<'a, Vec<Origin>> {
        Box::pin(self.do_find(namespace))
    }

    fn refresh(&self) -> Answer<'_, ()> {
        Box::pin(self.do_refresh())
    }

    fn refresh_every(&self) -> Option<Duration> {
        self.settings.own_url.as_ref().map(|_| self.settings.time_to_live / 3)
    }

    fn leave(&self) -> Answer<'_, ()> {
        Box::pin(self.do_leave())
    }
}

impl fmt::Debug for RedisDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisDirectory").field("settings", &self.settings).finish_non_exhaustive()
    }
}
