//! `moqt join`: a track's past and what is published now, as one.

use moqt_engine::model::{Parameters, SubscriptionFilter};

use crate::args::{JoinArgs, OutputArgs};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::sink::Sink;
use crate::subscribe::{Again, subscribe, write_out};

pub(crate) async fn run(args: &JoinArgs, output: &OutputArgs) -> Result<(), Failure> {
    let track = args.wanted.track.full_name()?;
    let session = crate::net::connect(&args.connect).await?;
    let progress = Progress::new(output, "joining");
    let tokens = args.connect.tokens();
    let mut parameters = Parameters::default();
    parameters.subscription_filter = Some(SubscriptionFilter::LargestObject);
    parameters.subscriber_priority = args.wanted.priority;
    parameters.authorization_tokens.clone_from(&tokens);
    let subscription = subscribe(&session, &track, parameters).await?;
    match subscription.answer().and_then(|answer| answer.parameters.largest_object) {
        Some(largest) => progress.say(&format!("joining {track} at {largest}")),
        None => progress.say(&format!("joining {track}: nothing was published so far")),
    }
    let mut parameters = Parameters::default();
    parameters.authorization_tokens = tokens;
    // The past comes first: what is published now waits for it.
    parameters.subscriber_priority = Some(args.wanted.priority.unwrap_or(128).saturating_sub(1));
    let reader = subscription
        .into_joined(args.start(), args.gap_timeout, parameters)
        .await
        .map_err(|error| Failure::new(format!("cannot fetch the past of {track}: {error}")))?;
    let sink = Sink::open(&args.wanted.sink, &track).await?;
    let again = Again {
        connect: &args.connect,
        reconnect: args.reconnect,
        wanted: &args.wanted,
        gap_timeout: args.gap_timeout,
    };
    write_out(session, reader, sink, Some(again), output, &progress).await
}
