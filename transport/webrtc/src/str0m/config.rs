//! What [`EngineConfig`] is to str0m.

use deltawire_channels::{Delivery, Order, Reliability};
use str0m::channel::{ChannelConfig, Reliability as StreamReliability};

use crate::EngineConfig;

/// str0m's receive buffer is as large as the longest message that it takes, and at least 1 MiB. What is
/// longer than the session takes is for the session to refuse, by name: here it would end SCTP's
/// association without a word.
pub(super) fn receive_buffer(config: &EngineConfig) -> u32 {
    config.receive_buffer.max(config.max_message_size).max(1 << 20)
}

/// By stream.
pub(super) fn channels(config: &EngineConfig) -> [ChannelConfig; 3] {
    [
        channel_config(0, Delivery { order: config.command, ..Delivery::default() }),
        channel_config(1, config.initiator),
        channel_config(2, config.acceptor),
    ]
}

/// A channel that both sides know without being told.
fn channel_config(stream: u16, delivery: Delivery) -> ChannelConfig {
    ChannelConfig {
        ordered: delivery.order == Order::Ordered,
        reliability: match delivery.reliability {
            Reliability::Reliable => StreamReliability::Reliable,
            Reliability::MaxRetransmits(retransmits) => {
                StreamReliability::MaxRetransmits { retransmits }
            }
            Reliability::MaxLifetime(lifetime) => StreamReliability::MaxPacketLifetime {
                lifetime: u16::try_from(lifetime.as_millis()).unwrap_or(u16::MAX),
            },
        },
        negotiated: Some(stream),
        ..ChannelConfig::default()
    }
}
