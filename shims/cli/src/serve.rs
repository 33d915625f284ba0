//! `moqt serve`: a track to whoever comes for it.

use moqt_engine::model::SessionError;
use moqt_session::{Incoming, Session};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::args::{OutputArgs, ServeArgs, Start};
use crate::desk::Desk;
use crate::failure::Failure;
use crate::gate::Gate;
use crate::history::History;
use crate::net::Listener;
use crate::origin::{Origin, Sent};
use crate::progress::Progress;
use crate::signals::Signals;
use crate::source::Source;

/// What was sent, for `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    objects: u64,
    bytes: u64,
    subscribers: u64,
    datagrams_too_large: u64,
    datagrams_dropped: u64,
    subscribers_given_up: u64,
}

impl From<Sent> for Report {
    fn from(sent: Sent) -> Self {
        Self {
            objects: sent.objects,
            bytes: sent.bytes,
            subscribers: sent.subscribers,
            datagrams_too_large: sent.too_large,
            datagrams_dropped: sent.queue_full,
            subscribers_given_up: sent.given_up,
        }
    }
}

pub(crate) async fn run(args: &ServeArgs, output: &OutputArgs) -> Result<(), Failure> {
    if args.source.input.is_dir() {
        return crate::folder::serve(args, output).await;
    }
    let track = args.track.full_name()?;
    let source = Source::open(&args.source.input, args.source.cut(), args.source.repeat).await?;
    let listener = crate::net::listen(&args.listen)?;
    let progress = Progress::new(output, "serving");
    // Whoever knows where it is may stop it.
    let mut signals = Signals::new()?;
    announce(&listener, &format!("serving {track}"), &progress);
    let (joiners, joined) = mpsc::channel(16);
    let history = History::of(&source, args.source.history);
    let desk = Desk::new(track, history.clone(), joiners, &args.source);
    let mut origin = Origin::new(&args.source, history, joined, &progress);
    let gate = Gate::new(&args.listen.auth_tokens);
    let mut sessions = JoinSet::new();
    let mut interrupted = false;
    let served = async {
        if args.start == Start::First {
            origin.wait_for_first().await;
        }
        origin.run(source).await?;
        progress.say("the track has ended");
        if args.once {
            return Ok(());
        }
        origin.serve_latecomers().await;
        Ok::<(), Failure>(())
    };
    let accepted = async {
        loop {
            let session = listener.accept().await?;
            sessions.spawn(serve_session(session, gate.clone(), desk.clone()));
            while sessions.try_join_next().is_some() {}
        }
        #[expect(unreachable_code, reason = "it says what kind of future this is")]
        Ok::<(), Failure>(())
    };
    let outcome = tokio::select! {
        outcome = served => outcome,
        outcome = accepted => outcome,
        _ = signals.next() => {
            interrupted = true;
            Ok(())
        }
    };
    let sent = origin.sent();
    origin.leave();
    drop(desk);
    let parted = async { while sessions.join_next().await.is_some() {} };
    let patience = async {
        if interrupted {
            sleep(crate::net::PARTING).await;
        } else {
            signals.next().await;
        }
    };
    tokio::select! {
        () = parted => {}
        () = patience => {}
    }
    listener.close().await;
    progress.finish();
    report(&progress, output, sent)?;
    outcome
}

/// Says what is to be had where, and by which certificate it is known.
pub(crate) fn announce(listener: &Listener, what: &str, progress: &Progress) {
    let address = listener.local_addr();
    progress.say(&format!("{what} on moqt://{address} and https://{address}"));
    let hash = crate::progress::hex(&listener.hash());
    progress.say(&if listener.is_self_signed() {
        format!(
            "with a certificate made up for it: use -k, or --cert-hash {hash}, \
             and in a browser serverCertificateHashes with that SHA-256"
        )
    } else {
        format!("with the certificate whose SHA-256 is {hash}")
    });
}

pub(crate) fn report(progress: &Progress, output: &OutputArgs, sent: Sent) -> Result<(), Failure> {
    if output.json {
        let report = serde_json::to_string(&Report::from(sent));
        println!("{}", report.map_err(|error| Failure::new(error.to_string()))?);
        return Ok(());
    }
    let Sent { objects, bytes, subscribers, too_large, queue_full, .. } = sent;
    let plural = if subscribers == 1 { "" } else { "s" };
    progress.say(&format!(
        "published {objects} objects, {bytes} bytes, to {subscribers} subscriber{plural}"
    ));
    if too_large > 0 {
        progress
            .say(&format!("{too_large} datagrams were too large and not sent: try a smaller -s"));
    }
    if queue_full > 0 {
        progress.say(&format!(
            "{queue_full} datagrams were dropped: they came faster than the path takes them"
        ));
    }
    Ok(())
}

/// Answers one peer until it leaves, or until nobody is left to serve it.
pub(crate) async fn serve_session(session: Session, gate: Gate, desk: Desk) {
    let mut tasks = JoinSet::new();
    let mut served = false;
    loop {
        let incoming = tokio::select! {
            incoming = session.accept_request() => incoming,
            () = desk.closed() => break,
        };
        let Ok(incoming) = incoming else { return };
        if let Some(incoming) = gate.admit(&session, incoming) {
            served |= matches!(incoming, Incoming::Subscribe(_) | Incoming::Fetch(_));
            if !desk.answer(incoming, &mut tasks).await {
                break;
            }
        }
    }
    while tasks.join_next().await.is_some() {}
    // What has been sent may not have been read: those who are to read it leave first.
    if session.usage().requests == 0 && session.flushed().await.is_ok() && !served {
        session.close(SessionError::NoError, "");
    }
    session.closed().await;
}
