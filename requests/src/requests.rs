use core::fmt;
use std::sync::Arc;

use deltawire_channels::session::SendPriority;
use deltawire_channels::{Command, Receiver, Sender};
use deltawire_framing::control::{HelloFields, Order, Reliability};
use deltawire_framing::{DeltaFields, Kind};
use deltawire_link::Link;
use deltawire_link::runtime::SharedRuntime;

use crate::answers::{Answer, Answers};
use crate::commands::Commands;
use crate::driver::{Driven, drive};
use crate::error::{Ended, OpenError, RequestError};
use crate::incoming::IncomingRequests;
use crate::options::{CallOptions, RequestsOptions, WhenFull};
use crate::shared::{Handle, Shared};
use crate::stream_writer::StreamWriter;

/// Asks the other end of a link, and streams messages of any length to it. Clones are handles on the same; any number
/// of tasks may use them at a time.
///
/// A call ends: with its answer, or with a [`RequestError`] that says what became of it, and whether the other side may
/// have acted on it. When a call is dropped, the other side is told that nobody waits for its answer any more.
///
/// The other end has `Requests` too, and answers what comes of [`IncomingRequests`]. Both may ask at a time.
#[derive(Clone)]
pub struct Requests {
    handle: Handle,
}

/// Requests over a command channel, whose application's own commands go on.
#[derive(Debug)]
pub struct Opened {
    /// Asks the peer.
    pub requests: Requests,
    /// What the peer asks.
    pub incoming: IncomingRequests,
    /// The application's own commands, as before.
    pub commands: Commands,
}

impl Requests {
    /// Requests over a link's commands, which overtake its deltas. A task of `runtime`'s takes in what comes, for as long as
    /// the link lives and a handle is left: of these three, or of what they give.
    ///
    /// Messages that wait on this channel are bounded by its window, 64 KiB by default: for streams of many megabytes over
    /// long paths [`over_deltas`](Self::over_deltas) has a larger one.
    ///
    /// # Errors
    /// When the node at the other end does not know requests, or there are some on this channel already.
    pub fn over_commands(
        link: &Link,
        command: Command,
        runtime: SharedRuntime,
        options: RequestsOptions,
    ) -> Result<Opened, OpenError> {
        check_spoken(link)?;
        Self::begin(command, runtime, options, Some(link.clone()))
    }

    /// Requests between two peers in one process, as [`memory::pair`](deltawire_link::memory::pair) gives them.
    ///
    /// # Errors
    /// When there are requests on this channel already.
    pub fn in_process(
        command: Command,
        runtime: SharedRuntime,
        options: RequestsOptions,
    ) -> Result<Opened, OpenError> {
        Self::begin(command, runtime, options, None)
    }

    fn begin(
        command: Command,
        runtime: SharedRuntime,
        options: RequestsOptions,
        link: Option<Link>,
    ) -> Result<Opened, OpenError> {
        let Command { send, mut receive } = command;
        let asked = receive.split(Kind::Request)?;
        let (requests, incoming) = Self::start(send, asked, runtime, options, link);
        let commands = Commands::new(requests.handle.clone(), receive);
        Ok(Opened { requests, incoming, commands })
    }

    /// Requests over a link's deltas, by a sender of their own. `receive` goes on giving the application's own messages,
    /// and **has to be read**: what waits there keeps its part of the window, and without room in it nothing comes.
    ///
    /// # Errors
    /// When the node at the other end does not know requests, the link's deltas may get lost or overtake each other, it has
    /// as many senders as it may, or requests on this channel already.
    pub async fn over_deltas(
        link: &Link,
        receive: &mut Receiver,
        priority: SendPriority,
        runtime: SharedRuntime,
        options: RequestsOptions,
    ) -> Result<(Self, IncomingRequests), OpenError> {
        check_spoken(link)?;
        let reliable = |delivery: &deltawire_channels::Delivery| {
            delivery.order == Order::Ordered && delivery.reliability == Reliability::Reliable
        };
        if !link.stats().session.deltas.iter().all(reliable) {
            return Err(OpenError::Delivery);
        }
        let sender = link.open_sender(priority).await?;
        let asked = receive.split(Kind::Request)?;
        Ok(Self::start(sender, asked, runtime, options, Some(link.clone())))
    }

