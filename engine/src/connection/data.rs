//! The data plane's bookkeeping: which stream and datagram belongs to which subscription, and
//! when a subscription is over.

use alloc::format;

use bytes::Bytes;

use super::{MoqtConnection, SessionState};
use crate::event::{DropReason, Event, SubgroupInfo};
use crate::key::{RequestKey, StreamKey};
use crate::link::Violation;
use crate::model::{Message, PublishDone, PublishDoneCode, StreamResetCode, SubgroupId};
use crate::request::{Body, Placement, Publisher, Subscriber};
use crate::stream::{RecvKind, SubgroupPlace, SubgroupRecv};
use crate::time::Timestamp;
use crate::timers::Timer;
use crate::trace::{
    TraceEvent, TraceOwner, TracedDatagram, TracedFetch, TracedStreamType, TracedSubgroup,
};
use crate::wire::{
    Datagram, DecodeError, FetchReader, ObjectDatagram, StreamType, SubgroupHeader, SubgroupReader,
};

impl MoqtConnection {
    pub(super) fn identify_unidirectional(
        &mut self,
        now: Timestamp,
        stream: StreamKey,
    ) -> Result<(), Violation> {
        let dialect = self.dialect;
        let found = self.decode_front(stream, |bytes| StreamType::decode(dialect, bytes))?;
        let Some((kind, _)) = found else {
            self.abandon_if_over(now, stream);
            return Ok(());
        };
        if kind == StreamType::Control {
            // Both sides have a SETUP to send before anything else is said.
            if self.state == (SessionState::Setup { sent: false }) {
                return Ok(());
            }
            self.no_longer_early(stream);
            self.control_opened(stream)?;
            return self.advance(now, stream, 0);
        }
        if !self.is_established() {
            self.check_early(now, stream);
            return Ok(());
        }
        match kind {
            StreamType::Subgroup => {
                let header =
                    self.decode_front(stream, |bytes| SubgroupHeader::decode(dialect, bytes))?;
                match header {
                    Some((header, len)) => {
                        self.trace.stream_type(
                            stream,
                            TraceOwner::Remote,
                            TracedStreamType::Subgroup,
                        );
                        let traced = TracedSubgroup { stream, header };
                        self.trace.add(|| TraceEvent::SubgroupHeaderParsed(traced));
                        self.place_subgroup(now, stream, header, len);
                    }
                    None => self.abandon_if_over(now, stream),
                }
            }
            StreamType::Fetch => {
                let header =
                    self.decode_front(stream, |bytes| FetchReader::decode_header(dialect, bytes))?;
                match header {
                    Some((request_id, len)) => {
                        self.trace.stream_type(stream, TraceOwner::Remote, TracedStreamType::Fetch);
                        let traced = TracedFetch { stream, request_id };
                        self.trace.add(|| TraceEvent::FetchHeaderParsed(traced));
                        self.place_fetch(stream, request_id, len);
                    }
                    None => self.abandon_if_over(now, stream),
                }
            }
            StreamType::Padding => {
                self.trace.stream_type(stream, TraceOwner::Remote, TracedStreamType::Padding);
                if let Some(half) = self.streams.recv_mut(stream) {
                    half.kind = RecvKind::Discard;
                    half.buffer.clear();
                    if half.fin {
                        self.streams.drop_recv(stream);
                    }
                }
            }
            StreamType::Control => {}
        }
        Ok(())
    }

    /// Decodes something from the front of a stream, joining pieces only as far as it needs.
    fn decode_front<T>(
        &mut self,
        stream: StreamKey,
        decode: impl Fn(&[u8]) -> Result<Option<T>, DecodeError>,
    ) -> Result<Option<T>, Violation> {
        let Some(half) = self.streams.recv_mut(stream) else { return Ok(None) };
        loop {
            let front = half.buffer.front().len();
            let found = decode(half.buffer.front()).map_err(|error| {
                Violation::new(error.session_error(), format!("data stream: {error}"))
            })?;
            if found.is_some() || half.buffer.len() == front {
                return Ok(found);
            }
            half.buffer.make_contiguous(front + 1);
        }
    }

