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
//! What is dropped ends properly: a [`Subscription`] unsubscribes, a [`SubgroupWriter`] that
//! was not finished resets its stream, a [`Publication`] without
//! [`done`](Publication::done) ends with PUBLISH_DONE and INTERNAL_ERROR, an incoming request
//! that was not answered is refused, and the session is closed without an error when the last
//! handle to it is gone.
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
pub use incoming::{Incoming, IncomingNamespace, IncomingPublish, IncomingSubscribe};
pub use namespace_subscriber::{IncomingNamespaceSubscription, NamespaceSubscriber};
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
