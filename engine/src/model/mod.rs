//! What MoQT talks about, independent of any draft.
//!
//! The newest draft's meaning is the model; what older drafts say differently on the wire is
//! lifted into it by [`wire`](crate::wire). An application that only uses these types never
//! sees a draft number.

mod codes;
mod draft;
mod filter;
mod location;
mod message;
mod name;
mod object;
mod parameters;
mod properties;
mod setup;
mod token;

pub use codes::{PublishDoneCode, RequestErrorCode, SessionError, StreamResetCode};
pub use draft::{Draft, UnknownDraft};
pub use filter::{GroupOrder, SubscriptionFilter};
pub use location::{Location, LocationRange};
pub use message::{
    Fetch, FetchCancel, FetchOk, FetchRange, Goaway, JoiningStart, MaxRequestId, Message,
    MessageKind, Namespace, NamespaceDone, NamespaceInterest, Publish, PublishBlocked, PublishDone,
    PublishNamespace, PublishNamespaceCancel, PublishNamespaceDone, Redirect, RequestError,
    RequestKind, RequestOk, RequestUpdate, RequestsBlocked, Setup, Subscribe, SubscribeNamespace,
    SubscribeOk, SubscribeTracks, TrackStatus, Unsubscribe, UnsubscribeNamespace,
};
pub(crate) use name::NameBuilder;
pub use name::{
    FullTrackName, MAX_FULL_TRACK_NAME_LEN, MAX_NAMESPACE_FIELDS, NameError, TrackNamespace,
};
pub use object::{EndOfRange, ObjectStatus, SubgroupId};
pub use parameters::{Parameter, ParameterSet, Parameters};
pub use properties::{Property, PropertyValue, TrackProperties, property_type};
pub use setup::{SetupOption, SetupOptions};
pub use token::AuthToken;
