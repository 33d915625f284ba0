//! Sockets, and what lies between them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod common;

use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{
    ENDS, Server, Stack, anywhere, bounded, cases_alone, connect, options, pair, payload,
    subscribed,
};
use moqt_engine::model::{Location, Parameters, PublishDoneCode};
use moqt_engine::{DatagramOptions, DatagramOutcome, SubgroupOptions};
use moqt_s2n_quic::{Client, Scheme, Target};
use tokio::net::UdpSocket;
use tokio::sync::Notify;

#[tokio::test]
async fn datagrams_grow_with_what_the_path_is_found_to_take() {
    for case in cases_alone() {
        let (client, server, _server) = pair(case).await;
        let (_subscription, publication) =
            subscribed(&client, &server, "demo--datagrams", Parameters::default()).await;
        // More than fits into the packets to begin with, and into a frame of Ethernet.
        bounded(async {
            loop {
                let options = DatagramOptions::new(Location::new(0, 0));
                let large = Bytes::from(vec![7; 1350]);
                match publication.datagram(options, large).unwrap() {
                    DatagramOutcome::Queued => return,
                    _ => tokio::task::yield_now().await,
                }
            }
        })
        .await;
    }
}

/// A NAT: it hands on what client and server send, forgets the client's port when it is told to,
/// and loses all that the client sends while it is `deaf`.
async fn nat(inside: UdpSocket, server: SocketAddr, forget: Arc<Notify>, deaf: Arc<AtomicBool>) {
    let mut outside = UdpSocket::bind(anywhere()).await.unwrap();
    let mut client = None;
    let (mut out, mut back) = (vec![0; 2000], vec![0; 2000]);
    loop {
        tokio::select! {
            () = forget.notified() => outside = UdpSocket::bind(anywhere()).await.unwrap(),
            came = inside.recv_from(&mut out) => {
                let (len, from) = came.unwrap();
                client = Some(from);
                if deaf.load(Ordering::SeqCst) {
                    continue;
                }
                outside.send_to(&out[..len], server).await.unwrap();
            }
            came = outside.recv_from(&mut back) => {
                let (len, _) = came.unwrap();
                inside.send_to(&back[..len], client.unwrap()).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_session_survives_a_nat_that_forgets_it() {
    const LARGE: usize = 8 << 20;
    for (client_stack, server_stack) in ENDS {
        let (mut client, server) = options();
        // Whoever only receives is silent when nothing comes any more.
        client.transport.keep_alive = Some(Duration::from_millis(200));
        let server = Server::bind(server_stack, &server);
        let inside = UdpSocket::bind(anywhere()).await.unwrap();
        let target = format!("moqt://{}", inside.local_addr().unwrap()).parse().unwrap();
        let forget = Arc::new(Notify::new());
        let nat = nat(inside, server.local_addr(), forget.clone(), Arc::default());
        let nat = tokio::spawn(nat);
        let session = connect(client_stack, &target, &client);
        let (session, accepted) = bounded(async { tokio::join!(session, server.accept()) }).await;
        let session = session.unwrap();
        // s2n-quic survives four changes of a peer's address.
        for round in 0..2 {
            let track = format!("demo--{round}");
            let (mut subscription, publication) =
                subscribed(&session, &accepted, &track, Parameters::default()).await;
            subscription.set_object_limit(LARGE);
            let mut writer = publication.open_subgroup(SubgroupOptions::new(0)).await;
            let writer = writer.as_mut().unwrap().as_mut().unwrap();
            for object in 0..50 {
                bounded(writer.write_object(object, payload(round, object))).await.unwrap();
                let received = bounded(subscription.next_object()).await.unwrap().unwrap();
                assert_eq!(received.payload, payload(round, object));
                if object == 20 {
                    forget.notify_one();
                }
            }
            // And while much is on its way.
            bounded(writer.write_object(50, vec![7; LARGE].into())).await.unwrap();
            forget.notify_one();
            let received = bounded(subscription.next_object()).await.unwrap().unwrap();
            assert_eq!(received.payload.len(), LARGE);
            publication.done(PublishDoneCode::TrackEnded, "");
        }
        nat.abort();
    }
}

#[tokio::test]
async fn what_is_not_acknowledged_is_not_flushed() {
    for case in cases_alone() {
        let (mut client, server) = options();
        client.drafts = vec![case.draft];
        let server = Server::bind(Stack::S2n, &server);
        let inside = UdpSocket::bind(anywhere()).await.unwrap();
        let target = server.target(case.scheme).to_string();
        let nat_port = format!(":{}/", inside.local_addr().unwrap().port());
        let target = target.replace(&format!(":{}/", server.local_addr().port()), &nat_port);
        let deaf = Arc::new(AtomicBool::new(false));
        let nat = nat(inside, server.local_addr(), Arc::default(), deaf.clone());
        let nat = tokio::spawn(nat);
        let target = target.parse().unwrap();
        let connect = Client::connect(&target, &client);
        let (client, server) = bounded(async { tokio::join!(connect, server.accept()) }).await;
        let client = client.unwrap();
        let (mut subscription, publication) =
            subscribed(&client, &server, "demo--last", Parameters::default()).await;
        bounded(server.flushed()).await.unwrap();
        deaf.store(true, Ordering::SeqCst);
        // Older drafts say this on a stream that stays open.
        publication.done(PublishDoneCode::TrackEnded, "");
        assert!(bounded(subscription.next_object()).await.unwrap().is_none());
        // It is there, but who sent it does not know.
        tokio::select! {
            biased;
            _ = server.flushed() => panic!("{case:?}"),
            () = tokio::task::yield_now() => {}
        }
        deaf.store(false, Ordering::SeqCst);
        bounded(server.flushed()).await.unwrap();
        nat.abort();
    }
}

#[tokio::test]
async fn a_socket_is_closed_when_all_that_was_made_from_it_is_gone() {
    let (client, server) = options();
    let server = Server::bind(Stack::S2n, &server);
    let target = server.target(Scheme::Quic);
    let client = Client::bind(anywhere(), Scheme::Quic, &client).unwrap();
    let (made, accepted) =
        bounded(async { tokio::join!(client.session(&target), server.accept()) }).await;
    let sockets = [client.local_addr(), server.local_addr()];
    drop((client, server));
    // Not before.
    for socket in sockets {
        assert!(StdSocket::bind(socket).is_err());
    }
    drop((made, accepted));
    for socket in sockets {
        bounded(async {
            while StdSocket::bind(socket).is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn both_families_of_addresses() {
    // A socket for both, and for one.
    for (address, host) in [("[::]:0", "127.0.0.1"), ("[::1]:0", "[::1]")] {
        let (client, server) = options();
        let server = moqt_s2n_quic::Server::bind(address.parse().unwrap(), &server).unwrap();
        let target: Target =
            format!("moqt://{host}:{}", server.local_addr().port()).parse().unwrap();
        let connect = Client::connect(&target, &client);
        let (client, accepted) = bounded(async { tokio::join!(connect, server.accept()) }).await;
        let (client, _accepted) = (client.unwrap(), accepted.unwrap());
        assert_eq!(client.remote_address().map(|address| address.port()), Some(target.port()));
    }
}

#[tokio::test]
async fn secrets_are_logged_where_the_options_say() {
    let file = |side: &str| {
        std::env::temp_dir().join(format!("moqt-s2n-keys-{side}-{}", std::process::id()))
    };
    let (mut client, mut server) = options();
    client.tls.keylog = Some(file("client"));
    server.tls.keylog = Some(file("server"));
    let server = Server::bind(Stack::S2n, &server);
    let target = server.target(Scheme::Quic);
    let (session, _accepted) =
        bounded(async { tokio::join!(Client::connect(&target, &client), server.accept()) }).await;
    session.unwrap();
    for side in ["client", "server"] {
        let log = std::fs::read_to_string(file(side)).unwrap();
        std::fs::remove_file(file(side)).unwrap();
        for label in ["CLIENT_TRAFFIC_SECRET_0 ", "SERVER_TRAFFIC_SECRET_0 "] {
            assert!(log.lines().any(|line| line.starts_with(label)), "{side}: {log}");
        }
    }
}
