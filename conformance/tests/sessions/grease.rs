//! Values without meaning, sent by an application where the draft reserves some (draft-18,
//! "Grease").

use bytes::Bytes;
use moqt_conformance::say;
use moqt_engine::model::{
    Parameters, Property, PublishDoneCode, RequestErrorCode, StreamResetCode, TrackProperties,
};
use moqt_engine::wire::{ObjectHeader, Properties};
use moqt_engine::{Accept, Draft, Event, Read, Refusal, SubgroupOptions, reserved_value};
use moqt_loopback::Pair;

/// Properties of both forms.
fn reserved_properties(seed: u64) -> Vec<Property> {
    let values: Vec<u64> = (seed..seed + 16).map(reserved_value).collect();
    let even = values.iter().find(|value| *value % 2 == 0).unwrap();
    let odd = values.iter().find(|value| *value % 2 == 1).unwrap();
    vec![Property::int(*even, 7), Property::bytes(*odd, Bytes::from_static(b"none"))]
}

fn sorted(mut properties: Vec<Property>) -> Vec<Property> {
    properties.sort_by_key(|property| property.key);
    properties
}

// "implementations MUST handle unknown values gracefully. Endpoints MUST NOT close the session solely
// because they received an unknown value."; "Receipt of an unknown error code in any error context
// [...] MUST be treated as equivalent to INTERNAL_ERROR for that context."
#[test]
fn reserved_values_in_a_whole_session_do_no_harm() {
    for seed in 0..20 {
        let code = reserved_value(seed);
        let mut pair = Pair::new(Draft::D18, seed);
        let Pair { network, client, server } = &mut pair;
        for track in ["refused", "t"] {
            network
                .with(*client, |engine, now| {
                    engine.subscribe(now, &say::track(track), &Parameters::default())
                })
                .unwrap();
        }
        network.run_until_idle();
        let requests: Vec<_> = network
            .take_events(*server)
            .into_iter()
            .filter_map(|event| match event {
                Event::Request { request, .. } => Some(request),
                _ => None,
            })
            .collect();
        let [refused, accepted] = requests[..] else { panic!("{requests:?}") };
        let track_properties: TrackProperties = reserved_properties(seed).into_iter().collect();
        let accept = Accept { track_properties: track_properties.clone(), ..Accept::default() };
        let streams = network.with(*server, |engine, now| {
            let refusal = Refusal::new(RequestErrorCode::Other(code));
            engine.reject(now, refused, refusal).unwrap();
            engine.accept(now, accepted, accept).unwrap();
            [0, 1].map(|group| {
                let options =
                    SubgroupOptions { has_properties: true, ..SubgroupOptions::new(group) };
                let mut publisher = engine.publisher(accepted).unwrap();
                let stream = publisher.open_subgroup(options).unwrap().unwrap();
                let properties =
                    Properties::encode(Draft::D18.dialect(), &sorted(reserved_properties(seed)));
                let properties = properties.unwrap();
                let header = ObjectHeader { payload_len: 1, properties, ..ObjectHeader::default() };
                let mut subgroup = engine.subgroup(stream).unwrap();
                subgroup.object(&header, Bytes::from_static(b"x")).unwrap();
                stream
            })
        });
        network.run_until_idle();
        network.with(*server, |engine, _| {
            let code = StreamResetCode::Other(code);
            engine.subgroup(streams[0]).unwrap().reset(code);
            engine.subgroup(streams[1]).unwrap().finish().unwrap();
            let publisher = engine.publisher(accepted).unwrap();
            publisher.done(PublishDoneCode::Other(reserved_value(seed)), "");
        });
        network.run_until_idle();
        let mut ends = Vec::new();
        let mut open = Vec::new();
        for event in network.take_events(*client) {
            match event {
                Event::Rejected { error, .. } => {
                    assert_eq!(error.code, RequestErrorCode::Other(code));
                }
                Event::Accepted { answer, .. } => {
                    assert_eq!(answer.track_properties, track_properties, "seed {seed}");
                }
                Event::SubgroupOpened { stream, .. } => open.push(stream),
                Event::Readable { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        for stream in open {
            loop {
                match network.read(*client, stream, 100) {
                    Read::Object(header) => {
                        let properties: Vec<_> =
                            header.properties.iter().collect::<Result<_, _>>().unwrap();
                        assert_eq!(properties.len(), 2, "seed {seed}");
                    }
                    Read::Payload(_) => {}
                    end => break ends.push(end),
                }
            }
        }
        let reset = Read::Reset(StreamResetCode::Other(code));
        assert_eq!(ends, [reset, Read::Finished], "seed {seed}");
        let done = network.take_events(*client);
        let expected = PublishDoneCode::Other(code);
        assert!(
            matches!(done[..], [Event::SubscriptionDone { code, .. }] if code == expected),
            "seed {seed}: {done:?}"
        );
        for end in [*client, *server] {
            assert!(network.connection(end).is_established(), "seed {seed}");
            assert_eq!(network.connection(end).usage().requests, 0, "seed {seed}");
        }
    }
}
