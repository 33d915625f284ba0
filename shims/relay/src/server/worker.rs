//! The thread of one shard.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use moqt_engine::Event as Moqt;
use moqt_engine::model::SessionError;
use moqt_quinn_proto::{Endpoint, Origin, RecvBuffers, Socket, Steering};
use moqt_relay::{Action, ConnectionId, Connections, Router, Shard, ShardId};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Sleep, sleep_until};
use tracing::warn;

use super::mail::{Dial, DialNews, Inbox, Mail, Outbox};
use super::origins::Origins;
use super::port::{Port, Sent};
use super::report::ShardReport;
use super::sessions::{Sessions, Told};
use crate::auth::Rules;

/// Things from other threads that are looked at before the sockets get their turn.
const MAIL: usize = 256;
/// How often sending and what follows from it alternate before the sockets are read again.
const ROUNDS: usize = 16;
/// When to look again whether other shards have caught up.
const HELD_UP: Duration = Duration::from_millis(1);
/// Time for peers to hear that a session has ended for want of time.
const PARTING: Duration = Duration::from_secs(1);

/// A shard, its connections, and what joins it to the others. Runs until the relay is closed.
pub(super) struct Worker {
    id: ShardId,
    shard: Shard<Rules>,
    sessions: Sessions,
    router: Router,
    steering: Arc<Steering>,
    inbox: Inbox,
    /// Of all shards.
    outboxes: Vec<Outbox>,
    /// Messages that may wait for another shard.
    max_waiting: usize,
    outgoing: Vec<Vec<moqt_relay::Message>>,
    astray: Vec<Vec<(Origin, BytesMut)>>,
    received: RecvBuffers,
    /// Connections that this side has begun.
    dials: HashMap<u64, UnboundedSender<DialNews>>,
    next_dial: u64,
    origins: Origins,
    started: Instant,
    state: State,
    timer: Pin<Box<Sleep>>,
    /// What the timer is set to.
    deadline: Option<Instant>,
    strays: u64,
    messages: u64,
}

/// Whether it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// Clients have been asked to leave until then.
    Leaving(Instant),
    /// Sessions have been closed: it ends when that is sent.
    Closed,
}

/// What a worker is made of.
pub(super) struct Parts {
    pub(super) shard: Shard<Rules>,
    pub(super) shards: u16,
    pub(super) max_waiting: usize,
    pub(super) server: Port,
    pub(super) steering: Arc<Steering>,
    pub(super) inbox: Inbox,
    pub(super) outboxes: Vec<Outbox>,
    pub(super) origins: Origins,
    pub(super) started: Instant,
}

