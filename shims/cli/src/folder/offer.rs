//! `moqt pub DIR` and `moqt serve DIR`: the files of a folder to whoever copies them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use moqt_engine::Accept;
use moqt_engine::model::{FullTrackName, Location, Parameters, PublishDoneCode};
use moqt_session::{NamespacePublication, Session};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::catalog::Catalog;
use crate::args::{OutputArgs, PublishArgs, ServeArgs, SourceArgs};
use crate::desk::Desk;
use crate::failure::Failure;
use crate::gate::Gate;
use crate::history::History;
use crate::origin::Joiner;
use crate::progress::{Progress, human_bytes};
use crate::signals::Signals;
use crate::source::Cut;

/// The tracks of a folder.
type Tracks = Arc<HashMap<FullTrackName, Arc<History>>>;

/// Offers a folder to a relay, until it is told to stop.
pub(crate) async fn publish(args: &PublishArgs, output: &OutputArgs) -> Result<(), Failure> {
    let track = args.track.full_name()?;
    let progress = Progress::new(output, "publishing");
    let (tracks, desk, joined) = open(&args.source, &track, &progress).await?;
    let join = async || {
        let session = crate::net::connect(&args.connect).await?;
        let mut parameters = Parameters::default();
        parameters.authorization_tokens = args.connect.tokens();
        let namespace = track.namespace().clone();
        let announced = session.publish_namespace(namespace.clone(), parameters).await;
        let announced = announced.map_err(|error| {
            Failure::new(format!("the namespace {namespace} was not taken: {error}"))
        })?;
        progress.say(&format!("announced {namespace}"));
        Ok::<(Session, NamespacePublication), Failure>((session, announced))
    };
    let mut current = join().await?;
    let served = async {
        loop {
            let why = crate::publish::answer(&current.0, desk.clone()).await;
            current = crate::again::go_on(args.reconnect, why, &progress, &join).await?;
        }
        #[expect(unreachable_code, reason = "it says what kind of future this is")]
        Ok::<(), Failure>(())
    };
    let outcome = tokio::select! {
        outcome = served => outcome,
        () = end_subscriptions(joined, tracks) => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    let (session, announced) = current;
    drop(announced);
    crate::net::leave(&session).await;
    report(&desk, &progress, output);
    outcome
}

/// Serves a folder to whoever connects, until it is told to stop.
pub(crate) async fn serve(args: &ServeArgs, output: &OutputArgs) -> Result<(), Failure> {
    if args.once {
        return Err(Failure::new("a folder has no end: --once is for one track"));
    }
    let track = args.track.full_name()?;
    let progress = Progress::new(output, "serving");
    let (tracks, desk, joined) = open(&args.source, &track, &progress).await?;
    let listener = crate::net::listen(&args.listen)?;
    let mut signals = Signals::new()?;
    crate::serve::announce(&listener, &format!("serving {track}"), &progress);
    let gate = Gate::new(&args.listen.auth_tokens);
    let mut sessions = JoinSet::new();
    let accepted = async {
        loop {
            let session = listener.accept().await?;
            sessions.spawn(crate::serve::serve_session(session, gate.clone(), desk.clone()));
            while sessions.try_join_next().is_some() {}
        }
        #[expect(unreachable_code, reason = "it says what kind of future this is")]
        Ok::<(), Failure>(())
    };
    let outcome = tokio::select! {
        outcome = accepted => outcome,
        () = end_subscriptions(joined, tracks) => Ok(()),
        _ = signals.next() => Ok(()),
    };
    sessions.abort_all();
    listener.close().await;
    report(&desk, &progress, output);
    outcome
}

/// Looks at the folder, and makes tracks of what is there.
async fn open(
    args: &SourceArgs,
    track: &FullTrackName,
    progress: &Progress,
) -> Result<(Tracks, Desk, mpsc::Receiver<Joiner>), Failure> {
    let object_size = args.of_folder()?;
    let (folder, group_size) = (args.input.clone(), args.group_size);
    progress.say(&format!("reading {}", folder.display()));
    let reading =
        tokio::task::spawn_blocking(move || Catalog::of(&folder, object_size as u64, group_size));
    let catalog = reading.await.map_err(|error| Failure::new(error.to_string()))??;
    let tracks = Arc::new(tracks(&args.input, &catalog, object_size, track)?);
    let bytes = catalog.files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.size));
    progress.say(&format!("{} files, {}", catalog.files.len(), human_bytes(bytes)));
    let (joiners, joined) = mpsc::channel(16);
    Ok((tracks.clone(), Desk::of(tracks, joiners), joined))
}

fn tracks(
    folder: &Path,
    catalog: &Catalog,
    object_size: usize,
    track: &FullTrackName,
) -> Result<HashMap<FullTrackName, Arc<History>>, Failure> {
    let mut tracks = HashMap::new();
    let listing = History::in_memory();
    listing.note(Location::ZERO, 0, &Bytes::from(catalog.to_bytes()?));
    listing.end();
    tracks.insert(track.clone(), listing);
    for file in &catalog.files {
        let history = History::of_file(folder.join(&file.name), Cut::Size(object_size));
        let mut position = 0;
        for number in 0..catalog.objects(file) {
            history.note(catalog.location(number), position, &Bytes::new());
            position += catalog.object_size;
        }
        history.end();
        let name = file.track(track.namespace())?;
        if tracks.insert(name, history).is_some() {
            return Err(Failure::new(format!(
                "the file {} has the name of the track that tells of all: choose another \
                 --trackname",
                file.name
            )));
        }
    }
    Ok(tracks)
}

/// What is in a folder is all there: who subscribes gets nothing but the end.
async fn end_subscriptions(mut joined: mpsc::Receiver<Joiner>, tracks: Tracks) {
    while let Some(joiner) = joined.recv().await {
        let Joiner::Subscribe(subscribe) = joiner else { continue };
        let mut parameters = Parameters::default();
        parameters.largest_object =
            tracks.get(subscribe.track()).and_then(|history| history.largest());
        // Who has left needs no answer.
        if let Ok(publication) = subscribe.accept(Accept { parameters, ..Accept::default() }) {
            publication.done(PublishDoneCode::TrackEnded, "");
        }
    }
}

fn report(desk: &Desk, progress: &Progress, output: &OutputArgs) {
    progress.finish();
    let (fetches, bytes) = desk.served();
    if output.json {
        println!("{}", serde_json::json!({ "fetches": fetches, "bytes": bytes }));
    } else {
        progress.say(&format!("answered {fetches} fetches with {}", human_bytes(bytes)));
    }
}
