//! A track that is joined: the past by a FETCH, what follows by the subscription, each object
//! once and in order, and what is lost told as a gap.

use std::time::Duration;

use moqt_conformance::end::{End, Name};
use moqt_conformance::{DRAFTS, say};
use moqt_engine::model::{
    EndOfRange, GroupOrder, JoiningStart, Location, Message, ObjectStatus, Parameters,
    PublishDoneCode, RequestErrorCode, RequestKind, StreamResetCode, SubscribeOk,
};
use moqt_engine::track::{Losses, SubscribedTrack, TrackRead};
use moqt_engine::wire::FetchWriter;
use moqt_engine::{Config, Dir, Draft, FetchTarget, Role};

/// The last object published before the subscription.
const LARGEST: Location = Location::new(2, 1);

/// A connection that has joined a track and not heard of its FETCH yet.
struct Joined {
    end: End,
    track: SubscribedTrack,
    /// The FETCH's Request ID, and where it is answered.
    fetch: (u64, Name),
}

impl Joined {
    fn new(draft: Draft) -> Self {
        let mut end = End::established(draft, Role::Client, Config::default());
        end.reads_at_once = false;
        end.keeps_readable = true;
        let id = end.next_own_id();
        let mut parameters = Parameters::default();
        let filter = moqt_engine::model::SubscriptionFilter::LargestObject;
        parameters.subscription_filter = Some(filter);
        let wishes = parameters.clone();
        let subscription =
            end.with(|engine, now| engine.subscribe(now, &say::track("t"), &wishes)).unwrap();
        let on = end.own_request();
        let Message::SubscribeOk(mut ok) = say::subscribe_ok(id, 1) else { panic!() };
        ok.parameters.largest_object = Some(LARGEST);
        end.say(on, &Message::SubscribeOk(SubscribeOk { ..ok }));
        let id = end.next_own_id();
        let target = FetchTarget::Joining { subscription, start: JoiningStart::Absolute(1) };
        let fetch =
            end.with(|engine, now| engine.fetch(now, &target, &Parameters::default())).unwrap();
        let on = end.own_request();
        end.take_events();
        let timeout = Duration::from_millis(500);
        let track = SubscribedTrack::joining(subscription, LARGEST, fetch, timeout);
        Self { end, track, fetch: (id, on) }
    }

    /// The FETCH is accepted.
    fn accepted(draft: Draft) -> Self {
        let mut joined = Self::new(draft);
        let (id, on) = joined.fetch;
        let to = Location::new(LARGEST.group, LARGEST.object + 1);
        joined.end.say(on, &say::fetch_ok(id, to));
        joined
    }

    /// The stream of the FETCH comes with objects of one byte at these places.
    fn objects(&mut self, at: &[(u64, u64)]) -> Name {
        let objects: Vec<_> =
            at.iter().map(|(group, id)| (Location::new(*group, *id), &b"x"[..])).collect();
        let bytes = say::fetch_stream(self.end.draft(), self.fetch.0, &objects);
        self.end.open_with(Dir::Uni, bytes)
    }

    /// The first object after the past, which must not be given before that.
    fn next(&mut self) {
        let draft = self.end.draft();
        let stream = self.end.open_with(Dir::Uni, say::subgroup(draft, 1, 3, &[(0, b"x")]));
        self.end.fin(stream);
    }

