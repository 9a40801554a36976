use deltawire_framing::Channel;
use deltawire_framing::control::Role;

/// The SCTP stream that carries what `role` sends on `channel`. A link has three data channels, which both
/// sides know without being told:
///
/// | stream | carries |
/// |---|---|
/// | 0 | commands and control messages, both ways |
/// | 1 | deltas from the initiator to the acceptor |
/// | 2 | deltas from the acceptor to the initiator |
#[must_use]
pub fn stream(role: Role, channel: Channel) -> u16 {
    match (channel, role) {
        (Channel::Command, _) => 0,
        (Channel::Data, Role::Initiator) => 1,
        (Channel::Data, Role::Acceptor) => 2,
    }
}

/// The peer used a stream where it must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer used stream {stream}: {reason}")]
pub struct StreamMisuse {
    /// The SCTP stream.
    pub stream: u16,
    /// Why it must not.
    pub reason: &'static str,
}
