//! The bytes that a server says.

use web_transport_proto::http::StatusCode;
use web_transport_proto::{ConnectResponse, Frame, Setting, Settings, VarInt};

/// The setting by which drafts 13 and 14 know WebTransport, which the crate does not have.
const WT_ENABLED: u32 = 0x14e9_cd29;

/// The head of a server's stream of settings, and the settings: WebTransport, one session.
#[must_use]
pub fn control() -> Vec<u8> {
    let mut settings = Settings::default();
    settings.enable_webtransport(1);
    settings.insert(Setting(VarInt::from_u32(WT_ENABLED)), VarInt::from_u32(1));
    settings.insert(
        Setting::MAX_FIELD_SECTION_SIZE,
        VarInt::from_u32(u32::try_from(crate::MAX_HEADERS).unwrap_or(u32::MAX)),
    );
    let mut bytes = Vec::new();
    settings.encode(&mut bytes);
    bytes
}

/// What a stream of the server's begins with, before its number: that it is of the only session.
pub const STREAM: &[u8] = &[0x40, 0x54, 0];

/// What a datagram of the only session begins with: a quarter of the number of the stream on which it was asked for (RFC
/// 9297, section 2.1).
pub const DATAGRAM: u8 = 0;

/// How long what stands before the message in a datagram of the session is; `None` of another's, and of what is none.
#[must_use]
pub fn datagram_head(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    let session = VarInt::decode(&mut rest).ok()?;
    (session.into_inner() == u64::from(DATAGRAM)).then_some(bytes.len() - rest.len())
}

/// The answer to a request, with this status (RFC 9110, section 15): 200 grants it. One that is no status is 500.
#[must_use]
pub fn response(status: u16) -> Vec<u8> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut bytes = Vec::new();
    if ConnectResponse::new(status).encode(&mut bytes).is_err() {
        // It has two short fields, so this is no case that there is; without an answer the client gives up.
        bytes.clear();
        Frame::HEADERS.encode(&mut bytes);
        VarInt::from_u32(0).encode(&mut bytes);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use web_transport_proto::StreamUni;

    use super::*;

    #[test]
    fn datagrams_of_the_session_are_told_from_others() {
        assert_eq!(datagram_head(&[0, 1, 2]), Some(1));
        assert_eq!(datagram_head(&[0]), Some(1));
        // As long as it may be written.
        assert_eq!(datagram_head(&[0x40, 0, 1]), Some(2));
        for other in [&[][..], &[1, 2], &[0x40], &[0xc0, 0, 0]] {
            assert_eq!(datagram_head(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_client_understands_it() {
        let settings = Settings::decode(&mut &control()[..]).unwrap();
        assert_eq!(settings.supports_webtransport(), 1);
        assert_eq!(
            settings.get(&Setting(VarInt::from_u32(WT_ENABLED))),
            Some(&VarInt::from_u32(1))
        );
        let granted = ConnectResponse::decode(&mut &response(200)[..]).unwrap();
        assert_eq!(granted.status, StatusCode::OK);
        assert!(ConnectResponse::decode(&mut &response(404)[..]).is_err());
        let mut head = Vec::new();
        StreamUni::WEBTRANSPORT.encode(&mut head);
        VarInt::from_u32(0).encode(&mut head);
        assert_eq!(head, STREAM);
    }
}
