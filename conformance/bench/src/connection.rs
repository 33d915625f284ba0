//! Objects through a whole [`MoqtConnection`].

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use moqt_engine::model::{
    FullTrackName, Message, Parameters, Setup, SubgroupId, Subscribe, SubscribeOk, TrackProperties,
};
use moqt_engine::wire::{ObjectHeader, SubgroupHeader, encode_message};
use moqt_engine::{
    Accept, Action, Config, Dir, Draft, Event, IncomingRequest, Limits, MoqtConnection, Read,
    RequestKey, Role, StreamKey, SubgroupOptions, Timestamp, Transport,
};

use crate::Case;
use crate::codec::subgroup_objects;

pub(crate) const NOW: Timestamp = Timestamp::ZERO;

pub(crate) fn config() -> Arc<Config> {
    let mut limits = Limits::default();
    limits.open_requests = 1 << 20;
    limits.stream_receive = usize::MAX;
    limits.session_receive = usize::MAX;
    limits.subscription_send = usize::MAX;
    limits.session_send = usize::MAX;
    let mut config = Config::default();
    config.limits = limits;
    Arc::new(config)
}

/// A client with `subscriptions` established subscriptions, of which the first one's track
/// alias is 1, the second one's 2, and so on.
struct Subscriber {
    connection: MoqtConnection,
    draft: Draft,
}

impl Subscriber {
    fn new(draft: Draft, subscriptions: u64) -> Self {
        let mut connection =
            MoqtConnection::new(Role::Client, draft, Transport::Quic, config(), NOW);
        connection.handle_streams_available(NOW, Dir::Bi, u64::MAX);
        connection.handle_streams_available(NOW, Dir::Uni, u64::MAX);
        let control = opened(&mut connection);
        let mut this = Self { connection, draft };
        let versions = draft.setup_version().into_iter().collect();
        let mut setup = Setup { versions, ..Setup::default() };
        setup.options.max_request_id = Some(u64::from(u32::MAX));
        let mut bytes = Vec::new();
        draft
            .dialect()
            .encode_server_setup(&setup, &mut bytes)
            .unwrap_or_else(|error| unreachable!("{error}"));
        let by_stream = draft.dialect().answers_by_stream;
        let control_in =
            if by_stream { this.connection.handle_stream_opened(NOW, Dir::Uni) } else { control };
        this.connection.handle_stream_data(NOW, control_in, bytes.into(), false);
        for number in 0..subscriptions {
            let track: FullTrackName =
                format!("bench--{number}").parse().unwrap_or_else(|error| unreachable!("{error}"));
            this.connection
                .subscribe(NOW, &track, &Parameters::default())
                .unwrap_or_else(|error| unreachable!("{error}"));
            let answer_on = if by_stream { opened(&mut this.connection) } else { control };
            let ok = Message::SubscribeOk(SubscribeOk {
                request_id: Some(2 * number),
                track_alias: number + 1,
                parameters: Parameters::default(),
                track_properties: TrackProperties::new(),
            });
            let bytes = encode(draft, &ok);
            this.connection.handle_stream_data(NOW, answer_on, bytes, false);
        }
        this.drain();
        this
    }

    fn drain(&mut self) {
        while self.connection.poll_event().is_some() {}
        while self.connection.poll_action().is_some() {}
        while let Some(send) = self.connection.poll_send(NOW) {
            take(send);
        }
    }

    /// Opens a subgroup stream of this subscription.
    fn open(&mut self, alias: u64) -> StreamKey {
        let stream = self.connection.handle_stream_opened(NOW, Dir::Uni);
        self.connection.handle_stream_data(NOW, stream, subgroup_header(self.draft, alias), false);
        while self.connection.poll_event().is_some() {}
        assert_eq!(self.connection.read(stream, usize::MAX), Read::Pending);
        stream
    }
}

fn encode(draft: Draft, message: &Message) -> Bytes {
    let mut bytes = Vec::new();
    encode_message(draft.dialect(), message, &mut bytes)
        .unwrap_or_else(|error| unreachable!("{error}"));
    bytes.into()
}

/// The beginning of a stream of subgroup 0 of group 0.
pub(crate) fn subgroup_header(draft: Draft, track_alias: u64) -> Bytes {
    let header = SubgroupHeader {
        track_alias,
        group_id: 0,
        subgroup_id: SubgroupId::Explicit(0),
        publisher_priority: Some(128),
        end_of_group: false,
        first_object: true,
        has_properties: false,
    };
    let mut bytes = Vec::new();
    header.encode(draft.dialect(), &mut bytes).unwrap_or_else(|error| unreachable!("{error}"));
    bytes.into()
}

fn opened(connection: &mut MoqtConnection) -> StreamKey {
    loop {
        match connection.poll_action() {
            Some(Action::OpenStream { stream, .. }) => return stream,
            Some(_) => {}
            None => unreachable!("a stream was to be opened"),
        }
    }
}

fn take(send: moqt_engine::Transmit<'_>) -> usize {
    match send {
        moqt_engine::Transmit::Stream(mut send) => {
            let (chunks, _) = send.offer();
            let len = chunks.iter().map(Bytes::len).sum();
            black_box(chunks);
            send.written(len);
            len
        }
        moqt_engine::Transmit::Datagram(send) => {
            send.sent();
            0
        }
    }
}

