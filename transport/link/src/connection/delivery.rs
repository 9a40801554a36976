use deltawire_channels::session::SessionConfig;
use deltawire_channels::{Delivery, Order, Reliability};

use crate::TransportError;
use crate::error::{Fault, TransportErrorKind};
use crate::transport::Capabilities;

/// What a transport cannot do is refused before anything is sent.
pub(super) fn check_delivery(
    session: &SessionConfig,
    capabilities: Capabilities,
) -> Result<(), TransportError> {
    let command = Delivery { order: session.command, ..Delivery::default() };
    let wanted = [("command", command), ("send", session.send), ("receive", session.receive)];
    let refused = wanted.into_iter().find(|(_, delivery)| {
        !capabilities.unreliable
            && (delivery.order != Order::Ordered || delivery.reliability != Reliability::Reliable)
    });
    match refused {
        None => Ok(()),
        Some((channel, delivery)) => {
            let text = format!(
                "this transport delivers everything, in order: {channel} cannot be {delivery:?}; WebRTC can"
            );
            let (kind, fault) = (TransportErrorKind::Unsupported, Fault::Local);
            Err(TransportError::new(kind, fault, text))
        }
    }
}