    /// A stream that ended too early to say what it is for is no error.
    fn abandon_if_over(&mut self, now: Timestamp, stream: StreamKey) {
        if self.streams.recv_mut(stream).is_some_and(|half| half.fin) {
            self.abandoned(now, stream);
        }
    }

    pub(super) fn discard(&mut self, stream: StreamKey) {
        let code = self.dialect.reset_code(StreamResetCode::Cancelled);
        self.streams.stop(stream, code);
    }

    fn place_subgroup(
        &mut self,
        now: Timestamp,
        stream: StreamKey,
        header: SubgroupHeader,
        header_len: usize,
    ) {
        let Some(half) = self.streams.recv_mut(stream) else { return };
        half.buffer.advance(header_len);
        half.kind = RecvKind::AwaitingAlias(header);
        let held = half.buffer.len();
        self.streams.data_received += held;
        let limits = &self.config.limits;
        let placement = self.aliases.place_stream(
            now,
            header.track_alias,
            stream,
            held,
            limits,
            &mut self.timers,
        );
        match placement {
            Placement::Active(request) => self.bind(stream, header, request),
            Placement::Held => {}
            Placement::Dropped => self.discard(stream),
        }
    }

    /// More came on a stream that waits for its alias.
    pub(super) fn held_stream_grew(&mut self, alias: u64, stream: StreamKey, bytes: usize) {
        if !self.aliases.hold_more(bytes, &self.config.limits) {
            let held = self.streams.recv_mut(stream).map_or(0, |half| half.buffer.len());
            self.aliases.forget_stream(alias, stream, held, &mut self.timers);
            self.discard(stream);
        }
    }

    /// A stream turns out to belong to a subscription.
    fn bind(&mut self, stream: StreamKey, header: SubgroupHeader, request: RequestKey) {
        let max_open = self.config.limits.open_subgroups as usize;
        let Some(Body::Subscriber(subscriber)) =
            self.requests.get_mut(request).map(|request| &mut request.body)
        else {
            return self.discard(stream);
        };
        subscriber.seen += 1;
        if subscriber.open.len() >= max_open {
            // The publisher need not hear of it if it has sent everything: the subscriber is told.
            subscriber.not_taken += 1;
            self.discard(stream);
            return self.complete_if_done(request);
        }
        subscriber.open.insert(stream);
        let subgroup = SubgroupInfo {
            group_id: header.group_id,
            subgroup_id: header.subgroup_id,
            publisher_priority: header.publisher_priority.unwrap_or(subscriber.default_priority),
            end_of_group: header.end_of_group,
            first_object: header.first_object,
            has_properties: header.has_properties,
        };
        subscriber.stats.subgroups += 1;
        self.stats.received.subgroups += 1;
        let max_properties = self.config.limits.object_properties;
        let reader = SubgroupReader::new(self.dialect, header.has_properties, max_properties);
        let Some(half) = self.streams.recv_mut(stream) else { return };
        let place = SubgroupPlace {
            group_id: subgroup.group_id,
            subgroup_id: match subgroup.subgroup_id {
                SubgroupId::Explicit(id) => Some(id),
                SubgroupId::FirstObjectId => None,
            },
            publisher_priority: subgroup.publisher_priority,
            end_of_group: subgroup.end_of_group,
            bound: 0,
            has_begun: false,
            marked: None,
        };
        half.kind = RecvKind::Subgroup(SubgroupRecv {
            request,
            reader,
            bound: 0,
            place,
            waiting: false,
            objects: 0,
            payload_bytes: 0,
        });
        if core::mem::take(&mut half.window_closed) {
            self.streams.push_action(crate::Action::ResumeReading { stream });
        }
        self.events.push_back(Event::SubgroupOpened { request, stream, subgroup });
    }

