//! Its objects, and the streams that they are sent on.

use moqt_conformance::end::{End, Output};
use moqt_conformance::streams;
use moqt_engine::model::{Location, StreamResetCode, SubgroupId};
use moqt_engine::wire::{Datagram, ObjectHeader};
use moqt_engine::{
    CommandError, DatagramOptions, DatagramOutcome, Draft, SubgroupOptions, Written,
};

use super::reference::{Fate, State, Stream, Subscription};
use super::{Machine, Saw};

impl Machine {
    pub(super) fn object(&mut self, which: u8, of: (u64, u64), jump: u64) -> Vec<Saw> {
        let Some(n) = self.choose(which, Subscription::may_send) else { return vec![] };
        let open = |stream: &Stream| stream.of == of && !stream.is_finished;
        let at = match self.subscriptions[n].open.iter().position(open) {
            Some(at) => at,
            None => match self.open(n, of, jump) {
                Some(at) => at,
                None => return vec![],
            },
        };
        let known = &mut self.subscriptions[n];
        let location = known.place(of.0, jump);
        let stream = &mut known.open[at];
        let key = self.end.key(stream.name);
        let header =
            ObjectHeader { object_id: location.object, payload_len: 1, ..Default::default() };
        let write = |end: &mut End, header: &ObjectHeader| {
            end.with(|engine, _| engine.subgroup(key).unwrap().object(header, "x".into()))
        };
        let written = write(&mut self.end, &header);
        assert!(write(&mut self.end, &header).is_err(), "not twice");
        let passes =
            known.start <= location && known.end_group.is_none_or(|end| location.group <= end);
        let fate = if passes && known.forward && !stream.has_hole {
            assert_eq!(written, Ok(Written::Queued), "{location:?}");
            stream.sent.push(location.object);
            Fate::Sent(stream.name)
        } else {
            assert_eq!(written, Ok(Written::Skipped), "{location:?}");
            stream.has_hole |= !stream.sent.is_empty();
            let is_before = location < known.start && stream.sent.is_empty();
            if is_before { Fate::Before } else { Fate::Omitted }
        };
        known.fate(of, fate);
        vec![]
    }

    /// Opens a stream for an object, or says that it goes without; the stream if it was opened.
    fn open(&mut self, n: usize, of: (u64, u64), jump: u64) -> Option<usize> {
        let (group_id, subgroup_id) = (of.0, SubgroupId::Explicit(of.1));
        let known = &mut self.subscriptions[n];
        let first_object = !known.fates.contains_key(&of);
        let options =
            SubgroupOptions { subgroup_id, first_object, ..SubgroupOptions::new(group_id) };
        let key = known.key;
        let opened =
            self.end.with(|engine, _| engine.publisher(key).unwrap().open_subgroup(options));
        let group_passes = known.start.group <= group_id
            && known.end_group.is_none_or(|end_group| group_id <= end_group);
        // "Every Track has a single 'Object Forwarding Preference'" (draft-14).
        let is_mixed = self.draft == Draft::D14 && !known.datagrams.is_empty();
        let has_stream =
            known.finished.contains(&of) || known.open.iter().any(|stream| stream.of == of);
        if group_passes && known.forward && (is_mixed || has_stream && !known.stopped.contains(&of))
        {
            assert!(matches!(opened, Err(CommandError::WrongState(_))), "{opened:?}");
            return None;
        }
        // "The publisher does not send Objects if the Forward State is 0"; "SHOULD NOT attempt to
        // open a new stream to deliver additional Objects in that Subgroup".
        if !group_passes || !known.forward || known.stopped.contains(&of) {
            assert_eq!(opened, Ok(None));
            let location = known.place(group_id, jump);
            let is_before = location < known.start;
            known.fate(of, if is_before { Fate::Before } else { Fate::Omitted });
            self.end
                .with(|engine, _| engine.publisher(key).unwrap().note_published(location))
                .unwrap();
            return None;
        }
        let name = self.end.name(opened.unwrap().expect("a stream"));
        known.streams.push(name);
        known.open.push(Stream {
            name,
            of,
            is_first: first_object,
            sent: Vec::new(),
            has_hole: false,
            is_finished: false,
        });
        Some(known.open.len() - 1)
    }

    pub(super) fn datagram(&mut self, which: u8, group: u64, jump: u64) -> Vec<Saw> {
        let Some(n) = self.choose(which, Subscription::may_send) else { return vec![] };
        let known = &mut self.subscriptions[n];
        let location =
            Location::new(group, known.next.get(&group).copied().unwrap_or_default() + jump);
        let options = DatagramOptions::new(location);
        let key = known.key;
        let sent =
            self.end.with(|engine, _| engine.publisher(key).unwrap().datagram(options, "x".into()));
        if self.draft == Draft::D14 && !known.streams.is_empty() {
            assert!(matches!(sent, Err(CommandError::WrongState(_))), "{sent:?}");
            return vec![];
        }
        known.place(group, jump);
        if known.forward && known.passes(location) {
            assert_eq!(sent, Ok(DatagramOutcome::Queued), "{location:?}");
            known.datagrams.push(location);
            known.queued += usize::from(!self.end.takes_data);
        } else {
            assert_eq!(sent, Ok(DatagramOutcome::Skipped), "{location:?}");
        }
        vec![]
    }

