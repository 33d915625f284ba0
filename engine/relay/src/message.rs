//! What shards tell each other.

/// Something that one shard tells another, or all others.
#[derive(Debug)]
#[non_exhaustive]
pub enum Message {}
