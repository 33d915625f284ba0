//! Subgroups that several publishers give, each a part (draft-18, "Closing Subgroup Streams").

use moqt_conformance::DRAFTS;
use moqt_engine::model::{Location, Parameters, RequestErrorCode, SessionError, SubgroupId};
use moqt_engine::{Accept, AcceptFetch, Refusal, SubgroupOptions};
use moqt_loopback::RelayOptions;
use moqt_session::{Publication, SubgroupReader, SubgroupWriter};

use crate::stage::{
    Stage, accept_subscribe, fetched, next_fetch, next_subscribe, payload, publish,
    publish_namespace, track,
};

/// Some objects of a subgroup, from its first or from the middle.
async fn write(publication: &Publication, objects: &[u64]) -> SubgroupWriter {
    let mut options = SubgroupOptions::new(0);
    options.subgroup_id = SubgroupId::Explicit(0);
    options.first_object = objects.first() == Some(&0);
    let mut writer = publication.open_subgroup(options).await.unwrap().unwrap();
    for object in objects {
        writer.write_object(*object, payload(Location::new(0, *object))).await.unwrap();
    }
    writer
}

/// These objects come next in a stream.
async fn expect(reader: &mut SubgroupReader, objects: &[u64]) {
    for object in objects {
        let seen = reader.read_object(1 << 20).await;
        let seen = seen.unwrap_or_else(|error| panic!("object {object}: {error}")).unwrap();
        assert_eq!(seen.location.object, *object);
    }
}

/// "A relay MUST NOT forward an Object on an existing Subgroup stream unless it is the next Object
/// in that Subgroup … If the relay does not know if an Object is the next Object, it MUST reset the
/// Subgroup stream and open a new one to forward it." One publisher dies, and another goes on
/// further on; nobody says what there was in between.
#[test]
fn what_may_not_be_the_next_object_goes_on_another_stream() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        for seed in 0..3 {
            let stage = Stage::new(number as u64 + seed);
            stage.run(async {
                let first = stage.near_client(draft).await;
                let _first_published = publish_namespace(&first).await;
                let subscriber = stage.near_client(draft).await;
                let pending = subscriber.subscribe(track("torn"), Parameters::default());
                let publication = accept_subscribe(&first).await;
                let mut subscription = pending.await.unwrap();
                let writer = write(&publication, &[0, 1]).await;
                let mut reader = subscription.next_subgroup().await.unwrap().unwrap();
                expect(&mut reader, &[0, 1]).await;
                let second = stage.near_client(draft).await;
                let _second_published = publish_namespace(&second).await;
                let mut accept = Accept::default();
                accept.parameters.largest_object = Some(Location::new(0, 4));
                let other = next_subscribe(&second).await.accept(accept).unwrap();
                let more = write(&other, &[5, 6]).await;
                stage.sleep(1000).await;
                first.close(SessionError::NoError, "it dies");
                drop(writer);
                // The other one does not have what is missing.
                next_fetch(&second).await.reject(Refusal::new(RequestErrorCode::InternalError));
                let torn =
                    reader.read_object(1 << 20).await.map(|object| object.map(|it| it.location));
                assert!(torn.is_err(), "{draft:?}, seed {seed}: {torn:?}");
                let mut reader = subscription.next_subgroup().await.unwrap().unwrap();
                expect(&mut reader, &[5, 6]).await;
                // "An MOQT implementation that processes a stream FIN is assured it has received all
                // objects in a subgroup from the start of the subscription."
                more.finish().unwrap();
                let end = reader.read_object(1 << 20).await;
                assert!(end.is_err(), "{draft:?}, seed {seed}: {end:?}");
            });
        }
    }
}

/// "It determined all Object IDs between the current and previous Object IDs on the Subgroup stream
/// … do not exist": the other publisher says so in a fetch, and the stream goes on. What does exist
/// goes before what was held back for it.
#[test]
fn what_is_known_to_be_the_next_object_goes_on_the_same_stream() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        for (seed, are_there) in (0..6).flat_map(|seed| [(seed, true), (seed, false)]) {
            let stage = Stage::new(number as u64 + seed);
            stage.run(async {
                let first = stage.near_client(draft).await;
                let _first_published = publish_namespace(&first).await;
                let subscriber = stage.near_client(draft).await;
                let pending = subscriber.subscribe(track("torn"), Parameters::default());
                let publication = accept_subscribe(&first).await;
                let mut subscription = pending.await.unwrap();
                let writer = write(&publication, &[0, 1]).await;
                let mut reader = subscription.next_subgroup().await.unwrap().unwrap();
                expect(&mut reader, &[0, 1]).await;
                let second = stage.near_client(draft).await;
                let _second_published = publish_namespace(&second).await;
                let mut accept = Accept::default();
                accept.parameters.largest_object = Some(Location::new(0, 4));
                let other = next_subscribe(&second).await.accept(accept).unwrap();
                let more = write(&other, &[5, 6]).await;
                stage.sleep(1000).await;
                first.close(SessionError::NoError, "it dies");
                drop(writer);
                let asked = next_fetch(&second).await;
                let range = asked.range();
                assert!(range.contains(Location::new(0, 4)), "{draft:?}: {range:?}");
                let mut answer = asked.accept(AcceptFetch::new(range.end)).unwrap();
                let missing: &[u64] = if are_there { &[2, 3, 4] } else { &[] };
                for object in [0, 1].iter().chain(missing) {
                    let location = Location::new(0, *object);
                    if range.contains(location) {
                        answer.write(&fetched(location), payload(location)).await.unwrap();
                    }
                }
                answer.finish().await.unwrap();
                expect(&mut reader, missing).await;
                expect(&mut reader, &[5, 6]).await;
                more.finish().unwrap();
                assert_eq!(reader.read_object(1 << 20).await.unwrap(), None, "{draft:?}, {seed}");
            });
        }
    }
}

