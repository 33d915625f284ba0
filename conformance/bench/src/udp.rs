//! The same payload over UDP on 127.0.0.1: by a QUIC stack alone, and by MoQT on it, over raw
//! QUIC and over WebTransport. Both ends are in one process, which does nothing else, so that its
//! processor time is what the transfer costs.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use moqt_engine::model::{Parameters, PublishDoneCode};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{Accept, Config, Draft, SubgroupOptions};
use moqt_quinn_proto::session::{Incoming, Session};
use moqt_quinn_proto::{
    Client, ClientConfig, ClientOptions, ClientTls, Identity, Server, ServerConfig, ServerOptions,
    ServerTls, SessionConfig, Target, TransportOptions, Verify,
};

use crate::goodput::Load;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Bytes of the pieces that a stack alone writes, and the most that is read at a time.
const PIECE: usize = 32 * 1024;

/// How the payload travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// quinn alone.
    Quinn,
    /// MoQT on quinn-proto, over raw QUIC.
    QuinnMoqt,
    /// MoQT on quinn-proto, over WebTransport.
    QuinnWebTransport,
    /// s2n-quic alone.
    S2n,
    /// MoQT on s2n-quic, over raw QUIC.
    S2nMoqt,
    /// MoQT on s2n-quic, over WebTransport.
    S2nWebTransport,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Quinn,
        Self::QuinnMoqt,
        Self::QuinnWebTransport,
        Self::S2n,
        Self::S2nMoqt,
        Self::S2nWebTransport,
    ];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quinn => "quinn",
            Self::QuinnMoqt => "quinn-moqt",
            Self::QuinnWebTransport => "quinn-wt",
            Self::S2n => "s2n",
            Self::S2nMoqt => "s2n-moqt",
            Self::S2nWebTransport => "s2n-wt",
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.name() == name)
    }
}

/// What a transfer took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Wall time, in seconds.
    pub wall: f64,
    /// Processor time of both ends, in seconds.
    pub cpu: f64,
}

/// Moves the load once; connecting is not counted.
pub async fn transfer(way: Way, load: Load) -> Result<Cost, Error> {
    match way {
        Way::Quinn => over_quinn(load).await,
        Way::QuinnMoqt => over_quinn_moqt(load, "moqt").await,
        Way::QuinnWebTransport => over_quinn_moqt(load, "https").await,
        Way::S2n => over_s2n(load).await,
        Way::S2nMoqt => over_s2n_moqt(load, "moqt").await,
        Way::S2nWebTransport => over_s2n_moqt(load, "https").await,
    }
}

async fn over_quinn_moqt(load: Load, scheme: &str) -> Result<Cost, Error> {
    let identity = Identity::self_signed([])?;
    let mut options = ClientOptions::default();
    options.tls = ClientTls::new(Verify::Pinned(vec![identity.sha256()]));
    let server = Server::bind(anywhere(), &ServerOptions::new(identity))?;
    let target: Target = format!("{scheme}://{}/bench", server.local_addr()).parse()?;
    let (client, accepted) = tokio::join!(Client::connect(&target, &options), server.accept());
    over_moqt(accepted.ok_or("no session")?, client?, load).await
}

async fn over_s2n_moqt(load: Load, scheme: &str) -> Result<Cost, Error> {
    let identity = Identity::self_signed([])?;
    let mut options = ClientOptions::default();
    options.tls = ClientTls::new(Verify::Pinned(vec![identity.sha256()]));
    let server = moqt_s2n_quic::Server::bind(anywhere(), &ServerOptions::new(identity))?;
    let target: Target = format!("{scheme}://{}/bench", server.local_addr()).parse()?;
    let connect = moqt_s2n_quic::Client::connect(&target, &options);
    let (client, accepted) = tokio::join!(connect, server.accept());
    over_moqt(accepted.ok_or("no session")?, client?, load).await
}

/// Moves the load as objects of one track, a group for each stream.
async fn over_moqt(publisher: Session, subscriber: Session, load: Load) -> Result<Cost, Error> {
    let pending = subscriber.subscribe("bench--track".parse()?, Parameters::default());
    let Incoming::Subscribe(request) = publisher.accept_request().await? else {
        return Err("something else than SUBSCRIBE came".into());
    };
    let publication = request.accept(Accept::default())?;
    let mut subscription = pending.await?;
    let begin = Begin::now();
    let sending = tokio::spawn(async move {
        let payload = Bytes::from(vec![0x5a; load.size]);
        let mut objects = Vec::new();
        for group in 0..load.count.div_ceil(load.per_stream) {
            let Some(mut writer) = publication.open_subgroup(SubgroupOptions::new(group)).await?
            else {
                continue;
            };
            let count = load.per_stream.min(load.count - group * load.per_stream);
            let mut next = 0;
            while next < count || !objects.is_empty() {
                while next < count && objects.len() < 64 {
                    objects.push((header(next, load.size), payload.clone()));
                    next += 1;
                }
                writer.write_many(&mut objects).await?;
            }
            writer.finish()?;
        }
        publication.done(PublishDoneCode::TrackEnded, "");
        Ok::<_, Error>(publisher)
    });
    let mut received = 0;
    let mut objects = Vec::new();
    while let Some(mut subgroup) = subscription.next_subgroup().await? {
        while subgroup.read_many(&mut objects, 256, usize::MAX).await? > 0 {
            received += objects.drain(..).map(|object| object.payload.len() as u64).sum::<u64>();
        }
    }
    let cost = begin.cost();
    let _publisher = sending.await??;
    if received == load.bytes() { Ok(cost) } else { Err("not everything arrived".into()) }
}

