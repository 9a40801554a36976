use core::time::Duration;

/// What bounds the rooms of a [`router`](crate::router).
///
/// Besides these, requests to rooms have the same rates and the same longest body as all of signalling's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomLimits {
    /// The longest name of a room, bytes. Default: 64.
    pub max_name_len: usize,
    /// Rooms in which anybody waits, about 200 bytes each. Default: 256.
    pub max_rooms: usize,
    /// Offers that have no answer, in all rooms. Each holds a connection: default 256, a quarter of
    /// `ServerLimits::max_connections`.
    pub max_offers: usize,
    /// The same of one room. Default: 16.
    pub max_offers_per_room: usize,
    /// Peers that wait for an offer, in all rooms. Each holds a connection: default 256, another quarter.
    pub max_acceptors: usize,
    /// The same of one room. Default: 16.
    pub max_acceptors_per_room: usize,
    /// Offers and peers that wait for one, of one address; of IPv6 the first 64 bits count. Default: 32, half of
    /// `ServerLimits::max_connections_per_address`.
    pub max_per_address: usize,
    /// The same of one address in one room. Default: 8, half of what a room takes.
    pub max_per_address_and_room: usize,
    /// Offers and answers on their way, in all rooms, bytes. Default: 1 MiB, which is 256 times 4 KiB.
    pub max_bytes: usize,
    /// The longest offer or answer, bytes. Default: 8 KiB; a browser's has one or two.
    pub max_len: usize,
    /// How long an offer waits for its answer, and a peer for an offer. Shorter than
    /// [`ClientOptions::timeout`](crate::ClientOptions::timeout) of who waits, and than
    /// `ServerLimits::shutdown_timeout`, so that nobody is cut off. Default: 8 s.
    pub wait: Duration,
}

impl Default for RoomLimits {
    fn default() -> Self {
        Self {
            max_name_len: 64,
            max_rooms: 256,
            max_offers: 256,
            max_offers_per_room: 16,
            max_acceptors: 256,
            max_acceptors_per_room: 16,
            max_per_address: 32,
            max_per_address_and_room: 8,
            max_bytes: 1 << 20,
            max_len: 8 << 10,
            wait: Duration::from_secs(8),
        }
    }
}