impl Worker {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { shard, shards, max_waiting, server, steering, .. } = parts;
        let id = shard.id();
        Self {
            id,
            shard,
            sessions: Sessions::new(id, server),
            router: Router::new(shards),
            steering,
            inbox: parts.inbox,
            outgoing: parts.outboxes.iter().map(|_| Vec::new()).collect(),
            astray: parts.outboxes.iter().map(|_| Vec::new()).collect(),
            outboxes: parts.outboxes,
            max_waiting,
            received: RecvBuffers::default(),
            dials: HashMap::new(),
            next_dial: 0,
            origins: parts.origins,
            started: parts.started,
            state: State::Running,
            timer: Box::pin(sleep_until(parts.started.into())),
            deadline: None,
            strays: 0,
            messages: 0,
        }
    }

    /// Whether there may be more.
    fn read_mail(&mut self, cx: &mut Context<'_>) -> bool {
        for _ in 0..MAIL {
            let Some(mail) = self.inbox.poll(cx) else { return false };
            let at = Instant::now();
            let now = self.sessions.timestamp(at);
            let Self { shard, sessions, .. } = self;
            match mail {
                Mail::Messages(messages) => {
                    self.messages = self.messages.wrapping_add(messages.len() as u64);
                    for message in messages {
                        shard.handle_message(now, sessions, message);
                    }
                }
                Mail::Strays(strays) => {
                    self.strays = self.strays.wrapping_add(strays.len() as u64);
                    let Some(port) = sessions.server() else { continue };
                    for (origin, datagram) in strays {
                        port.handle_datagram(at, origin, datagram);
                    }
                }
                Mail::Dial(dial) => self.dial(at, dial),
                Mail::Found { namespace, origins } => {
                    let origins = origins.unwrap_or_else(|error| {
                        warn!(%error, "the directory of origins did not answer");
                        Vec::new()
                    });
                    if let Some(answer) = self.origins.found(namespace, &origins) {
                        shard.handle_origin(now, sessions, &answer.namespace, answer.origin);
                    }
                }
                Mail::Origin { url, connection } => {
                    for namespace in self.origins.changed(url, connection) {
                        shard.handle_origin(now, sessions, &namespace, connection);
                    }
                }
                Mail::SetRules(rules) => shard.set_authorize(now, sessions, rules),
                Mail::SetServer(server) => {
                    if let Some(port) = sessions.server() {
                        port.endpoint.set_server(server);
                    }
                }
                Mail::Leave { uri, timeout } => self.leave(at, &uri, timeout),
                Mail::Close => self.close(at, SessionError::NoError),
                Mail::Report(to) => drop(to.send(self.report())),
            }
        }
        true
    }

    /// Begins a connection to another relay.
    fn dial(&mut self, now: Instant, dial: Dial) {
        let Dial { kind, config, remote, server_name, news } = dial;
        let begun = self.port_for(remote).and_then(|port| {
            let found = self.sessions.ports().get_mut(port);
            let endpoint = &mut found.ok_or("there is no socket")?.endpoint;
            let handle = endpoint.connect(now, config, remote, &server_name);
            Ok((port, handle.map_err(|error| error.to_string())?))
        });
        match begun {
            Ok((port, handle)) => {
                let attempt = self.next_dial;
                self.next_dial = attempt.wrapping_add(1);
                self.sessions.began(port, handle, kind, attempt);
                self.dials.insert(attempt, news);
            }
            Err(reason) => drop(news.send(DialNews::Ended(reason))),
        }
    }

    /// A socket to connect from: another than clients come in at, whose address may be one that
    /// does not lead there.
    fn port_for(&mut self, remote: SocketAddr) -> Result<usize, String> {
        if let Some(port) = self.sessions.port_for(remote) {
            return Ok(port);
        }
        let local: SocketAddr = match remote {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        // All sockets of a shard go by one clock.
        let started = self.started;
        let port = Socket::bind(local).and_then(|socket| {
            Port::new(socket, |socket| {
                Endpoint::new(None, socket.may_fragment(), socket.max_segments(), started)
            })
        });
        Ok(self.sessions.add_port(port.map_err(|error| format!("{local}: {error}"))?))
    }

    fn leave(&mut self, at: Instant, uri: &Bytes, timeout: Duration) {
        if self.state != State::Running {
            return;
        }
        let now = self.sessions.timestamp(at);
        self.shard.go_away(now, &mut self.sessions, uri, timeout);
        let end = at.checked_add(timeout).and_then(|end| end.checked_add(PARTING));
        self.state = State::Leaving(end.unwrap_or(at));
    }

    fn close(&mut self, at: Instant, error: SessionError) {
        if self.state != State::Closed {
            self.sessions.close_all(at, |moqt| moqt.close(error, "the relay is stopped"));
            self.state = State::Closed;
        }
    }

    /// Whether other shards have so much to do because of this one that it should not take in more.
    fn is_held_up(&self) -> bool {
        self.outboxes.iter().any(|outbox| outbox.waiting() > self.max_waiting)
    }

    /// Whether there may be more.
    fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        let Self { sessions, received, steering, astray, id, .. } = self;
        let mut more = false;
        for (index, port) in sessions.ports().iter_mut().enumerate() {
            more |= port.receive(cx, received, |origin, datagram| {
                let endpoint = steering.endpoint_of(&datagram).filter(|_| index == 0);
                match endpoint.and_then(|other| astray.get_mut(usize::from(other))) {
                    Some(astray) if endpoint != Some(id.0) => {
                        astray.push((origin, datagram));
                        None
                    }
                    _ => Some(datagram),
                }
            });
        }
        for (astray, outbox) in self.astray.iter_mut().zip(&self.outboxes) {
            if !astray.is_empty() {
                outbox.strays(std::mem::take(astray));
            }
        }
        more
    }

    /// Time has passed.
    fn expire(&mut self) {
        let at = Instant::now();
        for port in self.sessions.ports() {
            if port.endpoint.poll_timeout().is_some_and(|due| due <= at) {
                port.endpoint.handle_timeout(at);
            }
        }
        let now = self.sessions.timestamp(at);
        if self.shard.poll_timeout().is_some_and(|due| due <= now) {
            self.shard.handle_timeout(now, &mut self.sessions);
        }
        match self.state {
            State::Leaving(end) if end <= at => self.close(at, SessionError::GoawayTimeout),
            State::Leaving(_) if self.sessions.clients() == 0 => {
                self.close(at, SessionError::NoError);
            }
            _ => {}
        }
    }

    /// Sends what there is to send, and lets the shard know what happens meanwhile. Whether there
    /// may be more.
    fn work(&mut self, cx: &mut Context<'_>) -> bool {
        // What sessions tell is told before anything else comes in: handles are used again.
        self.hear();
        for _ in 0..ROUNDS {
            let mut more = false;
            for port in self.sessions.ports() {
                more |= port.transmit(cx) == Sent::Some;
            }
            if !self.hear() && !more {
                return false;
            }
        }
        true
    }

    /// Tells the shard what sessions tell, and others what the shard tells. Whether there was
    /// something.
    fn hear(&mut self) -> bool {
        let now = self.sessions.timestamp(Instant::now());
        let mut heard = false;
        while let Some(told) = self.sessions.poll() {
            heard = true;
            match told {
                Told::Connected { id, peer, attempt } => {
                    self.shard.handle_connected(now, &mut self.sessions, id, peer);
                    if let Some(attempt) = attempt {
                        self.tell_dialer(id, attempt);
                    }
                }
                Told::Event { id, event, attempt } => {
                    if let Moqt::Goaway { new_session_uri, .. } = &event
                        && let Some(news) = attempt.and_then(|attempt| self.dials.get(&attempt))
                    {
                        let _ = news.send(DialNews::Goaway(new_session_uri.clone()));
                    }
                    self.shard.handle_event(now, &mut self.sessions, id, event);
                }
                Told::Ended { attempt, reason } => {
                    if let Some(news) = self.dials.remove(&attempt) {
                        let _ = news.send(DialNews::Ended(reason));
                    }
                }
            }
        }
        heard |= self.carry();
        while let Some(action) = self.shard.poll_action() {
            heard = true;
            match action {
                Action::FindOrigin { namespace } => self.origins.find(namespace),
                Action::Hold { namespace } => self.origins.hold(namespace, true),
                Action::Release { namespace } => self.origins.hold(namespace, false),
                _ => {}
            }
        }
        heard
    }

    /// Tells whoever has begun a connection that it has a session. If nobody waits for it any
    /// longer, it is closed.
    fn tell_dialer(&mut self, id: ConnectionId, attempt: u64) {
        let Some(news) = self.dials.get(&attempt) else { return };
        if news.send(DialNews::Established(id)).is_err() {
            self.sessions.with(id, |moqt| moqt.close(SessionError::NoError, "given up"));
        }
    }

    /// Carries what the shard has to say to the others. Whether there was something.
    fn carry(&mut self) -> bool {
        while let Some((to, message)) = self.shard.poll_message() {
            self.router.handle_message(self.id, to, message);
        }
        let mut carried = false;
        while let Some((to, message)) = self.router.poll_message() {
            carried = true;
            if let Some(outgoing) = self.outgoing.get_mut(usize::from(to.0)) {
                outgoing.push(message);
            }
        }
        if carried {
            for (outgoing, outbox) in self.outgoing.iter_mut().zip(&self.outboxes) {
                if !outgoing.is_empty() {
                    outbox.messages(std::mem::take(outgoing));
                }
            }
        }
        carried
    }

    /// When there is something to do though nothing happens.
    fn next_deadline(&mut self) -> Option<Instant> {
        let shard = self.shard.poll_timeout().and_then(|at| self.sessions.instant(at));
        let leaving = match self.state {
            State::Leaving(end) => Some(end),
            _ => None,
        };
        let held_up = self.is_held_up().then(|| Instant::now() + HELD_UP);
        let endpoints =
            self.sessions.ports().iter().filter_map(|port| port.endpoint.poll_timeout());
        endpoints.chain(shard).chain(leaving).chain(held_up).min()
    }

    fn report(&mut self) -> ShardReport {
        let mut report = ShardReport {
            relay: self.shard.stats(),
            connections: self.sessions.len() as u64,
            strays: self.strays,
            messages: self.messages,
            ..ShardReport::default()
        };
        if let Some(outbox) = self.outboxes.get(usize::from(self.id.0)) {
            report.messages_waiting = outbox.waiting() as u64;
        }
        for port in self.sessions.ports() {
            report.traffic.add(port.traffic);
        }
        report
    }
}

