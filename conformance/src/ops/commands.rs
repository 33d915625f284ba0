//! Commands, and what their errors must mean.

use moqt_engine::{Blocked, CommandError, Dir, MoqtConnection, RequestKey, StreamKey, Timestamp};

use super::world::{Life, World};

/// What a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// The session, or a request to be begun.
    Session,
    Request(RequestKey),
    /// A stream that is being sent, and the request it belongs to as far as it is known.
    Stream(StreamKey),
}

impl World<'_> {
    /// Gives a command and looks at what came of it. Not all are given: see
    /// [`failed`](Self::failed).
    pub(super) fn command<T>(
        &mut self,
        what: &'static str,
        about: About,
        command: impl FnOnce(&mut MoqtConnection, Timestamp) -> Result<T, CommandError>,
    ) -> Option<T> {
        let number = self.commands;
        self.commands += 1;
        if self.skip.contains(&number) {
            return None;
        }
        let before = self.engine.usage();
        let stats = self.engine.stats();
        let result = command(&mut self.engine, self.now);
        if self.talks {
            let outcome = result.as_ref().map(|_| ());
            eprintln!("{:?} command {number} {what} {about:?}: {outcome:?}", self.now);
        }
        match result {
            Ok(value) => {
                self.reach(format!("command {what}"));
                assert!(!self.is_closed(), "{what} after the end");
                if let About::Request(key) = about {
                    assert_ne!(self.life(key), Life::Over, "{what}: the request is over");
                }
                Some(value)
            }
            Err(error) => {
                let text = format!("{error:?}");
                let class = text.split(['{', '"']).next().unwrap_or_default();
                self.reach(format!("{what}: {class}"));
                let after = self.engine.usage();
                if !self.explain(what, about, error) {
                    assert_eq!(before, after, "{what} failed with {error:?}, and changed this");
                    assert_eq!(stats, self.engine.stats(), "{what}: {error:?}");
                    self.failed.insert(number);
                }
                None
            }
        }
    }

    /// Why a command may have failed so. Whether that may have changed something.
    fn explain(&mut self, what: &'static str, about: About, error: CommandError) -> bool {
        let is_closed = self.is_closed();
        assert!(!is_closed || matches!(error, CommandError::Closed | CommandError::Gone), "{what}");
        match error {
            CommandError::Closed => assert!(is_closed, "{what}: the session goes on"),
            CommandError::Gone => {
                let was_known = self.is_known_over(about);
                self.drain();
                assert!(
                    is_closed || self.is_known_over(about),
                    "{what}: {about:?} is gone, and nobody has said so"
                );
                return !was_known;
            }
            CommandError::Blocked(Blocked::Setup) => {
                assert!(!self.established, "{what}: the session is set up");
            }
            CommandError::Blocked(Blocked::Requests) => {
                let first = u64::from(self.role == moqt_engine::Role::Server);
                let next = first + 2 * self.begun;
                if self.peer.is_garbled {
                    return true;
                }
                assert!(!self.draft.dialect().answers_by_stream, "{what}: this draft has no limit");
                assert!(next >= self.peer.granted, "{what}: {next} of {}", self.peer.granted);
                self.wants_credit = true;
                return true;
            }
            CommandError::Blocked(Blocked::Streams) => {
                self.drain();
                let used = [0, 1].map(|index| self.opened[index] >= self.allowed[index]);
                assert!(used[0] || used[1], "{what}: there are streams");
                // Which direction it was is told by which has none left.
                for index in 0..2 {
                    self.wants_streams[index] |= used[index] && !used[1 - index];
                }
                return true;
            }
            CommandError::Blocked(Blocked::Updates) => {
                let About::Request(key) = about else { unreachable!("{what}: no updates") };
                let unanswered = self.request(key).map_or(0, |known| known.unanswered_updates);
                assert!(
                    unanswered >= self.config.limits.unanswered_updates,
                    "{what}: {unanswered}"
                );
                return true;
            }
            CommandError::Blocked(Blocked::Queue) => {
                let key = match about {
                    About::Request(key) => Some(key),
                    About::Stream(key) => self.subgroups.get(&key).and_then(|one| one.request),
                    About::Session => None,
                };
                let Some(key) = key else { unreachable!("{what}: of no request") };
                let response = self.engine.fetch_response(key).map(|response| response.queued());
                let queued = response.unwrap_or_else(|| {
                    let stats = self.engine.subscription_stats(key);
                    stats.map_or(0, |stats| stats.waiting_bytes)
                });
                let limits = &self.config.limits;
                assert!(
                    queued >= limits.subscription_send
                        || self.engine.usage().send_bytes >= limits.session_send,
                    "{what}: there is room"
                );
                if self.life(key) == Life::Lives {
                    self.blocked.insert(key);
                }
                return true;
            }
            CommandError::GoingAway => {
                assert!(self.goaway_received, "{what}: nobody goes away");
            }
            CommandError::WrongState(_) | CommandError::Encode(_) | CommandError::Token(_) => {}
            other => unreachable!("{other:?}"),
        }
        false
    }

    /// Whether the application can know that what the command is about is over.
    fn is_known_over(&self, about: About) -> bool {
        match about {
            About::Session => false,
            About::Request(key) => self.life(key) != Life::Lives,
            About::Stream(key) => {
                let Some(name) = self.knows(key) else { return true };
                let stream = &self.streams[name];
                let is_ours = stream.ours && stream.dir == Dir::Uni;
                !is_ours
                    || stream.sent_fin
                    || stream.sent_reset
                    || !self.subgroups.contains_key(&key)
            }
        }
    }
}
