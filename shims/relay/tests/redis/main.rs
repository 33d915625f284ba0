//! Relays find each other through a real Redis.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod server;

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use moqt_engine::model::TrackNamespace;
use moqt_relay_server::directory::{
    Answer, OriginDirectory, RedisDirectory, RedisSettings, keep_fresh,
};
use redis::Commands;

use server::RedisServer;

/// Relays with short names here: `a` is at `moqt://a`.
fn relay(redis: &RedisServer, name: &str) -> RedisDirectory {
    let mut settings = RedisSettings::default();
    settings.own_url = Some(format!("moqt://{name}"));
    // Longer than any test: none dies but where it is meant to.
    settings.time_to_live = Duration::from_secs(3600);
    RedisDirectory::open(&redis.url(), settings).unwrap()
}

fn finder(redis: &RedisServer) -> RedisDirectory {
    RedisDirectory::open(&redis.url(), RedisSettings::default()).unwrap()
}

fn namespace(text: &str) -> TrackNamespace {
    TrackNamespace::new(text.split('/').filter(|field| !field.is_empty())).unwrap()
}

fn all(texts: &[&str]) -> Vec<TrackNamespace> {
    texts.iter().map(|text| namespace(text)).collect()
}

/// Who holds it, as `relay:fields of what it holds`.
async fn found(directory: &RedisDirectory, text: &str) -> Vec<String> {
    let found = directory.find(&namespace(text)).await.unwrap();
    let shown = found.iter().map(|origin| {
        format!("{}:{}", origin.url.trim_start_matches("moqt://"), origin.namespace.len())
    });
    shown.collect()
}

/// All keys there are.
fn keys(redis: &RedisServer) -> Vec<String> {
    let mut connection = redis.client().get_connection().unwrap();
    let mut keys: Vec<String> = connection.keys("*").unwrap();
    keys.sort();
    keys
}

/// Takes a relay's lease away, as time does.
fn let_die(redis: &RedisServer, name: &str) {
    let mut connection = redis.client().get_connection().unwrap();
    for key in keys(redis).iter().filter(|key| key.starts_with("moqt:lease:")) {
        let url: String = connection.get(key).unwrap();
        if url == format!("moqt://{name}") {
            let () = connection.del(key).unwrap();
        }
    }
}

#[tokio::test]
async fn who_holds_a_prefix_is_found_longest_first_and_not_oneself() {
    let Some(redis) = RedisServer::start() else { return };
    let [a, b, c] = ["a", "b", "c"].map(|name| relay(&redis, name));
    a.register(&all(&["meet", "meet/room"])).await.unwrap();
    b.register(&all(&["meet/room", "meet/room/audio/x", "other"])).await.unwrap();
    let finder = finder(&redis);
    assert_eq!(found(&finder, "meet/room/audio").await, ["a:2", "b:2"]);
    assert_eq!(found(&finder, "meet/room/audio/x/y").await, ["b:4", "a:2"]);
    assert_eq!(found(&finder, "meet/hall").await, ["a:1"]);
    assert_eq!(found(&finder, "meeting").await, [""; 0]);
    assert_eq!(found(&finder, "").await, [""; 0]);
    assert_eq!(found(&a, "meet/room").await, ["b:2"], "not itself");
    // What all relays hold is found last.
    c.register(&[TrackNamespace::root()]).await.unwrap();
    assert_eq!(found(&finder, "meet/hall").await, ["a:1", "c:0"]);
    // Fields are bytes: what looks like two fields may be one.
    let one = TrackNamespace::new([&b"meet/room"[..]]).unwrap();
    assert_eq!(finder.find(&one).await.unwrap()[0].url, "moqt://c");
}

#[tokio::test]
async fn what_is_withdrawn_as_often_as_registered_is_gone() {
    let Some(redis) = RedisServer::start() else { return };
    let (a, finder) = (relay(&redis, "a"), finder(&redis));
    a.register(&all(&["x", "y"])).await.unwrap();
    a.register(&all(&["x"])).await.unwrap();
    a.withdraw(&all(&["x", "never held"])).await.unwrap();
    assert_eq!(found(&finder, "x").await, ["a:1"], "another shard holds it still");
    a.withdraw(&all(&["x"])).await.unwrap();
    assert_eq!(found(&finder, "x").await, [""; 0]);
    assert_eq!(found(&finder, "y").await, ["a:1"]);
    a.withdraw(&all(&["x", "y"])).await.unwrap();
    let left = keys(&redis);
    assert_eq!(left.len(), 2, "the lease and the instance: {left:?}");
    a.register(&all(&["x"])).await.unwrap();
    assert_eq!(found(&finder, "x").await, ["a:1"]);
}

