//! What is said of a relay over HTTP.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use moqt_engine::Draft;
use moqt_relay_server::observe::Observer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{anywhere, bounded, crosses, publish, start, subscribe};

/// Status and body of what is at a path.
async fn get(observer: &Observer, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(observer.local_addr()).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    bounded(stream.read_to_string(&mut text)).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The samples of a text, each with its name and labels, in the grammar of OpenMetrics.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut types = BTreeMap::new();
    assert!(text.ends_with("# EOF\n"));
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            if words.next() == Some("TYPE") {
                let (name, kind) = (words.next().unwrap(), words.next().unwrap());
                assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} twice");
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        let family = name.strip_suffix("_total").unwrap_or(name);
        let kind = types.get(family).unwrap_or_else(|| panic!("{line}: no type"));
        assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
        let old = samples.insert(series.to_owned(), value.parse().unwrap());
        assert!(old.is_none(), "{series} twice");
    }
    samples
}

#[tokio::test]
async fn figures_are_of_every_shard() {
    let relay = start(2, |_| {});
    let observer = Observer::bind(anywhere(), relay.relay.reporter()).await.unwrap();
    let publisher = relay.connect(Draft::D18).await;
    let subscriber = relay.connect(Draft::D16).await;
    let publication = publish(&publisher, "counted").await;
    let mut subscription = subscribe(&subscriber, "counted").await;
    for group in 0..3 {
        crosses(&publication, &mut subscription, group).await;
    }
    let (status, text) = get(&observer, "GET", "/metrics").await;
    assert_eq!(status, 200);
    let samples = parse(&text);
    let of_both = |name: &str| -> f64 {
        ["0", "1"]
            .map(|shard| samples[&format!("moqt_relay_{name}{{shard=\"{shard}\"}}")])
            .iter()
            .sum()
    };
    assert!((of_both("sessions") - 2.0).abs() < 0.1, "{text}");
    // What goes from shard to shard may be counted in both.
    assert!(of_both("objects_in_total") >= 3.0, "{text}");
    assert!((of_both("objects_out_total") - 3.0).abs() < 0.1, "{text}");
    assert!((of_both("object_bytes_out_total") - 9000.0).abs() < 0.1, "{text}");
    assert!(of_both("udp_bytes_in_total") > 9000.0, "{text}");
    assert!((samples["moqt_relay_clients"] - 2.0).abs() < 0.1, "{text}");
    assert!((samples["moqt_relay_clients_half_open"]).abs() < 0.1, "{text}");
    if cfg!(target_os = "linux") {
        assert!(samples["moqt_relay_resident_memory_bytes"] > 1e6, "{text}");
    }
}

#[tokio::test]
async fn health_is_gone_from_when_the_relay_is_to_leave() {
    let relay = start(1, |_| {});
    let observer = Observer::bind(anywhere(), relay.relay.reporter()).await.unwrap();
    let session = relay.connect(Draft::D18).await;
    assert_eq!(get(&observer, "GET", "/health").await, (200, "ok\n".into()));
    assert_eq!(get(&observer, "POST", "/health").await.0, 405);
    assert_eq!(get(&observer, "GET", "/").await.0, 404);
    relay.relay.leave(&Bytes::new(), Duration::from_secs(20));
    assert_eq!(get(&observer, "GET", "/health").await, (503, "leaving\n".into()));
    // Figures are there to the end.
    assert_eq!(get(&observer, "GET", "/metrics").await.0, 200);
    drop(session);
}
