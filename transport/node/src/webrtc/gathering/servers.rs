use std::sync::Arc;

use deltawire_sdp::IceServer;
use deltawire_turn::ServerUrl;
use tokio::sync::Semaphore;

use crate::BuildError;

/// Addresses of servers that a node may have: each is asked for each link.
pub const MAX_ICE_SERVERS: usize = 8;

/// Attempts of a node's that ask its servers at a time, with those that were given up and whose addresses are being given back.
pub const MAX_ASKING: usize = 64;

/// The servers of a node.
#[derive(Clone, Debug)]
pub(crate) struct IceServers {
    servers: Vec<Arc<Server>>,
    asking: Arc<Semaphore>,
}

/// One address of a server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) url: String,
    pub(super) at: ServerUrl,
    /// With its password, which is not shown.
    pub(super) of: IceServer,
}

impl IceServers {
    pub(crate) fn read(given: &[IceServer]) -> Result<Self, BuildError> {
        let mut servers = Vec::new();
        for of in given {
            for url in &of.urls {
                let refused = |reason| BuildError::IceServer { url: url.clone(), reason };
                let at = ServerUrl::read(url).map_err(refused)?;
                servers.push(Arc::new(Server { url: url.clone(), at, of: of.clone() }));
            }
        }
        if servers.len() > MAX_ICE_SERVERS {
            let (option, value, expected) = ("ice_servers", servers.len(), "at most 8 addresses");
            return Err(BuildError::Option { option, value, expected });
        }
        Ok(Self { servers, asking: Arc::new(Semaphore::new(MAX_ASKING)) })
    }

    /// What bounds the attempts that ask.
    pub(super) fn asking(&self) -> Arc<Semaphore> {
        self.asking.clone()
    }

    pub(super) fn all(&self) -> &[Arc<Server>] {
        &self.servers
    }
}
