//! Sending: nothing is copied, what waits is bounded, and whoever was told to wait is told when
//! to go on.

use std::collections::BTreeSet;

use bytes::Bytes;
use moqt_conformance::end::{End, Got, Name, Output};
use moqt_conformance::{DRAFTS, say};
use moqt_engine::wire::{ObjectHeader, SubgroupEvent, SubgroupHeader, SubgroupReader};
use moqt_engine::{
    Blocked, CommandError, Config, Dir, Draft, Event, RequestKey, Role, StreamKey, SubgroupOptions,
    Transmit,
};
use moqt_loopback::Rng;

use crate::published;

fn header(object_id: u64, len: usize) -> ObjectHeader {
    ObjectHeader { object_id, payload_len: len as u64, ..ObjectHeader::default() }
}

fn open(end: &mut End, request: RequestKey, group: u64) -> StreamKey {
    end.with(|engine, _| {
        engine.publisher(request).unwrap().open_subgroup(SubgroupOptions::new(group))
    })
    .unwrap()
    .unwrap()
}

#[test]
fn payload_leaves_as_the_bytes_that_were_given() {
    for draft in DRAFTS {
        let mut end = End::established(draft, Role::Server, Config::default());
        let (request, _) = published(&mut end, "t");
        end.takes_data = false;
        let stream = open(&mut end, request, 0);
        // Fewer bytes than 64 are gathered.
        let whole = Bytes::from(vec![1; 64]);
        let pieces = [Bytes::from(vec![2; 100_000]), Bytes::from(vec![3; 64])];
        end.with(|engine, _| {
            let mut subgroup = engine.subgroup(stream).unwrap();
            subgroup.object(&header(0, 64), whole.clone()).unwrap();
            subgroup.begin_object(&header(1, 100_064)).unwrap();
            for piece in &pieces {
                subgroup.payload(piece.clone()).unwrap();
            }
            subgroup.finish().unwrap();
        });
        // Offered in one go or byte by byte, every piece lies where it was given.
        let mut offered = Vec::new();
        while let Some(Transmit::Stream(mut send)) = end.engine.poll_send(end.now) {
            let (chunks, _) = send.offer();
            let chunk = chunks.first().cloned().unwrap_or_default();
            let take = chunk.len().min(700);
            offered.extend((0..take).map(|at| chunk.as_ptr() as usize + at));
            let key = send.stream();
            send.written(take);
            end.engine.handle_writable(end.now, key);
        }
        let runs = |given: &Bytes| {
            let first = given.as_ptr() as usize;
            let at = offered.iter().position(|address| *address == first).expect("offered");
            (0..given.len()).all(|n| offered[at + n] == first + n)
        };
        assert!(runs(&whole) && runs(&pieces[0]) && runs(&pieces[1]), "{draft:?}");
        let payload = whole.len() + pieces.iter().map(Bytes::len).sum::<usize>();
        assert!(offered.len() > payload && offered.len() < payload + 40);
    }
}

#[test]
fn payload_is_read_as_the_bytes_that_came() {
    for draft in DRAFTS {
        let mut end = End::established(draft, Role::Client, Config::default());
        crate::subscribed(&mut end, "t", 1);
        let bytes = Bytes::from(say::subgroup(draft, 1, 0, &[(0, &[7; 5_000]), (1, &[8; 3])]));
        let range = bytes.as_ptr_range();
        let stream = end.open(Dir::Uni);
        let mut rest = bytes.clone();
        let mut rng = Rng::new(3);
        while !rest.is_empty() {
            let len = usize::try_from(rng.between(1, 900)).unwrap().min(rest.len());
            end.data(stream, rest.split_to(len));
        }
        end.fin(stream);
        let mut total = 0;
        for piece in &end.pieces {
            let piece_range = piece.as_ptr_range();
            assert!(range.start <= piece_range.start && piece_range.end <= range.end, "{draft:?}");
            total += piece.len();
        }
        assert_eq!(total, 5_003);
        assert_eq!(end.take_reads(stream).last(), Some(&Got::Finished));
    }
}

