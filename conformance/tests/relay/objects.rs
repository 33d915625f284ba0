//! What becomes of objects on their way (draft-18, "Relay Object Handling" and "Caching Relays").

use bytes::Bytes;
use moqt_conformance::{DRAFTS, drafts_from};
use moqt_engine::model::{
    Location, LocationRange, ObjectStatus, Parameters, Property, PublishDoneCode, SubgroupId,
    property_type,
};
use moqt_engine::wire::{ObjectHeader, Properties};
use moqt_engine::{DatagramOptions, Draft, SubgroupOptions};
use moqt_loopback::RelayOptions;
use moqt_session::{NamespacePublication, Object, Publication, Session, Subscription};

use crate::stage::{Stage, accept_subscribe, payload, publish, publish_namespace, track};

/// More than any object here has.
const LIMIT: usize = 1 << 20;

/// A publisher, a subscriber and a track between them.
struct Way {
    publisher: Session,
    _published: NamespacePublication,
    publication: Publication,
    subscriber: Session,
    subscription: Subscription,
}

async fn way(stage: &Stage, from: Draft, to: Draft) -> Way {
    let publisher = stage.near_client(from).await;
    let published = publish_namespace(&publisher).await;
    let subscriber = stage.near_client(to).await;
    let pending = subscriber.subscribe(track("objects"), Parameters::default());
    let publication = accept_subscribe(&publisher).await;
    let subscription = pending.await.unwrap();
    Way { publisher, _published: published, publication, subscriber, subscription }
}

fn each_way(test: &impl AsyncFn(&Stage, Draft, Draft)) {
    for (number, from) in DRAFTS.into_iter().enumerate() {
        for to in DRAFTS {
            let stage = Stage::new(number as u64);
            stage.run(test(&stage, from, to));
        }
    }
}

/// Properties that a relay does not know, of the application and of others, and immutable ones: a
/// number, which is not written in the shortest way if both drafts write it alike.
fn properties(from: Draft, to: Draft, object: u64) -> Properties {
    let immutable: &[u8] = match () {
        () if from != to => &[0x38, 0x07],
        () if from >= Draft::D18 => &[0x38, 0x80, 0x07],
        () => &[0x38, 0x40, 0x07],
    };
    let list = [
        Property::bytes(property_type::IMMUTABLE, Bytes::from_static(immutable)),
        Property::int(0x3A, 7 + object),
        Property::bytes(0x3B, Bytes::from_static(b"of the application")),
        Property::int(0x1_0000, 1 << 20),
        Property::bytes(0x1_0001, Bytes::new()),
    ];
    Properties::encode(from.dialect(), &list).unwrap()
}

/// What of an object must be as it was.
fn fields(object: Object) -> (Location, Option<u64>, Option<u8>, Vec<Property>, Bytes) {
    let Object { location, subgroup_id, publisher_priority, properties, payload, .. } = object;
    (location, subgroup_id, publisher_priority, list(&properties), payload)
}

fn list(properties: &Properties) -> Vec<Property> {
    properties.iter().map(Result::unwrap).collect()
}

async fn write(
    publication: &Publication,
    (from, to): (Draft, Draft),
    subgroup: u64,
    priority: u8,
    objects: &[u64],
) {
    let mut options = SubgroupOptions::new(3);
    options.subgroup_id = SubgroupId::Explicit(subgroup);
    options.publisher_priority = Some(priority);
    options.has_properties = true;
    let mut writer = publication.open_subgroup(options).await.unwrap().unwrap();
    for &object_id in objects {
        let payload = payload(Location::new(3, object_id));
        let payload_len = payload.len() as u64;
        let properties = properties(from, to, object_id);
        let header = ObjectHeader { object_id, payload_len, properties, ..ObjectHeader::default() };
        writer.write(&header, payload).await.unwrap();
    }
    writer.finish().unwrap();
}

