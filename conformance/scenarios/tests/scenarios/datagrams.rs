//! Objects in datagrams (draft-18, "Object Datagram").

use bytes::Bytes;
use moqt_engine::model::{Location, Parameters, PublishDoneCode};
use moqt_engine::{Accept, DatagramOptions, DatagramOutcome};
use moqt_scenarios::{Setup, Stage, subscribed};
use moqt_session::Publication;

moqt_scenarios::scenarios![
    small_datagrams_come_as_they_were_sent,
    datagrams_are_as_large_as_the_path_allows_and_no_larger(unchanging),
];

/// The path's size stays what it is.
fn unchanging(setup: &mut Setup) {
    setup.transport.max_mtu = 1200;
}

fn payload(object: u64, len: usize) -> Bytes {
    let seed = usize::try_from(object).unwrap();
    (0..len).map(|at| u8::try_from((at * 7 + seed) % 241).unwrap()).collect()
}

fn send(publication: &Publication, object: u64, len: usize) -> DatagramOutcome {
    let options = DatagramOptions::new(Location::new(0, object));
    publication.datagram(options, payload(object, len)).unwrap()
}

async fn small_datagrams_come_as_they_were_sent(stage: Stage) {
    let (mut subscription, publication) =
        subscribed(&stage, "datagrams", Parameters::default(), Accept::default()).await;
    // One after the other: datagrams may overtake each other.
    for object in 0..20 {
        let len = 1 + usize::try_from(object).unwrap() * 10;
        assert_eq!(send(&publication, object, len), DatagramOutcome::Queued);
        let datagram = subscription.next_datagram().await.unwrap().unwrap();
        assert_eq!(datagram.location, Location::new(0, object));
        assert_eq!(datagram.payload, payload(object, len));
        assert_eq!(datagram.subgroup_id, None);
    }
    publication.done(PublishDoneCode::TrackEnded, "");
    assert!(subscription.next_datagram().await.unwrap().is_none());
    assert_eq!(stage.subscriber.stats().received.datagrams, 20);
}

async fn datagrams_are_as_large_as_the_path_allows_and_no_larger(stage: Stage) {
    let (mut subscription, publication) =
        subscribed(&stage, "datagrams", Parameters::default(), Accept::default()).await;
    // The first that is not too large.
    let sizes = (1000..1300).rev();
    let mut largest =
        sizes.skip_while(|len| send(&publication, 0, *len) != DatagramOutcome::Queued);
    let largest = largest.next().expect("none is taken");
    let datagram = subscription.next_datagram().await.unwrap().unwrap();
    assert_eq!(datagram.payload, payload(0, largest));
    // "[...] the object is dropped", and the publisher is told.
    let dropped = send(&publication, 0, largest + 1);
    assert!(matches!(dropped, DatagramOutcome::Dropped(_)), "{dropped:?}");
    assert_eq!(send(&publication, 1, 10), DatagramOutcome::Queued);
    let datagram = subscription.next_datagram().await.unwrap().unwrap();
    assert_eq!((datagram.location, datagram.payload), (Location::new(0, 1), payload(1, 10)));
    assert_eq!(stage.publisher.close_reason(), None);
}
