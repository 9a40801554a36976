//! What an application holds of a peer.

mod closed;
#[cfg(feature = "futures")]
mod futures;
mod limit;
mod message;
mod receiver;
mod sender;
mod shared;
mod split;

pub(crate) use closed::EndNotice;
pub use closed::{ChannelClosed, SendError};
#[cfg(feature = "futures")]
pub use futures::{DeltaSink, Messages};
pub(crate) use limit::MessageLimit;
pub use message::Message;
pub(crate) use receiver::{Arrived, Memory, Returned};
pub use receiver::{Receiver, TryNextError};
pub use sender::{DeltaGrant, OpaqueGrant, Sender};
pub use shared::{MAX_SHARED, SharedSender};
pub use split::{MAX_HANDED_OVER, SplitError};

/// The application's handle on a session: three channels. The parts can be moved to different
/// threads or tasks.
///
/// **Read while you write.** A full window stops the other side: two peers that both send and never
/// read meanwhile both wait for ever, as soon as rings and windows are full. Where more is sent than
/// they hold, take the peer apart and do both at a time:
///
/// ```
/// use deltawire_channels::Peer;
/// use deltawire_framing::{DeltaFields, DocId};
///
/// async fn exchange(peer: Peer) -> Result<(), Box<dyn std::error::Error>> {
///     let Peer { mut send, mut receive, command: _command } = peer;
///     let sending = async {
///         for _ in 0..1_000_000 {
///             send.send(DeltaFields::new(DocId([7; 16])), b"hello").await?;
///         }
///         Ok::<(), Box<dyn std::error::Error>>(())
///     };
///     let receiving = async {
///         while let Ok(frame) = receive.next().await {
///             println!("{} bytes came", frame.delta()?.payload().len());
///         }
///         Ok(())
///     };
///     // Or tokio::try_join!, or two tasks.
///     futures_util::try_join!(sending, receiving)?;
///     Ok(())
/// }
/// ```
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
