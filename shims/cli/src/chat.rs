//! `moqt chat`: people in a room, who find each other by their namespaces.
//!
//! Everybody publishes a namespace of their own under the room's, and asks to be told of all
//! namespaces there: that is how one learns of the others. What somebody says is a track in their
//! namespace, and each message a group of it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use clap::Args;
use moqt_engine::model::{
    FullTrackName, Location, NamespaceInterest, Parameters, PublishDoneCode, TrackNamespace,
};
use moqt_engine::track::Slot;
use moqt_engine::wire::Properties;
use moqt_engine::{Accept, SlowSubscriber};
use moqt_session::{Error, Incoming, IncomingSubscribe, NamespaceEvent, Session, TrackWriter};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::args::{ConnectArgs, OutputArgs};
use crate::failure::Failure;

/// What `moqt chat --help` ends with.
pub(crate) const EXAMPLES: &str = "Example, in two terminals:
  moqt chat moqt://127.0.0.1:4443 -k tearoom --name ann
  moqt chat https://127.0.0.1:4443/ -k tearoom --name bob

Each line you type is a message. The end of the input (Ctrl-D) leaves the room.";

/// The first field of every namespace, and the track in each that is somebody's own.
const CHAT: &[u8] = b"moqt-chat";
const TRACK: &str = "messages";

/// People one listens to at a time; more are not heard.
const MOST_PEOPLE: usize = 500;

/// Bytes of a message; longer ones are not shown.
const LONGEST: usize = 4096;

/// How long a message may wait for a relay that allows no more streams.
const PATIENCE: Duration = Duration::from_secs(2);

/// What publishers that have no opinion say: some relays cannot read streams that say nothing.
const PRIORITY: u8 = 128;

#[derive(Clone, Debug, Args)]
pub(crate) struct ChatArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Where to meet.
    room: String,
    /// What others call you.
    #[arg(long, env = "USER", hide_env_values = true, default_value = "somebody")]
    name: String,
}

