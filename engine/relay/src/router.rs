//! [`Router`]: between the shards.

use alloc::collections::VecDeque;

use crate::connections::ShardId;
use crate::message::{Message, What};

/// Carries messages between the shards of a relay, in order: what one shard says to another is
/// heard as it was said.
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
    pub fn handle_message(&mut self, from: ShardId, to: Option<ShardId>, message: Message) {
        match (to, &message.what) {
            (Some(to), _) => self.queue.push_back((to, message)),
            (None, What::Namespace { namespace, way }) => {
                let (namespace, way) = (namespace.clone(), way.clone());
                self.tell_others(from, || {
                    let (namespace, way) = (namespace.clone(), way.clone());
                    What::Namespace { namespace, way }
                });
            }
            (None, What::Track { name, is_published }) => {
                let (name, is_published) = (name.clone(), *is_published);
                self.tell_others(from, || What::Track { name: name.clone(), is_published });
            }
            (None, What::Upstream(state)) => {
                let state = *state;
                self.tell_others(from, || What::Upstream(state));
            }
            (None, What::Listen { prefix, interest }) => {
                let (prefix, interest) = (prefix.clone(), *interest);
                self.tell_others(from, || What::Listen { prefix: prefix.clone(), interest });
            }
            // Everything else is for one shard.
            (None, _) => {}
        }
    }

    /// The next message, and which shard it is for.
    pub fn poll_message(&mut self) -> Option<(ShardId, Message)> {
        self.queue.pop_front()
    }

    fn tell_others(&mut self, from: ShardId, what: impl Fn() -> What) {
        for to in (0..self.shards).map(ShardId).filter(|to| *to != from) {
            self.queue.push_back((to, Message { from, what: what() }));
        }
    }
}
