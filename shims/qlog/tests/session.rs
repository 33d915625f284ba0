//! The logs of both ends of a session, over UDP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use moqt_engine::model::{AuthToken, Parameters, PublishDoneCode};
use moqt_engine::{Accept, Draft, SubgroupOptions};
use moqt_qlog::{EVENT_SCHEMA, Qlog};
use moqt_quinn_proto::session::Incoming;
use moqt_quinn_proto::{
    Client, ClientOptions, ClientTls, Identity, Server, ServerOptions, Target, Verify,
};
use serde_json::Value;

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    folder
}

/// A subscription by a client that brings a token, with a subgroup of two objects.
async fn session(draft: Draft, scheme: &str, qlog: &Qlog) {
    let identity = Identity::self_signed([]).unwrap();
    let mut options = ClientOptions::default();
    options.tls = ClientTls::new(Verify::Pinned(vec![identity.sha256()]));
    (options.drafts, options.trace) = (vec![draft], Some(qlog.trace()));
    let mut server = ServerOptions::new(identity);
    server.trace = Some(qlog.trace());
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), &server).unwrap();
    let target: Target = format!("{scheme}://{}/a", server.local_addr()).parse().unwrap();
    let (client, accepted) = tokio::join!(Client::connect(&target, &options), server.accept());
    let (client, accepted) = (client.unwrap(), accepted.unwrap());
    let mut parameters = Parameters::default();
    let value = Bytes::from_static(b"SECRET");
    parameters.authorization_tokens = vec![AuthToken::UseValue { token_type: 0, value }];
    let pending = client.subscribe("demo--traced".parse().unwrap(), parameters);
    let accepting = async {
        let Incoming::Subscribe(request) = accepted.accept_request().await.unwrap() else {
            panic!("something else")
        };
        request.accept(Accept::default()).unwrap()
    };
    let (subscription, publication) = tokio::join!(pending, accepting);
    let mut subscription = subscription.unwrap();
    let mut subgroup = publication.open_subgroup(SubgroupOptions::new(5)).await.unwrap().unwrap();
    for (id, payload) in [(3, "one"), (7, "seven")] {
        subgroup.write_object(id, payload.into()).await.unwrap();
    }
    subgroup.finish().unwrap();
    publication.done(PublishDoneCode::TrackEnded, "it is over");
    let mut objects = 0;
    while subscription.next_object().await.unwrap().is_some() {
        objects += 1;
    }
    assert_eq!(objects, 2);
}

/// The records of the one log of this role.
fn log(folder: &Path, role: &str) -> Vec<Value> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut files =
        files.filter(|file| file.to_str().unwrap().ends_with(&format!("_{role}.sqlog")));
    let text = fs::read_to_string(files.next().expect("a log")).unwrap();
    assert!(files.next().is_none(), "a log a connection");
    assert!(!text.contains("SECRET") && !text.contains("seven"), "{text}");
    // RFC 7464: each text is between a separator and a line feed.
    assert!(text.starts_with('\x1e') && text.ends_with('\n'));
    text.split('\x1e').skip(1).map(|record| serde_json::from_str(record).unwrap()).collect()
}

/// What was created or parsed, but for what only the engine can tell at both ends alike.
fn said<'a>(log: &'a [Value], how: &str) -> Vec<(&'a str, &'a Value)> {
    let end = format!("_{how}");
    let named = log.iter().filter_map(|record| Some((record["name"].as_str()?, &record["data"])));
    named.filter_map(|(name, data)| Some((name.strip_suffix(&end)?, data))).collect()
}

fn find<'a>(log: &'a [Value], name: &str) -> &'a Value {
    let found = log.iter().find(|record| record["name"] == name);
    &found.unwrap_or_else(|| panic!("no {name}: {log:?}"))["data"]
}

#[tokio::test]
async fn both_ends_write_the_same_session() {
    for draft in Draft::ALL {
        for scheme in ["moqt", "https"] {
            let folder = folder(&format!("session-{scheme}-{}", draft.number()));
            let qlog = Qlog::in_folder(&folder).unwrap();
            let bounded = Duration::from_secs(30);
            tokio::time::timeout(bounded, session(draft, scheme, &qlog)).await.unwrap();
            qlog.finish();
            let (client, server) = (log(&folder, "client"), log(&folder, "server"));
            for role in ["client", "server"] {
                let packets = log(&folder, &format!("{role}_quic"));
                let names = packets.iter().filter_map(|record| record["name"].as_str());
                let names: Vec<&str> = names.collect();
                // From the handshake on, which was before there was a session.
                assert!(names.contains(&"transport:packet_sent"), "{names:?}");
                assert!(
                    packets
                        .iter()
                        .any(|record| { record["data"]["header"]["packet_type"] == "initial" })
                );
                assert_eq!(packets[0]["qlog_format"], "JSON-SEQ");
            }
            for (log, role) in [(&client, "client"), (&server, "server")] {
                // draft-ietf-quic-qlog-main-schema, "QlogFileSeq" and "TraceSeq".
                let header = &log[0];
                assert_eq!(header["file_schema"], "urn:ietf:params:qlog:file:sequential");
                assert_eq!(header["serialization_format"], "application/qlog+json-seq");
                assert_eq!(header["trace"]["vantage_point"]["type"], role);
                assert_eq!(header["trace"]["event_schemas"][0], EVENT_SCHEMA);
                let times: Vec<f64> =
                    log[1..].iter().map(|record| record["time"].as_f64().unwrap()).collect();
                assert!(times.is_sorted() && times[0].abs() < 1e-9, "{times:?}");
            }
            // What the publisher has created the subscriber has parsed, in the same words.
            let objects = |log, how| {
                let said = said(log, how).into_iter();
                let said = said.filter(|(name, _)| name.contains("subgroup"));
                said.map(|(name, data)| (name.to_owned(), data.clone())).collect::<Vec<_>>()
            };
            let created = objects(&server, "created");
            assert_eq!(created.len(), 3, "{created:?}");
            assert_eq!(created, objects(&client, "parsed"));
            // draft-pardue-moq-qlog-moq-events-07, "subgroup_object_created".
            let (first, second) = (&created[1].1, &created[2].1);
            assert_eq!(
                (&first["object_id_delta"], &second["object_id_delta"]),
                (&3.into(), &3.into())
            );
            assert_eq!(second["object_payload_length"], 5);
            assert_eq!(created[0].1["group_id"], 5);
            let subscribes: Vec<&Value> = said(&server, "parsed")
                .into_iter()
                .map(|(_, data)| &data["message"])
                .filter(|message| message["type"] == "subscribe")
                .collect();
            let [subscribe] = subscribes[..] else { panic!("{subscribes:?}") };
            assert_eq!(subscribe["track_namespace"][0]["value"], "demo");
            assert_eq!(subscribe["track_name"]["value"], "traced");
            let token = &subscribe["parameters"][0];
            assert_eq!(token["name"], "authorization_token");
            assert_eq!(token["token_value"], serde_json::json!({ "length": 6 }));
            let done = said(&server, "created").into_iter().map(|(_, data)| &data["message"]);
            let mut done = done.filter(|message| message["type"] == "publish_done");
            assert_eq!(done.next().unwrap()["reason"], "it is over");
            assert!(find(&client, "moqt:stream_type_set")["stream_type"].is_string());
        }
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    assert!(Qlog::in_folder("/dev/null/logs").is_err());
}