#[tokio::test]
async fn a_relay_that_leaves_leaves_nothing() {
    let Some(redis) = RedisServer::start() else { return };
    let (a, finder) = (relay(&redis, "a"), finder(&redis));
    let many: Vec<_> = (0..1200).map(|number| namespace(&format!("many/{number}"))).collect();
    a.register(&many).await.unwrap();
    assert_eq!(found(&finder, "many/1199").await, ["a:2"]);
    a.leave().await.unwrap();
    assert_eq!(found(&finder, "many/0").await, [""; 0]);
    assert_eq!(keys(&redis), [""; 0]);
}

#[tokio::test]
async fn a_dead_relay_is_not_found_and_others_clear_away_what_it_left() {
    let Some(redis) = RedisServer::start() else { return };
    let (a, b) = (relay(&redis, "a"), relay(&redis, "b"));
    let many: Vec<_> = (0..1200).map(|number| namespace(&format!("many/{number}"))).collect();
    a.register(&many).await.unwrap();
    b.register(&all(&["many/7"])).await.unwrap();
    assert_eq!(found(&b, "many/7").await, ["a:2"]);
    let_die(&redis, "a");
    assert_eq!(found(&b, "many/7").await, [""; 0]);
    assert!(keys(&redis).len() > 1200);
    // From time to time a relay looks for dead ones as it refreshes.
    for _ in 0..12 {
        b.refresh().await.unwrap();
    }
    let left = keys(&redis);
    assert_eq!(left.len(), 4, "lease, instances, held and one namespace: {left:?}");
    assert_eq!(found(&finder(&redis), "many/7").await, ["b:2"]);
}

#[tokio::test]
async fn a_relay_taken_for_dead_comes_back_with_all_it_holds() {
    let Some(redis) = RedisServer::start() else { return };
    let (a, b, finder) = (relay(&redis, "a"), relay(&redis, "b"), finder(&redis));
    a.register(&all(&["x", "y"])).await.unwrap();
    b.register(&all(&["z"])).await.unwrap();
    let_die(&redis, "a");
    for _ in 0..12 {
        b.refresh().await.unwrap();
    }
    // It does not know yet, and goes on.
    a.register(&all(&["late"])).await.unwrap();
    a.withdraw(&all(&["y"])).await.unwrap();
    assert_eq!(found(&finder, "late").await, [""; 0]);
    a.refresh().await.unwrap();
    assert_eq!(found(&finder, "x").await, ["a:1"]);
    assert_eq!(found(&finder, "late").await, ["a:1"]);
    assert_eq!(found(&finder, "y").await, [""; 0]);
    // Nor does anything stay of what it wrote while it was dead.
    for _ in 0..12 {
        b.refresh().await.unwrap();
    }
    a.leave().await.unwrap();
    b.leave().await.unwrap();
    assert_eq!(keys(&redis), [""; 0]);
}

#[tokio::test]
async fn a_lease_runs_out_by_itself_and_refreshing_keeps_it() {
    let Some(redis) = RedisServer::start() else { return };
    let finder = finder(&redis);
    let short = |name: &str| {
        let mut settings = RedisSettings::default();
        settings.own_url = Some(format!("moqt://{name}"));
        settings.time_to_live = Duration::from_millis(600);
        RedisDirectory::open(&redis.url(), settings).unwrap()
    };
    let (dies, lives) = (short("dies"), Arc::new(short("lives")));
    assert_eq!(lives.refresh_every(), Some(Duration::from_millis(200)));
    assert_eq!(finder.refresh_every(), None, "it is found by nobody");
    lives.register(&all(&["x"])).await.unwrap();
    dies.register(&all(&["x"])).await.unwrap();
    let fresh = tokio::spawn(keep_fresh(lives));
    // However long it takes, within reason.
    let dies_out = async {
        while found(&finder, "x").await.iter().any(|origin| origin == "dies:1") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), dies_out).await.expect("it dies");
    assert!(!fresh.is_finished());
    let mut connection = redis.client().get_connection().unwrap();
    let instances: Vec<String> = connection.keys("moqt:lease:*").unwrap();
    for instance in instances {
        let left: i64 = connection.pttl(&instance).unwrap();
        assert!(left <= 600, "{left} ms");
    }
    // Even if this was held up for so long that it was taken for dead, it comes back.
    let comes_back = async {
        while found(&finder, "x").await != ["lives:1"] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), comes_back).await.expect("it lives");
    fresh.abort();
}