/// "A relay MUST NOT modify Object fields when forwarding", "MUST treat the object payload as
/// opaque" and "MUST NOT combine, split, or otherwise modify object payloads"; a property that it
/// does not support "MUST NOT be modified, MUST be forwarded, and MUST be cached", the bytes of
/// immutable ones with it; "A cache MUST store all fields of an Object". So what comes by
/// subscription and what comes by fetch is what was published, and nothing is added.
#[test]
fn objects_arrive_as_they_were_published() {
    each_way(&async |stage, from, to| {
        let Way { publication, subscriber, mut subscription, .. } = way(stage, from, to).await;
        write(&publication, (from, to), 0, 9, &[0, 2, 5]).await;
        write(&publication, (from, to), 1, 200, &[1, 3, 4]).await;
        let mut seen = Vec::new();
        for _ in 0..6 {
            seen.push(fields(subscription.next_object().await.unwrap().unwrap()));
        }
        seen.sort_unstable_by_key(|(location, ..)| *location);
        let expected: Vec<_> = (0..6)
            .map(|object| {
                let (subgroup, priority) =
                    if [0, 2, 5].contains(&object) { (0, 9) } else { (1, 200) };
                let location = Location::new(3, object);
                let properties = list(&properties(from, to, object));
                (location, Some(subgroup), Some(priority), properties, payload(location))
            })
            .collect();
        assert_eq!(seen, expected, "{from:?} to {to:?}");
        let range = LocationRange::to_last(Location::new(3, 0), Location::new(3, 5));
        let mut fetch =
            subscriber.fetch(track("objects"), range, Parameters::default()).await.unwrap();
        let mut fetched = Vec::new();
        while let Some(object) = fetch.read_object(LIMIT).await.unwrap() {
            fetched.push(fields(object));
        }
        assert_eq!(fetched, expected, "{from:?} to {to:?}");
    });
}

/// A datagram stays one, with all that it says.
#[test]
fn datagrams_arrive_as_they_were_published() {
    each_way(&async |stage, from, to| {
        let Way { publication, mut subscription, subscriber, .. } = way(stage, from, to).await;
        let mut options = DatagramOptions::new(Location::new(4, 2));
        options.publisher_priority = Some(33);
        options.properties = properties(from, to, 2);
        publication.datagram(options, Bytes::from_static(b"small")).unwrap();
        let object = subscription.next_datagram().await.unwrap().unwrap();
        let list = list(&properties(from, to, 2));
        let (location, small) = (Location::new(4, 2), Bytes::from_static(b"small"));
        let expected = (location, None, Some(33), list, small);
        assert_eq!(fields(object), expected, "{from:?} to {to:?}");
        let range = LocationRange::to_last(location, location);
        let mut fetch =
            subscriber.fetch(track("objects"), range, Parameters::default()).await.unwrap();
        let mut fetched = fields(fetch.read_object(LIMIT).await.unwrap().unwrap());
        // Draft 14 does not tell them apart in a fetch.
        fetched.1 = None;
        assert_eq!(fetched, expected, "{from:?} to {to:?}");
    });
}

/// "A relay MUST NOT reorder or drop objects received on a multi-object stream when forwarding to
/// subscribers": what was one stream is one stream, and ends as it did.
#[test]
fn a_subgroup_is_one_stream_in_the_order_it_came() {
    each_way(&async |stage, from, to| {
        let Way { publication, mut subscription, .. } = way(stage, from, to).await;
        write(&publication, (from, to), 2, 5, &[0, 1, 4, 9, 11, 12]).await;
        let mut reader = subscription.next_subgroup().await.unwrap().unwrap();
        assert_eq!(reader.info().subgroup_id, SubgroupId::Explicit(2), "{from:?} to {to:?}");
        let mut seen = Vec::new();
        while let Some(object) = reader.read_object(LIMIT).await.unwrap() {
            seen.push(object.location.object);
        }
        assert_eq!(seen, [0, 1, 4, 9, 11, 12], "{from:?} to {to:?}");
        assert!(stage.nothing_comes(subscription.next_subgroup()).await, "{from:?} to {to:?}");
    });
}

/// "A relay forwarding a subgroup that begins with the first object ever published in that
/// subgroup MUST set the FIRST_OBJECT bit", and not otherwise.
#[test]
fn the_first_object_of_a_subgroup_is_said_to_be_the_first() {
    for (number, first_object) in [true, false, true, false].into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let (from, to) = (Draft::D18, Draft::D18);
            let Way { publication, mut subscription, .. } = way(&stage, from, to).await;
            let mut options = SubgroupOptions::new(1);
            options.first_object = first_object;
            let mut writer = publication.open_subgroup(options).await.unwrap().unwrap();
            writer.write_object(3, payload(Location::new(1, 3))).await.unwrap();
            let reader = subscription.next_subgroup().await.unwrap().unwrap();
            assert_eq!(reader.info().first_object, first_object);
            writer.finish().unwrap();
        });
    }
}

