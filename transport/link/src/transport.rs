//! The seam between a session and what carries its messages.

use std::net::SocketAddr;
use std::task::Waker;
use std::time::Duration;

use deltawire_channels::TransportMessage;
use deltawire_framing::Channel;

use crate::TransportError;

/// What carries a session: transport messages of its two channels, each whole or not at all.
///
/// Implement it, give it to a [`Connection`](crate::Connection), and everything above works as on every
/// other link. `now` is time since any fixed start, the same for all calls. After each call that may
/// change something, [`poll_output`](Self::poll_output) is called until it gives a time-out.
pub trait MessageTransport {
    /// What it can do. Asked when its session begins, and for [`Capabilities::queue`] once the channels are open.
    fn capabilities(&self) -> Capabilities;

    /// Lets time pass.
    fn handle_timeout(&mut self, now: Duration);

    /// What to do next.
    ///
    /// # Errors
    ///
    /// When the transport is over. If the error
    /// [keeps the channels](TransportError::keeps_channels), it comes once, and what is written then, and
    /// that this side hung up, still reaches the peer.
    fn poll_output(&mut self) -> Result<Output, TransportError>;

    /// Takes over a transport message, whole or not at all. Only when the channels are open. It may wait to be handed on
    /// until the next [`poll_output`](Self::poll_output), which comes before anything else is waited for.
    ///
    /// No more is written than may be in flight, and one message of the longest kind beside it, so that
    /// commands need not wait: a transport that has no room for that, and says `false`, is at fault, and its
    /// link ends.
    ///
    /// # Errors
    ///
    /// When the channel is gone.
    fn write(&mut self, channel: Channel, message: &[u8]) -> Result<bool, TransportError>;

    /// Bytes that were written and are still on their way, as far as [`Capabilities::in_flight`] says that
    /// this is known.
    fn in_flight(&mut self) -> usize;

    /// Bytes of those that no datagram was made of yet, such as what the transport's own congestion control holds back.
    /// `None`: it does not tell.
    fn waiting(&mut self) -> Option<usize> {
        None
    }

    /// Whether the peer has acknowledged more of what was written since the last call, beside what shows only that it is
    /// there. `None`: what [`in_flight`](Self::in_flight) says is all that is known.
    fn take_progress(&mut self) -> Option<bool> {
        None
    }

    /// Notes that the session has said its last words: nothing more is written. Says whether they have
    /// arrived, as far as the transport knows; it is asked again each time that something happened.
    fn finish(&mut self) -> bool {
        self.in_flight() == 0
    }

    /// Hangs up. Something may still have to be sent.
    fn close(&mut self);

    /// Notes whom to wake when a message has come, there is room again, or it has ended, if
    /// [`Capabilities::wakes`].
    fn attach(&mut self, driver: &Waker) {
        let _ = driver;
    }

    /// Whether the transport heard of the peer's session since the last call, if
    /// [`Capabilities::liveness`].
    fn take_heard(&mut self) -> bool {
        false
    }
}

/// Whatever carries a session: where code for each kind would be too long, such as in a page.
impl<T: MessageTransport + ?Sized> MessageTransport for Box<T> {
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn handle_timeout(&mut self, now: Duration) {
        (**self).handle_timeout(now);
    }

    fn poll_output(&mut self) -> Result<Output, TransportError> {
        (**self).poll_output()
    }

    fn write(&mut self, channel: Channel, message: &[u8]) -> Result<bool, TransportError> {
        (**self).write(channel, message)
    }

    fn in_flight(&mut self) -> usize {
        (**self).in_flight()
    }

    fn waiting(&mut self) -> Option<usize> {
        (**self).waiting()
    }

    fn take_progress(&mut self) -> Option<bool> {
        (**self).take_progress()
    }

    fn finish(&mut self) -> bool {
        (**self).finish()
    }

    fn close(&mut self) {
        (**self).close();
    }

    fn attach(&mut self, driver: &Waker) {
        (**self).attach(driver);
    }

    fn take_heard(&mut self) -> bool {
        (**self).take_heard()
    }
}

