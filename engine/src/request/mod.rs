//! Requests and what is known of each.

mod alias;
mod subscription;
mod table;

pub(crate) use alias::{Aliases, Placement};
pub(crate) use subscription::{Ending, Publisher, Subscriber};
pub(crate) use table::{Body, Phase, Request, Requests};
