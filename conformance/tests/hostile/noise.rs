//! Well-formed sessions with bytes changed, left out and made up: whatever comes, nothing
//! panics, and a session that is over keeps nothing.

use moqt_conformance::end::{End, Name};
use moqt_conformance::{cases, say};
use moqt_engine::model::{Location, Parameters, RequestErrorCode, RequestKind, SetupOptions};
use moqt_engine::{Accept, Config, Dir, Event, Refusal, Usage};
use moqt_loopback::Rng;

fn damaged(rng: &mut Rng, mut bytes: Vec<u8>) -> Vec<u8> {
    let hits = if rng.below(3) == 0 { rng.between(1, 3) } else { 0 };
    for _ in 0..hits {
        if bytes.is_empty() {
            break;
        }
        let at = usize::try_from(rng.below(bytes.len() as u64)).unwrap();
        let noise = u8::try_from(rng.below(256)).unwrap();
        match rng.below(4) {
            0 => bytes[at] = noise,
            1 => bytes[at] ^= 1 << rng.below(8),
            2 => bytes.insert(at, noise),
            _ => drop(bytes.remove(at)),
        }
    }
    bytes
}

/// Answers what is asked, in some way.
fn react(end: &mut End, rng: &mut Rng) {
    for event in end.take_events() {
        let Event::Request { request, .. } = event else { continue };
        let _ = match rng.below(3) {
            0 => end.with(|engine, now| engine.accept(now, request, Accept::default())),
            1 => {
                let refusal = Refusal::new(RequestErrorCode::Uninterested);
                end.with(|engine, now| engine.reject(now, request, refusal))
            }
            _ => Ok(()),
        };
    }
}

#[test]
fn nothing_panics_and_nothing_is_kept() {
    let mut survived = 0;
    for (draft, role) in cases() {
        for seed in 0..400 {
            let mut rng = Rng::new(seed);
            let mut end = End::new(draft, role, Config::default());
            let setup = say::setup(draft, role.peer(), SetupOptions::default());
            let setup = if rng.below(8) == 0 { damaged(&mut rng, setup) } else { setup };
            end.data(end.control, setup);
            let _ = end.with(|engine, now| {
                engine.subscribe(now, &say::track("own"), &Parameters::default())
            });
            let own = end.own_request();
            let mut streams: Vec<Name> = vec![end.control, own];
            for _ in 0..rng.between(1, 25) {
                if end.engine.is_closed() {
                    break;
                }
                let (id, alias) = (end.fresh_id(), rng.below(3));
                let old = id.saturating_sub(2 * rng.below(3));
                let own_id = rng.below(3);
                let message = match rng.below(10) {
                    0 => say::subscribe(id, &format!("t{}", rng.below(4))),
                    1 => say::publish(id, &format!("t{}", rng.below(4)), alias),
                    2 => say::publish_namespace(id, "n"),
                    3 => say::subscribe_ok(own_id, alias),
                    4 => say::error(own_id, RequestKind::Subscribe, RequestErrorCode::Timeout),
                    5 => say::done(own_id, rng.below(4)),
                    6 => say::ok(own_id, RequestKind::PublishNamespace),
                    7 => say::done(old, rng.below(2)),
                    _ => {
                        let objects: &[(u64, &[u8])] = &[(rng.below(4), b"abc"), (9, b"")];
                        let bytes = say::subgroup(draft, alias, rng.below(3), objects);
                        let bytes = damaged(&mut rng, bytes);
                        streams.push(end.open_with(Dir::Uni, bytes));
                        end.datagram(damaged(
                            &mut rng,
                            say::datagram(draft, alias, Location::new(0, 1), b"x").to_vec(),
                        ));
                        continue;
                    }
                };
                let bytes = damaged(&mut rng, say::message(draft, &message));
                let on = match rng.below(6) {
                    0 => *rng.pick(&streams).unwrap(),
                    1 | 2 => own,
                    _ if draft.dialect().answers_by_stream => end.open(Dir::Bi),
                    _ => end.control,
                };
                streams.push(on);
                end.data(on, bytes);
                react(&mut end, &mut rng);
                let stream = *rng.pick(&streams).unwrap();
                match rng.below(12) {
                    0 if stream != end.control => end.fin(stream),
                    1 if stream != end.control => end.reset(stream, rng.below(20)),
                    2 if stream != end.control => end.stop(stream, rng.below(20)),
                    3 => end.wait(std::time::Duration::from_millis(rng.below(3_000))),
                    _ => {}
                }
            }
            if end.engine.is_closed() {
                assert_eq!(end.engine.usage(), Usage::default(), "{draft:?} {role:?}, seed {seed}");
                assert_eq!(end.engine.poll_timeout(), None, "{draft:?} {role:?}, seed {seed}");
            } else {
                survived += 1;
            }
        }
    }
    // The noise is neither harmless nor all there is.
    assert!((100..2_300).contains(&survived), "{survived}");
}