/// An object does not have to be there as a whole to go on its way: the first bytes arrive before
/// the publisher has written the last ones.
#[test]
fn a_large_object_is_forwarded_as_it_comes() {
    const LEN: u64 = 5 * 1024 * 1024;
    each_way(&async |stage, from, to| {
        let Way { publication, mut subscription, .. } = way(stage, from, to).await;
        let options = SubgroupOptions::new(0);
        let mut writer = publication.open_subgroup(options).await.unwrap().unwrap();
        let header = ObjectHeader { object_id: 0, payload_len: LEN, ..ObjectHeader::default() };
        writer.begin(&header).await.unwrap();
        let piece = Bytes::from(vec![0xa5; 64 * 1024]);
        writer.payload(piece.clone()).await.unwrap();
        let mut reader = subscription.next_subgroup().await.unwrap().unwrap();
        assert_eq!(reader.next_object().await.unwrap().unwrap().payload_len, LEN);
        let mut came = 0;
        while came < piece.len() as u64 {
            came += reader.chunk(usize::MAX).await.unwrap().expect("more").len() as u64;
        }
        // Only now is there more.
        let writing = async {
            for _ in 1..LEN / piece.len() as u64 {
                writer.payload(piece.clone()).await.unwrap();
            }
            writer.finish().unwrap();
        };
        let reading = async {
            while let Some(chunk) = reader.chunk(usize::MAX).await.unwrap() {
                assert!(chunk.iter().all(|byte| *byte == 0xa5));
                came += chunk.len() as u64;
            }
            assert_eq!(reader.next_object().await, Ok(None));
        };
        tokio::join!(writing, reading);
        assert_eq!(came, LEN, "{from:?} to {to:?}");
    });
}

/// The ends of groups and tracks go on to every draft, and "SHOULD be cached": a fetch says the
/// same by where it ends.
#[test]
fn ends_of_groups_and_of_the_track_are_told_and_kept() {
    each_way(&async |stage, from, to| {
        let Way { publication, subscriber, mut subscription, publisher, .. } =
            way(stage, from, to).await;
        for (group, status) in [(0, ObjectStatus::EndOfGroup), (1, ObjectStatus::EndOfTrack)] {
            let options = SubgroupOptions::new(group);
            let mut writer = publication.open_subgroup(options).await.unwrap().unwrap();
            writer.write_object(0, payload(Location::new(group, 0))).await.unwrap();
            let header = ObjectHeader { object_id: 1, status, ..ObjectHeader::default() };
            writer.write(&header, Bytes::new()).await.unwrap();
            writer.finish().unwrap();
            let mut reader = subscription.next_subgroup().await.unwrap().unwrap();
            let object = reader.read_object(LIMIT).await.unwrap().unwrap();
            assert_eq!(object.location, Location::new(group, 0), "{from:?} to {to:?}");
            let marker = reader.read_object(LIMIT).await.unwrap().unwrap();
            assert_eq!(marker.location, Location::new(group, 1), "{from:?} to {to:?}");
            assert_eq!(marker.status, status, "{from:?} to {to:?}");
        }
        // The publisher would be asked if it were not known that there is nothing more.
        let range = LocationRange::to_last(Location::ZERO, Location::new(1, 1));
        let mut fetch =
            subscriber.fetch(track("objects"), range, Parameters::default()).await.unwrap();
        let mut seen = Vec::new();
        while let Some(object) = fetch.read_object(LIMIT).await.unwrap() {
            if object.status == ObjectStatus::Normal {
                seen.push(object.location);
            }
        }
        assert_eq!(seen, [Location::ZERO, Location::new(1, 0)], "{from:?} to {to:?}");
        assert_eq!(fetch.unknown_ranges(), 0, "{from:?} to {to:?}");
        assert!(stage.nothing_comes(publisher.accept_request()).await, "{from:?} to {to:?}");
        publication.done(PublishDoneCode::TrackEnded, "");
    });
}