#[tokio::test]
async fn what_failed_is_made_up_for_once_redis_is_back() {
    let Some(redis) = RedisServer::start() else { return };
    let (a, port) = (relay(&redis, "a"), redis.port());
    a.register(&all(&["x", "y"])).await.unwrap();
    drop(redis);
    let error = a.find(&namespace("x")).await.unwrap_err().to_string();
    assert!(error.starts_with("Redis: "), "{error}");
    a.register(&all(&["z"])).await.unwrap_err();
    a.withdraw(&all(&["y"])).await.unwrap_or_default();
    a.refresh().await.unwrap_err();
    let Some(redis) = RedisServer::start_on(port) else {
        eprintln!("SKIPPED: somebody else has taken the port");
        return;
    };
    // The connection is made anew in the background; that it fails some more times is its right.
    while a.refresh().await.is_err() {}
    let finder = finder(&redis);
    assert_eq!(found(&finder, "x").await, ["a:1"]);
    assert_eq!(found(&finder, "y").await, [""; 0]);
    assert_eq!(found(&finder, "z").await, ["a:1"]);
}

/// Begins a call, and gives it up before any answer can be there.
async fn give_up<T>(mut call: Answer<'_, T>) {
    let polled = std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
    assert!(polled.is_pending());
}

#[tokio::test]
async fn a_call_that_is_given_up_is_made_up_for_too() {
    let Some(redis) = RedisServer::start() else { return };
    let (a, finder) = (relay(&redis, "a"), finder(&redis));
    a.register(&all(&["w", "x"])).await.unwrap();
    for text in ["y", "z"] {
        give_up(a.register(&all(&[text]))).await;
    }
    a.refresh().await.unwrap();
    for text in ["w", "x", "y", "z"] {
        assert_eq!(found(&finder, text).await, ["a:1"]);
    }
    give_up(a.withdraw(&all(&["w"]))).await;
    a.refresh().await.unwrap();
    assert_eq!(found(&finder, "w").await, [""; 0]);
    assert_eq!(found(&finder, "x").await, ["a:1"]);
    let leases = keys(&redis).into_iter().filter(|key| key.starts_with("moqt:lease:"));
    assert_eq!(leases.count(), 1, "those given up have ended");
}

#[tokio::test]
async fn many_relays_of_one_namespace_are_bounded_and_long_urls_left_out() {
    let Some(redis) = RedisServer::start() else { return };
    let mut relays = Vec::new();
    for number in 0..70 {
        let relay = relay(&redis, &format!("r{number}"));
        relay.register(&all(&["x"])).await.unwrap();
        relays.push(relay);
    }
    assert_eq!(found(&finder(&redis), "x").await.len(), 64);
    let long = relay(&redis, &"a".repeat(3000));
    long.register(&all(&["y"])).await.unwrap();
    assert_eq!(found(&finder(&redis), "y").await, [""; 0]);
}

#[tokio::test]
async fn nothing_that_is_shown_has_the_password() {
    let open = |url: &str| RedisDirectory::open(url, RedisSettings::default());
    let shown = format!("{:?}", open("redis://me:PASSWORD@127.0.0.1:1").unwrap());
    assert!(shown.contains("RedisDirectory") && !shown.contains("PASSWORD"), "{shown}");
    for url in ["redis://me:PASSWORD@", "http://me:PASSWORD@127.0.0.1", "PASSWORD"] {
        let error = open(url).unwrap_err().to_string();
        assert!(error.starts_with("the URL of Redis") && !error.contains("PASSWORD"), "{error}");
    }
}
