//! What can be wrong, and whose fault it is.
//!
//! Three kinds of error, by who is to blame: [`Malformed`] bytes (the peer), a [`LimitExceeded`]
//! (our own bound, which a well-meaning peer may run into), and a [`WriteError`] (the caller).
//! [`Refused`] is what taking in a peer's fragment can answer: one of the first two.

use core::fmt;

/// Who has to change something for the error to go away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The peer sent bytes that break the format.
    Peer,
    /// A bound of this node was reached; raising it, or waiting, helps.
    Limit,
    /// This program called with arguments that cannot work.
    Caller,
}

/// The field of the wire format that an error is about, named as in `docs/WIRE.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Field {
    /// Number of bytes there are.
    Length,
    /// `version` of a frame header, delta header or hello.
    Version,
    /// `kind` of a frame header.
    Kind,
    /// `channel` of a frame header or control message.
    Channel,
    /// `flags` of a frame header or operation.
    Flags,
    /// `message_id` of a frame header.
    MessageId,
    /// `message_len` of a frame header.
    MessageLen,
    /// `fragment_index` of a frame header.
    FragmentIndex,
    /// `fragment_count` of a frame header.
    FragmentCount,
    /// The zeros between packed frames, or behind an operation's data.
    Padding,
    /// `magic` of a delta header.
    Magic,
    /// `reserved` of any struct.
    Reserved,
    /// `delta_type` of a delta header.
    DeltaType,
    /// `doc_id` of a delta header.
    DocId,
    /// `total_size` of a delta header.
    TotalSize,
    /// `checksum` of a delta header.
    Checksum,
    /// `signature` of a security header.
    Signature,
    /// `operation` of an operation header.
    Operation,
    /// `offset` of an operation header.
    Offset,
    /// `data_len` of an operation header.
    DataLen,
    /// `control_type` of a control message.
    ControlType,
    /// `max_frame_len` of a hello.
    MaxFrameLen,
    /// `role` of a hello.
    Role,
    /// `delivery` of a hello.
    Delivery,
    /// `delivery_limit` of a hello.
    DeliveryLimit,
    /// `document_type` of a message about documents.
    DocumentType,
    /// `policy` of a subscribe.
    Policy,
    /// `start` of a subscribe.
    Start,
    /// `level` of an acknowledge.
    Level,
    /// `why` of a mark.
    Why,
    /// `position` of a message about documents.
    Position,
    /// `reason` of a close or refused message.
    Reason,
    /// `request_type` of a message of a request or stream.
    RequestType,
    /// `code` of a message of a request or stream.
    Code,
    /// `id` of a message of a request or stream, or of a get.
    Id,
    /// `credit` of a message of a request or stream.
    Credit,
    /// `stream_len` of an open.
    StreamLen,
    /// `bulk_type` of a message about bulk.
    BulkType,
    /// `len` of an offer.
    Len,
    /// `piece_len` of an offer.
    PieceLen,
    /// `name` of an offer or a get: its length.
    Name,
    /// `wanted` of a get, an ask or hashes.
    What,
    /// `first` of an ask or of hashes.
    First,
    /// `count` of an ask.
    Count,
    /// `index` of a piece.
    Index,
    /// `subject` of a done.
    Subject,
}

impl Field {
    /// The name that `docs/WIRE.md` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Version => "version",
            Self::Kind => "kind",
            Self::Channel => "channel",
            Self::Flags => "flags",
            Self::MessageId => "message_id",
            Self::MessageLen => "message_len",
            Self::FragmentIndex => "fragment_index",
            Self::FragmentCount => "fragment_count",
            Self::Padding => "padding",
            Self::Magic => "magic",
            Self::Reserved => "reserved",
            Self::DeltaType => "delta_type",
            Self::DocId => "doc_id",
            Self::TotalSize => "total_size",
            Self::Checksum => "checksum",
            Self::Signature => "signature",
            Self::Operation => "operation",
            Self::Offset => "offset",
            Self::DataLen => "data_len",
            Self::ControlType => "control_type",
            Self::MaxFrameLen => "max_frame_len",
            Self::Role => "role",
            Self::Delivery => "delivery",
            Self::DeliveryLimit => "delivery_limit",
            Self::DocumentType => "document_type",
            Self::Policy => "policy",
            Self::Start => "start",
            Self::Level => "level",
            Self::Why => "why",
            Self::Position => "position",
            Self::Reason => "reason",
            Self::RequestType => "request_type",
            Self::Code => "code",
            Self::Id => "id",
            Self::Credit => "credit",
            Self::StreamLen => "stream_len",
            Self::BulkType => "bulk_type",
            Self::Len => "len",
            Self::PieceLen => "piece_len",
            Self::Name => "name",
            Self::What => "wanted",
            Self::First => "first",
            Self::Count => "count",
            Self::Index => "index",
            Self::Subject => "subject",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the format demands of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expected {
    /// This value and no other.
    Exactly(u64),
    /// This value or more.
    AtLeast(u64),
    /// This value or less.
    AtMost(u64),
    /// Less than this value.
    Below(u64),
    /// A multiple of this value.
    MultipleOf(u64),
    /// One of the values that the text lists.
    OneOf(&'static str),
    /// What the text says, where a number does not say it.
    That(&'static str),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(v) => write!(f, "must be {v}"),
            Self::AtLeast(v) => write!(f, "must be at least {v}"),
            Self::AtMost(v) => write!(f, "must be at most {v}"),
            Self::Below(v) => write!(f, "must be below {v}"),
            Self::MultipleOf(v) => write!(f, "must be a multiple of {v}"),
            Self::OneOf(list) => write!(f, "must be one of {list}"),
            Self::That(rule) => f.write_str(rule),
        }
    }
}

/// A value as people read it of this field: a magic as its characters and in hex, a checksum in hex,
/// all others in decimal.
struct Shown(Field, u64);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(field, value) = *self;
        match (field, u32::try_from(value)) {
            (Field::Magic, Ok(magic)) => {
                write!(f, "\"{}\" ({magic:#010x})", magic.to_le_bytes().escape_ascii())
            }
            (Field::Checksum, Ok(checksum)) => write!(f, "{checksum:#010x}"),
            _ => value.fmt(f),
        }
    }
}