    fn read(&mut self) -> Vec<Told> {
        let mut told = Vec::new();
        loop {
            for event in self.end.take_events() {
                self.track.handle_event(&event);
            }
            let now = self.end.now;
            match self.end.with(|engine, _| self.track.read(engine, now)) {
                TrackRead::Pending if self.end.events.is_empty() => return told,
                TrackRead::Pending | TrackRead::Payload(_) => {}
                TrackRead::Object { location, .. } => {
                    told.push(Told::Object(location.group, location.object));
                }
                TrackRead::Gap { from, to } => {
                    told.push(Told::Gap((from.group, from.object), (to.group, to.object)));
                }
                TrackRead::Aborted { code } => told.push(Told::Aborted(code)),
                TrackRead::Done { code, .. } => {
                    told.push(Told::Done(code));
                    return told;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Object(u64, u64),
    Gap((u64, u64), (u64, u64)),
    Aborted(StreamResetCode),
    Done(PublishDoneCode),
}

use Told::{Aborted, Done, Gap, Object};

#[test]
fn the_past_comes_first() {
    for draft in DRAFTS {
        let mut joined = Joined::accepted(draft);
        joined.next();
        assert_eq!(joined.read(), [], "{draft:?}");
        let stream = joined.objects(&[(1, 0), (1, 1), (2, 0), (2, 1)]);
        let key = joined.end.key(stream);
        let past = [Object(1, 0), Object(1, 1), Object(2, 0), Object(2, 1)];
        assert_eq!(joined.read(), past, "{draft:?}");
        assert!(joined.track.is_in_past() && joined.track.is_open(key));
        joined.end.fin(stream);
        let mut rest = joined.read();
        joined.end.wait(Duration::from_secs(1));
        rest.extend(joined.read());
        assert_eq!(rest.last(), Some(&Object(3, 0)), "{draft:?}");
        assert!(!joined.track.is_in_past() && !joined.track.is_open(key), "{draft:?}");
    }
}

// What a FETCH does not give because it failed is missing, and the track goes on behind it.
#[test]
fn a_past_that_is_refused_is_a_gap() {
    for draft in DRAFTS {
        let mut joined = Joined::new(draft);
        joined.next();
        let (id, on) = joined.fetch;
        let code = RequestErrorCode::InternalError;
        joined.end.say(on, &say::error(id, RequestKind::Fetch, code));
        let told = joined.read();
        // Where it would have begun was not told.
        assert_eq!(told[0], Gap((2, 0), (2, 2)), "{draft:?}: {told:?}");
        assert!(!joined.track.is_in_past());
    }
}

#[test]
fn a_past_that_is_cut_off_ends_in_a_gap() {
    for draft in DRAFTS {
        let mut joined = Joined::accepted(draft);
        let stream = joined.objects(&[(1, 0), (1, 1)]);
        assert_eq!(joined.read(), [Object(1, 0), Object(1, 1)], "{draft:?}");
        joined.end.reset(stream, 0);
        assert_eq!(joined.read(), [Gap((1, 2), (2, 2))], "{draft:?}");

        // In the middle of an object.
        let mut joined = Joined::accepted(draft);
        let objects = [(Location::new(1, 0), &b"not whole"[..])];
        let bytes = say::fetch_stream(draft, joined.fetch.0, &objects);
        let stream = joined.end.open_with(Dir::Uni, bytes[..bytes.len() - 3].to_vec());
        assert_eq!(joined.read(), [Object(1, 0)], "{draft:?}");
        joined.end.reset(stream, 0);
        let told = joined.read();
        let cut_off = Aborted(StreamResetCode::InternalError);
        assert_eq!(told, [cut_off, Gap((1, 1), (2, 2))], "{draft:?}");

        // With all of it given, nothing is missing.
        let mut joined = Joined::accepted(draft);
        let stream = joined.objects(&[(1, 0), (2, 1)]);
        joined.read();
        joined.end.reset(stream, 0);
        assert_eq!(joined.read(), [], "{draft:?}");
        assert!(!joined.track.is_in_past());
    }
}

// A malformed track ends as a whole, its past with it.
#[test]
fn a_past_that_breaks_the_rules_of_objects_ends_the_track() {
    for draft in DRAFTS {
        let mut joined = Joined::accepted(draft);
        // Behind the end of the range.
        joined.objects(&[(1, 0), (9, 0)]);
        let told = joined.read();
        let malformed = Done(PublishDoneCode::MalformedTrack);
        assert_eq!(told, [Object(1, 0), Gap((1, 1), (2, 2)), malformed], "{draft:?}");
    }
}

// 0x10C, "End of Unknown Range" (drafts 16 and 18): objects that may exist and do not come; with
// 0x8C, "End of Non-Existent Range", none does.
#[test]
fn ranges_that_are_unknown_are_gaps() {
    for draft in DRAFTS.into_iter().filter(|draft| *draft >= Draft::D16) {
        for (kind, gaps) in
            [(EndOfRange::Unknown, vec![Gap((1, 1), (1, 5))]), (EndOfRange::NonExistent, vec![])]
        {
            let mut joined = Joined::accepted(draft);
            let mut bytes = say::fetch_stream(draft, joined.fetch.0, &[]);
            let mut writer = FetchWriter::new(draft.dialect(), GroupOrder::Ascending);
            writer.header(joined.fetch.0, &mut Vec::new()).unwrap();
            let object = say::fetch_object(Location::new(1, 0), b"x");
            writer.object(&object, &mut bytes).unwrap();
            bytes.push(b'x');
            writer.end_of_range(Location::new(1, 4), kind, &mut bytes).unwrap();
            let mut object = say::fetch_object(Location::new(2, 1), b"");
            object.status = ObjectStatus::Normal;
            writer.object(&object, &mut bytes).unwrap();
            joined.end.open_with(Dir::Uni, bytes);
            let told = joined.read();
            assert_eq!(told[0], Object(1, 0));
            assert_eq!(told[1..told.len() - 1], gaps, "{draft:?}: {told:?}");
            assert_eq!(told.last(), Some(&Object(2, 1)), "{draft:?}");
        }
    }
}

// "Indicates End of Group" in a fetch response (draft 14): no object, and nothing missing.
#[test]
fn a_status_in_the_past_is_no_object() {
    for draft in DRAFTS.into_iter().filter(|draft| *draft < Draft::D16) {
        let mut joined = Joined::accepted(draft);
        let mut bytes = say::fetch_stream(draft, joined.fetch.0, &[(Location::new(1, 0), b"x")]);
        let mut writer = FetchWriter::new(draft.dialect(), GroupOrder::Ascending);
        let mut object = say::fetch_object(Location::new(1, 1), b"");
        object.status = ObjectStatus::EndOfGroup;
        writer.object(&object, &mut bytes).unwrap();
        writer.object(&say::fetch_object(Location::new(2, 1), b"x"), &mut bytes).unwrap();
        bytes.push(b'x');
        let stream = joined.end.open_with(Dir::Uni, bytes);
        joined.end.fin(stream);
        assert_eq!(joined.read(), [Object(1, 0), Object(2, 1)], "{draft:?}");
        assert_eq!(joined.track.losses(), Losses::default(), "{draft:?}");
    }
}

// "Once a request stream has been opened, the request MAY be cancelled by either endpoint." (draft-18,
// "Request Cancellation and Rejection"): what has not come of the past never will.
#[test]
fn a_past_whose_request_is_cancelled_is_a_gap() {
    for draft in DRAFTS.into_iter().filter(|draft| *draft >= Draft::D18) {
        let mut joined = Joined::accepted(draft);
        let (_, on) = joined.fetch;
        joined.end.reset(on, 0);
        assert_eq!(joined.read(), [Gap((1, 0), (2, 2))], "{draft:?}");
        assert!(!joined.track.is_in_past(), "{draft:?}");
    }
}
