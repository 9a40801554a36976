use std::net::SocketAddr;
use std::time::Duration;

use deltawire_framing::control::Role;
use deltawire_link::{DatagramTransport, Queue};
#[cfg(doc)]
use deltawire_sdp::MAX_CANDIDATES;
use deltawire_sdp::{Description, DescriptionError, grammar};

use is::{Candidate, Protocol};

use crate::{EngineConfig, EngineError, Gathered};

/// How long of what is on its way may wait in the socket of a peer that says how much it takes at once.
const QUEUE_TIME: Duration = Duration::from_millis(2);

/// The most that waits there, bytes. More made nothing faster.
pub const MAX_QUEUE: u32 = 512 << 10;

/// What may wait in the socket of a peer that takes so many bytes at once.
pub(crate) fn queue(burst: u32) -> Queue {
    Queue { time: QUEUE_TIME, certain: 0, most: burst.min(MAX_QUEUE) as usize }
}

/// A WebRTC stack with data channels, without I/O.
pub trait Engine: DatagramTransport + Sized {
    /// Starts a link: gives the engine and its offer. `local` are the addresses at which datagrams
    /// come.
    ///
    /// # Errors
    ///
    /// When the stack refuses its configuration.
    fn offer(
        config: &EngineConfig,
        local: &[SocketAddr],
        now: Duration,
    ) -> Result<(Self, String), EngineError>;

    /// Takes in the answer to the offer.
    ///
    /// # Errors
    ///
    /// When the answer cannot be used, or none is waited for.
    fn accept_answer(&mut self, answer: &str, now: Duration) -> Result<(), EngineError>;

    /// Answers an offer.
    ///
    /// # Errors
    ///
    /// When the offer cannot be used.
    fn answer(
        config: &EngineConfig,
        local: &[SocketAddr],
        offer: &str,
        now: Duration,
    ) -> Result<(Self, String), EngineError>;

    /// Adds an address of the peer's that was trickled (RFC 8838): a line `candidate:…`. Those that
    /// are well formed and of no use are passed over.
    ///
    /// # Errors
    ///
    /// When the line cannot be read, or the peer has named [`MAX_CANDIDATES`].
    fn add_candidate(&mut self, candidate: &str) -> Result<(), EngineError>;

    /// How many candidates the peer named, with those that are of no use.
    fn candidates(&self) -> usize {
        0
    }

    /// Which end of the link this is.
    fn role(&self) -> Role;

    /// The local ICE user fragment: checks of the peer name it first in their USERNAME.
    fn user_fragment(&self) -> &str;
}

/// What SCTP holds: as much as the longest message that is taken, and at least 1 MiB. What is longer than the
/// session takes is for the session to refuse, by name: here it would end SCTP's association without a
/// word.
pub(crate) fn receive_buffer(config: &EngineConfig) -> u32 {
    config.receive_buffer.max(config.max_message_size).max(1 << 20)
}

/// Reads a candidate that was trickled; `None` if it is of no use.
pub(crate) fn read_candidate(candidate: &str) -> Result<Option<&str>, EngineError> {
    match grammar::Candidate::read(candidate) {
        Ok(grammar::Candidate::Usable(candidate)) => Ok(Some(candidate)),
        Ok(grammar::Candidate::PassedOver) => Ok(None),
        Err(broken) => Err(unusable(candidate, broken.expected.to_owned())),
    }
}

/// What this side's description names: its sockets' addresses, and those that it was given beside.
pub(crate) fn local_candidates(
    config: &EngineConfig,
    local: &[SocketAddr],
) -> Result<Vec<Candidate>, EngineError> {
    let Gathered { reflexive, relayed } = &config.gathered;
    let udp = Protocol::Udp;
    let host = |address: &SocketAddr| {
        let made = Candidate::host(*address, udp);
        made.map_err(|error| unusable(&address.to_string(), error.to_string()))
    };
    let mut candidates = local.iter().map(host).collect::<Result<Vec<_>, _>>()?;
    // A server says what it likes: what is no address of a host's is left out.
    let reflexive =
        reflexive.iter().map(|(address, base)| Candidate::server_reflexive(*address, *base, udp));
    let relayed = relayed.iter().map(|address| Candidate::relayed(*address, *address, udp));
    candidates.extend(reflexive.chain(relayed).flatten());
    Ok(candidates)
}

pub(crate) fn unusable(candidate: &str, reason: String) -> EngineError {
    let candidate = candidate.chars().take(grammar::MAX_CANDIDATE_LEN).collect();
    EngineError::Candidate { candidate, reason }
}

pub(crate) fn not_an_init(peer: &Description<'_>) -> EngineError {
    let value = peer.sctp_init.unwrap_or_default().chars().take(65).collect();
    let expected = "must be an INIT of SCTP in base 64";
    DescriptionError::Unsupported { field: "sctp-init", value, expected }.into()
}
