//! Control messages that wait to be sent. All but pongs are cumulative or idempotent, so of each
//! kind only the latest has to be kept.

use std::collections::VecDeque;

use deltawire_framing::control::{
    Acknowledge, Close, CloseCode, CloseFlags, Hello, Ping, Pong, Position, Resume, Ticket, Window,
};
use deltawire_framing::{Channel, FRAME_ALIGN, FrameHeader, Kind, frame_step};
use zerocopy::IntoBytes;

/// How many pings may wait for their answer at a time: of more, the oldest get none.
pub const MAX_PONGS: usize = 16;

/// Room for a hello and a resume, or for one of each of the rest and all pongs: 64 + 2 · 32 + 2 · 32 + 2 · 32 +
/// 16 · 32 + 32 + 280 bytes. What does not fit goes in the next one.
const CAPACITY: usize = 1_080;

#[derive(Debug)]
pub(super) struct Pending {
    pub(super) hello: Option<Hello>,
    /// Goes in one transport message with the hello.
    pub(super) resume: Option<Resume>,
    pub(super) ticket: Option<Ticket>,
    /// By channel.
    pub(super) acknowledges: [Option<Acknowledge>; 2],
    /// By channel.
    pub(super) windows: [Option<Window>; 2],
    /// By channel.
    pub(super) positions: [Option<Position>; 2],
    pub(super) ping: Option<Ping>,
    /// At most [`MAX_PONGS`], oldest first.
    pongs: VecDeque<Pong>,
    /// Goes last, when nothing else is to be sent any more.
    pub(super) close: Option<LastWords>,
    buffer: [u8; CAPACITY],
}

/// A close that waits to be sent.
#[derive(Debug)]
pub(super) struct LastWords {
    pub(super) code: CloseCode,
    pub(super) flags: CloseFlags,
    pub(super) reason: String,
}

impl Pending {
    pub(super) fn new(hello: Hello) -> Self {
        Self {
            hello: Some(hello),
            resume: None,
            ticket: None,
            acknowledges: [None; 2],
            windows: [None; 2],
            positions: [None; 2],
            ping: None,
            pongs: VecDeque::new(),
            close: None,
            buffer: [0; CAPACITY],
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.hello.is_none()
            && self.resume.is_none()
            && self.ticket.is_none()
            && self.acknowledges.iter().all(Option::is_none)
            && self.windows.iter().all(Option::is_none)
            && self.positions.iter().all(Option::is_none)
            && self.ping.is_none()
            && self.pongs.is_empty()
            && self.close.is_none()
    }

    /// Has a ping answered. Each is, but in a flood of them.
    pub(super) fn answer(&mut self, ping: &Ping) {
        if self.pongs.len() == MAX_PONGS {
            self.pongs.pop_front();
        }
        self.pongs.push_back(Pong::to(ping));
    }

    /// The session is over: nothing is said any more but how much was read and sent, and the close.
    pub(super) fn clear_but_goodbye(&mut self) {
        self.ping = None;
        self.pongs.clear();
        self.ticket = None;
        self.acknowledges = [None; 2];
    }

    /// There is nobody to say anything to.
    pub(super) fn clear(&mut self) {
        self.clear_but_goodbye();
        self.hello = None;
        self.resume = None;
        self.windows = [None; 2];
        self.positions = [None; 2];
        self.close = None;
    }

    /// Packs what waits into one transport message of at most `max_len` bytes, at least 80; what
    /// does not fit waits on. `None` when nothing waits.
    pub(super) fn next(&mut self, max_len: usize) -> Option<&[u8]> {
        let max_len = max_len.min(CAPACITY);
        let mut packer = Packer { buffer: self.buffer.get_mut(..max_len)?, end: 0 };
        packer.take(&mut self.hello);
        packer.take(&mut self.resume);
        packer.take(&mut self.ticket);
        self.acknowledges.iter_mut().for_each(|acknowledge| packer.take(acknowledge));
        self.windows.iter_mut().for_each(|window| packer.take(window));
        self.positions.iter_mut().for_each(|position| packer.take(position));
        while let Some(pong) = self.pongs.pop_front() {
            let mut pong = Some(pong);
            packer.take(&mut pong);
            if let Some(pong) = pong {
                self.pongs.push_front(pong);
                break;
            }
        }
        packer.take(&mut self.ping);
        packer.take_close(&mut self.close);
        let len = packer.end;
        if len == 0 { None } else { self.buffer.get(..len) }
    }
}

struct Packer<'a> {
    buffer: &'a mut [u8],
    /// End of the last frame.
    end: usize,
}

impl Packer<'_> {
    fn take<T: IntoBytes + zerocopy::Immutable>(&mut self, message: &mut Option<T>) {
        if let Some(bytes) = message.as_ref().map(IntoBytes::as_bytes)
            && self.push(bytes.len(), |body| body.copy_from_slice(bytes))
        {
            *message = None;
        }
    }

    fn take_close(&mut self, close: &mut Option<LastWords>) {
        let Some(LastWords { code, flags, reason }) = close else { return };
        let room = self.buffer.len().saturating_sub(frame_step(self.end) + FrameHeader::SIZE + 8);
        // With something in front of it a close can wait for a message of its own; alone it has
        // room for a reason of 56 bytes at the least.
        if self.end != 0 && room < reason.len() {
            return;
        }
        let reason = &reason[..reason.floor_char_boundary(room)];
        let message = Close::new(*code, reason).with_flags(*flags);
        if self.push(8 + message.reason().len(), |body| {
            if let Err(error) = message.write(body) {
                unreachable!("the room is what the message says it needs: {error}");
            }
        }) {
            *close = None;
        }
    }

    /// Lays a frame behind the last one, if there is room.
    fn push(&mut self, body_len: usize, write: impl FnOnce(&mut [u8])) -> bool {
        let start = frame_step(self.end);
        let end = start + FrameHeader::SIZE + body_len;
        let Ok(header) = FrameHeader::whole(Kind::Control, Channel::Command, body_len) else {
            return false;
        };
        let Some(place) = self.buffer.get_mut(self.end..end) else { return false };
        debug_assert!(start - self.end < FRAME_ALIGN);
        let (gap, frame) = place.split_at_mut(start - self.end);
        let (head, body) = frame.split_at_mut(FrameHeader::SIZE);
        gap.fill(0);
        head.copy_from_slice(header.as_bytes());
        write(body);
        self.end = end;
        true
    }
}
