//! Streams of subgroups: what was written on each, and what was read.

use std::fmt;
use std::time::Duration;

use moqt_engine::model::{Location, StreamResetCode, SubgroupId};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{
    GiveUpReason, Read, RequestKey, SlowSubscriber, SubgroupInfo, SubgroupOptions, Timestamp,
    Written,
};
use moqt_loopback::StreamId;

use super::{Checked, Model, Rule, must};

/// How long the engine waits for what a stream belongs to, and for streams that are late.
const PATIENCE: Duration = Duration::from_secs(2);

/// A stream, at both ends.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) request: usize,
    /// When it was opened, by the clock of its subscriber.
    opened_at: Timestamp,
    options: SubgroupOptions,
    /// The first object, whether it was sent or left out.
    first: Option<u64>,
    /// What is to arrive, in order.
    sent: Vec<ObjectHeader>,
    /// An object was left out that is not before the start of the filter, or the stream did not
    /// begin with the first.
    has_left_out: bool,
    /// The same after another had been sent.
    has_hole: bool,
    pub(super) finished: bool,
    /// The publisher's application reset it.
    pub(super) was_reset: bool,
    /// The subscriber's application stopped it.
    pub(super) was_stopped: bool,
    /// A fault hit it.
    pub(super) was_hit: bool,
    /// The publisher's engine told of its end.
    told_stopped: bool,
    told_given_up: bool,
    /// What has arrived.
    pub(super) is_opened: bool,
    read: usize,
    /// Payload of the last of these so far.
    read_payload: usize,
    end: Option<Read>,
}

impl Stream {
    /// It has been read to its end.
    pub(super) fn is_over(&self) -> bool {
        self.end.is_some()
    }

    /// The subscriber's engine did not take it, and its publisher did not cut it off either.
    pub(super) fn was_declined(&self) -> bool {
        let was_cut_off = self.was_reset || self.was_hit || self.told_given_up;
        self.told_stopped && !self.is_opened && !self.was_stopped && !was_cut_off
    }

    fn location(&self, header: &ObjectHeader) -> Location {
        Location::new(self.options.group_id, header.object_id)
    }

    fn subgroup(&self) -> Option<u64> {
        match self.options.subgroup_id {
            SubgroupId::Explicit(id) => Some(id),
            SubgroupId::FirstObjectId => self.first,
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = self.options.group_id;
        write!(f, "group {group}, {:?}: ", self.options.subgroup_id)?;
        write!(f, "{} objects sent, {} read, end {:?}", self.sent.len(), self.read, self.end)
    }
}

impl Model<'_> {
    pub(super) fn opened(
        &mut self,
        end: usize,
        key: RequestKey,
        id: StreamId,
        options: SubgroupOptions,
    ) -> Checked {
        let number = self.by_key.get(&(end, key)).copied();
        let request = self.live(end, key)?;
        let (Some(number), Some(subscription)) = (number, &request.subscription) else {
            return Err(Rule("subscriptions have streams", format!("{key:?}")));
        };
        if request.updates == 0 && subscription.pending.is_none() {
            let is_wanted = subscription.forward && subscription.passes_group(options.group_id);
            must(is_wanted, "no stream is opened that nobody wants", || format!("{options:?}"))?;
        }
        let stream = Stream {
            request: number,
            opened_at: self.clock(end ^ 1),
            options,
            first: None,
            sent: Vec::new(),
            has_left_out: !options.first_object,
            has_hole: false,
            finished: false,
            was_reset: false,
            was_stopped: false,
            was_hit: false,
            told_stopped: false,
            told_given_up: false,
            is_opened: false,
            read: 0,
            read_payload: 0,
            end: None,
        };
        let other = self.streams.insert((end / 2, id), stream);
        must(other.is_none(), "stream numbers are used once", || format!("{id:?}"))
    }

