//! What the server does for a peer: the same code in every process that has one.

use deltawire::framing::Delta;
use deltawire::prelude::*;
use futures_util::try_join;

/// Whatever went wrong.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// What a delta asks for. All others are sent back as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// A text: it comes back in capitals.
    Shout,
    /// One of many, `sequence` more follow: after the last, their count and bytes come back.
    Count,
    /// Two `u32`: so many deltas of such a length are sent.
    Generate,
}

impl Request {
    /// The delta type that says so.
    #[must_use]
    pub fn delta_type(self) -> DeltaType {
        let number = DeltaType::FIRST_APPLICATION + self as u16;
        DeltaType::application(number).unwrap_or(DeltaType::OPAQUE)
    }
}

/// Room for messages of 4 MiB, both ways.
#[must_use]
pub fn limits() -> Limits {
    Limits { send_ring: 8 << 20, data_window: 8 << 20, ..Limits::default() }
}

/// Serves a peer until it closes.
///
/// # Errors
///
/// When the peer sends what cannot be read, or is gone.
pub async fn serve(peer: Peer) -> Result<(), Error> {
    let Peer { command, send, receive } = peer;
    try_join!(echo(command.receive, command.send), answer(receive, send)).map(drop)
}

/// Sends every delta back.
async fn echo(mut receive: Receiver, mut send: Sender) -> Result<(), Error> {
    while let Ok(frame) = receive.next().await {
        send_back(&frame.delta()?, &mut send).await?;
    }
    Ok(())
}

async fn answer(mut receive: Receiver, mut send: Sender) -> Result<(), Error> {
    let mut counted = [0_u64; 2];
    while let Ok(frame) = receive.next().await {
        let delta = frame.delta()?;
        let asks = |request: Request| request.delta_type() == delta.delta_type();
        let payload = delta.payload();
        let fields = DeltaFields::new(delta.doc_id());
        if asks(Request::Shout) {
            let text = std::str::from_utf8(payload)?; // read where it came
            let mut grant = send.reserve(text.len()).await?;
            grant.payload_mut().copy_from_slice(text.as_bytes());
            grant.payload_mut().make_ascii_uppercase(); // and written where it is sent from
            grant.commit(fields, text.len())?;
        } else if asks(Request::Count) {
            counted[0] += 1;
            counted[1] += payload.len() as u64;
            if delta.sequence() == 0 {
                let mut grant = send.reserve(16).await?;
                grant.payload_as_mut::<u64>()?.copy_from_slice(&std::mem::take(&mut counted));
                grant.commit(fields, 16)?;
            }
        } else if asks(Request::Generate) {
            let &[len, count] = delta.payload_as::<u32>()? else { continue };
            for left in (0..count).rev() {
                let mut grant = send.reserve(len as usize).await?;
                if let Some(first) = grant.payload_mut().first_mut() {
                    *first = left as u8;
                }
                let fields = DeltaFields { sequence: left, checksum: Checksum::Absent, ..fields };
                grant.commit(fields, len as usize)?;
            }
        } else {
            send_back(&delta, &mut send).await?;
        }
    }
    Ok(())
}

async fn send_back(delta: &Delta<'_>, send: &mut Sender) -> Result<(), Error> {
    let payload = delta.payload();
    let mut grant = send.reserve(payload.len()).await?;
    grant.payload_mut().copy_from_slice(payload);
    let fields = DeltaFields { sequence: delta.sequence(), ..DeltaFields::new(delta.doc_id()) };
    grant.commit(fields, payload.len())?;
    Ok(())
}
