//! Deltas that may overtake each other, and get lost: the server has a node for each way, as both sides have to agree.

use std::time::Duration;

use deltawire::channels::{Delivery, Order, Reliability};

/// Their names, what becomes of what is late, and whether everything arrives where nothing else goes wrong.
pub const WAYS: [(&str, Reliability, bool); 4] = [
    ("reliable", Reliability::Reliable, true),
    ("lifetime", Reliability::MaxLifetime(Duration::from_secs(60)), true),
    ("late", Reliability::MaxLifetime(Duration::from_millis(10)), false),
    ("never-again", Reliability::MaxRetransmits(0), false),
];

/// How deltas go, both ways.
#[must_use]
pub fn delivery(reliability: Reliability) -> Delivery {
    Delivery { order: Order::Unordered, reliability }
}

/// Where the server's node of this way is asked for a link.
#[must_use]
pub fn path(name: &str) -> String {
    format!("/unordered/{name}")
}
