//! What leaves a connection.

use std::net::SocketAddr;
use std::time::Instant;

use deltawire_link::Transmit;

use super::Stack;
use crate::messages::Outgoing;
use crate::{COMMAND_ROOM, QuicError};

/// Most datagrams of one call: more are not quicker.
const MAX_SEGMENTS: usize = 40;
/// Most bytes of one call: UDP takes no more.
const MAX_BATCH: usize = 65_000;
/// By how much the window is passed for one datagram, bytes: whatever is on its way.
const BEYOND: u64 = 1 << 40;
/// What QUIC may hold at the least of what is sent, bytes: see [`window`].
const LEAST_WINDOW: u64 = 64 << 10;
/// And beside what the path takes.
const LEAST_BESIDE: u64 = 32 << 10;

impl Stack {
    /// Hands on what waited for room, commands first.
    pub(super) fn flush(&mut self) -> Result<(), QuicError> {
        let window = self.window();
        let Self { connection, command_out, data_out, .. } = self;
        let room = [COMMAND_ROOM, 0];
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
        if made.is_none() && self.goes_beyond() {
            self.progress.allow_beyond(BEYOND);
            made = self.connection.poll_transmit(self.now, 1, &mut bytes);
            self.progress.allow_beyond(0);
        }
        let made = made?;
        self.beyond.sent(&self.connection.stats(), self.now);
        bytes.truncate(made.size);
        let source = made.src_ip.unwrap_or(self.local.ip());
        Some(Transmit {
            destination: made.destination,
            source: SocketAddr::new(source, self.local.port()),
            bytes,
            segment: made.segment_size,
        })
    }

    /// Whether a datagram is to go though the congestion window is full: see [`super::beyond`].
    fn goes_beyond(&mut self) -> bool {
        let Self { connection, beyond, now, .. } = self;
        if self.closed || connection.is_handshaking() {
            return false;
        }
        let round_trip = connection.rtt();
        let asks = beyond.asks(round_trip, *now);
        if asks {
            connection.ping();
        }
        let stats = connection.stats();
        (asks || beyond.owes(&stats, round_trip, *now)) && beyond.take(&stats, *now)
    }

    /// When one may have to.
    pub(super) fn goes_beyond_at(&self) -> Option<Instant> {
        let over = self.closed || self.connection.is_handshaking();
        self.beyond.next_timeout(self.connection.rtt()).filter(|_| !over)
    }

    /// What QUIC may hold to be sent and sent again: an eighth more than what the path takes, so that a close waits for no more
    /// than that, and for what is left in a session as long as that goes on; and deltas of a higher priority, which a session
    /// puts before others, too. After a loss it is twice what the path takes: what was acknowledged behind a hole counts as
    /// well, and there has to be room for more.
    pub(super) fn window(&self) -> u64 {
        let takes = self.connection.congestion_state().window();
        let lately = 2 * self.connection.rtt();
        let beside = if self.progress.has_lost(lately, self.now) { takes } else { takes / 8 };
        let most = self.config.send_window;
        takes.saturating_add(beside.max(LEAST_BESIDE)).clamp(LEAST_WINDOW.min(most), most)
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