    pub(super) fn not_wanted(
        &mut self,
        end: usize,
        key: RequestKey,
        options: SubgroupOptions,
        location: Location,
    ) -> Checked {
        let number = self.by_key.get(&(end, key)).copied();
        let request = self.live(end, key)?;
        let is_sure = request.updates == 0;
        let (Some(number), Some(subscription)) = (number, &mut request.subscription) else {
            return Ok(());
        };
        subscription.note(location);
        let subgroup = match options.subgroup_id {
            SubgroupId::Explicit(id) => id,
            SubgroupId::FirstObjectId => location.object,
        };
        let name = (options.group_id, subgroup);
        let is_wanted = subscription.forward && subscription.passes_group(options.group_id);
        let is_given_up = subscription.given_up.contains(&name);
        if is_wanted && !is_given_up && is_sure && subscription.pending.is_none() {
            self.unexplained.push((self.now, number, name));
        }
        Ok(())
    }

    /// A subgroup is sent no further, and that has been told.
    fn give_up(&mut self, stream: &Stream) {
        let Some(subgroup) = stream.subgroup() else { return };
        let name = (stream.options.group_id, subgroup);
        if let Some(subscription) = &mut self.requests[stream.request].subscription {
            subscription.given_up.insert(name);
        }
        self.unexplained.retain(|(_, request, known)| (*request, *known) != (stream.request, name));
    }

    /// An object was given to a stream: it is sent if the subscription wants it, and if none
    /// before it on the stream was left out.
    pub(super) fn wrote(
        &mut self,
        end: usize,
        id: StreamId,
        header: &ObjectHeader,
        written: Written,
    ) -> Checked {
        let stream = self.stream(end, id)?.clone();
        let location = stream.location(header);
        let request = &mut self.requests[stream.request];
        let is_sure = request.updates == 0;
        let Some(subscription) = &mut request.subscription else { return Ok(()) };
        let is_wanted = subscription.forward && subscription.passes(location) && !stream.has_hole;
        if is_sure && subscription.pending.is_none() {
            must(
                (written == Written::Queued) == is_wanted,
                "what is wanted is sent, and no more",
                || format!("{location} is {written:?}, forward is {}", subscription.forward),
            )?;
        }
        subscription.note(location);
        let is_before = subscription.is_before_start(location) && stream.sent.is_empty();
        let stream = self.stream(end, id)?;
        stream.first = stream.first.or(Some(header.object_id));
        if written == Written::Queued {
            stream.sent.push(header.clone());
        } else {
            stream.has_hole |= !stream.sent.is_empty();
            stream.has_left_out |= !is_before;
        }
        Ok(())
    }

    pub(super) fn told_subgroup(
        &mut self,
        end: usize,
        key: RequestKey,
        id: Option<StreamId>,
        info: &SubgroupInfo,
    ) -> Checked {
        self.live(end, key)?;
        let number = self.by_key.get(&(end, key)).copied();
        let Some(id) = id else { return Ok(()) };
        let stream = self.stream(end, id)?;
        must(Some(stream.request) == number, "a stream belongs to its subscription", || {
            stream.to_string()
        })?;
        must(!stream.is_opened, "a stream begins once", || stream.to_string())?;
        stream.is_opened = true;
        let group_id = stream.options.group_id;
        must(info.group_id == group_id, "a subgroup is of its group", || stream.to_string())?;
        let is_named = match info.subgroup_id {
            SubgroupId::Explicit(id) => Some(id) == stream.subgroup(),
            SubgroupId::FirstObjectId => stream.options.subgroup_id == SubgroupId::FirstObjectId,
        };
        must(is_named, "a subgroup has its ID", || format!("{info:?} is not {stream}"))?;
        must(
            !info.first_object || (stream.options.first_object && !stream.sent.is_empty()),
            "a subgroup begins with its first object if that is said",
            || stream.to_string(),
        )?;
        must(
            !info.end_of_group || stream.options.end_of_group,
            "a group ends where it is said",
            || stream.to_string(),
        )?;
        let priority = stream.options.publisher_priority.unwrap_or(128);
        must(info.publisher_priority == priority, "a subgroup has its priority", || {
            format!("{info:?} is not {stream}")
        })
    }

