//! Objects through a shard of a relay, from one publisher to many subscribers.

use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use moqt_engine::model::{FullTrackName, Message, Parameters, Publish, Subscribe, TrackProperties};
use moqt_engine::{Dir, Draft, MoqtConnection, StreamKey, Transmit, Transport};
use moqt_relay::{ConnectionId, Connections, Open, PeerInfo, Shard, ShardId};

use crate::Case;
use crate::codec::subgroup_objects;
use crate::connection::{NOW, Served, config, subgroup_header};

/// Objects that are handed on before anything is counted.
const WARM_UP: u64 = 20;
/// The publisher's connection; subscribers have those after it.
const PUBLISHER: usize = 0;
/// The publisher's Track Alias.
const ALIAS: u64 = 1;

/// What is handed on, and to how many.
#[derive(Clone, Copy, Debug)]
pub struct Audience {
    /// Subscribers, each in a session of its own.
    pub subscribers: usize,
    /// Bytes of each object's payload.
    pub object_len: usize,
    /// The most that comes in at once, in bytes.
    pub chunk: usize,
}

/// Objects of one subgroup, handed on. They come in one at a time, whole or in pieces, and after
/// each piece all that is to be sent is taken.
pub struct FanOut {
    relay: Relay,
    stream: StreamKey,
    /// What the publisher has yet to send.
    bytes: Bytes,
    /// Bytes of an object with its header.
    object: usize,
    chunk: usize,
}

/// Bytes that were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Those that lie where they came in.
    pub shared: u64,
    /// Others: headers, and what was copied.
    pub own: u64,
}

impl FanOut {
    /// As many objects as make this many `deliveries`, and at least one.
    pub fn new(draft: Draft, deliveries: u64, audience: Audience) -> Self {
        let Audience { subscribers, object_len, chunk } = audience;
        let mut relay = Relay::new(draft, subscribers);
        let stream = relay.open(subgroup_header(draft, ALIAS));
        let count = (deliveries / subscribers.max(1) as u64).max(1);
        let bytes = subgroup_objects(draft, WARM_UP + count, object_len);
        let object = subgroup_objects(draft, 1, object_len).len();
        relay.sessions.incoming = span(&bytes);
        let mut this = Self { relay, stream, bytes, object, chunk };
        for _ in 0..WARM_UP {
            this.hand_on();
        }
        this.relay.sessions.sent = Sent::default();
        this
    }

    /// What was sent while it ran.
    pub fn sent(&self) -> Sent {
        self.relay.sessions.sent
    }

    /// One object.
    fn hand_on(&mut self) {
        let mut object = self.bytes.split_to(self.object);
        while !object.is_empty() {
            let piece = object.split_to(self.chunk.min(object.len()));
            self.relay.receive(self.stream, piece);
        }
    }
}

impl Case for FanOut {
    fn run(&mut self) -> u64 {
        let before = self.relay.shard.stats().objects_out;
        while !self.bytes.is_empty() {
            self.hand_on();
        }
        self.relay.shard.stats().objects_out - before
    }
}

/// A shard with its connections.
struct Relay {
    shard: Shard<Open>,
    sessions: Sessions,
}

impl Relay {
    /// With one publisher of a track, and these subscribers to it.
    fn new(draft: Draft, subscribers: usize) -> Self {
        let shard = Shard::new(ShardId(0), 1, Arc::default(), Open);
        let sessions = Sessions { all: Vec::new(), incoming: 0..0, sent: Sent::default() };
        let mut this = Self { shard, sessions };
        let track: FullTrackName =
            "bench--track".parse().unwrap_or_else(|error| unreachable!("{error}"));
        let publish = Message::Publish(Publish {
            request_id: 0,
            track: track.clone(),
            track_alias: ALIAS,
            parameters: Parameters::default(),
            track_properties: TrackProperties::new(),
        });
        this.connect(draft, &publish);
        for _ in 0..subscribers {
            let track = track.clone();
            let parameters = Parameters::default();
            this.connect(
                draft,
                &Message::Subscribe(Subscribe { request_id: 0, track, parameters }),
            );
        }
        this
    }

    /// A client connects, and has one request.
    fn connect(&mut self, draft: Draft, request: &Message) {
        let id = ConnectionId(self.sessions.all.len() as u64);
        let mut served = Served::new(draft, config());
        // That the session is set up.
        while served.connection.poll_event().is_some() {}
        served.ask(request);
        self.sessions.all.push(served.connection);
        let peer = PeerInfo::new(draft, Transport::Quic);
        self.shard.handle_connected(NOW, &mut self.sessions, id, peer);
        self.work();
    }

    /// The publisher opens a stream.
    fn open(&mut self, header: Bytes) -> StreamKey {
        let publisher = &mut self.sessions.all[PUBLISHER];
        let stream = publisher.handle_stream_opened(NOW, Dir::Uni);
        self.receive(stream, header);
        stream
    }

    /// Something comes on a stream of the publisher's.
    fn receive(&mut self, stream: StreamKey, bytes: Bytes) {
        self.sessions.all[PUBLISHER].handle_stream_data(NOW, stream, bytes, false);
        self.work();
    }

    /// Has the shard hear everything that happened, and takes everything that is to be sent.
    fn work(&mut self) {
        let Self { shard, sessions } = self;
        let mut is_over = false;
        while !is_over {
            is_over = true;
            for at in 0..sessions.all.len() {
                while let Some(event) = sessions.all[at].poll_event() {
                    is_over = false;
                    shard.handle_event(NOW, sessions, ConnectionId(at as u64), event);
                }
            }
        }
        sessions.send();
        black_box(shard.poll_timeout());
    }
}

/// The connections, and what they have sent.
struct Sessions {
    all: Vec<MoqtConnection>,
    /// Where what comes in lies in memory.
    incoming: Range<usize>,
    sent: Sent,
}

impl Sessions {
    fn send(&mut self) {
        for connection in &mut self.all {
            while connection.poll_action().is_some() {}
            while let Some(send) = connection.poll_send(NOW) {
                let Transmit::Stream(mut send) = send else { unreachable!("nothing is small") };
                let mut len = 0;
                for chunk in send.offer().0 {
                    len += chunk.len();
                    let is_shared = self.incoming.contains(&(chunk.as_ptr() as usize));
                    let sent = if is_shared { &mut self.sent.shared } else { &mut self.sent.own };
                    *sent += chunk.len() as u64;
                }
                send.written(len);
            }
        }
    }
}

impl Connections for Sessions {
    fn with<R>(
        &mut self,
        id: ConnectionId,
        work: impl FnOnce(&mut MoqtConnection) -> R,
    ) -> Option<R> {
        self.all.get_mut(usize::try_from(id.0).ok()?).map(work)
    }
}

fn span(bytes: &Bytes) -> Range<usize> {
    let start = bytes.as_ptr() as usize;
    start..start + bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subscriber_gets_the_payload_where_it_came_in() {
        for draft in Draft::ALL {
            for chunk in [usize::MAX, 1200] {
                let audience = Audience { subscribers: 10, object_len: 8192, chunk };
                let mut case = FanOut::new(draft, 100, audience);
                assert_eq!(case.run(), 100);
                let sent = case.sent();
                assert_eq!(sent.shared + sent.own, 100 * case.object as u64);
                assert_eq!(sent.shared, 100 * 8192, "draft {draft}, pieces of {chunk}");
            }
        }
    }
}