pub(crate) async fn run(args: &ChatArgs, output: &OutputArgs) -> Result<(), Failure> {
    let session = crate::net::connect(&args.connect).await?;
    let mut parameters = Parameters::default();
    parameters.authorization_tokens = args.connect.tokens();
    let mut room = Room::new(session.clone(), args, parameters, output.json)?;
    let outcome = tokio::select! {
        outcome = room.stay() => outcome,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    room.leave();
    crate::net::leave(&session).await;
    outcome
}

struct Room {
    session: Session,
    /// Tokens.
    parameters: Parameters,
    /// The prefix of everybody's namespace here.
    namespace: TrackNamespace,
    /// What is said here.
    own: FullTrackName,
    said: u64,
    heard_by: Vec<TrackWriter>,
    people: HashMap<TrackNamespace, AbortHandle>,
    /// One for each of them.
    ears: JoinSet<()>,
    json: bool,
}

impl Room {
    fn new(
        session: Session,
        args: &ChatArgs,
        parameters: Parameters,
        json: bool,
    ) -> Result<Self, Failure> {
        // Two of a name are two.
        let unique = format!("{:08x}", RandomState::new().hash_one(&args.name) >> 32);
        let (room, name) = (args.room.as_bytes(), args.name.as_bytes());
        let wrong = |error| Failure::new(format!("the room or the name: {error}"));
        let namespace = TrackNamespace::new([CHAT, room]).map_err(wrong)?;
        let own = TrackNamespace::new([CHAT, room, name, unique.as_bytes()]).map_err(wrong)?;
        let own = FullTrackName::new(own, TRACK).map_err(wrong)?;
        Ok(Self {
            session,
            parameters,
            namespace,
            own,
            said: 0,
            heard_by: Vec::new(),
            people: HashMap::new(),
            ears: JoinSet::new(),
            json,
        })
    }

    /// Talks and listens until there is no more input.
    async fn stay(&mut self) -> Result<(), Failure> {
        let (prefix, parameters) = (self.namespace.clone(), self.parameters.clone());
        let interest = NamespaceInterest::Namespaces;
        let others = self.session.subscribe_namespace(prefix, interest, parameters).await;
        let mut others =
            others.map_err(|error| Failure::new(format!("cannot look into the room: {error}")))?;
        let (own, parameters) = (self.own.namespace().clone(), self.parameters.clone());
        let announced = self.session.publish_namespace(own, parameters).await;
        // Dropping it is how the others hear that one has left.
        let _announced =
            announced.map_err(|error| Failure::new(format!("cannot enter the room: {error}")))?;
        note("you are in");
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        loop {
            tokio::select! {
                event = others.next() => match event? {
                    NamespaceEvent::Namespace(who) => self.meet(who),
                    NamespaceEvent::NamespaceDone(who) => self.part_from(&who),
                    _ => {}
                },
                request = self.session.accept_request() => {
                    if let Incoming::Subscribe(request) = request?
                        && *request.track() == self.own
                    {
                        self.be_heard(request);
                    }
                }
                line = lines.next_line() => match line? {
                    Some(line) if line.is_empty() => {}
                    Some(line) => self.say(line).await,
                    None => return Ok(()),
                },
            }
        }
    }

    /// Somebody is here.
    fn meet(&mut self, who: TrackNamespace) {
        if who == *self.own.namespace() || self.people.len() >= MOST_PEOPLE {
            return;
        }
        let Some(name) = name_of(&who) else { return };
        let Ok(track) = FullTrackName::new(who.clone(), TRACK) else { return };
        note(&format!("{name} is here"));
        let (session, parameters) = (self.session.clone(), self.parameters.clone());
        let listen = listen(session, track, parameters, name, self.json);
        let ear = self.ears.spawn(listen);
        if let Some(before) = self.people.insert(who, ear) {
            before.abort();
        }
        while self.ears.try_join_next().is_some() {}
    }

    fn part_from(&mut self, who: &TrackNamespace) {
        if let (Some(ear), Some(name)) = (self.people.remove(who), name_of(who)) {
            ear.abort();
            note(&format!("{name} has left"));
        }
    }

    /// Somebody wants to hear us, or a relay on behalf of all who do.
    fn be_heard(&mut self, request: IncomingSubscribe) {
        let mut accept = Accept::default();
        accept.parameters.largest_object =
            self.said.checked_sub(1).map(|group| Location::new(group, 0));
        if let Ok(publication) = request.accept(accept) {
            publication.when_slow(SlowSubscriber::End);
            self.heard_by.push(publication.into_track_with(|track| track.with_priority(PRIORITY)));
            note("you are heard");
        }
    }

    async fn say(&mut self, text: String) {
        let location = Location::new(self.said, 0);
        self.said += 1;
        let slot = Slot { location, subgroup_id: 0, ends_group: true };
        let mut there = Vec::new();
        for mut listener in self.heard_by.drain(..) {
            let write = listener.write(slot, &Properties::EMPTY, text.clone().into());
            // Others have left, or are too slow for a chat.
            if let Ok(Ok(_)) = timeout(PATIENCE, write).await {
                there.push(listener);
            }
        }
        self.heard_by = there;
        if self.heard_by.is_empty() {
            note("nobody hears you");
        }
    }

    fn leave(&mut self) {
        for listener in self.heard_by.drain(..) {
            listener.done(PublishDoneCode::TrackEnded, "");
        }
    }
}

/// Prints what somebody says.
async fn listen(
    session: Session,
    track: FullTrackName,
    parameters: Parameters,
    name: String,
    json: bool,
) {
    let mut subscription = match session.subscribe(track, parameters).await {
        Ok(subscription) => subscription,
        Err(error) => return note(&format!("{name} cannot be heard: {error}")),
    };
    subscription.set_object_limit(LONGEST);
    loop {
        let message = match subscription.next_object().await {
            Ok(Some(message)) => message,
            Err(Error::TooLarge { len, .. }) => {
                note(&format!("{name} says more than one can listen to: {len} bytes"));
                continue;
            }
            Ok(None) | Err(_) => return,
        };
        let text = String::from_utf8_lossy(&message.payload);
        if json {
            println!("{}", serde_json::json!({ "from": name, "text": text }));
        } else {
            // What others say must not control the terminal.
            println!("{name}: {}", text.escape_debug());
        }
    }
}

/// What somebody is called, or `None` if this is nobody's namespace.
fn name_of(namespace: &TrackNamespace) -> Option<String> {
    let name = namespace.field(2).filter(|_| namespace.len() == 4)?;
    Some(String::from_utf8_lossy(name).escape_debug().to_string())
}

fn note(text: &str) {
    eprintln!("* {text}");
}
