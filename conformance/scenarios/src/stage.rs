use std::sync::Arc;
use std::time::Duration;

use moqt_engine::{Config, Draft, MoqtConnection, Role, Transport};
use moqt_loopback::{EndpointId, Fault, LinkConfig, Simulation};
use moqt_quic::TransportOptions;
use moqt_session::Session;

use crate::case::{Case, Ends};
use crate::udp::{Server, connect, options};

/// What a scenario wants of its session, beyond what is usual.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Of both engines.
    pub engine: Config,
    /// Of both ends, over UDP.
    pub transport: TransportOptions,
    /// In memory.
    pub link: LinkConfig,
}

/// An established session, and what is around it. The applications at its ends have the handles:
/// each goes when its field is dropped.
#[derive(Debug)]
pub struct Stage {
    /// Where this is.
    pub case: Case,
    /// The end that publishes.
    pub publisher: Session,
    /// The other.
    pub subscriber: Session,
    /// The surroundings, for when the sessions are taken from here.
    pub world: World,
}

/// What is around a session.
#[derive(Clone, Debug)]
pub enum World {
    /// The network in memory, and the publisher's end of the link.
    Loopback(Simulation, EndpointId),
    /// UDP.
    Udp(Arc<Server>),
}

impl Stage {
    /// The draft.
    pub fn draft(&self) -> Draft {
        self.case.draft
    }

    /// An end by its role.
    pub fn end(&self, role: Role) -> &Session {
        if role == self.case.publisher { &self.publisher } else { &self.subscriber }
    }

    /// In memory.
    pub(crate) async fn loopback(simulation: Simulation, case: Case, setup: &Setup) -> Self {
        let [client, server] = [Role::Client, Role::Server].map(|role| {
            let config = Arc::new(setup.engine.clone());
            MoqtConnection::new(role, case.draft, Transport::Quic, config, simulation.now())
        });
        let (client, server) = simulation.connect(client, server, setup.link.clone());
        let place =
            if case.publisher == Role::Client { client.endpoint() } else { server.endpoint() };
        let (client, server) = (client.await.unwrap(), server.await.unwrap());
        Self::new(case, client, server, World::Loopback(simulation, place))
    }

    /// Over UDP.
    pub(crate) async fn udp(case: Case, setup: &Setup) -> Self {
        let Ends::Udp { client, server, scheme } = case.ends else { panic!("not over UDP") };
        let (mut client_options, mut server_options) = options();
        client_options.drafts = vec![case.draft];
        client_options.engine = setup.engine.clone();
        client_options.transport = setup.transport.clone();
        server_options.engine = setup.engine.clone();
        server_options.transport = setup.transport.clone();
        let server = Server::bind(server, &server_options);
        let target = server.target(scheme, "/");
        let connecting = connect(client, &target, &client_options);
        let (client, accepted) = tokio::join!(connecting, server.accept());
        Self::new(case, client.unwrap(), accepted, World::Udp(Arc::new(server)))
    }

    fn new(case: Case, client: Session, server: Session, world: World) -> Self {
        assert_eq!((client.draft(), server.draft()), (case.draft, case.draft));
        let (publisher, subscriber) = match case.publisher {
            Role::Client => (client, server),
            Role::Server => (server, client),
        };
        Self { case, publisher, subscriber, world }
    }
}

impl World {
    /// Waits for something that is not told of.
    pub async fn until(&self, mut is_so: impl FnMut() -> bool) {
        while !is_so() {
            self.pause().await;
        }
    }

    /// Lets a moment pass.
    async fn pause(&self) {
        const MOMENT: Duration = Duration::from_millis(1);
        match self {
            Self::Loopback(simulation, _) => simulation.sleep(MOMENT).await,
            Self::Udp(_) => tokio::time::sleep(MOMENT).await,
        }
    }

    /// Cuts the link, if it is one in memory.
    pub fn cut(&self) -> bool {
        let Self::Loopback(simulation, end) = self else { return false };
        let fault = Fault::Disconnect { reason: "cut".into() };
        simulation.with_network(|network| network.inject(*end, fault));
        true
    }
}
