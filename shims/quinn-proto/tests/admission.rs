//! Which connections a server takes on, and for how long without a session; and connection IDs
//! that lead to one of several endpoints.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use moqt_engine::{Config, Draft, Event as Moqt};
use moqt_quinn_proto::{
    ClientConfig, ClientTls, ConnectionHandle, ConnectionLimits, Endpoint, Event, Identity,
    ServerConfig, ServerTls, SessionConfig, Steering, TransportOptions, Verify,
};

/// A server, and a client at an address of its own for each connection.
struct Net {
    now: Instant,
    steering: Steering,
    servers: Vec<Endpoint>,
    config: ServerConfig,
    client_config: ClientConfig,
    clients: Vec<(SocketAddr, Endpoint, Vec<Event>)>,
}

impl Net {
    fn new(limits: ConnectionLimits, endpoints: u16) -> Self {
        let now = Instant::now();
        let identity = Identity::self_signed([]).unwrap();
        let tls = ClientTls::new(Verify::Pinned(vec![identity.sha256()]));
        let session = SessionConfig::new(Arc::new(Config::default()), &Draft::ALL);
        let transport = TransportOptions::default();
        let config = ServerConfig::new(&ServerTls::new(identity), &transport, session.clone());
        let config = config.unwrap().limits(limits);
        let client_config = ClientConfig::new(&tls, &transport, session).unwrap();
        let steering = Steering::new(endpoints);
        let server =
            |index| Endpoint::steered((&steering, index), Some(config.clone()), false, 10, now);
        let servers = (0..endpoints).map(server).collect();
        Self { now, steering, servers, config, client_config, clients: Vec::new() }
    }

    fn connect(&mut self, from: &str) -> usize {
        let mut client = Endpoint::new(None, false, 10, self.now);
        let config = self.client_config.clone();
        client.connect(self.now, config, "192.0.2.100:443".parse().unwrap(), "localhost").unwrap();
        self.clients.push((from.parse().unwrap(), client, Vec::new()));
        self.clients.len() - 1
    }

    /// Carries datagrams until nobody has any. Of a client's address the port says which endpoint
    /// gets what no connection ID decides. `answers` says whether the server's arrive.
    fn run(&mut self, answers: bool) {
        let now = self.now;
        let mut buf = Vec::new();
        loop {
            let mut is_busy = false;
            for (address, client, events) in &mut self.clients {
                while let Some(transmit) = client.poll_transmit(now, &mut buf) {
                    is_busy = true;
                    for datagram in split(&buf, transmit.size, transmit.segment_size) {
                        let index = self.steering.endpoint_of(&datagram);
                        let by_port = usize::from(address.port()) % self.servers.len();
                        let server = &mut self.servers[index.map_or(by_port, usize::from)];
                        server.handle_datagram(now, *address, None, None, datagram);
                    }
                }
                events.extend(std::iter::from_fn(|| client.poll_event()).map(|(_, event)| event));
            }
            for server in &mut self.servers {
                while let Some(transmit) = server.poll_transmit(now, &mut buf) {
                    is_busy = true;
                    let to = |(at, ..): &&mut (SocketAddr, _, _)| *at == transmit.destination;
                    let Some((.., client, _)) = self.clients.iter_mut().find(to) else { continue };
                    for datagram in split(&buf, transmit.size, transmit.segment_size) {
                        if answers {
                            let remote = "192.0.2.100:443".parse().unwrap();
                            client.handle_datagram(now, remote, None, None, datagram);
                        }
                    }
                }
                while server.poll_event().is_some() {}
            }
            if !is_busy {
                return;
            }
        }
    }

    /// Lets time pass, and everybody do what is due in it.
    fn pass(&mut self, time: Duration, answers: bool) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(100);
            let clients = self.clients.iter_mut().map(|(_, client, _)| client);
            for endpoint in clients.chain(&mut self.servers) {
                endpoint.handle_timeout(self.now);
            }
            self.run(answers);
        }
    }

    fn is_established(&self, client: usize) -> bool {
        let established = |event: &Event| matches!(event, Event::Moqt(Moqt::Established { .. }));
        self.clients[client].2.iter().any(established)
    }

    fn has_failed(&self, client: usize) -> bool {
        self.clients[client].2.iter().any(|event| matches!(event, Event::Failed { .. }))
    }
}

