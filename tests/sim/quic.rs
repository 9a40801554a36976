//! Links over QUIC, whose ends are whole nodes.

use std::net::SocketAddr;
use std::time::Duration;

use deltawire::sim::{End, Host, LinkOptions, Simulation, certificate};
use deltawire::{Admission, Node, NodeBuilder};

/// How long it may take until both peers are there.
const WITHIN: Duration = Duration::from_secs(240);

/// Two nodes. Whoever has them keeps the links.
pub(crate) struct Nodes {
    near: Node,
    far: Node,
    url: String,
}

impl Nodes {
    pub(crate) fn new(
        sim: &mut Simulation,
        [near, far]: [Host; 2],
        options: &LinkOptions,
    ) -> Result<Self, String> {
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
        let address = SocketAddr::new(sim.address(far), 4_000);
        let acceptor = builder(sim, far, options.acceptor_limits.unwrap_or(options.limits));
        let acceptor = acceptor.listen(address).accept_quic(Admission::anyone());
        let failed = |error: deltawire::BuildError| error.to_string();
        let far = acceptor.build().map_err(failed)?;
        let near = builder(sim, near, options.limits).build().map_err(failed)?;
        let hash = far.quic_fingerprint().ok_or("it accepts nobody")?;
        Ok(Self { near, far, url: format!("quic://{address}#{hash}") })
    }

    /// Connects the first to the second.
    pub(crate) fn connect(&self, sim: &mut Simulation) -> Result<(End, End), String> {
        let both = async {
            let (peer, link) =
                self.near.connect(&self.url).await.map_err(|error| error.to_string())?;
            let near = End { peer, link };
            loop {
                let (peer, link) = self.far.accept().await.ok_or("the node is shutting down")?;
                // One that was given up before may have been accepted.
                if link.ended().is_none() {
                    return Ok((near, End { peer, link }));
                }
            }
        };
        sim.block_on(WITHIN, both).map_err(|error| error.to_string())?
    }
}
