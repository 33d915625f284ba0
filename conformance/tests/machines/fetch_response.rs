//! A fetch that this side answers: its answer and its objects in any order, given up by either
//! side.

use moqt_conformance::end::{End, Name, Output};
use moqt_conformance::say;
use moqt_conformance::streams::{self, Item};
use moqt_engine::model::{
    FetchCancel, FetchRange, GroupOrder, Location, Message, Parameters, RequestErrorCode,
    StreamResetCode,
};
use moqt_engine::{
    AcceptFetch, CommandError, Config, Draft, Event, IncomingRequest, Refusal, RequestKey, Role,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{Reference, case, choose, sequences, walk};

/// What either end does next. Numbers choose among the fetches there are.
#[derive(Clone, Copy, Debug)]
enum Step {
    Fetch {
        start: Location,
        end: Location,
        descending: bool,
    },
    /// We accept one, or no more of it than its first location.
    Accept {
        which: u8,
        is_short: bool,
    },
    Reject {
        which: u8,
    },
    Object {
        which: u8,
        location: Location,
    },
    Finish {
        which: u8,
    },
    Reset {
        which: u8,
    },
    Cancel {
        which: u8,
    },
    /// The peer stops the stream of the objects.
    Stop {
        which: u8,
    },
}

fn location() -> impl Strategy<Value = Location> {
    (0..4_u64, 0..3_u64).prop_map(|(group, object)| Location::new(group, object))
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<u8>;
    prop_oneof![
        3 => (location(), location(), any::<bool>())
            .prop_map(|(start, end, descending)| Step::Fetch { start, end, descending }),
        4 => (which(), any::<bool>()).prop_map(|(which, is_short)| Step::Accept { which, is_short }),
        1 => which().prop_map(|which| Step::Reject { which }),
        14 => (which(), location()).prop_map(|(which, location)| Step::Object { which, location }),
        3 => which().prop_map(|which| Step::Finish { which }),
        1 => which().prop_map(|which| Step::Reset { which }),
        1 => which().prop_map(|which| Step::Cancel { which }),
        1 => which().prop_map(|which| Step::Stop { which }),
    ]
}

/// What the application is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Saw {
    Requested(usize),
    Cancelled(usize),
}

/// What the peer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Ok(Location),
    Error(RequestErrorCode),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Unopened,
    Open(Name),
    Ended,
}

#[derive(Debug)]
struct Fetch {
    key: Option<RequestKey>,
    id: u64,
    on: Name,
    start: Location,
    /// As asked for, and as answered.
    end: Location,
    order: GroupOrder,
    is_answered: bool,
    /// The answer waits for the first object.
    is_held: bool,
    is_over: bool,
    stream: Stream,
    sent: Vec<Location>,
}

/// "The end Location, plus 1. A Location.Object value of 0 means the entire group is requested."
/// (all drafts, "FETCH")
fn last(end: Location) -> Location {
    match end.object.checked_sub(1) {
        Some(object) => Location::new(end.group, object),
        None => Location::new(end.group, u64::MAX),
    }
}

impl Fetch {
    /// "A publisher MUST send fetched groups in the determined group order, either ascending or
    /// descending. Within each group, objects are sent in Object ID order".
    fn may_send(&self, location: Location) -> bool {
        let is_in_range = self.start <= location && location <= last(self.end);
        let follows = self.sent.last().is_none_or(|before| match self.order {
            GroupOrder::Ascending => location > *before,
            GroupOrder::Descending => {
                location.group < before.group
                    || location.group == before.group && location.object > before.object
            }
        });
        is_in_range && follows
    }
}

struct Machine {
    end: End,
    draft: Draft,
    fetches: Vec<Fetch>,
    unsaid: Vec<(usize, Said)>,
}

impl Machine {
    fn new(draft: Draft, role: Role) -> Self {
        let mut config = Config::default();
        config.limits.churn_burst = u32::MAX;
        let mut end = End::established(draft, role, config);
        end.take_events();
        end.said(end.control);
        Self { end, draft, fetches: Vec::new(), unsaid: Vec::new() }
    }

    fn choose(&self, which: u8, fits: impl Fn(&Fetch) -> bool) -> Option<(usize, RequestKey)> {
        let n = choose(which, &self.fetches, |known| known.key.is_some() && fits(known))?;
        Some((n, self.fetches[n].key?))
    }

    fn fetch(&mut self, start: Location, end: Location, descending: bool) -> Vec<Saw> {
        let n = self.fetches.len();
        let id = self.end.fresh_id();
        let order = if descending { GroupOrder::Descending } else { GroupOrder::Ascending };
        let mut parameters = Parameters::default();
        parameters.group_order = Some(order);
        let range = FetchRange::Standalone { track: say::track("t"), start, end };
        let on = self.end.request(&say::fetch_with(id, range, parameters));
        let key = self.end.events.iter().find_map(|event| match event {
            Event::Request { request, what: IncomingRequest::Fetch { .. } } => Some(*request),
            _ => None,
        });
        // "INVALID_RANGE: The end of the requested range is earlier than the beginning".
        let is_backwards = last(end) < start;
        assert_eq!(key.is_none(), is_backwards);
        self.fetches.push(Fetch {
            key,
            id,
            on,
            start,
            end,
            order,
            is_answered: is_backwards,
            is_held: false,
            is_over: is_backwards,
            stream: Stream::Unopened,
            sent: Vec::new(),
        });
        if is_backwards {
            self.unsaid.push((n, Said::Error(RequestErrorCode::InvalidRange)));
            return vec![];
        }
        vec![Saw::Requested(n)]
    }