/// What a transport can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// What kind of link it makes, in a word, for [`Link::kind`](crate::Link::kind). Default: empty.
    pub kind: &'static str,
    /// The longest transport message that both sides take, bytes.
    pub max_message_len: usize,
    /// What is known of messages that are on their way: this chooses the pacing.
    pub in_flight: InFlight,
    /// How much of what is on its way may wait in queues beside what the path itself holds, where the peer
    /// acknowledges. Default: nothing.
    pub queue: Queue,
    /// Which [`Delivery`](deltawire_channels::Delivery) it can give deltas. Default: [`Delivers::InOrder`].
    pub delivers: Delivers,
    /// Whether it checks by itself, every few seconds, that the peer's session is there. One that lives on
    /// when its session hangs does not. Default: no.
    pub liveness: bool,
    /// Whether messages come and room is made without a call, as in what the system moves: it then wakes
    /// who is [attached](MessageTransport::attach), and is asked each time. Default: no.
    pub wakes: bool,
}

/// What may wait in the queues of a path, so that both ends have something to do while the other is woken. A command waits as long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// For how long at most, at the path's rate.
    pub time: Duration,
    /// So many bytes do.
    pub certain: usize,
    /// So many do if the path is faster with them, which is tried.
    pub most: usize,
}

/// How a transport knows what is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InFlight {
    /// The peer acknowledges what came: the path is measured, and as much is on its way as fills it.
    Acknowledged,
    /// Only what was not handed on yet is known: to this side's system, or to a stack with a pacing of its
    /// own. So many bytes may wait there, and a message of the longest kind beside them; messages are no
    /// longer than this.
    HandedOn {
        /// The most.
        max: usize,
    },
}

/// Which deliveries a transport knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivers {
    /// Everything, in order.
    InOrder,
    /// That, and deltas that may overtake each other, of which those that may get lost can be given up.
    Unordered,
    /// Whatever is asked for.
    AsAsked,
}

impl Capabilities {
    /// Of a transport that takes messages of up to so many bytes, reliably and in order.
    #[must_use]
    pub const fn new(max_message_len: usize, in_flight: InFlight) -> Self {
        Self {
            kind: "",
            max_message_len,
            in_flight,
            queue: Queue { time: Duration::ZERO, certain: 0, most: 0 },
            delivers: Delivers::InOrder,
            liveness: false,
            wakes: false,
        }
    }
}

/// A [`MessageTransport`] over datagrams, without I/O. Up to 16 datagrams may go in between two drains of
/// its output; of more, some may be dropped.
pub trait DatagramTransport: MessageTransport {
    /// Takes in a datagram. What cannot be read is dropped.
    fn handle_datagram(&mut self, datagram: Datagram<'_>, now: Duration);
}

/// What a transport wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this. Only of those over datagrams.
    Transmit(Transmit),
    /// Both channels can be written to.
    Open,
    /// A transport message came, in the memory that the transport has it in.
    Message(Channel, TransportMessage),
    /// The peer hung up, or the channels are gone: told once. Nothing more comes but datagrams.
    Closed,
    /// Nothing to do before this time; `None` is never.
    Timeout(Option<Duration>),
}

/// A datagram that came.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub source: SocketAddr,
    /// The local address at which it came: never an unspecified one.
    pub destination: SocketAddr,
    /// What it holds.
    pub bytes: &'a [u8],
}

/// A datagram to be sent, or several of one length to one peer.
#[derive(Debug, PartialEq, Eq)]
pub struct Transmit {
    /// To whom.
    pub destination: SocketAddr,
    /// From which local address.
    pub source: SocketAddr,
    /// What it holds; of several, one after another.
    pub bytes: Vec<u8>,
    /// How long each is of several, but for the last; `None` of one.
    pub segment: Option<usize>,
}

impl Transmit {
    /// Datagrams in it.
    #[must_use]
    pub fn datagrams(&self) -> usize {
        self.segment.map_or(1, |segment| self.bytes.len().div_ceil(segment.max(1)))
    }
}
