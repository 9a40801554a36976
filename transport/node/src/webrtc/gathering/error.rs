use deltawire_turn::TurnError;

/// A STUN or TURN server was of no use to a link, which does without it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{url}: {problem}")]
#[non_exhaustive]
pub struct IceServerError {
    /// The server, as [`NodeBuilder::ice_servers`](crate::NodeBuilder::ice_servers) names it.
    pub url: String,
    /// Why.
    pub problem: IceServerProblem,
}

/// Why a STUN or TURN server was of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IceServerProblem {
    /// Its name is not known, or leads to no address that this node's sockets reach.
    #[error("its host has no address that this node can reach: {0}")]
    Host(String),
    /// No connection over TCP, or no socket.
    #[error("it is not reached: {0}")]
    NotReached(String),
    /// TURN over TCP needs tokio's runtime around the node.
    #[error("over TCP it takes a node in tokio's runtime")]
    NoTokio,
    /// It says no, or nothing that can be used.
    #[error(transparent)]
    Turn(#[from] TurnError),
}
