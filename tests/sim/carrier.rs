//! What links run on.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use deltawire::sim::{End, Host, LinkOptions, Simulation, certificate};
use deltawire::webrtc::EngineKind;
use deltawire::{Admission, BuildError, Node, NodeBuilder, sim};

use crate::probe::keep;

/// What a link runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// Each transport message a datagram of its own.
    Frames,
    /// WebRTC.
    Datagrams(EngineKind),
    /// QUIC, between whole nodes.
    Quic,
}

static ENGINE: OnceLock<EngineKind> = OnceLock::new();

/// Has the checks with tables be about this engine alone.
pub(crate) fn only(engine: EngineKind) {
    let _ = ENGINE.set(engine);
}

/// The engine that they are about.
pub(crate) fn engine() -> EngineKind {
    ENGINE.get().copied().unwrap_or(EngineKind::Lean)
}

/// What the checks with tables are about.
pub(crate) fn carriers() -> Vec<Carrier> {
    match ENGINE.get() {
        Some(engine) => vec![Carrier::Datagrams(*engine)],
        None => vec![Carrier::Frames, Carrier::Datagrams(engine()), Carrier::Quic],
    }
}

/// How long it may take until both nodes have their peers.
const WITHIN: Duration = Duration::from_secs(240);

impl Carrier {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Frames => "frames",
            Self::Datagrams(EngineKind::Str0m) => "datagrams of str0m",
            Self::Datagrams(_) => "datagrams",
            Self::Quic => "QUIC",
        }
    }

    /// Connects the first host to the second, with these options but for their carrier.
    pub(crate) fn connect(
        self,
        sim: &mut Simulation,
        [near, far]: [Host; 2],
        options: &LinkOptions,
    ) -> Result<(End, End), String> {
        let (carrier, engine) = match self {
            Self::Frames => (sim::Carrier::Frames, options.engine),
            Self::Datagrams(engine) => (sim::Carrier::Datagrams, engine),
            Self::Quic => return connect_nodes(sim, [near, far], options),
        };
        let options = LinkOptions { carrier, engine, ..*options };
        sim.connect_with(near, far, &options).map_err(|ended| ended.to_string())
    }
}

/// Makes two nodes, which stay, and connects the first to the second over QUIC.
fn connect_nodes(
    sim: &mut Simulation,
    [near, far]: [Host; 2],
    options: &LinkOptions,
) -> Result<(End, End), String> {
    let builder = |sim: &mut Simulation, host, limits| -> NodeBuilder {
        Node::builder()
            .runtime(sim.runtime(host))
            .certificate(certificate())
            .resume(None)
            .limits(limits)
            .connect_timeout(options.connect_timeout)
            .command_order(options.command)
            .delivery(options.initiator, options.acceptor)
    };
    let failed = |error: BuildError| error.to_string();
    let listen = SocketAddr::new(sim.address(far), 0);
    let acceptor = builder(sim, far, options.acceptor_limits.unwrap_or(options.limits));
    let acceptor = acceptor.listen(listen).accept_quic(Admission::anyone());
    let acceptor = acceptor.build().map_err(failed)?;
    let initiator = builder(sim, near, options.limits).build().map_err(failed)?;
    let address = acceptor.addresses().next().ok_or("it listens nowhere")?;
    let hash = acceptor.quic_fingerprint().ok_or("it accepts nobody")?;
    let url = format!("quic://{address}#{hash}");
    let both = async {
        let (peer, link) = initiator.connect(&url).await.map_err(|error| error.to_string())?;
        let near = End { peer, link };
        let (peer, link) = acceptor.accept().await.ok_or("the node is shutting down")?;
        Ok((near, End { peer, link }))
    };
    let connected = sim.block_on(WITHIN, both).map_err(|error| error.to_string())?;
    keep(sim, (initiator, acceptor));
    connected
}
