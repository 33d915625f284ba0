//! [`Router`]: between the shards.

use alloc::collections::VecDeque;

use crate::connections::ShardId;
use crate::message::Message;

/// Carries messages between the shards of a relay.
#[derive(Debug)]
pub struct Router {
    shards: u16,
    queue: VecDeque<(ShardId, Message)>,
}

impl Router {
    /// A router for this many shards.
    pub fn new(shards: u16) -> Self {
        Self { shards, queue: VecDeque::new() }
    }

    /// How many shards there are.
    pub fn shards(&self) -> u16 {
        self.shards
    }

    /// A shard has something to say, to one shard or, with `None`, to all others.
    pub fn handle_message(&mut self, _from: ShardId, to: Option<ShardId>, message: Message) {
        if let Some(to) = to {
            self.queue.push_back((to, message));
        }
    }

    /// The next message, and which shard it is for.
    pub fn poll_message(&mut self) -> Option<(ShardId, Message)> {
        self.queue.pop_front()
    }
}
