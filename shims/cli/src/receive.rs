//! `moqt receive`: a track from whoever connects and publishes it.

use moqt_engine::model::{
    FullTrackName, Location, Parameters, RequestErrorCode, SessionError, TrackNamespace,
};
use moqt_engine::{Accept, Refusal};
use moqt_session::{
    Error, Incoming, IncomingPublish, NamespacePublication, Pending, Session, Subscription,
};
use tokio::task::JoinSet;

use crate::args::{OutputArgs, ReceiveArgs};
use crate::failure::Failure;
use crate::gate::Gate;
use crate::net::Listener;
use crate::progress::Progress;
use crate::sink::Sink;
use crate::subscribe::{after, write_out};

pub(crate) async fn run(args: &ReceiveArgs, output: &OutputArgs) -> Result<(), Failure> {
    let track = args.wanted.track.full_name()?;
    let mut parameters = Parameters::default();
    parameters.subscriber_priority = args.wanted.priority;
    let taker = Taker { track, parameters, gate: Gate::new(&args.listen.auth_tokens) };
    let listener = crate::net::listen(&args.listen)?;
    let progress = Progress::new(output, "receiving");
    crate::serve::announce(&listener, &format!("waiting for {}", taker.track), &progress);
    let taken = tokio::select! {
        taken = taker.take_first(&listener) => Some(taken?),
        _ = tokio::signal::ctrl_c() => None,
    };
    let received = match taken {
        Some(taken) => taker.receive(taken, args, output, &listener, &progress).await,
        None => Ok(()),
    };
    listener.close().await;
    progress.finish();
    received
}

/// Takes one track, of any peer.
#[derive(Clone)]
struct Taker {
    track: FullTrackName,
    /// Of a SUBSCRIBE, or of the answer to a PUBLISH.
    parameters: Parameters,
    gate: Gate,
}

/// What was taken of a peer.
struct Taken {
    session: Session,
    subscription: Subscription,
    /// The first object to come.
    start: Option<Location>,
    /// Kept until the end: dropping it says that there is no interest any more.
    _namespace: Option<NamespacePublication>,
}

impl Taker {
    /// Waits for a peer that has the track. The others are left.
    async fn take_first(&self, listener: &Listener) -> Result<Taken, Failure> {
        let mut peers = JoinSet::new();
        loop {
            tokio::select! {
                session = listener.accept() => {
                    let (taker, session) = (self.clone(), session?);
                    peers.spawn(async move { taker.take(session).await });
                }
                Some(taken) = peers.join_next() => {
                    if let Ok(Some(taken)) = taken {
                        return Ok(taken);
                    }
                }
            }
        }
    }

    /// Takes the track when this peer offers it: by PUBLISH, or by PUBLISH_NAMESPACE, which is
    /// followed by a SUBSCRIBE. `None` if the peer has left.
    async fn take(&self, session: Session) -> Option<Taken> {
        let mut namespace = None;
        let mut asked = None;
        loop {
            let incoming = tokio::select! {
                incoming = session.accept_request() => incoming.ok()?,
                answer = answer(&mut asked) => {
                    asked = None;
                    // Who refuses to be subscribed to may still send PUBLISH.
                    let Ok(subscription) = answer else { continue };
                    let largest = subscription.answer().and_then(|ok| ok.parameters.largest_object);
                    let start = first_after(largest);
                    return Some(Taken { session, subscription, start, _namespace: namespace });
                }
            };
            let Some(incoming) = self.gate.admit(&session, incoming) else { continue };
            match incoming {
                Incoming::Publish(publish) if *publish.track() == self.track => {
                    let start = first_after(publish.parameters().largest_object);
                    let Some(subscription) = self.accept(publish) else { continue };
                    return Some(Taken { session, subscription, start, _namespace: namespace });
                }
                Incoming::PublishNamespace(offer)
                    if namespace.is_none() && self.is_in(offer.namespace()) =>
                {
                    namespace = offer.accept().ok();
                    asked = Some(session.subscribe(self.track.clone(), self.parameters.clone()));
                }
                other => self.turn_away(other),
            }
        }
    }

    fn is_in(&self, namespace: &TrackNamespace) -> bool {
        self.track.namespace().starts_with(namespace)
    }

    fn accept(&self, publish: IncomingPublish) -> Option<Subscription> {
        publish.accept(Accept { parameters: self.parameters.clone(), ..Accept::default() }).ok()
    }

    fn turn_away(&self, incoming: Incoming) {
        let code = match &incoming {
            Incoming::Publish(_) | Incoming::PublishNamespace(_) => RequestErrorCode::Uninterested,
            _ => RequestErrorCode::DoesNotExist,
        };
        let mut refusal = Refusal::new(code);
        refusal.reason = format!("nothing is served here, only {} is received", self.track);
        incoming.reject(refusal);
    }

    /// Writes out the track; who comes meanwhile is too late.
    async fn receive(
        &self,
        taken: Taken,
        args: &ReceiveArgs,
        output: &OutputArgs,
        listener: &Listener,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let Taken { session, subscription, start, _namespace } = taken;
        let reader = subscription.into_ordered(args.gap_timeout, start);
        let sink = Sink::open(&args.wanted.sink, &self.track).await?;
        let refused = async {
            while let Ok(incoming) = session.accept_request().await {
                self.turn_away(incoming);
            }
            std::future::pending::<()>().await;
        };
        let late = async {
            loop {
                let session = listener.accept().await?;
                session.close(SessionError::NoError, "the track comes from somebody else");
            }
            #[expect(unreachable_code, reason = "it says what kind of future this is")]
            Ok::<(), Failure>(())
        };
        tokio::select! {
            written = write_out(session.clone(), reader, sink, None, output, progress) => written,
            failed = late => failed,
            () = refused => Ok(()),
        }
    }
}

/// What a SUBSCRIBE is answered with, if one was sent.
async fn answer(asked: &mut Option<Pending<Subscription>>) -> Result<Subscription, Error> {
    match asked {
        Some(pending) => pending.await,
        None => std::future::pending().await,
    }
}

/// Where a subscription without a filter begins.
fn first_after(largest: Option<Location>) -> Option<Location> {
    largest.map_or(Some(Location::ZERO), after)
}
