use deltawire_framing::requests::{CreditOf, RefusalCode, RequestMessage};

/// Replies that wait for room; past it nothing more of the peer's is taken in.
pub const MAX_REPLIES: usize = 1_024;

/// What is to be said without anybody waiting for it.
#[derive(Debug)]
pub enum Reply {
    /// A request or stream of the peer's is refused.
    Refused {
        /// The exchange.
        id: u32,
        /// Why.
        code: RefusalCode,
        /// Why, for people.
        reason: String,
        /// Whether the application saw it.
        may_have_run: bool,
    },
    /// This side wants no more answers, or sends no more of a stream.
    Cancel(u32),
    /// The peer may send more.
    Credit(u32, CreditOf, u32),
    /// All of a stream of the peer's was read.
    Taken(u32),
}

impl Reply {
    /// What it says on the wire.
    #[must_use]
    pub fn message(&self) -> RequestMessage<'_> {
        match self {
            Self::Refused { id, code, reason, may_have_run } => RequestMessage::Refused {
                id: *id,
                code: *code,
                may_have_run: *may_have_run,
                reason,
            },
            Self::Cancel(id) => RequestMessage::Cancel { id: *id },
            Self::Credit(id, of, bytes) => {
                RequestMessage::Credit { id: *id, of: *of, bytes: *bytes }
            }
            Self::Taken(id) => RequestMessage::Answer { id: *id, more: false, payload: &[] },
        }
    }
}
