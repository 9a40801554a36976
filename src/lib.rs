#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub use deltawire_channels as channels;
pub use deltawire_framing as framing;
#[cfg(not(target_arch = "wasm32"))]
pub use deltawire_transport::{
    AnswerError, BuildError, Change, ConnectError, Node, NodeBuilder, Offer, Reconnecting,
};
pub use deltawire_transport::{
    Backoff, ConnectionManager, Ended, FlightLimits, Full, Link, LinkStats, Network, NoMoreSenders,
    NodeEvent, NodeLimits, PeerId, PeerInfo, PeerState, Undelivered, engine, memory, signalling,
};

/// What most programs use.
pub mod prelude {
    pub use deltawire_channels::{Command, Peer, Receiver, Sender};
    pub use deltawire_framing::{
        Channel, Checksum, Delta, DeltaFields, DeltaType, DeltaWriter, DocId, Fragmenter, Frame,
        FrameHeader, Frames, Kind, Reassembled, Reassembler, ReassemblerLimits, Record, RecordBuf,
    };
    pub use deltawire_transport::Link;
    #[cfg(not(target_arch = "wasm32"))]
    pub use deltawire_transport::Node;
}
