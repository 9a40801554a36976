//! Messages of STUN (RFC 8489, section 5): read in place, and written.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::hmac;

use crate::Transaction;

/// Bytes of a message's header.
pub(crate) const HEADER: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// Bytes of an attribute's type and length.
const ATTRIBUTE: usize = 4;

/// Bytes of what a message is sealed with.
const SEAL: usize = 20;

/// What a message is about (RFC 8656, section 17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Method {
    Binding = 1,
    Allocate = 3,
    Refresh = 4,
    Send = 6,
    Data = 7,
    CreatePermission = 8,
    ChannelBind = 9,
}

/// What kind of message it is: its bits in the type (RFC 8489, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Class {
    Request = 0,
    Indication = 0x010,
    Success = 0x100,
    Error = 0x110,
}

/// Types of attributes.
pub(crate) mod kind {
    pub(crate) const USERNAME: u16 = 0x0006;
    pub(crate) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(crate) const ERROR_CODE: u16 = 0x0009;
    pub(crate) const CHANNEL_NUMBER: u16 = 0x000c;
    pub(crate) const LIFETIME: u16 = 0x000d;
    pub(crate) const XOR_PEER_ADDRESS: u16 = 0x0012;
    pub(crate) const DATA: u16 = 0x0013;
    pub(crate) const REALM: u16 = 0x0014;
    pub(crate) const NONCE: u16 = 0x0015;
    pub(crate) const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    pub(crate) const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
    pub(crate) const REQUESTED_TRANSPORT: u16 = 0x0019;
    pub(crate) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
}

/// A message, read in place. Nothing says that it is genuine, until [`is_sealed`](Self::is_sealed) does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) method: Method,
    pub(crate) class: Class,
    pub(crate) transaction: Transaction,
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a message that is all of these bytes; `None` if it is none, or of a kind that is not known.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_at_checked(HEADER)?;
        let (typ, header) = header.split_first_chunk::<2>()?;
        let (len, header) = header.split_first_chunk::<2>()?;
        let transaction = header.strip_prefix(&MAGIC_COOKIE)?.try_into().ok()?;
        if usize::from(u16::from_be_bytes(*len)) != rest.len() || rest.len() % 4 != 0 {
            return None;
        }
        let typ = u16::from_be_bytes(*typ);
        let class = match typ & 0x110 {
            0 => Class::Request,
            0x010 => Class::Indication,
            0x100 => Class::Success,
            _ => Class::Error,
        };
        let method = match typ & !0x110 {
            1 => Method::Binding,
            3 => Method::Allocate,
            4 => Method::Refresh,
            6 => Method::Send,
            7 => Method::Data,
            8 => Method::CreatePermission,
            9 => Method::ChannelBind,
            _ => return None,
        };
        Some(Self { method, class, transaction, bytes })
    }

    /// The attributes as type and value, each with where it begins. What follows the seal is not covered by it, and is not given.
    fn attributes(&self) -> impl Iterator<Item = (usize, u16, &'a [u8])> {
        let (bytes, mut at, mut sealed) = (self.bytes, HEADER, false);
        std::iter::from_fn(move || {
            let start = bytes.get(at..at + ATTRIBUTE).filter(|_| !sealed)?;
            let [a, b, c, d] = *start else { return None };
            let (kind, len) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]).into());
            let value = bytes.get(at + ATTRIBUTE..)?.get(..len)?;
            let begun = at;
            at += ATTRIBUTE + len.next_multiple_of(4);
            sealed = kind == kind::MESSAGE_INTEGRITY;
            Some((begun, kind, value))
        })
    }

    /// The first attribute of this type.
    pub(crate) fn find(&self, wanted: u16) -> Option<&'a [u8]> {
        self.attributes().find(|(_, kind, _)| *kind == wanted).map(|(_, _, value)| value)
    }

    /// A text of at most so many bytes.
    pub(crate) fn text(&self, wanted: u16, most: usize) -> Option<&'a str> {
        let value = self.find(wanted).filter(|value| value.len() <= most)?;
        std::str::from_utf8(value).ok()
    }

    pub(crate) fn number(&self, wanted: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.find(wanted)?.try_into().ok()?))
    }

    /// An address that is hidden by XOR (RFC 8489, section 14.2).
    pub(crate) fn address(&self, wanted: u16) -> Option<SocketAddr> {
        let value = self.find(wanted)?;
        let ([_, family, a, b], address) = value.split_first_chunk::<4>()?;
        let port = u16::from_be_bytes([*a, *b]) ^ 0x2112;
        let ip: IpAddr = match family {
            1 => {
                let mut address: [u8; 4] = address.try_into().ok()?;
                hide(&mut address, &self.transaction);
                address.into()
            }
            2 => {
                let mut address: [u8; 16] = address.try_into().ok()?;
                hide(&mut address, &self.transaction);
                address.into()
            }
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }

    /// What an error says: its code, and at most 64 characters of its words.
    pub(crate) fn error(&self) -> Option<(u16, String)> {
        let ([_, _, class, number], words) = self.find(kind::ERROR_CODE)?.split_first_chunk()?;
        let code = u16::from(class & 7) * 100 + u16::from(*number % 100);
        let words = String::from_utf8_lossy(words);
        Some((code, words.chars().filter(|it| !it.is_control()).take(64).collect()))
    }

    /// Whether who wrote it has the key (RFC 8489, section 14.5).
    pub(crate) fn is_sealed(&self, key: &[u8]) -> bool {
        let found = self.attributes().find(|(_, kind, _)| *kind == kind::MESSAGE_INTEGRITY);
        let Some((at, _, seal)) = found else { return false };
        let Some(covered) = self.bytes.get(..at) else { return false };
        let mut covered = covered.to_vec();
        set_len(&mut covered, at + ATTRIBUTE + SEAL);
        hmac::verify(&seal_key(key), &covered, seal).is_ok()
    }
}

