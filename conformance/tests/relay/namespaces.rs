//! Namespaces and who hears of them.

use moqt_conformance::DRAFTS;
use moqt_engine::model::{NamespaceInterest, Parameters, TrackNamespace};
use moqt_session::NamespaceEvent;

use crate::stage::{Stage, namespace, publish_namespace};

/// "Relays MUST forward PUBLISH_NAMESPACE … messages to all matching subscribers", whoever came
/// first; and not to the one who published it.
#[test]
fn who_asks_hears_of_namespaces() {
    for (number, from) in DRAFTS.into_iter().enumerate() {
        for to in DRAFTS {
            let stage = Stage::new(number as u64);
            stage.run(async {
                let listener = stage.client(to).await;
                let prefix = TrackNamespace::new([namespace().field(0).unwrap()]).unwrap();
                let interest = NamespaceInterest::Namespaces;
                let parameters = Parameters::default();
                let mut early = listener
                    .subscribe_namespace(prefix.clone(), interest, parameters.clone())
                    .await
                    .unwrap();
                let publisher = stage.client(from).await;
                let published = publish_namespace(&publisher).await;
                let late = stage.client(to).await;
                let mut late =
                    late.subscribe_namespace(prefix, interest, parameters).await.unwrap();
                for subscription in [&mut early, &mut late] {
                    match subscription.next().await.unwrap() {
                        NamespaceEvent::Namespace(told) => {
                            assert_eq!(told, namespace(), "{from:?} to {to:?}");
                        }
                        other => panic!("{from:?} to {to:?}: {other:?}"),
                    }
                }
                drop(published);
                for subscription in [&mut early, &mut late] {
                    match subscription.next().await.unwrap() {
                        NamespaceEvent::NamespaceDone(told) => assert_eq!(told, namespace()),
                        other => panic!("{from:?} to {to:?}: {other:?}"),
                    }
                }
            });
        }
    }
}