    /// Objects that refer to this alias belong to this subscription from now on.
    pub(super) fn activate_alias(&mut self, alias: u64, request: RequestKey) {
        let (streams, datagrams) = self.aliases.activate(alias, request, &mut self.timers);
        for stream in streams {
            let Some(half) = self.streams.recv_mut(stream) else { continue };
            let RecvKind::AwaitingAlias(header) = half.kind else { continue };
            let held = half.buffer.len();
            self.aliases.release_stream(held);
            self.bind(stream, header, request);
        }
        for object in datagrams {
            self.give_datagram(request, object);
        }
    }

    fn give_datagram(&mut self, request: RequestKey, object: ObjectDatagram) {
        if let Some(Body::Subscriber(subscriber)) =
            self.requests.get_mut(request).map(|request| &mut request.body)
        {
            subscriber.has_datagrams = true;
        } else {
            return self.datagram_dropped(object, DropReason::UnknownTrack);
        }
        if self.admits_datagram(request, &object) {
            let bytes = object.payload.len() as u64;
            self.count_received(request, |received| {
                received.datagrams += 1;
                received.datagram_bytes += bytes;
            });
            self.events.push_back(Event::Datagram { request, object });
        }
    }

    pub(super) fn alias_expired(&mut self, alias: u64) {
        let (streams, datagrams) = self.aliases.expire(alias, &mut self.timers);
        for stream in streams {
            self.discard_held(stream);
        }
        for datagram in datagrams {
            self.datagram_dropped(datagram, DropReason::UnknownTrack);
        }
    }

    fn discard_held(&mut self, stream: StreamKey) {
        let held = self.streams.recv_mut(stream).map_or(0, |half| half.buffer.len());
        self.aliases.release_stream(held);
        self.discard(stream);
    }

    pub(super) fn on_datagram(&mut self, now: Timestamp, data: &Bytes) -> Result<(), Violation> {
        let limits = &self.config.limits;
        let datagram = Datagram::decode(self.dialect, data, limits.object_properties)
            .map_err(|error| Violation::new(error.session_error(), format!("datagram: {error}")))?;
        let Datagram::Object(object) = datagram else { return Ok(()) };
        self.trace.add(|| {
            let (header, payload_len) = (object.header.clone(), object.payload.len());
            TraceEvent::ObjectDatagramParsed(TracedDatagram { header, payload_len })
        });
        let (placement, oldest) =
            self.aliases.place_datagram(now, &object, limits, &mut self.timers);
        if let Some(oldest) = oldest {
            self.datagram_dropped(oldest, DropReason::QueueFull);
        }
        match placement {
            Placement::Active(request) => {
                self.give_datagram(request, object);
            }
            Placement::Held => {}
            Placement::Dropped => self.datagram_dropped(object, DropReason::UnknownTrack),
        }
        Ok(())
    }

    /// A datagram that came in is not given to the application.
    fn datagram_dropped(&mut self, object: ObjectDatagram, reason: DropReason) {
        self.stats.received.datagrams_dropped.count(reason);
        let (request, header) = (None, object.header);
        self.events.push_back(Event::DatagramDropped { request, header, reason });
    }

    /// A subgroup stream of a subscription received here has been read to its end, or given
    /// up.
    pub(super) fn subgroup_read(&mut self, request: RequestKey, stream: StreamKey) {
        if let Some(Body::Subscriber(subscriber)) =
            self.requests.get_mut(request).map(|request| &mut request.body)
        {
            subscriber.open.remove(&stream);
        }
        self.complete_if_done(request);
    }

    pub(super) fn late_streams_expired(&mut self, request: RequestKey) {
        if let Some(Body::Subscriber(subscriber)) =
            self.requests.get_mut(request).map(|request| &mut request.body)
            && let Some(ending) = &mut subscriber.ending
        {
            ending.late_deadline = None;
        }
        self.complete_if_done(request);
    }

