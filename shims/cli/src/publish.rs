//! `moqt pub`: a track to a relay.

use std::cell::RefCell;
use std::sync::Arc;

use moqt_engine::CommandError;
use moqt_engine::model::{FullTrackName, Parameters, TrackProperties};
use moqt_session::{Error, NamespacePublication, Session};
use tokio::sync::{mpsc, watch};
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
    if args.source.input.is_dir() {
        return crate::folder::publish(args, output).await;
    }
    let track = args.track.full_name()?;
    let source = Source::open(&args.source.input, args.source.cut(), args.source.repeat).await?;
    let session = crate::net::connect(&args.connect).await?;
    let progress = Progress::new(output, "publishing");
    let (joiners, joined) = mpsc::channel(16);
    let history = History::of(&source, args.source.history);
    let offer = Offer { args, track, history, joiners, progress: &progress };
    let namespace = offer.make(&session).await?;
    let desk = offer.desk();
    let (is_connected, connected) = watch::channel(true);
    let mut origin = Origin::new(&args.source, offer.history.clone(), joined, &progress);
    origin.pause_unless(connected);
    let current = RefCell::new((session, namespace));
    let published = async {
        origin.wait_for_first().await;
        origin.run(source).await?;
        Ok::<(), Failure>(())
    };
    let connections = async {
        loop {
            let session = current.borrow().0.clone();
            let why = answer(&session, desk.clone()).await;
            let _ = is_connected.send(false);
            let attempt = async || {
                let session = crate::net::connect(&args.connect).await?;
                let namespace = offer.make(&session).await?;
                Ok((session, namespace))
            };
            match crate::again::go_on(args.reconnect, why, &progress, attempt).await {
                Ok(connected) => *current.borrow_mut() = connected,
                Err(failure) => return failure,
            }
            let _ = is_connected.send(true);
        }
    };
    let outcome = tokio::select! {
        outcome = published => outcome,
        reason = connections => Err(reason),
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    let sent = origin.sent();
    origin.leave();
    let (session, _namespace) = current.into_inner();
    let flushed = timeout(crate::net::PARTING, session.flushed()).await;
    if outcome.is_ok() && matches!(flushed, Ok(Ok(()))) {
        let _ = timeout(args.linger, session.closed()).await;
    }
    crate::net::close(&session).await;
    progress.finish();
    crate::serve::report(&progress, output, sent)?;
    outcome
}

/// A track, as a relay is told of it.
struct Offer<'a> {
    args: &'a PublishArgs,
    track: FullTrackName,
    history: Arc<History>,
    joiners: mpsc::Sender<Joiner>,
    progress: &'a Progress,
}

impl Offer<'_> {
    /// Who answers what the relay asks.
    fn desk(&self) -> Desk {
        let (track, history) = (self.track.clone(), self.history.clone());
        Desk::new(track, history, self.joiners.clone(), &self.args.source)
    }

    /// Tells a relay, in the way it wants to be told. Dropping what is returned withdraws the
    /// namespace.
    async fn make(&self, session: &Session) -> Result<Option<NamespacePublication>, Failure> {
        let Self { args, track, progress, .. } = self;
        let mut parameters = Parameters::default();
        parameters.authorization_tokens = args.connect.tokens();
        let mut published = None;
        if args.pub_ns || args.pub_both {
            let namespace = track.namespace().clone();
            let announced = session.publish_namespace(namespace.clone(), parameters.clone()).await;
            published = Some(announced.map_err(|error| {
                Failure::new(format!("the namespace {namespace} was not taken: {error}"))
            })?);
            progress.say(&format!("announced {namespace}"));
        }
        if args.pub_ns {
            return Ok(published);
        }
        parameters.largest_object = self.history.largest();
        match session.publish(track.clone(), parameters, TrackProperties::new()).await {
            Ok(publication) => {
                publication.accepted().await.map_err(|error| {
                    let hint = "some relays want --pub-ns";
                    Failure::new(format!("{track} was not taken: {error} ({hint})"))
                })?;
                progress.say(&format!("publishing {track}"));
                let _ = self.joiners.send(Joiner::Publication(publication)).await;
            }
            // Who was told of the namespace has subscribed to the track already.
            Err(Error::Command(CommandError::WrongState(_))) if args.pub_both => {}
            Err(error) => return Err(error.into()),
        }
        Ok(published)
    }
}

/// Answers the peer's requests; only the end of the session ends this.
pub(crate) async fn answer(session: &Session, desk: Desk) -> Failure {
    let mut tasks = JoinSet::new();
    loop {
        match session.accept_request().await {
            Ok(incoming) => drop(desk.answer(incoming, &mut tasks).await),
            Err(reason) => return Failure::new(format!("the session ended: {reason}")),
        }
    }
}
