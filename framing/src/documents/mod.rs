//! Messages about documents: what a peer that serves documents and those that read and write them tell
//! each other.
//!
//! A message about documents is the body of an unfragmented frame of [`Kind::Document`](crate::Kind). Its
//! first two bytes are its type; the rest of it is a struct of fixed layout, seen in place. A [`Mark`]
//! goes over the data channel, in order with the deltas that it describes; all others are commands.
//!
//! They take room of the channel's window, as the application's own messages do: so whoever sends more of
//! them than the other side gets on with is held up.

mod acknowledge;
mod group;
mod mark;
mod publish;
mod snapshot;
mod subscribe;

use zerocopy::FromBytes;
use zerocopy::byteorder::little_endian::U16;

pub use acknowledge::{Acknowledge, AcknowledgeFields, Denied, DeniedCode, DeniedFields, Level};
pub use group::{Group, GroupWriter};
pub use mark::{Mark, MarkFields, Why};
pub use publish::{Expect, Publish, PublishFields, Unpublish, WriterId};
pub use snapshot::SnapshotHeader;
pub use subscribe::{SlowPolicy, Start, Subscribe, SubscribeFields, Unsubscribe};

use crate::error::{Expected, Field, Malformed};
use crate::frame::Channel;

/// The types of messages about documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
enum DocumentType {
    Subscribe = 1,
    Unsubscribe = 2,
    Publish = 3,
    Unpublish = 4,
    Acknowledge = 5,
    Denied = 6,
    Mark = 7,
    Expect = 8,
}

impl DocumentType {
    const fn to_wire(self) -> U16 {
        U16::new(self as u16)
    }
}

/// A view over one message about documents.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Document<'a> {
    /// Asks for a document's deltas.
    Subscribe(&'a Subscribe),
    /// Asks for no more of them.
    Unsubscribe(&'a Unsubscribe),
    /// Announces deltas of the sender's own.
    Publish(&'a Publish),
    /// Says that no more of them come.
    Unpublish(&'a Unpublish),
    /// How far published deltas have got.
    Acknowledge(&'a Acknowledge),
    /// A subscription, publication or delta is refused.
    Denied(&'a Denied),
    /// Where a subscription stands.
    Mark(&'a Mark),
    /// On which state of the document the next delta rests.
    Expect(&'a Expect),
}

impl<'a> Document<'a> {
    /// Sees `body`, that of a document frame, as a message about documents.
    ///
    /// # Errors
    /// Names the first field that breaks a rule: [`Field::DocumentType`] for an unknown type.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let Ok((document_type, _)) = U16::read_from_prefix(body) else {
            return Err(Malformed::new(Field::Length, body.len() as u64, Expected::AtLeast(2)));
        };
        match document_type.get() {
            t if t == DocumentType::Subscribe as u16 => Subscribe::parse(body).map(Self::Subscribe),
            t if t == DocumentType::Unsubscribe as u16 => {
                Unsubscribe::parse(body).map(Self::Unsubscribe)
            }
            t if t == DocumentType::Publish as u16 => Publish::parse(body).map(Self::Publish),
            t if t == DocumentType::Unpublish as u16 => Unpublish::parse(body).map(Self::Unpublish),
            t if t == DocumentType::Acknowledge as u16 => {
                Acknowledge::parse(body).map(Self::Acknowledge)
            }
            t if t == DocumentType::Denied as u16 => Denied::parse(body).map(Self::Denied),
            t if t == DocumentType::Mark as u16 => Mark::parse(body).map(Self::Mark),
            t if t == DocumentType::Expect as u16 => Expect::parse(body).map(Self::Expect),
            other => {
                let types = "1 (subscribe), 2 (unsubscribe), 3 (publish), 4 (unpublish), \
                             5 (acknowledge), 6 (denied), 7 (mark), 8 (expect)";
                let expected = Expected::OneOf(types);
                Err(Malformed::new(Field::DocumentType, u64::from(other), expected))
            }
        }
    }

    /// The channel that it goes over: marks and expectations stand among the deltas that they are about.
    #[must_use]
    pub const fn channel(&self) -> Channel {
        match self {
            Self::Mark(_) | Self::Expect(_) => Channel::Data,
            _ => Channel::Command,
        }
    }
}

/// The error for a body of `len` bytes where a message is `size` bytes long.
#[cold]
fn wrong_length(len: usize, size: usize) -> Malformed {
    Malformed::new(Field::Length, len as u64, Expected::Exactly(size as u64))
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

/// Only bits that have a meaning.
fn check_flags(flags: u8, known: u8) -> Result<(), Malformed> {
    if flags & !known == 0 {
        Ok(())
    } else {
        let expected = Expected::AtMost(u64::from(known));
        Err(Malformed::new(Field::Flags, u64::from(flags), expected))
    }
}

#[cfg(test)]
mod tests;
