//! What is said on a stream before its messages: who connects, and whether it is let in.
//!
//! The initiator says [`MAGIC`] and its token, and waits; the acceptor answers why it is not let in, or nothing but an
//! empty text. A token and a text stand behind their lengths, each a `u32` in little endian.

use std::io;

use deltawire_link::{Fault, TransportError, TransportErrorKind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What a stream begins with.
pub const MAGIC: [u8; 12] = *b"deltawire.1\n";

/// The longest token that is taken, bytes.
pub const MAX_TOKEN_LEN: usize = 4_096;

/// The longest text of a refusal that is taken, bytes; longer ones are cut before they are sent.
pub const MAX_REASON_LEN: usize = 256;

/// Why a stream did not come to carry messages.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrefaceError {
    /// The peer does not speak this protocol.
    #[error("the stream began with {began:?}, not with \"deltawire.1\"")]
    Foreign {
        /// What it began with.
        began: String,
    },
    /// A token is longer than any.
    #[error("a token of {len} bytes: at most {MAX_TOKEN_LEN} are taken")]
    Token {
        /// The length that was announced, bytes.
        len: usize,
    },
    /// The text of a refusal is longer than any.
    #[error("a refusal of {len} bytes: at most {MAX_REASON_LEN} are taken")]
    Reason {
        /// The length that was announced, bytes.
        len: usize,
    },
    /// The peer does not let this side in.
    #[error("the peer refused: {reason}")]
    Refused {
        /// What it says.
        reason: String,
    },
    /// The peer hung up before it said whether this side is let in.
    #[error("the peer hung up before it let this side in: {0}")]
    Stream(#[from] io::Error),
}

impl From<PrefaceError> for TransportError {
    fn from(error: PrefaceError) -> Self {
        let (kind, fault) = match &error {
            PrefaceError::Foreign { .. } | PrefaceError::Reason { .. } => {
                (TransportErrorKind::Protocol, Fault::Peer)
            }
            PrefaceError::Token { .. } => (TransportErrorKind::SetUp, Fault::Local),
            PrefaceError::Refused { .. } => (TransportErrorKind::Refused, Fault::Local),
            PrefaceError::Stream(_) => (TransportErrorKind::NotReached, Fault::Unknown),
        };
        Self::new(kind, fault, error)
    }
}

/// Shows the token, which is empty if there is none, and waits until this side is let in.
///
/// # Errors
///
/// When the peer says no, or breaks a rule.
pub async fn ask<S>(stream: &mut S, token: &[u8]) -> Result<(), PrefaceError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if token.len() > MAX_TOKEN_LEN {
        return Err(PrefaceError::Token { len: token.len() });
    }
    let mut preface = MAGIC.to_vec();
    push(&mut preface, token);
    // One that refuses before it was asked may have hung up, and said why.
    let written = stream.write_all(&preface).await;
    let answered = read(stream, MAX_REASON_LEN).await;
    match (answered, written) {
        (Ok(reason), _) if reason.is_empty() => Ok(()),
        (Ok(reason), _) => {
            let text = String::from_utf8_lossy(&reason);
            Err(PrefaceError::Refused {
                reason: text.chars().flat_map(char::escape_debug).collect(),
            })
        }
        (Err(ReadError::Length(len)), _) => Err(PrefaceError::Reason { len }),
        (Err(ReadError::Stream(_)), Err(error)) | (Err(ReadError::Stream(error)), Ok(())) => {
            Err(error.into())
        }
    }
}

/// Reads the token of a peer, before it is [let in](let_in) or [refused](refuse).
///
/// # Errors
///
/// When the peer speaks another protocol, or breaks a rule.
pub async fn read_token<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, PrefaceError> {
    let mut magic = [0; MAGIC.len()];
    let mut have = 0;
    while let Some(rest) = magic.get_mut(have..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest).await? {
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            len => have += len,
        }
        // Another protocol's may be shorter, and wait for an answer.
        if magic.iter().zip(MAGIC).take(have).any(|(came, wanted)| *came != wanted) {
            let began = magic.get(..have).unwrap_or_default().escape_ascii().to_string();
            return Err(PrefaceError::Foreign { began });
        }
    }
    match read(stream, MAX_TOKEN_LEN).await {
        Ok(token) => Ok(token),
        Err(ReadError::Length(len)) => Err(PrefaceError::Token { len }),
        Err(ReadError::Stream(error)) => Err(error.into()),
    }
}

