//! The handle that applications hold on a MoQT session: async, runtime-agnostic, and the same
//! over every transport.
//!
//! A transport driver (such as `moqt-quinn-proto`) owns the sockets and the
//! [`MoqtConnection`](moqt_engine::MoqtConnection)s, implements [`Driver`], and gives out
//! [`Session`]s. Everything here is built on standard wakers; there is no runtime in it.
//!
//! ```no_run
//! # async fn example(session: moqt_session::Session) -> Result<(), Box<dyn std::error::Error>> {
//! let mut subscription =
//!     session.subscribe("meeting--video".parse()?, Default::default()).await?;
//! while let Some(object) = subscription.next_object().await? {
//!     println!("{:?}: {} bytes", object.location, object.payload.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What there is
//!
//! | to | call | and get |
//! |---|---|---|
//! | receive a track | [`Session::subscribe`] | [`Subscription`]; [`TrackReader`] if it is to be in order |
//! | receive a track with its past | [`Session::join`] | [`TrackReader`] |
//! | receive a range of the past | [`Session::fetch`] | [`FetchReader`] |
//! | know how far a track has come | [`Session::track_status`] | [`Answer`](moqt_engine::Answer) |
//! | offer a track | [`Session::publish`] | [`Publication`]; [`TrackWriter`] if groups and subgroups are to be seen to |
//! | be asked for tracks | [`Session::publish_namespace`] | [`NamespacePublication`] |
//! | hear of namespaces and tracks | [`Session::subscribe_namespace`] | [`NamespaceSubscription`] |
//! | do what the peer asks for | [`Session::accept_request`] | [`Incoming`], with one variant for each of these |
//!
//! What needs an answer comes as something to await, and the request goes out before it is
//! awaited. [`Subscription`], [`Publication`], [`FetchReader`] and [`NamespacePublication`] have
//! an `update`, and the first two a `goaway`.
//!
//! A publisher, which lets others join what it publishes:
//!
//! ```no_run
//! use bytes::Bytes;
//! use moqt_engine::model::RequestErrorCode;
//! use moqt_engine::wire::FetchObject;
//! use moqt_engine::{Accept, AcceptFetch, Refusal};
//! use moqt_session::{Incoming, IncomingFetch, Session};
//!
//! # struct Track;
//! # impl Track {
//! #     fn largest(&self) -> moqt_engine::model::Location { Default::default() }
//! #     fn past(&self) -> Vec<(FetchObject, Bytes)> { Vec::new() }
//! #     async fn feed(&self, _: moqt_session::Publication) {}
//! # }
//! # fn spawn<F: Future>(_: F) {}
//! async fn serve(session: Session, track: &Track) -> Result<(), Box<dyn std::error::Error>> {
//!     loop {
//!         match session.accept_request().await? {
//!             Incoming::Subscribe(request) => {
//!                 let mut accept = Accept::default();
//!                 accept.parameters.largest_object = Some(track.largest());
//!                 spawn(track.feed(request.accept(accept)?));
//!             }
//!             Incoming::Fetch(request) => spawn(answer(request, track)),
//!             // Refused, since it is dropped.
//!             _ => {}
//!         }
//!     }
//! }
//!
//! async fn answer(request: IncomingFetch, track: &Track) -> Result<(), Box<dyn std::error::Error>> {
//!     let Some(range) = request.range().published(track.largest()) else {
//!         request.reject(Refusal::new(RequestErrorCode::InvalidRange));
//!         return Ok(());
//!     };
//!     let mut writer = request.accept(AcceptFetch::new(range.end))?;
//!     for (object, payload) in track.past() {
//!         if range.contains(object.location) {
//!             writer.write(&object, payload).await?;
//!         }
//!     }
//!     Ok(writer.finish().await?)
//! }
//! ```
//!
//! A subscriber that joins, one group back:
//!
//! ```no_run
//! use std::time::Duration;
//! use moqt_engine::model::JoiningStart;
//! use moqt_engine::track::TrackRead;
//!
//! # async fn example(session: moqt_session::Session) -> Result<(), Box<dyn std::error::Error>> {
//! let start = JoiningStart::Relative(1);
//! let mut track = session.join("live--tv".parse()?, start, Duration::from_secs(2)).await?;
//! loop {
//!     match track.next().await? {
//!         TrackRead::Object { location, payload_len, .. } => println!("{location}: {payload_len}"),
//!         TrackRead::Payload(bytes) => drop(bytes),
//!         TrackRead::Done { .. } => break,
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is dropped ends properly
//!
//! - Something to await withdraws its request; a [`PendingUpdate`] stays sent.
//! - A [`Subscription`] or [`TrackReader`] unsubscribes, a [`FetchReader`] cancels its fetch, a
//!   [`SubgroupReader`] asks for no more of its subgroup.
//! - A [`SubgroupWriter`] or [`FetchWriter`] that was not finished resets its stream.
//! - A [`Publication`] or [`TrackWriter`] without [`done`](Publication::done) ends with
//!   PUBLISH_DONE and INTERNAL_ERROR.
//! - A [`NamespacePublication`], [`NamespaceSubscription`] or [`NamespaceSubscriber`] ends.
//! - An incoming request, or an [`IncomingUpdate`], that was not answered is refused.
//! - The session is closed without an error when the last handle to it is gone.
//!
//! All futures can be dropped at any point without losing anything: what was read and not
//! returned is returned by the next call.
#![forbid(unsafe_code)]

mod driver;
mod error;
mod fetch_reader;
mod fetch_writer;
mod incoming;
mod namespace_subscriber;
mod namespace_subscription;
mod pending;
mod pieces;
mod publication;
mod router;
mod session;
mod subgroup_reader;
mod subgroup_writer;
mod subscription;
mod track_reader;
mod track_writer;
mod updates;
mod wakers;

pub use driver::{Access, Driver};
pub use error::{Error, ReadError, WriteError};
pub use fetch_reader::{FetchItem, FetchReader};
pub use fetch_writer::{FetchWriter, IncomingFetch, IncomingTrackStatus};
pub use incoming::{Incoming, IncomingPublish, IncomingPublishNamespace, IncomingSubscribe};
pub use namespace_subscriber::{IncomingSubscribeNamespace, NamespaceSubscriber};
pub use namespace_subscription::{
    NamespaceEvent, NamespaceSubscription, PendingNamespaceSubscription,
};
pub use pending::{NamespacePublication, Pending};
pub use publication::{Publication, PublicationEnd};
pub use router::{Router, RouterLimits};
pub use session::{Goaway, Session, SessionInfo};
pub use subgroup_reader::{Object, SubgroupReader};
pub use subgroup_writer::SubgroupWriter;
pub use subscription::{Subscription, SubscriptionDone, SubscriptionEvent};
pub use track_reader::TrackReader;
pub use track_writer::TrackWriter;
pub use updates::{IncomingUpdate, PendingUpdate};

pub use moqt_engine as engine;
