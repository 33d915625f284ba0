//! First packets of QUIC connections that never go on.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use quinn_proto::{ClientConfig, Endpoint, EndpointConfig};

use super::Tally;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Connections of one endpoint here, after which all are forgotten.
const CONNECTIONS: usize = 256;
/// Bytes of a datagram that tell what it is: the type of its first packet and QUIC's version.
const HEAD: usize = 5;

/// Sends as many as it can, and counts what comes back.
pub(super) fn send(
    from: Ipv4Addr,
    to: SocketAddr,
    config: &ClientConfig,
    until: Instant,
    tally: &Tally,
) -> Result<(), Error> {
    let socket = UdpSocket::bind((from, 0))?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    while Instant::now() < until {
        let config_of_all = Arc::new(EndpointConfig::default());
        let mut endpoint = Endpoint::new(config_of_all, None, false, None);
        for _ in 0..CONNECTIONS {
            let now = Instant::now();
            let (_, mut connection) = endpoint.connect(now, config.clone(), to, "localhost")?;
            let mut packet = Vec::new();
            if connection.poll_transmit(now, 1, &mut packet).is_some() {
                // What does not fit is lost, as on the way.
                let _ = socket.send(&packet);
            }
            let mut answer = [0; HEAD];
            while socket.recv(&mut answer).is_ok() {
                tally.add(kind_of(answer));
            }
        }
    }
    Ok(())
}

/// What a datagram begins with (RFC 9000, "Long Header Packets").
fn kind_of(head: [u8; HEAD]) -> &'static str {
    match head[0] >> 4 & 0b1011 {
        0b1000 => "Initial",
        0b1010 => "Handshake",
        0b1011 => "Retry",
        _ => "other packets",
    }
}
