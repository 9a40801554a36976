//! What a channel promises, and how a [`Hello`](super::Hello) says it.

use core::fmt;
use core::time::Duration;

use crate::error::{Expected, Field, Malformed};

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

/// Bit 0 of a hello's `delivery`: commands are unordered.
const COMMANDS_UNORDERED: u8 = 1;
/// Bit 1: deltas are unordered.
const DELTAS_UNORDERED: u8 = 2;
/// Where the two bits of the deltas' reliability begin.
const RELIABILITY_SHIFT: u8 = 2;
const RELIABLE: u8 = 0;
const MAX_RETRANSMITS: u8 = 1;
const MAX_LIFETIME: u8 = 2;

impl Delivery {
    /// Whether a message can get lost while the link lives.
    #[must_use]
    pub fn may_lose(&self) -> bool {
        self.reliability != Reliability::Reliable
    }

    /// The same as the wire says it, and transports keep it: a lifetime in whole milliseconds, at
    /// most 65,535.
    #[must_use]
    pub fn on_wire(self) -> Self {
        match self.reliability {
            Reliability::MaxLifetime(lifetime) => Self {
                reliability: Reliability::MaxLifetime(Duration::from_millis(
                    milliseconds(lifetime).into(),
                )),
                ..self
            },
            _ => self,
        }
    }

    /// `delivery` and `delivery_limit` of a hello, with deltas of this delivery.
    pub(super) fn to_bits(self, command: Order) -> (u8, u16) {
        let (reliability, limit) = match self.reliability {
            Reliability::Reliable => (RELIABLE, 0),
            Reliability::MaxRetransmits(retransmits) => (MAX_RETRANSMITS, retransmits),
            Reliability::MaxLifetime(lifetime) => (MAX_LIFETIME, milliseconds(lifetime)),
        };
        let mut bits = reliability << RELIABILITY_SHIFT;
        if command == Order::Unordered {
            bits |= COMMANDS_UNORDERED;
        }
        if self.order == Order::Unordered {
            bits |= DELTAS_UNORDERED;
        }
        (bits, limit)
    }

    /// The deltas' delivery, of bits that were checked.
    pub(super) const fn from_bits(bits: u8, limit: u16) -> Self {
        let order = if bits & DELTAS_UNORDERED == 0 { Order::Ordered } else { Order::Unordered };
        let reliability = match bits >> RELIABILITY_SHIFT {
            MAX_RETRANSMITS => Reliability::MaxRetransmits(limit),
            MAX_LIFETIME => Reliability::MaxLifetime(Duration::from_millis(limit as u64)),
            _ => Reliability::Reliable,
        };
        Self { order, reliability }
    }

    /// The commands' order.
    pub(super) const fn command_from_bits(bits: u8) -> Order {
        if bits & COMMANDS_UNORDERED == 0 { Order::Ordered } else { Order::Unordered }
    }

    /// What is reliable has no limit.
    pub(super) fn check_limit(bits: u8, limit: u16) -> Result<(), Malformed> {
        if bits >> RELIABILITY_SHIFT == RELIABLE && limit != 0 {
            let value = u64::from(limit);
            return Err(Malformed::new(Field::DeliveryLimit, value, Expected::Exactly(0)));
        }
        Ok(())
    }

    /// The bits that version 1 knows are 0 to 3, and reliability 3 is none.
    pub(super) fn check_bits(bits: u8) -> Result<(), Malformed> {
        if bits >> RELIABILITY_SHIFT > MAX_LIFETIME {
            let expected = Expected::That(
                "must have reliability 0, 1 or 2 in bits 2 and 3, and no bits above",
            );
            return Err(Malformed::new(Field::Delivery, u64::from(bits), expected));
        }
        Ok(())
    }
}

fn milliseconds(lifetime: Duration) -> u16 {
    u16::try_from(lifetime.as_millis()).unwrap_or(u16::MAX)
}

impl fmt::Display for Delivery {
    /// In words: `unordered, at most 3 retransmissions`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.order {
            Order::Ordered => "ordered, ",
            Order::Unordered => "unordered, ",
        })?;
        match self.reliability {
            Reliability::Reliable => f.write_str("reliable"),
            Reliability::MaxRetransmits(most) => write!(f, "at most {most} retransmissions"),
            Reliability::MaxLifetime(longest) => write!(f, "for at most {longest:?}"),
        }
    }
}
