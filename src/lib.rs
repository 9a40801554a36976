#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub use deltawire_channels as channels;
pub use deltawire_framing as framing;
pub use deltawire_transport::memory;

/// What most programs use.
pub mod prelude {
    pub use deltawire_channels::{Command, Peer, Receiver, Sender};
    pub use deltawire_framing::{
        Channel, Checksum, Delta, DeltaFields, DeltaType, DeltaWriter, DocId, Fragmenter, Frame,
        FrameHeader, Frames, Kind, Reassembled, Reassembler, ReassemblerLimits, Record, RecordBuf,
    };
}
