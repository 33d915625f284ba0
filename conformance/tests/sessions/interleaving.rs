//! Streams that do not depend on each other give what each gives alone, however they
//! interleave.

use std::collections::BTreeMap;

use bytes::Bytes;
use moqt_conformance::end::{End, Got, Name};
use moqt_conformance::{DRAFTS, say};
use moqt_engine::model::{Message, RequestErrorCode, StreamResetCode};
use moqt_engine::{Config, Dir, Draft, Event, Refusal, Role};
use moqt_loopback::Rng;

use crate::subscribed;

/// What a stream does, and how it ends: with a reset after all its bytes if `reset`, otherwise
/// with a FIN.
#[derive(Clone)]
struct Plan {
    dir: Dir,
    bytes: Bytes,
    reset: bool,
}

fn plans(draft: Draft) -> Vec<Plan> {
    let uni = |bytes: Vec<u8>, reset| Plan { dir: Dir::Uni, bytes: bytes.into(), reset };
    let mut plans = Vec::new();
    for alias in 1..=2 {
        for group in 0..4 {
            let objects: &[(u64, &[u8])] = &[(0, b"first"), (7, b""), (8, &[9; 400])];
            let whole = say::subgroup(draft, alias, group, objects);
            // Some are cut off, two of them inside their header.
            let len = match group {
                3 => 2,
                2 => whole.len() - 100,
                _ => whole.len(),
            };
            plans.push(uni(whole[..len].to_vec(), group >= 2));
        }
    }
    if draft >= Draft::D18 {
        // "they are sent on the same bidirectional stream as the request" (draft-18, "Request
        // ID"): requests, too, are independent, in any order of their IDs.
        for id in 0..4 {
            let request = say::message(draft, &say::subscribe(2 * id + 1, &format!("r{id}")));
            plans.push(Plan { dir: Dir::Bi, bytes: request.into(), reset: false });
        }
    }
    plans
}

/// What each stream gave.
#[derive(Debug, PartialEq, Eq, Default)]
struct Gave {
    reads: Vec<Got>,
    opened: Vec<String>,
    answers: Vec<Message>,
}

fn run(draft: Draft, mut next: impl FnMut(&[usize]) -> (usize, usize)) -> (Vec<Gave>, End) {
    let mut end = End::established(draft, Role::Client, Config::default());
    subscribed(&mut end, "one", 1);
    subscribed(&mut end, "two", 2);
    let mut plans: Vec<(Option<Name>, Plan)> =
        plans(draft).into_iter().map(|plan| (None, plan)).collect();
    let mut left: Vec<usize> = (0..plans.len()).collect();
    let mut opened: BTreeMap<Name, Vec<String>> = BTreeMap::new();
    while !left.is_empty() {
        let (at, len) = next(&left);
        let (name, plan) = &mut plans[left[at]];
        let stream = *name.get_or_insert_with(|| end.open(plan.dir));
        let piece = plan.bytes.split_to(len.clamp(1, plan.bytes.len()));
        end.data(stream, piece);
        if plan.bytes.is_empty() {
            if plan.reset {
                end.reset(stream, 1);
            } else if plan.dir == Dir::Uni {
                end.fin(stream);
            }
            left.swap_remove(at);
        }
        for event in end.take_events() {
            match event {
                Event::SubgroupOpened { stream, subgroup, .. } => {
                    opened.entry(end.name(stream)).or_default().push(format!("{subgroup:?}"));
                }
                Event::Request { request, .. } => {
                    let refusal = Refusal::new(RequestErrorCode::DoesNotExist);
                    end.with(|engine, now| engine.reject(now, request, refusal)).unwrap();
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let gave = plans
        .iter()
        .map(|(name, plan)| {
            let name = name.expect("all began");
            Gave {
                reads: end.take_reads(name),
                opened: opened.remove(&name).unwrap_or_default(),
                answers: if plan.dir == Dir::Bi { end.said(name) } else { Vec::new() },
            }
        })
        .collect();
    (gave, end)
}

#[test]
fn order_between_streams_changes_nothing() {
    for draft in DRAFTS {
        // One after the other, each whole.
        let (alone, end) = run(draft, |_| (0, usize::MAX));
        let usage = end.engine.usage();
        let finished = |gave: &&Gave| gave.reads.last() == Some(&Got::Finished);
        assert_eq!(alone.iter().filter(finished).count(), 4, "{draft:?}");
        let reset =
            |gave: &&Gave| gave.reads.last() == Some(&Got::Reset(StreamResetCode::Cancelled));
        assert_eq!(alone.iter().filter(reset).count(), 2, "{draft:?}");
        let refused = |gave: &&Gave| matches!(gave.answers[..], [Message::RequestError(_)]);
        let requests = if draft >= Draft::D18 { 4 } else { 0 };
        assert_eq!(alone.iter().filter(refused).count(), requests, "{draft:?}");
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let most = if seed % 2 == 0 { 3 } else { 200 };
            let (mixed, end) = run(draft, |left| {
                let at = usize::try_from(rng.below(left.len() as u64)).unwrap();
                (at, usize::try_from(rng.between(1, most)).unwrap())
            });
            assert_eq!(mixed, alone, "{draft:?}, seed {seed}");
            assert_eq!(end.engine.usage(), usage, "{draft:?}, seed {seed}");
        }
    }
}
