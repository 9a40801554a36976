//! What leaves a connection.

use std::net::SocketAddr;
use std::time::Instant;

use deltawire_link::Transmit;
use quinn_proto::Connection;

use super::Stack;
use crate::messages::Outgoing;
use crate::{COMMAND_ROOM, QuicError};

/// Most datagrams of one call: more are not quicker.
const MAX_SEGMENTS: usize = 40;
/// Most bytes of one call: UDP takes no more.
const MAX_BATCH: usize = 65_000;
/// Frames of the peer's after which it is to be told that they came (RFC 9000, section 13.2.2).
const UNACKNOWLEDGED: u64 = 2;
/// By how much the window is passed for one datagram, bytes: whatever is on its way.
const BEYOND: u64 = 1 << 40;
/// What QUIC may hold at the least of what is sent, bytes: see [`window`].
const LEAST_WINDOW: u64 = 64 << 10;
/// And beside what the path takes.
const LEAST_BESIDE: u64 = 32 << 10;

impl Stack {
    /// Hands on what waited for room, commands first.
    pub(super) fn flush(&mut self) -> Result<(), QuicError> {
        let Self { connection, config, command_out, data_out, .. } = self;
        let room = [COMMAND_ROOM, 0];
        let window = window(connection, config.send_window);
        for (writer, room) in [command_out, data_out].into_iter().zip(room) {
            if let Some(writer) = writer
                && writer.waiting() > 0
            {
                connection.set_send_window(window + room);
                writer.flush(connection)?;
            }
        }
        if let Some(messages) = &mut self.messages_out
            && messages.waiting() > 0
        {
            self.connection.set_send_window(window);
            messages.flush(&mut self.connection);
        }
        Ok(())
    }

    /// The next datagrams, if there are any.
    pub(super) fn transmit(&mut self) -> Option<Transmit> {
        let mtu = usize::from(self.connection.current_mtu()).max(1);
        let most = self.max_segments.min(MAX_SEGMENTS).min(MAX_BATCH / mtu).max(1);
        let mut bytes = Vec::new();
        let mut made = self.connection.poll_transmit(self.now, most, &mut bytes);
        if made.is_none() && (self.asks() || self.owes_acknowledgement()) {
            self.progress.allow_beyond(BEYOND);
            made = self.connection.poll_transmit(self.now, 1, &mut bytes);
            self.progress.allow_beyond(0);
        }
        let made = made?;
        self.note_sent();
        bytes.truncate(made.size);
        let source = made.src_ip.unwrap_or(self.local.ip());
        Some(Transmit {
            destination: made.destination,
            source: SocketAddr::new(source, self.local.port()),
            bytes,
            segment: made.segment_size,
        })
    }

    /// Whether the peer is not heard, and is to be asked whether it is there.
    fn asks(&mut self) -> bool {
        let over = self.closed || self.connection.is_handshaking();
        let asks = !over && self.silence.take_due(self.connection.rtt(), self.now);
        if asks {
            self.connection.ping();
        }
        asks
    }

    /// When that is next.
    pub(super) fn asks_at(&self) -> Option<Instant> {
        let over = self.closed || self.connection.is_handshaking();
        self.silence.next_timeout(self.connection.rtt()).filter(|_| !over)
    }

    /// Whether the peer waits for an acknowledgement that is not sent, though it counts for nothing (RFC 9002, section 7):
    /// quinn-proto 0.11 holds it back while data waits that may not be on its way yet. Where what both sides have sent got
    /// lost, as on a path that was cut, each would wait for the other's timers, of which one is twice as long as the one
    /// before.
    fn owes_acknowledgement(&mut self) -> bool {
        std::mem::take(&mut self.heard) && self.came() - self.acknowledged.came >= UNACKNOWLEDGED
    }

    /// Notes that something was sent, and what it acknowledges.
    fn note_sent(&mut self) {
        self.silence.sent(self.now);
        let acknowledgements = self.connection.stats().frame_tx.acks;
        if std::mem::replace(&mut self.acknowledged.sent, acknowledgements) != acknowledgements {
            self.acknowledged.came = self.came();
        }
    }

    /// Frames of the peer's so far that are to be acknowledged.
    fn came(&self) -> u64 {
        let came = self.connection.stats().frame_rx;
        came.stream + came.datagram + came.ping + came.reset_stream + came.max_data
    }

    /// Finishes the streams on which nothing waits. Says whether the peer has everything.
    pub(super) fn finish_streams(&mut self) -> bool {
        let Self { connection, command_out, data_out, .. } = self;
        let mut all = self.messages_out.as_ref().is_none_or(Outgoing::is_done);
        for writer in [command_out, data_out].into_iter().flatten() {
            // Each is told, whether the other is through or not.
            all &= writer.finish(connection);
        }
        all
    }
}

/// What QUIC may hold to be sent and sent again: an eighth more than what the path takes, so that a close waits for no more
/// than that, and for what is left in a session as long as that goes on; and deltas of a higher priority, which a session puts
/// before others, too.
pub(super) fn window(connection: &Connection, most: u64) -> u64 {
    let takes = connection.congestion_state().window();
    let beside = (takes / 8).max(LEAST_BESIDE);
    takes.saturating_add(beside).clamp(LEAST_WINDOW.min(most), most)
}