/// Bytes in, objects read by the application, everything drained after every call: 1 KiB
/// objects of one subgroup, in pieces of `chunk` bytes, while `subscriptions` subscriptions
/// are established.
pub struct Receive {
    subscriber: Subscriber,
    stream: StreamKey,
    bytes: Bytes,
    chunk: usize,
}

impl Receive {
    /// `count` objects.
    pub fn new(draft: Draft, count: u64, chunk: usize, subscriptions: u64) -> Self {
        let mut subscriber = Subscriber::new(draft, subscriptions);
        let stream = subscriber.open(subscriptions);
        Self { subscriber, stream, bytes: subgroup_objects(draft, count, 1024), chunk }
    }
}

impl Case for Receive {
    fn run(&mut self) -> u64 {
        let connection = &mut self.subscriber.connection;
        let mut objects = 0;
        while !self.bytes.is_empty() {
            let piece = self.bytes.split_to(self.chunk.min(self.bytes.len()));
            connection.handle_stream_data(NOW, self.stream, piece, false);
            while let Some(event) = connection.poll_event() {
                let Event::Readable { stream } = event else { continue };
                loop {
                    match connection.read(stream, usize::MAX) {
                        Read::Object(header) => {
                            black_box(header.object_id);
                            objects += 1;
                        }
                        Read::Payload(payload) => drop(black_box(payload)),
                        _ => break,
                    }
                }
            }
            while connection.poll_action().is_some() {}
            black_box(connection.poll_timeout());
        }
        objects
    }
}

/// A server's connection. The client is nothing but the messages that it is made to send.
pub(crate) struct Served {
    pub(crate) connection: MoqtConnection,
    draft: Draft,
    /// Where the client's control messages come in.
    control: StreamKey,
}

impl Served {
    /// With a session that is set up.
    pub(crate) fn new(draft: Draft, config: Arc<Config>) -> Self {
        let mut connection = MoqtConnection::new(Role::Server, draft, Transport::Quic, config, NOW);
        connection.handle_streams_available(NOW, Dir::Bi, u64::MAX);
        connection.handle_streams_available(NOW, Dir::Uni, u64::MAX);
        let by_stream = draft.dialect().answers_by_stream;
        let control_dir = if by_stream { Dir::Uni } else { Dir::Bi };
        let control = connection.handle_stream_opened(NOW, control_dir);
        let versions = draft.setup_version().into_iter().collect();
        let setup = Message::Setup(Setup { versions, ..Setup::default() });
        connection.handle_stream_data(NOW, control, encode(draft, &setup), false);
        Self { connection, draft, control }
    }

    /// A request comes in.
    pub(crate) fn ask(&mut self, request: &Message) {
        let Self { connection, draft, control } = self;
        let by_stream = draft.dialect().answers_by_stream;
        let on = if by_stream { connection.handle_stream_opened(NOW, Dir::Bi) } else { *control };
        connection.handle_stream_data(NOW, on, encode(*draft, request), false);
    }
}

/// Objects out: each of 1 KiB is written to one subgroup, polled and taken at once, while
/// `subscriptions` subscriptions are established.
pub struct Transmit {
    connection: MoqtConnection,
    stream: StreamKey,
    payload: Bytes,
    count: u64,
}

impl Transmit {
    /// `count` objects.
    pub fn new(draft: Draft, count: u64, subscriptions: u64) -> Self {
        let mut served = Served::new(draft, config());
        let mut last = None;
        for number in 0..subscriptions {
            served.ask(&Message::Subscribe(Subscribe {
                request_id: 2 * number,
                track: format!("bench--{number}")
                    .parse()
                    .unwrap_or_else(|error| unreachable!("{error}")),
                parameters: Parameters::default(),
            }));
            last = accept(&mut served.connection).or(last);
        }
        let mut connection = served.connection;
        let request = last.unwrap_or_else(|| unreachable!("at least one subscription"));
        let stream = connection
            .publisher(request)
            .and_then(|mut publisher| publisher.open_subgroup(SubgroupOptions::new(0)).ok()?)
            .unwrap_or_else(|| unreachable!("the subscriber wants everything"));
        while connection.poll_action().is_some() {}
        while let Some(send) = connection.poll_send(NOW) {
            take(send);
        }
        Self { connection, stream, payload: Bytes::from(vec![0x5a; 1024]), count }
    }
}

fn accept(connection: &mut MoqtConnection) -> Option<RequestKey> {
    let mut accepted = None;
    while let Some(event) = connection.poll_event() {
        if let Event::Request { request, what: IncomingRequest::Subscribe { .. } } = event {
            connection
                .accept(NOW, request, Accept::default())
                .unwrap_or_else(|error| unreachable!("{error}"));
            accepted = Some(request);
        }
    }
    accepted
}

impl Case for Transmit {
    fn run(&mut self) -> u64 {
        let mut header = ObjectHeader { payload_len: 1024, ..ObjectHeader::default() };
        for object_id in 0..self.count {
            header.object_id = object_id;
            if let Some(mut subgroup) = self.connection.subgroup(self.stream) {
                let written = subgroup.object(&header, self.payload.clone());
                written.unwrap_or_else(|error| unreachable!("{error}"));
            }
            while self.connection.poll_event().is_some() {}
            while self.connection.poll_action().is_some() {}
            while let Some(send) = self.connection.poll_send(NOW) {
                black_box(take(send));
            }
        }
        self.count
    }
}
