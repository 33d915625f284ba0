//! Requests and what is known of each.

mod alias;
mod fetch;
mod fetch_order;
mod namespaces;
mod sent_tokens;
mod subscription;
mod table;
mod tokens;
mod updates;

pub(crate) use alias::{Aliases, Placement};
pub(crate) use fetch::{
    FetchPublisher, FetchStart, FetchStream, FetchSubscriber, JoinPoint, ResponseStream,
    ResponseWriter, WaitingJoins,
};
pub(crate) use fetch_order::FetchOrder;
pub(crate) use namespaces::{NamespaceSubscription, Space};
pub(crate) use sent_tokens::{Lane, Outgoing, SentTokens, Staged};
pub(crate) use subscription::{AFTER_END, Ending, Publisher, Subscriber, Unfit, Wants};
pub(crate) use table::{Body, Phase, Request, Requests};
pub(crate) use tokens::{Overflow, TokenCache, are_unique};
pub(crate) use updates::{Expiry, ReceivedUpdate, SentUpdate, Updates};
