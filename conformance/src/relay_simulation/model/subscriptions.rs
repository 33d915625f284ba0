//! Subscriptions: everything comes once, in order, and ends as it should.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use moqt_engine::Timestamp;
use moqt_engine::model::{
    Location, ObjectStatus, PublishDoneCode, RequestErrorCode, SubscriptionFilter,
};

use super::{Checked, GRACE, Model, known, must};
use crate::relay_simulation::record::{Left, Made, Seen, Stream, Subscribed, SubscriptionEnd};
use crate::relay_simulation::scenario::How;

/// How long an object takes at most, from publishers that take their time and over several relays.
const LATE: Duration = Duration::from_secs(20);

impl Model<'_> {
    pub(super) fn subscription(&self, number: usize) -> Checked {
        let subscribed = &self.record.subscriptions[number];
        let about = |what: String| {
            let Subscribed { client, track, asked, accepted, end, .. } = subscribed;
            let accepted = accepted.map(|(at, _)| at);
            format!(
                "subscription {number} of client {client} to track {track}, asked at {asked:?}, \
                 accepted at {accepted:?}, ended {end:?}: {what}"
            )
        };
        let named = |checked: Checked| {
            checked.map_err(|mut broken| {
                broken.about = about(broken.about);
                broken
            })
        };
        named(self.answered(subscribed))?;
        named(self.seen_in_order(subscribed))?;
        named(self.passes_filter(subscribed))?;
        named(self.complete(subscribed))?;
        named(self.ended(subscribed))
    }

    /// A subscription to what is published is accepted.
    fn answered(&self, subscribed: &Subscribed) -> Checked {
        let Subscribed { track, asked, accepted, end, .. } = subscribed;
        let until = known(*asked);
        // Nobody is asked by a relay to offer what this one gives it: "it MUST send a PUBLISH request
        // to each subscriber that has sent SUBSCRIBE_TRACKS" (draft-18, "Publisher Interactions").
        let is_there =
            self.is_published_to(subscribed, *asked, until) && self.is_heard_of(*track, *asked);
        let left_early = end.as_ref().is_some_and(|(at, end)| {
            *at < until && matches!(end, SubscriptionEnd::Left | SubscriptionEnd::Closed)
        });
        if !is_there || left_early || !self.is_quiet(*asked, until) {
            return Ok(());
        }
        if let Some((at, SubscriptionEnd::Rejected(code))) = end {
            // A filter that lets nothing pass is refused.
            let is_range =
                matches!(subscribed.filter, Some(SubscriptionFilter::AbsoluteRange { .. }));
            // So is one to what the relay is about to offer.
            let is_offered = *code == RequestErrorCode::DuplicateSubscription
                && self.record.subscriptions.iter().any(|it| {
                    it.is_offered
                        && (it.client, it.track) == (subscribed.client, *track)
                        && it.asked <= until
                });
            let is_right = is_range || is_offered;
            return must(is_right, "a subscription to what is published is accepted", || {
                format!("refused with {code} at {at:?}")
            });
        }
        let is_early = accepted.is_some_and(|(at, _)| at <= until);
        let is_over = matches!(end, Some((at, _)) if *at <= until);
        must(is_early || is_over, "a subscription to what is published is accepted", || {
            "no answer in time".to_owned()
        })
    }

    /// Whether others than the subscriber publish a track throughout this time.
    fn is_published_to(&self, subscribed: &Subscribed, from: Timestamp, to: Timestamp) -> bool {
        let mut publishers = self.publishers(subscribed.track, from, to);
        publishers.any(|it| it.client != subscribed.client)
    }

    /// Each object is one that was published, comes once, and in order in its stream.
    fn seen_in_order(&self, subscribed: &Subscribed) -> Checked {
        let mut seen = BTreeSet::new();
        for (object, _) in subscribed.seen() {
            self.object(subscribed.track, object, false)?;
            let is_new = seen.insert(object.location);
            must(is_new || self.may_repeat(object), "an object comes once", || {
                format!("{} came twice", object.location)
            })?;
        }
        for stream in &subscribed.streams {
            let is_sorted = stream.objects.is_sorted_by_key(|object| object.location);
            must(is_sorted, "objects come in order in their subgroup", || stream.to_string())?;
        }
        // In all streams of a subgroup together, too, in the order they were opened.
        let mut last = BTreeMap::new();
        for stream in &subscribed.streams {
            let name = (stream.info.group_id, stream.subgroup);
            if let (Some(first), Some(end)) = (stream.objects.first(), stream.objects.last()) {
                let before = last.insert(name, end.location);
                let goes_on = before.is_none_or(|before| before < first.location);
                must(goes_on, "objects come in order in their subgroup", || stream.to_string())?;
            }
        }
        Ok(())
    }

    /// Whether relays have so little room that they may not know an object again that several
    /// publishers send. In subgroups they know how far they are.
    fn may_repeat(&self, seen: &Seen) -> bool {
        let mut relays = self.scenario.relays.iter();
        let has_little = relays.any(|relay| relay.track_objects < 1000);
        // The last link may double them, too.
        seen.subgroup.is_none() && (has_little || !self.is_calm())
    }

    /// Nothing comes that the subscriber has not asked for.
    fn passes_filter(&self, subscribed: &Subscribed) -> Checked {
        for (seen, _) in subscribed.seen() {
            must(subscribed.passes(seen.location), "a filter is obeyed", || {
                format!("{} came", seen.location)
            })?;
            let made = self.record.tracks[subscribed.track].objects.get(&seen.location);
            // What was published in the middle of a pause comes neither then nor later.
            let Some(made) = made else { continue };
            let paused = subscribed.forward_throughout(made.at, known(made.at)) == Some(false);
            must(
                !paused || subscribed.is_offered,
                "nothing comes that was not to be forwarded",
                || format!("{} came", seen.location),
            )?;
        }
        Ok(())
    }

    /// Everything comes that has to.
    fn complete(&self, subscribed: &Subscribed) -> Checked {
        let Some((accepted, _)) = subscribed.accepted else { return Ok(()) };
        let track = &self.record.tracks[subscribed.track];
        let seen: BTreeMap<Location, Timestamp> =
            subscribed.seen().map(|(object, _)| (object.location, object.at)).collect();
        for (location, made) in &track.objects {
            let seen = seen.get(location).copied();
            let is_late = seen.is_none_or(|at| at > made.at.saturating_add(LATE));
            if made.object.status != ObjectStatus::Normal || !is_late {
                continue;
            }
            // Nothing is late if something is wrong meanwhile.
            let by = seen.map_or(known(made.at), |_| made.at.saturating_add(LATE));
            let due = self.due_since(subscribed, accepted);
            let is_due = made.at >= due
                && subscribed.passes(*location)
                && subscribed.forward_throughout(accepted.max(earlier(made.at)), known(made.at))
                    != Some(false)
                && subscribed.forward_throughout(made.at, known(made.at)) == Some(true)
                && self.is_heard_of(subscribed.track, made.at)
                && !self.is_taken_over(subscribed.track, made.at)
                && self.is_published_to(subscribed, made.at, made.at)
                && !subscribed.is_over_by(known(made.at))
                && self.is_quiet(earlier(made.subgroup_at), by)
                && self.reads(subscribed.client, accepted, by)
                && !self.may_be_lost(subscribed.track, made)
                && !self.was_left_out(subscribed.track, accepted, made.subgroup_at)
                && !self.may_be_filtered(subscribed, accepted, *location, made);
            must(!is_due, "what is published arrives", || {
                let how = match subscribed.stream_of(*location, made) {
                    Some(stream) => format!("its stream: {stream}"),
                    None => "no stream of its subgroup came".to_owned(),
                };
                let late = seen.map(|at| format!(" but at {at:?}")).unwrap_or_default();
                format!("{location}, published at {:?}, did not{late}; {how}", made.at)
            })?;
        }
        for stream in &subscribed.streams {
            self.whole(subscribed, stream)?;
        }
        Ok(())
    }

    /// Whether a publisher is there who is known everywhere. Who publishes a track that a relay has
    /// already is not heard of further up.
    fn is_heard_of(&self, track: usize, at: Timestamp) -> bool {
        let all = &self.record.tracks[track].publishers;
        let is_first = |from| all.iter().all(|it| from <= it.from);
        self.publishers(track, at, at).any(|it| it.how != How::Publish || is_first(it.from))
    }

    /// Whether somebody has just left who published nothing, so that relays that look for another
    /// publisher then do not know what they lack of what that one has published meanwhile.
    fn is_taken_over(&self, track: usize, at: Timestamp) -> bool {
        let track = &self.record.tracks[track];
        let leaves = track.publishers.iter().filter_map(|it| it.to).map(|(to, _)| to);
        let leaves = leaves.filter(|to| earlier(at) <= *to && *to <= at);
        leaves.max().is_some_and(|to| track.objects.values().all(|made| made.at > earlier(to)))
    }

    /// Whether publishers may not have been asked yet for objects when a subgroup began, so that
    /// some are missing in its stream, and it has to be reset.
    fn was_left_out(&self, track: usize, accepted: Timestamp, subgroup_at: Timestamp) -> bool {
        let publishers = &self.record.tracks[track].publishers;
        let is_asked_at_once =
            publishers.iter().all(|it| it.how == How::Namespace) && self.is_always_forwarded(track);
        !is_asked_at_once && subgroup_at < known(accepted)
    }

    /// Whether an object comes so late that relays may have asked for later ones only.
    fn may_be_filtered(
        &self,
        subscribed: &Subscribed,
        accepted: Timestamp,
        location: Location,
        made: &Made,
    ) -> bool {
        let track = &self.record.tracks[subscribed.track];
        let asked = track.publishers.iter().map(|it| it.from).filter(|from| *from <= made.at);
        let troubles = self.record.troubles.iter().map(|(_, over)| *over);
        let asked = asked.chain(troubles.filter(|over| *over <= made.at)).max();
        let asked = known(accepted.max(asked.unwrap_or_default()));
        let largest_by = |by: Timestamp| {
            let objects = track.objects.iter().filter(|(_, it)| it.at < by);
            objects.map(|(location, _)| *location).max()
        };
        let is_late = largest_by(made.at).is_some_and(|largest| largest > location);
        is_late && largest_by(asked).is_some_and(|largest| largest > location)
    }

    /// From when on what is published has to arrive. At once if the one publisher has been asked
    /// for objects by then.
    fn due_since(&self, subscribed: &Subscribed, accepted: Timestamp) -> Timestamp {
        let track = &self.record.tracks[subscribed.track];
        let is_simple = matches!(&track.publishers[..], [only] if only.how == How::Namespace)
            && self.is_always_forwarded(subscribed.track);
        if is_simple { accepted } else { known(accepted) }
    }

    /// Whether all who subscribe to a track want its objects always.
    pub(super) fn is_always_forwarded(&self, track: usize) -> bool {
        let mut all = self.record.subscriptions.iter().filter(|it| it.track == track);
        all.all(|it| it.forward.iter().all(|(_, forward)| *forward))
    }

    /// A subgroup whose stream is finished is whole, from the first object in it on.
    fn whole(&self, subscribed: &Subscribed, stream: &Stream) -> Checked {
        let Some((at, is_finished)) = stream.end else { return Ok(()) };
        let Some(first) = stream.objects.first() else { return Ok(()) };
        must(!(stream.is_cut && is_finished), "no stream is finished within an object", || {
            stream.to_string()
        })?;
        let is_forwarded = subscribed.forward.iter().all(|(_, forward)| *forward);
        if !is_finished || !is_forwarded {
            return Ok(());
        }
        let objects = &self.record.tracks[subscribed.track].objects;
        let seen: BTreeSet<Location> =
            subscribed.seen().map(|(object, _)| object.location).collect();
        let last = Location::new(first.location.group, u64::MAX);
        for (location, made) in objects.range(first.location..=last) {
            let is_missing = made.object.subgroup == stream.subgroup
                && made.object.status == ObjectStatus::Normal
                && subscribed.passes(*location)
                && !seen.contains(location);
            must(!is_missing, "a subgroup that is finished is whole", || {
                format!("{location} is missing at {at:?} in {stream}")
            })?;
        }
        Ok(())
    }

    /// Whether an object may be lost on its way without anybody knowing: one in a datagram may, and
    /// what is fetched after another publisher has taken over does not come as that.
    fn may_be_lost(&self, track: usize, made: &Made) -> bool {
        made.object.subgroup.is_none() && (!self.is_calm() || self.has_just_left(track, made.at))
    }

    /// Whether a publisher has left a track so shortly before that not everybody may know.
    fn has_just_left(&self, track: usize, at: Timestamp) -> bool {
        let leaves = self.record.tracks[track].publishers.iter().filter_map(|it| it.to);
        leaves.into_iter().any(|(to, _)| earlier(at) <= to && to <= at)
    }

    /// Ends are told, and nothing ends without a reason.
    fn ended(&self, subscribed: &Subscribed) -> Checked {
        let Some((accepted, _)) = subscribed.accepted else { return Ok(()) };
        let track = &self.record.tracks[subscribed.track];
        match &subscribed.end {
            None => must(false, "the end of what is published is told", || "it was not".to_owned()),
            Some((at, SubscriptionEnd::Done(code))) => {
                let is_quiet = self.is_quiet(earlier(accepted), *at);
                // Who publishes a track that a relay has already is not heard of further up.
                let mut there = self.publishers(subscribed.track, *at, *at);
                let is_there = there.any(|it| it.how != How::Publish)
                    && track.publishers.iter().all(|it| it.client != subscribed.client);
                let range =
                    matches!(subscribed.filter, Some(SubscriptionFilter::AbsoluteRange { .. }));
                let slow = *code == PublishDoneCode::TooFarBehind
                    && !self.reads(subscribed.client, accepted, *at);
                let is_over = track
                    .publishers
                    .iter()
                    .any(|it| matches!(it.to, Some((until, Left::Ended)) if until <= *at));
                must(
                    !is_quiet || !is_there || range || slow || is_over,
                    "a subscription lasts while its track is published",
                    || format!("done with {code}"),
                )?;
                // All that there ever were have said the same.
                let all_ended = track
                    .publishers
                    .iter()
                    .all(|it| matches!(it.to, Some((_, Left::Ended))) && !it.is_refused);
                must(
                    !is_quiet
                        || range
                        || slow
                        || !all_ended
                        || *code == PublishDoneCode::TrackEnded,
                    "the end of a track is told as such",
                    || format!("done with {code}"),
                )
            }
            Some((_, SubscriptionEnd::Malformed(why))) => {
                must(false, "no track is malformed", || why.clone())
            }
            Some((at, SubscriptionEnd::Cancelled(code))) => {
                let is_quiet = self.is_quiet(earlier(accepted), *at);
                must(!is_quiet, "a subscription ends with PUBLISH_DONE", || code.to_string())
            }
            _ => Ok(()),
        }?;
        let is_slow = !self.reads(subscribed.client, accepted, self.record.ended);
        for stream in &subscribed.streams {
            let over = stream.end.map_or(self.record.ended, |(at, _)| at);
            // What was left out on the way is missing in the stream.
            let is_forwarded = subscribed.forward.iter().all(|(_, forward)| *forward);
            let is_excused = is_slow
                || !is_forwarded
                || self.subgroup_begun(subscribed.track, stream).is_some_and(|begun| {
                    begun < accepted || self.was_left_out(subscribed.track, accepted, begun)
                })
                || !self.is_quiet(earlier(stream.opened), over)
                || subscribed.is_over_by(known(over))
                || self.has_left(subscribed.track, over)
                || self.has_moved(stream, over)
                || subscribed.goes_on_after_a_reset(stream);
            must(
                is_excused || matches!(stream.end, Some((_, true))),
                "streams are finished",
                || stream.to_string(),
            )?;
        }
        Ok(())
    }

    /// Whether a relay has gone away while a stream was open, and may have taken with it the one
    /// that this comes from. The next relay begins after what was published by then, so that nobody
    /// may hear any more of how the subgroup ends: "Processing a reset means that there might be
    /// other objects in the Subgroup beyond the last one received. A relay might immediately reset
    /// the corresponding downstream stream" (draft-18, "Closing Subgroup Streams").
    fn has_moved(&self, stream: &Stream, over: Timestamp) -> bool {
        let mut moves = self.record.moves.iter();
        moves.any(|(begun, until)| {
            stream.opened <= *until && *begun <= over && over <= later(*until)
        })
    }

    /// When the subgroup of a stream began to be published.
    fn subgroup_begun(&self, track: usize, stream: &Stream) -> Option<Timestamp> {
        let objects = self.record.tracks[track].objects.iter();
        let of_stream = objects.filter(|(location, made)| {
            location.group == stream.info.group_id && made.object.subgroup == stream.subgroup
        });
        of_stream.map(|(_, made)| made.subgroup_at).min()
    }

    /// Whether a publisher of a track has left it before the track was over.
    fn has_left(&self, track: usize, by: Timestamp) -> bool {
        let publishers = self.record.tracks[track].publishers.iter();
        publishers.filter_map(|it| it.to).any(|(at, _)| at <= by && at < self.record.ended)
    }
}

