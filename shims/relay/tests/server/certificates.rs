//! Relays that prove who they are by certificates.

use std::fs;
use std::path::PathBuf;

use moqt_engine::Draft;
use moqt_engine::model::{Parameters, TrackProperties};
use moqt_quinn_proto::{Client, ClientTls, Verify};
use moqt_relay_server::auth::{Guesses, Rules, Sources, WallClock};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::support::{Running, bounded, publish, start, track};

/// A certificate authority, and its certificate in a file.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
    folder: PathBuf,
}

impl Authority {
    fn new(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("server").join(name);
        fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let file = folder.join("ca.pem");
        fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), file, folder }
    }

    /// Files of a certificate with this name, and of its key.
    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = (self.folder.join("cert.pem"), self.folder.join("key.pem"));
        fs::write(&files.0, certificate.pem()).unwrap();
        fs::write(&files.1, key.serialize_pem()).unwrap();
        files
    }
}

/// Whether a client with this certificate may publish; an error is no session.
async fn may_publish(relay: &Running, certificate: Option<(PathBuf, PathBuf)>) -> Result<bool, ()> {
    let mut options = relay.options(Draft::D18);
    options.tls = ClientTls::new(Verify::Pinned(vec![relay.hash]));
    options.tls.certificate = certificate;
    let session = bounded(Client::connect(&relay.target("moqt"), &options)).await;
    // The server looks at the certificate when the client's handshake is complete.
    let Ok(session) = session else { return Err(()) };
    let publication =
        session.publish(track("t"), Parameters::default(), TrackProperties::default());
    let Ok(publication) = bounded(publication).await else { return Err(()) };
    match bounded(publication.accepted()).await {
        Ok(_) => Ok(true),
        Err(_) if session.close_reason().is_some() => Err(()),
        Err(_) => Ok(false),
    }
}

#[tokio::test]
async fn a_relay_with_the_right_name_of_the_right_authority_may_do_everything() {
    let (authority, other) = (Authority::new("right"), Authority::new("other"));
    let relay_certificates = vec!["*.edge.example".to_owned()];
    let sources = Sources { relay_certificates, ..Sources::default() };
    let rules = Rules::load(&sources, WallClock::default(), Guesses::default()).unwrap();
    let relay = start(1, |options| {
        options.rules = rules;
        options.server.tls.client_ca = Some(authority.file.clone());
    });
    assert_eq!(may_publish(&relay, Some(authority.issue("a.edge.example"))).await, Ok(true));
    // Without a certificate, or with another name, one is taken but has no permission.
    assert_eq!(may_publish(&relay, None).await, Ok(false));
    assert_eq!(may_publish(&relay, Some(authority.issue("a.hub.example"))).await, Ok(false));
    // A name that anybody could have given is worth nothing.
    assert_eq!(may_publish(&relay, Some(other.issue("a.edge.example"))).await, Err(()));
}

#[tokio::test]
async fn a_relay_shows_its_certificate_upstream() {
    let authority = Authority::new("upstream");
    let relay_certificates = vec!["lower.example".to_owned()];
    let sources = Sources { relay_certificates, ..Sources::default() };
    let rules = Rules::load(&sources, WallClock::default(), Guesses::default()).unwrap();
    let upper = start(1, |options| {
        options.rules = rules;
        options.server.tls.client_ca = Some(authority.file.clone());
    });
    let (target, hash) = (upper.target("moqt"), upper.hash);
    let lower = start(1, |options| {
        options.upstreams = vec![target];
        options.client.tls = ClientTls::new(Verify::Pinned(vec![hash]));
        options.client.tls.certificate = Some(authority.issue("lower.example"));
    });
    let publisher = lower.connect(Draft::D18).await;
    let publication = publish(&publisher, "announced").await;
    // What is announced upstream is known there as soon as it was allowed.
    loop {
        let report = bounded(upper.relay.report()).await;
        assert_eq!(report.shards[0].relay.unauthorized, 0);
        if report.shards[0].relay.tracks + report.shards[0].relay.namespaces > 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    drop(publication);
}
