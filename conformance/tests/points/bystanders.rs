//! Requests that must not notice what is done to others of the session.

use moqt_conformance::end::{End, Fetched, Got, Name, Output};
use moqt_conformance::say;
use moqt_engine::model::{Location, LocationRange, Parameters};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{Accept, Dir, Event, FetchTarget, RequestKey, SubgroupOptions, Usage};

const ALIAS: u64 = 77;

/// A subscription and a FETCH of the connection's, and a subscription of the peer's.
pub(crate) struct Bystanders {
    fetch_stream: Name,
    fetch_rest: Vec<u8>,
    publication: RequestKey,
    keys: [RequestKey; 3],
    /// What the connection holds for these alone.
    pub(crate) usage: Usage,
}

impl Bystanders {
    /// The three begin, and the FETCH is in the middle of its objects.
    pub(crate) fn new(end: &mut End) -> Self {
        let draft = end.draft();
        let none = Parameters::default();
        let (id, track) = (end.next_own_id(), say::track("bystander"));
        let subscription = end.with(|engine, now| engine.subscribe(now, &track, &none)).unwrap();
        end.say(end.own_request(), &say::subscribe_ok(id, ALIAS));

        let id = end.next_own_id();
        let range = LocationRange::new(Location::new(0, 0), Location::new(3, 0));
        let target = FetchTarget::Standalone { track: say::track("fetched"), range };
        let fetch = end.with(|engine, now| engine.fetch(now, &target, &none)).unwrap();
        end.say(end.own_request(), &say::fetch_ok(id, Location::new(3, 0)));
        let objects: &[(Location, &[u8])] =
            &[(Location::new(0, 0), b"one"), (Location::new(0, 1), b"two")];
        let mut whole = say::fetch_stream(draft, id, objects);
        let fetch_rest = whole.split_off(whole.len() - 2);
        let fetch_stream = end.open_with(Dir::Uni, whole);

        let id = end.fresh_id();
        end.request(&say::subscribe(id, "published"));
        let Some(Event::Request { request: publication, .. }) = end.take_events().pop() else {
            panic!("no request")
        };
        end.with(|engine, now| engine.accept(now, publication, Accept::default())).unwrap();
        let usage = end.engine.usage();
        let keys = [subscription, fetch, publication];
        Self { fetch_stream, fetch_rest, publication, keys, usage }
    }

    pub(crate) fn include(&self, key: RequestKey) -> bool {
        self.keys.contains(&key)
    }

    /// All three still work.
    pub(crate) fn assert_well(&self, end: &mut End, what: &str) {
        let draft = end.draft();
        end.reads_at_once = true;
        let stream = end.open_with(Dir::Uni, say::subgroup(draft, ALIAS, 9, &[(0, b"well")]));
        end.fin(stream);
        let got = end.take_reads(stream);
        assert!(
            matches!(&got[..], [Got::Object(_, payload), Got::Finished] if payload == b"well"),
            "{what}: {got:?}"
        );

        end.read_fetch(self.fetch_stream, usize::MAX);
        end.data_and(self.fetch_stream, self.fetch_rest.clone(), true);
        let got = end.take_fetched(self.fetch_stream);
        assert!(
            matches!(&got[..], [Fetched::Object(..), Fetched::Object(_, payload), Fetched::Finished]
                if payload == b"two"),
            "{what}: {got:?}"
        );

        let publication = self.publication;
        let sent = end.with(|engine, _| {
            let mut publisher = engine.publisher(publication)?;
            let stream = publisher.open_subgroup(SubgroupOptions::new(3)).ok()??;
            let mut subgroup = engine.subgroup(stream)?;
            let header = ObjectHeader { payload_len: 4, ..ObjectHeader::default() };
            subgroup.object(&header, "well".into()).ok()?;
            subgroup.finish().ok()?;
            Some(stream)
        });
        let sent = end.name(sent.expect("a subgroup"));
        assert!(end.sent(sent).ends_with(b"well"), "{what}");
        assert!(end.did(&Output::Fin(sent)), "{what}");
    }
}
