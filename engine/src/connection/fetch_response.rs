//! Answering FETCHes of the peer's.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::MoqtConnection;
use super::requests::PendingAnswer;
use crate::config::Dir;
use crate::error::{Blocked, CommandError};
use crate::event::{Event, IncomingRequest};
use crate::key::{RequestKey, StreamKey};
use crate::link::Violation;
use crate::model::{
    EndOfRange, Fetch, FetchOk, FetchRange, FullTrackName, GroupOrder, JoiningStart, Location,
    LocationRange, Message, Parameters, RequestErrorCode, RequestKind, StreamResetCode,
    TrackProperties,
};
use crate::object::MalformedRule;
use crate::request::{
    Body, FetchOrder, FetchPublisher, Phase, ResponseStream, ResponseWriter, WaitingJoins,
};
use crate::stats;
use crate::stream::{DataPosition, SendClass, SenderKey};
use crate::time::Timestamp;
use crate::trace::{
    FetchItem, TraceEvent, TraceOwner, TracedFetch, TracedFetchObject, TracedStreamType,
};
use crate::wire::{
    EncodeError, FetchLayout, FetchObject, FetchWriter, JoiningRule, encode_message,
};

/// Room for an object header without its properties.
const OBJECT_HEADER_LEN: usize = 64;

/// What to say when accepting a FETCH (draft-18, "FETCH_OK").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptFetch {
    /// Where the response ends, in the form of [`LocationRange::end`]: where the request said,
    /// or one past the largest object published if that is less.
    /// [`LocationRange::published`] finds it.
    pub end: Location,
    /// The last object of the range is the last of the track.
    pub end_of_track: bool,
    /// The order of groups, if the subscriber leaves it to the publisher (draft 14).
    pub group_order: Option<GroupOrder>,
    /// Parameters of the answer; drafts 14 to 18 have none for it.
    pub parameters: Parameters,
    /// Properties of the track.
    pub track_properties: TrackProperties,
}

impl AcceptFetch {
    /// All that was asked for, up to `end`.
    pub fn new(end: Location) -> Self {
        Self {
            end,
            end_of_track: false,
            group_order: None,
            parameters: Parameters::default(),
            track_properties: TrackProperties::new(),
        }
    }
}

impl MoqtConnection {
    pub(super) fn on_fetch(
        &mut self,
        answer_to: PendingAnswer,
        fetch: Fetch,
    ) -> Result<(), Violation> {
        let Fetch { request_id: _, range, parameters } = fetch;
        match range {
            FetchRange::Standalone { track, start, end } => {
                let range = LocationRange::new(start, end);
                if range.is_backwards() {
                    let code = RequestErrorCode::InvalidRange;
                    self.refuse(answer_to, code, "the range ends before it begins");
                } else {
                    let body = self.new_fetch(track.clone(), range, None, &parameters);
                    let request = self.register(answer_to, body);
                    let what = IncomingRequest::Fetch { track, range, joining: None, parameters };
                    self.events.push_back(Event::Request { request, what });
                }
                Ok(())
            }
            FetchRange::Joining { request_id, start } => {
                self.on_joining_fetch(answer_to, request_id, start, parameters)
            }
        }
    }

    fn on_joining_fetch(
        &mut self,
        answer_to: PendingAnswer,
        joining_id: u64,
        start: JoiningStart,
        parameters: Parameters,
    ) -> Result<(), Violation> {
        let joined = self.requests.by_id(joining_id).and_then(|key| {
            let request = self.requests.get(key)?;
            match &request.body {
                // A PUBLISH that was not answered is pending at the publisher, which cannot be
                // joined.
                Body::Publisher(publisher)
                    if !request.ours || request.phase == Phase::Established =>
                {
                    // Its Forward State may depend on updates that the application has still to
                    // decide on, and these come first.
                    let waits = request.phase == Phase::Pending
                        || request.updates.wait_for_a_decision()
                            && self.dialect.joining == JoiningRule::ForwardState;
                    Some((key, waits, publisher))
                }
                _ => None,
            }
        });
        let Some((joined, waits, publisher)) = joined else {
            let code = RequestErrorCode::InvalidJoiningRequestId;
            self.refuse(answer_to, code, "no such subscription to join");
            return Ok(());
        };
        let point = publisher.join_point();
        let track = publisher.track.clone();
        point.check_filter(self.dialect.joining).map_err(Violation::protocol)?;
        if waits {
            let waits_for = Some(Box::new((joined, start, parameters.clone())));
            let range = LocationRange::default();
            let body = self.new_fetch(track, range, waits_for, &parameters);
            let request = self.register(answer_to, body);
            if let Some(Body::Publisher(publisher)) =
                self.requests.get_mut(joined).map(|request| &mut request.body)
            {
                publisher.joins.insert(request);
            }
            return Ok(());
        }
        match point.range(self.dialect.joining, start) {
            Ok(range) => {
                let body = self.new_fetch(track.clone(), range, None, &parameters);
                let request = self.register(answer_to, body);
                let joining = Some(joined);
                let what = IncomingRequest::Fetch { track, range, joining, parameters };
                self.events.push_back(Event::Request { request, what });
            }
            Err(why) => self.refuse(answer_to, RequestErrorCode::InvalidRange, why),
        }
        Ok(())
    }

