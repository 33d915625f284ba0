use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use quinn_proto::{EcnCodepoint, Transmit};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use tokio::io::Interest;

/// Datagrams sent to the system at once, at most: what fits into 64 KiB at the largest usual
/// size.
const MAX_SEGMENTS: usize = 44;

/// What to ask the system to buffer, in bytes. It may give less.
const SYSTEM_BUFFER: usize = 2 * 1024 * 1024;

/// A UDP socket with everything the system can do to move many datagrams at once, for a task that
/// drives an [`Endpoint`](crate::Endpoint) of its own.
#[derive(Debug)]
pub struct Socket {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
}

impl Socket {
    /// A socket on this address; port 0 lets the system choose.
    ///
    /// Must be called on a tokio runtime, as for all its functions that wait.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::new(std::net::UdpSocket::bind(address)?)
    }

    /// A socket on an address that it shares with others of this process (SO_REUSEPORT): the
    /// system gives each of them the datagrams of some peers.
    #[cfg(unix)]
    pub fn bind_shared(address: SocketAddr) -> io::Result<Self> {
        use socket2::{Domain, Protocol, Type};

        let domain = Domain::for_address(address);
        let socket = socket2::Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        Self::new(socket.into())
    }

    fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        // More is better; what the system allows is enough.
        let _ = state.set_send_buffer_size((&socket).into(), SYSTEM_BUFFER);
        let _ = state.set_recv_buffer_size((&socket).into(), SYSTEM_BUFFER);
        Ok(Self { io: tokio::net::UdpSocket::from_std(socket)?, state })
    }

    /// The socket's own address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    /// Whether its datagrams may be fragmented on the way.
    pub fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    /// How many datagrams of one size it can send at once.
    pub fn max_segments(&self) -> usize {
        self.state.max_gso_segments().clamp(1, MAX_SEGMENTS)
    }

    /// Hands a datagram, or several of one size, to the system. Pending means that it will
    /// wake the task when it takes more. Errors of the network are losses, as for every
    /// datagram.
    pub fn poll_send(
        &self,
        cx: &mut Context<'_>,
        transmit: &Transmit,
        contents: &[u8],
    ) -> Poll<()> {
        let transmit = to_udp(transmit, contents);
        loop {
            if ready!(self.io.poll_send_ready(cx)).is_err() {
                return Poll::Ready(());
            }
            let sent = self
                .io
                .try_io(Interest::WRITABLE, || self.state.try_send((&self.io).into(), &transmit));
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return Poll::Ready(()),
            }
        }
    }

    /// Hands it to the system at once or not at all, from anywhere.
    pub fn send_now(&self, transmit: &Transmit, contents: &[u8]) {
        // Without room for it, it is lost, as every datagram may be.
        let _ = self.state.try_send((&self.io).into(), &to_udp(transmit, contents));
    }

    /// Receives a batch into `buffers`: of so many of them.
    pub fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut RecvBuffers,
    ) -> Poll<io::Result<usize>> {
        let RecvBuffers { data, metas } = buffers;
        let mut slices = slices(data);
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            let received = self.io.try_io(Interest::READABLE, || {
                self.state.recv((&self.io).into(), &mut slices, metas)
            });
            match received {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // On some systems this is how one hears of a datagram that was not delivered.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                received => return Poll::Ready(received),
            }
        }
    }
}

/// Room for a batch of datagrams.
#[derive(Debug)]
pub struct RecvBuffers {
    data: Vec<Vec<u8>>,
    metas: [RecvMeta; BATCH_SIZE],
}

/// Where a datagram came from and how.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The peer's address.
    pub remote: SocketAddr,
    /// The address of ours that it was sent to, if the system says.
    pub local_ip: Option<std::net::IpAddr>,
    /// How congested the path was.
    pub ecn: Option<EcnCodepoint>,
}

impl Default for RecvBuffers {
    fn default() -> Self {
        // The largest that the system puts together; one datagram alone is smaller.
        Self {
            data: (0..BATCH_SIZE).map(|_| vec![0; 64 * 1024]).collect(),
            metas: [RecvMeta::default(); BATCH_SIZE],
        }
    }
}

impl RecvBuffers {
    /// The datagrams of the first `count` buffers. Each is copied into a buffer of its own
    /// size, so that a small part of one that is kept does not keep 64 KiB.
    pub fn datagrams(&self, count: usize) -> impl Iterator<Item = (Origin, BytesMut)> + '_ {
        self.metas.iter().zip(&self.data).take(count).flat_map(|(meta, data)| {
            let origin = Origin {
                remote: meta.addr,
                local_ip: meta.dst_ip,
                ecn: meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8)),
            };
            let whole = data.get(..meta.len).unwrap_or_default();
            whole.chunks(meta.stride.max(1)).map(move |datagram| (origin, datagram.into()))
        })
    }
}

fn to_udp<'a>(transmit: &Transmit, contents: &'a [u8]) -> quinn_udp::Transmit<'a> {
    quinn_udp::Transmit {
        destination: transmit.destination,
        ecn: transmit.ecn.and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
        contents,
        segment_size: transmit.segment_size,
        src_ip: transmit.src_ip,
    }
}

fn slices(data: &mut [Vec<u8>]) -> [IoSliceMut<'_>; BATCH_SIZE] {
    let mut data = data.iter_mut();
    std::array::from_fn(|_| IoSliceMut::new(data.next().map(Vec::as_mut_slice).unwrap_or_default()))
}
