//! Histories that did not happen: each breaks a rule, and the model says which.

use bytes::Bytes;
use moqt_conformance::DRAFTS;
use moqt_conformance::simulation::{
    Act, AnswerPlan, Burst, BurstEnd, EndPlan, Entry, GroupPick, History, Little, Scenario, Step,
    TrackPlan, What, Wish, check,
};
use moqt_engine::model::Location;
use moqt_engine::{Draft, Event, FetchRead, Read, SlowSubscriber, Written};
use moqt_loopback::LinkConfig;

/// A client that subscribes to a track and fetches its past, and a server that publishes it.
fn scenario(draft: Draft) -> Scenario {
    let end = EndPlan {
        little: Little::default(),
        coalesce_below: 0,
        read_max: usize::MAX,
        slow: SlowSubscriber::Block,
        expires: None,
        answers: vec![AnswerPlan::Accept { after: 0 }],
    };
    let track = TrackPlan {
        end: 1,
        is_datagrams: false,
        named_by_first: false,
        has_properties: true,
        priority: Some(7),
        timeout: None,
    };
    let burst = Burst {
        group: GroupPick::Next,
        subgroup: 0,
        count: 4,
        gap: 0,
        size: 100,
        finish: true,
        end: BurstEnd::Nothing,
    };
    let produce = |at| Step { at, end: 1, act: Act::Produce { track: 0, burst } };
    let fetch = Act::Fetch { track: 0, start: Location::ZERO, groups: 3, whole: true, order: None };
    Scenario {
        draft,
        seed: 0,
        links: vec![LinkConfig::default()],
        ends: vec![end.clone(), end],
        tracks: vec![track],
        steps: vec![
            Step { at: 0, end: 0, act: Act::Subscribe { track: 0, wish: Wish::default() } },
            produce(100),
            produce(200),
            Step { at: 300, end: 0, act: fetch },
            Step { at: 400, end: 1, act: Act::Done { pick: 0 } },
        ],
    }
}

/// What is told when a history is changed.
fn rule(change: impl Fn(&mut History)) -> &'static str {
    let mut rules = DRAFTS.map(|draft| {
        let scenario = scenario(draft);
        let mut history = scenario.run(false).history;
        check(&scenario, &history).unwrap();
        change(&mut history);
        check(&scenario, &history).expect_err("the change went unnoticed").rule
    });
    rules.sort_unstable();
    assert_eq!(rules[0], rules[2]);
    rules[0]
}

fn position(history: &History, nth: usize, is_it: impl Fn(&What) -> bool) -> usize {
    let entries = history.entries.iter().enumerate();
    let mut fit = entries.filter(|(_, entry)| is_it(&entry.what));
    fit.nth(nth).expect("there is such an entry").0
}

fn is_object(what: &What) -> bool {
    matches!(what, What::Read { read: Read::Object(_), .. })
}

fn is_payload(what: &What) -> bool {
    matches!(what, What::Read { read: Read::Payload(_), .. })
}

fn is_end(what: &What) -> bool {
    matches!(what, What::Read { read: Read::Finished, .. })
}

fn is_told(what: &What, is_it: impl Fn(&Event) -> bool) -> bool {
    matches!(what, What::Told { event, .. } if is_it(event))
}

fn forget(history: &mut History, nth: usize, is_it: impl Fn(&What) -> bool) -> Entry {
    let at = position(history, nth, is_it);
    history.entries.remove(at)
}

fn repeat(history: &mut History, nth: usize, is_it: impl Fn(&What) -> bool) {
    let at = position(history, nth, is_it);
    let entry = history.entries[at].clone();
    history.entries.insert(at, entry);
}

#[test]
fn an_object_that_is_lost() {
    let rule = rule(|history| {
        forget(history, 1, is_object);
        forget(history, 1, is_payload);
    });
    assert_eq!(rule, "objects arrive as they were sent, in order");
}

#[test]
fn the_last_object_that_is_lost() {
    let rule = rule(|history| {
        forget(history, 3, is_object);
        forget(history, 3, is_payload);
    });
    assert_eq!(rule, "a stream that finishes has all that was sent");
}

#[test]
fn an_object_that_comes_twice() {
    let rule = rule(|history| {
        repeat(history, 2, is_object);
    });
    assert_eq!(rule, "an object is whole before the next");
}