// An object larger than every queue and window goes through in pieces, both ways.
#[test]
fn an_object_larger_than_any_buffer_streams_through() {
    const LEN: usize = 3_000_000;
    for draft in DRAFTS {
        let mut config = Config::default();
        config.limits.subscription_send = 10_000;
        config.limits.stream_receive = 8_000;
        let mut server = End::established(draft, Role::Server, config.clone());
        let mut client = End::established(draft, Role::Client, config);
        let (request, _) = published(&mut server, "t");
        crate::subscribed(&mut client, "t", 1);
        server.takes_data = false;
        let stream = open(&mut server, request, 0);
        let name = server.name(stream);
        server.with(|engine, _| {
            engine.subgroup(stream).unwrap().begin_object(&header(0, LEN)).unwrap();
        });
        let into = client.open(Dir::Uni);
        let (mut given, mut handed, mut most) = (0, 0, 0);
        while given < LEN {
            let piece = Bytes::from(vec![5; 2_000.min(LEN - given)]);
            let len = piece.len();
            let written = server.with(|engine, _| engine.subgroup(stream).unwrap().payload(piece));
            match written {
                Ok(()) => given += len,
                Err(CommandError::Blocked(Blocked::Queue)) => {
                    server.take_data();
                    let outputs = server.outputs[handed..].to_vec();
                    handed = server.outputs.len();
                    for output in outputs {
                        if let Output::Data(of, bytes) = output
                            && of == name
                        {
                            client.data(into, bytes);
                        }
                    }
                    client.pieces.clear();
                }
                Err(error) => panic!("{error}"),
            }
            most = most.max(server.engine.usage().send_bytes);
        }
        assert!(most < 13_000, "{draft:?}: {most}");
        server.with(|engine, _| engine.subgroup(stream).unwrap().finish()).unwrap();
        server.take_data();
        for output in server.outputs[handed..].iter().cloned() {
            match output {
                Output::Data(of, bytes) if of == name => client.data(into, bytes),
                Output::Fin(of) if of == name => client.fin(into),
                _ => {}
            }
        }
        let got = client.take_reads(into);
        assert!(
            matches!(&got[..], [Got::Object(_, payload), Got::Finished] if payload.len() == LEN),
            "{draft:?}"
        );
    }
}

