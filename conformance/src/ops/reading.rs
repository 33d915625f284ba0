//! What comes in on data streams, and what the application reads of it.

use bytes::Bytes;
use moqt_engine::model::StreamResetCode;
use moqt_engine::{FetchRead, Read, RequestKey};

use super::world::{Life, World};

/// A data stream of the peer's as the application reads it.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not one state")]
pub(super) struct Incoming {
    /// The application has been told of it.
    pub(super) is_open: bool,
    is_fetch: bool,
    request: Option<RequestKey>,
    /// What the peer has put into it, unless it has put in anything else.
    pub(super) objects: Vec<(u64, Bytes)>,
    pub(super) is_clean: bool,
    /// How many objects have been begun, and how much the last one lacks.
    begun: usize,
    left: u64,
    /// The application was told to wait.
    waits: bool,
    pub(super) is_over: bool,
}

impl Incoming {
    pub(super) fn opened(&mut self, is_fetch: bool, request: Option<RequestKey>) {
        assert!(!self.is_open, "opened twice");
        self.is_open = true;
        self.is_fetch = is_fetch;
        self.request = request;
    }

    pub(super) fn told(&mut self) {
        assert!(self.waits, "nobody was waiting");
        self.waits = false;
    }

    fn object(&mut self, id: u64, payload_len: u64) {
        assert_eq!(self.left, 0, "an object within another");
        assert!(!self.is_over, "an object after the end");
        if self.is_clean && !self.is_fetch {
            let expected = self.objects.get(self.begun);
            let is_next = expected
                .is_some_and(|(next, payload)| *next == id && payload.len() as u64 == payload_len);
            assert!(is_next, "object {id} of {payload_len} bytes, not {expected:?}");
        }
        self.begun += 1;
        self.left = payload_len;
    }

    fn payload(&mut self, bytes: &[u8], max: usize) {
        assert!(
            (max == 0 || !bytes.is_empty()) && bytes.len() <= max,
            "{} bytes of {max}",
            bytes.len()
        );
        let left = self.left.checked_sub(bytes.len() as u64);
        assert!(left.is_some(), "more payload than the header said");
        let Some((_, payload)) = self.objects.get(self.begun.wrapping_sub(1)) else {
            self.left = left.unwrap_or_default();
            return;
        };
        if self.is_clean {
            let at = payload.len() - usize::try_from(self.left).unwrap_or_default();
            assert_eq!(&payload[at..at + bytes.len()], bytes, "payload is not what it was");
        }
        self.left = left.unwrap_or_default();
    }

    fn finished(&mut self, fin: bool) {
        assert!(fin, "finished, which its sender has not done");
        assert_eq!(self.left, 0, "finished within an object");
        if self.is_clean && !self.is_fetch {
            assert_eq!(self.begun, self.objects.len(), "objects are lost");
        }
        self.is_over = true;
    }
}

impl World<'_> {
    /// Reads until there is nothing.
    pub(super) fn read_all(&mut self, name: usize) {
        while self.read_some(name, usize::MAX) {}
    }

    /// Reads once. Whether there may be more.
    pub(super) fn read_some(&mut self, name: usize, max: usize) -> bool {
        if !self.streams[name].incoming.is_open {
            return false;
        }
        if self.streams[name].incoming.is_fetch {
            self.read_fetch(name, max)
        } else {
            self.read_subgroup(name, max)
        }
    }

    fn read_subgroup(&mut self, name: usize, max: usize) -> bool {
        let read = self.engine.read(self.streams[name].key, max);
        self.note(&("read", name, &read));
        let stream = &mut self.streams[name];
        let (fin, reset) = (stream.fin, stream.reset);
        let incoming = &mut stream.incoming;
        match read {
            Read::Object(header) => incoming.object(header.object_id, header.payload_len),
            Read::Payload(bytes) => incoming.payload(&bytes, max),
            Read::Pending => {
                incoming.waits = true;
                return false;
            }
            Read::Finished => {
                incoming.finished(fin);
                self.reach("read Finished");
                return false;
            }
            Read::Reset(code) => return self.read_reset(name, reset, code),
            Read::Gone => {
                incoming.is_over = true;
                return false;
            }
            other => unreachable!("{other:?}"),
        }
        max > 0
    }

    fn read_fetch(&mut self, name: usize, max: usize) -> bool {
        let read = self.engine.read_fetch(self.streams[name].key, max);
        self.note(&("read", name, &read));
        let stream = &mut self.streams[name];
        let (fin, reset) = (stream.fin, stream.reset);
        let incoming = &mut stream.incoming;
        match read {
            FetchRead::Object(object) => {
                incoming.object(object.location.object, object.payload_len);
            }
            FetchRead::Payload(bytes) => incoming.payload(&bytes, max),
            FetchRead::EndOfRange { .. } => {
                assert_eq!(incoming.left, 0, "an end of range within an object");
                self.reach("read EndOfRange");
            }
            FetchRead::Pending => {
                incoming.waits = true;
                return false;
            }
            FetchRead::Finished => {
                incoming.finished(fin);
                self.reach("read_fetch Finished");
                self.fetched(name);
                return false;
            }
            FetchRead::Reset(code) => {
                self.fetched(name);
                return self.read_reset(name, reset, code);
            }
            FetchRead::Gone => {
                incoming.is_over = true;
                return false;
            }
            other => unreachable!("{other:?}"),
        }
        max > 0
    }

    fn read_reset(&mut self, name: usize, was_reset: bool, code: StreamResetCode) -> bool {
        assert!(was_reset, "reset with {code:?}, which its sender has not done");
        self.streams[name].incoming.is_over = true;
        self.reach("read Reset");
        false
    }

    /// A FETCH of ours has been read to its end.
    fn fetched(&mut self, name: usize) {
        let Some(key) = self.streams[name].incoming.request else { return };
        let Some(known) = self.request_mut(key) else { return };
        assert!(!known.fetched, "two ends of a FETCH");
        known.fetched = true;
        if known.answered {
            known.life = Life::Over;
        }
    }
}
