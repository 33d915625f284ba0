//! With the order of bytes, ends and resets fixed, cutting changes nothing; streams that do
//! not depend on each other interleave in any way.

use bytes::Bytes;
use moqt_conformance::end::Name;
use moqt_conformance::seen::Seen;
use moqt_conformance::{DRAFTS, say};
use moqt_engine::model::{
    GroupOrder, Location, ObjectStatus, Parameters, Property, SubgroupId, SubscriptionFilter,
    TrackProperties,
};
use moqt_engine::wire::{ObjectHeader, Properties};
use moqt_engine::{Accept, Draft, Limits, Role, SubgroupOptions};
use moqt_loopback::Rng;

use crate::script::{Do, Input, Of, Player, talk};

fn object(object_id: u64, len: usize) -> (ObjectHeader, Bytes) {
    let fill = u8::try_from(object_id % 251).unwrap();
    let header = ObjectHeader { object_id, payload_len: len as u64, ..ObjectHeader::default() };
    (header, vec![fill; len].into())
}

fn put(subgroup: usize, object_id: u64, len: usize) -> Do {
    let (header, payload) = object(object_id, len);
    Do::Object(subgroup, header, payload)
}

fn subgroup(group: u64, id: u64) -> SubgroupOptions {
    let mut options = SubgroupOptions::new(group);
    options.subgroup_id = SubgroupId::Explicit(id);
    options
}

/// A session in which about everything happens, recorded at both ends.
fn session(draft: Draft) -> (Player, Player) {
    let mut client = Player::new(draft, Role::Client);
    let mut server = Player::new(draft, Role::Server);
    talk(&mut client, &mut server);
    let mut wishes = Parameters::default();
    wishes.subscriber_priority = Some(7);
    wishes.group_order = Some(GroupOrder::Descending);
    wishes.subscription_filter =
        Some(SubscriptionFilter::AbsoluteStart { start: Location::new(1, 2) });
    client.act_all([
        Do::Subscribe("a", wishes),
        Do::Subscribe("b", Parameters::default()),
        Do::PublishNamespace("x"),
        Do::Publish("up"),
        Do::Open(Of::Ours(3), subgroup(0, 0)),
        put(0, 0, 40),
        Do::Finish(0),
    ]);
    // Draft 14 has tracks of subgroups and tracks of datagrams, and no others.
    let mixes = draft.dialect().objects.mixed_forwarding;
    if mixes {
        let early = Bytes::from_static(b"early");
        client.act_all([Do::Datagram(Of::Ours(3), Location::new(0, 9), early)]);
    }
    server.act_all([Do::Subscribe("none", Parameters::default()), Do::PublishNamespace("y")]);
    talk(&mut client, &mut server);
    let mut accept = Accept::default();
    accept.parameters.largest_object = Some(Location::new(3, 4));
    accept.parameters.expires = Some(5000);
    accept.track_properties = TrackProperties::new().with_int(0x04, 77);
    server.act_all([
        Do::Accept(0, accept),
        Do::Accept(1, Accept::default()),
        Do::Accept(2, Accept::default()),
    ]);
    client.act_all([Do::Reject(0), Do::Accept(1, Accept::default())]);
    talk(&mut client, &mut server);
    server.act_all([Do::Accept(3, Accept::default())]);

    // Everything that a subgroup may hold, and every way it may end.
    let mut rich = subgroup(1, 0);
    rich.has_properties = true;
    rich.end_of_group = true;
    let properties = [Property::int(0x3C, 1), Property::bytes(0x101, Bytes::from_static(b"pp"))];
    let (mut with_properties, payload) = object(2, 300);
    with_properties.properties = Properties::encode(draft.dialect(), properties.iter()).unwrap();
    let ends_group =
        ObjectHeader { object_id: 9, status: ObjectStatus::EndOfGroup, ..ObjectHeader::default() };
    server.act_all([
        Do::Open(Of::Theirs(0), rich),
        put(0, 1, 10), // before the subscription's start
        Do::Object(0, with_properties, payload),
        put(0, 3, 0),
        Do::Object(0, ends_group, Bytes::new()),
        Do::Finish(0),
        Do::Open(Of::Theirs(1), subgroup(0, 1)),
        Do::Begin(1, object(0, 600).0),
        Do::Payload(1, vec![1; 250].into()),
        Do::Open(Of::Theirs(1), subgroup(0, 2)),
        put(2, 4, 500),
    ]);
    talk(&mut client, &mut server);
    server.act_all([
        Do::Payload(1, vec![2; 350].into()),
        put(1, 70_000, 3),
        Do::Finish(1),
        Do::Reset(2),
        Do::Open(Of::Theirs(1), subgroup(2, 0)),
        Do::Finish(3),
        Do::Open(Of::Theirs(1), subgroup(3, 0)),
        put(4, 0, 100),
    ]);
    if mixes {
        let payload = Bytes::from_static(b"datagram");
        server.act_all([Do::Datagram(Of::Theirs(0), Location::new(5, 0), payload)]);
    }
    talk(&mut client, &mut server);
    client.act_all([Do::Stop(4), Do::Open(Of::Ours(3), subgroup(1, 0)), put(1, 0, 1000)]);
    talk(&mut client, &mut server);

    // A change of the first subscription, which this client does not make by itself.
    let mut parameters = Parameters::default();
    parameters.subscription_filter =
        Some(SubscriptionFilter::AbsoluteStart { start: Location::new(1, 2) });
    parameters.subscriber_priority = Some(9);
    parameters.forward = Some(true);
    let update = say::message(draft, &say::update(8, 0, parameters));
    let first_request = Name { ours: false, n: 1 };
    let on = if draft.dialect().answers_by_stream { first_request } else { server.end.control };
    server.play(Input::Data(on, update.into()));
    // Its answer is for nobody.
    server.skip_outputs();

    server.act_all([
        Do::Done(Of::Theirs(0)),
        Do::Open(Of::Theirs(1), subgroup(4, 0)),
        put(5, 0, 9),
    ]);
    client.act_all([Do::Cancel(Of::Ours(1)), Do::Finish(1), Do::Done(Of::Ours(3))]);
    talk(&mut client, &mut server);
    client.act_all([Do::Cancel(Of::Ours(2)), Do::Cancel(Of::Theirs(1))]);
    server.act_all([Do::Goaway]);
    talk(&mut client, &mut server);
    (client, server)
}

