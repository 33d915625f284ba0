//! Priorities and delivery timeouts where the path is the bottleneck: 2 Mbit/s to the subscriber,
//! 10 ms one way, at most 50 ms of queue before packets are lost. What is said here of bytes and
//! milliseconds is printed by `cargo test -p moqt-quinn-proto --test narrow_link -- --nocapture`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod network;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use moqt_engine::model::{Location, Parameters, SubscriptionFilter};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{Draft, Event as Moqt, Read, RequestKey, StreamKey, SubgroupOptions};

use moqt_quinn_proto::Scheme;
use network::{CLIENT, LATENCY, Net, SERVER};

/// Bytes a second.
const RATE: u32 = 250_000;

const MS: Duration = Duration::from_millis(1);

/// What comes to the client.
#[derive(Default)]
struct Received {
    /// The subscription of each stream.
    of: BTreeMap<StreamKey, RequestKey>,
    /// Bytes of payload that came in each subscription.
    bytes: BTreeMap<RequestKey, usize>,
    /// When objects were complete, by subscription and group.
    objects: Vec<(RequestKey, u64, Instant)>,
    groups: BTreeMap<StreamKey, (u64, u64)>,
    resets: usize,
}

impl Received {
    /// Reads all there is.
    fn collect(&mut self, net: &mut Net) {
        while let Some(event) = net.take_event(CLIENT) {
            let stream = match event {
                Moqt::SubgroupOpened { request, stream, subgroup } => {
                    self.of.insert(stream, request);
                    self.groups.insert(stream, (subgroup.group_id, 0));
                    stream
                }
                Moqt::Readable { stream } => stream,
                _ => continue,
            };
            let Some(request) = self.of.get(&stream).copied() else { continue };
            loop {
                let read = net.with(CLIENT, |moqt, _| moqt.read(stream, usize::MAX));
                let Some((group, left)) = self.groups.get_mut(&stream) else { break };
                match read {
                    Read::Object(header) => *left = header.payload_len,
                    Read::Payload(bytes) => {
                        *self.bytes.entry(request).or_default() += bytes.len();
                        *left -= bytes.len() as u64;
                        if *left == 0 {
                            self.objects.push((request, *group, net.now));
                        }
                    }
                    Read::Reset(_) => {
                        self.resets += 1;
                        break;
                    }
                    _ => break,
                }
            }
        }
    }

    fn of(&self, request: RequestKey) -> usize {
        self.bytes.get(&request).copied().unwrap_or_default()
    }
}

fn network() -> Net {
    let (mut net, _) = Net::subscribed(Scheme::Quic, Draft::D18, 0);
    net.rate = Some(RATE);
    net
}

fn wishes(priority: u8, timeout: Option<u64>) -> Parameters {
    let mut wishes = Parameters::default();
    wishes.subscriber_priority = Some(priority);
    wishes.object_delivery_timeout = timeout;
    let start = Location::ZERO;
    wishes.subscription_filter = Some(SubscriptionFilter::AbsoluteStart { start });
    wishes
}

/// A subgroup of its own with one object.
fn send(net: &mut Net, request: RequestKey, group: u64, len: usize) {
    net.with(SERVER, |moqt, _| {
        let opened = moqt.publisher(request).unwrap().open_subgroup(SubgroupOptions::new(group));
        let stream = opened.unwrap().unwrap();
        let header = ObjectHeader { payload_len: len as u64, ..ObjectHeader::default() };
        let mut subgroup = moqt.subgroup(stream).unwrap();
        subgroup.object(&header, Bytes::from(vec![7; len])).unwrap();
        subgroup.finish().unwrap();
    });
}

/// A subgroup of many objects, which the link is busy with for long.
fn fill(net: &mut Net, request: RequestKey, bytes: usize) {
    net.with(SERVER, |moqt, _| {
        let opened = moqt.publisher(request).unwrap().open_subgroup(SubgroupOptions::new(0));
        let stream = opened.unwrap().unwrap();
        let mut subgroup = moqt.subgroup(stream).unwrap();
        for object_id in 0..bytes / 10_000 {
            let object_id = object_id as u64;
            let header = ObjectHeader { object_id, payload_len: 10_000, ..ObjectHeader::default() };
            subgroup.object(&header, Bytes::from(vec![8; 10_000])).unwrap();
        }
    });
}

/// Goes on for some time, and reads what comes.
fn run(net: &mut Net, received: &mut Received, time: Duration, mut each: impl FnMut(&Received)) {
    let until = net.now + time;
    while net.now < until && net.step_until(until) {
        received.collect(net);
        each(received);
    }
}

