use core::time::Duration;

/// How much a peer can make a [`Reassembler`](crate::Reassembler) hold.
///
/// In memory that is at most `max_bytes` of messages in landing buffers (and what a landing adds to
/// each); for each unfinished message 256 bytes and two bits a fragment, 16 KiB at most; 64 spare
/// bitmaps of 8 KiB at most; and a table of 2 · (`max_messages` + `remembered`) entries of 24 bytes,
/// made with the first fragment for up to 1,024 messages. With the defaults 5.5 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReassemblerLimits {
    /// Sum of the lengths of unfinished messages, bytes. Default: 4 MiB, enough for 100 Mbit/s at
    /// 300 ms. Should be the receive window that the peer was granted.
    pub max_bytes: u64,
    /// Unfinished messages at a time. Default: 64, more than a sender that interleaves a few
    /// priorities needs.
    pub max_messages: u32,
    /// How long an unfinished message may wait for its next fragment. Default: 30 s, longer than
    /// a transport needs to notice that it is dead.
    pub max_idle: Duration,
    /// How many messages that were finished, given up or refused are remembered, so that what
    /// still comes of them does not begin them anew. Default: 64. 0 for a transport that never duplicates, or a peer
    /// that uses message ids again at once.
    pub remembered: u32,
}

impl Default for ReassemblerLimits {
    fn default() -> Self {
        Self {
            max_bytes: 4 << 20,
            max_messages: 64,
            max_idle: Duration::from_secs(30),
            remembered: 64,
        }
    }
}

/// What a [`Reassembler`](crate::Reassembler) did and refused, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReassemblerCounters {
    /// Messages that came in one frame and passed through.
    pub whole_messages: u64,
    /// Messages put together from fragments.
    pub reassembled_messages: u64,
    /// Fragments that were written to their place.
    pub fragments: u64,
    /// Fragments that had been there before.
    pub duplicates: u64,
    /// Fragments that contradicted an earlier one of their message.
    pub refused_malformed: u64,
    /// Fragments of messages for which there was no room.
    pub refused_limit: u64,
    /// Messages given up because nothing more of them came.
    pub expired_messages: u64,
}