    /// "If a sender has delivered all objects in a Subgroup to the QUIC stream, except any Objects
    /// with Locations smaller than the subscription's Start Location, it MUST close the stream
    /// with a FIN. If a sender closes the stream before delivering all such objects to the QUIC
    /// stream, it MUST reset the stream."
    pub(super) fn finish_stream(&mut self, which: u8) -> Vec<Saw> {
        let Some((n, at)) = self.choose_stream(which, |stream| !stream.is_finished) else {
            return vec![];
        };
        let known = &mut self.subscriptions[n];
        let Stream { name, of, is_first, .. } = known.open[at];
        let key = self.end.key(name);
        self.end.with(|engine, _| engine.subgroup(key).unwrap().finish()).unwrap();
        let fates = known.fates.get(&of).map(Vec::as_slice).unwrap_or_default();
        let is_all = fates.iter().all(|fate| *fate == Fate::Sent(name));
        let lacks = fates.iter().any(|fate| *fate != Fate::Sent(name) && *fate != Fate::Before);
        let was_reset = self.end.was_reset(name);
        if lacks {
            assert!(was_reset, "{name:?} lacks objects: {fates:?}");
        } else if is_first && is_all || !known.has_gaps {
            assert!(!was_reset, "{name:?} has all objects: {fates:?}");
        }
        if was_reset {
            known.has_gaps = true;
            known.open.remove(at);
        } else {
            known.finished.insert(of);
            known.open[at].is_finished = true;
            self.settle();
        }
        vec![]
    }

    pub(super) fn reset(&mut self, which: u8) -> Vec<Saw> {
        let Some((n, at)) = self.choose_stream(which, |stream| !stream.is_finished) else {
            return vec![];
        };
        let known = &mut self.subscriptions[n];
        known.has_gaps = true;
        let name = known.open.remove(at).name;
        let key = self.end.key(name);
        let code = StreamResetCode::InternalError;
        self.end.with(|engine, _| engine.subgroup(key).unwrap().reset(code));
        assert!(self.end.was_reset(name));
        vec![]
    }

    /// "The publisher SHOULD respond with a reset."
    pub(super) fn stop(&mut self, which: u8) -> Vec<Saw> {
        let Some((n, at)) = self.choose_stream(which, |_| true) else { return vec![] };
        let known = &mut self.subscriptions[n];
        known.has_gaps = true;
        let Stream { name, of, .. } = known.open.remove(at);
        known.stopped.insert(of);
        let is_told = matches!(known.state, State::Ending { is_told: true, .. });
        self.end.stop(name, 1);
        assert!(self.end.was_reset(name));
        self.settle();
        if is_told { vec![] } else { vec![Saw::Stopped(n)] }
    }

    fn choose_stream(&self, which: u8, fits: impl Fn(&Stream) -> bool) -> Option<(usize, usize)> {
        let of = |n: usize| (0..self.subscriptions[n].open.len()).map(move |at| (n, at));
        let fitting = (0..self.subscriptions.len()).flat_map(of);
        let fitting: Vec<_> =
            fitting.filter(|(n, at)| fits(&self.subscriptions[*n].open[*at])).collect();
        fitting.get(usize::from(which) % fitting.len().max(1)).copied()
    }

    pub(super) fn assert_sent(&self, known: &Subscription, stream: &Stream) {
        let found = streams::read_subgroup(self.draft, &self.end.sent(stream.name));
        let sent: Vec<_> = found.items.iter().map(|object| object.id).collect();
        assert_eq!(sent, stream.sent, "{:?} of {:?}", stream.of, known.track);
        if let Some(header) = found.header {
            assert_eq!((header.track_alias, header.group_id), (known.alias, stream.of.0));
            assert_eq!(header.subgroup_id, SubgroupId::Explicit(stream.of.1));
        }
    }

    pub(super) fn sent_datagrams(&self, alias: u64) -> Vec<Location> {
        let location = |output: &Output| {
            let Output::Datagram(bytes) = output else { return None };
            match Datagram::decode(self.draft.dialect(), bytes, 0).unwrap() {
                Datagram::Object(object) if object.header.track_alias == alias => {
                    Some(object.header.location)
                }
                _ => None,
            }
        };
        self.end.outputs.iter().filter_map(location).collect()
    }
}
