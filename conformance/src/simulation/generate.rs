//! Scenarios from choices.

use std::time::Duration;

use moqt_engine::model::{
    GroupOrder, JoiningStart, Location, NamespaceInterest, SubscriptionFilter,
};
use moqt_engine::{Draft, SlowSubscriber};
use moqt_loopback::{Chance, Chunking, LinkConfig, PathConfig, ResetDelivery, Rng};

use super::choices::Choices;
use super::scenario::{
    Act, AnswerPlan, Burst, BurstEnd, EndPlan, GroupPick, Little, Scenario, Step, TrackPlan,
    Trouble, Wish,
};
use crate::DRAFTS;

impl Scenario {
    /// The scenario of a seed.
    pub fn of_seed(seed: u64, draft: Option<Draft>) -> Self {
        Self::generate(&mut Rng::new(seed), draft)
    }

    /// The scenario that choices make. The draft is among them unless it is given.
    pub fn generate(choices: &mut impl Choices, draft: Option<Draft>) -> Self {
        let chosen = DRAFTS[choices.pick(DRAFTS.len() as u64)];
        let draft = draft.unwrap_or(chosen);
        let seed = choices.below(1 << 32);
        // Most sessions have ordinary links and limits, in which nothing excuses a loss.
        let is_odd = choices.percent(35);
        // Or little room between applications that read late: then writing is blocked often.
        let is_tight = choices.percent(35);
        // Bytes in crumbs, and then not many of them.
        let grain = if choices.percent(15) { Grain::Fine } else { Grain::Coarse };
        let has_faults = choices.percent(45);
        let links = (0..=usize::from(choices.percent(10)))
            .map(|_| link(choices, is_odd, is_tight, grain))
            .collect::<Vec<_>>();
        let ends = (0..2 * links.len()).map(|_| end(choices, is_tight, grain)).collect::<Vec<_>>();
        let mut tracks = (0..choices.between(1, 4))
            .map(|_| track(choices, draft, ends.len()))
            .collect::<Vec<_>>();
        // One end publishes all of them: its subscriptions compete for one session.
        if choices.percent(50) {
            let end = tracks.first().map_or(0, |track| track.end);
            for track in &mut tracks {
                track.end = end;
            }
        }
        let mut steps = Vec::new();
        let mut at = 0;
        // Nothing happens on a track that nobody receives: begin with that.
        for (number, track) in tracks.iter().enumerate() {
            if choices.percent(80) {
                let begun = if choices.percent(75) {
                    Act::Subscribe { track: number, wish: wish(choices, false) }
                } else {
                    Act::Publish { track: number, forward: None }
                };
                let end =
                    if matches!(begun, Act::Subscribe { .. }) { track.end ^ 1 } else { track.end };
                steps.push(Step { at: choices.below(100), end, act: begun });
            }
        }
        let count = choices.between(1, 40);
        for _ in 0..count {
            if choices.is_dry() {
                break;
            }
            at += match choices.below(8) {
                0..=2 => 0,
                3..=5 => choices.below(50),
                6 => choices.below(500),
                _ => choices.below(3000),
            };
            if is_tight && choices.percent(6) {
                let track = choices.pick(tracks.len() as u64);
                clog(choices, at, track, tracks[track].end, &mut steps);
            }
            let end = choices.pick(ends.len() as u64);
            let act = act(choices, tracks.len() as u64, has_faults, is_tight, grain);
            // What is produced is produced where the track is.
            let end = match &act {
                Act::Produce { track, .. }
                | Act::FinishGroup { track }
                | Act::Publish { track, .. } => tracks[*track].end,
                Act::Subscribe { track, .. } | Act::Fetch { track, .. } => tracks[*track].end ^ 1,
                _ => end,
            };
            steps.push(Step { at, end, act });
        }
        steps.sort_by_key(|step| step.at);
        Self { draft, seed, links, ends, tracks, steps }
    }
}

/// How finely bytes are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grain {
    Fine,
    Coarse,
}

fn link(choices: &mut impl Choices, is_odd: bool, is_tight: bool, grain: Grain) -> LinkConfig {
    let mut path = || path(choices, is_odd, is_tight, grain);
    LinkConfig { up: path(), down: path() }
}

