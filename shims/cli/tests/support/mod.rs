//! Relays and other servers in the test's own process.
#![allow(dead_code, reason = "each test uses what it needs")]

use std::net::{Ipv4Addr, SocketAddr};

use moqt_quinn_proto::session::Session;
use moqt_quinn_proto::{Identity, Server, ServerOptions};
use moqt_relay_server::{Relay, RelayOptions};
use tokio::runtime::Runtime;

pub(crate) fn anywhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A relay of ours, and the runtime it lives on.
pub(crate) fn relay() -> (Relay, Runtime) {
    let runtime = Runtime::new().unwrap();
    let relay = runtime.block_on(async {
        let server = ServerOptions::new(Identity::self_signed([]).unwrap());
        let mut options = RelayOptions::new(anywhere(), server);
        options.shards = 1;
        Relay::start(options).unwrap()
    });
    (relay, runtime)
}

/// A server that does this with every session.
pub(crate) fn server<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(Session) -> F + Send + 'static,
) -> (String, Runtime) {
    let runtime = Runtime::new().unwrap();
    let url = runtime.block_on(async {
        let options = ServerOptions::new(Identity::self_signed([]).unwrap());
        let server = Server::bind(anywhere(), &options).unwrap();
        let url = format!("moqt://{}", server.local_addr());
        tokio::spawn(async move {
            while let Some(session) = server.accept().await {
                tokio::spawn(serve(session));
            }
        });
        url
    });
    (url, runtime)
}

/// The examples that a command's help ends with: what follows `moqt COMMAND`.
pub(crate) fn examples(help: &str, command: &str) -> Vec<String> {
    let command = format!("moqt {command} ");
    help.lines().filter_map(|line| line.trim().strip_prefix(&command)).map(str::to_owned).collect()
}