// "the one with the highest subscriber priority is scheduled to be sent first" (draft-18,
// "Scheduling Algorithm"), "constrained by the prioritization interface of the underlying
// transport": what QUIC holds already goes before.
#[test]
fn an_urgent_object_waits_only_for_what_quic_holds() {
    let mut net = network();
    let (bulk_in, bulk) = net.subscribe("demo--bulk", &wishes(200, None));
    let (urgent_in, urgent) = net.subscribe("demo--urgent", &wishes(1, None));
    let mut received = Received::default();
    fill(&mut net, bulk, 3_000_000);
    // The congestion window has found the rate.
    run(&mut net, &mut received, 3_000 * MS, |_| {});
    let (mut worst_bytes, mut worst_time) = (0, Duration::ZERO);
    for group in 0..50 {
        let (before, begun) = (received.of(bulk_in), net.now);
        send(&mut net, urgent, group, 200);
        while !received.objects.iter().any(|(of, at, _)| (*of, *at) == (urgent_in, group)) {
            assert!(net.now - begun < 2_000 * MS, "object {group} does not come");
            run(&mut net, &mut received, MS, |_| {});
        }
        worst_bytes = worst_bytes.max(received.of(bulk_in) - before);
        worst_time = worst_time.max(net.now - begun);
        run(&mut net, &mut received, 20 * MS, |_| {});
    }
    println!(
        "an urgent object: at most {worst_bytes} bytes of bulk before it, {} ms",
        worst_time.as_millis()
    );
    // The congestion window (50 ms of queue, a round trip, and what it grows by in one before a
    // loss is noticed) and the slack of 16 KiB: nothing of the 2 MB that wait.
    let held = RATE as usize * 90 / 1_000 + 16 * 1024;
    assert!(worst_bytes <= held, "{worst_bytes} of at most {held}");
    let limit = LATENCY + Duration::from_secs(1) * u32::try_from(held).unwrap() / RATE + 20 * MS;
    assert!(worst_time <= limit, "{worst_time:?} of at most {limit:?}");
    assert!(received.of(bulk_in) < 2_500_000, "bulk was still waiting");
}

// "This algorithm does not provide a well-defined ordering for objects that belong to different
// subscriptions … but have the same … priority": here they share the link evenly.
#[test]
fn equals_share_the_link() {
    let mut net = network();
    let (one_in, one) = net.subscribe("demo--one", &wishes(5, None));
    let (other_in, other) = net.subscribe("demo--other", &wishes(5, None));
    let mut received = Received::default();
    fill(&mut net, one, 1_000_000);
    fill(&mut net, other, 1_000_000);
    let mut worst = 0;
    run(&mut net, &mut received, 5_000 * MS, |received| {
        worst = worst.max(received.of(one_in).abs_diff(received.of(other_in)));
    });
    let total = received.of(one_in) + received.of(other_in);
    println!("equals: never more than {worst} bytes apart, of {total}");
    assert!(total > 500_000, "{total}");
    // A turn is 64 KiB at most.
    assert!(worst <= 2 * 64 * 1024, "{worst} bytes apart");
}

// "implementations SHOULD minimize the amount of data buffered at the underlying transport layer,
// as any data buffered at this layer can no longer be timed out" (draft-18, "Delivery Timeouts
// and Data Reliability"): twice as much as the link takes is given, and no object comes later
// than its timeout and what QUIC holds.
#[test]
fn nothing_comes_much_later_than_its_timeout() {
    let mut net = network();
    let (live_in, live) = net.subscribe("demo--live", &wishes(5, Some(200)));
    let mut received = Received::default();
    let mut sent = BTreeMap::new();
    for group in 0..200 {
        sent.insert(group, net.now);
        send(&mut net, live, group, 10_000);
        run(&mut net, &mut received, 20 * MS, |_| {});
    }
    run(&mut net, &mut received, 1_000 * MS, |_| {});
    let late = received.objects.iter().map(|(of, group, at)| {
        assert_eq!(*of, live_in);
        *at - sent[group]
    });
    let worst = late.max().unwrap();
    let stats = net.with(SERVER, |moqt, _| moqt.subscription_stats(live).unwrap().traffic);
    let came = received.objects.len();
    println!(
        "a timeout of 200 ms: {came} of 200 came, {} were given up, the latest after {} ms",
        stats.subgroups_timed_out,
        worst.as_millis()
    );
    assert_eq!(came + usize::try_from(stats.subgroups_timed_out).unwrap(), 200);
    assert!(came > 60, "the link was used: {came}");
    let held = RATE as usize * 90 / 1_000 + 16 * 1024;
    let limit =
        200 * MS + LATENCY + Duration::from_secs(1) * u32::try_from(held).unwrap() / RATE + 50 * MS;
    assert!(worst <= limit, "{worst:?} of at most {limit:?}");
}
// "When subscriber priority is changed, a best effort SHOULD be made to apply the change to all
// objects that have not been scheduled": what QUIC holds has been scheduled.
#[test]
fn a_new_priority_holds_for_all_but_what_quic_holds() {
    let mut net = network();
    let (first_in, first) = net.subscribe("demo--first", &wishes(1, None));
    let (second_in, second) = net.subscribe("demo--second", &wishes(9, None));
    let mut received = Received::default();
    fill(&mut net, first, 3_000_000);
    fill(&mut net, second, 3_000_000);
    run(&mut net, &mut received, 3_000 * MS, |_| {});
    assert!(received.of(first_in) > 300_000);
    assert_eq!(received.of(second_in), 0, "nothing of the less urgent one");
    let mut parameters = Parameters::default();
    parameters.subscriber_priority = Some(0);
    net.with(CLIENT, |moqt, now| moqt.update(now, second_in, &parameters).unwrap());
    let (before, begun) = (received.of(first_in), net.now);
    while received.of(second_in) == 0 {
        assert!(net.now - begun < 2_000 * MS, "the change has no effect");
        run(&mut net, &mut received, MS, |_| {});
    }
    let took = net.now - begun;
    run(&mut net, &mut received, 1_000 * MS, |_| {});
    let after = received.of(first_in) - before;
    println!("a new priority: {after} bytes of the other one, {} ms", took.as_millis());
    let held = RATE as usize * 90 / 1_000 + 16 * 1024;
    assert!(after <= held, "{after} of at most {held}");
}
