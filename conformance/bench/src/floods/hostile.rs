//! A client that keeps to no rules of MoQT: quinn carries what the engine's encoder writes.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use moqt_engine::model::{AuthToken, Message, Setup, SetupOptions};
use moqt_engine::wire::{ControlReader, encode_message};
use moqt_engine::{Config, Draft};
use moqt_quinn_proto::{ClientConfig, ClientTls, SessionConfig, TransportOptions, Verify};
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream};

use crate::relays::Relay;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Requests that a server may make of a client that is on a draft which counts them.
const MAX_REQUEST_ID: u64 = 1000;

/// How often things have happened. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Mutex<BTreeMap<String, u64>>>);

impl Tally {
    /// It has happened once more.
    pub fn add(&self, what: impl Display) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(what.to_string()).or_default() += 1;
    }

    /// All that has happened, and how often.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How quinn is to connect.
pub(super) fn client_config(
    draft: Draft,
    transport: &TransportOptions,
) -> Result<quinn::ClientConfig, Error> {
    let session = SessionConfig::new(Arc::new(Config::default()), &[draft]);
    let tls = ClientTls::new(Verify::Insecure);
    Ok(ClientConfig::new(&tls, transport, session)?.quic().clone())
}

/// A QUIC connection, of which the relay hears nothing more. If it is refused, that is counted.
pub(super) async fn connect(
    from: Ipv4Addr,
    relay: &Relay,
    config: quinn::ClientConfig,
    tally: &Tally,
) -> Result<Option<(Endpoint, Connection)>, Error> {
    let endpoint = Endpoint::client((from, 0).into())?;
    let connecting = endpoint.connect_with(config, address(relay)?, "localhost")?;
    match connecting.await {
        Ok(connection) => Ok(Some((endpoint, connection))),
        Err(error) => {
            tally.add(ended(None, &error));
            Ok(None)
        }
    }
}

/// Where a relay listens, which its URL must say in numbers.
pub(super) fn address(relay: &Relay) -> Result<SocketAddr, Error> {
    Ok(format!("{}:{}", relay.target.host(), relay.target.port()).parse()?)
}

/// Why a connection is over.
pub(super) fn ended(draft: Option<Draft>, error: &ConnectionError) -> String {
    match (error, draft) {
        (ConnectionError::ApplicationClosed(close), Some(draft)) => {
            let code = draft.dialect().session_error(close.error_code.into_inner());
            format!("closed {code}")
        }
        (ConnectionError::ApplicationClosed(close), None) => format!("closed {}", close.error_code),
        (ConnectionError::ConnectionClosed(close), _) => format!("{:?}", close.error_code),
        (error, _) => error.to_string(),
    }
}

/// A session. What the relay says in it is counted.
pub(super) struct Hostile {
    pub(super) draft: Draft,
    pub(super) connection: Connection,
    control: tokio::sync::Mutex<SendStream>,
    next_request: AtomicU64,
    tally: Tally,
    /// Closed with this.
    _endpoint: Endpoint,
}

impl Hostile {
    /// Says SETUP, with a token, and hears the relay's.
    pub(super) async fn begin(
        (endpoint, connection): (Endpoint, Connection),
        draft: Draft,
        token: Option<Bytes>,
        tally: &Tally,
    ) -> Result<Self, Error> {
        let mut options = SetupOptions::default();
        options.path = Some("/".into());
        options.authority = Some("localhost".into());
        if draft < Draft::D18 {
            options.max_request_id = Some(MAX_REQUEST_ID);
        }
        let token = token.map(|value| AuthToken::UseValue { token_type: 0, value });
        options.authorization_tokens = token.into_iter().collect();
        let versions = draft.setup_version().into_iter().collect();
        let setup = encode(draft, &Message::Setup(Setup { versions, options }))?;
        let (mut control, mut from_relay) = if draft >= Draft::D18 {
            (connection.open_uni().await?, None)
        } else {
            let (send, receive) = connection.open_bi().await?;
            (send, Some(receive))
        };
        control.write_all(&setup).await?;
        let mut from_relay = match from_relay.take() {
            Some(stream) => stream,
            None => connection.accept_uni().await?,
        };
        let first = from_relay.read_chunk(usize::MAX, true).await?.ok_or("no SETUP came")?;
        // SETUP has a form of its own before draft 18, and is known to fit into one packet.
        drop(first);
        tokio::spawn(listen(from_relay, draft, tally.clone()));
        Ok(Self {
            draft,
            connection,
            control: tokio::sync::Mutex::new(control),
            next_request: AtomicU64::new(0),
            tally: tally.clone(),
            _endpoint: endpoint,
        })
    }

    /// Makes a request, as soon as QUIC lets it.
    pub(super) async fn ask(&self, message: impl FnOnce(u64) -> Message) -> Result<(), Error> {
        let id = self.next_request.fetch_add(2, Ordering::Relaxed);
        let message = message(id);
        let request = encode(self.draft, &message)?;
        let has_stream = self.draft >= Draft::D18
            || self.draft >= Draft::D16 && matches!(message, Message::SubscribeNamespace(_));
        if !has_stream {
            self.control.lock().await.write_all(&request).await?;
            return Ok(());
        }
        let (mut send, receive) = self.connection.open_bi().await?;
        send.write_all(&request).await?;
        let listening = listen(receive, self.draft, self.tally.clone());
        tokio::spawn(async move {
            listening.await;
            // It would end the request.
            drop(send);
        });
        Ok(())
    }
}

fn encode(draft: Draft, message: &Message) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    encode_message(draft.dialect(), message, &mut bytes)?;
    Ok(bytes)
}

/// Counts what the relay says on a stream until it has said everything.
async fn listen(mut stream: RecvStream, draft: Draft, tally: Tally) {
    let mut reader = ControlReader::new(draft.dialect());
    while let Ok(Some(chunk)) = stream.read_chunk(usize::MAX, true).await {
        reader.push(chunk.bytes);
        while let Ok(Some(message)) = reader.next_message() {
            match message {
                Message::RequestError(error) => tally.add(error.code),
                Message::PublishDone(done) => tally.add(format!("done {}", done.code)),
                Message::RequestOk(_) | Message::SubscribeOk(_) => tally.add("OK"),
                _ => {}
            }
        }
    }
}
