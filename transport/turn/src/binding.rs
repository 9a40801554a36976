//! How others see a socket's address (RFC 8489, section 12).

use std::net::SocketAddr;

use crate::Transaction;
use crate::message::{Class, Message, Method, Writer, kind};

/// Asks a server from where this came.
#[must_use]
pub fn binding_request(transaction: Transaction) -> Vec<u8> {
    Writer::new(Method::Binding, Class::Request, transaction).finish()
}

/// What a server answered, and to which request. Only that names it, so only the server and who is on the way know its 96
/// bits.
#[must_use]
pub fn read_binding(datagram: &[u8]) -> Option<(Transaction, SocketAddr)> {
    let message = Message::read(datagram)?;
    let is_answer = (message.method, message.class) == (Method::Binding, Class::Success);
    let address = message.address(kind::XOR_MAPPED_ADDRESS).filter(|_| is_answer)?;
    Some((message.transaction, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_nothing_else_is() {
        let seen = "192.0.2.1:9".parse().unwrap();
        let answer = |class| {
            let answer = Writer::new(Method::Binding, class, [3; 12]);
            answer.address(kind::XOR_MAPPED_ADDRESS, seen).finish()
        };
        assert_eq!(read_binding(&answer(Class::Success)), Some(([3; 12], seen)));
        assert_eq!(read_binding(&answer(Class::Error)), None);
        assert_eq!(read_binding(&binding_request([3; 12])), None);
        assert_eq!(read_binding(&[0; 30]), None);
    }
}