    fn start(
        sender: Sender,
        asked: Receiver,
        runtime: SharedRuntime,
        options: RequestsOptions,
        link: Option<Link>,
    ) -> (Self, IncomingRequests) {
        let shared = Arc::new(Shared::new(sender, runtime.clone(), options));
        let requests = Self { handle: Handle::new(shared.clone()) };
        let incoming = IncomingRequests::new(requests.handle.clone());
        runtime.spawn(Box::pin(drive(Driven(shared), asked, link)));
        (requests, incoming)
    }

    /// Asks, and waits for the answer.
    ///
    /// Cancel safe: when the future is dropped nothing more is sent of it, and if it was sent the other side is told to
    /// stop.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn call(&self, payload: &[u8], options: CallOptions) -> Result<Answer, RequestError> {
        let mut answers = self.ask(payload, options, false).await?;
        match answers.next().await? {
            Some(answer) => Ok(answer),
            // Of one answer the first is the last.
            None => Err(RequestError::Cancelled),
        }
    }

    /// Asks for many answers, and gives them as they come. Its time is over when the first has not come; after that
    /// it may take as long as it takes.
    ///
    /// Cancel safe, as [`call`](Self::call).
    ///
    /// # Errors
    /// When it was not sent. See [`RequestError`].
    pub async fn call_many(
        &self,
        payload: &[u8],
        options: CallOptions,
    ) -> Result<Answers, RequestError> {
        self.ask(payload, options, true).await
    }

    async fn ask(
        &self,
        payload: &[u8],
        options: CallOptions,
        many: bool,
    ) -> Result<Answers, RequestError> {
        let (timeout, limit) = self.handle.update(|state| {
            let limits = state.core.options();
            (options.timeout.unwrap_or(limits.timeout), limits.max_pending)
        });
        let begun = self.handle.runtime.now();
        let attempt = |state: &mut crate::shared::State| {
            let answers = state.try_ask(payload, many, begun, timeout)?;
            Ok(answers)
        };
        let id = self.handle.open(Some(timeout), options.when_full, limit, attempt).await?;
        Ok(Answers::new(self.handle.clone(), id))
    }

    /// Announces a stream: a message of any length, piece by piece. `len` is how long it will be, if that is known. Waits
    /// for a place among [`RequestsOptions::max_streams`].
    ///
    /// Cancel safe: a future that is dropped has announced nothing.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn stream(
        &self,
        fields: DeltaFields,
        len: Option<u64>,
    ) -> Result<StreamWriter, RequestError> {
        let attempt = |state: &mut crate::shared::State| state.try_open(fields, len);
        let id = self.handle.open(None, WhenFull::Wait, usize::MAX, attempt).await?;
        Ok(StreamWriter::new(self.handle.clone(), id))
    }

    /// Why no more requests go; `None` while they do.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.handle.update(|state| state.core.ended().cloned())
    }

    /// Bytes of frames that came and wait to be taken: requests, answers and pieces.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.handle.update(|state| state.core.held_bytes())
    }

    /// Exchanges that are open, of both sides: requests and streams.
    #[must_use]
    pub fn open_exchanges(&self) -> usize {
        self.handle.update(|state| state.core.open_exchanges())
    }

    /// Ends them, and the [`Commands`] beside them: what waits has an error, and so has what is asked later. The link stays,
    /// and the peer is not told; what it asks is not answered any more. To be told, it has to see the link closed.
    pub fn close(&self) {
        self.handle.end(Ended::ByUs);
    }

    /// Waits until no more requests go, and says why.
    pub async fn closed(&self) -> Ended {
        self.handle.closed().await
    }
}

fn check_spoken(link: &Link) -> Result<(), OpenError> {
    if link.stats().session.peer_features & HelloFields::REQUESTS == 0 {
        return Err(OpenError::NotSpoken);
    }
    Ok(())
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("ended", &self.ended()).finish_non_exhaustive()
    }
}
