#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub use deltawire_channels as channels;
pub use deltawire_framing as framing;
#[cfg(target_arch = "wasm32")]
pub use deltawire_transport::browser;
#[cfg(not(target_arch = "wasm32"))]
pub use deltawire_transport::{AnswerError, Offer, sim};
pub use deltawire_transport::{
    Backoff, BuildError, Change, ConnectError, ConnectionManager, Ended, FlightLimits, Full, Link,
    LinkStats, Network, NoMoreSenders, Node, NodeBuilder, NodeEvent, NodeLimits, PeerId, PeerInfo,
    PeerState, Reconnecting, Route, Undelivered, engine, memory, signalling,
};

/// What most programs use.
pub mod prelude {
    pub use deltawire_channels::{Command, Peer, Receiver, Sender};
    pub use deltawire_framing::{
        Channel, Checksum, Delta, DeltaFields, DeltaType, DeltaWriter, DocId, Fragmenter, Frame,
        FrameHeader, Frames, Kind, Reassembled, Reassembler, ReassemblerLimits, Record, RecordBuf,
    };
    pub use deltawire_transport::{Link, Node};
}
