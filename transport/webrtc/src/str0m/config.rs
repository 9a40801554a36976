//! What [`EngineConfig`] is to str0m.

use deltawire_channels::{Delivery, Order, Reliability};
use str0m::channel::{ChannelConfig, Reliability as StreamReliability};

use crate::EngineConfig;

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