    fn new_fetch(
        &mut self,
        track: FullTrackName,
        range: LocationRange,
        waits_for: Option<Box<(RequestKey, JoiningStart, Parameters)>>,
        parameters: &Parameters,
    ) -> Body {
        let wished_order = parameters
            .group_order
            .or((!self.dialect.fixed_fields).then_some(GroupOrder::Ascending));
        let priority = parameters.subscriber_priority.unwrap_or(128);
        // One stream needs no order among its groups.
        let sender = self.streams.schedule.add_sender(priority, GroupOrder::Ascending);
        Body::FetchPublisher(FetchPublisher {
            track,
            sender,
            waits_for,
            wished_order,
            range,
            held_answer: None,
            stream: ResponseStream::Unopened(wished_order),
            payload_left: 0,
        })
    }

    /// A subscription was accepted, or an update of it: FETCHes that waited to join it have their
    /// ranges now, unless other updates still wait.
    pub(super) fn resolve_joins(&mut self, subscription: RequestKey) {
        let Some(request) = self.requests.get_mut(subscription) else { return };
        let rule = self.dialect.joining;
        let waits = request.phase == Phase::Pending
            || request.updates.wait_for_a_decision() && rule == JoiningRule::ForwardState;
        if waits {
            return;
        }
        let Body::Publisher(publisher) = &mut request.body else { return };
        let waiting = core::mem::take(&mut publisher.joins);
        let point = publisher.join_point();
        for request in waiting {
            let Some(Body::FetchPublisher(fetch)) =
                self.requests.get_mut(request).map(|request| &mut request.body)
            else {
                continue;
            };
            let Some(waits_for) = fetch.waits_for.take() else { continue };
            let (joined, start, parameters) = *waits_for;
            match point.range(self.dialect.joining, start) {
                Ok(range) => {
                    fetch.range = range;
                    let (track, joining) = (fetch.track.clone(), Some(joined));
                    let what = IncomingRequest::Fetch { track, range, joining, parameters };
                    self.events.push_back(Event::Request { request, what });
                }
                Err(why) => self.refuse_fetch(request, RequestErrorCode::InvalidRange, why),
            }
        }
    }

    /// A subscription ended before it or its update was accepted: FETCHes that waited to join it
    /// have nothing to join.
    pub(super) fn refuse_joins(&mut self, waiting: WaitingJoins) {
        for request in waiting {
            let code = RequestErrorCode::InvalidJoiningRequestId;
            self.refuse_fetch(request, code, "the subscription to join was not accepted");
        }
    }

    fn refuse_fetch(&mut self, request: RequestKey, code: RequestErrorCode, why: &str) {
        let Some(found) = self.requests.get(request) else { return };
        let (id, stream) = (found.id, found.stream);
        let refusal = super::Refusal { reason: why.into(), ..super::Refusal::new(code) };
        self.send_refusal(id, RequestKind::Fetch, stream, refusal);
        self.release(Timestamp::ZERO, request);
    }

