use deltawire_channels::session::SessionConfig;
use deltawire_channels::{Delivery, Order, Reliability};

use crate::TransportError;
use crate::error::{Fault, TransportErrorKind};
use crate::transport::{Capabilities, Delivers};

/// What a transport cannot do is refused before anything is sent.
pub(super) fn check_delivery(
    session: &SessionConfig,
    capabilities: Capabilities,
) -> Result<(), TransportError> {
    let command = Delivery { order: session.command, ..Delivery::default() };
    let wanted = [("command", command), ("send", session.send), ("receive", session.receive)];
    let refused = wanted.into_iter().find(|(_, delivery)| match capabilities.delivers {
        Delivers::AsAsked => false,
        Delivers::Unordered => {
            delivery.order == Order::Ordered && delivery.reliability != Reliability::Reliable
        }
        Delivers::InOrder => *delivery != Delivery::default(),
    });
    match refused {
        None => Ok(()),
        Some((channel, delivery)) => {
            let text = match capabilities.delivers {
                Delivers::InOrder => format!(
                    "this transport delivers everything, in order: {channel} cannot be {delivery:?}; \
                     WebRTC can, and QUIC and WebTransport if it is unordered"
                ),
                _ => format!(
                    "what may get lost on this transport is unordered: {channel} cannot be {delivery:?}; \
                     WebRTC can"
                ),
            };
            let (kind, fault) = (TransportErrorKind::Unsupported, Fault::Local);
            Err(TransportError::new(kind, fault, text))
        }
    }
}
