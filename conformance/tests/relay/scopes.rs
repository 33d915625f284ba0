//! What a session is closed for stays there (draft-18, "Publisher Interactions").

use moqt_conformance::{DRAFTS, say};
use moqt_engine::model::{Message, NamespaceInterest, Parameters, RequestErrorCode, SetupOptions};
use moqt_engine::{Dir, Draft, Role};
use moqt_loopback::{LinkConfig, RawId, StreamId};

use crate::stage::{Stage, refusal};

/// A client that sends what it is told to.
struct Raw<'a> {
    stage: &'a Stage,
    draft: Draft,
    id: RawId,
    control: StreamId,
}

impl<'a> Raw<'a> {
    async fn connect(stage: &'a Stage, draft: Draft) -> Self {
        let link = LinkConfig::default();
        let id = stage.simulation.connect_raw_to_relay(&stage.relay, draft, link);
        stage.sleep(1000).await;
        let dir = if draft.dialect().answers_by_stream { Dir::Uni } else { Dir::Bi };
        let control = stage.simulation.with_network(|network| network.script(id).open(dir));
        let raw = Self { stage, draft, id, control: control.unwrap() };
        raw.send(raw.control, say::setup(draft, Role::Client, SetupOptions::default()));
        stage.sleep(1000).await;
        raw
    }

    fn open(&self, dir: Dir) -> StreamId {
        self.stage.simulation.with_network(|network| network.script(self.id).open(dir)).unwrap()
    }

    fn send(&self, stream: StreamId, bytes: Vec<u8>) {
        self.stage.simulation.with_network(|network| network.script(self.id).send(stream, bytes));
    }

    /// A request, where the draft has it.
    fn request(&self, message: &Message) {
        let bytes = say::message(self.draft, message);
        let has_stream = self.draft.dialect().answers_by_stream;
        let stream = if has_stream { self.open(Dir::Bi) } else { self.control };
        self.send(stream, bytes);
    }

    fn is_closed(&self) -> bool {
        self.stage.simulation.with_network(|network| network.raw(self.id).closed().is_some())
    }
}

/// "If a Session is closed due to an unknown or invalid control message or Object, the Relay MUST NOT
/// propagate that message or Object to another Session": an object with a status that there is not.
#[test]
fn an_object_that_closes_a_session_goes_no_further() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        for to in DRAFTS {
            let stage = Stage::new(number as u64);
            stage.run(async {
                let raw = Raw::connect(&stage, draft).await;
                raw.request(&say::publish(0, "bad", 7));
                stage.sleep(1000).await;
                let subscriber = stage.near_client(to).await;
                let pending = subscriber.subscribe(say::track("bad"), Parameters::default());
                let mut subscription = pending.await.unwrap();
                stage.sleep(1000).await;
                let mut bytes = say::subgroup(draft, 7, 0, &[(0, b"good")]);
                // The next object, of no payload, and its status.
                bytes.extend([0, 0, 9]);
                raw.send(raw.open(Dir::Uni), bytes);
                let mut reader = subscription.next_subgroup().await.unwrap().unwrap();
                let object = reader.read_object(1 << 10).await.unwrap().unwrap();
                assert_eq!(&object.payload[..], b"good", "{draft:?} to {to:?}");
                let more = reader.read_object(1 << 10).await;
                assert!(more.is_err(), "{draft:?} to {to:?}: {more:?}");
                assert!(raw.is_closed(), "{draft:?}");
                let status = subscriber.track_status(say::track("none"), Parameters::default());
                let code = refusal(status.await);
                assert_eq!(code, RequestErrorCode::DoesNotExist, "{draft:?} to {to:?}");
            });
        }
    }
}

/// The same of a message, one whose Request ID is not a client's.
#[test]
fn a_message_that_closes_a_session_goes_no_further() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        for to in DRAFTS {
            let stage = Stage::new(number as u64);
            stage.run(async {
                let listener = stage.near_client(to).await;
                let asked = listener.subscribe_namespace(
                    say::namespace("bad"),
                    NamespaceInterest::Namespaces,
                    Parameters::default(),
                );
                let mut listening = asked.await.unwrap();
                let raw = Raw::connect(&stage, draft).await;
                raw.request(&say::publish_namespace(1, "bad"));
                stage.sleep(1000).await;
                assert!(raw.is_closed(), "{draft:?}");
                assert!(stage.nothing_comes(listening.next()).await, "{draft:?} to {to:?}");
                let other = Raw::connect(&stage, draft).await;
                other.request(&say::publish_namespace(0, "bad"));
                listening.next().await.unwrap();
                assert_eq!(listener.close_reason(), None, "{draft:?} to {to:?}");
            });
        }
    }
}