    /// Ends a subscription whose publisher is done and whose objects have all been read.
    pub(super) fn complete_if_done(&mut self, key: RequestKey) {
        let Some(request) = self.requests.get_mut(key) else { return };
        let is_pending = request.phase == crate::request::Phase::Pending;
        let Body::Subscriber(subscriber) = &mut request.body else { return };
        // One that was offered ends when it has been answered.
        if is_pending || !subscriber.is_complete() {
            return;
        }
        let never_came = match subscriber.ending.as_ref() {
            Some(ending) if ending.done.stream_count == PublishDone::UNKNOWN_STREAM_COUNT => 0,
            _ => subscriber.missing(),
        };
        let missing_streams = never_came.saturating_add(subscriber.not_taken);
        let Some(ending) = subscriber.ending.take() else { return };
        if let Some(deadline) = ending.late_deadline {
            self.timers.clear(deadline, Timer::LateStreams(key));
        }
        self.release(Timestamp::ZERO, key);
        let PublishDone { code, reason, .. } = ending.done;
        self.events.push_back(Event::SubscriptionDone {
            request: key,
            code,
            reason,
            missing_streams,
        });
    }

    pub(super) fn release_subscriber(&mut self, key: RequestKey, subscriber: Subscriber) {
        if let Some(deadline) = subscriber.ending.and_then(|ending| ending.late_deadline) {
            self.timers.clear(deadline, Timer::LateStreams(key));
        }
        for stream in subscriber.open {
            self.count_ended(stream, true);
            self.discard(stream);
        }
        if let Some(alias) = subscriber.alias {
            for stream in self.aliases.close(alias, &self.config.limits, &mut self.timers) {
                self.discard_held(stream);
            }
        }
        self.wake_window_waiters();
    }

    pub(super) fn release_publisher(&mut self, publisher: Publisher) {
        let code = self.dialect.reset_code(StreamResetCode::Cancelled);
        for stream in publisher.open.into_keys() {
            self.streams.reset(stream, code);
        }
        self.streams.remove_sender(publisher.sender);
        self.wake_session_writers();
        self.refuse_joins(publisher.joins);
    }

    /// A subgroup stream sent here has finished or been reset.
    pub(super) fn data_stream_closed(&mut self, request: RequestKey, stream: StreamKey) {
        if let Some(Body::Publisher(publisher)) =
            self.requests.get_mut(request).map(|request| &mut request.body)
        {
            publisher.stream_closed(stream);
            let sender = publisher.sender;
            self.wake_writers(sender);
        }
        self.response_closed(request);
        self.end_publishing_if_done(request);
    }

    /// Sends PUBLISH_DONE once nothing more is to be sent (draft-18, "PUBLISH_DONE").
    pub(super) fn end_publishing_if_done(&mut self, key: RequestKey) {
        let Some(request) = self.requests.get_mut(key) else { return };
        let (id, own_stream) = (request.id, request.stream);
        let Body::Publisher(publisher) = &mut request.body else { return };
        let queued =
            self.streams.schedule.sender(publisher.sender).map_or(0, |sender| sender.queued);
        if !publisher.open.is_empty() || queued > 0 {
            return;
        }
        let Some((code, reason)) = publisher.ending.take() else { return };
        let stream_count = publisher.opened;
        // With a code that the draft cannot say, that the subscription is over must get through.
        let can_say = self.dialect.publish_done_code(code) <= self.dialect.ints.max();
        let code = if can_say { code } else { PublishDoneCode::InternalError };
        let done = PublishDone { request_id: Some(id), code, stream_count, reason };
        self.send_message(own_stream, &Message::PublishDone(done));
        self.release(Timestamp::ZERO, key);
    }

    /// The session's window has room again: streams that waited for it may go on.
    pub(super) fn wake_window_waiters(&mut self) {
        let limit = self.config.limits.session_receive;
        if self.streams.data_received > limit / 2 {
            return;
        }
        while let Some(stream) = self.streams.window_waiters.pop_front() {
            let Some(half) = self.streams.recv_mut(stream) else { continue };
            half.waits_for_session = false;
            if core::mem::take(&mut half.window_closed) {
                self.streams.push_action(crate::Action::ResumeReading { stream });
            }
        }
    }
}
