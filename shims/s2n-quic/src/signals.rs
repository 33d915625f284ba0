//! What s2n-quic has to tell of a connection, for the task that drives it.
//!
//! Streams wake their own wakers, which are of use while there is something to wait for: data to
//! come, or acknowledgements. What comes unasked (STOP_SENDING for a stream that is idle,
//! RESET_STREAM for one that is not read) and what the peer allows is found in the events of
//! frames.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

use moqt_engine::{Dir, Role};
use s2n_quic::connection::Error;
use s2n_quic::provider::event::events::{
    ConnectionClosed, EndpointType, Frame, FrameReceived, FrameSent, MtuUpdated, RecoveryMetrics,
    StreamType, TransportParametersReceived,
};
use s2n_quic::provider::event::{ConnectionInfo, ConnectionMeta, Subscriber};

use crate::flow::{Bound, Flow, InitialLimits};

/// What has happened on one connection, and what may be written.
///
/// Its lock is taken last: nothing is called under it.
#[derive(Debug)]
pub(crate) struct Signals(Mutex<State>);

#[derive(Debug)]
struct State {
    news: News,
    flow: Flow,
    path: PathSize,
    /// The task.
    task: Option<Waker>,
}

/// What has happened since the task looked last.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each stands for something by itself")]
pub(crate) struct News {
    /// The peer may have opened streams.
    pub(crate) opened: bool,
    /// Streams on which something has come.
    pub(crate) readable: Vec<u64>,
    /// Streams that the peer has reset.
    pub(crate) reset: BTreeSet<u64>,
    /// Streams whose peer takes more.
    pub(crate) writable: Vec<u64>,
    /// Streams of which all was acknowledged, or that failed.
    pub(crate) finished: Vec<u64>,
    /// Streams of which the peer wants no more, with its code.
    pub(crate) stopped: BTreeMap<u64, u64>,
    /// The peer allows more streams.
    pub(crate) available: bool,
    /// Data may be written again.
    pub(crate) has_room: bool,
    /// Datagrams have come.
    pub(crate) datagrams: bool,
    /// Datagrams can be sent again.
    pub(crate) datagrams_writable: bool,
    /// The connection is closed.
    pub(crate) closed: Option<Error>,
}

/// What the size of packets follows from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PathSize {
    /// The largest UDP payload.
    pub(crate) max_payload: u16,
    /// Bytes of the peer's connection ID.
    pub(crate) cid_len: usize,
}