/// "If a sender has delivered all objects in a Subgroup to the QUIC stream … it MUST close the stream
/// with a FIN." That what was published before is of another subgroup is known here, though not every
/// draft can say so in the stream.
#[test]
fn a_subgroup_that_begins_late_in_its_group_is_finished() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let mut options = RelayOptions::default();
        options.shards = 1;
        let stage = Stage::with(number as u64, options);
        stage.run(async {
            let first = stage.near_client(draft).await;
            let before = publish(&first, "late").await;
            before.accepted().await.unwrap();
            let subscriber = stage.near_client(draft).await;
            let mut parameters = Parameters::default();
            parameters.forward = Some(false);
            let pending = subscriber.subscribe(track("late"), parameters);
            let mut subscription = pending.await.unwrap();
            let mut options = SubgroupOptions::new(0);
            options.subgroup_id = SubgroupId::Explicit(1);
            let mut writer = before.open_subgroup(options).await.unwrap().unwrap();
            writer.write_object(0, payload(Location::ZERO)).await.unwrap();
            writer.finish().unwrap();
            stage.sleep(1000).await;
            let second = stage.near_client(draft).await;
            let _published = publish_namespace(&second).await;
            let mut accept = Accept::default();
            accept.parameters.largest_object = Some(Location::ZERO);
            let after = next_subscribe(&second).await.accept(accept).unwrap();
            let mut parameters = Parameters::default();
            parameters.forward = Some(true);
            subscription.update(parameters).await.unwrap();
            stage.sleep(1000).await;
            let mut options = SubgroupOptions::new(0);
            options.subgroup_id = SubgroupId::Explicit(0);
            let mut writer = after.open_subgroup(options).await.unwrap().unwrap();
            for object in [1, 2] {
                writer.write_object(object, payload(Location::new(0, object))).await.unwrap();
            }
            writer.finish().unwrap();
            let mut reader = subscription.next_subgroup().await.unwrap().unwrap();
            expect(&mut reader, &[1, 2]).await;
            assert_eq!(reader.read_object(1 << 20).await.unwrap(), None, "{draft:?}");
        });
    }
}

/// A relay that was given nothing says that nothing was published: LARGEST_OBJECT is what it has
/// "observed". What another publisher gives is not skipped for that.
#[test]
fn what_a_relay_has_not_observed_may_have_been_published() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let mut options = RelayOptions::default();
        options.shards = 1;
        let stage = Stage::with(2 * number as u64, options);
        stage.run(async {
            let middle = stage.below(&stage.relay, draft);
            let leaf = stage.below(&middle, draft);
            stage.sleep(2000).await;
            let below = stage.client_of(&leaf, draft).await;
            let below = publish(&below, "unseen").await;
            below.accepted().await.unwrap();
            stage.sleep(2000).await;
            let mut early = write(&below, &[0, 1]).await;
            stage.sleep(2000).await;
            let near = stage.near_client(draft).await;
            let near = publish(&near, "unseen").await;
            near.accepted().await.unwrap();
            let subscriber = stage.near_client(draft).await;
            let pending = subscriber.subscribe(track("unseen"), Parameters::default());
            let mut subscription = pending.await.unwrap();
            let mut late = write(&near, &[0]).await;
            stage.sleep(2000).await;
            for object in [2, 3] {
                early.write_object(object, payload(Location::new(0, object))).await.unwrap();
            }
            early.finish().unwrap();
            stage.sleep(500).await;
            for object in [1, 2, 3] {
                late.write_object(object, payload(Location::new(0, object))).await.unwrap();
            }
            late.finish().unwrap();
            let mut reader = subscription.next_subgroup().await.unwrap().unwrap();
            expect(&mut reader, &[0, 1, 2, 3]).await;
        });
    }
}
