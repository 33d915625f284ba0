//! `moqt serve`: a track to whoever comes for it.

use std::time::Duration;

use moqt_engine::Refusal;
use moqt_engine::model::{FullTrackName, RequestErrorCode, SessionError};
use moqt_session::{Incoming, Session};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::args::{OutputArgs, ServeArgs, Start};
use crate::failure::Failure;
use crate::gate::Gate;
use crate::history::History;
use crate::origin::{Joiner, Origin, Sent};
use crate::progress::Progress;
use crate::source::Source;

/// How long to wait for subscribers to take what is left when told to leave.
const PARTING: Duration = Duration::from_secs(5);

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
    let track = args.track.full_name()?;
    let source = Source::open(&args.source.input, args.source.cut(), args.source.repeat).await?;
    let listener = crate::net::listen(args)?;
    let progress = Progress::new(output, "serving");
    progress.say(&format!("serving {track} on moqt://{}", listener.local_addr()));
    if let Some(hash) = listener.self_signed() {
        let hash = crate::progress::hex(&hash);
        progress.say(&format!("with a certificate made up for it: use -k, or --cert-hash {hash}"));
    }
    let (joiners, joined) = mpsc::channel(16);
    let history = History::of(&source, args.source.history);
    let mut origin = Origin::new(&args.source, history.clone(), joined, &progress);
    let gate = Gate::new(&args.auth_tokens);
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
            let served = serve_session(session, track.clone(), gate.clone(), joiners.clone());
            sessions.spawn(served);
            while sessions.try_join_next().is_some() {}
        }
        #[expect(unreachable_code, reason = "it says what kind of future this is")]
        Ok::<(), Failure>(())
    };
    let outcome = tokio::select! {
        outcome = served => outcome,
        outcome = accepted => outcome,
        _ = tokio::signal::ctrl_c() => {
            interrupted = true;
            Ok(())
        }
    };
    let sent = origin.sent();
    origin.leave();
    drop(joiners);
    let parted = async { while sessions.join_next().await.is_some() {} };
    if interrupted {
        let _ = timeout(PARTING, parted).await;
    } else {
        parted.await;
    }
    listener.close().await;
    progress.finish();
    report(&progress, output, sent)?;
    outcome
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
async fn serve_session(
    session: Session,
    track: FullTrackName,
    gate: Gate,
    joiners: mpsc::Sender<Joiner>,
) {
    let mut served = false;
    loop {
        let incoming = tokio::select! {
            incoming = session.accept_request() => incoming,
            () = joiners.closed() => break,
        };
        let Ok(incoming) = incoming else { return };
        match gate.admit(&session, incoming) {
            Some(Incoming::Subscribe(subscribe)) if *subscribe.track() == track => {
                served = true;
                if joiners.send(Joiner::Subscribe(Box::new(subscribe))).await.is_err() {
                    break;
                }
            }
            Some(other) => turn_away(other, &track),
            None => {}
        }
    }
    // What has been sent may not have been read: those who are to read it leave first.
    if session.usage().requests == 0 && session.flushed().await.is_ok() && !served {
        session.close(SessionError::NoError, "");
    }
    session.closed().await;
}

/// Refuses what is not about the one track there is.
pub(crate) fn turn_away(incoming: Incoming, track: &FullTrackName) {
    let code = match &incoming {
        Incoming::Subscribe(_) => RequestErrorCode::DoesNotExist,
        Incoming::Publish(_) | Incoming::PublishNamespace(_) => RequestErrorCode::Uninterested,
        _ => RequestErrorCode::NotSupported,
    };
    let mut refusal = Refusal::new(code);
    refusal.reason = format!("only {track} is served here");
    incoming.reject(refusal);
}