/// Lets a peer in: messages follow.
///
/// # Errors
///
/// When the stream fails.
pub async fn let_in<S: AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    stream.write_all(&0_u32.to_le_bytes()).await?;
    stream.flush().await
}

/// Says why a peer is not let in, and hangs up.
///
/// # Errors
///
/// When the stream fails.
pub async fn refuse<S: AsyncWrite + Unpin>(stream: &mut S, reason: &str) -> io::Result<()> {
    // An empty one would let it in.
    let reason = if reason.is_empty() { "not authorized" } else { reason };
    let reason = &reason[..reason.floor_char_boundary(MAX_REASON_LEN)];
    let mut answer = Vec::new();
    push(&mut answer, reason.as_bytes());
    stream.write_all(&answer).await?;
    stream.shutdown().await
}

fn push(buffer: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    buffer.extend_from_slice(&len.to_le_bytes());
    buffer.extend_from_slice(bytes);
}

enum ReadError {
    Length(usize),
    Stream(io::Error),
}

/// Bytes behind their length.
async fn read<S: AsyncRead + Unpin>(stream: &mut S, most: usize) -> Result<Vec<u8>, ReadError> {
    let len = stream.read_u32_le().await.map_err(ReadError::Stream)? as usize;
    if len > most {
        return Err(ReadError::Length(len));
    }
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await.map_err(ReadError::Stream)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    #[tokio::test]
    async fn a_token_is_shown_and_answered() {
        for token in [&b""[..], b"secret", &[7; MAX_TOKEN_LEN]] {
            let (mut near, mut far) = duplex(64);
            let accepting = async {
                assert_eq!(read_token(&mut far).await.unwrap(), token);
                let_in(&mut far).await.unwrap();
                far.write_all(b"message").await.unwrap();
            };
            let (asked, ()) = tokio::join!(ask(&mut near, token), accepting);
            asked.unwrap();
            let mut message = [0; 7];
            near.read_exact(&mut message).await.unwrap();
            assert_eq!(&message, b"message", "nothing more was read");
        }
        let (mut near, _far) = duplex(64);
        let error = ask(&mut near, &[0; MAX_TOKEN_LEN + 1]).await.unwrap_err();
        assert!(matches!(error, PrefaceError::Token { len: 4_097 }), "{error}");
    }

    #[tokio::test]
    async fn a_refusal_says_why() {
        let long = "ä".repeat(200);
        for (said, reason) in [("no", "no"), ("", "not authorized"), (&*long, &long[..256])] {
            let (mut near, mut far) = duplex(1_000);
            let refusing = async {
                read_token(&mut far).await.unwrap();
                refuse(&mut far, said).await.unwrap();
            };
            let (asked, ()) = tokio::join!(ask(&mut near, b""), refusing);
            let error = TransportError::from(asked.unwrap_err());
            assert_eq!(error.kind(), TransportErrorKind::Refused);
            assert_eq!(error.to_string(), format!("the peer refused: {reason}"));
        }
        // Before it was asked.
        let (mut near, mut far) = duplex(1_000);
        refuse(&mut far, "full").await.unwrap();
        drop(far);
        let error = ask(&mut near, b"token").await.unwrap_err();
        assert_eq!(error.to_string(), "the peer refused: full");
    }

    #[tokio::test]
    async fn what_breaks_a_rule_is_named_and_given_no_memory() {
        let wrong = |bytes: Vec<u8>| async move {
            let (mut near, mut far) = duplex(10_000);
            near.write_all(&bytes).await.unwrap();
            drop(near);
            read_token(&mut far).await.unwrap_err().to_string()
        };
        let long = [&MAGIC[..], &4_097_u32.to_le_bytes()].concat();
        assert_eq!(wrong(long).await, "a token of 4097 bytes: at most 4096 are taken");
        let foreign = wrong(b"GET".to_vec()).await;
        assert_eq!(foreign, "the stream began with \"GET\", not with \"deltawire.1\"");
        assert!(wrong(MAGIC.to_vec()).await.contains("hung up"));
        let cut = [&MAGIC[..], &2_u32.to_le_bytes(), b"a"].concat();
        assert!(wrong(cut).await.contains("hung up"));
        let (mut near, mut far) = duplex(100);
        far.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
        let error = ask(&mut near, b"").await.unwrap_err();
        assert!(matches!(error, PrefaceError::Reason { .. }), "{error}");
    }
}
