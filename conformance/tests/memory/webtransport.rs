//! What a peer can make WebTransport over HTTP/3 hold, in bytes of the heap: as much as the limits
//! say, with a buffer that doubles as it grows and a little for each thing beside its bytes.

use bytes::Bytes;
use moqt_conformance::heap::Measured;
use moqt_webtransport::{Action, Config, Connection, Dir, Event, Limits, Own, Request, Route};

/// The most that one thing costs beside its bytes: a stream, a field line, a datagram.
const EACH: i64 = 400;

/// What a connection holds with nothing in it.
const BASE: i64 = 8 * 1024;

const CLIENT_CONTROL: &[u8] = b"\x00\x04\x07\x33\x01\xac\x7c\xf0\x00\x01";
const SERVER_CONTROL: &[u8] = b"\x00\x04\x09\x33\x01\x08\x01\xac\x7c\xf0\x00\x01";
const REQUEST: &[u8] = b"\x01\x23\x00\x00\xcf\x27\x02:protocol\x0fwebtransport-h3\xd7\x50\x01a\xc1";
const RESPONSE: &[u8] = b"\x01\x03\x00\x00\xd9";

/// One end whose actions and events are taken at once, and what it holds.
struct Attacked {
    connection: Connection,
    measured: Measured,
}

impl Attacked {
    fn new(is_client: bool) -> Self {
        let measured = Measured::begin();
        let config = Config::default();
        let connection = if is_client {
            Connection::client(Request::new("a", "/"), &config)
        } else {
            Connection::server(&config)
        };
        let mut this = Self { connection, measured };
        this.drain();
        this
    }

    /// One with a session.
    fn established(is_client: bool) -> Self {
        let mut end = Self::new(is_client);
        if is_client {
            end.data(3, SERVER_CONTROL);
            end.data(0, RESPONSE);
        } else {
            end.data(2, CLIENT_CONTROL);
            end.data(0, REQUEST);
            end.connection.accept(None, &[]);
            end.drain();
        }
        assert!(end.connection.is_established());
        end
    }

    fn data(&mut self, stream: u64, data: &[u8]) -> Route {
        let route = self.connection.handle_data(stream, Bytes::copy_from_slice(data), false);
        self.drain();
        route
    }

    fn drain(&mut self) {
        while let Some(action) = self.connection.poll_action() {
            if let Action::Open(own) = action {
                let control = if self.connection.is_client() { 2 } else { 3 };
                let stream = if own == Own::Control { control } else { 0 };
                self.connection.handle_opened(own, stream);
            }
        }
        while let Some(event) = self.connection.poll_event() {
            assert!(!matches!(event, Event::Failed(_)), "{event:?}");
        }
    }

    /// One of the peer's streams.
    fn peers(&self, dir: Dir, index: u64) -> u64 {
        let direction = if dir == Dir::Bi { 0 } else { 2 };
        4 * index + direction + u64::from(self.connection.is_client())
    }

    fn assert_holds(&self, things: usize, bytes: usize) {
        let allowed =
            BASE + i64::try_from(things).unwrap() * EACH + 2 * i64::try_from(bytes).unwrap();
        let held = self.measured.held();
        assert!(held <= allowed, "{held} bytes are held, of {allowed}");
    }

    fn over(self) {
        let Self { connection, measured } = self;
        drop(connection);
        assert_eq!(measured.held(), 0, "all is given back");
    }
}

fn limits() -> Limits {
    Config::default().limits
}

#[test]
fn streams_whose_header_does_not_come() {
    for mut end in [false, true].into_iter().map(Attacked::established) {
        let mut taken = 0;
        for index in 100..5100 {
            for dir in [Dir::Uni, Dir::Bi] {
                let stream = end.peers(dir, index);
                taken += usize::from(end.data(stream, &[0x40]) == Route::Own);
            }
        }
        assert_eq!(taken, limits().unattributed_streams);
        end.assert_holds(taken, 0);
        end.over();
    }
}

#[test]
fn requests_whose_header_does_not_come() {
    let mut end = Attacked::new(false);
    end.data(2, CLIENT_CONTROL);
    let length = u32::try_from(limits().field_section).unwrap();
    let mut taken = 0;
    for index in 0..1000 {
        let begin = [&[1][..], &(length | 0x8000_0000).to_be_bytes(), &[0; 16_000]].concat();
        taken += usize::from(end.data(4 * index, &begin) == Route::Own);
    }
    assert_eq!(taken, limits().requests);
    end.assert_holds(taken, taken * limits().field_section);
    end.over();
}