fn path(choices: &mut impl Choices, is_odd: bool, is_tight: bool, grain: Grain) -> PathConfig {
    let mut path = PathConfig::default();
    path.latency = Duration::from_millis(choices.below(80));
    path.jitter = Duration::from_millis(if choices.percent(50) { choices.below(50) } else { 0 });
    let len = match grain {
        Grain::Fine => choices.between(1, 30),
        Grain::Coarse => choices.between(200, 4000),
    };
    if grain == Grain::Fine || choices.percent(50) {
        path.chunking = Chunking::Random(usize::try_from(len).unwrap_or(1));
    }
    if choices.percent(50) {
        path.reset = ResetDelivery::AfterData;
    }
    if is_odd {
        path.bandwidth = choices.percent(50).then(|| match grain {
            Grain::Fine => choices.between(20_000, 1_000_000),
            Grain::Coarse => choices.between(500_000, 20_000_000),
        });
        path.stream_window =
            choices.between(if grain == Grain::Fine { 64 } else { 8192 }, 64 * 1024);
        path.connection_window = choices.between(path.stream_window * 4, 1024 * 1024);
        path.bi_streams = choices.between(1, 100);
        path.uni_streams = choices.between(3, 100);
        path.overshoot = choices.percent(50);
        let mut chance = |most| Chance::percent(u32::try_from(choices.below(most)).unwrap_or(0));
        path.datagrams.loss = chance(20);
        path.datagrams.duplication = chance(5);
        path.datagrams.reordering = chance(20);
    }
    if is_tight {
        path.stream_window = choices.between(512, 4096);
        path.connection_window = choices.between(path.stream_window * 2, 32 * 1024);
    }
    path
}

fn end(choices: &mut impl Choices, is_tight: bool, grain: Grain) -> EndPlan {
    EndPlan {
        little: Little {
            requests: choices.percent(8),
            streams: choices.percent(12),
            queue: choices
                .percent(if is_tight { 90 } else { 5 })
                .then(|| usize::try_from(choices.between(1, 8192)).unwrap_or(1)),
        },
        coalesce_below: if choices.percent(30) { 1024 } else { 0 },
        read_max: if choices.percent(20) {
            usize::try_from(match grain {
                Grain::Fine => choices.between(1, 100),
                Grain::Coarse => choices.between(100, 5000),
            })
            .unwrap_or(1)
        } else {
            usize::MAX
        },
        slow: match choices.below(10) {
            0 => SlowSubscriber::DropOldestGroup,
            1 => SlowSubscriber::End,
            _ => SlowSubscriber::Block,
        },
        answers: (0..4).map(|_| answer(choices)).collect(),
        expires: choices.percent(12).then(|| choices.between(1, 20_000)),
    }
}

fn answer(choices: &mut impl Choices) -> AnswerPlan {
    match choices.below(20) {
        0..=11 => AnswerPlan::Accept { after: 0 },
        12..=16 => AnswerPlan::Accept { after: choices.below(500) },
        17 => AnswerPlan::Reject { after: choices.below(100) },
        18 => AnswerPlan::Accept { after: choices.below(12_000) },
        _ => AnswerPlan::Never,
    }
}

fn track(choices: &mut impl Choices, draft: Draft, ends: usize) -> TrackPlan {
    let is_datagrams = choices.percent(15);
    TrackPlan {
        end: choices.pick(ends as u64),
        is_datagrams,
        named_by_first: choices.percent(25),
        has_properties: choices.percent(30),
        priority: (draft < Draft::D16 || choices.percent(50))
            .then(|| u8::try_from(choices.below(256)).unwrap_or(0)),
        timeout: choices.percent(8).then(|| choices.between(1, 2000)),
    }
}

fn act(
    choices: &mut impl Choices,
    tracks: u64,
    has_faults: bool,
    is_tight: bool,
    grain: Grain,
) -> Act {
    let track = choices.pick(tracks);
    if is_tight && choices.percent(30) {
        return match choices.below(6) {
            0 => Act::Reset { pick: choices.pick(16) },
            1 => Act::Stop { pick: choices.pick(16) },
            2 => Act::Pause { millis: choices.below(8000) },
            // Much at once.
            _ => {
                let burst = burst(choices, Grain::Fine);
                let size = usize::try_from(choices.between(500, 4000)).unwrap_or_default();
                Act::Produce { track, burst: Burst { size, ..burst } }
            }
        };
    }
    let picked = choices.pick(16);
    match choices.below(if has_faults { 120 } else { 100 }) {
        50..=55 => Act::Subscribe { track, wish: wish(choices, false) },
        56..=57 => {
            Act::Publish { track, forward: choices.percent(30).then(|| choices.percent(50)) }
        }
        58..=62 => Act::Fetch {
            track,
            start: Location::new(choices.below(6), choices.below(4)),
            groups: choices.below(6),
            whole: choices.percent(70),
            order: order(choices),
        },
        63..=65 => Act::Join {
            pick: picked,
            start: if choices.percent(50) {
                JoiningStart::Relative(choices.below(4))
            } else {
                JoiningStart::Absolute(choices.below(8))
            },
        },
        66 => Act::TrackStatus { track },
        67 => Act::PublishNamespace { which: u8::try_from(choices.below(4)).unwrap_or_default() },
        68 => Act::SubscribeNamespace {
            which: u8::try_from(choices.below(4)).unwrap_or_default(),
            interest: match choices.below(3) {
                0 => NamespaceInterest::Namespaces,
                1 => NamespaceInterest::Tracks,
                _ => NamespaceInterest::Both,
            },
        },
        69 => Act::Namespace {
            pick: picked,
            which: u8::try_from(choices.below(4)).unwrap_or_default(),
        },
        70 => Act::NamespaceDone {
            pick: picked,
            which: u8::try_from(choices.below(4)).unwrap_or_default(),
        },
        71..=78 => Act::Update { pick: picked, wish: wish(choices, true) },
        79..=81 => Act::Cancel { pick: picked },
        82..=85 => Act::Done { pick: picked },
        86..=89 => Act::FinishGroup { track },
        90..=91 => Act::Reset { pick: picked },
        92..=93 => Act::Stop { pick: picked },
        94..=96 => Act::Pause { millis: choices.below(15_000) },
        97 if choices.percent(30) => Act::Goaway { millis: choices.below(20_000) },
        98 => Act::GoawayRequest { pick: picked, millis: choices.below(5000) },
        99 if choices.percent(20) => Act::Close,
        100.. => Act::Fault(trouble(choices, picked)),
        _ => {
            // What is large would take too long where there is little room.
            let grain = if is_tight { Grain::Fine } else { grain };
            Act::Produce { track, burst: burst(choices, grain) }
        }
    }
}

