//! Fetches: exactly the range as the publisher has it.

use std::collections::VecDeque;

use moqt_engine::model::{GroupOrder, Location, LocationRange, ObjectStatus};
use moqt_engine::wire::FetchObject;
use moqt_engine::{Answer, Draft, FetchRead, RequestKey};

use super::{Checked, Model, Rule, must};

/// A fetch, at both ends.
#[derive(Debug)]
pub(super) struct Fetch {
    track: usize,
    order: Option<GroupOrder>,
    range: Option<LocationRange>,
    /// What is still to come.
    expected: VecDeque<Location>,
    had_none: bool,
    is_finished: bool,
    is_opened: bool,
    is_over: bool,
    /// The object that is being read, and how much of its payload has been.
    current: Option<(Location, usize)>,
}

impl Fetch {
    pub(super) fn new(track: usize, order: Option<GroupOrder>) -> Self {
        Self {
            track,
            order,
            range: None,
            expected: VecDeque::new(),
            had_none: false,
            is_finished: false,
            is_opened: false,
            is_over: false,
            current: None,
        }
    }

    /// Its objects have been read.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// No object is in its range.
    pub(super) fn is_empty(&self) -> bool {
        self.had_none
    }
}

impl Model<'_> {
    pub(super) fn accepted_fetch(
        &mut self,
        end: usize,
        key: RequestKey,
        range: LocationRange,
    ) -> Checked {
        let draft = self.scenario.draft;
        let Some(number) = self.by_key.get(&(end, key)).copied() else { return Ok(()) };
        let request = &mut self.requests[number];
        request.accepted = true;
        let Some(fetch) = &mut request.fetch else { return Ok(()) };
        let objects = self.tracks[fetch.track].range(range.start..=range.last());
        // Only draft 14 has a way to tell of other objects than ordinary ones.
        let told = objects
            .filter(|(_, object)| draft < Draft::D16 || object.status == ObjectStatus::Normal);
        let mut expected: Vec<Location> = told.map(|(location, _)| *location).collect();
        if fetch.order == Some(GroupOrder::Descending) {
            expected.sort_by_key(|location| (u64::MAX - location.group, location.object));
        }
        fetch.had_none = expected.is_empty();
        fetch.expected = expected.into();
        fetch.range = Some(range);
        Ok(())
    }

    pub(super) fn check_fetch_answer(&mut self, number: usize, answer: &Answer) -> Checked {
        let Some(fetch) = &self.requests[number].fetch else { return Ok(()) };
        let told = answer.fetch.map(|fetch| fetch.range.end);
        let expected = fetch.range.map(|range| range.end);
        must(told == expected, "a fetch is told its end", || {
            format!("{told:?} is not {expected:?}")
        })?;
        let order = answer.fetch.map(|fetch| fetch.group_order);
        must(fetch.order.is_none() || order == fetch.order, "a fetch has its order", || {
            format!("{order:?}")
        })
    }

    pub(super) fn fetch_finished(&mut self, end: usize, key: RequestKey) -> Checked {
        let request = self.request(end, key)?;
        // What is written still has to be sent, and the request may be changed or end until then.
        request.ended_by[end % 2] = true;
        if let Some(fetch) = &mut request.fetch {
            fetch.is_finished = true;
        }
        Ok(())
    }

    pub(super) fn told_fetch_opened(&mut self, end: usize, key: RequestKey) -> Checked {
        let request = self.live(end, key)?;
        let Some(fetch) = &mut request.fetch else {
            return Err(Rule("a fetch was made", format!("{key:?}")));
        };
        must(!fetch.is_opened, "a stream begins once", || format!("{key:?}"))?;
        fetch.is_opened = true;
        Ok(())
    }

    pub(super) fn fetch_read(&mut self, end: usize, key: RequestKey, read: &FetchRead) -> Checked {
        let link_over = self.may_be_over(end);
        let draft = self.scenario.draft;
        let request = self.request(end, key)?;
        let ended = request.ended_by[end % 2] || request.is_cut[end % 2] || request.may_end;
        let Some(fetch) = &mut request.fetch else { return Ok(()) };
        must(!fetch.is_over, "nothing follows the end of a stream", || format!("{read:?}"))?;
        let (track, current) = (fetch.track, fetch.current);
        match read {
            FetchRead::Object(object) => {
                let expected = fetch.expected.pop_front();
                must(
                    expected == Some(object.location),
                    "a fetch gives all objects of its range, in order",
                    || format!("{} instead of {expected:?}", object.location),
                )?;
                fetch.current = Some((object.location, 0));
                self.check_whole(track, current)?;
                self.check_fetched(draft, track, object)
            }
            FetchRead::Payload(payload) => {
                let Some((location, at)) = current else {
                    return Err(Rule("payload belongs to an object", String::new()));
                };
                fetch.current = Some((location, at + payload.len()));
                let object = self.tracks[track].get(&location);
                let expected = object.and_then(|object| object.payload.get(at..at + payload.len()));
                must(expected == Some(payload), "payload arrives as it was sent", || {
                    format!("{location} from byte {at} on, in a fetch")
                })
            }
            FetchRead::Finished => {
                fetch.is_over = true;
                // It is answered, too, sooner or later.
                request.over[end % 2] = request.answer_told;
                let Some(fetch) = &request.fetch else { return Ok(()) };
                must(
                    fetch.is_finished && fetch.expected.is_empty(),
                    "a fetch that finishes has given everything",
                    || format!("{:?} are missing", fetch.expected),
                )?;
                self.check_whole(track, current)
            }
            read => {
                fetch.is_over = true;
                request.over[end % 2] = true;
                must(ended || link_over, "a fetch is not cut off for nothing", || {
                    format!("{read:?}")
                })
            }
        }
    }

    fn check_fetched(&self, draft: Draft, track: usize, object: &FetchObject) -> Checked {
        let location = object.location;
        let Some(known) = self.tracks[track].get(&location) else {
            return Err(Rule("only what was published arrives", location.to_string()));
        };
        // Draft 14 does not tell which objects were datagrams.
        let subgroup = known.subgroup.or((draft < Draft::D16).then_some(location.object));
        let is_same = object.subgroup_id == subgroup
            && object.publisher_priority == known.priority
            && object.payload_len == known.payload.len() as u64
            && object.status == known.status
            && object.properties == known.properties;
        must(is_same, "objects arrive as they were sent, in order", || format!("{object:?}"))
    }

    fn check_whole(&self, track: usize, current: Option<(Location, usize)>) -> Checked {
        let Some((location, read)) = current else { return Ok(()) };
        let len = self.tracks[track].get(&location).map(|object| object.payload.len());
        must(len == Some(read), "an object is whole before the next", || location.to_string())
    }

    /// Fetches that were answered to the end have been read to the end.
    pub(super) fn conclude_fetches(&self) -> Checked {
        for request in &self.requests {
            let Some(fetch) = &request.fetch else { continue };
            let end = request.asker;
            if self.may_be_over_early(end) || !fetch.is_finished || fetch.had_none {
                continue;
            }
            let is_given_up =
                request.ended_by[end % 2] || request.is_cut[end % 2] || request.may_end;
            must(fetch.is_over || is_given_up, "a fetch is read to its end", || {
                format!("{:?} are missing", fetch.expected)
            })?;
        }
        Ok(())
    }
}
