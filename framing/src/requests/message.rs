use zerocopy::FromBytes;

use super::header::{RequestHead, RequestHeader};
use super::open::Open;
use super::refusal::{MAX_REFUSAL_REASON, RefusalCode};
use super::{RequestType, message_cost};
use crate::delta::DeltaFields;
use crate::error::{Expected, Field, Malformed};

/// A view over one message of a request or stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestMessage<'a> {
    /// Asks something.
    Request {
        /// The next id of the sender's.
        id: u32,
        /// How much the answers may take until a [`Credit`](Self::Credit) says more, where many may come; `None`: one
        /// answer is wanted.
        answers: Option<u32>,
        /// What is asked.
        payload: &'a [u8],
    },
    /// Answers a request; says of a stream that all of it was read.
    Answer {
        /// The receiver's id.
        id: u32,
        /// Whether more answers follow.
        more: bool,
        /// The answer.
        payload: &'a [u8],
    },
    /// Ends a request or stream without an answer.
    Refused {
        /// The receiver's id.
        id: u32,
        /// Why.
        code: RefusalCode,
        /// Whether the application may have seen it.
        may_have_run: bool,
        /// Why, for people.
        reason: &'a str,
    },
    /// Wants no more answers, or sends no more of a stream.
    Cancel {
        /// The sender's id.
        id: u32,
    },
    /// Lets the other side send more.
    Credit {
        /// The id of the exchange, by its opener's count.
        id: u32,
        /// Of what.
        of: CreditOf,
        /// How much more, at least 1.
        bytes: u32,
    },
    /// Announces a stream.
    Open {
        /// The next id of the sender's.
        id: u32,
        /// Bytes of all its pieces' payloads, if that is known.
        len: Option<u64>,
        /// What a delta's header says. A checksum is not told.
        fields: DeltaFields,
    },
    /// A piece of a stream.
    Piece {
        /// The sender's id.
        id: u32,
        /// Whether it is the last.
        last: bool,
        /// Not empty, unless it is the last.
        payload: &'a [u8],
    },
}

/// What a credit lets the other side send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreditOf {
    /// Answers to the sender's own request.
    Answers,
    /// Pieces of the receiver's stream.
    Pieces,
}

impl<'a> RequestMessage<'a> {
    /// In the `flags` of a request: many answers may come. Of an answer: more follow. Of a refusal: the application
    /// may have seen it. Of a credit: it is for pieces. Of a piece: it is the last.
    const FLAG: u8 = 1;

    /// Sees `body`, that of a frame of requests, as a message.
    ///
    /// # Errors
    /// Names the first field that breaks a rule: [`Field::RequestType`] for an unknown type.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let Ok((header, payload)) = RequestHeader::ref_from_prefix(body) else {
            let expected = Expected::AtLeast(RequestHeader::SIZE as u64);
            return Err(Malformed::new(Field::Length, body.len() as u64, expected));
        };
        let kind = header.check()?;
        let (id, flag, credit) = (header.id.get(), header.flags != 0, header.credit.get());
        Ok(match kind {
            RequestType::Request => Self::Request { id, answers: flag.then_some(credit), payload },
            RequestType::Answer => Self::Answer { id, more: flag, payload },
            RequestType::Refused => Self::Refused {
                id,
                code: RefusalCode(header.code.get()),
                may_have_run: flag,
                reason: reason_of(payload)?,
            },
            RequestType::Cancel => {
                no_payload(body)?;
                Self::Cancel { id }
            }
            RequestType::Credit => {
                no_payload(body)?;
                let of = if flag { CreditOf::Pieces } else { CreditOf::Answers };
                Self::Credit { id, of, bytes: credit }
            }
            RequestType::Open => {
                let (len, fields) = Open::parse(body)?;
                Self::Open { id, len, fields }
            }
            RequestType::Piece => {
                if payload.is_empty() && !flag {
                    let expected = Expected::AtLeast(RequestHeader::SIZE as u64 + 1);
                    return Err(Malformed::new(Field::Length, body.len() as u64, expected));
                }
                Self::Piece { id, last: flag, payload }
            }
        })
    }

    /// The id of the exchange.
    #[must_use]
    pub const fn id(&self) -> u32 {
        match *self {
            Self::Request { id, .. }
            | Self::Answer { id, .. }
            | Self::Refused { id, .. }
            | Self::Cancel { id }
            | Self::Credit { id, .. }
            | Self::Open { id, .. }
            | Self::Piece { id, .. } => id,
        }
    }

    /// What stands in front of [`payload`](Self::payload).
    #[must_use]
    pub fn head(&self) -> RequestHead {
        let flag = |set: bool| if set { Self::FLAG } else { 0 };
        let header = match *self {
            Self::Request { id, answers, .. } => {
                RequestHeader::new(RequestType::Request, flag(answers.is_some()), id)
                    .with_credit(answers.unwrap_or_default())
            }
            Self::Answer { id, more, .. } => {
                RequestHeader::new(RequestType::Answer, flag(more), id)
            }
            Self::Refused { id, code, may_have_run, .. } => {
                RequestHeader::new(RequestType::Refused, flag(may_have_run), id).with_code(code.0)
            }
            Self::Cancel { id } => RequestHeader::new(RequestType::Cancel, 0, id),
            Self::Credit { id, of, bytes } => {
                RequestHeader::new(RequestType::Credit, flag(of == CreditOf::Pieces), id)
                    .with_credit(bytes)
            }
            Self::Open { id, len, ref fields } => {
                return RequestHead::of(&Open::new(id, len, fields));
            }
            Self::Piece { id, last, .. } => RequestHeader::new(RequestType::Piece, flag(last), id),
        };
        RequestHead::of(&header)
    }

    /// What stands behind the [`head`](Self::head): the payload, or the reason of a refusal, cut at the last whole
    /// character that fits in [`MAX_REFUSAL_REASON`].
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        match *self {
            Self::Request { payload, .. }
            | Self::Answer { payload, .. }
            | Self::Piece { payload, .. } => payload,
            Self::Refused { reason, .. } => {
                let cut = reason.floor_char_boundary(MAX_REFUSAL_REASON);
                reason.get(..cut).unwrap_or_default().as_bytes()
            }
            Self::Cancel { .. } | Self::Credit { .. } | Self::Open { .. } => &[],
        }
    }

    /// What it takes of a credit: answers and pieces do.
    #[must_use]
    pub const fn cost(&self) -> u64 {
        match *self {
            Self::Answer { payload, .. } | Self::Piece { payload, .. } => {
                message_cost(payload.len())
            }
            _ => 0,
        }
    }
}

fn no_payload(body: &[u8]) -> Result<(), Malformed> {
    if body.len() == RequestHeader::SIZE {
        return Ok(());
    }
    let expected = Expected::Exactly(RequestHeader::SIZE as u64);
    Err(Malformed::new(Field::Length, body.len() as u64, expected))
}

fn reason_of(bytes: &[u8]) -> Result<&str, Malformed> {
    if bytes.len() > MAX_REFUSAL_REASON {
        let len = RequestHeader::SIZE + bytes.len();
        let expected = Expected::AtMost((RequestHeader::SIZE + MAX_REFUSAL_REASON) as u64);
        return Err(Malformed::new(Field::Length, len as u64, expected));
    }
    core::str::from_utf8(bytes).map_err(|error| {
        let expected = Expected::That("is where the reason stops being UTF-8");
        Malformed::new(Field::Reason, error.valid_up_to() as u64, expected)
    })
}
