use core::time::Duration;

/// What a channel promises. Both peers have to say the same of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Whether messages arrive in the order in which they were sent.
    pub order: Order,
    /// Whether they arrive.
    pub reliability: Reliability,
}

/// Whether messages arrive in the order in which they were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// They do; a lost one holds up those behind it.
    #[default]
    Ordered,
    /// Each arrives as soon as it can.
    Unordered,
}

/// Whether messages arrive: the policies of RFC 3758 and RFC 8832.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reliability {
    /// They do, unless the link ends.
    #[default]
    Reliable,
    /// Each is sent again at most so many times.
    MaxRetransmits(u16),
    /// Each is given up after so long.
    MaxLifetime(Duration),
}

impl Delivery {
    /// Whether a message can get lost while the link lives.
    #[must_use]
    pub fn may_lose(&self) -> bool {
        self.reliability != Reliability::Reliable
    }
}
