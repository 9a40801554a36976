//! What each side has to do before a link is open.

use crate::opening::Opening;
use crate::{MAX_TOKEN_LEN, SctpError};

/// What an initiator's first message begins with; its token is the rest.
pub(super) const MAGIC: [u8; 12] = *b"deltawire.1\n";

/// What is left to do until a link is open.
pub(super) enum Side {
    /// It asks, and shows the token.
    Connects { opening: Opening, token: Vec<u8> },
    /// It answers with `hello`, `again` if that was not heard, and takes so many bytes of data until it has let the peer in.
    Accepts { hello: Vec<u8>, again: bool, token: Token, unadmitted: usize },
}

/// What the peer shows to be let in.
#[derive(PartialEq, Eq)]
pub(super) enum Token {
    Awaited,
    Shown(Vec<u8>),
    /// It is looked at.
    Taken,
    Admitted,
}

/// The token in an initiator's first message.
pub(super) fn read_token(message: &[u8]) -> Result<Vec<u8>, SctpError> {
    let Some(token) = message.strip_prefix(&MAGIC) else {
        let began = message.get(..MAGIC.len()).unwrap_or(message).escape_ascii().to_string();
        return Err(SctpError::Foreign { began });
    };
    if token.len() > MAX_TOKEN_LEN {
        return Err(SctpError::Token { len: token.len() });
    }
    Ok(token.to_vec())
}
