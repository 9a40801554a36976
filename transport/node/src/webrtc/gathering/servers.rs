use std::sync::Arc;

use deltawire_sdp::IceServer;
use deltawire_turn::ServerUrl;

use crate::BuildError;

/// Addresses of servers that a node may have: each is asked for each link.
pub const MAX_ICE_SERVERS: usize = 8;

/// The servers of a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct IceServers {
    servers: Vec<Arc<Server>>,
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
        Ok(Self { servers })
    }

    pub(super) fn all(&self) -> &[Arc<Server>] {
        &self.servers
    }
}
