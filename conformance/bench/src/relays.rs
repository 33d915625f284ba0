//! A relay in another process, whichever it is: how many objects it hands on, what that takes of
//! its processor time, and how long they are on their way.
//!
//! One publisher and all subscribers are in this process. Each payload begins with when it was
//! published. Nothing is published faster than subscribers get it: at most [`Load::ahead`] objects
//! are on their way to the one that is furthest behind, so that a relay is never made to drop any.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use moqt_engine::model::{AuthToken, FullTrackName, Parameters, PublishDoneCode, TrackProperties};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{Accept, Draft, SubgroupOptions};
use moqt_quinn_proto::session::{
    Incoming, NamespacePublication, Publication, ReadError, Session, SubgroupWriter, Subscription,
};
use moqt_quinn_proto::{Client, ClientOptions, ClientTls, Target, Verify};
use tokio::sync::Notify;
use tokio::task::JoinSet;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Bytes in which a payload says when it was published, in nanoseconds.
const STAMP: usize = 8;
/// Objects of a group, which is one stream.
const GROUP: u64 = 100;
/// Objects that are given to the session at once.
const BATCH: u64 = 32;
/// Time without any object after which those on their way are taken for lost.
const LOST: Duration = Duration::from_secs(3);
/// How often one is published until every subscriber gets them.
const FIRST_ONES: Duration = Duration::from_millis(20);
/// The longest that everything may take before the first object is counted.
const PREPARING: Duration = Duration::from_secs(30);

/// How a relay learns of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// By PUBLISH_NAMESPACE. It subscribes when somebody does there.
    Namespace,
    /// By PUBLISH.
    Track,
}

/// What a relay is to do.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// The draft that everybody speaks.
    pub draft: Draft,
    /// How the track is offered.
    pub offer: Offer,
    /// Subscribers, each in a session of its own.
    pub subscribers: usize,
    /// Bytes of each object, at least 8.
    pub size: usize,
    /// For how long objects are published.
    pub time: Duration,
    /// Objects published a second; as many as the relay hands on if there is no such bound.
    pub rate: Option<f64>,
    /// Objects that may be on their way.
    pub ahead: u64,
}

/// What it did.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Objects that subscribers got, all together.
    pub delivered: u64,
    /// Objects that they should have got and did not.
    pub lost: u64,
    /// Seconds from the first to the last.
    pub wall: f64,
    /// The relay's processor time, in seconds.
    pub cpu: f64,
    /// For how long objects were on their way, in nanoseconds, shortest first.
    pub latencies: Vec<u64>,
}

impl Outcome {
    /// So many of a hundred were no longer on their way, in milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub fn latency(&self, percentile: usize) -> Option<f64> {
        let nanos = self.latencies.get(self.latencies.len() * percentile / 100)?;
        Some(*nanos as f64 / 1e6)
    }
}

/// A process that relays, and where.
#[derive(Clone, Debug)]
pub struct Relay {
    /// Where to connect to.
    pub target: Target,
    /// Its process.
    pub process: u32,
    /// What it lets clients in for, if it wants a token.
    pub token: Option<Bytes>,
}

/// One publisher and its subscribers, of which each gets objects.
pub struct Gathering {
    relay: Relay,
    load: Load,
    publication: Publication,
    progress: Arc<Progress>,
    subscribers: JoinSet<Result<Vec<u64>, Error>>,
    next_group: u64,
    began: Instant,
    /// They end when these are dropped.
    _sessions: Vec<Session>,
    _namespace: Option<NamespacePublication>,
}

impl Gathering {
    /// Connects everybody. `name` must be new to the relay.
    pub async fn new(relay: Relay, load: Load, name: &str) -> Result<Self, Error> {
        let preparing = Self::prepare(relay, load, name);
        let prepared = tokio::time::timeout(PREPARING, preparing).await;
        prepared.map_err(|_| "no objects came within 30 s")?
    }