    /// Accepts a FETCH of the peer's (draft-18, "FETCH_OK"). Its objects may be sent before and
    /// after, through [`fetch_response`](Self::fetch_response).
    ///
    /// Where a draft refuses a FETCH of a range without objects (14), the answer waits for the
    /// first object, or for the response to finish without one.
    pub fn accept_fetch(
        &mut self,
        now: Timestamp,
        request: RequestKey,
        accept: AcceptFetch,
    ) -> Result<(), CommandError> {
        let AcceptFetch { end, end_of_track, group_order, parameters, track_properties } = accept;
        let (id, kind, own_stream) = self.answerable(request)?;
        if kind != RequestKind::Fetch {
            return Err(CommandError::WrongState("not a FETCH"));
        }
        let holds_answer = self.dialect.empty_fetch_is_refused;
        let fetch = self.fetch_state(request).ok_or(CommandError::Gone)?;
        let range = LocationRange::new(fetch.range.start, end);
        if range.is_backwards() || range.last() > fetch.range.last() {
            return Err(CommandError::WrongState("the end is not in the range asked for"));
        }
        let order = fetch.wished_order.or(group_order).unwrap_or_else(|| match &fetch.stream {
            ResponseStream::Open(_, response) => response.order.order().unwrap_or_default(),
            _ => track_properties.default_publisher_group_order(),
        });
        let has_objects = !matches!(fetch.stream, ResponseStream::Unopened(_));
        let message = Message::FetchOk(FetchOk {
            request_id: Some(id),
            end_of_track,
            end,
            group_order: Some(order),
            parameters,
            track_properties,
        });
        let mut encoded = Vec::new();
        encode_message(self.dialect, &message, &mut encoded)?;
        let fetch = self.fetch_state(request).ok_or(CommandError::Gone)?;
        if let ResponseStream::Open(_, response) = &mut fetch.stream
            && response.order.narrow(Some(order), range.start, range.last()).is_err()
        {
            return Err(CommandError::WrongState("an object sent already is not in the range"));
        }
        let Some(found) = self.requests.get_mut(request) else { return Err(CommandError::Gone) };
        found.phase = Phase::Established;
        let Body::FetchPublisher(fetch) = &mut found.body else { return Err(CommandError::Gone) };
        fetch.range = range;
        if let ResponseStream::Unopened(settled) = &mut fetch.stream {
            *settled = Some(order);
        }
        let is_over = matches!(fetch.stream, ResponseStream::Over);
        if holds_answer && !has_objects {
            fetch.held_answer = Some(encoded);
        } else if let Some(stream) = own_stream.or(self.control_out) {
            self.streams.send_control(stream, &encoded, &mut self.trace);
        }
        self.answer_held_updates(now, request);
        if is_over {
            self.release(Timestamp::ZERO, request);
        }
        Ok(())
    }

    /// The objects of a FETCH of the peer's, before it is accepted or after. `None` if it is
    /// over, has been finished, or joins a subscription that has not been accepted.
    pub fn fetch_response(&mut self, request: RequestKey) -> Option<FetchResponse<'_>> {
        let fetch = self.fetch_state(request)?;
        let is_open = match &fetch.stream {
            ResponseStream::Unopened(_) => fetch.waits_for.is_none(),
            ResponseStream::Open(_, response) => !response.is_finished,
            ResponseStream::Over => false,
        };
        let sender = fetch.sender;
        is_open.then_some(FetchResponse { connection: self, request, sender })
    }

    /// Whether it is a FETCH of the peer's.
    pub(super) fn is_fetch(&self, request: RequestKey) -> bool {
        let body = self.requests.get(request).map(|request| &request.body);
        matches!(body, Some(Body::FetchPublisher(_)))
    }

    fn fetch_state(&mut self, request: RequestKey) -> Option<&mut FetchPublisher> {
        match &mut self.requests.get_mut(request)?.body {
            Body::FetchPublisher(fetch) => Some(fetch),
            _ => None,
        }
    }

    /// The stream of a response has been finished and sent, or reset.
    pub(super) fn response_closed(&mut self, request: RequestKey) {
        let Some(found) = self.requests.get_mut(request) else { return };
        let is_answered = found.phase == Phase::Established;
        if let Body::FetchPublisher(fetch) = &mut found.body {
            fetch.stream = ResponseStream::Over;
            if is_answered {
                self.release(Timestamp::ZERO, request);
            }
        }
    }

    /// Forgets a FETCH of the peer's. What was not sent never will be.
    pub(super) fn release_fetch_publisher(&mut self, key: RequestKey, fetch: &FetchPublisher) {
        if let Some((joined, ..)) = fetch.waits_for.as_deref()
            && let Some(Body::Publisher(publisher)) =
                self.requests.get_mut(*joined).map(|request| &mut request.body)
        {
            publisher.joins.remove(&key);
        }
        if let ResponseStream::Open(stream, _) = fetch.stream {
            let code = self.dialect.reset_code(StreamResetCode::Cancelled);
            self.streams.reset(stream, code);
        }
        self.streams.remove_sender(fetch.sender);
        self.wake_session_writers();
    }
}

