//! What the directory in Redis costs, with 1 to 20 relays: starts a `redis-server` of its own and
//! prints a table.
//!
//!     cargo run --release -p moqt-relay-server --example directory-cost
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement"
)]

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/redis/server.rs"]
mod server;

use std::time::Instant;

use moqt_engine::model::TrackNamespace;
use moqt_relay_server::directory::{OriginDirectory, RedisDirectory, RedisSettings};
use redis::{Commands, Connection};

use server::RedisServer;

/// Namespaces that each relay holds, and times that each thing is done.
const HELD: usize = 1000;
const TIMES: usize = 2000;
/// Fields of the namespace that is looked for.
const FIELDS: usize = 4;

/// What Redis has counted: commands, bytes in, bytes out.
fn counted(connection: &mut Connection) -> [f64; 3] {
    let info: redis::InfoDict = redis::cmd("INFO").arg("stats").query(connection).unwrap();
    ["total_commands_processed", "total_net_input_bytes", "total_net_output_bytes"]
        .map(|name| info.get::<u64>(name).unwrap() as f64)
}

/// Prints what something costs that was done that many times.
struct Cost<'a> {
    connection: &'a mut Connection,
    before: [f64; 3],
    /// What the question itself costs.
    own: [f64; 3],
    started: Instant,
}

impl<'a> Cost<'a> {
    fn start(connection: &'a mut Connection) -> Self {
        let first = counted(connection);
        let before = counted(connection);
        let own = [0, 1, 2].map(|index| before[index] - first[index]);
        Self { connection, before, own, started: Instant::now() }
    }

    fn print(self, relays: usize, what: &str, times: usize) {
        let micros = self.started.elapsed().as_secs_f64() * 1e6 / times as f64;
        let after = counted(self.connection);
        let [commands, bytes_in, bytes_out] = [0, 1, 2]
            .map(|index| (after[index] - self.before[index] - self.own[index]) / times as f64);
        println!(
            "| {relays} | {what} | {commands:.2} | {bytes_in:.0} | {bytes_out:.0} | {micros:.1} |"
        );
    }
}

fn namespace(relay: usize, number: usize) -> TrackNamespace {
    TrackNamespace::new(["meet".into(), format!("r{relay}"), format!("room-{number}")]).unwrap()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let Some(redis) = RedisServer::start() else { return };
    let mut connection = redis.client().get_connection().unwrap();
    println!("| relays | what | commands | bytes to Redis | bytes back | µs |");
    println!("|---|---|---|---|---|---|");
    for relays in [1, 2, 5, 10, 20] {
        let () = redis::cmd("FLUSHALL").query(&mut connection).unwrap();
        let directories: Vec<_> = (0..relays)
            .map(|number| {
                let mut settings = RedisSettings::default();
                settings.own_url = Some(format!("moqt://relay-{number}.example:4443"));
                RedisDirectory::open(&redis.url(), settings).unwrap()
            })
            .collect();
        let popular = TrackNamespace::new(["meet", "all"]).unwrap();
        for (relay, directory) in directories.iter().enumerate() {
            let held: Vec<_> = (0..HELD).map(|number| namespace(relay, number)).collect();
            directory.register(&held).await.unwrap();
            directory.register(std::slice::from_ref(&popular)).await.unwrap();
        }
        let first = &directories[0];

        let cost = Cost::start(&mut connection);
        for number in 0..TIMES {
            first.register(&[namespace(0, HELD + number)]).await.unwrap();
        }
        cost.print(relays, "register, one by one", TIMES);
        let cost = Cost::start(&mut connection);
        for number in 0..TIMES {
            first.withdraw(&[namespace(0, HELD + number)]).await.unwrap();
        }
        cost.print(relays, "withdraw, one by one", TIMES);
        let many: Vec<_> = (0..TIMES).map(|number| namespace(0, HELD + number)).collect();
        let cost = Cost::start(&mut connection);
        first.register(&many).await.unwrap();
        cost.print(relays, "register, each of many", TIMES);

        let settings = RedisSettings::default();
        let finder = RedisDirectory::open(&redis.url(), settings).unwrap();
        let held = namespace(relays - 1, 7);
        let fields = held.fields().chain([&b"audio"[..]]);
        let one = TrackNamespace::new(fields).unwrap();
        let none = TrackNamespace::new(["a", "b", "c", "d"]).unwrap();
        let all = TrackNamespace::new(["meet", "all", "c", "d"]).unwrap();
        for (what, wanted, found) in
            [("held by one", &one, 1), ("held by all", &all, relays), ("held by none", &none, 0)]
        {
            assert_eq!(wanted.len(), FIELDS);
            assert_eq!(finder.find(wanted).await.unwrap().len(), found);
            let cost = Cost::start(&mut connection);
            for _ in 0..TIMES {
                finder.find(wanted).await.unwrap();
            }
            cost.print(relays, &format!("find, {FIELDS} fields, {what}"), TIMES);
        }

        let cost = Cost::start(&mut connection);
        for _ in 0..TIMES {
            first.refresh().await.unwrap();
        }
        cost.print(relays, "refresh", TIMES);
        let memory: u64 = {
            let info: redis::InfoDict =
                redis::cmd("INFO").arg("memory").query(&mut connection).unwrap();
            info.get("used_memory_dataset").unwrap()
        };
        let keys: u64 = redis::cmd("DBSIZE").query(&mut connection).unwrap();
        let leases: Vec<String> = connection.keys("moqt:lease:*").unwrap();
        assert_eq!(leases.len(), relays);
        println!(
            "| {relays} | memory of Redis, bytes for each of {keys} keys | | | {} | |",
            memory / keys
        );
    }
}
