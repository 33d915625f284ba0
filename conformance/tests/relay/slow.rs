//! A subscriber that reads less than is published (draft-18, "PUBLISH_DONE": TOO_FAR_BEHIND, "The
//! publisher's queue of objects to be sent to the given subscriber exceeds its implementation
//! defined limit").

use std::sync::Arc;
use std::time::Duration;

use moqt_conformance::DRAFTS;
use moqt_engine::model::{Parameters, PublishDoneCode};
use moqt_engine::{Config, MoqtConnection, Role, SubgroupOptions, Transport};
use moqt_loopback::{LinkConfig, RelayOptions};

use crate::stage::{Stage, accept_subscribe, publish_namespace, track};

/// Bytes of an object.
const SIZE: usize = 1000;
/// Objects: more than the relay queues and the subscriber's window has room for.
const OBJECTS: u64 = 500;
/// Those that are read, so that the relay goes on for a while.
const READ: usize = 150;

/// Who has taken something takes up no patience until then, and who takes nothing more has no more
/// than is configured, though nothing more is published either.
#[test]
fn who_reads_no_more_is_let_go_in_time() {
    for (seed, draft) in (0..).zip(DRAFTS) {
        let mut options = RelayOptions::default();
        options.config.too_far_behind = Duration::from_secs(5);
        options.connections.limits.subscription_send = 10 * SIZE;
        let stage = Stage::with(seed, options);
        stage.run(async {
            let publisher = stage.client(draft).await;
            let _namespace = publish_namespace(&publisher).await;
            let mut config = Config::default();
            config.limits.stream_receive = 4 * SIZE;
            let (config, now) = (Arc::new(config), stage.simulation.now());
            let client = MoqtConnection::new(Role::Client, draft, Transport::Quic, config, now);
            let mut link = LinkConfig::default();
            link.down.stream_window = 8 * SIZE as u64;
            let relay = &stage.relay;
            let slow = stage.simulation.connect_to_relay(relay, client, link).await.unwrap();
            let pending = slow.subscribe(track("t"), Parameters::default());
            let publication = accept_subscribe(&publisher).await;
            let mut subscription = pending.await.unwrap();
            let options = SubgroupOptions::new(0);
            let mut writer = publication.open_subgroup(options).await.unwrap().unwrap();
            for object in 0..OBJECTS {
                writer.write_object(object, vec![7; SIZE].into()).await.unwrap();
            }
            let mut reader = subscription.next_subgroup().await.unwrap().unwrap();
            stage.sleep(3000).await;
            for _ in 0..READ {
                assert!(reader.read_object(SIZE).await.unwrap().is_some());
            }
            stage.sleep(5500).await;
            // What was still to come does not.
            let mut read = READ;
            while let Ok(Some(_)) = reader.read_object(SIZE).await {
                read += 1;
            }
            assert!(read < usize::try_from(OBJECTS).unwrap(), "{draft:?}: it is still served");
            assert!(subscription.next_subgroup().await.unwrap().is_none());
            let done = subscription.done().expect("it ended");
            assert_eq!(done.code, PublishDoneCode::TooFarBehind, "{draft:?}");
        });
    }
}