/// The objects of a FETCH of the peer's, from [`MoqtConnection::fetch_response`]: all of the
/// range that exist, groups in the order asked for and objects in ascending order. What is left
/// out between them, the subscriber takes not to exist.
#[derive(Debug)]
pub struct FetchResponse<'a> {
    connection: &'a mut MoqtConnection,
    request: RequestKey,
    sender: SenderKey,
}

impl FetchResponse<'_> {
    /// The locations that objects may have.
    pub fn range(&self) -> LocationRange {
        self.peek().map(|fetch| fetch.range).unwrap_or_default()
    }

    /// The order in which groups are to come, if that is settled: it is unless the subscriber
    /// left it to the publisher and nothing has been said yet (draft 14).
    pub fn group_order(&self) -> Option<GroupOrder> {
        match &self.peek()?.stream {
            ResponseStream::Unopened(order) => *order,
            ResponseStream::Open(_, response) => response.order.order(),
            ResponseStream::Over => None,
        }
    }

    /// Queues a whole object. Its payload leaves as it is, or is copied once if it is shorter
    /// than 64 bytes or [`Config::coalesce_below`](crate::Config::coalesce_below).
    pub fn object(&mut self, object: &FetchObject, payload: Bytes) -> Result<(), CommandError> {
        if object.payload_len != payload.len() as u64 {
            return Err(CommandError::WrongState("the payload is not as long as its header says"));
        }
        self.begin_object(object)?;
        if let Some(fetch) = self.state() {
            fetch.payload_left = 0;
        }
        self.push_payload(payload);
        Ok(())
    }

    /// Queues the header of an object whose payload follows in pieces, through
    /// [`payload`](Self::payload).
    pub fn begin_object(&mut self, object: &FetchObject) -> Result<(), CommandError> {
        // Draft 14 does not say which objects have no subgroup.
        let has_subgroups = self.connection.dialect.objects.fetch != FetchLayout::Absolute;
        let subgroup_id = object.subgroup_id.filter(|_| has_subgroups);
        let room = OBJECT_HEADER_LEN + object.properties.as_bytes().len();
        let (location, priority) = (object.location, object.publisher_priority);
        self.check(|order| order.check_object(location, subgroup_id, priority))?;
        self.write(priority, location.group, room, |response, out| {
            response.writer.object(object, out)?;
            response.order.object(location, subgroup_id, priority).map_err(would_be_malformed)
        })?;
        if let Some(fetch) = self.state() {
            fetch.payload_left = object.payload_len;
        }
        let sent = &mut self.connection.stats.fetches_sent;
        sent.objects += 1;
        stats::add(&mut sent.payload_bytes, object.payload_len);
        self.trace(|| {
            let written = object.subgroup_id.or((!has_subgroups).then_some(location.object));
            FetchItem::Object(FetchObject { subgroup_id: written, ..object.clone() })
        });
        Ok(())
    }

    /// Queues payload of the object begun last, as much as is at hand.
    pub fn payload(&mut self, payload: Bytes) -> Result<(), CommandError> {
        let stream = self.stream();
        self.connection.check_room(self.sender, stream)?;
        let fetch = self.state().ok_or(CommandError::Gone)?;
        let Some(left) = fetch.payload_left.checked_sub(payload.len() as u64) else {
            return Err(CommandError::WrongState("more payload than the object's header said"));
        };
        fetch.payload_left = left;
        self.push_payload(payload);
        Ok(())
    }

    /// Says that everything after the object before, up to and with `location`, is absent
    /// (draft-18, "End of Range"). Draft 14 has no word for it: there,
    /// [`NonExistent`](EndOfRange::NonExistent) goes without saying, and
    /// [`Unknown`](EndOfRange::Unknown) is an error.
    pub fn end_of_range(
        &mut self,
        location: Location,
        kind: EndOfRange,
    ) -> Result<(), CommandError> {
        let is_said = self.connection.dialect.objects.fetch != FetchLayout::Absolute;
        if !is_said && kind == EndOfRange::NonExistent {
            return Ok(());
        }
        if !is_said {
            let draft = self.connection.dialect.draft;
            return Err(EncodeError::NotInDraft { what: "end of unknown range", draft }.into());
        }
        self.check(|order| order.check_end_of_range(location))?;
        self.write(128, location.group, OBJECT_HEADER_LEN, |response, out| {
            response.writer.end_of_range(location, kind, out)?;
            response.order.end_of_range(location).map_err(would_be_malformed)
        })?;
        self.trace(|| FetchItem::EndOfRange { location, kind });
        Ok(())
    }

    /// No object follows: what was left out of the range does not exist. The fetch is over when
    /// all of it has been sent and it was accepted.
    ///
    /// Without any object, and where a draft wants that (14), the FETCH is refused with
    /// NO_OBJECTS instead.
    pub fn finish(mut self) -> Result<(), CommandError> {
        let is_refused = self.connection.dialect.empty_fetch_is_refused;
        let request = self.request;
        let fetch = self.state().ok_or(CommandError::Gone)?;
        if fetch.payload_left > 0 {
            return Err(CommandError::WrongState("the last object lacks payload"));
        }
        if is_refused && matches!(fetch.stream, ResponseStream::Unopened(_)) {
            let code = RequestErrorCode::NoObjects;
            self.connection.refuse_fetch(request, code, "no objects in the range");
            return Ok(());
        }
        let stream = self.open(128, 0)?;
        if let Some(ResponseStream::Open(_, response)) = self.state().map(|fetch| &mut fetch.stream)
        {
            response.is_finished = true;
        }
        self.connection.streams.finish(stream);
        Ok(())
    }

    /// Gives the response up: what has not been sent never will be. A FETCH that was not
    /// answered still has to be.
    pub fn reset(mut self, code: StreamResetCode) {
        let stream = self.stream();
        let Self { connection, request, .. } = self;
        let reset_code = connection.dialect.reset_code(code);
        if let Some(stream) = stream {
            connection.streams.reset(stream, reset_code);
        } else {
            let Some(found) = connection.requests.get(request) else { return };
            let (phase, own_stream) = (found.phase, found.stream);
            let is_held =
                connection.fetch_state(request).is_some_and(|fetch| fetch.held_answer.is_some());
            if is_held {
                // Nothing has been said, so it can be refused.
                let code = match code {
                    StreamResetCode::UnknownObjectStatus => RequestErrorCode::UnknownStatusInRange,
                    _ => RequestErrorCode::InternalError,
                };
                return connection.refuse_fetch(request, code, "the response was given up");
            }
            // Without its header a stream could not be told to be this fetch's. Where the
            // request has a stream, that one tells.
            if let Some(own_stream) = own_stream.filter(|_| phase == Phase::Established) {
                connection.streams.reset(own_stream, reset_code);
                connection.streams.stop(own_stream, reset_code);
            }
        }
        connection.response_closed(request);
    }

    /// Bytes that wait to be sent.
    pub fn queued(&self) -> usize {
        let schedule = &self.connection.streams.schedule;
        schedule.sender(self.sender).map_or(0, |sender| sender.queued)
    }

    fn peek(&self) -> Option<&FetchPublisher> {
        match &self.connection.requests.get(self.request)?.body {
            Body::FetchPublisher(fetch) => Some(fetch),
            _ => None,
        }
    }

    fn state(&mut self) -> Option<&mut FetchPublisher> {
        self.connection.fetch_state(self.request)
    }

    fn stream(&mut self) -> Option<StreamKey> {
        match self.state()?.stream {
            ResponseStream::Open(stream, _) => Some(stream),
            _ => None,
        }
    }

    /// Whether something may come next.
    fn check(
        &mut self,
        check: impl FnOnce(&FetchOrder) -> Result<(), MalformedRule>,
    ) -> Result<(), CommandError> {
        let fetch = self.state().ok_or(CommandError::Gone)?;
        if fetch.payload_left > 0 {
            return Err(CommandError::WrongState("the object before lacks payload"));
        }
        let checked = match &fetch.stream {
            ResponseStream::Open(_, response) => check(&response.order),
            _ => check(&FetchOrder::of_range(None, fetch.range)),
        };
        checked.map_err(would_be_malformed)
    }

    /// Writes an object's header or an end of range.
    fn write(
        &mut self,
        priority: u8,
        group: u64,
        room: usize,
        write: impl Fn(&mut ResponseWriter, &mut bytes::BytesMut) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        let stream = self.stream();
        self.connection.check_room(self.sender, stream)?;
        if stream.is_none() {
            // No stream is opened for what cannot be written.
            write(&mut self.first_writer()?, &mut bytes::BytesMut::new())?;
        }
        let stream = self.open(priority, group)?;
        let connection = &mut *self.connection;
        let Some(half) = connection.streams.send_mut(stream) else {
            return Err(CommandError::Gone);
        };
        let Some(Body::FetchPublisher(FetchPublisher {
            stream: ResponseStream::Open(_, response),
            ..
        })) = connection.requests.get_mut(self.request).map(|request| &mut request.body)
        else {
            return Err(CommandError::Gone);
        };
        // "FETCH responses however can contain objects with different publisher priorities": what
        // waits goes by the priority of its first.
        if half.queue.len() == 0
            && !half.scheduled
            && let SendClass::Data(_, position) = &mut half.class
        {
            position.publisher_priority = priority;
        }
        let block = half.queue.block(room);
        let before = block.len();
        write(response, block)?;
        let grown = block.len() - before;
        half.queue.grew(grown);
        connection.streams.queued(stream, grown);
        Ok(())
    }

    /// The response's stream, opened with its header if it was not yet. With it goes an answer
    /// that waited.
    fn open(&mut self, priority: u8, group: u64) -> Result<StreamKey, CommandError> {
        if let Some(stream) = self.stream() {
            return Ok(stream);
        }
        let response = Box::new(self.first_writer()?);
        let Self { connection, request, sender } = self;
        let found = connection.requests.get(*request).ok_or(CommandError::Gone)?;
        let (id, own_stream) = (found.id, found.stream);
        let position = DataPosition { publisher_priority: priority, group, within: 0 };
        let class = SendClass::Data(*sender, position);
        let Some(stream) = connection.streams.open(Dir::Uni, class, None) else {
            connection.was_blocked = true;
            return Err(CommandError::Blocked(Blocked::Streams));
        };
        let fetch = connection.fetch_state(*request).ok_or(CommandError::Gone)?;
        let held_answer = fetch.held_answer.take();
        let mut header = Vec::with_capacity(OBJECT_HEADER_LEN);
        response.writer.header(id, &mut header)?;
        fetch.stream = ResponseStream::Open(stream, response);
        connection.stats.fetches_sent.responses += 1;
        if let Some(answer) = held_answer
            && let Some(on) = own_stream.or(connection.control_out)
        {
            connection.streams.send_control(on, &answer, &mut connection.trace);
        }
        if let Some(half) = connection.streams.send_mut(stream) {
            half.queue.block(header.len()).extend_from_slice(&header);
            half.queue.grew(header.len());
        }
        connection.streams.queued(stream, header.len());
        connection.trace.stream_type(stream, TraceOwner::Local, TracedStreamType::Fetch);
        let traced = TracedFetch { stream, request_id: id };
        connection.trace.add(|| TraceEvent::FetchHeaderCreated(traced));
        Ok(stream)
    }

    /// A writer at the first object of the response.
    fn first_writer(&self) -> Result<ResponseWriter, CommandError> {
        let fetch = self.peek().ok_or(CommandError::Gone)?;
        let order = match fetch.stream {
            ResponseStream::Unopened(order) => order.unwrap_or_default(),
            _ => GroupOrder::default(),
        };
        let writer = FetchWriter::new(self.connection.dialect, order);
        let order = FetchOrder::of_range(Some(order), fetch.range);
        Ok(ResponseWriter { writer, order, is_finished: false })
    }

    /// Something was queued between payloads.
    fn trace(&mut self, item: impl FnOnce() -> FetchItem) {
        if self.connection.trace.is_on()
            && let Some(stream) = self.stream()
        {
            let item = item();
            let traced = TracedFetchObject { stream, item };
            self.connection.trace.add(|| TraceEvent::FetchObjectCreated(traced));
        }
    }

    fn push_payload(&mut self, payload: Bytes) {
        let Some(stream) = self.stream() else { return };
        self.connection.queue_payload(stream, payload);
    }
}

fn would_be_malformed(rule: MalformedRule) -> CommandError {
    CommandError::WrongState(rule.text())
}
