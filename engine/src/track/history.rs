use super::TrackRead;
use crate::MoqtConnection;
use crate::event::{Event, FetchRead};
use crate::key::{RequestKey, StreamKey};
use crate::model::{EndOfRange, Location, ObjectStatus, StreamResetCode};

/// How much payload is read at a time.
const PIECE_LEN: usize = 64 * 1024;

/// What came before a subscription that is joined: the objects of a FETCH in ascending order.
#[derive(Debug)]
pub(super) struct History {
    fetch: RequestKey,
    /// The last object it may have.
    last: Location,
    /// The first object that has not been given, once that is known.
    expected: Option<Location>,
    stream: Option<StreamKey>,
    /// There may be something to read.
    is_readable: bool,
    /// Payload of the current object that has not been given.
    left: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// All that exists has been given.
    Complete,
    /// It ended early.
    Lost(StreamResetCode),
    /// Nothing more is to be said.
    Over,
}

/// What reading the past gave.
pub(super) enum Past {
    Read(TrackRead),
    /// There is no more of it.
    Over,
}

impl History {
    pub(super) fn new(fetch: RequestKey, last: Location) -> Self {
        Self {
            fetch,
            last,
            expected: None,
            stream: None,
            is_readable: false,
            left: 0,
            state: State::Open,
        }
    }

    /// Takes in an event of the fetch; `false` if it is none.
    pub(super) fn handle_event(&mut self, event: &Event) -> bool {
        match event {
            Event::FetchOpened { request, stream } if *request == self.fetch => {
                self.stream = Some(*stream);
                self.is_readable = true;
            }
            Event::Readable { stream } if Some(*stream) == self.stream => self.is_readable = true,
            Event::Accepted { request, answer } if *request == self.fetch => {
                let start = answer.fetch.map(|fetch| fetch.range.start);
                self.expected = self.expected.or(start);
            }
            Event::Rejected { request, .. } if *request == self.fetch => {
                self.lose(StreamResetCode::Cancelled);
            }
            Event::Cancelled { request, code, .. } if *request == self.fetch => self.lose(*code),
            Event::TrackMalformed { request, .. } if *request == self.fetch => {
                self.lose(StreamResetCode::MalformedTrack);
            }
            _ => return false,
        }
        true
    }

    /// Whether it comes on this stream.
    pub(super) fn reads(&self, stream: StreamKey) -> bool {
        self.stream == Some(stream)
    }

    fn lose(&mut self, code: StreamResetCode) {
        if self.state == State::Open {
            self.state = State::Lost(code);
        }
    }

    pub(super) fn read(&mut self, connection: &mut MoqtConnection) -> Past {
        loop {
            match self.state {
                State::Open => {}
                State::Complete | State::Over => return Past::Over,
                State::Lost(code) => return self.end_early(code),
            }
            let Some(stream) = self.stream.filter(|_| self.is_readable) else {
                return Past::Read(TrackRead::Pending);
            };
            match connection.read_fetch(stream, PIECE_LEN) {
                FetchRead::Object(object) => {
                    let location = object.location;
                    self.expected = Some(after(location));
                    if object.status != ObjectStatus::Normal {
                        continue;
                    }
                    self.left = object.payload_len;
                    return Past::Read(TrackRead::Object {
                        location,
                        payload_len: object.payload_len,
                        properties: object.properties,
                    });
                }
                FetchRead::Payload(piece) => {
                    self.left = self.left.saturating_sub(piece.len() as u64);
                    return Past::Read(TrackRead::Payload(piece));
                }
                FetchRead::EndOfRange { location, kind } => {
                    let to = after(location);
                    let from = self.expected.replace(to);
                    if kind == EndOfRange::Unknown {
                        let from = from.unwrap_or(Location::new(location.group, 0));
                        return Past::Read(TrackRead::Gap { from, to });
                    }
                }
                FetchRead::Pending => {
                    self.is_readable = false;
                    return Past::Read(TrackRead::Pending);
                }
                FetchRead::Finished => self.state = State::Complete,
                FetchRead::Reset(code) => self.lose(code),
                FetchRead::Gone => self.lose(StreamResetCode::Cancelled),
            }
        }
    }

    /// What was not given is missing.
    fn end_early(&mut self, code: StreamResetCode) -> Past {
        if core::mem::take(&mut self.left) > 0 {
            return Past::Read(TrackRead::Aborted { code });
        }
        self.state = State::Over;
        let to = after(self.last);
        let from = self.expected.unwrap_or(Location::new(self.last.group, 0));
        if from < to { Past::Read(TrackRead::Gap { from, to }) } else { Past::Over }
    }
}

/// The location after this one, in its group.
fn after(location: Location) -> Location {
    Location::new(location.group, location.object.saturating_add(1))
}
