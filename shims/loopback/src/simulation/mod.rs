//! [`Simulation`]: async sessions on a [`Network`], and the tasks that use them.

mod driver;
#[cfg(feature = "relay")]
mod relay;
mod tasks;

use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use moqt_engine::{CloseReason, MoqtConnection, Timestamp};
use moqt_session::Session;

use crate::config::LinkConfig;
use crate::network::{EndpointId, Network};
use driver::{End, Shared};
use tasks::Tasks;

#[cfg(feature = "relay")]
pub use relay::RelayNode;
pub use tasks::Task;

/// A [`Network`] whose connections are used through [`Session`]s, and an executor for what uses
/// them. Clones are handles to the same.
///
/// There is one thread, and the clock is the network's: while any task can go on no time passes,
/// and when all wait, it leaps to when the next thing happens. Tasks that can go on at the same
/// time do so in the order they were spawned. The same seed and the same program give the same run,
/// as long as the program takes time and chance from nowhere else: let it wait with
/// [`sleep`](Self::sleep), not with a timer of a runtime's.
///
/// ```
/// use std::sync::Arc;
/// use bytes::Bytes;
/// use moqt_engine::model::PublishDoneCode;
/// use moqt_engine::{Accept, Config, Draft, MoqtConnection, Role, SubgroupOptions, Transport};
/// use moqt_loopback::{LinkConfig, Simulation};
/// use moqt_session::{Incoming, Session};
///
/// /// The application: any code that is given a session.
/// async fn publish(session: Session) -> Result<(), Box<dyn std::error::Error>> {
///     if let Incoming::Subscribe(request) = session.accept_request().await? {
///         let publication = request.accept(Accept::default())?;
///         let subgroup = publication.open_subgroup(SubgroupOptions::new(0)).await?;
///         let mut subgroup = subgroup.ok_or("not wanted")?;
///         subgroup.write_object(0, Bytes::from_static(b"hello")).await?;
///         subgroup.finish()?;
///         publication.done(PublishDoneCode::TrackEnded, "");
///     }
///     Ok(session.flushed().await?)
/// }
///
/// let run = |seed| {
///     let simulation = Simulation::new(seed);
///     let config = Arc::new(Config::default());
///     let [client, server] = [Role::Client, Role::Server].map(|role| {
///         let now = simulation.now();
///         MoqtConnection::new(role, Draft::D18, Transport::Quic, config.clone(), now)
///     });
///     let (client, server) = simulation.connect(client, server, LinkConfig::seeded(seed));
///     let outcome = simulation.run(async {
///         simulation.spawn(async { publish(server.await.unwrap()).await.unwrap() });
///         let session = client.await?;
///         let track = "demo--greeting".parse()?;
///         let mut subscription = session.subscribe(track, Default::default()).await?;
///         let object = subscription.next_object().await?.ok_or("nothing came")?;
///         assert_eq!(&object.payload[..], b"hello");
///         assert!(subscription.next_object().await?.is_none());
///         Ok::<_, Box<dyn std::error::Error>>(())
///     });
///     outcome.expect("somebody waits in vain")?;
///     Ok::<_, Box<dyn std::error::Error>>(simulation.with_network(|network| network.raw_trace_hash()))
/// };
/// assert_eq!(run(7)?, run(7)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Simulation {
    shared: Arc<Shared>,
    tasks: Rc<Tasks>,
}

impl Simulation {
    /// An empty network at time zero, and no tasks.
    pub fn new(seed: u64) -> Self {
        let shared = Arc::new(Shared::new(seed));
        Self { shared, tasks: Rc::default() }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.shared.lock().network.now()
    }

    /// Links two connections, as [`Network::connect`] does. Await each end for its session.
    pub fn connect(
        &self,
        client: MoqtConnection,
        server: MoqtConnection,
        link: LinkConfig,
    ) -> (Connecting, Connecting) {
        let ends = self.shared.connect(client, server, link);
        let [client, server] = <[_; 2]>::from(ends).map(|end| Connecting { end: Some(end) });
        (client, server)
    }

    /// The network, to let things go wrong in it or to look at it.
    pub fn with_network<R>(&self, f: impl FnOnce(&mut Network) -> R) -> R {
        self.shared.with_network(f)
    }

    /// Lets a task go on beside the others, until it is done or [`run`](Self::run) ends. Await
    /// what is returned for its output.
    pub fn spawn<F: Future<Output: 'static> + 'static>(&self, future: F) -> Task<F::Output> {
        self.tasks.spawn(future)
    }

    /// Waits for some of the network's time.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        let until = self.now().saturating_add(duration);
        Sleep { shared: self.shared.clone(), until, key: None }
    }

    /// Runs this and all tasks until it is done; then tasks that are not are dropped. `None` if it
    /// waits for something that cannot happen any more, since nothing is on its way, no timer
    /// runs, and all tasks wait.
    pub fn run<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let output = loop {
            if let Poll::Ready(output) = self.tasks.round(future.as_mut()) {
                break Some(output);
            }
            if !self.tasks.can_go_on() && !self.shared.step() {
                break None;
            }
        };
        self.tasks.clear();
        output
    }
}

/// An end of a link whose session is being set up, from [`Simulation::connect`]. Await it for the
/// session, or the reason why there is none; dropped before that, it closes the session.
#[derive(Debug)]
pub struct Connecting {
    end: Option<Arc<End>>,
}

impl Connecting {
    /// Which end it is, for [`Simulation::with_network`].
    ///
    /// # Panics
    ///
    /// If it has been awaited already.
    pub fn endpoint(&self) -> EndpointId {
        match &self.end {
            Some(end) => end.at(),
            None => unreachable!("the session has been given out"),
        }
    }
}

impl Future for Connecting {
    type Output = Result<Session, CloseReason>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(end) = self.end.take() else { unreachable!("polled after it was done") };
        let info = end.poll_established(cx);
        if info.is_pending() {
            self.end = Some(end);
            return Poll::Pending;
        }
        info.map_ok(|info| Session::new(end, info))
    }
}

/// Waits for some of the network's time, from [`Simulation::sleep`].
#[must_use = "nobody waits unless it is awaited"]
#[derive(Debug)]
pub struct Sleep {
    shared: Arc<Shared>,
    until: Timestamp,
    /// Its entry among the sleepers.
    key: Option<(Timestamp, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut state = this.shared.lock();
        if state.network.now() >= this.until {
            return Poll::Ready(());
        }
        this.key = Some(state.sleep(this.key, this.until, cx));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.shared.lock().sleepers.remove(&key);
        }
    }
}