#[test]
fn a_peer_that_takes_nothing_bounds_what_waits() {
    for draft in DRAFTS {
        let mut config = Config::default();
        config.limits.subscription_send = 5_000;
        config.limits.session_send = 12_000;
        let mut end = End::established(draft, Role::Server, config);
        let requests = ["a", "b", "c"].map(|name| published(&mut end, name).0);
        end.takes_data = false;
        let mut blocked = Vec::new();
        for request in requests {
            let stream = open(&mut end, request, 0);
            for object in 0.. {
                let written = end.with(|engine, _| {
                    engine
                        .subgroup(stream)
                        .unwrap()
                        .object(&header(object, 1_000), vec![0; 1_000].into())
                });
                if let Err(error) = written {
                    assert_eq!(error, CommandError::Blocked(Blocked::Queue));
                    blocked.push(end.engine.publisher(request).unwrap().queued());
                    break;
                }
            }
        }
        // Two reach their own limit, the third the session's.
        assert!((5_000..6_100).contains(&blocked[0]), "{draft:?}: {blocked:?}");
        assert!((5_000..6_100).contains(&blocked[1]), "{draft:?}: {blocked:?}");
        assert!(blocked[2] < 3_000, "{draft:?}: {blocked:?}");
        assert!(end.engine.usage().send_bytes < 12_000 + 1_100);
        assert!(end.take_events().is_empty());
        end.take_data();
        end.drain();
        let woken: Vec<RequestKey> = end
            .take_events()
            .into_iter()
            .map(|event| match event {
                Event::Writable { request } => request,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(woken.iter().collect::<BTreeSet<_>>().len(), 3, "{draft:?}: {woken:?}");
        assert_eq!(woken.len(), 3, "{draft:?}: each is told once");
    }
}

/// One that writes as much as it may, and when told to wait waits to be told to go on.
struct Writer {
    request: RequestKey,
    subscribed_by: (u64, Name),
    stream: Option<StreamKey>,
    group: u64,
    object: u64,
    left: u64,
    waits: bool,
}

/// What happens to one subscription may be what another one has waited for.
#[test]
fn no_writer_waits_for_good() {
    const WRITERS: usize = 8;
    for (draft, seed) in DRAFTS.into_iter().flat_map(|draft| (0..60).map(move |n| (draft, n))) {
        let at = format!("{draft:?}, seed {seed}");
        let mut rng = Rng::new(seed);
        let mut config = Config::default();
        config.limits.subscription_send = 4_000;
        config.limits.session_send = usize::try_from(rng.between(4_000, 20_000)).unwrap();
        let limits = config.limits.clone();
        let mut end = End::established(draft, Role::Server, config);
        let mut writers: Vec<Writer> = (0..WRITERS)
            .map(|n| {
                let (request, subscribed_by) = published(&mut end, &format!("t{n}"));
                let (stream, waits) = (None, false);
                Writer { request, subscribed_by, stream, group: 0, object: 0, left: 40, waits }
            })
            .collect();
        end.takes_data = false;
        for round in 0.. {
            assert!(round < 100_000, "{at}: no end");
            // All write who may.
            for writer in writers.iter_mut().filter(|writer| !writer.waits) {
                write(&mut end, writer, &mut rng);
            }
            writers.retain(|writer| writer.left > 0);
            if writers.is_empty() {
                break;
            }
            match rng.below(12) {
                0 if writers.len() > 1 => {
                    // The subscriber loses interest, and with it what was queued is gone.
                    let at = usize::try_from(rng.below(writers.len() as u64)).unwrap();
                    let (id, on) = writers.remove(at).subscribed_by;
                    match draft {
                        _ if draft >= Draft::D18 => end.stop(on, 1),
                        _ => end.say(on, &say::unsubscribe(id)),
                    }
                }
                1 => {
                    let writer = rng.pick(&writers).unwrap();
                    if let Some(stream) = writer.stream {
                        let name = end.name(stream);
                        end.stop(name, 1);
                    }
                }
                2 => {
                    let at = usize::try_from(rng.below(writers.len() as u64)).unwrap();
                    let writer = &mut writers[at];
                    if let Some(stream) = writer.stream.take() {
                        end.with(|engine, _| {
                            if let Some(subgroup) = engine.subgroup(stream) {
                                subgroup.reset(moqt_engine::model::StreamResetCode::Cancelled);
                            }
                        });
                    }
                }
                _ => {
                    let room = usize::try_from(rng.between(1, 3_000)).unwrap();
                    if let Some(Some(name)) = end.take_turn(room) {
                        let key = end.key(name);
                        end.with(|engine, now| engine.handle_writable(now, key));
                    }
                    end.drain();
                }
            }
            for event in end.take_events() {
                let Event::Writable { request } = event else { continue };
                let Some(writer) = writers.iter_mut().find(|one| one.request == request) else {
                    continue;
                };
                assert!(writer.waits, "{at}: told to go on without having been told to wait");
                writer.waits = false;
                let queued = end.engine.publisher(request).unwrap().queued();
                // Beyond its own limit there is room only on streams that the peer reads.
                let room = end.engine.usage().send_bytes;
                assert!(room < limits.session_send, "{at}: {queued} queued, {room} in all");
            }
            let nothing_waits = end.engine.usage().send_bytes == 0;
            assert!(
                !nothing_waits || writers.iter().any(|writer| !writer.waits),
                "{at}: all is sent and all still wait"
            );
            if nothing_waits {
                assert!(writers.iter().all(|writer| !writer.waits), "{at}: one was forgotten");
            }
        }
    }
}

fn write(end: &mut End, writer: &mut Writer, rng: &mut Rng) {
    while writer.left > 0 {
        let live = writer.stream.filter(|stream| end.engine.subgroup(*stream).is_some());
        let stream = live.unwrap_or_else(|| {
            // What was stopped is not opened again.
            writer.group += 1;
            writer.object = 0;
            open(end, writer.request, writer.group)
        });
        writer.stream = Some(stream);
        let len = usize::try_from(rng.between(0, 1_500)).unwrap();
        let written = end.with(|engine, _| {
            engine
                .subgroup(stream)
                .unwrap()
                .object(&header(writer.object, len), vec![0; len].into())
        });
        match written {
            Ok(_) => {
                writer.object += 1;
                writer.left -= 1;
                if rng.below(5) == 0 {
                    end.with(|engine, _| engine.subgroup(stream).unwrap().finish()).unwrap();
                    writer.stream = None;
                }
            }
            Err(error) => {
                assert_eq!(error, CommandError::Blocked(Blocked::Queue));
                writer.waits = true;
                return;
            }
        }
    }
}

// What was coalesced is still the same bytes.
#[test]
fn small_payloads_may_be_gathered() {
    for draft in DRAFTS {
        let mut config = Config::default();
        config.coalesce_below = 1_000;
        let mut end = End::established(draft, Role::Server, config);
        let (request, _) = published(&mut end, "t");
        end.takes_data = false;
        let stream = open(&mut end, request, 0);
        let name = end.name(stream);
        let lens = [10, 999, 1_000, 0, 5];
        for (object, len) in lens.into_iter().enumerate() {
            end.with(|engine, _| {
                let payload = vec![u8::try_from(object).unwrap(); len];
                engine
                    .subgroup(stream)
                    .unwrap()
                    .object(&header(object as u64, len), payload.into())
                    .unwrap();
            });
        }
        end.take_data();
        let sent = end.sent(name);
        let (_, header_len) = SubgroupHeader::decode(draft.dialect(), &sent).unwrap().unwrap();
        let mut input = &sent[header_len..];
        let mut reader = SubgroupReader::new(draft.dialect(), false, 0);
        let mut found = Vec::new();
        loop {
            match reader.next(&mut input).unwrap() {
                SubgroupEvent::Object { payload_len, .. } => found.push(payload_len),
                SubgroupEvent::Payload(payload) => {
                    assert!(payload.iter().all(|byte| usize::from(*byte) == found.len() - 1));
                }
                SubgroupEvent::NeedMore => break,
            }
        }
        assert_eq!(found, lens.map(|len| len as u64), "{draft:?}");
        let pieces =
            end.outputs.iter().filter(|one| matches!(one, Output::Data(of, _) if *of == name));
        // Four payloads apart from their headers would be eight pieces and more.
        assert!(pieces.count() <= 5, "{draft:?}: {:?}", end.outputs);
    }
}
