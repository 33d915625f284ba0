//! Whole tracks, on top of [`MoqtConnection`](crate::MoqtConnection)'s public methods: objects
//! put into groups and subgroups on the way out, and back into order on the way in. As pure as
//! the rest: no clock, no waiting.

mod history;
mod published;
mod subscribed;

pub use published::{PublishedTrack, Slot, TrackLayout};
pub use subscribed::{Losses, SubscribedTrack, TrackRead};
