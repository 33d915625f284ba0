//! Subscribes to a track and says what comes:
//! `cargo run --example subscribe -- moqt://127.0.0.1:4443 demo--clock CERTIFICATE_HASH`

use moqt_quinn_proto::engine::model::Parameters;
use moqt_quinn_proto::{Client, ClientOptions, ClientTls, Verify};

type Error = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let [url, track, hash] = arguments()?;
    let mut options = ClientOptions::default();
    options.tls = ClientTls::new(Verify::Pinned(vec![parse_hash(&hash)?]));
    let session = Client::connect(&url.parse()?, &options).await?;
    println!("{}: connected to {url}", session.draft());

    let mut subscription = session.subscribe(track.parse()?, Parameters::default()).await?;
    while let Some(object) = subscription.next_object().await? {
        println!("{:?} {}", object.location, object.payload.escape_ascii());
    }
    println!("done: {:?}", subscription.done());
    Ok(())
}

fn arguments() -> Result<[String; 3], Error> {
    let given: Vec<_> = std::env::args().skip(1).collect();
    given.try_into().map_err(|_| "usage: subscribe URL TRACK CERTIFICATE_HASH".into())
}

fn parse_hash(hex: &str) -> Result<[u8; 32], Error> {
    let mut hash = [0; 32];
    for (at, byte) in hash.iter_mut().enumerate() {
        let digits = hex.get(2 * at..2 * at + 2).ok_or("a hash has 64 digits")?;
        *byte = u8::from_str_radix(digits, 16)?;
    }
    Ok(hash)
}