    pub(super) fn read(&mut self, end: usize, id: StreamId, read: &Read) -> Checked {
        let stream = self.stream(end, id)?.clone();
        must(stream.end.is_none(), "nothing follows the end of a stream", || stream.to_string())?;
        let request = &self.requests[stream.request];
        let Some(subscription) = &request.subscription else { return Ok(()) };
        let track = subscription.track;
        match read {
            Read::Object(header) => {
                check_payload(&stream)?;
                let Some(sent) = stream.sent.get(stream.read) else {
                    return Err(Rule("only what was sent arrives", format!("{header:?}")));
                };
                must(sent == header, "objects arrive as they were sent, in order", || {
                    format!("{header:?} is not {sent:?}")
                })?;
                let location = stream.location(header);
                let object = self.tracks[track].get(&location).cloned();
                must(object.is_some(), "only what was published arrives", || location.to_string())?;
                let subgroup = object.and_then(|object| object.subgroup);
                must(subgroup == stream.subgroup(), "an object is in its subgroup", || {
                    location.to_string()
                })?;
                let subscription = self.requests[stream.request].subscription.as_mut();
                let is_new = subscription.is_some_and(|it| it.seen.insert(location));
                must(is_new, "an object arrives once", || location.to_string())?;
                let stream = self.stream(end, id)?;
                stream.read += 1;
                stream.read_payload = 0;
                Ok(())
            }
            Read::Payload(payload) => {
                let header = stream.read.checked_sub(1).and_then(|last| stream.sent.get(last));
                let location = header.map(|header| stream.location(header)).unwrap_or_default();
                let object = self.tracks[track].get(&location);
                let expected = object.and_then(|object| {
                    object.payload.get(stream.read_payload..stream.read_payload + payload.len())
                });
                must(expected == Some(payload), "payload arrives as it was sent", || {
                    format!("{location} from byte {} on", stream.read_payload)
                })?;
                self.stream(end, id)?.read_payload += payload.len();
                Ok(())
            }
            Read::Finished => {
                check_payload(&stream)?;
                let is_whole = stream.finished && stream.read == stream.sent.len();
                must(is_whole, "a stream that finishes has all that was sent", || {
                    stream.to_string()
                })?;
                must(!stream.has_hole, "a stream that finishes leaves nothing out", || {
                    stream.to_string()
                })?;
                self.stream(end, id)?.end = Some(Read::Finished);
                Ok(())
            }
            read => {
                self.stream(end, id)?.end = Some(read.clone());
                // Once its publisher is done, nobody there is told of a delivery timeout.
                let is_late = *read == Read::Reset(StreamResetCode::DeliveryTimeout)
                    && self.has_timeout(&stream);
                must(
                    is_late || self.is_excused(&stream),
                    "a stream is not cut off for nothing",
                    || format!("{stream} then {read:?}"),
                )
            }
        }
    }

    pub(super) fn told_stopped(
        &mut self,
        end: usize,
        key: RequestKey,
        id: Option<StreamId>,
    ) -> Checked {
        self.request(end, key)?;
        let Some(id) = id else { return Ok(()) };
        let stream = self.stream(end, id)?;
        stream.told_stopped = true;
        let stream = stream.clone();
        self.give_up(&stream);
        must(self.may_be_stopped(&stream), "a stream is not stopped for nothing", || {
            stream.to_string()
        })
    }

    pub(super) fn told_given_up(
        &mut self,
        end: usize,
        key: RequestKey,
        id: Option<StreamId>,
        reason: GiveUpReason,
    ) -> Checked {
        self.request(end, key)?;
        let Some(id) = id else { return Ok(()) };
        let stream = self.stream(end, id)?;
        stream.told_given_up = true;
        let stream = stream.clone();
        self.give_up(&stream);
        let slow = self.scenario.ends[end].slow;
        let has_timeout = self.has_timeout(&stream);
        let is_explained = match reason {
            GiveUpReason::DeliveryTimeout => has_timeout,
            GiveUpReason::QueueFull => slow == SlowSubscriber::DropOldestGroup,
            _ => false,
        };
        must(is_explained, "a subgroup is not given up for nothing", || {
            format!("{reason:?}: {stream}")
        })
    }

    /// Whether a delivery timeout is in force.
    fn has_timeout(&self, stream: &Stream) -> bool {
        let subscription = self.requests[stream.request].subscription.as_ref();
        subscription.is_some_and(|subscription| {
            let plan = &self.scenario.tracks[subscription.track];
            subscription.has_timeout || plan.timeout.is_some()
        })
    }

