//! Messages about bulk, as a link takes them.

use deltawire_channels::Message;
use deltawire_framing::bulk::{Hashes, Piece, Wanted};
use deltawire_framing::{Channel, FrameHeader, Kind, RecordBuf};
use zerocopy::IntoBytes;

use crate::hashing::Hash;
use crate::outgoing::Part;

/// The longest message: a piece, or the hashes of all groups.
pub(crate) const LONGEST: usize = Piece::SIZE + (64 << 10);

/// A message whose body `write` fills, `len` bytes.
pub(crate) fn written<E>(
    len: usize,
    write: impl FnOnce(&mut [u8]) -> Result<(), E>,
) -> Result<Message, E> {
    let mut record = RecordBuf::with_body_capacity(len);
    write(record.body_mut().get_mut(..len).unwrap_or_default())?;
    let sealed =
        FrameHeader::whole(Kind::Bulk, Channel::Data, len).and_then(|header| record.seal(header));
    if let Err(error) = sealed {
        unreachable!("messages about bulk are short and not empty: {error}");
    }
    match Message::try_from(record) {
        Ok(message) => Ok(message),
        Err(error) => unreachable!("this side writes what it reads: {error}"),
    }
}

/// One without pieces and hashes.
pub(crate) fn control(body: &[u8]) -> Message {
    let copied: Result<_, core::convert::Infallible> = written(body.len(), |room| {
        room.copy_from_slice(body);
        Ok(())
    });
    match copied {
        Ok(message) => message,
        Err(never) => match never {},
    }
}

/// A piece that `read` puts where it is sent from.
pub(crate) fn piece<E>(
    id: u32,
    index: u32,
    len: usize,
    read: impl FnOnce(&mut [u8]) -> Result<(), E>,
) -> Result<Message, E> {
    written(Piece::SIZE + len, |body| {
        let (header, bytes) = body.split_at_mut(Piece::SIZE);
        header.copy_from_slice(Piece::new(id, index).as_bytes());
        read(bytes)
    })
}

/// Hashes of a group's pieces, or of all groups.
pub(crate) fn hashes(id: u32, part: Part, hashes: &[Hash]) -> Message {
    let header = match part {
        Part::PieceHashes(group) => Hashes::new(id, Wanted::PieceHashes, group),
        _ => Hashes::new(id, Wanted::GroupHashes, 0),
    };
    let mut body = header.as_bytes().to_vec();
    body.extend_from_slice(hashes.as_bytes());
    control(&body)
}
