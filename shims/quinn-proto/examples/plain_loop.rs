//! The sans-IO endpoint in a plain loop: one thread, one socket, no async, no runtime.
//!
//! A server that publishes ten objects to whoever subscribes to `demo--plain`, and a client
//! that subscribes, in the same loop:
//! `cargo run --example plain_loop`

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moqt_quinn_proto::engine::model::{Parameters, PublishDoneCode, SessionError};
use moqt_quinn_proto::engine::wire::ObjectHeader;
use moqt_quinn_proto::engine::{
    Accept, Config, Draft, Event as Moqt, IncomingRequest, MoqtConnection, Read, SubgroupOptions,
    Timestamp,
};
use moqt_quinn_proto::{
    COALESCE_BELOW, ClientConfig, ClientTls, ConnectionHandle, Endpoint, Event, Identity,
    ServerConfig, ServerTls, SessionConfig, TransportOptions, Verify,
};

type Error = Box<dyn std::error::Error>;

/// An endpoint and its socket.
struct Peer {
    endpoint: Endpoint,
    socket: UdpSocket,
}

fn main() -> Result<(), Error> {
    let identity = Identity::self_signed([])?;
    let hash = identity.sha256();
    let transport = TransportOptions::default();
    let mut moqt = Config::default();
    moqt.coalesce_below = COALESCE_BELOW;
    let session = SessionConfig::new(Arc::new(moqt), &Draft::ALL);
    let server_config = ServerConfig::new(&ServerTls::new(identity), &transport, session.clone())?;
    let mut server = Peer::new(Some(server_config))?;

    let tls = ClientTls::new(Verify::Pinned(vec![hash]));
    let client_config = ClientConfig::new(&tls, &transport, session)?;
    let mut client = Peer::new(None)?;
    let address = server.socket.local_addr()?;
    client.endpoint.connect(Instant::now(), client_config, address, "localhost")?;

    let poller = polling::Poller::new()?;
    let mut ready = polling::Events::new();
    // SAFETY: both sockets outlive the poller's use, and are taken out below.
    unsafe {
        poller.add(&server.socket, polling::Event::none(0))?;
        poller.add(&client.socket, polling::Event::none(1))?;
    }
    let mut is_over = false;
    while !is_over {
        // Everything there is to do, until there is nothing.
        server.run(publish)?;
        client.run(|moqt, now, event| {
            let outcome = subscribe(moqt, now, event);
            is_over |= matches!(outcome, Ok(true));
            outcome.map(drop)
        })?;
        // Then wait for a datagram or a deadline.
        let deadline = [&server, &client].iter().filter_map(|p| p.endpoint.poll_timeout()).min();
        let wait = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        poller.modify(&server.socket, polling::Event::readable(0))?;
        poller.modify(&client.socket, polling::Event::readable(1))?;
        ready.clear();
        if !is_over {
            poller.wait(&mut ready, wait.or(Some(Duration::from_secs(1))))?;
        }
    }
    poller.delete(&server.socket)?;
    poller.delete(&client.socket)?;
    Ok(())
}

impl Peer {
    fn new(server: Option<ServerConfig>) -> io::Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", 0))?;
        socket.set_nonblocking(true)?;
        // A plain socket splits nothing, and its datagrams may be fragmented.
        Ok(Self { endpoint: Endpoint::new(server, true, 1, Instant::now()), socket })
    }

    /// Receives, sends and handles events until there is nothing more to do now.
    fn run(
        &mut self,
        mut handle: impl FnMut(&mut MoqtConnection, Timestamp, &Moqt) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut received = [0; 2048];
        while let Ok((len, from)) = self.socket.recv_from(&mut received) {
            let datagram = received[..len].into();
            self.endpoint.handle_datagram(Instant::now(), from, None, None, datagram);
        }
        self.endpoint.handle_timeout(Instant::now());
        let mut contents = Vec::new();
        loop {
            let now = Instant::now();
            while let Some(transmit) = self.endpoint.poll_transmit(now, &mut contents) {
                // A datagram the system does not take is lost, as others are.
                let _ = self.socket.send_to(&contents[..transmit.size], transmit.destination);
            }
            let Some((connection, event)) = self.endpoint.poll_event() else { return Ok(()) };
            match event {
                Event::Moqt(event) => {
                    self.with(connection, now, |moqt, now| handle(moqt, now, &event))?;
                }
                Event::Failed { error } => return Err(error.into()),
                _ => {}
            }
        }
    }

    fn with(
        &mut self,
        connection: ConnectionHandle,
        now: Instant,
        work: impl FnOnce(&mut MoqtConnection, Timestamp) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.endpoint.with(connection, now, work).unwrap_or(Ok(()))
    }
}

/// The server: ten objects for whoever asks.
fn publish(moqt: &mut MoqtConnection, now: Timestamp, event: &Moqt) -> Result<(), Error> {
    let &Moqt::Request { request, what: IncomingRequest::Subscribe { .. } } = event else {
        return Ok(());
    };
    moqt.accept(now, request, Accept::default())?;
    let Some(mut publisher) = moqt.publisher(request) else { return Ok(()) };
    let Some(stream) = publisher.open_subgroup(SubgroupOptions::new(0))? else { return Ok(()) };
    for object_id in 0..10 {
        let payload = format!("object {object_id}");
        let payload_len = payload.len() as u64;
        let header = ObjectHeader { object_id, payload_len, ..ObjectHeader::default() };
        let Some(mut subgroup) = moqt.subgroup(stream) else { return Ok(()) };
        subgroup.object(&header, payload.into())?;
    }
    if let Some(subgroup) = moqt.subgroup(stream) {
        subgroup.finish()?;
    }
    if let Some(publisher) = moqt.publisher(request) {
        publisher.done(PublishDoneCode::TrackEnded, "");
    }
    Ok(())
}

/// The client: subscribes and prints. Whether it is done.
fn subscribe(moqt: &mut MoqtConnection, now: Timestamp, event: &Moqt) -> Result<bool, Error> {
    match event {
        Moqt::Established { .. } => {
            moqt.subscribe(now, &"demo--plain".parse()?, &Parameters::default())?;
        }
        Moqt::SubgroupOpened { stream, .. } | Moqt::Readable { stream } => loop {
            match moqt.read(*stream, usize::MAX) {
                Read::Object(header) => print!("{}: ", header.object_id),
                Read::Payload(bytes) => println!("{}", bytes.escape_ascii()),
                _ => break,
            }
        },
        Moqt::SubscriptionDone { code, .. } => {
            println!("done: {code}");
            moqt.close(SessionError::NoError, "");
        }
        Moqt::Closed { reason } => {
            println!("{reason}");
            return Ok(true);
        }
        _ => {}
    }
    Ok(false)
}