#[test]
fn objects_in_the_wrong_order() {
    let rule = rule(|history| {
        let [first, second] = [0, 1].map(|nth| position(history, nth, is_object));
        history.entries.swap(first, second);
    });
    assert_eq!(rule, "objects arrive as they were sent, in order");
}

#[test]
fn payload_that_is_altered_cut_or_lost() {
    let alter = |change: fn(&mut Vec<u8>)| {
        rule(|history| {
            let at = position(history, 1, is_payload);
            if let What::Read { read: Read::Payload(payload), .. } = &mut history.entries[at].what {
                let mut bytes = payload.to_vec();
                change(&mut bytes);
                *payload = Bytes::from(bytes);
            }
        })
    };
    assert_eq!(alter(|bytes| bytes[50] ^= 1), "payload arrives as it was sent");
    assert_eq!(alter(|bytes| bytes.push(0)), "payload arrives as it was sent");
    assert_eq!(alter(|bytes| bytes.truncate(99)), "an object is whole before the next");
    let lost = rule(|history| drop(forget(history, 3, is_payload)));
    assert_eq!(lost, "an object is whole before the next");
}

#[test]
fn an_object_that_is_sent_and_not_wanted_or_wanted_and_not_sent() {
    let left_out = rule(|history| {
        let at = position(history, 0, |what| matches!(what, What::Wrote { .. }));
        if let What::Wrote { written, .. } = &mut history.entries[at].what {
            *written = Written::Skipped;
        }
    });
    assert_eq!(left_out, "what is wanted is sent, and no more");
}

#[test]
fn a_stream_that_is_lost_or_has_no_end() {
    // Nothing of the second group comes, and nobody says so.
    let lost = rule(|history| {
        let is_opened =
            |what: &What| is_told(what, |event| matches!(event, Event::SubgroupOpened { .. }));
        forget(history, 1, is_opened);
        for _ in 0..4 {
            forget(history, 4, is_object);
            forget(history, 4, is_payload);
        }
        forget(history, 1, is_end);
    });
    assert_eq!(lost, "what never came is told to be missing");
    let endless = rule(|history| drop(forget(history, 1, is_end)));
    assert_eq!(endless, "the end of a subscription comes after its streams");
    let twice = rule(|history| repeat(history, 0, is_end));
    assert_eq!(twice, "nothing follows the end of a stream");
}

#[test]
fn a_last_word_that_is_not_spoken_or_spoken_twice() {
    let is_done =
        |what: &What| is_told(what, |event| matches!(event, Event::SubscriptionDone { .. }));
    assert_eq!(rule(|history| drop(forget(history, 0, is_done))), "who asks gets a last word");
    assert_eq!(
        rule(|history| repeat(history, 0, is_done)),
        "nothing follows a request's last word"
    );
    let is_accepted = |what: &What| is_told(what, |event| matches!(event, Event::Accepted { .. }));
    assert_eq!(rule(|history| repeat(history, 0, is_accepted)), "a request is answered once");
    let is_request = |what: &What| is_told(what, |event| matches!(event, Event::Request { .. }));
    assert_eq!(rule(|history| repeat(history, 0, is_request)), "a request is told of once");
}

#[test]
fn a_fetch_that_lacks_an_object() {
    let is_object =
        |what: &What| matches!(what, What::FetchRead { read: FetchRead::Object(_), .. });
    let is_payload =
        |what: &What| matches!(what, What::FetchRead { read: FetchRead::Payload(_), .. });
    let is_end = |what: &What| matches!(what, What::FetchRead { read: FetchRead::Finished, .. });
    let rule_of = |nth| {
        rule(|history| {
            forget(history, nth, is_object);
            forget(history, nth, is_payload);
        })
    };
    assert_eq!(rule_of(2), "a fetch gives all objects of its range, in order");
    assert_eq!(rule_of(7), "a fetch that finishes has given everything");
    assert_eq!(rule(|history| drop(forget(history, 0, is_end))), "a fetch is read to its end");
}

#[test]
fn something_that_is_left_at_the_end() {
    let held = rule(|history| {
        if let Some(Some(usage)) = history.last_usage.first_mut() {
            usage.streams += 1;
        }
    });
    assert_eq!(held, "nothing is held when all is over");
    let waiting = rule(|history| history.last_timers[1] = Some("a timer".to_owned()));
    assert_eq!(waiting, "nothing is waited for when all is over");
    assert_eq!(rule(|history| history.is_endless = true), "a run has an end");
}
