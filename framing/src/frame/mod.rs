//! Frames: the header, the view over one frame, and a transport message of several.

mod header;
mod message;
mod view;

pub use header::{Channel, DEFAULT_MAX_FRAME_LEN, FRAME_ALIGN, FrameHeader, Kind, frame_step};
pub(crate) use message::behind_zeros;
pub use message::{Frames, Run, run};
pub use view::Frame;
