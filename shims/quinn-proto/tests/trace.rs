//! Traces of sessions over UDP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod common;

use std::sync::{Arc, Mutex};

use common::{anywhere, bounded, target};
use moqt_engine::model::{MessageKind, Parameters};
use moqt_engine::{Accept, Draft, Role, TraceEvent};
use moqt_quinn_proto::session::Incoming;
use moqt_quinn_proto::{
    Client, ClientOptions, ClientTls, Identity, Server, ServerOptions, Trace, TraceSink, Traced,
    Verify,
};

type Log = Arc<Mutex<Vec<Traced>>>;

fn trace_into(log: &Log) -> Trace {
    let log = log.clone();
    Trace::new(move |_| {
        let log = log.clone();
        let sink: TraceSink = Box::new(move |traced| log.lock().unwrap().push(traced));
        Some(sink)
    })
}

/// A subscription that the server accepts, over a connection traced so at each end.
async fn session(draft: Draft, client: Option<Trace>, server: Option<Trace>) {
    let identity = Identity::self_signed([]).unwrap();
    let mut options = ClientOptions::default();
    options.tls = ClientTls::new(Verify::Pinned(vec![identity.sha256()]));
    (options.drafts, options.trace) = (vec![draft], client);
    let mut server_options = ServerOptions::new(identity);
    server_options.trace = server;
    let server = Server::bind(anywhere(), &server_options).unwrap();
    let target = target(&server);
    let connecting = Client::connect(&target, &options);
    let (client, accepted) = bounded(async { tokio::join!(connecting, server.accept()) }).await;
    let (client, accepted) = (client.unwrap(), accepted.unwrap());
    let pending = client.subscribe("demo--traced".parse().unwrap(), Parameters::default());
    let accepting = async {
        let Incoming::Subscribe(request) = accepted.accept_request().await.unwrap() else {
            panic!()
        };
        request.accept(Accept::default()).unwrap()
    };
    let (subscription, _publication) = bounded(async { tokio::join!(pending, accepting) }).await;
    drop(subscription.unwrap());
}

/// Where and how often a message was created or parsed.
fn places(log: &Log, name: &str, wanted: MessageKind) -> Vec<u64> {
    let log = log.lock().unwrap();
    let of_that_name = log.iter().filter(|traced| traced.event.name() == name);
    of_that_name
        .filter_map(|traced| match &traced.event {
            TraceEvent::ControlMessageCreated(message)
            | TraceEvent::ControlMessageParsed(message) => {
                (message.kind == wanted).then(|| traced.stream_id.expect("a live stream"))
            }
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn both_ends_tell_of_the_same_messages_on_the_same_quic_streams() {
    for draft in Draft::ALL {
        let (client, server) = (Log::default(), Log::default());
        session(draft, Some(trace_into(&client)), Some(trace_into(&server))).await;
        let ways = [
            (MessageKind::Subscribe, &client, &server),
            (MessageKind::SubscribeOk, &server, &client),
        ];
        for (kind, from, to) in ways {
            let created = places(from, "control_message_created", kind);
            assert_eq!(created.len(), 1, "{draft}: {kind:?}");
            assert_eq!(created, places(to, "control_message_parsed", kind), "{draft}: {kind:?}");
        }
        for log in [client, server] {
            let log = log.lock().unwrap();
            assert!(log.is_sorted_by_key(|traced| traced.at), "{draft}");
            let types = log.iter().filter(|traced| traced.event.name() == "stream_type_set");
            assert!(types.clone().count() > 0, "{draft}");
            assert!(types.into_iter().all(|traced| traced.stream_id.is_some()), "{draft}");
        }
    }
}

#[tokio::test]
async fn a_connection_without_a_sink_is_not_traced() {
    let (client, asked) = (Log::default(), Arc::new(Mutex::new(Vec::new())));
    let nothing = {
        let asked = asked.clone();
        Trace::new(move |connection| {
            asked.lock().unwrap().push(connection.role);
            None
        })
    };
    session(Draft::D18, Some(trace_into(&client)), Some(nothing)).await;
    assert_eq!(*asked.lock().unwrap(), [Role::Server], "once for each connection");
    assert!(!client.lock().unwrap().is_empty());
}
