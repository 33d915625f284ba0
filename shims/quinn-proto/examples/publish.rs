//! Serves a track that says the time, to everybody who subscribes:
//! `cargo run --example publish -- 127.0.0.1:4443`

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use moqt_quinn_proto::engine::model::PublishDoneCode;
use moqt_quinn_proto::engine::{Accept, SubgroupOptions};
use moqt_quinn_proto::session::{Incoming, IncomingSubscribe, Session};
use moqt_quinn_proto::{Identity, Server, ServerOptions};

type Error = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let address = std::env::args().nth(1).ok_or("usage: publish ADDRESS:PORT")?;
    let identity = Identity::self_signed([])?;
    let hash = identity.sha256().map(|byte| format!("{byte:02x}")).concat();
    let server = Server::bind(address.parse()?, &ServerOptions::new(identity))?;
    println!("serving demo--clock on moqt://{} with certificate {hash}", server.local_addr());
    while let Some(session) = server.accept().await {
        tokio::spawn(serve(session));
    }
    Ok(())
}

async fn serve(session: Session) {
    while let Ok(request) = session.accept_request().await {
        // Whatever is not taken here is refused.
        if let Incoming::Subscribe(request) = request
            && request.track().to_string() == "demo--clock"
        {
            tokio::spawn(tell_time(request));
        }
    }
}

/// A group a second, of one object; ten of them.
async fn tell_time(request: IncomingSubscribe) -> Result<(), moqt_quinn_proto::session::Error> {
    let publication = request.accept(Accept::default())?;
    for _ in 0..10 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if let Ok(Some(mut writer)) = publication.open_subgroup(SubgroupOptions::new(now)).await {
            // Whoever stops listening ends it.
            let _ = writer.write_object(0, now.to_string().into()).await;
            let _ = writer.finish();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    publication.done(PublishDoneCode::TrackEnded, "that was ten seconds");
    Ok(())
}