    async fn prepare(relay: Relay, load: Load, name: &str) -> Result<Self, Error> {
        let track: FullTrackName = format!("{name}--track").parse()?;
        let publisher = connect(&relay, load.draft).await?;
        let mut sessions = vec![publisher.clone()];
        let (mut namespace, mut publication) = (None, None);
        match load.offer {
            Offer::Namespace => {
                let named = track.namespace().clone();
                let pending = publisher.publish_namespace(named, Parameters::default());
                namespace = Some(pending.await?);
            }
            Offer::Track => {
                let offered = publisher
                    .publish(track.clone(), Parameters::default(), TrackProperties::new())
                    .await?;
                offered.accepted().await?;
                publication = Some(offered);
            }
        }
        let progress = Arc::new(Progress::new(load.subscribers));
        let began = Instant::now();
        let mut subscribers = JoinSet::new();
        for at in 0..load.subscribers {
            let session = connect(&relay, load.draft).await?;
            let pending = session.subscribe(track.clone(), Parameters::default());
            sessions.push(session);
            let publication = &mut publication;
            let asked = async {
                if publication.is_none() {
                    *publication = Some(asked_for(&publisher).await?);
                }
                Ok::<_, Error>(())
            };
            let (subscription, asked) = tokio::join!(pending, asked);
            asked?;
            subscribers.spawn(receive(subscription?, at, progress.clone(), began));
        }
        let publication = publication.ok_or("there are no subscribers")?;
        let mut this = Self {
            relay,
            load,
            publication,
            progress,
            subscribers,
            next_group: 0,
            began,
            _sessions: sessions,
            _namespace: namespace,
        };
        while !this.progress.has_all_begun() {
            this.publish_first().await?;
            tokio::time::sleep(FIRST_ONES).await;
        }
        Ok(this)
    }

    /// Publishes an object that does not count, in a group of its own.
    async fn publish_first(&mut self) -> Result<(), Error> {
        if let Some(mut writer) = self.open_group().await? {
            writer.write_object(0, self.payload(None)).await?;
            writer.finish()?;
        }
        Ok(())
    }

    async fn open_group(&mut self) -> Result<Option<SubgroupWriter>, Error> {
        let mut options = SubgroupOptions::new(self.next_group);
        // There are relays that do not know how to do without.
        options.publisher_priority = Some(128);
        self.next_group += 1;
        Ok(self.publication.open_subgroup(options).await?)
    }

    /// An object that is published now, or one that does not count.
    fn payload(&self, published: Option<Instant>) -> Bytes {
        let at = published.map_or(0, |at| nanos(at.duration_since(self.began)));
        let mut payload = BytesMut::zeroed(self.load.size.max(STAMP));
        payload[..STAMP].copy_from_slice(&at.to_be_bytes());
        payload.freeze()
    }

    /// Publishes for as long as the load says, and waits for everything to arrive.
    pub async fn run(mut self) -> Result<Outcome, Error> {
        let cpu = cpu_time(self.relay.process)?;
        let start = Instant::now();
        let published = self.publish(start).await?;
        self.progress.wait_for(published, 0).await;
        let wall = start.elapsed().as_secs_f64();
        let cpu = cpu_time(self.relay.process)?.saturating_sub(cpu).as_secs_f64();
        self.publication.done(PublishDoneCode::TrackEnded, "");
        let mut latencies = Vec::new();
        let collect = async {
            while let Some(subscriber) = self.subscribers.join_next().await {
                latencies.extend(subscriber??);
            }
            Ok::<_, Error>(())
        };
        tokio::time::timeout(PREPARING, collect).await.map_err(|_| "the track does not end")??;
        latencies.sort_unstable();
        let delivered = latencies.len() as u64;
        let lost = (published * self.load.subscribers as u64).saturating_sub(delivered);
        Ok(Outcome { delivered, lost, wall, cpu, latencies })
    }

    /// How many objects were published.
    async fn publish(&mut self, start: Instant) -> Result<u64, Error> {
        let mut published = 0;
        let mut batch = Vec::new();
        while start.elapsed() < self.load.time {
            let Some(mut writer) = self.open_group().await? else { continue };
            let mut next = 0;
            while next < GROUP && start.elapsed() < self.load.time {
                self.progress.wait_for(published, self.load.ahead).await;
                let many = self.due(start, published).await.min(GROUP - next);
                let now = Instant::now();
                for object_id in next..next + many {
                    let payload = self.payload(Some(now));
                    let payload_len = payload.len() as u64;
                    let header = ObjectHeader { object_id, payload_len, ..Default::default() };
                    batch.push((header, payload));
                }
                while !batch.is_empty() {
                    writer.write_many(&mut batch).await?;
                }
                next += many;
                published += many;
            }
            writer.finish()?;
        }
        Ok(published)
    }

    /// Waits until it is time for the next object, and says for how many it is.
    async fn due(&self, start: Instant, published: u64) -> u64 {
        let Some(rate) = self.load.rate else { return BATCH };
        #[expect(clippy::cast_precision_loss, reason = "a time of some seconds")]
        let at = |object: u64| start + Duration::from_secs_f64(object as f64 / rate);
        tokio::time::sleep_until(at(published).into()).await;
        let now = Instant::now();
        (1..BATCH).find(|more| at(published + more) > now).unwrap_or(BATCH)
    }
}

/// How far each subscriber is.
struct Progress {
    subscribers: Vec<Received>,
    changed: Notify,
}