    /// Whether there is a reason for a subscriber to want no more of a stream.
    fn may_be_stopped(&self, stream: &Stream) -> bool {
        let request = &self.requests[stream.request];
        let publisher = request.subscription.as_ref().map_or(0, |known| known.publisher);
        let subscriber = publisher ^ 1;
        let is_small = self.scenario.ends[subscriber].little.streams;
        stream.was_stopped
            || stream.was_hit
            || is_small
            || request.over[subscriber % 2]
            || self.may_be_over(publisher)
            || self.waits_for_alias(stream)
    }

    /// Whether a stream may have come long before the acceptance that names its track.
    fn waits_for_alias(&self, stream: &Stream) -> bool {
        let request = &self.requests[stream.request];
        let link = &self.links[request.asker / 2];
        let config = &self.scenario.links[request.asker / 2];
        let narrow = |window: u64| window < 1024 * 1024;
        let subscriber = request.subscription.as_ref().map_or(0, |known| known.publisher ^ 1);
        !stream.is_opened
            && self.clock(subscriber).saturating_since(stream.opened_at) >= PATIENCE
            && (link.has_troubles
                || self.leapt[subscriber].is_some()
                || narrow(config.up.connection_window)
                || narrow(config.down.connection_window))
    }

    /// Whether someone has been told of a reason why a stream may end early, or not come.
    pub(super) fn is_excused(&self, stream: &Stream) -> bool {
        let request = &self.requests[stream.request];
        let publisher = request.subscription.as_ref().map_or(0, |known| known.publisher);
        let subscriber = publisher ^ 1;
        stream.was_reset
            || stream.was_stopped
            || stream.was_hit
            || stream.told_stopped
            || stream.told_given_up
            || (stream.finished && stream.has_left_out)
            || !stream.finished && request.ended_by[publisher % 2]
            || request.over[subscriber % 2]
            || request.is_cut[publisher % 2]
            || (request.over[publisher % 2] && !request.ended_by[publisher % 2])
            || self.may_be_over(publisher)
    }

    /// Everything that was sent has arrived, unless there is a reason.
    pub(super) fn conclude_streams(&self) -> Checked {
        for stream in self.streams.values() {
            let request = &self.requests[stream.request];
            if self.may_be_over_early(request.asker) || self.is_lost(stream) {
                continue;
            }
            must(stream.read == stream.sent.len(), "what was sent arrives", || stream.to_string())?;
            must(
                stream.end == Some(Read::Finished) || stream.has_left_out,
                "a stream that was finished is read to its end",
                || stream.to_string(),
            )?;
        }
        Ok(())
    }

    /// The same at the end, when almost everything is over.
    fn is_lost(&self, stream: &Stream) -> bool {
        let request = &self.requests[stream.request];
        let publisher = request.subscription.as_ref().map_or(0, |known| known.publisher);
        let subscriber = publisher ^ 1;
        let is_cut =
            matches!(&stream.end, Some(Read::Reset(code)) if *code != StreamResetCode::Cancelled);
        stream.was_reset
            || stream.was_stopped
            || stream.was_hit
            || stream.told_stopped
            || stream.told_given_up
            || !stream.finished
            || is_cut
            || stream.has_left_out
            || request.ended_by[subscriber % 2]
            || request.is_cut[subscriber % 2]
            || request.is_cut[publisher % 2]
            || (request.over[publisher % 2] && !request.ended_by[publisher % 2])
            || self.is_refused_at_once(request)
            // What did not come is told to be missing at the end.
            || (!stream.is_opened && request.over[subscriber % 2])
    }
}

/// The object before is whole.
fn check_payload(stream: &Stream) -> Checked {
    let Some(header) = stream.read.checked_sub(1).and_then(|last| stream.sent.get(last)) else {
        return Ok(());
    };
    let is_whole = header.payload_len == stream.read_payload as u64;
    must(is_whole, "an object is whole before the next", || {
        format!("{} of {} bytes, {stream}", stream.read_payload, header.payload_len)
    })
}