impl Signals {
    fn new(role: Role, max_backlog: u64) -> Self {
        // Until the path is known, what every path takes, and the longest ID.
        let path = PathSize { max_payload: 1200, cid_len: 20 };
        let flow = Flow::new(role, max_backlog);
        Self(Mutex::new(State { news: News::default(), flow, path, task: None }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes something for the task, and wakes it.
    pub(crate) fn tell(&self, note: impl FnOnce(&mut News)) {
        let mut state = self.lock();
        note(&mut state.news);
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Wakes the task, if it rests.
    pub(crate) fn wake(&self) {
        self.tell(|_| {});
    }

    /// The task is about to look. From here on, it is woken when there is something new.
    pub(crate) fn take(&self, task: &Waker) -> News {
        let mut state = self.lock();
        state.task = Some(task.clone());
        std::mem::take(&mut state.news)
    }

    pub(crate) fn path(&self) -> PathSize {
        self.lock().path
    }

    pub(crate) fn max_streams(&self, dir: Dir) -> u64 {
        self.lock().flow.max_streams(dir)
    }

    pub(crate) fn opened(&self, id: u64, dir: Dir) {
        self.lock().flow.opened(id, dir);
    }

    pub(crate) fn accepted(&self, id: u64) {
        self.lock().flow.accepted(id);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.lock().flow.is_full()
    }

    /// See [`Flow::take`].
    pub(crate) fn take_room(&self, id: u64, wanted: u64, is_control: bool) -> (u64, Bound) {
        self.lock().flow.take(id, wanted, is_control)
    }

    /// A sending side is over.
    pub(crate) fn forget(&self, id: u64) {
        let has_room = self.lock().flow.forget(id);
        if has_room {
            self.tell(|news| news.has_room = true);
        }
    }

    fn frame_received(&self, frame: &Frame) {
        match *frame {
            Frame::ResetStream { id, .. } => self.tell(|news| {
                news.reset.insert(id);
            }),
            Frame::StopSending { id, error_code, .. } => self.tell(|news| {
                news.stopped.insert(id, error_code);
            }),
            Frame::MaxStreamData { id, value, .. }
                if self.lock().flow.set_max_stream_data(id, value) =>
            {
                self.tell(|news| news.writable.push(id));
            }
            Frame::MaxStreams { ref stream_type, value, .. } => {
                let dir = match stream_type {
                    StreamType::Bidirectional { .. } => Dir::Bi,
                    _ => Dir::Uni,
                };
                if self.lock().flow.set_max_streams(dir, value) {
                    self.tell(|news| news.available = true);
                }
            }
            _ => {}
        }
    }

    fn frame_sent(&self, frame: &Frame) {
        let Frame::Stream { id, offset, len, .. } = *frame else { return };
        if self.lock().flow.sent(id, offset.saturating_add(len.into())) {
            self.tell(|news| news.has_room = true);
        }
    }
}

/// Wakes the task for one side of one stream.
#[derive(Debug)]
pub(crate) struct StreamWaker {
    signals: Arc<Signals>,
    id: u64,
    side: Side,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    /// Something has come.
    Receiving,
    /// All was acknowledged.
    Sending,
    /// There is a stream to accept.
    Accepting,
    /// There is a stream to be opened, as was known already.
    Opening,
}

impl StreamWaker {
    pub(crate) fn waker(signals: &Arc<Signals>, id: u64, side: Side) -> Waker {
        Arc::new(Self { signals: signals.clone(), id, side }).into()
    }
}

impl Wake for StreamWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    /// s2n-quic forgets a waker when it has woken it, so that there is one of these for each look
    /// at the stream.
    fn wake_by_ref(self: &Arc<Self>) {
        self.signals.tell(|news| match self.side {
            Side::Receiving => news.readable.push(self.id),
            Side::Sending => news.finished.push(self.id),
            Side::Accepting => news.opened = true,
            Side::Opening => news.available = true,
        });
    }
}

/// Tells the [`Signals`] of each connection what happens on it.
#[derive(Debug)]
pub(crate) struct Events {
    max_backlog: u64,
}

impl Events {
    pub(crate) fn new(max_backlog: u64) -> Self {
        Self { max_backlog }
    }
}

impl Subscriber for Events {
    type ConnectionContext = Arc<Signals>;

    fn create_connection_context(
        &mut self,
        meta: &ConnectionMeta,
        _: &ConnectionInfo<'_>,
    ) -> Self::ConnectionContext {
        let role = match meta.endpoint_type {
            EndpointType::Server { .. } => Role::Server,
            EndpointType::Client { .. } => Role::Client,
        };
        Arc::new(Signals::new(role, self.max_backlog))
    }

    fn on_transport_parameters_received(
        &mut self,
        signals: &mut Self::ConnectionContext,
        _: &ConnectionMeta,
        event: &TransportParametersReceived<'_>,
    ) {
        let parameters = &event.transport_parameters;
        let limits = InitialLimits {
            bidi_of_peer: parameters.initial_max_stream_data_bidi_local,
            bidi_of_ours: parameters.initial_max_stream_data_bidi_remote,
            uni: parameters.initial_max_stream_data_uni,
        };
        let max_streams = [parameters.initial_max_streams_bidi, parameters.initial_max_streams_uni];
        signals.lock().flow.set_initial(limits, max_streams);
    }

    fn on_frame_received(
        &mut self,
        signals: &mut Self::ConnectionContext,
        _: &ConnectionMeta,
        event: &FrameReceived<'_>,
    ) {
        signals.frame_received(&event.frame);
    }

    fn on_frame_sent(
        &mut self,
        signals: &mut Self::ConnectionContext,
        _: &ConnectionMeta,
        event: &FrameSent,
    ) {
        signals.frame_sent(&event.frame);
    }

    fn on_recovery_metrics(
        &mut self,
        signals: &mut Self::ConnectionContext,
        _: &ConnectionMeta,
        event: &RecoveryMetrics<'_>,
    ) {
        if !event.path.is_active {
            return;
        }
        let mut state = signals.lock();
        state.path.cid_len = event.path.remote_cid.bytes.len();
        let window = event.congestion_window.into();
        let has_room = state.flow.measured(window, event.bytes_in_flight.into(), event.min_rtt);
        drop(state);
        if has_room {
            signals.tell(|news| news.has_room = true);
        }
    }

    fn on_mtu_updated(
        &mut self,
        signals: &mut Self::ConnectionContext,
        _: &ConnectionMeta,
        event: &MtuUpdated,
    ) {
        let mut state = signals.lock();
        let has_changed = state.path.max_payload != event.mtu;
        state.path.max_payload = event.mtu;
        drop(state);
        if has_changed {
            signals.wake();
        }
    }

    fn on_connection_closed(
        &mut self,
        signals: &mut Self::ConnectionContext,
        _: &ConnectionMeta,
        event: &ConnectionClosed,
    ) {
        signals.tell(|news| news.closed = Some(event.error));
    }
}