    /// "The publisher MUST send exactly one FETCH_OK or REQUEST_ERROR in response to a FETCH."
    fn accept(&mut self, which: u8, is_short: bool) {
        let Some((n, key)) = self.choose(which, |_| true) else { return };
        let known = &mut self.fetches[n];
        let is_short = is_short && known.stream != Stream::Ended;
        let end = match known.start {
            Location { group, object, .. } if is_short => Location::new(group, object + 1),
            _ => known.end,
        };
        let accepted =
            self.end.with(|engine, now| engine.accept_fetch(now, key, AcceptFetch::new(end)));
        let fits = known.sent.iter().all(|sent| *sent <= last(end)) && last(end) <= last(known.end);
        if known.is_answered || known.is_over || !fits {
            assert!(accepted.is_err());
            return;
        }
        accepted.unwrap();
        known.is_answered = true;
        known.end = end;
        known.is_over = known.stream == Stream::Ended;
        // "If no Objects exist in the requested range, the publisher returns FETCH_ERROR with
        // code `NO_OBJECTS`." (draft-14): so the answer waits for the first.
        known.is_held = self.draft == Draft::D14 && known.stream == Stream::Unopened;
        if !known.is_held {
            self.unsaid.push((n, Said::Ok(end)));
        }
    }

    fn reject(&mut self, which: u8) {
        let Some((n, key)) = self.choose(which, |_| true) else { return };
        let code = RequestErrorCode::Unauthorized;
        let refusal = Refusal::new(code);
        let rejected = self.end.with(|engine, now| engine.reject(now, key, refusal));
        let known = &self.fetches[n];
        assert_eq!(rejected.is_err(), known.is_answered || known.is_over);
        if rejected.is_ok() {
            self.unsaid.push((n, Said::Error(code)));
            self.over(n);
        }
    }

    fn object(&mut self, which: u8, location: Location) {
        let Some((n, key)) = self.choose(which, |known| !known.is_over) else { return };
        let known = &mut self.fetches[n];
        let object = say::fetch_object(location, b"x");
        let opened = self.end.outputs.len();
        let sent = self
            .end
            .with(|engine, _| Some(engine.fetch_response(key)?.object(&object, "x".into())));
        if known.stream == Stream::Ended {
            assert_eq!(sent, None);
            return;
        }
        let sent = sent.expect("it goes on");
        if !known.may_send(location) {
            assert!(matches!(sent, Err(CommandError::WrongState(_))), "{sent:?}");
            return;
        }
        sent.unwrap();
        known.sent.push(location);
        if core::mem::take(&mut known.is_held) {
            self.unsaid.push((n, Said::Ok(known.end)));
        }
        self.opened(n, opened);
    }

    fn opened(&mut self, n: usize, since: usize) {
        let opened = self.end.outputs[since..].iter().find_map(|output| match output {
            Output::Open(name, _) => Some(*name),
            _ => None,
        });
        let known = &mut self.fetches[n];
        assert_eq!(opened.is_some(), known.stream == Stream::Unopened);
        if let Some(name) = opened {
            known.stream = Stream::Open(name);
        }
    }

    fn finish_stream(&mut self, which: u8) {
        let fits = |known: &Fetch| !known.is_over && known.stream != Stream::Ended;
        let Some((n, key)) = self.choose(which, fits) else { return };
        let opened = self.end.outputs.len();
        self.end.with(|engine, _| engine.fetch_response(key).unwrap().finish()).unwrap();
        let known = &mut self.fetches[n];
        if self.draft == Draft::D14 && known.stream == Stream::Unopened {
            self.unsaid.push((n, Said::Error(RequestErrorCode::NoObjects)));
            return self.over(n);
        }
        if known.stream == Stream::Unopened {
            self.opened(n, opened);
        }
        self.check_stream(n);
        let known = &mut self.fetches[n];
        let Stream::Open(name) = known.stream else { panic!("{known:?}") };
        assert!(self.end.did(&Output::Fin(name)));
        known.stream = Stream::Ended;
        known.is_over = known.is_answered;
    }

    fn reset(&mut self, which: u8) {
        let fits = |known: &Fetch| !known.is_over && known.stream != Stream::Ended;
        let Some((n, key)) = self.choose(which, fits) else { return };
        self.end.with(|engine, _| {
            engine.fetch_response(key).unwrap().reset(StreamResetCode::InternalError);
        });
        let known = &self.fetches[n];
        match known.stream {
            Stream::Unopened if known.is_held => {
                self.unsaid.push((n, Said::Error(RequestErrorCode::InternalError)));
            }
            // Nothing else could tell.
            Stream::Unopened if known.is_answered && self.draft >= Draft::D18 => {
                assert!(self.end.was_reset(known.on));
            }
            _ => {}
        }
        let is_over = known.is_answered;
        self.over(n);
        self.fetches[n].is_over = is_over;
    }

