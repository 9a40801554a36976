//! Where the other side's deltas come from: a link's receiver, or, in one process, its source itself.

use core::task::{Context, Poll, ready};

use deltawire_channels::session::FrameSource;
use deltawire_channels::{Message, Receiver};

pub(crate) enum Arrivals {
    Link(Receiver),
    #[cfg_attr(not(feature = "serve"), allow(dead_code))]
    InProcess(Box<dyn FrameSource>),
}

/// Nothing more comes.
pub(crate) struct Over;

impl Arrivals {
    pub(crate) fn poll_take(&mut self, context: &mut Context<'_>) -> Poll<Result<Message, Over>> {
        match self {
            Self::Link(receiver) => receiver.poll_take(context).map_err(|_| Over),
            Self::InProcess(source) => {
                let message = ready!(source.poll_frame(context)).ok_or(Over)?;
                source.done(message.clone());
                Poll::Ready(Ok(message))
            }
        }
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        if let Self::InProcess(source) = self {
            source.seal();
        }
    }
}