fn header(object_id: u64, len: usize) -> ObjectHeader {
    ObjectHeader { object_id, payload_len: len as u64, ..ObjectHeader::default() }
}

/// Moves the same bytes by streams of as many bytes, and nothing else.
async fn over_quinn(load: Load) -> Result<Cost, Error> {
    let identity = Identity::self_signed([])?;
    let session = SessionConfig::new(Arc::new(Config::default()), &[Draft::D18]);
    let transport = TransportOptions::default();
    let tls = ClientTls::new(Verify::Pinned(vec![identity.sha256()]));
    let client_config = ClientConfig::new(&tls, &transport, session.clone())?;
    let server_config = ServerConfig::new(&ServerTls::new(identity), &transport, session)?;
    let server_config = quinn::ServerConfig::clone(server_config.quic());
    let server = quinn::Endpoint::server(server_config, anywhere())?;
    let client = quinn::Endpoint::client(anywhere())?;
    let connecting =
        client.connect_with(client_config.quic().clone(), server.local_addr()?, "localhost")?;
    let accepting = async { server.accept().await.ok_or("closed")?.await.map_err(Error::from) };
    let (receiver, sender) = tokio::join!(connecting, accepting);
    let (receiver, sender) = (receiver?, sender?);
    let begin = Begin::now();
    let per_stream = load.per_stream * load.size as u64;
    let sending = tokio::spawn(async move {
        let piece = Bytes::from(vec![0x5a; PIECE]);
        let mut left = load.bytes();
        while left > 0 {
            let mut stream = sender.open_uni().await?;
            let mut room = per_stream.min(left);
            left -= room;
            while room > 0 {
                let len = room.min(PIECE as u64);
                stream.write_chunk(piece.slice(..usize::try_from(len)?)).await?;
                room -= len;
            }
            stream.finish()?;
        }
        Ok::<_, Error>(sender)
    });
    let mut received = 0;
    while received < load.bytes() {
        let mut stream = receiver.accept_uni().await?;
        while let Some(chunk) = stream.read_chunk(usize::MAX, true).await? {
            received += chunk.bytes.len() as u64;
        }
    }
    let cost = begin.cost();
    let _sender = sending.await??;
    Ok(cost)
}

/// The same on s2n-quic, with windows as large as MoQT's.
async fn over_s2n(load: Load) -> Result<Cost, Error> {
    let identity = Identity::self_signed([])?;
    let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let alpn = vec![b"bench".to_vec()];
    let tls = ClientTls::new(Verify::Pinned(vec![identity.sha256()]));
    let client_tls = tls.config(alpn.clone(), crypto.clone())?;
    let server_tls = ServerTls::new(identity).config(alpn, crypto)?;
    let transport = TransportOptions::default();
    let window = transport.stream_receive_window.into();
    let limits = s2n_quic::provider::limits::Limits::new()
        .with_data_window(u32::MAX.into())?
        .with_unidirectional_data_window(window)?
        .with_max_open_remote_unidirectional_streams(transport.max_uni_streams.into())?
        .with_max_open_local_unidirectional_streams(transport.max_uni_streams.into())?;
    let mut server = s2n_quic::Server::builder()
        .with_tls(s2n_quic::provider::tls::rustls::Server::from(server_tls))?
        .with_io(anywhere())?
        .with_limits(limits)?
        .start()?;
    let client = s2n_quic::Client::builder()
        .with_tls(s2n_quic::provider::tls::rustls::Client::from(client_tls))?
        .with_io(anywhere())?
        .with_limits(limits)?
        .start()?;
    let connect =
        s2n_quic::client::Connect::new(server.local_addr()?).with_server_name("localhost");
    let (receiver, sender) = tokio::join!(client.connect(connect), server.accept());
    let (mut receiver, mut sender) = (receiver?, sender.ok_or("closed")?);
    let begin = Begin::now();
    let per_stream = load.per_stream * load.size as u64;
    let sending = tokio::spawn(async move {
        let piece = Bytes::from(vec![0x5a; PIECE]);
        let mut left = load.bytes();
        while left > 0 {
            let mut stream = sender.open_send_stream().await?;
            let mut room = per_stream.min(left);
            left -= room;
            while room > 0 {
                let len = room.min(PIECE as u64);
                stream.send(piece.slice(..usize::try_from(len)?)).await?;
                room -= len;
            }
            stream.finish()?;
        }
        Ok::<_, Error>(sender)
    });
    let mut received = 0;
    while received < load.bytes() {
        let mut stream = receiver.accept_receive_stream().await?.ok_or("closed")?;
        while let Some(chunk) = stream.receive().await? {
            received += chunk.len() as u64;
        }
    }
    let cost = begin.cost();
    let _sender = sending.await??;
    Ok(cost)
}

fn anywhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// When a transfer began.
struct Begin {
    wall: Instant,
    cpu: Duration,
}

impl Begin {
    fn now() -> Self {
        Self { wall: Instant::now(), cpu: cpu_time() }
    }

    fn cost(&self) -> Cost {
        Cost {
            wall: self.wall.elapsed().as_secs_f64(),
            cpu: cpu_time().saturating_sub(self.cpu).as_secs_f64(),
        }
    }
}

/// Processor time of all threads, from Linux's scheduler; zero elsewhere.
fn cpu_time() -> Duration {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return Duration::ZERO };
    let nanos = |task: fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(tasks.flatten().filter_map(nanos).sum())
}