/// When everybody has stopped waiting for what may come after this, and that is known everywhere.
fn later(at: Timestamp) -> Timestamp {
    known(known(at))
}

/// When something has been done that is known everywhere at this time.
fn earlier(at: Timestamp) -> Timestamp {
    Timestamp::ZERO.saturating_add(at.saturating_since(Timestamp::ZERO.saturating_add(GRACE)))
}

impl Subscribed {
    /// Every object that came, and the stream that it came on.
    fn seen(&self) -> impl Iterator<Item = (&Seen, Option<&Stream>)> {
        let streams = self.streams.iter();
        let on_streams = streams.flat_map(|it| it.objects.iter().map(move |seen| (seen, Some(it))));
        on_streams.chain(self.datagrams.iter().map(|seen| (seen, None)))
    }

    /// Whether the subscriber wants it, by its filter.
    fn passes(&self, location: Location) -> bool {
        let Some((_, largest)) = self.accepted else { return false };
        let Some(filter) = self.filter else { return true };
        let is_past = filter.end_group().is_some_and(|end| location.group > end);
        location >= filter.start(largest) && !is_past
    }

    /// Whether objects were to come throughout this time, or were not; `None` if that changed, or
    /// may just have been changing.
    fn forward_throughout(&self, from: Timestamp, to: Timestamp) -> Option<bool> {
        let mut state = true;
        let mut states = BTreeSet::new();
        for (at, forward) in &self.forward {
            if *at > to {
                break;
            }
            if known(*at) >= from {
                states.insert(state);
            }
            state = *forward;
            if *at <= self.asked {
                states.clear();
            }
        }
        states.insert(state);
        if states.len() == 1 { states.pop_first() } else { None }
    }