impl Future for Worker {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let mut more = this.read_mail(cx);
        this.expire();
        if !this.is_held_up() {
            more |= this.receive(cx);
        }
        more |= this.work(cx);
        if this.state == State::Closed && !more {
            return Poll::Ready(());
        }
        let deadline = this.next_deadline();
        if let Some(at) = deadline {
            if this.deadline != deadline {
                this.timer.as_mut().reset(at.into());
            }
            more |= this.timer.as_mut().poll(cx).is_ready();
        }
        this.deadline = deadline.filter(|_| !more);
        // Whoever has left was the last.
        more |= matches!(this.state, State::Leaving(_)) && this.sessions.clients() == 0;
        if more {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by it")]
mod tests {
    use std::future::poll_fn;
    use std::net::UdpSocket;
    use std::pin::pin;

    use moqt_engine::model::{Parameters, TrackNamespace};
    use moqt_quinn_proto::{
        Client, ClientOptions, ClientTls, Identity, ServerConfig, ServerOptions, ServerTls,
        SessionConfig, Target, TransportOptions, Verify,
    };

    use super::super::dial::Dialer;
    use super::super::mail::mailbox;
    use super::*;

    /// The longest that anything may take.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// The first of two shards, on one thread with the test, and where it listens.
    fn worker(
        max_waiting: usize,
        identity: Identity,
        (outboxes, inbox): (Vec<Outbox>, Inbox),
    ) -> (Worker, SocketAddr) {
        let started = Instant::now();
        let options = ServerOptions::new(identity.clone());
        let session = SessionConfig::server(&options, 4096);
        let transport = TransportOptions::default();
        let server = ServerConfig::new(&ServerTls::new(identity), &transport, session).unwrap();
        let steering = Arc::new(Steering::new(2));
        let socket = Socket::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let local = socket.local_addr().unwrap();
        let endpoint = Endpoint::steered((&steering, 0), Some(server), false, 1, started);
        let port = Port::new(socket, |_| endpoint).unwrap();
        let shard = Shard::new(ShardId(0), 2, Arc::default(), Rules::open());
        let outbox = outboxes.first().cloned().unwrap();
        let origins = Origins::new(Dialer { options: Arc::default(), outbox }, None);
        let parts = Parts {
            shard,
            shards: 2,
            max_waiting,
            server: port,
            steering,
            inbox,
            outboxes,
            origins,
            started,
        };
        (Worker::new(parts), local)
    }

    /// Lets the worker have a turn, and then all others.
    async fn turn(worker: &mut Worker) {
        poll_fn(|cx| {
            let _ = Pin::new(&mut *worker).poll(cx);
            Poll::Ready(())
        })
        .await;
        tokio::task::yield_now().await;
    }

    #[tokio::test]
    async fn a_shard_that_another_does_not_listen_to_reads_its_socket_no_more() {
        let identity = Identity::self_signed([]).unwrap();
        let mut options = ClientOptions::default();
        options.tls = ClientTls::new(Verify::Pinned(vec![identity.sha256()]));
        let ((mine, inbox), (others, mut unread)) = (mailbox(), mailbox());
        let (mut worker, local) = worker(1, identity, (vec![mine, others], inbox));
        let target: Target = format!("moqt://{local}/").parse().unwrap();
        let mut client = pin!(async {
            let session = Client::connect(&target, &options).await.unwrap();
            let mut published = Vec::new();
            for name in ["a", "b"] {
                let namespace = TrackNamespace::new([name]).unwrap();
                let pending = session.publish_namespace(namespace, Parameters::default());
                published.push(pending.await.unwrap());
            }
            (session, published)
        });
        let begun = Instant::now();
        // What it says to the other shard is one message for each namespace.
        let _client = loop {
            assert!(begun.elapsed() < PATIENCE, "{:?}", worker.report());
            tokio::select! {
                client = &mut client => break client,
                () = turn(&mut worker) => {}
            }
        };
        assert!(worker.is_held_up());
        let before = worker.report().traffic.datagrams_in;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.send_to(&[0; 100], local).unwrap();
        for _ in 0..100 {
            turn(&mut worker).await;
        }
        assert_eq!(worker.report().traffic.datagrams_in, before);
        // The other one comes round to it.
        while poll_fn(|cx| Poll::Ready(unread.poll(cx))).await.is_some() {}
        assert!(!worker.is_held_up());
        while worker.report().traffic.datagrams_in == before {
            assert!(begun.elapsed() < PATIENCE, "{:?}", worker.report());
            turn(&mut worker).await;
        }
    }
}
