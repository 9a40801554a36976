use crate::frame::FrameHeader;

/// Where fragmented messages are put together: gives each of them a buffer when its first
/// fragment comes. A pool, say, or a place in storage.
///
/// A closure `FnMut(&FrameHeader) -> Option<B>` is one.
pub trait Landing {
    /// Holds a message's body, from its first byte on. Dropping it gives the memory back.
    type Buffer: AsMut<[u8]>;

    /// A buffer of at least `message.message_len()` bytes, or `None` to refuse the message. Asked
    /// only for what the reassembler's own limits allow.
    fn claim(&mut self, message: &FrameHeader) -> Option<Self::Buffer>;
}

impl<F, B> Landing for F
where
    F: FnMut(&FrameHeader) -> Option<B>,
    B: AsMut<[u8]>,
{
    type Buffer = B;

    fn claim(&mut self, message: &FrameHeader) -> Option<B> {
        self(message)
    }
}
