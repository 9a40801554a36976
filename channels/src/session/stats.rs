use core::time::Duration;

use deltawire_framing::Channel;
use deltawire_framing::control::Delivery;

use super::Session;

/// What went over a channel in one direction since the session began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelStats {
    /// Transport messages.
    pub transport_messages: u64,
    /// Bytes of transport messages, frame headers and gaps included.
    pub bytes: u64,
    /// The application's messages.
    pub messages: u64,
    /// Messages of the peer's that were refused, on a channel that may lose messages; elsewhere the
    /// first one ends the session.
    pub refused: u64,
    /// Body bytes that this side copied, transports not counted.
    pub copied_bytes: u64,
    /// Bytes that wait: to be sent, or to be read by the application.
    pub queued_bytes: u64,
    /// Limits granted anew because messages got lost.
    pub written_off_bytes: u64,
}

/// What a session knows of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// My commands.
    pub commands_sent: ChannelStats,
    /// The peer's commands.
    pub commands_received: ChannelStats,
    /// My deltas.
    pub data_sent: ChannelStats,
    /// The peer's deltas.
    pub data_received: ChannelStats,
    /// Transport messages of control frames sent.
    pub control_sent: u64,
    /// Control frames that came.
    pub control_received: u64,
    /// What the peer speaks beyond version 1: the
    /// [`features`](deltawire_framing::control::HelloFields::features) of its hello; 0 before it.
    pub peer_features: u64,
    /// What the channels of deltas promise: of mine, of the peer's.
    pub deltas: [Delivery; 2],
    /// Whether it can go on over another link if it loses its own now: both sides agreed to, and the initiator has its first
    /// ticket, as it does a round trip after the link opened.
    pub resumable: bool,
    /// Windows told once more in case that they got lost.
    pub windows_repeated: u64,
    /// Round-trip time, smoothed as in RFC 6298; `None` before the first pong.
    pub round_trip: Option<Duration>,
    /// Its mean deviation.
    pub round_trip_variation: Duration,
}

impl Session {
    /// What went over the session so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            commands_sent: self.sent_stats(Channel::Command),
            commands_received: self.received_stats(Channel::Command),
            data_sent: self.sent_stats(Channel::Data),
            data_received: self.received_stats(Channel::Data),
            control_sent: self.control_sent,
            control_received: self.control_received,
            deltas: [self.config.send, self.config.receive],
            peer_features: self.peer.map_or(0, |peer| peer.features),
            resumable: self.is_resumable(),
            windows_repeated: self.windows_repeated,
            round_trip: self.liveness.round_trip,
            round_trip_variation: self.liveness.variation,
        }
    }

    fn sent_stats(&self, channel: Channel) -> ChannelStats {
        let (outgoing, sent) = (&self.outgoing[channel as usize], self.sent[channel as usize]);
        ChannelStats {
            transport_messages: sent.transport_messages,
            bytes: sent.bytes,
            messages: outgoing.messages,
            queued_bytes: outgoing.queued_bytes() as u64,
            ..ChannelStats::default()
        }
    }

    fn received_stats(&self, channel: Channel) -> ChannelStats {
        let (incoming, received) =
            (&self.incoming[channel as usize], self.received[channel as usize]);
        ChannelStats {
            transport_messages: received.transport_messages,
            bytes: received.bytes,
            messages: incoming.messages,
            refused: incoming.refused,
            copied_bytes: incoming.copied_bytes,
            queued_bytes: incoming.window.held(),
            written_off_bytes: incoming.window.lost(),
        }
    }
}