#[test]
fn streams_and_datagrams_before_the_session() {
    for payload in [0, 100, 60_000] {
        let mut end = Attacked::new(false);
        let mut held = 0;
        for index in 1..2000 {
            let header = [&b"\x40\x54\x00"[..], &vec![7; payload]].concat();
            held += usize::from(end.data(4 * index + 2, &header) == Route::Held);
            let datagram = Bytes::from(vec![0; payload + 1]);
            assert_eq!(end.connection.handle_datagram(datagram), None);
        }
        assert!(held > 0 && held <= limits().held_streams);
        assert!(held * payload <= limits().held_stream_bytes);
        let things = held + limits().held_datagrams;
        end.assert_holds(things, limits().held_stream_bytes + limits().held_datagram_bytes);
        end.over();
    }
}

#[test]
fn capsules_and_frames_without_end() {
    // Of a type that is unknown, and a datagram that is too long.
    for capsule in
        [&b"\x21\xff\xff\xff\xff\xff\xff\xff\xff"[..], b"\x00\xff\xff\xff\xff\xff\xff\xff\xff"]
    {
        for mut end in [false, true].into_iter().map(Attacked::established) {
            end.data(0, &[b"\x00\xff\xff\xff\xff\xff\xff\xff\xff", capsule].concat());
            for _ in 0..1000 {
                end.data(0, &[7; 4096]);
            }
            end.assert_holds(0, 0);
            end.over();
        }
    }
    // A datagram that is not: it is held until it is complete.
    for mut end in [false, true].into_iter().map(Attacked::established) {
        end.data(0, b"\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00\x80\x01\x00\x00");
        for _ in 0..15 {
            end.data(0, &[7; 4096]);
        }
        end.assert_holds(0, limits().capsule_datagram);
        end.over();
    }
    // Unknown frames.
    for mut end in [false, true].into_iter().map(Attacked::established) {
        let control = if end.connection.is_client() { 3 } else { 2 };
        for stream in [0, control] {
            end.data(stream, b"\x21\xff\xff\xff\xff\xff\xff\xff\xff");
            for _ in 0..1000 {
                end.data(stream, &[7; 4096]);
            }
        }
        end.assert_holds(0, 0);
        end.over();
    }
}

#[test]
fn what_comes_before_a_session_is_accepted() {
    let mut end = Attacked::new(false);
    end.data(2, CLIENT_CONTROL);
    end.data(0, REQUEST);
    for _ in 0..limits().early_bytes / 64 {
        end.data(0, &[0x21; 64]);
    }
    end.assert_holds(0, limits().early_bytes);
    end.over();
}

/// A connection that has had many streams holds nothing of those that are over.
#[test]
fn streams_that_are_over() {
    for mut end in [false, true].into_iter().map(Attacked::established) {
        for index in 100..20_100 {
            let stream = end.peers(Dir::Bi, index);
            match index % 5 {
                0 => assert!(matches!(end.data(stream, b"\x40\x41\x00x"), Route::Session(_))),
                1 => assert_eq!(end.data(stream, b"\x40\x41\x04"), Route::Refused),
                2 => {
                    assert_eq!(end.data(stream, b"\x40"), Route::Own);
                    end.connection.handle_reset(stream, 7);
                    end.drain();
                }
                3 => assert_eq!(end.data(end.peers(Dir::Uni, index), b"\x40\x77"), Route::Refused),
                _ => assert_eq!(end.connection.handle_datagram(Bytes::from_static(b"\x01x")), None),
            }
        }
        end.assert_holds(0, 0);
        end.over();
    }
}

/// Nothing of what was held is left when the connection is closed.
#[test]
fn a_connection_that_is_closed() {
    let mut end = Attacked::new(false);
    for index in 1..2000 {
        end.data(end.peers(Dir::Bi, index), b"\x40");
        end.data(end.peers(Dir::Uni, index), &[&b"\x40\x54\x00"[..], &[7; 1000]].concat());
    }
    assert!(end.measured.held() > 4 * BASE);
    // A datagram without an ID.
    assert_eq!(end.connection.handle_datagram(Bytes::new()), None);
    while end.connection.poll_action().is_some() {}
    while end.connection.poll_event().is_some() {}
    // The queue of actions, which had one for each stream that was held, does not shrink.
    assert!(end.measured.held() <= 2 * BASE, "{} bytes are held", end.measured.held());
    end.over();
}
