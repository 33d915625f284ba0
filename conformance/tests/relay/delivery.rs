//! What goes first, and what comes too late, where a subscriber takes less than is published
//! (draft-18, "Priorities" and "Delivery Timeouts and Data Reliability").

use std::cell::RefCell;

use bytes::Bytes;
use moqt_conformance::DRAFTS;
use moqt_engine::model::{Parameters, StreamResetCode, SubgroupId};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{Draft, SubgroupOptions};
use moqt_loopback::LinkConfig;
use moqt_session::{Publication, ReadError, Session, SubgroupReader, SubgroupWriter, Subscription};

use crate::stage::{Stage, accept_subscribe, publish_namespace, track};

/// What the link to the subscriber takes, in bytes a second.
const BANDWIDTH: u64 = 50_000;
/// What it takes four seconds for.
const LARGE: usize = 200_000;

/// A session that cannot take much from the relay.
async fn narrow_client(stage: &Stage, draft: Draft) -> Session {
    let mut link = LinkConfig::default();
    link.down.bandwidth = Some(BANDWIDTH);
    stage.client_over(draft, link).await
}

/// A track of this name, from the publisher to the subscriber.
async fn way(
    [publisher, subscriber]: [&Session; 2],
    name: &str,
    parameters: Parameters,
) -> (Publication, Subscription) {
    let pending = subscriber.subscribe(track(name), parameters);
    let publication = accept_subscribe(publisher).await;
    (publication, pending.await.unwrap())
}

async fn open(publication: &Publication, subgroup: u64, priority: u8) -> SubgroupWriter {
    let mut options = SubgroupOptions::new(0);
    options.subgroup_id = SubgroupId::Explicit(subgroup);
    options.publisher_priority = Some(priority);
    publication.open_subgroup(options).await.unwrap().unwrap()
}

async fn write(writer: &mut SubgroupWriter, object_id: u64, len: usize) {
    let header = ObjectHeader { object_id, payload_len: len as u64, ..ObjectHeader::default() };
    writer.write(&header, vec![7; len].into()).await.unwrap();
}

async fn read(reader: &mut SubgroupReader) -> Result<Option<Bytes>, ReadError> {
    Ok(reader.read_object(LARGE).await?.map(|object| object.payload))
}

/// "relays SHOULD respect the subscriber and original publisher's priorities"; "A relay SHOULD
/// prioritize sending Objects based on Priorities": what came first goes last. The subscriber's
/// priority counts more than the publisher's.
#[test]
fn what_is_more_urgent_goes_first() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        for seed in 0..3 {
            let stage = Stage::new(number as u64 + seed);
            stage.run(async {
                let publisher = stage.near_client(draft).await;
                let _published = publish_namespace(&publisher).await;
                let subscriber = narrow_client(&stage, draft).await;
                let priority = |priority| {
                    let mut parameters = Parameters::default();
                    parameters.subscriber_priority = Some(priority);
                    parameters
                };
                let ends = [&publisher, &subscriber];
                let (late, late_in) = way(ends, "late", priority(200)).await;
                let (soon, soon_in) = way(ends, "soon", priority(10)).await;
                let mut writers = Vec::new();
                for (publication, subgroup, priority) in
                    [(&late, 0, 0), (&soon, 0, 128), (&soon, 1, 3)]
                {
                    let mut writer = open(publication, subgroup, priority).await;
                    write(&mut writer, 10 * subgroup, 1).await;
                    writers.push(writer);
                }
                let mut readers = Vec::new();
                let mut subscriptions = [late_in, soon_in];
                for which in [0, 1, 1] {
                    let mut reader = subscriptions[which].next_subgroup().await.unwrap().unwrap();
                    read(&mut reader).await.unwrap().unwrap();
                    readers.push(reader);
                }
                readers[1..].sort_by_key(|reader| reader.info().publisher_priority);
                let arrived = RefCell::new(Vec::new());
                let mut reading = Vec::new();
                for (reader, name) in readers.iter_mut().zip(["late", "soonest", "soon"]) {
                    let arrived = &arrived;
                    reading.push(async move {
                        let payload = read(reader).await.unwrap().unwrap();
                        assert_eq!(payload.len(), LARGE);
                        arrived.borrow_mut().push(name);
                    });
                }
                let [first, second, third] = reading.try_into().ok().unwrap();
                let writing = async {
                    for (writer, object) in writers.iter_mut().zip([1, 1, 11]) {
                        write(writer, object, LARGE).await;
                    }
                };
                tokio::join!(first, second, third, writing);
                assert_eq!(arrived.take(), ["soonest", "soon", "late"], "{draft:?}, seed {seed}");
            });
        }
    }
}

/// DELIVERY_TIMEOUT is "the duration in milliseconds the relay SHOULD continue to attempt
/// forwarding Objects after they have been received" (draft-16; from draft 18 on it is the time
/// after which it "MUST reset the underlying transport stream with the reset stream code
/// DELIVERY_TIMEOUT"): each subscriber's own.
#[test]
fn objects_are_forwarded_for_as_long_as_their_subscriber_says() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        for seed in 0..3 {
            let stage = Stage::new(number as u64 + seed);
            stage.run(async {
                let publisher = stage.near_client(draft).await;
                let _published = publish_namespace(&publisher).await;
                let subscriber = narrow_client(&stage, draft).await;
                let ends = [&publisher, &subscriber];
                let mut tracks = Vec::new();
                for (name, priority, timeout) in
                    [("bulk", 0, None), ("patient", 200, Some(20_000)), ("hasty", 200, Some(1000))]
                {
                    let mut parameters = Parameters::default();
                    parameters.subscriber_priority = Some(priority);
                    parameters.object_delivery_timeout = timeout;
                    let (publication, mut subscription) = way(ends, name, parameters).await;
                    let mut writer = open(&publication, 0, 128).await;
                    write(&mut writer, 0, 1).await;
                    let mut reader = subscription.next_subgroup().await.unwrap().unwrap();
                    read(&mut reader).await.unwrap().unwrap();
                    tracks.push((publication, subscription, writer, reader));
                }
                // What is small waits until what is large has gone.
                for ((_, _, writer, _), len) in tracks.iter_mut().zip([LARGE, 1000, 1000]) {
                    write(writer, 1, len).await;
                }
                let [bulk, patient, hasty] = tracks.try_into().ok().unwrap();
                let (mut bulk_in, mut patient_in, mut hasty_in) = (bulk.3, patient.3, hasty.3);
                let bulk = read(&mut bulk_in).await.unwrap().unwrap();
                assert_eq!(bulk.len(), LARGE, "{draft:?}, seed {seed}");
                let patient = read(&mut patient_in).await.unwrap().unwrap();
                assert_eq!(patient.len(), 1000, "{draft:?}, seed {seed}");
                let late = read(&mut hasty_in).await;
                let expected = Err(ReadError::Reset(StreamResetCode::DeliveryTimeout));
                assert_eq!(late, expected, "{draft:?}, seed {seed}");
            });
        }
    }
}