    fn is_over_by(&self, at: Timestamp) -> bool {
        self.end.as_ref().is_some_and(|(over, _)| *over <= at)
    }

    /// Whether an earlier stream of the same subgroup was given up. One that goes on after that lacks
    /// what came there: "If a sender closes the stream before delivering all such objects to the QUIC
    /// stream, it MUST reset the stream" (draft-18, "Closing Subgroup Streams").
    fn goes_on_after_a_reset(&self, stream: &Stream) -> bool {
        let name = |it: &Stream| (it.info.group_id, it.subgroup);
        let first = stream.objects.first().map(|object| object.location);
        self.streams.iter().any(|it| {
            let is_before = it.objects.first().map(|object| object.location) < first;
            is_before && name(it) == name(stream) && matches!(it.end, Some((_, false)))
        })
    }

    fn stream_of(&self, location: Location, made: &Made) -> Option<&Stream> {
        let of = |it: &&Stream| {
            it.info.group_id == location.group && it.subgroup == made.object.subgroup
        };
        self.streams.iter().rfind(of)
    }
}

impl std::fmt::Display for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { info, subgroup, opened, objects, is_cut, end } = self;
        write!(f, "group {}, subgroup {subgroup:?}, opened at {opened:?}, ", info.group_id)?;
        let ids: Vec<u64> = objects.iter().map(|object| object.location.object).collect();
        write!(f, "objects {ids:?}")?;
        if *is_cut {
            write!(f, ", cut")?;
        }
        match end {
            Some((at, true)) => write!(f, ", finished at {at:?}"),
            Some((at, false)) => write!(f, ", given up at {at:?}"),
            None => write!(f, ", still open"),
        }
    }
}
