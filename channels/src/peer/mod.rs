//! What an application holds of a peer.

mod receiver;
mod sender;

pub(crate) use receiver::{Arrived, Memory, Returned};
pub use receiver::{Receiver, TryNext};
pub use sender::{DeltaGrant, OpaqueGrant, Sender};

/// The application's handle on a session: three channels. The parts can be moved to different
/// threads or tasks.
#[derive(Debug)]
pub struct Peer {
    /// The application's commands, both ways; they overtake deltas.
    pub command: Command,
    /// My deltas to the peer.
    pub send: Sender,
    /// The peer's deltas to me.
    pub receive: Receiver,
}

/// The two directions of the command channel.
#[derive(Debug)]
pub struct Command {
    /// My commands to the peer.
    pub send: Sender,
    /// The peer's commands to me.
    pub receive: Receiver,
}
