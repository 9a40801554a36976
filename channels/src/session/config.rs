use core::time::Duration;

use deltawire_framing::control::{Delivery, Order, Role};

use crate::limits::Limits;

/// What a session is made with.
#[derive(Clone, Copy, Debug)]
pub struct SessionConfig {
    /// Which end of the link this is.
    pub role: Role,
    /// Names the session: random.
    pub session_id: [u8; 16],
    /// Random, and unknown to the peer.
    pub seed: u64,
    /// What bounds the peer.
    pub limits: Limits,
    /// Whether commands arrive in the order in which they were sent. That they arrive, control
    /// messages rely on.
    pub command: Order,
    /// What the channel of my deltas promises.
    pub send: Delivery,
    /// What the channel of the peer's deltas promises.
    pub receive: Delivery,
    /// Whether the transport itself hears of a quiet peer well within the idle time-out and
    /// [tells](super::Session::hear): then the session pings only when that fails to come.
    /// Default: no.
    pub transport_hears: bool,
    /// Whether the session may go on over another link when its own is lost, if the peer's may too. Then what was
    /// sent takes its place in a sender's ring until the peer has taken it in. Channels that are reliable and
    /// unordered cannot. Default: no.
    pub resumes: bool,
    /// For how long it is kept without a link; the shorter time of the two sides counts. Default: 60 s.
    pub resume_timeout: Duration,
    /// Whether this side serves documents, and tells its peer so. Default: no.
    pub serves_documents: bool,
}

impl SessionConfig {
    /// The defaults: reliable, ordered channels.
    #[must_use]
    pub fn new(role: Role, session_id: [u8; 16], seed: u64) -> Self {
        Self {
            role,
            session_id,
            seed,
            limits: Limits::default(),
            command: Order::default(),
            send: Delivery::default(),
            receive: Delivery::default(),
            transport_hears: false,
            resumes: false,
            resume_timeout: Duration::from_secs(60),
            serves_documents: false,
        }
    }
}