    /// "The Publisher can destroy fetch state as soon as it has received a STOP_SENDING. It MUST
    /// reset the bidi request stream and unidirectional data stream associated with the FETCH."
    fn cancel(&mut self, which: u8) -> Vec<Saw> {
        let Some((n, _)) = self.choose(which, |known| !known.is_over) else { return vec![] };
        let Fetch { id, on, .. } = self.fetches[n];
        if self.draft >= Draft::D18 {
            self.end.stop(on, 1);
            assert!(self.end.was_reset(on));
        } else {
            self.end.say(on, &Message::FetchCancel(FetchCancel { request_id: id }));
        }
        self.over(n);
        vec![Saw::Cancelled(n)]
    }

    fn stop(&mut self, which: u8) -> Vec<Saw> {
        let open = |known: &Fetch| matches!(known.stream, Stream::Open(_));
        let Some((n, _)) = self.choose(which, open) else { return vec![] };
        let Stream::Open(name) = self.fetches[n].stream else { return vec![] };
        self.end.stop(name, 1);
        self.over(n);
        vec![Saw::Cancelled(n)]
    }

    fn over(&mut self, n: usize) {
        let known = &mut self.fetches[n];
        known.is_over = true;
        if let Stream::Open(name) = known.stream {
            assert!(self.end.was_reset(name));
        }
        known.stream = Stream::Ended;
    }

    /// What was said to the peer is what was to be said next.
    fn hear(&mut self) {
        for n in 0..self.fetches.len() {
            if self.draft < Draft::D18 && n > 0 {
                break;
            }
            for message in self.end.said(self.fetches[n].on) {
                let (id, said) = match message {
                    Message::FetchOk(ok) => (ok.request_id, Said::Ok(ok.end)),
                    Message::RequestError(error) => (error.request_id, Said::Error(error.code)),
                    Message::MaxRequestId(_) => continue,
                    other => panic!("{other:?}"),
                };
                let by_id = |id| self.fetches.iter().position(|known| known.id == id);
                let of = if self.draft < Draft::D18 { id.and_then(by_id).unwrap() } else { n };
                assert_eq!(self.unsaid.pop(), Some((of, said)));
            }
        }
        assert_eq!(self.unsaid, []);
    }

    fn check_stream(&self, n: usize) {
        let known = &self.fetches[n];
        let Stream::Open(name) = known.stream else { return };
        let found = streams::read_fetch(self.draft, known.order, &self.end.sent(name));
        let location = |item: &Item| match item {
            Item::Object { object, .. } => object.location,
            Item::End(..) => panic!("{item:?}"),
        };
        let sent: Vec<_> = found.items.iter().map(location).collect();
        assert_eq!((found.header, sent), (Some(known.id), known.sent.clone()));
    }
}

impl Reference for Machine {
    type Step = Step;
    type Saw = Saw;

    fn end(&mut self) -> &mut End {
        &mut self.end
    }

    fn step(&mut self, step: Step) -> Vec<Saw> {
        match step {
            Step::Fetch { start, end, descending } => return self.fetch(start, end, descending),
            Step::Accept { which, is_short } => self.accept(which, is_short),
            Step::Reject { which } => self.reject(which),
            Step::Object { which, location } => self.object(which, location),
            Step::Finish { which } => self.finish_stream(which),
            Step::Reset { which } => self.reset(which),
            Step::Cancel { which } => return self.cancel(which),
            Step::Stop { which } => return self.stop(which),
        }
        vec![]
    }

    fn see(&self, event: &Event) -> Saw {
        let n = |key: &RequestKey| {
            self.fetches.iter().rposition(|known| known.key == Some(*key)).expect("known")
        };
        match event {
            Event::Request { request, .. } => Saw::Requested(n(request)),
            Event::Cancelled { request, .. } => Saw::Cancelled(n(request)),
            other => panic!("{other:?}"),
        }
    }

    fn live(&self) -> usize {
        self.fetches.iter().filter(|known| !known.is_over).count()
    }

    fn check(&mut self) {
        self.hear();
        (0..self.fetches.len()).for_each(|n| self.check_stream(n));
    }

    fn finish(&mut self) {
        while !self.cancel(0).is_empty() {}
        if self.draft >= Draft::D18 {
            for n in 0..self.fetches.len() {
                self.end.fin(self.fetches[n].on);
            }
        }
    }
}

proptest! {
    #![proptest_config(sequences(300))]

    #[test]
    fn a_fetch_is_answered_once_and_sent_in_order(
        (draft, role) in case(),
        steps in vec(step(), 1..60),
    ) {
        walk(Machine::new(draft, role), steps)?;
    }
}