/// The log with its bytes cut anew: neighbours joined, then cut to the lengths that `cut`
/// gives, an end with the last piece or apart.
fn recut(log: &[Input], mut cut: impl FnMut(usize) -> usize) -> Vec<(Input, bool)> {
    let mut recut = Vec::new();
    let mut inputs = log.iter().peekable();
    while let Some(input) = inputs.next() {
        let Input::Data(name, bytes) = input else {
            recut.push((input.clone(), false));
            continue;
        };
        let mut joined = bytes.to_vec();
        while let Some(Input::Data(_, more)) =
            inputs.next_if(|next| matches!(next, Input::Data(other, _) if other == name))
        {
            joined.extend_from_slice(more);
        }
        let mut rest = Bytes::from(joined);
        while !rest.is_empty() {
            let piece = rest.split_to(cut(rest.len()).clamp(1, rest.len()));
            let with_fin = rest.is_empty()
                && cut(2) == 1
                && inputs.next_if(|next| matches!(next, Input::Fin(fin) if fin == name)).is_some();
            recut.push((Input::Data(*name, piece), with_fin));
        }
    }
    recut
}

fn replay(draft: Draft, role: Role, log: &[(Input, bool)]) -> (Seen, Vec<String>) {
    let mut player = Player::new(draft, role);
    for (input, with_fin) in log {
        match input {
            Input::Data(name, bytes) if *with_fin => {
                player.end.data_and(*name, bytes.clone(), true);
            }
            other => player.play(other.clone()),
        }
    }
    player.seen()
}

// "Control messages have a length to make parsing easier"; objects are "contiguous bytes": no
// draft gives meaning to how a stream's bytes arrive (draft-18, "Control Messages", "Objects").
#[test]
fn cutting_changes_nothing_in_whole_sessions() {
    for draft in DRAFTS {
        let (client, server) = session(draft);
        for (role, player) in [(Role::Client, client), (Role::Server, server)] {
            let (seen, results) = player.seen();
            assert!(player.end.closed().is_none(), "{draft:?}: {:#?}", seen.events);
            assert!(seen.events.len() > 12, "{draft:?} {role:?}: {:#?}", seen.events);
            let check = |what: &str, cut: &mut dyn FnMut(usize) -> usize| {
                let (again, given) = replay(draft, role, &recut(&player.log, cut));
                let what = format!("{draft:?} {role:?} {what}");
                assert_eq!(results, given, "{what}");
                seen.same(&again, &what);
            };
            check("whole", &mut |_| usize::MAX);
            check("single bytes", &mut |_| 1);
            check("pairs", &mut |_| 2);
            for seed in 0..150 {
                let mut rng = Rng::new(seed);
                check(&format!("seed {seed}"), &mut |left| {
                    let max = if rng.below(3) == 0 { 4 } else { left as u64 };
                    usize::try_from(rng.between(1, max.max(1))).unwrap()
                });
            }
        }
    }
}

#[test]
fn a_session_leaves_nothing_behind() {
    for draft in DRAFTS {
        let (client, server) = session(draft);
        for mut player in [client, server] {
            // One track had datagrams: more may come after its end.
            player.end.wait(Limits::default().late_datagram_timeout);
            let usage = player.end.engine.usage();
            assert_eq!(usage.send_bytes + usage.receive_bytes + usage.control_bytes, 0);
            // The server's PUBLISH_NAMESPACE was withdrawn, and the client's.
            assert_eq!(usage.requests, 0, "{draft:?}: {:#?}", player.end.events);
            let control = if draft.dialect().answers_by_stream { 2 } else { 1 };
            assert_eq!(usage.streams, control, "{draft:?}");
        }
    }
}