/// Bytes from a peer that break the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The field that breaks a rule.
    pub field: Field,
    /// The value found there.
    pub value: u64,
    /// The rule.
    pub expected: Expected,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, value, expected } = *self;
        write!(f, "malformed: {field} is {}, ", Shown(field, value))?;
        match expected {
            Expected::Exactly(value) => write!(f, "must be {}", Shown(field, value)),
            other => other.fmt(f),
        }
    }
}

impl core::error::Error for Malformed {}

impl Malformed {
    /// An error about `field`, which holds `value`.
    #[must_use]
    #[cold]
    pub const fn new(field: Field, value: u64, expected: Expected) -> Self {
        Self { field, value, expected }
    }

    /// Always [`Blame::Peer`].
    #[must_use]
    pub const fn blame(&self) -> Blame {
        Blame::Peer
    }
}

/// A bound of this node that was reached. Nothing that was accepted before is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("limit reached: {limit} would be {value}, at most {allowed} are allowed")]
pub struct LimitExceeded {
    /// Name of the limit, as in [`ReassemblerLimits`](crate::ReassemblerLimits).
    pub limit: &'static str,
    /// What it would have become.
    pub value: u64,
    /// What it may be.
    pub allowed: u64,
}

impl LimitExceeded {
    /// Always [`Blame::Limit`].
    #[must_use]
    pub const fn blame(&self) -> Blame {
        Blame::Limit
    }
}

/// Why a frame from a peer was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The peer broke the format.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A bound of ours.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

impl Refused {
    /// Who is to blame.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Malformed(_) => Blame::Peer,
            Self::Limit(_) => Blame::Limit,
        }
    }
}

/// A call that cannot be carried out as it was made. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The buffer ends too early: pass one of at least `needed` bytes.
    #[error("the buffer holds {available} bytes, {needed} are needed")]
    BufferTooSmall {
        /// Bytes needed.
        needed: u64,
        /// Bytes there are.
        available: u64,
    },
    /// A field cannot hold, or may not have, this value.
    #[error("{field} cannot be {value}: {expected}")]
    Invalid {
        /// The field.
        field: Field,
        /// The value asked for.
        value: u64,
        /// What it has to be.
        expected: Expected,
    },
    /// The session ended since the room was reserved: nothing was sent.
    #[error("the channel closed since the room was reserved: nothing was sent")]
    Closed,
}

impl WriteError {
    pub(crate) const fn invalid(field: Field, value: u64, expected: Expected) -> Self {
        Self::Invalid { field, value, expected }
    }

    /// Always [`Blame::Caller`].
    #[must_use]
    pub const fn blame(&self) -> Blame {
        Blame::Caller
    }
}

/// Why bytes cannot be seen as a slice of numbers in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CastError {
    /// The first byte does not lie at a multiple of the type's alignment.
    /// Payloads in a [`RecordBuf`](crate::RecordBuf) always do, up to 64.
    #[error("the bytes do not start at a multiple of {align}, as the type needs")]
    Alignment {
        /// The type's alignment, bytes.
        align: u64,
    },
    /// There is no room for so many elements.
    #[error("{needed} bytes are needed, {available} are there")]
    TooShort {
        /// Bytes needed.
        needed: u64,
        /// Bytes there are.
        available: u64,
    },
    /// The length is not a whole number of elements.
    #[error("{len} bytes are not a multiple of the element's {element} bytes")]
    Length {
        /// Bytes there are.
        len: u64,
        /// Bytes of one element.
        element: u64,
    },
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn values_are_shown_as_people_read_them() {
        let magic = |bytes| u64::from(u32::from_le_bytes(bytes));
        let expected = Expected::Exactly(magic(*b"DLT1"));
        let error = Malformed::new(Field::Magic, magic(*b"GET "), expected);
        assert_eq!(
            error.to_string(),
            "malformed: magic is \"GET \" (0x20544547), must be \"DLT1\" (0x31544c44)"
        );
        let error = Malformed::new(Field::Magic, magic([0, 1, b'a', 0xff]), expected);
        let text = error.to_string();
        assert!(text.contains("magic is \"\\x00\\x01a\\xff\" (0xff610100)"), "{text}");
        let error = Malformed::new(Field::Checksum, 5, Expected::Exactly(0xDEAD_BEEF));
        assert_eq!(error.to_string(), "malformed: checksum is 0x00000005, must be 0xdeadbeef");
        let error = Malformed::new(Field::Version, 2, Expected::Exactly(1));
        assert_eq!(error.to_string(), "malformed: version is 2, must be 1");
    }
}