#[derive(Default)]
struct Received {
    /// It has got some object.
    has_begun: AtomicBool,
    /// Objects that count.
    objects: AtomicU64,
    /// Those that it was given up waiting for.
    lost: AtomicU64,
}

impl Progress {
    fn new(subscribers: usize) -> Self {
        let subscribers = (0..subscribers).map(|_| Received::default()).collect();
        Self { subscribers, changed: Notify::new() }
    }

    fn has_all_begun(&self) -> bool {
        self.subscribers.iter().all(|received| received.has_begun.load(Ordering::Relaxed))
    }

    /// Waits until nobody is further behind than this.
    async fn wait_for(&self, published: u64, ahead: u64) {
        let is_behind = |received: &Received| {
            let objects = received.objects.load(Ordering::Relaxed);
            objects + received.lost.load(Ordering::Relaxed) + ahead < published
        };
        while self.subscribers.iter().any(is_behind) {
            if tokio::time::timeout(LOST, self.changed.notified()).await.is_err() {
                for received in self.subscribers.iter().filter(|received| is_behind(received)) {
                    let objects = received.objects.load(Ordering::Relaxed);
                    received.lost.store(published.saturating_sub(objects), Ordering::Relaxed);
                }
            }
        }
    }
}

/// Receives everything. For how long each object that counts was on its way.
async fn receive(
    mut subscription: Subscription,
    at: usize,
    progress: Arc<Progress>,
    began: Instant,
) -> Result<Vec<u64>, Error> {
    let received = progress.subscribers.get(at).ok_or("no such subscriber")?;
    let mut latencies = Vec::new();
    let mut objects = Vec::new();
    while let Some(mut subgroup) = subscription.next_subgroup().await? {
        loop {
            match subgroup.read_many(&mut objects, 256, usize::MAX).await {
                // What a relay does not give before it resets a stream is lost.
                Ok(0) | Err(ReadError::Reset(_)) => break,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            let now = nanos(began.elapsed());
            let stamps = objects.drain(..).filter_map(|object| {
                Some(u64::from_be_bytes(object.payload.get(..STAMP)?.try_into().ok()?))
            });
            let before = latencies.len();
            let counts = stamps.filter(|published| *published > 0);
            latencies.extend(counts.map(|published| now.saturating_sub(published)));
            received.has_begun.store(true, Ordering::Relaxed);
            let more = (latencies.len() - before) as u64;
            received.objects.fetch_add(more, Ordering::Relaxed);
            progress.changed.notify_one();
        }
    }
    Ok(latencies)
}

/// Waits until the relay asks for the track.
async fn asked_for(publisher: &Session) -> Result<Publication, Error> {
    loop {
        if let Incoming::Subscribe(request) = publisher.accept_request().await? {
            return Ok(request.accept(Accept::default())?);
        }
    }
}

/// A session with a relay, whatever its certificate.
pub async fn connect(relay: &Relay, draft: Draft) -> Result<Session, Error> {
    let mut options = ClientOptions::default();
    options.drafts = vec![draft];
    options.tls = ClientTls::new(Verify::Insecure);
    let token = |value: &Bytes| AuthToken::UseValue { token_type: 0, value: value.clone() };
    options.engine.authorization_tokens = relay.token.iter().map(token).collect();
    Ok(Client::connect(&relay.target, &options).await?)
}

/// What subscribers take that get nothing: bytes of the relay's memory for each of them.
pub async fn idle_subscribers(relay: &Relay, load: Load) -> Result<u64, Error> {
    let first = Gathering::new(relay.clone(), load, "idle-first").await?;
    let before = memory(relay.process, "VmRSS:")?;
    let second = Gathering::new(relay.clone(), load, "idle-second").await?;
    let after = memory(relay.process, "VmRSS:")?;
    drop((first, second));
    Ok(after.saturating_sub(before) / load.subscribers.max(1) as u64)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Processor time of a process, as Linux counts it.
fn cpu_time(process: u32) -> Result<Duration, Error> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // What comes before is the name of the program.
    let (_, fields) = stat.rsplit_once(')').ok_or("no process to measure")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks: u64 = ticks.collect::<Result<Vec<_>, _>>()?.into_iter().sum();
    // USER_HZ is 100 wherever Linux runs on what this is run on.
    Ok(Duration::from_millis(10 * ticks))
}

/// Memory of a process, in bytes: what is in use (`VmRSS:`), or the most of it (`VmHWM:`).
pub(crate) fn memory(process: u32, figure: &str) -> Result<u64, Error> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(figure));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()).ok_or("no such figure")?;
    Ok(1024 * kibibytes.parse::<u64>()?)
}
