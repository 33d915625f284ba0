//! The session's streams: which of QUIC's each is, and how far.

use std::collections::HashMap;

use bytes::Bytes;
use moqt_engine::StreamKey;

/// The session's streams that are not over.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    table: HashMap<StreamKey, Stream>,
    keys: HashMap<u64, StreamKey>,
    /// Sending sides that have ended and are not acknowledged.
    unacknowledged: usize,
}

#[derive(Debug)]
pub(crate) struct Stream {
    /// QUIC's ID.
    pub(crate) id: u64,
    /// What goes before the first of the session's bytes.
    pub(crate) header: Bytes,
    pub(crate) is_control: bool,
    pub(crate) sending: Sending,
    pub(crate) receives: bool,
}

/// How far the sending side of a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    /// There is more to come.
    Open,
    /// All has been written, and is not acknowledged.
    Unacknowledged,
    /// There is none, or no longer.
    Over,
}

impl Streams {
    pub(crate) fn insert(&mut self, key: StreamKey, stream: Stream) {
        self.keys.insert(stream.id, key);
        self.table.insert(key, stream);
    }

    pub(crate) fn key(&self, id: u64) -> Option<StreamKey> {
        self.keys.get(&id).copied()
    }

    pub(crate) fn get(&self, key: StreamKey) -> Option<&Stream> {
        self.table.get(&key)
    }

    pub(crate) fn get_mut(&mut self, key: StreamKey) -> Option<&mut Stream> {
        self.table.get_mut(&key)
    }

    pub(crate) fn is_sending(&self, key: StreamKey) -> bool {
        self.get(key).is_some_and(|stream| stream.sending == Sending::Open)
    }

    /// Whether all that was finished has been acknowledged.
    pub(crate) fn are_acknowledged(&self) -> bool {
        self.unacknowledged == 0
    }

    /// The end of a stream was written.
    pub(crate) fn finished(&mut self, key: StreamKey) {
        if let Some(stream) = self.table.get_mut(&key) {
            stream.sending = Sending::Unacknowledged;
            self.unacknowledged += 1;
        }
    }

    /// All that was written on a stream has arrived, or is not wanted. Its key, if that is news.
    pub(crate) fn acknowledged(&mut self, id: u64) -> Option<StreamKey> {
        let key = self.key(id)?;
        let stream = self.table.get_mut(&key)?;
        if stream.sending != Sending::Unacknowledged {
            return None;
        }
        stream.sending = Sending::Over;
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
        self.forget_if_over(key);
        Some(key)
    }

    /// Nothing more is sent on a stream: its ID, if something might have been.
    pub(crate) fn end_sending(&mut self, key: StreamKey) -> Option<u64> {
        let stream = self.table.get_mut(&key)?;
        match std::mem::replace(&mut stream.sending, Sending::Over) {
            Sending::Open => {}
            Sending::Unacknowledged => {
                self.unacknowledged = self.unacknowledged.saturating_sub(1);
            }
            Sending::Over => return None,
        }
        let id = stream.id;
        self.forget_if_over(key);
        Some(id)
    }

    /// Nothing more is received on a stream: its ID, if something might have been.
    pub(crate) fn end_receiving(&mut self, key: StreamKey) -> Option<u64> {
        let stream = self.table.get_mut(&key).filter(|stream| stream.receives)?;
        stream.receives = false;
        let id = stream.id;
        self.forget_if_over(key);
        Some(id)
    }

    /// All of them, which are forgotten here.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Stream> + use<> {
        std::mem::take(self).table.into_values()
    }

    fn forget_if_over(&mut self, key: StreamKey) {
        if let Some(stream) = self.table.get(&key)
            && stream.sending == Sending::Over
            && !stream.receives
        {
            self.keys.remove(&stream.id);
            self.table.remove(&key);
        }
    }
}
