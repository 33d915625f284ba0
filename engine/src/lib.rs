//! A Media over QUIC Transport (MoQT) protocol engine without input or output of its own.
//!
//! [`MoqtConnection`] is one end of one session. It is fed what comes in (stream bytes,
//! datagrams, transport events, time) and asked what to do (actions, data to send, events for
//! the application, when to be woken). It opens no sockets, reads no clock, starts no threads
//! and draws no random numbers, so it runs in any event loop and repeats any run exactly.
//! Drafts 14, 16 and 18 are spoken; the application need not know which.
//!
//! # The contract
//!
//! There are four kinds of method, and they are called in this order:
//!
//! 1. **`handle_*`** tell the connection what the transport saw. They never fail: whatever a
//!    peer sends, the answer is an [`Action`] and an [`Event`]. Calls with a stale
//!    [`StreamKey`] are ignored.
//! 2. **Commands** (`subscribe`, `publish`, `accept`, `read`, …) tell it what the application
//!    wants. Their `Err` means that the caller misused them, or is
//!    [`Blocked`](CommandError::Blocked), and says which.
//! 3. **`poll_action` and `poll_event`**, until both are dry, after every call of the first
//!    two kinds. Then **[`poll_timeout`](MoqtConnection::poll_timeout)** says when to call
//!    [`handle_timeout`](MoqtConnection::handle_timeout).
//! 4. **[`poll_send`](MoqtConnection::poll_send)**, only while the transport has room: it
//!    gives the most urgent stream's bytes, and what the transport has taken can be neither
//!    reordered nor taken back.
//!
//! Receiving is pulled, too. The transport asks
//! [`recv_window`](MoqtConnection::recv_window) how much of a stream to hand over and leaves
//! the rest where it is, so that flow control reaches the peer;
//! [`Action::ResumeReading`] says when to go on. The application reads objects with
//! [`read`](MoqtConnection::read) when it wants them.
//!
//! No payload byte is copied: it leaves as parts of the [`Bytes`](bytes::Bytes) that came in
//! (but small ones that wait to be read are gathered), and enters the transport as the `Bytes`
//! the application gave (unless [`Config::coalesce_below`] asks for small ones to be gathered). Everything a peer can make
//! the connection hold is bounded by [`Limits`].
//!
//! # Example
//!
//! Two ends, joined without any network at all: `pump` is what a transport does.
//!
//! ```
//! use std::{collections::HashMap, sync::Arc};
//! use moqt_engine::{
//!     Accept, Action, Config, Dir, Draft, Event, IncomingRequest, MoqtConnection, Read, Role,
//!     Send, StreamKey, SubgroupOptions, Timestamp, Transport,
//! };
//! use moqt_engine::model::{Parameters, PublishDoneCode};
//! use moqt_engine::wire::ObjectHeader;
//!
//! const NOW: Timestamp = Timestamp::ZERO;
//!
//! /// Carries everything that `from` has to send to `to`. A bidirectional stream has a key at
//! /// each end; `keys` maps one to the other.
//! fn pump(
//!     from: &mut MoqtConnection,
//!     to: &mut MoqtConnection,
//!     keys: &mut HashMap<StreamKey, StreamKey>,
//!     back: &mut HashMap<StreamKey, StreamKey>,
//! ) {
//!     while let Some(action) = from.poll_action() {
//!         if let Action::OpenStream { stream, dir } = action {
//!             let peer = to.handle_stream_opened(NOW, dir);
//!             keys.insert(stream, peer);
//!             back.insert(peer, stream);
//!         }
//!     }
//!     while let Some(send) = from.poll_send(NOW) {
//!         let Send::Stream(mut send) = send else { unreachable!("no datagrams here") };
//!         let peer = keys[&send.stream()];
//!         let (chunks, fin) = send.offer();
//!         let chunks: Vec<_> = chunks.to_vec();
//!         let len = chunks.iter().map(|chunk| chunk.len()).sum();
//!         send.written(len);
//!         for chunk in chunks {
//!             to.handle_stream_data(NOW, peer, chunk, false);
//!         }
//!         if fin {
//!             to.handle_stream_data(NOW, peer, Default::default(), true);
//!         }
//!     }
//! }
//!
//! let config = Arc::new(Config::default());
//! let mut ends = [Role::Client, Role::Server]
//!     .map(|role| MoqtConnection::new(role, Draft::D18, Transport::Quic, config.clone(), NOW));
//! for end in &mut ends {
//!     end.handle_streams_available(NOW, Dir::Bi, 10);
//!     end.handle_streams_available(NOW, Dir::Uni, 10);
//! }
//! let [client, server] = &mut ends;
//! let (mut up, mut down) = (HashMap::new(), HashMap::new());
//! let mut received = Vec::new();
//! let mut subscribed = false;
//! for _ in 0..8 {
//!     pump(client, server, &mut up, &mut down);
//!     pump(server, client, &mut down, &mut up);
//!     while let Some(event) = server.poll_event() {
//!         if let Event::Request { request, what: IncomingRequest::Subscribe { .. } } = event {
//!             server.accept(NOW, request, Accept::default())?;
//!             let mut publisher = server.publisher(request).expect("just accepted");
//!             let stream = publisher.open_subgroup(SubgroupOptions::new(0))?.expect("wanted");
//!             let mut subgroup = server.subgroup(stream).expect("just opened");
//!             let header = ObjectHeader { payload_len: 5, ..Default::default() };
//!             subgroup.object(&header, "hello".into())?;
//!             subgroup.finish()?;
//!             server.publisher(request).expect("live").done(PublishDoneCode::TrackEnded, "");
//!         }
//!     }
//!     while let Some(event) = client.poll_event() {
//!         match event {
//!             Event::Established { .. } => {
//!                 client.subscribe(NOW, &"demo--greeting".parse()?, &Parameters::default())?;
//!                 subscribed = true;
//!             }
//!             Event::SubgroupOpened { stream, .. } | Event::Readable { stream } => loop {
//!                 match client.read(stream, usize::MAX) {
//!                     Read::Payload(bytes) => received.extend_from_slice(&bytes),
//!                     Read::Object(_) => {}
//!                     _ => break,
//!                 }
//!             },
//!             _ => {}
//!         }
//!     }
//! }
//! assert!(subscribed);
//! assert_eq!(received, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

extern crate alloc;

mod action;
mod churn;
mod config;
mod connection;
pub mod draft;
mod error;
mod event;
mod grease;
mod hash;
mod key;
mod limits;
mod link;
pub mod model;
mod object;
mod request;
mod stats;
mod stream;
mod time;
mod timers;
pub mod track;
pub mod wire;

pub use action::Action;
pub use config::{Config, Dir, Role, Transport};
pub use connection::{
    Accept, AcceptFetch, DatagramOptions, DatagramOutcome, DatagramSend, FetchResponse,
    FetchTarget, MoqtConnection, Publisher, Refusal, Send, SlowSubscriber, StreamSend, Subgroup,
    SubgroupOptions, TransportClosed, Usage, Written,
};
pub use error::{Blocked, CommandError, TokenMisuse};
pub use event::{
    Answer, CloseReason, DropReason, Event, FetchAnswer, FetchRead, GiveUpReason, IncomingRequest,
    Read, RequestError, SubgroupInfo,
};
pub use grease::reserved_value;
pub use key::{RequestKey, StreamKey, UpdateId};
pub use limits::Limits;
pub use model::Draft;
pub use object::MalformedRule;
pub use stats::{Drops, Stats, SubscriptionStats, Traffic};
pub use time::Timestamp;
pub use timers::Timer;
