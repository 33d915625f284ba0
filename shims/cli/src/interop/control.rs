//! Cases without objects: those of moq-interop-runner.

use std::time::Duration;

use moqt_engine::Accept;
use moqt_engine::model::{
    FullTrackName, Parameters, RequestErrorCode, RequestKind, TrackNamespace,
};
use moqt_session::{Error, Incoming, NamespacePublication, Session};
use tokio::time::sleep;

use super::run::{Outcome, Run, error_name};

/// What the runner's cases publish and subscribe to.
const NAMESPACE: [&str; 2] = ["moq-test", "interop"];
const MISSING: [&str; 2] = ["nonexistent", "namespace"];
const TRACK: &str = "test-track";

/// How much later than the subscriber the publisher comes.
const LATER: Duration = Duration::from_millis(500);

pub(crate) async fn setup_only(run: &mut Run<'_>) -> Result<(), Outcome> {
    let session = run.connect("").await?;
    run.close(&session).await
}

pub(crate) async fn announce_only(run: &mut Run<'_>) -> Result<(), Outcome> {
    let session = run.connect("").await?;
    let _published = announce(run, &session, namespace(NAMESPACE)?).await?;
    Ok(())
}

pub(crate) async fn publish_namespace_done(run: &mut Run<'_>) -> Result<(), Outcome> {
    let session = run.connect("").await?;
    announce(run, &session, namespace(NAMESPACE)?).await?.withdraw();
    run.close(&session).await
}

pub(crate) async fn subscribe_error(run: &mut Run<'_>) -> Result<(), Outcome> {
    let session = run.connect("").await?;
    let dialect = session.draft().dialect();
    let code = RequestErrorCode::DoesNotExist;
    let number = dialect.request_error_code(RequestKind::Subscribe, code);
    let error = error_name(dialect);
    run.wait_for(format!("{error} 0x{number:x} {}", code_name(error, code)));
    match session.subscribe(track(MISSING)?, Parameters::default()).await {
        Ok(_) => Err(run.unexpected("SUBSCRIBE_OK", "there is no such track")),
        Err(Error::Rejected(rejected)) => {
            let Some(number) = rejected.raw_code else {
                return Err(run.unexpected("no answer", &rejected.to_string()));
            };
            run.receive(format!("{error} 0x{number:x} {}", code_name(error, rejected.code)));
            if run.is_strict() && rejected.code != code {
                let message = format!("the code is not the draft's: {rejected}");
                return Err(Outcome::Failed(message));
            }
            Ok(())
        }
        Err(error) => Err(run.refused(dialect, &error)),
    }
}

pub(crate) async fn announce_subscribe(run: &mut Run<'_>) -> Result<(), Outcome> {
    let publisher = run.connect("publisher").await?;
    let _published = announce(run, &publisher, namespace(NAMESPACE)?).await?;
    let subscriber = run.connect("subscriber").await?;
    let subscribed = async {
        run.wait_for("SUBSCRIBE_OK");
        match subscriber.subscribe(track(NAMESPACE)?, Parameters::default()).await {
            Ok(subscription) => {
                run.receive("SUBSCRIBE_OK");
                Ok(subscription)
            }
            Err(error) => Err(run.refused(subscriber.draft().dialect(), &error)),
        }
    };
    let _subscription = tokio::select! {
        subscribed = subscribed => subscribed?,
        failed = accept_all(&publisher) => return Err(failed),
    };
    Ok(())
}

pub(crate) async fn subscribe_before_announce(run: &mut Run<'_>) -> Result<(), Outcome> {
    let subscriber = run.connect("subscriber").await?;
    let mut pending = subscriber.subscribe(track(NAMESPACE)?, Parameters::default());
    // The relay may answer before a publisher is there.
    let early = tokio::select! {
        answer = &mut pending => Some(answer),
        () = sleep(LATER) => None,
    };
    if early.is_some() {
        sleep(LATER).await;
    }
    let publisher = run.connect("publisher").await?;
    let _published = announce(run, &publisher, namespace(NAMESPACE)?).await?;
    run.wait_for("SUBSCRIBE_OK or an error");
    let answer = async {
        match early {
            Some(answer) => answer,
            None => pending.await,
        }
    };
    let answer = tokio::select! {
        answer = answer => answer,
        failed = accept_all(&publisher) => return Err(failed),
    };
    let dialect = subscriber.draft().dialect();
    match answer {
        Ok(_) => run.receive("SUBSCRIBE_OK"),
        Err(Error::Rejected(rejected)) if rejected.raw_code.is_some() => {
            let (error, code) = (error_name(dialect), rejected.raw_code.unwrap_or_default());
            run.receive(format!("{error} 0x{code:x} {}", code_name(error, rejected.code)));
        }
        Err(error) => return Err(run.refused(dialect, &error)),
    }
    Ok(())
}

/// Announces a namespace, up to the relay's OK.
pub(crate) async fn announce(
    run: &mut Run<'_>,
    session: &Session,
    namespace: TrackNamespace,
) -> Result<NamespacePublication, Outcome> {
    run.wait_for("PUBLISH_NAMESPACE_OK");
    match session.publish_namespace(namespace, Parameters::default()).await {
        Ok(published) => {
            run.receive("PUBLISH_NAMESPACE_OK");
            Ok(published)
        }
        Err(error) => Err(run.refused(session.draft().dialect(), &error)),
    }
}

/// Accepts whatever is subscribed to; only the end of the session ends this.
async fn accept_all(publisher: &Session) -> Outcome {
    let mut accepted = Vec::new();
    loop {
        match publisher.accept_request().await {
            Ok(Incoming::Subscribe(request)) => accepted.push(request.accept(Accept::default())),
            Ok(_) => {}
            Err(reason) => return Outcome::Failed(format!("the publisher: {reason}")),
        }
    }
}

fn namespace(fields: [&str; 2]) -> Result<TrackNamespace, Outcome> {
    Ok(TrackNamespace::new(fields.map(str::to_owned))?)
}

fn track(fields: [&str; 2]) -> Result<FullTrackName, Outcome> {
    Ok(FullTrackName::new(namespace(fields)?, TRACK)?)
}

/// What the draft calls a code: those of draft 14 are of one kind of request each.
fn code_name(error: &str, code: RequestErrorCode) -> String {
    match code {
        RequestErrorCode::DoesNotExist if error == "SUBSCRIBE_ERROR" => {
            "TRACK_DOES_NOT_EXIST".into()
        }
        code => code.to_string(),
    }
}
