//! The end of a run: everybody gives up all they have.

use core::time::Duration;

use moqt_engine::model::{Message, RequestKind, UnsubscribeNamespace};
use moqt_engine::wire::encode_message;
use moqt_engine::{Dir, RequestKey, Timestamp, Usage};

use super::world::{Life, World};
use crate::last_words::{GivenUp, give_up};

/// How often, as giving up may bring more to give up.
const ROUNDS: usize = 4;

impl World<'_> {
    /// Gives everything up. Nothing must be left then.
    pub(super) fn settle(&mut self) {
        self.habits.takes_at_once = true;
        self.habits.reads_at_once = true;
        if !self.is_closed() && !self.established {
            self.now = Timestamp::from_micros(u64::MAX);
            self.engine.handle_timeout(self.now);
            self.drain();
            assert!(self.is_closed(), "it waits for a SETUP forever");
        }
        for _ in 0..ROUNDS {
            self.open_up();
            for dir in [Dir::Bi, Dir::Uni] {
                self.allow(dir, 100);
            }
            self.read_everything();
            self.reset_silent();
            for at in 0..self.requests.len() {
                self.give_up(self.requests[at].key);
            }
            self.open_up();
            self.unsubscribe_namespaces();
            self.acknowledge();
            self.wait(Duration::from_secs(600));
            self.drain();
        }
        if !self.is_closed() {
            self.reach("settled");
            self.assert_nothing_left();
            self.engine.close(moqt_engine::model::SessionError::NoError, "");
            self.drain();
        }
        self.assert_over();
    }

    /// A stream that is opened and says nothing waits for as long as the transport lets it.
    fn reset_silent(&mut self) {
        for name in 0..self.streams.len() {
            if !self.streams[name].ours && self.streams[name].is_silent {
                self.peer_resets(name, 0);
                self.peer_stops(name, 0);
            }
        }
    }

    fn read_everything(&mut self) {
        for name in 0..self.streams.len() {
            self.read_all(name);
        }
        self.drain();
        for name in 0..self.streams.len() {
            let stream = &self.streams[name];
            let is_read = stream.incoming.is_open && !stream.incoming.is_over;
            assert!(
                self.is_closed() || !is_read || stream.pending.is_empty(),
                "{} bytes of stream {name} wait for a window",
                stream.pending.len()
            );
        }
    }

    fn give_up(&mut self, key: RequestKey) {
        if self.is_closed() {
            return;
        }
        let (now, life) = (self.now, self.life(key));
        let given_up = give_up(&mut self.engine, now, key);
        if given_up == GivenUp::Gone {
            assert_ne!(life, Life::Lives, "{key:?} is gone, and nobody has said so");
        } else {
            assert_ne!(life, Life::Over, "{key:?} goes on after its end");
        }
        if life != Life::Over {
            self.end(key, if given_up == GivenUp::Cancelled { Life::Over } else { Life::Ending });
        }
        self.drain();
    }

    /// Only their subscriber can end some of them.
    fn unsubscribe_namespaces(&mut self) {
        let by_name = self.draft.dialect().namespace_done_by_name;
        let Some(control) = self.peer.control.filter(|_| by_name && !self.is_closed()) else {
            return;
        };
        if !self.streams[control].pending.is_empty() || self.habits.mischief > 0 {
            return;
        }
        for asked in &mut self.peer.own {
            let is_subscription = asked.kind == RequestKind::SubscribeNamespace;
            if is_subscription && !asked.over && asked.answered {
                asked.over = true;
                let prefix = asked.prefix.clone();
                let message = Message::UnsubscribeNamespace(UnsubscribeNamespace { prefix });
                let mut bytes = Vec::new();
                if encode_message(self.draft.dialect(), &message, &mut bytes).is_ok() {
                    self.streams[control].pending.extend(bytes);
                }
            }
        }
        self.deliver(control);
        self.drain();
    }

    fn assert_nothing_left(&mut self) {
        let usage = self.engine.usage();
        // What a peer on draft 14 subscribed to is its to end, and it may have lost count.
        let is_stuck = self.draft.dialect().namespace_done_by_name && self.habits.mischief > 0;
        let control = usize::from(self.draft.dialect().answers_by_stream) + 1;
        let mut expected = Usage::default();
        expected.streams = control;
        expected.auth_token_bytes = usage.auth_token_bytes;
        if is_stuck {
            expected.requests = usage.requests;
        }
        let is_end = self.now == Timestamp::from_micros(u64::MAX);
        if is_end {
            // No timer can be set any more.
            return;
        }
        assert!(usage == expected, "left: {usage:?}, not {expected:?}: {}", self.left());
        assert_eq!(self.engine.poll_timeout(), None);
        assert!(self.blocked.is_empty(), "nobody says that there is room: {:?}", self.blocked);
    }

    fn left(&self) -> String {
        let lives = |known: &&super::world::Known| known.life != Life::Over;
        let requests: Vec<_> = self.requests.iter().filter(lives).collect();
        format!("{requests:#?} {:?}", self.engine)
    }

    fn assert_over(&self) {
        assert!(self.is_closed());
        assert_eq!(self.engine.usage(), Usage::default());
        for known in &self.requests {
            assert!(self.engine.subscription_stats(known.key).is_none());
        }
    }
}
