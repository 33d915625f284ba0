//! The streams of a connection: what waits to be sent on them and to be read from them.
//! Nothing here knows what a request is.

mod delivery;
mod recv;
mod schedule;
mod send;
mod streams;

pub(crate) use delivery::{Aging, Deadlines, DeliveryTimeouts, Expired, StreamClock};
pub(crate) use recv::{
    FetchRecv, MessageStream, PeerEnd, RecvHalf, RecvKind, SubgroupPlace, SubgroupRecv,
};
pub(crate) use schedule::{
    DataPosition, QueuedDatagram, Schedule, SendClass, Sender, SenderKey, Turn,
};
pub(crate) use send::{ALWAYS_GATHERED, SendHalf, SubgroupSend};
pub(crate) use streams::Streams;