fn split(buf: &[u8], size: usize, segment: Option<usize>) -> Vec<BytesMut> {
    buf[..size].chunks(segment.unwrap_or(size)).map(BytesMut::from).collect()
}

#[test]
fn an_address_has_so_many_connections_and_proves_itself_from_half_of_them_on() {
    let mut limits = ConnectionLimits::default();
    limits.per_address = 2;
    let mut net = Net::new(limits, 1);
    let clients = [1, 2, 3].map(|port| net.connect(&format!("192.0.2.1:{port}")));
    let other = net.connect("192.0.2.2:1");
    net.run(true);
    assert!(net.is_established(clients[0]) && net.is_established(clients[1]));
    assert!(net.has_failed(clients[2]) && !net.is_established(clients[2]));
    assert!(net.is_established(other));
    let stats = net.config.admission().stats();
    assert_eq!((stats.connections, stats.half_open, stats.addresses), (3, 0, 2));
    assert_eq!(stats.refused, 1);
    // The first of each address was taken at its word, and the third refused when it had proved
    // its address.
    assert_eq!(stats.retried, 2);
}

#[test]
fn a_connection_without_a_session_is_closed_in_time() {
    let mut limits = ConnectionLimits::default();
    limits.setup_timeout = Some(Duration::from_secs(3));
    let mut net = Net::new(limits, 1);
    let ordinary = net.connect("192.0.2.2:1");
    net.run(true);
    net.connect("192.0.2.1:1");
    // Nothing comes back, so the client gets nowhere.
    net.run(false);
    let stats = net.config.admission().stats();
    assert_eq!((stats.connections, stats.half_open), (2, 1));
    net.clients.pop();
    net.pass(Duration::from_secs(10), true);
    let stats = net.config.admission().stats();
    assert_eq!((stats.connections, stats.half_open), (1, 0));
    assert!(net.is_established(ordinary) && net.servers[0].len() == 1);
}

#[test]
fn a_client_that_changes_its_address_is_led_to_its_endpoint() {
    let mut net = Net::new(ConnectionLimits::default(), 3);
    let client = net.connect("192.0.2.1:4");
    net.run(true);
    assert!(net.is_established(client));
    let lens = |net: &Net| net.servers.iter().map(Endpoint::len).collect::<Vec<_>>();
    assert_eq!(lens(&net), [0, 1, 0]);
    // By its port it is another endpoint's now.
    net.clients[client].0 = "192.0.2.1:5".parse().unwrap();
    net.pass(Duration::from_secs(60), true);
    assert_eq!(lens(&net), [0, 1, 0]);
    let handle = ConnectionHandle(0);
    let remote = net.servers[1].remote_address(handle);
    assert_eq!(remote, Some(net.clients[client].0));
}

#[test]
fn another_certificate_is_for_connections_to_come() {
    let mut net = Net::new(ConnectionLimits::default(), 1);
    let before = net.connect("192.0.2.1:1");
    net.run(true);
    let identity = Identity::self_signed([]).unwrap();
    let tls = ClientTls::new(Verify::Pinned(vec![identity.sha256()]));
    let config = net.config.with_tls(&ServerTls::new(identity)).unwrap();
    net.servers[0].set_server(config);
    let distrustful = net.connect("192.0.2.2:1");
    net.run(true);
    assert!(net.is_established(before) && net.has_failed(distrustful));
    let session = SessionConfig::new(Arc::new(Config::default()), &Draft::ALL);
    net.client_config = ClientConfig::new(&tls, &TransportOptions::default(), session).unwrap();
    let after = net.connect("192.0.2.3:1");
    net.run(true);
    assert!(net.is_established(after));
    // They count together, once the one that failed is forgotten.
    net.pass(Duration::from_secs(5), true);
    assert_eq!(net.config.admission().stats().connections, 2);
}
