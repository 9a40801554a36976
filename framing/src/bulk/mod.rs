//! Messages about bulk: what two peers tell each other that move files.
//!
//! A message about bulk is the body of an unfragmented or fragmented message of [`Kind::Bulk`](crate::Kind), on the
//! data channel. Its first two bytes are its type; a struct of fixed layout follows, and behind that, of some, a name, a
//! piece of a file, or hashes. They take room of the channel's window, as the application's own messages do.

mod ask;
mod done;
mod offer;
mod piece;

use zerocopy::FromBytes;
use zerocopy::byteorder::little_endian::U16;

pub use ask::{Ask, AskFields, Wanted};
pub use done::{BulkDone, BulkStatus, DoneFields, Subject};
pub use offer::{Accept, Get, GetWhat, Offer, OfferFields};
pub use piece::{HASH_LEN, Hashes, Piece};

use crate::error::{Expected, Field, Malformed};

/// The longest name of a file, bytes.
pub const MAX_NAME_LEN: usize = 255;

/// The shortest piece but a file's last, bytes: a chunk of BLAKE3.
pub const MIN_PIECE_LEN: u32 = 1 << 10;

/// The longest piece, bytes.
pub const MAX_PIECE_LEN: u32 = 1 << 16;

/// How many pieces a file has at most.
pub const MAX_PIECES: u32 = 1 << 19;

/// How many pieces have their hashes in one message: a group.
pub const GROUP: u32 = 256;

/// The types of messages about bulk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
enum BulkType {
    Offer = 1,
    Accept = 2,
    Ask = 3,
    Piece = 4,
    Hashes = 5,
    Done = 6,
    Get = 7,
}

impl BulkType {
    const fn to_wire(self) -> U16 {
        U16::new(self as u16)
    }
}

/// A view over one message about bulk.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Bulk<'a> {
    /// A file that the sender would send, and its name.
    Offer(&'a Offer, &'a str),
    /// The file is wanted.
    Accept(&'a Accept),
    /// Which parts are wanted now.
    Ask(&'a Ask),
    /// A piece of the file, and its bytes.
    Piece(&'a Piece, &'a [u8]),
    /// Hashes of pieces, or of groups of them.
    Hashes(&'a Hashes, &'a [[u8; HASH_LEN]]),
    /// A transfer is over.
    Done(&'a BulkDone),
    /// Asks for the offer of a file of this name.
    Get(&'a Get, &'a str),
}

impl<'a> Bulk<'a> {
    /// Sees `body`, that of a message of kind bulk, as a message about bulk.
    ///
    /// # Errors
    /// Names the first field that breaks a rule: [`Field::BulkType`] for an unknown type.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let Ok((bulk_type, _)) = U16::read_from_prefix(body) else {
            return Err(Malformed::new(Field::Length, body.len() as u64, Expected::AtLeast(2)));
        };
        match bulk_type.get() {
            t if t == BulkType::Offer as u16 => {
                Offer::parse(body).map(|(it, name)| Self::Offer(it, name))
            }
            t if t == BulkType::Accept as u16 => Accept::parse(body).map(Self::Accept),
            t if t == BulkType::Ask as u16 => Ask::parse(body).map(Self::Ask),
            t if t == BulkType::Piece as u16 => {
                Piece::parse(body).map(|(it, bytes)| Self::Piece(it, bytes))
            }
            t if t == BulkType::Hashes as u16 => {
                Hashes::parse(body).map(|(it, hashes)| Self::Hashes(it, hashes))
            }
            t if t == BulkType::Done as u16 => BulkDone::parse(body).map(Self::Done),
            t if t == BulkType::Get as u16 => {
                Get::parse(body).map(|(it, name)| Self::Get(it, name))
            }
            other => {
                let types =
                    "1 (offer), 2 (accept), 3 (ask), 4 (piece), 5 (hashes), 6 (done), 7 (get)";
                let expected = Expected::OneOf(types);
                Err(Malformed::new(Field::BulkType, u64::from(other), expected))
            }
        }
    }
}

/// The error for a body of `len` bytes where a message is `size` bytes long.
#[cold]
fn wrong_length(len: usize, size: usize) -> Malformed {
    Malformed::new(Field::Length, len as u64, Expected::Exactly(size as u64))
}

/// The error for a body that ends within its struct of `size` bytes.
#[cold]
fn too_short(len: usize, size: usize) -> Malformed {
    Malformed::new(Field::Length, len as u64, Expected::AtLeast(size as u64))
}

/// Reserved fields hold 0.
fn check_reserved(value: impl Into<u64>) -> Result<(), Malformed> {
    let value = value.into();
    if value == 0 {
        Ok(())
    } else {
        Err(Malformed::new(Field::Reserved, value, Expected::Exactly(0)))
    }
}

/// A name is UTF-8, from 1 to 255 bytes long. What it may not hold beside that, its receiver says.
fn check_name(name: &[u8], least: usize) -> Result<&str, Malformed> {
    let len = name.len() as u64;
    if name.len() < least {
        return Err(Malformed::new(Field::Name, len, Expected::AtLeast(least as u64)));
    }
    if name.len() > MAX_NAME_LEN {
        return Err(Malformed::new(Field::Name, len, Expected::AtMost(MAX_NAME_LEN as u64)));
    }
    let expected = Expected::That("must be the length of a text in UTF-8");
    core::str::from_utf8(name).map_err(|_| Malformed::new(Field::Name, len, expected))
}

#[cfg(test)]
mod tests;
