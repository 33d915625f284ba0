//! `moqt pub`: a track to a relay.

use moqt_engine::CommandError;
use moqt_engine::model::{Parameters, TrackProperties};
use moqt_session::{Error, Session};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::args::{OutputArgs, PublishArgs};
use crate::desk::Desk;
use crate::failure::Failure;
use crate::history::History;
use crate::origin::{Joiner, Origin};
use crate::progress::Progress;
use crate::source::Source;

pub(crate) async fn run(args: &PublishArgs, output: &OutputArgs) -> Result<(), Failure> {
    let track = args.track.full_name()?;
    let source = Source::open(&args.source.input, args.source.cut(), args.source.repeat).await?;
    let session = crate::net::connect(&args.connect).await?;
    let progress = Progress::new(output, "publishing");
    let (joiners, joined) = mpsc::channel(16);
    let history = History::of(&source, args.source.history);
    let mut parameters = Parameters::default();
    parameters.authorization_tokens = args.connect.tokens();

    // Kept until the end: dropping it withdraws the namespace.
    let mut _namespace = None;
    if args.pub_ns || args.pub_both {
        let namespace = track.namespace().clone();
        let announced = session.publish_namespace(namespace.clone(), parameters.clone()).await;
        _namespace = Some(announced.map_err(|error| {
            Failure::new(format!("the namespace {namespace} was not taken: {error}"))
        })?);
        progress.say(&format!("announced {namespace}"));
    }
    if !args.pub_ns {
        let properties = TrackProperties::new();
        match session.publish(track.clone(), parameters, properties).await {
            Ok(publication) => {
                publication.accepted().await.map_err(|error| {
                    let hint = "some relays want --pub-ns";
                    Failure::new(format!("{track} was not taken: {error} ({hint})"))
                })?;
                progress.say(&format!("publishing {track}"));
                let _ = joiners.send(Joiner::Publication(publication)).await;
            }
            // Who was told of the namespace has subscribed to the track already.
            Err(Error::Command(CommandError::WrongState(_))) if args.pub_both => {}
            Err(error) => return Err(error.into()),
        }
    }
    let desk = Desk::new(track, history.clone(), joiners, &args.source);
    let mut origin = Origin::new(&args.source, history, joined, &progress);
    let published = async {
        origin.wait_for_first().await;
        origin.run(source).await?;
        Ok::<(), Failure>(())
    };
    let outcome = tokio::select! {
        outcome = published => outcome,
        reason = answer(&session, desk) => Err(reason),
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    let sent = origin.sent();
    origin.leave();
    let flushed = timeout(crate::net::PARTING, session.flushed()).await;
    if outcome.is_ok() && matches!(flushed, Ok(Ok(()))) {
        let _ = timeout(args.linger, session.closed()).await;
    }
    crate::net::close(&session).await;
    progress.finish();
    crate::serve::report(&progress, output, sent)?;
    outcome
}

/// Answers the peer's requests; only the end of the session ends this.
async fn answer(session: &Session, desk: Desk) -> Failure {
    let mut tasks = JoinSet::new();
    loop {
        match session.accept_request().await {
            Ok(incoming) => drop(desk.answer(incoming, &mut tasks).await),
            Err(reason) => return Failure::new(format!("the session ended: {reason}")),
        }
    }
}