/// A message that is being written.
#[derive(Debug)]
pub(crate) struct Writer {
    transaction: Transaction,
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(method: Method, class: Class, transaction: Transaction) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend((method as u16 | class as u16).to_be_bytes());
        bytes.extend([0; 2]);
        bytes.extend(MAGIC_COOKIE);
        bytes.extend(transaction);
        Self { transaction, bytes }
    }

    /// An attribute. What is longer than one can be is cut.
    pub(crate) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.bytes.extend(kind.to_be_bytes());
        self.bytes.extend(len.to_be_bytes());
        self.bytes.extend(value.iter().take(len.into()));
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    pub(crate) fn address(self, kind: u16, address: SocketAddr) -> Self {
        let mut value = vec![0, if address.is_ipv4() { 1 } else { 2 }];
        value.extend((address.port() ^ 0x2112).to_be_bytes());
        match address.ip() {
            IpAddr::V4(ip) => {
                let mut ip = ip.octets();
                hide(&mut ip, &self.transaction);
                value.extend(ip);
            }
            IpAddr::V6(ip) => {
                let mut ip = ip.octets();
                hide(&mut ip, &self.transaction);
                value.extend(ip);
            }
        }
        self.attribute(kind, &value)
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        let len = self.bytes.len();
        set_len(&mut self.bytes, len);
        self.bytes
    }

    /// Sealed with this key.
    pub(crate) fn sealed(mut self, key: &[u8]) -> Vec<u8> {
        let len = self.bytes.len() + ATTRIBUTE + SEAL;
        set_len(&mut self.bytes, len);
        let seal = hmac::sign(&seal_key(key), &self.bytes);
        self.attribute(kind::MESSAGE_INTEGRITY, seal.as_ref()).finish()
    }
}

fn seal_key(key: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key)
}

/// Says in a message's header how long it is as a whole.
fn set_len(bytes: &mut [u8], len: usize) {
    let len = u16::try_from(len.saturating_sub(HEADER)).unwrap_or(u16::MAX);
    if let Some(place) = bytes.get_mut(2..4) {
        place.copy_from_slice(&len.to_be_bytes());
    }
}

/// Hides an address, or shows it again.
fn hide(address: &mut [u8], transaction: &Transaction) {
    for (byte, mask) in address.iter_mut().zip(MAGIC_COOKIE.iter().chain(transaction)) {
        *byte ^= mask;
    }
}

/// Reads a message in every way there is, for fuzzing: no bytes make it panic.
#[doc(hidden)]
pub fn read_message(bytes: &[u8]) {
    let Some(message) = Message::read(bytes) else { return };
    let values: usize = message.attributes().map(|(_, _, value)| value.len()).sum();
    assert!(values <= bytes.len());
    message.error();
    message.is_sealed(b"key");
    for kind in 0..0x30 {
        message.address(kind);
        message.text(kind, 100);
        message.number(kind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<_> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        digits.chunks(2).map(|pair| byte(pair).unwrap()).collect()
    }

    /// The request of RFC 5769, section 2.1, and the answer of section 2.2.
    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let key = b"VOkJxbRl1RmTxUk/WvJxBt";
        let request = hex(
            "000100582112a442b7e7a701bc34d686fa87dfae8022001053 54554e207465737420636c69656e74\
             002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020000800149aeaa7\
             0cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf",
        );
        let read = Message::read(&request).unwrap();
        assert_eq!((read.method, read.class), (Method::Binding, Class::Request));
        assert_eq!(read.text(kind::USERNAME, 100), Some("evtj:h6vY"));
        assert!(read.is_sealed(key) && !read.is_sealed(b"another"));
        let answer =
            hex("0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220\
             002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7\
             80280004c07d4c96");
        let read = Message::read(&answer).unwrap();
        assert_eq!(read.class, Class::Success);
        assert!(read.is_sealed(key));
        let mapped = read.address(kind::XOR_MAPPED_ADDRESS);
        assert_eq!(mapped, Some("192.0.2.1:32853".parse().unwrap()));
    }

    #[test]
    fn what_is_written_is_read() {
        let peer = "[2001:db8::7]:9".parse().unwrap();
        let bytes = Writer::new(Method::Allocate, Class::Request, [7; 12])
            .attribute(kind::USERNAME, b"a name")
            .address(kind::XOR_PEER_ADDRESS, peer)
            .attribute(kind::LIFETIME, &600_u32.to_be_bytes())
            .sealed(b"key");
        let read = Message::read(&bytes).unwrap();
        assert_eq!(
            (read.method, read.class, read.transaction),
            (Method::Allocate, Class::Request, [7; 12])
        );
        assert_eq!(read.text(kind::USERNAME, 6), Some("a name"));
        assert_eq!(read.text(kind::USERNAME, 5), None);
        assert_eq!(read.address(kind::XOR_PEER_ADDRESS), Some(peer));
        assert_eq!(read.number(kind::LIFETIME), Some(600));
        assert!(read.is_sealed(b"key") && !read.is_sealed(b"yek"));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            read_message(&damaged);
            assert!(!Message::read(&damaged).is_some_and(|it| it.is_sealed(b"key")), "byte {at}");
            read_message(&bytes[..at]);
        }
    }
}