/// More is published than there is room for while nobody reads, and then a stream is cut off:
/// that alone makes room for the others.
fn clog(choices: &mut impl Choices, at: u64, track: usize, end: usize, steps: &mut Vec<Step>) {
    let mut step = |at, end, act| steps.push(Step { at, end, act });
    step(at, end ^ 1, Act::Pause { millis: choices.between(1000, 5000) });
    let size = usize::try_from(choices.between(1000, 3000)).unwrap_or_default();
    for _ in 0..2 {
        let burst = Burst {
            group: GroupPick::Next,
            subgroup: 0,
            count: choices.between(2, 6),
            gap: 0,
            size,
            finish: true,
            end: BurstEnd::Nothing,
        };
        step(at, end, Act::Produce { track, burst });
    }
    let at = at + choices.between(100, 1000);
    let pick = choices.pick(16);
    if choices.percent(50) {
        step(at, end, Act::Reset { pick });
    } else {
        step(at, end ^ 1, Act::Stop { pick });
    }
}

fn trouble(choices: &mut impl Choices, pick: usize) -> Trouble {
    let millis = choices.below(4000);
    match choices.below(20) {
        0..=3 => Trouble::ResetStream { pick },
        4..=6 => Trouble::StopSending { pick },
        7..=8 => Trouble::Stall { millis },
        9..=11 => Trouble::StopReading { millis },
        12..=13 => Trouble::RefuseStreams { millis },
        14 => Trouble::HoldDatagrams { millis },
        15..=18 => Trouble::Leap {
            millis: match choices.below(4) {
                0 => millis,
                1 => choices.below(15_000),
                2 => choices.below(120_000),
                _ => choices.below(3_600_000),
            },
        },
        _ => Trouble::Disconnect,
    }
}

fn burst(choices: &mut impl Choices, grain: Grain) -> Burst {
    Burst {
        group: match choices.below(10) {
            0..=4 => GroupPick::Next,
            5..=7 => GroupPick::Largest,
            8 => GroupPick::Skip(choices.below(5)),
            _ => GroupPick::Earlier(choices.below(4)),
        },
        subgroup: if choices.percent(70) { 0 } else { choices.below(3) },
        count: choices.between(1, 6),
        gap: if choices.percent(15) { choices.below(5) } else { 0 },
        size: usize::try_from(match choices.below(20) {
            0..=1 => 0,
            2..=12 => choices.below(100),
            13..=17 => choices.below(2000),
            18 if grain == Grain::Coarse => choices.below(20_000),
            19 if grain == Grain::Coarse => choices.below(300_000),
            _ => choices.below(1000),
        })
        .unwrap_or_default(),
        finish: choices.percent(70),
        end: match choices.below(40) {
            0..=2 => BurstEnd::GroupByStatus,
            3 => BurstEnd::TrackByStatus,
            _ => BurstEnd::Nothing,
        },
    }
}

fn wish(choices: &mut impl Choices, is_update: bool) -> Wish {
    Wish {
        filter: match choices.below(10) {
            0..=3 => None,
            4..=5 => Some(SubscriptionFilter::LargestObject),
            6 => Some(SubscriptionFilter::NextGroupStart),
            7..=8 => Some(SubscriptionFilter::AbsoluteStart { start: start(choices) }),
            _ => {
                let start = start(choices);
                let end_group = start.group + choices.below(5);
                Some(SubscriptionFilter::AbsoluteRange { start, end_group })
            }
        },
        forward: if choices.percent(if is_update { 50 } else { 15 }) {
            Some(choices.percent(50))
        } else {
            None
        },
        priority: choices.percent(20).then(|| u8::try_from(choices.below(256)).unwrap_or(0)),
        order: order(choices),
        timeout: choices.percent(8).then(|| choices.between(1, 2000)),
    }
}

fn start(choices: &mut impl Choices) -> Location {
    Location::new(choices.below(8), choices.below(4))
}

fn order(choices: &mut impl Choices) -> Option<GroupOrder> {
    match choices.below(4) {
        0 => Some(GroupOrder::Ascending),
        1 => Some(GroupOrder::Descending),
        _ => None,
    }
}