/// Draft 14 can say that an object does not exist: its subscribers hear of it, others find it
/// missing, and all get what comes after it.
#[test]
fn an_object_that_does_not_exist_is_missing_elsewhere() {
    for (number, to) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let from = Draft::D14;
            let Way { publication, mut subscription, subscriber, .. } = way(&stage, from, to).await;
            let options = SubgroupOptions::new(0);
            let mut writer = publication.open_subgroup(options).await.unwrap().unwrap();
            writer.write_object(0, payload(Location::ZERO)).await.unwrap();
            let status = ObjectStatus::DoesNotExist;
            let header = ObjectHeader { object_id: 1, status, ..ObjectHeader::default() };
            writer.write(&header, Bytes::new()).await.unwrap();
            writer.write_object(2, payload(Location::new(0, 2))).await.unwrap();
            writer.finish().unwrap();
            let mut reader = subscription.next_subgroup().await.unwrap().unwrap();
            let mut seen = Vec::new();
            while let Some(object) = reader.read_object(LIMIT).await.unwrap() {
                if object.status == ObjectStatus::Normal {
                    seen.push(object.location.object);
                }
            }
            assert_eq!(seen, [0, 2], "{to:?}");
            let range = LocationRange::to_last(Location::ZERO, Location::new(0, 2));
            let mut fetch =
                subscriber.fetch(track("objects"), range, Parameters::default()).await.unwrap();
            let mut fetched = Vec::new();
            while let Some(object) = fetch.read_object(LIMIT).await.unwrap() {
                if object.status == ObjectStatus::Normal {
                    fetched.push(object.location.object);
                }
            }
            assert_eq!((fetched, fetch.unknown_ranges()), (vec![0, 2], 0), "{to:?}");
        });
    }
}

/// A stated gap "can be added by the Original Publisher, but MUST NOT be added by relays", and
/// "MUST NOT be modified or removed".
#[test]
fn stated_gaps_are_handed_on() {
    each_way(&async |stage, from, to| {
        let way = way(stage, from, to).await;
        let mut options = SubgroupOptions::new(3);
        options.has_properties = true;
        let mut writer = way.publication.open_subgroup(options).await.unwrap().unwrap();
        let gaps =
            [(0, property_type::PRIOR_GROUP_ID_GAP, 2), (4, property_type::PRIOR_OBJECT_ID_GAP, 3)];
        for (object_id, key, gap) in gaps {
            let gap = Property::int(key, gap);
            let properties = Properties::encode(from.dialect(), [&gap]).unwrap();
            let header = ObjectHeader { object_id, properties, ..ObjectHeader::default() };
            writer.write(&header, Bytes::new()).await.unwrap();
        }
        let header = ObjectHeader { object_id: 6, ..ObjectHeader::default() };
        writer.write(&header, Bytes::new()).await.unwrap();
        writer.finish().unwrap();
        let mut subscription = way.subscription;
        for (object_id, key, gap) in gaps {
            let object = subscription.next_object().await.unwrap().unwrap();
            assert_eq!(object.location.object, object_id, "{from:?} to {to:?}");
            assert_eq!(list(&object.properties), [Property::int(key, gap)], "{from:?} to {to:?}");
        }
        // Here is one too, which nobody has stated.
        let object = subscription.next_object().await.unwrap().unwrap();
        assert_eq!(object.location.object, 6, "{from:?} to {to:?}");
        assert!(object.properties.is_empty(), "{from:?} to {to:?}");
    });
}

/// A datagram without a priority has that of its track, whatever its subscriber was told before this
/// was known.
#[test]
fn a_datagram_has_the_priority_of_its_track() {
    for draft in drafts_from(Draft::D16) {
        for to in DRAFTS {
            let stage = Stage::with(0, RelayOptions::default());
            stage.run(async {
                let (first, second) =
                    (stage.near_client(draft).await, stage.near_client(draft).await);
                let first = publish(&first, "default").await;
                first.accepted().await.unwrap();
                let subscriber = stage.near_client(to).await;
                let pending = subscriber.subscribe(track("default"), Parameters::default());
                let mut subscription = pending.await.unwrap();
                let priority = Property::int(property_type::DEFAULT_PUBLISHER_PRIORITY, 17);
                let properties = [priority].into_iter().collect();
                let second = second.publish(track("default"), Parameters::default(), properties);
                let second = second.await.unwrap();
                second.accepted().await.unwrap();
                stage.sleep(1000).await;
                let options = DatagramOptions::new(Location::ZERO);
                second.datagram(options, Bytes::from_static(b"small")).unwrap();
                let object = subscription.next_datagram().await.unwrap().unwrap();
                assert_eq!(object.publisher_priority, Some(17), "{draft:?} to {to:?}");
            });
        }
    }
}
