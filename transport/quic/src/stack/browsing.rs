//! What a connection does if a browser is at its other end.

use deltawire_webtransport::{ALONE, ALPN, COMMANDS, Denied, FROM_INITIATOR, Request, wire};
use quinn_proto::crypto::rustls::HandshakeData;

use super::{COMMAND_PRIORITY, Stack};
use crate::QuicError;
use crate::http3::Http3;
use crate::messages::Head;
use crate::reader::Reader;
use crate::writer::Writer;

impl Stack {
    /// The handshake has shown which protocol the peer speaks: before any of its streams can come.
    pub(super) fn learn_protocol(&mut self) {
        let Some(rules) = self.rules.take() else { return };
        let told = self.connection.crypto_session().handshake_data();
        let told = told.and_then(|told| told.downcast::<HandshakeData>().ok());
        if told.is_some_and(|told| told.protocol.as_deref() == Some(ALPN)) {
            self.http3 = Some(Box::new(Http3::new(rules, self.messages_in.is_some())));
            let head = Head { stream: wire::STREAM, datagram: Some(wire::DATAGRAM) };
            if let Some(messages) = &mut self.messages_out {
                messages.begin_with(head);
            }
            if let Some(messages) = &mut self.messages_in {
                messages.read_datagrams_by(wire::datagram_head);
            }
        }
    }

    /// Reads what is HTTP/3's, and takes the streams that turn out to be the link's.
    pub(super) fn read_http3(&mut self) -> Result<(), QuicError> {
        let Some(http3) = &mut self.http3 else { return Ok(()) };
        let was_broken = self.closed && self.lost.is_none();
        if was_broken {
            return Ok(());
        }
        let max = self.config.max_message_len;
        while let Some((stream, number)) = http3.read(&mut self.connection)? {
            if number == ALONE {
                let Some(messages) = &mut self.messages_in else {
                    return Err(QuicError::Number { number, expected: FROM_INITIATOR });
                };
                messages.accept_begun(stream);
                continue;
            }
            let reader = if number == COMMANDS { &mut self.command_in } else { &mut self.data_in };
            if reader.is_some() {
                return Err(QuicError::Twice { number });
            }
            *reader = Some(Reader::answering(number, stream, max));
            if number == COMMANDS {
                let _ = self.connection.send_stream(stream).set_priority(COMMAND_PRIORITY);
                self.command_out = Some(Writer::new(number, stream));
            }
        }
        if http3.is_closed() {
            self.leave();
        }
        Ok(())
    }

    /// What the browser asks for, once.
    pub(crate) fn take_request(&mut self) -> Option<Result<Request, Denied>> {
        self.http3.as_mut().and_then(|http3| http3.take_request())
    }
}
