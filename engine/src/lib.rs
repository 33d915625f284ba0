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
//! 2. **Commands** (`subscribe`, `publish`, `fetch`, `accept`, `update`, `read`, …) tell it what
//!    the application wants. Their `Err` means that the caller misused them, or is
//!    [`Blocked`](CommandError::Blocked), and says which; nothing has changed then.
//! 3. **`poll_action` and `poll_event`**, until both are dry, after every call of the first
//!    two kinds. Then **[`poll_timeout`](MoqtConnection::poll_timeout)** says when to call
//!    [`handle_timeout`](MoqtConnection::handle_timeout). With [`Config::trace`], drain
//!    [`poll_trace`](MoqtConnection::poll_trace) as well.
//! 4. **[`poll_send`](MoqtConnection::poll_send)**, only while the transport has room: it
//!    gives the most urgent stream's bytes, and what the transport has taken can be neither
//!    reordered nor taken back.
//!
//! Receiving is pulled, too. The transport asks
//! [`recv_window`](MoqtConnection::recv_window) how much of a stream to hand over and leaves
//! the rest where it is, so that flow control reaches the peer;
//! [`Action::ResumeReading`] says when to go on. The application reads objects when it wants
//! them: those of a subgroup with [`read`](MoqtConnection::read) after
//! [`Event::SubgroupOpened`], those of a fetch with
//! [`read_fetch`](MoqtConnection::read_fetch) after [`Event::FetchOpened`], and both again after
//! [`Event::Readable`]. Datagrams come as events.
//!
//! # Requests
//!
//! Each request, of either side, is known by a [`RequestKey`] until the event that says that it
//! is over. This side's begin with a command and are answered by [`Event::Accepted`] or
//! [`Event::Rejected`]; the peer's come as [`Event::Request`] and are answered by
//! [`accept`](MoqtConnection::accept), [`accept_fetch`](MoqtConnection::accept_fetch) or
//! [`reject`](MoqtConnection::reject).
//!
//! | to | command | the peer gets [`IncomingRequest`] |
//! |---|---|---|
//! | receive a track | [`subscribe`](MoqtConnection::subscribe) | `Subscribe`; objects go out through [`publisher`](MoqtConnection::publisher) |
//! | offer a track | [`publish`](MoqtConnection::publish) | `Publish` |
//! | receive a range, or join a track | [`fetch`](MoqtConnection::fetch) | `Fetch`; objects go out through [`fetch_response`](MoqtConnection::fetch_response) |
//! | know how far a track has come | [`track_status`](MoqtConnection::track_status) | `TrackStatus` |
//! | advertise a namespace | [`publish_namespace`](MoqtConnection::publish_namespace) | `PublishNamespace` |
//! | hear of namespaces and tracks | [`subscribe_namespace`](MoqtConnection::subscribe_namespace) | `SubscribeNamespace`; it tells with [`namespace`](MoqtConnection::namespace) and `publish` |
//!
//! A request that was accepted is changed by [`update`](MoqtConnection::update), ended by
//! [`cancel`](MoqtConnection::cancel) or [`Publisher::done`], and moved by
//! [`goaway_request`](MoqtConnection::goaway_request). What the peer changes is in force when
//! [`Event::Updated`] tells of it, unless [`Config::decide_updates`] leaves that to the
//! application.
//!
//! # What it holds and has done
//!
//! No payload byte is copied: it leaves as parts of the [`Bytes`](bytes::Bytes) that came in
//! (but small ones that wait to be read are gathered), and enters the transport as the `Bytes`
//! the application gave (but those of a few bytes are gathered, and longer ones if
//! [`Config::coalesce_below`] asks for it).
//! Everything a peer can make the connection hold, do or wait for is bounded by a field of
//! [`Limits`], which says what happens at the bound. [`usage`](MoqtConnection::usage) tells what
//! is held now; [`stats`](MoqtConnection::stats) and
//! [`subscription_stats`](MoqtConnection::subscription_stats) count what has been carried, and
//! what was dropped and why.
//!
//! Whole tracks, cut into groups and put back into order, are in [`track`]; messages and headers
//! without a connection in [`wire`].
//!
//! # Example
//!
//! Two ends, joined without any network at all: `pump` is what a transport does. One subscribes
//! to a track and fetches its past, the other serves both.
//!
//! ```
//! use std::{collections::HashMap, sync::Arc};
//! use moqt_engine::{
//!     Accept, AcceptFetch, Action, Config, Dir, Draft, Event, FetchRead, FetchTarget,
//!     IncomingRequest, MoqtConnection, Read, Refusal, Role, StreamKey, SubgroupOptions, Timestamp,
//!     Transmit, Transport,
//! };
//! use moqt_engine::model::{
//!     Location, LocationRange, ObjectStatus, Parameters, PublishDoneCode, RequestErrorCode,
//! };
//! use moqt_engine::wire::{FetchObject, ObjectHeader, Properties};
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
//!         let Transmit::Stream(mut send) = send else { unreachable!("no datagrams here") };
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
//! let (mut live, mut past) = (Vec::new(), Vec::new());
//! let mut fetch_stream = None;
//! for _ in 0..8 {
//!     pump(client, server, &mut up, &mut down);
//!     pump(server, client, &mut down, &mut up);
//!     while let Some(event) = server.poll_event() {
//!         let Event::Request { request, what } = event else { continue };
//!         match what {
//!             IncomingRequest::Subscribe { .. } => {
//!                 let mut accept = Accept::default();
//!                 accept.parameters.largest_object = Some(Location::ZERO);
//!                 server.accept(NOW, request, accept)?;
//!                 let mut publisher = server.publisher(request).expect("just accepted");
//!                 let stream = publisher.open_subgroup(SubgroupOptions::new(1))?.expect("wanted");
//!                 let mut subgroup = server.subgroup(stream).expect("just opened");
//!                 let header = ObjectHeader { payload_len: 5, ..Default::default() };
//!                 subgroup.object(&header, "world".into())?;
//!                 subgroup.finish()?;
//!                 server.publisher(request).expect("live").done(PublishDoneCode::TrackEnded, "");
//!             }
//!             IncomingRequest::Fetch { range, .. } => {
//!                 let range = range.published(Location::ZERO).expect("there is an object");
//!                 server.accept_fetch(NOW, request, AcceptFetch::new(range.end))?;
//!                 let mut response = server.fetch_response(request).expect("just accepted");
//!                 let object = FetchObject {
//!                     location: Location::ZERO,
//!                     subgroup_id: Some(0),
//!                     publisher_priority: 128,
//!                     payload_len: 5,
//!                     status: ObjectStatus::Normal,
//!                     properties: Properties::EMPTY,
//!                 };
//!                 response.object(&object, "hello".into())?;
//!                 response.finish()?;
//!             }
//!             _ => server.reject(NOW, request, Refusal::new(RequestErrorCode::NotSupported))?,
//!         }
//!     }
//!     while let Some(event) = client.poll_event() {
//!         match event {
//!             Event::Established { .. } => {
//!                 let track = "demo--greeting".parse()?;
//!                 client.subscribe(NOW, &track, &Parameters::default())?;
//!                 let range = LocationRange::to_last(Location::ZERO, Location::new(9, 0));
//!                 let target = FetchTarget::Standalone { track, range };
//!                 client.fetch(NOW, &target, &Parameters::default())?;
//!             }
//!             Event::FetchOpened { stream, .. } => fetch_stream = Some(stream),
//!             Event::SubgroupOpened { stream, .. } | Event::Readable { stream }
//!                 if fetch_stream != Some(stream) =>
//!             {
//!                 loop {
//!                     match client.read(stream, usize::MAX) {
//!                         Read::Payload(bytes) => live.extend_from_slice(&bytes),
//!                         Read::Object(_) => {}
//!                         _ => break,
//!                     }
//!                 }
//!             }
//!             _ => {}
//!         }
//!     }
//!     while let Some(stream) = fetch_stream {
//!         match client.read_fetch(stream, usize::MAX) {
//!             FetchRead::Payload(bytes) => past.extend_from_slice(&bytes),
//!             FetchRead::Object(_) => {}
//!             _ => break,
//!         }
//!     }
//! }
//! assert_eq!((&past[..], &live[..]), (&b"hello"[..], &b"world"[..]));
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
mod trace;
pub mod track;
pub mod wire;

pub use action::Action;
pub use config::{Config, Dir, Role, Transport};
pub use connection::{
    Accept, AcceptFetch, DatagramOptions, DatagramOutcome, DatagramSend, FetchResponse,
    FetchTarget, MoqtConnection, Publisher, Refusal, SlowSubscriber, StreamSend, Subgroup,
    SubgroupOptions, Transmit, TransportClosed, Usage, Written,
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
pub use stats::{Drops, FetchTraffic, Stats, SubscriptionStats, Traffic};
pub use time::Timestamp;
pub use timers::Timer;
pub use trace::{
    FetchItem, TraceEvent, TraceOwner, TracedDatagram, TracedFetch, TracedFetchObject,
    TracedMessage, TracedObject, TracedStreamType, TracedSubgroup,
};
